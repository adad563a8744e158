//! The authorisation code: a terminal on the person's own machine waits on loopback for the browser to bring it.

use super::{
    super::{Done, Login, LoginError},
    Refusal, by,
    device::{LETTERS, USER_CODE, dashed},
    record::{Kind, Record, What, code_key},
};
use crate::{
    authn::{Identity, NoRandomness},
    observe::metrics::labels::{TerminalStep, TerminalWay},
    status::clock,
    store::Txn,
};
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use std::{net::IpAddr, time::Instant};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// How long a code is good: the browser brings it at once.
const CODE_LIFE: SignedDuration = SignedDuration::from_mins(1);
/// Characters of a challenge by S256, and of a code: 32 bytes in base64url.
pub const CHALLENGE: usize = 43;
/// Longest verifier (RFC 7636, section 4.1).
const MAX_VERIFIER: usize = 128;

/// Where a code is sent: a port of the loopback interface, by address, and nothing else (RFC 8252, section 7.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    uri: String,
    origin: String,
}

impl Callback {
    /// Reads `http://127.0.0.1:PORT/callback` or `http://[::1]:PORT/callback`, byte for byte.
    pub fn parse(uri: &str) -> Option<Self> {
        let hosts = ["http://127.0.0.1:", "http://[::1]:"];
        let rest = hosts.iter().find_map(|host| uri.strip_prefix(host))?;
        let port = rest.strip_suffix("/callback")?;
        let plain = port.bytes().all(|c| c.is_ascii_digit()) && !port.starts_with('0');
        let port: u16 = port.parse().ok().filter(|_| plain)?;
        let origin = uri.strip_suffix("/callback")?;
        (port > 0).then(|| Self {
            uri: uri.to_owned(),
            origin: origin.to_owned(),
        })
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &str {
        &self.origin
    }
}

impl Login {
    fn count_code(&self, step: TerminalStep) {
        self.grants.count(TerminalWay::Browser, step);
    }

    /// Somebody is asked whether a terminal may log in as them.
    pub fn ask_for_code(&self) {
        self.count_code(TerminalStep::Begun);
    }

    /// They say no, which their browser tells the terminal.
    pub fn refuse_code(&self) {
        self.count_code(TerminalStep::Refused);
    }

    /// Somebody says yes to a terminal: the code that its browser is to bring it.
    pub async fn grant_code(
        &self,
        identity: &Identity,
        (challenge, callback): (&str, &Callback),
        (client, from): (&str, IpAddr),
    ) -> Result<Zeroizing<String>, LoginError> {
        let now = clock::now();
        self.check_room(Kind::Code, now)?;
        let paces = &self.grants.paces;
        let charged = paces.codes.admit(&identity.user_uid(), Instant::now());
        let _charged = charged.map_err(LoginError::TooManyCodes)?;
        let mut bytes = Zeroizing::new([0_u8; 32]);
        rand::fill(bytes.as_mut_slice()).map_err(|_| NoRandomness)?;
        let code = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
        let record = Record {
            client: client.to_owned(),
            from,
            asked_at: now,
            expires_at: now.saturating_add(CODE_LIFE).unwrap_or(Timestamp::MAX),
            what: What::Code {
                challenge: challenge.to_owned(),
                redirect_uri: callback.as_str().to_owned(),
                by: by(identity),
            },
        };
        let key = code_key(&code);
        let txn = Txn::new().when(key.clone(), 0).put(key, record.encode());
        let revision = self.store.txn(txn).await?;
        self.applied(revision).await;
        self.count_code(TerminalStep::Given);
        Ok(code)
    }

    /// The terminal fetches its session. A code is good for one try: a wrong verifier takes it away.
    pub(super) async fn fetch_code(
        &self,
        (code, verifier, redirect_uri): (&str, &str, &str),
        peer: IpAddr,
    ) -> Result<Result<Done, Refusal>, LoginError> {
        let unreserved = |c: u8| c.is_ascii_alphanumeric() || b"-._~".contains(&c);
        let (shortest, longest) = (CHALLENGE, MAX_VERIFIER);
        if !(shortest..=longest).contains(&verifier.len()) || !verifier.bytes().all(unreserved) {
            let why = "code_verifier: 43 to 128 letters, digits and -._~";
            return Ok(Err(Refusal::InvalidRequest(why)));
        }
        let nobodys = Refusal::InvalidGrant("the code is none, was used, or its time is over");
        if code.len() != CHALLENGE {
            return Ok(Err(nobodys));
        }
        let key = code_key(code);
        let (record, revision) = match self.look_up(&key, peer).await? {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Err(nobodys)),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let What::Code {
            challenge,
            redirect_uri: agreed,
            by,
        } = &record.what
        else {
            return Ok(Err(nobodys));
        };
        let proven = challenge_of(verifier);
        let fits = bool::from(challenge.as_bytes().ct_eq(proven.as_bytes()))
            && agreed == redirect_uri
            && clock::now() < record.expires_at;
        if !fits {
            self.withdraw(&key, revision).await?;
            return Ok(Err(nobodys));
        }
        let terminal = (&*record.client, peer);
        let done = Box::pin(self.redeem((&key, revision), by, terminal)).await?;
        if done.is_ok() {
            self.count_code(TerminalStep::Fetched);
        }
        Ok(done)
    }
}

/// The challenge of a verifier by S256 (RFC 7636, section 4.2).
fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

/// What a terminal and the page show both, so that a person sees that they belong together: eight letters of a hash
/// of the challenge.
pub fn compare_code(challenge: &str) -> String {
    let bytes = [b"palisade compare\0", challenge.as_bytes()].concat();
    let sum = digest(&SHA256, &bytes);
    let letters = sum.as_ref().iter().take(USER_CODE);
    let letters = letters.filter_map(|byte| LETTERS.get(usize::from(byte % 20)));
    dashed(&letters.map(|&c| char::from(c)).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7636, appendix B.
    #[test]
    fn the_challenge_is_the_standards() {
        let challenge = challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        insta::assert_snapshot!(compare_code(&challenge), @"FXFD-BWQB");
    }

    // G3: a code goes to this machine's loopback and nowhere else.
    #[test]
    fn only_loopback_is_a_callback() {
        for good in ["http://127.0.0.1:1/callback", "http://[::1]:65535/callback"] {
            assert_eq!(Callback::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "http://127.0.0.1/callback",
            "http://127.0.0.1:/callback",
            "http://127.0.0.1:0/callback",
            "http://127.0.0.1:080/callback",
            "http://127.0.0.1:65536/callback",
            "http://127.0.0.1:+80/callback",
            "http://127.0.0.1:80/",
            "http://127.0.0.1:80/callback/",
            "http://127.0.0.1:80/callback?a=b",
            "http://127.0.0.1:80/callback#a",
            "http://127.0.0.1:80@evil.example/callback",
            "http://127.0.0.1:80/../callback",
            "http://127.0.0.1.evil.example:80/callback",
            "http://127.0.0.2:80/callback",
            "http://localhost:80/callback",
            "https://127.0.0.1:80/callback",
            "HTTP://127.0.0.1:80/callback",
            "http://0.0.0.0:80/callback",
            "//127.0.0.1:80/callback",
            "http://evil.example/callback",
        ] {
            assert_eq!(Callback::parse(bad), None, "{bad}");
        }
    }
}

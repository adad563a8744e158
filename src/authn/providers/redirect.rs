//! Logins by a browser that is sent to the provider and comes back: what both kinds of providers share.
//!
//! [`Provider::begin`] says where to send the browser, and what must be remembered meanwhile ([`Pending`]: the caller
//! seals it in a cookie of that browser). [`Provider::finish`] takes what the browser brings back and gives the account
//! that has just proven itself ([`Arrival`]).
//!
//! What an attacker would try (G1 of docs/attacks.md): having somebody else's browser finish the attacker's login, or
//! the other way round (the `state` is bound to the browser, and compared before anything else is looked at); a code
//! that was caught on the way (PKCE with S256, always, with 256 random bits); a login at one provider that is finished
//! at another (a [`Pending`] names its provider, each provider has its own redirect URI, and an issuer that comes back
//! is compared, RFC 9207); an old login taken up again ([`PENDING_LIFE`]; that a state counts once is the caller's
//! affair, who has the store); an answer without an end, or a redirect that takes secrets elsewhere ([`http`]).
//!
//! Outcomes are three: an arrival, a refusal, and [`Failure`], which is neither.

mod device;
mod failure;
mod files;
pub(super) mod http;
mod kept;
mod secret;

pub use device::{Codes, DeviceCode, Polled, Waiting};
pub use failure::{ArrivalError, Failure};
pub use files::check_files;
pub(super) use kept::Kept;
pub(super) use secret::{challenge, random};

use super::{GroupRef, Provider, Source, Standing};
use crate::{
    status::clock,
    store::seal::{Keyring, SealError, associated},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use std::time::Duration;
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// How long a person may take at the provider: to find a second factor, not to go to lunch.
pub const PENDING_LIFE: SignedDuration = SignedDuration::from_mins(10);
/// How far the clock of the replica that began a login may be ahead.
pub const AHEAD: SignedDuration = SignedDuration::from_mins(1);
/// All questions to the provider that the beginning of a login takes, or its end.
const LIMIT: Duration = Duration::from_secs(30);
/// Characters of a code: providers' own have a few hundred.
const MAX_CODE: usize = 4096;

/// Where the browser is sent, and what must be remembered until it comes back.
pub struct Begun {
    /// For the browser.
    pub url: String,
    /// For the caller.
    pub pending: Pending,
}

/// A login that has begun. Whoever reads it could finish the login in place of its browser: it is sealed, and never
/// logged (no `Debug`).
#[derive(Serialize, Deserialize)]
pub struct Pending {
    provider: String,
    state: String,
    /// PKCE (RFC 7636): what proves that who brings the code is who asked for it.
    pub(super) verifier: String,
    /// What the ID token must say.
    pub(super) nonce: Option<String>,
    issued_at: Timestamp,
}

/// What the browser brings back: parameters of a query, as they came.
#[derive(Clone, Copy, Default)]
pub struct Callback<'a> {
    /// To be exchanged.
    pub code: Option<&'a str>,
    /// Whose login this is.
    pub state: Option<&'a str>,
    /// Who answers (RFC 9207).
    pub iss: Option<&'a str>,
    /// Why there is no code (RFC 6749, section 4.1.2.1).
    pub error: Option<&'a str>,
    /// The same for people.
    pub error_description: Option<&'a str>,
}

/// An account at a provider that has just proven itself.
pub struct Arrival {
    /// Immutable, and good for a key of the store.
    pub id: Box<str>,
    /// What the account is called there.
    pub name: Box<str>,
    /// What a new user's handle is made of.
    pub handle: Box<str>,
    /// For people; possibly empty.
    pub display_name: String,
    /// Its groups.
    pub groups: Vec<GroupRef>,
    /// What the account is read again with; `None`: it cannot be.
    pub grant: Option<Grant>,
}

/// A token of a person's at a provider. Sealed before it is stored; never logged.
#[derive(Default)]
pub struct Grant(Zeroizing<String>);

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl Grant {
    /// To be sent to its provider.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// For the store: it opens in the record of this key alone, and for whom it came from: a provider that is
    /// configured to be somewhere else from now on must not be sent what its predecessor gave.
    pub fn seal(
        &self,
        keyring: &Keyring,
        key: &str,
        provider: &Provider,
    ) -> Result<String, SealError> {
        keyring.seal(self.0.as_bytes(), &provider.place(key))
    }

    /// From the store.
    pub(super) fn open(
        keyring: &Keyring,
        sealed: &str,
        key: &str,
        provider: &Provider,
    ) -> Option<Self> {
        let open = keyring.open(sealed, &provider.place(key)).ok()?;
        let text = std::str::from_utf8(&open).ok()?;
        Some(Self(Zeroizing::new(text.to_owned())))
    }
}

/// What a provider says of an account that is read again.
pub struct Again {
    /// Whether it may go on.
    pub standing: Standing,
    /// What it is called now; `None`: as before.
    pub name: Option<Box<str>>,
    /// Its groups now.
    pub groups: Vec<GroupRef>,
}

/// What reading an account again came to.
pub struct Reread {
    /// What the provider says.
    pub outcome: Result<Again, Failure>,
    /// What became of the grant, whatever the outcome.
    pub fate: Fate,
}

/// What became of a grant that an account was read again with. A provider may give another one for it, and take the old
/// one no more.
pub enum Fate {
    /// It was not sent, or not taken, or no other was given for it.
    GoesOn,
    /// This one takes its place.
    Replaced(Grant),
    /// It was sent, and nobody can tell.
    Unknown,
}

impl From<Result<Again, Failure>> for Reread {
    fn from(outcome: Result<Again, Failure>) -> Self {
        Self {
            outcome,
            fate: Fate::GoesOn,
        }
    }
}

impl Again {
    /// The account may not go on.
    pub(super) fn refused(standing: Standing) -> Self {
        Self {
            standing,
            name: None,
            groups: Vec::new(),
        }
    }
}

impl Pending {
    pub(super) fn new(provider: &str) -> Result<Self, Failure> {
        Ok(Self {
            provider: provider.to_owned(),
            state: random()?,
            verifier: random()?,
            nonce: None,
            issued_at: clock::now(),
        })
    }

    /// What the provider sends back: 256 random bits. Where it is noted that a state was used.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// The provider's name.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The code, if this is the end of the login that has begun so. The state comes first: what an answer to nobody's
    /// question says is not looked at.
    pub fn check<'a>(
        &self,
        provider: &str,
        callback: &Callback<'a>,
        now: Timestamp,
    ) -> Result<&'a str, ArrivalError> {
        let odd = |why| Err(ArrivalError::Callback(why));
        if self.provider != provider {
            return odd("it was begun at another provider");
        }
        let age = now.duration_since(self.issued_at);
        if age > PENDING_LIFE || age < -AHEAD {
            return odd("it was begun too long ago");
        }
        let Some(state) = callback.state else {
            return odd("it comes without a state");
        };
        if !bool::from(self.state.as_bytes().ct_eq(state.as_bytes())) {
            return odd("its state is of another login");
        }
        if let Some(error) = callback.error {
            return Err(ArrivalError::Denied {
                error: failure::quoted(error),
                description: failure::quoted(callback.error_description.unwrap_or_default()),
            });
        }
        match callback.code {
            None | Some("") => odd("it comes without a code"),
            Some(code) if code.len() > MAX_CODE => odd("its code is too long"),
            Some(code) => Ok(code),
        }
    }
}

impl Provider {
    /// Where a grant is at rest: the record's key, who gave it, and to which client.
    fn place(&self, key: &str) -> Vec<u8> {
        let (server, client) = match &self.source {
            Source::Ldap(_) => ("", ""),
            Source::Github(github) => {
                let config = github.config();
                (config.url.as_str(), config.client.id.as_str())
            }
            Source::Oidc(oidc) => {
                let config = oidc.config();
                (config.issuer.as_str(), config.client.id.as_str())
            }
        };
        associated(&[key, server, client])
    }

    /// Whether people log in there with a browser, and not with a password that the gateway is told.
    pub fn is_by_browser(&self) -> bool {
        match self.source {
            Source::Ldap(_) => false,
            Source::Github(_) | Source::Oidc(_) => true,
        }
    }

    /// Begins a login. The provider sends the browser back to `redirect_uri`. Within [`LIMIT`].
    pub async fn begin(&self, redirect_uri: &str) -> Result<Begun, Failure> {
        let pending = Pending::new(&self.name)?;
        match &self.source {
            Source::Ldap(_) => Err(Failure::NotByBrowser),
            Source::Github(github) => github.begin(pending, redirect_uri),
            Source::Oidc(oidc) => {
                let work = Box::pin(oidc.begin(pending, redirect_uri));
                let begun = timeout(LIMIT, work).await;
                begun.unwrap_or(Err(Failure::TooSlow(LIMIT)))
            }
        }
    }

    /// Ends a login: whose it is. Within [`LIMIT`].
    pub async fn finish(
        &self,
        pending: &Pending,
        callback: &Callback<'_>,
        redirect_uri: &str,
    ) -> Result<Arrival, ArrivalError> {
        let code = pending.check(&self.name, callback, clock::now())?;
        let work = async {
            match &self.source {
                Source::Ldap(_) => Err(Failure::NotByBrowser.into()),
                Source::Github(github) => github.finish(pending, code, redirect_uri).await,
                Source::Oidc(oidc) => oidc.finish(pending, code, callback.iss, redirect_uri).await,
            }
        };
        let done = timeout(LIMIT, Box::pin(work)).await;
        done.unwrap_or(Err(ArrivalError::Failed(Failure::TooSlow(LIMIT))))
    }

    /// Asks again what an account is, with what its login left here for that.
    pub(super) async fn again(&self, id: &str, grant: &Grant) -> Reread {
        match &self.source {
            Source::Ldap(_) => Err(Failure::NotByBrowser).into(),
            Source::Github(github) => github.again(id, grant).await,
            Source::Oidc(oidc) => oidc.again(id, grant).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callback(pending: &Pending) -> Callback<'_> {
        Callback {
            code: Some("code"),
            state: Some(pending.state()),
            ..Callback::default()
        }
    }

    fn refusal(error: Result<&str, ArrivalError>) -> String {
        error.unwrap_err().to_string()
    }

    // G1
    #[test]
    fn only_the_browser_that_began_a_login_ends_it_at_the_same_provider_and_soon() {
        let pending = Pending::new("hub").unwrap();
        let other = Pending::new("hub").unwrap();
        let now = clock::now();
        assert_eq!(
            pending.check("hub", &callback(&pending), now).unwrap(),
            "code"
        );
        let refused = |callback: Callback<'_>| refusal(pending.check("hub", &callback, now));
        assert!(refused(callback(&other)).contains("its state is of another login"));
        let mut odd = callback(&pending);
        odd.state = None;
        assert!(refused(odd).contains("without a state"));
        odd.state = Some("");
        assert!(refused(odd).contains("another login"));
        let mut odd = callback(&pending);
        odd.code = None;
        assert!(refused(odd).contains("without a code"));
        let long = "x".repeat(MAX_CODE + 1);
        odd.code = Some(&long);
        assert!(refused(odd).contains("too long"));
        let at = |now| refusal(pending.check("hub", &callback(&pending), now));
        assert!(at(now + PENDING_LIFE + SignedDuration::from_secs(1)).contains("too long ago"));
        assert!(at(now - AHEAD - SignedDuration::from_secs(1)).contains("too long ago"));
        let elsewhere = pending.check("sso", &callback(&pending), now);
        assert!(refusal(elsewhere).contains("another provider"));
    }

    // G1
    #[test]
    fn what_an_answer_to_another_login_says_is_not_looked_at() {
        let pending = Pending::new("hub").unwrap();
        let mut denied = callback(&pending);
        denied.error = Some("access_denied\n\u{1b}[2J");
        let told = refusal(pending.check("hub", &denied, clock::now()));
        assert_eq!(
            told,
            "the provider did not let the account in: access_denied[2J"
        );
        denied.state = Some("x");
        let told = refusal(pending.check("hub", &denied, clock::now()));
        assert!(told.contains("another login"), "{told}");
    }

    /// The provider `hub` of a configuration with these lines.
    fn configured(lines: &str) -> crate::config::Provider {
        let text = format!(
            "external_url: https://gate.example\ntls: {{cert_file: cert.pem, key_file: key.pem}}\n\
             state: {{store: state.db, key_file: keys}}\nproviders:\n  hub:\n    access: {{mode: danger_anyone}}\n    \
             {lines}\n",
        );
        let config = crate::config::read(&text, std::path::Path::new("/")).unwrap();
        config.providers["hub"].clone()
    }

    // L6: a record's grant that lies in another's, or where the provider is another one by now.
    #[test]
    fn a_grant_opens_for_its_record_its_server_and_its_client_alone() {
        let folder = tempfile::tempdir().unwrap();
        let keyring = Keyring::generate(&folder.path().join("keys")).unwrap();
        for lines in [
            "github: {url: 'https://a.example', client_id: one, client_secret_file: secret}",
            "oidc: {issuer: 'https://a.example', client_id: one}",
        ] {
            let provider = |lines: &str| Provider::new("hub", &configured(lines));
            let own = provider(lines);
            let grant = Grant(Zeroizing::new("a-token".to_owned()));
            let sealed = grant.seal(&keyring, "accounts/hub/1", &own).unwrap();
            let open = |key: &str, lines: &str| {
                let grant = Grant::open(&keyring, &sealed, key, &provider(lines));
                grant.map(|grant| grant.expose().to_owned())
            };
            assert_eq!(open("accounts/hub/1", lines).as_deref(), Some("a-token"));
            assert_eq!(open("accounts/hub/2", lines), None, "{lines}");
            for (old, new) in [("a.example", "b.example"), ("one", "two")] {
                let changed = lines.replace(old, new);
                assert_eq!(open("accounts/hub/1", &changed), None, "{changed}");
            }
        }
    }

    // P14
    #[tokio::test(start_paused = true)]
    async fn a_login_at_a_provider_that_is_silent_ends_within_its_time() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = configured(&format!(
            "oidc: {{issuer: 'http://{}', client_id: palisade, danger_plain_http: true}}",
            silent.local_addr().unwrap(),
        ));
        let crate::config::Source::Oidc(oidc) = &mut config.source else {
            panic!("it is an OpenID provider");
        };
        oidc.link.connect_timeout = LIMIT * 3;
        oidc.link.timeout = LIMIT * 3;
        let provider = Provider::new("hub", &config);
        let begun = provider.begin("https://gate.example/back").await;
        assert!(matches!(begun, Err(Failure::TooSlow(LIMIT))));
    }

    // G1, CVE-2022-31034
    #[test]
    fn states_verifiers_and_nonces_have_256_bits_and_never_come_again() {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let pending = Pending::new("hub").unwrap();
            for text in [&pending.state, &pending.verifier] {
                // RFC 7636, section 4.1: 43 characters are 256 bits.
                assert_eq!(text.len(), 43);
                assert!(seen.insert(text.clone()));
            }
            assert_ne!(challenge(&pending.verifier), pending.verifier);
        }
        // RFC 7636, appendix B
        assert_eq!(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}

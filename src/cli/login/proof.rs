//! What ties a browser's answer to this run of the program: PKCE (RFC 7636), the state, and the code that a person
//! compares (G4: a login that somebody else began shows another).

use crate::cli::run::Failure;
use aws_lc_rs::{digest, rand};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// Letters of codes that people compare and type: no vowels, so no words, and none that look alike.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// In front of the challenge, so that the code is good for nothing else.
const COMPARE: &[u8] = b"palisade compare\0";

/// Secrets of one login.
pub(super) struct Proof {
    /// Sent with the code, and never to the browser.
    pub(super) verifier: Zeroizing<String>,
    /// S256 of the verifier.
    pub(super) challenge: String,
    /// What the answer must bring back.
    pub(super) state: String,
}

impl Proof {
    pub(super) fn new() -> Result<Self, Failure> {
        let verifier = random()?;
        let sum = digest::digest(&digest::SHA256, verifier.as_bytes());
        Ok(Self {
            challenge: BASE64_URL_SAFE_NO_PAD.encode(sum),
            verifier: Zeroizing::new(verifier),
            state: random()?,
        })
    }

    /// What the page must show too.
    pub(super) fn compare(&self) -> String {
        compare(&self.challenge)
    }
}

fn random() -> Result<String, Failure> {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(bytes.as_mut_slice())
        .map_err(|_| Failure::said("this machine gives no random numbers"))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes.as_slice()))
}

/// `BCDF-GHJK`.
fn compare(challenge: &str) -> String {
    let sum = digest::digest(&digest::SHA256, &[COMPARE, challenge.as_bytes()].concat());
    let letter = |byte: &u8| {
        let letter = LETTERS.get(usize::from(*byte) % LETTERS.len());
        letter.map_or('?', |&letter| char::from(letter))
    };
    let mut code: String = sum.as_ref().iter().take(8).map(letter).collect();
    code.insert(4, '-');
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_like_no_other() {
        let (one, other) = (Proof::new().unwrap(), Proof::new().unwrap());
        assert_ne!(one.verifier, other.verifier);
        assert_ne!(one.state, other.state);
        assert_ne!(one.compare(), other.compare());
        // RFC 7636, section 4.1: 43 to 128 characters.
        assert_eq!(one.verifier.len(), 43);
        assert_eq!(one.challenge.len(), 43);
    }

    // RFC 7636, appendix B; the gateway computes the same.
    #[test]
    fn the_code_to_compare_is_made_of_the_challenge() {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert_eq!(compare(challenge), "FXFD-BWQB");
    }
}

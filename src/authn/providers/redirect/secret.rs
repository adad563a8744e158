//! Random texts, and what is shown of one that must stay secret.

use super::Failure;
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// 256 bits: nobody guesses them, and nobody else ever draws the same.
const BYTES: usize = 32;

/// A random text of 43 characters, good for a URL.
pub(in crate::authn::providers) fn random() -> Result<String, Failure> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).map_err(|_| Failure::NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The challenge of a verifier by S256 (RFC 7636, section 4.2). There is no other way here: a plain one would be the
/// verifier itself.
pub(in crate::authn::providers) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

//! ID tokens (OpenID Connect Core 1.0, section 3.1.3.7).
//!
//! A token is read with one key and one algorithm, which that key may sign with; everything else in its head (`jku`,
//! `jwk`, `x5u`, `x5c`) is what the token says of itself and is not looked at, but `crit`, which says that whoever does
//! not understand it must not accept the token (RFC 7515, section 4.1.11).

use super::keys::Key;
use crate::status::clock;
use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Validation, decode, decode_header, errors::ErrorKind};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

/// How far the provider's clock may be from ours: seconds.
const LEEWAY: i64 = 30;
/// A token comes from the provider straight to here: one that is older was kept somewhere. Seconds.
const OLDEST: i64 = 600;
/// Bytes of a subject (OpenID Connect Core 1.0, section 2).
const MAX_SUBJECT: usize = 255;

/// Why an ID token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("there is none")]
    Missing,
    /// It is no signed JWT; `alg: none` is among these.
    #[error("it is no signed JWT of an algorithm that is known here")]
    Malformed,
    /// It says that it has to be understood in a way that it is not.
    #[error("it has critical extensions (crit)")]
    Critical,
    /// Its key does not sign so, or what is configured leaves the algorithm out.
    #[error(
        "its key does not sign with such an algorithm, or the algorithm is not among those configured"
    )]
    Algorithm,
    /// The provider does not publish its key.
    #[error("it names a key that the provider does not publish")]
    UnknownKey,
    /// It was made, or changed, by somebody else.
    #[error("its signature is wrong")]
    Signature,
    /// A claim is missing or wrong.
    #[error("its claim {0} is missing or wrong")]
    Claim(&'static str),
}

/// What a token must say of itself for its key to be found.
pub(super) struct Head {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
}

/// Whom a token must be from and for.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    /// Of this login; `None`: it is of a refresh.
    pub(super) nonce: Option<&'a str>,
    /// What came with it.
    pub(super) access_token: &'a str,
}

/// A token that is what it should be.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) subject: String,
    pub(super) claims: Map<String, Value>,
}

/// Reads the head of a token, which proves nothing.
pub(super) fn head(token: &str) -> Result<Head, TokenError> {
    let head = decode_header(token).map_err(|_| TokenError::Malformed)?;
    if head.crit.is_some() {
        return Err(TokenError::Critical);
    }
    Ok(Head {
        algorithm: head.alg,
        key_id: head.kid,
    })
}

/// Checks a token with the key that [`super::keys::Keys::find`] gave for its head.
pub(super) fn verify(
    token: &str,
    head: &Head,
    key: &Key,
    expected: &Expected<'_>,
) -> Result<Verified, TokenError> {
    let mut validation = Validation::new(head.algorithm);
    validation.set_issuer(&[expected.issuer]);
    validation.set_audience(&[expected.client_id]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.leeway = LEEWAY.unsigned_abs();
    validation.validate_nbf = true;
    let decoded = decode::<Map<String, Value>>(token, &key.decoding, &validation);
    let claims = decoded.map_err(|error| refusal(error.kind()))?.claims;
    // Once more by our own reading: what is used below is what was checked.
    if text(&claims, "iss") != Some(expected.issuer) {
        return Err(TokenError::Claim("iss"));
    }
    check_audience(&claims, expected.client_id)?;
    check_issue_time(&claims)?;
    if let Some(nonce) = expected.nonce {
        let found = text(&claims, "nonce").unwrap_or_default();
        if !bool::from(found.as_bytes().ct_eq(nonce.as_bytes())) {
            return Err(TokenError::Claim("nonce"));
        }
    }
    check_access_token(&claims, head.algorithm, expected.access_token)?;
    let subject = text(&claims, "sub").unwrap_or_default();
    if subject.is_empty() || subject.len() > MAX_SUBJECT {
        return Err(TokenError::Claim("sub"));
    }
    Ok(Verified {
        subject: subject.to_owned(),
        claims,
    })
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

/// For this client, and, where it is for others too or says so, made for it (section 3.1.3.7, numbers 3 to 5).
fn check_audience(claims: &Map<String, Value>, client_id: &str) -> Result<(), TokenError> {
    let several = match claims.get("aud") {
        Some(Value::String(one)) if one == client_id => false,
        Some(Value::Array(all)) if all.iter().any(|it| it.as_str() == Some(client_id)) => {
            all.len() > 1
        }
        Some(_) | None => return Err(TokenError::Claim("aud")),
    };
    match claims.get("azp") {
        Some(Value::String(party)) if party == client_id => Ok(()),
        None if !several => Ok(()),
        Some(_) | None => Err(TokenError::Claim("azp")),
    }
}

fn check_issue_time(claims: &Map<String, Value>) -> Result<(), TokenError> {
    let at = claims.get("iat").and_then(Value::as_f64);
    let now = clock::now().as_second();
    // Some have fractions. Saturates; what is no number has failed before.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a second more or less, and `as` saturates"
    )]
    let at = at.ok_or(TokenError::Claim("iat"))? as i64;
    let age = now.saturating_sub(at);
    if (-LEEWAY..=OLDEST).contains(&age) {
        Ok(())
    } else {
        Err(TokenError::Claim("iat"))
    }
}

/// That the access token is the one that was given with the ID token (section 3.1.3.6): optional in this flow, and
/// checked where it is there.
fn check_access_token(
    claims: &Map<String, Value>,
    algorithm: Algorithm,
    access_token: &str,
) -> Result<(), TokenError> {
    let Some(found) = claims.get("at_hash") else {
        return Ok(());
    };
    let is = |all: &[Algorithm]| all.contains(&algorithm);
    let hash = if is(&[Algorithm::RS256, Algorithm::PS256, Algorithm::ES256]) {
        &SHA256
    } else if is(&[Algorithm::RS384, Algorithm::PS384, Algorithm::ES384]) {
        &SHA384
    } else {
        // Ed25519 too signs with SHA-512.
        &SHA512
    };
    let whole = digest::digest(hash, access_token.as_bytes());
    let whole = whole.as_ref();
    let half = whole.get(..whole.len() / 2).unwrap_or_default();
    let right = URL_SAFE_NO_PAD.encode(half);
    match found.as_str() {
        Some(found) if bool::from(found.as_bytes().ct_eq(right.as_bytes())) => Ok(()),
        Some(_) | None => Err(TokenError::Claim("at_hash")),
    }
}

fn refusal(kind: &ErrorKind) -> TokenError {
    // The library's enum may grow: what is not told apart here is a refusal all the same.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever it is, the token is refused"
    )]
    match kind {
        ErrorKind::ExpiredSignature => TokenError::Claim("exp"),
        ErrorKind::ImmatureSignature => TokenError::Claim("nbf"),
        ErrorKind::InvalidIssuer => TokenError::Claim("iss"),
        ErrorKind::InvalidAudience => TokenError::Claim("aud"),
        ErrorKind::InvalidSubject => TokenError::Claim("sub"),
        ErrorKind::MissingRequiredClaim(name) | ErrorKind::InvalidClaimFormat(name) => {
            let known = ["exp", "nbf", "iss", "aud", "sub"];
            let known = known.into_iter().find(|it| it == name);
            known.map_or(TokenError::Malformed, TokenError::Claim)
        }
        ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
        ErrorKind::InvalidSignature => TokenError::Signature,
        _ => TokenError::Malformed,
    }
}

#[cfg(test)]
mod tests;

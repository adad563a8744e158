//! The keys that a provider signs with (RFC 7517), and what each may sign.
//!
//! The key says which algorithms a signature by it can have, and the configuration which of these are taken; the
//! token chooses among those and no others (T1 of docs/attacks.md). A shared secret in the set, or a key for
//! encryption, is passed over: what is public can sign nothing.

use super::{
    super::redirect::{
        Failure,
        http::{Http, Question},
    },
    token::{Head, TokenError},
};
use crate::config::SigningAlgorithm;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use url::Url;

/// Keys of one provider: large ones publish some dozen.
const MAX_KEYS: usize = 100;

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

/// The keys that can be used.
pub(super) struct Keys {
    all: Vec<Key>,
}

/// A key.
pub(super) struct Key {
    id: Option<String>,
    may_sign: Vec<Algorithm>,
    pub(super) decoding: DecodingKey,
}

/// Reads them.
pub(super) async fn read(
    http: &Http,
    url: &Url,
    algorithms: &[SigningAlgorithm],
) -> Result<Keys, Failure> {
    const WHAT: &str = "the keys";
    let document: Document = http.ask(Question::get(WHAT, url)).await?.success()?;
    Keys::of(document, algorithms).ok_or_else(|| Failure::Malformed {
        what: WHAT,
        why: format!("there are more than {MAX_KEYS} of them, or none that can be used"),
    })
}

impl Keys {
    fn of(document: Document, algorithms: &[SigningAlgorithm]) -> Option<Self> {
        if document.keys.len() > MAX_KEYS {
            return None;
        }
        // One that cannot be read is none: providers publish keys of kinds that nobody knows here.
        let keys = document.keys.into_iter();
        let keys = keys.filter_map(|key| Key::of(serde_json::from_value(key).ok()?, algorithms));
        let all: Vec<Key> = keys.collect();
        (!all.is_empty()).then_some(Self { all })
    }

    #[cfg(test)]
    pub(super) fn read_for_test(
        document: &serde_json::Value,
        algorithms: &[SigningAlgorithm],
    ) -> Option<Self> {
        Self::of(
            serde_json::from_value(document.clone()).unwrap(),
            algorithms,
        )
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The key that this token says it was signed with, if that key may sign so.
    pub(super) fn find(&self, head: &Head) -> Result<&Key, TokenError> {
        let by_name = |key: &&Key| match &head.key_id {
            Some(id) => key.id.as_ref() == Some(id),
            // OpenID Connect Core 1.0, section 10.1: where there is one, it needs no name.
            None => self.all.len() == 1,
        };
        let mut named = self.all.iter().filter(by_name).peekable();
        if named.peek().is_none() {
            return Err(TokenError::UnknownKey);
        }
        named
            .find(|key| key.may_sign.contains(&head.algorithm))
            .ok_or(TokenError::Algorithm)
    }
}

impl Key {
    fn of(jwk: Jwk, algorithms: &[SigningAlgorithm]) -> Option<Self> {
        let common = &jwk.common;
        let signs = match (&common.public_key_use, &common.key_operations) {
            (Some(of), _) => *of == PublicKeyUse::Signature,
            (None, Some(operations)) => operations.contains(&KeyOperations::Verify),
            (None, None) => true,
        };
        let possible = of_kind(&jwk.algorithm);
        let may_sign: Vec<Algorithm> = algorithms
            .iter()
            .map(|it| algorithm(*it))
            .filter(|it| possible.contains(it))
            .filter(|it| {
                common
                    .key_algorithm
                    .is_none_or(|own| own == KeyAlgorithm::from(*it))
            })
            .collect();
        if !signs || may_sign.is_empty() {
            return None;
        }
        Some(Self {
            decoding: DecodingKey::from_jwk(&jwk).ok()?,
            may_sign,
            id: jwk.common.key_id,
        })
    }
}

/// What a key of this kind can sign with. Sizes of RSA keys below 2048 bits are refused where signatures are checked.
fn of_kind(parameters: &AlgorithmParameters) -> &'static [Algorithm] {
    if let AlgorithmParameters::RSA(_) = parameters {
        return &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ];
    }
    if let AlgorithmParameters::EllipticCurve(key) = parameters {
        if key.curve == EllipticCurve::P256 {
            return &[Algorithm::ES256];
        }
        if key.curve == EllipticCurve::P384 {
            return &[Algorithm::ES384];
        }
    }
    if let AlgorithmParameters::OctetKeyPair(key) = parameters
        && key.curve == EllipticCurve::Ed25519
    {
        return &[Algorithm::EdDSA];
    }
    // A shared secret, or what nobody knows here.
    &[]
}

/// As the library calls it.
pub(super) fn algorithm(of: SigningAlgorithm) -> Algorithm {
    match of {
        SigningAlgorithm::Rs256 => Algorithm::RS256,
        SigningAlgorithm::Rs384 => Algorithm::RS384,
        SigningAlgorithm::Rs512 => Algorithm::RS512,
        SigningAlgorithm::Ps256 => Algorithm::PS256,
        SigningAlgorithm::Ps384 => Algorithm::PS384,
        SigningAlgorithm::Ps512 => Algorithm::PS512,
        SigningAlgorithm::Es256 => Algorithm::ES256,
        SigningAlgorithm::Es384 => Algorithm::ES384,
        SigningAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

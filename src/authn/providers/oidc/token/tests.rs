//! Tokens that are right, and every way in which they are not.

use super::{super::keys::Keys, *};
use crate::config::SigningAlgorithm;
use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256},
};
use serde_json::json;

const ISSUER: &str = "https://sso.example";
const CLIENT: &str = "palisade";
const NONCE: &str = "of-this-login";
const ACCESS: &str = "an-access-token";

struct World {
    elliptic: EcdsaKeyPair,
    rsa: RsaKeyPair,
    keys: Keys,
    /// As it is published.
    modulus: String,
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap())
}

/// The numbers of an RSA public key (RFC 8017, appendix A.1.1), less the zeros in front.
fn numbers(der: &[u8]) -> [Vec<u8>; 2] {
    let mut at = 4;
    [(); 2].map(|()| {
        assert_eq!(der[at], 2, "an integer");
        let (length, head) = match der[at + 1] {
            0x82 => (usize::from(der[at + 2]) << 8 | usize::from(der[at + 3]), 4),
            short => (usize::from(short), 2),
        };
        let number = der[at + head..at + head + length].to_vec();
        at += head + length;
        number.into_iter().skip_while(|byte| *byte == 0).collect()
    })
}

impl World {
    fn new() -> Self {
        let elliptic = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let [n, e] = numbers(rsa.public_key().as_ref()).map(|it| URL_SAFE_NO_PAD.encode(it));
        let point = elliptic.public_key().as_ref();
        let (x, y) = (&point[1..33], &point[33..]);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let published = json!({"keys": [
            {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "ec", "use": "sig"},
            {"kty": "RSA", "n": n, "e": e, "kid": "rsa", "alg": "RS256"},
            {"kty": "RSA", "n": n, "e": e, "kid": "for-encryption", "use": "enc"},
            {"kty": "RSA", "n": n, "e": e, "kid": "for-wrapping", "key_ops": ["wrapKey"]},
            {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
            {"kty": "oct", "k": "c2VjcmV0", "kid": "shared-too", "alg": "RS256"},
            {"kty": "new", "kid": "new"},
            "nonsense",
        ]});
        let keys = Keys::read_for_test(&published, &SigningAlgorithm::ALL).unwrap();
        Self {
            elliptic,
            rsa,
            keys,
            modulus: n,
        }
    }

    fn sign_as(&self, head: &Value, claims: &Value, key: &str) -> String {
        let text = format!("{}.{}", part(head), part(claims));
        let random = SystemRandom::new();
        let signature = match key {
            "ec" => self
                .elliptic
                .sign(&random, text.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
            "rsa" => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                let all = &RSA_PKCS1_SHA256;
                self.rsa
                    .sign(all, &random, text.as_bytes(), &mut signature)
                    .unwrap();
                signature
            }
            // What is public, taken for a shared secret.
            "modulus" => {
                let secret = hmac::Key::new(hmac::HMAC_SHA256, self.modulus.as_bytes());
                hmac::sign(&secret, text.as_bytes()).as_ref().to_vec()
            }
            _ => Vec::new(),
        };
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({"alg": "ES256", "kid": "ec"}), claims, "ec")
    }

    fn check(&self, token: &str) -> Result<Verified, TokenError> {
        let expected = Expected {
            issuer: ISSUER,
            client_id: CLIENT,
            nonce: Some(NONCE),
            access_token: ACCESS,
        };
        let head = head(token)?;
        verify(token, &head, self.keys.find(&head)?, &expected)
    }

    fn refusal(&self, token: &str) -> TokenError {
        self.check(token).unwrap_err()
    }
}

fn good() -> Value {
    let now = clock::now().as_second();
    json!({
        "iss": ISSUER, "aud": CLIENT, "sub": "jane", "nonce": NONCE,
        "iat": now, "exp": now + 300,
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = good();
    claims[name] = value;
    claims
}

#[test]
fn a_good_token_says_whose_it_is() {
    let world = World::new();
    assert_eq!(world.check(&world.sign(&good())).unwrap().subject, "jane");
    let rsa = world.sign_as(&json!({"alg": "RS256", "kid": "rsa"}), &good(), "rsa");
    assert_eq!(world.check(&rsa).unwrap().subject, "jane");
    let now = clock::now().as_second();
    // RFC 7519 allows fractions; at_hash of OpenID Connect Core, appendix A.3, is computed the same way.
    let half = digest::digest(&SHA256, ACCESS.as_bytes());
    let half = URL_SAFE_NO_PAD.encode(&half.as_ref()[..16]);
    for (name, value) in [
        ("aud", json!([CLIENT])),
        ("azp", json!(CLIENT)),
        ("iat", json!(f64::from(i32::try_from(now).unwrap()) - 0.5)),
        ("nbf", json!(now)),
        ("at_hash", json!(half)),
    ] {
        assert!(
            world.check(&world.sign(&with(name, value))).is_ok(),
            "{name}"
        );
    }
    let mut several = with("aud", json!([CLIENT, "other"]));
    several["azp"] = CLIENT.into();
    assert!(world.check(&world.sign(&several)).is_ok());
}

// T1
#[test]
fn a_token_that_its_key_did_not_sign_so_is_refused() {
    use TokenError::{Algorithm, Critical, Malformed, Signature, UnknownKey};
    let world = World::new();
    let refusal = |head: Value, key| world.refusal(&world.sign_as(&head, &good(), key));
    for (head, key, why) in [
        (json!({"alg": "none"}), "", Malformed),
        (json!({"alg": "None", "kid": "ec"}), "", Malformed),
        (json!({"kid": "ec"}), "ec", Malformed),
        // The public key as a shared secret.
        (json!({"alg": "HS256", "kid": "rsa"}), "modulus", Algorithm),
        (
            json!({"alg": "HS256", "kid": "shared"}),
            "modulus",
            UnknownKey,
        ),
        (
            json!({"alg": "RS256", "kid": "shared-too"}),
            "rsa",
            UnknownKey,
        ),
        // A key of another kind, an algorithm that the key does not name.
        (json!({"alg": "RS256", "kid": "ec"}), "rsa", Algorithm),
        (json!({"alg": "ES256", "kid": "rsa"}), "ec", Algorithm),
        (json!({"alg": "PS256", "kid": "rsa"}), "rsa", Algorithm),
        (json!({"alg": "ES256", "kid": "EC"}), "ec", UnknownKey),
        (json!({"alg": "ES256", "kid": "../ec"}), "ec", UnknownKey),
        // There are several: one must be named.
        (json!({"alg": "ES256"}), "ec", UnknownKey),
        (
            json!({"alg": "ES256", "kid": "ec", "crit": ["exp"]}),
            "ec",
            Critical,
        ),
        (
            json!({"alg": "ES256", "kid": "ec", "crit": []}),
            "ec",
            Critical,
        ),
        (json!({"alg": "RS256", "kid": "rsa"}), "", Signature),
    ] {
        let told = head.to_string();
        assert_eq!(refusal(head, key), why, "{told}");
    }
    // A key that the token brings itself, or says where to find.
    let other = World::new();
    for (name, value) in [
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/cert")),
        (
            "jwk",
            json!({"kty": "RSA", "n": other.modulus, "e": "AQAB"}),
        ),
    ] {
        let mut head = json!({"alg": "ES256", "kid": "ec"});
        head[name] = value;
        let forged = other.sign_as(&head, &good(), "ec");
        assert_eq!(world.refusal(&forged), Signature, "{name}");
    }
    let token = world.sign(&good());
    let (front, signature) = token.rsplit_once('.').unwrap();
    let changed = format!(
        "{}.{signature}",
        front.replace(&part(&good()), &part(&with("sub", json!("root"))))
    );
    assert_eq!(world.refusal(&changed), Signature);
    for broken in [front, "", "..", "a.b.c", &token[1..], &format!("{token}.x")] {
        assert!(world.check(broken).is_err(), "{broken}");
    }
}

// T1
#[test]
fn a_key_for_something_else_signs_nothing() {
    let world = World::new();
    for id in ["for-encryption", "for-wrapping"] {
        let head = json!({"alg": "RS256", "kid": id});
        let token = world.sign_as(&head, &good(), "rsa");
        assert_eq!(world.refusal(&token), TokenError::UnknownKey, "{id}");
    }
}

// T1
#[test]
fn an_algorithm_that_is_not_configured_is_refused() {
    let world = World::new();
    let token = world.sign(&good());
    let head = head(&token).unwrap();
    let [n, e] = numbers(world.rsa.public_key().as_ref()).map(|it| URL_SAFE_NO_PAD.encode(it));
    let published = json!({"keys": [{"kty": "RSA", "n": n, "e": e}]});
    assert!(Keys::read_for_test(&published, &[SigningAlgorithm::Es256]).is_none());
    let one = Keys::read_for_test(&published, &[SigningAlgorithm::Rs256]).unwrap();
    assert_eq!(one.find(&head).err(), Some(TokenError::UnknownKey));
    let unnamed = Head {
        algorithm: Algorithm::RS256,
        key_id: None,
    };
    assert!(
        one.find(&unnamed).is_ok(),
        "where there is one, it needs no name"
    );
    let stronger = Head {
        algorithm: Algorithm::RS512,
        key_id: None,
    };
    assert_eq!(one.find(&stronger).err(), Some(TokenError::Algorithm));
}

// P14
#[test]
fn so_many_keys_are_read_and_no_more() {
    let world = World::new();
    let key = json!({"kty": "RSA", "n": world.modulus, "e": "AQAB"});
    let read = |count| {
        let published = json!({"keys": vec![key.clone(); count]});
        Keys::read_for_test(&published, &[SigningAlgorithm::Rs256])
    };
    assert_eq!(read(100).unwrap().len(), 100);
    assert!(read(101).is_none());
    assert!(read(0).is_none());
}

// T2, G1
#[test]
fn a_token_of_another_issuer_client_login_or_time_is_refused() {
    let world = World::new();
    let now = clock::now().as_second();
    let long = "x".repeat(MAX_SUBJECT + 1);
    for (name, value) in [
        ("iss", json!("https://sso.example/")),
        ("iss", json!("https://evil.example")),
        ("iss", json!([ISSUER])),
        ("iss", json!(null)),
        ("aud", json!("other")),
        ("aud", json!(["other"])),
        ("aud", json!([])),
        ("aud", json!(null)),
        ("aud", json!("palisade2")),
        ("azp", json!("other")),
        ("azp", json!(null)),
        ("exp", json!(now - LEEWAY - 2)),
        ("exp", json!("never")),
        ("exp", json!(null)),
        ("nbf", json!(now + LEEWAY + 2)),
        ("iat", json!(now + LEEWAY + 2)),
        ("iat", json!(now - OLDEST - 2)),
        ("iat", json!("now")),
        ("iat", json!(null)),
        ("nonce", json!("of-another")),
        ("nonce", json!("")),
        ("nonce", json!(null)),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!(long)),
        ("at_hash", json!("of-another-token")),
        ("at_hash", json!(null)),
    ] {
        let told = value.to_string();
        let refusal = world.refusal(&world.sign(&with(name, value)));
        let named = refusal == TokenError::Claim(name) || refusal == TokenError::Malformed;
        assert!(named, "{name}: {told}: {refusal}");
    }
    for name in ["iss", "aud", "exp", "iat", "nonce", "sub"] {
        let mut claims = good();
        claims.as_object_mut().unwrap().remove(name);
        assert_eq!(world.refusal(&world.sign(&claims)), TokenError::Claim(name));
    }
    // For several, and made for nobody or for another one of them.
    let several = with("aud", json!([CLIENT, "other"]));
    assert_eq!(
        world.refusal(&world.sign(&several)),
        TokenError::Claim("azp")
    );
}

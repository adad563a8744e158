//! An OpenID provider, from the browser's way there to the account that comes back.

use super::{codes_count_once, finish, log_in, provider, refused, told, with, without};
use crate::testkit::{
    issuer::{CLIENT, Issuer},
    site::Said,
};
use palisade::authn::providers::{ArrivalError, Provider};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

struct World {
    issuer: Issuer,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let issuer = Issuer::start().await;
        issuer.person("5f1c", &json!({"preferred_username": "Jane@corp.example", "name": "Jane Doe", "groups": ["devs", "ops"]}));
        Self {
            issuer,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The provider with further options of `oidc`.
    fn provider(&self, options: &str) -> Provider {
        let lines = self.issuer.provider("sso", self.folder.path(), options);
        provider("sso", &lines, self.folder.path())
    }

    async fn refusal(&self) -> String {
        told(log_in(&self.provider(""), &self.issuer.site).await)
    }
}

#[tokio::test]
async fn a_person_comes_back_with_name_groups_and_a_grant() {
    let world = World::new().await;
    let provider = world.provider("");
    assert!(provider.is_by_browser());
    let arrival = log_in(&provider, &world.issuer.site).await.unwrap();
    assert_eq!(&*arrival.name, "Jane@corp.example");
    assert_eq!(&*arrival.handle, "jane");
    assert_eq!(arrival.display_name, "Jane Doe");
    let groups: Vec<&str> = arrival.groups.iter().map(|group| &*group.id).collect();
    assert_eq!(groups, ["devs", "ops"]);
    assert!(arrival.grant.is_some());
    // Good for a key of the store, and of no other issuer's account.
    assert_eq!(arrival.id.len(), 64);
    let again = log_in(&provider, &world.issuer.site).await.unwrap();
    assert_eq!(arrival.id, again.id);
    let other = World::new().await;
    let elsewhere = log_in(&other.provider(""), &other.issuer.site)
        .await
        .unwrap();
    assert_ne!(
        arrival.id, elsewhere.id,
        "the same subject of another issuer"
    );
    // Documents and keys are read once.
    let read = |path| world.issuer.site.asked(path).len();
    assert_eq!(
        (read("/.well-known/openid-configuration"), read("/jwks")),
        (1, 1)
    );
    // The secret went in a header, to the token endpoint alone.
    for asked in world.issuer.site.asked("/token") {
        assert!(asked.f("client_secret").is_empty() && asked.f("client_id").is_empty());
        assert!(!asked.f("code_verifier").is_empty());
    }
}

#[tokio::test]
async fn what_is_configured_is_asked_for() {
    let world = World::new().await;
    let options = ", scopes: [groups, offline_access], prompt: 'login consent'";
    let begun = world.provider(options).begin(super::BACK).await.unwrap();
    let url = url::Url::parse(&begun.url).unwrap();
    let query: std::collections::BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    assert_eq!(query["scope"], "openid groups offline_access");
    assert_eq!(query["prompt"], "login consent");
    assert_eq!(query["redirect_uri"], super::BACK);
    assert_eq!(query["client_id"], CLIENT);
}

#[tokio::test]
async fn a_secret_goes_into_the_form_where_the_issuer_wants_it_there() {
    let world = World::new().await;
    world.issuer.change_document(|document| {
        document["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
    });
    let provider = world.provider("");
    assert!(log_in(&provider, &world.issuer.site).await.is_ok());
    let asked = world.issuer.site.asked("/token");
    assert!(asked[0].header("authorization").is_empty());
}

// T1
#[tokio::test]
async fn a_token_that_is_not_signed_as_it_should_be_lets_nobody_in() {
    let world = World::new().await;
    for (head, why) in [
        (json!({"alg": "none"}), "it is no signed JWT"),
        (
            json!({"alg": "HS256"}),
            "its key does not sign with such an algorithm",
        ),
        (
            json!({"alg": "RS256"}),
            "its key does not sign with such an algorithm",
        ),
        (
            json!({"kid": "two"}),
            "it names a key that the provider does not publish",
        ),
        (
            json!({"kid": "../../one"}),
            "it names a key that the provider does not publish",
        ),
        (json!({"crit": ["exp"]}), "it has critical extensions"),
    ] {
        let changes = head.clone();
        world.issuer.change_head(move |own| {
            let own = own.as_object_mut().unwrap();
            own.extend(changes.as_object().unwrap().clone());
        });
        let told = world.refusal().await;
        assert!(told.contains(why), "{head}: {told}");
    }
}

// T2, G1
#[tokio::test]
async fn a_token_of_another_issuer_client_login_or_time_lets_nobody_in() {
    let world = World::new().await;
    let now = palisade::status::clock::now().as_second();
    for (claim, value) in [
        ("iss", json!("https://evil.example")),
        ("aud", json!("another")),
        ("azp", json!("another")),
        ("aud", json!([CLIENT, "another"])),
        ("exp", json!(now - 60)),
        ("iat", json!(now + 60)),
        ("iat", json!(now - 3600)),
        ("nbf", json!(now + 60)),
        ("nonce", json!("of-another-login")),
        ("nonce", Value::Null),
        ("at_hash", json!("of-another-token")),
        ("sub", json!("")),
    ] {
        let changed = value.clone();
        world
            .issuer
            .change_claims(move |claims| claims[claim] = changed.clone());
        let told = world.refusal().await;
        assert!(
            told.contains("ID token is refused"),
            "{claim}: {value}: {told}"
        );
    }
    world.issuer.behave();
    assert_eq!(world.refusal().await, "let in: Jane@corp.example");
}

// G1, CVE-2026-44946
#[tokio::test]
async fn a_code_counts_once_and_for_the_login_that_asked_for_it() {
    let world = World::new().await;
    codes_count_once(&world.provider(""), &world.issuer.site, "/token").await;
}

// G1
#[tokio::test]
async fn the_answer_of_another_issuer_is_not_redeemed_at_this_one() {
    let world = World::new().await;
    let (provider, site) = (world.provider(""), &world.issuer.site);
    let begun = provider.begin(super::BACK).await.unwrap();
    let back = site.visit(&begun.url).await;
    for odd in [
        with(&back, "iss", "https://evil.example"),
        without(&back, "iss"),
    ] {
        let outcome = finish(&provider, &begun.pending, &odd).await;
        refused(outcome, |it| matches!(it, ArrivalError::Callback(_)));
    }
    assert!(site.asked("/token").is_empty());
    // A login that was begun at one provider, and comes back to another.
    let lines = world.issuer.provider("other", world.folder.path(), "");
    let other = super::provider("other", &lines, world.folder.path());
    let outcome = finish(&other, &begun.pending, &back).await;
    assert!(told(outcome).contains("it was begun at another provider"));
    // What the provider says no to is told before any code is looked for.
    let denied = with(&without(&back, "code"), "error", "access_denied");
    let outcome = finish(&provider, &begun.pending, &denied).await;
    refused(outcome, |it| matches!(it, ArrivalError::Denied { .. }));
}

#[tokio::test]
async fn a_discovery_document_that_is_of_somebody_else_or_leads_elsewhere_is_not_used() {
    let world = World::new().await;
    for (field, value, why) in [
        (
            "issuer",
            json!("https://evil.example"),
            "says that the issuer is",
        ),
        (
            "issuer",
            json!(format!("{}/", world.issuer.url())),
            "says that the issuer is",
        ),
        (
            "token_endpoint",
            json!("http://localhost:1/token"),
            "is not an https:// URL",
        ),
        (
            "token_endpoint",
            json!("https://jane:x@localhost/"),
            "has a name or a password in it",
        ),
        (
            "jwks_uri",
            json!("http://169.254.169.254/latest"),
            "is not an https:// URL",
        ),
        (
            "jwks_uri",
            json!("file:///etc/passwd"),
            "is not an https:// URL",
        ),
        (
            "authorization_endpoint",
            json!("javascript:alert(1)"),
            "is not an https:// URL",
        ),
        ("userinfo_endpoint", json!("//evil.example"), "is not a URL"),
        (
            "token_endpoint",
            json!(7),
            "is not the JSON that was expected",
        ),
        (
            "code_challenge_methods_supported",
            json!(["plain"]),
            "PKCE with S256",
        ),
    ] {
        let changed = value.clone();
        world
            .issuer
            .change_document(move |document| document[field] = changed.clone());
        let begun = world.provider("").begin(super::BACK).await;
        let told = begun.err().map_or(String::new(), |failure| failure.chain());
        assert!(told.contains(why), "{field}: {value}: {told}");
    }
}

// P14, CVE-2021-36778
#[tokio::test]
async fn an_issuer_that_answers_hugely_slowly_or_with_a_redirect_gives_no_answer() {
    let world = World::new().await;
    let fast = ", timeout: 500ms";
    for (at, said, why) in [
        (
            "/.well-known/openid-configuration",
            Said::Endless,
            "larger than 1048576 bytes",
        ),
        (
            "/.well-known/openid-configuration",
            Said::Silent,
            "within 500 ms",
        ),
        (
            "/.well-known/openid-configuration",
            Said::html("<html>"),
            "is not the JSON",
        ),
        (
            "/.well-known/openid-configuration",
            Said::answer(500, &json!({})),
            "with 500",
        ),
        ("/jwks", Said::Endless, "larger than 1048576 bytes"),
        ("/jwks", Said::Silent, "within 500 ms"),
        (
            "/jwks",
            Said::json(&json!({"keys": []})),
            "none that can be used",
        ),
        ("/token", Said::Endless, "larger than 1048576 bytes"),
        ("/token", Said::Silent, "within 500 ms"),
        (
            "/token",
            Said::answer(401, &json!({"error": "invalid_client"})),
            "invalid_client",
        ),
        ("/token", Said::json(&deep(1000)), "is not the JSON"),
        (
            "/token",
            Said::redirect("https://evil.example/?x"),
            "redirect to \"https://evil.example/\", which is not followed",
        ),
    ] {
        world
            .issuer
            .instead(move |asked| (asked.path == at).then(|| said.clone()));
        let began = Instant::now();
        let outcome = log_in(&world.provider(fast), &world.issuer.site).await;
        let told = refused(outcome, |it| matches!(it, ArrivalError::Failed(_)));
        assert!(told.contains(why), "{at}: {told}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

fn deep(levels: usize) -> Value {
    (0..levels).fold(json!("x"), |inner, _| json!([inner]))
}

// T1
#[tokio::test]
async fn tokens_of_keys_that_nobody_has_do_not_have_the_keys_read_again_and_again() {
    let world = World::new().await;
    let provider = world.provider("");
    assert!(log_in(&provider, &world.issuer.site).await.is_ok());
    for number in 0..20 {
        world
            .issuer
            .change_head(move |head| head["kid"] = json!(format!("unknown-{number}")));
        let told = told(log_in(&provider, &world.issuer.site).await);
        assert!(told.contains("does not publish"), "{told}");
    }
    assert_eq!(world.issuer.site.asked("/jwks").len(), 1);
}

#[tokio::test]
async fn groups_that_a_token_is_too_short_for_are_asked_for_or_nobody_comes_in() {
    let world = World::new().await;
    let overage = json!({"preferred_username": "jane", "_claim_names": {"groups": "src1"},
        "_claim_sources": {"src1": {"endpoint": "https://graph.example"}}});
    world.issuer.person("5f1c", &overage);
    let outcome = log_in(&world.provider(""), &world.issuer.site).await;
    let told = refused(outcome, |it| matches!(it, ArrivalError::Failed(_)));
    assert!(told.contains("does not say which groups"), "{told}");
    world.issuer.userinfo(
        "5f1c",
        &json!({"groups": ["devs"], "preferred_username": "root"}),
    );
    let arrival = log_in(&world.provider(", userinfo: true"), &world.issuer.site).await;
    let arrival = arrival.unwrap();
    assert_eq!(&*arrival.groups[0].name, "devs");
    assert_eq!(&*arrival.name, "jane", "the ID token comes first");
    // It is about somebody else.
    world
        .issuer
        .userinfo("5f1c", &json!({"sub": "another", "groups": ["admins"]}));
    let outcome = log_in(&world.provider(", userinfo: true"), &world.issuer.site).await;
    let told = super::told(outcome);
    assert!(told.contains("another subject"), "{told}");
}

// L6
#[tokio::test]
async fn an_address_that_is_not_verified_is_nobodys_name() {
    let world = World::new().await;
    let by_email = ", handle_claim: email";
    for (verified, why) in [
        (json!(false), "not verified"),
        (json!("true"), "not verified"),
        (json!(true), "let in: jane@corp.example"),
    ] {
        let claims = json!({"email": "jane@corp.example", "email_verified": verified});
        world.issuer.person("5f1c", &claims);
        let told = told(log_in(&world.provider(by_email), &world.issuer.site).await);
        assert!(told.contains(why), "{told}");
    }
}

#[tokio::test]
async fn a_certificate_of_somebody_else_gets_no_secret() {
    let (world, other) = (World::new().await, World::new().await);
    let lines = world.issuer.provider("sso", world.folder.path(), "");
    let own = world.issuer.site.ca_file(world.folder.path());
    let foreign = other.issuer.site.ca_file(world.folder.path());
    let lines = lines.replace(own.to_str().unwrap(), foreign.to_str().unwrap());
    let provider = provider("sso", &lines, world.folder.path());
    let failure = provider.begin(super::BACK).await.err().unwrap().chain();
    assert!(failure.contains("no connection to localhost"), "{failure}");
    assert!(
        world
            .issuer
            .site
            .asked("/.well-known/openid-configuration")
            .is_empty()
    );
}

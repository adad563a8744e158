//! Terminals whose person types the code at the provider itself, where that is switched on.

use crate::{
    testkit::{
        client::{Answer, h1_from, post_form},
        gate::Gate,
        github::{CLIENT, Github, Person, Typed},
        issuer::Issuer,
        site::Said,
    },
    web_grants::{DEVICE, error},
};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use palisade::{
    api::login::grants::PREFIX,
    authn::TokenText,
    objects::{Kind as _, Token, TokenKind},
    store::seal::associated,
};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

mod bounds;

const OCTO: u64 = 7;
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
const BEGINS: [(&str, &str); 2] = [("provider", "hub"), ("at", "provider")];
const ON: &str = ", device_flow: true";

struct World {
    gate: Gate,
    github: Github,
    lines: String,
    folder: tempfile::TempDir,
}

impl World {
    async fn new(options: &str) -> Self {
        let github = Github::start().await;
        let octo = Person {
            login: "octo".to_owned(),
            organizations: vec![(11, "acme", "active")],
            ..Person::default()
        };
        github.person(OCTO, octo);
        let folder = tempfile::tempdir().unwrap();
        let hub = github.provider("hub", folder.path(), "{groups: [acme]}", options);
        let lines = format!("providers:\n{hub}");
        Self {
            gate: Gate::start_configured(&lines).await,
            github,
            lines,
            folder,
        }
    }

    async fn begin(&self) -> Value {
        let answer = begin(&self.gate, &BEGINS).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.headers["cache-control"], "no-store");
        answer.json()
    }

    /// What a terminal hears after its person has done this.
    async fn after(&self, typed: Typed) -> Answer {
        let begun = self.begin().await;
        let user_code = begun["user_code"].as_str().unwrap();
        self.github.typed(user_code, typed);
        poll(&self.gate, code(&begun)).await
    }

    /// How often the provider was asked about a code.
    fn asked(&self) -> usize {
        self.github.site.asked("/login/oauth/access_token").len()
    }

    async fn sessions(&self) -> usize {
        let all = self.gate.store.list(&Token::prefix(), 100, None).await;
        all.unwrap().items.len()
    }
}

async fn begin(gate: &Gate, fields: &[(&str, &str)]) -> Answer {
    let mut all = vec![("client", "build-7")];
    all.extend(fields);
    post_form(HERE, gate, "/v1/login/device", &all).await
}

async fn poll(gate: &Gate, code: &str) -> Answer {
    poll_from(HERE, gate, code).await
}

async fn poll_from(from: Ipv4Addr, gate: &Gate, code: &str) -> Answer {
    let fields = [("grant_type", DEVICE), ("device_code", code)];
    post_form(from, gate, "/v1/login/token", &fields).await
}

fn code(begun: &Value) -> &str {
    begun["device_code"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_logs_in_by_a_code_that_is_typed_at_the_provider() {
    let world = World::new(ON).await;
    let ways = h1_from(
        HERE,
        &world.gate,
        Request::get("/v1/login/providers")
            .header("host", "localhost")
            .body(Full::new(Bytes::new()))
            .unwrap(),
    )
    .await;
    assert_eq!(ways.json()["providers"][1]["deviceFlow"], true);
    assert!(ways.json()["providers"][0].get("deviceFlow").is_none());
    let begun = world.begin().await;
    let page = format!("{}/login/device", world.github.site.url());
    assert_eq!(begun["verification_uri"], *page);
    assert_eq!(begun["expires_in"], 900);
    assert_eq!(begun["interval"], 5);
    // No link that has the code in it: it would be sent to somebody.
    assert!(begun.get("verification_uri_complete").is_none());
    // The provider's own code does not leave the gateway as it is.
    assert!(!code(&begun).contains("device-"));
    assert_eq!(
        error(&poll(&world.gate, code(&begun)).await),
        "authorization_pending"
    );
    let user_code = begun["user_code"].as_str().unwrap();
    world.github.typed(user_code, Typed::By(OCTO));
    let answer = poll(&world.gate, code(&begun)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.headers["cache-control"], "no-store");
    let answer = answer.json();
    assert_eq!(answer["user"]["name"], "hub:octo");
    let token = TokenText::parse(answer["token"].as_str().unwrap()).unwrap();
    assert_eq!(token.kind, TokenKind::Ses);
    // Nothing of it waited in the store.
    let grants = world.gate.store.list(PREFIX, 10, None).await.unwrap();
    assert_eq!(grants.items.len(), 0);
    let session = world.gate.get::<Token>(token.id.as_str()).await;
    assert_eq!(session.object.spec.display_name, "build-7");
    let metrics = world.gate.metrics().await;
    for step in ["begun", "fetched"] {
        let line = format!("palisade_terminal_logins_total{{way=\"provider\",step=\"{step}\"}} 1");
        assert!(metrics.contains(&line), "{line}");
    }
    world.gate.stop().await;
}

// G4: past the gateway's own page there is a way only where an administrator has made one.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_types_a_code_at_a_provider_unless_it_is_switched_on() {
    let world = World::new("").await;
    for (fields, said) in [
        (
            vec![("provider", "hub"), ("at", "provider")],
            "no device flow of its own",
        ),
        (vec![("at", "provider")], "no device flow of its own"),
        (
            vec![("provider", "local"), ("at", "provider")],
            "no device flow of its own",
        ),
        (
            vec![("provider", "nobody"), ("at", "provider")],
            "no such provider",
        ),
        (vec![("provider", "hub"), ("at", "elsewhere")], "at: "),
    ] {
        let answer = begin(&world.gate, &fields).await;
        assert_eq!(error(&answer), "invalid_request", "{fields:?}");
        assert!(
            answer.text().contains(said),
            "{fields:?}: {}",
            answer.text()
        );
    }
    assert!(world.github.site.asked("/login/device/code").is_empty());
    // What was begun before it was switched off comes to nothing.
    let other = World::new(ON).await;
    let begun = other.begin().await;
    let user_code = begun["user_code"].as_str().unwrap();
    other.github.typed(user_code, Typed::By(OCTO));
    let lines = other.lines.replace(ON, "");
    let off = other.gate.replica(&lines).await;
    assert_eq!(error(&poll(&off, code(&begun)).await), "invalid_grant");
    let lines = other.lines.replace("  hub:", "  bub:");
    let renamed = other.gate.replica(&lines).await;
    let moved = code(&begun).replace("at.hub.", "at.bub.");
    assert_eq!(error(&poll(&renamed, &moved).await), "invalid_grant");
    assert_eq!(other.sessions().await, 0);
    for gate in [off, renamed, other.gate, world.gate] {
        gate.stop().await;
    }
}

// An OpenID provider has none here, and a directory neither.
#[tokio::test(flavor = "multi_thread")]
async fn other_providers_have_no_such_flow() {
    let issuer = Issuer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let lines = format!("providers:\n{}", issuer.provider("sso", folder.path(), ""));
    let gate = Gate::start_configured(&lines).await;
    let answer = begin(&gate, &[("provider", "sso"), ("at", "provider")]).await;
    assert_eq!(error(&answer), "invalid_request");
    gate.stop().await;
}

// G4
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_of_a_code_is_told_in_the_words_of_the_flow() {
    let world = World::new(ON).await;
    let denied = world.after(Typed::Refused).await;
    assert_eq!(error(&denied), "access_denied");
    assert_eq!(error(&world.after(Typed::Late).await), "expired_token");
    // Asked for too often here, whatever the provider would say.
    let begun = world.begin().await;
    let mut said = Vec::new();
    for _ in 0..4 {
        said.push(error(&poll(&world.gate, code(&begun)).await));
    }
    let (pending, slower) = ("authorization_pending", "slow_down");
    assert_eq!(said, [pending, pending, slower, slower]);
    assert_eq!(
        world.asked(),
        4,
        "what was too often did not reach the provider"
    );
    // And there.
    world.github.instead(|asked| {
        let slower = json!({"error": "slow_down", "interval": 10});
        (!asked.f("device_code").is_empty()).then(|| Said::json(&slower))
    });
    let begun = world.begin().await;
    assert_eq!(error(&poll(&world.gate, code(&begun)).await), slower);
    assert_eq!(world.sessions().await, 0);
    world.gate.stop().await;
}

// L6, G2: who may not log in in a browser may not by a code.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_lets_in_nobody_whom_a_browser_would_not() {
    let world = World::new(ON).await;
    world.github.change(OCTO, |octo| octo.organizations.clear());
    let outside = world.after(Typed::By(OCTO)).await;
    assert_eq!(outside.status, 403, "{}", outside.text());
    world.github.change(OCTO, |octo| {
        octo.organizations.push((11, "acme", "pending"));
    });
    assert_eq!(world.after(Typed::By(OCTO)).await.status, 403);
    world.github.change(OCTO, |octo| {
        octo.organizations[0].2 = "active";
    });
    world.github.scopes("repo");
    assert_eq!(world.after(Typed::By(OCTO)).await.status, 403);
    world.github.scopes("read:org");
    assert_eq!(world.after(Typed::By(OCTO)).await.status, 201);
    assert_eq!(world.sessions().await, 1);
    // Somebody else who has the old name now.
    world
        .github
        .change(OCTO, |octo| octo.login = "renamed".to_owned());
    let thief = Person {
        login: "octo".to_owned(),
        organizations: vec![(11, "acme", "active")],
        ..Person::default()
    };
    world.github.person(8, thief);
    let answer = world.after(Typed::By(8)).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(answer.text().contains("belongs to another user"));
    world.gate.stop().await;
}

// G1, G4: a code is its terminal's, and good once, on whichever replica.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_good_once_on_every_replica_and_as_it_was_given() {
    let world = World::new(ON).await;
    let other = world.gate.replica(&world.lines).await;
    let begun = world.begin().await;
    let user_code = begun["user_code"].as_str().unwrap();
    let own = code(&begun);
    for odd in [
        "at.hub.",
        "at.hub",
        "at.",
        "at.nobody.v1.x.y",
        &own[..own.len() - 1],
        &own.replace("at.hub.", "at.hub.v1."),
        &format!("{own}{}", "x".repeat(5_000)),
        "at.hub.v1.00000000.AAAA",
    ] {
        assert_eq!(
            error(&poll(&world.gate, odd).await),
            "invalid_grant",
            "{odd}"
        );
    }
    world.github.typed(user_code, Typed::By(OCTO));
    assert_eq!(poll(&other, own).await.status, 201);
    assert_eq!(error(&poll(&world.gate, own).await), "invalid_grant");
    assert_eq!(world.sessions().await, 1);
    other.stop().await;
    world.gate.stop().await;
}

// L6, G4: nothing that the gateway has sealed for somewhere else is a device code here, whatever is in it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sealed_for_another_place_is_no_device_code() {
    let world = World::new(ON).await;
    world.begin().await;
    let device_code = world.github.device_codes().remove(0);
    let waiting = json!({
        "device_code": device_code, "client": "build-7", "from": "192.0.2.1",
        "expires_at": "2999-01-01T00:00:00Z",
    });
    let own = world.github.site.url();
    let sealed_for = |place: &[&str]| {
        let sealed = world
            .gate
            .keyring
            .seal(waiting.to_string().as_bytes(), &associated(place));
        format!("at.hub.{}", sealed.unwrap())
    };
    let place = "device at the provider hub";
    for other in [
        &["device at the provider bub", &own, CLIENT],
        &["accounts/hub/7", &own, CLIENT],
        &[place, "https://github.example", CLIENT],
        &[place, &own, "another"],
    ] {
        let answer = poll(&world.gate, &sealed_for(other)).await;
        assert_eq!(error(&answer), "invalid_grant", "{other:?}");
    }
    assert_eq!(world.asked(), 0);
    // So it is the place that counts.
    let answer = poll(&world.gate, &sealed_for(&[place, &own, CLIENT])).await;
    assert_eq!(error(&answer), "authorization_pending");
    world.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_was_used_for_nothing_is_told_as_used_and_not_as_late() {
    let world = World::new(ON).await;
    let begun = world.begin().await;
    let user_code = begun["user_code"].as_str().unwrap();
    world.github.typed(user_code, Typed::By(OCTO));
    // GitHub gives its token, and then does not say whose it is.
    world
        .github
        .instead(|asked| (asked.path == "/api/v3/user").then(|| Said::answer(502, &json!({}))));
    assert_eq!(poll(&world.gate, code(&begun)).await.status, 503);
    world.github.behave();
    let answer = poll(&world.gate, code(&begun)).await;
    assert_eq!(error(&answer), "invalid_grant");
    assert!(answer.text().contains("begin anew"), "{}", answer.text());
    assert_eq!(world.sessions().await, 0);
    let metrics = world.gate.metrics().await;
    let expired = "palisade_terminal_logins_total{way=\"provider\",step=\"expired\"} ";
    let counted = metrics.lines().find_map(|line| line.strip_prefix(expired));
    assert_eq!(counted.unwrap_or("0"), "0");
    world.gate.stop().await;
}

// RFC 7009, section 2.2.1
#[tokio::test(flavor = "multi_thread")]
async fn a_code_at_the_provider_is_not_told_to_be_revoked() {
    let world = World::new(ON).await;
    let begun = world.begin().await;
    let fields = [("token", code(&begun))];
    let answer = post_form(HERE, &world.gate, "/v1/login/revoke", &fields).await;
    assert_eq!(error(&answer), "unsupported_token_type");
    let user_code = begun["user_code"].as_str().unwrap();
    world.github.typed(user_code, Typed::By(OCTO));
    assert_eq!(poll(&world.gate, code(&begun)).await.status, 201);
    world.gate.stop().await;
}

// P14
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_answers_badly_gives_nobody_a_code() {
    let world = World::new(ON).await;
    let good = json!({
        "device_code": "x", "user_code": "WDJB-0001", "expires_in": 900,
        "verification_uri": format!("{}/login/device", world.github.site.url()),
    });
    let mut odd = Vec::new();
    for (field, value) in [
        (
            "verification_uri",
            json!("https://evil.example/login/device"),
        ),
        ("verification_uri", json!("javascript:alert(1)")),
        ("user_code", json!("\u{1b}[2J")),
        ("user_code", json!("x".repeat(33))),
        ("user_code", json!("")),
        ("device_code", json!("")),
        ("device_code", json!("x".repeat(257))),
        ("expires_in", json!(0)),
        ("expires_in", json!("soon")),
        ("error", json!("device_flow_disabled")),
    ] {
        let mut answer = good.clone();
        answer[field] = value;
        odd.push(Said::json(&answer));
    }
    odd.push(Said::answer(500, &json!({})));
    odd.push(Said::redirect("https://evil.example/"));
    odd.push(Said::Endless);
    for said in odd {
        let shown = format!("{said:?}");
        world
            .github
            .instead(move |asked| (asked.path == "/login/device/code").then(|| said.clone()));
        let answer = begin(&world.gate, &BEGINS).await;
        assert_eq!(answer.status, 503, "{shown}: {}", answer.text());
        assert!(!answer.text().contains("evil"), "{}", answer.text());
    }
    world
        .github
        .instead(move |asked| (asked.path == "/login/device/code").then(|| Said::json(&good)));
    assert_eq!(begin(&world.gate, &BEGINS).await.status, 200);
    // Away when it is asked: no refusal, and the code goes on.
    world.github.behave();
    let begun = world.begin().await;
    world.github.instead(|asked| {
        (asked.path == "/login/oauth/access_token").then(|| Said::answer(502, &json!({})))
    });
    assert_eq!(poll(&world.gate, code(&begun)).await.status, 503);
    world.github.behave();
    let user_code = begun["user_code"].as_str().unwrap();
    world.github.typed(user_code, Typed::By(OCTO));
    assert_eq!(poll(&world.gate, code(&begun)).await.status, 201);
    assert!(world.folder.path().exists());
    world.gate.stop().await;
}

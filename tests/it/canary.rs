//! G8, O6: secrets are sent in every form to every kind of endpoint, and turn up nowhere.

use crate::testkit::{
    canary::{self, PLANTED_WORD},
    client::{Answer, empty, get, h1, origin_form, tls},
    fake_api::FakeApi,
    gate::{Gate, world},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, StatusCode, request::Builder};
use http_body_util::Full;
use tokio::io::AsyncWriteExt as _;

const OWN: &str = "/apis/palisade.dev/v1alpha1";
const TARGETS: &[&str] = &[
    "/",
    "/version",
    "/apis",
    "/openapi/v3",
    "/apis/palisade.dev/v1alpha1/users",
    "/apis/palisade.dev/v1alpha1/tokens/none",
    "/v1/login/providers",
    "/v1/login/nothing",
    "/k8s/clusters/fake/api/v1/pods",
    "/k8s/clusters/fake/api/v1/secrets",
    "/k8s/clusters/none/api/v1/pods",
    "/k8s/clusters/fake/api/v1/../pods",
    "/nothing/at/all",
];

/// Every place of a head in which clients have been seen to carry a credential.
fn planted_heads(target: &str) -> Vec<Builder> {
    let bearer = format!(
        "base64url.bearer.authorization.k8s.io.{}, v5.channel.k8s.io",
        BASE64_URL_SAFE_NO_PAD.encode(PLANTED_WORD)
    );
    let long = format!("pal_pat_{}{PLANTED_WORD}", "0".repeat(54));
    let header = |name: &str, value: String| Request::get(target).header(name, value);
    let mut heads: Vec<Builder> = [
        ("authorization", format!("Bearer {PLANTED_WORD}")),
        ("authorization", format!("Bearer {long}")),
        ("authorization", format!("Basic {PLANTED_WORD}")),
        ("authorization", PLANTED_WORD.to_owned()),
        ("proxy-authorization", format!("Bearer {PLANTED_WORD}")),
        ("cookie", format!("__Host-session={PLANTED_WORD}")),
        ("referer", format!("https://gate/?token={PLANTED_WORD}")),
        ("x-remote-user", PLANTED_WORD.to_owned()),
        ("x-auth-token", PLANTED_WORD.to_owned()),
        ("sec-websocket-protocol", bearer.clone()),
    ]
    .into_iter()
    .map(|(name, value)| header(name, value))
    .collect();
    heads.push(
        header("sec-websocket-protocol", bearer)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket"),
    );
    for query in ["token", "access_token", "password", "command"] {
        heads.push(Request::get(format!("{target}?{query}={PLANTED_WORD}")));
    }
    heads
}

fn with_host(builder: Builder) -> Request<Full<Bytes>> {
    builder
        .header("host", "localhost")
        .body(Full::default())
        .unwrap()
}

#[track_caller]
fn is_clean(what: &str, answer: &Answer) {
    let whole = format!("{:?} {}", answer.headers, answer.text());
    assert_eq!(canary::find(whole.as_bytes(), &[]), None, "{what}");
    let encoded = BASE64_URL_SAFE_NO_PAD.encode(PLANTED_WORD);
    assert!(!whole.contains(&encoded), "{what}: {whole}");
}

/// Everything that the gateway keeps or shows, beside its log, which [`Gate::stop`] looks at.
async fn nothing_is_kept(gate: &Gate) {
    let mut scan = gate.store.scan("").await.unwrap();
    while let Some(page) = scan.next().await {
        for entry in page.unwrap() {
            assert_eq!(canary::find(&entry.value, &[]), None, "{}", entry.key);
        }
    }
    let metrics = gate.metrics().await;
    assert_eq!(canary::find(metrics.as_bytes(), &[]), None);
}

#[tokio::test]
async fn a_credential_in_any_form_turns_up_nowhere() {
    let (gate, _fake, token) = world().await;
    for target in TARGETS {
        for head in planted_heads(target) {
            let request = with_host(head);
            let what = format!("{} {:?}", request.uri(), request.headers());
            is_clean(&what, &h1(&gate, request).await);
        }
        // The same beside a good token: the request gets further.
        for head in planted_heads(target) {
            if head
                .headers_ref()
                .is_some_and(|h| h.contains_key("authorization") || h.contains_key("upgrade"))
            {
                continue;
            }
            let request = with_host(head.header("authorization", format!("Bearer {token}")));
            let what = format!("{} with a token", request.uri());
            is_clean(&what, &h1(&gate, request).await);
        }
    }
    nothing_is_kept(&gate).await;
    gate.stop().await;
}

// A person pastes a token into an address: it is in the request's target, and in no line of the log.
#[tokio::test]
async fn a_token_in_an_address_is_not_logged() {
    let (gate, fake, token) = world().await;
    for target in [
        format!("/{token}"),
        format!("/k8s/clusters/fake/api/v1/namespaces/{token}/pods"),
        format!("/k8s/clusters/{token}/api/v1/pods"),
        format!("{OWN}/tokens/{token}"),
        format!("/v1/login/{token}"),
        format!("/k8s/clusters/fake/api/v1/pods?token={token}"),
    ] {
        let answer = h1(&gate, origin_form(empty(get(&gate, &target, &token)))).await;
        assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{target}");
    }
    drop(fake);
    gate.stop().await;
}

#[tokio::test]
async fn a_secret_in_a_body_turns_up_nowhere() {
    let gate = Gate::start().await;
    let fake = FakeApi::start(&["h2", "http/1.1"]).await;
    gate.cluster("fake", &fake).await;
    let token = gate.user("root").await;
    gate.bind_global("admin", "root").await;
    let paths = [
        ("POST", "/v1/login/password".to_owned()),
        ("POST", "/v1/login/renew".to_owned()),
        ("PUT", format!("{OWN}/users/root/password")),
        ("PUT", format!("{OWN}/clusters/fake/credential")),
        ("POST", format!("{OWN}/tokens")),
        ("POST", format!("{OWN}/users")),
        ("PATCH", format!("{OWN}/users/root")),
        (
            "POST",
            "/k8s/clusters/fake/api/v1/namespaces/a/pods".to_owned(),
        ),
    ];
    let bodies = [
        format!(
            r#"{{"provider":"local","username":"{PLANTED_WORD}","password":"{PLANTED_WORD}"}}"#
        ),
        format!(r#"{{"provider":"local","username":"root","password":"{PLANTED_WORD}"}}"#),
        format!(r#"{{"password":"{PLANTED_WORD}","current":"{PLANTED_WORD}"}}"#),
        format!(r#"{{"password":"{PLANTED_WORD}""#),
        format!(r#"{{"reconciler":"{PLANTED_WORD}","impersonator":"{PLANTED_WORD}"}}"#),
        format!("{PLANTED_WORD}: {{"),
    ];
    for (method, path) in &paths {
        for body in &bodies {
            for with_token in [Some(&token), None] {
                let mut request = Request::builder()
                    .method(*method)
                    .uri(path)
                    .header("host", "localhost")
                    .header(
                        "content-type",
                        if *method == "PATCH" {
                            "application/merge-patch+json"
                        } else {
                            "application/json"
                        },
                    );
                if let Some(token) = with_token {
                    request = request.header("authorization", format!("Bearer {token}"));
                }
                let request = request.body(Full::from(body.clone())).unwrap();
                let answer = h1(&gate, request).await;
                is_clean(&format!("{method} {path} {body}"), &answer);
            }
        }
    }
    nothing_is_kept(&gate).await;
    gate.stop().await;
}

// What no HTTP parser takes must not be quoted either.
#[tokio::test]
async fn a_secret_in_broken_http_is_not_logged() {
    let (gate, _fake, token) = world().await;
    for bytes in [
        format!("GET /{PLANTED_WORD} HTTP/9.9\r\nAuthorization: Bearer {token}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nAuthorization: Bearer {token}\r\nHost : {PLANTED_WORD}\r\n\r\n"),
        format!("Bearer {token}\r\n\r\n"),
    ] {
        let mut stream = tls(&gate, &["http/1.1"]).await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let answer = crate::testkit::client::read_until(&mut stream, "").await;
        assert_eq!(canary::find(answer.as_bytes(), &[]), None, "{bytes}");
    }
    gate.stop().await;
}

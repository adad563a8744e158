//! Logging in by a browser, against a small gateway that speaks the wire of docs/login.md.

use super::{
    device, loopback,
    wire::{LoggedIn, Providers},
    *,
};
use crate::cli::fake::{FakeGateway, json};
use base64::Engine as _;
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// What was asked: path and form.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

fn logged_in() -> Value {
    json!({
        "token": "pal_ses_text",
        "expiresAt": "2026-11-23T05:00:00Z",
        "renewableUntil": "2026-11-30T05:00:00Z",
        "user": {"name": "jane", "uid": "u-1"},
    })
}

/// A gateway whose token endpoint gives these answers one after the other, and a client of it.
async fn gateway(answers: Vec<(u16, Value)>) -> (HttpClient, String, Asked) {
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    let left = Mutex::new(answers.into_iter());
    let fake = FakeGateway::start(move |request: Request<Bytes>| {
        let path = request.uri().path().to_owned();
        let form = String::from_utf8(request.body().to_vec()).unwrap();
        seen.lock().unwrap().push((path.clone(), form));
        if path == "/v1/login/device" {
            let begun = json!({
                "device_code": "secret-device-code",
                "user_code": "BCDF-GHJK",
                "verification_uri": "https://gate/device",
                "verification_uri_complete": "https://gate/device?user_code=BCDF-GHJK",
                "expires_in": 600,
                "interval": 1,
            });
            return Some(json(200, &begun));
        }
        let (status, body) = left.lock().unwrap().next()?;
        Some(json(status, &body))
    });
    let fake = fake.await;
    let options = Options {
        trust: Trust::Ca(fake.ca),
        ..Options::default()
    };
    (
        HttpClient::new(&fake.url, options).unwrap(),
        fake.url,
        asked,
    )
}

fn said(answer: Result<LoggedIn, Failure>) -> String {
    answer.err().unwrap().to_string()
}

#[tokio::test]
async fn a_device_asks_with_its_code_until_the_person_says_yes() {
    let pending = (400, json!({"error": "authorization_pending"}));
    let (http, _, asked) = gateway(vec![pending, (201, logged_in())]).await;
    let answer = device::log_in(&http, Some("hub"), CodeTypedAt::Gateway)
        .await
        .ok()
        .unwrap();
    assert_eq!(answer.token, "pal_ses_text");
    let asked = asked.lock().unwrap();
    assert!(asked[0].1.contains("client=palisade%20"), "{asked:?}");
    assert!(asked[0].1.ends_with("&provider=hub"), "{asked:?}");
    let token = (
        "/v1/login/token".to_owned(),
        "grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=secret-device-code"
            .to_owned(),
    );
    assert_eq!(asked[1..], [token.clone(), token]);
}

#[tokio::test]
async fn a_code_of_the_providers_is_asked_for_as_such() {
    let (http, _, asked) = gateway(vec![(201, logged_in())]).await;
    let answer = device::log_in(&http, Some("hub"), CodeTypedAt::Provider).await;
    assert_eq!(answer.ok().unwrap().token, "pal_ses_text");
    let asked = asked.lock().unwrap();
    assert!(
        asked[0].1.ends_with("&provider=hub&at=provider"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn what_the_gateway_refuses_is_said_in_words() {
    for (error, words) in [
        ("access_denied", "the login was refused in the browser"),
        ("expired_token", "nobody confirmed the login in time"),
        ("invalid_grant", "does not take the login any more"),
        (
            "invalid_request",
            "the gateway refuses the login: why it is so",
        ),
    ] {
        let body = json!({"error": error, "error_description": "why it is so"});
        let (http, _, _) = gateway(vec![(400, body)]).await;
        let said = said(device::log_in(&http, None, CodeTypedAt::Gateway).await);
        assert!(said.contains(words), "{said}");
    }
}

/// Plays the browser: opens the address, says yes, and brings `answer` to the program.
async fn come_back(url: &str, answer: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let uri: http::Uri = url.parse().unwrap();
    let axum::extract::Query(pairs) =
        axum::extract::Query::<std::collections::BTreeMap<String, String>>::try_from_uri(&uri)
            .unwrap();
    assert_eq!(uri.path(), "/authorize");
    assert_eq!(pairs["response_type"], "code");
    assert_eq!(pairs["client_id"], "palisade-cli");
    assert_eq!(pairs["code_challenge_method"], "S256");
    assert_eq!(pairs["provider"], "hub");
    let back: http::Uri = pairs["redirect_uri"].parse().unwrap();
    let host = back.authority().unwrap().as_str();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let target = format!("{}?{answer}&state={}", back.path(), pairs["state"]);
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    pairs["code_challenge"].clone()
}

#[tokio::test]
async fn the_browsers_code_is_exchanged_with_the_verifier_of_the_challenge() {
    let (http, url, asked) = gateway(vec![(201, logged_in())]).await;
    let begun = loopback::Begun::new(&url, Some("hub")).await.unwrap();
    let address = begun.url.clone();
    let browser = tokio::spawn(async move { come_back(&address, "code=c-1").await });
    let answer = begun.finish(&http).await.ok().unwrap();
    assert_eq!(answer.user.name, "jane");
    let challenge = browser.await.unwrap();
    let asked = asked.lock().unwrap();
    let form: http::Uri = format!("/?{}", asked[0].1).parse().unwrap();
    let axum::extract::Query(form) =
        axum::extract::Query::<std::collections::BTreeMap<String, String>>::try_from_uri(&form)
            .unwrap();
    assert_eq!(form["grant_type"], "authorization_code");
    assert_eq!(form["code"], "c-1");
    assert!(form["redirect_uri"].starts_with("http://127.0.0.1:"));
    assert!(form["redirect_uri"].ends_with("/callback"));
    let sum =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, form["code_verifier"].as_bytes());
    assert_eq!(
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(sum),
        challenge
    );
}

#[tokio::test]
async fn no_in_the_browser_ends_the_command_and_asks_for_nothing() {
    let (http, url, asked) = gateway(Vec::new()).await;
    for (answer, words) in [
        ("error=access_denied", "refused in the browser"),
        (
            "error=server_error",
            "the gateway refuses the login: server_error",
        ),
        (
            "error=%1B%5B31mred",
            "the gateway refuses the login: \u{fffd}[31mred",
        ),
    ] {
        let begun = loopback::Begun::new(&url, Some("hub")).await.unwrap();
        let address = begun.url.clone();
        tokio::spawn(async move { come_back(&address, answer).await });
        let said = said(begun.finish(&http).await);
        assert!(said.contains(words), "{said}");
    }
    assert!(asked.lock().unwrap().is_empty());
}

// The gateway refuses names that a person could not read as they are; a machine may have one all the same.
#[test]
fn the_machines_name_is_one_that_the_gateway_takes() {
    use crate::api::login::grants::client_name;
    let version = env!("CARGO_PKG_VERSION");
    for (host, shown) in [
        ("build-7.example.com\n", " on build-7.example.com"),
        ("Jane's laptop (old)", " on Jane's laptop (old)"),
        ("b\u{fc}ro\u{202e}\u{2764}", " on b-ro--"),
        ("a\tb\0<c>&d\"%;=", " on a-b--c--d----"),
        ("\u{fffd}", " on -"),
        ("  \n", ""),
    ] {
        let name = client_on(host);
        assert_eq!(name, format!("palisade {version}{shown}"));
        assert_eq!(client_name(&name), Some(name.as_str()));
    }
    let long = client_on(&"\u{fc}".repeat(500));
    assert_eq!((long.len(), client_name(&long)), (100, Some(&*long)));
    assert_eq!(client_name(&client()), Some(&*client()));
}

#[tokio::test]
async fn a_login_that_is_given_up_is_taken_back() {
    let (http, _, asked) = gateway(vec![(200, json!({})), (404, json!({}))]).await;
    for _ in 0..2 {
        device::take_back(&http, CodeTypedAt::Gateway, "secret-device-code").await;
    }
    device::take_back(&http, CodeTypedAt::Provider, "at.hub.another").await;
    let revoked = (
        "/v1/login/revoke".to_owned(),
        "token=secret-device-code".to_owned(),
    );
    assert_eq!(*asked.lock().unwrap(), [revoked.clone(), revoked]);
}

fn providers(list: &Value, grants: &[&str]) -> Providers {
    serde_json::from_value(json!({"providers": list, "grants": grants})).unwrap()
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: LoginArgs,
}

/// Without a terminal, as tests run.
fn chosen(providers: &Providers, line: &str) -> String {
    use clap::Parser as _;
    let line = Line::try_parse_from(["login"].into_iter().chain(line.split_whitespace()));
    match line
        .map(|line| choose::choose(providers, &line.args).map(|it| (it.0, it.1.map(str::to_owned))))
    {
        Ok(Ok((way, provider))) => format!("{way:?} {}", provider.unwrap_or_default()),
        Ok(Err(failure)) => failure.to_string(),
        Err(wrong) => wrong.kind().to_string(),
    }
}

#[test]
fn a_device_login_that_nobody_asked_for_needs_somebody_to_see_it() {
    use clap::Parser as _;
    let seen = |line: &[&str], way, terminal| {
        let line = Line::try_parse_from(["login"].iter().chain(line)).unwrap();
        check_seen(way, &line.args, terminal).is_ok()
    };
    assert!(!seen(&[], Way::Device, false));
    assert!(seen(&[], Way::Device, true));
    assert!(seen(&["--device"], Way::Device, false));
    assert!(seen(&[], Way::Loopback, false));
    assert!(seen(&[], Way::Password, false));
}

#[test]
fn the_way_follows_from_the_provider_and_what_was_asked_for() {
    let local = json!({"name": "local", "flow": "password"});
    let corp = json!({"name": "corp", "flow": "password"});
    let hub = json!({"name": "hub", "flow": "browser"});
    let all = ["device", "authorization_code"];
    let one = providers(&json!([local]), &all);
    assert_eq!(chosen(&one, ""), "Password local");
    assert_eq!(chosen(&one, "--browser"), "Loopback ");
    assert_eq!(chosen(&one, "--device --provider local"), "Device local");
    let conflict = clap::error::ErrorKind::ArgumentConflict.to_string();
    for wrong in [
        "--device --browser",
        "--device -u jane",
        "--browser --password-stdin",
        "--device --device-at-provider",
        "--browser --device-at-provider",
        "--device-at-provider -u jane",
    ] {
        assert_eq!(chosen(&one, wrong), conflict);
    }
    let mixed = providers(&json!([local, corp, hub]), &all);
    assert!(chosen(&mixed, "").contains("one of local, corp, hub"));
    assert!(chosen(&mixed, "-u jane --password-stdin").contains("one of local, corp"));
    assert_eq!(chosen(&mixed, "--device"), "Device ");
    assert_eq!(chosen(&mixed, "--provider corp"), "Password corp");
    assert!(chosen(&mixed, "--provider hub -u jane").contains("hub has no passwords"));
    assert!(chosen(&mixed, "--provider nope").contains("no provider \"nope\""));
    assert!(chosen(&mixed, "--device-at-provider").contains("no provider of this gateway"));
    assert!(chosen(&mixed, "--device-at-provider --provider hub").contains("typed at hub itself"));
    let coded = json!({"name": "hub", "flow": "browser", "deviceFlow": true});
    let with_codes = providers(&json!([local, coded]), &all);
    for line in [
        "--device-at-provider",
        "--device-at-provider --provider hub",
    ] {
        assert_eq!(chosen(&with_codes, line), "DeviceAtProvider hub");
    }
    assert_eq!(chosen(&with_codes, "--device --provider hub"), "Device hub");
    let other = json!({"name": "bub", "flow": "browser", "deviceFlow": true});
    let several = providers(&json!([coded, other]), &all);
    assert!(chosen(&several, "--device-at-provider").contains("one of hub, bub"));
    let two = providers(&json!([local, hub]), &all);
    assert_eq!(chosen(&two, "-u jane --password-stdin"), "Password local");
    let newer = providers(&json!([{"name": "x", "flow": "passkey"}]), &all);
    assert!(chosen(&newer, "").contains("the flow \"passkey\""));
    let older = providers(&json!([local]), &[]);
    assert_eq!(chosen(&older, ""), "Password local");
    assert!(chosen(&older, "--device").contains("older than this palisade"));
    assert!(chosen(&older, "--browser").contains("older than this palisade"));
}

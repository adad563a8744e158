//! The audit log: every request has its events, and what cannot be recorded is not done.

use crate::testkit::{
    client::{Answer, empty, get, h1, h2, origin_form, raw, read_until, tls},
    fake_api::{FakeApi, Reply},
    gate::{Gate, world},
};
use bytes::Bytes;
use http::{Method, Request, StatusCode, request::Builder};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use palisade::serve::lifecycle::Drained;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, os::unix::fs::symlink, time::Duration};
use tokio::io::AsyncWriteExt as _;

const PODS: &str = "/k8s/clusters/fake/api/v1/namespaces/default/pods";
const OWN: &str = "/apis/palisade.dev/v1alpha1";
const AGENT: &str = "kubectl/v1.36.2 (linux/amd64) kubernetes/abcdef0";

async fn ask(gate: &Gate, method: Method, target: &str, token: &str) -> Answer {
    let request = get(gate, target, token)
        .method(method)
        .header("user-agent", AGENT);
    h2(gate, empty(request)).await
}

fn id(answer: &Answer) -> String {
    let id = &answer.headers["palisade-request-id"];
    id.to_str().unwrap().to_owned()
}

/// The lines of the file with what differs from run to run taken out.
fn masked(gate: &Gate, events: &[Value]) -> String {
    let mut text = fs::read_to_string(gate.audit_file()).unwrap();
    for event in events {
        for (place, like) in [
            ("/auditID", 36),
            ("/user/uid", 36),
            ("/user/extra/palisade.dev~1token-id/0", 16),
            ("/requestReceivedTimestamp", 27),
            ("/stageTimestamp", 27),
        ] {
            if let Some(value) = event.pointer(place).and_then(Value::as_str) {
                assert_eq!(value.len(), like, "{place}: {value}");
                text = text.replace(value, "…");
            }
        }
        for key in ["duration-seconds", "bytes-sent"] {
            let value = event["annotations"][format!("palisade.dev/{key}")].as_str();
            let value = value.filter(|value| value.parse::<f64>().is_ok()).unwrap();
            text = text.replace(&format!("{key}\":\"{value}\""), &format!("{key}\":\"…\""));
        }
    }
    text
}

/// The events of one request, by their stages.
fn of<'e>(events: &'e [Value], id: &str) -> BTreeMap<&'e str, &'e Value> {
    let mut found = BTreeMap::new();
    for event in events.iter().filter(|event| event["auditID"] == id) {
        let before = found.insert(event["stage"].as_str().unwrap(), event);
        assert!(before.is_none(), "twice: {event}");
    }
    found
}

// T9: whatever becomes of a request, it has exactly one end.
#[tokio::test]
async fn every_request_has_exactly_one_event_at_its_end() {
    let (gate, fake, token) = world().await;
    gate.group("devs", &["jane"]).await;
    let mut answers = Vec::new();
    for (method, target, token, code) in [
        (Method::GET, PODS.to_owned(), &*token, 200),
        (Method::GET, format!("{PODS}/web"), &token, 200),
        (Method::HEAD, format!("{PODS}/web"), &token, 200),
        (
            Method::POST,
            PODS.replace("pods", "configmaps"),
            &token,
            200,
        ),
        (
            Method::GET,
            "/k8s/clusters/fake/version".to_owned(),
            &token,
            200,
        ),
        (Method::GET, PODS.replace("pods", "secrets"), &token, 403),
        (Method::GET, PODS.replace("fake", "none"), &token, 403),
        (Method::GET, format!("{OWN}/tokens"), &token, 200),
        (Method::GET, format!("{OWN}/users"), &token, 403),
        (Method::GET, format!("{OWN}/nothing"), &token, 403),
        (Method::GET, "/".to_owned(), &token, 200),
        (Method::GET, PODS.to_owned(), "no-token", 401),
        (Method::GET, format!("{PODS}/..%2f"), &token, 400),
        (Method::GET, "/v1/login/providers".to_owned(), "", 200),
        (Method::GET, "/v1/login/password".to_owned(), "", 405),
    ] {
        let answer = ask(&gate, method.clone(), &target, token).await;
        assert_eq!(answer.status, code, "{method} {target}: {}", answer.text());
        answers.push(answer);
    }
    let events = gate.events(answers.len()).await;
    assert_eq!(events.len(), answers.len());
    for answer in &answers {
        let found = of(&events, &id(answer));
        let event = found["ResponseComplete"];
        assert_eq!(event["responseStatus"]["code"], answer.status.as_u16());
        let sent = event["annotations"]["palisade.dev/bytes-sent"].as_str();
        assert_eq!(sent, Some(&*answer.body.len().to_string()), "{event}");
        assert_eq!(event["annotations"].get("palisade.dev/cut"), None);
    }
    // The cluster's own audit log has the same ids.
    for received in fake.received() {
        let found = of(&events, &received.all("audit-id")[0]);
        assert_eq!(found.len(), 1);
    }
    insta::assert_snapshot!(masked(&gate, &events));
    gate.stop().await;
}

/// Opens a stream over HTTP/2 and reads its first chunk; dropping what it gives ends it.
async fn watch(gate: &Gate, request: Builder) -> (String, impl Sized) {
    let io = TokioIo::new(tls(gate, &["h2"]).await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let driver = tokio::spawn(connection);
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let id = response.headers()["palisade-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    (id, (body, sender, driver))
}

#[tokio::test]
async fn a_watch_has_an_event_at_its_start_and_one_at_its_end() {
    let (gate, fake, token) = world().await;
    fake.script([Reply::Stall(Bytes::from_static(b"{\"type\":\"ADDED\"}\n"))]);
    let (id, open) = watch(&gate, get(&gate, &format!("{PODS}?watch=true"), &token)).await;
    let events = gate.events(1).await;
    assert_eq!(events.len(), 1);
    let started = of(&events, &id)["ResponseStarted"];
    assert_eq!(started["verb"], "watch");
    assert_eq!(started["responseStatus"]["code"], 200);
    drop(open);
    let events = gate.events(2).await;
    let ended = of(&events, &id)["ResponseComplete"];
    let annotations = &ended["annotations"];
    assert_eq!(annotations["palisade.dev/bytes-sent"], "17");
    assert_eq!(annotations["palisade.dev/cut"], "true");
    for field in ["verb", "requestURI", "user", "objectRef", "sourceIPs"] {
        assert_eq!(started[field], ended[field]);
    }
    gate.stop().await;
}

fn upgrade(method: &str, protocol: &str, token: &str) -> String {
    format!(
        "{method} {PODS}/x/exec?command=mysql&command=-pcanary-7f3k&stdin=true HTTP/1.1\r\n\
         Host: localhost\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\
         Content-Length: 0\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
    )
}

/// One unmasked binary message.
fn message(channel: u8, text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len() + 1).unwrap().to_be_bytes();
    [&[0x82, 126, length[0], length[1], channel], text.as_bytes()].concat()
}

#[tokio::test]
async fn an_exec_tells_its_bytes_and_how_it_ended_but_not_its_command() {
    let (gate, fake, token) = world().await;
    let failed = r#"{"status":"Failure","reason":"NonZeroExitCode","message":"mysql -pcanary-7f3k",
        "details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#;
    let said = [message(1, "out"), message(3, failed)].concat();
    for (method, protocol, exit) in [("GET", "websocket", "7"), ("POST", "SPDY/3.1", "unknown")] {
        fake.script([Reply::Says("v5.channel.k8s.io", said.clone().into())]);
        let mut stream = tls(&gate, &["http/1.1"]).await;
        stream
            .write_all(upgrade(method, protocol, &token).as_bytes())
            .await
            .unwrap();
        let head = read_until(&mut stream, "\r\n\r\n").await.to_lowercase();
        let (_, id) = head.split_once("palisade-request-id: ").unwrap();
        let id = id.split("\r\n").next().unwrap();
        stream.write_all(b"12345").await.unwrap();
        stream.shutdown().await.unwrap();
        read_until(&mut stream, "").await;
        let count = if method == "GET" { 2 } else { 4 };
        let events = gate.events(count).await;
        let found = of(&events, id);
        assert_eq!(found["ResponseStarted"]["responseStatus"]["code"], 101);
        let end = found["ResponseComplete"];
        assert_eq!(end["objectRef"]["subresource"], "exec");
        assert_eq!(end["requestURI"], format!("{PODS}/x/exec?stdin=true"));
        let annotations = &end["annotations"];
        assert_eq!(annotations["palisade.dev/hidden-parameters"], "2");
        assert_eq!(annotations["palisade.dev/exit-code"], exit);
        assert_eq!(annotations["palisade.dev/bytes-received"], "5");
        let sent = said.len().to_string();
        assert_eq!(annotations["palisade.dev/bytes-sent"], sent);
    }
    gate.stop().await;
}

/// Has the audit log find a full disk from the next event on.
async fn fill_disk(gate: &Gate, token: &str) {
    let file = gate.audit_file();
    fs::rename(&file, file.with_extension("before")).unwrap();
    symlink("/dev/full", &file).unwrap();
    // Its event is the first that finds no place.
    ask(gate, Method::GET, &format!("{OWN}/tokens"), token).await;
    while gate.app.audit().can_admit().is_ok() {
        tokio::task::yield_now().await;
    }
}

// T9: with a full disk nothing is done, and nothing of what was done is forgotten.
#[tokio::test]
async fn a_full_disk_refuses_everybody_before_anything_is_done() {
    let (gate, fake, token) = world().await;
    fake.script([Reply::Stall(Bytes::from_static(b"{}\n"))]);
    let (watched, open) = watch(&gate, get(&gate, &format!("{PODS}?watch=true"), &token)).await;
    gate.events(1).await;
    fill_disk(&gate, &token).await;
    let before = fake.received().len();
    let said =
        "the gateway's audit log takes no entries at the moment, so nothing may be done; try again";
    for (method, target) in [
        (Method::GET, PODS.to_owned()),
        (Method::POST, PODS.replace("pods", "configmaps")),
        (Method::GET, PODS.replace("pods", "secrets")),
        (Method::POST, format!("{OWN}/tokens")),
        (Method::POST, "/v1/login/password".to_owned()),
    ] {
        let answer = ask(&gate, method, &target, &token).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{target}");
        assert_eq!(answer.message(), said);
        assert_eq!(answer.headers["retry-after"], "1");
    }
    let answer = raw(
        &gate,
        upgrade("GET", "websocket", &token).as_bytes(),
        "\"code\"",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    // kubectl throws a 503 away there.
    let answer = ask(&gate, Method::GET, "/k8s/clusters/fake/api", &token).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(answer.text().starts_with(said), "{}", answer.text());
    // Nobody is nobody with and without a disk: exec plugins act on it.
    let answer = ask(&gate, Method::GET, PODS, "no-token").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(fake.received().len(), before);
    let ready = gate.admin_get("/readyz?verbose").await;
    assert!(
        ready.contains("[-]audit failed: the audit log cannot be written"),
        "{ready}"
    );
    // What was under way ends as it would, and its event waits.
    drop(open);
    while gate.app.audit().counts().queued.get() < 2 {
        tokio::task::yield_now().await;
    }
    fs::remove_file(gate.audit_file()).unwrap();
    gate.app.audit().reopen();
    while gate.app.audit().can_admit().is_err() {
        tokio::task::yield_now().await;
    }
    let answer = ask(&gate, Method::GET, PODS, &token).await;
    assert_eq!(answer.status, StatusCode::OK);
    let events = gate.events(3).await;
    assert_eq!(events.len(), 3, "{events:#?}");
    assert_eq!(of(&events, &watched).len(), 1);
    assert_eq!(gate.app.audit().counts().refused.get(), 7);
    gate.stop().await;
}

// Whoever begins, lengthens or ends a session is named, and whose password was tried in vain.
#[tokio::test]
async fn logins_are_recorded_with_whom_they_are_about() {
    let (gate, _fake, _token) = world().await;
    let admin = gate.user("olga").await;
    gate.bind_global("admin", "olga").await;
    let put = |path: &str, token: &str, body: String| {
        get(&gate, path, token)
            .method(Method::PUT)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .unwrap()
    };
    let password = r#"{"password":"correct horse battery"}"#.to_owned();
    let set = h2(
        &gate,
        put(&format!("{OWN}/users/jane/password"), &admin, password),
    )
    .await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text());
    let login = async |name: &str, password: &str| {
        let body = json!({"provider": "local", "username": name, "password": password});
        let request = Request::post(format!("{}/v1/login/password", gate.url))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())));
        h2(&gate, request.unwrap()).await
    };
    let good = login("jane", "correct horse battery").await;
    assert_eq!(good.status, StatusCode::CREATED, "{}", good.text());
    let session = good.json()["token"].as_str().unwrap().to_owned();
    let wrong = login("jane", "wrong horse").await;
    let unknown = login("canary-7f3k", "wrong horse").await;
    let renew = ask(&gate, Method::POST, "/v1/login/renew", &session).await;
    let logout = ask(&gate, Method::POST, "/v1/login/logout", &session).await;
    let events = gate.events(6).await;
    let told = |answer: &Answer| {
        let event = of(&events, &id(answer))["ResponseComplete"];
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        [
            text(&event["annotations"]["palisade.dev/event"]),
            text(&event["user"]["username"]),
            text(&event["annotations"]["palisade.dev/login-user"]),
            event["responseStatus"]["code"].to_string(),
        ]
    };
    assert_eq!(told(&set), ["password-change", "olga", "-", "200"]);
    assert_eq!(told(&good), ["login", "jane", "-", "201"]);
    assert_eq!(told(&wrong), ["login", "-", "jane", "401"]);
    assert_eq!(told(&unknown), ["login", "-", "-", "401"]);
    assert_eq!(told(&renew), ["renewal", "jane", "-", "200"]);
    assert_eq!(told(&logout), ["logout", "jane", "-", "204"]);
    let sessions: Vec<_> = [&good, &renew, &logout]
        .map(|answer| of(&events, &id(answer))["ResponseComplete"])
        .map(|event| event["user"]["extra"]["palisade.dev/token-id"][0].clone())
        .into();
    assert!(session.contains(sessions[0].as_str().unwrap()));
    assert!(sessions.iter().all(|session| *session == sessions[0]));
    gate.stop().await;
}

#[tokio::test]
async fn acting_as_another_names_both() {
    let (gate, _fake, jane) = world().await;
    let olga = gate.user("olga").await;
    gate.bind("cluster-owner", "olga", "fake").await;
    gate.group("devs", &["jane"]).await;
    let ask_as_jane = async |token: &str, extra: &str| {
        let request = get(&gate, PODS, token)
            .header("impersonate-user", "jane")
            .header("impersonate-extra-example.com%2fscope", extra);
        h2(&gate, empty(request)).await
    };
    let allowed = ask_as_jane(&olga, "canary-7f3k").await;
    assert_eq!(allowed.status, StatusCode::OK, "{}", allowed.text());
    let refused = ask_as_jane(&jane, "x").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let events = gate.events(2).await;
    let event = of(&events, &id(&allowed))["ResponseComplete"];
    assert_eq!(event["user"]["username"], "olga");
    let other = &event["impersonatedUser"];
    assert_eq!(other["username"], "jane");
    assert_eq!(other["uid"], gate.uid("jane").await);
    assert_eq!(other["groups"], json!(["devs"]));
    assert_eq!(other["extra"], json!({"example.com/scope": []}));
    let annotations = &event["annotations"];
    assert_eq!(
        annotations["authorization.k8s.io/reason"],
        "allowed by role \"cluster-member\""
    );
    let event = of(&events, &id(&refused))["ResponseComplete"];
    assert_eq!(event["user"]["username"], "jane");
    assert_eq!(
        event["annotations"]["authorization.k8s.io/decision"],
        "forbid"
    );
    gate.stop().await;
}

// T8: strangers neither fill the disk nor push out what people did.
#[tokio::test]
async fn a_flood_of_strangers_leaves_a_trickle() {
    const FLOOD: usize = 300;
    let (gate, _fake, token) = world().await;
    let io = TokioIo::new(tls(&gate, &["h2"]).await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    for _ in 0..FLOOD {
        let request = get(&gate, PODS, "nobody").body(Full::<Bytes>::default());
        let answer = sender.send_request(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    drop(sender);
    let answer = ask(&gate, Method::GET, PODS, &token).await;
    assert_eq!(answer.status, StatusCode::OK);
    let left_out = usize::try_from(gate.app.audit().counts().left_out.get()).unwrap();
    assert!(left_out >= 100, "{left_out}");
    let events = gate.events(FLOOD - left_out + 1).await;
    assert_eq!(events.len(), FLOOD - left_out + 1);
    assert_eq!(of(&events, &id(&answer)).len(), 1);
    gate.stop().await;
}

// G8: what is sent in the wrong place.
#[tokio::test]
async fn no_event_holds_a_secret() {
    let (gate, _fake, token) = world().await;
    for target in [
        format!("/k8s/clusters/{token}/api/v1/pods"),
        format!("{PODS}/{token}"),
        format!("{PODS}?labelSelector=a%3D{token}"),
        format!("{PODS}?token={token}&limit=1"),
        format!("/v1/login/password?password={token}"),
    ] {
        let request = get(&gate, &target, &token).header("user-agent", format!("curl {token}"));
        h1(&gate, origin_form(empty(request))).await;
    }
    let login = Request::post(format!("{}/v1/login/password", gate.url))
        .header("content-type", "application/json");
    let body = r#"{"provider":"local","username":"canary-7f3k","password":"canary-7f3k"}"#;
    let login = login.body(Full::new(Bytes::from_static(body.as_bytes())));
    assert_eq!(
        h2(&gate, login.unwrap()).await.status,
        StatusCode::UNAUTHORIZED
    );
    let events = gate.events(6).await;
    assert_eq!(events[1]["objectRef"]["name"], "<token>");
    assert_eq!(events[0]["userAgent"], "curl <token>");
    // The gate's end looks through the file.
    gate.stop().await;
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_not_written_any_more() {
    let (gate, _fake, token) = world().await;
    let file = gate.audit_file();
    ask(&gate, Method::GET, PODS, &token).await;
    gate.events(1).await;
    let away = file.with_extension("1");
    fs::rename(&file, &away).unwrap();
    gate.app.audit().reopen();
    ask(&gate, Method::GET, PODS, &token).await;
    assert_eq!(gate.events(1).await.len(), 1);
    assert_eq!(fs::read_to_string(away).unwrap().lines().count(), 1);
    gate.stop().await;
}

// A stop writes what waits: nothing that was answered is missing.
#[tokio::test]
async fn the_last_request_before_a_stop_is_recorded() {
    let fake = FakeApi::start(&["h2", "http/1.1"]).await;
    let gate = Gate::start().await;
    gate.cluster("fake", &fake).await;
    let token = gate.user("jane").await;
    for _ in 0..20 {
        ask(&gate, Method::GET, PODS, &token).await;
    }
    let file = gate.audit_file();
    let kept = file.with_file_name("kept");
    fs::hard_link(&file, &kept).unwrap();
    let done = gate
        .app
        .stop(tokio::time::sleep(Duration::from_secs(20)))
        .await;
    assert_eq!(done, palisade::serve::lifecycle::Drained::Clean);
    assert_eq!(fs::read_to_string(kept).unwrap().lines().count(), 20);
}

// T9: what the stop cuts has its end as well, over each protocol.
#[tokio::test]
async fn streams_that_the_stop_cuts_have_their_end() {
    let (gate, fake, token) = world().await;
    let added = Bytes::from_static(b"{\"type\":\"ADDED\"}\n");
    fake.script([
        Reply::Stall(added.clone()),
        Reply::Stall(added),
        Reply::Echo,
    ]);
    let watch = format!("{PODS}?watch=true");
    let mut over_h1 = tls(&gate, &["http/1.1"]).await;
    let head =
        format!("GET {watch} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    over_h1.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut over_h1, "ADDED").await;
    let over_h2 = TokioIo::new(tls(&gate, &["h2"]).await);
    let made = hyper::client::conn::http2::handshake(TokioExecutor::new(), over_h2);
    let (mut sender, connection) = made.await.unwrap();
    tokio::spawn(connection);
    let mut answer = sender
        .send_request(empty(get(&gate, &watch, &token)))
        .await
        .unwrap();
    answer.body_mut().frame().await.unwrap().unwrap();
    let mut upgraded = tls(&gate, &["http/1.1"]).await;
    let head = format!(
        "POST {PODS}/x/exec?command=sh HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
    );
    upgraded.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut upgraded, "\r\n\r\n").await;
    upgraded.write_all(b"hello").await.unwrap();
    read_until(&mut upgraded, "hello").await;

    let file = gate.audit_file();
    let drained = gate.app.stop(std::future::ready(())).await;
    assert!(matches!(drained, Drained::Cut(3..)), "{drained:?}");
    let text = fs::read_to_string(file).unwrap();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ends = events
        .iter()
        .filter(|event| event["stage"] == "ResponseComplete");
    let ends: Vec<&Value> = ends.collect();
    assert_eq!((events.len(), ends.len()), (6, 3), "{text}");
    for end in ends {
        assert_eq!(end["annotations"]["palisade.dev/cut"], "true", "{end}");
        assert_eq!(of(&events, end["auditID"].as_str().unwrap()).len(), 2);
    }
    assert!(
        text.contains("\"palisade.dev/bytes-received\":\"5\""),
        "{text}"
    );
}

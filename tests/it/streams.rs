//! Streams, upgrades, and what a cluster may do to them.

use crate::testkit::{
    client::{empty, get, h1, h2, origin_form, raw, read_until, tls},
    fake_api::{FakeApi, Reply},
    gate::{Gate, world},
};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

const PODS: &str = "/k8s/clusters/fake/api/v1/namespaces/default/pods";
const EXEC: &str = "/k8s/clusters/fake/api/v1/namespaces/default/pods/x/exec?command=sh&stdin=true";

fn upgrade(method: &str, protocol: &str, token: &str) -> String {
    format!(
        "{method} {EXEC} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Connection: Upgrade\r\nUpgrade: {protocol}\r\nContent-Length: 0\r\n\
         X-Stream-Protocol-Version: v5.channel.k8s.io\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
    )
}

#[tokio::test]
async fn an_upgrade_carries_bytes_both_ways_on_a_connection_of_its_own() {
    let (gate, fake, token) = world().await;
    for (method, protocol) in [("POST", "SPDY/3.1"), ("GET", "websocket")] {
        fake.script([Reply::Echo]);
        let before = fake.connections();
        let mut stream = tls(&gate, &["http/1.1"]).await;
        stream
            .write_all(upgrade(method, protocol, &token).as_bytes())
            .await
            .unwrap();
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert!(
            head.to_lowercase()
                .contains(&format!("upgrade: {}", protocol.to_lowercase())),
            "{head}"
        );
        stream.write_all(b"there and back").await.unwrap();
        assert_eq!(read_until(&mut stream, "back").await, "there and back");
        stream.shutdown().await.unwrap();
        assert_eq!(read_until(&mut stream, "").await, "");
        assert_eq!(fake.connections(), before + 1);
        let request = fake.received().pop().unwrap();
        assert_eq!(request.version, http::Version::HTTP_11);
        assert_eq!(request.all("upgrade"), [protocol]);
        assert_eq!(request.all("impersonate-user"), ["palisade:jane"]);
        assert_eq!(request.all("x-stream-protocol-version").len(), 2);
    }
    gate.stop().await;
}

// P8, P9 (CVE-2018-1002105, RUSTSEC-2026-0033): bytes behind an upgrade that is refused never become a
// request on the cluster's side, and both connections end.
#[tokio::test]
async fn a_refused_upgrade_ends_both_connections() {
    let (gate, fake, token) = world().await;
    for code in [
        StatusCode::FORBIDDEN,
        StatusCode::OK,
        StatusCode::BAD_REQUEST,
    ] {
        fake.script([Reply::Answer(code, Vec::new(), Bytes::from_static(b"no"))]);
        let before = fake.received().len();
        let smuggled =
            format!("GET {PODS} HTTP/1.1\r\nHost: localhost\r\nImpersonate-User: admin\r\n\r\n");
        let bytes = format!("{}{smuggled}", upgrade("POST", "SPDY/3.1", &token));
        let answer = raw(&gate, bytes.as_bytes(), "").await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {}", code.as_u16())),
            "{answer}"
        );
        assert!(
            answer.to_lowercase().contains("connection: close"),
            "{answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        assert_eq!(fake.received().len(), before + 1);
        let all = fake.everything();
        let users = all.iter().filter(|r| r.target.contains("/pods")).count();
        assert_eq!(users, before + 1);
    }
    gate.stop().await;
}

// S8: a token in the subprotocol list is consumed; the rest goes on.
#[tokio::test]
async fn a_browser_token_in_the_subprotocol_is_consumed() {
    use base64::Engine as _;
    let (gate, fake, token) = world().await;
    for engine in [
        base64::engine::general_purpose::URL_SAFE_NO_PAD,
        base64::engine::general_purpose::URL_SAFE,
    ] {
        fake.script([Reply::Echo]);
        let encoded = engine.encode(&token);
        let bytes = format!(
            "GET {EXEC} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
             Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.{encoded}, v5.channel.k8s.io\r\n\r\n"
        );
        let answer = raw(&gate, bytes.as_bytes(), "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        let request = fake.received().pop().unwrap();
        assert_eq!(request.all("sec-websocket-protocol"), ["v5.channel.k8s.io"]);
        assert!(!format!("{:?}", request.headers).contains(&encoded));
    }
    gate.stop().await;
}

// The gateway's own credential was refused: that is not the client's 401, exec plugins act on those.
#[tokio::test]
async fn a_clusters_401_is_not_the_clients() {
    let (gate, fake, token) = world().await;
    let refuse = || Reply::Answer(StatusCode::UNAUTHORIZED, Vec::new(), Bytes::new());
    fake.script([refuse(), refuse()]);
    let answer = h2(&gate, empty(get(&gate, PODS, &token))).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(
        answer.message().contains("gateway's own credential"),
        "{}",
        answer.message()
    );
    let answer = raw(
        &gate,
        upgrade("GET", "websocket", &token).as_bytes(),
        "\"code\"",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    // An application under a proxy subresource may ask for its own login.
    fake.script([refuse()]);
    let app = "/k8s/clusters/fake/api/v1/namespaces/default/services/x/proxy/";
    let answer = h2(&gate, empty(get(&gate, app, &token))).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    gate.stop().await;
}

#[tokio::test]
async fn answers_are_pruned_and_applications_are_sandboxed() {
    let (gate, fake, token) = world().await;
    let headers = || {
        vec![
            ("set-cookie", "a=b".to_owned()),
            ("access-control-allow-origin", "*".to_owned()),
            ("strict-transport-security", "max-age=1".to_owned()),
            ("alt-svc", "h3".to_owned()),
            ("clear-site-data", "*".to_owned()),
            ("warning", "299 - \"old\"".to_owned()),
            ("warning", "299 - \"older\"".to_owned()),
        ]
    };
    fake.script([
        Reply::Answer(StatusCode::OK, headers(), Bytes::from_static(b"x")),
        Reply::Answer(StatusCode::OK, headers(), Bytes::from_static(b"x")),
    ]);
    let plain = h2(&gate, empty(get(&gate, PODS, &token))).await;
    let app = "/k8s/clusters/fake/api/v1/namespaces/default/pods/x/proxy/a";
    let proxied = h2(&gate, empty(get(&gate, app, &token))).await;
    for answer in [&plain, &proxied] {
        for name in [
            "set-cookie",
            "access-control-allow-origin",
            "strict-transport-security",
            "alt-svc",
            "clear-site-data",
        ] {
            assert!(!answer.headers.contains_key(name), "{name}");
        }
        assert_eq!(answer.headers.get_all("warning").iter().count(), 2);
    }
    assert!(!plain.headers.contains_key("content-security-policy"));
    assert_eq!(proxied.headers["content-security-policy"], "sandbox");
    gate.stop().await;
}

// 429 with Retry-After goes through as it is: client-go acts on it.
#[tokio::test]
async fn a_429_goes_through_untouched() {
    let (gate, fake, token) = world().await;
    let headers = vec![
        ("retry-after", "7".to_owned()),
        ("content-type", "text/plain".to_owned()),
    ];
    fake.script([Reply::Answer(
        StatusCode::TOO_MANY_REQUESTS,
        headers,
        Bytes::from_static(b"busy"),
    )]);
    let answer = h2(&gate, empty(get(&gate, PODS, &token))).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        (&answer.headers["retry-after"], &*answer.text()),
        (&"7".parse().unwrap(), "busy")
    );
    gate.stop().await;
}

// A watch's first bytes arrive while it stays open, and closing it frees the cluster's side.
#[tokio::test]
async fn a_watch_streams_and_ends_with_its_client() {
    let (gate, fake, token) = world().await;
    fake.script([Reply::Stall(Bytes::from_static(b"{\"type\":\"ADDED\"}\n"))]);
    let io = TokioIo::new(tls(&gate, &["h2"]).await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let driver = tokio::spawn(connection);
    let request = get(&gate, &format!("{PODS}?watch=true"), &token);
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "{\"type\":\"ADDED\"}\n");
    drop((body, sender));
    driver.await.unwrap().unwrap();
    gate.stop().await;
}

// Bodies stream both ways, whatever their size.
#[tokio::test]
async fn large_bodies_stream() {
    let (gate, fake, token) = world().await;
    let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
    fake.script([Reply::Chunks(chunk.clone(), 512)]);
    let answer = h2(&gate, empty(get(&gate, PODS, &token))).await;
    assert_eq!(answer.body.len(), 32 * 1024 * 1024);
    let body = Bytes::from(vec![b'y'; 3 * 1024 * 1024]);
    let maps = PODS.replace("pods", "configmaps");
    let mut request = get(&gate, &maps, &token)
        .body(Full::new(body.clone()))
        .unwrap();
    *request.method_mut() = Method::POST;
    assert_eq!(h1(&gate, origin_form(request)).await.status, StatusCode::OK);
    assert_eq!(fake.received().pop().unwrap().body, body);
    gate.stop().await;
}

// O7: a write is never sent twice; a read without a body is, over another connection.
#[tokio::test]
async fn only_reads_are_sent_again_when_a_connection_breaks() {
    let (gate, fake, token) = world().await;
    fake.script([Reply::Cut]);
    let answer = h2(&gate, empty(get(&gate, PODS, &token))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(fake.received().len(), 2);
    fake.script([Reply::Cut]);
    let maps = PODS.replace("pods", "configmaps");
    let mut request = get(&gate, &maps, &token)
        .body(Full::new(Bytes::from_static(b"{}")))
        .unwrap();
    *request.method_mut() = Method::POST;
    let answer = h2(&gate, request).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(fake.received().len(), 3);
    gate.stop().await;
}

// One connection carries many requests: dialling is single-flight.
#[tokio::test]
async fn a_burst_shares_few_connections() {
    for alpn in [&["h2", "http/1.1"][..], &["http/1.1"][..]] {
        let fake = FakeApi::start(alpn).await;
        let gate = Gate::start().await;
        gate.cluster("fake", &fake).await;
        let token = gate.user("jane").await;
        gate.bind("cluster-viewer", "jane", "fake").await;
        let io = TokioIo::new(tls(&gate, &["h2"]).await);
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..60 {
            let mut sender = sender.clone();
            let request = get(&gate, PODS, &token)
                .body(Full::<Bytes>::default())
                .unwrap();
            tasks.spawn(async move { sender.send_request(request).await.unwrap().status() });
        }
        while let Some(status) = tasks.join_next().await {
            assert_eq!(status.unwrap(), StatusCode::OK);
        }
        assert_eq!(fake.received().len(), 60);
        let most = if alpn.len() == 2 { 1 } else { 60 };
        assert!(
            fake.connections() <= most,
            "{} connections",
            fake.connections()
        );
        drop(sender);
        gate.stop().await;
    }
}

// A cluster that is away is a 503 on ordinary paths and readable text on discovery.
#[tokio::test]
async fn a_cluster_that_is_away_is_a_503() {
    let (gate, fake, token) = world().await;
    let (server, ca) = (fake.server(), fake.ca_pem.clone());
    drop(fake);
    gate.cluster_at("gone", &server, &ca).await;
    gate.bind("cluster-viewer", "jane", "gone").await;
    let pods = PODS.replace("fake", "gone");
    let answer = h2(&gate, empty(get(&gate, &pods, &token))).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        answer.message().contains("cannot be reached"),
        "{}",
        answer.message()
    );
    let answer = h2(&gate, empty(get(&gate, "/k8s/clusters/gone/api", &token))).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(
        answer.text().starts_with("the cluster cannot be reached"),
        "{}",
        answer.text()
    );
    // Known to be down: nothing is dialled.
    let upstream = gate.app.registry().upstream("gone").unwrap();
    upstream.state().set_down("tests say so");
    let started = tokio::time::Instant::now();
    let answer = h2(&gate, empty(get(&gate, &pods, &token))).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(started.elapsed() < Duration::from_secs(1));
    gate.stop().await;
}

// A revoked token, a disabled user and an expired token are refused from the next request on.
#[tokio::test]
async fn revocation_counts_from_the_next_request_on() {
    use palisade::objects::{Token, User};
    let (gate, _fake, token) = world().await;
    let ask = async || h2(&gate, empty(get(&gate, PODS, &token))).await;
    assert_eq!(ask().await.status, StatusCode::OK);
    let mut stored = gate.get::<User>("jane").await;
    stored.object.spec.disabled = true;
    gate.put(stored.object.clone(), stored.private.clone())
        .await;
    let refused = ask().await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.message(), "this account is disabled");
    stored.object.spec.disabled = false;
    gate.put(stored.object, stored.private).await;
    assert_eq!(ask().await.status, StatusCode::OK);
    let id = token.split('_').nth(2).unwrap();
    gate.delete::<Token>(id).await;
    let refused = ask().await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.message(), "Unauthorized");
    let expired = gate
        .token("jane", &[], jiff::SignedDuration::from_secs(-1))
        .await;
    let refused = h2(&gate, empty(get(&gate, PODS, &expired))).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(
        refused.message().contains("palisade login"),
        "{}",
        refused.message()
    );
    let request = Request::get(format!("{}/", gate.url));
    assert_eq!(h2(&gate, empty(request)).await.status, StatusCode::OK);
    gate.stop().await;
}

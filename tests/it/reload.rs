//! Reloads: what counts afterwards, what goes on, and what is refused.

use crate::{
    testkit::{
        client::{Answer, empty, get, h1, h2, origin_form, read_until, tls},
        fake_api::Reply,
        gate::{Gate, certificate, world},
    },
    tls as plain,
};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;
use jiff::{SignedDuration, Timestamp};
use palisade::{
    authn::passwords::Passwords,
    objects::{User, UserPrivate, UserSpec},
    serve::{
        lifecycle::Drained,
        reload::{Reloader, Source},
    },
    status::clock,
};
use rustls::{
    ClientConfig, HandshakeKind,
    pki_types::{CertificateDer, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use serde_json::{Value, json};
use std::{fs, sync::Arc};
use tokio::io::AsyncWriteExt as _;

const PODS: &str = "/k8s/clusters/fake/api/v1/namespaces/default/pods";

fn reloader(gate: &Gate) -> Reloader {
    gate.app.reloader(gate.folder().join("gate.yaml"))
}

/// Changes the configuration file.
fn edit(gate: &Gate, edit: impl FnOnce(String) -> String) {
    let file = gate.folder().join("gate.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(file, edit(text)).unwrap();
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A client that trusts these and remembers sessions.
fn client(pems: &[&str], version: &'static rustls::SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for pem in pems {
        roots.add(der(pem)).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// The certificate that a new connection is shown, and whether the handshake was a whole one.
async fn shown(gate: &Gate, client: &Arc<ClientConfig>) -> (CertificateDer<'static>, bool) {
    let mut stream = plain::connect(gate.address, Arc::clone(client))
        .await
        .unwrap();
    let bytes = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(bytes).await.unwrap();
    // TLS 1.3 tickets come with the answer.
    let answer = read_until(&mut stream, "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (_, tls) = stream.get_ref();
    let leaf = tls.peer_certificates().unwrap()[0].clone().into_owned();
    let whole = tls.handshake_kind() != Some(HandshakeKind::Resumed);
    (leaf, whole)
}

#[tokio::test]
async fn new_connections_see_a_new_certificate_and_open_ones_go_on() {
    let (mut gate, fake, token) = world().await;
    let old = gate.ca_pem.clone();
    fake.script([Reply::Echo]);
    let mut open = tls(&gate, &["http/1.1"]).await;
    let upgrade = format!(
        "POST {PODS}/x/exec?command=sh HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
    );
    open.write_all(upgrade.as_bytes()).await.unwrap();
    let head = read_until(&mut open, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");

    let mut reloader = reloader(&gate);
    let (_, _, new) = certificate(gate.folder());
    let clients = [&TLS12, &TLS13].map(|version| client(&[&old, &new], version));
    for client in &clients {
        assert_eq!(shown(&gate, client).await, (der(&old), true));
        assert_eq!(shown(&gate, client).await, (der(&old), false), "resumed");
    }
    assert_eq!(reloader.reload().await, [Source::Certificate]);
    for client in &clients {
        let (leaf, whole) = shown(&gate, client).await;
        assert!(leaf == der(&new) && whole, "no session of before goes on");
        assert_eq!(shown(&gate, client).await, (der(&new), false));
    }
    open.write_all(b"still here").await.unwrap();
    assert_eq!(read_until(&mut open, "here").await, "still here");
    drop(open);
    gate.ca_pem = new;
    let answer = h2(&gate, empty(get(&gate, PODS, &token))).await;
    assert_eq!(answer.status, StatusCode::OK);
    // The same files again are nothing new, and sessions go on.
    assert!(reloader.reload().await.is_empty());
    assert!(!shown(&gate, &clients[1]).await.1);
    let ready = gate.admin_get("/readyz?verbose").await;
    assert!(ready.contains("[+]certificate ok: since "), "{ready}");
    assert!(ready.contains("generation 2"), "{ready}");
    gate.stop().await;
}

/// A pair that is good between these days.
fn dated(gate: &Gate, from: (i32, u8, u8), until: (i32, u8, u8)) {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
    params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
    let pair = rcgen::KeyPair::generate().unwrap();
    let cert = params.self_signed(&pair).unwrap();
    fs::write(gate.folder().join("cert.pem"), cert.pem()).unwrap();
    fs::write(gate.folder().join("key.pem"), pair.serialize_pem()).unwrap();
}

#[tokio::test]
async fn a_bad_certificate_is_refused_and_the_old_one_stays() {
    let gate = Gate::start().await;
    let mut reloader = reloader(&gate);
    let (cert, key) = (
        gate.folder().join("cert.pem"),
        gate.folder().join("key.pem"),
    );
    let (good_cert, good_key) = (fs::read(&cert).unwrap(), fs::read(&key).unwrap());
    let client = client(&[&gate.ca_pem], &TLS13);
    let spoils: [(&str, &dyn Fn()); 4] = [
        ("half of a rotation: the key is another's", &|| {
            certificate(gate.folder());
            fs::write(&cert, &good_cert).unwrap();
        }),
        ("no key", &|| fs::remove_file(&key).unwrap()),
        ("ended", &|| dated(&gate, (2020, 1, 1), (2021, 1, 1))),
        ("not yet good", &|| dated(&gate, (2120, 1, 1), (2121, 1, 1))),
    ];
    for (what, spoil) in spoils {
        spoil();
        assert!(reloader.reload().await.is_empty(), "{what}");
        assert_eq!(shown(&gate, &client).await.0, der(&gate.ca_pem), "{what}");
        let ready = gate.admin_get("/readyz?verbose").await;
        assert!(ready.starts_with("HTTP/1.1 200"), "it works: {ready}");
        assert!(ready.contains("[!]certificate: that of "), "{ready}");
        let metrics = gate.admin_get("/metrics").await;
        let line = "palisade_reload_last_successful{source=\"certificate\"} 0\n";
        assert!(metrics.contains(line), "{metrics}");
        fs::write(&cert, &good_cert).unwrap();
        fs::write(&key, &good_key).unwrap();
        assert!(reloader.reload().await.is_empty(), "what counts already");
        let ready = gate.admin_get("/readyz?verbose").await;
        assert!(ready.contains("[+]certificate ok"), "{ready}");
    }
    let metrics = gate.admin_get("/metrics").await;
    for line in [
        "palisade_reload_last_successful{source=\"certificate\"} 1\n",
        "palisade_reloads_total{source=\"certificate\",outcome=\"refused\"} 4\n",
        "palisade_reload_generation 1\n",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    gate.stop().await;
}

#[tokio::test]
async fn options_that_reload_count_from_the_next_request_on() {
    let (gate, fake, token) = world().await;
    let mut reloader = reloader(&gate);
    let hasher = Passwords::new(1, 1).unwrap();
    let hash = hasher.hash("correct horse battery".to_owned().into()).await;
    let private = UserPrivate {
        password: Some(hash.unwrap().to_string()),
        ..UserPrivate::default()
    };
    gate.put(User::new("mia", UserSpec::default()), private)
        .await;
    edit(&gate, |text| {
        format!(
            "{text}tokens: {{default_lifetime: 20m, max_lifetime: 30m}}\n\
             sessions: {{lifetime: 25m, max_age: 26m}}\n\
             limits: {{body_bytes: 65536, connections: 50}}\n\
             base_domain: gate.test\n\
             login: {{hash_concurrency: 3}}\n\
             log: {{level: debug}}\n"
        )
    });
    assert_eq!(reloader.reload().await, [Source::Config]);

    let made = post(&gate, "/apis/palisade.dev/v1alpha1/tokens", &token, "{}").await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    assert_eq!(minutes_left(&made.json()["spec"]["expiresAt"]), 20);
    let login =
        json!({"provider": "local", "username": "mia", "password": "correct horse battery"});
    let session = post(&gate, "/v1/login/password", "", &login.to_string()).await;
    assert_eq!(session.status, StatusCode::CREATED, "{}", session.text());
    assert_eq!(minutes_left(&session.json()["expiresAt"]), 25);
    let large = " ".repeat(70_000);
    let refused = post(&gate, "/apis/palisade.dev/v1alpha1/tokens", &token, &large).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    let mut by_host = origin_form(empty(get(&gate, "/api/v1/namespaces/default/pods", &token)));
    let host = "fake.gate.test".parse().unwrap();
    by_host.headers_mut().insert("host", host);
    assert_eq!(h1(&gate, by_host).await.status, StatusCode::OK);
    assert_eq!(fake.received().len(), 1);

    assert!(reloader.reload().await.is_empty(), "nothing new");
    gate.stop().await;
}

async fn post(gate: &Gate, target: &str, token: &str, body: &str) -> Answer {
    let request = get(gate, target, token)
        .method(Method::POST)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    h2(gate, request).await
}

/// To the next whole one.
fn minutes_left(time: &Value) -> i64 {
    let end: Timestamp = time.as_str().unwrap().parse().unwrap();
    let left: SignedDuration = clock::now().duration_until(end);
    (left.as_secs() + 59) / 60
}

#[tokio::test]
async fn the_drain_deadline_reloads() {
    let (gate, fake, token) = world().await;
    let mut reloader = reloader(&gate);
    edit(&gate, |text| format!("{text}drain: {{deadline: 0s}}\n"));
    assert_eq!(reloader.reload().await, [Source::Config]);
    fake.script([Reply::Echo]);
    let mut open = tls(&gate, &["http/1.1"]).await;
    let upgrade = format!(
        "POST {PODS}/x/exec?command=sh HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
    );
    open.write_all(upgrade.as_bytes()).await.unwrap();
    read_until(&mut open, "\r\n\r\n").await;
    // Nothing else ends the wait.
    let drained = gate.app.stop(std::future::pending()).await;
    assert!(matches!(drained, Drained::Cut(_)), "{drained:?}");
}

#[tokio::test]
async fn a_file_with_a_mistake_or_a_change_that_takes_a_restart_is_refused_whole() {
    let gate = Gate::start().await;
    let mut reloader = reloader(&gate);
    let file = gate.folder().join("gate.yaml");
    let good = fs::read_to_string(&file).unwrap();
    let token = gate.user("jane").await;
    for (number, change) in [
        "tokens: {default_lifetime: 5m}\nlog:\n  level: loud\n",
        "tokens: {default_lifetime: 5m}\nlog:\n  format: json\n",
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(&file, format!("{good}{change}")).unwrap();
        for _ in 0..2 {
            assert!(reloader.reload().await.is_empty());
        }
        let made = post(&gate, "/apis/palisade.dev/v1alpha1/tokens", &token, "{}").await;
        assert_eq!(minutes_left(&made.json()["spec"]["expiresAt"]), 60);
        let ready = gate.admin_get("/readyz?verbose").await;
        assert!(ready.contains("[!]config: that of "), "{ready}");
        let (_, place) = ready.split_once("the first at ").unwrap();
        assert!(
            place.contains(&format!("gate.yaml:{}:3;", good.lines().count() + 3)),
            "the place and not what is written there: {place}"
        );
        let metrics = gate.admin_get("/metrics").await;
        let number = number + 1;
        let line =
            format!("palisade_reloads_total{{source=\"config\",outcome=\"refused\"}} {number}\n");
        assert!(
            metrics.contains(&line),
            "the same again is no news: {metrics}"
        );
    }
    // A configuration that waits for a restart holds up no certificate.
    let (_, _, new) = certificate(gate.folder());
    assert_eq!(reloader.reload().await, [Source::Certificate]);
    let client = client(&[&new], &TLS13);
    assert_eq!(shown(&gate, &client).await.0, der(&new));
    fs::write(&file, &good).unwrap();
    assert!(reloader.reload().await.is_empty());
    let ready = gate.admin_get("/readyz?verbose").await;
    assert!(ready.contains("[+]config ok"), "{ready}");
    gate.stop().await;
}

#[tokio::test]
async fn a_configuration_is_taken_with_the_certificate_that_it_names_or_not_at_all() {
    let gate = Gate::start().await;
    let mut reloader = reloader(&gate);
    let token = gate.user("jane").await;
    let elsewhere = tempfile::tempdir().unwrap();
    let old = gate.folder().join("cert.pem").display().to_string();
    let new = elsewhere.path().join("cert.pem").display().to_string();
    edit(&gate, |text| {
        let key = |path: &str| path.replace("cert.pem", "key.pem");
        let text = text.replace(&old, &new).replace(&key(&old), &key(&new));
        format!("{text}tokens: {{default_lifetime: 5m}}\n")
    });
    assert!(reloader.reload().await.is_empty(), "there is none yet");
    let made = post(&gate, "/apis/palisade.dev/v1alpha1/tokens", &token, "{}").await;
    assert_eq!(minutes_left(&made.json()["spec"]["expiresAt"]), 60);
    let ready = gate.admin_get("/readyz?verbose").await;
    assert!(
        ready.contains("[!]config") && ready.contains("[+]certificate ok"),
        "{ready}"
    );
    let (_, _, pem) = certificate(elsewhere.path());
    let both = [Source::Config, Source::Certificate];
    assert_eq!(reloader.reload().await, both);
    let client = client(&[&pem], &TLS13);
    assert_eq!(shown(&gate, &client).await.0, der(&pem));
    gate.stop().await;
}

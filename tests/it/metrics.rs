//! What `/metrics` shows of a gateway that works.
#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

use crate::testkit::{
    client::{empty, get, h1, h2, origin_form, read_until, tls},
    fake_api::{FakeApi, Reply},
    gate::{Gate, world},
    openmetrics::Exposition,
};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use palisade::observe::metrics::catalog::{self, Kind, Values};
use std::time::Duration;
use tokio::{io::AsyncWriteExt as _, time::timeout};

const PODS: &str = "/k8s/clusters/fake/api/v1/namespaces/default/pods";
const POD: &str = "/k8s/clusters/fake/api/v1/namespaces/default/pods/x";
const PATIENCE: Duration = Duration::from_secs(20);
/// Words that stand for clusters and are none.
const SHARED: [&str; 3] = ["_gateway", "_unknown", "_other"];

async fn scrape(gate: &Gate) -> Exposition {
    let answer = gate.metrics().await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    Exposition::read(body)
}

/// The value of a series, as soon as it is this one: a request is counted when its last byte is gone.
async fn becomes(gate: &Gate, name: &str, labels: &[(&str, &str)], wanted: f64) {
    let mut last = f64::NAN;
    let reached = timeout(PATIENCE, async {
        loop {
            last = scrape(gate).await.value(name, labels);
            if (last - wanted).abs() < f64::EPSILON {
                return;
            }
        }
    });
    let reached = reached.await.is_ok();
    assert!(reached, "{name} {labels:?} is {last}, not {wanted}");
}

/// Everything a gateway does at least once: answers, refusals, failures, streams.
async fn traffic(gate: &Gate, fake: &FakeApi, token: &str) {
    h2(gate, empty(get(gate, PODS, token))).await;
    h2(gate, empty(get(gate, POD, token))).await;
    h2(gate, empty(get(gate, PODS, "nonsense"))).await;
    h2(gate, empty(Request::get(format!("{}{PODS}", gate.url)))).await;
    h2(gate, empty(get(gate, "/k8s/clusters/nowhere/api", token))).await;
    h2(
        gate,
        empty(get(gate, "/apis/palisade.dev/v1alpha1/nothing", token)),
    )
    .await;
    h2(gate, empty(get(gate, "/", token))).await;
    h2(gate, empty(get(gate, "/v1/login/providers", token))).await;
    fake.script([Reply::Cut]);
    h2(gate, post(gate, token)).await;
    watch(gate, fake, token).await;
    exec(gate, fake, token).await;
}

fn post(gate: &Gate, token: &str) -> Request<Full<Bytes>> {
    let maps = PODS.replace("pods", "configmaps");
    let request = get(gate, &maps, token).method(Method::POST);
    request.body(Full::new(Bytes::from_static(b"{}"))).unwrap()
}

/// Opens a watch, reads its first event, and closes it.
async fn watch(gate: &Gate, fake: &FakeApi, token: &str) {
    fake.script([Reply::Stall(Bytes::from_static(b"{\"type\":\"ADDED\"}\n"))]);
    let io = TokioIo::new(tls(gate, &["h2"]).await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let driver = tokio::spawn(connection);
    let request = get(gate, &format!("{PODS}?watch=true"), token);
    let response = sender.send_request(empty(request)).await.unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    let of = [("cluster", "fake"), ("kind", "watch")];
    let metrics = scrape(gate).await;
    assert_eq!(metrics.value("palisade_streams_open", &of), 1.0);
    assert_eq!(metrics.value("palisade_requests_in_flight", &of[..1]), 0.0);
    let stream = [("cluster", "fake"), ("kind", "stream")];
    let connections = metrics.value("palisade_upstream_connections_open", &stream);
    assert_eq!(connections, 1.0);
    drop((body, sender));
    driver.await.unwrap().unwrap();
    becomes(gate, "palisade_streams_open", &of, 0.0).await;
}

/// Opens an exec, sends and reads, and closes it.
async fn exec(gate: &Gate, fake: &FakeApi, token: &str) {
    fake.script([Reply::Echo]);
    let mut stream = tls(gate, &["http/1.1"]).await;
    let head = format!(
        "POST {POD}/exec?command=sh HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream.write_all(b"there and back").await.unwrap();
    read_until(&mut stream, "back").await;
    let of = [("cluster", "fake"), ("kind", "exec")];
    let metrics = scrape(gate).await;
    assert_eq!(metrics.value("palisade_streams_open", &of), 1.0);
    let own = [("cluster", "fake"), ("kind", "upgrade")];
    let connections = metrics.value("palisade_upstream_connections_open", &own);
    assert_eq!(connections, 1.0);
    // Counted while it is open: an exec may last for days.
    for direction in ["to_client", "to_cluster"] {
        let of = [of[0], of[1], ("direction", direction)];
        assert_eq!(metrics.value("palisade_stream_bytes_total", &of), 14.0);
    }
    stream.shutdown().await.unwrap();
    read_until(&mut stream, "").await;
    becomes(gate, "palisade_streams_open", &of, 0.0).await;
    becomes(gate, "palisade_upstream_connections_open", &own, 0.0).await;
}

// What promtool's lint says, what the document says, and what neither could: that there is an end to it.
#[tokio::test]
async fn the_text_of_a_live_gateway_is_sound_and_as_documented() {
    let (gate, fake, token) = world().await;
    traffic(&gate, &fake, &token).await;
    let metrics = scrape(&gate).await;
    assert_eq!(metrics.lint(), Vec::<String>::new());
    let mut shown: Vec<&str> = Vec::new();
    for family in &metrics.families {
        let documented = catalog::ALL
            .iter()
            .find(|metric| without_suffix(metric.name) == family.name)
            .unwrap_or_else(|| panic!("{} is not documented", family.name));
        shown.push(documented.name);
        assert_eq!(family.help, documented.help);
        let kind = match documented.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
            Kind::Info => "info",
        };
        assert_eq!(family.kind, kind, "{}", family.name);
        for sample in &family.samples {
            let mut labels = sample.labels.clone();
            labels.remove("le");
            for label in documented.labels {
                let value = labels.remove(label.name);
                let value = value.unwrap_or_else(|| panic!("{}: {}", family.name, label.name));
                let known = match label.values {
                    Values::Words(words) => words().contains(&value),
                    Values::Cluster => value == "fake" || SHARED.contains(&value.as_str()),
                    Values::Text(_) => true,
                };
                assert!(known, "{} {}={value:?}", family.name, label.name);
            }
            assert!(labels.is_empty(), "{}: {labels:?}", family.name);
        }
    }
    let documented: Vec<&str> = catalog::ALL.iter().map(|metric| metric.name).collect();
    shown.sort_unstable();
    let mut sorted = documented.clone();
    sorted.sort_unstable();
    assert_eq!(shown, sorted, "all that is documented is shown, and once");
    let series = metrics.series();
    for nowhere in 0..50 {
        let path = format!("/k8s/clusters/nowhere-{nowhere}/api/v1/pods/{nowhere}");
        h2(&gate, empty(get(&gate, &path, &token))).await;
    }
    let after = scrape(&gate).await.series();
    assert!(after <= series + 20, "{series} grew to {after}");
    gate.stop().await;
}

fn without_suffix(name: &str) -> &str {
    let total = name.strip_suffix("_total");
    total.or(name.strip_suffix("_info")).unwrap_or(name)
}

/// A request, and how it is counted: cluster, verb, code and fault.
type Counted = (Request<Full<Bytes>>, [&'static str; 4]);

fn counted(gate: &Gate, token: &str) -> Vec<Counted> {
    let nodes = PODS.replace("pods", "nodes");
    let ask = |target: &str| empty(get(gate, target, token));
    let own = "/apis/palisade.dev/v1alpha1/users";
    vec![
        (ask(PODS), ["fake", "list", "200", "none"]),
        // The cluster says so itself.
        (ask(POD), ["fake", "get", "403", "none"]),
        (post(gate, token), ["fake", "create", "502", "upstream"]),
        // The gateway says so.
        (
            empty(get(gate, &nodes, token).method(Method::DELETE)),
            ["fake", "delete", "403", "client"],
        ),
        (
            empty(get(gate, PODS, "x")),
            ["fake", "list", "401", "client"],
        ),
        (
            ask("/k8s/clusters/nowhere/version"),
            ["_unknown", "path", "403", "client"],
        ),
        (
            ask("/k8s/clusters/gone/api/v1/nodes/x"),
            ["gone", "get", "503", "upstream"],
        ),
        (
            ask(&format!("{own}/jane")),
            ["_gateway", "get", "200", "none"],
        ),
        (
            ask(&format!("{own}/ghost")),
            ["_gateway", "get", "404", "client"],
        ),
        (
            ask("/v1/login/nowhere"),
            ["_gateway", "login", "404", "client"],
        ),
        (
            ask("/k8s/clusters/fake//api"),
            ["fake", "none", "400", "client"],
        ),
    ]
}

#[tokio::test]
async fn every_answer_is_counted_by_cluster_verb_code_and_fault() {
    let (gate, fake, token) = world().await;
    fake.script([
        Reply::Answer(StatusCode::OK, Vec::new(), Bytes::new()),
        Reply::Answer(StatusCode::FORBIDDEN, Vec::new(), Bytes::new()),
        Reply::Cut,
    ]);
    gate.cluster_at("gone", "https://127.0.0.1:1", &fake.ca_pem)
        .await;
    gate.bind("cluster-viewer", "jane", "gone").await;
    gate.bind_global("admin", "jane").await;
    for (request, [cluster, verb, code, fault]) in counted(&gate, &token) {
        let labels = [
            ("cluster", cluster),
            ("verb", verb),
            ("code", code),
            ("fault", fault),
        ];
        let name = "palisade_requests_total";
        let before = scrape(&gate).await.value(name, &labels);
        let answer = h2(&gate, request).await;
        assert_eq!(
            answer.status.as_str(),
            code,
            "{labels:?}: {}",
            answer.text()
        );
        becomes(&gate, name, &labels, before + 1.0).await;
    }
    becomes(&gate, "palisade_requests_in_flight", &[], 0.0).await;
    let metrics = scrape(&gate).await;
    let name = "palisade_upstream_failures_total";
    let lost = [("cluster", "fake"), ("reason", "lost")];
    assert_eq!(metrics.value(name, &lost), 1.0);
    // Dialled in vain, or known to be away from a probe before.
    assert_eq!(metrics.value(name, &[("cluster", "gone")]), 1.0);
    gate.stop().await;
}

#[tokio::test]
async fn credentials_and_decisions_are_counted_by_their_result() {
    let (gate, _fake, token) = world().await;
    let expired = gate
        .token("jane", &[], jiff::SignedDuration::from_secs(-1))
        .await;
    let scoped = gate
        .token("jane", &["other"], jiff::SignedDuration::from_hours(1))
        .await;
    gate.user("zoe").await;
    let mut gone = gate
        .token("zoe", &[], jiff::SignedDuration::from_hours(1))
        .await;
    let mut wrong = token.clone();
    // Another secret of the same length is no text of a token: its checksum is another.
    wrong.replace_range(30..31, if &wrong[30..31] == "a" { "b" } else { "a" });
    gate.delete::<palisade::objects::User>("zoe").await;
    let authentications = "palisade_authentications_total";
    let authorizations = "palisade_authorizations_total";
    for (name, result, request) in [
        (authentications, "accepted", get(&gate, PODS, &token)),
        (
            authentications,
            "missing",
            Request::get(format!("{}{PODS}", gate.url)),
        ),
        (
            authentications,
            "scheme",
            Request::get(format!("{}{PODS}", gate.url)).header("authorization", "Basic eDp5"),
        ),
        (authentications, "malformed", get(&gate, PODS, &wrong)),
        (authentications, "expired", get(&gate, PODS, &expired)),
        (authentications, "no_user", get(&gate, PODS, &gone)),
        (
            authentications,
            "ambiguous",
            get(&gate, PODS, &token).header(
                "sec-websocket-protocol",
                "base64url.bearer.authorization.k8s.io.eA, v5.channel.k8s.io",
            ),
        ),
        (authorizations, "allowed", get(&gate, PODS, &token)),
        (
            authorizations,
            "denied",
            get(&gate, PODS, &token).method(Method::DELETE),
        ),
        (
            authorizations,
            "no_grant",
            get(&gate, "/k8s/clusters/nowhere/api", &token),
        ),
        (authorizations, "token_scope", get(&gate, PODS, &scoped)),
    ] {
        let labels = [("result", result)];
        let before = scrape(&gate).await.value(name, &labels);
        h2(&gate, empty(request)).await;
        becomes(&gate, name, &labels, before + 1.0).await;
    }
    gone.clear();
    gate.stop().await;
}

// One pool per cluster: a connection for each request would be the dearest mistake of all.
#[tokio::test]
async fn requests_one_after_the_other_share_one_handshake() {
    let (gate, _fake, token) = world().await;
    for _ in 0..50 {
        h2(&gate, empty(get(&gate, PODS, &token))).await;
    }
    let metrics = scrape(&gate).await;
    let of = [("cluster", "fake"), ("kind", "short")];
    assert_eq!(
        metrics.value("palisade_upstream_handshakes_total", &of),
        1.0
    );
    assert_eq!(
        metrics.value("palisade_upstream_connections_open", &of),
        1.0
    );
    let answered = [("cluster", "fake"), ("verb", "list")];
    let name = "palisade_upstream_response_seconds_count";
    assert_eq!(metrics.value(name, &answered), 50.0);
    gate.stop().await;
}

// The three parts of a request's time do not overlap: a cluster that thinks is not the gateway's share.
#[tokio::test]
async fn a_slow_cluster_is_not_the_gateways_own_share() {
    let (gate, fake, token) = world().await;
    let thinks = Duration::from_millis(300);
    let quick = Reply::Answer(StatusCode::OK, Vec::new(), Bytes::new());
    fake.script([Reply::Late(thinks, Box::new(quick))]);
    h2(&gate, empty(get(&gate, PODS, &token))).await;
    let metrics = scrape(&gate).await;
    let sum = |name| metrics.value(name, &[]);
    let response = sum("palisade_upstream_response_seconds_sum");
    assert!(response >= thinks.as_secs_f64(), "{response}");
    let own = metrics.value(
        "palisade_request_gateway_seconds_sum",
        &[("route", "cluster")],
    );
    assert!(own > 0.0 && own < thinks.as_secs_f64(), "{own}");
    assert!(sum("palisade_upstream_wait_seconds_sum") > 0.0);
    gate.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_before_its_answer_is_counted_as_499() {
    let (gate, fake, token) = world().await;
    let never = Reply::Answer(StatusCode::OK, Vec::new(), Bytes::new());
    fake.script([Reply::Late(Duration::from_hours(1), Box::new(never))]);
    let io = TokioIo::new(tls(&gate, &["http/1.1"]).await);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = origin_form(empty(get(&gate, PODS, &token)));
    let asked = tokio::spawn(async move { sender.send_request(request).await });
    let of = [("cluster", "fake")];
    becomes(&gate, "palisade_requests_in_flight", &of, 1.0).await;
    asked.abort();
    driver.abort();
    let left = [("cluster", "fake"), ("code", "499"), ("fault", "client")];
    becomes(&gate, "palisade_requests_total", &left, 1.0).await;
    becomes(&gate, "palisade_requests_in_flight", &of, 0.0).await;
    gate.stop().await;
}

#[tokio::test]
async fn a_cluster_that_is_removed_takes_its_series_along() {
    let (gate, fake, token) = world().await;
    traffic(&gate, &fake, &token).await;
    assert!(scrape(&gate).await.mentions("cluster", "fake"));
    gate.delete::<palisade::objects::Cluster>("fake").await;
    let metrics = scrape(&gate).await;
    assert!(!metrics.mentions("cluster", "fake"));
    // Asked for again it is a name like any other that is not registered.
    h1(&gate, origin_form(empty(get(&gate, PODS, &token)))).await;
    let unknown = [("cluster", "_unknown"), ("verb", "list")];
    becomes(&gate, "palisade_requests_total", &unknown, 1.0).await;
    assert!(!scrape(&gate).await.mentions("cluster", "fake"));
    gate.stop().await;
}

// Store, clusters, certificate, runtime: asked for at the scrape.
#[tokio::test]
async fn what_the_parts_know_of_themselves_is_shown() {
    let (gate, _fake, _token) = world().await;
    let ready = [("cluster", "fake"), ("health", "ready")];
    becomes(&gate, "palisade_cluster_health", &ready, 1.0).await;
    becomes(&gate, "palisade_cluster_health", &ready[..1], 1.0).await;
    let metrics = scrape(&gate).await;
    let value = |name| metrics.value(name, &[]);
    assert_eq!(value("palisade_clusters"), 1.0);
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let applied = gate.app.follower().applied() as f64;
    assert_eq!(value("palisade_store_applied_revision"), applied);
    assert_eq!(value("palisade_store_revision"), applied);
    assert!(value("palisade_store_view_age_seconds") < 10.0);
    let now = value("process_start_time_seconds");
    assert!(value("palisade_tls_certificate_not_after_timestamp_seconds") > now);
    let expiry = "palisade_cluster_credential_expiry_timestamp_seconds";
    assert!(metrics.value(expiry, &ready[..1]) > now);
    assert!(value("palisade_runtime_tasks") > 3.0);
    assert!(value("process_resident_memory_bytes") > 1e6);
    gate.stop().await;
}

// What is shared out is counted down whatever way it ends.
#[tokio::test]
async fn gauges_return_to_0() {
    let (gate, fake, token) = world().await;
    traffic(&gate, &fake, &token).await;
    for name in ["palisade_requests_in_flight", "palisade_streams_open"] {
        becomes(&gate, name, &[], 0.0).await;
    }
    becomes(&gate, "palisade_connections_open", &[], 0.0).await;
    gate.stop().await;
}

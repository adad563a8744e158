//! Traces, as a collector sees them. Run with `cargo test --features otlp --test traces`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod collectors;
#[path = "../testkit/mod.rs"]
#[expect(dead_code, reason = "each test crate uses a part of the kit")]
mod testkit;

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use testkit::{
    canary,
    client::{Answer, empty, get, h2, tls},
    collector::{Collector, Seen},
    fake_api::{FakeApi, Reply},
    gate::Gate,
};

pub(crate) const PODS: &str = "/k8s/clusters/fake/api/v1/namespaces/default/pods";
/// A client's own span, which it has sampled.
const CLIENTS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A gate that traces every request, with a cluster `fake` and the token of jane, a cluster-member there.
pub(crate) async fn world(collector: &Collector, lines: &str) -> (Gate, FakeApi, String) {
    let endpoint = collector.endpoint();
    let tracing = format!("tracing: {{otlp: {{endpoint: '{endpoint}'}}, one_in: 1}}\n");
    world_of(&format!("{tracing}{lines}")).await
}

pub(crate) async fn world_of(lines: &str) -> (Gate, FakeApi, String) {
    let fake = FakeApi::start(&["h2", "http/1.1"]).await;
    let gate = Gate::start_configured(lines).await;
    gate.cluster("fake", &fake).await;
    let token = gate.user("jane").await;
    gate.bind("cluster-member", "jane", "fake").await;
    (gate, fake, token)
}

fn id(answer: &Answer) -> &str {
    answer.headers["palisade-request-id"].to_str().unwrap()
}

fn named<'s>(spans: &'s [Seen], name: &str) -> &'s Seen {
    let mut found = spans.iter().filter(|seen| seen.span.name == name);
    let one = found.next().unwrap_or_else(|| panic!("{spans:#?}"));
    assert!(found.next().is_none(), "one {name}: {spans:#?}");
    one
}

fn names(spans: &[Seen]) -> Vec<&str> {
    spans.iter().map(|seen| seen.span.name.as_str()).collect()
}

#[tokio::test]
async fn a_request_is_a_span_with_one_below_it_for_each_step() {
    let collector = Collector::start().await;
    let (gate, fake, token) = world(&collector, "").await;
    let answer = h2(&gate, empty(get(&gate, PODS, &token))).await;
    assert_eq!(answer.status, StatusCode::OK);
    let spans = collector.wait_for(5).await;
    assert_eq!(
        names(&spans),
        [
            "GET cluster",
            "authentication",
            "authorization",
            "connection",
            "GET"
        ]
    );
    let (server, steps) = spans.split_first().unwrap();
    let told: Vec<_> = server.attributes.iter().collect();
    let told: Vec<_> = told.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(
        told,
        [
            "http.request.method=GET",
            "http.response.status_code=200",
            "palisade.cluster=fake",
            &format!("palisade.request.id={}", id(&answer)),
            "palisade.resource=pods",
            "palisade.route=cluster",
            "palisade.verb=list",
        ]
    );
    assert_eq!(server.resource["service.name"], "palisade");
    assert_eq!((server.span.kind, server.parent()), (2, String::new()));
    assert!(!server.is_error());
    let mut last = server.span.start_time_unix_nano;
    for step in steps {
        assert_eq!(step.trace(), server.trace());
        assert_eq!(step.parent(), server.id());
        // One after the other, and within the request.
        assert!(step.span.start_time_unix_nano >= last);
        last = step.span.end_time_unix_nano;
    }
    assert!(last <= server.span.end_time_unix_nano);
    let client = named(&spans, "GET");
    assert_eq!(client.span.kind, 3);
    let code = client.attribute("http.response.status_code");
    assert_eq!(code, Some("200"));
    // The cluster's own spans belong below that one.
    let [received] = <[_; 1]>::try_from(fake.received()).unwrap();
    let sent = format!("00-{}-{}-01", server.trace(), client.id());
    assert_eq!(received.all("traceparent"), [sent]);
    gate.stop().await;
}

#[tokio::test]
async fn refusals_and_failures_are_told_where_they_happen() {
    let collector = Collector::start().await;
    let (gate, fake, token) = world(&collector, "").await;
    let stranger = Request::get(format!("{}{PODS}", gate.url));
    assert_eq!(h2(&gate, empty(stranger)).await.status, 401);
    let spans = collector.wait_for(2).await;
    assert_eq!(names(&spans), ["GET cluster", "authentication"]);
    for seen in &spans {
        assert_eq!(seen.attribute("palisade.fault"), Some("client"));
        assert!(!seen.is_error(), "a refusal is what it is for");
        assert_eq!(seen.attribute("palisade.cluster"), None, "of strangers");
        assert_eq!(seen.attribute("palisade.resource"), None);
    }
    let nodes = "/k8s/clusters/fake/api/v1/nodes";
    let answer = h2(&gate, empty(get(&gate, nodes, &token).method("DELETE"))).await;
    assert_eq!(answer.status, 403);
    let spans = collector.wait_for(2 + 3).await.split_off(2);
    let expected = ["DELETE cluster", "authentication", "authorization"];
    assert_eq!(names(&spans), expected);
    assert_eq!(spans[0].attribute("palisade.resource"), Some("nodes"));
    assert_eq!(spans[1].attribute("palisade.fault"), None);
    assert_eq!(spans[2].attribute("palisade.fault"), Some("client"));
    fake.script([Reply::Cut]);
    let maps = PODS.replace("pods", "configmaps");
    let post = get(&gate, &maps, &token).method(Method::POST);
    let answer = h2(&gate, post.body(b"{}".to_vec().into()).unwrap()).await;
    assert_eq!(answer.status, 502);
    let spans = collector.wait_for(5 + 5).await.split_off(5);
    let (server, client) = (named(&spans, "POST cluster"), named(&spans, "POST"));
    for seen in [server, client] {
        assert!(seen.is_error());
        assert_eq!(seen.attribute("palisade.fault"), Some("upstream"));
    }
    assert_eq!(server.attribute("error.type"), Some("502"));
    // The cluster's own failure is not the gateway's, but one all the same.
    let busy = StatusCode::SERVICE_UNAVAILABLE;
    fake.script([Reply::Answer(busy, Vec::new(), "{}".into())]);
    let answer = h2(&gate, empty(get(&gate, PODS, &token))).await;
    assert_eq!(answer.status, 503);
    let spans = collector.wait_for(10 + 5).await.split_off(10);
    let client = named(&spans, "GET");
    assert_eq!(client.attribute("error.type"), Some("503"));
    assert_eq!(client.attribute("palisade.fault"), None);
    gate.stop().await;
}

#[tokio::test]
async fn a_stream_is_one_span_until_its_end() {
    let collector = Collector::start().await;
    let (gate, fake, token) = world(&collector, "").await;
    fake.script([Reply::Stall("{\"type\":\"ADDED\"}\n".into())]);
    let io = TokioIo::new(tls(&gate, &["h2"]).await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let driver = tokio::spawn(connection);
    let watch = get(&gate, &format!("{PODS}?watch=true"), &token);
    let mut body = sender.send_request(empty(watch)).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    // Another request begins later, and is told of before.
    let answer = h2(&gate, empty(get(&gate, PODS, &token))).await;
    let spans = collector.wait_for(5).await;
    let request = spans[0].attribute("palisade.request.id");
    assert_eq!((spans.len(), request), (5, Some(id(&answer))));
    drop((body, sender));
    driver.await.unwrap().unwrap();
    let watch = collector.wait_for(10).await.split_off(5);
    assert_eq!(watch[0].attribute("palisade.verb"), Some("watch"));
    assert_eq!(watch[0].attribute("palisade.cut"), Some("true"));
    let ended = watch[0].span.end_time_unix_nano;
    assert!(ended > spans[0].span.end_time_unix_nano);
    assert!(named(&watch, "GET").span.end_time_unix_nano < ended);
    gate.stop().await;
}

/// Who sends a request.
enum Who {
    Jane,
    Stranger,
}

/// A request that names a trace of its own: the server's span, and what the cluster was told of it.
async fn with_context(context: &str, who: Who) -> (Seen, Option<(Vec<String>, Vec<String>)>) {
    let collector = Collector::start().await;
    let endpoint = collector.endpoint();
    let lines = format!(
        "tracing: {{otlp: {{endpoint: '{endpoint}'}}, one_in: 1, client_context: {context}}}\n"
    );
    let (gate, fake, token) = world_of(&lines).await;
    let request = match who {
        Who::Jane => get(&gate, PODS, &token),
        Who::Stranger => Request::get(format!("{}{PODS}", gate.url)),
    };
    let request = request.header("traceparent", CLIENTS);
    h2(&gate, empty(request.header("tracestate", "vendor=1"))).await;
    let server = collector.wait_for(2).await.swap_remove(0);
    let received = fake.received().pop();
    let received = received.map(|r| (r.all("traceparent"), r.all("tracestate")));
    gate.stop().await;
    (server, received)
}

#[tokio::test]
async fn a_clients_trace_is_linked_to_by_default() {
    let (server, received) = with_context("link", Who::Jane).await;
    let link = &server.span.links[0];
    let linked = testkit::collector::hex(&link.trace_id);
    assert_eq!(linked, CLIENTS[3..35]);
    assert_eq!(testkit::collector::hex(&link.span_id), CLIENTS[36..52]);
    assert_ne!(server.trace(), linked);
    assert_eq!(server.parent(), "");
    let (parent, state) = received.unwrap();
    assert!(parent[0].starts_with(&format!("00-{}-", server.trace())));
    assert_eq!(parent.len(), 1);
    // It says something of a trace that the request is not in.
    assert_eq!(state, Vec::<String>::new());
}

#[tokio::test]
async fn a_known_clients_trace_goes_on_where_the_operator_says_so() {
    let (server, received) = with_context("parent", Who::Jane).await;
    assert_eq!(server.trace(), CLIENTS[3..35]);
    assert_eq!(server.parent(), CLIENTS[36..52]);
    assert!(server.span.links.is_empty());
    let (parent, state) = received.unwrap();
    assert!(parent[0].starts_with(&CLIENTS[..36]) && parent[0] != CLIENTS);
    assert_eq!(state, ["vendor=1"]);
}

#[tokio::test]
async fn a_stranger_adds_to_nobodys_trace() {
    let (server, received) = with_context("parent", Who::Stranger).await;
    assert_ne!(server.trace(), CLIENTS[3..35]);
    assert_eq!(
        (server.parent(), server.span.links.len()),
        (String::new(), 1)
    );
    assert!(received.is_none());
}

#[tokio::test]
async fn a_client_cannot_have_its_requests_traced_and_what_is_not_traced_crosses_as_it_is() {
    let collector = Collector::start().await;
    let endpoint = collector.endpoint();
    let lines = format!("tracing: {{otlp: {{endpoint: '{endpoint}'}}, one_in: 1000000}}\n");
    let (gate, fake, token) = world_of(&lines).await;
    for _ in 0..20 {
        let request = get(&gate, PODS, &token).header("traceparent", CLIENTS);
        h2(&gate, empty(request.header("tracestate", "vendor=1"))).await;
    }
    for received in fake.received() {
        assert_eq!(received.all("traceparent"), [CLIENTS]);
        assert_eq!(received.all("tracestate"), ["vendor=1"]);
    }
    gate.stop().await;
    assert_eq!(collector.tries(), 0);
}

#[tokio::test]
async fn no_secret_no_person_and_no_name_is_in_a_span() {
    let collector = Collector::start().await;
    let (gate, fake, token) = world(&collector, "").await;
    gate.role_with("all", "*", &["*"]).await;
    gate.bind("all", "jane", "fake").await;
    let word = canary::PLANTED_WORD;
    let pod = format!("{PODS}/very-own-pod/log?tailLines=1&token={token}&x={word}");
    let targets = [
        pod.clone(),
        format!("/k8s/clusters/fake/api/v1/namespaces/very-own-namespace/{token}"),
        format!("/k8s/clusters/{token}/api/v1/pods"),
        format!("/apis/palisade.dev/v1alpha1/users/very-own-user?x={word}"),
        "/very-own-path".to_owned(),
    ];
    for target in &targets {
        for token in [&token, "pal_pat_nonsense"] {
            let request = get(&gate, target, token)
                .header("cookie", format!("session={word}"))
                .header("user-agent", "very-own-agent/1")
                .header("traceparent", CLIENTS)
                .header("tracestate", format!("vendor={word}"))
                .method(Method::PUT);
            let body = format!("{{\"password\":\"{}\"}}", canary::PLANTED);
            h2(&gate, request.body(body.into()).unwrap()).await;
        }
    }
    assert!(!fake.received().is_empty(), "some of them went through");
    // What is left of the last ones comes with the stop.
    gate.stop().await;
    let servers = collector.spans();
    let servers = servers.iter().filter(|seen| seen.span.kind == 2);
    assert_eq!(servers.count(), 2 * targets.len());
    let bytes = collector.bytes();
    canary::assert_none(&[("a trace", &bytes)], None, &["jane", "very-own"]);
}

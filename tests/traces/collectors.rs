//! Collectors that are away, slow, busy or choosy: requests never notice, and what is lost is counted.

use crate::{
    PODS,
    testkit::{
        client::{empty, get, h2},
        collector::{Collector, Mood},
        gate::Gate,
        openmetrics::Exposition,
    },
    world, world_of,
};
use http::StatusCode;
use std::time::{Duration, Instant};
use tokio::{net::TcpListener, time::timeout};

const PATIENCE: Duration = Duration::from_secs(20);
/// Spans of one list of Pods.
const SPANS: f64 = 5.0;
/// What a request takes at most that waits for nobody: far below the time that a collector gets.
const PROMPT: Duration = Duration::from_secs(3);

async fn list(gate: &Gate, token: &str) {
    let answer = timeout(PROMPT, h2(gate, empty(get(gate, PODS, token))));
    let answer = answer.await.expect("an answer that waits for no collector");
    assert_eq!(answer.status, StatusCode::OK);
}

/// Waits until so many spans have come to this end.
async fn counted(gate: &Gate, end: &str, spans: f64) {
    let reached = timeout(PATIENCE, async {
        loop {
            let answer = gate.metrics().await;
            let (_, text) = answer.split_once("\r\n\r\n").unwrap();
            let labels = [("result", end)];
            let now = Exposition::read(text).value("palisade_trace_spans_total", &labels);
            if (now - spans).abs() < 0.5 {
                return;
            }
        }
    });
    assert!(reached.await.is_ok(), "{spans} spans are {end}");
}

#[tokio::test]
async fn what_was_traced_last_is_sent_before_the_stop() {
    let collector = Collector::start().await;
    let (gate, _fake, token) = world(&collector, "").await;
    list(&gate, &token).await;
    gate.stop().await;
    assert_eq!(collector.spans().len(), 5);
}

#[tokio::test]
async fn a_collector_is_spoken_to_over_tls_with_its_own_authority() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let collector = Collector::start_tls(&ca).await;
    let (endpoint, ca) = (collector.endpoint(), ca.display());
    let lines =
        format!("tracing: {{otlp: {{endpoint: '{endpoint}', ca_file: {ca}}}, one_in: 1}}\n");
    let (gate, _fake, token) = world_of(&lines).await;
    list(&gate, &token).await;
    collector.wait_for(5).await;
    counted(&gate, "exported", SPANS).await;
    gate.stop().await;
}

#[tokio::test]
async fn a_collector_of_an_unknown_authority_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start_tls(&folder.path().join("ca.pem")).await;
    let (gate, _fake, token) = world(&collector, "drain: {deadline: 0s}\n").await;
    list(&gate, &token).await;
    counted(&gate, "not_sent", SPANS).await;
    assert_eq!(collector.tries(), 0);
    gate.stop().await;
}

#[tokio::test]
async fn a_collector_that_is_away_costs_its_spans_and_no_request() {
    // A port on which nobody listens.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let lines = format!("tracing: {{otlp: {{endpoint: '{endpoint}'}}, one_in: 1}}\n");
    let (gate, _fake, token) = world_of(&lines).await;
    list(&gate, &token).await;
    list(&gate, &token).await;
    counted(&gate, "not_sent", 2.0 * SPANS).await;
    gate.stop().await;
}

#[tokio::test]
async fn a_collector_that_hangs_holds_up_no_request_and_the_stop_for_a_bounded_time() {
    let collector = Collector::start().await;
    collector.always(Mood::Hangs);
    let (gate, _fake, token) = world(&collector, "drain: {deadline: 1s}\n").await;
    list(&gate, &token).await;
    collector.tried().await;
    for _ in 0..50 {
        list(&gate, &token).await;
    }
    let asked = Instant::now();
    gate.stop().await;
    // One second of drain; the collector alone would be given five for each try.
    assert!(asked.elapsed() < PROMPT, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_busy_collector_is_asked_again() {
    let collector = Collector::start().await;
    let busy = Mood::Answers(StatusCode::SERVICE_UNAVAILABLE);
    collector.script([busy, Mood::Answers(StatusCode::TOO_MANY_REQUESTS)]);
    let (gate, _fake, token) = world(&collector, "").await;
    list(&gate, &token).await;
    collector.wait_for(5).await;
    counted(&gate, "exported", SPANS).await;
    assert_eq!(collector.tries(), 3);
    // Three tries are all.
    collector.always(busy);
    list(&gate, &token).await;
    counted(&gate, "not_sent", SPANS).await;
    assert_eq!(collector.tries(), 6);
    gate.stop().await;
}

#[tokio::test]
async fn what_a_collector_refuses_is_not_sent_again() {
    let collector = Collector::start().await;
    collector.script([Mood::Answers(StatusCode::BAD_REQUEST), Mood::TakesLess(2)]);
    let (gate, _fake, token) = world(&collector, "").await;
    list(&gate, &token).await;
    counted(&gate, "refused", SPANS).await;
    assert_eq!(collector.tries(), 1);
    list(&gate, &token).await;
    counted(&gate, "refused", SPANS + 2.0).await;
    counted(&gate, "exported", SPANS - 2.0).await;
    assert_eq!(collector.tries(), 2);
    gate.stop().await;
}

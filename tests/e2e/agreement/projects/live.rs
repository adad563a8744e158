//! Requests sent through the gateway, with a token of whoever asks.

use super::{Decided, asked::Sent};
use crate::testkit::{client::tls_to, gateway::GatewayProcess, process::run};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// An API server answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// What changes nothing, sent without a body: the one verb that would is left out.
const HARMLESS: [&str; 4] = ["GET", "POST", "PUT", "PATCH"];

/// Sends the first harmless ones, and compares; answers with how many.
pub(super) fn send(
    gateway: &GatewayProcess,
    sent: &[Sent],
    decided: &[Decided],
    most: usize,
) -> usize {
    let mut tokens = BTreeMap::new();
    for sent in sent {
        tokens
            .entry(sent.user.as_str())
            .or_insert_with(|| token(gateway, &sent.user));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let both = sent.iter().zip(decided);
    let both = both.filter(|(sent, _)| HARMLESS.contains(&sent.method));
    let mut number = 0;
    for (sent, decided) in both.take(most) {
        let status = runtime.block_on(ask(gateway, sent, &tokens[sent.user.as_str()]));
        let refused = status == StatusCode::FORBIDDEN
            || decided.review.is_none() && status == StatusCode::BAD_REQUEST;
        assert_eq!(refused, !decided.allowed, "{status} to {sent:?}");
        number += 1;
    }
    number
}

fn token(gateway: &GatewayProcess, user: &str) -> String {
    let mut create = gateway.cli("admin");
    create.args(["token", "create", "--user", user, "-o", "json"]);
    let made: Value = serde_json::from_str(&run(&create).ok()).unwrap();
    made["token"].as_str().unwrap().to_owned()
}

/// A connection of its own, dropped after the head: the body of a watch has no end.
async fn ask(gateway: &GatewayProcess, sent: &Sent, token: &str) -> StatusCode {
    let address = gateway.address().to_string();
    let stream = tls_to(&address, "localhost", &gateway.ca_pem(), &["http/1.1"]).await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(sent.method)
        .uri(format!("/k8s/clusters/{}{}", super::CLUSTER, sent.target))
        .header("host", "localhost")
        .header("authorization", format!("Bearer {token}"))
        .body(Full::new(Bytes::new()))
        .unwrap();
    let response = tokio::time::timeout(PATIENCE, sender.send_request(request)).await;
    let status = response.unwrap().unwrap().status();
    connection.abort();
    status
}

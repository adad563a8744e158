//! Access reviews answered by the server, sixteen at a time, through `kubectl proxy`.

use super::requests::Asked;
use crate::testkit::cluster::LocalCluster;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    time::Duration,
};
use tokio::net::TcpStream;

/// Enough to keep two cores busy; more make no difference.
const IN_FLIGHT: usize = 16;
/// A review takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// `kubectl proxy`, which carries the administrator's certificate.
struct Proxy {
    process: Child,
    address: String,
}

impl Proxy {
    fn start(cluster: &LocalCluster) -> Self {
        let mut process = cluster
            .kubectl()
            .args(["proxy", "--port=0", "--address=127.0.0.1"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().to_owned();
        Self { process, address }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `status.allowed` of each review, in order.
pub(super) fn review_all(cluster: &LocalCluster, specs: &[&Value]) -> Vec<bool> {
    let proxy = Proxy::start(cluster);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut workers = tokio::task::JoinSet::new();
        for worker in 0..IN_FLIGHT {
            let address = proxy.address.clone();
            let mine: Vec<(usize, Value)> = specs
                .iter()
                .enumerate()
                .skip(worker)
                .step_by(IN_FLIGHT)
                .map(|(index, spec)| (index, (*spec).clone()))
                .collect();
            workers.spawn(review_some(address, mine));
        }
        let mut answers = Vec::new();
        while let Some(some) = workers.join_next().await {
            answers.extend(some.unwrap());
        }
        answers.sort_unstable_by_key(|(index, _)| *index);
        answers.into_iter().map(|(_, allowed)| allowed).collect()
    })
}

/// Whether each request is answered 403, in order.
pub(super) fn ask_all(cluster: &LocalCluster, asked: &[Asked]) -> Vec<bool> {
    let proxy = Proxy::start(cluster);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut answers = Vec::new();
        for some in asked.chunks(IN_FLIGHT) {
            let some = some.iter().map(|one| ask(&proxy.address, one));
            answers.extend(futures_util::future::join_all(some).await);
        }
        answers
    })
}

/// A connection of its own, dropped after the head: the body of a watch has no end.
async fn ask(address: &str, asked: &Asked) -> bool {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(asked.method)
        .uri(&asked.target)
        .header("host", address)
        .header("impersonate-user", &asked.user);
    for group in &asked.groups {
        request = request.header("impersonate-group", group);
    }
    let request = request.body(Full::new(Bytes::new())).unwrap();
    let response = tokio::time::timeout(PATIENCE, sender.send_request(request)).await;
    let status = response.unwrap().unwrap().status();
    connection.abort();
    status == StatusCode::FORBIDDEN
}

async fn review_some(address: String, specs: Vec<(usize, Value)>) -> Vec<(usize, bool)> {
    let stream = TcpStream::connect(&address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut answers = Vec::new();
    for (index, spec) in specs {
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec});
        let request = Request::post(REVIEWS)
            .header("host", &address)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(review.to_string())))
            .unwrap();
        let answer = tokio::time::timeout(PATIENCE, async {
            let response = sender.send_request(request).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        });
        let answer: Value = serde_json::from_slice(&answer.await.unwrap()).unwrap();
        let allowed = answer["status"]["allowed"].as_bool();
        answers.push((
            index,
            allowed.unwrap_or_else(|| panic!("{answer} to {spec}")),
        ));
    }
    answers
}

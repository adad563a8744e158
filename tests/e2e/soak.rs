//! An hour's work in a minute, and then nothing is left of it: no task, no file descriptor, no memory.
//!
//! The gateway is its own process with everything on that a production one has; a fake API server of this
//! process stands behind it, so that the load is the gateway's and not a real API server's.

use crate::testkit::{
    client::{self, read_until},
    fake_api::FakeApi,
    gate,
    gateway::GatewayProcess,
    process::eventually,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use palisade::{
    objects::{Kind as _, Stored},
    serve::state::State,
    store::Txn,
};
use std::{fs, net::SocketAddr};
use tokio::io::AsyncWriteExt as _;

/// Requests of the whole run.
const REQUESTS: usize = 100_000;
/// Streams of the whole run: watches, followed logs, and one exec in five.
const STREAMS: usize = 5_000;
/// The base is taken after half of it: buffers, pools and the allocator's arenas have their size then.
const HALVES: usize = 2;
/// Client connections, each with its share of all.
const CONNECTIONS: usize = 8;
/// Requests under way on each.
const AT_ONCE: usize = 16;
/// Streams open at the same time on each: below what the gateway allows one connection.
const OPEN: usize = 25;
/// Growth of resident memory that is no leak (KiB): the allocator keeps pages, and not the same ones each
/// time. A leak of a hundred bytes a request would be 5 MiB in the second half.
const MEMORY_SLACK: u64 = 4 * 1024;

const PODS: &str = "/k8s/clusters/fake/api/v1/namespaces/default/pods";

/// What a process holds.
#[derive(Debug)]
struct Held {
    descriptors: usize,
    memory_kib: u64,
    tasks: u64,
    connections: u64,
    in_flight: u64,
}

impl Held {
    fn now(gateway: &GatewayProcess) -> Self {
        let id = gateway.id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let memory = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok());
        let metrics = gateway.admin_get("/metrics").unwrap();
        // All series of one gauge; a name that is not there would be a check that cannot fail.
        let gauge = |name: &str| {
            let of = |line: &str| {
                let rest = line.strip_prefix(name)?;
                let value = rest
                    .starts_with([' ', '{'])
                    .then(|| rest.rsplit(' ').next())?;
                value?.parse::<u64>().ok()
            };
            let all: Vec<u64> = metrics.lines().filter_map(of).collect();
            assert!(!all.is_empty(), "no {name} in {metrics}");
            all.into_iter().sum()
        };
        Self {
            descriptors: fs::read_dir(format!("/proc/{id}/fd")).unwrap().count(),
            memory_kib: memory.unwrap(),
            tasks: gauge("palisade_runtime_tasks"),
            connections: gauge("palisade_connections_open"),
            in_flight: gauge("palisade_requests_in_flight"),
        }
    }

    /// Once everybody has gone.
    fn at_rest(gateway: &GatewayProcess) -> Self {
        let mut last = Self::now(gateway);
        let rest = eventually(|| {
            last = Self::now(gateway);
            (last.connections == 0 && last.in_flight == 0).then_some(())
        });
        assert!(rest.is_some(), "something stays open: {last:?}");
        last
    }
}

#[test]
fn a_hundred_thousand_requests_and_five_thousand_streams_leave_nothing_behind() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fake = runtime.block_on(FakeApi::start(&["h2", "http/1.1"]));
    fake.be_quiet();
    let mut gateway = GatewayProcess::start();
    gateway.login("admin", &gateway.password).ok();
    let token = crate::testkit::process::run(
        gateway
            .cli("admin")
            .args(["token", "create", "--name", "soak"]),
    );
    let token = token.ok().trim().to_owned();
    gateway.restart_with(|state| runtime.block_on(register(state, &fake)));
    let address: SocketAddr = gateway.address();
    let load = || {
        runtime.block_on(async {
            let workers = (0..CONNECTIONS).map(|_| {
                let (token, ca) = (token.clone(), gateway.ca_pem());
                tokio::spawn(work(address, ca, token))
            });
            for worker in workers.collect::<Vec<_>>() {
                worker.await.unwrap();
            }
        });
    };
    load();
    let base = Held::at_rest(&gateway);
    load();
    let mut held = Held::at_rest(&gateway);
    // The last descriptors and tasks go a moment after the last connection is counted off.
    let gone = eventually(|| {
        held = Held::now(&gateway);
        (held.descriptors <= base.descriptors && held.tasks <= base.tasks).then_some(())
    });
    println!("at rest after half of it {base:?}, after all {held:?}");
    assert!(gone.is_some(), "{held:?} beside {base:?}");
    assert!(
        held.memory_kib <= base.memory_kib + MEMORY_SLACK,
        "{held:?} beside {base:?}"
    );
    gateway.stop();
}

/// Writes a cluster whose API server is `fake` straight into a stopped gateway's store.
async fn register(config: palisade::config::State, fake: &FakeApi) {
    let state = State::open(&config).await.unwrap();
    let (cluster, private) = gate::registered(&state.keyring, "fake", &fake.server(), &fake.ca_pem);
    let key = palisade::objects::Cluster::key(&cluster.metadata.name);
    let bytes = Stored::new(cluster, private).encode();
    state.store.txn(Txn::new().put(key, bytes)).await.unwrap();
    state.store.close().await;
}

/// One client's share of one half.
async fn work(address: SocketAddr, ca: String, token: String) {
    let io = TokioIo::new(client::tls_to(&address.to_string(), "localhost", &ca, &["h2"]).await);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let driver = tokio::spawn(connection);
    let of = |whole: usize| whole / CONNECTIONS / HALVES;
    stream::iter(0..of(REQUESTS))
        .for_each_concurrent(AT_ONCE, |_| ask(&sender, address, &token))
        .await;
    stream::iter(0..of(STREAMS))
        .for_each_concurrent(OPEN, |number| {
            let (sender, token, ca) = (&sender, &token, &ca);
            async move {
                match number % 5 {
                    0 => exec(address, ca, token, number % 2).await,
                    1 => follow(sender, address, token, "/x/log?follow=true").await,
                    _ => follow(sender, address, token, "?watch=true").await,
                }
            }
        })
        .await;
    drop(sender);
    driver.abort();
}

fn request(address: SocketAddr, token: &str, rest: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://localhost:{}{PODS}{rest}", address.port()))
        .header("authorization", format!("Bearer {token}"))
        .body(Full::default())
        .unwrap()
}

async fn ask(sender: &SendRequest<Full<Bytes>>, address: SocketAddr, token: &str) {
    let answer = sender
        .clone()
        .send_request(request(address, token, ""))
        .await;
    let answer = answer.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.into_body().collect().await.unwrap();
}

/// Opens a stream, reads its first event and goes away.
async fn follow(sender: &SendRequest<Full<Bytes>>, address: SocketAddr, token: &str, rest: &str) {
    let answer = sender.clone().send_request(request(address, token, rest));
    let mut answer = answer.await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{rest}");
    assert!(answer.body_mut().frame().await.unwrap().is_ok());
}

/// An exec that echoes; every other one ends as it should, the rest are cut off.
async fn exec(address: SocketAddr, ca: &str, token: &str, odd: usize) {
    let mut stream = client::tls_to(&address.to_string(), "localhost", ca, &["http/1.1"]).await;
    let head = format!(
        "POST {PODS}/x/exec?command=sh HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream.write_all(b"there and back").await.unwrap();
    assert_eq!(read_until(&mut stream, "back").await, "there and back");
    if odd == 0 {
        stream.shutdown().await.unwrap();
        assert_eq!(read_until(&mut stream, "").await, "");
    }
}

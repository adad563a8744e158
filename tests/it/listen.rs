//! The listener: handshakes, deadlines, bounds and the drain.

use crate::tls;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::{Request, Response, Version, body::Incoming, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use palisade::{
    config::live::{Bound, Live},
    observe::metrics::Metrics,
    request::conn::ConnInfo,
    serve::{
        conn::Settings,
        lifecycle::{Drained, drain},
        listen::{Listener, Shared},
    },
};
use rustls::{
    CipherSuite, ClientConfig, NamedGroup, ProtocolVersion,
    pki_types::CertificateDer,
    version::{TLS12, TLS13},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(10);

fn settings() -> Settings {
    Settings {
        handshake_timeout: PATIENCE,
        header_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        header_bytes: 64 << 10,
        h2_streams: 250,
        h2_ping_interval: PATIENCE,
    }
}

struct Server {
    address: SocketAddr,
    root: CertificateDer<'static>,
    shared: Shared,
    accepting: JoinHandle<()>,
    /// Lets requests to `/held` finish.
    release: Arc<Notify>,
}

impl Server {
    async fn start(settings: Settings) -> Self {
        let (config, root) = tls::server();
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.address();
        let shared = Shared {
            tls: config,
            places: Bound::new(100),
            settings: Live::fixed(settings),
            metrics: Arc::new(Metrics::new()),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            open: TaskTracker::new(),
            answers: TaskTracker::new(),
        };
        let release = Arc::new(Notify::new());
        let held = Arc::clone(&release);
        let handler = move |info: Arc<ConnInfo>, request: Request<Incoming>| {
            let held = Arc::clone(&held);
            async move {
                if request.uri().path() == "/held" {
                    held.notified().await;
                }
                let tls = info.tls.as_ref().unwrap();
                let sni = tls.sni.as_deref().unwrap_or("-");
                let text = format!("tls={} h2={} sni={sni}", tls.version, info.h2);
                Response::new(Full::new(Bytes::from(text)))
            }
        };
        let accepting = tokio::spawn(listener.run(shared.clone(), handler));
        Self {
            address,
            root,
            shared,
            accepting,
            release,
        }
    }

    fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        tls::client(&self.root, &[&TLS12, &TLS13], alpn)
    }

    async fn h1(&self) -> conn::http1::SendRequest<Empty<Bytes>> {
        let stream = tls::connect(self.address, self.client(&["http/1.1"]))
            .await
            .unwrap();
        let (send, connection) = conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        send
    }

    async fn h2(&self) -> conn::http2::SendRequest<Empty<Bytes>> {
        let stream = tls::connect(self.address, self.client(&["h2"]))
            .await
            .unwrap();
        let handshake = conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (send, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        send
    }

    fn metrics(&self) -> String {
        self.shared.metrics.encode()
    }

    async fn drain(self, deadline: Duration) -> Drained {
        let never = std::future::pending();
        let drained = drain(&self.shared.stop, &self.shared.open, deadline, never).await;
        timeout(PATIENCE, self.accepting).await.unwrap().unwrap();
        drained
    }
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("https://localhost{path}"))
        .header("host", "localhost")
        .body(Empty::new())
        .unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn tls_1_3_agrees_on_the_post_quantum_group_and_aes_128() {
    let server = Server::start(settings()).await;
    let config = tls::client(&server.root, &[&TLS13], &["h2", "http/1.1"]);
    let stream = tls::connect(server.address, config).await.unwrap();
    let (_, session) = stream.get_ref();
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
    let group = session.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    let suite = session.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, CipherSuite::TLS13_AES_128_GCM_SHA256);
}

#[tokio::test]
async fn tls_1_2_with_http_1_1_works() {
    let server = Server::start(settings()).await;
    let config = tls::client(&server.root, &[&TLS12], &["http/1.1"]);
    let stream = tls::connect(server.address, config).await.unwrap();
    assert_eq!(
        stream.get_ref().1.protocol_version(),
        Some(ProtocolVersion::TLSv1_2)
    );
    let (mut send, connection) = conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = send.send_request(get("/")).await.unwrap();
    assert_eq!(text(response).await, "tls=1.2 h2=false sni=localhost");
    drop(send);
    assert_eq!(server.drain(PATIENCE).await, Drained::Clean);
}

#[tokio::test]
async fn without_alpn_it_is_http_1_1() {
    let server = Server::start(settings()).await;
    let stream = tls::connect(server.address, server.client(&[]))
        .await
        .unwrap();
    let (mut send, connection) = conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = send.send_request(get("/")).await.unwrap();
    assert_eq!(text(response).await, "tls=1.3 h2=false sni=localhost");
}

#[tokio::test]
async fn http_2_is_spoken_where_alpn_says_so() {
    let server = Server::start(settings()).await;
    let mut send = server.h2().await;
    let response = send.send_request(get("/")).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(text(response).await, "tls=1.3 h2=true sni=localhost");
    let metrics = server.metrics();
    assert!(
        metrics.contains("palisade_connections_open 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("palisade_requests_received_total 1\n"),
        "{metrics}"
    );
}

// S5: a handshake that never ends.
#[tokio::test]
async fn slow_handshake_is_cut() {
    let mut settings = settings();
    settings.handshake_timeout = Duration::from_millis(100);
    let server = Server::start(settings).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The first bytes of a ClientHello's record, and no more.
    stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(rest.is_empty());
    let metrics = server.metrics();
    assert!(
        metrics.contains("palisade_handshakes_total{result=\"timed_out\"} 1"),
        "{metrics}"
    );
}

// S5: a ClientHello in pieces, here one byte a TCP segment.
#[tokio::test]
async fn split_client_hello_is_read() {
    let server = Server::start(settings()).await;
    let mut client =
        rustls::ClientConnection::new(server.client(&["h2"]), "localhost".try_into().unwrap())
            .unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in hello {
        stream.write_all(&[byte]).await.unwrap();
    }
    let mut head = [0; 5];
    timeout(PATIENCE, stream.read_exact(&mut head))
        .await
        .unwrap()
        .unwrap();
    // A handshake record, not an alert.
    assert_eq!(head[0], 22);
}

#[tokio::test]
async fn plain_http_on_the_tls_port_ends_at_once() {
    let server = Server::start(settings()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut rest = Vec::new();
    // Either an alert and the end, or a reset because of what was not read.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(!rest.starts_with(b"HTTP"));
    let metrics = server.metrics();
    assert!(
        metrics.contains("palisade_handshakes_total{result=\"failed\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn slow_first_head_is_cut() {
    let mut settings = settings();
    settings.header_timeout = Duration::from_millis(100);
    let server = Server::start(settings).await;
    let mut stream = tls::connect(server.address, server.client(&["http/1.1"]))
        .await
        .unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: loc")
        .await
        .unwrap();
    let mut rest = Vec::new();
    // Cut without a close_notify, which rustls calls an unexpected end.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let mut settings = settings();
    settings.idle_timeout = Duration::from_millis(100);
    settings.header_timeout = Duration::from_millis(100);
    let server = Server::start(settings).await;
    let (mut h1, mut h2, mut busy) = (server.h1().await, server.h2().await, server.h2().await);
    text(h1.send_request(get("/")).await.unwrap()).await;
    text(h2.send_request(get("/")).await.unwrap()).await;
    let held = tokio::spawn(busy.send_request(get("/held")));
    let ended = async {
        while !h1.is_closed() || !h2.is_closed() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, ended).await.unwrap();
    assert!(!busy.is_closed());
    server.release.notify_one();
    let response = timeout(PATIENCE, held).await.unwrap().unwrap().unwrap();
    assert_eq!(text(response).await, "tls=1.3 h2=true sni=localhost");
}

// S3: a head without an end.
#[tokio::test]
async fn oversized_head_is_431() {
    let mut settings = settings();
    settings.header_bytes = 8 << 10;
    let server = Server::start(settings).await;
    let big = "x".repeat(32 << 10);
    let request = Request::get("/")
        .header("host", "localhost")
        .header("x-big", &big);
    let response = server
        .h1()
        .await
        .send_request(request.body(Empty::new()).unwrap())
        .await;
    assert_eq!(response.unwrap().status(), 431);
    let mut h2 = server.h2().await;
    let request = Request::get("https://localhost/").header("x-big", &big);
    // Before our SETTINGS arrive the client may send it; then the server answers, or resets.
    match h2.send_request(request.body(Empty::new()).unwrap()).await {
        Ok(response) => assert_eq!(response.status(), 431),
        Err(error) => assert!(!error.is_canceled(), "{error}"),
    }
}

#[tokio::test]
async fn streams_over_the_bound_wait() {
    let mut settings = settings();
    settings.h2_streams = 1;
    let server = Server::start(settings).await;
    let mut send = server.h2().await;
    // After one answer the client knows the server's SETTINGS.
    text(send.send_request(get("/")).await.unwrap()).await;
    let held = tokio::spawn(send.clone().send_request(get("/held")));
    let second = tokio::spawn(send.send_request(get("/")));
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    server.release.notify_one();
    text(timeout(PATIENCE, held).await.unwrap().unwrap().unwrap()).await;
    text(timeout(PATIENCE, second).await.unwrap().unwrap().unwrap()).await;
}

#[tokio::test]
async fn connections_over_the_bound_wait_for_a_place() {
    let server = Server::start(settings()).await;
    // The accept loop holds one already, which is the one that stays.
    server.shared.places.resize(1);
    let mut first = server.h1().await;
    text(first.send_request(get("/")).await.unwrap()).await;
    let config = server.client(&["http/1.1"]);
    let second = tokio::spawn(tls::connect(server.address, config));
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    drop(first);
    let second = timeout(PATIENCE, second).await.unwrap().unwrap().unwrap();
    let third = tokio::spawn(tls::connect(server.address, server.client(&["http/1.1"])));
    tokio::task::yield_now().await;
    assert!(!third.is_finished());
    // A reload that raises the bound lets in who waits.
    server.shared.places.resize(2);
    timeout(PATIENCE, third).await.unwrap().unwrap().unwrap();
    drop(second);
}

#[tokio::test]
async fn drain_lets_a_request_finish_and_closes_idle_connections() {
    let server = Server::start(settings()).await;
    let (mut busy, mut idle1, mut idle2) =
        (server.h2().await, server.h1().await, server.h2().await);
    text(idle1.send_request(get("/")).await.unwrap()).await;
    text(idle2.send_request(get("/")).await.unwrap()).await;
    text(busy.send_request(get("/")).await.unwrap()).await;
    let held = tokio::spawn(busy.send_request(get("/held")));
    let (address, release) = (server.address, Arc::clone(&server.release));
    let draining = tokio::spawn(server.drain(PATIENCE));
    let closed = async {
        while !idle1.is_closed() || !idle2.is_closed() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, closed).await.unwrap();
    assert!(!draining.is_finished());
    assert!(TcpStream::connect(address).await.is_err());
    release.notify_one();
    let response = timeout(PATIENCE, held).await.unwrap().unwrap().unwrap();
    assert_eq!(response.status(), 200);
    text(response).await;
    assert_eq!(
        timeout(PATIENCE, draining).await.unwrap().unwrap(),
        Drained::Clean
    );
}

#[tokio::test]
async fn drain_cuts_at_the_deadline() {
    let server = Server::start(settings()).await;
    let mut send = server.h1().await;
    let held = tokio::spawn(async move { send.send_request(get("/held")).await });
    while !server
        .metrics()
        .contains("palisade_requests_received_total 1\n")
    {
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    let drained = server.drain(Duration::from_millis(100)).await;
    assert_eq!(drained, Drained::Cut(1));
    assert!(began.elapsed() < PATIENCE);
    held.abort();
}

#[tokio::test]
async fn second_signal_ends_the_drain_at_once() {
    let server = Server::start(settings()).await;
    let mut send = server.h1().await;
    let held = tokio::spawn(async move { send.send_request(get("/held")).await });
    while !server
        .metrics()
        .contains("palisade_requests_received_total 1\n")
    {
        tokio::task::yield_now().await;
    }
    let hurry = std::future::ready(());
    let drained = drain(&server.shared.stop, &server.shared.open, PATIENCE, hurry).await;
    assert_eq!(drained, Drained::Cut(1));
    held.abort();
}

//! A recording API server for what a real one will not do on demand.
//!
//! It speaks TLS with HTTP/2 or HTTP/1.1, keeps every request that it receives (target, headers in order,
//! body), and answers from a script; without one, 200 and a small JSON object.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) version: Version,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    /// Number of the connection that it came over.
    pub(crate) connection: usize,
}

impl Received {
    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let text = |v: &http::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
        self.headers.get_all(name).iter().map(text).collect()
    }
}

/// What the server does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// An ordinary answer.
    Answer(StatusCode, Vec<(&'static str, String)>, Bytes),
    /// Switches protocols and echoes whatever comes.
    Echo,
    /// Switches protocols to this subprotocol, says these bytes, hears the client out, and ends.
    Says(&'static str, Bytes),
    /// 200, one chunk, and then nothing until the client goes away.
    Stall(Bytes),
    /// Drops the connection without an answer.
    Cut,
    /// 200 with `count` chunks of this.
    Chunks(Bytes, usize),
    /// Thinks for so long first.
    Late(std::time::Duration, Box<Self>),
}

/// What all its connections share.
#[derive(Default)]
struct State {
    received: Mutex<Vec<Received>>,
    script: Mutex<VecDeque<Reply>>,
    quiet: AtomicBool,
}

pub(crate) struct FakeApi {
    pub(crate) address: SocketAddr,
    pub(crate) ca_pem: String,
    state: Arc<State>,
    stop: tokio_util::sync::CancellationToken,
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl FakeApi {
    /// Starts one on a free loopback port; `alpn` e.g. `["h2", "http/1.1"]`.
    pub(crate) async fn start(alpn: &[&str]) -> Self {
        let (config, ca_pem) = tls(alpn);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self {
            address: listener.local_addr().unwrap(),
            ca_pem,
            state: Arc::default(),
            stop: tokio_util::sync::CancellationToken::new(),
        };
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let state = Arc::clone(&fake.state);
        let stop = fake.stop.clone();
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap(),
                    () = stop.cancelled() => return,
                };
                let (acceptor, stop) = (acceptor.clone(), stop.clone());
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    tokio::select! {
                        () = serve(stream, connection, state) => {}
                        () = stop.cancelled() => {}
                    }
                });
            }
        });
        fake
    }

    /// The URL to register.
    pub(crate) fn server(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// From now on it keeps nothing and answers by what is asked: watches and followed logs stay open,
    /// upgrades echo.
    pub(crate) fn be_quiet(&self) {
        self.state.quiet.store(true, Ordering::Relaxed);
    }

    /// What the next requests are answered with, in order.
    pub(crate) fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.script.lock().unwrap().extend(replies);
    }

    /// All that arrived, less the gateway's own health probes.
    pub(crate) fn received(&self) -> Vec<Received> {
        let all = self.state.received.lock().unwrap();
        all.iter()
            .filter(|r| r.headers.contains_key("impersonate-user"))
            .cloned()
            .collect()
    }

    /// All that arrived.
    pub(crate) fn everything(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    /// Connections over which users' requests came so far.
    pub(crate) fn connections(&self) -> usize {
        let numbers: BTreeSet<_> = self.received().iter().map(|r| r.connection).collect();
        numbers.len()
    }
}

pub(crate) fn tls(alpn: &[&str]) -> (rustls::ServerConfig, String) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name
        .push(rcgen::DnType::CommonName, "fake api ca");
    let ca_cert = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let leaf = rcgen::CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            // With its authority: a browser is told to take what that one signed.
            vec![leaf.der().clone(), ca_cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    (config, ca_cert.pem())
}

type Stream = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;

async fn serve(stream: Stream, connection: usize, state: Arc<State>) {
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request: Request<Incoming>| {
        answer(request, connection, Arc::clone(&state))
    });
    let io = TokioIo::new(stream);
    if h2 {
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(io, service).await;
    } else {
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
        let _ = connection.with_upgrades().await;
    }
}

async fn answer(
    mut request: Request<Incoming>,
    connection: usize,
    state: Arc<State>,
) -> Result<Response<BoxBody<Bytes, std::io::Error>>, std::io::Error> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    if state.quiet.load(Ordering::Relaxed) {
        let wanted = parts.headers.get("upgrade").cloned();
        return perform(by_target(&parts), upgrade, wanted).await;
    }
    let collected = body.collect().await.map_err(std::io::Error::other)?;
    let trailers = collected.trailers().cloned();
    let wanted = parts.headers.get("upgrade").cloned();
    // The gateway's own calls (probes) do not use up the script.
    let ours = parts.headers.contains_key("impersonate-user");
    state.received.lock().unwrap().push(Received {
        method: parts.method,
        target: parts
            .uri
            .path_and_query()
            .map(ToString::to_string)
            .unwrap_or_default(),
        headers: parts.headers,
        version: parts.version,
        body: collected.to_bytes(),
        trailers,
        connection,
    });
    let reply = if ours {
        state.script.lock().unwrap().pop_front()
    } else {
        None
    };
    perform(reply.unwrap_or_else(fallback), upgrade, wanted).await
}

fn fallback() -> Reply {
    Reply::Answer(
        StatusCode::OK,
        vec![("content-type", "application/json".to_owned())],
        Bytes::from_static(b"{\"kind\":\"Fake\",\"gitVersion\":\"v1.36.0\"}"),
    )
}

/// What a real one would do, roughly.
fn by_target(parts: &http::request::Parts) -> Reply {
    let query = parts.uri.query().unwrap_or_default();
    if parts.headers.contains_key("upgrade") {
        Reply::Echo
    } else if query.contains("watch=true") || query.contains("follow=true") {
        Reply::Stall(Bytes::from_static(b"{\"type\":\"ADDED\"}\n"))
    } else {
        fallback()
    }
}

type AnyBody = BoxBody<Bytes, std::io::Error>;

fn full(bytes: Bytes) -> AnyBody {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

async fn perform(
    reply: Reply,
    upgrade: hyper::upgrade::OnUpgrade,
    wanted: Option<http::HeaderValue>,
) -> Result<Response<AnyBody>, std::io::Error> {
    match reply {
        Reply::Late(thinks, then) => {
            tokio::time::sleep(thinks).await;
            Box::pin(perform(*then, upgrade, wanted)).await
        }
        Reply::Answer(code, headers, body) => {
            let mut response = Response::builder().status(code);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(full(body)).unwrap())
        }
        Reply::Echo => {
            tokio::spawn(echo(upgrade));
            let mut response = Response::builder()
                .status(101)
                .header("connection", "Upgrade");
            if let Some(protocol) = wanted {
                response = response.header("upgrade", protocol);
            }
            Ok(response.body(full(Bytes::new())).unwrap())
        }
        Reply::Says(protocol, said) => {
            tokio::spawn(async move {
                let Ok(upgraded) = upgrade.await else { return };
                let mut io = TokioIo::new(upgraded);
                let _ = io.write_all(&said).await;
                let _ = io.shutdown().await;
                let _ = tokio::io::copy(&mut io, &mut tokio::io::sink()).await;
            });
            let response = Response::builder()
                .status(101)
                .header("connection", "Upgrade")
                .header("upgrade", wanted.unwrap())
                .header("sec-websocket-protocol", protocol);
            Ok(response.body(full(Bytes::new())).unwrap())
        }
        Reply::Stall(first) => {
            let (frames, answer) = tokio::sync::mpsc::channel(1);
            let _ = frames.send(Ok(hyper::body::Frame::data(first))).await;
            tokio::spawn(async move { frames.closed().await });
            Ok(Response::new(channel_body(answer)))
        }
        Reply::Cut => Err(std::io::Error::other("cut")),
        Reply::Chunks(chunk, count) => {
            let (frames, answer) = tokio::sync::mpsc::channel(4);
            tokio::spawn(async move {
                for _ in 0..count {
                    let frame = hyper::body::Frame::data(chunk.clone());
                    if frames.send(Ok(frame)).await.is_err() {
                        return;
                    }
                }
            });
            Ok(Response::new(channel_body(answer)))
        }
    }
}

async fn echo(upgrade: hyper::upgrade::OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut io = TokioIo::new(upgraded);
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = io.read(&mut buffer).await {
        if io.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

type Frames = tokio::sync::mpsc::Receiver<Result<hyper::body::Frame<Bytes>, std::io::Error>>;

fn channel_body(mut receiver: Frames) -> BoxBody<Bytes, std::io::Error> {
    let stream = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    StreamBody::new(stream).boxed()
}

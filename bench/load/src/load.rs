//! The load: connections, requests, and what came of them.
//!
//! Everything runs on the caller's current_thread runtime. Connections are opened before the [`Meter`] starts, so
//! that handshakes are in no figure that is not about handshakes.

mod bursts;
mod paced;
mod streams;

pub use bursts::{Gets, closed, connects, discovery, flood, warm};
pub use paced::{Paced, paced};
pub use streams::{Open, Watches, echo, forward, hold, idle, watches};

use crate::tls;
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proto {
    /// HTTP/1.1
    H1,
    /// HTTP/2
    H2,
}

/// Whose headers requests carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A controller (client-go).
    Controller,
    /// A person's kubectl.
    Kubectl,
}

impl Profile {
    fn headers(self) -> HeaderMap {
        let pairs: &[(&str, &str)] = match self {
            Self::Controller => &[
                ("accept", "application/json, */*"),
                ("accept-encoding", "gzip"),
                (
                    "user-agent",
                    "kube-controller-manager/v1.36.3 (linux/amd64) kubernetes/0f3a1b2/leader-election",
                ),
            ],
            Self::Kubectl => &[
                (
                    "accept",
                    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                ),
                ("accept-encoding", "gzip"),
                (
                    "user-agent",
                    "kubectl/v1.36.3 (linux/amd64) kubernetes/0f3a1b2",
                ),
                ("kubectl-command", "kubectl get"),
                ("kubectl-session", "b9a1c9b2-6f2b-4a61-9a3a-3f6a3e1d2c11"),
            ],
        };
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }
}

/// Where the load goes, and as whom.
#[derive(Clone)]
pub struct Aim {
    /// The proxy.
    pub address: SocketAddr,
    /// `Bearer …`; one is drawn for each request.
    pub tokens: Arc<Vec<HeaderValue>>,
    /// They are drawn already: the next one's place.
    next: Option<Arc<AtomicUsize>>,
    /// Prefixes of the targets, `/k8s/clusters/<name>`; one is drawn for each request.
    pub prefixes: Arc<Vec<String>>,
    h1: Arc<ClientConfig>,
    h2: Arc<ClientConfig>,
}

impl Aim {
    /// An aim that trusts this authority.
    pub fn new(
        address: SocketAddr,
        ca: &std::path::Path,
        tokens: Arc<Vec<HeaderValue>>,
        prefixes: Vec<String>,
    ) -> Result<Self> {
        Ok(Self {
            address,
            tokens,
            next: None,
            prefixes: Arc::new(prefixes),
            h1: tls::client(ca, &["http/1.1"])?,
            h2: tls::client(ca, &["h2"])?,
        })
    }

    /// The same with other tokens.
    #[must_use]
    pub fn with_tokens(&self, tokens: Vec<HeaderValue>) -> Self {
        Self {
            tokens: Arc::new(tokens),
            next: None,
            ..self.clone()
        }
    }

    /// The same with tokens for so many requests, drawn now and copied: whoever has a million of them waits for memory at
    /// each, and that is no cost of the proxy. They are sent in this order, and from the first again.
    #[must_use]
    pub fn drawn(&self, count: usize) -> Self {
        let copied = |_| {
            let drawn = self.token();
            HeaderValue::from_bytes(drawn.as_bytes()).expect("a token")
        };
        Self {
            next: Some(Arc::default()),
            ..self.with_tokens((0..count).map(copied).collect())
        }
    }

    async fn connect(&self, proto: Proto) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let config = match proto {
            Proto::H1 => &self.h1,
            Proto::H2 => &self.h2,
        };
        let connector = TlsConnector::from(Arc::clone(config));
        Ok(connector.connect(tls::name(), stream).await?)
    }

    async fn client(&self, proto: Proto) -> Result<Client> {
        let io = TokioIo::new(self.connect(proto).await?);
        Ok(match proto {
            Proto::H1 => {
                let (sender, connection) = http1::handshake(io).await?;
                tokio::spawn(connection);
                Client::H1(sender)
            }
            Proto::H2 => {
                // As client-go: 4 MiB a stream, 1 GiB a connection.
                let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(4 << 20)
                    .initial_connection_window_size(1 << 30)
                    .initial_max_send_streams(250)
                    .handshake(io)
                    .await?;
                tokio::spawn(connection);
                Client::H2(sender)
            }
        })
    }

    fn token(&self) -> HeaderValue {
        let at = match &self.next {
            Some(next) => next.fetch_add(1, Ordering::Relaxed) % self.tokens.len(),
            None => fastrand::usize(..self.tokens.len()),
        };
        self.tokens[at].clone()
    }

    fn prefix(&self) -> &str {
        &self.prefixes[fastrand::usize(..self.prefixes.len())]
    }

    fn request(&self, proto: Proto, headers: &HeaderMap, path: &str) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        let target = format!("{}{path}", self.prefix());
        *request.method_mut() = Method::GET;
        *request.headers_mut() = headers.clone();
        request
            .headers_mut()
            .insert(header::AUTHORIZATION, self.token());
        let authority = self.address.to_string();
        *request.uri_mut() = match proto {
            Proto::H1 => {
                let host = HeaderValue::try_from(authority).expect("an address");
                request.headers_mut().insert(header::HOST, host);
                target.parse().expect("a target")
            }
            Proto::H2 => Uri::builder()
                .scheme("https")
                .authority(authority)
                .path_and_query(target)
                .build()
                .expect("a target"),
        };
        request
    }
}

enum Client {
    H1(http1::SendRequest<Empty<Bytes>>),
    H2(http2::SendRequest<Empty<Bytes>>),
}

/// What one request brought.
struct Got {
    status: u16,
    bytes: usize,
}

impl Client {
    async fn send(&mut self, request: Request<Empty<Bytes>>) -> Result<Got> {
        let response = match self {
            Self::H1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::H2(sender) => sender.send_request(request).await?,
        };
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(Got { status, bytes })
    }

    /// Another handle to the same HTTP/2 connection.
    fn shared(&self) -> Result<Self> {
        match self {
            Self::H1(_) => bail!("one request at a time on HTTP/1.1"),
            Self::H2(sender) => Ok(Self::H2(sender.clone())),
        }
    }
}

/// What a burst did.
#[derive(Clone, Debug, Default)]
pub struct Burst {
    /// Requests, round trips, events, connections: what the work counts.
    pub done: usize,
    /// Answers that were not what they should be.
    pub wrong: usize,
    /// 429s among the wrong ones.
    pub too_many: usize,
    /// Bytes of bodies.
    pub bytes: usize,
    /// Nanoseconds each.
    pub nanos: Vec<u64>,
}

impl Burst {
    fn count(&mut self, got: &Result<Got>, bytes: Option<usize>, began: Instant) {
        self.nanos.push(began.elapsed().as_nanos() as u64);
        match got {
            Ok(got) if got.status == 200 && bytes.is_none_or(|bytes| bytes == got.bytes) => {
                self.done += 1;
                self.bytes += got.bytes;
            }
            Ok(got) => {
                self.wrong += 1;
                self.too_many += usize::from(got.status == 429);
            }
            Err(_) => self.wrong += 1,
        }
    }

    fn add(&mut self, other: Self) {
        self.done += other.done;
        self.wrong += other.wrong;
        self.too_many += other.too_many;
        self.bytes += other.bytes;
        self.nanos.extend(other.nanos);
    }

    /// An error if anything was wrong: a proxy that refuses is fast.
    pub fn all_right(self) -> Result<Self> {
        if self.wrong > 0 {
            bail!(
                "{} of {} answers were wrong",
                self.wrong,
                self.wrong + self.done
            );
        }
        Ok(self)
    }
}

/// Marks the window that is measured.
pub trait Meter {
    /// Everything is open and warm.
    fn start(&mut self) -> Result<()>;
    /// The last answer is here.
    fn stop(&mut self) -> Result<()>;
}

/// No window at all.
pub struct Unmeasured;

impl Meter for Unmeasured {
    fn start(&mut self) -> Result<()> {
        Ok(())
    }
    fn stop(&mut self) -> Result<()> {
        Ok(())
    }
}

async fn clients(aim: &Aim, proto: Proto, count: usize) -> Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(count);
    for number in 0..count {
        let client = aim.client(proto).await;
        clients.push(client.with_context(|| format!("connection {number}"))?);
    }
    Ok(clients)
}

/// One request of any kind, one after the other: for what is not load.
pub struct Asker<'a> {
    aim: &'a Aim,
    sender: http1::SendRequest<http_body_util::Full<Bytes>>,
}

/// What is asked.
pub struct Ask {
    method: Method,
    path: String,
    body: Bytes,
}

impl Ask {
    /// `body` is JSON, or empty.
    pub fn new(method: Method, path: String, body: &'static str) -> Self {
        Self {
            method,
            path,
            body: Bytes::from_static(body.as_bytes()),
        }
    }
}

impl Aim {
    /// A connection for single requests.
    pub async fn asker(&self) -> Result<Asker<'_>> {
        let io = TokioIo::new(self.connect(Proto::H1).await?);
        let (sender, connection) = http1::handshake(io).await?;
        tokio::spawn(connection);
        Ok(Asker { aim: self, sender })
    }
}

impl Asker<'_> {
    /// The status of the answer.
    pub async fn ask(&mut self, ask: &Ask) -> Result<u16> {
        self.sender.ready().await?;
        let mut request = Request::new(http_body_util::Full::new(ask.body.clone()));
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = format!("{}{}", self.aim.prefix(), ask.path).parse()?;
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, self.aim.token());
        headers.insert(header::HOST, self.aim.address.to_string().try_into()?);
        if ask.method == Method::PATCH {
            let kind = HeaderValue::from_static("application/merge-patch+json");
            headers.insert(header::CONTENT_TYPE, kind);
        }
        let response = self.sender.send_request(request).await?;
        let status = response.status().as_u16();
        response.into_body().collect().await?;
        Ok(status)
    }
}

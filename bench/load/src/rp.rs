//! The bare proxy: this stack with nothing added. No authentication, no policy, no time limits, no log.
//!
//! It is the yardstick of what the gateway adds: TLS on both sides, hyper, a pool with single-flight dialling, one
//! current_thread runtime.

use crate::tls::{self, Files};
use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

/// Streams on one connection, as kube-apiserver allows.
const STREAMS: usize = 100;
/// HTTP/1.1 connections that are kept.
const KEPT: usize = 256;

/// Serves until it is killed, `h1` and `h2` being the upstreams' ports; says `READY port port` when it listens.
pub async fn run(folder: &Path, h1: u16, h2: u16) -> Result<()> {
    let files = Files::of(folder);
    let acceptor = TlsAcceptor::from(tls::server(&files, &["h2", "http/1.1"])?);
    let mut ports = Vec::new();
    let mut tasks = Vec::new();
    for (port, protocol) in [(h1, "http/1.1"), (h2, "h2")] {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        ports.push(listener.local_addr()?.port());
        let upstream = Arc::new(Upstream {
            address: (Ipv4Addr::LOCALHOST, port).into(),
            h2: protocol == "h2",
            tls: tls::client(&files.ca, &[protocol])?,
            upgrades: tls::client(&files.ca, &["http/1.1"])?,
            authority: format!("127.0.0.1:{port}"),
            host: HeaderValue::try_from(format!("127.0.0.1:{port}"))?,
            idle: Mutex::default(),
            shared: Mutex::default(),
            dialling: tokio::sync::Mutex::default(),
        });
        tasks.push(tokio::spawn(accept(listener, acceptor.clone(), upstream)));
    }
    println!("READY {} {}", ports[0], ports[1]);
    for task in tasks {
        task.await??;
    }
    Ok(())
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    upstream: Arc<Upstream>,
) -> Result<()> {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        stream.set_nodelay(true)?;
        let (acceptor, upstream) = (acceptor.clone(), Arc::clone(&upstream));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let service = service_fn(move |request| {
                let upstream = Arc::clone(&upstream);
                async move {
                    Ok::<_, Infallible>(upstream.carry(request).await.unwrap_or_else(|_| {
                        let mut response = Response::new(Carried::default());
                        *response.status_mut() = StatusCode::BAD_GATEWAY;
                        response
                    }))
                }
            });
            let io = TokioIo::new(stream);
            // A connection that breaks is the generator's affair.
            if h2 {
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .max_concurrent_streams(250)
                    .initial_stream_window_size(256 << 10)
                    .initial_connection_window_size(4 << 20)
                    .serve_connection(io, service)
                    .await;
            } else {
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(io, service)
                    .with_upgrades()
                    .await;
            }
        });
    }
}

struct Upstream {
    address: SocketAddr,
    h2: bool,
    tls: Arc<ClientConfig>,
    upgrades: Arc<ClientConfig>,
    authority: String,
    host: HeaderValue,
    /// Last in, first out: the warmest connection.
    idle: Mutex<Vec<http1::SendRequest<Incoming>>>,
    shared: Mutex<Vec<Arc<Shared>>>,
    dialling: tokio::sync::Mutex<()>,
}

struct Shared {
    sender: http2::SendRequest<Incoming>,
    in_flight: AtomicUsize,
}

impl Upstream {
    async fn carry(self: &Arc<Self>, mut request: Request<Incoming>) -> Result<Response<Carried>> {
        if request.headers().contains_key(header::UPGRADE) {
            return self.upgrade(request).await;
        }
        let headers = request.headers_mut();
        for name in [
            header::CONNECTION,
            header::TE,
            header::TRANSFER_ENCODING,
            header::HOST,
        ] {
            headers.remove(name);
        }
        let target = request.uri().path_and_query().cloned();
        if self.h2 {
            let mut parts = Uri::default().into_parts();
            parts.scheme = Some(http::uri::Scheme::HTTPS);
            parts.authority = Some(self.authority.parse()?);
            parts.path_and_query = target;
            *request.uri_mut() = Uri::from_parts(parts)?;
            let connection = self.stream().await?;
            let place = Place::Shared(Arc::clone(&connection));
            let response = connection.sender.clone().send_request(request).await?;
            return Ok(response.map(|body| Carried::new(body, place)));
        }
        request
            .headers_mut()
            .insert(header::HOST, self.host.clone());
        *request.uri_mut() = target.map(Uri::from).unwrap_or_default();
        let mut sender = match self.take().await {
            Some(sender) => sender,
            None => self.dial_h1(false).await?,
        };
        let response = sender.send_request(request).await?;
        let place = Place::Own(Arc::clone(self), Some(sender));
        Ok(response.map(|body| Carried::new(body, place)))
    }

    async fn take(&self) -> Option<http1::SendRequest<Incoming>> {
        loop {
            let mut sender = self.idle.lock().unwrap().pop()?;
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    async fn dial_h1(&self, upgrades: bool) -> Result<http1::SendRequest<Incoming>> {
        let io = TokioIo::new(self.dial(upgrades).await?);
        let (sender, connection) = http1::handshake(io).await?;
        tokio::spawn(async move { connection.with_upgrades().await });
        Ok(sender)
    }

    async fn dial(&self, upgrades: bool) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let config = if upgrades { &self.upgrades } else { &self.tls };
        let connector = TlsConnector::from(Arc::clone(config));
        Ok(connector.connect(tls::name(), stream).await?)
    }

    /// A place on a connection; one dials, the others wait for it.
    async fn stream(&self) -> Result<Arc<Shared>> {
        if let Some(connection) = self.place() {
            return Ok(connection);
        }
        let _one = self.dialling.lock().await;
        if let Some(connection) = self.place() {
            return Ok(connection);
        }
        let io = TokioIo::new(self.dial(false).await?);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(256 << 10)
            .initial_connection_window_size(25 << 20)
            .initial_max_send_streams(STREAMS)
            .handshake(io)
            .await?;
        tokio::spawn(connection);
        let connection = Arc::new(Shared {
            sender,
            in_flight: AtomicUsize::new(1),
        });
        self.shared.lock().unwrap().push(Arc::clone(&connection));
        Ok(connection)
    }

    fn place(&self) -> Option<Arc<Shared>> {
        let mut shared = self.shared.lock().unwrap();
        shared.retain(|connection| !connection.sender.is_closed());
        let found = shared
            .iter()
            .find(|connection| connection.in_flight.load(Relaxed) < STREAMS)?;
        found.in_flight.fetch_add(1, Relaxed);
        Some(Arc::clone(found))
    }

    async fn upgrade(&self, mut request: Request<Incoming>) -> Result<Response<Carried>> {
        let client = hyper::upgrade::on(&mut request);
        request
            .headers_mut()
            .insert(header::HOST, self.host.clone());
        *request.uri_mut() = request
            .uri()
            .path_and_query()
            .cloned()
            .map(Uri::from)
            .context("no path")?;
        let mut sender = self.dial_h1(true).await?;
        let mut response = sender.send_request(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(anyhow!("no 101"));
        }
        let cluster = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            let Ok((client, cluster)) = tokio::try_join!(client, cluster) else {
                return;
            };
            let (mut client, mut cluster) = (TokioIo::new(client), TokioIo::new(cluster));
            // Ends when either side does.
            let _ = tokio::io::copy_bidirectional_with_sizes(
                &mut client,
                &mut cluster,
                32 << 10,
                32 << 10,
            )
            .await;
        });
        Ok(response.map(|_| Carried::default()))
    }
}

enum Place {
    Shared(Arc<Shared>),
    Own(Arc<Upstream>, Option<http1::SendRequest<Incoming>>),
}

impl Drop for Place {
    fn drop(&mut self) {
        match self {
            Self::Shared(connection) => {
                connection.in_flight.fetch_sub(1, Relaxed);
            }
            Self::Own(upstream, sender) => {
                let mut idle = upstream.idle.lock().unwrap();
                if let Some(sender) = sender.take().filter(|_| idle.len() < KEPT) {
                    idle.push(sender);
                }
            }
        }
    }
}

/// An answer's body, with the connection that it comes over.
#[derive(Default)]
struct Carried {
    body: Option<Incoming>,
    place: Option<Place>,
}

impl Carried {
    fn new(body: Incoming, place: Place) -> Self {
        Self {
            body: Some(body),
            place: Some(place),
        }
    }
}

impl Body for Carried {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = std::task::ready!(Pin::new(body).poll_frame(context));
        if frame.is_none() {
            self.place = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

//! The API server of the bench: as fast as this stack allows, on one core, with answers made of thin air.
//!
//! What it answers is in the target, behind an optional `/k8s/clusters/<name>` (other proxies do not cut it):
//!
//! | target | answer |
//! |---|---|
//! | `…/b<N>` | N bytes |
//! | `…?limit=<N>` | N bytes (a list) |
//! | `…?watch=1&resourceVersion=<ms>` | 200, then an event of 1 KiB each `ms` milliseconds; 0: one event and silence |
//! | `…/exec` with `Upgrade` | 101, then an echo |
//! | `…/portforward` with `Upgrade` | 101, reads eight bytes N, sends N bytes |
//! | `…/namespaces`, `…/clusterroles` and the like, without a name | what a cluster says that has none: an empty list, a silent watch |
//! | a `PATCH` | what was sent, with a uid and a version |
//! | anything else | 1 KiB |
//!
//! The last but one are what a gateway asks for itself, to bring its policy into a cluster: with answers that it cannot
//! read it would ask again and again, each of two thousand clusters.

use crate::tls::{self, Files};
use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Collected};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::{Instant, Interval, interval_at},
};
use tokio_rustls::TlsAcceptor;

/// One piece of a body.
const PIECE: usize = 64 << 10;
/// Bytes of an event, and of an answer of which the target says nothing.
const SMALL: usize = 1024;

static FILL: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(vec![b'x'; PIECE]));
static EVENT: LazyLock<Bytes> = LazyLock::new(|| {
    let mut event = vec![b'x'; SMALL];
    event[SMALL - 1] = b'\n';
    Bytes::from(event)
});

/// A list of none.
const NONE: Bytes = Bytes::from_static(
    br#"{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}"#,
);

#[derive(Default)]
struct Counts {
    handshakes: AtomicU64,
    requests: AtomicU64,
}

/// Serves until it is killed; says `READY port control` when it listens.
pub async fn run(folder: &Path, alpn: &[&str]) -> Result<()> {
    let acceptor = TlsAcceptor::from(tls::server(&Files::of(folder), alpn)?);
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let control = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    println!(
        "READY {} {}",
        listener.local_addr()?.port(),
        control.local_addr()?.port()
    );
    let counts = Arc::new(Counts::default());
    tokio::spawn(report(control, Arc::clone(&counts)));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        stream.set_nodelay(true)?;
        let (acceptor, counts) = (acceptor.clone(), Arc::clone(&counts));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            counts.handshakes.fetch_add(1, Relaxed);
            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let service = service_fn(move |request| {
                counts.requests.fetch_add(1, Relaxed);
                async move {
                    Ok::<_, Infallible>(if request.method() == Method::PATCH {
                        applied(request).await
                    } else {
                        answer(request)
                    })
                }
            });
            let io = TokioIo::new(stream);
            // A connection that breaks is the proxy's affair.
            if h2 {
                // As kube-apiserver: 100 streams, 256 KiB windows.
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .max_concurrent_streams(100)
                    .initial_stream_window_size(256 << 10)
                    .initial_connection_window_size(25 << 20)
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

/// Tells whoever connects how many handshakes and requests there were.
async fn report(listener: TcpListener, counts: Arc<Counts>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let text = format!(
            "{} {}\n",
            counts.handshakes.load(Relaxed),
            counts.requests.load(Relaxed)
        );
        let _ = stream.write_all(text.as_bytes()).await;
    }
}

fn answer(mut request: Request<Incoming>) -> Response<Answer> {
    if request.headers().contains_key(header::UPGRADE) {
        return upgrade(&mut request);
    }
    let path = request.uri().path();
    let query = request.uri().query().unwrap_or_default();
    let number = |key: &str| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(key))
            .and_then(|value| value.parse::<usize>().ok())
    };
    if is_of_policy(path) {
        return json(if query.contains("watch=1") {
            Answer::Events {
                first: false,
                ticks: None,
            }
        } else {
            Answer::Text(Some(NONE))
        });
    }
    let body = if query.contains("watch=1") {
        let mut response = json(Answer::events(
            number("resourceVersion=").unwrap_or(0) as u64
        ));
        // Else nginx would keep events back until it has a buffer full of them.
        let headers = response.headers_mut();
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        return response;
    } else if path.ends_with("/version") {
        return json(Answer::Text(Some(Bytes::from_static(
            br#"{"major":"1","minor":"36","gitVersion":"v1.36.3"}"#,
        ))));
    } else {
        let named = path
            .rsplit('/')
            .next()
            .and_then(|name| name.strip_prefix('b'))
            .and_then(|digits| digits.parse().ok());
        Answer::Bytes(number("limit=").or(named).unwrap_or(SMALL))
    };
    json(body)
}

/// Whether this is a list of what a gateway's policy is made into.
fn is_of_policy(path: &str) -> bool {
    let kinds = [
        "namespaces",
        "clusterroles",
        "clusterrolebindings",
        "rolebindings",
    ];
    path.rsplit('/')
        .next()
        .is_some_and(|last| kinds.contains(&last))
}

/// What was applied, as it is from now on.
async fn applied(request: Request<Incoming>) -> Response<Answer> {
    let sent = request.into_body().collect().await;
    let sent = sent.map(Collected::to_bytes).unwrap_or_default();
    let mut object: serde_json::Value = serde_json::from_slice(&sent).unwrap_or_default();
    if let Some(metadata) = object.get_mut("metadata") {
        metadata["uid"] = "6ba7b810-9dad-11d1-80b4-00c04fd430c8".into();
        metadata["resourceVersion"] = "2".into();
    }
    json(Answer::Text(Some(object.to_string().into())))
}

fn json(body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    // What an API server says with each answer.
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    headers.insert(
        "x-kubernetes-pf-flowschema-uid",
        HeaderValue::from_static("5d4bdd0b-5e2a-4a0f-8a3d-9b2b0d3a1f11"),
    );
    headers.insert(
        "x-kubernetes-pf-prioritylevel-uid",
        HeaderValue::from_static("0f0e2d6a-7f2e-4d0e-9a55-1c1b8d0a2c22"),
    );
    response
}

fn upgrade(request: &mut Request<Incoming>) -> Response<Answer> {
    let bulk = request.uri().path().ends_with("/portforward");
    let protocol = request.headers()[header::UPGRADE].clone();
    let on = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = on.await else { return };
        let mut io = TokioIo::new(upgraded);
        // The other end goes away when it has had enough.
        let _ = if bulk {
            send_bulk(&mut io).await
        } else {
            echo(&mut io).await
        };
    });
    let mut response = Response::new(Answer::Text(None));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, protocol);
    response
}

async fn echo(io: &mut TokioIo<hyper::upgrade::Upgraded>) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = io.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        io.write_all(&buffer[..read]).await?;
        io.flush().await?;
    }
}

async fn send_bulk(io: &mut TokioIo<hyper::upgrade::Upgraded>) -> std::io::Result<()> {
    let mut left = io.read_u64().await?;
    while left > 0 {
        let piece = left.min(PIECE as u64) as usize;
        io.write_all(&FILL[..piece]).await?;
        left -= piece as u64;
    }
    io.flush().await?;
    // The reader closes.
    io.read_u64().await.map(|_| ())
}

/// A body.
pub enum Answer {
    /// So many bytes more.
    Bytes(usize),
    /// One text.
    Text(Option<Bytes>),
    /// One event, and one at each tick.
    Events {
        /// The first goes out at once, so that the stream is known to stand.
        first: bool,
        /// None: silence.
        ticks: Option<Pin<Box<Interval>>>,
    },
}

impl Answer {
    fn events(millis: u64) -> Self {
        let ticks = (millis > 0).then(|| {
            let period = Duration::from_millis(millis);
            // Spread, as real watches are.
            let offset = Duration::from_millis(fastrand::u64(0..millis));
            Box::pin(interval_at(Instant::now() + offset, period))
        });
        Self::Events { first: true, ticks }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = match self.get_mut() {
            Self::Bytes(0) => None,
            Self::Bytes(left) => {
                let piece = PIECE.min(*left);
                *left -= piece;
                Some(FILL.slice(..piece))
            }
            Self::Text(text) => text.take(),
            Self::Events { first, ticks } => {
                if std::mem::take(first) {
                    Some(EVENT.clone())
                } else {
                    match ticks {
                        None => return Poll::Pending,
                        Some(ticks) => {
                            std::task::ready!(ticks.poll_tick(context));
                            Some(EVENT.clone())
                        }
                    }
                }
            }
        };
        Poll::Ready(frame.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Bytes(0) | Self::Text(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(left) => SizeHint::with_exact(*left as u64),
            Self::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Self::Events { .. } => SizeHint::default(),
        }
    }
}

/// Handshakes and requests so far.
pub async fn counts(control: u16) -> Result<(u64, u64)> {
    let mut stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, control)).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let (handshakes, requests) = text
        .trim()
        .split_once(' ')
        .context("the upstream's counts")?;
    Ok((handshakes.parse()?, requests.parse()?))
}

//! One connection: TLS, then HTTP/2 or HTTP/1.1 as ALPN said, until it ends.
//!
//! Every wait of a stranger has a deadline: the handshake, the first request's head, and idleness. Sizes
//! too: the head, the streams, the windows. HTTP/2's floods (rapid reset, CONTINUATION, SETTINGS, PING,
//! empty DATA: S1–S3 of docs/attacks.md) are bounded inside h2, whose defaults are kept.

use super::{listen::Shared, socket::Place};
use crate::{
    observe::metrics::HandshakeEnd,
    proxy::held::Held,
    request::conn::{ConnInfo, TlsInfo},
};
use hyper::{
    Request, Response,
    body::Incoming,
    rt::Executor,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{ProtocolVersion, ServerConnection};
use std::{
    convert::Infallible,
    error::Error,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

mod tracked;

use tracked::Tracked;

/// Receive window of one HTTP/2 stream: what kube-apiserver grants; an upload of one stream fills it once
/// per round trip.
const STREAM_WINDOW: u32 = 256 << 10;
/// Receive window of one HTTP/2 connection: sixteen stalled uploads before the others of that client wait.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Answer bytes that one HTTP/2 stream may have waiting for a slow client.
const STREAM_SEND_BUFFER: usize = 256 << 10;
/// A peer that has not answered a PING for this long is gone: four lost packets in a row.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Bounds of connections; see the options of the same names (docs/config.md).
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `tls.handshake_timeout`
    pub handshake_timeout: Duration,
    /// `limits.header_timeout`
    pub header_timeout: Duration,
    /// `limits.idle_timeout`
    pub idle_timeout: Duration,
    /// `limits.header_bytes`
    pub header_bytes: u32,
    /// `limits.h2_streams`
    pub h2_streams: u32,
    /// `limits.h2_ping_interval`
    pub h2_ping_interval: Duration,
}

/// Carries one accepted connection to its end.
pub(super) async fn serve<H, F, B>(
    stream: TcpStream,
    place: Place,
    mut info: ConnInfo,
    shared: Shared,
    handler: H,
) where
    H: Fn(Arc<ConnInfo>, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let settings = shared.settings.get();
    let Some(stream) = handshake(stream, &info, &shared, settings.handshake_timeout).await else {
        return;
    };
    let (_, tls) = stream.get_ref();
    info.h2 = tls.alpn_protocol() == Some(b"h2");
    info.tls = Some(agreed(tls));
    let info = Arc::new(info);
    let activity = Arc::new(Activity::default());
    let service = {
        let (info, activity) = (Arc::clone(&info), Arc::clone(&activity));
        let metrics = Arc::clone(&shared.metrics);
        service_fn(move |request| {
            metrics.requests_received.inc();
            let running = activity.begin();
            let (handler, info) = (handler.clone(), Arc::clone(&info));
            async move {
                // Called here and not before: the block would have room for this future twice, and every stream of
                // HTTP/2 holds one.
                let answer = handler(info, request).await;
                Ok::<_, Infallible>(answer.map(|body| Tracked::new(body, running)))
            }
        })
    };
    let io = TokioIo::new(Held::new(stream, place));
    let watch = Watch {
        stop: &shared.stop,
        cut: &shared.cut,
        activity: &activity,
        settings,
    };
    let ended = if info.h2 {
        watch
            .until_end(h2(&settings, &shared.answers).serve_connection(io, service))
            .await
    } else {
        let connection = h1(&settings).serve_connection(io, service);
        watch.until_end(connection.with_upgrades()).await
    };
    match ended {
        End::Quiet => {}
        End::NoRequest => tracing::debug!(conn = info.id, peer = %info.peer, "no request came"),
        // The requests on it have lines of their own.
        End::Broken(error) => {
            tracing::debug!(conn = info.id, peer = %info.peer, %error, "the connection broke");
        }
    }
}

async fn handshake(
    stream: TcpStream,
    info: &ConnInfo,
    shared: &Shared,
    limit: Duration,
) -> Option<TlsStream<TcpStream>> {
    let accept = TlsAcceptor::from(Arc::clone(&shared.tls.load().config)).accept(stream);
    // A handshake under way at the stop is nobody's request: it is dropped.
    let ended = shared
        .stop
        .run_until_cancelled(timeout(limit, accept))
        .await?;
    match ended {
        Ok(Ok(stream)) => {
            shared.metrics.handshakes.inc(HandshakeEnd::Done);
            Some(stream)
        }
        Ok(Err(error)) => {
            shared.metrics.handshakes.inc(HandshakeEnd::Failed);
            tracing::debug!(conn = info.id, peer = %info.peer, %error, "the TLS handshake failed");
            None
        }
        Err(_) => {
            shared.metrics.handshakes.inc(HandshakeEnd::TimedOut);
            tracing::debug!(conn = info.id, peer = %info.peer, "the TLS handshake took too long");
            None
        }
    }
}

fn agreed(tls: &ServerConnection) -> TlsInfo {
    TlsInfo {
        version: if tls.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
            "1.3"
        } else {
            "1.2"
        },
        sni: tls.server_name().map(Box::from),
    }
}

fn h1(settings: &Settings) -> http1::Builder {
    let mut builder = http1::Builder::new();
    let header_bytes = usize::try_from(settings.header_bytes).unwrap_or(usize::MAX);
    // hyper's timer runs while it waits for a head, which between two requests is idleness; the first
    // head's own bound is Watch's.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(settings.idle_timeout)
        .max_header_size(header_bytes)
        // The buffer holds the head; at least hyper's own least.
        .max_buf_size(header_bytes.max(16 << 10));
    builder
}

/// Runs what hyper makes of each request of HTTP/2, and lists it: its end is recorded there.
#[derive(Clone)]
struct Answers(TaskTracker);

impl<F> Executor<F> for Answers
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, answer: F) {
        self.0.spawn(answer);
    }
}

fn h2(settings: &Settings, answers: &TaskTracker) -> http2::Builder<Answers> {
    let mut builder = http2::Builder::new(Answers(answers.clone()));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.h2_streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_SEND_BUFFER)
        .max_header_list_size(settings.header_bytes)
        .keep_alive_interval(settings.h2_ping_interval)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// What happens on a connection, for the one who watches its idleness.
#[derive(Default)]
struct Activity {
    started: AtomicU64,
    running: AtomicUsize,
}

impl Activity {
    fn begin(self: &Arc<Self>) -> Running {
        // Order does not matter: the reader looks again a whole idle timeout later.
        self.started.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(self))
    }

    /// How many requests have begun, if none is under way.
    fn idle_since(&self) -> Option<u64> {
        let started = self.started.load(Ordering::Relaxed);
        (self.running.load(Ordering::Relaxed) == 0).then_some(started)
    }
}

/// A request that is under way, until this is dropped.
struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

enum End {
    Quiet,
    NoRequest,
    Broken(hyper::Error),
}

/// Ends a connection that is idle for too long, or when the process is to stop: first kindly, then at once.
struct Watch<'a> {
    stop: &'a CancellationToken,
    cut: &'a CancellationToken,
    activity: &'a Activity,
    settings: Settings,
}

impl Watch<'_> {
    async fn until_end<C>(&self, connection: C) -> End
    where
        C: Future<Output = hyper::Result<()>> + Graceful,
    {
        let mut connection = pin!(connection);
        let mut finishing = false;
        // Two looks at the same number of requests with none under way: idle for the time between.
        let mut idle = None;
        let mut look_at = Instant::now() + self.settings.header_timeout;
        loop {
            tokio::select! {
                ended = connection.as_mut() => return ended.map_or_else(End::Broken, |()| End::Quiet),
                // Never before the stop.
                () = self.cut.cancelled(), if finishing => return End::Quiet,
                () = self.stop.cancelled(), if !finishing => {
                    finishing = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = sleep_until(look_at) => {
                    let now_idle = self.activity.idle_since();
                    if now_idle == Some(0) {
                        return End::NoRequest;
                    }
                    if now_idle.is_some() && now_idle == idle && !finishing {
                        finishing = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    idle = now_idle;
                    look_at = Instant::now() + self.settings.idle_timeout;
                }
            }
        }
    }
}

/// What both kinds of hyper's connections have and no trait of hyper's says.
trait Graceful {
    /// Takes no further request; ends when those under way are answered.
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<I, S> Graceful for http1::UpgradeableConnection<I, S>
where
    S: hyper::service::HttpService<Incoming>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S::ResBody: http_body::Body<Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        http1::UpgradeableConnection::graceful_shutdown(self);
    }
}

impl<I, S, E> Graceful for http2::Connection<I, S, E>
where
    S: hyper::service::HttpService<Incoming>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S::ResBody: http_body::Body<Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, S::ResBody>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        http2::Connection::graceful_shutdown(self);
    }
}

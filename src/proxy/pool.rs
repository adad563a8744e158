//! Connections to one API server.
//!
//! Short requests share a few HTTP/2 connections; watches and followed logs have connections of their own
//! with small windows, because one reader that stops would otherwise stall or kill everybody on the same
//! connection (h2's data-frame budget and the shared window). Dialling is single-flight and bounded: when
//! an API server hiccups, waiters queue for the connections there are instead of dialling one each. A
//! server without HTTP/2 gets HTTP/1.1 connections, one request at a time each.
//!
//! GOAWAY is normal (API servers shed load with it): what the peer certainly did not process is sent again
//! on another connection, and so is a request that only reads and has no body. Nothing else is (O7).

use super::{
    ProxyError,
    body::UpstreamBody,
    endpoint::{Protocols, Target},
    limits,
};
use crate::observe::metrics::{Meter, Part, Times, labels::LinkKind};
use arc_swap::ArcSwap;
use http::{Method, Request, Response, Uri, header, uri::Scheme};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{
    future::{Future as _, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

mod connect;

use connect::{NoConnection, dialled, held};

/// What kind of connection a request travels on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Ends by itself within a minute.
    Short,
    /// May be long and large: a plain log, a proxied application.
    Bulk,
    /// Stays open and trickles: watch, followed log.
    Stream,
}

/// The connections to one API server.
pub struct Pool {
    target: Arc<Target>,
    meter: Arc<Meter>,
    short: Connections,
    bulk: Connections,
    stream: Connections,
}

struct Connections {
    lane: Lane,
    meter: Arc<Meter>,
    open: ArcSwap<Vec<Arc<Connection>>>,
    dialling: tokio::sync::Mutex<()>,
    /// Dials that failed so far.
    failures: AtomicUsize,
    free: Arc<Free>,
}

struct Connection {
    sender: Sender,
    in_flight: AtomicUsize,
    limit: Arc<AtomicUsize>,
    free: Arc<Free>,
}

/// Places that came free.
#[derive(Default)]
struct Free {
    freed: Notify,
    /// HTTP/1.1 connections that nobody uses, the one used last on top: with hundreds of them a search for
    /// each request would cost more than all of the policy. `open` is what keeps them.
    idle: Mutex<Vec<Weak<Connection>>>,
}

impl Free {
    fn idle(&self) -> MutexGuard<'_, Vec<Weak<Connection>>> {
        // Pushed and popped whole, also if a panic comes between.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Sender {
    H2(http2::SendRequest<UpstreamBody>),
    // Reserved for one request at a time by `limit`, so the lock never waits.
    H1(tokio::sync::Mutex<http1::SendRequest<UpstreamBody>>),
}

/// A place on a connection; given back when dropped.
pub struct Lease(Arc<Connection>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
        if let Sender::H1(_) = self.0.sender {
            self.0.free.idle().push(Arc::downgrade(&self.0));
        }
        self.0.free.freed.notify_one();
    }
}

impl Pool {
    /// An empty pool: connections are dialled when they are needed.
    pub fn new(target: Arc<Target>, meter: Arc<Meter>) -> Self {
        let connections = |lane| Connections::new(lane, Arc::clone(&meter));
        Self {
            target,
            short: connections(Lane::Short),
            bulk: connections(Lane::Bulk),
            stream: connections(Lane::Stream),
            meter,
        }
    }

    /// Where it counts.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// Sends a request and waits for the head of its answer; `again` makes the same once more, if it has no
    /// body, and `times` is told what is waited for.
    pub async fn send(
        &self,
        lane: Lane,
        mut request: Request<UpstreamBody>,
        again: &(dyn Fn() -> Result<Request<UpstreamBody>, ProxyError> + Sync),
        times: &mut Times,
    ) -> Result<(Response<Incoming>, Lease), ProxyError> {
        let connections = match lane {
            Lane::Short => &self.short,
            Lane::Bulk => &self.bulk,
            Lane::Stream => &self.stream,
        };
        let bodyless = request.body().is_end_stream();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let mut attempt = 1;
        // What never left costs no attempt, but also ends: each such try met a connection that is gone.
        let mut unsent = 0;
        loop {
            times.enter(Part::Connection);
            let lease = connections.lease(&self.target).await?;
            self.address(&lease, &mut request)?;
            times.enter(Part::Response);
            let failed = match lease.0.sender.send(request).await {
                Ok(response) => {
                    times.leave();
                    return Ok((response, lease));
                }
                Err(failed) => *failed,
            };
            match failed.message {
                Some(message) if unsent < limits::UNSENT => {
                    unsent += 1;
                    request = message;
                }
                None if bodyless
                    && attempt < limits::ATTEMPTS
                    && (reads || not_processed(&failed.error)) =>
                {
                    attempt += 1;
                    self.meter.retries.inc();
                    request = again()?;
                }
                Some(_) | None => return Err(ProxyError::Lost(failed.error)),
            }
        }
    }

    /// A fresh HTTP/1.1 connection for one upgrade, and the answer on it.
    pub async fn send_upgrade(
        &self,
        mut request: Request<UpstreamBody>,
        answer: Duration,
        times: &mut Times,
    ) -> Result<Response<Incoming>, ProxyError> {
        times.enter(Part::Connection);
        let connect = async {
            let tls = self.target.connect(Protocols::Http1).await?;
            let io = TokioIo::new(held(tls, &self.meter, LinkKind::Upgrade));
            http1::handshake(io).await.map_err(NoConnection::Lost)
        };
        let (mut sender, connection) =
            dialled(Box::pin(connect), &self.meter, LinkKind::Upgrade).await?;
        drive(connection.with_upgrades());
        request
            .headers_mut()
            .insert(header::HOST, self.target.authority().clone());
        times.enter(Part::Response);
        let answered = timeout(answer, sender.send_request(request)).await;
        times.leave();
        answered
            .map_err(|_| ProxyError::Timeout)?
            .map_err(ProxyError::Lost)
    }

    /// HTTP/2 names the server in the URI (`:authority`), HTTP/1.1 in `Host`.
    fn address(
        &self,
        lease: &Lease,
        request: &mut Request<UpstreamBody>,
    ) -> Result<(), ProxyError> {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        match &lease.0.sender {
            Sender::H2(_) => {
                parts.scheme = Some(Scheme::HTTPS);
                parts.authority = Some(self.target.uri_authority().clone());
                request.headers_mut().remove(header::HOST);
                // Values marked sensitive are spelt out anew in each request (RFC 7541, 7.1.3), and this is a
                // kilobyte that is the same for all. It may go into the table that they share: only a whole
                // value under its own name matches there, and no client's Authorization goes on.
                if let Some(credential) = request.headers_mut().get_mut(header::AUTHORIZATION) {
                    credential.set_sensitive(false);
                }
            }
            Sender::H1(_) => {
                parts.scheme = None;
                parts.authority = None;
                request
                    .headers_mut()
                    .insert(header::HOST, self.target.authority().clone());
            }
        }
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| ProxyError::Target)?;
        Ok(())
    }
}

/// Whether the peer says itself that it has not looked at the request (RFC 9113, sections 6.8 and 8.7).
fn not_processed(error: &hyper::Error) -> bool {
    let cause =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        cause.is_remote()
            && (cause.reason() == Some(h2::Reason::REFUSED_STREAM)
                || cause.is_go_away() && cause.reason() == Some(h2::Reason::NO_ERROR))
    })
}

/// A failed send: the message comes back if not a byte of it left.
struct Failed {
    error: hyper::Error,
    message: Option<Request<UpstreamBody>>,
}

impl From<hyper::client::conn::TrySendError<Request<UpstreamBody>>> for Box<Failed> {
    fn from(mut error: hyper::client::conn::TrySendError<Request<UpstreamBody>>) -> Self {
        let message = error.take_message();
        Box::new(Failed {
            error: error.into_error(),
            message,
        })
    }
}

impl Sender {
    async fn send(
        &self,
        request: Request<UpstreamBody>,
    ) -> Result<Response<Incoming>, Box<Failed>> {
        match self {
            Self::H2(sender) => Ok(sender.clone().try_send_request(request).await?),
            Self::H1(sender) => {
                let mut sender = sender.lock().await;
                if let Err(error) = sender.ready().await {
                    return Err(Box::new(Failed {
                        error,
                        message: Some(request),
                    }));
                }
                Ok(sender.try_send_request(request).await?)
            }
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::H2(sender) => sender.is_closed(),
            Self::H1(sender) => sender.try_lock().is_ok_and(|sender| sender.is_closed()),
        }
    }
}

impl Connection {
    fn reserve(self: &Arc<Self>) -> Option<Lease> {
        if self.sender.is_closed() {
            return None;
        }
        let limit = self.limit.load(Relaxed);
        self.in_flight
            .fetch_update(Relaxed, Relaxed, |now| (now < limit).then_some(now + 1))
            .ok()
            .map(|_| Lease(Arc::clone(self)))
    }
}

impl Connections {
    fn new(lane: Lane, meter: Arc<Meter>) -> Self {
        Self {
            lane,
            meter,
            open: ArcSwap::default(),
            dialling: tokio::sync::Mutex::new(()),
            failures: AtomicUsize::new(0),
            free: Arc::default(),
        }
    }

    /// A place on the least loaded connection; dials while there may be more, waits otherwise.
    async fn lease(&self, target: &Target) -> Result<Lease, ProxyError> {
        if let Some(lease) = self.reserve() {
            return Ok(lease);
        }
        // Boxed: it is rare, and every request's future would be as large.
        let wait = Box::pin(async {
            loop {
                // Enabled before the look, so that a place freed in between is not missed.
                let mut freed = pin!(self.free.freed.notified());
                freed.as_mut().enable();
                if let Some(lease) = self.reserve() {
                    return Ok(lease);
                }
                if self.may_dial() {
                    match self.dial_or_wait(target).await {
                        Ok(()) => continue,
                        // There are living connections: one of their places comes free.
                        Err(error) if self.living() > 0 => {
                            tracing::debug!(%error, "no further upstream connection");
                        }
                        Err(error) => return Err(error),
                    }
                }
                freed.await;
            }
        });
        timeout(limits::PLACE, wait)
            .await
            .map_err(|_| ProxyError::Busy)?
    }

    fn reserve(&self) -> Option<Lease> {
        loop {
            // Closed ones fall out here; `open` forgets them at the next dial.
            let Some(idle) = self.free.idle().pop() else {
                break;
            };
            if let Some(lease) = idle.upgrade().and_then(|connection| connection.reserve()) {
                return Some(lease);
            }
        }
        let open = self.open.load();
        let least = open
            .iter()
            .filter(|connection| matches!(connection.sender, Sender::H2(_)))
            .filter(|connection| !connection.sender.is_closed())
            .min_by_key(|connection| connection.in_flight.load(Relaxed))?;
        least.reserve()
    }

    fn may_dial(&self) -> bool {
        let open = self.open.load();
        let h1 = open
            .iter()
            .any(|connection| matches!(connection.sender, Sender::H1(_)));
        let most = match (self.lane, h1) {
            (Lane::Short | Lane::Bulk, true) => limits::H1_CONNECTIONS,
            (Lane::Stream, true) => limits::H1_STREAM_CONNECTIONS,
            (Lane::Short, false) => limits::SHORT_CONNECTIONS,
            (Lane::Bulk, false) => limits::BULK_CONNECTIONS,
            (Lane::Stream, false) => limits::STREAM_CONNECTIONS,
        };
        self.living() < most
    }

    /// Dials, or waits for the one who does. Whoever waited for a dial that failed fails with it: a dead
    /// server is not dialled once for each of them.
    async fn dial_or_wait(&self, target: &Target) -> Result<(), ProxyError> {
        let failures = self.failures.load(Relaxed);
        let _one_at_a_time = self.dialling.lock().await;
        if self.failures.load(Relaxed) != failures {
            return Err(ProxyError::DialTimeout);
        }
        if self.has_place() || !self.may_dial() {
            return Ok(());
        }
        let dialled = self.dial(target).await;
        if dialled.is_err() {
            self.failures.fetch_add(1, Relaxed);
        }
        dialled
    }

    fn has_place(&self) -> bool {
        self.open.load().iter().any(|connection| {
            !connection.sender.is_closed()
                && connection.in_flight.load(Relaxed) < connection.limit.load(Relaxed)
        })
    }

    fn living(&self) -> usize {
        let open = self.open.load();
        open.iter()
            .filter(|connection| !connection.sender.is_closed())
            .count()
    }

    /// Called under `dialling`: nobody else writes `open`.
    async fn dial(&self, target: &Target) -> Result<(), ProxyError> {
        let connection = dialled(Box::pin(self.connect(target)), &self.meter, self.kind()).await?;
        let mut open: Vec<_> = self
            .open
            .load()
            .iter()
            .filter(|connection| !connection.sender.is_closed())
            .cloned()
            .collect();
        let connection = Arc::new(connection);
        open.push(Arc::clone(&connection));
        self.open.store(Arc::new(open));
        if let Sender::H1(_) = connection.sender {
            self.free.idle().push(Arc::downgrade(&connection));
        }
        // Those who wait for a place find a new connection.
        self.free.freed.notify_waiters();
        Ok(())
    }

    async fn connect(&self, target: &Target) -> Result<Connection, NoConnection> {
        let tls = target.connect(Protocols::Http2Or1).await?;
        let h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(held(tls, &self.meter, self.kind()));
        if !h2 {
            let (sender, connection) = http1::handshake(io).await.map_err(NoConnection::Lost)?;
            drive(connection);
            return Ok(self.connection(Sender::H1(tokio::sync::Mutex::new(sender)), 1));
        }
        let (window, connection_window) = match self.lane {
            Lane::Short | Lane::Bulk => (limits::SHORT_WINDOW, limits::SHORT_CONNECTION_WINDOW),
            Lane::Stream => (limits::STREAM_WINDOW, limits::STREAM_CONNECTION_WINDOW),
        };
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(window)
            .initial_connection_window_size(connection_window)
            .initial_max_send_streams(limits::STREAMS)
            .max_header_list_size(limits::ANSWER_HEADERS)
            .keep_alive_interval(limits::PING_AFTER)
            .keep_alive_timeout(limits::PING_ANSWER)
            .keep_alive_while_idle(true)
            .handshake(io)
            .await
            .map_err(NoConnection::Lost)?;
        let living = self.connection(Sender::H2(sender), limits::STREAMS);
        let limit = Arc::clone(&living.limit);
        let free = Arc::clone(&self.free);
        let mut connection = Box::pin(connection);
        drive(poll_fn(move |context| {
            let done = Pin::new(&mut connection).poll(context);
            // The peer's SETTINGS_MAX_CONCURRENT_STREAMS, whenever it says it.
            let most = connection
                .current_max_send_streams()
                .clamp(1, limits::STREAMS);
            limit.store(most, Relaxed);
            if done.is_ready() {
                free.freed.notify_waiters();
            }
            done
        }));
        Ok(living)
    }

    fn kind(&self) -> LinkKind {
        match self.lane {
            Lane::Short => LinkKind::Short,
            Lane::Bulk => LinkKind::Bulk,
            Lane::Stream => LinkKind::Stream,
        }
    }

    fn connection(&self, sender: Sender, streams: usize) -> Connection {
        Connection {
            sender,
            in_flight: AtomicUsize::new(0),
            limit: Arc::new(AtomicUsize::new(streams)),
            free: Arc::clone(&self.free),
        }
    }
}

/// Runs a connection until it ends. Its errors reach the requests on it; a connection by itself has
/// nobody to tell.
fn drive(connection: impl Future<Output = Result<(), hyper::Error>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "upstream connection ended");
        }
    });
}

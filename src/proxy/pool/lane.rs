//! The connections of one kind to one API server: how many there may be, who dials the next one, and who waits.
//!
//! What could go wrong: an API server hiccups, and everybody who waits dials. Dialling is single-flight and bounded:
//! waiters queue for the connections there are, and fail with the dial that they waited for.

use super::{
    super::{
        ProxyError,
        endpoint::{Protocols, Target},
        limits,
    },
    Lane,
    connect::{NoConnection, dialled, drive, held},
    lease::{Connection, Free, Lease, Sender},
};
use crate::observe::metrics::{Meter, labels::LinkKind};
use arc_swap::ArcSwap;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{
    future::{Future as _, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};
use tokio::time::timeout;

/// The connections of one kind.
pub(super) struct Connections {
    lane: Lane,
    meter: Arc<Meter>,
    open: ArcSwap<Vec<Arc<Connection>>>,
    dialling: tokio::sync::Mutex<()>,
    /// Dials that failed so far.
    failures: AtomicUsize,
    free: Arc<Free>,
}

impl Connections {
    pub(super) fn new(lane: Lane, meter: Arc<Meter>) -> Self {
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
    pub(super) async fn lease(&self, target: &Target) -> Result<Lease, ProxyError> {
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

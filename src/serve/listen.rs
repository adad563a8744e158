//! The accept loop.

use super::{
    conn::{self, Settings},
    socket::Place,
    tls::Served,
};
use crate::{
    config::live::{Bound, Live},
    observe::metrics::Metrics,
    request::conn::{ConnInfo, address_value},
};
use arc_swap::ArcSwap;
use hyper::{Request, Response, body::Incoming};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Pause after a failed accept: with no file descriptor left the next try would fail at once, forever.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Idle time before the first keepalive probe: dead peers of quiet HTTP/1.1 watches are noticed, and
/// balancers' idle limits (350 s and less) not reached.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(1);
/// Between probes; the kernel gives up after nine.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// A bound socket that accepts nothing yet.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// What every connection gets.
#[derive(Clone)]
pub struct Shared {
    /// The certificate, and the server's TLS with it. A handshake takes what is here when it begins.
    pub tls: Arc<ArcSwap<Served>>,
    /// Connections at the same time.
    pub places: Bound,
    /// Bounds; a connection keeps those that it began with.
    pub settings: Live<Settings>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Ends accepting, and asks open connections to finish.
    pub stop: CancellationToken,
    /// Ends connections that did not finish in time.
    pub cut: CancellationToken,
    /// Lists the open connections, upgraded ones too.
    pub open: TaskTracker,
    /// Lists the answers under way of HTTP/2, which are tasks of their own.
    pub answers: TaskTracker,
}

impl Listener {
    /// Binds; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until `shared.stop`. Then the socket is closed, and the connections go on in `shared.open`.
    ///
    /// `handler` answers each request; it cannot fail.
    pub async fn run<H, F, B>(self, shared: Shared, handler: H)
    where
        H: Fn(Arc<ConnInfo>, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
            + Send
            + 'static,
    {
        let mut id = 0;
        loop {
            // The place first: what is over the bound stays in the kernel's queue.
            let Some(Ok(permit)) = shared
                .stop
                .run_until_cancelled(shared.places.acquire())
                .await
            else {
                return;
            };
            let Some(accepted) = shared.stop.run_until_cancelled(self.socket.accept()).await else {
                return;
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            id += 1;
            let metrics = Arc::clone(&shared.metrics);
            let place = Place::take(permit, shared.open.token(), metrics);
            let local = tune(&stream, self.address);
            let (shared, handler) = (shared.clone(), handler.clone());
            let info = ConnInfo {
                id,
                peer,
                peer_value: address_value(peer.ip()),
                local,
                tls: None,
                h2: false,
            };
            tokio::spawn(conn::serve(stream, place, info, shared, handler));
        }
    }
}

/// Sets socket options; a peer that is gone already makes them fail, and reading will say so.
fn tune(stream: &TcpStream, bound: SocketAddr) -> SocketAddr {
    // Small frames (exec keystrokes, h2 control) must not wait for an ACK.
    let _ = stream.set_nodelay(true);
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive);
    stream.local_addr().unwrap_or(bound)
}

//! Connections to one API server.
//!
//! Short requests share a few HTTP/2 connections; watches and followed logs have connections of their own
//! with small windows, because one reader that stops would otherwise stall or kill everybody on the same
//! connection (h2's data-frame budget and the shared window). How many there are, and who dials, is in [`lane`]. A
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
use http::{Method, Request, Response, Uri, header, uri::Scheme};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

mod connect;
mod lane;
mod lease;

use connect::{NoConnection, dialled, drive, held};
use lane::Connections;
pub use lease::Lease;
use lease::Sender;

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
            let failed = match lease.sender().send(request).await {
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
        match lease.sender() {
            Sender::H2(_) => {
                parts.scheme = Some(Scheme::HTTPS);
                parts.authority = Some(self.target.uri_authority().clone());
                request.headers_mut().remove(header::HOST);
                // Values marked sensitive may never go into the table that requests share (RFC 7541, 7.1.3). This one is a
                // kilobyte that is the same for all, and only a whole value under its own name matches there; no
                // client's Authorization goes on. (h2 0.4 spells every Authorization out all the same.)
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

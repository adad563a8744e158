//! One connection, and a place on it for each request that is on the way.

use super::super::body::UpstreamBody;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, Weak,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use tokio::sync::Notify;

/// A place on a connection; given back when dropped.
pub struct Lease(Arc<Connection>);

impl Lease {
    pub(super) fn sender(&self) -> &Sender {
        &self.0.sender
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
        if let Sender::H1(_) = self.0.sender {
            self.0.free.idle().push(Arc::downgrade(&self.0));
        }
        self.0.free.freed.notify_one();
    }
}

/// A connection that is shared by as many requests as it takes at once.
pub(super) struct Connection {
    pub(super) sender: Sender,
    pub(super) in_flight: AtomicUsize,
    pub(super) limit: Arc<AtomicUsize>,
    pub(super) free: Arc<Free>,
}

impl Connection {
    pub(super) fn reserve(self: &Arc<Self>) -> Option<Lease> {
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

pub(super) enum Sender {
    H2(http2::SendRequest<UpstreamBody>),
    // Reserved for one request at a time by `limit`, so the lock never waits.
    H1(tokio::sync::Mutex<http1::SendRequest<UpstreamBody>>),
}

impl Sender {
    pub(super) async fn send(
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

    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::H2(sender) => sender.is_closed(),
            Self::H1(sender) => sender.try_lock().is_ok_and(|sender| sender.is_closed()),
        }
    }
}

/// Places that came free.
#[derive(Default)]
pub(super) struct Free {
    pub(super) freed: Notify,
    /// HTTP/1.1 connections that nobody uses, the one used last on top: with hundreds of them a search for
    /// each request would cost more than all of the policy. [`Connections`](super::lane::Connections) keeps them.
    idle: Mutex<Vec<Weak<Connection>>>,
}

impl Free {
    pub(super) fn idle(&self) -> MutexGuard<'_, Vec<Weak<Connection>>> {
        // Pushed and popped whole, also if a panic comes between.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A failed send: the message comes back if not a byte of it left.
pub(super) struct Failed {
    pub(super) error: hyper::Error,
    pub(super) message: Option<Request<UpstreamBody>>,
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

//! One attempt to connect: its bound, and what is counted of it.

use super::super::{ProxyError, dial::DialError, held::Held, limits};
use crate::observe::metrics::{
    Meter,
    labels::{DialEnd, LinkKind},
    meter::Link,
};
use std::{pin::Pin, sync::Arc};
use tokio::time::timeout;

/// Connects within [`limits::DIAL`], and counts how it ended. Boxed: most requests dial nothing, and each would
/// carry the room for it.
pub(super) async fn dialled<T>(
    connect: Pin<Box<impl Future<Output = Result<T, NoConnection>>>>,
    meter: &Meter,
    kind: LinkKind,
) -> Result<T, ProxyError> {
    let ended = timeout(limits::DIAL, connect).await;
    let ended = ended.unwrap_or(Err(NoConnection::TimedOut));
    let label = ended
        .as_ref()
        .map_or_else(NoConnection::label, |_| DialEnd::Done);
    meter.dials.add(kind, label, 1);
    Ok(ended?)
}

/// A connection that is counted as open until its socket is dropped, also after an upgrade.
pub(super) fn held<S>(stream: S, meter: &Arc<Meter>, kind: LinkKind) -> Held<S, Link> {
    Held::new(stream, Link::open(Arc::clone(meter), kind))
}

/// Runs a connection until it ends. Its errors reach the requests on it; a connection by itself has
/// nobody to tell.
pub(super) fn drive(connection: impl Future<Output = Result<(), hyper::Error>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "upstream connection ended");
        }
    });
}

/// Why an attempt to connect gave no connection.
pub(super) enum NoConnection {
    Dial(DialError),
    TimedOut,
    /// TLS stood, and HTTP did not begin.
    Lost(hyper::Error),
}

impl NoConnection {
    fn label(&self) -> DialEnd {
        match self {
            Self::Dial(DialError::Resolve { .. }) => DialEnd::Unresolved,
            Self::Dial(DialError::Forbidden { .. }) => DialEnd::Forbidden,
            Self::Dial(DialError::Connect { .. }) => DialEnd::Refused,
            Self::Dial(DialError::Timeout { .. }) | Self::TimedOut => DialEnd::TimedOut,
            Self::Dial(DialError::Tls { .. }) => DialEnd::Tls,
            Self::Lost(_) => DialEnd::Lost,
        }
    }
}

impl From<DialError> for NoConnection {
    fn from(error: DialError) -> Self {
        Self::Dial(error)
    }
}

impl From<NoConnection> for ProxyError {
    fn from(error: NoConnection) -> Self {
        match error {
            NoConnection::Dial(error) => Self::Dial(error),
            NoConnection::TimedOut => Self::DialTimeout,
            NoConnection::Lost(error) => Self::Lost(error),
        }
    }
}

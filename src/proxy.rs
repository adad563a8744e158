//! The way to a cluster: where it is, how it is dialled, and what goes over the connection.
//!
//! A request gets here with a permit (`outbound`), travels over pooled connections (`pool`, `upstream`) or,
//! if it switches protocols, over one of its own (`upgrade`, with a look at how a command ends in `exit`);
//! which headers cross is in `headers`.
//!
//! `dial` guards every connection that the gateway opens to a cluster (P11, docs/attacks.md);
//! `endpoint` says where a cluster is and with which credential it is spoken to.

pub mod body;
pub mod dial;
pub mod endpoint;
mod exit;
pub mod groups;
mod headers;
pub mod held;
pub mod limits;
pub mod outbound;
pub mod pool;
pub mod upgrade;
pub mod upstream;

pub use exit::Exit;
pub use groups::Groups;
pub use outbound::{Hop, Outbound};
pub use upstream::{Answer, AnswerBody, Facts, Session, Upstream};

use std::sync::Arc;

/// Why a permitted request got no answer from its cluster.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Known to be away: nothing was tried.
    #[error("the cluster is down: {0}")]
    Down(Arc<String>),
    /// No connection could be made.
    #[error("the cluster cannot be reached")]
    Dial(#[from] dial::DialError),
    /// No connection within [`limits::DIAL`].
    #[error("the cluster cannot be reached: no connection within {} s", limits::DIAL.as_secs())]
    DialTimeout,
    /// No place on a connection within [`limits::PLACE`].
    #[error("every connection to the cluster is taken")]
    Busy,
    /// The connection ended before the answer.
    #[error("the connection to the cluster was lost")]
    Lost(#[source] hyper::Error),
    /// No answer in time.
    #[error("the cluster did not answer in time")]
    Timeout,
    /// The cluster answered 401 to the gateway itself.
    #[error("the cluster refuses the gateway's own credential")]
    CredentialRefused,
    /// A 101 to another protocol than asked for.
    #[error("the cluster switched to a protocol that was not asked for")]
    OtherProtocol,
    /// The cluster lets the gateway's account send nothing of the kind yet.
    #[error(
        "cluster {0:?} does not hold yet what acting as others (--as) takes: try again in a moment; `palisade cluster show {0}` says what keeps it"
    )]
    ActingNotSynced(Box<str>),
    /// Nobody has looked yet which groups of projects the cluster takes.
    #[error(
        "cluster {0:?} was not read yet since this gateway started, so it cannot be told which projects it knows: try again in a moment; `palisade cluster show {0}` says what keeps it"
    )]
    NotRead(Box<str>),
    /// The identity holds bytes that no header can hold.
    #[error("the identity does not fit into headers")]
    Identity,
    /// The raw target cannot be sent on.
    #[error("the target cannot be forwarded")]
    Target,
}

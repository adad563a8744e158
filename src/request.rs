//! What a request is, before anybody judges it.
//!
//! Guarantees: one reading of the message. The raw target is kept byte for byte as it arrived, the
//! headers keep their multiplicity, and everything that two HTTP implementations could read differently
//! (two Host headers, Host and `:authority` that disagree, a method that is no API call) is refused
//! here with a 400 or 405, before a credential is even looked at.
//!
//! What an attacker would try: smuggle a second host, make a proxy resolve dot segments, hide an upgrade.
//! Nothing here uses a URL type that normalises.

pub mod conn;
pub mod cookies;
pub mod form;
pub mod head;
pub mod id;
pub mod impersonation;
pub mod target;

pub use head::{Head, HeadError, Upgrade};
pub use id::RequestId;
pub use impersonation::{Impersonation, ImpersonationError};
pub use target::{ClusterTarget, Router, Target};

//! THE REQUEST PATH. One function carries a request, one function answers, in `pipeline`.
//!
//! Guarantees: a request reaches a cluster only with a permit, as the person who sent it, with the
//! gateway's credential and none of the client's; every request ends in exactly one log line; every error
//! of every stage becomes HTTP in one place (`error`), with fixed text and the request's id.

mod answer;
mod body;
mod error;
mod measure;
mod pipeline;
mod record;

pub use answer::{Answer, Fault};
pub use body::Body;
pub use error::Error;
pub use pipeline::{Gateway, Parts, Snapshot};
pub use record::Entry;

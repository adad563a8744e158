//! `tracing`: what it means once it is checked.

use crate::observe::trace::ClientContext;
use serde::Serialize;
use std::path::PathBuf;

/// Traces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tracing {
    /// Where they go.
    pub otlp: Otlp,
    /// Of so many requests one is traced.
    pub one_in: u32,
    /// What is made of a client's own trace.
    pub client_context: ClientContext,
}

/// A collector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Otlp {
    /// `http[s]://host[:port]`; `None`: nothing is traced.
    pub endpoint: Option<String>,
    /// PEM file with the authorities of its certificate; `None`: the public ones.
    pub ca_file: Option<PathBuf>,
}

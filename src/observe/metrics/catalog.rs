//! Every metric: its name, type, labels and what it tells. docs/metrics.md is made from this, and nothing
//! can be shown that is not here.
//!
//! Names and units are Prometheus' own conventions: base units in the name, `_total` on what only grows.
//! Every label has values that are known beforehand, but `cluster`, whose values are the names of registered
//! clusters, up to a bound ([`super::meter::CLUSTERS`]). No user, token, path, namespace or address is a
//! label.

mod clusters;
mod process;
mod replica;
mod requests;

pub use clusters::*;
pub use process::*;
pub use replica::*;
pub use requests::*;

use super::{cells::words, labels as l};

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// With its unit, and `_total` or `_info`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// In the order of their values.
    pub labels: &'static [Label],
    /// One sentence, without its full stop.
    pub help: &'static str,
    /// What else to know; for the document alone.
    pub more: &'static str,
}

/// What a metric is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations, sorted into buckets with these upper bounds in seconds.
    Histogram(&'static [f64]),
    /// Text that stays the same; its value is 1.
    Info,
}

/// One label.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// What it can be.
    pub values: Values,
}

/// What a label can be.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// One of these words.
    Words(fn() -> Vec<String>),
    /// The name of a registered cluster, or a word that no cluster can have as its name.
    Cluster,
    /// Only of [`Kind::Info`]: something about the program.
    Text(&'static str),
}

/// From a cached decision to a login that waits for its hash.
pub const OWN_BUCKETS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
    5.0,
];
/// From a cached object next door to the API server's own limit of a minute.
pub const ANSWER_BUCKETS: &[f64] = &[
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// From a free place to [`crate`]'s bound on the wait for one, ten seconds.
pub const WAIT_BUCKETS: &[f64] = &[0.000_1, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0];

const fn label(name: &'static str, values: fn() -> Vec<String>) -> Label {
    Label {
        name,
        values: Values::Words(values),
    }
}

const CLUSTER: Label = Label {
    name: "cluster",
    values: Values::Cluster,
};
const VERB: Label = label("verb", words::<l::Verb>);
const RELOAD: Label = label("source", words::<l::ReloadSource>);
const STREAM: Label = label("kind", words::<l::StreamKind>);
const LINK: Label = label("kind", words::<l::LinkKind>);

type Labels = &'static [Label];
type Text = &'static str;

const fn metric(kind: Kind, name: Text, labels: Labels, help: Text, more: Text) -> Metric {
    Metric {
        name,
        kind,
        labels,
        help,
        more,
    }
}

const fn counter(name: Text, labels: Labels, help: Text, more: Text) -> Metric {
    metric(Kind::Counter, name, labels, help, more)
}

const fn gauge(name: Text, labels: Labels, help: Text, more: Text) -> Metric {
    metric(Kind::Gauge, name, labels, help, more)
}

/// All metrics, in the order of the document.
pub static ALL: &[&Metric] = &[
    &REQUESTS,
    &REQUESTS_RECEIVED,
    &IN_FLIGHT,
    &OWN_SHARE,
    &STREAMS_OPEN,
    &STREAMS,
    &STREAM_BYTES,
    &AUTHENTICATIONS,
    &AUTHORIZATIONS,
    &LOGINS,
    &TERMINAL_LOGINS,
    &REFRESHES,
    &CLUSTERS,
    &CLUSTER_HEALTH,
    &CREDENTIAL_EXPIRY,
    &CLUSTER_STEP,
    &CLUSTER_BEHIND,
    &CLUSTER_FOREIGN,
    &CLUSTER_WRITES,
    &CLUSTER_DRIFT,
    &CLUSTER_LISTS,
    &RESPONSES,
    &WAITS,
    &LINKS_OPEN,
    &DIALS,
    &FAILURES,
    &RETRIES,
    &CONNECTIONS_OPEN,
    &HANDSHAKES,
    &CERTIFICATE_EXPIRY,
    &AUDIT_QUEUE,
    &AUDIT_EVENTS,
    &AUDIT_REFUSALS,
    &AUDIT_FAILURES,
    &AUDIT_FAILING,
    &SPANS,
    &HASHES_RUNNING,
    &HASHES_WAITING,
    &STORE_REVISION,
    &STORE_APPLIED,
    &STORE_AGE,
    &STORE_BREAKS,
    &RELOADS,
    &RELOAD_SUCCESSFUL,
    &RELOAD_SUCCESS,
    &RELOAD_GENERATION,
    &BUILD,
    &PROCESS_CPU,
    &PROCESS_MEMORY,
    &PROCESS_FDS,
    &PROCESS_MAX_FDS,
    &PROCESS_THREADS,
    &RUNTIME_TASKS,
    &PROCESS_START,
];

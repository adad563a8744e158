//! Configuration: what an operator writes ([`raw`]), and what it means ([`Config`]).
//!
//! Both are different types, and only the second leaves this module. [`read`] tells every mistake of a
//! file at once, each with line, column and path; unknown keys are mistakes, so that a misspelt option
//! never means its default. Every option is one row of [`options::OPTIONS`], from which docs/config.md is
//! made; a test holds the rows, the raw type and the document together.
//!
//! What could go wrong: a bound so small that nothing works or so large that it bounds nothing (every
//! number has a range), a path that means another file after a `cd` (relative paths start at the file's
//! own folder), a loose choice taken by accident (its name begins with `danger`).
//!
//! [`mod@env`] is the one door to the environment; the gateway itself takes nothing from there.

use options::{OPTIONS, Opt};
use serde::Serialize;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

mod audit;
mod check;
pub mod docs;
pub mod duration;
pub mod env;
mod file;
pub mod live;
pub mod options;
mod providers;
pub mod raw;
pub mod schema;
pub mod size;
mod tracing;
pub mod yaml;

pub use audit::{Audit, AuditOutput, AuditSync};
pub use check::{BaseDomain, ExternalUrl, read};
pub use file::File;
pub use providers::{
    Access, AccessMode, Client, DirectoryKind, Github, GroupLookup, Host, Ldap, Link, Oidc,
    Provider, Providers, SigningAlgorithm, Source, Transport, may_be_asked,
};
pub use tracing::{Otlp, Tracing};

/// What `palisade serve` does, checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// Where clients connect (TLS).
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` are (plain HTTP).
    pub admin_listen: SocketAddr,
    /// How clients reach the gateway.
    pub external_url: ExternalUrl,
    /// Clusters are also reached as `<cluster>.<base domain>`.
    pub base_domain: Option<BaseDomain>,
    /// Folder of policy files.
    pub policies: Option<PathBuf>,
    /// Certificate and handshake.
    pub tls: Tls,
    /// Store and key file.
    pub state: State,
    /// Logins.
    pub sessions: Sessions,
    /// Tokens that people make.
    pub tokens: Tokens,
    /// Password logins.
    pub login: Login,
    /// Where people log in besides local accounts, by name.
    pub providers: Providers,
    /// Bounds of connections and requests.
    pub limits: Limits,
    /// The stop.
    pub drain: Drain,
    /// Clusters.
    pub clusters: Clusters,
    /// The audit log.
    pub audit: Audit,
    /// Traces.
    pub tracing: Tracing,
    /// Log lines.
    pub log: Log,
}

impl Config {
    /// The options whose meaning is another in `other`; `5m` and `300s` are the same.
    pub fn differing(&self, other: &Self) -> Vec<&'static Opt> {
        // Texts, numbers and switches: they always serialise.
        let [one, two] = [self, other].map(|config| serde_json::to_value(config).ok());
        let value = |of: &Option<serde_json::Value>, option: &Opt| {
            let pointer = format!("/{}", option.path.replace('.', "/"));
            of.as_ref()
                .and_then(|config| config.pointer(&pointer).cloned())
        };
        OPTIONS
            .iter()
            .filter(|option| value(&one, option) != value(&two, option))
            .collect()
    }
}

/// Certificate and handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// PEM, the server's certificate first, then its issuers.
    pub cert_file: PathBuf,
    /// PEM.
    pub key_file: PathBuf,
    /// From the accepted connection to the end of the handshake.
    pub handshake_timeout: Duration,
}

/// Store and key file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// The embedded store's file.
    pub store: PathBuf,
    /// Keys that encrypt secrets in the store.
    pub key_file: PathBuf,
}

/// How long a login lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sessions {
    /// From login or renewal.
    pub lifetime: Duration,
    /// From login, however often it is renewed.
    pub max_age: Duration,
    /// Of a browser: from the last page that was asked for.
    pub browser_idle: Duration,
    /// Of a browser: from login, however much it is used.
    pub browser_max_age: Duration,
}

/// How long a token of a person may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// Without a wish.
    pub default_lifetime: Duration,
    /// The most that may be wished.
    pub max_lifetime: Duration,
}

/// Password logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Login {
    /// Argon2id computations at the same time.
    pub hash_concurrency: usize,
    /// Logins that wait for one.
    pub hash_queue: usize,
    /// Wrong passwords of strangers for one account, all at once.
    pub account_tries: u32,
    /// Time after which one more is taken.
    pub account_interval: Duration,
    /// Wrong passwords from one source, all at once; 0: sources tell nobody apart.
    pub source_tries: u32,
    /// Time after which one more is taken.
    pub source_interval: Duration,
}

/// Bounds of connections and requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Open at the same time.
    pub connections: usize,
    /// From the end of the handshake to the end of the first request's head.
    pub header_timeout: Duration,
    /// Without a request under way.
    pub idle_timeout: Duration,
    /// Bytes of one request's head.
    pub header_bytes: u32,
    /// Requests at the same time on one HTTP/2 connection.
    pub h2_streams: u32,
    /// Between PINGs on an HTTP/2 connection.
    pub h2_ping_interval: Duration,
    /// Body of a request to the gateway's own API.
    pub body_bytes: usize,
}

/// The stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Drain {
    /// From SIGTERM to the end of everything.
    pub deadline: Duration,
}

/// Clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Clusters {
    /// Between two probes of a cluster's health.
    pub health_interval: Duration,
    /// Roles and bindings that are written to one cluster, at most.
    pub writes_per_second: u32,
    /// Whether clusters on this very machine may be dialled.
    pub danger_allow_loopback_clusters: bool,
}

/// Log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Log {
    /// Lines for people, or JSON.
    pub format: LogFormat,
    /// The least severe lines that are written.
    pub level: LogLevel,
}

/// Shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Failures of the gateway itself.
    Error,
    /// Failures of what it talks to.
    Warn,
    /// One line a request.
    Info,
    /// Everything that is not per byte.
    Debug,
    /// All that there is.
    Trace,
}

impl LogLevel {
    /// As it is written in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

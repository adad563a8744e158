//! The configuration file as it is written: text and numbers, nothing judged yet.
//!
//! `Default` is the default of every option; docs/config.md shows these very values.

use super::{AuditOutput, AuditSync, LogFormat, LogLevel};
use crate::observe::trace::ClientContext;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

mod providers;

pub use providers::{Access, Github, Ldap, Oidc, Provider, Refresh};

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port.
    pub listen: String,
    /// Address and port.
    pub admin_listen: String,
    /// URL; required.
    pub external_url: String,
    /// DNS name, or empty.
    pub base_domain: String,
    /// Path, or empty.
    pub policies: String,
    /// See [`Tls`].
    pub tls: Tls,
    /// See [`State`].
    pub state: State,
    /// See [`Sessions`].
    pub sessions: Sessions,
    /// See [`Tokens`].
    pub tokens: Tokens,
    /// See [`Login`].
    pub login: Login,
    /// By name; see [`Provider`].
    pub providers: BTreeMap<String, Provider>,
    /// See [`Limits`].
    pub limits: Limits,
    /// See [`Drain`].
    pub drain: Drain,
    /// See [`Clusters`].
    pub clusters: Clusters,
    /// See [`Audit`].
    pub audit: Audit,
    /// See [`Tracing`].
    pub tracing: Tracing,
    /// See [`Log`].
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "0.0.0.0:8443".to_owned(),
            admin_listen: "127.0.0.1:8444".to_owned(),
            external_url: String::new(),
            base_domain: String::new(),
            policies: String::new(),
            tls: Tls::default(),
            state: State::default(),
            sessions: Sessions::default(),
            tokens: Tokens::default(),
            login: Login::default(),
            providers: BTreeMap::new(),
            limits: Limits::default(),
            drain: Drain::default(),
            clusters: Clusters::default(),
            audit: Audit::default(),
            tracing: Tracing::default(),
            log: Log::default(),
        }
    }
}

/// `tls`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Path; required.
    pub cert_file: String,
    /// Path; required.
    pub key_file: String,
    /// Duration.
    pub handshake_timeout: String,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            cert_file: String::new(),
            key_file: String::new(),
            handshake_timeout: "10s".to_owned(),
        }
    }
}

/// `state`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct State {
    /// Path; required.
    pub store: String,
    /// Path; required.
    pub key_file: String,
}

/// `sessions`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sessions {
    /// Duration.
    pub lifetime: String,
    /// Duration.
    pub max_age: String,
    /// Duration.
    pub browser_idle: String,
    /// Duration.
    pub browser_max_age: String,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            lifetime: "16h".to_owned(),
            max_age: "7d".to_owned(),
            browser_idle: "1h".to_owned(),
            browser_max_age: "12h".to_owned(),
        }
    }
}

/// `tokens`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tokens {
    /// Duration.
    pub default_lifetime: String,
    /// Duration.
    pub max_lifetime: String,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            default_lifetime: "90d".to_owned(),
            max_lifetime: "366d".to_owned(),
        }
    }
}

/// `login`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Login {
    /// Count.
    pub hash_concurrency: usize,
    /// Count.
    pub hash_queue: usize,
    /// Count.
    pub account_tries: u32,
    /// Duration.
    pub account_interval: String,
    /// Count.
    pub source_tries: u32,
    /// Duration.
    pub source_interval: String,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            hash_concurrency: 2,
            hash_queue: 64,
            account_tries: 10,
            account_interval: "5m".to_owned(),
            source_tries: 100,
            source_interval: "30s".to_owned(),
        }
    }
}

/// `limits`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Count.
    pub connections: usize,
    /// Duration.
    pub header_timeout: String,
    /// Duration.
    pub idle_timeout: String,
    /// Bytes.
    pub header_bytes: u32,
    /// Count.
    pub h2_streams: u32,
    /// Duration.
    pub h2_ping_interval: String,
    /// Bytes.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            header_timeout: "10s".to_owned(),
            idle_timeout: "2m".to_owned(),
            header_bytes: 64 << 10,
            h2_streams: 250,
            h2_ping_interval: "30s".to_owned(),
            body_bytes: 3 << 20,
        }
    }
}

/// `drain`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// Duration.
    pub deadline: String,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            deadline: "25s".to_owned(),
        }
    }
}

/// `clusters`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clusters {
    /// Duration.
    pub health_interval: String,
    /// Number.
    pub writes_per_second: u32,
    /// Switch.
    pub danger_allow_loopback_clusters: bool,
}

impl Default for Clusters {
    fn default() -> Self {
        Self {
            health_interval: "10s".to_owned(),
            writes_per_second: 20,
            danger_allow_loopback_clusters: false,
        }
    }
}

/// `audit`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Word.
    pub output: AuditOutput,
    /// Path, or empty.
    pub path: String,
    /// Size.
    pub max_size: String,
    /// Count.
    pub max_files: u32,
    /// Word.
    pub sync: AuditSync,
    /// Duration.
    pub sync_interval: String,
    /// Count.
    pub queue: usize,
    /// Switch.
    pub danger_audit_best_effort: bool,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            output: AuditOutput::Stdout,
            path: String::new(),
            max_size: "100MiB".to_owned(),
            max_files: 10,
            sync: AuditSync::Interval,
            sync_interval: "1s".to_owned(),
            queue: 10_000,
            danger_audit_best_effort: false,
        }
    }
}

/// `tracing`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tracing {
    /// See [`Otlp`].
    pub otlp: Otlp,
    /// Count.
    pub one_in: u32,
    /// Word.
    pub client_context: ClientContext,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            otlp: Otlp::default(),
            one_in: 100,
            client_context: ClientContext::Link,
        }
    }
}

/// `tracing.otlp`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Otlp {
    /// URL, or empty.
    pub endpoint: String,
    /// Path, or empty.
    pub ca_file: String,
}

/// `log`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Word.
    pub format: LogFormat,
    /// Word.
    pub level: LogLevel,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: LogLevel::Info,
        }
    }
}

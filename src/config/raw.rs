//! The configuration file as it is written: text and numbers, nothing judged yet.
//!
//! `Default` is the default of every option; docs/config.md shows these very values.

use super::{
    AccessMode, AuditOutput, AuditSync, DirectoryKind, GroupLookup, LogFormat, LogLevel,
    SigningAlgorithm, Transport,
};
use crate::observe::trace::ClientContext;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// `providers.<name>`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Provider {
    /// Text, or empty.
    pub display_name: String,
    /// Switch.
    pub primary: bool,
    /// Switch.
    pub disabled: bool,
    /// See [`Access`].
    pub access: Access,
    /// See [`Refresh`].
    pub refresh: Refresh,
    /// See [`Ldap`]; one of the three is required.
    pub ldap: Option<Ldap>,
    /// See [`Github`].
    pub github: Option<Github>,
    /// See [`Oidc`].
    pub oidc: Option<Oidc>,
}

impl Provider {
    /// The defaults of every option, those of the sections too that are not there unless they are written.
    pub fn written() -> Self {
        Self {
            ldap: Some(Ldap::default()),
            github: Some(Github::default()),
            oidc: Some(Oidc::default()),
            ..Self::default()
        }
    }
}

/// `providers.<name>.access`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// Word.
    pub mode: AccessMode,
    /// Texts.
    pub users: Vec<String>,
    /// Texts.
    pub groups: Vec<String>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            mode: AccessMode::Restricted,
            users: Vec::new(),
            groups: Vec::new(),
        }
    }
}

/// `providers.<name>.refresh`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Refresh {
    /// Duration.
    pub interval: String,
    /// Duration.
    pub max_age: String,
}

impl Default for Refresh {
    fn default() -> Self {
        Self {
            interval: "5m".to_owned(),
            max_age: "1h".to_owned(),
        }
    }
}

/// `providers.<name>.ldap`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ldap {
    /// Word; required.
    pub directory: Option<DirectoryKind>,
    /// Texts: `host` or `host:port`.
    pub hosts: Vec<String>,
    /// DNS name, or empty.
    pub srv_domain: String,
    /// Address and port, or empty.
    pub name_server: String,
    /// Word.
    pub transport: Transport,
    /// Path, or empty.
    pub ca_file: String,
    /// Text; required.
    pub bind_dn: String,
    /// Path; required.
    pub bind_password_file: String,
    /// Text; required.
    pub base_dn: String,
    /// Text, or empty.
    pub user_base_dn: String,
    /// Text, or empty.
    pub group_base_dn: String,
    /// Text, or empty.
    pub login_filter: String,
    /// Text, or empty.
    pub handle_attribute: String,
    /// Word.
    pub group_lookup: GroupLookup,
    /// Duration.
    pub connect_timeout: String,
    /// Duration.
    pub timeout: String,
}

impl Default for Ldap {
    fn default() -> Self {
        Self {
            directory: None,
            hosts: Vec::new(),
            srv_domain: String::new(),
            name_server: String::new(),
            transport: Transport::Ldaps,
            ca_file: String::new(),
            bind_dn: String::new(),
            bind_password_file: String::new(),
            base_dn: String::new(),
            user_base_dn: String::new(),
            group_base_dn: String::new(),
            login_filter: String::new(),
            handle_attribute: String::new(),
            group_lookup: GroupLookup::Auto,
            connect_timeout: "3s".to_owned(),
            timeout: "5s".to_owned(),
        }
    }
}

/// `providers.<name>.github`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Github {
    /// URL.
    pub url: String,
    /// URL, or empty.
    pub api_url: String,
    /// Text; required.
    pub client_id: String,
    /// Path; required.
    pub client_secret_file: String,
    /// Texts.
    pub organizations: Vec<String>,
    /// Switch.
    pub device_flow: bool,
    /// Path, or empty.
    pub ca_file: String,
    /// Duration.
    pub connect_timeout: String,
    /// Duration.
    pub timeout: String,
    /// Switch.
    pub danger_plain_http: bool,
}

impl Default for Github {
    fn default() -> Self {
        Self {
            url: "https://github.com".to_owned(),
            api_url: String::new(),
            client_id: String::new(),
            client_secret_file: String::new(),
            organizations: Vec::new(),
            device_flow: false,
            ca_file: String::new(),
            connect_timeout: "3s".to_owned(),
            timeout: "10s".to_owned(),
            danger_plain_http: false,
        }
    }
}

/// `providers.<name>.oidc`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Oidc {
    /// URL; required.
    pub issuer: String,
    /// Text; required.
    pub client_id: String,
    /// Path, or empty.
    pub client_secret_file: String,
    /// Texts.
    pub scopes: Vec<String>,
    /// Text, or empty.
    pub prompt: String,
    /// Text.
    pub handle_claim: String,
    /// Text.
    pub display_name_claim: String,
    /// Text, or empty.
    pub groups_claim: String,
    /// Switch.
    pub userinfo: bool,
    /// Texts.
    pub algorithms: Vec<String>,
    /// Path, or empty.
    pub ca_file: String,
    /// Duration.
    pub connect_timeout: String,
    /// Duration.
    pub timeout: String,
    /// Switch.
    pub danger_plain_http: bool,
}

impl Default for Oidc {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            client_id: String::new(),
            client_secret_file: String::new(),
            scopes: vec!["profile".to_owned(), "email".to_owned()],
            prompt: String::new(),
            handle_claim: "preferred_username".to_owned(),
            display_name_claim: "name".to_owned(),
            groups_claim: "groups".to_owned(),
            userinfo: false,
            algorithms: SigningAlgorithm::ALL
                .map(SigningAlgorithm::as_str)
                .map(str::to_owned)
                .to_vec(),
            ca_file: String::new(),
            connect_timeout: "3s".to_owned(),
            timeout: "10s".to_owned(),
            danger_plain_http: false,
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

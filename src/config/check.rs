//! Raw → checked: every mistake at once, each at its place in the file.

use super::{
    Audit, AuditOutput, Clusters, Config, Drain, Limits, Log, Login, Otlp, Sessions, State, Tls,
    Tokens, Tracing, duration,
    options::{self, Shape},
    raw, size,
    yaml::{self, Mistake, Node},
};
use crate::observe::trace;
use http::uri::Authority;
use serde::Serialize;
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

mod providers;

/// An `https://host[:port]` without path, query or user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExternalUrl {
    text: String,
    host: String,
    port: u16,
}

impl ExternalUrl {
    /// Reads one; the sentence says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (_, authority) = origin(text, &["https"])?;
        Ok(Self {
            text: format!("https://{authority}"),
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(443),
        })
    }

    /// `https://host[:port]`, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// The host; IPv6 in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }
    /// The port; 443 if none is written.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Scheme and authority of a URL of one of these schemes, without path, query or user.
fn origin(text: &str, schemes: &[&'static str]) -> Result<(&'static str, Authority), String> {
    let uri: http::Uri = text
        .parse()
        .map_err(|_| format!("{text:?} is not a URL; write https://gate.example.com"))?;
    let mut known = schemes.iter().copied();
    let Some(scheme) = known.find(|scheme| uri.scheme_str() == Some(*scheme)) else {
        let schemes = schemes.join(":// or ");
        return Err(format!("{text:?} must begin with {schemes}://"));
    };
    let Some(authority) = uri.authority() else {
        return Err(format!("{text:?} has no host"));
    };
    if authority.as_str().contains('@') {
        return Err("a URL with a user in it is not accepted".to_owned());
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(format!("{text:?} must end after host and port"));
    }
    Ok((scheme, authority.clone()))
}

/// A DNS name in lower case, without a dot at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BaseDomain(Box<str>);

impl BaseDomain {
    /// Reads one (RFC 1123, section 2.1).
    pub fn parse(text: &str) -> Result<Self, String> {
        /// RFC 1035, section 2.3.4, less a label of 63 and its dot in front.
        const LONGEST: usize = 253 - 64;
        let label_is_good = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        if text.len() <= LONGEST && text.contains('.') && text.split('.').all(label_is_good) {
            Ok(Self(text.into()))
        } else {
            Err(format!(
                "{text:?} is not a DNS name in lower case with a dot in it, such as k8s.example.com"
            ))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The label before the domain: `prod` of `prod.k8s.example.com`. `None` for any other host.
    pub fn label_of<'h>(&self, host: &'h str) -> Option<&'h str> {
        let at = host.len().checked_sub(self.0.len())?;
        let (front, back) = host.split_at_checked(at)?;
        let label = front.strip_suffix('.')?;
        (back.eq_ignore_ascii_case(&self.0) && !label.is_empty() && !label.contains('.'))
            .then_some(label)
    }
}

/// Reads a configuration file's text. `folder` is where relative paths in it start.
pub fn read(text: &str, folder: &Path) -> Result<Config, Vec<Mistake>> {
    let node = yaml::parse_one(text).map_err(|mistake| vec![mistake])?;
    let (raw, mut mistakes) = yaml::load_kept::<raw::Config>(&node);
    let Some(raw) = raw else {
        return Err(mistakes);
    };
    let mut check = Check {
        node: &node,
        folder,
        mistakes: &mut mistakes,
    };
    let config = check.config(&raw);
    if mistakes.is_empty() {
        Ok(config)
    } else {
        mistakes.sort();
        Err(mistakes)
    }
}

/// Each method notes what is wrong and goes on with a value that nobody will see.
struct Check<'a> {
    node: &'a Node,
    folder: &'a Path,
    mistakes: &'a mut Vec<Mistake>,
}

impl Check<'_> {
    fn config(&mut self, raw: &raw::Config) -> Config {
        let config = Config {
            listen: self.address("listen", &raw.listen),
            admin_listen: self.address("admin_listen", &raw.admin_listen),
            external_url: self.external_url(&raw.external_url),
            base_domain: self.base_domain(&raw.base_domain),
            policies: (!raw.policies.is_empty()).then(|| self.folder.join(&raw.policies)),
            tls: Tls {
                cert_file: self.path("tls.cert_file", &raw.tls.cert_file),
                key_file: self.path("tls.key_file", &raw.tls.key_file),
                handshake_timeout: self
                    .duration("tls.handshake_timeout", &raw.tls.handshake_timeout),
            },
            state: State {
                store: self.path("state.store", &raw.state.store),
                key_file: self.path("state.key_file", &raw.state.key_file),
            },
            sessions: Sessions {
                lifetime: self.duration("sessions.lifetime", &raw.sessions.lifetime),
                max_age: self.duration("sessions.max_age", &raw.sessions.max_age),
                browser_idle: self.duration("sessions.browser_idle", &raw.sessions.browser_idle),
                browser_max_age: self
                    .duration("sessions.browser_max_age", &raw.sessions.browser_max_age),
            },
            tokens: Tokens {
                default_lifetime: self
                    .duration("tokens.default_lifetime", &raw.tokens.default_lifetime),
                max_lifetime: self.duration("tokens.max_lifetime", &raw.tokens.max_lifetime),
            },
            login: self.login(&raw.login),
            providers: self.providers(&raw.providers),
            limits: self.limits(&raw.limits),
            drain: Drain {
                deadline: self.duration("drain.deadline", &raw.drain.deadline),
            },
            clusters: Clusters {
                health_interval: self
                    .duration("clusters.health_interval", &raw.clusters.health_interval),
                writes_per_second: self
                    .number("clusters.writes_per_second", raw.clusters.writes_per_second),
                danger_allow_loopback_clusters: raw.clusters.danger_allow_loopback_clusters,
            },
            audit: self.audit(&raw.audit),
            tracing: self.tracing(&raw.tracing),
            log: Log {
                format: raw.log.format,
                level: raw.log.level,
            },
        };
        self.relations(&config);
        config
    }

    fn login(&mut self, raw: &raw::Login) -> Login {
        Login {
            hash_concurrency: self.number("login.hash_concurrency", raw.hash_concurrency),
            hash_queue: self.number("login.hash_queue", raw.hash_queue),
            account_tries: self.number("login.account_tries", raw.account_tries),
            account_interval: self.duration("login.account_interval", &raw.account_interval),
            source_tries: self.number("login.source_tries", raw.source_tries),
            source_interval: self.duration("login.source_interval", &raw.source_interval),
        }
    }

    fn limits(&mut self, raw: &raw::Limits) -> Limits {
        Limits {
            connections: self.number("limits.connections", raw.connections),
            header_timeout: self.duration("limits.header_timeout", &raw.header_timeout),
            idle_timeout: self.duration("limits.idle_timeout", &raw.idle_timeout),
            header_bytes: self.number("limits.header_bytes", raw.header_bytes),
            h2_streams: self.number("limits.h2_streams", raw.h2_streams),
            h2_ping_interval: self.duration("limits.h2_ping_interval", &raw.h2_ping_interval),
            body_bytes: self.number("limits.body_bytes", raw.body_bytes),
        }
    }

    fn audit(&mut self, raw: &raw::Audit) -> Audit {
        let path = "audit.path";
        match (raw.output, raw.path.is_empty()) {
            (AuditOutput::File, true) => self.mistake(path, "is required with audit.output: file"),
            (AuditOutput::Off | AuditOutput::Stdout, false) => {
                self.mistake(path, "is written only with audit.output: file");
            }
            (AuditOutput::File, false) | (AuditOutput::Off | AuditOutput::Stdout, true) => {}
        }
        Audit {
            output: raw.output,
            path: match &*raw.path {
                "" => PathBuf::new(),
                path => self.folder.join(path),
            },
            max_size: self.size("audit.max_size", &raw.max_size),
            max_files: self.number("audit.max_files", raw.max_files),
            sync: raw.sync,
            sync_interval: self.duration("audit.sync_interval", &raw.sync_interval),
            queue: self.number("audit.queue", raw.queue),
            danger_audit_best_effort: raw.danger_audit_best_effort,
        }
    }

    fn tracing(&mut self, raw: &raw::Tracing) -> Tracing {
        Tracing {
            otlp: Otlp {
                endpoint: self.collector(&raw.otlp.endpoint),
                ca_file: (!raw.otlp.ca_file.is_empty())
                    .then(|| self.folder.join(&raw.otlp.ca_file)),
            },
            one_in: self.number("tracing.one_in", raw.one_in),
            client_context: raw.client_context,
        }
    }

    /// Where traces go.
    fn collector(&mut self, text: &str) -> Option<String> {
        let path = "tracing.otlp.endpoint";
        if text.is_empty() {
            return None;
        }
        let checked = match origin(text, &["http", "https"]) {
            Ok((scheme, authority)) if trace::BUILT_IN => Ok(format!("{scheme}://{authority}")),
            Ok(_) => Err(NO_OTLP.to_owned()),
            Err(message) => Err(message),
        };
        checked.map_err(|message| self.mistake(path, message)).ok()
    }

    /// What no option shows alone.
    fn relations(&mut self, config: &Config) {
        if config.sessions.max_age < config.sessions.lifetime {
            self.mistake("sessions.max_age", "must not be below sessions.lifetime");
        }
        if config.sessions.browser_max_age < config.sessions.browser_idle {
            self.mistake(
                "sessions.browser_max_age",
                "must not be below sessions.browser_idle",
            );
        }
        if config.tokens.max_lifetime < config.tokens.default_lifetime {
            self.mistake(
                "tokens.max_lifetime",
                "must not be below tokens.default_lifetime",
            );
        }
        let (listen, admin) = (config.listen, config.admin_listen);
        if listen.port() == admin.port() && listen.port() != 0 {
            if listen == admin {
                self.mistake("admin_listen", "must be another address than listen");
            } else if covers(listen.ip(), admin.ip()) || covers(admin.ip(), listen.ip()) {
                let message =
                    "must have another port than listen: one of the two takes all addresses";
                self.mistake("admin_listen", message);
            }
        }
        if config.state.store == config.state.key_file && !config.state.store.as_os_str().is_empty()
        {
            self.mistake("state.key_file", "must be another file than state.store");
        }
        let otlp = &config.tracing.otlp;
        let https = otlp
            .endpoint
            .as_deref()
            .is_some_and(|url| url.starts_with("https://"));
        if otlp.ca_file.is_some() && !https {
            let message = "is written only with an https:// URL as tracing.otlp.endpoint";
            self.mistake("tracing.otlp.ca_file", message);
        }
        let others = [
            &config.state.store,
            &config.state.key_file,
            &config.tls.cert_file,
            &config.tls.key_file,
        ];
        if !config.audit.path.as_os_str().is_empty() && others.contains(&&config.audit.path) {
            let message = "must be another file than store, keys and certificate";
            self.mistake("audit.path", message);
        }
    }

    /// Notes a mistake, unless one is told of this option already: what was set aside for another
    /// reason has its default here.
    fn mistake(&mut self, path: &str, message: impl Into<String>) {
        if self.mistakes.iter().any(|mistake| mistake.path == path) {
            return;
        }
        self.mistakes.push(Mistake::at(self.node, path, message));
    }

    /// Whether a required text is there; notes it if not.
    fn is_written(&mut self, path: &str, text: &str) -> bool {
        if text.is_empty() {
            self.mistake(path, "is required");
        }
        !text.is_empty()
    }

    fn address(&mut self, path: &str, text: &str) -> SocketAddr {
        text.parse().unwrap_or_else(|_| {
            self.mistake(
                path,
                format!("{text:?} is not an address and a port, such as 0.0.0.0:8443 or [::]:8443"),
            );
            SocketAddr::from(([0, 0, 0, 0], 0))
        })
    }

    fn external_url(&mut self, text: &str) -> ExternalUrl {
        let nothing = ExternalUrl {
            text: String::new(),
            host: String::new(),
            port: 0,
        };
        if !self.is_written("external_url", text) {
            return nothing;
        }
        ExternalUrl::parse(text).unwrap_or_else(|message| {
            self.mistake("external_url", message);
            nothing
        })
    }

    fn base_domain(&mut self, text: &str) -> Option<BaseDomain> {
        if text.is_empty() {
            return None;
        }
        BaseDomain::parse(text)
            .map_err(|message| self.mistake("base_domain", message))
            .ok()
    }

    fn path(&mut self, path: &str, text: &str) -> PathBuf {
        self.is_written(path, text);
        if text.is_empty() {
            PathBuf::new()
        } else {
            self.folder.join(text)
        }
    }

    fn duration(&mut self, path: &str, text: &str) -> Duration {
        let Some(value) = duration::parse(text) else {
            self.mistake(
                path,
                format!("{text:?} is not a duration; write 500ms, 90s, 5m, 16h or 7d"),
            );
            return Duration::ZERO;
        };
        if let Some(Shape::Duration(low, high)) = shape(path)
            && !(low..=high).contains(&value)
        {
            let (low, high) = (duration::format(low), duration::format(high));
            self.mistake(path, format!("{text} is not between {low} and {high}"));
        }
        value
    }

    fn size(&mut self, path: &str, text: &str) -> u64 {
        let Some(value) = size::parse(text) else {
            self.mistake(
                path,
                format!("{text:?} is not a size; write 64KiB, 100MiB or 1GiB"),
            );
            return 0;
        };
        if let Some(Shape::Size(low, high)) = shape(path)
            && !(low..=high).contains(&value)
        {
            let (low, high) = (size::format(low), size::format(high));
            self.mistake(path, format!("{text} is not between {low} and {high}"));
        }
        value
    }

    fn number<T: Copy + TryInto<u64> + std::fmt::Display>(&mut self, path: &str, value: T) -> T {
        let wide = value.try_into().unwrap_or(u64::MAX);
        if let Some(Shape::Number(low, high)) = shape(path)
            && !(low..=high).contains(&wide)
        {
            self.mistake(path, format!("{value} is not between {low} and {high}"));
        }
        value
    }
}

/// Why a collector cannot be named.
const NO_OTLP: &str = "takes a palisade that was built with the cargo feature `otlp` (cargo build --release \
                       --features otlp), and this one was not";

/// Whether a socket on `all` also takes what comes for `one`. `[::]` takes IPv4 too.
fn covers(all: IpAddr, one: IpAddr) -> bool {
    all.is_unspecified() && (all.is_ipv6() || one.is_ipv4())
}

fn shape(path: &str) -> Option<Shape> {
    options::find(path).map(|option| option.shape)
}

#[cfg(test)]
mod tests;

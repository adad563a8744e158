//! The gateway's metrics, in the text format of OpenMetrics.
//!
//! One struct holds them all, made once and handed to the parts that count. Label values come from enums,
//! so that nobody outside can make new series.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};

mod reload;

pub use reload::{From as ReloadFrom, Reloads, Try as ReloadTry};

/// All metrics of this process.
pub struct Metrics {
    registry: Registry,
    /// Connections that are open, handshakes included.
    pub connections_open: Gauge,
    /// Connections accepted, by what became of their handshake.
    pub connections: Family<Handshake, Counter>,
    /// Requests that came in.
    pub requests: Counter,
    /// What is read again while the gateway runs.
    pub reloads: Reloads,
}

/// Label of [`Metrics::connections`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Handshake {
    /// How it ended.
    pub handshake: HandshakeEnd,
}

/// How a TLS handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum HandshakeEnd {
    /// HTTP may begin.
    Done,
    /// The two could not agree, or the client broke it off.
    Failed,
    /// `tls.handshake_timeout` was over.
    TimedOut,
}

impl Metrics {
    /// The set, with the build's version in it.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("palisade");
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The running program", build);
        let connections_open = Gauge::default();
        registry.register(
            "connections_open",
            "Client connections that are open",
            connections_open.clone(),
        );
        let connections = Family::default();
        registry.register(
            "connections",
            "Client connections accepted, by the end of their TLS handshake",
            connections.clone(),
        );
        let requests = Counter::default();
        registry.register("requests", "Requests that came in", requests.clone());
        let reloads = Reloads::default();
        reloads.register(&mut registry);
        Self {
            registry,
            connections_open,
            connections,
            requests,
            reloads,
        }
    }

    /// Counts one handshake.
    pub fn count_handshake(&self, handshake: HandshakeEnd) {
        self.connections
            .get_or_create(&Handshake { handshake })
            .inc();
    }

    /// The text that `/metrics` answers with.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_the_build_and_what_was_counted() {
        let metrics = Metrics::new();
        metrics.connections_open.inc();
        metrics.count_handshake(HandshakeEnd::TimedOut);
        let text = metrics.encode();
        assert!(text.contains("palisade_build_info{version=\""), "{text}");
        assert!(text.contains("palisade_connections_open 1\n"), "{text}");
        assert!(
            text.contains("palisade_connections_total{handshake=\"TimedOut\"} 1\n"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"));
    }
}

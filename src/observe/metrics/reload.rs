//! What reloads tell.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Metrics of what is read again while the gateway runs.
#[derive(Default)]
pub struct Reloads {
    /// Tries that found something new, by source and outcome.
    pub tries: Family<Try, Counter>,
    /// 1 if the last try was taken, 0 if the old state was kept.
    pub last_successful: Family<From, Gauge>,
    /// Unix time at which what counts now was taken.
    pub last_success: Family<From, Gauge>,
    /// Raised by one whenever something new counts.
    pub generation: Gauge,
    /// Unix time.
    pub certificate_not_after: Gauge,
}

/// What is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct From {
    /// A word for it.
    pub source: &'static str,
}

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Try {
    /// What was read.
    pub source: &'static str,
    /// `taken` or `refused`.
    pub outcome: &'static str,
}

impl Reloads {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "reloads",
            "Tries to take a changed configuration file, certificate or policy folder",
            self.tries.clone(),
        );
        registry.register(
            "reload_last_successful",
            "1 if the last try was taken, 0 if the old state was kept",
            self.last_successful.clone(),
        );
        registry.register(
            "reload_last_success_timestamp_seconds",
            "When what counts now was taken",
            self.last_success.clone(),
        );
        registry.register(
            "reload_generation",
            "1 at the start, and one more whenever something new was taken",
            self.generation.clone(),
        );
        registry.register(
            "tls_certificate_not_after_timestamp_seconds",
            "When the server's own certificate ends",
            self.certificate_not_after.clone(),
        );
    }
}

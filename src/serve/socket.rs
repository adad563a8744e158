//! What a client's connection holds as long as its socket lives.

use crate::observe::metrics::Metrics;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Its place in the connection bound, its tick in the drain's list, and its count in the metrics; given back
/// by dropping it.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    _listed: TaskTrackerToken,
    metrics: Arc<Metrics>,
}

impl Place {
    pub(super) fn take(
        permit: OwnedSemaphorePermit,
        listed: TaskTrackerToken,
        metrics: Arc<Metrics>,
    ) -> Self {
        metrics.connections_open.inc();
        Self {
            _permit: permit,
            _listed: listed,
            metrics,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.connections_open.dec();
    }
}

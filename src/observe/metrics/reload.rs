//! What reloads tell.

use super::{
    catalog as c,
    cells::{Gauge, Grid, Table},
    labels::{ReloadOutcome, ReloadSource},
    page::Page,
};
use std::fmt;

/// Metrics of what is read again while the gateway runs.
#[derive(Default)]
pub struct Reloads {
    /// Tries that found something new, by source and outcome.
    pub tries: Grid<ReloadSource, ReloadOutcome>,
    /// 1 if the last try was taken, 0 if the old state was kept.
    pub last_successful: Table<ReloadSource, Gauge>,
    /// Unix time at which what counts now was taken.
    pub last_success: Table<ReloadSource, Gauge>,
    /// Raised by one whenever something new counts.
    pub generation: Gauge,
    /// Unix time; 0 if it is not known.
    pub certificate_not_after: Gauge,
}

impl Reloads {
    pub(super) fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.family(&c::RELOADS, |f| f.grid(&[], &self.tries))?;
        page.family(&c::RELOAD_SUCCESSFUL, |f| {
            f.gauges(&[], &self.last_successful)
        })?;
        page.family(&c::RELOAD_SUCCESS, |f| f.gauges(&[], &self.last_success))?;
        page.family(&c::RELOAD_GENERATION, |f| {
            f.gauge(&[], self.generation.get())
        })?;
        let ends = self.certificate_not_after.get();
        page.family(&c::CERTIFICATE_EXPIRY, |f| match ends {
            0 => Ok(()),
            ends => f.gauge(&[], ends),
        })
    }
}

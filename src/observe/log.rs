//! Where log lines go: standard error, as text for people or JSON for collectors.

use std::sync::OnceLock;
use tracing_subscriber::{
    Layer, Registry, filter::LevelFilter, filter::Targets, fmt, prelude::*, reload,
};

/// Changes which lines are written. One for the process, as its log is.
static LINES: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Shape and threshold of the lines.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// One JSON object a line.
    pub json: bool,
    /// The least severe lines of the gateway's own that are written.
    pub level: LevelFilter,
}

/// Sets the log of this process up; a second call does nothing.
pub fn start(settings: Settings) {
    let (lines, handle) = reload::Layer::new(targets(settings.level));
    let layer = fmt::layer().with_writer(std::io::stderr);
    let layer = if settings.json {
        layer.json().flatten_event(true).boxed()
    } else {
        layer.with_target(false).with_ansi(false).boxed()
    };
    // Fails only if there is a subscriber already: tests in one process.
    let started = tracing_subscriber::registry()
        .with(layer.with_filter(lines))
        .try_init();
    if started.is_ok() {
        // Set once only: a second start does not get here.
        let _ = LINES.set(handle);
    }
}

/// From now on lines of this level are written, and more severe ones.
pub fn set_level(level: LevelFilter) {
    if let Some(lines) = LINES.get() {
        // Fails only when the subscriber is gone, and it lives as long as the process.
        let _ = lines.reload(targets(level));
    }
}

/// Libraries say what concerns nobody; their warnings are kept.
fn targets(level: LevelFilter) -> Targets {
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("palisade", level)
}

//! Where log lines go: standard error, as text for people or JSON for collectors.

use tracing_subscriber::{Layer, filter::LevelFilter, filter::Targets, fmt, prelude::*};

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
    // Libraries say what concerns nobody; their warnings are kept.
    let lines = Targets::new()
        .with_default(settings.level.min(LevelFilter::WARN))
        .with_target("palisade", settings.level);
    let layer = fmt::layer().with_writer(std::io::stderr);
    let layer = if settings.json {
        layer.json().flatten_event(true).boxed()
    } else {
        layer.with_target(false).with_ansi(false).boxed()
    };
    // Fails only if there is a subscriber already: tests in one process.
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(lines))
        .try_init();
}

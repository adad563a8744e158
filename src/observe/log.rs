//! Where log lines go: standard error, as text for people or JSON for collectors.
//!
//! A request writes a line, so a line must cost it little: it is formatted once, into a buffer of its
//! thread, and handed over in memory; one thread writes for all ([`lines`]). What could go wrong: a
//! standard error that nobody reads must not stop requests (lines are then lost, and the log says how
//! many), and a process that ends must not keep its last words to itself ([`finish`]).

mod format;
mod lines;

use format::{Format, LineLayer};
use lines::Lines;
use std::sync::OnceLock;
use tracing_subscriber::{Registry, filter::LevelFilter, filter::Targets, prelude::*, reload};

/// The lines of this process.
static LINES: OnceLock<Lines> = OnceLock::new();
/// Changes which lines are written. One for the process, as its log is.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

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
    let (filter, handle) = reload::Layer::new(targets(settings.level));
    let format = if settings.json {
        Format::Json
    } else {
        Format::Text
    };
    let lines = LINES.get_or_init(|| Lines::to(std::io::stderr()));
    // Fails only if there is a subscriber already: tests in one process.
    let started = tracing_subscriber::registry()
        .with(filter)
        .with(LineLayer::new(format, lines))
        .try_init();
    if started.is_ok() {
        // Set once only: a second start does not get here.
        let _ = FILTER.set(handle);
    }
}

/// From now on lines of this level are written, and more severe ones.
pub fn set_level(level: LevelFilter) {
    if let Some(filter) = FILTER.get() {
        // Fails only when the subscriber is gone, and it lives as long as the process.
        let _ = filter.reload(targets(level));
    }
}

/// Libraries say what concerns nobody; their warnings are kept.
fn targets(level: LevelFilter) -> Targets {
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("palisade", level)
}

/// Waits until what was logged so far is written, or nobody takes it: the last thing that a process does.
pub fn finish() {
    if let Some(lines) = LINES.get() {
        lines.finish();
    }
}

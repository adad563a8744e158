//! What the gateway says about itself: log lines, audit events, metrics and traces.
//!
//! What could go wrong: a secret in a line or a label (neither takes headers, bodies or query strings),
//! labels without a bound (no user, token or path is a label).

pub mod audit;
pub mod log;
pub mod metrics;
pub mod reloads;
pub mod trace;

/// An error with what led to it, in one line: a source whose words stand there already is not repeated.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        next = source.source();
    }
    line
}

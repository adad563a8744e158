//! What the gateway says about itself: log lines, audit events, metrics and traces.
//!
//! What could go wrong: a secret in a line or a label (neither takes headers, bodies or query strings),
//! labels without a bound (no user, token or path is a label).

pub mod audit;
pub mod log;
pub mod metrics;
pub mod reloads;
pub mod trace;

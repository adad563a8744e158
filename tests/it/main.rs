//! In-process tests: the real parts, started on port 0.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod admin;
mod config_check;
mod dev;
mod listen;
mod modules;
mod policy;
mod tls;

//! In-process tests: the real parts, started on port 0.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod admin;
mod config_check;
mod dev;
mod listen;
mod modules;
mod policy;
mod tls;
mod wire;

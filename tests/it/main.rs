//! In-process tests: the real parts, started on port 0.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod admin;
mod config_check;
mod listen;
mod modules;
mod tls;

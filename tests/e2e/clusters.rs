//! What the gateway keeps in a cluster, against a real API server: hand-over, rules, sync, renewal,
//! clean-up.

#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod accounts;
mod clean_up;
mod older;
mod renewal;
mod roles;
mod world;

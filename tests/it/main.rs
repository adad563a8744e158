//! In-process tests: the real parts, started on port 0.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod acting;
mod admin;
mod admin_commands;
mod audit;
mod canary;
mod config_check;
mod dev;
mod escapes;
mod identity;
mod listen;
mod login;
mod metrics;
mod modules;
mod own_api;
mod paths;
mod policy;
mod policy_folder;
mod project_commands;
mod projects;
mod provider_device;
mod providers;
mod reconcile;
mod reload;
mod streams;
#[path = "../testkit/mod.rs"]
#[expect(dead_code, reason = "each test crate uses a part of the kit")]
mod testkit;
mod tls;
mod web;
mod web_grants;
mod web_redirect;
mod wire;

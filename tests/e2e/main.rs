//! Tests against real counterparts.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

#[path = "../testkit/mod.rs"]
#[expect(dead_code, reason = "each test crate uses a part of the kit")]
mod testkit;

mod acting;
mod agreement;
mod browser;
mod cluster_commands;
mod clusters;
mod control_plane;
mod crash;
mod directories;
mod in_step;
mod main_job;
mod own_api;
mod person;
mod soak;
mod store;

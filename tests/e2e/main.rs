//! Tests against real counterparts.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

#[path = "../testkit/mod.rs"]
mod testkit;

mod agreement;
mod cluster_commands;
mod clusters;
mod control_plane;
mod crash;
mod own_api;
mod person;

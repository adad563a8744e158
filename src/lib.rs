//! Palisade: an authenticating gateway in front of many Kubernetes clusters.
//!
//! Modules in reading order; a part may know only those that stand below it (tests/it holds the order):
//! `cli`, `serve` → `gateway`, `web`, `api` → `clusters` → `proxy` → `authz` → `authn` → `request` → `objects` →
//! `store`, `config`, `observe` → `status`.

pub mod api;
pub mod authn;
pub mod authz;
pub mod cli;
pub mod clusters;
pub mod config;
pub mod gateway;
pub mod objects;
pub mod observe;
pub mod proxy;
pub mod request;
pub mod serve;
pub mod status;
pub mod store;
pub mod web;

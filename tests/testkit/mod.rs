//! What the tests put around the gateway. The test crates include this module and use a part each.

pub(crate) mod browser;
pub(crate) mod canary;
pub(crate) mod chaos;
pub(crate) mod client;
pub(crate) mod cluster;
#[cfg(feature = "otlp")]
pub(crate) mod collector;
pub(crate) mod dev;
pub(crate) mod fake_api;
pub(crate) mod fake_cluster;
pub(crate) mod gate;
pub(crate) mod gateway;
pub(crate) mod github;
pub(crate) mod issuer;
pub(crate) mod openmetrics;
pub(crate) mod process;
pub(crate) mod site;
pub(crate) mod tunnel;

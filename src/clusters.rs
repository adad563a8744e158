//! Registered clusters: what the gateway holds of them, whether they answer, and what it keeps there.

pub mod client;

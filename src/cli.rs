//! The commands that a person runs.

pub mod http;
mod pin;

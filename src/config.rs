//! Configuration: what an operator writes, and what it means.

pub mod yaml;

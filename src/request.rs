//! What a request is, before anybody judges it.

pub mod conn;

//! The process: connections in, the gateway behind them, and an orderly end.
//!
//! `listen` accepts, `conn` carries one connection through TLS and HTTP, `tls` makes the server's
//! configuration from files, `admin` answers operators, `lifecycle` ends it all.
//!
//! What could go wrong, and where it is met: handshakes and heads that never end (deadlines, in `conn`),
//! more connections than memory (a bound, in `listen`), an exhausted descriptor table that would spin the
//! accept loop (a pause), connections taken over by an upgrade and then forgotten (the socket itself
//! holds its place, in `socket`), a stop that never comes because one watch stays open (a deadline, in
//! `lifecycle`).

pub mod admin;
pub mod admins;
pub mod app;
pub mod conn;
pub mod dev;
pub mod lifecycle;
pub mod listen;
pub mod reload;
pub mod restore;
mod socket;
pub mod state;
pub mod tls;

//! The bench of whole processes: the gateway beside HAProxy, nginx and a bare proxy, in one run.
//!
//! What counts is CPU of the proxy over CPU of the upstream *in the same burst*: both live through the same state of
//! the machine, so its noise divides out (docs/performance.md). Targets take turns, in an order that rotates, and
//! every comparison is made within a round.
//!
//! What could go wrong: a proxy that refuses is fast (every answer is checked, a wrong one ends the run), handshakes
//! in figures that are not about them (connections are opened before the window), a generator that is the limit
//! (it shares the upstream's core; rates are a sanity figure, not a result).

pub mod apiserver;
pub mod cells;
pub mod compare;
pub mod counters;
pub mod goals;
pub mod growth;
pub mod latency;
pub mod load;
pub mod memory;
pub mod overload;
pub mod picture;
pub mod proc;
pub mod progress;
pub mod report;
pub mod results;
pub mod rp;
pub mod stats;
pub mod suite;
pub mod tls;
pub mod upstream;
pub mod world;

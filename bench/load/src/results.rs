//! What a run found, as it is written to JSON.

use crate::{stats::Figure, world::Sizes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    /// Where and with what.
    pub machine: Machine,
    /// What the store held.
    pub sizes: Sizes,
    /// Closed loops.
    pub cells: Vec<Cell>,
    /// Open loops.
    pub latency: Vec<Latency>,
    /// Exact counts.
    pub counters: Vec<Counter>,
    /// Resident memory.
    pub memory: Vec<Memory>,
    /// More load than can be carried, and load beside other load.
    pub overload: Vec<Overload>,
    /// Large stores beside small ones.
    pub growth: Vec<Growth>,
    /// What stands where.
    pub goals: Vec<Goal>,
    /// Bursts that failed, and have no figure.
    pub failures: Vec<String>,
}

/// The machine, and the versions.
#[derive(Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Of the processor.
    pub cpu: String,
    /// How many.
    pub cores: usize,
    /// GiB.
    pub memory: u64,
    /// Of Linux.
    pub kernel: String,
    /// Program and version.
    pub versions: BTreeMap<String, String>,
    /// Rounds of each cell.
    pub rounds: usize,
    /// Share of the machine's time that was free just before a burst.
    pub quiet: Option<Quiet>,
    /// How long the run took.
    pub minutes: f64,
}

/// How quiet the machine was.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Quiet {
    /// The median.
    pub median: f64,
    /// One of twenty was below.
    pub low: f64,
}

/// One workload.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cell {
    /// Its name.
    pub name: String,
    /// What is counted.
    pub unit: String,
    /// What was measured with each target.
    pub targets: Vec<Measured>,
}

/// One target in one workload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// `HAProxy>h1`
    pub target: String,
    /// CPU of the proxy over CPU of the upstream.
    pub px_up: Option<Figure>,
    /// Microseconds of the proxy's CPU a unit.
    pub micros: Option<Figure>,
    /// Microseconds of the upstream's CPU a unit.
    pub upstream_micros: Option<Figure>,
    /// Units a second.
    pub rate: Option<Figure>,
    /// Microseconds: p50, p99, p99.9.
    pub latency: Option<[Figure; 3]>,
    /// MiB of bodies for a second of the proxy's CPU.
    pub mib_per_cpu_second: Option<Figure>,
    /// New TLS connections to the upstream for each unit.
    pub handshakes: Option<Figure>,
    /// px/up over that of HAProxy with the same upstream protocol in the same round.
    pub vs_haproxy: Option<Figure>,
    /// Microseconds of the proxy's CPU a unit, over those of HAProxy with the same upstream protocol in the same round:
    /// for work in which the upstream's part is no measure (handshakes), or differs with the proxy (bulk).
    pub micros_vs_haproxy: Option<Figure>,
    /// px/up over that of nginx.
    pub vs_nginx: Option<Figure>,
    /// The same over the bare proxy.
    pub vs_rp: Option<Figure>,
    /// Microseconds of the proxy's CPU a unit over those of the bare proxy.
    pub micros_vs_rp: Option<Figure>,
    /// px/up over that of the other build of the gateway, if there was one.
    pub vs_before: Option<Figure>,
    /// Microseconds of CPU over those of that build.
    pub micros_vs_before: Option<Figure>,
    /// The upstream's CPU a unit over that with HAProxy in the same round.
    pub upstream_vs_haproxy: Option<Figure>,
    /// All of it.
    pub samples: Vec<Sample>,
}

/// One burst.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Which round.
    pub round: usize,
    /// Units.
    pub done: usize,
    /// Length.
    pub seconds: f64,
    /// Nanoseconds of CPU of the proxy.
    pub proxy: u64,
    /// Nanoseconds of CPU of the upstream.
    pub upstream: u64,
    /// Bytes of bodies.
    pub bytes: usize,
    /// New TLS connections at the upstream.
    pub handshakes: u64,
    /// Microseconds: p50, p99, p99.9.
    pub latency: [f64; 3],
}

/// A fixed rate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// Protocol of the client side.
    pub proto: String,
    /// Requests a second.
    pub rate: f64,
    /// The target.
    pub target: String,
    /// Microseconds from the intended start.
    pub p50: Figure,
    /// The same.
    pub p90: Figure,
    /// The same.
    pub p99: Figure,
    /// The same, over the requests of all rounds: one round has too few.
    pub p999: f64,
    /// Added to a direct request of the same round, over what HAProxy added: p50, p90.
    pub added_vs_haproxy: Option<[Figure; 2]>,
    /// p99 over HAProxy's of the same round.
    pub p99_vs_haproxy: Option<Figure>,
    /// Microseconds of the proxy's CPU a request.
    pub micros: Option<Figure>,
}

/// Exact counts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Counter {
    /// What is counted.
    pub what: String,
    /// The workload.
    pub load: String,
    /// The target.
    pub target: String,
    /// A request.
    pub each: f64,
}

/// Memory of something that idles.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Memory {
    /// What idles.
    pub what: String,
    /// The target.
    pub target: String,
    /// MiB of the process before.
    pub base_mib: f64,
    /// KiB for each.
    pub kib_each: f64,
}

/// What happened under too much load, or beside other load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Overload {
    /// What was done.
    pub what: String,
    /// The target.
    pub target: String,
    /// Named figures.
    pub figures: BTreeMap<String, Figure>,
}

/// A large store beside a small one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Growth {
    /// What grew, or what was measured.
    pub what: String,
    /// The figure.
    pub figure: Figure,
    /// Its unit.
    pub unit: String,
}

/// One of G1 to G11.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Goal {
    /// `G1`
    pub id: String,
    /// What is asked.
    pub goal: String,
    /// What was found.
    pub found: String,
    /// Whether it holds; `None`: not measured in this run.
    pub holds: Option<bool>,
}

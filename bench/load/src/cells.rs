//! Closed loops: the workloads, each with each target in turn.

use crate::{
    load::{self, Aim, Burst, Gets, Meter, Profile, Proto, Watches},
    proc::Cpu,
    results::{Cell, Measured, Sample},
    stats::{self, Figure},
    suite::{FLEET, Fleet, MAIN_ROUNDS, Options, Suite, Target},
    upstream,
    world::{Kind, Side, prefixes},
};
use anyhow::{Context as _, Result};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// A burst takes a second or two; one that takes this long will not end.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A workload.
pub enum Work {
    /// Many equal GETs.
    Gets(Gets),
    /// The same, over all clusters of the upstream.
    Spread(Gets),
    /// exec: sessions and round trips of each.
    Echo(usize, usize),
    /// port-forward: bytes.
    Forward(u64),
    /// New TLS connections at a time and in all.
    Connects(usize, usize),
    /// Old kubectl: people.
    Discovery(usize),
    /// Watches, and for how long.
    Watches(Watches, Duration),
}

/// A workload with its name.
pub struct Plan {
    /// `get-h1`
    pub name: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// What is done.
    pub work: Work,
    /// With whom.
    pub targets: Vec<Target>,
    /// Rounds, beside twelve of the main cells.
    pub rounds: usize,
    /// Seconds that one burst takes, connecting included.
    pub seconds: f64,
}

impl Plan {
    /// Seconds of one round.
    fn round(&self) -> f64 {
        self.seconds * self.targets.len() as f64 + 0.2
    }
}

const fn target(kind: Kind, side: Side) -> Target {
    Target { kind, side }
}

const ALL: &[Target] = &[
    target(Kind::HAProxy, Side::H1),
    target(Kind::Nginx, Side::H1),
    target(Kind::Rp, Side::H1),
    target(Kind::Gateway, Side::H1),
    target(Kind::HAProxy, Side::H2),
    target(Kind::Rp, Side::H2),
    target(Kind::Gateway, Side::H2),
];
/// Upgraded streams are HTTP/1.1 on both sides.
const UPGRADES: &[Target] = &[
    target(Kind::HAProxy, Side::H1),
    target(Kind::Nginx, Side::H1),
    target(Kind::Rp, Side::H1),
    target(Kind::Gateway, Side::H1),
];
const GATEWAYS: &[Target] = &[
    target(Kind::Gateway, Side::H1),
    target(Kind::Gateway, Side::H2),
];

const POD: &str = "/api/v1/namespaces/default/pods/b1024";

fn gets(proto: Proto, connections: usize, streams: usize, requests: usize) -> Gets {
    Gets {
        proto,
        connections,
        streams,
        requests,
        profile: Profile::Controller,
        path: POD.to_owned(),
        bytes: 1024,
    }
}

fn list(proto: Proto, connections: usize, streams: usize, requests: usize, bytes: usize) -> Gets {
    Gets {
        path: format!("/api/v1/namespaces/default/pods?limit={bytes}"),
        bytes,
        ..gets(proto, connections, streams, requests)
    }
}

/// All workloads.
pub fn plans() -> Vec<Plan> {
    let mut all = short();
    all.extend(long());
    all
}

/// Small GETs and lists.
fn short() -> Vec<Plan> {
    let h1 = gets(Proto::H1, 64, 1, 8_000);
    let controller = gets(Proto::H2, 8, 8, 10_000);
    let kubectl = Gets {
        profile: Profile::Kubectl,
        ..gets(Proto::H2, 64, 1, 8_000)
    };
    let of = |name, gets, rounds, seconds| Plan {
        name,
        unit: "request",
        work: Work::Gets(gets),
        targets: ALL.to_vec(),
        rounds,
        seconds,
    };
    vec![
        of("get-h1", h1, 12, 0.7),
        of("get-h2-controller", controller.clone(), 12, 0.6),
        of("get-h2-kubectl", kubectl, 12, 0.7),
        Plan {
            work: Work::Spread(controller.clone()),
            targets: GATEWAYS.to_vec(),
            ..of("get-h2-spread", controller, 6, 0.6)
        },
        of(
            "list-50k-h1",
            list(Proto::H1, 16, 1, 2_000, 50 << 10),
            6,
            0.6,
        ),
        of(
            "list-50k-h2",
            list(Proto::H2, 8, 8, 2_000, 50 << 10),
            6,
            0.6,
        ),
        of("list-5m-h2", list(Proto::H2, 2, 2, 40, 5 << 20), 6, 0.6),
        of("body-100m-h1", list(Proto::H1, 1, 1, 3, 100 << 20), 4, 0.9),
        of("body-100m-h2", list(Proto::H2, 1, 1, 3, 100 << 20), 4, 0.9),
    ]
}

/// Streams and connections.
fn long() -> Vec<Plan> {
    let watches = |streams, every, seconds| {
        let watches = Watches {
            proto: Proto::H2,
            connections: 20,
            streams,
            every,
        };
        Work::Watches(watches, Duration::from_millis(seconds))
    };
    let of = |name, unit, work, targets: &[Target], rounds, seconds| Plan {
        name,
        unit,
        work,
        targets: targets.to_vec(),
        rounds,
        seconds,
    };
    let forward = Work::Forward(200 << 20);
    let connects = Work::Connects(8, 400);
    vec![
        of(
            "exec-echo",
            "round trip",
            Work::Echo(64, 150),
            UPGRADES,
            6,
            0.6,
        ),
        of("port-forward", "stream", forward, UPGRADES, 6, 0.6),
        of("connect-h1", "connection", connects, ALL, 12, 0.6),
        of("discovery", "request", Work::Discovery(50), ALL, 6, 0.6),
        // Busy: ten events a second of each. Trickling: one in two seconds.
        of(
            "watch-events",
            "event",
            watches(25, 100, 1_200),
            ALL,
            12,
            2.0,
        ),
        of(
            "watch-trickle",
            "event",
            watches(100, 2_000, 2_000),
            ALL,
            4,
            3.4,
        ),
    ]
}

/// The plans that this run wants.
fn wanted(options: &Options) -> Vec<Plan> {
    let mut plans = plans();
    if let Some(part) = &options.cell {
        plans.retain(|plan| plan.name.contains(part.as_str()));
    }
    for plan in &mut plans {
        if let Work::Gets(gets) | Work::Spread(gets) = &mut plan.work {
            gets.requests *= options.longer;
            plan.seconds *= options.longer as f64;
        }
        if let Some(part) = &options.target {
            plan.targets
                .retain(|target| target.name().contains(part.as_str()));
        }
        if options.before.is_some() {
            let gateways: Vec<Target> = plan.targets.clone();
            plan.targets.extend(
                gateways
                    .into_iter()
                    .filter(|target| target.kind == Kind::Gateway)
                    .map(|gateway| target(Kind::Before, gateway.side)),
            );
        }
    }
    plans.retain(|plan| !plan.targets.is_empty());
    plans
}

/// Seconds that all of it is planned to take.
pub fn seconds(options: &Options) -> f64 {
    let rounds = |plan: &Plan| options.rounds(plan.rounds) as f64;
    let bursts: f64 = wanted(options)
        .iter()
        .map(|plan| rounds(plan) * plan.round())
        .sum();
    bursts + options.rounds(MAIN_ROUNDS) as f64 * FLEET
}

/// Runs the cells, round by round, targets in rotated order.
pub async fn run(suite: &Suite) -> Result<Vec<Cell>> {
    let plans = wanted(&suite.options);
    let mut samples: Vec<Vec<Vec<Sample>>> = plans
        .iter()
        .map(|plan| vec![Vec::new(); plan.targets.len()])
        .collect();
    let rounds = suite.options.rounds(MAIN_ROUNDS);
    for round in 0..rounds {
        let name = format!("round {} of {rounds}", round + 1);
        suite.progress.step(&format!("{name}: start"), FLEET);
        let fleet = Fleet::start(suite).await?;
        for (plan, found) in plans.iter().zip(&mut samples) {
            let own = suite.options.rounds(plan.rounds);
            // Spread over the run, those of a cell with fewer rounds too.
            if round * own / rounds == (round + 1) * own / rounds {
                continue;
            }
            suite
                .progress
                .step(&format!("{name}: {}", plan.name), plan.round());
            suite.settle()?;
            let shift = round * own / rounds;
            for turn in 0..plan.targets.len() {
                let at = (turn + shift) % plan.targets.len();
                match sample(suite, &fleet, plan.targets[at], &plan.work, round).await {
                    Ok(sample) => found[at].push(sample),
                    Err(error) => {
                        let target = plan.targets[at].name();
                        suite.failed(&format!("{name}: {} {target}", plan.name), &error);
                    }
                }
            }
            fleet.trim()?;
        }
    }
    let cells = plans.iter().zip(&samples).map(|(plan, found)| Cell {
        name: plan.name.to_owned(),
        unit: plan.unit.to_owned(),
        targets: measured(&plan.targets, found),
    });
    Ok(cells.collect())
}

/// Marks the window of a burst, and reads what the kernel counted in it.
pub struct Window {
    proxy: Option<u32>,
    upstream: u32,
    began: Option<(Instant, Cpu, Cpu)>,
    /// Seconds, nanoseconds of the proxy, nanoseconds of the upstream.
    pub took: (f64, u64, u64),
}

impl Window {
    /// A window on these processes.
    pub fn new(proxy: Option<u32>, upstream: u32) -> Self {
        Self {
            proxy,
            upstream,
            began: None,
            took: (0.0, 0, 0),
        }
    }

    fn read(&self) -> Result<(Cpu, Cpu)> {
        let proxy = self.proxy.map_or_else(|| Ok(Cpu::default()), Cpu::of)?;
        Ok((proxy, Cpu::of(self.upstream)?))
    }
}

impl Meter for Window {
    fn start(&mut self) -> Result<()> {
        let (proxy, upstream) = self.read()?;
        self.began = Some((Instant::now(), proxy, upstream));
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        let (began, proxy, upstream) = self.began.take().context("not started")?;
        let seconds = began.elapsed().as_secs_f64();
        let (proxy_now, upstream_now) = self.read()?;
        self.took = (
            seconds,
            proxy_now.since(&proxy),
            upstream_now.since(&upstream),
        );
        Ok(())
    }
}

/// One burst of one workload.
pub async fn sample(
    suite: &Suite,
    fleet: &Fleet,
    target: Target,
    work: &Work,
    round: usize,
) -> Result<Sample> {
    let aim = match work {
        Work::Spread(_) => {
            let all = prefixes(target.side, suite.options.sizes.clusters);
            suite.aim_over(fleet, target, all)?
        }
        _ => suite.aim(fleet, target)?,
    };
    let upstream = suite.world.upstream(target.side);
    let mut window = Window::new(Some(fleet.get(target.kind)?.pid()), upstream.pid());
    let (handshakes, _) = upstream::counts(upstream.control).await?;
    let performed = timeout(PATIENCE, perform(&aim, work, &mut window));
    let burst = performed.await.context("it hangs")??;
    let (handshakes_after, _) = upstream::counts(upstream.control).await?;
    let (seconds, proxy, upstream) = window.took;
    Ok(Sample {
        round,
        done: burst.done,
        seconds,
        proxy,
        upstream,
        bytes: burst.bytes,
        handshakes: handshakes_after - handshakes,
        latency: stats::micros(&burst.nanos, [0.5, 0.99, 0.999]),
    })
}

/// Does the work.
pub async fn perform(aim: &Aim, work: &Work, meter: &mut impl Meter) -> Result<Burst> {
    match work {
        Work::Gets(gets) | Work::Spread(gets) => load::closed(aim, gets, meter).await,
        Work::Echo(sessions, trips) => load::echo(aim, *sessions, *trips, meter).await,
        Work::Forward(bytes) => load::forward(aim, *bytes, meter).await,
        Work::Connects(parallel, count) => {
            load::connects(aim, Proto::H1, *parallel, *count, meter).await
        }
        Work::Discovery(people) => load::discovery(aim, *people, meter).await,
        Work::Watches(watches, length) => load::watches(aim, *watches, *length, meter).await,
    }
}

/// Figures of the targets, with ratios made round by round.
pub fn measured(targets: &[Target], samples: &[Vec<Sample>]) -> Vec<Measured> {
    let of = |kind, side| {
        let at = targets
            .iter()
            .position(|&target| target == Target { kind, side })?;
        samples.get(at)
    };
    targets
        .iter()
        .zip(samples)
        .map(|(target, own)| {
            let haproxy = of(Kind::HAProxy, target.side);
            let rp = of(Kind::Rp, target.side);
            let before = of(Kind::Before, target.side).filter(|_| target.kind == Kind::Gateway);
            let nginx = of(Kind::Nginx, Side::H1).filter(|_| target.side == Side::H1);
            let figure = |value: &dyn Fn(&Sample) -> f64| Figure::of(own.iter().map(value));
            Measured {
                target: target.name(),
                px_up: figure(&px_up),
                micros: figure(&micros),
                upstream_micros: figure(&upstream_micros),
                rate: figure(&|s| s.done as f64 / s.seconds),
                latency: quantiles(own),
                mib_per_cpu_second: figure(&|s| {
                    s.bytes as f64 / f64::from(1 << 20) / (s.proxy as f64 / 1e9)
                }),
                handshakes: figure(&|s| s.handshakes as f64 / s.done as f64),
                vs_haproxy: ratio(own, haproxy, px_up),
                micros_vs_haproxy: ratio(own, haproxy, micros),
                vs_nginx: ratio(own, nginx, px_up),
                vs_rp: ratio(own, rp, px_up),
                micros_vs_rp: ratio(own, rp, micros),
                vs_before: ratio(own, before, px_up),
                micros_vs_before: ratio(own, before, micros),
                upstream_vs_haproxy: ratio(own, haproxy, upstream_micros),
                samples: own.clone(),
            }
        })
        .collect()
}

fn px_up(sample: &Sample) -> f64 {
    sample.proxy as f64 / sample.upstream as f64
}

fn micros(sample: &Sample) -> f64 {
    sample.proxy as f64 / 1e3 / sample.done as f64
}

fn upstream_micros(sample: &Sample) -> f64 {
    sample.upstream as f64 / 1e3 / sample.done as f64
}

fn quantiles(own: &[Sample]) -> Option<[Figure; 3]> {
    let figure = |at: usize| Figure::of(own.iter().map(|sample| sample.latency[at]));
    Some([figure(0)?, figure(1)?, figure(2)?])
}

/// Round by round; a round that either lacks does not count.
pub fn ratio(
    own: &[Sample],
    other: Option<&Vec<Sample>>,
    value: fn(&Sample) -> f64,
) -> Option<Figure> {
    let other = other?;
    let pairs = own.iter().filter_map(|own| {
        let other = other.iter().find(|other| other.round == own.round)?;
        Some(value(own) / value(other))
    });
    Figure::of(pairs)
}

/// px/up of one list of samples over another's, round by round.
pub fn measured_ratio(own: &[Sample], other: &Vec<Sample>) -> Option<Figure> {
    ratio(own, Some(other), px_up)
}

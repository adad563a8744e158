//! Closed loops: the workloads, each with each target in turn.

use crate::{
    load::{self, Aim, Burst, Gets, Meter, Profile, Proto, Watches},
    proc,
    results::{Cell, Measured, Sample},
    stats::{self, Figure},
    suite::{Fleet, Suite, Target},
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
    pub targets: &'static [Target],
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

fn plan(name: &'static str, unit: &'static str, work: Work, targets: &'static [Target]) -> Plan {
    Plan {
        name,
        unit,
        work,
        targets,
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
    let h1 = gets(Proto::H1, 64, 1, 10_000);
    let controller = gets(Proto::H2, 8, 8, 12_000);
    let kubectl = Gets {
        profile: Profile::Kubectl,
        ..gets(Proto::H2, 64, 1, 10_000)
    };
    let of = |name, gets| plan(name, "request", Work::Gets(gets), ALL);
    vec![
        of("get-h1", h1),
        of("get-h2-controller", controller.clone()),
        of("get-h2-kubectl", kubectl),
        plan(
            "get-h2-spread",
            "request",
            Work::Spread(controller),
            GATEWAYS,
        ),
        of("list-50k-h1", list(Proto::H1, 16, 1, 3_000, 50 << 10)),
        of("list-50k-h2", list(Proto::H2, 8, 8, 3_000, 50 << 10)),
        of("list-5m-h2", list(Proto::H2, 2, 2, 40, 5 << 20)),
        of("body-100m-h1", list(Proto::H1, 1, 1, 3, 100 << 20)),
        of("body-100m-h2", list(Proto::H2, 1, 1, 3, 100 << 20)),
    ]
}

/// Streams and connections.
fn long() -> Vec<Plan> {
    let watches = Watches {
        proto: Proto::H2,
        connections: 20,
        streams: 25,
        every: 100,
    };
    let events = Work::Watches(watches, Duration::from_secs(2));
    let forward = Work::Forward(200 << 20);
    vec![
        plan("exec-echo", "round trip", Work::Echo(64, 150), UPGRADES),
        plan("port-forward", "stream", forward, UPGRADES),
        plan("connect-h1", "connection", Work::Connects(8, 600), ALL),
        plan("discovery", "request", Work::Discovery(50), ALL),
        plan("watch-events", "event", events, ALL),
    ]
}

/// Runs the cells, round by round, targets in rotated order.
pub async fn run(suite: &Suite, fleet: &Fleet) -> Result<Vec<Cell>> {
    let mut cells = Vec::new();
    for plan in plans() {
        if suite
            .options
            .cell
            .as_ref()
            .is_some_and(|part| !plan.name.contains(part.as_str()))
        {
            continue;
        }
        eprintln!("cell {}", plan.name);
        let mut samples: Vec<Vec<Sample>> = plan.targets.iter().map(|_| Vec::new()).collect();
        for round in 0..suite.rounds {
            suite.settle()?;
            for turn in 0..plan.targets.len() {
                let at = (turn + round) % plan.targets.len();
                let sample = sample(suite, fleet, plan.targets[at], &plan.work, round)
                    .await
                    .with_context(|| format!("{} {}", plan.name, plan.targets[at].name()))?;
                samples[at].push(sample);
            }
            fleet.get(Kind::Gateway)?.trim()?;
        }
        cells.push(Cell {
            name: plan.name.to_owned(),
            unit: plan.unit,
            targets: measured(plan.targets, &samples),
        });
    }
    Ok(cells)
}

/// Marks the window of a burst, and reads what the kernel counted in it.
pub struct Window {
    proxy: Option<u32>,
    upstream: u32,
    began: Option<(Instant, u64, u64)>,
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

    fn read(&self) -> Result<(u64, u64)> {
        let proxy = self.proxy.map_or(Ok(0), proc::cpu_nanos)?;
        Ok((proxy, proc::cpu_nanos(self.upstream)?))
    }
}

impl Meter for Window {
    fn start(&mut self) -> Result<()> {
        let (proxy, upstream) = self.read()?;
        self.began = Some((Instant::now(), proxy, upstream));
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        let (began, proxy, upstream) = self.began.context("not started")?;
        let seconds = began.elapsed().as_secs_f64();
        let (proxy_now, upstream_now) = self.read()?;
        self.took = (seconds, proxy_now - proxy, upstream_now - upstream);
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
            let nginx = of(Kind::Nginx, Side::H1).filter(|_| target.side == Side::H1);
            let figure = |value: &dyn Fn(&Sample) -> f64| Figure::of(own.iter().map(value));
            Measured {
                target: target.name(),
                px_up: figure(&px_up),
                micros: figure(&|s| s.proxy as f64 / 1e3 / s.done as f64),
                upstream_micros: figure(&upstream_micros),
                rate: figure(&|s| s.done as f64 / s.seconds),
                latency: quantiles(own),
                mib_per_cpu_second: figure(&|s| {
                    s.bytes as f64 / f64::from(1 << 20) / (s.proxy as f64 / 1e9)
                }),
                handshakes: figure(&|s| s.handshakes as f64 / s.done as f64),
                vs_haproxy: ratio(own, haproxy, px_up),
                vs_nginx: ratio(own, nginx, px_up),
                vs_rp: ratio(own, rp, px_up),
                upstream_vs_haproxy: ratio(own, haproxy, upstream_micros),
                samples: own.clone(),
            }
        })
        .collect()
}

fn px_up(sample: &Sample) -> f64 {
    sample.proxy as f64 / sample.upstream as f64
}

fn upstream_micros(sample: &Sample) -> f64 {
    sample.upstream as f64 / 1e3 / sample.done as f64
}

fn quantiles(own: &[Sample]) -> Option<[Figure; 3]> {
    let figure = |at: usize| Figure::of(own.iter().map(|sample| sample.latency[at]));
    Some([figure(0)?, figure(1)?, figure(2)?])
}

/// Round by round.
pub fn ratio(
    own: &[Sample],
    other: Option<&Vec<Sample>>,
    value: fn(&Sample) -> f64,
) -> Option<Figure> {
    Figure::of(
        own.iter()
            .zip(other?)
            .map(|(own, other)| value(own) / value(other)),
    )
}

/// px/up of one list of samples over another's, round by round.
pub fn measured_ratio(own: &[Sample], other: &[Sample]) -> Option<Figure> {
    Figure::of(
        own.iter()
            .zip(other)
            .map(|(own, other)| px_up(own) / px_up(other)),
    )
}

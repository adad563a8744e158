//! Fixed rates: what a proxy adds to a direct request.

use crate::{
    cells::Window,
    load::{Paced, Proto, paced},
    results::Latency,
    stats::{Figure, micros},
    suite::{Fleet, Suite, Target},
    world::{Kind, Side},
};
use anyhow::{Context as _, Result};
use std::time::Duration;

const RATES: [f64; 2] = [1_000.0, 4_000.0];
/// p99 moves by two to ten times between runs, for a direct request too: its median needs many rounds.
const ROUNDS: usize = 9;

const fn target(kind: Kind, side: Side) -> Target {
    Target { kind, side }
}

const H1: &[Target] = &[
    target(Kind::Direct, Side::H1),
    target(Kind::HAProxy, Side::H1),
    target(Kind::Nginx, Side::H1),
    target(Kind::Rp, Side::H1),
    target(Kind::Gateway, Side::H1),
];
const H2: &[Target] = &[
    target(Kind::Direct, Side::H2),
    target(Kind::HAProxy, Side::H2),
    target(Kind::Rp, Side::H2),
    target(Kind::Gateway, Side::H2),
];

/// Microseconds of one round: p50, p90, p99, p99.9, and of the proxy's CPU.
type Round = [f64; 5];

/// Runs all rates.
pub async fn run(suite: &Suite, fleet: &Fleet) -> Result<Vec<Latency>> {
    let rounds = if suite.options.quick { 3 } else { ROUNDS };
    let mut all = Vec::new();
    for (proto, name, connections, targets) in
        [(Proto::H1, "h1", 64, H1), (Proto::H2, "h2", 16, H2)]
    {
        for rate in RATES {
            eprintln!("latency {name} {rate}/s");
            let mut found: Vec<Vec<Round>> = targets.iter().map(|_| Vec::new()).collect();
            for round in 0..rounds {
                suite.settle()?;
                for turn in 0..targets.len() {
                    let at = (turn + round) % targets.len();
                    let load = Paced {
                        proto,
                        connections,
                        rate,
                        seconds: 1.5,
                        path: "/api/v1/namespaces/default/pods/b1024".to_owned(),
                        bytes: 1024,
                        grace: Duration::from_secs(5),
                    };
                    found[at].push(one(suite, fleet, targets[at], &load).await?);
                }
                fleet.get(Kind::Gateway)?.trim()?;
            }
            for (at, target) in targets.iter().enumerate() {
                let made = figures(name, rate, *target, &found, at);
                all.push(made.context("no rounds")?);
            }
        }
    }
    Ok(all)
}

async fn one(suite: &Suite, fleet: &Fleet, target: Target, load: &Paced) -> Result<Round> {
    let aim = suite.aim(fleet, target)?;
    let proxy = match target.kind {
        Kind::Direct => None,
        kind => Some(fleet.get(kind)?.pid()),
    };
    let mut window = Window::new(proxy, suite.world.upstream(target.side).pid());
    let burst = paced(&aim, load, &mut window).await?.all_right()?;
    let [p50, p90, p99, p999] = micros(&burst.nanos, [0.5, 0.9, 0.99, 0.999]);
    let each = window.took.1 as f64 / 1e3 / burst.done as f64;
    Ok([p50, p90, p99, p999, each])
}

fn figures(
    proto: &str,
    rate: f64,
    target: Target,
    found: &[Vec<Round>],
    own: usize,
) -> Option<Latency> {
    let own = &found[own];
    // Both lists begin with direct and HAProxy.
    let (direct, haproxy) = (&found[0], &found[1]);
    let figure = |at: usize| Figure::of(own.iter().map(|round| round[at]));
    let added =
        |at: usize| {
            let rounds = own.iter().zip(direct).zip(haproxy);
            Figure::of(rounds.map(|((own, direct), haproxy)| {
                (own[at] - direct[at]) / (haproxy[at] - direct[at])
            }))
        };
    let proxied = target.kind != Kind::Direct;
    let p99 = Figure::of(
        own.iter()
            .zip(haproxy)
            .map(|(own, other)| own[2] / other[2]),
    );
    Some(Latency {
        proto: proto.to_owned(),
        rate,
        target: target.name(),
        p50: figure(0)?,
        p90: figure(1)?,
        p99: figure(2)?,
        p999: figure(3)?,
        added_vs_haproxy: proxied.then(|| Some([added(0)?, added(1)?])).flatten(),
        p99_vs_haproxy: p99.filter(|_| proxied),
        micros: figure(4).filter(|_| proxied),
    })
}

//! Fixed rates: what a proxy adds to a direct request.

use crate::{
    cells::Window,
    load::{Paced, Proto, paced},
    results::Latency,
    stats::{Figure, micros},
    suite::{FLEET, Fleet, Options, Suite, Target},
    world::{Kind, Side},
};
use anyhow::Result;
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

/// Connections and targets of each protocol of the client side.
const CLIENTS: [(Proto, &str, usize, &[Target]); 2] =
    [(Proto::H1, "h1", 64, H1), (Proto::H2, "h2", 16, H2)];
/// How long each is kept up.
const LENGTH: f64 = 1.2;
/// With connecting.
const SECONDS: f64 = LENGTH + 0.2;

/// One round of one target.
struct Taken {
    /// Which.
    round: usize,
    /// Microseconds: p50, p90, p99.
    quantiles: [f64; 3],
    /// Of the proxy's CPU a request.
    micros: f64,
    /// Each request.
    nanos: Vec<u64>,
}

/// Seconds that all of it is planned to take.
pub fn seconds(options: &Options) -> f64 {
    let targets: usize = CLIENTS.iter().map(|client| client.3.len()).sum();
    let round = (targets * RATES.len()) as f64 * SECONDS;
    options.rounds(ROUNDS) as f64 * (round + FLEET)
}

/// Runs all rates.
pub async fn run(suite: &Suite) -> Result<Vec<Latency>> {
    let rounds = suite.options.rounds(ROUNDS);
    let cells: Vec<_> = CLIENTS
        .iter()
        .flat_map(|client| RATES.map(|rate| (client, rate)))
        .collect();
    let mut found: Vec<Vec<Vec<Taken>>> = Vec::new();
    for ((_, _, _, targets), _) in &cells {
        found.push(targets.iter().map(|_| Vec::new()).collect());
    }
    for round in 0..rounds {
        let name = format!("fixed rates, round {} of {rounds}", round + 1);
        suite.progress.step(&format!("{name}: start"), FLEET);
        let fleet = Fleet::start(suite).await?;
        for ((client, rate), found) in cells.iter().zip(&mut found) {
            let (proto, client, connections, targets) = *client;
            suite.progress.step(
                &format!("{name}: {client}, {rate}/s"),
                SECONDS * targets.len() as f64,
            );
            suite.settle()?;
            for turn in 0..targets.len() {
                let at = (turn + round) % targets.len();
                let load = Paced {
                    proto: *proto,
                    connections: *connections,
                    rate: *rate,
                    seconds: LENGTH,
                    path: "/api/v1/namespaces/default/pods/b1024".to_owned(),
                    bytes: 1024,
                    grace: Duration::from_secs(5),
                };
                match one(suite, &fleet, targets[at], &load, round).await {
                    Ok(sample) => found[at].push(sample),
                    Err(error) => {
                        let target = targets[at].name();
                        suite.failed(&format!("{name}: {client}, {rate}/s {target}"), &error);
                    }
                }
            }
            fleet.trim()?;
        }
    }
    let mut all = Vec::new();
    for (((_, client, _, targets), rate), found) in cells.iter().zip(&found) {
        for (at, target) in targets.iter().enumerate() {
            all.extend(figures(client, *rate, *target, found, at));
        }
    }
    Ok(all)
}

async fn one(
    suite: &Suite,
    fleet: &Fleet,
    target: Target,
    load: &Paced,
    round: usize,
) -> Result<Taken> {
    let aim = suite.aim(fleet, target)?;
    let proxy = match target.kind {
        Kind::Direct => None,
        kind => Some(fleet.get(kind)?.pid()),
    };
    let mut window = Window::new(proxy, suite.world.upstream(target.side).pid());
    let burst = paced(&aim, load, &mut window).await?.all_right()?;
    Ok(Taken {
        round,
        quantiles: micros(&burst.nanos, [0.5, 0.9, 0.99]),
        micros: window.took.1 as f64 / 1e3 / burst.done as f64,
        nanos: burst.nanos,
    })
}

fn figures(
    proto: &str,
    rate: f64,
    target: Target,
    found: &[Vec<Taken>],
    own: usize,
) -> Option<Latency> {
    let own = &found[own];
    // Both lists begin with direct and HAProxy.
    let (direct, haproxy) = (&found[0], &found[1]);
    let figure = |at: usize| Figure::of(own.iter().map(|round| round.quantiles[at]));
    let of = |list: &'_ [Taken], round: usize, at: usize| {
        let found = list.iter().find(|found| found.round == round);
        found.map(|found| found.quantiles[at])
    };
    let added = |at: usize| {
        Figure::of(own.iter().filter_map(|own| {
            let direct = of(direct, own.round, at)?;
            let haproxy = of(haproxy, own.round, at)?;
            Some((own.quantiles[at] - direct) / (haproxy - direct))
        }))
    };
    let proxied = target.kind != Kind::Direct;
    let p99 = Figure::of(own.iter().filter_map(|own| {
        let haproxy = of(haproxy, own.round, 2)?;
        Some(own.quantiles[2] / haproxy)
    }));
    let all: Vec<u64> = own.iter().flat_map(|round| &round.nanos).copied().collect();
    let [p999] = micros(&all, [0.999]);
    Some(Latency {
        proto: proto.to_owned(),
        rate,
        target: target.name(),
        p50: figure(0)?,
        p90: figure(1)?,
        p99: figure(2)?,
        p999,
        added_vs_haproxy: proxied.then(|| Some([added(0)?, added(1)?])).flatten(),
        p99_vs_haproxy: p99.filter(|_| proxied),
        micros: Figure::of(own.iter().map(|round| round.micros)).filter(|_| proxied),
    })
}

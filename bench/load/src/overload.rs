//! More load than can be carried, small requests beside bulk, and strangers beside people.

use crate::{
    cells::{Window, Work, perform},
    load::{Burst, Gets, Paced, Profile, Proto, closed, flood, paced},
    results::Overload,
    stats::{Figure, micros},
    suite::{Fleet, Suite, Target},
    upstream,
    world::{Kind, Side},
};
use anyhow::Result;
use std::{collections::BTreeMap, time::Duration};

const POD: &str = "/api/v1/namespaces/default/pods/b1024";
/// The proxies that are overloaded.
const TARGETS: [(Kind, Side); 5] = [
    (Kind::HAProxy, Side::H1),
    (Kind::HAProxy, Side::H2),
    (Kind::Rp, Side::H2),
    (Kind::Gateway, Side::H1),
    (Kind::Gateway, Side::H2),
];
const ROUNDS: usize = 5;

type Round = BTreeMap<&'static str, f64>;

/// All three.
pub async fn run(suite: &Suite, fleet: &Fleet) -> Result<Vec<Overload>> {
    let rounds = if suite.options.quick { 2 } else { ROUNDS };
    let mut all = Vec::new();
    for what in ["1.3 x capacity", "500/s beside bulk"] {
        eprintln!("overload: {what}");
        let mut found: Vec<Vec<Round>> = TARGETS.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            suite.settle()?;
            for turn in 0..TARGETS.len() {
                let at = (turn + round) % TARGETS.len();
                let (kind, side) = TARGETS[at];
                let target = Target { kind, side };
                found[at].push(if what == "1.3 x capacity" {
                    too_much(suite, fleet, target).await?
                } else {
                    beside_bulk(suite, fleet, target).await?
                });
            }
            fleet.get(Kind::Gateway)?.trim()?;
        }
        for ((kind, side), rounds) in TARGETS.iter().zip(&found) {
            let (kind, side) = (*kind, *side);
            all.push(summed(what, Target { kind, side }.name(), rounds));
        }
    }
    eprintln!("overload: flood");
    let mut found = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        suite.settle()?;
        for (rounds, flooded) in found.iter_mut().zip([Flood::No, Flood::Yes]) {
            rounds.push(beside_flood(suite, fleet, flooded).await?);
        }
        fleet.get(Kind::Gateway)?.trim()?;
    }
    for (what, rounds) in ["500/s alone", "500/s beside a flood of unknown tokens"]
        .into_iter()
        .zip(&found)
    {
        all.push(summed(what, "gateway>h2".to_owned(), rounds));
    }
    Ok(all)
}

fn summed(what: &str, target: String, rounds: &[Round]) -> Overload {
    let names = rounds.first().into_iter().flat_map(BTreeMap::keys);
    Overload {
        what: what.to_owned(),
        target,
        figures: names
            .filter_map(|&name| {
                let values = rounds.iter().filter_map(|round| round.get(name).copied());
                Some((name, Figure::of(values)?))
            })
            .collect(),
    }
}

fn small(rate: f64, seconds: f64) -> Paced {
    Paced {
        proto: Proto::H2,
        connections: 16,
        rate,
        seconds,
        path: POD.to_owned(),
        bytes: 1024,
        grace: Duration::from_secs(5),
    }
}

async fn too_much(suite: &Suite, fleet: &Fleet, target: Target) -> Result<Round> {
    let aim = suite.aim(fleet, target)?;
    let upstream = suite.world.upstream(target.side);
    let pid = fleet.get(target.kind)?.pid();
    let window = || Window::new(Some(pid), upstream.pid());
    let mut closed_window = window();
    let work = Work::Gets(gets(Proto::H2, 16, 8, 12_000, POD, 1024));
    let burst = perform(&aim, &work, &mut closed_window).await?;
    let capacity = burst.done as f64 / closed_window.took.0;
    let (handshakes, _) = upstream::counts(upstream.control).await?;
    let mut open_window = window();
    let burst = paced(&aim, &small(capacity * 1.3, 3.0), &mut open_window).await?;
    let (handshakes_after, _) = upstream::counts(upstream.control).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = paced(&aim, &small(capacity * 0.1, 1.0), &mut window()).await?;
    let [p50] = micros(&after.nanos, [0.5]);
    Ok(BTreeMap::from([
        ("capacity/s", capacity),
        ("served/s", burst.done as f64 / open_window.took.0),
        (
            "served share",
            burst.done as f64 / open_window.took.0 / capacity,
        ),
        ("429", burst.too_many as f64),
        ("failed", (burst.wrong - burst.too_many) as f64),
        (
            "new upstream connections",
            (handshakes_after - handshakes) as f64,
        ),
        ("p50 us two seconds later", p50),
    ]))
}

fn gets(
    proto: Proto,
    connections: usize,
    streams: usize,
    requests: usize,
    path: &str,
    bytes: usize,
) -> Gets {
    Gets {
        proto,
        connections,
        streams,
        requests,
        profile: Profile::Controller,
        path: path.to_owned(),
        bytes,
    }
}

async fn beside_bulk(suite: &Suite, fleet: &Fleet, target: Target) -> Result<Round> {
    let aim = suite.aim(fleet, target)?;
    let upstream = suite.world.upstream(target.side).pid();
    let mut window = Window::new(Some(fleet.get(target.kind)?.pid()), upstream);
    let list = format!("/api/v1/namespaces/default/pods?limit={}", 100 << 20);
    let bulk = gets(Proto::H2, 2, 1, usize::MAX, &list, 100 << 20);
    let mut unmeasured = Window::new(None, upstream);
    let burst: Burst = tokio::select! {
        burst = async {
            // Once the bulk flows.
            tokio::time::sleep(Duration::from_millis(300)).await;
            paced(&aim, &small(500.0, 2.0), &mut window).await
        } => burst?,
        ended = closed(&aim, &bulk, &mut unmeasured) => {
            ended?;
            anyhow::bail!("the bulk ended");
        }
    };
    let [p50, p99] = micros(&burst.nanos, [0.5, 0.99]);
    Ok(BTreeMap::from([
        ("p50 us", p50),
        ("p99 us", p99),
        ("failed", burst.wrong as f64),
    ]))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flood {
    No,
    Yes,
}

async fn beside_flood(suite: &Suite, fleet: &Fleet, of: Flood) -> Result<Round> {
    let target = Target {
        kind: Kind::Gateway,
        side: Side::H2,
    };
    let aim = suite.aim(fleet, target)?;
    let upstream = suite.world.upstream(target.side).pid();
    let mut window = Window::new(Some(fleet.get(target.kind)?.pid()), upstream);
    let length = Duration::from_millis(2300);
    let strangers = async {
        match of {
            Flood::No => Ok(Burst::default()),
            Flood::Yes => {
                let gateway = fleet.get(Kind::Gateway)?.gateway.as_ref();
                let unknown = gateway.map(|gateway| gateway.strangers.clone());
                flood(&aim, unknown.unwrap_or_default(), 16, length).await
            }
        }
    };
    let people = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        paced(&aim, &small(500.0, 2.0), &mut window).await
    };
    let (strangers, people) = tokio::join!(strangers, people);
    let (strangers, people) = (strangers?, people?);
    let [p50, p99] = micros(&people.nanos, [0.5, 0.99]);
    Ok(BTreeMap::from([
        ("p50 us", p50),
        ("p99 us", p99),
        ("failed", people.wrong as f64),
        (
            "strangers refused/s",
            (strangers.wrong as f64) / length.as_secs_f64(),
        ),
        ("strangers let in", strangers.done as f64),
    ]))
}

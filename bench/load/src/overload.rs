//! More load than can be carried, small requests beside bulk, and strangers beside people.

use crate::{
    cells::{Window, Work, perform},
    load::{Burst, Gets, Paced, Profile, Proto, closed, flood, paced},
    results::Overload,
    stats::{Figure, micros},
    suite::{FLEET, Fleet, Options, Suite, Target},
    upstream,
    world::{Kind, Side},
};
use anyhow::Result;
use std::{collections::BTreeMap, time::Duration};

const POD: &str = "/api/v1/namespaces/default/pods/b1024";
/// The proxies that are overloaded.
const TARGETS: [(Kind, Side); 6] = [
    (Kind::HAProxy, Side::H1),
    (Kind::HAProxy, Side::H2),
    (Kind::Rp, Side::H1),
    (Kind::Rp, Side::H2),
    (Kind::Gateway, Side::H1),
    (Kind::Gateway, Side::H2),
];
const ROUNDS: usize = 3;
/// Share of the capacity that is asked for before and after.
const CALM: f64 = 0.1;
/// What each is planned to take, for one target (seconds).
const TOO_MUCH: f64 = 8.0;
/// See [`TOO_MUCH`].
const BULK: f64 = 3.0;
/// Both, without and with the flood.
const FLOOD: f64 = 5.5;

/// Names of the parts, as the table has them.
pub const OVER: &str = "1.3 x capacity";
/// See [`OVER`].
pub const BESIDE_BULK: &str = "500/s beside bulk";
const ALONE: &str = "500/s alone";
const BESIDE_FLOOD: &str = "500/s beside a flood of unknown tokens";

/// `None`: it failed.
type Round = Option<Figures>;
type Figures = BTreeMap<String, f64>;

/// Seconds that all of it is planned to take.
pub fn seconds(options: &Options) -> f64 {
    let round = TARGETS.len() as f64 * (TOO_MUCH + BULK) + FLOOD + FLEET;
    options.rounds(ROUNDS) as f64 * round
}

/// All three.
pub async fn run(suite: &Suite) -> Result<Vec<Overload>> {
    let rounds = suite.options.rounds(ROUNDS);
    let mut over: Vec<Vec<Round>> = TARGETS.iter().map(|_| Vec::new()).collect();
    let mut bulk = over.clone();
    let mut flood = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        let name = format!("overload, round {} of {rounds}", round + 1);
        suite.progress.step(&format!("{name}: start"), FLEET);
        let fleet = Fleet::start(suite).await?;
        for (what, seconds) in [(OVER, TOO_MUCH), (BESIDE_BULK, BULK)] {
            let seconds = seconds * TARGETS.len() as f64;
            suite.progress.step(&format!("{name}: {what}"), seconds);
            suite.settle()?;
            for turn in 0..TARGETS.len() {
                let at = (turn + round) % TARGETS.len();
                let (kind, side) = TARGETS[at];
                let target = Target { kind, side };
                let (found, list) = if what == OVER {
                    (too_much(suite, &fleet, target).await, &mut over)
                } else {
                    (beside_bulk(suite, &fleet, target).await, &mut bulk)
                };
                list[at].push(kept(
                    suite,
                    &format!("{name}: {what} {}", target.name()),
                    found,
                ));
            }
            fleet.trim()?;
        }
        suite
            .progress
            .step(&format!("{name}: {BESIDE_FLOOD}"), FLOOD);
        suite.settle()?;
        for (rounds, flooded) in flood.iter_mut().zip([Flood::No, Flood::Yes]) {
            let found = beside_flood(suite, &fleet, flooded).await;
            rounds.push(kept(suite, &format!("{name}: {BESIDE_FLOOD}"), found));
        }
    }
    over_haproxy(&mut bulk, "p99 us", "p99 over HAProxy's");
    let mut all = Vec::new();
    for (what, found) in [(OVER, over), (BESIDE_BULK, bulk)] {
        for ((kind, side), rounds) in TARGETS.into_iter().zip(&found) {
            all.push(summed(what, Target { kind, side }.name(), rounds));
        }
    }
    for (what, rounds) in [ALONE, BESIDE_FLOOD].into_iter().zip(&flood) {
        all.push(summed(what, "gateway>h2".to_owned(), rounds));
    }
    Ok(all)
}

/// Adds a figure over that of HAProxy with the same upstream protocol, round by round.
fn over_haproxy(found: &mut [Vec<Round>], name: &str, made: &str) {
    for (at, (_, side)) in TARGETS.iter().enumerate() {
        let haproxy = (Kind::HAProxy, *side);
        let Some(other) = TARGETS.iter().position(|target| *target == haproxy) else {
            continue;
        };
        for round in 0..found[at].len() {
            let Some(haproxy) = found[other][round].as_ref().map(|figures| figures[name]) else {
                continue;
            };
            if let Some(figures) = &mut found[at][round] {
                figures.insert(made.to_owned(), figures[name] / haproxy);
            }
        }
    }
}

fn summed(what: &str, target: String, rounds: &[Round]) -> Overload {
    let rounds: Vec<&Figures> = rounds.iter().flatten().collect();
    let names = rounds.first().into_iter().flat_map(|round| round.keys());
    Overload {
        what: what.to_owned(),
        target,
        figures: names
            .filter_map(|name| {
                let values = rounds.iter().filter_map(|round| round.get(name).copied());
                Some((name.clone(), Figure::of(values)?))
            })
            .collect(),
    }
}

fn kept(suite: &Suite, what: &str, found: Result<Figures>) -> Round {
    found.map_err(|error| suite.failed(what, &error)).ok()
}

fn figures<const N: usize>(figures: [(&str, f64); N]) -> Figures {
    figures
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
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

async fn too_much(suite: &Suite, fleet: &Fleet, target: Target) -> Result<Figures> {
    let aim = suite.aim(fleet, target)?;
    let upstream = suite.world.upstream(target.side);
    let pid = fleet.get(target.kind)?.pid();
    let window = || Window::new(Some(pid), upstream.pid());
    let mut closed_window = window();
    let work = Work::Gets(gets(Proto::H2, 16, 8, 12_000, POD, 1024));
    let burst = perform(&aim, &work, &mut closed_window).await?;
    let capacity = burst.done as f64 / closed_window.took.0;
    let before = paced(&aim, &small(capacity * CALM, 1.0), &mut window()).await?;
    let (handshakes, _) = upstream::counts(upstream.control).await?;
    let mut open_window = window();
    let burst = paced(&aim, &small(capacity * 1.3, 2.0), &mut open_window).await?;
    let (handshakes_after, _) = upstream::counts(upstream.control).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = paced(&aim, &small(capacity * CALM, 1.0), &mut window()).await?;
    let ([before], [after]) = (micros(&before.nanos, [0.5]), micros(&after.nanos, [0.5]));
    let served = burst.done as f64 / open_window.took.0;
    Ok(figures([
        ("capacity/s", capacity),
        ("served/s", served),
        ("served share", served / capacity),
        ("429", burst.too_many as f64),
        ("failed", (burst.wrong - burst.too_many) as f64),
        (
            "new upstream connections",
            (handshakes_after - handshakes) as f64,
        ),
        ("p50 two seconds later over before", after / before),
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

async fn beside_bulk(suite: &Suite, fleet: &Fleet, target: Target) -> Result<Figures> {
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
    Ok(figures([
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

async fn beside_flood(suite: &Suite, fleet: &Fleet, of: Flood) -> Result<Figures> {
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
    Ok(figures([
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

//! Large stores beside small ones: a request must not pay for what others have.

use crate::{
    cells::{Window, measured_ratio},
    load::{Aim, Gets, Meter as _, Profile, Proto, closed},
    proc,
    results::{Growth, Sample},
    stats::Figure,
    suite::{Options, Suite},
    world::{Proxy, Side, Sizes, prefixes},
};
use anyhow::{Context as _, Result};
use http::HeaderValue;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

mod cold;
mod effect;

/// Bindings, and groups, of the one user who has many.
const HEAVY: usize = 4_000;

const SMALL: Sizes = Sizes {
    users: 1_000,
    tokens: 1_000,
    bindings: 1_000,
    clusters: 10,
};

fn large(suite: &Suite) -> Sizes {
    if suite.options.quick {
        Sizes {
            users: 5_000,
            tokens: 100_000,
            bindings: 100_000,
            clusters: 200,
        }
    } else {
        Sizes {
            users: 20_000,
            tokens: 1_000_000,
            bindings: 1_000_000,
            clusters: 2_000,
        }
    }
}

/// Rounds of a comparison, beside twelve of the main cells.
const ROUNDS: usize = 8;
/// How long both are watched before each burst while nobody asks anything.
const IDLE: Duration = Duration::from_secs(1);
/// Requests of a burst: each of twenty thousand users is met twice, as within two seconds of load. In a shorter one after
/// [`IDLE`] the large store would be judged by its users' first request after a pause, and the small one, whose users are
/// met again at once, would not.
const REQUESTS: usize = 40_000;
/// One round of a comparison.
const ROUND: f64 = 6.0;
/// Changes of one kind.
const EFFECTS: f64 = 5.0;
/// A store of ordinary size: filled, loaded, its clusters probed.
const SMALL_STORE: f64 = 6.0;
/// The same, for a million things.
const MILLION: f64 = 30.0;

/// Seconds that all of it is planned to take.
pub fn seconds(options: &Options) -> f64 {
    let stores = 2.0 * SMALL_STORE + 4.0 * million(options);
    stores + 4.0 * options.rounds(ROUNDS) as f64 * ROUND + 2.0 * EFFECTS
}

fn million(options: &Options) -> f64 {
    SMALL_STORE + if options.quick { 0.1 } else { 1.0 } * MILLION
}

/// Measures everything.
pub async fn run(suite: &Suite, found: &mut Vec<Growth>) -> Result<()> {
    memory(suite, found).await?;
    let small = start(suite, "small", SMALL, 10, SMALL_STORE, found).await?;
    let seconds = 2.0 * million(&suite.options);
    let big = start(suite, "large", large(suite), HEAVY, seconds, found).await?;
    let resident = resident(&big)? / f64::from(1 << 20);
    found.push(one("memory of the large one", resident, "MiB"));
    let mut chase = cold::Chase::new();
    let mut cold = vec![chase.read()];
    for side in [Side::H1, Side::H2] {
        let of = |proxy: &Proxy| aim(suite, proxy, side, None);
        let pair = [(&big, of(&big)?), (&small, of(&small)?)];
        let what = format!("px/up, large over small, {side:?} upstream");
        found.push(compared(suite, side, what, &pair).await?);
        cold.extend([chase.read(), chase.read()]);
    }
    drop(chase);
    found.push(Growth {
        what: "a read that no cache holds, on this machine and at this hour".to_owned(),
        figure: Figure::of(cold).unwrap_or_default(),
        unit: "ns".to_owned(),
    });
    let gateway = big.gateway.as_ref().context("a gateway")?;
    let ordinary = gateway.tokens[..1].to_vec();
    for (what, token) in [
        (
            "px/up, user with 4,000 bindings over ordinary",
            &gateway.heavy,
        ),
        ("px/up, user in 4,000 groups over ordinary", &gateway.crowd),
    ] {
        let many = aim(suite, &big, Side::H1, Some(vec![token.clone()]))?;
        let few = aim(suite, &big, Side::H1, Some(ordinary.clone()))?;
        let pair = [(&big, many), (&big, few)];
        found.push(compared(suite, Side::H1, what.to_owned(), &pair).await?);
    }
    found.extend(effect::run(suite, &big).await?);
    Ok(())
}

/// Bytes of a token and of a binding: a store with many of them, less one with one for each user.
async fn memory(suite: &Suite, found: &mut Vec<Growth>) -> Result<()> {
    let large = large(suite);
    let seconds = million(&suite.options);
    let users = Sizes {
        users: large.users,
        tokens: large.users,
        bindings: large.users,
        ..SMALL
    };
    let tokens = Sizes {
        tokens: large.tokens,
        ..users
    };
    let bindings = Sizes {
        bindings: large.bindings,
        ..users
    };
    let mut sizes = Vec::new();
    for (name, of, seconds) in [
        ("users", users, SMALL_STORE),
        ("tokens", tokens, seconds),
        ("bindings", bindings, seconds),
    ] {
        let proxy = start(suite, name, of, 10, seconds, found).await?;
        sizes.push(resident(&proxy)?);
        drop(proxy);
        std::fs::remove_dir_all(suite.world.folder.join("growth").join(name))?;
    }
    let each = |at: usize, count| (sizes[at] - sizes[0]) / (count - large.users) as f64;
    found.push(one("memory of a token", each(1, large.tokens), "bytes"));
    found.push(one("memory of a binding", each(2, large.bindings), "bytes"));
    Ok(())
}

fn one(what: &str, value: f64, unit: &str) -> Growth {
    Growth {
        what: what.to_owned(),
        figure: Figure::of([value]).unwrap_or_default(),
        unit: unit.to_owned(),
    }
}

fn resident(proxy: &Proxy) -> Result<f64> {
    Ok(proc::resident(proxy.pid())? as f64)
}

async fn start(
    suite: &Suite,
    name: &str,
    sizes: Sizes,
    heavy: usize,
    seconds: f64,
    found: &mut Vec<Growth>,
) -> Result<Proxy> {
    suite
        .progress
        .step(&format!("growth: the {name} store"), seconds);
    let store = suite.world.seed(&format!("growth/{name}"), sizes, heavy)?;
    let began = Instant::now();
    let proxy = suite.world.gateway(&store, None)?;
    found.push(Growth {
        what: format!("start of the {name} store"),
        figure: Figure::of([began.elapsed().as_secs_f64()]).unwrap_or_default(),
        unit: "s".to_owned(),
    });
    let seconds = proxy.at_rest().await?;
    found.push(one(
        &format!("until the {name} store's gateway is at rest"),
        seconds,
        "s",
    ));
    Ok(proxy)
}

fn aim(suite: &Suite, proxy: &Proxy, side: Side, tokens: Option<Vec<HeaderValue>>) -> Result<Aim> {
    let gateway = proxy.gateway.as_ref().context("a gateway")?;
    let tokens = tokens.map_or_else(|| Arc::clone(&gateway.tokens), Arc::new);
    let mut of = prefixes(side, 2);
    of.truncate(1);
    let address = proxy.address(side).context("no address")?;
    suite.world.aim(address, &tokens, of)
}

/// What both processes do by themselves: a gateway looks after its clusters.
async fn idle(window: &mut Window) -> Result<(f64, u64, u64)> {
    window.start()?;
    tokio::time::sleep(IDLE).await;
    window.stop()?;
    Ok(window.took)
}

/// The CPU time of both in a burst, less what they would have taken without it.
fn less(took: (f64, u64, u64), idle: (f64, u64, u64)) -> (u64, u64) {
    let share = took.0 / idle.0;
    let less = |took: u64, idle: u64| took.saturating_sub((idle as f64 * share) as u64);
    (less(took.1, idle.1), less(took.2, idle.2))
}

/// px/up of the first over the second, round by round. It is about requests: what a gateway does by itself is left out.
async fn compared(
    suite: &Suite,
    side: Side,
    what: String,
    pair: &[(&Proxy, Aim); 2],
) -> Result<Growth> {
    let gets = Gets {
        proto: Proto::H1,
        connections: 64,
        streams: 1,
        requests: REQUESTS,
        profile: Profile::Controller,
        path: "/api/v1/namespaces/default/pods/b1024".to_owned(),
        bytes: 1024,
    };
    let mut samples = [Vec::new(), Vec::new()];
    let rounds = suite.options.rounds(ROUNDS);
    let seconds = ROUND * rounds as f64;
    suite.progress.step(&format!("growth: {what}"), seconds);
    for round in 0..rounds {
        suite.settle()?;
        for turn in 0..2 {
            let at = (turn + round) % 2;
            let (proxy, aim) = &pair[at];
            let aim = aim.drawn(gets.requests);
            let upstream = suite.world.upstream(side).pid();
            let mut window = Window::new(Some(proxy.pid()), upstream);
            let idle = idle(&mut window).await?;
            let burst = closed(&aim, &gets, &mut window).await?;
            let (seconds, ..) = window.took;
            let (proxy_nanos, upstream) = less(window.took, idle);
            samples[at].push(Sample {
                round,
                done: burst.done,
                seconds,
                proxy: proxy_nanos,
                upstream,
                bytes: burst.bytes,
                handshakes: 0,
                latency: [0.0; 3],
            });
            proxy.trim()?;
        }
    }
    let figure = measured_ratio(&samples[0], &samples[1]);
    Ok(Growth {
        what,
        figure: figure.context("no rounds")?,
        unit: "ratio".to_owned(),
    })
}

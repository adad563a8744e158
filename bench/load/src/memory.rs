//! Resident memory of what idles: a fresh process for each figure, since no proxy gives memory back soon.

use crate::{
    cells::PATIENCE,
    load::{self, Aim, Proto, Watches, hold, idle},
    proc,
    results::Memory,
    suite::{Suite, Target},
    world::{Kind, Proxy, Side, prefixes},
};
use anyhow::{Context as _, Result};
use std::time::Duration;
use tokio::time::timeout;

const TARGETS: [(Kind, Side); 7] = [
    (Kind::HAProxy, Side::H1),
    (Kind::Nginx, Side::H1),
    (Kind::Rp, Side::H1),
    (Kind::Gateway, Side::H1),
    (Kind::HAProxy, Side::H2),
    (Kind::Rp, Side::H2),
    (Kind::Gateway, Side::H2),
];

/// What idles.
#[derive(Clone, Copy)]
enum What {
    /// Connections after their handshake.
    Bare,
    /// Connections after one small GET.
    AfterGet(Proto),
    /// Connections after one list of 50 KiB.
    AfterList(Proto),
    /// Watches, so many on a connection.
    Watch(Proto, usize),
}

impl What {
    fn name(self) -> String {
        let proto = |proto| if proto == Proto::H1 { "h1" } else { "h2" };
        match self {
            Self::Bare => "idle connection, handshake only".to_owned(),
            Self::AfterGet(of) => format!("idle connection after 1 KiB, {}", proto(of)),
            Self::AfterList(of) => format!("idle connection after a 50 KiB list, {}", proto(of)),
            Self::Watch(of, streams) => {
                format!("idle watch, {}, {streams} a connection", proto(of))
            }
        }
    }
}

const ALL: [What; 7] = [
    What::Bare,
    What::AfterGet(Proto::H1),
    What::AfterGet(Proto::H2),
    What::AfterList(Proto::H2),
    What::Watch(Proto::H1, 1),
    What::Watch(Proto::H2, 1),
    What::Watch(Proto::H2, 50),
];

/// How many idle.
const COUNT: usize = 2_000;
/// One figure: a start, two thousand connections, and the end.
const SECONDS: f64 = 4.0;

/// Seconds that all of it is planned to take.
pub fn seconds() -> f64 {
    SECONDS * (ALL.len() * TARGETS.len()) as f64
}

/// Measures all.
pub async fn run(suite: &Suite) -> Result<Vec<Memory>> {
    let mut all = Vec::new();
    for what in ALL {
        let name = format!("memory: {}", what.name());
        suite.progress.step(&name, SECONDS * TARGETS.len() as f64);
        for (kind, side) in TARGETS {
            let name = Target { kind, side }.name();
            let found = timeout(PATIENCE, one(suite, kind, side, what, COUNT)).await;
            let found = found.context("it hangs").flatten();
            match found {
                Ok(found) => all.push(found),
                Err(error) => suite.failed(&format!("memory: {} {name}", what.name()), &error),
            }
        }
    }
    Ok(all)
}

async fn one(suite: &Suite, kind: Kind, side: Side, what: What, count: usize) -> Result<Memory> {
    let proxy = match kind {
        Kind::HAProxy => suite.world.haproxy()?,
        Kind::Nginx => suite.world.nginx()?,
        Kind::Rp | Kind::Direct | Kind::Before => suite.world.rp(None)?,
        Kind::Gateway => suite.world.gateway(&suite.store, None)?,
    };
    proxy.at_rest().await?;
    let aim = aim(suite, &proxy, side)?;
    // What is allocated once is no connection's.
    load::warm(&aim).await?;
    let before = resident(&proxy).await?;
    let list = "/api/v1/namespaces/default/pods?limit=51200";
    let get = "/api/v1/namespaces/default/pods/b1024";
    let after = match what {
        What::Bare => kept(&proxy, idle(&aim, Proto::H1, count, None).await?).await?,
        What::AfterGet(proto) => kept(&proxy, idle(&aim, proto, count, Some(get)).await?).await?,
        What::AfterList(proto) => kept(&proxy, idle(&aim, proto, count, Some(list)).await?).await?,
        What::Watch(proto, streams) => {
            let watches = Watches {
                proto,
                connections: count / streams,
                streams,
                every: 0,
            };
            kept(&proxy, hold(&aim, watches).await?).await?
        }
    };
    Ok(Memory {
        what: what.name(),
        target: Target { kind, side }.name(),
        base_mib: before as f64 / f64::from(1 << 20),
        kib_each: after.saturating_sub(before) as f64 / 1024.0 / count as f64,
    })
}

/// Resident memory while something is held.
async fn kept(proxy: &Proxy, held: impl Sized) -> Result<u64> {
    let found = resident(proxy).await;
    drop(held);
    found
}

/// After a moment in which the last bytes settle.
async fn resident(proxy: &Proxy) -> Result<u64> {
    tokio::time::sleep(Duration::from_millis(500)).await;
    proc::resident(proxy.pid())
}

fn aim(suite: &Suite, proxy: &Proxy, side: Side) -> Result<Aim> {
    let mut of = prefixes(side, 2);
    of.truncate(1);
    let address = proxy.address(side).context("no address")?;
    suite.world.aim(address, &suite.tokens, of)
}

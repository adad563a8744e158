//! Counts without noise: system calls and allocations of a request.

use crate::{
    load::{Aim, Gets, Meter, Profile, Proto, closed},
    proc::{self, Syscalls},
    results::Counter,
    suite::{Fleet, Suite, Target},
    world::{Kind, Proxy, Side, prefixes},
};
use anyhow::{Context as _, Result};
use std::{io::Read as _, net::Ipv4Addr, path::Path};

/// Protocol of the client side, connections, streams, and the name.
const LOADS: [(Proto, usize, usize, &str); 3] = [
    (Proto::H1, 1, 1, "h1 1x1"),
    (Proto::H1, 64, 1, "h1 64x1"),
    (Proto::H2, 8, 8, "h2 8x8"),
];
/// Enough for a tenth of a call to show, and for what a timer does to vanish.
const REQUESTS: usize = 10_000;

/// What both are planned to take.
pub const SECONDS: f64 = 60.0;

/// Counts both.
pub async fn run(suite: &Suite) -> Result<Vec<Counter>> {
    let mut all = syscalls(suite).await?;
    all.extend(allocations(suite).await?);
    Ok(all)
}

fn gets(proto: Proto, connections: usize, streams: usize) -> Gets {
    Gets {
        proto,
        connections,
        streams,
        requests: REQUESTS,
        profile: Profile::Controller,
        path: "/api/v1/namespaces/default/pods/b1024".to_owned(),
        bytes: 1024,
    }
}

struct Calls<'a> {
    pid: u32,
    folder: &'a Path,
    counting: Option<Syscalls>,
    count: u64,
}

impl Meter for Calls<'_> {
    fn start(&mut self) -> Result<()> {
        self.counting = Some(Syscalls::attach(self.pid, self.folder)?);
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        let counting = self.counting.take().context("not started")?;
        self.count = counting.count()?;
        Ok(())
    }
}

async fn syscalls(suite: &Suite) -> Result<Vec<Counter>> {
    suite.progress.step("system calls", SECONDS * 0.6);
    let fleet = Fleet::start(suite).await?;
    let targets = [
        (Kind::HAProxy, Side::H1),
        (Kind::Nginx, Side::H1),
        (Kind::Rp, Side::H1),
        (Kind::Gateway, Side::H1),
        (Kind::HAProxy, Side::H2),
        (Kind::Rp, Side::H2),
        (Kind::Gateway, Side::H2),
    ];
    let mut all = Vec::new();
    for (proto, connections, streams, name) in LOADS {
        for (kind, side) in targets {
            let target = Target { kind, side };
            let aim = suite.aim(&fleet, target)?;
            let mut calls = Calls {
                pid: fleet.get(kind)?.pid(),
                folder: &suite.world.folder,
                counting: None,
                count: 0,
            };
            let burst = closed(&aim, &gets(proto, connections, streams), &mut calls).await?;
            all.push(Counter {
                what: "system calls".to_owned(),
                load: name.to_owned(),
                target: target.name(),
                each: calls.count as f64 / burst.done as f64,
            });
        }
    }
    Ok(all)
}

struct Allocations {
    port: u16,
    before: u64,
    count: u64,
}

impl Allocations {
    fn read(&self) -> Result<u64> {
        let mut stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let first = text.split(' ').next().context("no counts")?;
        Ok(first.parse()?)
    }
}

impl Meter for Allocations {
    fn start(&mut self) -> Result<()> {
        self.before = self.read()?;
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        self.count = self.read()? - self.before;
        Ok(())
    }
}

async fn allocations(suite: &Suite) -> Result<Vec<Counter>> {
    let mut all = Vec::new();
    suite.progress.step("allocations", SECONDS * 0.4);
    for kind in [Kind::Rp, Kind::Gateway] {
        let port = proc::free_port()?;
        let proxy = match kind {
            Kind::Rp => suite.world.rp(Some(port))?,
            _ => suite.world.gateway(&suite.store, Some(port))?,
        };
        proxy.at_rest().await?;
        for (proto, connections, streams, name) in LOADS {
            for side in [Side::H1, Side::H2] {
                let aim = aim(suite, &proxy, side)?;
                let mut counting = Allocations {
                    port,
                    before: 0,
                    count: 0,
                };
                let gets = gets(proto, connections, streams);
                let burst = closed(&aim, &gets, &mut counting).await?;
                all.push(Counter {
                    what: "allocations".to_owned(),
                    load: name.to_owned(),
                    target: Target { kind, side }.name(),
                    each: counting.count as f64 / burst.done as f64,
                });
            }
        }
    }
    Ok(all)
}

fn aim(suite: &Suite, proxy: &Proxy, side: Side) -> Result<Aim> {
    let mut of = prefixes(side, 2);
    of.truncate(1);
    let address = proxy.address(side).context("no address")?;
    suite.world.aim(address, &suite.tokens, of)
}

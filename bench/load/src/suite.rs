//! One run: the world is started, every part measures, the results are written.

use crate::{
    apiserver, cells, counters, goals, growth, latency, memory, overload, picture, proc, report,
    results::{Machine, Results},
    stats::Figure,
    world::{Kind, Programs, Proxy, Side, Sizes, World},
};
use anyhow::{Context as _, Result};
use http::HeaderValue;
use std::{collections::BTreeMap, fs, path::PathBuf, process::Command, sync::Arc, time::Duration};

/// Marks of the table in a document.
const BEGIN: &str = "<!-- bench: begin -->";
/// Above the table in the document: there is a picture once there is a run.
const PICTURE: &str =
    "![CPU of the proxy over CPU of the upstream](../bench/results/results.svg)\n\n";
/// See [`BEGIN`].
const END: &str = "<!-- bench: end -->";

/// What and how much.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// A few minutes: fewer rounds, smaller sizes of the growth part
    #[arg(long)]
    pub quick: bool,
    /// Rounds of each cell (12; quick: 4)
    #[arg(long)]
    pub rounds: Option<usize>,
    /// Only these parts: cells, latency, counters, memory, overload, growth, apiserver
    #[arg(long, value_delimiter = ',')]
    pub parts: Vec<String>,
    /// Only cells whose name contains this
    #[arg(long)]
    pub cell: Option<String>,
    /// Where results go
    #[arg(long, default_value = "bench/results")]
    pub results: PathBuf,
    /// A document whose part between the marks of the bench is replaced by the table
    #[arg(long)]
    pub docs: Option<PathBuf>,
    /// Working folder; made new, and removed at the end
    #[arg(long)]
    pub folder: Option<PathBuf>,
    /// The gateway
    #[arg(long, default_value = "target/release/palisade")]
    pub palisade: PathBuf,
    /// The seeder and the counting builds
    #[arg(long, default_value = "bench/load/target/counted/palisade-load-world")]
    pub world: PathBuf,
    /// Folder with kube-apiserver, etcd, kubectl and local-cluster; without it G11 is left out
    #[arg(long)]
    pub control_plane: Option<PathBuf>,
    #[command(flatten)]
    pub sizes: Sizes,
}

/// What every part needs.
pub struct Suite {
    /// As asked.
    pub options: Options,
    /// The upstreams and the files.
    pub world: World,
    /// The store of the main part.
    pub store: PathBuf,
    /// Rounds of each cell.
    pub rounds: usize,
    /// Tokens of that store, for every target.
    pub tokens: Arc<Vec<HeaderValue>>,
    /// How quiet it was before each burst.
    pub quiet: std::cell::RefCell<Vec<f64>>,
}

/// One thing that is measured: a proxy and the protocol behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The program.
    pub kind: Kind,
    /// The protocol to the upstream.
    pub side: Side,
}

impl Target {
    /// `HAProxy>h1`
    pub fn name(self) -> String {
        let kind = match self.kind {
            Kind::HAProxy => "HAProxy",
            Kind::Nginx => "nginx",
            Kind::Rp => "rp",
            Kind::Gateway => "gateway",
            Kind::Direct => "direct",
        };
        let side = match self.side {
            Side::H1 => "h1",
            Side::H2 => "h2",
        };
        format!("{kind}>{side}")
    }
}

/// The proxies of the main part.
pub struct Fleet {
    proxies: Vec<(Kind, Proxy)>,
}

impl Fleet {
    /// All of them.
    pub fn start(suite: &Suite) -> Result<Self> {
        Ok(Self {
            proxies: vec![
                (Kind::HAProxy, suite.world.haproxy()?),
                (Kind::Nginx, suite.world.nginx()?),
                (Kind::Rp, suite.world.rp(None)?),
                (Kind::Gateway, suite.world.gateway(&suite.store, None)?),
            ],
        })
    }

    /// A running proxy.
    pub fn get(&self, kind: Kind) -> Result<&Proxy> {
        let found = self.proxies.iter().find(|(running, _)| *running == kind);
        Ok(&found.context("not a proxy")?.1)
    }
}

impl Suite {
    /// What the load of this target aims at: one cluster's requests, so that every proxy has one back end.
    pub fn aim(&self, fleet: &Fleet, target: Target) -> Result<crate::load::Aim> {
        let mut prefixes = crate::world::prefixes(target.side, 2);
        prefixes.truncate(1);
        self.aim_over(fleet, target, prefixes)
    }

    /// The same, over several clusters.
    pub fn aim_over(
        &self,
        fleet: &Fleet,
        target: Target,
        prefixes: Vec<String>,
    ) -> Result<crate::load::Aim> {
        let address = if target.kind == Kind::Direct {
            let port = self.world.upstream(target.side).port;
            (std::net::Ipv4Addr::LOCALHOST, port).into()
        } else {
            let proxy = fleet.get(target.kind)?;
            proxy.address(target.side).context("no such upstream")?
        };
        self.world.aim(address, &self.tokens, prefixes)
    }

    /// Waits up to eight seconds for a quiet machine, and goes on anyway.
    pub fn settle(&self) -> Result<()> {
        for _ in 0..16 {
            let share = proc::quiet_share(Duration::from_millis(100))?;
            if share > 0.9 {
                self.quiet.borrow_mut().push(share);
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(400));
        }
        self.quiet
            .borrow_mut()
            .push(proc::quiet_share(Duration::from_millis(100))?);
        Ok(())
    }

    fn wants(&self, part: &str) -> bool {
        self.options.parts.is_empty() || self.options.parts.iter().any(|wanted| wanted == part)
    }
}

/// Runs everything that was asked for.
pub async fn run(options: Options) -> Result<()> {
    proc::settle()?;
    let programs = Programs {
        palisade: fs::canonicalize(&options.palisade).context("the gateway is not built")?,
        world: fs::canonicalize(&options.world).context("the seeder is not built")?,
        load: std::env::current_exe()?,
    };
    let folder = options.folder.clone().unwrap_or_else(|| {
        std::env::temp_dir().join(format!("palisade-bench.{}", std::process::id()))
    });
    let world = World::start(folder.clone(), programs)?;
    let store = world.seed("store", options.sizes, 0)?;
    let rounds = options.rounds.unwrap_or(if options.quick { 4 } else { 12 });
    let text = fs::read_to_string(store.join("tokens"))?;
    let tokens = text
        .lines()
        .map(|token| HeaderValue::try_from(format!("Bearer {token}")))
        .collect::<Result<_, _>>()?;
    let suite = Suite {
        rounds,
        store,
        world,
        tokens: Arc::new(tokens),
        quiet: std::cell::RefCell::default(),
        options,
    };
    let results = measure(&suite).await?;
    write(&suite, &results)?;
    drop(suite);
    fs::remove_dir_all(folder)?;
    Ok(())
}

async fn measure(suite: &Suite) -> Result<Results> {
    let mut results = Results {
        machine: machine(suite)?,
        sizes: suite.options.sizes,
        cells: Vec::new(),
        latency: Vec::new(),
        counters: Vec::new(),
        memory: Vec::new(),
        overload: Vec::new(),
        growth: Vec::new(),
        goals: Vec::new(),
    };
    {
        let fleet = Fleet::start(suite)?;
        if suite.wants("cells") {
            results.cells = cells::run(suite, &fleet).await?;
        }
        if suite.wants("latency") {
            results.latency = latency::run(suite, &fleet).await?;
        }
        if suite.wants("overload") {
            results.overload = overload::run(suite, &fleet).await?;
        }
    }
    if suite.wants("counters") {
        results.counters = counters::run(suite).await?;
    }
    if suite.wants("memory") {
        results.memory = memory::run(suite).await?;
    }
    if suite.wants("growth") {
        results.growth = growth::run(suite).await?;
    }
    if suite.wants("apiserver") {
        results.growth.extend(apiserver::run(suite).await?);
    }
    results.machine.quiet = Figure::of(suite.quiet.borrow().iter().copied());
    results.goals = goals::judge(&results);
    Ok(results)
}

fn write(suite: &Suite, results: &Results) -> Result<()> {
    let folder = &suite.options.results;
    fs::create_dir_all(folder)?;
    let table = report::markdown(results);
    fs::write(
        folder.join("results.json"),
        serde_json::to_string_pretty(results)?,
    )?;
    fs::write(folder.join("results.md"), &table)?;
    fs::write(folder.join("results.svg"), picture::draw(results))?;
    if let Some(docs) = &suite.options.docs {
        let text = fs::read_to_string(docs)?;
        let (before, rest) = text.split_once(BEGIN).context("no beginning mark")?;
        let (_, after) = rest.split_once(END).context("no end mark")?;
        fs::write(
            docs,
            format!("{before}{BEGIN}\n{PICTURE}{table}{END}{after}"),
        )?;
    }
    println!("{table}");
    println!("written to {}", folder.display());
    Ok(())
}

fn machine(suite: &Suite) -> Result<Machine> {
    let line = |file: &str, key: &str| -> Option<String> {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let said = |program: &str, flag: &str| -> Option<String> {
        let output = Command::new(program).arg(flag).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        Some(text.lines().next()?.trim().to_owned())
    };
    let palisade = suite.world.programs.palisade.display().to_string();
    let mut versions = BTreeMap::new();
    for (name, program, flag) in [
        ("HAProxy", "haproxy", "-v"),
        ("nginx", "nginx", "-v"),
        ("palisade", palisade.as_str(), "--version"),
        ("rustc", "rustc", "--version"),
    ] {
        if let Some(text) = said(program, flag) {
            versions.insert(name.to_owned(), text);
        }
    }
    let memory = line("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
        .unwrap_or(0);
    Ok(Machine {
        cpu: line("/proc/cpuinfo", "model name").unwrap_or_default(),
        cores: fs::read_to_string("/proc/cpuinfo")?
            .matches("processor\t")
            .count(),
        memory: memory >> 20,
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
            .trim()
            .to_owned(),
        versions,
        rounds: suite.rounds,
        quiet: None,
    })
}

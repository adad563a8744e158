//! One run: the world is started, every part measures, the results are written.

use crate::{
    apiserver, cells, counters, goals, growth, latency, load, memory, overload, picture, proc,
    progress::Progress,
    report,
    results::{Machine, Quiet, Results},
    stats,
    world::{Kind, Programs, Proxy, Side, Sizes, World},
};
use anyhow::{Context as _, Result, bail};
use http::HeaderValue;
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

/// Marks of the table in a document.
const BEGIN: &str = "<!-- bench: begin -->";
/// Above the table in the document: there is a picture once there is a run.
const PICTURE: &str =
    "![CPU of the proxy over CPU of the upstream](../bench/results/results.svg)\n\n";
/// See [`BEGIN`].
const END: &str = "<!-- bench: end -->";

/// Rounds of the main part of a full run.
pub const MAIN_ROUNDS: usize = 12;
/// Seconds that a fleet takes to start and to end.
pub const FLEET: f64 = 3.0;
/// A machine with so much of its time to give is quiet.
const QUIET: f64 = 0.9;

/// What and how much.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// A few minutes: fewer rounds, smaller sizes of the growth part
    #[arg(long)]
    pub quick: bool,
    /// Rounds (12; quick: 4); some parts have fewer, as the table says
    #[arg(long)]
    pub rounds: Option<usize>,
    /// Seconds that are waited for a quiet machine before a burst; then it goes on anyway
    #[arg(long, default_value_t = 8.0)]
    pub settle: f64,
    /// Only these parts: cells, latency, counters, memory, overload, growth, apiserver
    #[arg(long, value_delimiter = ',')]
    pub parts: Vec<String>,
    /// Only cells whose name contains this
    #[arg(long)]
    pub cell: Option<String>,
    /// Only targets whose name contains this (`gateway>h1`); comparisons with the others are left out then
    #[arg(long)]
    pub target: Option<String>,
    /// So many times as many requests in closed loops of GETs: for profiles
    #[arg(long, default_value_t = 1)]
    pub longer: usize,
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
    /// Another build of the gateway, to be measured in the same rounds: what a change brings
    #[arg(long)]
    pub before: Option<PathBuf>,
    /// The seeder and the counting builds
    #[arg(long, default_value = "bench/load/target/counted/palisade-load-world")]
    pub world: PathBuf,
    /// Folder with kube-apiserver, etcd, kubectl and local-cluster; without it G11 is left out
    #[arg(long)]
    pub control_plane: Option<PathBuf>,
    #[command(flatten)]
    pub sizes: Sizes,
}

impl Options {
    /// Rounds of a part that usually has `usual` of them beside twelve of the main one.
    pub fn rounds(&self, usual: usize) -> usize {
        let main = self
            .rounds
            .unwrap_or(if self.quick { 4 } else { MAIN_ROUNDS });
        (usual * main).div_ceil(MAIN_ROUNDS).max(1)
    }

    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }

    /// Seconds that all of it is planned to take.
    fn seconds(&self) -> f64 {
        let parts = [
            ("cells", cells::seconds(self)),
            ("latency", latency::seconds(self)),
            ("overload", overload::seconds(self)),
            ("counters", counters::SECONDS),
            ("memory", memory::seconds()),
            ("growth", growth::seconds(self)),
            ("apiserver", apiserver::seconds(self)),
        ];
        let wanted = parts.iter().filter(|(part, _)| self.wants(part));
        wanted.map(|(_, seconds)| seconds).sum()
    }
}

/// What every part needs.
pub struct Suite {
    /// As asked.
    pub options: Options,
    /// The upstreams and the files.
    pub world: World,
    /// The store of the main part.
    pub store: PathBuf,
    /// Tokens of that store, for every target.
    pub tokens: Arc<Vec<HeaderValue>>,
    /// How quiet it was before each burst.
    pub quiet: std::cell::RefCell<Vec<f64>>,
    /// How far it is.
    pub progress: Progress,
    /// What went wrong; the run goes on, and ends with an error.
    pub failures: std::cell::RefCell<Vec<String>>,
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
            Kind::Before => "before",
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
    /// All of them, warm. Parts start a new fleet for each round: what differs from one process to the next (where its
    /// memory lies, how its tables are seeded) then belongs to the spread that the rounds show.
    pub async fn start(suite: &Suite) -> Result<Self> {
        let mut fleet = Self {
            proxies: vec![
                (Kind::HAProxy, suite.world.haproxy()?),
                (Kind::Nginx, suite.world.nginx()?),
                (Kind::Rp, suite.world.rp(None)?),
                (Kind::Gateway, suite.world.gateway(&suite.store, None)?),
            ],
        };
        if let Some(before) = &suite.options.before {
            let proxy = suite
                .world
                .gateway_of(before, &suite.store_before()?, None)?;
            fleet.proxies.push((Kind::Before, proxy));
        }
        for (kind, proxy) in &fleet.proxies {
            proxy.at_rest().await?;
            for side in [Side::H1, Side::H2] {
                if proxy.address(side).is_some() {
                    let aim = suite.aim(&fleet, Target { kind: *kind, side })?;
                    load::warm(&aim).await?;
                }
            }
        }
        Ok(fleet)
    }

    /// Throws logs away: a run writes gigabytes.
    pub fn trim(&self) -> Result<()> {
        self.proxies.iter().try_for_each(|(_, proxy)| proxy.trim())
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

    /// A store has one gateway at a time; this is a copy of it.
    fn store_before(&self) -> Result<PathBuf> {
        let copy = self.world.folder.join("store-before");
        if !copy.exists() {
            fs::create_dir_all(&copy)?;
            for entry in fs::read_dir(&self.store)? {
                let entry = entry?;
                fs::copy(entry.path(), copy.join(entry.file_name()))?;
            }
        }
        Ok(copy)
    }

    /// Waits some seconds for a quiet machine, and goes on anyway.
    pub fn settle(&self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs_f64(self.options.settle);
        loop {
            let share = proc::quiet_share(Duration::from_millis(100))?;
            if share > QUIET || Instant::now() > end {
                self.quiet.borrow_mut().push(share);
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// A burst that failed: it has no figure, and the run is no success.
    pub fn failed(&self, what: &str, error: &anyhow::Error) {
        let text = format!("{what}: {error:#}");
        eprintln!("FAILED {text}");
        self.failures.borrow_mut().push(text);
    }

    fn found<T>(&self, part: &str, found: Result<Vec<T>>) -> Vec<T> {
        found.unwrap_or_else(|error| {
            self.failed(part, &error);
            Vec::new()
        })
    }

    fn wants(&self, part: &str) -> bool {
        self.options.wants(part)
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
    let text = fs::read_to_string(store.join("tokens"))?;
    let tokens = text
        .lines()
        .map(|token| HeaderValue::try_from(format!("Bearer {token}")))
        .collect::<Result<_, _>>()?;
    let suite = Suite {
        progress: Progress::new(options.seconds()),
        store,
        world,
        tokens: Arc::new(tokens),
        quiet: std::cell::RefCell::default(),
        failures: std::cell::RefCell::default(),
        options,
    };
    if suite.options.before.is_some() {
        // Before a gateway holds it open.
        suite.store_before()?;
    }
    let results = measure(&suite).await?;
    write(&suite, &results)?;
    drop(suite);
    if !results.failures.is_empty() {
        bail!(
            "{} bursts failed; logs are in {}",
            results.failures.len(),
            folder.display()
        );
    }
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
        failures: Vec::new(),
    };
    if suite.wants("cells") {
        results.cells = cells::run(suite).await?;
    }
    if suite.wants("latency") {
        results.latency = latency::run(suite).await?;
    }
    if suite.wants("overload") {
        results.overload = overload::run(suite).await?;
    }
    if suite.wants("counters") {
        results.counters = suite.found("counters", counters::run(suite).await);
    }
    if suite.wants("memory") {
        results.memory = memory::run(suite).await?;
    }
    if suite.wants("growth") {
        // What was found before something failed stands.
        if let Err(error) = growth::run(suite, &mut results.growth).await {
            suite.failed("growth", &error);
        }
    }
    if suite.wants("apiserver") {
        let found = suite.found("a real API server", apiserver::run(suite).await);
        results.growth.extend(found);
    }
    results.machine.quiet = quiet(suite);
    results.machine.minutes = suite.progress.elapsed() / 60.0;
    results.failures = suite.failures.take();
    results.goals = goals::judge(&results);
    Ok(results)
}

fn quiet(suite: &Suite) -> Option<Quiet> {
    let mut shares = suite.quiet.borrow().clone();
    shares.sort_by(f64::total_cmp);
    (!shares.is_empty()).then(|| Quiet {
        median: stats::at(&shares, 0.5),
        low: stats::at(&shares, 0.05),
    })
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
        rounds: suite.options.rounds(MAIN_ROUNDS),
        quiet: None,
        minutes: 0.0,
    })
}

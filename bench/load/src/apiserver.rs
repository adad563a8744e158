//! A real API server behind the gateway: what a request through it costs *there*, beside a direct one (G11).
//!
//! Both are made by service accounts' tokens, so that authentication costs the API server the same; what is added is
//! impersonation. The GET is answered from the watch cache (`resourceVersion=0`).

use crate::{
    load::{Aim, Gets, Meter, Profile, Proto, closed},
    proc::{self, Cpu, LOAD_CPU, Process},
    results::Growth,
    stats::Figure,
    suite::{Options, Suite},
    world::{Proxy, Side, Sizes},
};
use anyhow::{Context as _, Result, bail};
use http::HeaderValue;
use std::{fs, path::Path, process::Command, sync::Arc};

const OBJECT: &str = "/api/v1/namespaces/default/configmaps/bench?resourceVersion=0";
/// Groups of the user who is in many; the few that a request needs are sent, not these.
const GROUPS: usize = 50;

/// Name of the cluster.
const NAME: &str = "real";
const ROUNDS: usize = 9;
/// Rounds that warm caches on both sides, and do not count.
const WARM: usize = 2;
/// One round, and the start of everything.
const SECONDS: f64 = 3.2;
/// See [`SECONDS`].
const START: f64 = 15.0;

/// Seconds that all of it is planned to take.
pub fn seconds(options: &Options) -> f64 {
    if options.control_plane.is_none() {
        return 0.0;
    }
    START + 2.0 * (options.rounds(ROUNDS) + WARM) as f64 * SECONDS
}

/// Measures, if there is a control plane.
pub async fn run(suite: &Suite) -> Result<Vec<Growth>> {
    let Some(programs) = &suite.options.control_plane else {
        return Ok(Vec::new());
    };
    suite.progress.step("a real API server: start", START);
    let cluster = Cluster::start(suite, programs)?;
    let sizes = Sizes {
        users: 10,
        tokens: 10,
        bindings: 10,
        clusters: 1,
    };
    let store = suite.world.seed("growth/api", sizes, GROUPS)?;
    let gateway = suite.world.gateway(&store, None)?;
    let (ordinary, crowd) = {
        let known = gateway.gateway.as_ref().context("a gateway")?;
        (known.tokens[0].clone(), known.crowd.clone())
    };
    cluster.register(suite, &gateway)?;
    gateway.at_rest().await?;
    let mut found = Vec::new();
    for (what, token) in [
        ("a user with one group", ordinary),
        ("a user in 50 groups", crowd),
    ] {
        found.extend(cluster.compare(suite, &gateway, what, token).await?);
    }
    Ok(found)
}

struct Cluster {
    /// Ends when it is dropped.
    _launcher: Process,
    kubectl: String,
    kubeconfig: String,
    port: u16,
    pid: u32,
    ca: std::path::PathBuf,
    token: HeaderValue,
    bytes: usize,
}

impl Cluster {
    fn start(suite: &Suite, programs: &Path) -> Result<Self> {
        let folder = suite.world.folder.join("cluster");
        let launcher = programs.join("local-cluster").display().to_string();
        let port = proc::free_port()?;
        let (dir, text) = (folder.display().to_string(), port.to_string());
        let command = [&launcher, "--dir", &dir, "--apiserver-port", &text];
        let log = suite.world.folder.join("cluster.log");
        let mut launcher = Process::start(LOAD_CPU, &command, &log)?;
        let kubeconfig = launcher.ready_text()?;
        let kubectl = programs.join("kubectl").display().to_string();
        let mut cluster = Self {
            pid: proc::descendant(launcher.pid(), "kube-apiserver").context("no API server")?,
            _launcher: launcher,
            kubectl,
            kubeconfig,
            port,
            ca: suite.world.folder.join("cluster-ca.pem"),
            token: HeaderValue::from_static(""),
            bytes: 0,
        };
        let filling = format!("--from-literal=x={}", "x".repeat(700));
        cluster.kubectl(&["create", "configmap", "bench", &filling])?;
        cluster.kubectl(&["create", "serviceaccount", "bench"])?;
        cluster.kubectl(&[
            "create",
            "clusterrolebinding",
            "bench",
            "--clusterrole=cluster-admin",
            "--serviceaccount=default:bench",
        ])?;
        let token = cluster.kubectl(&["create", "token", "bench", "--duration=1h"])?;
        cluster.token = HeaderValue::try_from(format!("Bearer {}", token.trim()))?;
        let path = "jsonpath={.clusters[0].cluster.certificate-authority-data}";
        let data = cluster.kubectl(&["config", "view", "--raw", "-o", path])?;
        fs::write(&cluster.ca, decoded(data.trim())?)?;
        cluster.bytes = cluster.kubectl(&["get", "--raw", OBJECT])?.len();
        Ok(cluster)
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.kubectl)
            .args(["--kubeconfig", &self.kubeconfig])
            .args(arguments)
            .output()?;
        if !output.status.success() {
            bail!(
                "kubectl {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// As an operator does.
    fn register(&self, suite: &Suite, gateway: &Proxy) -> Result<()> {
        let known = gateway.gateway.as_ref().context("a gateway")?;
        let address = gateway.address(Side::H2).context("no address")?;
        let token = known.admin.to_str()?.trim_start_matches("Bearer ");
        let output = Command::new(&suite.world.programs.palisade)
            .args([
                "cluster",
                "add",
                NAME,
                "--yes",
                "--kubeconfig",
                &self.kubeconfig,
            ])
            .env("PALISADE_SERVER", format!("https://{address}"))
            .env("PALISADE_CA", &suite.world.files.ca)
            .env("PALISADE_TOKEN", token)
            .output()?;
        if !output.status.success() {
            bail!("cluster add: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    async fn compare(
        &self,
        suite: &Suite,
        gateway: &Proxy,
        what: &str,
        token: HeaderValue,
    ) -> Result<Vec<Growth>> {
        let direct = Aim::new(
            (std::net::Ipv4Addr::LOCALHOST, self.port).into(),
            &self.ca,
            Arc::new(vec![self.token.clone()]),
            vec![String::new()],
        )?;
        let through = Aim::new(
            gateway.address(Side::H2).context("no address")?,
            &suite.world.files.ca,
            Arc::new(vec![token]),
            vec![format!("/k8s/clusters/{NAME}").to_owned()],
        )?;
        let mut micros = [Vec::new(), Vec::new()];
        let known = gateway.gateway.as_ref().context("a gateway")?;
        let mut dialled = 0;
        let mut requests = 0;
        let rounds = suite.options.rounds(ROUNDS);
        for round in 0..rounds + WARM {
            suite.progress.step(
                &format!(
                    "a real API server, {what}: {} of {}",
                    round + 1,
                    rounds + WARM
                ),
                SECONDS,
            );
            suite.settle()?;
            for turn in 0..2 {
                let at = (turn + round) % 2;
                let aim = [&direct, &through][at];
                let before = known.dials(NAME)?;
                let (each, done) = self.burst(aim).await?;
                if round >= WARM {
                    micros[at].push(each);
                    if at == 1 {
                        dialled += known.dials(NAME)? - before;
                        requests += done;
                    }
                }
            }
        }
        rows(what, &micros, dialled, requests)
    }

    async fn burst(&self, aim: &Aim) -> Result<(f64, usize)> {
        struct Window(u32, Cpu, u64);
        impl Meter for Window {
            fn start(&mut self) -> Result<()> {
                self.1 = Cpu::of(self.0)?;
                Ok(())
            }
            fn stop(&mut self) -> Result<()> {
                self.2 = Cpu::of(self.0)?.since(&self.1);
                Ok(())
            }
        }
        let gets = Gets {
            proto: Proto::H2,
            connections: 8,
            streams: 4,
            requests: 3_000,
            profile: Profile::Controller,
            path: OBJECT.to_owned(),
            bytes: self.bytes,
        };
        let mut cpu = Window(self.pid, Cpu::default(), 0);
        let burst = closed(aim, &gets, &mut cpu).await?;
        Ok((cpu.2 as f64 / 1e3 / burst.done as f64, burst.done))
    }
}

/// Microseconds of direct requests and of those through the gateway, round by round.
fn rows(
    what: &str,
    [direct, through]: &[Vec<f64>; 2],
    dialled: u64,
    requests: usize,
) -> Result<Vec<Growth>> {
    let ratio = Figure::of(through.iter().zip(direct).map(|(own, other)| own / other));
    let figure = |values: &[f64]| Figure::of(values.iter().copied()).unwrap_or_default();
    let row = |name: &str, figure, unit: &str| Growth {
        what: format!("{name}, {what}"),
        figure,
        unit: unit.to_owned(),
    };
    Ok(vec![
        row("API server's CPU of a direct GET", figure(direct), "us"),
        row(
            "API server's CPU of a GET through the gateway",
            figure(through),
            "us",
        ),
        row(
            "API server's CPU of a GET, gateway over direct",
            ratio.context("no rounds")?,
            "ratio",
        ),
        row(
            &format!("API server's new connections from the gateway, {requests} requests"),
            figure(&[dialled as f64]),
            "",
        ),
    ])
}

/// Base64 by the tool that every system has.
fn decoded(text: &str) -> Result<Vec<u8>> {
    use std::{io::Write as _, process::Stdio};
    let mut child = Command::new("base64")
        .arg("-d")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("no input")?;
    stdin.write_all(text.as_bytes())?;
    drop(stdin);
    Ok(child.wait_with_output()?.stdout)
}

//! A real control plane on loopback, one per value: API server, etcd and a small kubelet, started
//! by `local-cluster` (see tests/e2e/controlplane/README.md).
//!
//! The launcher ends when its standard input closes, so a test that panics or is killed leaves
//! nothing behind.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use super::process::{eventually, run};
use serde_json::Value;

/// A start takes three seconds; with two cores and other tests beside it perhaps twenty.
const START_WAIT: Duration = Duration::from_mins(2);

/// The launcher gives each of its three children five seconds to end.
const STOP_WAIT: Duration = Duration::from_secs(20);

/// A running cluster; dropping it ends all its processes and removes its files.
pub(crate) struct LocalCluster {
    /// Kubeconfig with a client certificate in `system:masters`.
    pub(crate) admin_kubeconfig: PathBuf,
    /// `https://127.0.0.1:PORT`.
    pub(crate) server: String,
    /// The authority of the API server's certificate.
    pub(crate) ca_pem: String,
    /// One JSON event a line, of every request from outside.
    pub(crate) audit_log: PathBuf,
    launcher: Child,
    /// Behind a lock, so that threads can share the cluster.
    lines: Mutex<Receiver<String>>,
    dir: tempfile::TempDir,
}

impl LocalCluster {
    /// Starts a cluster and waits until it can be used.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more arguments for the launcher, such as
    /// `--apiserver-arg=--emulated-version=kube=1.34`.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut launcher = Command::new(programs().join("local-cluster"))
            .arg("--dir")
            .arg(dir.path())
            .arg("--exit-with-stdin")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("local-cluster starts");
        let stdout = launcher.stdout.take().expect("its output is piped");
        let (sender, lines) = mpsc::channel();
        // Ends with the launcher: its end is the end of the channel, which Drop waits for.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut cluster = Self {
            admin_kubeconfig: dir.path().join("admin.kubeconfig"),
            server: String::new(),
            ca_pem: String::new(),
            audit_log: dir.path().join("audit.log"),
            launcher,
            lines: Mutex::new(lines),
            dir,
        };
        cluster.wait_until_ready();
        cluster
    }

    /// The next line that the launcher prints.
    fn line(&mut self, wait: Duration) -> Result<String, RecvTimeoutError> {
        let lines = self.lines.get_mut();
        lines
            .unwrap_or_else(PoisonError::into_inner)
            .recv_timeout(wait)
    }

    fn wait_until_ready(&mut self) {
        let line = self.line(START_WAIT);
        assert!(
            line.as_ref().is_ok_and(|line| line.starts_with("READY ")),
            "the cluster did not get ready (its reason is above): {line:?}"
        );
        let text = fs::read_to_string(self.dir.path().join("info.json")).expect("info.json");
        let info: Value = serde_json::from_str(&text).expect("info.json is JSON");
        let field = |name: &str| info[name].as_str().expect("a text in info.json").to_owned();
        self.server = field("server");
        self.ca_pem = fs::read_to_string(field("ca")).expect("the authority's certificate");
    }

    /// Ends all its processes; its files stay.
    pub(crate) fn stop(&mut self) {
        drop(self.launcher.stdin.take());
        while self.line(STOP_WAIT).is_ok() {}
    }

    /// Ends the API server alone: the cluster is away. It is, or is about to be, when this returns.
    pub(crate) fn stop_api_server(&self) {
        self.signal("-USR1");
    }

    /// Starts the API server again, with the same objects, port and certificates, and waits until it is ready.
    pub(crate) fn start_api_server(&self) {
        self.signal("-USR2");
        let ready = eventually(|| {
            let mut ask = self.kubectl();
            let ask = run(ask.args(["get", "--raw", "/readyz"]));
            (ask.code == Some(0)).then_some(())
        });
        assert!(ready.is_some(), "the API server does not come back");
    }

    /// Keeps a copy of all its objects. The API server must be stopped: this waits until it is.
    pub(crate) fn copy_objects(&self) {
        self.until_away();
        let copied = Command::new("cp")
            .arg("-r")
            .args([self.dir.path().join("etcd"), self.dir.path().join("copy")])
            .status();
        assert!(copied.expect("cp can be run").success());
    }

    /// All its objects will be those of the copy when its API server, which must be stopped, is started again.
    pub(crate) fn put_objects_back(&self) {
        self.until_away();
        let restore = self.dir.path().join("etcd.restore");
        fs::rename(self.dir.path().join("copy"), restore).expect("there is a copy");
    }

    fn until_away(&self) {
        let away = eventually(|| {
            let mut ask = self.kubectl();
            let ask = run(ask.args(["get", "--raw", "/readyz"]));
            (ask.code != Some(0)).then_some(())
        });
        assert!(away.is_some(), "the API server does not stop");
    }

    fn signal(&self, signal: &str) {
        let launcher = self.launcher.id().to_string();
        let sent = Command::new("kill").args([signal, &launcher]).status();
        assert!(sent.expect("kill can be run").success());
    }

    /// The newest kubectl, as the cluster's administrator.
    pub(crate) fn kubectl(&self) -> Command {
        self.kubectl_at(&programs().join("kubectl"))
    }

    /// One of [`kubectls`], as the cluster's administrator. Its cache is the cluster's own: another
    /// cluster may have used the same port before.
    pub(crate) fn kubectl_at(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .arg("--kubeconfig")
            .arg(&self.admin_kubeconfig)
            .arg("--cache-dir")
            .arg(self.dir.path().join("kubectl-cache"));
        command
    }

    /// What the audit log holds by now. An event is written after the answer: wait for it.
    pub(crate) fn audit_events(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.audit_log).expect("the audit log");
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).expect("an audit event is JSON"))
            .collect()
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        self.stop();
        // Harmless when it has ended, and the right thing when it hangs.
        let _ = self.launcher.kill();
        let _ = self.launcher.wait();
    }
}

/// A program of the control plane's build, such as `fake-kubelet`.
pub(crate) fn program(name: &str) -> PathBuf {
    programs().join(name)
}

/// Every kubectl of this machine, as version and path: those named `kubectl.1.NN` beside the real
/// file behind `kubectl` in PATH, and the one built with the API server.
pub(crate) fn kubectls() -> Vec<(String, PathBuf)> {
    let found = search_path("kubectl").and_then(|path| fs::canonicalize(path).ok());
    let beside = found.as_deref().and_then(Path::parent);
    let mut versions = BTreeMap::new();
    for entry in beside
        .into_iter()
        .flat_map(fs::read_dir)
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(version) = name.strip_prefix("kubectl.") {
            versions.insert(version.to_owned(), entry.path());
        }
    }
    versions.insert("1.36".to_owned(), programs().join("kubectl"));
    versions.into_iter().collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "where to find kubectl is the machine's matter"
)]
fn search_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// The folder with the control plane's programs: `PALISADE_CONTROLPLANE`, which the Makefile sets,
/// or else what build.sh makes of it.
#[expect(
    clippy::disallowed_methods,
    reason = "the Makefile says where the programs are"
)]
fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| match env::var_os("PALISADE_CONTROLPLANE") {
        Some(folder) if !folder.is_empty() => folder.into(),
        _ => build(),
    })
}

fn build() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/controlplane/build.sh");
    let output = Command::new(script)
        .stderr(Stdio::inherit())
        .output()
        .expect("build.sh can be run");
    assert!(
        output.status.success(),
        "build.sh failed: {}",
        output.status
    );
    let text = String::from_utf8(output.stdout).expect("build.sh prints text");
    text.lines()
        .last()
        .expect("build.sh prints a folder")
        .into()
}

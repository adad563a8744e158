//! The gateway as people run it: the real program, started with `palisade serve --dev` on free ports.

use super::{
    canary,
    process::{PATIENCE, Ran, Running, eventually, run_with},
};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

/// The program under test.
pub(crate) const PALISADE: &str = env!("CARGO_BIN_EXE_palisade");

/// A running gateway; dropping it kills it and removes its files.
pub(crate) struct GatewayProcess {
    /// `https://localhost:PORT`.
    pub(crate) url: String,
    /// SHA-256 of the authority of its certificate, for `--ca-sum`.
    pub(crate) ca_sum: String,
    /// Password of the user `admin`.
    pub(crate) password: String,
    /// `127.0.0.1:PORT` of the admin listener.
    admin_address: String,
    process: Running,
    /// What earlier processes of this gateway have logged.
    logged: String,
    dir: tempfile::TempDir,
}

impl GatewayProcess {
    /// Starts a gateway with a new state folder and waits until it is ready.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(PALISADE);
        command
            .args(["serve", "--dev", "--listen", "127.0.0.1:0"])
            .args(["--admin-listen", "127.0.0.1:0", "--log-level", "trace"])
            .arg("--state-dir")
            .arg(dir.path().join("state"));
        let process = Running::start(command);
        let url = word_after(&process.line("Palisade for development at"), " at ");
        process.line("password (shown this once)");
        let password = process.line("-").trim().to_owned();
        let ca_sum = word_after(&process.line("--ca-sum"), "--ca-sum ");
        let health = process.line("health and metrics at");
        let admin_address = word_after(&health, "http://");
        let gateway = Self {
            url,
            ca_sum,
            password,
            admin_address: admin_address.trim_end_matches('.').to_owned(),
            process,
            logged: String::new(),
            dir,
        };
        gateway.wait_until_ready();
        gateway
    }

    /// Ends it as an operator does and starts it again on the same state, with its configuration file
    /// changed by `edit`.
    pub(crate) fn restart(&mut self, edit: impl FnOnce(&str) -> String) {
        self.stop();
        self.start_again(edit);
    }

    /// The same, with something done to its state in between.
    pub(crate) fn restart_with(&mut self, change: impl FnOnce(palisade::config::State)) {
        self.stop();
        change(palisade::config::State {
            store: self.state_dir().join("state.db"),
            key_file: self.state_dir().join("keys"),
        });
        self.start_again(str::to_owned);
    }

    fn start_again(&mut self, edit: impl FnOnce(&str) -> String) {
        let config = self.state_dir().join("palisade.yaml");
        let text = fs::read_to_string(&config).expect("the configuration");
        let edited = config.with_file_name("edited.yaml");
        fs::write(&edited, edit(&text)).expect("it can be written");
        let mut command = Command::new(PALISADE);
        command.args(["serve", "--config"]).arg(edited);
        self.process = Running::start(command);
        self.wait_until_ready();
    }

    /// Sends SIGTERM and expects a clean end.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.expect("kill can be run").success());
        let code = self.process.wait();
        let log = self.log();
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("panicked"), "{log}");
        self.logged = log;
    }

    /// Sends SIGHUP: the wish to read everything again.
    #[track_caller]
    pub(crate) fn hang_up(&self) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-HUP", &id]).status();
        assert!(sent.expect("kill can be run").success());
    }

    fn wait_until_ready(&self) {
        let ready = eventually(|| self.admin_get("/readyz").filter(|answer| is_ok(answer)));
        assert!(ready.is_some(), "not ready: {}", self.log());
    }

    /// A GET at the admin listener; none if it does not answer.
    pub(crate) fn admin_get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.admin_address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        let (_, port) = self.url.rsplit_once(':').expect("a port");
        ([127, 0, 0, 1], port.parse().expect("a number")).into()
    }

    /// PEM of its authority.
    pub(crate) fn ca_pem(&self) -> String {
        fs::read_to_string(self.state_dir().join("ca.pem")).expect("the authority")
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        format!("{}{}", self.logged, self.process.stderr())
    }

    /// Where `--dev` keeps everything.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A folder of the person's own, made at the first call.
    pub(crate) fn home(&self, person: &str) -> PathBuf {
        let home = self.dir.path().join("people").join(person);
        fs::create_dir_all(&home).expect("a folder");
        home
    }

    /// `palisade`, as this person at their own machine.
    pub(crate) fn cli(&self, person: &str) -> Command {
        let mut command = Command::new(PALISADE);
        command
            .env("PALISADE_CONFIG_DIR", self.home(person).join("palisade"))
            .env_remove("PALISADE_TOKEN")
            .env_remove("PALISADE_SERVER")
            .env_remove("PALISADE_CA");
        command
    }

    /// `palisade login` of this person.
    pub(crate) fn login(&self, person: &str, password: &str) -> Ran {
        self.login_as(person, &["--username", person], password)
    }

    /// The same at a provider, by the name that is typed there.
    pub(crate) fn login_at(
        &self,
        (person, provider): (&str, &str),
        name: &str,
        password: &str,
    ) -> Ran {
        let arguments = ["--provider", provider, "--username", name];
        self.login_as(person, &arguments, password)
    }

    fn login_as(&self, person: &str, arguments: &[&str], password: &str) -> Ran {
        let mut command = self.cli(person);
        command
            .args(["login", "--password-stdin"])
            .args(arguments)
            .args(["--server", &self.url, "--ca-sum", &self.ca_sum]);
        run_with(&command, password)
    }

    /// Writes the person's kubeconfig with `palisade kubeconfig` and these arguments.
    #[track_caller]
    pub(crate) fn kubeconfig(&self, person: &str, name: &str, arguments: &[&str]) -> PathBuf {
        let path = self.home(person).join(name);
        let mut command = self.cli(person);
        command
            .arg("kubeconfig")
            .args(arguments)
            .arg("--output")
            .arg(&path);
        run_with(&command, "").ok();
        path
    }
}

/// kubectl with this kubeconfig. Its cache lies beside that file, one for each program: another
/// version's would hide what this one asks.
pub(crate) fn kubectl(program: &Path, kubeconfig: &Path) -> Command {
    let mut command = Command::new(program);
    let name = program.file_name().expect("a program");
    let cache = Path::new("cache").join(name);
    command
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .arg("--cache-dir")
        .arg(kubeconfig.with_file_name(cache))
        .env_remove("KUBECONFIG");
    command
}

impl Drop for GatewayProcess {
    /// The gateway has ended or is killed after this; nothing that it wrote holds a secret (G8, O6).
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let metrics = self.admin_get("/metrics").unwrap_or_default();
        let log = self.log();
        canary::assert_none(
            &[
                ("the log", log.as_bytes()),
                ("the metrics", metrics.as_bytes()),
            ],
            Some(&self.state_dir()),
            &[&self.password],
        );
    }
}

fn is_ok(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200")
}

fn word_after(text: &str, before: &str) -> String {
    let (_, rest) = text.split_once(before).expect("the text is there");
    let word = rest.split_whitespace().next();
    word.expect("a word").trim_end_matches(',').to_owned()
}

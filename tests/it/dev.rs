//! `palisade serve --dev` and `palisade admin init`, as processes.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
};

const PALISADE: &str = env!("CARGO_BIN_EXE_palisade");

/// A development gateway on free ports; killed when the test ends early.
struct Dev {
    process: Child,
    /// What it printed until it served.
    welcome: String,
}

impl Dev {
    fn start(folder: &Path) -> Self {
        let mut process = Command::new(PALISADE)
            .args([
                "serve",
                "--dev",
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
            ])
            .arg("--state-dir")
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let mut welcome = String::new();
        while !welcome.contains("Ctrl-C ends it") {
            let read = lines.read_line(&mut welcome).unwrap();
            if read == 0 {
                let mut stderr = String::new();
                process
                    .stderr
                    .take()
                    .unwrap()
                    .read_to_string(&mut stderr)
                    .unwrap();
                panic!("it ended: {welcome}\n{stderr}");
            }
        }
        Self { process, welcome }
    }

    /// The word after `before` in what it printed.
    fn word_after(&self, before: &str) -> &str {
        let (_, rest) = self.welcome.split_once(before).unwrap();
        rest.split_whitespace().next().unwrap()
    }

    /// Sends SIGTERM; returns the exit code and the log.
    fn stop(mut self) -> (Option<i32>, String) {
        let pid = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let mut log = String::new();
        self.process
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        (self.process.wait().unwrap().code(), log)
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Gone already after a stop.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Exit code, standard output, standard error.
fn admin_init(config: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(PALISADE)
        .args(["admin", "init", "--config"])
        .arg(config)
        .args(more)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn dev_keeps_its_state_and_shows_the_password_once() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let first = Dev::start(&state);
    let password = first.word_after("password (shown this once):").to_owned();
    assert_eq!(password.len(), 27, "{}", first.welcome);
    let sum = first.word_after("--ca-sum").to_owned();
    let (code, log) = first.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped") && !log.contains(&password), "{log}");

    let second = Dev::start(&state);
    assert_eq!(second.word_after("--ca-sum"), sum);
    assert!(!second.welcome.contains(&password));
    assert!(
        second.welcome.contains("was shown at the first start"),
        "{}",
        second.welcome
    );
    assert!(
        second.welcome.contains("admin init --config"),
        "{}",
        second.welcome
    );
    assert_eq!(second.stop().0, Some(0));
}

#[test]
fn admin_init_is_refused_beside_a_gateway_and_beside_an_admin() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("palisade.yaml");
    let dev = Dev::start(folder.path());
    let (code, _, said) = admin_init(&config, &["--reset"]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("is open in another palisade process"),
        "{said}"
    );
    assert_eq!(dev.stop().0, Some(0));

    let (code, _, said) = admin_init(&config, &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("an admin exists already: admin"), "{said}");
    let (code, shown, said) = admin_init(&config, &["--reset"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        shown.contains("\"admin\" is an admin now. Password (shown this once)"),
        "{shown}"
    );
}

#[test]
fn a_taken_address_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(PALISADE)
        .args([
            "serve",
            "--dev",
            "--listen",
            &address,
            "--admin-listen",
            "127.0.0.1:0",
        ])
        .arg("--state-dir")
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let wanted = format!("error: cannot listen on {address} (listen): Address already in use");
    assert!(said.contains(&wanted), "{said}");
}

//! `palisade serve --dev` as a process, and a person who uses it by commands.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

const PALISADE: &str = env!("CARGO_BIN_EXE_palisade");

/// A development gateway on free ports; it ends with the value.
pub(crate) struct DevGateway {
    /// `https://localhost:PORT`
    pub(crate) url: String,
    /// Of its authority's certificate.
    pub(crate) ca_sum: String,
    /// Of the user `admin`.
    pub(crate) password: String,
    process: Child,
    folder: tempfile::TempDir,
}

impl DevGateway {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = File::create(folder.path().join("log")).expect("the log is made");
        let mut process = Command::new(PALISADE)
            .args(["serve", "--dev", "--listen", "127.0.0.1:0"])
            .args(["--admin-listen", "127.0.0.1:0", "--state-dir"])
            .arg(folder.path().join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the gateway starts");
        let mut lines = BufReader::new(process.stdout.take().expect("standard output"));
        let mut welcome = String::new();
        while !welcome.contains("Ctrl-C ends it") {
            let read = lines.read_line(&mut welcome).expect("it prints text");
            let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            assert_ne!(read, 0, "it ended: {welcome}\n{}", log());
        }
        let word_after = |before: &str| {
            let (_, rest) = welcome.split_once(before).expect(before);
            rest.split_whitespace().next().expect(before).to_owned()
        };
        Self {
            url: word_after("--server"),
            ca_sum: word_after("--ca-sum"),
            password: word_after("password (shown this once):"),
            process,
            folder,
        }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("the log is text")
    }

    /// Everything that it writes is below this folder.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Somebody with a home of their own, not logged in.
    pub(crate) fn person(&self) -> Person<'_> {
        let home = tempfile::tempdir().expect("a temporary folder");
        Person {
            gateway: self,
            home,
        }
    }

    /// Somebody who is logged in as `admin`.
    pub(crate) fn admin(&self) -> Person<'_> {
        let person = self.person();
        person.log_in("admin", &self.password).succeeds();
        person
    }
}

impl Drop for DevGateway {
    fn drop(&mut self) {
        // Gone already if it failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A person's machine.
pub(crate) struct Person<'a> {
    gateway: &'a DevGateway,
    home: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Person<'_> {
    /// The person's home folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A program in this home, without a terminal and with nothing on standard input.
    pub(crate) fn program(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .env_remove("PALISADE_SERVER")
            .env_remove("PALISADE_TOKEN")
            .env_remove("PALISADE_CONFIG_DIR")
            .env_remove("KUBECONFIG")
            .env("HOME", self.home.path())
            .env("XDG_CONFIG_HOME", self.home.path().join("config"))
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// `palisade` with these arguments.
    pub(crate) fn palisade(&self, args: &[&str]) -> Ended {
        Ended::of(
            self.program(PALISADE, args)
                .output()
                .expect("palisade runs"),
        )
    }

    /// The same as a process that is not waited for.
    pub(crate) fn start_palisade(&self, args: &[&str]) -> Child {
        self.program(PALISADE, args).spawn().expect("palisade runs")
    }

    /// `palisade` that reads `input`.
    pub(crate) fn palisade_reads(&self, args: &[&str], input: &str) -> Ended {
        let mut command = self.program(PALISADE, args);
        let mut child = command
            .stdin(Stdio::piped())
            .spawn()
            .expect("palisade runs");
        let mut stdin = child.stdin.take().expect("standard input");
        // A command that refuses its arguments reads nothing.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        Ended::of(child.wait_with_output().expect("palisade ends"))
    }

    /// `palisade login` with a password on standard input.
    pub(crate) fn log_in(&self, username: &str, password: &str) -> Ended {
        let args = [
            "login",
            "--server",
            &self.gateway.url,
            "--ca-sum",
            &self.gateway.ca_sum,
            "--username",
            username,
            "--password-stdin",
        ];
        self.palisade_reads(&args, &format!("{password}\n"))
    }
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("it prints text");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Its standard output, if it ended well.
    pub(crate) fn succeeds(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// Its standard error, if it ended with 1 and printed nothing else.
    pub(crate) fn fails(self) -> String {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        self.stderr
    }

    /// Its standard output as JSON, if it ended well.
    pub(crate) fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.succeeds()).expect("it prints JSON")
    }
}

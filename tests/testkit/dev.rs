//! People who use a gateway of [`super::gateway`] by commands.

use super::gateway::PALISADE;
use std::{
    io::Write,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

pub(crate) use super::gateway::GatewayProcess as DevGateway;

impl DevGateway {
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

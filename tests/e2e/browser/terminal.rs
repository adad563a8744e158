//! `palisade login`, as a person sees it in a terminal while it waits for the browser.

use crate::testkit::{
    gateway::GatewayProcess,
    process::{Running, eventually},
};
use std::{path::Path, process::Command};

/// One `palisade login` that waits.
pub(super) struct Terminal {
    running: Running,
}

impl Terminal {
    /// As this person, with these arguments; nothing here opens a browser.
    pub(super) fn login(gateway: &GatewayProcess, person: &str, arguments: &[&str]) -> Self {
        let mut command = command(gateway, person, arguments);
        command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        let running = Running::start(command);
        Self { running }
    }

    /// The same at a desktop, whose only programs are in this folder.
    pub(super) fn at_a_desktop(
        gateway: &GatewayProcess,
        folder: &Path,
        arguments: &[&str],
    ) -> Self {
        let mut command = command(gateway, "desk", arguments);
        command
            .env("DISPLAY", ":7")
            .env("PATH", folder)
            .env_remove("SSH_CONNECTION")
            .env_remove("SSH_TTY");
        let running = Running::start(command);
        Self { running }
    }

    /// The address that it prints for this page.
    #[track_caller]
    pub(super) fn address(&self, page: &str) -> String {
        self.indented(|line| line.contains(page))
    }

    /// The code that it prints, to be compared or typed.
    #[track_caller]
    pub(super) fn code(&self) -> String {
        self.indented(|line| line.len() == 9 && line.as_bytes().get(4) == Some(&b'-'))
    }

    #[track_caller]
    fn indented(&self, wanted: impl Fn(&str) -> bool) -> String {
        let found = eventually(|| {
            let said = self.running.stderr();
            let mut lines = said.lines().filter_map(|line| line.strip_prefix("  "));
            lines.find(|line| wanted(line)).map(str::to_owned)
        });
        found.unwrap_or_else(|| panic!("it does not say so: {}", self.running.stderr()))
    }

    /// Whether it has not ended.
    pub(super) fn is_waiting(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.running.id()));
        status.is_ok_and(|line| !line.contains(") Z "))
    }

    /// Waits for its end, which must be good, and gives what it says then.
    #[track_caller]
    pub(super) fn gets_in(mut self) -> String {
        let code = self.running.wait();
        assert_eq!(code, Some(0), "{}", self.running.stderr());
        self.running.line("logged in to")
    }

    /// Waits for its end, which must be a refusal in these words.
    #[track_caller]
    pub(super) fn fails_with(mut self, words: &str) {
        let code = self.running.wait();
        let said = eventually(|| Some(self.running.stderr()).filter(|it| it.contains(words)));
        assert!(
            code == Some(1) && said.is_some(),
            "{code:?}, and not {words:?}: {}",
            self.running.stderr()
        );
    }

    /// Presses Ctrl-C.
    #[track_caller]
    pub(super) fn interrupt(mut self) {
        let id = self.running.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status();
        assert!(sent.expect("kill can be run").success());
        assert_eq!(self.running.wait(), Some(130));
    }
}

fn command(gateway: &GatewayProcess, person: &str, arguments: &[&str]) -> Command {
    let mut command = gateway.cli(person);
    command.arg("login").args(arguments).args([
        "--server",
        &gateway.url,
        "--ca-sum",
        &gateway.ca_sum,
    ]);
    command
}

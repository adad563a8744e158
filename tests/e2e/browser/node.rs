//! The programs of this folder that run on Node: one JSON object a line in, one a line out.

use crate::testkit::process::Running;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

/// A program that answers lines; it ends with this.
pub(super) struct Node {
    /// What it said when it was ready.
    pub(super) ready: String,
    state: Mutex<State>,
}

struct State {
    running: Running,
    asked: u64,
}

impl Node {
    pub(super) fn start(program: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new("node");
        command
            .arg(folder().join(program))
            .env("PALISADE_NODE_PACKAGES", packages())
            .envs(environment.iter().copied());
        let running = Running::start(command);
        let first: Value = serde_json::from_str(&running.line("\"ready\"")).expect("JSON");
        let ready = first["ready"].as_str().expect("a text").to_owned();
        let state = Mutex::new(State { running, asked: 0 });
        Self { ready, state }
    }

    /// Does one step; `Err` is what the program says went wrong.
    pub(super) fn ask(&self, what: &str, mut given: Value) -> Result<Value, String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked += 1;
        let id = state.asked;
        given["id"] = id.into();
        given["do"] = what.into();
        state.running.write(&format!("{given}\n"));
        let line = state.running.line(&format!("{{\"id\":{id},"));
        let mut answer: Value = serde_json::from_str(&line).expect("JSON");
        match answer.get("error") {
            Some(error) => Err(error.as_str().expect("a text").to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }

    /// A step that must work.
    #[track_caller]
    pub(super) fn must(&self, what: &str, given: Value) -> Value {
        let shown = given.to_string();
        match self.ask(what, given) {
            Ok(answer) => answer,
            Err(error) => panic!("{what} {shown}: {error}"),
        }
    }
}

/// Without anything to say.
pub(super) fn nothing() -> Value {
    json!({})
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/browser")
}

/// Installs what is missing, once; the folder with the npm packages.
fn packages() -> &'static str {
    static PACKAGES: OnceLock<String> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let output = Command::new(folder().join("install.sh"))
            .stderr(Stdio::inherit())
            .output()
            .expect("install.sh can be run");
        assert!(
            output.status.success(),
            "install.sh failed: {}",
            output.status
        );
        let text = String::from_utf8(output.stdout).expect("a path");
        text.lines().last().expect("a folder").to_owned()
    })
}

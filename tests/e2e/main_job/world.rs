//! One gateway, one cluster behind it, and the people who use it.

use crate::testkit::{
    cluster::{LocalCluster, kubectls, program},
    gateway::{GatewayProcess, kubectl},
    process::{Ran, run, run_with},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
};

/// cluster-member on `local` by name.
pub(super) const MEMBER: &str = "mia";
/// cluster-viewer on all clusters.
pub(super) const VIEWER: &str = "vic";
/// cluster-member through the group `operators`, on clusters with the label `env=test`.
pub(super) const OPERATOR: &str = "gus";
/// cluster-owner on `local`: may act as anybody there.
pub(super) const OWNER: &str = "olga";
/// The group of [`OPERATOR`].
pub(super) const OPERATORS: &str = "operators";
/// No binding at all.
pub(super) const NOBODY: &str = "zoe";
/// A machine user with cluster-viewer: it has tokens only.
pub(super) const ROBOT: &str = "robot";

/// Somebody who is made, disabled and shown out by one test.
pub(super) const LEAVER: &str = "dora";

/// The same, of a test of acting as others.
pub(super) const FORMER: &str = "paul";

/// cluster-member on `local`, of one test alone: all that they do is in its snapshot.
pub(super) const RECORDED: &str = "rita";

/// Somebody with a role that one test makes.
pub(super) const PEEKER: &str = "pia";

/// kubectl processes of one test at the same time: the machine may have two cores.
const AT_ONCE: usize = 3;

/// Pods that live as long as the world. Nobody below cluster-owner may make pods, so the cluster's own
/// administrator does.
fn pods() -> String {
    let pod = |name: &str, command: &str, more: &str| {
        format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: default, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {{name: main, image: none, command: [sh, -c, '{command}']{more}}}
---
"
        )
    };
    let http = program("fake-kubelet");
    [
        pod("shell", "echo started; exec sleep infinity", ""),
        pod(
            "echo",
            "while read -r line; do echo got $line; done",
            ", stdin: true",
        ),
        pod(
            "ticker",
            "n=0; while true; do n=$((n+1)); echo tick $n; sleep 0.2; done",
            "",
        ),
        pod("web", &format!("exec {} http 8080", http.display()), ""),
        pod("brief", "echo one; echo two", ""),
    ]
    .concat()
}

/// Gateway, cluster and people. The gateway ends first.
pub(super) struct World {
    pub(super) gateway: GatewayProcess,
    pub(super) local: LocalCluster,
    pub(super) audited: Mutex<super::audit::Seen>,
}

impl World {
    /// The world that all tests share while one of them runs.
    pub(super) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<World>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let world = Arc::new(Self::new(&[]));
            *shared = Arc::downgrade(&world);
            world
        })
    }

    /// A world of one's own; the arguments are for `local-cluster`.
    pub(super) fn new(arguments: &[&str]) -> Self {
        let (local, gateway) = thread::scope(|scope| {
            let gateway = scope.spawn(GatewayProcess::start);
            let local = LocalCluster::start_with(arguments);
            (local, gateway.join().expect("the gateway starts"))
        });
        let world = Self {
            gateway,
            local,
            audited: Mutex::default(),
        };
        world.settle();
        world
    }

    /// What an operator does once.
    fn settle(&self) {
        let file = self.gateway.home("operator").join("pods.yaml");
        fs::write(&file, pods()).expect("it can be written");
        run(self.local.kubectl().args(["apply", "-f"]).arg(&file)).ok();
        self.gateway.login("admin", &self.gateway.password).ok();
        let kubeconfig = self.local.admin_kubeconfig.to_str().expect("a path");
        self.admin(&[
            "cluster",
            "add",
            "local",
            "--kubeconfig",
            kubeconfig,
            "--label",
            "env=test",
            "--yes",
        ]);
        for person in [MEMBER, VIEWER, OPERATOR, OWNER, NOBODY] {
            self.add_person(person);
        }
        self.admin(&["user", "add", ROBOT, "--machine"]);
        self.admin(&[
            "bind",
            "cluster-viewer",
            "--user",
            ROBOT,
            "--cluster",
            "local",
        ]);
        self.admin(&[
            "bind",
            "cluster-member",
            "--user",
            MEMBER,
            "--cluster",
            "local",
        ]);
        self.admin(&[
            "bind",
            "cluster-owner",
            "--user",
            OWNER,
            "--cluster",
            "local",
        ]);
        self.admin(&["bind", "cluster-viewer", "--user", VIEWER, "--all-clusters"]);
        self.admin(&["group", "add", OPERATORS, "--member", OPERATOR]);
        self.admin(&[
            "bind",
            "cluster-member",
            "--group",
            OPERATORS,
            "--selector",
            "env=test",
        ]);
        for person in [MEMBER, VIEWER] {
            self.gateway.kubeconfig(person, "plugin.yaml", &[]);
            self.gateway
                .kubeconfig(person, "static.yaml", &["--static"]);
        }
        for person in [OPERATOR, OWNER] {
            self.gateway.kubeconfig(person, "plugin.yaml", &[]);
        }
        let ready = [
            "wait",
            "--for=condition=Ready",
            "--timeout=60s",
            "pod",
            "-l",
            "app!=brief",
        ];
        run(self.local.kubectl().args(ready)).ok();
    }

    /// Makes a user with a password and logs them in.
    pub(super) fn add_person(&self, person: &str) {
        let password = Self::password(person);
        let mut command = self.gateway.cli("admin");
        command.args(["user", "add", person, "--password-stdin"]);
        run_with(&command, &password).ok();
        self.gateway.login(person, &password).ok();
    }

    /// The password that a person was given: another for each, and without the name, which would be refused.
    pub(super) fn password(person: &str) -> String {
        let spelt: String = person.chars().flat_map(|letter| [letter, '-']).collect();
        format!("correct horse {spelt} battery")
    }

    /// `palisade` as the gateway's admin.
    #[track_caller]
    pub(super) fn admin(&self, arguments: &[&str]) -> String {
        self.palisade("admin", arguments).ok()
    }

    /// `palisade` as this person.
    pub(super) fn palisade(&self, person: &str, arguments: &[&str]) -> Ran {
        run(self.gateway.cli(person).args(arguments))
    }

    /// This person's kubectl, with the exec plugin.
    pub(super) fn kubectl(&self, person: &str, program: &Path) -> Command {
        kubectl(program, &self.gateway.home(person).join("plugin.yaml"))
    }

    /// A file for this person with another token in it.
    pub(super) fn token_config(&self, person: &str, token: &str) -> PathBuf {
        let home = self.gateway.home(person);
        let text = fs::read_to_string(home.join("static.yaml")).expect("a kubeconfig");
        let (before, _) = text.split_once("    token: ").expect("a token at its end");
        // A file of its own for each token: tests run side by side.
        let file = home.join(format!("{token}.yaml"));
        fs::write(&file, format!("{before}    token: {token}\n")).expect("it can be written");
        file
    }

    /// What a person who holds nothing may write by hand: a cluster's address, and their own token.
    pub(super) fn cluster_config(&self, person: &str, cluster: &str, version: &str) -> PathBuf {
        let made = self
            .gateway
            .kubeconfig(person, &format!("made-{version}.yaml"), &["--static"]);
        let text = fs::read_to_string(&made).expect("a kubeconfig");
        let server = format!("{}/k8s/clusters/{cluster}\n", self.gateway.url);
        let there = text.replace(&format!("{}\n", self.gateway.url), &server);
        let copy = made.with_extension(format!("{cluster}.yaml"));
        fs::write(&copy, there).expect("it can be written");
        copy
    }

    /// Registers a second cluster, which nobody has connected.
    pub(super) fn register_other(&self) {
        let cluster = r#"{"apiVersion": "palisade.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "other"},
            "spec": {"server": "https://127.0.0.1:1"}}"#;
        let file = self.gateway.kubeconfig("admin", "own.yaml", &[]);
        let mut create = kubectl(&newest(), &file);
        create.args([
            "--context",
            "palisade",
            "create",
            "--validate=false",
            "-f",
            "-",
        ]);
        run_with(&create, cluster).ok();
    }

    /// The same with the token in the file.
    pub(super) fn kubectl_static(&self, person: &str, program: &Path) -> Command {
        kubectl(program, &self.gateway.home(person).join("static.yaml"))
    }
}

/// A copy of this file for another cluster of the gateway.
pub(super) fn at_cluster(file: &Path, cluster: &str, version: &str) -> PathBuf {
    let text = fs::read_to_string(file).expect("a kubeconfig");
    let there = text.replace("/k8s/clusters/local", &format!("/k8s/clusters/{cluster}"));
    let copy = file.with_extension(format!("{cluster}-{version}.yaml"));
    fs::write(&copy, there).expect("it can be written");
    copy
}

/// Runs the rows with every kubectl, some at the same time; a failure names its version.
pub(super) fn with_each(versions: &[(String, PathBuf)], rows: impl Fn(&str, &Path) + Sync) {
    for chunk in versions.chunks(AT_ONCE) {
        thread::scope(|scope| {
            let threads: Vec<_> = chunk
                .iter()
                .map(|(version, program)| {
                    let rows = &rows;
                    (version, scope.spawn(move || rows(version, program)))
                })
                .collect();
            for (version, thread) in threads {
                assert!(thread.join().is_ok(), "kubectl {version} failed; see above");
            }
        });
    }
}

/// The oldest and the newest kubectl of this machine.
pub(super) fn oldest_and_newest() -> Vec<(String, PathBuf)> {
    let mut all = kubectls();
    let newest = all.pop().expect("there is one");
    all.truncate(1);
    all.push(newest);
    all
}

/// The newest kubectl.
pub(super) fn newest() -> PathBuf {
    program("kubectl")
}

/// Whether kubectl `version` is at least 1.`minor`.
pub(super) fn at_least(version: &str, minor: u32) -> bool {
    let (_, found) = version.split_once('.').expect("a version has a dot");
    found.parse::<u32>().expect("a number") >= minor
}

/// What `kubectl get --raw` needs to reach a path of the cluster `local` below the gateway's own path:
/// older ones leave the server's path out.
pub(super) fn raw(version: &str, path: &str) -> String {
    if at_least(version, 36) {
        path.to_owned()
    } else {
        format!("/k8s/clusters/local{path}")
    }
}

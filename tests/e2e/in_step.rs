//! Projects in a real cluster: what the gateway keeps there, and who reaches what because of it, with the real
//! program, a real API server and a real kubectl.

use crate::testkit::{
    cluster::{LocalCluster, program},
    gateway::{GatewayProcess, kubectl},
    process::{Ran, eventually, run, run_with},
};
use serde_json::{Value, json};
use std::{process::Command, thread};

mod away;
mod bulk;
mod drift;
mod members;

/// A gateway with one cluster.
struct World {
    gateway: GatewayProcess,
    local: LocalCluster,
}

impl World {
    fn new() -> Self {
        let (local, gateway) = thread::scope(|scope| {
            let gateway = scope.spawn(GatewayProcess::start);
            let local = LocalCluster::start();
            (local, gateway.join().expect("the gateway starts"))
        });
        let world = Self { gateway, local };
        let gateway = &world.gateway;
        gateway.login("admin", &gateway.password).ok();
        let kubeconfig = world.local.admin_kubeconfig.to_str().expect("a path");
        let add = ["cluster", "add", "local", "--kubeconfig", kubeconfig];
        world.admin(&[&add[..], &["--yes"]].concat());
        world
    }

    /// `palisade` as the gateway's admin.
    #[track_caller]
    fn admin(&self, arguments: &[&str]) -> String {
        run(self.gateway.cli("admin").args(arguments)).ok()
    }

    /// Makes a user and gives them a role in a project.
    #[track_caller]
    fn member(&self, person: &str, project: &str, more: &[&str]) {
        let spelt: String = person.chars().flat_map(|letter| [letter, '-']).collect();
        let password = format!("correct horse {spelt} battery");
        let mut command = self.gateway.cli("admin");
        command.args(["user", "add", person, "--password-stdin"]);
        run_with(&command, &password).ok();
        self.gateway.login(person, &password).ok();
        let bind = ["bind", "project-member", "--user", person];
        self.admin(&[&bind[..], &["--project", project], more].concat());
        self.gateway.kubeconfig(person, "plugin.yaml", &[]);
    }

    /// kubectl of a person, through the gateway.
    fn kubectl(&self, person: &str, arguments: &[&str]) -> Ran {
        let file = self.gateway.home(person).join("plugin.yaml");
        let mut command = kubectl(&program("kubectl"), &file);
        run(command.args(arguments))
    }

    /// kubectl of the cluster's own administrator, past the gateway.
    #[track_caller]
    fn direct(&self, arguments: &[&str]) -> String {
        run(self.local.kubectl().args(arguments)).ok()
    }

    #[track_caller]
    fn namespaces(&self, names: &[&str]) {
        for name in names {
            self.direct(&["create", "namespace", name]);
        }
    }

    /// Writes objects as the cluster's own administrator.
    #[track_caller]
    fn create(&self, objects: &Value) {
        let mut command: Command = self.local.kubectl();
        command.args(["create", "-f", "-"]);
        run_with(&command, &objects.to_string()).ok();
    }

    /// `status.sync` of the cluster, as `palisade cluster show` has it.
    #[track_caller]
    fn sync(&self) -> Value {
        let shown = self.admin(&["cluster", "show", "local", "--output", "json"]);
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        shown["status"]["sync"].clone()
    }

    #[track_caller]
    fn until_in_step(&self) {
        let in_step = || (self.sync()["state"] == "InStep").then_some(());
        assert!(eventually(in_step).is_some(), "{:#}", self.sync());
    }

    /// What a counter of the cluster stands at.
    fn count(&self, name: &str) -> u64 {
        let metrics = self.gateway.admin_get("/metrics").unwrap_or_default();
        let series = format!("{name}{{cluster=\"local\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&*series));
        line.and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("{series} is not in\n{metrics}"))
    }

    /// The grant group of a role in a project.
    #[track_caller]
    fn group(&self, project: &str, role: &str) -> String {
        let shown = self.admin(&["project", "show", project, "--output", "json"]);
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        let uid = shown["metadata"]["uid"].as_str().expect("a uid");
        format!("palisade:project:{uid}:{role}")
    }

    /// What the cluster itself says of somebody in this group, past the gateway.
    fn cluster_lets(&self, group: &str, verb: &str, resource: &str, namespace: &str) -> bool {
        let mut ask = self.local.kubectl();
        ask.args(["auth", "can-i", verb, resource, "-n", namespace])
            .args(["--as", "palisade:somebody", "--as-group", group]);
        run(&ask).stdout == "yes\n"
    }

    /// One object of the cluster; none if it is not there.
    fn object(&self, arguments: &[&str]) -> Option<Value> {
        let mut get = self.local.kubectl();
        get.arg("get").args(arguments).args(["-o", "json"]);
        let got = run(&get);
        (got.code == Some(0)).then(|| serde_json::from_str(&got.stdout).expect("JSON"))
    }
}

fn names(list: &[&str]) -> Value {
    let namespace =
        |name: &&str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let items: Vec<Value> = list.iter().map(namespace).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

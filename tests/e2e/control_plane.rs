//! The control plane itself, without the gateway: what works here and not through the gateway is
//! the gateway's fault.

use std::process::{Command, Output};

use crate::testkit::cluster::{LocalCluster, kubectls};

/// A pod that writes a line, then lives until it is deleted.
const POD: &str = r#"{
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shell", "namespace": "default"},
    "spec": {"terminationGracePeriodSeconds": 1, "containers": [
        {"name": "main", "image": "none", "command": ["sh", "-c", "echo started; exec sleep 1000"]}
    ]}
}"#;

fn run(command: &mut Command) -> Output {
    command.output().expect("kubectl can be run")
}

fn stdout(command: &mut Command) -> String {
    let output = run(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{stderr}",
        output.status
    );
    String::from_utf8(output.stdout).expect("kubectl prints text")
}

#[test]
fn every_kubectl_works_on_the_control_plane_itself() {
    let cluster = LocalCluster::start();
    let manifest = cluster.admin_kubeconfig.with_file_name("pod.json");
    std::fs::write(&manifest, POD).expect("the manifest is written");
    stdout(cluster.kubectl().arg("apply").arg("-f").arg(&manifest));
    stdout(cluster.kubectl().args([
        "wait",
        "--for=condition=Ready",
        "--timeout=30s",
        "pod/shell",
    ]));

    let kubectls = kubectls();
    for (version, program) in &kubectls {
        let kubectl = || cluster.kubectl_at(program);
        assert_eq!(
            stdout(kubectl().args(["logs", "shell"])),
            "started\n",
            "kubectl {version}"
        );
        let exec = [
            "exec",
            "shell",
            "--",
            "sh",
            "-c",
            "echo out; echo err >&2; exit 7",
        ];
        let output = run(kubectl().args(exec));
        assert_eq!(output.status.code(), Some(7), "kubectl {version}");
        assert_eq!(output.stdout, b"out\n", "kubectl {version}");
        assert!(output.stderr.starts_with(b"err\n"), "kubectl {version}");
    }
    let created = |event: &&serde_json::Value| event["objectRef"]["subresource"] == "exec";
    let execs = cluster.audit_events().iter().filter(created).count();
    assert!(
        execs >= kubectls.len(),
        "the audit log shows {execs} of {}",
        kubectls.len()
    );

    stdout(cluster.kubectl().args(["delete", "--wait", "pod/shell"]));
}

#[test]
fn a_deleted_namespace_ends_with_its_pods() {
    let cluster = LocalCluster::start();
    stdout(cluster.kubectl().args(["create", "namespace", "short"]));
    stdout(
        cluster
            .kubectl()
            .args(["run", "sleeper", "-n", "short", "--image=none"]),
    );
    stdout(
        cluster
            .kubectl()
            .args(["delete", "namespace", "short", "--timeout=60s"]),
    );
    let left = stdout(cluster.kubectl().args(["get", "namespaces", "-o", "name"]));
    assert!(!left.contains("short"), "{left}");
}

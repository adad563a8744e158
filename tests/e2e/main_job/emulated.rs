//! P3: before 1.35 an API server asks only for `get` when exec arrives as a GET, which is how WebSockets
//! begin. The gateway asks for `create` whatever the cluster's version.

use super::world::{PEEKER, World};
use crate::testkit::{
    cluster::{kubectls, program},
    gateway::kubectl,
    process::{run, run_with},
};

/// Reads pods and, as somebody may have thought, the output of commands.
const ROLE: &str = r#"{"apiVersion": "palisade.dev/v1alpha1", "kind": "Role", "metadata": {"name": "peeker"},
    "spec": {"scope": "cluster", "rules": [
        {"apiGroups": [""], "resources": ["pods", "pods/exec", "pods/attach", "pods/portforward"], "verbs": ["get"]}
    ]}}"#;

#[test]
fn exec_by_get_is_refused_where_the_cluster_would_allow_it() {
    let world = World::new(&["--apiserver-arg=--emulated-version=kube=1.34"]);
    let own = world.gateway.kubeconfig("admin", "own.yaml", &[]);
    let mut create = kubectl(&program("kubectl"), &own);
    create.args([
        "--context",
        "palisade",
        "create",
        "--validate=false",
        "-f",
        "-",
    ]);
    run_with(&create, ROLE).ok();
    world.add_person(PEEKER);
    world.admin(&["bind", "peeker", "--user", PEEKER, "--cluster", "local"]);
    world.admin(&["cluster", "sync", "local"]);
    world.gateway.kubeconfig(PEEKER, "plugin.yaml", &[]);

    let mut websockets = kubectls();
    websockets
        .retain(|(version, _)| !matches!(version.as_str(), "1.27" | "1.28" | "1.29" | "1.30"));
    assert!(!websockets.is_empty(), "no kubectl here begins with a GET");
    for (version, program) in &websockets {
        // The danger is real: the cluster itself lets such a person in.
        let mut direct = world.local.kubectl_at(program);
        direct.args(["--as=palisade:pia", "--as-group=palisade:cluster:peeker"]);
        direct.args(["exec", "shell", "--", "echo", "in"]);
        assert_eq!(run(&direct).ok(), "in\n", "{version}");

        let pia = || world.kubectl(PEEKER, program);
        run(pia().args(["get", "pod", "shell"])).ok();
        let exec = run(pia().args(["exec", "shell", "--", "echo", "in"]));
        exec.refused(&["User \"pia\" cannot create resource \"pods/exec\""]);
        let attach = run(pia().args(["attach", "shell"]));
        attach.refused(&["User \"pia\" cannot create resource \"pods/attach\""]);
        let forward = run(pia().args(["port-forward", "pod/web", ":8080"]));
        forward.refused(&["User \"pia\" cannot create resource \"pods/portforward\""]);
    }
    world.check_audit();
    let reached = world.local.audit_events().into_iter().find(|event| {
        let through_gateway = event["user"]["username"]
            .as_str()
            .is_some_and(|name| name.contains("palisade-system"));
        through_gateway && event["objectRef"]["subresource"] == "exec"
    });
    assert_eq!(reached, None);
}

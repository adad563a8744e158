//! What people may not, and what they read then: kubectl's own words, the reason, and the request's id.

use super::world::{MEMBER, NOBODY, VIEWER, World, oldest_and_newest, raw, with_each};
use crate::testkit::process::{Ran, eventually, run, run_with};

/// A pod, for whoever may not make one.
const POD: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mine"},
    "spec": {"containers": [{"name": "main", "image": "none"}]}}"#;

impl World {
    /// The refusal names the user, the cause and the id of a request that is in the gateway's log.
    #[track_caller]
    fn is_forbidden(&self, ran: Ran, wanted: &str) {
        let said = ran.refused(&[wanted]);
        let id = said.rsplit_once("(request ").map(|(_, rest)| rest);
        let id = id.and_then(|rest| rest.split_once(')')).map(|(id, _)| id);
        let id = id.unwrap_or_else(|| panic!("no request id: {said}"));
        // The line is written at the end of the answer: kubectl may be quicker to tell of it.
        let logged = eventually(|| self.gateway.log().contains(id).then_some(()));
        assert!(logged.is_some(), "{id} is not in the log: {said}");
    }
}

/// kubectl's arguments, and what the refusal says.
type Row = (&'static [&'static str], &'static str);

const VIEWER_ROWS: &[Row] = &[
    (
        &["exec", "shell", "--", "true"],
        "cannot create resource \"pods/exec\"",
    ),
    (
        &["attach", "shell"],
        "cannot create resource \"pods/attach\"",
    ),
    (
        &["port-forward", "pod/web", ":8080"],
        "cannot create resource \"pods/portforward\"",
    ),
    (
        &["cp", "shell:x", "x"],
        "cannot create resource \"pods/exec\"",
    ),
    (
        &["create", "configmap", "x"],
        "cannot create resource \"configmaps\"",
    ),
    (
        &["delete", "pod", "shell"],
        "cannot delete resource \"pods\"",
    ),
    (&["get", "secrets"], "cannot list resource \"secrets\""),
    (
        &["get", "secret", "x", "-n", "palisade-system"],
        "cannot get resource \"secrets\"",
    ),
    (
        &["label", "pod", "shell", "x=y"],
        "cannot patch resource \"pods\"",
    ),
    (
        &["get", "clusterroles"],
        "cannot list resource \"clusterroles\"",
    ),
];

const MEMBER_ROWS: &[Row] = &[
    (
        &["get", "secrets", "-A"],
        "cannot list resource \"secrets\"",
    ),
    (
        &["run", "mine", "--image=none"],
        "cannot create resource \"pods\"",
    ),
    (
        &["create", "deployment", "mine", "--image=none"],
        "cannot create resource \"deployments\"",
    ),
    (
        &["create", "token", "default"],
        "cannot create resource \"serviceaccounts/token\"",
    ),
    (
        &["create", "token", "impersonator", "-n", "palisade-system"],
        "cannot create resource \"serviceaccounts/token\"",
    ),
    (
        &[
            "create",
            "clusterrolebinding",
            "mine",
            "--clusterrole=cluster-admin",
            "--user=palisade:mia",
        ],
        "cannot create resource \"clusterrolebindings\"",
    ),
    (
        &["delete", "namespace", "default"],
        "cannot delete resource \"namespaces\"",
    ),
    (
        &["label", "node", "local", "x=y"],
        "cannot patch resource \"nodes\"",
    ),
    (
        &["debug", "shell", "--image=none"],
        "cannot patch resource \"pods/ephemeralcontainers\"",
    ),
    // H1: a group that the cluster believes, and a name that it believes.
    (
        &["get", "pods", "--as=admin"],
        "User \"mia\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
    ),
    (
        &[
            "get",
            "secrets",
            "--as=palisade:mia",
            "--as-group=system:masters",
        ],
        "\"palisade:mia\" is a name that clusters see",
    ),
];

#[test]
fn refusals_say_what_and_why_and_name_the_request() {
    let world = World::shared();
    with_each(&oldest_and_newest(), |version, program| {
        for (person, rows) in [(VIEWER, VIEWER_ROWS), (MEMBER, MEMBER_ROWS)] {
            for (arguments, wanted) in rows {
                let ran = run(world.kubectl(person, program).args(*arguments));
                world.is_forbidden(ran, wanted);
            }
        }
        // Whoever reaches the kubelet is root on the node (P4).
        for (path, wanted) in [
            ("/metrics", "cannot get path \"/metrics\""),
            (
                "/api/v1/nodes/local/proxy/pods",
                "cannot get resource \"nodes/proxy\"",
            ),
        ] {
            let ran =
                run(world
                    .kubectl(MEMBER, program)
                    .args(["get", "--raw", &raw(version, path)]));
            world.is_forbidden(ran, wanted);
        }
        let apply = |person, arguments: &[&str]| {
            run_with(world.kubectl(person, program).args(arguments), POD)
        };
        world.is_forbidden(
            apply(MEMBER, &["create", "-f", "-"]),
            "cannot create resource \"pods\"",
        );
        world.is_forbidden(
            apply(MEMBER, &["apply", "-f", "-"]),
            "cannot create resource \"pods\"",
        );
        let server_side = ["apply", "--server-side", "-f", "-"];
        world.is_forbidden(
            apply(VIEWER, &server_side),
            "cannot patch resource \"pods\"",
        );
    });
    world.check_audit();
}

#[test]
fn nothing_of_what_was_refused_reached_the_cluster() {
    let world = World::shared();
    let before = world.local.audit_events().len();
    run(world
        .kubectl(VIEWER, &super::world::newest())
        .args(["exec", "shell", "--", "true"]))
    .refused(&["pods/exec"]);
    run(world
        .kubectl(MEMBER, &super::world::newest())
        .args(["get", "secrets"]))
    .refused(&["secrets"]);
    world.check_audit();
    let events = world.local.audit_events();
    let reached = events[before..].iter().find(|event| {
        let resource = &event["objectRef"]["resource"];
        let viewer_exec = event["objectRef"]["subresource"] == "exec"
            && event["impersonatedUser"]["username"] == "palisade:vic";
        let secrets = resource == "secrets" && !event["impersonatedUser"].is_null();
        viewer_exec || secrets
    });
    assert_eq!(reached, None);
}

#[test]
fn a_stranger_cannot_tell_a_cluster_from_no_cluster() {
    let world = World::shared();
    with_each(&oldest_and_newest(), |version, program| {
        // Nothing is bound to her: her file has the gateway's own API alone.
        let clusters = world.palisade(NOBODY, &["clusters"]);
        assert_eq!(clusters.code, Some(0), "{clusters}");
        assert!(!clusters.stdout.contains("local"), "{clusters}");
        let mut said = Vec::new();
        for cluster in ["local", "nowhere"] {
            let file = world.cluster_config(NOBODY, cluster, version);
            let kubectl = || crate::testkit::gateway::kubectl(program, &file);
            let wanted = format!(
                "user \"zoe\" holds no role on cluster \"{cluster}\", or there is no such cluster"
            );
            world.is_forbidden(run(kubectl().args(["get", "pods"])), &wanted);
            let config_map = ["create", "configmap", "x"];
            let text = run(kubectl().args(config_map)).refused(&[&wanted]);
            let (text, _) = text.split_once("(request").expect("an id");
            said.push(text.replace(cluster, "it"));
        }
        assert_eq!(said[0], said[1]);
    });
    world.check_audit();
}

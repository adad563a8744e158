//! What others change, and what a policy folder does.

use super::World;
use crate::testkit::process::eventually;
use serde_json::{Value, json};
use std::fs;

const ROLE: &str = "palisade:project:project-viewer";

fn world() -> World {
    let world = World::new();
    world.namespaces(&["shop", "other"]);
    world.admin(&["project", "add", "shop", "--cluster", "local", "-n", "shop"]);
    world.until_in_step();
    world
}

#[test]
fn what_others_change_is_put_back_and_counted() {
    let world = world();
    let binding = ["rolebinding", ROLE, "-n", "shop"];
    let role = ["clusterrole", ROLE];
    let right = [&binding[..], &role].map(|object| world.object(object).expect("it is there"));
    let same = || {
        let now = [&binding[..], &role].map(|object| world.object(object));
        now.iter().zip(&right).all(|(now, right)| {
            now.as_ref().is_some_and(|now| {
                ["rules", "subjects", "roleRef"]
                    .iter()
                    .all(|field| now[field] == right[field])
                    && now["metadata"]["labels"] == right["metadata"]["labels"]
            })
        })
    };
    assert_eq!(world.count("palisade_cluster_drift_total"), 0);
    let all = r#"[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]"#;
    let more = format!(r#"{{"rules":{all}}}"#);
    let whom = r#"{"subjects":[{"kind":"Group","apiGroup":"rbac.authorization.k8s.io","name":"system:authenticated"}]}"#;
    let unlabelled = r#"{"metadata":{"labels":null}}"#;
    let changes: [&[&str]; 5] = [
        &["delete", "rolebinding", ROLE, "-n", "shop"],
        &[
            "patch",
            "rolebinding",
            ROLE,
            "-n",
            "shop",
            "--type=merge",
            "-p",
            whom,
        ],
        &["delete", "clusterrole", ROLE],
        &["patch", "clusterrole", ROLE, "--type=merge", "-p", &more],
        &[
            "patch",
            "clusterrole",
            ROLE,
            "--type=merge",
            "-p",
            unlabelled,
        ],
    ];
    for (number, change) in (1..).zip(changes) {
        world.direct(change);
        let counted = || (world.count("palisade_cluster_drift_total") == number).then_some(());
        assert!(eventually(counted).is_some(), "{change:?}");
        assert!(eventually(|| same().then_some(())).is_some(), "{change:?}");
    }
    let log = world.gateway.log();
    assert!(
        log.contains("undid what somebody else had changed"),
        "{log}"
    );
}

#[test]
fn bindings_of_others_to_the_gateways_groups_are_told_and_taken_away_under_its_names() {
    let world = world();
    // Not the gateway's: told, and left alone.
    let group = world.group("shop", "project-member");
    let group = format!("--group={group}");
    for namespace in ["shop", "other"] {
        let make = ["create", "rolebinding", "mine", "--clusterrole=edit"];
        world.direct(&[&make[..], &[&group, "-n", namespace]].concat());
    }
    let told = eventually(|| (world.sync()["foreign"] == 2).then(|| world.sync()));
    let told = told.unwrap_or_else(|| panic!("{:#}", world.sync()));
    let list = json!(["RoleBinding other/mine", "RoleBinding shop/mine"]);
    assert_eq!(told["foreignBindings"], list, "{told:#}");
    assert_eq!(world.count("palisade_cluster_foreign_bindings"), 2);
    // The gateway's by its name: it goes.
    let strange = "palisade:project:strange";
    let make = ["create", "rolebinding", strange, "--clusterrole=edit"];
    world.direct(&[&make[..], &[&group, "-n", "other"]].concat());
    let at = ["rolebinding", strange, "-n", "other"];
    let gone = eventually(|| world.object(&at).is_none().then_some(()));
    assert!(gone.is_some(), "{:#}", world.sync());
    world.until_in_step();
    assert!(
        world
            .object(&["rolebinding", "mine", "-n", "other"])
            .is_some()
    );
    world.direct(&["delete", "rolebinding", "mine", "-n", "other"]);
    world.direct(&["delete", "rolebinding", "mine", "-n", "shop"]);
    let forgotten = || world.sync()["foreign"].is_null().then_some(());
    assert!(eventually(forgotten).is_some(), "{:#}", world.sync());
}

/// A role of the folder's own.
fn folder(verbs: &str) -> String {
    format!(
        "\
apiVersion: palisade.dev/v1alpha1
kind: Role
metadata: {{name: map-writer}}
spec:
  scope: project
  inherits: [project-viewer]
  rules:
  - {{apiGroups: [''], resources: [configmaps], verbs: [{verbs}]}}
  - {{apiGroups: [''], resources: [users], verbs: [impersonate]}}
"
    )
}

// CVE-2026-44947: what is taken out of a role must go from the cluster too.
#[test]
fn a_role_that_shrinks_in_the_folder_shrinks_in_the_cluster() {
    let mut world = world();
    let policies = world.gateway.state_dir().join("policies");
    fs::create_dir(&policies).expect("a folder");
    let file = policies.join("team.yaml");
    fs::write(&file, folder("create, delete")).expect("it can be written");
    world
        .gateway
        .restart(|config| format!("{config}policies: policies\n"));
    let name = "palisade:project:map-writer";
    let rules =
        || -> Option<Value> { Some(world.object(&["clusterrole", name])?["rules"].clone()) };
    let written = eventually(rules).unwrap_or_else(|| panic!("{:#}", world.sync()));
    let own =
        json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "delete"]});
    let all = written.as_array().expect("rules");
    assert!(all.contains(&own), "{written:#}");
    assert!(all.len() > 5, "with those that it inherits: {written:#}");
    assert!(!written.to_string().contains("impersonate"), "{written:#}");
    world.until_in_step();
    let group = world.group("shop", "map-writer");
    assert!(world.cluster_lets(&group, "delete", "configmaps", "shop"));
    assert!(world.cluster_lets(&group, "get", "pods", "shop"));

    fs::write(&file, folder("create")).expect("it can be written");
    let shrunk =
        eventually(|| (!world.cluster_lets(&group, "delete", "configmaps", "shop")).then_some(()));
    assert!(shrunk.is_some(), "{:?}", rules());
    assert!(world.cluster_lets(&group, "create", "configmaps", "shop"));

    fs::remove_file(&file).expect("it can be removed");
    let gone = eventually(|| rules().is_none().then_some(()));
    assert!(gone.is_some(), "{:?}", rules());
    world.until_in_step();
    assert!(!world.cluster_lets(&group, "create", "configmaps", "shop"));
    assert!(world.object(&["rolebinding", name, "-n", "shop"]).is_none());
}

// Rights that were taken away since the copy was made are in it, and nothing tells a watch of them.
#[test]
fn a_cluster_whose_etcd_was_put_back_from_a_copy_is_brought_in_step() {
    let mut world = World::new();
    world.namespaces(&["shop", "shop-eu"]);
    world.admin(&["project", "add", "shop", "--cluster", "local", "-n", "shop"]);
    let policies = world.gateway.state_dir().join("policies");
    fs::create_dir(&policies).expect("a folder");
    let file = policies.join("team.yaml");
    fs::write(&file, folder("create, delete")).expect("it can be written");
    world
        .gateway
        .restart(|config| format!("{config}policies: policies\n"));
    world.until_in_step();
    let group = world.group("shop", "map-writer");
    let deletes = |namespace| world.cluster_lets(&group, "delete", "configmaps", namespace);
    assert!(eventually(|| deletes("shop").then_some(())).is_some());

    world.local.stop_api_server();
    world.local.copy_objects();
    world.local.start_api_server();
    fs::write(&file, folder("create")).expect("it can be written");
    world.admin(&["project", "add-namespace", "shop", "shop-eu"]);
    world.admin(&["project", "remove-namespace", "shop", "shop"]);
    let creates = |namespace| world.cluster_lets(&group, "create", "configmaps", namespace);
    let taken = || (creates("shop-eu") && !creates("shop") && !deletes("shop-eu")).then_some(());
    assert!(eventually(taken).is_some(), "{:#}", world.sync());
    world.until_in_step();

    // So much happens that the start of an API server does not make up for it.
    let map = |number: u32| {
        let metadata = json!({"name": format!("map-{number}"), "namespace": "shop"});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    };
    let maps: Vec<Value> = (0..500).map(map).collect();
    world.create(&json!({"apiVersion": "v1", "kind": "List", "items": maps}));
    let stands_at = || -> u64 {
        let all = world.direct(&["get", "--raw", "/api/v1/namespaces?limit=1"]);
        let all: Value = serde_json::from_str(&all).expect("JSON");
        let version = all["metadata"]["resourceVersion"].as_str();
        version.and_then(|it| it.parse().ok()).expect("a number")
    };
    let before = stands_at();
    world.local.stop_api_server();
    world.local.put_objects_back();
    world.local.start_api_server();
    assert!(stands_at() < before, "its versions begin again");
    assert!(eventually(taken).is_some(), "{:#}", world.sync());
    world.until_in_step();
}

//! Generated RBAC objects, and the way to bring them to the server.

use super::{random::Random, succeed};
use crate::testkit::cluster::LocalCluster;
use palisade::authz::files::load_text;
use serde_json::{Value, json};
use std::path::Path;

const RBAC: &str = "rbac.authorization.k8s.io/v1";
/// Roles of namespaces are in all of these; `default` is there already.
pub(super) const NAMESPACES: [&str; 3] = ["default", "gen-a", "gen-b"];
// Many, so that each holds little: else a miss of one rule is a hit of another.
pub(super) const USERS: [&str; 16] = [
    "jane",
    "joe",
    "ci:robot",
    "*",
    "system:gen:user",
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
    "i",
    "j",
    "k",
];
pub(super) const GROUPS: [&str; 14] = [
    "devs",
    "ops",
    "a,b",
    "*",
    "system:gen:group",
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
    "i",
];
pub(super) const ACCOUNTS: [&str; 6] = ["builder", "default", "a", "b", "c", "d"];
pub(super) const VERBS: [&str; 9] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "impersonate",
];
pub(super) const API_GROUPS: [&str; 4] = ["", "apps", "example.com", "rbac.authorization.k8s.io"];
pub(super) const RESOURCES: [&str; 7] = [
    "pods",
    "secrets",
    "configmaps",
    "deployments",
    "widgets",
    "nodes",
    "clusterroles",
];
pub(super) const SUBRESOURCES: [&str; 5] = ["log", "exec", "scale", "status", "proxy"];
pub(super) const NAMES: [&str; 5] = ["a", "b", "a:8080", "*", "kube-root-ca.crt"];
const COMBINED: [&str; 8] = [
    "pods/log",
    "pods/exec",
    "deployments/scale",
    "widgets/status",
    "nodes/proxy",
    "pods/*",
    "*/*",
    "pods/proxy",
];
const ANY_SUB: [&str; 3] = ["*/scale", "*/status", "*/log"];
const PATHS: [&str; 4] = ["/healthz", "/metrics", "/a/*/c", "/version/"];
const PREFIXES: [&str; 5] = ["/healthz/*", "/a*", "/x/**", "/logs/*", "/apis/*"];

/// How many of each kind; together they give every feature enough to hit.
const CLUSTER_ROLES: usize = 50;
const ROLES_OF_EACH_NAMESPACE: usize = 15;
const CLUSTER_ROLE_BINDINGS: usize = 45;
const ROLE_BINDINGS_OF_EACH_NAMESPACE: usize = 35;
/// Aggregated roles, which the test fills as the controller would.
pub(super) const AGGREGATED: [&str; 3] = ["gen-all-parts", "gen-chained", "gen-by-expression"];

pub(super) fn rule(random: &mut Random, may_have_paths: bool) -> Value {
    let any = |random: &mut Random, list: Vec<String>, percent: usize| {
        if random.chance(percent) {
            vec!["*".to_owned()]
        } else {
            list
        }
    };
    let verbs = random.some(&VERBS, 1, 4);
    let verbs = any(random, verbs, 20);
    if may_have_paths && random.chance(35) {
        let mut paths = random.some(&PATHS, 0, 2);
        paths.extend(random.some(&PREFIXES, 1, 2));
        let paths = any(random, paths, 12);
        return json!({"verbs": verbs, "nonResourceURLs": paths});
    }
    let groups = random.some(&API_GROUPS, 1, 3);
    let groups = any(random, groups, 25);
    let resources = match random.below(10) {
        0..3 => random.some(&RESOURCES, 1, 3),
        3..6 => random.some(&COMBINED, 1, 3),
        6..8 => random.some(&ANY_SUB, 1, 2),
        _ => vec!["*".to_owned()],
    };
    let mut rule = json!({"verbs": verbs, "apiGroups": groups, "resources": resources});
    if random.chance(30) {
        rule["resourceNames"] = random.some(&NAMES, 1, 3).into();
    }
    rule
}

fn rules(random: &mut Random, may_have_paths: bool) -> Vec<Value> {
    let number = 1 + random.below(3);
    (0..number).map(|_| rule(random, may_have_paths)).collect()
}

fn subjects(random: &mut Random, namespaced: bool) -> Vec<Value> {
    let number = 1 + random.below(2);
    let api_group = "rbac.authorization.k8s.io";
    (0..number)
        .map(|_| match random.below(3) {
            0 => json!({"kind": "User", "name": random.pick(&USERS), "apiGroup": api_group}),
            1 => json!({"kind": "Group", "name": random.pick(&GROUPS), "apiGroup": api_group}),
            _ => {
                let mut account = json!({"kind": "ServiceAccount", "name": random.pick(&ACCOUNTS)});
                // Without one, that of the binding.
                if !namespaced || random.chance(60) {
                    account["namespace"] = random.pick(&NAMESPACES).into();
                }
                account
            }
        })
        .collect()
}

fn generate(random: &mut Random) -> Vec<Value> {
    let mut items = Vec::new();
    for index in 0..CLUSTER_ROLES {
        let mut rules = rules(random, true);
        if index == 0 {
            // The one feature that chance alone may leave out.
            rules.push(json!({"verbs": ["get"], "nonResourceURLs": ["*"]}));
        }
        let part = if index % 5 == 0 { "yes" } else { "no" };
        items.push(
            json!({"apiVersion": RBAC, "kind": "ClusterRole", "rules": rules,
            "metadata": {"name": format!("gen-role-{index}"), "labels": {"gen/part": part}}}),
        );
    }
    let of_cluster: Vec<String> = (0..CLUSTER_ROLES)
        .map(|index| format!("gen-role-{index}"))
        .collect();
    let any_cluster_role = |random: &mut Random| match random.below(12) {
        0 => "gen-missing".to_owned(),
        1..3 => random.pick(&AGGREGATED).to_owned(),
        _ => of_cluster[random.below(of_cluster.len())].clone(),
    };
    for index in 0..CLUSTER_ROLE_BINDINGS {
        let name = if index == 0 {
            of_cluster[0].clone()
        } else {
            any_cluster_role(random)
        };
        items.push(json!({"apiVersion": RBAC, "kind": "ClusterRoleBinding",
            "metadata": {"name": format!("gen-binding-{index}")}, "subjects": subjects(random, false),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}}));
    }
    for namespace in NAMESPACES {
        for index in 0..ROLES_OF_EACH_NAMESPACE {
            items.push(
                json!({"apiVersion": RBAC, "kind": "Role", "rules": rules(random, false),
                "metadata": {"name": format!("gen-role-{index}"), "namespace": namespace}}),
            );
        }
        for index in 0..ROLE_BINDINGS_OF_EACH_NAMESPACE {
            let (kind, name) = if random.chance(50) {
                (
                    "Role",
                    format!("gen-role-{}", random.below(ROLES_OF_EACH_NAMESPACE + 1)),
                )
            } else {
                ("ClusterRole", any_cluster_role(random))
            };
            items.push(json!({"apiVersion": RBAC, "kind": "RoleBinding",
                "metadata": {"name": format!("gen-binding-{index}"), "namespace": namespace},
                "subjects": subjects(random, true),
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}}));
        }
    }
    items
}

/// Aggregated roles as a person writes them: without rules.
fn aggregated() -> Vec<Value> {
    let [parts, chained, expression] = AGGREGATED;
    let role = |name: &str, labels: Value, selector: Value| {
        json!({"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": name, "labels": labels},
            "aggregationRule": {"clusterRoleSelectors": [selector]}})
    };
    vec![
        role(
            parts,
            json!({"gen/chain": "yes"}),
            json!({"matchLabels": {"gen/part": "yes"}}),
        ),
        role(
            chained,
            json!({}),
            json!({"matchLabels": {"gen/chain": "yes"}}),
        ),
        role(
            expression,
            json!({}),
            json!({"matchExpressions": [
            {"key": "gen/part", "operator": "NotIn", "values": ["no"]}, {"key": "gen/part", "operator": "Exists"}]}),
        ),
    ]
}

/// The aggregated roles with the rules that our loader gives them. There is no controller here: this test is
/// it, and the server judges by what is written.
fn filled(items: &[Value]) -> Vec<Value> {
    let by_hand: Vec<Value> = items.iter().cloned().chain(aggregated()).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": by_hand});
    let folder = load_text("by-hand.json", &list.to_string());
    assert!(folder.mistakes.is_empty(), "{:?}", folder.mistakes);
    let mut whole = aggregated();
    for role in &mut whole {
        let name = role["metadata"]["name"].as_str().unwrap();
        let rules = &folder.raw.cluster_roles[name].object.rules;
        assert!(!rules.is_empty(), "{name} has no rules");
        role["rules"] = serde_json::to_value(rules).unwrap();
    }
    whole
}

/// Generates all objects and writes them to the server.
pub(super) fn create(cluster: &LocalCluster, folder: &Path, random: &mut Random) {
    for namespace in NAMESPACES.iter().filter(|name| **name != "default") {
        succeed(cluster.kubectl().args(["create", "namespace", namespace]));
    }
    let mut items = generate(random);
    items.extend(filled(&items));
    // One more that no controller has filled: the server takes it for empty.
    items.push(
        json!({"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": "gen-unfilled"},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"gen/part": "yes"}}]}}),
    );
    items.push(json!({"apiVersion": RBAC, "kind": "ClusterRoleBinding", "metadata": {"name": "gen-unfilled"},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "gen-unfilled"}}));
    let file = folder.join("generated.json");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    std::fs::write(&file, list.to_string()).unwrap();
    succeed(cluster.kubectl().arg("create").arg("-f").arg(&file));
}

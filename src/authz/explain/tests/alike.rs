//! What explains a decision and what makes it decide alike, whatever the policy and the question.

use super::*;
use crate::authz::{
    policy::{Place, Who},
    rules,
};
use proptest::prelude::*;

const VERBS: [&str; 6] = ["get", "list", "create", "delete", "*", "watch"];
const GROUPS: [&str; 4] = ["", "apps", "*", "palisade.dev"];
const RESOURCES: [&str; 8] = [
    "pods",
    "pods/log",
    "pods/exec",
    "*",
    "*/scale",
    "deployments",
    "deployments/scale",
    "pods/*",
];
const NAMES: [&str; 3] = ["a", "b", "*"];
const URLS: [&str; 5] = ["/version", "/api/*", "*", "/healthz", "/healthz/*"];
const CLUSTERS: [&str; 3] = ["prod", "stage", "unlabelled"];
const USERS: [&str; 3] = ["jane", "joe", "devs"];
const TEAMS: [&str; 3] = ["devs", "ops", "jane"];

fn some(of: &'static [&'static str], at_least: usize) -> impl Strategy<Value = Vec<String>> {
    let one = prop::sample::select(of).prop_map(str::to_owned);
    prop::collection::vec(one, at_least..3)
}

fn any_rule() -> impl Strategy<Value = PolicyRule> {
    let resources = (
        some(&VERBS, 1),
        some(&GROUPS, 1),
        some(&RESOURCES, 1),
        some(&NAMES, 0),
    )
        .prop_map(
            |(verbs, api_groups, resources, resource_names)| PolicyRule {
                verbs,
                api_groups,
                resources,
                resource_names,
                ..PolicyRule::default()
            },
        );
    let paths =
        (some(&VERBS, 1), some(&URLS, 1)).prop_map(|(verbs, non_resource_urls)| PolicyRule {
            verbs,
            non_resource_urls,
            ..PolicyRule::default()
        });
    prop_oneof![3 => resources, 1 => paths]
}

/// A folder of policy as text; circles cannot be made: a role inherits from earlier ones.
fn any_policy() -> impl Strategy<Value = String> {
    let scope = prop::sample::select(&["global", "cluster", "project", "project"][..]);
    let role = (scope, prop::collection::vec(any_rule(), 0..3), any::<u8>());
    let binding = (0..6_usize, 0..6_usize, 0..4_usize, 0..3_usize);
    (
        prop::collection::vec(role, 6),
        prop::collection::vec(binding, 0..8),
    )
        .prop_map(|(roles, bindings)| policy_text(&roles, &bindings))
}

type AnyRole = (&'static str, Vec<PolicyRule>, u8);
type AnyBinding = (usize, usize, usize, usize);

fn policy_text(roles: &[AnyRole], bindings: &[AnyBinding]) -> String {
    let mut documents = vec![
        serde_json::json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "prod", "labels": {"env": "prod"}}, "spec": {}}),
        serde_json::json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "stage", "labels": {"env": "stage", "eu": "yes"}}, "spec": {}}),
        serde_json::json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "Group",
            "metadata": {"name": "ops"}, "spec": {"members": [{"name": "joe"}]}}),
        // With and without a uid: a name stands for what has none.
        serde_json::json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "Project",
            "metadata": {"name": "one", "uid": "u1"}, "spec": {"cluster": "prod", "namespaces": ["n", "m-*"]}}),
        serde_json::json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "Project",
            "metadata": {"name": "two"}, "spec": {"cluster": "prod", "namespaces": ["n-*"]}}),
        serde_json::json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "Project",
            "metadata": {"name": "all"}, "spec": {"cluster": "unlabelled", "namespaces": ["*"]}}),
    ];
    for (index, (scope, rules, inherits)) in roles.iter().enumerate() {
        let same = |other: &usize| roles[*other].0 == *scope && inherits >> (other % 8) & 1 == 1;
        let fits = |rule: &&PolicyRule| *scope != "project" || rule.non_resource_urls.is_empty();
        let fitting: Vec<&PolicyRule> = rules.iter().filter(fits).collect();
        let parents: Vec<String> = (0..index)
            .filter(same)
            .map(|other| format!("r{other}"))
            .collect();
        documents.push(
            serde_json::json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "Role",
            "metadata": {"name": format!("r{index}")},
            "spec": {"scope": scope, "inherits": parents, "rules": fitting}}),
        );
    }
    for (index, (role, subject, place, end)) in bindings.iter().enumerate() {
        let (kind, names) = if *subject < 3 {
            ("User", USERS)
        } else {
            ("Group", TEAMS)
        };
        let mut spec = serde_json::json!({"role": format!("r{role}"),
            "subject": {"kind": kind, "name": names[subject % 3]}});
        if roles[*role].0 == "project" {
            spec["project"] = ["one", "two", "all", "one"][*place].into();
        } else if roles[*role].0 == "cluster" {
            let (key, value) = match place {
                0 => ("allClusters", serde_json::json!(true)),
                1 => ("clusters", serde_json::json!(["stage", "unlabelled"])),
                2 => ("clusterSelector", serde_json::json!({"env": "prod"})),
                _ => (
                    "clusterSelector",
                    serde_json::json!({"env": "stage", "eu": "yes"}),
                ),
            };
            spec[key] = value;
        }
        if let Some(end) = ["2026-06-01T12:00:00Z", "2026-06-01T12:00:01Z"].get(*end) {
            spec["expiresAt"] = (*end).into();
        }
        documents.push(
            serde_json::json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "Binding",
            "metadata": {"name": format!("b{index}")}, "spec": spec}),
        );
    }
    let texts: Vec<String> = documents.iter().map(ToString::to_string).collect();
    texts.join("\n---\n")
}

fn any_question() -> impl Strategy<Value = Question> {
    let request = prop::sample::select(
        &[
            "GET /api/v1/namespaces/n/pods/a",
            "GET /api/v1/pods",
            "GET /api/v1/pods?watch=1",
            "GET /api/v1/namespaces/n/pods?fieldSelector=metadata.name%3Db",
            "DELETE /api/v1/namespaces/n/pods",
            "GET /api/v1/namespaces/m-1/pods/a",
            "GET /api/v1/namespaces/n-1/pods",
            "GET /api/v1/namespaces/kube-system/pods",
            "GET /apis/palisade.dev/v1alpha1/bindings",
            "POST /api/v1/namespaces/n/pods/a/exec",
            "GET /api/v1/namespaces/n/pods/a/exec",
            "GET /apis/apps/v1/namespaces/n/deployments/b/scale",
            "GET /version",
            "GET /api/x",
            "GET /healthz/etcd",
            "GET /apis/palisade.dev/v1alpha1/tokens",
            "GET /apis/palisade.dev/v1alpha1/pods/a",
            "OPTIONS /api/v1/pods",
            "GET /api/v1/../pods",
        ][..],
    );
    let groups = prop::collection::vec(prop::sample::select(&TEAMS[..]), 0..3);
    let cluster = prop::option::of(prop::sample::select(&CLUSTERS[..]));
    (request, prop::sample::select(&USERS[..]), groups, cluster)
        .prop_map(|(line, user, groups, cluster)| question(line, user, &groups, cluster))
}

/// What a gateway answers: the compiled table, and on its own API what everyone holds.
fn compiled(source: &OwnSource, question: &Question, groups: &[String]) -> Verdict {
    let (cluster, target) = question.place();
    let Ok(info) = RequestInfo::parse(question.method(), target, false) else {
        return Verdict::Refuse;
    };
    let groups: Vec<Box<str>> = groups.iter().map(|group| group.as_str().into()).collect();
    let who = Who {
        user: &question.subject.user,
        groups: &groups,
        shared: None,
    };
    let place = cluster.map_or(Place::Global, Place::Cluster);
    let table = source.compile(cluster);
    let everyones = &source.roles["authenticated"].object.spec.rules;
    let own = cluster.is_none()
        && everyones
            .iter()
            .any(|rule| rules::allows(rule, &info.attributes()));
    let attrs = info.attributes();
    let member = cluster.is_none() && table.decide_in_projects(&who, &attrs, now()).allowed();
    if own || member || table.decide_request(&who, place, &info, now()).allowed() {
        Verdict::Allow
    } else {
        Verdict::Deny
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn explain_decides_as_the_compiled_table_does(
        policy in any_policy(),
        questions in prop::collection::vec(any_question(), 12),
    ) {
        let folder = load_text("policy.json", &policy);
        prop_assert!(folder.mistakes.is_empty(), "{:?}\n{policy}", folder.mistakes);
        for question in &questions {
            let answer = explain(folder.judge(false), question, now());
            let wanted = compiled(&folder.own, question, &answer.groups);
            prop_assert_eq!(answer.decision, wanted, "{:?}\n{}", question, policy);
            prop_assert_eq!(answer.reasons.is_empty(), wanted != Verdict::Allow);
        }
    }

    /// Row F7's other side: the rule that a deny proposes allows the request, and neither another verb nor
    /// another name.
    #[test]
    fn the_smallest_grant_allows_the_request_and_no_more(
        policy in any_policy(),
        question in any_question(),
    ) {
        let folder = load_text("policy.json", &policy);
        let answer = explain(folder.judge(false), &question, now());
        prop_assert_eq!(answer.smallest_grant.is_some(), answer.decision == Verdict::Deny);
        if let Some(rule) = answer.smallest_grant {
            let lacking = answer.attributes.matched();
            let covered = rule.verbs.iter().any(|verb| rules::allows(&rule, &lacking.with_verb(verb)));
            prop_assert!(covered, "{rule:?}");
            prop_assert!(!rules::allows(&rule, &lacking.with_verb("approve")));
            let elsewhere = Attributes { name: "another", path: "/another", ..lacking };
            let by_name = lacking.name.is_empty() && lacking.is_resource;
            prop_assert_eq!(rules::allows(&rule, &elsewhere.with_verb(&rule.verbs[0])), by_name);
        }
    }
}

/// RBAC objects of a cluster as text.
fn any_rbac() -> impl Strategy<Value = String> {
    let role = prop::collection::vec(any_rule(), 0..3);
    let binding = (0..8_usize, 0..7_usize, any::<bool>());
    (
        prop::collection::vec(role, 6),
        prop::collection::vec(binding, 0..10),
    )
        .prop_map(|(roles, bindings)| rbac_text(&roles, &bindings))
}

fn rbac_text(roles: &[Vec<PolicyRule>], bindings: &[(usize, usize, bool)]) -> String {
    let version = "rbac.authorization.k8s.io/v1";
    let mut items = Vec::new();
    for (index, rules) in roles.iter().enumerate() {
        let (kind, metadata) = if index < 3 {
            (
                "ClusterRole",
                serde_json::json!({"name": format!("r{index}")}),
            )
        } else {
            (
                "Role",
                serde_json::json!({"name": format!("r{index}"), "namespace": "n"}),
            )
        };
        items.push(serde_json::json!({"apiVersion": version, "kind": kind, "metadata": metadata, "rules": rules}));
    }
    for (index, (role, subject, namespaced)) in bindings.iter().enumerate() {
        let namespaced = *namespaced || *role >= 3;
        let (kind, metadata) = if namespaced {
            let namespace = if subject % 2 == 0 { "n" } else { "m" };
            (
                "RoleBinding",
                serde_json::json!({"name": format!("b{index}"), "namespace": namespace}),
            )
        } else {
            (
                "ClusterRoleBinding",
                serde_json::json!({"name": format!("b{index}")}),
            )
        };
        let subjects = match subject {
            0..3 => serde_json::json!([{"kind": "User", "name": USERS[subject % 3]}]),
            3..6 => {
                serde_json::json!([{"kind": "Group", "name": TEAMS[subject % 3]}, {"kind": "User", "name": "*"}])
            }
            _ => serde_json::json!([{"kind": "ServiceAccount", "name": "bot", "namespace": "n"}]),
        };
        let role_kind = if *role < 3 { "ClusterRole" } else { "Role" };
        items.push(
            serde_json::json!({"apiVersion": version, "kind": kind, "metadata": metadata,
            "roleRef": {"kind": role_kind, "name": format!("r{role}")}, "subjects": subjects}),
        );
    }
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn explain_decides_as_the_compiled_rbac_does(
        policy in any_rbac(),
        questions in prop::collection::vec((any_question(), any::<u8>()), 12),
    ) {
        let folder = load_text("rbac.json", &policy);
        prop_assert!(folder.mistakes.is_empty(), "{:?}\n{policy}", folder.mistakes);
        let table = folder.raw.compile();
        for (mut question, who) in questions {
            match who {
                0..40 => "system:serviceaccount:n:bot".clone_into(&mut question.subject.user),
                40..50 => question.subject.groups.push(MASTERS.to_owned()),
                _ => {}
            }
            let answer = explain(Judge::Cluster(&folder.raw), &question, now());
            let groups: Vec<Box<str>> = answer.groups.iter().map(|name| name.as_str().into()).collect();
            let who = Who { user: &answer.user, groups: &groups, shared: None };
            let wanted = match RequestInfo::parse(question.method(), question.target(), false) {
                Err(_) => Verdict::Refuse,
                Ok(info) if table.decide(&who, &info.attributes()).allowed() => Verdict::Allow,
                Ok(_) => Verdict::Deny,
            };
            prop_assert_eq!(answer.decision, wanted, "{:?}\n{}", question, policy);
        }
    }
}

use super::*;
use crate::authz::{
    files::{self, load_text},
    policy::{Place, Who},
    question::{AskedAttributes, Subject},
    rules,
};
use proptest::prelude::*;

fn question(line: &str, user: &str, groups: &[&str], cluster: Option<&str>) -> Question {
    let subject = Subject {
        user: user.to_owned(),
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
    };
    Question::of_line(line, subject, cluster.map(str::to_owned)).unwrap()
}

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

const TEAM: &str = "
apiVersion: palisade.dev/v1alpha1
kind: Role
metadata: {name: deployer}
spec:
  scope: cluster
  inherits: [cluster-viewer]
  rules:
  - {apiGroups: [apps], resources: [deployments], verbs: [update, patch]}
  - {apiGroups: [''], resources: [secrets], resourceNames: [pull], verbs: [get]}
  - {apiGroups: [''], resources: [pods/exec], verbs: [get]}
  - {nonResourceURLs: [/metrics/*], verbs: [get]}
---
apiVersion: palisade.dev/v1alpha1
kind: Binding
metadata: {name: devs-prod}
spec: {role: deployer, subject: {kind: Group, name: devs}, clusterSelector: {env: prod}}
---
apiVersion: palisade.dev/v1alpha1
kind: Binding
metadata: {name: jane-stage}
spec: {role: cluster-member, subject: {kind: User, name: jane}, clusters: [stage]}
---
apiVersion: palisade.dev/v1alpha1
kind: Binding
metadata: {name: jane-night}
spec: {role: cluster-owner, subject: {kind: User, name: jane}, clusters: [prod], expiresAt: 2026-06-01T12:00:00Z}
---
apiVersion: palisade.dev/v1alpha1
kind: Binding
metadata: {name: ops-everywhere}
spec: {role: cluster-member, subject: {kind: Group, name: ops}, allClusters: true}
---
apiVersion: palisade.dev/v1alpha1
kind: Cluster
metadata: {name: prod, labels: {env: prod}}
spec: {}
---
apiVersion: palisade.dev/v1alpha1
kind: Group
metadata: {name: devs}
spec: {members: [{name: jane}]}
";

/// What a person reads; the built-in roles' lines are left out, so that editing their comments changes
/// no snapshot.
fn shown(lines: &[(&str, Option<&str>)]) -> String {
    let folder = load_text("team.yaml", TEAM);
    assert!(folder.mistakes.is_empty(), "{:?}", folder.mistakes);
    let mut all = String::new();
    for (line, cluster) in lines {
        let question = question(line, "jane", &[], *cluster);
        let text = text::show(&explain(folder.judge(false), &question, now()), Some(line));
        for row in text.lines() {
            let cut = row
                .split("policies/default.yaml:")
                .enumerate()
                .map(|(index, part)| {
                    let digits = part.bytes().take_while(u8::is_ascii_digit).count();
                    match index {
                        0 => part.to_owned(),
                        _ => format!("policies/default.yaml:_{}", &part[digits..]),
                    }
                });
            all.push_str(&cut.collect::<String>());
            all.push('\n');
        }
        all.push('\n');
    }
    all
}

#[test]
fn an_allow_names_binding_role_and_rule() {
    insta::assert_snapshot!(shown(&[
        (
            "GET /api/v1/namespaces/shop/pods?watch=1&labelSelector=app%3Dweb",
            Some("prod")
        ),
        (
            "PATCH /k8s/clusters/prod/apis/apps/v1/namespaces/shop/deployments/web",
            None
        ),
        (
            "GET /k8s/clusters/stage/api/v1/namespaces/shop/pods/web-0/exec",
            None
        ),
        ("GET /k8s/clusters/prod/version", None),
        ("POST /apis/palisade.dev/v1alpha1/tokens", None),
    ]));
}

#[test]
fn a_deny_names_what_comes_nearest() {
    insta::assert_snapshot!(shown(&[
        // A verb is missing.
        (
            "DELETE /apis/apps/v1/namespaces/shop/deployments/web",
            Some("prod")
        ),
        // A subresource, and the verb for it.
        (
            "PATCH /apis/apps/v1/namespaces/shop/deployments/web/scale",
            Some("prod")
        ),
        // An API group.
        (
            "PATCH /apis/extensions/v1beta1/namespaces/shop/deployments/web",
            Some("prod")
        ),
        // A name.
        ("GET /api/v1/namespaces/shop/secrets/db", Some("prod")),
        ("GET /api/v1/namespaces/shop/secrets", Some("prod")),
        // The verb that a GET of exec needs as well.
        ("GET /api/v1/namespaces/shop/pods/web-0/exec", Some("prod")),
        // Another path.
        ("GET /metrics", Some("prod")),
        // Nothing near.
        (
            "POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            Some("stage")
        ),
        // No role at all there; a label that is not known of a cluster without an object.
        ("GET /api/v1/pods", Some("elsewhere")),
        ("GET /apis/palisade.dev/v1alpha1/users", None),
    ]));
}

#[test]
fn a_refusal_says_why() {
    insta::assert_snapshot!(shown(&[("GET /api/v1/namespaces/../pods", Some("prod"))]));
}

const SHOP: &str = "
apiVersion: palisade.dev/v1alpha1
kind: Project
metadata: {name: shop}
spec: {cluster: prod, namespaces: [shop, shop-*]}
---
apiVersion: palisade.dev/v1alpha1
kind: Project
metadata: {name: store}
spec: {cluster: prod, namespaces: [store]}
---
apiVersion: palisade.dev/v1alpha1
kind: Binding
metadata: {name: jane-shop}
spec: {role: project-member, subject: {kind: User, name: jane}, project: shop}
---
apiVersion: palisade.dev/v1alpha1
kind: Binding
metadata: {name: jane-store}
spec: {role: project-member, subject: {kind: User, name: jane}, project: store, expiresAt: 2026-06-01T12:00:00Z}
";

#[test]
fn a_deny_over_all_namespaces_says_where_the_same_is_allowed() {
    let folder = load_text("shop.yaml", SHOP);
    assert!(folder.mistakes.is_empty(), "{:?}", folder.mistakes);
    let notes = |line: &str| {
        let question = question(line, "jane", &[], Some("prod"));
        explain(folder.judge(false), &question, now()).notes
    };
    let there = "the same is allowed in the namespaces shop, shop-* alone: ask for one of them, with -n NAMESPACE";
    for line in ["GET /api/v1/pods", "GET /api/v1/pods?watch=1"] {
        assert_eq!(notes(line), [there], "{line}");
    }
    // What no namespace has is allowed in none, and what is denied everywhere too.
    for line in ["GET /api/v1/nodes", "GET /api/v1/resourcequotas?x"] {
        let there = notes(line).iter().any(|note| note.contains("-n NAMESPACE"));
        assert_eq!(there, line.contains("quotas"), "{line}");
    }
    assert!(
        !notes("DELETE /api/v1/resourcequotas")
            .concat()
            .contains("-n NAMESPACE")
    );
}

#[test]
fn a_binding_ends_at_its_instant() {
    let folder = load_text("team.yaml", TEAM);
    let asked = question("GET /api/v1/secrets", "jane", &[], Some("prod"));
    let second = jiff::Span::new().nanoseconds(1);
    let before = explain(
        folder.judge(false),
        &asked,
        now().checked_sub(second).unwrap(),
    );
    assert_eq!(before.decision, Verdict::Allow);
    let at = explain(folder.judge(false), &asked, now());
    assert_eq!(at.decision, Verdict::Deny);
    assert_eq!(at.near_misses[0].missing, ["expired"]);
}

#[test]
fn json_has_the_attributes_at_the_top() {
    let folder = load_text("team.yaml", TEAM);
    let asked = question(
        "GET /api/v1/namespaces/shop/pods/web-0/log?follow=1",
        "jane",
        &["x"],
        Some("prod"),
    );
    let answer = serde_json::to_value(explain(folder.judge(false), &asked, now())).unwrap();
    for (key, value) in [
        ("isResource", true.into()),
        ("verb", serde_json::Value::from("get")),
        ("apiPrefix", "api".into()),
        ("apiGroup", "".into()),
        ("apiVersion", "v1".into()),
        ("namespace", "shop".into()),
        ("resource", "pods".into()),
        ("subresource", "log".into()),
        ("name", "web-0".into()),
        ("path", "/api/v1/namespaces/shop/pods/web-0/log".into()),
        ("fieldSelector", "".into()),
        ("labelSelector", "".into()),
        ("decision", "allow".into()),
        ("refusal", serde_json::Value::Null),
    ] {
        assert_eq!(answer[key], value, "{key}");
    }
    assert_eq!(answer["reasons"][0]["binding"]["name"], "devs-prod");
    assert_eq!(
        answer["reasons"][0]["via"],
        serde_json::json!(["deployer", "cluster-viewer"])
    );
    assert_eq!(answer["groups"], serde_json::json!(["x", "devs"]));
}

#[test]
fn a_broken_question_is_refused_with_an_error() {
    let answer = serde_json::to_value(broken("no")).unwrap();
    assert_eq!(
        (&answer["decision"], &answer["error"]),
        (&"refuse".into(), &"no".into())
    );
}

const RBAC: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: [''], resources: [pods, pods/exec], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: all-read}
roleRef: {kind: ClusterRole, name: reader}
subjects: [{kind: Group, name: 'system:authenticated'}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: writer, namespace: shop}
rules: [{apiGroups: [''], resources: [pods], verbs: [create]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: writers, namespace: shop}
roleRef: {kind: Role, name: writer}
subjects: [{kind: ServiceAccount, name: bot}, {kind: User, name: jane}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: lost, namespace: shop}
roleRef: {kind: ClusterRole, name: gone}
subjects: [{kind: User, name: jane}]
";

#[test]
fn a_clusters_own_rbac_is_explained_in_its_words() {
    let folder = load_text("rbac.yaml", RBAC);
    assert!(folder.mistakes.is_empty(), "{:?}", folder.mistakes);
    let mut all = String::new();
    for (line, user, groups) in [
        (
            "GET /api/v1/namespaces/shop/pods/x",
            "jane",
            vec!["system:authenticated"],
        ),
        (
            "POST /api/v1/namespaces/shop/pods",
            "system:serviceaccount:shop:bot",
            vec![],
        ),
        ("POST /api/v1/namespaces/other/pods", "jane", vec![]),
        ("DELETE /api/v1/namespaces/shop/pods/x", "jane", vec![]),
        ("DELETE /api/v1/nodes/x", "root", vec![MASTERS]),
        // The verb that API servers from 1.35 on ask for is no matter of their authoriser.
        (
            "GET /api/v1/namespaces/shop/pods/x/exec",
            "jane",
            vec!["system:authenticated"],
        ),
        // A path of the gateway has no meaning to a cluster.
        (
            "GET /k8s/clusters/a/api/v1/pods",
            "jane",
            vec!["system:authenticated"],
        ),
    ] {
        let asked = question(line, user, &groups, None);
        let answer = explain(folder.judge(false), &asked, now());
        all.push_str(&text::show(&answer, Some(line)));
        for reason in &answer.reasons {
            all = all + "[" + &reason.text + "]\n";
        }
        all.push('\n');
    }
    insta::assert_snapshot!(all);
}

// ---- explain and the compiled table decide alike ----

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

#[test]
fn the_built_in_policy_alone_gives_nobody_anything_on_a_cluster() {
    let folder = files::built_in_folder();
    let asked = question("GET /api/v1/pods", "jane", &["system:masters"], Some("a"));
    assert_eq!(
        explain(folder.judge(false), &asked, now()).decision,
        Verdict::Deny
    );
    let review = Question::of_attributes(
        AskedAttributes {
            verb: "get".to_owned(),
            resource: "pods".to_owned(),
            ..AskedAttributes::default()
        },
        asked.subject,
        None,
    );
    assert_eq!(
        explain(folder.judge(false), &review.unwrap(), now()).decision,
        Verdict::Deny
    );
}

use super::*;
use crate::authz::{
    files::{self, load_text},
    question::{AskedAttributes, Subject},
};

mod alike;

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

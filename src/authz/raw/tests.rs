//! Decisions on the objects of one cluster: the published rules of resolution, and the reasons in upstream's
//! words.

mod against_plain;

use super::*;

fn objects(cluster_roles: &str, roles: &str, cluster_bindings: &str, bindings: &str) -> Objects {
    fn list<T: serde::de::DeserializeOwned>(json: &str) -> Vec<T> {
        serde_json::from_str(&format!("[{json}]")).unwrap()
    }
    Objects {
        cluster_roles: list(cluster_roles),
        roles: list(roles),
        cluster_role_bindings: list(cluster_bindings),
        role_bindings: list(bindings),
    }
}

/// A cluster with a reader of pods (cluster role), a secret's reader in `ns1` (role), and bindings of each.
fn policy() -> RawPolicy {
    RawPolicy::of(objects(
        r#"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"reader","managedFields":[{}],"labels":null},
            "rules":[{"verbs":["get","list"],"apiGroups":[""],"resources":["pods"],"resourceNames":null},
                     {"verbs":["get"],"nonResourceURLs":["/metrics"]}]},
           {"metadata":{"name":"empty"},"rules":null}"#,
        r#"{"metadata":{"name":"secret","namespace":"ns1"},
            "rules":[{"verbs":["get"],"apiGroups":[""],"resources":["secrets"],"resourceNames":["s"]}]},
           {"metadata":{"name":"plain"},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["configmaps"]}]}"#,
        r#"{"metadata":{"name":"readers"},"roleRef":{"apiGroup":"wrong","kind":"ClusterRole","name":"reader"},
            "subjects":[{"kind":"User","apiGroup":"ignored","name":"jane"},{"kind":"Group","name":"devs"},
                        {"kind":"ServiceAccount","name":"bot","namespace":"ci"},
                        {"kind":"ServiceAccount","name":"lost"},{"kind":"Robot","name":"r2"}]},
           {"metadata":{"name":"broken"},"roleRef":{"kind":"ClusterRole","name":"missing"},"subjects":[{"kind":"User","name":"jane"}]},
           {"metadata":{"name":"astray"},"roleRef":{"kind":"Role","name":"secret"},"subjects":[{"kind":"User","name":"jane"}]},
           {"metadata":{"name":"odd"},"roleRef":{"kind":"Rolle","name":"x"},"subjects":[{"kind":"User","name":"kim"}]},
           {"metadata":{"name":"nobody"},"roleRef":{"kind":"ClusterRole","name":"reader"},"subjects":null}"#,
        r#"{"metadata":{"name":"s","namespace":"ns1"},"roleRef":{"kind":"Role","name":"secret"},
            "subjects":[{"kind":"User","name":"bob"},{"kind":"ServiceAccount","name":"here"}]},
           {"metadata":{"name":"r","namespace":"ns2"},"roleRef":{"kind":"ClusterRole","name":"reader"},
            "subjects":[{"kind":"User","name":"bob"}]},
           {"metadata":{"name":"w","namespace":"ns2"},"roleRef":{"kind":"Role","name":"secret"},
            "subjects":[{"kind":"User","name":"bob"}]},
           {"metadata":{"name":"p"},"roleRef":{"kind":"Role","name":"plain"},"subjects":[{"kind":"User","name":"bob"}]}"#,
    ))
}

fn ask<'a>(verb: &'a str, namespace: &'a str, resource: &'a str, name: &'a str) -> Attributes<'a> {
    Attributes {
        namespace,
        name,
        ..Attributes::of_resource(verb, "", resource)
    }
}

/// The decision, which the slow path must share.
fn decide(policy: &RawPolicy, user: &str, groups: &[&str], attrs: &Attributes<'_>) -> RawDecision {
    let groups: Vec<Box<str>> = groups.iter().map(|&group| group.into()).collect();
    let who = Who {
        user,
        groups: &groups,
        shared: None,
    };
    let decision = policy.decide(&who, attrs);
    assert_eq!(
        policy.explain(&who, attrs).decision,
        decision,
        "{user} {attrs:?}"
    );
    decision
}

fn may(policy: &RawPolicy, user: &str, groups: &[&str], attrs: &Attributes<'_>) -> bool {
    decide(policy, user, groups, attrs) == RawDecision::Allow
}

#[test]
fn cluster_role_bindings_count_everywhere() {
    let policy = policy();
    for namespace in ["", "ns1", "ns9"] {
        assert!(may(
            &policy,
            "jane",
            &[],
            &ask("get", namespace, "pods", "x")
        ));
        assert!(may(
            &policy,
            "nobody",
            &["x", "devs"],
            &ask("get", namespace, "pods", "x")
        ));
    }
    assert!(may(
        &policy,
        "jane",
        &[],
        &Attributes::of_path("get", "/metrics")
    ));
    assert!(!may(
        &policy,
        "jane",
        &[],
        &ask("delete", "ns1", "pods", "x")
    ));
    assert!(!may(&policy, "Jane", &[], &ask("get", "", "pods", "x")));
    // A user is no group, a group no user, and a star no wildcard.
    assert!(!may(
        &policy,
        "devs",
        &["jane", "*"],
        &ask("get", "", "pods", "x")
    ));
}

#[test]
fn role_bindings_count_in_their_namespace_alone() {
    let policy = policy();
    assert!(may(&policy, "bob", &[], &ask("get", "ns1", "secrets", "s")));
    assert!(!may(
        &policy,
        "bob",
        &[],
        &ask("get", "ns1", "secrets", "t")
    ));
    assert!(!may(
        &policy,
        "bob",
        &[],
        &ask("get", "ns2", "secrets", "s")
    ));
    assert!(!may(&policy, "bob", &[], &ask("get", "", "secrets", "s")));
    // A cluster role bound in a namespace.
    assert!(may(&policy, "bob", &[], &ask("list", "ns2", "pods", "")));
    assert!(!may(&policy, "bob", &[], &ask("list", "ns1", "pods", "")));
    assert!(
        !may(&policy, "bob", &[], &ask("list", "", "pods", "")),
        "all namespaces"
    );
    // Its paths do not come along.
    assert!(!may(
        &policy,
        "bob",
        &[],
        &Attributes::of_path("get", "/metrics")
    ));
    // Without a namespace an object is in `default`.
    assert!(may(
        &policy,
        "bob",
        &[],
        &ask("get", "default", "configmaps", "c")
    ));
    assert!(!may(
        &policy,
        "bob",
        &[],
        &ask("get", "ns1", "configmaps", "c")
    ));
}

#[test]
fn namespaces_are_granted_from_within_one_at_a_time() {
    let policy = RawPolicy::of(objects(
        r#"{"metadata":{"name":"ns"},"rules":[{"verbs":["get","list"],"apiGroups":[""],"resources":["namespaces","nodes"]}]}"#,
        "",
        "",
        r#"{"metadata":{"name":"b","namespace":"ns1"},"roleRef":{"kind":"ClusterRole","name":"ns"},"subjects":[{"kind":"User","name":"jane"}]}"#,
    ));
    assert!(may(
        &policy,
        "jane",
        &[],
        &ask("get", "ns1", "namespaces", "ns1")
    ));
    assert!(!may(
        &policy,
        "jane",
        &[],
        &ask("list", "", "namespaces", "")
    ));
    assert!(
        may(&policy, "jane", &[], &ask("list", "ns1", "nodes", "")),
        "a quirk of upstream"
    );
}

#[test]
fn service_accounts_are_user_names() {
    let policy = policy();
    let pods = ask("get", "", "pods", "x");
    assert!(may(&policy, "system:serviceaccount:ci:bot", &[], &pods));
    assert!(!may(&policy, "system:serviceaccount:other:bot", &[], &pods));
    assert!(!may(&policy, "bot", &[], &pods));
    // No namespace in a cluster role binding: nobody. In a role binding: the binding's.
    for user in [
        "system:serviceaccount::lost",
        "system:serviceaccount:default:lost",
    ] {
        assert!(!may(&policy, user, &[], &pods), "{user}");
    }
    let secret = ask("get", "ns1", "secrets", "s");
    assert!(may(&policy, "system:serviceaccount:ns1:here", &[], &secret));
    // Groups are not inferred from the name.
    let by_group = RawPolicy::of(objects(
        r#"{"metadata":{"name":"r"},"rules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]}"#,
        "",
        r#"{"metadata":{"name":"b"},"roleRef":{"kind":"ClusterRole","name":"r"},"subjects":[{"kind":"Group","name":"system:serviceaccounts"}]}"#,
        "",
    ));
    assert!(!may(&by_group, "system:serviceaccount:ci:bot", &[], &pods));
    assert!(may(
        &by_group,
        "system:serviceaccount:ci:bot",
        &["system:serviceaccounts"],
        &pods
    ));
}

#[test]
fn masters_are_allowed_everything_outside_rbac() {
    let empty = RawPolicy::default();
    let anything = ask("delete", "kube-system", "secrets", "s");
    assert_eq!(
        decide(&empty, "x", &["a", MASTERS], &anything),
        RawDecision::AllowMasters
    );
    assert_eq!(
        decide(&empty, MASTERS, &[], &anything),
        RawDecision::NoOpinion
    );
    let groups = [Box::from(MASTERS)];
    let who = Who {
        user: "x",
        groups: &groups,
        shared: None,
    };
    assert!(
        empty
            .explain(&who, &anything)
            .reason()
            .contains("before RBAC")
    );
}

#[test]
fn reasons_are_in_upstreams_words() {
    let policy = policy();
    let reason = |user: &str, groups: &[&str], attrs: &Attributes<'_>| {
        let groups: Vec<Box<str>> = groups.iter().map(|&group| group.into()).collect();
        let who = Who {
            user,
            groups: &groups,
            shared: None,
        };
        policy.explain(&who, attrs).reason()
    };
    let pods = ask("get", "ns1", "pods", "x");
    let secret = ask("get", "ns1", "secrets", "s");
    for (user, groups, attrs, expected) in [
        (
            "jane",
            &[][..],
            &pods,
            r#"RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to User "jane""#,
        ),
        (
            "x",
            &["devs"],
            &pods,
            r#"RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to Group "devs""#,
        ),
        (
            "system:serviceaccount:ci:bot",
            &[],
            &pods,
            r#"RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to ServiceAccount "bot/ci""#,
        ),
        (
            "system:serviceaccount:ns1:here",
            &[],
            &secret,
            r#"RBAC: allowed by RoleBinding "s/ns1" of Role "secret" to ServiceAccount "here/ns1""#,
        ),
        (
            "bob",
            &[],
            &secret,
            r#"RBAC: allowed by RoleBinding "s/ns1" of Role "secret" to User "bob""#,
        ),
        // A missing role hides no other grant, and is told when nothing allows.
        (
            "jane",
            &[],
            &secret,
            r#"RBAC: [role.rbac.authorization.k8s.io "secret" not found, clusterrole.rbac.authorization.k8s.io "missing" not found]"#,
        ),
        (
            "kim",
            &[],
            &secret,
            r#"RBAC: unsupported role reference kind: "Rolle""#,
        ),
        ("nobody", &[], &secret, ""),
    ] {
        assert_eq!(reason(user, groups, attrs), expected, "{user}");
    }
}

const AGGREGATED: &str = r#"
  {"metadata":{"name":"view","labels":{"to-edit":"true"}},"rules":null,"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"to-view":"true"}}]}},
  {"metadata":{"name":"edit"},"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"to-edit":"true"}},{"matchExpressions":[{"key":"tier","operator":"In","values":["b","c"]}]}]}},
  {"metadata":{"name":"part-b","labels":{"to-view":"true"}},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]},
  {"metadata":{"name":"part-a","labels":{"to-view":"true","tier":"c"}},"rules":[{"verbs":["list"],"apiGroups":[""],"resources":["pods"]}]},
  {"metadata":{"name":"other","labels":{"to-view":"false"}},"rules":[{"verbs":["delete"],"apiGroups":[""],"resources":["pods"]}]}"#;

#[test]
fn aggregated_roles_are_filled_as_the_controller_fills_them() {
    let policy = RawPolicy::of(objects(AGGREGATED, "", "", ""));
    let verbs = |role| -> Vec<&str> {
        policy
            .cluster_role(role)
            .unwrap()
            .iter()
            .flat_map(|rule| rule.verbs.iter().map(String::as_str))
            .collect()
    };
    assert_eq!(
        verbs("view"),
        ["list", "get"],
        "by the name of the role they come from"
    );
    assert_eq!(
        verbs("edit"),
        ["list", "get"],
        "through an aggregated role, each once"
    );
    assert!(policy.mistakes().is_empty());
}

#[test]
fn a_role_that_comes_filled_is_taken_as_it_is() {
    let policy = RawPolicy::of(objects(
        r#"{"metadata":{"name":"view"},"rules":[{"verbs":["watch"],"apiGroups":[""],"resources":["pods"]}],
            "aggregationRule":{"clusterRoleSelectors":[{}]}},
           {"metadata":{"name":"x"},"rules":[{"verbs":["delete"],"apiGroups":[""],"resources":["pods"]}]}"#,
        "",
        "",
        "",
    ));
    assert_eq!(policy.cluster_role("view").unwrap().len(), 1);
    assert_eq!(policy.cluster_role("view").unwrap()[0].verbs, ["watch"]);
}

#[test]
fn selectors_of_aggregation_have_all_operators_and_malformed_ones_fill_nothing() {
    let fill = |selector: &str| -> (usize, usize) {
        let policy = RawPolicy::of(objects(
            &format!(
                r#"{{"metadata":{{"name":"sum"}},"aggregationRule":{{"clusterRoleSelectors":[{selector}]}}}},
                   {{"metadata":{{"name":"a","labels":{{"k":"v"}}}},"rules":[{{"verbs":["get"]}}]}},
                   {{"metadata":{{"name":"b","labels":{{"k":"w"}}}},"rules":[{{"verbs":["list"]}}]}},
                   {{"metadata":{{"name":"c"}},"rules":[{{"verbs":["watch"]}}]}}"#
            ),
            "",
            "",
            "",
        ));
        (
            policy.cluster_role("sum").unwrap().len(),
            policy.mistakes().len(),
        )
    };
    let expression = |operator: &str, values: &str| {
        format!(
            r#"{{"matchExpressions":[{{"key":"k","operator":"{operator}","values":{values}}}]}}"#
        )
    };
    for (selector, expected) in [
        ("{}".to_owned(), (3, 0)),
        (expression("In", r#"["v"]"#), (1, 0)),
        (expression("NotIn", r#"["v"]"#), (2, 0)),
        (expression("Exists", "null"), (2, 0)),
        (expression("DoesNotExist", "[]"), (1, 0)),
        (r#"{"matchLabels":{"k":"v"},"matchExpressions":[{"key":"k","operator":"NotIn","values":["v"]}]}"#.to_owned(), (0, 0)),
        (expression("In", "[]"), (0, 1)),
        (expression("Exists", r#"["v"]"#), (0, 1)),
        (expression("Like", r#"["v"]"#), (0, 1)),
        (r#"{"matchLabels":{"bad key":"v"}}"#.to_owned(), (0, 1)),
        (r#"{"matchLabels":{"k":"-"}}"#.to_owned(), (0, 1)),
    ] {
        assert_eq!(fill(&selector), expected, "{selector}");
    }
}

#[test]
fn circular_aggregation_ends() {
    let policy = RawPolicy::of(objects(
        r#"{"metadata":{"name":"a","labels":{"s":"1"}},"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"s":"2"}}]}},
           {"metadata":{"name":"b","labels":{"s":"2"}},"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"s":"1"}}]}},
           {"metadata":{"name":"c","labels":{"s":"2"}},"rules":[{"verbs":["get"]}]}"#,
        "",
        "",
        "",
    ));
    assert_eq!(policy.cluster_role("a").unwrap().len(), 1);
    assert_eq!(policy.cluster_role("b").unwrap().len(), 1);
}

#[test]
fn the_later_of_two_objects_with_one_name_counts() {
    let policy = RawPolicy::of(objects(
        r#"{"metadata":{"name":"r"},"rules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]},
           {"metadata":{"name":"r"},"rules":[]}"#,
        "",
        r#"{"metadata":{"name":"b"},"roleRef":{"kind":"ClusterRole","name":"r"},"subjects":[{"kind":"User","name":"jane"}]}"#,
        "",
    ));
    assert!(!may(&policy, "jane", &[], &ask("get", "", "pods", "")));
}

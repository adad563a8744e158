//! Decisions on whole policies.

mod against_plain;
mod changes;
mod expiry;
mod roles;
mod together;

use super::*;
use crate::objects::rules::PolicyRule;
use crate::objects::{RoleScope, Subject};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-01-01T00:00:00Z")
}

fn own(list: &[&str]) -> Vec<String> {
    list.iter().map(|&entry| entry.to_owned()).collect()
}

fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> PolicyRule {
    PolicyRule {
        verbs: own(verbs),
        api_groups: own(groups),
        resources: own(resources),
        ..PolicyRule::default()
    }
}

fn urls(paths: &[&str]) -> PolicyRule {
    PolicyRule {
        verbs: own(&["get"]),
        non_resource_urls: own(paths),
        ..PolicyRule::default()
    }
}

fn role(scope: RoleScope, inherits: &[&str], rules: Vec<PolicyRule>) -> RoleSpec {
    RoleSpec {
        scope,
        inherits: own(inherits),
        rules,
        ..RoleSpec::default()
    }
}

fn bind(role: &str, kind: SubjectKind, id: &str) -> BindingSpec {
    BindingSpec {
        role: role.to_owned(),
        subject: Subject {
            kind,
            name: format!("{id}'s name"),
            uid: id.to_owned(),
        },
        ..BindingSpec::default()
    }
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Two clusters, `prod` (env=prod, tier=1) and `dev` (env=dev); roles for reading pods and for users.
fn base() -> Policy {
    let reader = role(
        RoleScope::Cluster,
        &[],
        vec![rule(&["get", "list"], &[""], &["pods"])],
    );
    let writer = role(
        RoleScope::Cluster,
        &["reader"],
        vec![rule(&["create"], &[""], &["pods", "pods/exec"])],
    );
    let admin = role(RoleScope::Global, &[], vec![rule(&["*"], &["*"], &["*"])]);
    let basic = role(
        RoleScope::Cluster,
        &[],
        vec![urls(&["/api", "/api/*", "/version"])],
    );
    Policy::of([
        Change::PutRole("writer", &writer),
        Change::PutRole("reader", &reader),
        Change::PutRole("admin", &admin),
        Change::PutRole(BASIC, &basic),
        Change::PutCluster("prod", &labels(&[("env", "prod"), ("tier", "1")])),
        Change::PutCluster("dev", &labels(&[("env", "dev")])),
    ])
}

fn may_as(policy: &Policy, groups: &[&str], place: Place<'_>, attrs: &Attributes<'_>) -> bool {
    let groups: Vec<Box<str>> = groups.iter().map(|&group| group.into()).collect();
    let who = Who {
        user: "jane",
        groups: &groups,
        shared: None,
    };
    policy.decide(&who, place, attrs, now()).allowed()
}

fn may(policy: &Policy, place: Place<'_>, verb: &str) -> bool {
    may_as(
        policy,
        &[],
        place,
        &Attributes::of_resource(verb, "", "pods"),
    )
}

const PROD: Place<'static> = Place::Cluster("prod");
const DEV: Place<'static> = Place::Cluster("dev");

#[test]
fn a_binding_reaches_its_scope_alone() {
    let plain = || bind("reader", SubjectKind::User, "jane");
    let everywhere = |kind, role| BindingSpec {
        all_clusters: true,
        ..bind(role, kind, "jane")
    };
    let named = |clusters: &[&str]| BindingSpec {
        clusters: own(clusters),
        ..plain()
    };
    let selected = |pairs| BindingSpec {
        cluster_selector: labels(pairs),
        ..plain()
    };
    let contradictory = BindingSpec {
        all_clusters: true,
        ..named(&["prod"])
    };
    for (spec, prod, dev) in [
        (everywhere(SubjectKind::User, "reader"), true, true),
        (named(&["prod"]), true, false),
        (named(&["dev", "prod", "other"]), true, true),
        (selected(&[("env", "prod"), ("tier", "1")]), true, false),
        (selected(&[("env", "prod"), ("tier", "2")]), false, false),
        // No scope at all is the gateway's own API, where cluster roles do not count.
        (plain(), false, false),
        (contradictory, false, false),
        (everywhere(SubjectKind::Group, "reader"), false, false),
        (everywhere(SubjectKind::User, "missing"), false, false),
        (everywhere(SubjectKind::User, "admin"), false, false),
    ] {
        let mut policy = base();
        policy.apply([Change::PutBinding("b", &spec)]);
        assert_eq!(may(&policy, PROD, "get"), prod, "prod: {spec:?}");
        assert_eq!(may(&policy, DEV, "get"), dev, "dev: {spec:?}");
        assert!(!may(&policy, PROD, "delete"), "{spec:?}");
        assert!(!may(&policy, Place::Global, "get"), "{spec:?}");
        assert!(!may(&policy, Place::Cluster("unknown"), "get"), "{spec:?}");
        policy.apply([Change::RemoveBinding("b")]);
        assert!(!may(&policy, PROD, "get") && !may(&policy, DEV, "get"));
        assert!(policy.is_empty() && policy.subjects.len() == 0);
    }
}

fn everywhere(role: &str) -> BindingSpec {
    BindingSpec {
        all_clusters: true,
        ..bind(role, SubjectKind::User, "jane")
    }
}

#[test]
fn global_roles_count_on_the_gateway_alone() {
    let mut policy = base();
    policy.apply([Change::PutBinding(
        "b",
        &bind("admin", SubjectKind::User, "jane"),
    )]);
    assert!(may(&policy, Place::Global, "delete"));
    assert!(!may(&policy, PROD, "delete"));
    // The basic rules are for clusters.
    let version = Attributes::of_path("get", "/version");
    assert!(!may_as(&policy, &[], Place::Global, &version));
    assert!(!may_as(&policy, &[], PROD, &version));
    // The name of the group that clusters bow to means nothing here.
    let empty = base();
    assert!(!may_as(
        &empty,
        &["system:masters"],
        PROD,
        &Attributes::of_resource("get", "", "pods")
    ));
}

#[test]
fn groups_hold_for_their_members() {
    let mut policy = base();
    let spec = BindingSpec {
        all_clusters: true,
        ..bind("reader", SubjectKind::Group, "devs")
    };
    policy.apply([Change::PutBinding("b", &spec)]);
    let pods = Attributes::of_resource("get", "", "pods");
    assert!(may_as(&policy, &["a", "devs"], PROD, &pods));
    assert!(!may_as(&policy, &["a", "jane"], PROD, &pods));
    assert!(!may_as(&policy, &[], PROD, &pods));
    let devs = Who {
        user: "devs",
        groups: &[],
        shared: None,
    };
    assert!(
        !policy.decide(&devs, PROD, &pods, now()).allowed(),
        "a user called like the group"
    );
}

#[test]
fn whoever_holds_anything_on_a_cluster_holds_the_basic_rules_there() {
    let mut policy = base();
    let version = Attributes::of_path("get", "/version");
    assert!(!may_as(&policy, &[], PROD, &version), "nothing held");
    for (role, expected) in [("reader", true), ("missing", false), ("admin", false)] {
        let spec = BindingSpec {
            clusters: own(&["prod"]),
            ..bind(role, SubjectKind::User, "jane")
        };
        policy.apply([Change::PutBinding("b", &spec)]);
        assert_eq!(may_as(&policy, &[], PROD, &version), expected, "{role}");
        assert!(!may_as(&policy, &[], DEV, &version), "{role}");
        let who = Who {
            user: "jane",
            groups: &[],
            shared: None,
        };
        assert_eq!(policy.holds_any(&who, "prod", now()), expected, "{role}");
        assert!(!policy.holds_any(&who, "dev", now()), "{role}");
    }
    // Without the basic role there is no such reach.
    policy.apply([
        Change::PutBinding("b", &everywhere("reader")),
        Change::RemoveRole(BASIC),
    ]);
    assert!(!may_as(&policy, &[], PROD, &version));
    assert!(may(&policy, PROD, "get"));
}

#[test]
fn held_roles_are_named_once() {
    let mut policy = base();
    let selected = BindingSpec {
        cluster_selector: labels(&[("env", "prod")]),
        ..bind("writer", SubjectKind::User, "jane")
    };
    let by_group = BindingSpec {
        all_clusters: true,
        ..bind("reader", SubjectKind::Group, "devs")
    };
    policy.apply([
        Change::PutBinding("a", &everywhere("reader")),
        Change::PutBinding("b", &selected),
        Change::PutBinding("c", &by_group),
        Change::PutBinding("d", &everywhere("missing")),
        Change::PutBinding("e", &everywhere("admin")),
    ]);
    let groups = [Box::from("devs")];
    let who = Who {
        user: "jane",
        groups: &groups,
        shared: None,
    };
    let held = |cluster| {
        let roles = policy.cluster_roles(&who, cluster, now());
        let mut names: Vec<&str> = roles.names().collect();
        names.sort_unstable();
        assert_eq!(roles.shared_names().count(), names.len());
        names
    };
    assert_eq!(held("prod"), ["reader", "writer"]);
    assert_eq!(held("dev"), ["reader"]);
    assert!(held("unknown").is_empty());
    let mut seen: Vec<_> = policy
        .grants_of_who(&who)
        .map(|grant| (grant.name(), grant.role()))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen.len(), 5);
    assert_eq!(seen[2], ("c", "reader"));
    let reach: Vec<bool> = ["a", "b", "c"]
        .map(|name| policy.binding(name).unwrap().reaches(DEV))
        .into();
    assert_eq!(reach, [true, false, true]);
}

#[test]
fn many_roles_in_one_place_are_all_seen() {
    let mut policy = base();
    let roles: Vec<(String, RoleSpec)> = (0..200)
        .map(|n| {
            let resource = format!("things{n}");
            let spec = role(
                RoleScope::Cluster,
                &[],
                vec![rule(&["get"], &["g"], &[resource.as_str()])],
            );
            (format!("role{n}"), spec)
        })
        .collect();
    policy.apply(roles.iter().map(|(name, spec)| Change::PutRole(name, spec)));
    let bindings: Vec<(String, BindingSpec)> = roles
        .iter()
        .filter(|(name, _)| name != "role77")
        .map(|(name, _)| (format!("of-{name}"), everywhere(name)))
        .collect();
    policy.apply(
        bindings
            .iter()
            .map(|(name, spec)| Change::PutBinding(name, spec)),
    );
    for n in 0..200 {
        let resource = format!("things{n}");
        let attrs = Attributes::of_resource("get", "g", &resource);
        assert_eq!(may_as(&policy, &[], PROD, &attrs), n != 77, "{n}");
    }
    let who = Who {
        user: "jane",
        groups: &[],
        shared: None,
    };
    assert_eq!(
        policy.cluster_roles(&who, "prod", now()).names().count(),
        199
    );
}

#[test]
fn a_decision_names_the_role() {
    let mut policy = base();
    policy.apply([
        Change::PutBinding("a", &everywhere("reader")),
        Change::PutBinding("b", &everywhere("writer")),
    ]);
    let who = Who {
        user: "jane",
        groups: &[],
        shared: None,
    };
    let role = |attrs: &Attributes<'_>| {
        let decision = policy.decide(&who, PROD, attrs, now());
        decision.role().map(|role| policy.role_name(role))
    };
    assert_eq!(
        role(&Attributes::of_resource("create", "", "pods")),
        Some("writer")
    );
    assert_eq!(role(&Attributes::of_path("get", "/version")), Some(BASIC));
    assert_eq!(role(&Attributes::of_path("get", "/metrics")), None);
}

// P3: all checks of a request must pass.
#[test]
fn a_shell_by_get_needs_both_verbs() {
    let target = "/api/v1/namespaces/a/pods/x/exec";
    let may_exec = |verbs: &[&str], method: &str| {
        let shell = role(
            RoleScope::Cluster,
            &[],
            vec![rule(verbs, &[""], &["pods/exec"])],
        );
        let mut policy = base();
        policy.apply([
            Change::PutRole("shell", &shell),
            Change::PutBinding("b", &everywhere("shell")),
        ]);
        let info = RequestInfo::parse(method, target, true).unwrap();
        let who = Who {
            user: "jane",
            groups: &[],
            shared: None,
        };
        policy.decide_request(&who, PROD, &info, now()).allowed()
    };
    assert!(!may_exec(&["get"], "GET"));
    assert!(!may_exec(&["create"], "GET"));
    assert!(may_exec(&["get", "create"], "GET"));
    assert!(may_exec(&["create"], "POST"));
    assert!(may_exec(&["*"], "OPTIONS"));
    assert!(
        !may_exec(&["get", "create"], "OPTIONS"),
        "an empty verb matches the star alone"
    );
}

#[test]
fn what_is_wrong_with_bindings_is_told() {
    let mut policy = base();
    let contradictory = BindingSpec {
        cluster_selector: labels(&[("a", "b")]),
        ..everywhere("reader")
    };
    for (spec, expected) in [
        (everywhere("reader"), None),
        (bind("admin", SubjectKind::User, "jane"), None),
        (
            everywhere("nope"),
            Some(r#"binding "b" names the role "nope", which does not exist"#),
        ),
        (
            contradictory,
            Some(
                r#"binding "b" sets more than one of allClusters, clusters, clusterSelector and project: it grants nothing"#,
            ),
        ),
        (
            everywhere("admin"),
            Some(r#"binding "b" holds the role "admin" where roles of its scope do not count"#),
        ),
        (
            bind("reader", SubjectKind::User, "jane"),
            Some(r#"binding "b" holds the role "reader" where roles of its scope do not count"#),
        ),
    ] {
        policy.apply([Change::PutBinding("b", &spec)]);
        let told: Vec<String> = policy.problems().iter().map(ToString::to_string).collect();
        assert_eq!(told.first().map(String::as_str), expected);
    }
}

#[test]
fn held_rules_are_what_covering_is_asked_of() {
    use crate::authz::covers::covers;
    let mut policy = base();
    policy.apply([Change::PutBinding("b", &everywhere("writer"))]);
    let who = Who {
        user: "jane",
        groups: &[],
        shared: None,
    };
    let held = policy.rules_of(&who, PROD, now());
    assert!(covers(&held, &[rule(&["create"], &[""], &["pods"])]));
    assert!(covers(
        &held,
        &[rule(&["get"], &[""], &["pods"]), urls(&["/version"])]
    ));
    assert!(!covers(&held, &[rule(&["delete"], &[""], &["pods"])]));
    assert!(policy.rules_of(&who, Place::Global, now()).is_empty());
}

#[test]
fn a_decision_allocates_nothing() {
    let mut policy = base();
    let selected = BindingSpec {
        cluster_selector: labels(&[("env", "prod")]),
        expires_at: Some(at("2027-01-01T00:00:00Z")),
        ..bind("writer", SubjectKind::Group, "devs")
    };
    policy.apply([
        Change::PutBinding("a", &everywhere("reader")),
        Change::PutBinding("b", &selected),
    ]);
    let groups = [Box::from("others"), Box::from("devs")];
    let who = Who {
        user: "jane",
        groups: &groups,
        shared: None,
    };
    let target = "/api/v1/namespaces/default/pods/x/exec?command=sh";
    let counted = allocation_counter::measure(|| {
        let info = RequestInfo::parse("POST", target, true).unwrap();
        assert!(policy.decide_request(&who, PROD, &info, now()).allowed());
        let info = RequestInfo::parse("DELETE", target, false).unwrap();
        assert!(!policy.decide_request(&who, PROD, &info, now()).allowed());
        let version = Attributes::of_path("get", "/version");
        assert!(policy.decide(&who, PROD, &version, now()).allowed());
        assert!(policy.holds_any(&who, "prod", now()));
        assert_eq!(policy.cluster_roles(&who, "prod", now()).names().count(), 2);
    });
    assert_eq!(counted.count_total, 0);
}

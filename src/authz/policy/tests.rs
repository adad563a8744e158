//! Decisions on whole policies.

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

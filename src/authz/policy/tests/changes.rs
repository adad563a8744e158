//! Changes: clusters, labels, bindings that move, selectors that come and go.

use super::*;

#[test]
fn clusters_come_go_and_change_their_labels() {
    let prod = BindingSpec {
        cluster_selector: labels(&[("env", "prod")]),
        ..bind("reader", SubjectKind::User, "jane")
    };
    let mut policy = base();
    policy.apply([Change::PutBinding("b", &prod)]);
    assert!(may(&policy, PROD, "get") && !may(&policy, DEV, "get"));
    policy.apply([Change::PutCluster(
        "dev",
        &labels(&[("env", "prod"), ("x", "y")]),
    )]);
    assert!(may(&policy, PROD, "get") && may(&policy, DEV, "get"));
    policy.apply([Change::PutCluster("prod", &labels(&[]))]);
    assert!(!may(&policy, PROD, "get") && may(&policy, DEV, "get"));
    policy.apply([Change::RemoveCluster("dev")]);
    assert!(!may(&policy, DEV, "get"));
    policy.apply([Change::PutCluster("new", &labels(&[("env", "prod")]))]);
    assert!(may(&policy, Place::Cluster("new"), "get"));
    // A removed cluster is nobody's, also by name and for those who hold everything.
    let named = BindingSpec {
        clusters: own(&["dev"]),
        ..bind("reader", SubjectKind::User, "jane")
    };
    policy.apply([
        Change::PutBinding("c", &named),
        Change::PutBinding("d", &everywhere("reader")),
    ]);
    assert!(!may(&policy, DEV, "get") && may(&policy, PROD, "get"));
    policy.apply([Change::PutCluster("dev", &labels(&[]))]);
    assert!(may(&policy, DEV, "get"));
}

#[test]
fn selectors_are_shared_and_given_back() {
    let select = |value: &str| BindingSpec {
        cluster_selector: labels(&[("env", value)]),
        ..bind("reader", SubjectKind::User, "jane")
    };
    let mut policy = base();
    policy.apply([
        Change::PutBinding("a", &select("prod")),
        Change::PutBinding("b", &select("prod")),
    ]);
    policy.apply([Change::RemoveBinding("a")]);
    assert!(may(&policy, PROD, "get"), "b still selects it");
    // The number of the freed selector is used again, for another one.
    policy.apply([
        Change::RemoveBinding("b"),
        Change::PutBinding("c", &select("dev")),
    ]);
    assert!(!may(&policy, PROD, "get") && may(&policy, DEV, "get"));
    policy.apply([Change::PutCluster(
        "prod",
        &labels(&[("env", "prod"), ("a", "b")]),
    )]);
    assert!(!may(&policy, PROD, "get"));
    assert_eq!(
        policy.binding("c").unwrap().scope(),
        ScopeView::Selector(&labels(&[("env", "dev")]))
    );
}

#[test]
fn a_changed_binding_replaces_the_old_one() {
    let mut policy = base();
    policy.apply([Change::PutBinding("b", &everywhere("writer"))]);
    let before = policy.clone();
    let moved = BindingSpec {
        subject: Subject {
            kind: SubjectKind::User,
            name: "other".into(),
            uid: String::new(),
        },
        ..everywhere("writer")
    };
    policy.apply([Change::PutBinding("b", &moved)]);
    assert!(!may(&policy, PROD, "get"));
    let other = Who {
        user: "other",
        groups: &[],
        shared: None,
    };
    let pods = Attributes::of_resource("get", "", "pods");
    assert!(
        policy.decide(&other, PROD, &pods, now()).allowed(),
        "the name stands for a missing uid"
    );
    assert!(may(&before, PROD, "get"), "a clone does not see it");
    // Several changes of one binding at once: the last counts.
    policy.apply([
        Change::PutBinding("b", &everywhere("writer")),
        Change::RemoveBinding("b"),
        Change::PutBinding("b", &everywhere("reader")),
        Change::PutBinding("b", &everywhere("reader")),
    ]);
    assert!(may(&policy, PROD, "get") && !may(&policy, PROD, "create"));
    assert_eq!(
        (
            policy.len(),
            policy.grants_of(SubjectKind::User, "jane").count()
        ),
        (1, 1)
    );
    policy.apply([Change::RemoveBinding("unknown")]);
    assert_eq!(policy.len(), 1);
}

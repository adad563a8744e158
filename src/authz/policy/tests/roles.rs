//! Inheritance, and roles that cannot be resolved.

use super::*;

#[test]
fn roles_inherit() {
    let mut policy = base();
    policy.apply([Change::PutBinding("b", &everywhere("writer"))]);
    assert!(may(&policy, PROD, "create") && may(&policy, PROD, "get"));
    assert!(!may(&policy, PROD, "delete"));
    // A parent's change reaches its heirs, and no more than that.
    let wider = role(
        RoleScope::Cluster,
        &[],
        vec![rule(&["delete"], &[""], &["pods"])],
    );
    policy.apply([Change::PutRole("reader", &wider)]);
    assert!(may(&policy, PROD, "delete") && may(&policy, PROD, "create"));
    assert!(!may(&policy, PROD, "get"));
    policy.apply([Change::RemoveRole("reader")]);
    assert!(!may(&policy, PROD, "delete") && may(&policy, PROD, "create"));
    policy.apply([Change::PutRole("reader", &wider)]);
    assert!(may(&policy, PROD, "delete"));
    // Through another, which is not bound itself.
    let heir = role(RoleScope::Cluster, &["writer"], vec![]);
    policy.apply([
        Change::PutRole("heir", &heir),
        Change::PutBinding("b", &everywhere("heir")),
    ]);
    assert!(may(&policy, PROD, "delete") && may(&policy, PROD, "create"));
    let mut rules: Vec<_> = policy
        .role("heir")
        .unwrap()
        .rules()
        .map(|(from, at, _)| (from, at))
        .collect();
    rules.sort_unstable();
    assert_eq!(rules, [("reader", 0), ("writer", 0)]);
    assert!(policy.problems().is_empty(), "{:?}", policy.problems());
}

#[test]
fn what_cannot_be_inherited_adds_nothing_and_is_told() {
    let star = || vec![rule(&["*"], &["*"], &["*"])];
    let mut policy = base();
    let foreign = role(
        RoleScope::Cluster,
        &["admin", "missing"],
        vec![rule(&["get"], &[""], &["pods"])],
    );
    policy.apply([
        Change::PutRole("mixed", &foreign),
        Change::PutBinding("b", &everywhere("mixed")),
    ]);
    assert!(may(&policy, PROD, "get") && !may(&policy, PROD, "delete"));
    let told: Vec<String> = policy.problems().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            r#"role "mixed" inherits from "admin", which is of another scope: it adds nothing"#,
            r#"role "mixed" inherits from "missing", which does not exist"#,
        ]
    );
    // A circle grants nothing, to nobody, until it is broken; who inherits from it keeps the own rules.
    let a = role(RoleScope::Cluster, &["b"], star());
    let b = role(RoleScope::Cluster, &["a"], star());
    let heir = role(
        RoleScope::Cluster,
        &["a"],
        vec![rule(&["get"], &[""], &["pods"])],
    );
    for bound in ["a", "b", "heir"] {
        let mut policy = base();
        policy.apply([
            Change::PutRole("heir", &heir),
            Change::PutRole("a", &a),
            Change::PutBinding("b", &everywhere(bound)),
        ]);
        assert!(
            may(&policy, PROD, "delete") == (bound != "b"),
            "{bound} before the circle"
        );
        policy.apply([Change::PutRole("b", &b)]);
        assert!(!may(&policy, PROD, "delete"), "{bound}");
        assert_eq!(may(&policy, PROD, "get"), bound == "heir", "{bound}");
        let circular = |problem: &Problem| matches!(problem, Problem::Circular { .. });
        assert_eq!(policy.problems().iter().filter(|p| circular(p)).count(), 2);
        policy.apply([Change::PutRole("b", &role(RoleScope::Cluster, &[], star()))]);
        assert!(may(&policy, PROD, "delete"), "{bound} after the circle");
        policy.apply([Change::PutRole(
            "a",
            &role(RoleScope::Cluster, &["a"], star()),
        )]);
        assert_eq!(
            may(&policy, PROD, "delete"),
            bound == "b",
            "{bound} with a circle of one"
        );
    }
}

#[test]
fn a_role_can_change_its_scope() {
    let mut policy = base();
    policy.apply([Change::PutBinding("b", &everywhere("reader"))]);
    let global = role(
        RoleScope::Global,
        &[],
        vec![rule(&["get"], &[""], &["pods"])],
    );
    policy.apply([Change::PutRole("reader", &global)]);
    assert!(!may(&policy, PROD, "get") && !may(&policy, Place::Global, "get"));
    policy.apply([Change::PutBinding(
        "b",
        &bind("reader", SubjectKind::User, "jane"),
    )]);
    assert!(may(&policy, Place::Global, "get") && !may(&policy, PROD, "get"));
    // A project's role counts nowhere yet.
    let project = role(
        RoleScope::Project,
        &[],
        vec![rule(&["get"], &[""], &["pods"])],
    );
    policy.apply([
        Change::PutRole("reader", &project),
        Change::PutBinding("b", &everywhere("reader")),
    ]);
    assert!(!may(&policy, PROD, "get") && !may(&policy, Place::Global, "get"));
}

//! Bindings that end.

use super::*;

#[test]
fn a_binding_ends_exactly_at_its_instant() {
    let pods = Attributes::of_resource("get", "", "pods");
    let version = Attributes::of_path("get", "/version");
    let who = Who {
        user: "jane",
        groups: &[],
        shared: None,
    };
    let ends = |text| BindingSpec {
        expires_at: Some(at(text)),
        ..everywhere("reader")
    };
    let mut policy = base();
    policy.apply([Change::PutBinding("b", &ends("2026-06-01T12:00:00Z"))]);
    for (instant, held) in [
        ("2026-01-01T00:00:00Z", true),
        ("2026-06-01T11:59:59.999999999Z", true),
        ("2026-06-01T12:00:00Z", false),
        ("2027-01-01T00:00:00Z", false),
    ] {
        let instant = at(instant);
        assert_eq!(
            policy.decide(&who, PROD, &pods, instant).allowed(),
            held,
            "{instant}"
        );
        assert_eq!(
            policy.decide(&who, PROD, &version, instant).allowed(),
            held,
            "{instant}"
        );
        assert_eq!(policy.holds_any(&who, "prod", instant), held, "{instant}");
        assert_eq!(
            policy.cluster_roles(&who, "prod", instant).is_empty(),
            !held,
            "{instant}"
        );
        assert_eq!(
            policy.rules_of(&who, PROD, instant).is_empty(),
            !held,
            "{instant}"
        );
        assert_eq!(
            policy.binding("b").unwrap().is_expired(instant),
            !held,
            "{instant}"
        );
    }
    assert_eq!(
        policy.binding("b").unwrap().expires_at(),
        Some(at("2026-06-01T12:00:00Z"))
    );
}

#[test]
fn of_several_ends_the_latest_counts() {
    let pods = Attributes::of_resource("get", "", "pods");
    let create = Attributes::of_resource("create", "", "pods");
    let ends = |role, text| BindingSpec {
        expires_at: Some(at(text)),
        ..everywhere(role)
    };
    let may = |policy: &Policy, attrs: &Attributes<'_>, instant: &str| {
        let who = Who {
            user: "jane",
            groups: &[],
            shared: None,
        };
        policy.decide(&who, PROD, attrs, at(instant)).allowed()
    };
    let mut policy = base();
    let june = ends("reader", "2026-06-01T12:00:00Z");
    let july = ends("reader", "2026-07-01T00:00:00Z");
    policy.apply([
        Change::PutBinding("b", &june),
        Change::PutBinding("c", &july),
    ]);
    assert!(may(&policy, &pods, "2026-06-30T23:59:59Z"));
    assert!(!may(&policy, &pods, "2026-07-01T00:00:00Z"));
    // No end is later than all.
    policy.apply([Change::PutBinding("d", &everywhere("reader"))]);
    assert!(may(&policy, &pods, "2200-01-01T00:00:00Z"));
    policy.apply([Change::RemoveBinding("d"), Change::RemoveBinding("c")]);
    assert!(!may(&policy, &pods, "2026-06-30T23:59:59Z"));
    // Two roles with ends of their own.
    policy.apply([Change::PutBinding(
        "w",
        &ends("writer", "2026-05-01T00:00:00Z"),
    )]);
    assert!(may(&policy, &create, "2026-04-30T00:00:00Z"));
    assert!(!may(&policy, &create, "2026-05-15T00:00:00Z"));
    assert!(may(&policy, &pods, "2026-05-15T00:00:00Z"));
}

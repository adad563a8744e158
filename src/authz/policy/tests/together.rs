//! Users of many groups: kept together, and never what it was before.

use super::*;
use crate::authz::policy::together::MAX_SIZE;

/// The first of many groups is `first`.
fn many(first: &str) -> Arc<[Box<str>]> {
    let idle = (0..100).map(|n| format!("idle{n}").into_boxed_str());
    std::iter::once(Box::from(first)).chain(idle).collect()
}

fn may_list(policy: &Policy, user: &str, groups: &Arc<[Box<str>]>) -> bool {
    let who = Who {
        user,
        groups,
        shared: Some(groups),
    };
    let pods = Attributes::of_resource("list", "", "pods");
    policy.decide(&who, PROD, &pods, now()).allowed()
}

fn reader(kind: SubjectKind, id: &str) -> BindingSpec {
    BindingSpec {
        all_clusters: true,
        ..bind("reader", kind, id)
    }
}

fn known(policy: &Policy) -> usize {
    policy.together.len()
}

// The groups of somebody may change without the policy: the list that was asked for is the one that counts.
#[test]
fn one_list_of_groups_is_never_taken_for_another() {
    let mut policy = base();
    policy.apply([Change::PutBinding("b", &reader(SubjectKind::Group, "devs"))]);
    for _ in 0..500 {
        // Dropped and made in turn, so that a list comes to lie where the last one did.
        assert!(may_list(&policy, "jane", &many("devs")));
        assert!(!may_list(&policy, "jane", &many("ops")));
    }
    let devs = many("devs");
    for _ in 0..3 {
        assert!(may_list(&policy, "jane", &devs));
    }
}

#[test]
fn what_one_user_holds_is_not_anothers_with_the_same_list() {
    let mut policy = base();
    policy.apply([Change::PutBinding("b", &reader(SubjectKind::User, "jane"))]);
    let groups = many("devs");
    for _ in 0..3 {
        assert!(may_list(&policy, "jane", &groups));
        assert!(!may_list(&policy, "bob", &groups));
    }
}

// Revocation: the next request after a change is decided by the change, on the copy that has it alone.
#[test]
fn a_change_counts_at_once_and_for_its_own_copy() {
    let groups = many("devs");
    let mut policy = base();
    assert!(!may_list(&policy, "jane", &groups));
    policy.apply([Change::PutBinding("b", &reader(SubjectKind::Group, "devs"))]);
    assert!(may_list(&policy, "jane", &groups));
    let before = policy.clone();
    policy.apply([Change::RemoveBinding("b")]);
    assert!(!may_list(&policy, "jane", &groups));
    assert!(may_list(&before, "jane", &groups));
    assert!(!may_list(&policy, "jane", &groups));
}

#[test]
fn what_is_kept_is_bounded() {
    let policy = base();
    let lists: Vec<Arc<[Box<str>]>> = (0..MAX_SIZE / 100).map(|_| many("x")).collect();
    for groups in &lists {
        assert!(!may_list(&policy, "jane", groups));
    }
    assert!(known(&policy) > 0);
    // One grant that is for many clusters counts as many.
    let clusters: Vec<String> = (0..1000).map(|n| format!("c{n}")).collect();
    let wide = BindingSpec {
        clusters,
        ..bind("reader", SubjectKind::Group, "wide")
    };
    let mut one = base();
    one.apply([Change::PutBinding("w", &wide)]);
    let lists: Vec<Arc<[Box<str>]>> = (0..600).map(|_| many("wide")).collect();
    for groups in &lists {
        assert!(!may_list(&one, "jane", groups));
    }
    assert!(known(&one) * 1101 <= MAX_SIZE, "{}", known(&one));
    assert!(known(&policy) * 101 <= MAX_SIZE, "{}", known(&policy));
    let huge: Arc<[Box<str>]> = vec![Box::from("x"); MAX_SIZE + 1].into();
    assert!(!may_list(&policy, "jane", &huge));
    assert!(known(&policy) * 101 <= MAX_SIZE);
}

#[test]
fn few_groups_and_lists_of_one_request_are_not_kept() {
    let mut policy = base();
    policy.apply([Change::PutBinding("b", &reader(SubjectKind::Group, "devs"))]);
    let few: Arc<[Box<str>]> = vec![Box::from("devs")].into();
    assert!(may_list(&policy, "jane", &few));
    let groups = many("devs");
    let who = Who {
        user: "jane",
        groups: &groups,
        shared: None,
    };
    let pods = Attributes::of_resource("list", "", "pods");
    assert!(policy.decide(&who, PROD, &pods, now()).allowed());
    assert_eq!(known(&policy), 0);
}

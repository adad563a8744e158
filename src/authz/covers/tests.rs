//! The cases of upstream's comparator, and where it differs from matching.

use super::*;

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str], names: &[&str]) -> PolicyRule {
    let own = |list: &[&str]| list.iter().map(|&entry| entry.to_owned()).collect();
    PolicyRule {
        verbs: own(verbs),
        api_groups: own(groups),
        resources: own(resources),
        resource_names: own(names),
        non_resource_urls: Vec::new(),
    }
}

fn urls(verbs: &[&str], urls: &[&str]) -> PolicyRule {
    let own = |list: &[&str]| list.iter().map(|&entry| entry.to_owned()).collect();
    PolicyRule {
        verbs: own(verbs),
        non_resource_urls: own(urls),
        ..PolicyRule::default()
    }
}

#[test]
fn each_part_needs_one_held_rule() {
    let held = [
        rule(&["v1"], &["builds"], &["get"], &[]),
        rule(&["v1"], &["deployments"], &["create"], &[]),
    ];
    assert!(covers(&held, &[rule(&["v1"], &["builds"], &["get"], &[])]));
    // All verbs are held, but none on both resources.
    let asked = rule(&["v1"], &["builds", "deployments"], &["get"], &[]);
    assert_eq!(
        uncovered(&held, &[asked]),
        [rule(&["v1"], &["deployments"], &["get"], &[])]
    );
    // Two held rules together cover one asked rule, part by part.
    let spread = [
        rule(&["v1"], &["builds"], &["get"], &[]),
        rule(&["v1"], &["builds"], &["list"], &[]),
    ];
    assert!(covers(
        &spread,
        &[rule(&["v1"], &["builds"], &["get", "list"], &[])]
    ));
}

#[test]
fn a_star_is_covered_by_a_star_alone() {
    let many = rule(&["a", "b"], &["x", "y"], &["get", "list"], &[]);
    let stars = rule(&["*"], &["*"], &["*"], &[]);
    assert!(covers(
        std::slice::from_ref(&stars),
        std::slice::from_ref(&many)
    ));
    assert!(covers(
        std::slice::from_ref(&stars),
        std::slice::from_ref(&stars)
    ));
    for asked in [
        rule(&["*"], &["x"], &["get"], &[]),
        rule(&["a"], &["*"], &["get"], &[]),
        rule(&["a"], &["x"], &["*"], &[]),
    ] {
        assert!(!covers(std::slice::from_ref(&many), &[asked]));
    }
}

#[test]
fn a_held_subresource_wildcard_covers_that_subresource() {
    let held = [rule(&["apps"], &["*/scale"], &["get"], &[])];
    let asks = |resource| covers(&held, &[rule(&["apps"], &[resource], &["get"], &[])]);
    assert!(asks("deployments/scale"));
    assert!(asks("*/scale"));
    assert!(!asks("deployments"));
    assert!(!asks("scale"));
    assert!(!asks("*"));
    assert!(!asks("deployments/status"));
    assert!(!asks("a/b/scale"), "the first slash parts the subresource");
    // Not a wildcard, as in matching.
    let literal = [rule(&["apps"], &["deployments/*"], &["get"], &[])];
    assert!(!covers(
        &literal,
        &[rule(&["apps"], &["deployments/scale"], &["get"], &[])]
    ));
}

#[test]
fn names_narrow() {
    let named = rule(&[""], &["pods"], &["get"], &["x", "y"]);
    let all = rule(&[""], &["pods"], &["get"], &[]);
    let asks = |held: &PolicyRule, names: &[&str]| {
        covers(
            std::slice::from_ref(held),
            &[rule(&[""], &["pods"], &["get"], names)],
        )
    };
    assert!(asks(&all, &["x"]));
    assert!(asks(&all, &[]));
    assert!(asks(&named, &["x", "y"]));
    assert!(!asks(&named, &["x", "z"]));
    assert!(!asks(&named, &[]), "all names are more than two");
}

#[test]
fn paths_are_covered_by_prefixes() {
    let asks =
        |held: &str, asked: &str| covers(&[urls(&["get"], &[held])], &[urls(&["get"], &[asked])]);
    assert!(asks("/a/*", "/a/b"));
    assert!(asks("/a/*", "/a/*"));
    assert!(asks("/a/*", "/a/b/*"));
    assert!(asks("*", "/a"));
    assert!(asks("*", "*"));
    assert!(!asks("/a/*", "/a"));
    assert!(!asks("/a", "/a/*"));
    assert!(!asks("/a/*", "*"));
    assert!(!covers(
        &[urls(&["get"], &["/a"])],
        &[urls(&["post"], &["/a"])]
    ));
}

#[test]
fn a_rule_of_both_kinds_breaks_into_both() {
    let both = PolicyRule {
        non_resource_urls: vec!["/a".into()],
        ..rule(&[""], &["pods"], &["get", "list"], &["x", "y"])
    };
    let parts = breakdown(&both);
    assert_eq!(parts.len(), 2 * 2 + 2);
    assert!(parts.contains(&rule(&[""], &["pods"], &["list"], &["y"])));
    assert!(parts.contains(&urls(&["get"], &["/a"])));
    // Upstream's quirk: names of the held rule are held against paths too.
    assert_eq!(
        uncovered(std::slice::from_ref(&both), &parts),
        [urls(&["get"], &["/a"]), urls(&["list"], &["/a"])]
    );
}

#[test]
fn nothing_is_always_covered() {
    assert!(covers(&[], &[]));
    assert!(covers(&[], &[rule(&[""], &["pods"], &[], &[])]));
    assert!(!covers(&[], &[rule(&[""], &["pods"], &["get"], &[])]));
}

#[test]
fn a_rule_prints_as_upstream_prints_it() {
    assert_eq!(
        compact(&rule(&[""], &["pods", "nodes"], &["get"], &["x"])),
        r#"{APIGroups:[""], Resources:["pods" "nodes"], ResourceNames:["x"], Verbs:["get"]}"#
    );
    assert_eq!(
        compact(&urls(&["get"], &["/a"])),
        r#"{NonResourceURLs:["/a"], Verbs:["get"]}"#
    );
}

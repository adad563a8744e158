//! The published rules and traps of RBAC matching, one line each.

use super::*;

fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> PolicyRule {
    let own = |list: &[&str]| list.iter().map(|&entry| entry.to_owned()).collect();
    PolicyRule {
        verbs: own(verbs),
        api_groups: own(groups),
        resources: own(resources),
        resource_names: own(names),
        non_resource_urls: Vec::new(),
    }
}

fn asks<'a>(verb: &'a str, group: &'a str, resource: &'a str, name: &'a str) -> Attributes<'a> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Attributes {
        subresource,
        name,
        ..Attributes::of_resource(verb, group, resource)
    }
}

#[test]
fn verbs_are_equal_or_a_star() {
    let may = |entry, verb| {
        allows(
            &rule(&[entry], &[""], &["pods"], &[]),
            &asks(verb, "", "pods", ""),
        )
    };
    assert!(may("get", "get"));
    assert!(may("*", "get"));
    assert!(may("*", ""), "an unknown method matches the star alone");
    assert!(!may("get", ""));
    assert!(!may("get", "Get"));
    assert!(!may("g*", "get"));
    assert!(!may(
        "impersonate-on:user-info:*",
        "impersonate-on:user-info:get"
    ));
}

#[test]
fn groups_are_equal_or_a_star_and_none_is_nothing() {
    let may = |groups: &[&str], group| {
        allows(
            &rule(&["get"], groups, &["pods"], &[]),
            &asks("get", group, "pods", ""),
        )
    };
    assert!(may(&[""], ""));
    assert!(!may(&[""], "apps"));
    assert!(!may(&["apps"], ""));
    assert!(may(&["*"], "apps"));
    assert!(may(&["*"], ""));
    assert!(!may(&[], ""));
    assert!(!may(&["app*"], "apps"));
}

#[test]
fn resources_are_whole_with_two_wildcards() {
    let may = |entry, resource| {
        allows(
            &rule(&["get"], &[""], &[entry], &[]),
            &asks("get", "", resource, ""),
        )
    };
    for (entry, resource) in [
        ("*", "pods"),
        ("*", "pods/log"),
        ("pods", "pods"),
        ("pods/log", "pods/log"),
        ("*/scale", "deployments/scale"),
        ("*/a/b", "pods/a/b"),
        ("*/*", "*/*"),
        ("pods/*", "pods/*"),
    ] {
        assert!(may(entry, resource), "{entry} {resource}");
    }
    for (entry, resource) in [
        ("pods", "pods/log"),
        ("pods/log", "pods"),
        ("pods/*", "pods/log"),
        ("*/*", "pods/log"),
        ("*/*", "pods"),
        ("*/scale", "scale"),
        ("*/scale", "pods/log"),
        ("*/b", "pods/a/b"),
        ("userextras/*", "userextras/scopes"),
        ("pod*", "pods"),
        ("podslog", "pods/log"),
        ("pods/log", "pods/logs"),
    ] {
        assert!(!may(entry, resource), "{entry} {resource}");
    }
}

#[test]
fn names_are_literal_and_a_request_without_one_fails_them() {
    let may = |names: &[&str], name| {
        allows(
            &rule(&["get"], &[""], &["pods"], names),
            &asks("get", "", "pods", name),
        )
    };
    assert!(may(&[], "x"));
    assert!(may(&[], ""));
    assert!(may(&["y", "x"], "x"));
    assert!(!may(&["x"], "y"));
    assert!(!may(&["x"], ""));
    assert!(!may(&["*"], "x"));
    assert!(may(&["*"], "*"));
    assert!(
        !may(&["x"], "x:8080"),
        "a proxy's name is the whole segment"
    );
    assert!(may(&[""], ""), "byte equality, also of nothing");
}

#[test]
fn paths_are_equal_or_a_prefix_after_all_stars() {
    for (entry, path) in [
        ("*", "/anything"),
        ("/healthz", "/healthz"),
        ("/healthz/*", "/healthz/"),
        ("/healthz/*", "/healthz/a/b"),
        ("/healthz*", "/healthzfoo"),
        ("/healthz*", "/healthz"),
        ("/a/**", "/a/b"),
        ("**", "/x"),
        ("/a/*/c", "/a/*/c"),
    ] {
        assert!(one_url_matches(entry, path), "{entry} {path}");
    }
    for (entry, path) in [
        ("/healthz", "/healthz/"),
        ("/healthz/", "/healthz"),
        ("/healthz/*", "/healthz"),
        ("/a/*/c", "/a/b/c"),
        ("/Healthz", "/healthz"),
        ("", "/x"),
    ] {
        assert!(!one_url_matches(entry, path), "{entry} {path}");
    }
}

#[test]
fn a_rule_of_one_kind_does_not_match_the_other() {
    let everything = rule(&["*"], &["*"], &["*"], &[]);
    assert!(!allows(
        &everything,
        &Attributes::of_path("get", "/metrics")
    ));
    let paths = PolicyRule {
        verbs: vec!["*".into()],
        non_resource_urls: vec!["*".into()],
        ..PolicyRule::default()
    };
    assert!(!allows(&paths, &asks("get", "", "pods", "")));
    assert!(allows(&paths, &Attributes::of_path("get", "/metrics")));
    // Evaluation allows what validation forbids: one rule with both.
    let both = PolicyRule {
        non_resource_urls: vec!["/metrics".into()],
        resource_names: vec!["x".into()],
        ..everything
    };
    assert!(allows(&both, &Attributes::of_path("get", "/metrics")));
    assert!(allows(&both, &asks("get", "", "pods", "x")));
    assert!(!allows(&both, &asks("get", "", "pods", "y")));
}

#[test]
fn a_near_miss_counts_its_parts() {
    let found = compare(
        &rule(&["get"], &[""], &["pods"], &["x"]),
        &asks("list", "", "pods", ""),
    );
    assert_eq!(
        found,
        Match {
            verb: false,
            group: true,
            target: true,
            name: false
        }
    );
    assert_eq!(found.count(), 2);
    assert!(!found.all());
}

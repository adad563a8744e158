//! The slow, obviously right evaluator that the compiled ones are tested against. Written from the reference
//! text alone: it shares no code with `rules` or `table`.

use super::Attributes;
use crate::objects::rules::PolicyRule;
use proptest::prelude::*;

/// Whether one rule allows a request, word by word from the description of RBAC.
pub(super) fn rule_allows(rule: &PolicyRule, attrs: &Attributes<'_>) -> bool {
    let star_or = |list: &Vec<String>, wanted: &str| {
        list.contains(&"*".to_owned()) || list.contains(&wanted.to_owned())
    };
    if !star_or(&rule.verbs, attrs.verb) {
        return false;
    }
    if !attrs.is_resource {
        return rule.non_resource_urls.iter().any(|url| {
            let mut stem = url.as_str();
            while let Some(shorter) = stem.strip_suffix('*') {
                stem = shorter;
            }
            url == attrs.path || (stem != url && attrs.path.starts_with(stem))
        });
    }
    if !star_or(&rule.api_groups, attrs.api_group) {
        return false;
    }
    let has = |entry: String| rule.resources.contains(&entry);
    let resource = if attrs.subresource.is_empty() {
        has("*".into()) || has(attrs.resource.into())
    } else {
        has("*".into())
            || has(attrs.resource.to_owned() + "/" + attrs.subresource)
            || has("*/".to_owned() + attrs.subresource)
    };
    resource
        && (rule.resource_names.is_empty() || rule.resource_names.contains(&attrs.name.to_owned()))
}

/// A request over a small alphabet, so that rules often match and often just do not.
#[derive(Clone, Debug)]
pub(super) struct Request {
    is_resource: bool,
    verb: &'static str,
    group: &'static str,
    namespace: &'static str,
    resource: &'static str,
    subresource: &'static str,
    name: &'static str,
    path: &'static str,
}

impl Request {
    pub(super) fn attributes(&self) -> Attributes<'_> {
        Attributes {
            is_resource: self.is_resource,
            verb: self.verb,
            api_group: self.group,
            api_version: "v1",
            namespace: self.namespace,
            resource: self.resource,
            subresource: self.subresource,
            name: self.name,
            path: self.path,
        }
    }
}

fn one_of(list: &'static [&'static str]) -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(list)
}

fn some_of(list: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(one_of(list).prop_map(str::to_owned), 0..=most)
}

pub(super) fn request() -> impl Strategy<Value = Request> {
    (
        prop::bool::weighted(0.75),
        one_of(&["get", "list", "create", "delete", "", "*", "frob"]),
        one_of(&["", "apps", "*"]),
        one_of(&["", "n1", "n2", "default", "kube-system"]),
        one_of(&["pods", "nodes", "*", "pods/log", ""]),
        one_of(&["", "", "log", "scale", "*", "a/b"]),
        one_of(&["", "x", "y", "*"]),
        one_of(&["/a", "/a/", "/a/b", "/ab", "/", "", "/a*", "/b/ä"]),
    )
        .prop_map(
            |(is_resource, verb, group, namespace, resource, subresource, name, path)| Request {
                is_resource,
                verb,
                group,
                namespace,
                resource,
                subresource,
                name,
                path,
            },
        )
}

pub(super) fn rule() -> impl Strategy<Value = PolicyRule> {
    (
        some_of(&["get", "list", "create", "*", "frob", ""], 3),
        some_of(&["", "apps", "*"], 2),
        some_of(
            &[
                "pods", "pods/log", "*", "*/log", "*/scale", "nodes", "*/*", "pods/*", "pods/a/b",
                "*/a/b", "",
            ],
            3,
        ),
        prop_oneof![2 => Just(Vec::new()), 1 => some_of(&["x", "y", "*", ""], 2)],
        prop_oneof![
            2 => Just(Vec::new()),
            1 => some_of(&["/a", "/a/*", "/a*", "*", "/a**", "**", "/a/b", "/b/*", "/*/b", ""], 2)
        ],
    )
        .prop_map(
            |(verbs, api_groups, resources, resource_names, non_resource_urls)| PolicyRule {
                verbs,
                api_groups,
                resources,
                resource_names,
                non_resource_urls,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Plain matching, and the table with one role, agree with the description.
    #[test]
    fn matching_agrees_with_the_description(rules in prop::collection::vec(rule(), 1..4), request in request()) {
        let attrs = request.attributes();
        let expected = rules.iter().any(|rule| rule_allows(rule, &attrs));
        prop_assert_eq!(rules.iter().any(|rule| super::rules::allows(rule, &attrs)), expected);
        let mut table = super::table::Table::default();
        table.add(7, rules.iter());
        prop_assert_eq!(table.allowing(&attrs).contains(7), expected);
        prop_assert!(!table.allowing(&attrs).contains(8));
        table.remove(7, rules.iter());
        prop_assert!(table.allowing(&attrs).is_empty() && table.is_empty());
    }

    /// Covering is about rules, matching about requests: what is covered never matches more.
    #[test]
    fn covered_rules_match_nothing_more(
        held in prop::collection::vec(rule(), 1..4),
        asked in rule(),
        requests in prop::collection::vec(request(), 8),
    ) {
        let asked = [asked];
        if super::covers::covers(&held, &asked) {
            // Only an access review can ask for a resource `pods/log` without a subresource; matching then
            // does not know `*/log`, which covering takes to be wider.
            for request in requests.iter().filter(|request| !request.resource.contains('/')) {
                let attrs = request.attributes();
                let wanted = rule_allows(&asked[0], &attrs);
                prop_assert!(!wanted || held.iter().any(|rule| rule_allows(rule, &attrs)), "{attrs:?}");
            }
        }
    }
}

//! Whether one set of rules covers another: nobody grants what they do not hold.
//!
//! Upstream's `policy_comparator.go`, an algorithm of its own and not matching: the asked rules are broken
//! into rules of one verb, one resource and at most one name; each must be covered by a **single** held
//! rule; a `*` that is asked for needs a literal `*` that is held.

use super::rules::ALL;
use crate::objects::rules::PolicyRule;

/// Those parts of `asked` that no rule of `held` covers; empty: all is covered.
pub fn uncovered(held: &[PolicyRule], asked: &[PolicyRule]) -> Vec<PolicyRule> {
    asked
        .iter()
        .flat_map(breakdown)
        .filter(|part| !held.iter().any(|rule| rule_covers(rule, part)))
        .collect()
}

/// Whether `held` covers all of `asked`.
pub fn covers(held: &[PolicyRule], asked: &[PolicyRule]) -> bool {
    uncovered(held, asked).is_empty()
}

/// Breaks a rule into rules of one group, resource, verb and at most one name, or one path and verb.
///
/// A rule with neither resources nor paths, or without verbs, breaks into nothing: it grants nothing.
pub fn breakdown(rule: &PolicyRule) -> Vec<PolicyRule> {
    let mut parts = Vec::new();
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                let part = PolicyRule {
                    verbs: vec![verb.clone()],
                    api_groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    ..PolicyRule::default()
                };
                if rule.resource_names.is_empty() {
                    parts.push(part);
                    continue;
                }
                parts.extend(rule.resource_names.iter().map(|name| PolicyRule {
                    resource_names: vec![name.clone()],
                    ..part.clone()
                }));
            }
        }
    }
    for url in &rule.non_resource_urls {
        parts.extend(rule.verbs.iter().map(|verb| PolicyRule {
            verbs: vec![verb.clone()],
            non_resource_urls: vec![url.clone()],
            ..PolicyRule::default()
        }));
    }
    parts
}

/// How many parts [`breakdown`] makes of these rules: a few lists of a few hundred entries make millions.
pub fn parts(rules: &[PolicyRule]) -> usize {
    rules.iter().fold(0, |sum, rule| {
        let names = rule.resource_names.len().max(1);
        let resources = [&rule.api_groups, &rule.resources, &rule.verbs]
            .iter()
            .fold(names, |product, list| product.saturating_mul(list.len()));
        let paths = rule
            .non_resource_urls
            .len()
            .saturating_mul(rule.verbs.len());
        sum.saturating_add(resources).saturating_add(paths)
    })
}

/// Whether one held rule covers one part (at most one verb, group, resource, name and path).
fn rule_covers(held: &PolicyRule, part: &PolicyRule) -> bool {
    let names = held.resource_names.is_empty()
        || (!part.resource_names.is_empty() && has_all(&held.resource_names, &part.resource_names));
    star_or_all(&held.verbs, &part.verbs)
        && star_or_all(&held.api_groups, &part.api_groups)
        && resources_cover(&held.resources, &part.resources)
        && names
        && urls_cover(&held.non_resource_urls, &part.non_resource_urls)
}

fn has_all(held: &[String], asked: &[String]) -> bool {
    asked.iter().all(|entry| held.contains(entry))
}

fn star_or_all(held: &[String], asked: &[String]) -> bool {
    held.iter().any(|entry| entry == ALL) || has_all(held, asked)
}

/// A held `*/sub` covers an asked `x/sub`, and also an asked `*/sub`; nothing but `*` covers `*`.
fn resources_cover(held: &[String], asked: &[String]) -> bool {
    held.iter().any(|entry| entry == ALL)
        || asked.iter().all(|path| {
            held.contains(path)
                || path.split_once('/').is_some_and(|(_, subresource)| {
                    held.iter()
                        .any(|entry| entry.strip_prefix("*/") == Some(subresource))
                })
        })
}

fn urls_cover(held: &[String], asked: &[String]) -> bool {
    asked.iter().all(|url| {
        held.iter().any(|entry| {
            entry == url || (entry.ends_with('*') && url.starts_with(entry.trim_end_matches('*')))
        })
    })
}

/// How upstream prints a rule in an escalation message: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
pub fn compact(rule: &PolicyRule) -> String {
    let parts: Vec<String> = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &rule.verbs),
    ]
    .into_iter()
    .filter(|(_, list)| !list.is_empty())
    .map(|(name, list)| {
        let quoted: Vec<String> = list.iter().map(|entry| format!("{entry:?}")).collect();
        format!("{name}:[{}]", quoted.join(" "))
    })
    .collect();
    format!("{{{}}}", parts.join(", "))
}

#[cfg(test)]
mod tests;

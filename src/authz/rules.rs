//! Plain matching of one rule against one request, as `pkg/apis/rbac/v1/evaluation_helpers.go` has it.
//!
//! The reference: slow, readable, and used where a reason is wanted. The compiled table must agree with it.

use super::Attributes;
use crate::objects::rules::PolicyRule;

/// The wildcard of verbs, groups, resources and plain paths. In `resourceNames` it is a literal.
pub const ALL: &str = "*";

/// Which parts of a rule match a request: what a near miss is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the four parts of a comparison are independent of each other"
)]
pub struct Match {
    /// The verb is listed.
    pub verb: bool,
    /// The API group is listed; true for plain paths.
    pub group: bool,
    /// The resource (with its subresource) or the path is listed.
    pub target: bool,
    /// The name is listed, or no names are; true for plain paths.
    pub name: bool,
}

impl Match {
    /// Whether the rule allows the request.
    pub fn all(self) -> bool {
        self.verb && self.group && self.target && self.name
    }

    /// How many of the four parts match.
    pub fn count(self) -> usize {
        [self.verb, self.group, self.target, self.name]
            .into_iter()
            .filter(|&part| part)
            .count()
    }
}

/// Whether `rule` allows the request.
pub fn allows(rule: &PolicyRule, attrs: &Attributes<'_>) -> bool {
    compare(rule, attrs).all()
}

/// Part by part, what of `rule` matches the request.
pub fn compare(rule: &PolicyRule, attrs: &Attributes<'_>) -> Match {
    let verb = verb_matches(rule, attrs.verb);
    if attrs.is_resource {
        Match {
            verb,
            group: group_matches(rule, attrs.api_group),
            target: resource_matches(rule, attrs.resource, attrs.subresource),
            name: name_matches(rule, attrs.name),
        }
    } else {
        Match {
            verb,
            group: true,
            target: url_matches(rule, attrs.path),
            name: true,
        }
    }
}

/// `*` or byte-equal; no case folding.
pub fn verb_matches(rule: &PolicyRule, verb: &str) -> bool {
    rule.verbs.iter().any(|entry| entry == ALL || entry == verb)
}

/// `*` or byte-equal; `""` is the core group only, an empty list matches nothing.
pub fn group_matches(rule: &PolicyRule, group: &str) -> bool {
    rule.api_groups
        .iter()
        .any(|entry| entry == ALL || entry == group)
}

/// `*`, the whole `resource/subresource`, or `*/subresource`. `pods/*` and `*/*` are no wildcards.
pub fn resource_matches(rule: &PolicyRule, resource: &str, subresource: &str) -> bool {
    rule.resources.iter().any(|entry| {
        entry == ALL
            || is_combined(entry, resource, subresource)
            || (!subresource.is_empty() && entry.strip_prefix("*/") == Some(subresource))
    })
}

fn is_combined(entry: &str, resource: &str, subresource: &str) -> bool {
    if subresource.is_empty() {
        return entry == resource;
    }
    entry
        .strip_prefix(resource)
        .and_then(|rest| rest.strip_prefix('/'))
        == Some(subresource)
}

/// No names in the rule, or byte-equal. A request without a name fails a rule with names.
pub fn name_matches(rule: &PolicyRule, name: &str) -> bool {
    rule.resource_names.is_empty() || rule.resource_names.iter().any(|entry| entry == name)
}

/// Whether any of the rule's paths matches.
pub fn url_matches(rule: &PolicyRule, path: &str) -> bool {
    rule.non_resource_urls
        .iter()
        .any(|entry| one_url_matches(entry, path))
}

/// `*`, equal, or a prefix after cutting **all** stars off the end (`/a/*` does not match `/a`).
pub fn one_url_matches(entry: &str, path: &str) -> bool {
    entry == ALL
        || entry == path
        || (entry.ends_with('*') && path.starts_with(entry.trim_end_matches('*')))
}

#[cfg(test)]
mod tests;

//! Requests and rules in words: the same words in every command, message and test.

use super::{Attributes, rules};
use crate::objects::rules::PolicyRule;
// Writing to a String cannot fail: the results below are dropped.
use std::fmt::Write as _;

/// Entries of a list that are spelt out; a rule of a viewer has twenty-five resources.
const LONGEST_LIST: usize = 6;

/// `list pods in namespace "default"`, `get /healthz`.
pub fn request(attrs: &Attributes<'_>) -> String {
    let verb = if attrs.verb.is_empty() {
        "(no verb)"
    } else {
        attrs.verb
    };
    if !attrs.is_resource {
        return format!("{verb} {}", attrs.path);
    }
    let mut text = format!("{verb} {}", attrs.combined_resource());
    if !attrs.api_group.is_empty() {
        text.push('.');
        text.push_str(attrs.api_group);
    }
    if !attrs.name.is_empty() {
        let _ = write!(text, " {:?}", attrs.name);
    }
    if !attrs.namespace.is_empty() {
        let _ = write!(text, " in namespace {:?}", attrs.namespace);
    }
    text
}

/// `get, list on pods, pods/log`, `get on paths /api, /api/*`.
pub fn rule(rule: &PolicyRule) -> String {
    let mut text = format!("{} on ", verbs(rule));
    let mut parts = Vec::new();
    if !rule.resources.is_empty() || rule.non_resource_urls.is_empty() {
        parts.push(resources(rule));
    }
    if !rule.non_resource_urls.is_empty() {
        parts.push(format!("paths {}", list(&rule.non_resource_urls)));
    }
    text.push_str(&parts.join(" and "));
    text
}

/// The rule, with only those entries that have to do with the request: those that match, or else those
/// of the same resource.
pub fn rule_for(whole: &PolicyRule, attrs: &Attributes<'_>) -> String {
    let one_resource = |entry: &String| PolicyRule {
        resources: vec![entry.clone()],
        ..PolicyRule::default()
    };
    let matches = |entry: &&String| {
        rules::resource_matches(&one_resource(entry), attrs.resource, attrs.subresource)
    };
    let same = |entry: &&String| entry.split('/').next() == Some(attrs.resource);
    let url = |entry: &&String| rules::one_url_matches(entry, attrs.path);
    let narrow = |entries: &[String], keep: &dyn Fn(&&String) -> bool| -> Vec<String> {
        entries.iter().filter(keep).cloned().collect()
    };
    let mut part = whole.clone();
    for kept in [
        narrow(&whole.resources, &matches),
        narrow(&whole.resources, &same),
    ] {
        if attrs.is_resource && !kept.is_empty() {
            part.resources = kept;
            break;
        }
    }
    let urls = narrow(&whole.non_resource_urls, &url);
    if !attrs.is_resource && !urls.is_empty() {
        part.non_resource_urls = urls;
    }
    rule(&part)
}

/// `get, list`; `every verb`.
pub fn verbs(rule: &PolicyRule) -> String {
    any_or_list(&rule.verbs, "every verb", "no verb")
}

/// `pods, pods/log`, `deployments in API group apps`, `pods named a, b`.
pub fn resources(rule: &PolicyRule) -> String {
    let mut text = any_or_list(&rule.resources, "every resource", "no resource");
    let groups = rule.api_groups.as_slice();
    if groups.iter().any(|group| group == rules::ALL) {
        text.push_str(" in every API group");
    } else {
        match groups {
            [] => text.push_str(" in no API group"),
            [core] if core.is_empty() => {}
            [one] => {
                let _ = write!(text, " in API group {one}");
            }
            many => {
                let _ = write!(text, " in API groups {}", api_groups(many));
            }
        }
    }
    if !rule.resource_names.is_empty() {
        let _ = write!(text, " named {}", list(&rule.resource_names));
    }
    text
}

/// A list of groups; the core group has no name and is written `""`, as in a rule.
pub fn api_groups(groups: &[String]) -> String {
    let shown: Vec<String> = groups
        .iter()
        .map(|group| api_group(group).to_owned())
        .collect();
    list(&shown)
}

/// The group's name; `""` for the core group.
pub fn api_group(group: &str) -> &str {
    if group.is_empty() { "\"\"" } else { group }
}

/// `a, b, c`, cut where nobody reads on.
pub fn list(entries: &[String]) -> String {
    let shown: Vec<&str> = entries
        .iter()
        .take(LONGEST_LIST)
        .map(String::as_str)
        .collect();
    match entries.len().saturating_sub(LONGEST_LIST) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn any_or_list(entries: &[String], any: &str, none: &str) -> String {
    if entries.iter().any(|entry| entry == rules::ALL) {
        any.to_owned()
    } else if entries.is_empty() {
        none.to_owned()
    } else {
        list(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|&entry| entry.to_owned()).collect()
    }

    #[test]
    fn rules_read_as_sentences() {
        let mut one = PolicyRule {
            verbs: strings(&["get", "list"]),
            api_groups: strings(&[""]),
            resources: strings(&["pods", "pods/log"]),
            ..PolicyRule::default()
        };
        assert_eq!(rule(&one), "get, list on pods, pods/log");
        one.resource_names = strings(&["a"]);
        one.api_groups = strings(&["", "apps"]);
        assert_eq!(
            rule(&one),
            "get, list on pods, pods/log in API groups \"\", apps named a"
        );
        let all = PolicyRule {
            verbs: strings(&["*"]),
            api_groups: strings(&["*"]),
            resources: strings(&["*"]),
            ..PolicyRule::default()
        };
        assert_eq!(
            rule(&all),
            "every verb on every resource in every API group"
        );
        let paths = PolicyRule {
            verbs: strings(&["get"]),
            non_resource_urls: strings(&["/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8"]),
            ..PolicyRule::default()
        };
        assert_eq!(
            rule(&paths),
            "get on paths /1, /2, /3, /4, /5, /6 and 2 more"
        );
    }

    #[test]
    fn requests_read_as_sentences() {
        let mut attrs = Attributes::of_resource("get", "apps", "deployments");
        attrs.subresource = "scale";
        attrs.name = "web";
        attrs.namespace = "shop";
        assert_eq!(
            request(&attrs),
            "get deployments/scale.apps \"web\" in namespace \"shop\""
        );
        assert_eq!(
            request(&Attributes::of_path("get", "/healthz")),
            "get /healthz"
        );
        assert_eq!(request(&Attributes::of_path("", "/x")), "(no verb) /x");
    }
}

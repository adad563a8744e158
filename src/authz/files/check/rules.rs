//! What the rules of a role must keep, as the API server checks them when a role is written, and what
//! in them can never match a request.

use super::Check;
use crate::authz::attributes::IN_NO_NAMESPACE;
use crate::objects::{Role, RoleScope, rules::PolicyRule};

/// API groups that the gateway's own API serves.
const OWN_GROUPS: [&str; 3] = [
    crate::objects::GROUP,
    "authentication.k8s.io",
    "authorization.k8s.io",
];

impl Check<'_> {
    pub(super) fn rules(&mut self, role: &Role) {
        for (index, rule) in role.spec.rules.iter().enumerate() {
            let path = format!("spec.rules[{index}]");
            self.rule_shape(&path, role.spec.scope, rule);
            self.rule_reach(&path, role.spec.scope, rule);
            let earlier = role.spec.rules.iter().take(index);
            if earlier.into_iter().any(|earlier| earlier == rule) {
                self.odd(&path, "says the same as a rule above it");
            }
        }
        if role.spec.rules.is_empty() && role.spec.inherits.is_empty() {
            self.odd("spec", "has no rules and inherits none: it allows nothing");
        }
    }

    /// `pkg/apis/rbac/validation/validation.go` of Kubernetes.
    fn rule_shape(&mut self, path: &str, scope: RoleScope, rule: &PolicyRule) {
        if rule.verbs.is_empty() {
            self.wrong(&format!("{path}.verbs"), "must have at least one verb");
        }
        if rule.non_resource_urls.is_empty() {
            if rule.api_groups.is_empty() {
                let message = "a rule on resources needs apiGroups (\"\" is the core group)";
                self.wrong(&format!("{path}.apiGroups"), message);
            }
            if rule.resources.is_empty() {
                let message = "a rule needs resources or nonResourceURLs";
                self.wrong(&format!("{path}.resources"), message);
            }
            return;
        }
        let mixed = !rule.api_groups.is_empty()
            || !rule.resources.is_empty()
            || !rule.resource_names.is_empty();
        if mixed {
            let message = "a rule speaks of resources or of nonResourceURLs; make two of it";
            self.wrong(&format!("{path}.nonResourceURLs"), message);
        }
        if scope == RoleScope::Project {
            let message = "a project has namespaces only: nonResourceURLs match nothing in it";
            self.wrong(&format!("{path}.nonResourceURLs"), message);
        }
    }

    /// Entries that no request can match, most often because a pattern was meant that does not exist.
    fn rule_reach(&mut self, path: &str, scope: RoleScope, rule: &PolicyRule) {
        for (index, verb) in rule.verbs.iter().enumerate() {
            if let Some(why) = odd_verb(verb) {
                self.odd(&format!("{path}.verbs[{index}]"), why);
            }
        }
        for (index, group) in rule.api_groups.iter().enumerate() {
            if let Some(why) = odd_group(group) {
                self.odd(&format!("{path}.apiGroups[{index}]"), why);
            }
        }
        for (index, resource) in rule.resources.iter().enumerate() {
            if let Some(why) = odd_resource(resource) {
                self.odd(&format!("{path}.resources[{index}]"), why);
            }
            if scope == RoleScope::Project && IN_NO_NAMESPACE.contains(&main_of(resource)) {
                let why = "is in no namespace: a role of scope project never reaches it";
                self.odd(&format!("{path}.resources[{index}]"), why);
            }
        }
        for (index, name) in rule.resource_names.iter().enumerate() {
            if name == "*" {
                let why =
                    "\"*\" is a name like any other here; leave resourceNames out for all names";
                self.odd(&format!("{path}.resourceNames[{index}]"), why);
            }
        }
        for (index, url) in rule.non_resource_urls.iter().enumerate() {
            if let Some(why) = odd_url(url) {
                self.odd(&format!("{path}.nonResourceURLs[{index}]"), why);
            }
        }
        // A subresource is created of an object that has a name: POST …/pods/x/exec.
        let of_object = |resource: &String| resource.contains(['/', '*']);
        let nameless = |verb: &String| match verb.as_str() {
            "create" => !rule.resources.iter().any(of_object),
            other => other == "deletecollection",
        };
        if !rule.resource_names.is_empty() && rule.verbs.iter().all(nameless) {
            let why = "such a request says no name, so a rule with resourceNames never matches it";
            self.odd(&format!("{path}.resourceNames"), why);
        }
        // Users and groups to act as are of the core group, there as here.
        let acting = rule.verbs.iter().any(|verb| verb == "impersonate");
        let served = |group: &String| match group.as_str() {
            "*" => true,
            "" => acting,
            other => OWN_GROUPS.contains(&other),
        };
        if scope == RoleScope::Global
            && !rule.api_groups.is_empty()
            && !rule.api_groups.iter().any(served)
        {
            let why = "a role of scope global applies to the gateway's own API, whose group is palisade.dev";
            self.odd(&format!("{path}.apiGroups"), why);
        }
    }
}

/// `pods` of `pods/log`.
fn main_of(resource: &str) -> &str {
    resource.split('/').next().unwrap_or_default()
}

fn odd_verb(verb: &str) -> Option<&'static str> {
    if verb != "*" && verb.contains('*') {
        Some("\"*\" stands for all verbs only by itself")
    } else if verb.chars().any(char::is_uppercase) {
        Some("verbs of requests are lower-case: this never matches")
    } else if matches!(verb, "read" | "write" | "edit" | "view" | "post" | "put") {
        Some(
            "no request has this verb; there are get, list, watch, create, update, patch, delete, deletecollection",
        )
    } else {
        None
    }
}

fn odd_group(group: &str) -> Option<&'static str> {
    if group == "core" || group == "v1" {
        Some("the core group is written \"\"")
    } else if group.contains('/') {
        Some("is a group with a version; rules name the group alone")
    } else if group != "*" && group.contains('*') {
        Some("\"*\" stands for all groups only by itself")
    } else {
        None
    }
}

fn odd_resource(resource: &str) -> Option<&'static str> {
    let (main, sub) = match resource.split_once('/') {
        Some((main, sub)) => (main, Some(sub)),
        None => (resource, None),
    };
    if sub.is_some_and(|sub| sub.contains('*')) {
        Some("subresources have no wildcard: \"*\" covers all, \"*/scale\" one of all resources")
    } else if main != "*" && main.contains('*') {
        Some("\"*\" stands for all resources only by itself")
    } else if resource.is_empty() {
        Some("no request has an empty resource")
    } else if resource.chars().any(char::is_uppercase) {
        Some("is written like a kind; rules name the resource: plural and lower-case")
    } else if matches!(
        resource,
        "pod" | "secret" | "deployment" | "service" | "node" | "namespace"
    ) {
        Some("rules name resources in the plural")
    } else {
        None
    }
}

fn odd_url(url: &str) -> Option<&'static str> {
    if url.trim_end_matches('*').contains('*') {
        Some("\"*\" is a wildcard at the end only")
    } else if url != "*" && !url.starts_with('/') {
        Some("paths begin with \"/\": this never matches")
    } else {
        None
    }
}

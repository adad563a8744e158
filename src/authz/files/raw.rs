//! `rbac.authorization.k8s.io/v1` as kubectl prints it or people write it, read as the API server reads it.
//!
//! Evaluation looks at rules, roleRef and subjects alone; what else stands there (managedFields, status,
//! annotations) is passed over. A key that is not known changes nothing in a cluster, so it changes
//! nothing here, but inside rules and roleRef it is warned of: `resourceName` for `resourceNames` makes a
//! rule wider, there as here.
//!
//! What could go wrong: aggregated ClusterRoles. An API server's authoriser reads `rules` alone; a
//! controller fills them. What a server printed is therefore taken as it stands, even if the rules are
//! empty: that is what this server judges by. What people wrote by hand, without rules, has not been
//! through the controller, and gets here what the controller would write.

use super::{Report, documents::Document};
use crate::{
    authz::{
        raw::{self, Metadata, Objects, RawPolicy},
        source::{RawBinding, RawRole, RawSource, Sourced},
    },
    config::yaml::{self, Node, Value},
    objects::rules::PolicyRule,
};
use std::collections::{BTreeMap, btree_map::Entry};

/// The kinds of RBAC.
pub(super) const KINDS: [&str; 4] = ["ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding"];

const RULE_KEYS: [&str; 5] = [
    "verbs",
    "apiGroups",
    "resources",
    "resourceNames",
    "nonResourceURLs",
];

/// All RBAC objects of a folder.
pub(super) fn collect(documents: &[Document], report: &mut Report) -> RawSource {
    let mut source = RawSource::default();
    let mut aggregated = Vec::new();
    for document in documents {
        match document.kind.as_str() {
            "ClusterRole" => {
                if let Some(role) = read_cluster_role(document, &mut source, report) {
                    aggregated.push((document, role));
                }
            }
            "Role" => read_role(document, &mut source, report),
            "ClusterRoleBinding" => {
                if let Some(read) = load::<raw::ClusterRoleBinding>(document, report) {
                    let written = (read.metadata, read.role_ref, read.subjects);
                    put_binding(document, written, &mut source, report);
                }
            }
            _ => {
                if let Some(read) = load::<raw::RoleBinding>(document, report) {
                    let written = (read.metadata, read.role_ref, read.subjects);
                    put_binding(document, written, &mut source, report);
                }
            }
        }
    }
    fill_aggregated(aggregated, &mut source, report);
    missing_roles(documents, &source, report);
    source
}

/// Answers with the role for the aggregation of others; of itself too, if it was written by hand.
fn read_cluster_role(
    document: &Document,
    source: &mut RawSource,
    report: &mut Report,
) -> Option<raw::ClusterRole> {
    let mut read = load::<raw::ClusterRole>(document, report)?;
    let (namespace, name) = names(document, &read.metadata, report)?;
    rule_keys(document, report);
    if printed_by_server(&document.node) && read.aggregation_rule.take().is_some() {
        if read.rules.is_empty() {
            let message = "the server that printed this role has no controller that fills it: it grants nothing there";
            let mistake = document.mistake("aggregationRule", message);
            report.warning(&document.file, mistake);
        }
    } else if !read.rules.is_empty() {
        // Filled already, by a controller or by hand.
        read.aggregation_rule = None;
    }
    let role = RawRole {
        namespace,
        name: name.clone(),
        rules: plain(&read.rules),
    };
    put(&mut source.cluster_roles, name, document, role, report).then_some(read)
}

fn read_role(document: &Document, source: &mut RawSource, report: &mut Report) {
    let Some(read) = load::<raw::Role>(document, report) else {
        return;
    };
    rule_keys(document, report);
    if let Some((namespace, name)) = names(document, &read.metadata, report) {
        let role = RawRole {
            namespace: namespace.clone(),
            name: name.clone(),
            rules: plain(&read.rules),
        };
        put(&mut source.roles, (namespace, name), document, role, report);
    }
}

fn plain(rules: &[raw::Rule]) -> Vec<PolicyRule> {
    rules.iter().cloned().map(PolicyRule::from).collect()
}

/// Roles with an `aggregationRule` get the rules that the controller would write.
fn fill_aggregated(
    roles: Vec<(&Document, raw::ClusterRole)>,
    source: &mut RawSource,
    report: &mut Report,
) {
    let by_hand: Vec<(&Document, String)> = roles
        .iter()
        .filter(|(_, role)| role.aggregation_rule.is_some())
        .map(|(document, role)| (*document, role.metadata.name.clone()))
        .collect();
    let filled = RawPolicy::of(Objects {
        cluster_roles: roles.into_iter().map(|(_, role)| role).collect(),
        ..Objects::default()
    });
    for (document, name) in by_hand {
        let of_this = format!("ClusterRole {name:?}: ");
        let mut wrong = filled.mistakes().iter();
        if let Some(why) = wrong.find_map(|mistake| mistake.strip_prefix(&of_this)) {
            report.mistake(&document.file, document.mistake("aggregationRule", why));
        }
        if let Some(role) = source.cluster_roles.get_mut(&name) {
            role.object.rules = filled.cluster_role(&name).unwrap_or_default().to_vec();
            // They are written elsewhere.
            role.origin.rules = [].into();
        }
    }
}

fn put_binding(
    document: &Document,
    (metadata, role, subjects): (Metadata, raw::RoleRef, Vec<raw::Subject>),
    source: &mut RawSource,
    report: &mut Report,
) {
    let Some((namespace, name)) = names(document, &metadata, report) else {
        return;
    };
    let of_cluster = namespace.is_empty();
    if !(role.kind == "ClusterRole" || (role.kind == "Role" && !of_cluster)) {
        let message = format!(
            "{:?}: a {} refers to no such kind",
            role.kind, document.kind
        );
        return report.mistake(&document.file, document.mistake("roleRef.kind", message));
    }
    if let Some(node) = document.node.get("roleRef") {
        unknown_keys(
            document,
            node,
            "roleRef",
            &["apiGroup", "kind", "name"],
            report,
        );
    }
    for (index, subject) in subjects.iter().enumerate() {
        let wrong = match subject.kind.as_str() {
            "ServiceAccount" if of_cluster && subject.namespace.is_empty() => {
                let message = "a ServiceAccount in a ClusterRoleBinding needs its namespace";
                Some(("namespace", message.to_owned()))
            }
            "User" | "Group" | "ServiceAccount" => None,
            other => {
                let message = format!("{other:?} is none of User, Group, ServiceAccount");
                Some(("kind", message))
            }
        };
        if let Some((key, message)) = wrong {
            let path = format!("subjects[{index}].{key}");
            report.mistake(&document.file, document.mistake(&path, message));
        }
    }
    let binding = RawBinding {
        namespace: namespace.clone(),
        name: name.clone(),
        role,
        subjects,
    };
    if of_cluster {
        put(
            &mut source.cluster_role_bindings,
            name,
            document,
            binding,
            report,
        );
    } else {
        put(
            &mut source.role_bindings,
            (namespace, name),
            document,
            binding,
            report,
        );
    }
}

fn rule_keys(document: &Document, report: &mut Report) {
    if let Some(Value::List(rules)) = document.node.get("rules").map(|rules| &rules.value) {
        for (index, rule) in rules.iter().enumerate() {
            unknown_keys(
                document,
                rule,
                &format!("rules[{index}]"),
                &RULE_KEYS,
                report,
            );
        }
    }
}

/// A server gives every object a uid; nobody writes one by hand.
fn printed_by_server(node: &Node) -> bool {
    node.get("metadata")
        .is_some_and(|metadata| metadata.get("uid").is_some())
}

fn load<T: serde::de::DeserializeOwned>(document: &Document, report: &mut Report) -> Option<T> {
    match yaml::load(&document.node) {
        Ok(value) => Some(value),
        Err(mistakes) => {
            for mistake in mistakes {
                report.mistake(&document.file, mistake);
            }
            None
        }
    }
}

/// Namespace (empty for cluster-scoped kinds) and name.
fn names(
    document: &Document,
    metadata: &Metadata,
    report: &mut Report,
) -> Option<(String, String)> {
    let Metadata {
        name, namespace, ..
    } = metadata;
    let namespaced = matches!(document.kind.as_str(), "Role" | "RoleBinding");
    let wrong = if name.is_empty() {
        Some(("metadata.name", format!("a {} needs a name", document.kind)))
    } else if namespaced && namespace.is_empty() {
        let message = format!("a {} needs the namespace it is in", document.kind);
        Some(("metadata.namespace", message))
    } else {
        None
    };
    if let Some((path, message)) = wrong {
        report.mistake(&document.file, document.mistake(path, message));
        return None;
    }
    let namespace = if namespaced {
        namespace.clone()
    } else {
        String::new()
    };
    Some((namespace, name.clone()))
}

fn unknown_keys(document: &Document, node: &Node, path: &str, known: &[&str], report: &mut Report) {
    if let Value::Map(entries) = &node.value {
        for entry in entries {
            if !known.contains(&entry.key.as_str()) {
                let at = format!("{path}.{}", entry.key);
                let message = "is not known, and passed over as the API server does";
                report.warning(&document.file, document.mistake(&at, message));
            }
        }
    }
}

fn put<K: Ord, T>(
    map: &mut BTreeMap<K, Sourced<T>>,
    key: K,
    document: &Document,
    object: T,
    report: &mut Report,
) -> bool {
    match map.entry(key) {
        Entry::Vacant(free) => {
            free.insert(Sourced {
                object,
                origin: document.origin(document.node.get("rules")),
            });
            true
        }
        Entry::Occupied(first) => {
            let place = first.get().origin.spot();
            let message = format!(
                "this {} is also at {place}; a folder is the policy of one cluster",
                document.kind
            );
            report.mistake(&document.file, document.mistake("metadata.name", message));
            false
        }
    }
}

/// A binding of a role that is not there grants nothing, there as here; it is worth a word.
fn missing_roles(documents: &[Document], raw: &RawSource, report: &mut Report) {
    for document in documents.iter().filter(|d| d.kind.ends_with("Binding")) {
        let text = |outer: &str, inner: &str| {
            let outer = document.node.get(outer)?;
            outer.get(inner)?.as_str().map(str::to_owned)
        };
        let (Some(kind), Some(name)) = (text("roleRef", "kind"), text("roleRef", "name")) else {
            continue;
        };
        let there = if kind == "Role" {
            let namespace = text("metadata", "namespace").unwrap_or_default();
            raw.roles.contains_key(&(namespace, name.clone()))
        } else {
            raw.cluster_roles.contains_key(&name)
        };
        if !there {
            let message = format!("there is no {kind} {name:?} in this folder: grants nothing");
            report.warning(&document.file, document.mistake("roleRef.name", message));
        }
    }
}

//! `rbac.authorization.k8s.io/v1` as kubectl prints it or people write it, read as the API server reads it.
//!
//! Evaluation looks at rules, roleRef and subjects alone; what else stands there (managedFields, status,
//! annotations) is passed over. A key that is not known changes nothing in a cluster, so it changes
//! nothing here, but inside rules, roleRef and subjects it is warned of: `resourceName` for
//! `resourceNames` makes a rule wider, there as here.

use super::{Report, aggregate, documents::Document};
use crate::{
    authz::source::{RawBinding, RawRole, RawRoleKind, RawRoleRef, RawSource, RawSubject, Sourced},
    config::yaml::{self, Node, Value},
    objects::rules::PolicyRule,
};
use serde::Deserialize;
use std::collections::{BTreeMap, btree_map::Entry};

/// The kinds of RBAC.
pub(super) const KINDS: [&str; 4] = ["ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding"];

#[derive(Default, Deserialize)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenRole {
    metadata: Metadata,
    rules: Option<Vec<WrittenRule>>,
    aggregation_rule: Option<aggregate::Aggregation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenRule {
    verbs: Option<Vec<String>>,
    api_groups: Option<Vec<String>>,
    resources: Option<Vec<String>>,
    resource_names: Option<Vec<String>>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Option<Vec<String>>,
}

const RULE_KEYS: [&str; 5] = [
    "verbs",
    "apiGroups",
    "resources",
    "resourceNames",
    "nonResourceURLs",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenBinding {
    metadata: Metadata,
    role_ref: WrittenRef,
    subjects: Option<Vec<WrittenSubject>>,
}

#[derive(Deserialize)]
struct WrittenRef {
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct WrittenSubject {
    kind: String,
    name: String,
    namespace: Option<String>,
}

impl From<WrittenRule> for PolicyRule {
    fn from(rule: WrittenRule) -> Self {
        Self {
            verbs: rule.verbs.unwrap_or_default(),
            api_groups: rule.api_groups.unwrap_or_default(),
            resources: rule.resources.unwrap_or_default(),
            resource_names: rule.resource_names.unwrap_or_default(),
            non_resource_urls: rule.non_resource_urls.unwrap_or_default(),
        }
    }
}

/// All RBAC objects of a folder.
pub(super) fn collect(documents: &[Document], report: &mut Report) -> RawSource {
    let mut raw = RawSource::default();
    let mut aggregated = aggregate::Aggregated::default();
    for document in documents {
        let namespaced = matches!(document.kind.as_str(), "Role" | "RoleBinding");
        if document.kind.ends_with("Binding") {
            let Some(binding) = read_binding(document, namespaced, report) else {
                continue;
            };
            let name = binding.name.clone();
            if namespaced {
                let key = (binding.namespace.clone(), name);
                put(&mut raw.role_bindings, key, document, binding, report);
            } else {
                put(
                    &mut raw.cluster_role_bindings,
                    name,
                    document,
                    binding,
                    report,
                );
            }
        } else if let Some((role, written)) = read_role(document, namespaced, report) {
            let name = role.name.clone();
            if namespaced {
                let key = (role.namespace.clone(), name);
                put(&mut raw.roles, key, document, role, report);
            } else if put(&mut raw.cluster_roles, name.clone(), document, role, report) {
                aggregated.add(document, name, written);
            }
        }
    }
    aggregated.fill(&mut raw, report);
    missing_roles(documents, &raw, report);
    raw
}

fn read_role(
    document: &Document,
    namespaced: bool,
    report: &mut Report,
) -> Option<(RawRole, aggregate::Written)> {
    let written = load::<WrittenRole>(document, report)?;
    let (namespace, name) = names(document, &written.metadata, namespaced, report)?;
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
    let role = RawRole {
        namespace,
        name,
        rules: written
            .rules
            .into_iter()
            .flatten()
            .map(Into::into)
            .collect(),
    };
    let kept = aggregate::Written {
        labels: written.metadata.labels.unwrap_or_default(),
        aggregation: written.aggregation_rule,
    };
    Some((role, kept))
}

fn read_binding(document: &Document, namespaced: bool, report: &mut Report) -> Option<RawBinding> {
    let written = load::<WrittenBinding>(document, report)?;
    let (namespace, name) = names(document, &written.metadata, namespaced, report)?;
    let kind = match (written.role_ref.kind.as_str(), namespaced) {
        ("ClusterRole", _) => RawRoleKind::ClusterRole,
        ("Role", true) => RawRoleKind::Role,
        (other, _) => {
            let message = format!("{other:?}: a {} refers to no such kind", document.kind);
            report.mistake(&document.file, document.mistake("roleRef.kind", message));
            return None;
        }
    };
    if let Some(node) = document.node.get("roleRef") {
        unknown_keys(
            document,
            node,
            "roleRef",
            &["apiGroup", "kind", "name"],
            report,
        );
    }
    let mut subjects = Vec::new();
    for (index, subject) in written.subjects.into_iter().flatten().enumerate() {
        let path = format!("subjects[{index}]");
        match read_subject(subject, namespaced) {
            Ok(subject) => subjects.push(subject),
            Err((key, message)) => {
                let mistake = document.mistake(&format!("{path}.{key}"), message);
                report.mistake(&document.file, mistake);
            }
        }
    }
    Some(RawBinding {
        namespace,
        name,
        role: RawRoleRef {
            kind,
            name: written.role_ref.name,
        },
        subjects,
    })
}

fn read_subject(
    subject: WrittenSubject,
    namespaced: bool,
) -> Result<RawSubject, (&'static str, String)> {
    let WrittenSubject {
        kind,
        name,
        namespace,
    } = subject;
    match kind.as_str() {
        "User" => Ok(RawSubject::User(name)),
        "Group" => Ok(RawSubject::Group(name)),
        "ServiceAccount" => {
            let namespace = namespace.unwrap_or_default();
            if namespace.is_empty() && !namespaced {
                let message = "a ServiceAccount in a ClusterRoleBinding needs its namespace";
                return Err(("namespace", message.to_owned()));
            }
            Ok(RawSubject::ServiceAccount { namespace, name })
        }
        other => Err((
            "kind",
            format!("{other:?} is none of User, Group, ServiceAccount"),
        )),
    }
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
    namespaced: bool,
    report: &mut Report,
) -> Option<(String, String)> {
    let name = metadata.name.clone().unwrap_or_default();
    let namespace = metadata.namespace.clone().unwrap_or_default();
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
    Some((if namespaced { namespace } else { String::new() }, name))
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

//! The objects that are kept in step, as far as they are compared: what names one, what it says, and how it
//! is read from a cluster.
//!
//! What could go wrong: an object that says something that this program cannot read (a newer API server's
//! rule). It equals nothing that is wanted, so it is written anew, and it is never taken for right.

use crate::{
    clusters::{
        MANAGED_BY, MANAGER, PREFIX,
        object::{ObjectKind, is_ours},
    },
    objects::{check_label, rules::PolicyRule},
};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// API group of everything here.
const RBAC: &str = "rbac.authorization.k8s.io";
/// Label of a RoleBinding: the project's name, for people to read.
pub(super) const PROJECT_LABEL: &str = "palisade.dev/project";
/// What the names of objects that come and go with policy continue with, after [`PREFIX`].
const FAMILIES: [&str; 3] = ["cluster:", "project:", "impersonator:"];

/// Names one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A ClusterRole.
    Role(Box<str>),
    /// A ClusterRoleBinding.
    ClusterBinding(Box<str>),
    /// A RoleBinding: namespace and name.
    Binding(Box<str>, Box<str>),
}

impl Key {
    /// `metadata.name`
    pub fn name(&self) -> &str {
        match self {
            Self::Role(name) | Self::ClusterBinding(name) | Self::Binding(_, name) => name,
        }
    }

    /// The namespace of a RoleBinding.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Role(_) | Self::ClusterBinding(_) => None,
            Self::Binding(namespace, _) => Some(namespace),
        }
    }

    /// Whether its name says that it comes and goes with policy: `palisade:cluster:…`,
    /// `palisade:project:…`, `palisade:impersonator:…`. Such names are safe in a path.
    pub fn is_ours(&self) -> bool {
        let rest = self.name().strip_prefix(PREFIX).unwrap_or_default();
        is_ours(self.name())
            && FAMILIES.iter().any(|family| {
                rest.strip_prefix(family)
                    .is_some_and(|last| check_label(last).is_ok())
            })
    }

    /// Its path on an API server.
    pub fn path(&self) -> String {
        let rbac = "/apis/rbac.authorization.k8s.io/v1";
        match self {
            Self::Role(name) => format!("{rbac}/clusterroles/{name}"),
            Self::ClusterBinding(name) => format!("{rbac}/clusterrolebindings/{name}"),
            Self::Binding(namespace, name) => {
                format!("{rbac}/namespaces/{namespace}/rolebindings/{name}")
            }
        }
    }

    /// Its kind.
    pub(super) fn kind(&self) -> ObjectKind {
        match self {
            Self::Role(_) => ObjectKind::ClusterRole,
            Self::ClusterBinding(_) => ObjectKind::ClusterRoleBinding,
            Self::Binding(..) => ObjectKind::RoleBinding,
        }
    }

    /// The whole object, for server-side apply.
    pub fn body(&self, content: &Content) -> Value {
        let mut labels = json!({ MANAGED_BY: MANAGER });
        let mut metadata = json!({ "name": self.name() });
        let mut body =
            json!({ "apiVersion": self.kind().api_version(), "kind": self.kind().name() });
        match content {
            Content::Role { rules, .. } => set(&mut body, "rules", json!(rules)),
            Content::Binding(bound) => {
                if let Some(project) = &bound.project {
                    set(&mut labels, PROJECT_LABEL, json!(project));
                }
                let role = &bound.role;
                let role = json!({ "apiGroup": RBAC, "kind": role.kind, "name": role.name });
                set(&mut body, "roleRef", role);
                let subjects: Vec<Value> = bound.subjects.iter().map(Who::body).collect();
                set(&mut body, "subjects", json!(subjects));
            }
            Content::Unreadable => {}
        }
        if let Some(namespace) = self.namespace() {
            set(&mut metadata, "namespace", namespace.into());
        }
        set(&mut metadata, "labels", labels);
        set(&mut body, "metadata", metadata);
        body
    }
}

fn set(value: &mut Value, key: &str, field: Value) {
    if let Some(map) = value.as_object_mut() {
        map.insert(key.to_owned(), field);
    }
}

/// `RoleBinding shop/palisade:project:viewer`
impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.namespace() {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind(), self.name()),
            None => write!(f, "{} {}", self.kind(), self.name()),
        }
    }
}

/// What an object says, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A ClusterRole.
    Role {
        /// Its rules, in their order.
        rules: Vec<PolicyRule>,
        /// It has an aggregation rule, by which a controller writes its rules. Never wanted.
        aggregated: bool,
    },
    /// A ClusterRoleBinding or a RoleBinding.
    Binding(Bound),
    /// Something else than this program writes.
    Unreadable,
}

/// What a binding says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Which role.
    pub role: RoleRef,
    /// Who holds it, in the object's order.
    pub subjects: Vec<Who>,
    /// Value of [`PROJECT_LABEL`].
    pub project: Option<Box<str>>,
}

impl Bound {
    /// Whether it names a group of the gateway's.
    pub fn names_grant_group(&self) -> bool {
        self.subjects
            .iter()
            .any(|who| who.kind == "Group" && who.name.starts_with(PREFIX))
    }
}

/// `roleRef`, which no update can change.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RoleRef {
    /// `ClusterRole` or `Role`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl RoleRef {
    /// A ClusterRole.
    pub fn cluster(name: &str) -> Self {
        Self {
            kind: ObjectKind::ClusterRole.name().to_owned(),
            name: name.to_owned(),
        }
    }
}

/// One entry of `subjects`. The API group follows from the kind.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Who {
    /// `Group`, `User` or `ServiceAccount`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Of a service account.
    #[serde(default)]
    pub namespace: Option<String>,
}

impl Who {
    /// A grant group.
    pub fn group(name: impl Into<String>) -> Self {
        Self {
            kind: "Group".to_owned(),
            name: name.into(),
            namespace: None,
        }
    }

    /// A service account.
    pub fn account(namespace: &str, name: &str) -> Self {
        Self {
            kind: ObjectKind::ServiceAccount.name().to_owned(),
            name: name.to_owned(),
            namespace: Some(namespace.to_owned()),
        }
    }

    fn body(&self) -> Value {
        let mut body = json!({ "kind": self.kind, "name": self.name });
        match &self.namespace {
            Some(namespace) => set(&mut body, "namespace", namespace.as_str().into()),
            None => set(&mut body, "apiGroup", RBAC.into()),
        }
        body
    }
}

/// An object as a cluster has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// What it says.
    pub content: Content,
    /// Whether it carries our label.
    pub labelled: bool,
    /// Its deletion was asked for, and something holds it up.
    pub terminating: bool,
    /// `metadata.uid`
    pub uid: Box<str>,
    /// `metadata.resourceVersion`
    pub version: Version,
}

impl Seen {
    /// Whether it says what is wanted.
    pub(super) fn is(&self, wanted: &Content) -> bool {
        self.labelled && self.content == *wanted
    }
}

/// A resourceVersion. Those of one kind can be compared as numbers (KEP-5504); one that is no number is
/// newer than nothing and older than nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Version(pub(super) Box<str>);

impl Version {
    /// Whether `self` is certainly from before `other`.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        let number = |version: &Self| version.0.parse::<u64>().ok();
        matches!((number(self), number(other)), (Some(mine), Some(theirs)) if mine < theirs)
    }
}

/// An object as it comes over the wire, of any of the kinds that are read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wire {
    pub(super) metadata: WireMeta,
    #[serde(default, deserialize_with = "or_default")]
    rules: Vec<Value>,
    #[serde(default)]
    aggregation_rule: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    role_ref: Option<RoleRef>,
    #[serde(default, deserialize_with = "or_default")]
    subjects: Vec<Who>,
}

/// `metav1.ObjectMeta`, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireMeta {
    #[serde(default)]
    pub(super) name: Box<str>,
    #[serde(default)]
    pub(super) namespace: Box<str>,
    #[serde(default)]
    uid: Box<str>,
    #[serde(default)]
    pub(super) resource_version: Box<str>,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<Box<str>, Box<str>>,
    #[serde(default)]
    pub(super) deletion_timestamp: Option<serde::de::IgnoredAny>,
}

/// Go writes an empty list as `null`.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Wire {
    /// The object, if it is a ClusterRole.
    pub(super) fn role(self) -> (Key, Seen) {
        let rules = self.rules.into_iter().map(serde_json::from_value);
        let content =
            rules
                .collect::<Result<Vec<PolicyRule>, _>>()
                .map_or(Content::Unreadable, |rules| Content::Role {
                    rules,
                    aggregated: self.aggregation_rule.is_some(),
                });
        let key = Key::Role(self.metadata.name.clone());
        (key, self.metadata.seen(content))
    }

    /// The object, if it is a binding.
    pub(super) fn binding(self) -> (Key, Seen) {
        let name = self.metadata.name.clone();
        let key = match &*self.metadata.namespace {
            "" => Key::ClusterBinding(name),
            namespace => Key::Binding(namespace.into(), name),
        };
        let content = self.role_ref.map_or(Content::Unreadable, |role| {
            Content::Binding(Bound {
                role,
                subjects: self.subjects,
                project: self.metadata.labels.get(PROJECT_LABEL).cloned(),
            })
        });
        (key, self.metadata.seen(content))
    }
}

impl WireMeta {
    fn seen(&self, content: Content) -> Seen {
        Seen {
            content,
            labelled: self
                .labels
                .get(MANAGED_BY)
                .is_some_and(|by| **by == *MANAGER),
            terminating: self.deletion_timestamp.is_some(),
            uid: self.uid.clone(),
            version: Version(self.resource_version.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(object: Value) -> Wire {
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_is_written_reads_back_as_it_was_meant() {
        let rules = vec![PolicyRule {
            verbs: vec!["get".to_owned()],
            api_groups: vec![String::new()],
            resources: vec!["pods".to_owned()],
            ..PolicyRule::default()
        }];
        let role = Content::Role {
            rules,
            aggregated: false,
        };
        let key = Key::Role("palisade:cluster:viewer".into());
        let (read_key, seen) = read(key.body(&role)).role();
        assert!(read_key == key && seen.is(&role), "{seen:?}");
        let bound = Content::Binding(Bound {
            role: RoleRef::cluster("palisade:project:viewer"),
            subjects: vec![
                Who::group("palisade:project:u:viewer"),
                Who::account("n", "a"),
            ],
            project: Some("shop".into()),
        });
        for key in [
            Key::ClusterBinding("palisade:cluster:viewer".into()),
            Key::Binding("shop".into(), "palisade:project:viewer".into()),
        ] {
            let (read_key, seen) = read(key.body(&bound)).binding();
            assert!(read_key == key && seen.is(&bound), "{seen:?}");
        }
    }

    #[test]
    fn gos_empty_lists_are_empty_and_unknown_fields_of_a_rule_are_never_right() {
        let meta = json!({"name": "palisade:cluster:x", "labels": null});
        let (_, seen) = read(json!({"metadata": meta, "rules": null})).role();
        let empty = Content::Role {
            rules: Vec::new(),
            aggregated: false,
        };
        assert_eq!(seen.content, empty);
        assert!(!seen.is(&empty), "without the label it is not as wanted");
        let rules = json!([{"verbs": ["get"], "onlyOnTuesdays": true}]);
        let (_, seen) = read(json!({"metadata": meta, "rules": rules})).role();
        assert_eq!(seen.content, Content::Unreadable);
    }

    #[test]
    fn names_that_come_and_go_are_told_from_others() {
        let ours = |name: &str| Key::ClusterBinding(name.into()).is_ours();
        for name in [
            "palisade:cluster:viewer",
            "palisade:project:viewer",
            "palisade:impersonator:f",
        ] {
            assert!(ours(name), "{name}");
        }
        for name in [
            "palisade:impersonator",
            "palisade:reconciler",
            "palisade:cluster:",
            "palisade:cluster:a:b",
            "palisade:cluster:A",
            "palisade:other:viewer",
            "palisade:cluster:../x",
            "cluster:viewer",
        ] {
            assert!(!ours(name), "{name}");
        }
    }

    #[test]
    fn versions_are_compared_as_numbers_or_not_at_all() {
        let version = |text: &str| Version(text.into());
        assert!(version("9").is_before(&version("10")));
        assert!(!version("10").is_before(&version("10")));
        assert!(!version("a").is_before(&version("10")));
    }
}

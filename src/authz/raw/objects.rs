//! The objects of `rbac.authorization.k8s.io/v1`, as `kubectl get -o yaml` or `-o json` prints them.
//!
//! Unlike the gateway's own kinds they tolerate unknown fields (`managedFields`, fields of later releases)
//! and `null` for every list: an API server prints `rules: null` for an empty role.

use crate::objects::rules::PolicyRule;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// Kind of cluster-wide roles.
pub const CLUSTER_ROLE: &str = "ClusterRole";
pub(super) const ROLE: &str = "Role";

/// All RBAC objects of one cluster.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// Cluster-wide roles.
    pub cluster_roles: Vec<ClusterRole>,
    /// Roles of namespaces.
    pub roles: Vec<Role>,
    /// Bindings that hold everywhere.
    pub cluster_role_bindings: Vec<ClusterRoleBinding>,
    /// Bindings that hold in their own namespace.
    pub role_bindings: Vec<RoleBinding>,
}

/// `metav1.ObjectMeta`, as far as it counts here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Name.
    pub name: String,
    /// Namespace; empty for cluster-wide objects.
    #[serde(deserialize_with = "or_null")]
    pub namespace: String,
    /// What aggregation rules select by.
    #[serde(deserialize_with = "or_null")]
    pub labels: BTreeMap<String, String>,
}

/// `ClusterRole`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterRole {
    /// Name and labels.
    pub metadata: Metadata,
    /// How a controller fills `rules`.
    pub aggregation_rule: Option<AggregationRule>,
    /// Rules.
    #[serde(deserialize_with = "or_null")]
    pub rules: Vec<Rule>,
}

/// `Role`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Role {
    /// Name and namespace.
    pub metadata: Metadata,
    /// Rules.
    #[serde(deserialize_with = "or_null")]
    pub rules: Vec<Rule>,
}

/// `ClusterRoleBinding`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterRoleBinding {
    /// Name.
    pub metadata: Metadata,
    /// Who.
    #[serde(deserialize_with = "or_null")]
    pub subjects: Vec<Subject>,
    /// A ClusterRole.
    pub role_ref: RoleRef,
}

/// `RoleBinding`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RoleBinding {
    /// Name and namespace.
    pub metadata: Metadata,
    /// Who.
    #[serde(deserialize_with = "or_null")]
    pub subjects: Vec<Subject>,
    /// A Role of the same namespace, or a ClusterRole.
    pub role_ref: RoleRef,
}

/// `RoleRef`; its `apiGroup` is ignored when deciding, as upstream does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RoleRef {
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// `Subject`; its `apiGroup` is ignored when deciding, as upstream does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// `User`, `Group` or `ServiceAccount`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Of a service account.
    #[serde(deserialize_with = "or_null")]
    pub namespace: String,
}

/// `PolicyRule`, tolerant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rule {
    /// `*` or byte-equal.
    #[serde(deserialize_with = "or_null")]
    pub verbs: Vec<String>,
    /// `""` is the core group.
    #[serde(deserialize_with = "or_null")]
    pub api_groups: Vec<String>,
    /// Resources.
    #[serde(deserialize_with = "or_null")]
    pub resources: Vec<String>,
    /// Empty: all names.
    #[serde(deserialize_with = "or_null")]
    pub resource_names: Vec<String>,
    /// Paths.
    #[serde(rename = "nonResourceURLs", deserialize_with = "or_null")]
    pub non_resource_urls: Vec<String>,
}

/// `AggregationRule`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AggregationRule {
    /// Any of them selects.
    #[serde(deserialize_with = "or_null")]
    pub cluster_role_selectors: Vec<LabelSelector>,
}

/// `metav1.LabelSelector`; an empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LabelSelector {
    /// All of them must be carried.
    #[serde(deserialize_with = "or_null")]
    pub match_labels: BTreeMap<String, String>,
    /// All of them must hold.
    #[serde(deserialize_with = "or_null")]
    pub match_expressions: Vec<Requirement>,
}

/// `metav1.LabelSelectorRequirement`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Requirement {
    /// Label.
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`.
    pub operator: String,
    /// Of `In` and `NotIn`.
    #[serde(deserialize_with = "or_null")]
    pub values: Vec<String>,
}

impl Metadata {
    /// The namespace of a namespaced object.
    pub(super) fn namespace_or_default(&self) -> &str {
        if self.namespace.is_empty() {
            "default"
        } else {
            &self.namespace
        }
    }
}

impl RoleRef {
    /// Kind, namespace and name of the role, for a binding in this namespace; `None` for another kind.
    pub(super) fn key(&self, namespace: &str) -> Option<super::RoleKey> {
        match self.kind.as_str() {
            CLUSTER_ROLE => Some((CLUSTER_ROLE, String::new(), self.name.clone())),
            ROLE => Some((ROLE, namespace.to_owned(), self.name.clone())),
            _ => None,
        }
    }
}

impl Subject {
    /// The user name of a service account: its own namespace, else the binding's, else none.
    pub fn account(&self, binding_namespace: &str) -> Option<String> {
        let namespace = if self.namespace.is_empty() {
            binding_namespace
        } else {
            &self.namespace
        };
        (!namespace.is_empty()).then(|| format!("system:serviceaccount:{namespace}:{}", self.name))
    }
}

impl From<PolicyRule> for Rule {
    fn from(rule: PolicyRule) -> Self {
        Self {
            verbs: rule.verbs,
            api_groups: rule.api_groups,
            resources: rule.resources,
            resource_names: rule.resource_names,
            non_resource_urls: rule.non_resource_urls,
        }
    }
}

impl From<Rule> for PolicyRule {
    fn from(rule: Rule) -> Self {
        Self {
            verbs: rule.verbs,
            api_groups: rule.api_groups,
            resources: rule.resources,
            resource_names: rule.resource_names,
            non_resource_urls: rule.non_resource_urls,
        }
    }
}

/// `null` is the empty value.
fn or_null<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

//! What a policy is made of, with the place where each part is written.
//!
//! The compiled table answers fast and forgets where its rules came from; here they are kept as people
//! wrote them, for [`super::explain`], for the offline commands and for their tests. Both are made from
//! the same objects, so they cannot mean different things.
//!
//! What could go wrong: a name that stands for two objects. Each kind is a map by name, and
//! [`super::files`] refuses the second of a name before it gets here.

use super::{
    policy::{Change, Policy},
    raw::{self, Metadata, Objects, RawPolicy, RoleRef, Subject},
};
use crate::objects::{Binding, Cluster, Group, Project, Role, rules::PolicyRule};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// Where an object is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file, as it was named to the command.
    pub file: Arc<str>,
    /// Line of the object's first key, from 1.
    pub line: u64,
    /// Line of each of its rules.
    pub rules: Arc<[u64]>,
}

impl Origin {
    /// The place of rule `index`; of the object, if the rule's own is not known.
    pub fn rule(&self, index: usize) -> Spot {
        Spot {
            file: Arc::clone(&self.file),
            line: self.rules.get(index).copied().unwrap_or(self.line),
        }
    }

    /// The place of the object.
    pub fn spot(&self) -> Spot {
        Spot {
            file: Arc::clone(&self.file),
            line: self.line,
        }
    }
}

/// `file:line`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Spot {
    /// The file, as it was named to the command.
    pub file: Arc<str>,
    /// From 1.
    pub line: u64,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// An object and where it is written.
#[derive(Clone, Debug)]
pub struct Sourced<T> {
    /// The object.
    pub object: T,
    /// Where it is written.
    pub origin: Origin,
}

/// Our own kinds.
#[derive(Clone, Debug, Default)]
pub struct OwnSource {
    /// By name, the built-in ones among them.
    pub roles: BTreeMap<String, Sourced<Role>>,
    /// By name.
    pub bindings: BTreeMap<String, Sourced<Binding>>,
    /// By name. A cluster that is not here is known by its name alone: bindings by label pass it by.
    pub clusters: BTreeMap<String, Sourced<Cluster>>,
    /// By name.
    pub projects: BTreeMap<String, Sourced<Project>>,
    /// By name. Whoever is a member counts as in the group.
    pub groups: BTreeMap<String, Sourced<Group>>,
}

impl OwnSource {
    /// The same as a gateway compiles it, with names for uids. A cluster that is only named in a question
    /// has no object here: `also` names such ones.
    pub fn compile<'a>(&'a self, also: impl IntoIterator<Item = &'a str>) -> Policy {
        let none = BTreeMap::new();
        let bare = also
            .into_iter()
            .filter(|name| !self.clusters.contains_key(*name));
        let clusters = self
            .clusters
            .iter()
            .map(|(name, cluster)| Change::PutCluster(name, &cluster.object.metadata.labels));
        let roles = self
            .roles
            .iter()
            .map(|(name, role)| Change::PutRole(name, &role.object.spec));
        let bindings = self
            .bindings
            .iter()
            .map(|(name, binding)| Change::PutBinding(name, &binding.object.spec));
        let projects = self.projects.values();
        let projects = projects.map(|project| Change::PutProject(&project.object));
        let bare = bare.map(|name| Change::PutCluster(name, &none));
        let places = clusters.chain(bare).chain(projects);
        Policy::of(roles.chain(places).chain(bindings))
    }
}

/// The RBAC objects of one cluster.
#[derive(Clone, Debug, Default)]
pub struct RawSource {
    /// By name.
    pub cluster_roles: BTreeMap<String, Sourced<RawRole>>,
    /// By namespace and name.
    pub roles: BTreeMap<(String, String), Sourced<RawRole>>,
    /// By name.
    pub cluster_role_bindings: BTreeMap<String, Sourced<RawBinding>>,
    /// By namespace and name.
    pub role_bindings: BTreeMap<(String, String), Sourced<RawBinding>>,
}

impl RawSource {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.cluster_roles.is_empty()
            && self.roles.is_empty()
            && self.cluster_role_bindings.is_empty()
            && self.role_bindings.is_empty()
    }
}

/// A ClusterRole, or a Role with its namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawRole {
    /// Empty for a ClusterRole.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// As the API server's authoriser reads them.
    pub rules: Vec<PolicyRule>,
}

/// A ClusterRoleBinding, or a RoleBinding with its namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawBinding {
    /// Empty for a ClusterRoleBinding.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// What is bound.
    pub role: RoleRef,
    /// Those to whom it is bound.
    pub subjects: Vec<Subject>,
}

impl RawBinding {
    /// Whether a ClusterRole is bound, as against a Role of the binding's own namespace.
    pub fn is_of_cluster_role(&self) -> bool {
        self.role.kind == raw::CLUSTER_ROLE
    }
}

impl RawSource {
    /// The same as it is compiled for fast decisions.
    pub fn compile(&self) -> RawPolicy {
        let plain = |role: &RawRole| role.rules.iter().cloned().map(Into::into).collect();
        let metadata = |namespace: &str, name: &str| Metadata {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            ..Metadata::default()
        };
        let roles = |role: &RawRole| (metadata(&role.namespace, &role.name), plain(role));
        RawPolicy::of(Objects {
            cluster_roles: (self.cluster_roles.values())
                .map(|role| roles(&role.object))
                .map(|(metadata, rules)| raw::ClusterRole {
                    metadata,
                    rules,
                    aggregation_rule: None,
                })
                .collect(),
            roles: (self.roles.values())
                .map(|role| roles(&role.object))
                .map(|(metadata, rules)| raw::Role { metadata, rules })
                .collect(),
            cluster_role_bindings: (self.cluster_role_bindings.values())
                .map(|binding| &binding.object)
                .map(|binding| raw::ClusterRoleBinding {
                    metadata: metadata("", &binding.name),
                    subjects: binding.subjects.clone(),
                    role_ref: binding.role.clone(),
                })
                .collect(),
            role_bindings: (self.role_bindings.values())
                .map(|binding| &binding.object)
                .map(|binding| raw::RoleBinding {
                    metadata: metadata(&binding.namespace, &binding.name),
                    subjects: binding.subjects.clone(),
                    role_ref: binding.role.clone(),
                })
                .collect(),
        })
    }
}

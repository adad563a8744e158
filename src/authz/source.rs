//! What a policy is made of, with the place where each part is written.
//!
//! The compiled table answers fast and forgets where its rules came from; here they are kept as people
//! wrote them, for [`super::explain`], for the offline commands and for their tests. Both are made from
//! the same objects, so they cannot mean different things.
//!
//! What could go wrong: a name that stands for two objects. Each kind is a map by name, and
//! [`super::files`] refuses the second of a name before it gets here.

use crate::objects::{Binding, Cluster, Group, Role, rules::PolicyRule};
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
    /// By name. Whoever is a member counts as in the group.
    pub groups: BTreeMap<String, Sourced<Group>>,
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
    pub role: RawRoleRef,
    /// Those to whom it is bound.
    pub subjects: Vec<RawSubject>,
}

/// `roleRef`; its apiGroup is not looked at when a request is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawRoleRef {
    /// Whether a ClusterRole is meant, or a Role of the binding's own namespace.
    pub kind: RawRoleKind,
    /// The role's name.
    pub name: String,
}

/// Which kind of role a raw binding refers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RawRoleKind {
    /// Found by name alone.
    #[default]
    ClusterRole,
    /// Found in the binding's namespace.
    Role,
}

/// One of `subjects`; its apiGroup is not looked at when a request is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawSubject {
    /// Byte-equal to the user's name.
    User(String),
    /// Byte-equal to one of the user's groups.
    Group(String),
    /// `system:serviceaccount:<namespace>:<name>`; without a namespace that of the binding.
    ServiceAccount {
        /// Empty: the binding's own.
        namespace: String,
        /// The account's name.
        name: String,
    },
}

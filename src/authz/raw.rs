//! The RBAC objects of one cluster, decided on as its API server decides.
//!
//! Guarantees: the same answer as kube-apiserver's RBAC authoriser behind its `system:masters` authoriser
//! (`pkg/registry/rbac/validation/rule.go`, `pkg/kubeapiserver/authorizer/reload.go`) on the same objects:
//! cluster role bindings everywhere, role bindings in their own namespace alone, `apiGroup` of subjects and
//! role references ignored, missing roles no obstacle to other grants.
//!
//! What could go wrong: a role binding of one namespace counting in another; a service account's name
//! taken for its groups; a role that only a controller would fill (`aggregationRule`) counting as empty, or
//! as more than the controller would give it.

mod aggregate;
mod objects;
mod resolve;

use super::Attributes;
use super::bits::Bits;
use super::policy::Who;
use super::table::{Allowing, Table};
use crate::objects::rules::PolicyRule;
use hashbrown::HashMap;
pub use objects::{
    AggregationRule, CLUSTER_ROLE, ClusterRole, ClusterRoleBinding, LabelSelector, Metadata,
    Objects, Requirement, Role, RoleBinding, RoleRef, Rule, Subject,
};
pub use resolve::{Grant, Verdict};
use std::collections::BTreeMap;

/// The group whose members an API server allows everything, before any RBAC.
pub const MASTERS: &str = "system:masters";

/// What the API server would say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawDecision {
    /// By membership in [`MASTERS`]; RBAC is not asked.
    AllowMasters,
    /// By a role that some binding gives.
    Allow,
    /// No rule matches. RBAC never denies: another authoriser of the cluster might allow.
    NoOpinion,
}

impl RawDecision {
    /// Whether the request is allowed.
    pub fn allowed(self) -> bool {
        self != Self::NoOpinion
    }
}

/// The policy of one cluster, compiled by subject and namespace.
#[derive(Default)]
pub struct RawPolicy {
    cluster_roles: BTreeMap<String, Vec<PolicyRule>>,
    /// By namespace and name.
    roles: BTreeMap<(String, String), Vec<PolicyRule>>,
    cluster_bindings: BTreeMap<String, ClusterRoleBinding>,
    /// By namespace, then name.
    bindings: BTreeMap<String, BTreeMap<String, RoleBinding>>,
    mistakes: Vec<String>,
    table: Table,
    users: HashMap<String, Held>,
    groups: HashMap<String, Held>,
}

/// Numbers of roles held, by namespace; `""`: everywhere.
type Held = HashMap<String, Bits>;

/// A role as bindings name it: kind, namespace (empty for a ClusterRole), name.
type RoleKey = (&'static str, String, String);

impl RawPolicy {
    /// Compiles a cluster's objects. Of two objects with one name the later counts; a namespaced object
    /// without a namespace is in `default`.
    pub fn of(objects: Objects) -> Self {
        let (cluster_roles, mistakes) = aggregate::fill(objects.cluster_roles);
        let mut policy = Self {
            cluster_roles,
            mistakes,
            ..Self::default()
        };
        for role in objects.roles {
            let rules = role.rules.into_iter().map(PolicyRule::from).collect();
            let namespace = role.metadata.namespace_or_default().to_owned();
            let key = (namespace, role.metadata.name);
            policy.roles.insert(key, rules);
        }
        for binding in objects.cluster_role_bindings {
            let name = binding.metadata.name.clone();
            policy.cluster_bindings.insert(name, binding);
        }
        for binding in objects.role_bindings {
            let namespace = binding.metadata.namespace_or_default().to_owned();
            let name = binding.metadata.name.clone();
            let bindings = policy.bindings.entry(namespace).or_default();
            bindings.insert(name, binding);
        }
        policy.compile();
        policy
    }

    /// What the API server would decide. Allocates nothing.
    pub fn decide(&self, who: &Who<'_>, attrs: &Attributes<'_>) -> RawDecision {
        if who.groups.iter().any(|group| **group == *MASTERS) {
            return RawDecision::AllowMasters;
        }
        let allowing = self.table.allowing(attrs);
        if allowing.is_empty() {
            return RawDecision::NoOpinion;
        }
        let by_user = self.users.get(who.user);
        let by_group = who
            .groups
            .iter()
            .filter_map(|group| self.groups.get(&**group));
        let allowed = by_user
            .into_iter()
            .chain(by_group)
            .any(|held| holds(held, &allowing, attrs.namespace));
        if allowed {
            RawDecision::Allow
        } else {
            RawDecision::NoOpinion
        }
    }

    /// The rules of a ClusterRole, aggregated ones filled.
    pub fn cluster_role(&self, name: &str) -> Option<&[PolicyRule]> {
        self.cluster_roles.get(name).map(Vec::as_slice)
    }

    /// What could not be taken as it stands (selectors of aggregation rules that are malformed).
    pub fn mistakes(&self) -> &[String] {
        &self.mistakes
    }

    fn compile(&mut self) {
        let mut numbers: HashMap<RoleKey, u32> = HashMap::new();
        let mut number = |key: RoleKey| {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            *numbers.entry(key).or_insert(next)
        };
        for binding in self.cluster_bindings.values() {
            let Some(key) = binding.role_ref.key("") else {
                continue;
            };
            let role = number(key);
            for subject in &binding.subjects {
                hold(&mut self.users, &mut self.groups, subject, "", role);
            }
        }
        for (namespace, bindings) in &self.bindings {
            for binding in bindings.values() {
                let Some(key) = binding.role_ref.key(namespace) else {
                    continue;
                };
                let role = number(key);
                for subject in &binding.subjects {
                    hold(&mut self.users, &mut self.groups, subject, namespace, role);
                }
            }
        }
        for ((kind, namespace, name), role) in numbers {
            if let Some(rules) = self.rules_of(kind, &namespace, &name) {
                let rules = rules.to_vec();
                self.table.add(role, rules.iter());
            }
        }
    }

    fn rules_of(&self, kind: &str, namespace: &str, name: &str) -> Option<&[PolicyRule]> {
        let rules = if kind == objects::CLUSTER_ROLE {
            self.cluster_roles.get(name)
        } else {
            self.roles.get(&(namespace.to_owned(), name.to_owned()))
        };
        rules.map(Vec::as_slice)
    }
}

/// Enters a role for a subject, in a namespace or everywhere (`""`).
fn hold(
    users: &mut HashMap<String, Held>,
    groups: &mut HashMap<String, Held>,
    subject: &Subject,
    namespace: &str,
    role: u32,
) {
    let held = match subject.kind.as_str() {
        "User" => users.entry(subject.name.clone()),
        "Group" => groups.entry(subject.name.clone()),
        "ServiceAccount" => match subject.account(namespace) {
            Some(user) => users.entry(user),
            None => return,
        },
        _ => return,
    };
    let bits = held.or_default().entry(namespace.to_owned()).or_default();
    bits.insert(role);
}

fn holds(held: &Held, allowing: &Allowing<'_>, namespace: &str) -> bool {
    let in_place = |place: &str| {
        held.get(place)
            .is_some_and(|roles| allowing.first_common(roles).is_some())
    };
    in_place("") || (!namespace.is_empty() && in_place(namespace))
}

#[cfg(test)]
mod tests;

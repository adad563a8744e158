//! What is wrong with a policy as a whole.

use super::grants::Scope;
use super::{GrantView, Policy, RoleView};
use crate::objects::RoleScope;
use crate::objects::namespaces::{self, Pattern, Shared};
use std::collections::BTreeMap;

/// What is wrong with a policy: each makes the policy grant less than was meant, never more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A role inherits from itself.
    #[error("role {role:?} inherits from itself: it grants nothing")]
    Circular {
        /// The role.
        role: String,
    },
    /// A parent that does not exist.
    #[error("role {role:?} inherits from {parent:?}, which does not exist")]
    UnknownParent {
        /// The role.
        role: String,
        /// Its parent.
        parent: String,
    },
    /// A parent of another scope.
    #[error("role {role:?} inherits from {parent:?}, which is of another scope: it adds nothing")]
    ForeignParent {
        /// The role.
        role: String,
        /// Its parent.
        parent: String,
    },
    /// A binding's role does not exist.
    #[error("binding {binding:?} names the role {role:?}, which does not exist")]
    UnknownRole {
        /// The binding.
        binding: String,
        /// Its role.
        role: String,
    },
    /// A binding's project does not exist.
    #[error("binding {binding:?} names the project {project:?}, which does not exist")]
    UnknownProject {
        /// The binding.
        binding: String,
        /// Uid of its project, or its name.
        project: String,
    },
    /// Two projects hold one namespace.
    #[error("{0}: nobody holds it")]
    Shared(Shared),
    /// More than one of `allClusters`, `clusters`, `clusterSelector`, `project`.
    #[error(
        "binding {binding:?} sets more than one of allClusters, clusters, clusterSelector and project: it grants nothing"
    )]
    Contradictory {
        /// The binding.
        binding: String,
    },
    /// A role bound in a scope that is not its own.
    #[error("binding {binding:?} holds the role {role:?} where roles of its scope do not count")]
    Misplaced {
        /// The binding.
        binding: String,
        /// Its role.
        role: String,
    },
}

impl Policy {
    /// Everything that is wrong, for `policy check`. Walks all bindings.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        for role in self.roles() {
            self.role_problems(&role, &mut found);
        }
        for binding in self.bindings() {
            found.extend(self.binding_problem(&binding));
        }
        let mut by_cluster: BTreeMap<u32, Vec<(&str, &Pattern)>> = BTreeMap::new();
        for (_, project) in self.projects.iter() {
            let claims = by_cluster.entry(project.cluster).or_default();
            claims.extend(
                project
                    .namespaces
                    .iter()
                    .map(|entry| (&*project.name, entry)),
            );
        }
        let shared = by_cluster
            .values()
            .flat_map(|claims| namespaces::shared(claims));
        found.extend(shared.map(Problem::Shared));
        found
    }

    fn role_problems(&self, role: &RoleView<'_>, found: &mut Vec<Problem>) {
        let name = || role.name().to_owned();
        if self.roles.is_circular(role.id) {
            found.push(Problem::Circular { role: name() });
        }
        for parent in &role.spec().inherits {
            let (role, parent_name) = (name(), parent.clone());
            match self.role(parent) {
                None => found.push(Problem::UnknownParent {
                    role,
                    parent: parent_name,
                }),
                Some(parent) if parent.spec().scope != self.scope_of(&role) => {
                    found.push(Problem::ForeignParent {
                        role,
                        parent: parent_name,
                    });
                }
                Some(_) => {}
            }
        }
    }

    fn scope_of(&self, role: &str) -> RoleScope {
        self.role(role)
            .map_or_else(RoleScope::default, |role| role.spec().scope)
    }

    fn binding_problem(&self, binding: &GrantView<'_>) -> Option<Problem> {
        let name = || binding.name().to_owned();
        let role = || binding.role().to_owned();
        if binding.grant.scope == Scope::Contradictory {
            return Some(Problem::Contradictory { binding: name() });
        }
        let Some(record) = self.role(binding.role()) else {
            return Some(Problem::UnknownRole {
                binding: name(),
                role: role(),
            });
        };
        let fits = match (record.spec().scope, &binding.grant.scope) {
            (RoleScope::Project, Scope::Project(id)) if self.projects.record(*id).is_none() => {
                return Some(Problem::UnknownProject {
                    binding: name(),
                    project: self.projects.uid(*id).to_owned(),
                });
            }
            (RoleScope::Global, Scope::Global) | (RoleScope::Project, Scope::Project(_)) => true,
            (RoleScope::Cluster, scope) => !matches!(scope, Scope::Global | Scope::Project(_)),
            (RoleScope::Global | RoleScope::Project, _) => false,
        };
        (!fits).then(|| Problem::Misplaced {
            binding: name(),
            role: role(),
        })
    }
}

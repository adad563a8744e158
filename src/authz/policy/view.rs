//! A policy as people see it: names instead of numbers, for reasons, near misses and checks.
//!
//! Nothing here is on the request path but [`HeldRoles`].

use super::super::bits::Bits;
use super::grants::{Grant, Held, Holdings, NEVER, PlaceKey, Scope};
use super::roles::Roles;
use super::{Decision, Place, Policy, RoleId, Who, grants};
use crate::objects::rules::PolicyRule;
use crate::objects::{RoleScope, RoleSpec, SubjectKind};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The roles that somebody holds on a cluster, each once.
pub struct HeldRoles<'p> {
    roles: &'p Roles,
    held: Bits,
}

impl<'p> HeldRoles<'p> {
    pub(super) fn new(roles: &'p Roles, held: Bits) -> Self {
        Self { roles, held }
    }

    /// Their names, in no order that means anything.
    pub fn names(&self) -> impl Iterator<Item = &'p str> + '_ {
        self.held.iter().map(|role| self.roles.name(role))
    }

    /// The same, shared: nothing is copied.
    pub fn shared_names(&self) -> impl Iterator<Item = Arc<str>> + '_ {
        self.held
            .iter()
            .filter_map(|role| self.roles.shared_name(role))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

/// One binding.
pub struct GrantView<'p> {
    policy: &'p Policy,
    grant: &'p Grant,
}

/// Where a binding's role is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeView<'p> {
    /// On the gateway's own API.
    Global,
    /// On every cluster.
    Everywhere,
    /// On these clusters.
    Clusters(Vec<&'p str>),
    /// On clusters that carry these labels.
    Selector(&'p BTreeMap<String, String>),
    /// Nowhere: the binding names its scope in more than one way.
    Contradictory,
}

impl<'p> GrantView<'p> {
    /// Name of the binding.
    pub fn name(&self) -> &'p str {
        &self.grant.name
    }

    /// Name of the role, whether it exists or not.
    pub fn role(&self) -> &'p str {
        self.policy.roles.name(self.grant.role)
    }

    /// The subject's kind and id.
    pub fn subject(&self) -> (SubjectKind, &'p str) {
        grants::split_key(&self.grant.subject).unwrap_or((SubjectKind::User, ""))
    }

    /// The binding's scope.
    pub fn scope(&self) -> ScopeView<'p> {
        let clusters = &self.policy.clusters;
        match &self.grant.scope {
            Scope::Global => ScopeView::Global,
            Scope::Everywhere => ScopeView::Everywhere,
            Scope::Cluster(id) => ScopeView::Clusters(vec![clusters.name(*id)]),
            Scope::Clusters(ids) => {
                ScopeView::Clusters(ids.iter().map(|&id| clusters.name(id)).collect())
            }
            Scope::Selector(id) => self
                .policy
                .selectors
                .labels(*id)
                .map_or(ScopeView::Contradictory, ScopeView::Selector),
            Scope::Contradictory => ScopeView::Contradictory,
        }
    }

    /// Whether its end has come.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.grant.expires_at != NEVER && grants::instant(now) >= self.grant.expires_at
    }

    /// When it ends, if it does.
    pub fn expires_at(&self) -> Option<Timestamp> {
        if self.grant.expires_at == NEVER {
            return None;
        }
        Timestamp::from_nanosecond(self.grant.expires_at.into()).ok()
    }

    /// Whether its scope covers the place. Its role counts there only if the role's scope does too.
    pub fn reaches(&self, place: Place<'_>) -> bool {
        match (&self.grant.scope, self.policy.resolve(place)) {
            (Scope::Global, Some(PlaceKey::Global))
            | (Scope::Everywhere, Some(PlaceKey::Cluster(_))) => true,
            (Scope::Cluster(id), Some(PlaceKey::Cluster(at))) => *id == at,
            (Scope::Clusters(ids), Some(PlaceKey::Cluster(at))) => ids.contains(&at),
            (Scope::Selector(id), Some(PlaceKey::Cluster(at))) => {
                self.policy.selectors.selects(*id, at)
            }
            _ => false,
        }
    }
}

/// One role that exists.
pub struct RoleView<'p> {
    policy: &'p Policy,
    id: u32,
    role: &'p super::roles::Role,
}

impl<'p> RoleView<'p> {
    /// Its name.
    pub fn name(&self) -> &'p str {
        self.policy.roles.name(self.id)
    }

    /// As it was put.
    pub fn spec(&self) -> &'p RoleSpec {
        &self.role.spec
    }

    /// All rules that it has: its own, then inherited ones; each with the role that it comes from and its
    /// place in that role's list.
    pub fn rules(&self) -> impl Iterator<Item = (&'p str, usize, &'p PolicyRule)> {
        let roles = &self.policy.roles;
        roles
            .rules(self.role)
            .map(|(from, at, rule)| (roles.name(from), at, rule))
    }
}

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
    /// More than one of `allClusters`, `clusters`, `clusterSelector`.
    #[error(
        "binding {binding:?} sets more than one of allClusters, clusters and clusterSelector: it grants nothing"
    )]
    Contradictory {
        /// The binding.
        binding: String,
    },
    /// A global role bound on clusters, or a cluster role bound on none.
    #[error("binding {binding:?} holds the role {role:?} where roles of its scope do not count")]
    Misplaced {
        /// The binding.
        binding: String,
        /// Its role.
        role: String,
    },
}

impl Policy {
    /// The name of a role that a decision named.
    pub fn role_name(&self, role: RoleId) -> &str {
        self.roles.name(role.0)
    }

    /// The same, shared: nothing is copied.
    pub fn shared_role_name(&self, role: RoleId) -> Arc<str> {
        // A decision's role has a name; the other arm is for the types.
        self.roles
            .shared_name(role.0)
            .unwrap_or_else(|| Arc::from(self.roles.name(role.0)))
    }

    /// A role by name.
    pub fn role(&self, name: &str) -> Option<RoleView<'_>> {
        let id = self.roles.find(name)?;
        let role = self.roles.record(id)?;
        Some(RoleView {
            policy: self,
            id,
            role,
        })
    }

    /// All roles that exist.
    pub fn roles(&self) -> impl Iterator<Item = RoleView<'_>> {
        self.roles.iter().map(|(id, role)| RoleView {
            policy: self,
            id,
            role,
        })
    }

    /// A binding by name.
    pub fn binding(&self, name: &str) -> Option<GrantView<'_>> {
        let hash = std::hash::BuildHasher::hash_one(&self.hasher, name);
        let grant = self.bindings.get(hash, |grant| *grant.name == *name)?;
        Some(GrantView {
            policy: self,
            grant,
        })
    }

    /// All bindings, in no order that means anything.
    pub fn bindings(&self) -> impl Iterator<Item = GrantView<'_>> {
        self.bindings.iter().map(|grant| GrantView {
            policy: self,
            grant,
        })
    }

    /// How many bindings there are.
    pub fn len(&self) -> usize {
        self.bindings.len()
    }

    /// Whether there is no binding.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bindings of one subject.
    pub fn grants_of(&self, kind: SubjectKind, id: &str) -> impl Iterator<Item = GrantView<'_>> {
        let grants = self.holdings(kind, id).map_or(&[][..], Holdings::grants);
        grants.iter().map(|grant| GrantView {
            policy: self,
            grant,
        })
    }

    /// The bindings of a user and of all of the user's groups.
    pub fn grants_of_who<'p>(
        &'p self,
        who: &Who<'p>,
    ) -> impl Iterator<Item = GrantView<'p>> + use<'p> {
        let groups = who.groups;
        self.grants_of(SubjectKind::User, who.user).chain(
            groups
                .iter()
                .flat_map(|group| self.grants_of(SubjectKind::Group, group)),
        )
    }

    /// Whether a role of this name counts at the place: it exists, its scope is the place's, and it is not
    /// circular.
    pub fn role_counts(&self, name: &str, place: Place<'_>) -> bool {
        self.roles
            .find(name)
            .is_some_and(|id| self.roles.counts(id, place))
    }

    /// All rules that `who` holds at a place now, with those of [`super::BASIC`]: what covering is asked of.
    pub fn rules_of(&self, who: &Who<'_>, place: Place<'_>, now: Timestamp) -> Vec<PolicyRule> {
        let now = grants::instant(now);
        let mut held = Bits::default();
        if let Some(at) = self.resolve(place) {
            for holdings in self.holdings_of(who) {
                let live = holdings.at(at, &self.selectors);
                for role in live.flat_map(|held: &Held| held.live(now)) {
                    if self.roles.counts(role, place) {
                        held.insert(role);
                    }
                }
            }
        }
        if !held.is_empty()
            && let Some(basic) = self.roles.basic(place)
            && self.roles.counts(basic, place)
        {
            held.insert(basic);
        }
        held.iter()
            .filter_map(|role| self.roles.record(role))
            .flat_map(|role| self.roles.rules(role).map(|(.., rule)| rule.clone()))
            .collect()
    }

    /// Everything that is wrong, for `policy check`. Walks all bindings.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        for role in self.roles() {
            self.role_problems(&role, &mut found);
        }
        for binding in self.bindings() {
            found.extend(self.binding_problem(&binding));
        }
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
        let on_clusters = binding.grant.scope != Scope::Global;
        let fits = match record.spec().scope {
            RoleScope::Global => !on_clusters,
            RoleScope::Cluster => on_clusters,
            RoleScope::Project => true,
        };
        (!fits).then(|| Problem::Misplaced {
            binding: name(),
            role: role(),
        })
    }
}

impl Decision {
    /// The role that allowed it.
    pub fn role(self) -> Option<RoleId> {
        match self {
            Self::Allow(role) => Some(role),
            Self::Deny => None,
        }
    }
}

//! A policy as people see it: names instead of numbers, for reasons, near misses and what clusters are told.
//!
//! Nothing here is on the request path.

use super::grants::{Grant, Holdings, NEVER, PlaceKey, Scope};
use super::{Decision, Place, Policy, RoleId, Who, grants, projects};
use crate::objects::grant_group::GrantGroup;
use crate::objects::namespaces::Pattern;
use crate::objects::rules::PolicyRule;
use crate::objects::{RoleScope, RoleSpec, SubjectKind};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One binding.
pub struct GrantView<'p> {
    policy: &'p Policy,
    pub(super) grant: &'p Grant,
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
    /// In a project, by its uid (in a folder that has none by its name).
    Project(&'p str),
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
            Scope::Project(id) => ScopeView::Project(self.policy.projects.uid(*id)),
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

    /// Whether its scope covers the place. Its role counts there only if the role's scope does too. What is held
    /// on a cluster covers its projects, never the other way.
    pub fn reaches(&self, place: Place<'_>) -> bool {
        let Some(spot) = self.policy.spot(place, "") else {
            return false;
        };
        match (&self.grant.scope, spot.at) {
            (Scope::Global, PlaceKey::Global) | (Scope::Everywhere, PlaceKey::Cluster(_)) => true,
            (Scope::Cluster(id), PlaceKey::Cluster(at)) => *id == at,
            (Scope::Clusters(ids), PlaceKey::Cluster(at)) => ids.contains(&at),
            (Scope::Selector(id), PlaceKey::Cluster(at)) => self.policy.selectors.selects(*id, at),
            (Scope::Project(id), _) => spot.project == Some(*id),
            _ => false,
        }
    }
}

/// One project that exists.
#[derive(Clone, Copy)]
pub struct ProjectView<'p> {
    policy: &'p Policy,
    id: u32,
    record: &'p projects::Record,
}

impl<'p> ProjectView<'p> {
    /// Its name.
    pub fn name(&self) -> &'p str {
        &self.record.name
    }

    /// Its uid; its name in a folder that has none.
    pub fn uid(&self) -> &'p str {
        self.policy.projects.uid(self.id)
    }

    /// Name of its cluster, registered or not.
    pub fn cluster(&self) -> &'p str {
        self.policy.clusters.name(self.record.cluster)
    }

    /// Its namespaces, by name and by glob. What it really holds [`Policy::project_of`] says: a namespace that
    /// another project claims as well is nobody's.
    pub fn namespaces(&self) -> &'p [Pattern] {
        &self.record.namespaces
    }
}

/// What a cluster is told of one role of one project: in each namespace of the project (whatever
/// [`Policy::project_of`] says) a RoleBinding of the role to the group.
pub struct ProjectGrant<'p> {
    /// The project.
    pub project: ProjectView<'p>,
    /// Name of the role.
    pub role: &'p str,
}

impl ProjectGrant<'_> {
    /// The group that holds the role there.
    pub fn group(&self) -> String {
        let uid = self.project.uid();
        GrantGroup::Project {
            uid,
            role: self.role,
        }
        .to_string()
    }
}

/// One role that exists.
pub struct RoleView<'p> {
    policy: &'p Policy,
    pub(super) id: u32,
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

    /// Whether anybody can hold it: one that inherits from itself grants nothing.
    pub fn counts(&self) -> bool {
        self.policy.roles.counts(self.id, self.role.spec.scope)
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

impl Policy {
    /// Whether there is a cluster of this name.
    pub fn is_registered(&self, cluster: &str) -> bool {
        self.clusters.registered(cluster).is_some()
    }

    /// The projects of a cluster.
    pub fn projects_on<'p>(
        &'p self,
        cluster: &str,
    ) -> impl Iterator<Item = ProjectView<'p>> + use<'p> {
        let ids = self
            .clusters
            .registered(cluster)
            .and_then(|id| self.projects.on(id));
        ids.into_iter()
            .flat_map(super::super::bits::Bits::iter)
            .filter_map(|id| self.project_view(id))
    }

    /// Every project.
    pub fn projects(&self) -> impl Iterator<Item = ProjectView<'_>> {
        let all = self.projects.iter();
        all.map(|(id, record)| ProjectView {
            policy: self,
            id,
            record,
        })
    }

    /// The one project that holds a namespace of a cluster.
    pub fn project_of(&self, cluster: &str, namespace: &str) -> Option<ProjectView<'_>> {
        let cluster = self.clusters.registered(cluster)?;
        self.project_view(self.projects.holding(cluster, namespace)?)
    }

    /// A project by its name.
    pub fn project(&self, name: &str) -> Option<ProjectView<'_>> {
        self.project_view(self.projects.named(name)?)
    }

    fn project_view(&self, id: u32) -> Option<ProjectView<'_>> {
        let record = self.projects.record(id)?;
        Some(ProjectView {
            policy: self,
            id,
            record,
        })
    }

    /// Every project of a cluster with every role of scope project: who holds them does not matter, so that a new
    /// member touches no cluster.
    pub fn project_grants<'p>(
        &'p self,
        cluster: &str,
    ) -> impl Iterator<Item = ProjectGrant<'p>> + use<'p> {
        self.projects_on(cluster).flat_map(|project| {
            self.roles()
                .filter(|role| self.roles.counts(role.id, RoleScope::Project))
                .map(move |role| ProjectGrant {
                    project,
                    role: role.name(),
                })
        })
    }

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

    /// Those on the gateway's own API, in no order that means anything: without a walk over all the others.
    pub fn global_bindings(&self) -> impl Iterator<Item = GrantView<'_>> {
        self.global.iter().map(|grant| GrantView {
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

    /// All rules that `who` holds at a place now, with those of [`super::BASIC`]: what covering is asked of.
    pub fn rules_of(&self, who: &Who<'_>, place: Place<'_>, now: Timestamp) -> Vec<PolicyRule> {
        let (all, now) = (&self.holdings_of(who), grants::instant(now));
        let Some(spot) = self.spot(place, "") else {
            return Vec::new();
        };
        let mut held = self.roles_at(all, spot.at, now);
        for role in spot
            .project
            .iter()
            .flat_map(|&project| self.roles_in(all, project, now).iter().collect::<Vec<_>>())
        {
            held.insert(role);
        }
        if !held.is_empty()
            && let Some(basic) = self.basic(spot)
            && self.roles.counts(basic, RoleScope::Cluster)
        {
            held.insert(basic);
        }
        held.iter()
            .filter_map(|role| self.roles.record(role))
            .flat_map(|role| self.roles.rules(role).map(|(.., rule)| rule.clone()))
            .collect()
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

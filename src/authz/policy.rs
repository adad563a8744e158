//! The gateway's own policy: roles, bindings, clusters and projects, compiled to a table by subject.
//!
//! Guarantees: a [`Policy`] is immutable behind whoever shares it; a clone costs a few pointers, and changing
//! the clone copies only what the change touches. A decision looks up one subject, then one role set per
//! group and place, whatever the number of bindings, and allocates nothing; what many groups hold is put
//! together once (`together`), so that their number does not count. Only two things are walked over:
//! the distinct label selectors that one subject holds, and the distinct expiring roles of one place. A
//! binding past its `expiresAt` never counts, from that very instant on, and no rebuild is needed for it.
//! Which project a namespace belongs to is a matter of a few look-ups, however many projects there are.
//!
//! What could go wrong: a role of one scope counting in another (each scope has a table of its own, a role
//! is entered in one only); a role that cannot be resolved granting something (unknown, circular and
//! foreign-scope parents add nothing and are reported); a binding that says two scopes at once (grants
//! nothing and is reported). `system:masters` has no meaning here.

mod grants;
mod held;
mod problems;
mod projects;
mod roles;
mod targets;
mod together;
mod view;

use super::Attributes;
use super::request_info::RequestInfo;
use super::shards::ShardMap;
use super::table::Allowing;
use crate::objects::{BindingSpec, Project, RoleScope, RoleSpec, SubjectKind};
pub(super) use grants::Pending;
use grants::{Grant, Holdings, PlaceKey};
use hashbrown::DefaultHashBuilder;
pub use held::{Carried, Grants, HeldGrant, HeldRoles};
use jiff::Timestamp;
pub use problems::Problem;
use projects::Projects;
use roles::Roles;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use targets::{Clusters, Selectors};
use together::{HoldingsOf, Together};
pub use view::{GrantView, ProjectGrant, ProjectView, RoleView, ScopeView};

/// Whoever holds a grant on a cluster holds the rules of the cluster role of this name there too.
pub const BASIC: &str = "basic";

/// All roles and bindings of the gateway, and the clusters and projects they can apply to.
#[derive(Clone, Default)]
pub struct Policy {
    hasher: DefaultHashBuilder,
    roles: Roles,
    clusters: Clusters,
    projects: Projects,
    selectors: Selectors,
    subjects: ShardMap<Arc<Holdings>>,
    bindings: ShardMap<Arc<Grant>>,
    /// Those of them on the gateway's own API: few among very many.
    global: ShardMap<Arc<Grant>>,
    /// Of this very policy; a change begins with an empty one.
    together: Arc<Together>,
}

/// Who asks: ids as bindings name them (uids in the gateway; names in a folder that is only read offline).
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The user's id.
    pub user: &'a str,
    /// Ids of the user's groups.
    pub groups: &'a [Box<str>],
    /// The same where they are shared by all requests of the user: what many groups hold is then put together
    /// once, and not for each request.
    pub shared: Option<&'a Arc<[Box<str>]>>,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// The gateway's own API: roles of scope global alone count.
    Global,
    /// A cluster by name: roles of scope cluster count, and for a request in a namespace those of scope project
    /// that are held in the project of the namespace. A cluster that was never put is nobody's.
    Cluster(&'a str),
    /// A project by uid, whatever the namespace: what is held in it, and on its cluster.
    Project(&'a str),
}

/// A place as the tables know it.
#[derive(Clone, Copy)]
struct Spot {
    /// The gateway's own API, or a cluster.
    at: PlaceKey,
    /// Whose roles count besides.
    project: Option<u32>,
}

impl Spot {
    fn scope(self) -> RoleScope {
        match self.at {
            PlaceKey::Global => RoleScope::Global,
            PlaceKey::Everywhere
            | PlaceKey::Cluster(_)
            | PlaceKey::Project(_)
            | PlaceKey::Selector(_) => RoleScope::Cluster,
        }
    }
}

/// A role, as a decision names it; see [`Policy::role_name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleId(u32);

/// Somebody whose holdings have been looked up, once for all that a request asks: with many subjects each look-up reads
/// memory that no cache holds.
pub struct Holder<'p> {
    policy: &'p Policy,
    holdings: HoldingsOf<'p>,
}

impl Holder<'_> {
    /// Whether they may do this there at the instant `now`.
    pub fn decide(&self, place: Place<'_>, attrs: &Attributes<'_>, now: Timestamp) -> Decision {
        self.policy.decide_for(&self.holdings, place, attrs, now)
    }

    /// The same for a whole request: every one of its checks must be allowed. The first deny, or the
    /// decision on the request itself.
    pub fn decide_request(
        &self,
        place: Place<'_>,
        info: &RequestInfo<'_>,
        now: Timestamp,
    ) -> Decision {
        let mut first = None;
        for attrs in info.checks() {
            let decision = self.decide(place, &attrs, now);
            if !decision.allowed() {
                return decision;
            }
            first.get_or_insert(decision);
        }
        first.unwrap_or(Decision::Deny)
    }

    /// The grants that their request carries to a cluster, see [`Policy::grants`].
    pub fn grants(
        &self,
        cluster: &str,
        carried: Carried<'_>,
        now: Timestamp,
        most: usize,
    ) -> Grants {
        self.policy
            .grants_for(&self.holdings, cluster, carried, now, most)
    }
}

/// Allowed by one role, or not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A role held allows it: this one, and perhaps others.
    Allow(RoleId),
    /// No rule of any role held matches.
    Deny,
}

impl Decision {
    /// Whether it is [`Decision::Allow`].
    pub fn allowed(self) -> bool {
        matches!(self, Self::Allow(_))
    }
}

/// One change to a policy.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// A new or changed role.
    PutRole(&'a str, &'a RoleSpec),
    /// A role is gone; bindings to it grant nothing until it comes back.
    RemoveRole(&'a str),
    /// A new or changed binding.
    PutBinding(&'a str, &'a BindingSpec),
    /// A binding is gone.
    RemoveBinding(&'a str),
    /// A new cluster, or one with other labels.
    PutCluster(&'a str, &'a BTreeMap<String, String>),
    /// A cluster is gone.
    RemoveCluster(&'a str),
    /// A new or changed project. Its cluster may come later.
    PutProject(&'a Project),
    /// A project is gone, by its name; bindings in it grant nothing.
    RemoveProject(&'a str),
}

impl Policy {
    /// A policy of these changes: the way to build one from a list.
    pub fn of<'a>(changes: impl IntoIterator<Item = Change<'a>>) -> Self {
        let mut policy = Self::default();
        policy.apply(changes);
        policy
    }

    /// Applies changes in order. Subjects are compiled once, after the last.
    pub fn apply<'a>(&mut self, changes: impl IntoIterator<Item = Change<'a>>) {
        let mut pending = Pending::default();
        self.note(changes, &mut pending);
        self.compile(pending);
    }

    /// Applies changes in order, but for what subjects hold: that is put off until [`Policy::compile`], with what is
    /// `pending` from other changes. A policy with something pending is not to be asked what anybody holds.
    pub(super) fn note<'a>(
        &mut self,
        changes: impl IntoIterator<Item = Change<'a>>,
        pending: &mut Pending,
    ) {
        // Most of what is written to a store is no policy: what was put together stays good then.
        let mut changes = changes.into_iter().peekable();
        if changes.peek().is_none() {
            return;
        }
        self.together = Arc::default();
        for change in changes {
            match change {
                Change::PutRole(name, spec) => self.roles.put(name, Some(spec)),
                Change::RemoveRole(name) => self.roles.put(name, None),
                Change::PutBinding(name, spec) => {
                    let grant = self.compile_binding(name, spec, pending);
                    self.replace_binding(name, Some(grant), pending);
                }
                Change::RemoveBinding(name) => self.replace_binding(name, None, pending),
                Change::PutCluster(name, labels) => self.put_cluster(name, Some(labels)),
                Change::RemoveCluster(name) => self.put_cluster(name, None),
                Change::PutProject(project) => {
                    let cluster = self.clusters.id(&project.spec.cluster);
                    self.projects.put(project, cluster);
                }
                Change::RemoveProject(name) => self.projects.remove(name),
            }
        }
    }

    /// Brings what subjects hold up to date.
    pub(super) fn compile(&mut self, pending: Pending) {
        for (subject, edits) in pending {
            self.compile_subject(&subject, &edits);
        }
    }

    /// Whether `who` may do this there at the instant `now`.
    pub fn decide(
        &self,
        who: &Who<'_>,
        place: Place<'_>,
        attrs: &Attributes<'_>,
        now: Timestamp,
    ) -> Decision {
        self.holder(who).decide(place, attrs, now)
    }

    fn decide_for(
        &self,
        all: &HoldingsOf<'_>,
        place: Place<'_>,
        attrs: &Attributes<'_>,
        now: Timestamp,
    ) -> Decision {
        let Some(spot) = self.spot(place, attrs.namespace) else {
            return Decision::Deny;
        };
        let allowing = self.roles.table(spot.scope()).allowing(attrs);
        let in_project = match spot.project {
            Some(_) => self.roles.table(RoleScope::Project).allowing(attrs),
            None => Allowing::default(),
        };
        if allowing.is_empty() && in_project.is_empty() {
            return Decision::Deny;
        }
        let now = grants::instant(now);
        for holdings in all.iter() {
            let mut held = holdings.at(spot.at, &self.selectors);
            if let Some(role) = held.find_map(|held| held.first_in(&allowing, now)) {
                return Decision::Allow(RoleId(role));
            }
            let held = spot
                .project
                .and_then(|project| holdings.in_project(project));
            if let Some(role) = held.and_then(|held| held.first_in(&in_project, now)) {
                return Decision::Allow(RoleId(role));
            }
        }
        // Asked last: it is about discovery and reviews alone.
        match self.basic(spot) {
            Some(role) if allowing.contains(role) && self.holds_any_at(all, spot.at, now) => {
                Decision::Allow(RoleId(role))
            }
            Some(_) | None => Decision::Deny,
        }
    }

    /// The same for a whole request, see [`Holder::decide_request`].
    pub fn decide_request(
        &self,
        who: &Who<'_>,
        place: Place<'_>,
        info: &RequestInfo<'_>,
        now: Timestamp,
    ) -> Decision {
        self.holder(who).decide_request(place, info, now)
    }

    /// Somebody, for several questions.
    pub fn holder(&self, who: &Who<'_>) -> Holder<'_> {
        Holder {
            policy: self,
            holdings: self.holdings_of(who),
        }
    }

    /// The role that whoever holds anything there has too.
    fn basic(&self, spot: Spot) -> Option<u32> {
        self.roles
            .basic()
            .filter(|_| spot.scope() == RoleScope::Cluster)
    }

    /// What somebody and their groups hold. Of many groups the cost is one look-up, but for the first request
    /// after a change of the policy or of the groups.
    fn holdings_of(&self, who: &Who<'_>) -> HoldingsOf<'_> {
        match who.shared {
            Some(groups) if groups.len() > together::MANY => {
                HoldingsOf::Together(self.together.of(who.user, groups, || {
                    let each: Vec<&Holdings> = self.each_holding(who).collect();
                    Holdings::together(&each)
                }))
            }
            Some(_) | None => HoldingsOf::Each(self.each_holding(who).collect()),
        }
    }

    fn each_holding<'p>(&'p self, who: &Who<'_>) -> impl Iterator<Item = &'p Holdings> {
        let groups = who
            .groups
            .iter()
            .map(|group| (SubjectKind::Group, &**group));
        std::iter::once((SubjectKind::User, who.user))
            .chain(groups)
            .filter_map(|(kind, id)| self.holdings(kind, id))
    }

    fn holdings(&self, kind: SubjectKind, id: &str) -> Option<&Holdings> {
        let hash = self.subject_hash(kind, id);
        self.subjects
            .get(hash, |holdings| holdings.is_of(kind, id))
            .map(AsRef::as_ref)
    }

    fn subject_hash(&self, kind: SubjectKind, id: &str) -> u64 {
        self.hasher.hash_one((kind, id))
    }

    /// Where a request in this namespace (empty: in none) is decided.
    fn spot(&self, place: Place<'_>, namespace: &str) -> Option<Spot> {
        let (at, project) = match place {
            Place::Global => (PlaceKey::Global, None),
            Place::Cluster(name) => {
                let cluster = self.clusters.registered(name)?;
                let project = match namespace {
                    "" => None,
                    namespace => self.projects.holding(cluster, namespace),
                };
                (PlaceKey::Cluster(cluster), project)
            }
            Place::Project(uid) => {
                let project = self.projects.find(uid)?;
                let cluster = self.projects.record(project)?.cluster;
                let name = self.clusters.name(cluster);
                let cluster = self.clusters.registered(name)?;
                (PlaceKey::Cluster(cluster), Some(project))
            }
        };
        Some(Spot { at, project })
    }

    fn put_cluster(&mut self, name: &str, labels: Option<&BTreeMap<String, String>>) {
        let cluster = self.clusters.put(name, labels);
        self.selectors.cluster_changed(cluster, labels);
    }

    fn compile_binding(&mut self, name: &str, spec: &BindingSpec, pending: &Pending) -> Arc<Grant> {
        let id = grants::subject_id(&spec.subject);
        let kind = spec.subject.kind;
        let known = self.holdings(kind, id).map(Holdings::subject).cloned();
        let subject = known
            .or_else(|| pending.subject(kind, id))
            .unwrap_or_else(|| grants::subject_key(kind, id));
        let scope = grants::Scope::of(
            spec,
            &mut self.clusters,
            &mut self.selectors,
            &mut self.projects,
        );
        Arc::new(Grant {
            name: name.into(),
            subject,
            role: self.roles.id(&spec.role),
            scope,
            expires_at: spec.expires_at.map_or(grants::NEVER, grants::instant),
        })
    }

    fn replace_binding(&mut self, name: &str, new: Option<Arc<Grant>>, pending: &mut Pending) {
        let hash = self.hasher.hash_one(name);
        let is = |grant: &Arc<Grant>| *grant.name == *name;
        let hash_of = |grant: &Arc<Grant>| self.hasher.hash_one(&*grant.name);
        let old = match &new {
            Some(grant) => self.bindings.put(hash, is, hash_of, Arc::clone(grant)),
            None => self.bindings.remove(hash, is),
        };
        let is_global = |grant: &Arc<Grant>| grant.scope == grants::Scope::Global;
        match new.as_ref().filter(|grant| is_global(grant)) {
            Some(grant) => drop(self.global.put(hash, is, hash_of, Arc::clone(grant))),
            None if old.as_ref().is_some_and(is_global) => drop(self.global.remove(hash, is)),
            None => {}
        }
        if let Some(old) = old {
            self.selectors.release(&old.scope);
            pending.drop_grant(old);
        }
        if let Some(new) = new {
            pending.add_grant(new);
        }
    }

    fn compile_subject(&mut self, subject: &Arc<str>, edits: &grants::Edits) {
        let Some((kind, id)) = grants::split_key(subject) else {
            return;
        };
        let hash = self.subject_hash(kind, id);
        let is = |holdings: &Arc<Holdings>| holdings.is_of(kind, id);
        let old = self.subjects.get(hash, is).map(AsRef::as_ref);
        match Holdings::rebuilt(subject, old, edits) {
            Some(holdings) => {
                let hash_of = |holdings: &Arc<Holdings>| {
                    let key = grants::split_key(holdings.subject());
                    key.map_or(0, |key| self.hasher.hash_one(key))
                };
                self.subjects.put(hash, is, hash_of, Arc::new(holdings));
            }
            None => drop(self.subjects.remove(hash, is)),
        }
    }
}

#[cfg(test)]
mod tests;

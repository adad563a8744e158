//! The gateway's own policy: roles, bindings, clusters, compiled to a table by subject.
//!
//! Guarantees: a [`Policy`] is immutable behind whoever shares it; a clone costs a few pointers, and changing
//! the clone copies only what the change touches. A decision looks up one subject, then one role set per
//! group and place, whatever the number of bindings, and allocates nothing. Only two things are walked over:
//! the distinct label selectors that one subject holds, and the distinct expiring roles of one place. A
//! binding past its `expiresAt` never counts, from that very instant on, and no rebuild is needed for it.
//!
//! What could go wrong: a role of one scope counting in another (each scope has a table of its own, a role
//! is entered in one only); a role that cannot be resolved granting something (unknown, circular and
//! foreign-scope parents add nothing and are reported); a binding that says two scopes at once (grants
//! nothing and is reported). `system:masters` has no meaning here.

mod grants;
mod roles;
mod targets;
mod view;

use super::Attributes;
use super::request_info::RequestInfo;
use super::shards::ShardMap;
use crate::objects::{BindingSpec, RoleSpec, SubjectKind};
use grants::{Grant, Holdings, PlaceKey};
use hashbrown::DefaultHashBuilder;
use jiff::Timestamp;
use roles::Roles;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use targets::{Clusters, Selectors};
pub use view::{GrantView, HeldRoles, Problem, RoleView, ScopeView};

/// Whoever holds a grant on a cluster holds the rules of the cluster role of this name there too.
pub const BASIC: &str = "basic";

/// All roles and bindings of the gateway, and the clusters they can apply to.
#[derive(Clone, Default)]
pub struct Policy {
    hasher: DefaultHashBuilder,
    roles: Roles,
    clusters: Clusters,
    selectors: Selectors,
    subjects: ShardMap<Arc<Holdings>>,
    bindings: ShardMap<Arc<Grant>>,
}

/// Who asks: ids as bindings name them (uids in the gateway; names in a folder that is only read offline).
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The user's id.
    pub user: &'a str,
    /// Ids of the user's groups.
    pub groups: &'a [Box<str>],
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// The gateway's own API: roles of scope global alone count.
    Global,
    /// A cluster by name: roles of scope cluster alone count. A cluster that was never put is nobody's.
    Cluster(&'a str),
}

/// A role, as a decision names it; see [`Policy::role_name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleId(u32);

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
        let mut pending = grants::Pending::default();
        for change in changes {
            match change {
                Change::PutRole(name, spec) => self.roles.put(name, Some(spec)),
                Change::RemoveRole(name) => self.roles.put(name, None),
                Change::PutBinding(name, spec) => {
                    let grant = self.compile_binding(name, spec, &pending);
                    self.replace_binding(name, Some(grant), &mut pending);
                }
                Change::RemoveBinding(name) => self.replace_binding(name, None, &mut pending),
                Change::PutCluster(name, labels) => self.put_cluster(name, Some(labels)),
                Change::RemoveCluster(name) => self.put_cluster(name, None),
            }
        }
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
        let Some(at) = self.resolve(place) else {
            return Decision::Deny;
        };
        let allowing = self.roles.table(place).allowing(attrs);
        if allowing.is_empty() {
            return Decision::Deny;
        }
        let now = grants::instant(now);
        let basic = self
            .roles
            .basic(place)
            .filter(|&role| allowing.contains(role));
        let mut holds_any = false;
        for holdings in self.holdings_of(who) {
            for held in holdings.at(at, &self.selectors) {
                if let Some(role) = held.first_in(&allowing, now) {
                    return Decision::Allow(RoleId(role));
                }
                holds_any |= basic.is_some() && held.live(now).any(|role| self.counts(role, place));
            }
        }
        match basic {
            Some(role) if holds_any => Decision::Allow(RoleId(role)),
            _ => Decision::Deny,
        }
    }

    /// The same for a whole request: every one of its checks must be allowed. The first deny, or the
    /// decision on the request itself.
    pub fn decide_request(
        &self,
        who: &Who<'_>,
        place: Place<'_>,
        info: &RequestInfo<'_>,
        now: Timestamp,
    ) -> Decision {
        let mut first = None;
        for attrs in info.checks() {
            let decision = self.decide(who, place, &attrs, now);
            if !decision.allowed() {
                return decision;
            }
            first.get_or_insert(decision);
        }
        first.unwrap_or(Decision::Deny)
    }

    /// The cluster roles that `who` holds on a cluster, each once: what grant groups are made of.
    pub fn cluster_roles(&self, who: &Who<'_>, cluster: &str, now: Timestamp) -> HeldRoles<'_> {
        let place = Place::Cluster(cluster);
        let now = grants::instant(now);
        let mut roles = super::bits::Bits::default();
        if let Some(at) = self.resolve(place) {
            for holdings in self.holdings_of(who) {
                for held in holdings.at(at, &self.selectors) {
                    for role in held.live(now).filter(|&role| self.counts(role, place)) {
                        roles.insert(role);
                    }
                }
            }
        }
        HeldRoles::new(&self.roles, roles)
    }

    /// Whether `who` holds any role on the cluster.
    pub fn holds_any(&self, who: &Who<'_>, cluster: &str, now: Timestamp) -> bool {
        let place = Place::Cluster(cluster);
        let now = grants::instant(now);
        self.resolve(place).is_some_and(|at| {
            self.holdings_of(who).any(|holdings| {
                holdings
                    .at(at, &self.selectors)
                    .any(|held| held.live(now).any(|role| self.counts(role, place)))
            })
        })
    }

    /// A role counts where its scope is, if it exists and is not circular.
    fn counts(&self, role: u32, place: Place<'_>) -> bool {
        self.roles.counts(role, place)
    }

    fn holdings_of<'p>(&'p self, who: &Who<'p>) -> impl Iterator<Item = &'p Holdings> {
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

    fn resolve(&self, place: Place<'_>) -> Option<PlaceKey> {
        match place {
            Place::Global => Some(PlaceKey::Global),
            Place::Cluster(name) => self.clusters.registered(name).map(PlaceKey::Cluster),
        }
    }

    fn put_cluster(&mut self, name: &str, labels: Option<&BTreeMap<String, String>>) {
        let cluster = self.clusters.put(name, labels);
        self.selectors.cluster_changed(cluster, labels);
    }

    fn compile_binding(
        &mut self,
        name: &str,
        spec: &BindingSpec,
        pending: &grants::Pending,
    ) -> Arc<Grant> {
        let id = grants::subject_id(&spec.subject);
        let kind = spec.subject.kind;
        let known = self.holdings(kind, id).map(Holdings::subject).cloned();
        let subject = known
            .or_else(|| pending.subject(kind, id))
            .unwrap_or_else(|| grants::subject_key(kind, id));
        let scope = grants::Scope::of(spec, &mut self.clusters, &mut self.selectors);
        Arc::new(Grant {
            name: name.into(),
            subject,
            role: self.roles.id(&spec.role),
            scope,
            expires_at: spec.expires_at.map_or(grants::NEVER, grants::instant),
        })
    }

    fn replace_binding(
        &mut self,
        name: &str,
        new: Option<Arc<Grant>>,
        pending: &mut grants::Pending,
    ) {
        let hash = self.hasher.hash_one(name);
        let is = |grant: &Arc<Grant>| *grant.name == *name;
        let old = match &new {
            Some(grant) => self.bindings.put(hash, is, Arc::clone(grant)),
            None => self.bindings.remove(hash, is),
        };
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
            Some(holdings) => drop(self.subjects.put(hash, is, Arc::new(holdings))),
            None => drop(self.subjects.remove(hash, is)),
        }
    }
}

#[cfg(test)]
mod tests;

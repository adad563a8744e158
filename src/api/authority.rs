//! Nobody gives what they do not hold, in a scope they do not hold it, nor for longer than they hold it.
//!
//! Kubernetes' rule for its own RBAC, extended by the gateway's scopes and by time. Whoever makes, changes or removes a
//! binding must hold every rule of its role ([`covers`]) wherever the binding holds, until it ends; or have the verb
//! `bind` on that role, by a role of scope global. Everything else that hands out power is brought back to bindings: a
//! member of a group is given what the group is bound to, whoever sets a user's password becomes that user, another
//! namespace of a project is given to all who are bound in it. `admin` has every verb, so also these.
//!
//! What an attacker would try: to lend out a right for good that they have for an hour (a holding that ends earlier
//! covers nothing), to bind in somebody else's project or under its name (uids count; CVE-2022-31247), to change a role
//! that they hold ([`Authority::must_hold_role`]), to be quicker than the loss of a right ([`held`]).

mod ground;
mod held;

use super::access::Operation;
use super::bound;
use super::draft::Draft;
use super::error::{ApiError, ObjectRef};
use super::projects;
use super::resource::Context;
use crate::authz::covers;
use crate::authz::policy::{Policy, ScopeView};
use crate::objects::{Binding, BindingSpec, Kind, Project, Role, RoleScope, SubjectKind, User};
use crate::status::clock;
pub(super) use ground::Ground;
use ground::{everything, own_rule};
use held::{Given, flatten};
use jiff::Timestamp;
use std::sync::Arc;

/// Bindings of one user or group that are looked at one by one; whoever gives away more needs `bind` on every role.
const MOST_BINDINGS: usize = 200;
/// Groups of a user that are looked at one by one: each is a compare of the write, of which the store takes 128.
const MOST_GROUPS: usize = 64;
/// Rules that a refusal spells out.
const MOST_SHOWN: usize = 3;
/// Whoever answers for a cluster is shown what its users send there: to say who that is takes this role, or its like.
const CLUSTER_OWNER: &str = "cluster-owner";

/// How long what a write does to somebody's rights needs the verb `bind` or `escalate`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lasts {
    /// It gives something: whoever has the verb for an hour does not give for good.
    ForGood,
    /// It only takes something away.
    Now,
}

/// What a caller may give, for one write.
pub(super) struct Authority<'a> {
    cx: &'a Context<'a>,
    policy: Arc<Policy>,
    now: Timestamp,
    /// What is written, for the refusal.
    object: ObjectRef,
}

impl<'a> Authority<'a> {
    pub(super) fn of(cx: &'a Context<'a>, object: ObjectRef) -> Self {
        Self {
            cx,
            policy: cx.api.authz.policy(),
            now: clock::now(),
            object,
        }
    }

    /// The caller must hold what a binding gives, wherever it gives it.
    pub(super) async fn must_hold(
        &self,
        draft: &mut Draft,
        spec: &BindingSpec,
    ) -> Result<(), ApiError> {
        if self
            .has_verb(draft, "bind", Some(&spec.role), spec.expires_at)
            .await?
        {
            return Ok(());
        }
        let role = flatten(self.cx, &spec.role, draft).await?;
        for ground in self.grounds(spec, draft).await? {
            let given = Given {
                rules: &role.rules,
                ground: &ground,
                until: spec.expires_at,
            };
            self.must_cover(draft, &given).await?;
        }
        Ok(())
    }

    /// Whoever takes a binding away must hold what it gave; the verb `bind` is enough if they have it now.
    pub(super) async fn may_take(
        &self,
        draft: &mut Draft,
        spec: &BindingSpec,
    ) -> Result<(), ApiError> {
        let role = Some(&*spec.role);
        if self
            .has_verb(draft, "bind", role, self.end(Lasts::Now))
            .await?
        {
            return Ok(());
        }
        self.must_hold(draft, spec).await
    }

    /// The end of what lasts so.
    fn end(&self, lasts: Lasts) -> Option<Timestamp> {
        match lasts {
            Lasts::ForGood => None,
            Lasts::Now => Some(self.now),
        }
    }

    /// The same for everything that a user or a group is bound to: what is given to whoever becomes one of them.
    pub(super) async fn must_hold_all_of(
        &self,
        draft: &mut Draft,
        (kind, uid): (SubjectKind, &str),
        lasts: Lasts,
    ) -> Result<(), ApiError> {
        if self.has_verb(draft, "bind", None, self.end(lasts)).await? {
            return Ok(());
        }
        let policy = bound::settled(self.cx, draft, uid).await?;
        let bound = policy.grants_of(kind, uid).take(MOST_BINDINGS + 1);
        let names = bound.map(|grant| grant.name().to_owned()).collect();
        for spec in self.load(names).await? {
            self.must_hold(draft, &spec).await?;
        }
        Ok(())
    }

    /// The same for a user, by groups too. Nobody gains by changing themselves.
    pub(super) async fn must_hold_all_of_user(
        &self,
        draft: &mut Draft,
        user: &User,
        lasts: Lasts,
    ) -> Result<(), ApiError> {
        let (name, uid) = (&user.metadata.name, &user.metadata.uid);
        if **uid == *self.cx.caller.user_uid {
            return Ok(());
        }
        if self.has_verb(draft, "bind", None, self.end(lasts)).await? {
            return Ok(());
        }
        // Who is stored and not known here is in groups that nobody can tell.
        let Some(known) = self.cx.api.index.user(name) else {
            return Err(ApiError::Behind);
        };
        if known.groups.len() > MOST_GROUPS {
            return Err(self.refused(&format!(
                "the user is in more than {MOST_GROUPS} groups, and that takes the verb \"bind\" on every role"
            )));
        }
        self.must_hold_all_of(draft, (SubjectKind::User, uid), lasts)
            .await?;
        for group in known.groups.iter() {
            self.must_hold_all_of(draft, (SubjectKind::Group, group), lasts)
                .await?;
        }
        Ok(())
    }

    /// The same for all that is bound in a project, on the project's whole cluster if `ground` says so: what is given
    /// with a namespace.
    pub(super) async fn must_hold_all_in(
        &self,
        draft: &mut Draft,
        project: &Project,
        (ground, lasts): (&Ground, Lasts),
    ) -> Result<(), ApiError> {
        if self.has_verb(draft, "bind", None, self.end(lasts)).await? {
            return Ok(());
        }
        let uid = &project.metadata.uid;
        let policy = bound::settled(self.cx, draft, uid).await?;
        let bound = policy
            .bindings()
            .filter(|grant| grant.scope() == ScopeView::Project(uid));
        let bound = bound.take(MOST_BINDINGS + 1);
        let names = bound.map(|grant| grant.name().to_owned()).collect();
        for spec in self.load(names).await? {
            let role = Some(&*spec.role);
            if self.has_verb(draft, "bind", role, spec.expires_at).await? {
                continue;
            }
            let role = flatten(self.cx, &spec.role, draft).await?;
            let given = Given {
                rules: &role.rules,
                ground,
                until: spec.expires_at,
            };
            self.must_cover(draft, &given).await?;
        }
        Ok(())
    }

    /// Whoever writes a role must hold what it says wherever it can be bound, for good; or have the verb `escalate` on
    /// it, by a role of scope global.
    pub(super) async fn must_hold_role(
        &self,
        draft: &mut Draft,
        role: &Role,
        lasts: Lasts,
    ) -> Result<(), ApiError> {
        let name = Some(&*role.metadata.name);
        if self
            .has_verb(draft, "escalate", name, self.end(lasts))
            .await?
        {
            return Ok(());
        }
        let ground = match role.spec.scope {
            RoleScope::Global => Ground::Global,
            RoleScope::Cluster | RoleScope::Project => Ground::Everywhere,
        };
        let mut rules = role.spec.rules.clone();
        for parent in &role.spec.inherits {
            rules.extend(flatten(self.cx, parent, draft).await?.rules);
        }
        let given = Given {
            rules: &rules,
            ground: &ground,
            until: None,
        };
        self.must_cover(draft, &given).await
    }

    /// Whoever says where a cluster is, what its labels are or with which tokens it is spoken to must hold everything
    /// there.
    pub(super) async fn must_own(
        &self,
        draft: &mut Draft,
        ground: &Ground,
    ) -> Result<(), ApiError> {
        if self
            .has_verb(draft, "bind", Some(CLUSTER_OWNER), None)
            .await?
        {
            return Ok(());
        }
        let given = Given {
            rules: &everything(),
            ground,
            until: None,
        };
        self.must_cover(draft, &given).await
    }

    /// Whether a role that is held in this very project lets the caller do this with its bindings.
    pub(super) async fn manages(
        &self,
        draft: &mut Draft,
        project: &Project,
        verb: &'static str,
    ) -> Result<bool, ApiError> {
        let ground = Ground::Within {
            name: project.metadata.name.clone(),
            uid: project.metadata.uid.clone(),
        };
        let rules = [own_rule(Binding::PLURAL, verb, None)];
        let given = Given {
            rules: &rules,
            ground: &ground,
            until: Some(self.now),
        };
        Ok(self.uncovered(draft, &given).await?.is_empty())
    }

    /// Whether a role of scope global lets the caller do this to a kind.
    pub(super) async fn may<K: Kind>(
        &self,
        draft: &mut Draft,
        op: &Operation<'_>,
    ) -> Result<bool, ApiError> {
        let rules = [own_rule(&op.resource::<K>(), op.verb(), op.name())];
        let given = Given {
            rules: &rules,
            ground: &Ground::Global,
            until: Some(self.now),
        };
        Ok(self.uncovered(draft, &given).await?.is_empty())
    }

    /// Whether the caller has a verb on roles: on this one, or on all; and has it for as long as what is given by it
    /// lasts.
    async fn has_verb(
        &self,
        draft: &mut Draft,
        verb: &'static str,
        role: Option<&str>,
        until: Option<Timestamp>,
    ) -> Result<bool, ApiError> {
        let rules = [own_rule(Role::PLURAL, verb, role)];
        let given = Given {
            rules: &rules,
            ground: &Ground::Global,
            until,
        };
        Ok(self.uncovered(draft, &given).await?.is_empty())
    }

    async fn load(&self, names: Vec<String>) -> Result<Vec<BindingSpec>, ApiError> {
        if names.len() > MOST_BINDINGS {
            return Err(self.refused(&format!(
                "it gives what more than {MOST_BINDINGS} bindings give, and that takes the verb \"bind\" on every role"
            )));
        }
        let mut specs = Vec::new();
        for name in names {
            // Not to be compared: a binding that goes meanwhile gives less.
            specs.extend(self.binding(&name, &mut Draft::default()).await?);
        }
        Ok(specs)
    }

    /// Where a binding gives its role.
    async fn grounds(
        &self,
        spec: &BindingSpec,
        draft: &mut Draft,
    ) -> Result<Vec<Ground>, ApiError> {
        if spec.all_clusters {
            return Ok(vec![Ground::Everywhere]);
        }
        if !spec.cluster_selector.is_empty() {
            return Ok(vec![Ground::Selector(spec.cluster_selector.clone())]);
        }
        if !spec.clusters.is_empty() {
            return Ok(spec.clusters.iter().cloned().map(Ground::Cluster).collect());
        }
        if spec.project_uid.is_empty() {
            return Ok(vec![Ground::Global]);
        }
        let found = projects::find(self.cx, &spec.project, draft).await?;
        let found = found.filter(|found| found.metadata.uid == spec.project_uid);
        // One that the folder hides comes back, and nobody holds anything in it until then.
        let cluster = found.map(|found| found.spec.cluster);
        Ok(vec![Ground::Project {
            name: spec.project.clone(),
            uid: spec.project_uid.clone(),
            cluster: cluster.unwrap_or_default(),
        }])
    }

    async fn must_cover(&self, draft: &mut Draft, given: &Given<'_>) -> Result<(), ApiError> {
        let lacking = self.uncovered(draft, given).await?;
        if lacking.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> = lacking
            .iter()
            .take(MOST_SHOWN)
            .map(covers::compact)
            .collect();
        let more = match lacking.len().saturating_sub(MOST_SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let until = match given.until {
            Some(end) => format!(" until {end}"),
            None => " for good".to_owned(),
        };
        Err(self.refused(&format!(
            "it gives rights that they do not hold {}{until}: {}{more}",
            given.ground,
            shown.join(", ")
        )))
    }

    fn refused(&self, why: &str) -> ApiError {
        ApiError::Forbidden(format!(
            "{} is forbidden: User {:?} cannot write it: {why}",
            self.object, self.cx.caller.handle
        ))
    }
}

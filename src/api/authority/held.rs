//! What a caller holds where something is given: by which bindings, and whether they still do.
//!
//! What an attacker would try: to be quicker than the loss of a right. What proves the right is compared in the very
//! transaction that makes the write: the bindings by which it is held, their roles with all that they inherit, the
//! groups.
//!
//! The policy in memory says by which bindings somebody may hold a right; whether they do is read from the store.

use super::{
    Authority,
    ground::{Ground, fits, lasts, on_clusters, reaches, selects_all},
};
use crate::api::{draft::Draft, error::ApiError, resource::Context, roles};
use crate::authn::providers::is_group_uid;
use crate::authz::covers;
use crate::authz::folder::Standing;
use crate::authz::policy::{BASIC, RoleView, Who};
use crate::objects::rules::PolicyRule;
use crate::objects::{Binding, BindingSpec, Cluster, Group, RoleSpec, Subject, SubjectKind, User};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// Single rights (a verb on a resource of a group) that one write gives at most, unless its maker has `bind` or
/// `escalate`: twenty times the largest built-in role, and a second's work at worst.
const MOST_PARTS: usize = 10_000;

/// Rules that a write gives to somebody.
pub(super) struct Given<'a> {
    pub(super) rules: &'a [PolicyRule],
    pub(super) ground: &'a Ground,
    /// `None`: for good.
    pub(super) until: Option<Timestamp>,
}

impl Authority<'_> {
    /// What of the rules no binding of the caller covers. What covers the rest is compared in the write's transaction.
    pub(super) async fn uncovered(
        &self,
        draft: &mut Draft,
        given: &Given<'_>,
    ) -> Result<Vec<PolicyRule>, ApiError> {
        if covers::parts(given.rules) > MOST_PARTS {
            return Err(self.refused(&format!(
                "it gives more than {MOST_PARTS} single rights, too many to compare with those that they hold"
            )));
        }
        let mut lacking: Vec<PolicyRule> = given.rules.iter().flat_map(covers::breakdown).collect();
        for name in self.candidates(given) {
            if lacking.is_empty() {
                break;
            }
            let mut proof = Draft::default();
            let Some(held) = self.held_by(&name, given, &mut proof).await? else {
                continue;
            };
            let still = covers::uncovered(&held, &lacking);
            if still.len() < lacking.len() {
                draft.prove_as(&proof);
                lacking = still;
            }
        }
        Ok(lacking)
    }

    /// Bindings of the caller that hold where something is given, for as long, and whose role covers any of it: as the
    /// policy in memory has them.
    fn candidates(&self, given: &Given<'_>) -> Vec<String> {
        let who = Who {
            user: &self.cx.caller.user_uid,
            groups: &self.cx.caller.groups,
            shared: None,
        };
        let parts: Vec<PolicyRule> = given.rules.iter().flat_map(covers::breakdown).collect();
        let mut lacking = parts;
        let mut picked = Vec::new();
        for grant in self.policy.grants_of_who(&who) {
            if lacking.is_empty() {
                break;
            }
            if !lasts(grant.expires_at(), given.until, self.now)
                || !reaches(&self.policy, &grant, given.ground)
            {
                continue;
            }
            let Some(role) = self.policy.role(grant.role()) else {
                continue;
            };
            let mut rules: Vec<PolicyRule> = role.rules().map(|(.., rule)| rule.clone()).collect();
            if on_clusters(given.ground) {
                let basic = self.policy.role(BASIC);
                rules.extend(
                    basic
                        .iter()
                        .flat_map(RoleView::rules)
                        .map(|(.., rule)| rule.clone()),
                );
            }
            let still = covers::uncovered(&rules, &lacking);
            if still.len() < lacking.len() {
                picked.push(grant.name().to_owned());
                lacking = still;
            }
        }
        picked
    }

    /// The rules that the caller holds by a binding where something is given, and for as long; `None` if they do not
    /// (any more). All that this was read from goes into the proof.
    async fn held_by(
        &self,
        name: &str,
        given: &Given<'_>,
        proof: &mut Draft,
    ) -> Result<Option<Vec<PolicyRule>>, ApiError> {
        let Some(spec) = self.binding(name, proof).await? else {
            return Ok(None);
        };
        if !lasts(spec.expires_at, given.until, self.now)
            || !self.is_callers(&spec.subject, proof).await?
            || !self.holds_at(&spec, given.ground, proof).await?
        {
            return Ok(None);
        }
        let role = flatten(self.cx, &spec.role, proof).await?;
        if !fits(role.scope, given.ground) {
            return Ok(None);
        }
        let mut rules = role.rules;
        if on_clusters(given.ground) {
            rules.extend(flatten(self.cx, BASIC, proof).await?.rules);
        }
        Ok(Some(rules))
    }

    /// Whether a subject is the caller, or a group of theirs.
    async fn is_callers(&self, subject: &Subject, proof: &mut Draft) -> Result<bool, ApiError> {
        let caller = self.cx.caller;
        let is_named = match subject.kind {
            SubjectKind::User => *subject.uid == *caller.user_uid,
            SubjectKind::Group => caller.groups.iter().any(|uid| **uid == *subject.uid),
        };
        if !is_named || !self.is_active(proof).await? {
            return Ok(false);
        }
        if subject.kind == SubjectKind::User {
            return Ok(true);
        }
        let group = self.cx.load::<Group>(&subject.name).await?;
        let group = group.filter(|(stored, _)| stored.object.metadata.uid == subject.uid);
        let Some((stored, key)) = group else {
            // A group of a provider: who is in it was settled when the caller was authenticated. One of ours was
            // removed since.
            return Ok(is_group_uid(&subject.uid));
        };
        proof.prove(&key);
        let mut members = stored.object.spec.members.iter();
        // Whoever acts as somebody else is in the groups that they ask for (`--as-group`).
        Ok(caller.acting.is_some() || members.any(|member| *member.uid == *caller.user_uid))
    }

    /// Whether the caller is there and not disabled.
    async fn is_active(&self, proof: &mut Draft) -> Result<bool, ApiError> {
        let caller = self.cx.caller;
        let Some((stored, key)) = self.cx.load::<User>(&caller.handle).await? else {
            return Ok(false);
        };
        proof.prove(&key);
        let (uid, spec) = (&stored.object.metadata.uid, &stored.object.spec);
        Ok(**uid == *caller.user_uid && !spec.disabled)
    }

    /// Whether a binding holds on a ground.
    async fn holds_at(
        &self,
        spec: &BindingSpec,
        ground: &Ground,
        proof: &mut Draft,
    ) -> Result<bool, ApiError> {
        let selector = &spec.cluster_selector;
        let nowhere = !spec.all_clusters && spec.clusters.is_empty() && selector.is_empty();
        let cluster = match ground {
            Ground::Global => return Ok(nowhere && spec.project_uid.is_empty()),
            Ground::Everywhere => return Ok(spec.all_clusters),
            Ground::Selector(labels) => {
                return Ok(spec.all_clusters || selects_all(selector, labels));
            }
            Ground::Within { uid, .. } => return Ok(nowhere && spec.project_uid == *uid),
            Ground::Project { uid, .. } if nowhere => return Ok(spec.project_uid == *uid),
            Ground::Cluster(name) | Ground::Project { cluster: name, .. } => name,
        };
        if selector.is_empty() {
            return Ok(spec.all_clusters || spec.clusters.contains(cluster));
        }
        let Some((stored, key)) = self.cx.load::<Cluster>(cluster).await? else {
            return Ok(false);
        };
        proof.prove(&key);
        let labels = &stored.object.metadata.labels;
        let mut terms = selector.iter();
        Ok(terms.all(|(key, value)| labels.get(key) == Some(value)))
    }

    /// A binding as it counts: the folder's stands above the store's, and is what it is while this gateway has the
    /// folder.
    pub(super) async fn binding(
        &self,
        name: &str,
        proof: &mut Draft,
    ) -> Result<Option<BindingSpec>, ApiError> {
        if let Some(placed) = self.cx.api.authz.folder().bindings.get(name) {
            let counts = matches!(placed.standing, Standing::Counts(_));
            return Ok(counts.then(|| placed.binding.spec.clone()));
        }
        let Some((stored, key)) = self.cx.load::<Binding>(name).await? else {
            return Ok(None);
        };
        proof.prove(&key);
        Ok(Some(stored.object.spec))
    }
}

/// A role's scope and rules with those of all that it inherits (CVE-2023-32196), as they are stored. A role that is not
/// there has none.
pub(super) async fn flatten(
    cx: &Context<'_>,
    name: &str,
    proof: &mut Draft,
) -> Result<RoleSpec, ApiError> {
    let mut flat = RoleSpec::default();
    let mut seen = BTreeSet::new();
    let mut next = vec![name.to_owned()];
    while let Some(one) = next.pop() {
        if !seen.insert(one.clone()) {
            continue;
        }
        let Some(role) = roles::find(cx, &one, proof).await? else {
            continue;
        };
        if one == name {
            flat.scope = role.spec.scope;
        } else if role.spec.scope != flat.scope {
            // It adds nothing: see `authz::policy`.
            continue;
        }
        flat.rules.extend(role.spec.rules);
        next.extend(role.spec.inherits);
    }
    Ok(flat)
}

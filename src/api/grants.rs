//! What the policy and this replica know of a caller and a cluster, where the API needs more than the
//! permit says.

use super::{Api, Caller};
use crate::authz::{
    Attributes,
    policy::{Place, ScopeView, Who},
};
use crate::objects::{Binding, Cluster, GROUP, Health, Kind as _, Project};
use crate::status::clock;

impl Api {
    /// Whether the caller holds any role on a cluster.
    pub(super) fn holds_any(&self, caller: &Caller, cluster: &str) -> bool {
        self.authz
            .holds_any(&caller.user_uid, &caller.groups, cluster)
    }

    /// Whether the caller holds every verb on every kind here: as the built-in role `admin` has it, or its like.
    pub(super) fn holds_everything(&self, caller: &Caller) -> bool {
        // No request has this verb or resource: only a rule with both wildcards and no names matches.
        let everything = Attributes::of_resource("*", GROUP, "*");
        let policy = self.authz.policy();
        policy
            .decide(&who(caller), Place::Global, &everything, clock::now())
            .allowed()
    }

    /// Whether a role that the caller holds in the binding's project lets them do this with its bindings. For what is
    /// shown; writes prove it (`authority`).
    pub(super) fn manages(&self, caller: &Caller, binding: &Binding, verb: &str) -> bool {
        let attrs = Attributes {
            name: &binding.metadata.name,
            ..Attributes::of_resource(verb, GROUP, Binding::PLURAL)
        };
        let policy = self.authz.policy();
        let uid = &binding.spec.project_uid;
        !uid.is_empty() && policy.manages(&who(caller), uid, &attrs, clock::now())
    }

    /// The same of a binding by its name, as the policy in memory has it.
    pub(super) fn manages_named(&self, caller: &Caller, attrs: &Attributes<'_>) -> bool {
        let policy = self.authz.policy();
        let scope = policy.binding(attrs.name).map(|grant| grant.scope());
        matches!(scope, Some(ScopeView::Project(uid)) if policy.manages(&who(caller), uid, attrs, clock::now()))
    }

    /// Names of the bindings in projects that the caller is in, in order: all that they could manage are among them.
    pub(super) fn bindings_of_projects(&self, caller: &Caller) -> Vec<String> {
        let policy = self.authz.policy();
        let joined = policy.joined(&who(caller), clock::now());
        let there = policy.bindings().filter(
            |grant| matches!(grant.scope(), ScopeView::Project(uid) if joined.contains(uid)),
        );
        let mut names: Vec<String> = there.map(|grant| grant.name().to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// Names of the projects that the caller is in, or whose cluster they hold a role on, in order.
    pub(super) fn projects_of(&self, caller: &Caller) -> Vec<String> {
        let policy = self.authz.policy();
        let (who, now) = (who(caller), clock::now());
        let theirs = policy
            .projects()
            .filter(|project| policy.holds_any_in(&who, project.uid(), now));
        let mut names: Vec<String> = theirs.map(|project| project.name().to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// Whether the caller holds any role in a project, or on its cluster.
    pub(super) fn is_in(&self, caller: &Caller, project: &Project) -> bool {
        let uid = &project.metadata.uid;
        let policy = self.authz.policy();
        policy.holds_any_in(&who(caller), uid, clock::now())
    }

    /// The same of a project by its name, as the policy in memory has it.
    pub(super) fn is_in_named(&self, caller: &Caller, name: &str) -> bool {
        let policy = self.authz.policy();
        let uid = policy.project(name).map(|project| project.uid());
        uid.is_some_and(|uid| policy.holds_any_in(&who(caller), uid, clock::now()))
    }

    /// Fills what this replica knows of a cluster: its health, and whether it is in step with policy.
    pub(super) fn cluster_status(&self, cluster: &mut Cluster) {
        let status = &mut cluster.status;
        match self.clusters.registry().entry(&cluster.metadata.name) {
            Some(entry) => {
                let report = entry.report();
                status.health = report.health;
                status.version.clone_from(&report.version);
                status.message.clone_from(&report.message);
                status.sync = entry.standing().view().status;
            }
            None => status.health = Health::Unknown,
        }
    }
}

pub(super) fn who(caller: &Caller) -> Who<'_> {
    Who {
        user: &caller.user_uid,
        groups: &caller.groups,
        shared: None,
    }
}

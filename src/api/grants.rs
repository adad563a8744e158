//! What the policy and this replica know of a caller and a cluster, where the API needs more than the
//! permit says.

use super::{Api, Caller};
use crate::authz::{
    Attributes,
    policy::{Place, Who},
};
use crate::objects::{Cluster, GROUP, Health};
use crate::status::clock;

impl Api {
    /// Whether the caller holds any role on a cluster.
    pub(super) fn holds_any(&self, caller: &Caller, cluster: &str) -> bool {
        self.authz
            .holds_any(&caller.user_uid, &caller.groups, cluster)
    }

    /// Whether the caller holds the built-in role `admin`, or its like: every verb on every kind here. No
    /// narrower role is enough for what hands out power, because with any such write one can make oneself
    /// an admin.
    pub(super) fn is_admin(&self, caller: &Caller) -> bool {
        let who = Who {
            user: &caller.user_uid,
            groups: &caller.groups,
            shared: None,
        };
        // No request has this verb or resource: only a rule with both wildcards and no names matches.
        let everything = Attributes::of_resource("*", GROUP, "*");
        let policy = self.authz.policy();
        policy
            .decide(&who, Place::Global, &everything, clock::now())
            .allowed()
    }

    /// Fills what this replica knows of a cluster's health.
    pub(super) fn cluster_status(&self, cluster: &mut Cluster) {
        let status = &mut cluster.status;
        match self.clusters.registry().report(&cluster.metadata.name) {
            Some(report) => {
                status.health = report.health;
                status.version.clone_from(&report.version);
                status.message.clone_from(&report.message);
            }
            None => status.health = Health::Unknown,
        }
    }
}

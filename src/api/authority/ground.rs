//! Where something is given, and what holds there.

use crate::authz::policy::{GrantView, Place, Policy, ScopeView};
use crate::objects::rules::PolicyRule;
use crate::objects::{GROUP, RoleScope};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt;

/// Where something is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Ground {
    /// On the gateway's own API.
    Global,
    /// On every cluster, also those registered later.
    Everywhere,
    /// On the clusters that carry these labels, also later ones.
    Selector(BTreeMap<String, String>),
    /// On one cluster.
    Cluster(String),
    /// In one project. What is held on its cluster is held there too.
    Project {
        name: String,
        uid: String,
        cluster: String,
    },
    /// In one project, by roles of scope project alone.
    Within { name: String, uid: String },
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("on the gateway's own API"),
            Self::Everywhere => f.write_str("on every cluster"),
            Self::Selector(labels) => {
                let terms: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "on every cluster with {}", terms.join(","))
            }
            Self::Cluster(name) => write!(f, "on cluster {name:?}"),
            Self::Project { name, .. } | Self::Within { name, .. } => {
                write!(f, "in project {name:?}")
            }
        }
    }
}

/// Whether a holding that ends at `end` lasts as long as what is given.
pub(super) fn lasts(end: Option<Timestamp>, until: Option<Timestamp>, now: Timestamp) -> bool {
    match (end, until) {
        (None, _) => true,
        (Some(end), Some(until)) => end > now && end >= until,
        (Some(_), None) => false,
    }
}

/// Roles of which scope count on a ground.
pub(super) fn fits(scope: RoleScope, ground: &Ground) -> bool {
    match ground {
        Ground::Global => scope == RoleScope::Global,
        Ground::Everywhere | Ground::Selector(_) | Ground::Cluster(_) => {
            scope == RoleScope::Cluster
        }
        Ground::Project { .. } => scope != RoleScope::Global,
        Ground::Within { .. } => scope == RoleScope::Project,
    }
}

pub(super) fn on_clusters(ground: &Ground) -> bool {
    !matches!(ground, Ground::Global | Ground::Within { .. })
}

/// Whether the selector selects every cluster that the labels select.
pub(super) fn selects_all(
    selector: &BTreeMap<String, String>,
    labels: &BTreeMap<String, String>,
) -> bool {
    !selector.is_empty()
        && selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether a binding in memory holds on a ground, and its role counts there.
pub(super) fn reaches(policy: &Policy, grant: &GrantView<'_>, ground: &Ground) -> bool {
    let role = policy.role(grant.role());
    if !role.is_some_and(|role| fits(role.spec().scope, ground)) {
        return false;
    }
    let scope = grant.scope();
    match ground {
        Ground::Global => grant.reaches(Place::Global),
        Ground::Everywhere => scope == ScopeView::Everywhere,
        Ground::Selector(labels) => match scope {
            ScopeView::Everywhere => true,
            ScopeView::Selector(selector) => selects_all(selector, labels),
            ScopeView::Global
            | ScopeView::Clusters(_)
            | ScopeView::Project(_)
            | ScopeView::Contradictory => false,
        },
        Ground::Cluster(name) => grant.reaches(Place::Cluster(name)),
        Ground::Project { uid, .. } => grant.reaches(Place::Project(uid)),
        Ground::Within { uid, .. } => scope == ScopeView::Project(uid),
    }
}

/// A rule on the gateway's own API.
pub(super) fn own_rule(resource: &str, verb: &str, name: Option<&str>) -> PolicyRule {
    PolicyRule {
        verbs: vec![verb.to_owned()],
        api_groups: vec![GROUP.to_owned()],
        resources: vec![resource.to_owned()],
        resource_names: name.map(str::to_owned).into_iter().collect(),
        ..PolicyRule::default()
    }
}

/// Everything on a cluster.
pub(super) fn everything() -> Vec<PolicyRule> {
    let all = || vec!["*".to_owned()];
    vec![
        PolicyRule {
            verbs: all(),
            api_groups: all(),
            resources: all(),
            ..PolicyRule::default()
        },
        PolicyRule {
            verbs: all(),
            non_resource_urls: all(),
            ..PolicyRule::default()
        },
    ]
}

//! Grant groups: how a cluster sees a role that somebody holds, and what the gateway calls its objects there.
//!
//! The only place that spells these names. What could go wrong: a name that a provider, a group or a handle
//! could make as well. No handle has a colon, users carry the cluster's prefix in front of their handle, and
//! groups of providers never reach a cluster. A project counts by its uid: one that is made anew under the name
//! of a removed one is another (CVE-2025-22031).

use std::fmt::{self, Display};

/// What every name here begins with.
pub const PREFIX: &str = "palisade:";
/// What the grant groups of cluster roles begin with.
pub const CLUSTER: &str = "palisade:cluster:";
/// What the grant groups of project roles begin with, and the ClusterRoles that hold their rules.
pub const PROJECT: &str = "palisade:project:";
/// Longest grant group: a prefix, a uid, a colon and a role.
pub const LONGEST: usize = PROJECT.len() + 36 + 1 + 63;

/// A grant group. `Display` is its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrantGroup<'a> {
    /// Held on the whole cluster. Its ClusterRole and ClusterRoleBinding have the same name.
    Cluster {
        /// Name of the role.
        role: &'a str,
    },
    /// Held in the namespaces of a project. The RoleBinding in each of them has the name of the role's ClusterRole
    /// ([`project_cluster_role`]).
    Project {
        /// Uid of the project.
        uid: &'a str,
        /// Name of the role.
        role: &'a str,
    },
}

impl Display for GrantGroup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster { role } => write!(f, "{CLUSTER}{role}"),
            Self::Project { uid, role } => write!(f, "{PROJECT}{uid}:{role}"),
        }
    }
}

impl<'a> GrantGroup<'a> {
    /// Reads a name back; `None` if it is no grant group's.
    pub fn parse(name: &'a str) -> Option<Self> {
        let role_of = |role: &'a str| super::check_label(role).is_ok().then_some(role);
        if let Some(role) = name.strip_prefix(CLUSTER) {
            return role_of(role).map(|role| Self::Cluster { role });
        }
        let (uid, role) = name.strip_prefix(PROJECT)?.split_once(':')?;
        super::check_label(uid).ok()?;
        role_of(role).map(|role| Self::Project { uid, role })
    }
}

/// Name of the ClusterRole with the rules of a project role, and of the RoleBindings that refer to it. It names no
/// project, so that the rule of the account that writes them can list the few names that it may write in any
/// namespace. It has one part less than any grant group of a project, so the two are never taken for one another.
pub fn project_cluster_role(role: &str) -> String {
    format!("{PROJECT}{role}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let uid = "0190c2a4-7b1e-7000-8000-000000000000";
        for (group, name) in [
            (
                GrantGroup::Cluster { role: "viewer" },
                "palisade:cluster:viewer".to_owned(),
            ),
            (
                GrantGroup::Project { uid, role: "owner" },
                format!("palisade:project:{uid}:owner"),
            ),
        ] {
            assert_eq!(group.to_string(), name);
            assert_eq!(GrantGroup::parse(&name), Some(group));
            assert!(name.len() <= LONGEST && name.starts_with(PREFIX));
        }
        for other in [
            "",
            "palisade:",
            "palisade:jane",
            "palisade:cluster:",
            "palisade:cluster:a:b",
            "palisade:project:viewer",
            "palisade:project::viewer",
            "palisade:project:a:b:c",
            "palisade:impersonator",
            "system:masters",
        ] {
            assert_eq!(GrantGroup::parse(other), None, "{other}");
        }
        assert_eq!(GrantGroup::parse(&project_cluster_role("viewer")), None);
    }
}

//! The grant groups that a cluster takes, ready to be sent.
//!
//! A request that names a group which the cluster does not know is refused there as a whole, so only these
//! are sent. Whoever looks after the cluster replaces the set; requests read it without a lock.

use crate::objects::grant_group::{self, CLUSTER, GrantGroup};
use arc_swap::{ArcSwap, Guard};
use http::HeaderValue;
use std::{collections::HashMap, io::Write as _, sync::Arc};

/// The set of one cluster.
#[derive(Debug, Default)]
pub struct Groups {
    known: ArcSwap<Known>,
}

/// The set at one moment.
#[derive(Debug, Default)]
pub struct Known {
    /// By name.
    groups: HashMap<Box<str>, HeaderValue>,
    /// Those of cluster roles by the role's name.
    roles: HashMap<Box<str>, HeaderValue>,
    /// Somebody has looked; before that it is what was last written down.
    observed: bool,
}

impl Known {
    fn new(groups: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut known = Self::default();
        for group in groups {
            let group = group.as_ref();
            let Ok(value) = HeaderValue::try_from(group) else {
                continue;
            };
            if let Some(role) = group.strip_prefix(CLUSTER) {
                known.roles.insert(role.into(), value.clone());
            }
            known.groups.insert(group.into(), value);
        }
        known
    }

    /// A grant group, if it is known. Allocates nothing: every request asks.
    pub fn of(&self, group: GrantGroup<'_>) -> Option<&HeaderValue> {
        if let GrantGroup::Cluster { role } = group {
            return self.roles.get(role);
        }
        let mut name = [0; grant_group::LONGEST];
        let mut rest = name.as_mut_slice();
        // What does not fit is no grant group's name.
        write!(rest, "{group}").ok()?;
        let length = grant_group::LONGEST - rest.len();
        self.get(std::str::from_utf8(name.get(..length)?).ok()?)
    }

    /// The group of a cluster role.
    pub fn of_role(&self, role: &str) -> Option<&HeaderValue> {
        self.of(GrantGroup::Cluster { role })
    }

    /// The cluster roles whose groups are known.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(|role| &**role)
    }

    /// A group by its name.
    pub fn get(&self, group: &str) -> Option<&HeaderValue> {
        self.groups.get(group)
    }

    /// Whether a group that is not here is one that the cluster does not take: before anybody has looked, that
    /// is not known.
    pub fn is_observed(&self) -> bool {
        self.observed
    }
}

impl Groups {
    /// These, until somebody has looked.
    pub fn remembered(groups: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self {
            known: ArcSwap::from_pointee(Known::new(groups)),
        }
    }

    /// These, unless somebody has looked already.
    pub fn remember(&self, groups: impl IntoIterator<Item = impl AsRef<str>>) {
        let remembered = Arc::new(Known::new(groups));
        self.known
            .rcu(|known| Arc::clone(if known.observed { known } else { &remembered }));
    }

    /// Somebody has looked: exactly these.
    pub fn observe(&self, groups: impl IntoIterator<Item = impl AsRef<str>>) {
        let mut known = Known::new(groups);
        known.observed = true;
        self.known.store(Arc::new(known));
    }

    /// The set at this moment.
    pub fn known(&self) -> Guard<Arc<Known>> {
        self.known.load()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_counts_more_than_what_was_written_down() {
        let groups = Groups::remembered(["palisade:cluster:viewer"]);
        assert!(groups.known().of_role("viewer").is_some());
        groups.remember(["palisade:cluster:member"]);
        assert!(groups.known().of_role("viewer").is_none());
        assert!(!groups.known().is_observed());
        groups.observe(["palisade:cluster:owner", "palisade:project:u:viewer"]);
        groups.remember(["palisade:cluster:member"]);
        let known = groups.known();
        assert!(known.is_observed() && known.of_role("member").is_none());
        assert!(
            known.of_role("viewer").is_none(),
            "a project's is no cluster role's"
        );
        let value = known.get("palisade:project:u:viewer").unwrap();
        assert_eq!(value, "palisade:project:u:viewer");
        let (uid, role) = ("u", "viewer");
        let of_project = |uid| known.of(GrantGroup::Project { uid, role });
        assert_eq!(of_project(uid), Some(value));
        assert_eq!(of_project("v"), None);
        let long = "u".repeat(grant_group::LONGEST);
        assert_eq!(of_project(&long), None, "no name is so long");
    }

    #[test]
    fn a_name_that_is_no_header_is_left_out() {
        let groups = Groups::remembered(["palisade:cluster:a\n"]);
        assert!(groups.known().get("palisade:cluster:a\n").is_none());
    }
}

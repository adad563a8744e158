//! What policy wants of one cluster.

use super::content::{Bound, Content, Key, RoleRef, Who};
use crate::{
    clusters::{
        IMPERSONATOR, NAMESPACE, RECONCILER,
        manifest::{self, IMPERSONATOR_ROLE, RECONCILER_ROLE, Roles},
    },
    objects::{check_label, grant_group::project_cluster_role, rules::PolicyRule},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Namespaces that nothing is ever written to, whatever policy says: who holds a role there holds the
/// cluster, or the gateway's accounts.
pub(super) const PROTECTED: [&str; 4] =
    ["kube-system", "kube-public", "kube-node-lease", NAMESPACE];

/// Whether nothing is ever written to a namespace.
pub(super) fn is_protected(namespace: &str) -> bool {
    PROTECTED.contains(&namespace)
}

/// A project, as its cluster is told of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProjectRef {
    /// What its groups are named by.
    pub uid: Box<str>,
    /// For people to read.
    pub name: Box<str>,
}

/// Whether the accounts' own rules are looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accounts {
    /// As always.
    Kept,
    /// Somebody takes them away.
    Left,
}

/// Finds the project that holds a namespace.
pub(super) type Holder = Arc<dyn Fn(&str) -> Option<Arc<ProjectRef>> + Send + Sync>;

/// What policy wants of one cluster.
#[derive(Clone)]
pub struct Plan {
    /// The roles.
    pub roles: Arc<Roles>,
    /// The accounts and their rules: all but when a cluster is to hold nothing of ours.
    pub accounts: Accounts,
    /// All projects of the cluster, also those whose namespaces are not there.
    pub projects: Vec<Arc<ProjectRef>>,
    /// Which of them holds a namespace.
    pub holder: Holder,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("roles", &self.roles)
            .field("projects", &self.projects)
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// Without projects.
    pub fn of_roles(roles: Roles) -> Self {
        Self {
            roles: Arc::new(roles),
            accounts: Accounts::Kept,
            projects: Vec::new(),
            holder: Arc::new(|_| None),
        }
    }

    /// Nothing at all: everything that comes and goes with policy goes.
    pub fn nothing() -> Self {
        Self {
            accounts: Accounts::Left,
            ..Self::of_roles(Roles::default())
        }
    }

    /// The project that holds a namespace; none holds a protected one.
    pub fn project_of(&self, namespace: &str) -> Option<Arc<ProjectRef>> {
        // A name that bends a path is none that an API server gives.
        if is_protected(namespace) || check_label(namespace).is_err() {
            return None;
        }
        (self.holder)(namespace)
    }

    /// Every grant group of the cluster.
    pub fn groups(&self) -> impl Iterator<Item = String> {
        let of_projects = self.projects.iter().flat_map(|project| {
            let roles = self.roles.project.keys();
            roles.map(|role| manifest::project_group(&project.uid, role))
        });
        self.roles.groups().into_iter().chain(of_projects)
    }

    /// The wanted objects that are in no namespace, but for the reconciler's ClusterRole.
    pub fn objects(&self) -> BTreeMap<Key, Content> {
        let mut objects = BTreeMap::new();
        let mut add = |name: &str, rules: Vec<PolicyRule>, who: Option<Who>| {
            objects.insert(Key::Role(name.into()), role(rules));
            if let Some(who) = who {
                objects.insert(Key::ClusterBinding(name.into()), bound(name, who, None));
            }
        };
        for (role, rules) in &self.roles.cluster {
            let group = manifest::grant_group(role);
            add(&group, rules.clone(), Some(Who::group(&group)));
        }
        for (role, rules) in &self.roles.project {
            add(&project_cluster_role(role), rules.clone(), None);
        }
        if self.accounts == Accounts::Left {
            return objects;
        }
        let impersonator = || Some(Who::account(NAMESPACE, IMPERSONATOR));
        let rules = manifest::impersonator_rules(&self.roles.groups());
        add(IMPERSONATOR_ROLE, rules, impersonator());
        for (shard, groups) in self.shards() {
            if let Some(rule) = manifest::group_rule(&groups) {
                add(&shard, vec![rule], impersonator());
            }
        }
        let reconciler = Who::account(NAMESPACE, RECONCILER);
        let binding = bound(RECONCILER_ROLE, reconciler, None);
        objects.insert(Key::ClusterBinding(RECONCILER_ROLE.into()), binding);
        objects
    }

    /// The groups of projects by the ClusterRole that holds them.
    fn shards(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut shards: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for project in &self.projects {
            let shard = shards.entry(manifest::shard_of(&project.uid)).or_default();
            let roles = self.roles.project.keys();
            shard.extend(roles.map(|role| manifest::project_group(&project.uid, role)));
        }
        shards
    }
}

pub(super) fn role(rules: Vec<PolicyRule>) -> Content {
    Content::Role {
        rules,
        aggregated: false,
    }
}

pub(super) fn bound(role: &str, who: Who, project: Option<&str>) -> Content {
    Content::Binding(Bound {
        role: RoleRef::cluster(role),
        subjects: vec![who],
        project: project.map(Into::into),
    })
}

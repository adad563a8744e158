//! What policy wants of one cluster.

use super::content::{Bound, Content, Key, RoleRef, Who};
use crate::{
    authz::{Authz, policy::ProjectView},
    clusters::{
        IMPERSONATOR, NAMESPACE, RECONCILER,
        manifest::{self, IMPERSONATOR_ROLE, RECONCILER_ROLE, Roles},
    },
    objects::{
        grant_group::project_cluster_role,
        namespaces::{Pattern, can_be_held},
        rules::PolicyRule,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// A project, as its cluster is told of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProjectRef {
    /// What its groups are named by.
    pub uid: Box<str>,
    /// For people to read.
    pub name: Box<str>,
    /// What it claims; what it holds of that [`Plan::project_of`] says.
    pub namespaces: Box<[Pattern]>,
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
    /// What policy wants of the cluster of this name: its roles, and for every project every role of scope
    /// project, whether somebody holds it or not. So a new member, the first of a role too, touches no cluster;
    /// what it costs, a few bindings of nobody in each namespace, costs an API server nothing.
    pub fn of(authz: &Arc<Authz>, cluster: &str) -> Self {
        let policy = authz.policy();
        let projects: Vec<Arc<ProjectRef>> = policy.projects_on(cluster).map(project).collect();
        let by_uid: HashMap<Box<str>, Arc<ProjectRef>> = projects
            .iter()
            .map(|project| (project.uid.clone(), Arc::clone(project)))
            .collect();
        // The policy of the moment of asking: an old one that is held on to would keep a second copy of all
        // bindings in memory. A project that came since is not in this plan; another plan is on its way.
        let (authz, cluster) = (Arc::clone(authz), cluster.to_owned());
        let holder: Holder = Arc::new(move |namespace| {
            let policy = authz.policy();
            let project = policy.project_of(&cluster, namespace)?;
            by_uid.get(project.uid()).cloned()
        });
        Self {
            projects,
            holder,
            ..Self::of_roles(Roles::of(&policy))
        }
    }

    /// Whether both want the same: most changes of policy are another cluster's.
    pub fn is_same(&self, other: &Self) -> bool {
        self.accounts == other.accounts
            && self.projects == other.projects
            && self.roles == other.roles
    }

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
        // Whatever policy says: who holds a role in one of the cluster's own namespaces holds the cluster, or the
        // gateway's accounts. And a name that bends a path is none that an API server gives.
        if !can_be_held(namespace) {
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

fn project(view: ProjectView<'_>) -> Arc<ProjectRef> {
    Arc::new(ProjectRef {
        uid: view.uid().into(),
        name: view.name().into(),
        namespaces: view.namespaces().into(),
    })
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

//! What somebody holds: the roles on a cluster and in its projects, and the grants that a request carries.

use super::super::bits::Bits;
use super::grants::{self, PlaceKey};
use super::roles::Roles;
use super::{Policy, Spot, Who};
use crate::objects::{RoleScope, grant_group::GrantGroup};
use jiff::Timestamp;
use smallvec::SmallVec;
use std::sync::Arc;

/// The roles that somebody holds on a cluster, each once.
pub struct HeldRoles<'p> {
    roles: &'p Roles,
    held: Bits,
}

impl<'p> HeldRoles<'p> {
    pub(super) fn new(roles: &'p Roles, held: Bits) -> Self {
        Self { roles, held }
    }

    /// Their names, in no order that means anything.
    pub fn names(&self) -> impl Iterator<Item = &'p str> + '_ {
        self.held.iter().map(|role| self.roles.name(role))
    }

    /// The same, shared: nothing is copied.
    pub fn shared_names(&self) -> impl Iterator<Item = Arc<str>> + '_ {
        self.held
            .iter()
            .filter_map(|role| self.roles.shared_name(role))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

/// Which grants a request carries to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried<'a> {
    /// Those of the cluster, and those of the project that holds this namespace (empty: none).
    Namespace(&'a str),
    /// All that its user holds on the cluster: for reviews of one's own rights.
    All,
}

/// One grant that is held: a grant group in the making.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldGrant {
    /// Uid of the project; `None`: held on the whole cluster.
    pub project: Option<Arc<str>>,
    /// Name of the role.
    pub role: Arc<str>,
}

/// Grants of one request; more than eight are rare.
pub type Grants = SmallVec<[HeldGrant; 8]>;

impl HeldGrant {
    /// What the cluster sees of it.
    pub fn group(&self) -> GrantGroup<'_> {
        let role = &*self.role;
        match &self.project {
            None => GrantGroup::Cluster { role },
            Some(uid) => GrantGroup::Project { uid, role },
        }
    }
}

impl Policy {
    /// The grants that a request of `who` carries to a cluster, each once; no more than `most` and one, so that
    /// whoever has a bound sees that it is passed.
    pub fn grants(
        &self,
        who: &Who<'_>,
        cluster: &str,
        carried: Carried<'_>,
        now: Timestamp,
        most: usize,
    ) -> Grants {
        let mut found = Grants::new();
        let Some(cluster) = self.clusters.registered(cluster) else {
            return found;
        };
        let now = grants::instant(now);
        let most = most.saturating_add(1);
        for role in self.roles_at(who, PlaceKey::Cluster(cluster), now).iter() {
            self.push(None, role, &mut found);
        }
        let mut of_project = |project: u32| {
            for role in self.roles_in(who, project, now).iter() {
                self.push(Some(project), role, &mut found);
            }
            found.len() < most
        };
        match carried {
            Carried::Namespace("") => {}
            Carried::Namespace(namespace) => {
                if let Some(project) = self.projects.holding(cluster, namespace) {
                    of_project(project);
                }
            }
            Carried::All => {
                let projects = self.projects_of(who, cluster);
                let _all_fit = projects.iter().all(of_project);
            }
        }
        found.truncate(most);
        found
    }

    fn push(&self, project: Option<u32>, role: u32, found: &mut Grants) {
        let project = project.map(|project| self.projects.shared_uid(project));
        if let (Some(role), false) = (self.roles.shared_name(role), project == Some(None)) {
            found.push(HeldGrant {
                project: project.flatten(),
                role,
            });
        }
    }

    /// The projects of a cluster in which somebody has a binding, whether it still counts or not.
    pub(super) fn projects_of(&self, who: &Who<'_>, cluster: u32) -> Bits {
        let mut projects = Bits::default();
        if let Some(on) = self.projects.on(cluster) {
            for holdings in self.holdings_of(who).iter() {
                for (project, _) in holdings.in_projects(on) {
                    projects.insert(project);
                }
            }
        }
        projects
    }

    /// The cluster roles that `who` holds on a cluster, each once.
    pub fn cluster_roles(&self, who: &Who<'_>, cluster: &str, now: Timestamp) -> HeldRoles<'_> {
        let now = grants::instant(now);
        let at = self.clusters.registered(cluster).map(PlaceKey::Cluster);
        let held = at.map(|at| self.roles_at(who, at, now));
        HeldRoles::new(&self.roles, held.unwrap_or_default())
    }

    /// Whether `who` holds any role on the cluster, also if only in a project.
    pub fn holds_any(&self, who: &Who<'_>, cluster: &str, now: Timestamp) -> bool {
        let at = self.clusters.registered(cluster).map(PlaceKey::Cluster);
        at.is_some_and(|at| self.holds_any_at(who, at, grants::instant(now)))
    }

    /// The roles of the place's own scope that are held there.
    pub(super) fn roles_at(&self, who: &Who<'_>, at: PlaceKey, now: i64) -> Bits {
        let scope = Spot { at, project: None }.scope();
        let mut roles = Bits::default();
        for holdings in self.holdings_of(who).iter() {
            for held in holdings.at(at, &self.selectors) {
                for role in held
                    .live(now)
                    .filter(|&role| self.roles.counts(role, scope))
                {
                    roles.insert(role);
                }
            }
        }
        roles
    }

    /// The project roles that are held in a project.
    pub(super) fn roles_in(&self, who: &Who<'_>, project: u32, now: i64) -> Bits {
        let mut roles = Bits::default();
        for holdings in self.holdings_of(who).iter() {
            let held = holdings.in_project(project).into_iter();
            for role in held.flat_map(|held| held.live(now)) {
                if self.roles.counts(role, RoleScope::Project) {
                    roles.insert(role);
                }
            }
        }
        roles
    }

    pub(super) fn holds_any_at(&self, who: &Who<'_>, at: PlaceKey, now: i64) -> bool {
        let counts = |role, scope| self.roles.counts(role, scope);
        let projects = match at {
            PlaceKey::Cluster(cluster) => self.projects.on(cluster),
            PlaceKey::Global
            | PlaceKey::Everywhere
            | PlaceKey::Project(_)
            | PlaceKey::Selector(_) => None,
        };
        self.holdings_of(who).iter().any(|holdings| {
            let mut held = holdings.at(at, &self.selectors);
            let scope = Spot { at, project: None }.scope();
            held.any(|held| held.live(now).any(|role| counts(role, scope)))
                || projects.is_some_and(|projects| {
                    let mut held = holdings.in_projects(projects);
                    held.any(|(_, held)| {
                        held.live(now).any(|role| counts(role, RoleScope::Project))
                    })
                })
        })
    }
}

//! What somebody holds: the roles on a cluster and in its projects, and the grants that a request carries.

use super::super::bits::Bits;
use super::grants::{self, Holdings, PlaceKey};
use super::roles::Roles;
use super::together::HoldingsOf;
use super::{Attributes, Decision, Place, Policy, RoleId, Spot, Who};
use crate::objects::{
    Binding, GROUP, Kind as _, RoleScope, grant_group::GrantGroup, rules::PolicyRule,
};
use jiff::Timestamp;
use smallvec::SmallVec;
use std::collections::BTreeSet;
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

/// Projects of one person that a refusal looks at.
const MOST_LOOKED_AT: usize = 64;
/// Namespaces that it collects; it names a few of them.
const MOST_NAMED: usize = 1_000;

/// Which grants a request carries to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried<'a> {
    /// Those of the cluster, and those of the project that holds this namespace (empty: none).
    Namespace(&'a str),
    /// All that its user holds on the cluster: for reviews of one's own rights.
    All,
}

/// Reviews that answer for all namespaces at once.
const SELF_REVIEWS: [(&str, &str); 3] = [
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authentication.k8s.io", "selfsubjectreviews"),
];

impl<'a> Carried<'a> {
    /// Those that can matter for the answer to a request. A review of one's own rights is about all of them, whatever
    /// namespace its body names.
    pub fn of(attrs: &Attributes<'a>) -> Self {
        let asked = (attrs.api_group, attrs.resource);
        let is_review = attrs.is_resource && attrs.verb == "create" && attrs.subresource.is_empty();
        if is_review && SELF_REVIEWS.contains(&asked) {
            return Self::All;
        }
        Self::Namespace(attrs.namespace)
    }
}

/// One grant that is held: a grant group in the making.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldGrant {
    /// Uid of the project; `None`: held on the whole cluster.
    pub project: Option<Arc<str>>,
    /// Name of the role.
    pub role: Arc<str>,
}

/// Grants of one request; more than four are rare.
pub type Grants = SmallVec<[HeldGrant; 4]>;

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
        self.grants_for(&self.holdings_of(who), cluster, carried, now, most)
    }

    pub(super) fn grants_for(
        &self,
        all: &HoldingsOf<'_>,
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
        for role in self.roles_at(all, PlaceKey::Cluster(cluster), now).iter() {
            self.push(None, role, &mut found);
        }
        let mut of_project = |project: u32| {
            for role in self.roles_in(all, project, now).iter() {
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
                let projects = self.projects_of(all, cluster);
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

    /// The namespaces, by name and glob, of those projects of a cluster in which a role of `who` allows the request
    /// (without one: in which they hold any role). For a refusal to say where else to ask; of very many projects not
    /// all are looked at.
    pub fn namespaces_of(
        &self,
        who: &Who<'_>,
        cluster: &str,
        attrs: Option<&Attributes<'_>>,
        now: Timestamp,
    ) -> Vec<String> {
        let Some(cluster) = self.clusters.registered(cluster) else {
            return Vec::new();
        };
        let (all, now) = (&self.holdings_of(who), grants::instant(now));
        let allowing = attrs.map(|attrs| self.roles.table(RoleScope::Project).allowing(attrs));
        let fits = |role: u32| {
            allowing
                .as_ref()
                .is_none_or(|allowing| allowing.contains(role))
        };
        let mut found: Vec<String> = self
            .projects_of(all, cluster)
            .iter()
            .take(MOST_LOOKED_AT)
            .filter(|&project| self.roles_in(all, project, now).iter().any(fits))
            .filter_map(|project| self.projects.record(project))
            .flat_map(|project| project.namespaces.iter().map(ToString::to_string))
            .take(MOST_NAMED)
            .collect();
        found.sort_unstable();
        found
    }

    /// Whether a role that is held in some project allows this on the gateway's own API: a request about bindings, of
    /// which those of the project are open then ([`Attributes::is_about_bindings`]).
    pub fn decide_in_projects(
        &self,
        who: &Who<'_>,
        attrs: &Attributes<'_>,
        now: Timestamp,
    ) -> Decision {
        if !attrs.is_about_bindings() {
            return Decision::Deny;
        }
        let allowing = self.roles.table(RoleScope::Project).allowing(attrs);
        let now = grants::instant(now);
        let holdings = self.holdings_of(who);
        let mut held = holdings
            .iter()
            .flat_map(Holdings::projects)
            .filter(|(project, _)| self.projects.record(*project).is_some());
        match held.find_map(|(_, held)| held.first_in(&allowing, now)) {
            Some(role) => Decision::Allow(RoleId(role)),
            None => Decision::Deny,
        }
    }

    /// The projects in which `who` holds any role now, by uid; what is held on their clusters does not count.
    pub fn joined(&self, who: &Who<'_>, now: Timestamp) -> BTreeSet<&str> {
        let now = grants::instant(now);
        let mut found = BTreeSet::new();
        for holdings in self.holdings_of(who).iter() {
            let live = holdings
                .projects()
                .filter(|(project, _)| self.projects.record(*project).is_some())
                .filter(|(_, held)| held.live(now).next().is_some());
            found.extend(live.map(|(project, _)| self.projects.uid(project)));
        }
        found
    }

    /// What the roles that `who` holds in projects now say of bindings on the gateway's own API, where it counts for
    /// those of the project alone.
    pub fn rules_about_bindings(&self, who: &Who<'_>, now: Timestamp) -> Vec<PolicyRule> {
        let (all, at) = (&self.holdings_of(who), grants::instant(now));
        let mut roles = Bits::default();
        for uid in self.joined(who, now) {
            let held = self.projects.find(uid);
            let held = held.map(|project| self.roles_in(all, project, at));
            for role in held.iter().flat_map(Bits::iter) {
                roles.insert(role);
            }
        }
        let held = roles.iter().filter_map(|role| self.roles.record(role));
        held.flat_map(|role| self.roles.rules(role))
            .filter_map(|(.., rule)| about_bindings(rule))
            .collect()
    }

    /// Whether a role that is held in this very project allows it. What is held on its cluster does not count here: a
    /// role of scope cluster is for clusters alone.
    pub fn manages(
        &self,
        who: &Who<'_>,
        project: &str,
        attrs: &Attributes<'_>,
        now: Timestamp,
    ) -> bool {
        let Some(project) = self.projects.find(project) else {
            return false;
        };
        let allowing = self.roles.table(RoleScope::Project).allowing(attrs);
        self.projects.record(project).is_some()
            && self
                .roles_in(&self.holdings_of(who), project, grants::instant(now))
                .iter()
                .any(|role| allowing.contains(role))
    }

    /// Whether `who` holds any role in a project, or on its cluster.
    pub fn holds_any_in(&self, who: &Who<'_>, project: &str, now: Timestamp) -> bool {
        let Some(spot) = self.spot(Place::Project(project), "") else {
            return false;
        };
        let (all, now) = (&self.holdings_of(who), grants::instant(now));
        let in_project = spot.project.map(|project| self.roles_in(all, project, now));
        in_project.is_some_and(|roles| !roles.is_empty())
            || !self.roles_at(all, spot.at, now).is_empty()
    }

    /// The projects of a cluster in which somebody has a binding, whether it still counts or not.
    pub(super) fn projects_of(&self, all: &HoldingsOf<'_>, cluster: u32) -> Bits {
        let mut projects = Bits::default();
        if let Some(on) = self.projects.on(cluster) {
            for holdings in all.iter() {
                for (project, _) in holdings.in_projects(on) {
                    projects.insert(project);
                }
            }
        }
        projects
    }

    /// The cluster roles that `who` holds on a cluster, each once.
    pub fn cluster_roles(&self, who: &Who<'_>, cluster: &str, now: Timestamp) -> HeldRoles<'_> {
        let (all, now) = (&self.holdings_of(who), grants::instant(now));
        let at = self.clusters.registered(cluster).map(PlaceKey::Cluster);
        let held = at.map(|at| self.roles_at(all, at, now));
        HeldRoles::new(&self.roles, held.unwrap_or_default())
    }

    /// Whether `who` holds any role on the cluster, also if only in a project.
    pub fn holds_any(&self, who: &Who<'_>, cluster: &str, now: Timestamp) -> bool {
        let at = self.clusters.registered(cluster).map(PlaceKey::Cluster);
        let now = grants::instant(now);
        at.is_some_and(|at| self.holds_any_at(&self.holdings_of(who), at, now))
    }

    /// The roles of the place's own scope that are held there.
    pub(super) fn roles_at(&self, all: &HoldingsOf<'_>, at: PlaceKey, now: i64) -> Bits {
        let scope = Spot { at, project: None }.scope();
        let mut roles = Bits::default();
        for holdings in all.iter() {
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
    pub(super) fn roles_in(&self, all: &HoldingsOf<'_>, project: u32, now: i64) -> Bits {
        let mut roles = Bits::default();
        for holdings in all.iter() {
            let held = holdings.in_project(project).into_iter();
            for role in held.flat_map(|held| held.live(now)) {
                if self.roles.counts(role, RoleScope::Project) {
                    roles.insert(role);
                }
            }
        }
        roles
    }

    pub(super) fn holds_any_at(&self, all: &HoldingsOf<'_>, at: PlaceKey, now: i64) -> bool {
        let counts = |role, scope| self.roles.counts(role, scope);
        let projects = match at {
            PlaceKey::Cluster(cluster) => self.projects.on(cluster),
            PlaceKey::Global
            | PlaceKey::Everywhere
            | PlaceKey::Project(_)
            | PlaceKey::Selector(_) => None,
        };
        all.iter().any(|holdings| {
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

/// The part of a rule that is about bindings of the gateway's own API.
fn about_bindings(rule: &PolicyRule) -> Option<PolicyRule> {
    let names =
        |list: &[String], wanted: &str| list.iter().any(|entry| entry == wanted || entry == "*");
    let is_about = names(&rule.api_groups, GROUP) && names(&rule.resources, Binding::PLURAL);
    is_about.then(|| PolicyRule {
        api_groups: vec![GROUP.to_owned()],
        resources: vec![Binding::PLURAL.to_owned()],
        ..rule.clone()
    })
}

//! Random policies, changed at random, against the plain evaluator: after every change the compiled policy
//! says what walking over all bindings says.

use super::*;
use crate::authz::plain::{self, Request};
use crate::objects::{Project, ProjectSpec};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What the changes add up to.
#[derive(Default)]
struct World {
    roles: BTreeMap<String, RoleSpec>,
    bindings: BTreeMap<String, BindingSpec>,
    clusters: BTreeMap<String, BTreeMap<String, String>>,
    projects: BTreeMap<String, Project>,
}

#[derive(Clone, Debug)]
enum Step {
    Role(String, Option<RoleSpec>),
    Binding(String, Option<BindingSpec>),
    Cluster(String, Option<BTreeMap<String, String>>),
    Project(String, Option<Project>),
}

impl Step {
    fn change(&self) -> Change<'_> {
        match self {
            Self::Role(name, Some(spec)) => Change::PutRole(name, spec),
            Self::Role(name, None) => Change::RemoveRole(name),
            Self::Binding(name, Some(spec)) => Change::PutBinding(name, spec),
            Self::Binding(name, None) => Change::RemoveBinding(name),
            Self::Cluster(name, Some(labels)) => Change::PutCluster(name, labels),
            Self::Cluster(name, None) => Change::RemoveCluster(name),
            Self::Project(_, Some(project)) => Change::PutProject(project),
            Self::Project(name, None) => Change::RemoveProject(name),
        }
    }
}

fn put<V: Clone>(map: &mut BTreeMap<String, V>, name: &str, value: Option<&V>) {
    match value {
        Some(value) => drop(map.insert(name.to_owned(), value.clone())),
        None => drop(map.remove(name)),
    }
}

impl World {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Role(name, spec) => put(&mut self.roles, name, spec.as_ref()),
            Step::Binding(name, spec) => put(&mut self.bindings, name, spec.as_ref()),
            Step::Cluster(name, labels) => put(&mut self.clusters, name, labels.as_ref()),
            Step::Project(name, project) => put(&mut self.projects, name, project.as_ref()),
        }
    }

    /// All roles that a role inherits from, at any depth.
    fn reach(&self, name: &str) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        let mut next = vec![name.to_owned()];
        while let Some(name) = next.pop() {
            for parent in self.roles.get(&name).map_or(&[][..], |role| &role.inherits) {
                if !found.contains(parent) {
                    found.push(parent.clone());
                    next.push(parent.clone());
                }
            }
        }
        found
    }

    fn is_circular(&self, name: &str) -> bool {
        self.reach(name).contains(&name.to_owned())
    }

    fn role_allows(&self, name: &str, scope: RoleScope, attrs: &Attributes<'_>) -> bool {
        let Some(role) = self.roles.get(name) else {
            return false;
        };
        role.scope == scope
            && !self.is_circular(name)
            && (role
                .rules
                .iter()
                .any(|rule| plain::rule_allows(rule, attrs))
                || role
                    .inherits
                    .iter()
                    .any(|parent| self.role_allows(parent, scope, attrs)))
    }

    /// The roles of a scope in those bindings of somebody that `reaches` picks.
    fn held(
        &self,
        who: &Who<'_>,
        scope: RoleScope,
        now: Timestamp,
        reaches: impl Fn(&BindingSpec) -> bool,
    ) -> Vec<&str> {
        let mut held: Vec<&str> = self
            .bindings
            .values()
            .filter(|spec| spec.expires_at.is_none_or(|end| now < end))
            .filter(|spec| match spec.subject.kind {
                SubjectKind::User => spec.subject.uid == who.user,
                SubjectKind::Group => who.groups.iter().any(|group| **group == *spec.subject.uid),
            })
            .filter(|spec| reaches(spec))
            .map(|spec| spec.role.as_str())
            .filter(|role| {
                self.roles
                    .get(*role)
                    .is_some_and(|role| role.scope == scope)
                    && !self.is_circular(role)
            })
            .collect();
        held.sort_unstable();
        held.dedup();
        held
    }

    fn held_globally(&self, who: &Who<'_>, now: Timestamp) -> Vec<&str> {
        self.held(who, RoleScope::Global, now, |spec| ways(spec) == 0)
    }

    fn held_on(&self, who: &Who<'_>, cluster: &str, now: Timestamp) -> Vec<&str> {
        let Some(carried) = self.clusters.get(cluster) else {
            return Vec::new();
        };
        self.held(who, RoleScope::Cluster, now, |spec| {
            let mut selected = spec.cluster_selector.iter();
            ways(spec) == 1
                && (spec.all_clusters
                    || spec.clusters.iter().any(|name| name == cluster)
                    || (!spec.cluster_selector.is_empty()
                        && selected.all(|(k, v)| carried.get(k) == Some(v))))
        })
    }

    fn held_in(&self, who: &Who<'_>, project: &Project, now: Timestamp) -> Vec<&str> {
        if !self.clusters.contains_key(&project.spec.cluster) {
            return Vec::new();
        }
        self.held(who, RoleScope::Project, now, |spec| {
            let named = if spec.project_uid.is_empty() {
                &spec.project
            } else {
                &spec.project_uid
            };
            ways(spec) == 1 && in_project(spec) && named == id_of(project)
        })
    }

    fn holds_any(&self, who: &Who<'_>, cluster: &str, now: Timestamp) -> bool {
        let mut projects = self.projects.values();
        !self.held_on(who, cluster, now).is_empty()
            || projects.any(|project| {
                project.spec.cluster == cluster && !self.held_in(who, project, now).is_empty()
            })
    }

    /// The one project that holds a namespace of a cluster.
    fn holder(&self, cluster: &str, namespace: &str) -> Option<&Project> {
        let holds = |entry: &String| match entry.split_once('*') {
            None => entry == namespace,
            Some((start, end)) => {
                let rest = namespace.strip_prefix(start);
                rest.is_some_and(|rest| rest.ends_with(end))
            }
        };
        let mut holders = self.projects.values().filter(|project| {
            project.spec.cluster == cluster && project.spec.namespaces.iter().any(holds)
        });
        let one = holders.next()?;
        let no_project = namespace.is_empty() || namespace.starts_with("kube-");
        (holders.next().is_none() && !no_project).then_some(one)
    }

    fn allows(
        &self,
        who: &Who<'_>,
        place: Place<'_>,
        attrs: &Attributes<'_>,
        now: Timestamp,
    ) -> bool {
        let by =
            |held: Vec<&str>, scope| held.iter().any(|role| self.role_allows(role, scope, attrs));
        let (cluster, project) = match place {
            Place::Global => return by(self.held_globally(who, now), RoleScope::Global),
            Place::Cluster(name) => (name, self.holder(name, attrs.namespace)),
            Place::Project(uid) => {
                let mut projects = self.projects.values();
                let Some(project) = projects.find(|project| id_of(project) == uid) else {
                    return false;
                };
                (project.spec.cluster.as_str(), Some(project))
            }
        };
        by(self.held_on(who, cluster, now), RoleScope::Cluster)
            || project
                .is_some_and(|project| by(self.held_in(who, project, now), RoleScope::Project))
            || (self.holds_any(who, cluster, now)
                && self.role_allows(BASIC, RoleScope::Cluster, attrs))
    }
}

fn in_project(spec: &BindingSpec) -> bool {
    !(spec.project.is_empty() && spec.project_uid.is_empty())
}

/// In how many ways a binding says where it holds.
fn ways(spec: &BindingSpec) -> usize {
    usize::from(spec.all_clusters)
        + usize::from(!spec.clusters.is_empty())
        + usize::from(!spec.cluster_selector.is_empty())
        + usize::from(in_project(spec))
}

fn id_of(project: &Project) -> &String {
    if project.metadata.uid.is_empty() {
        &project.metadata.name
    } else {
        &project.metadata.uid
    }
}

const ROLES: [&str; 5] = ["r0", "r1", "r2", "r3", BASIC];
const ENDS: [&str; 3] = [
    "2025-12-31T23:59:59Z",
    "2026-01-01T00:00:00Z",
    "2026-01-01T00:00:01Z",
];

fn name_of(list: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(list).prop_map(str::to_owned)
}

fn some_labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(name_of(&["env", "tier"]), name_of(&["a", "b"]), 0..3)
}

fn role_step() -> impl Strategy<Value = Step> {
    let scope = prop_oneof![
        4 => Just(RoleScope::Cluster),
        1 => Just(RoleScope::Global),
        4 => Just(RoleScope::Project),
    ];
    let inherits = prop::collection::vec(name_of(&["r0", "r1", "r2", "r3", "r9"]), 0..3);
    let spec = (scope, inherits, prop::collection::vec(plain::rule(), 0..3)).prop_map(
        |(scope, inherits, rules)| RoleSpec {
            scope,
            inherits,
            rules,
            ..RoleSpec::default()
        },
    );
    (name_of(&ROLES), prop::option::weighted(0.85, spec))
        .prop_map(|(name, spec)| Step::Role(name, spec))
}

fn binding_step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(SubjectKind::User), Just(SubjectKind::Group)];
    let clusters = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec(name_of(&["c0", "c1", "c2"]), 1..3),
    ];
    let selector = prop_oneof![5 => Just(BTreeMap::new()), 1 => some_labels()];
    let project = prop_oneof![
        3 => Just(("", "")),
        3 => prop::sample::select(&[("p0", "u0"), ("p0", "u1"), ("p1", "u2"), ("p2", "")][..]),
    ];
    let end = prop::option::weighted(0.3, prop::sample::select(&ENDS[..]));
    let spec = (
        name_of(&ROLES),
        kind,
        name_of(&["jane", "bob", "devs"]),
        prop::bool::weighted(0.2),
        clusters,
        selector,
        project,
        end,
    )
        .prop_map(
            |(role, kind, id, all_clusters, clusters, cluster_selector, project, end)| {
                BindingSpec {
                    all_clusters,
                    clusters,
                    cluster_selector,
                    project: project.0.to_owned(),
                    project_uid: project.1.to_owned(),
                    expires_at: end.map(at),
                    ..bind(&role, kind, &id)
                }
            },
        );
    (0..12, prop::option::weighted(0.85, spec))
        .prop_map(|(n, spec)| Step::Binding(format!("b{n}"), spec))
}

fn cluster_step() -> impl Strategy<Value = Step> {
    (
        name_of(&["c0", "c1", "c2"]),
        prop::option::weighted(0.9, some_labels()),
    )
        .prop_map(|(name, labels)| Step::Cluster(name, labels))
}

/// A name that is given again comes with another uid; a folder's project has none.
fn project_step() -> impl Strategy<Value = Step> {
    let known = prop::sample::select(&[("p0", "u0"), ("p0", "u1"), ("p1", "u2"), ("p2", "")][..]);
    let entry = name_of(&[
        "n1",
        "n2",
        "n*",
        "*1",
        "default",
        "d*t",
        "*",
        "n*1",
        "kube-*",
        "kube-system",
        "de*",
    ]);
    let spec = (name_of(&["c0", "c1"]), prop::collection::vec(entry, 0..3));
    (known, prop::option::weighted(0.85, spec)).prop_map(|((name, uid), spec)| {
        let project = spec.map(|(cluster, namespaces)| {
            let spec = ProjectSpec {
                cluster,
                namespaces,
                ..ProjectSpec::default()
            };
            let mut project = Project::new(name, spec);
            uid.clone_into(&mut project.metadata.uid);
            project
        });
        Step::Project(name.to_owned(), project)
    })
}

fn batch() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => role_step(),
        6 => binding_step(),
        2 => cluster_step(),
        2 => project_step(),
    ];
    prop::collection::vec(step, 1..16)
}

/// What a request carries is what somebody holds, no more and no less.
fn compare_holdings(
    world: &World,
    policy: &Policy,
    who: &Who<'_>,
    cluster: &str,
) -> Result<(), TestCaseError> {
    let on_cluster = world.held_on(who, cluster, now());
    let names: Vec<String> = on_cluster.iter().map(|&role| role.to_owned()).collect();
    let mut held: Vec<&str> = policy.cluster_roles(who, cluster, now()).names().collect();
    held.sort_unstable();
    prop_assert_eq!(&held, &on_cluster);
    let any = policy.holds_any(who, cluster, now());
    prop_assert_eq!(any, world.holds_any(who, cluster, now()));

    let carried = |carried| {
        let mut groups: Vec<String> = policy
            .grants(who, cluster, carried, now(), 100)
            .iter()
            .map(|grant| grant.group().to_string())
            .collect();
        groups.sort();
        groups
    };
    let expected = |projects: Vec<&Project>| {
        let mut groups: Vec<String> = names
            .iter()
            .map(|role| format!("palisade:cluster:{role}"))
            .collect();
        for project in projects {
            let held = world.held_in(who, project, now());
            let uid = id_of(project);
            groups.extend(
                held.iter()
                    .map(|role| format!("palisade:project:{uid}:{role}")),
            );
        }
        groups.sort();
        groups
    };
    for namespace in ["", "n1", "n2", "default", "other", "kube-system"] {
        let known = world.clusters.contains_key(cluster);
        let project = world.holder(cluster, namespace).filter(|_| known);
        let found = policy
            .project_of(cluster, namespace)
            .map(|project| project.name());
        prop_assert_eq!(found, project.map(|project| project.metadata.name.as_str()));
        prop_assert_eq!(
            carried(Carried::Namespace(namespace)),
            expected(project.into_iter().collect())
        );
    }
    let mut projects: Vec<&Project> = world.projects.values().collect();
    projects.retain(|project| project.spec.cluster == cluster);
    prop_assert_eq!(carried(Carried::All), expected(projects));
    Ok(())
}

fn compare(world: &World, policy: &Policy, requests: &[Request]) -> Result<(), TestCaseError> {
    let groups = [Box::from("devs"), Box::from("jane")];
    for (user, groups) in [
        ("jane", &groups[..0]),
        ("bob", &groups[..1]),
        ("x", &groups[..]),
    ] {
        // The same person with so many groups that what they hold is put together, and kept.
        let idle = (0..20).map(|n| format!("idle{n}").into_boxed_str());
        let many: Arc<[Box<str>]> = groups.iter().cloned().chain(idle).collect();
        let of_many = Who {
            user,
            groups: &many,
            shared: Some(&many),
        };
        let who = Who {
            user,
            groups,
            shared: None,
        };
        for place in [
            Place::Global,
            Place::Cluster("c0"),
            Place::Cluster("c1"),
            Place::Cluster("c2"),
            Place::Project("u0"),
            Place::Project("u2"),
            Place::Project("p2"),
        ] {
            for request in requests {
                let attrs = request.attributes();
                let decision = policy.decide(&who, place, &attrs, now());
                let expected = world.allows(&who, place, &attrs, now());
                let together = policy.decide(&of_many, place, &attrs, now());
                prop_assert_eq!(together.allowed(), expected, "together");
                prop_assert_eq!(
                    decision.allowed(),
                    expected,
                    "{} {:?} {:?}",
                    user,
                    place,
                    attrs
                );
            }
            if let Place::Cluster(cluster) = place {
                compare_holdings(world, policy, &who, cluster)?;
                compare_holdings(world, policy, &of_many, cluster)?;
            }
        }
    }
    prop_assert_eq!(policy.len(), world.bindings.len());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn the_compiled_policy_says_what_all_bindings_say(
        batches in prop::collection::vec(batch(), 1..6),
        requests in prop::collection::vec(plain::request(), 24),
    ) {
        let mut world = World::default();
        let mut policy = Policy::default();
        let mut clones = Vec::new();
        for batch in &batches {
            for step in batch {
                world.step(step);
            }
            policy.apply(batch.iter().map(Step::change));
            compare(&world, &policy, &requests)?;
            clones.push(policy.clone());
        }
        // One step at a time comes to the same; and old clones still say what they said.
        let mut world = World::default();
        let mut policy = Policy::default();
        for (batch, clone) in batches.iter().zip(&clones) {
            for step in batch {
                world.step(step);
                policy.apply([step.change()]);
            }
            compare(&world, &policy, &requests)?;
            compare(&world, clone, &requests)?;
        }
    }
}

//! Random policies, changed at random, against the plain evaluator: after every change the compiled policy
//! says what walking over all bindings says.

use super::*;
use crate::authz::plain::{self, Request};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What the changes add up to.
#[derive(Default)]
struct World {
    roles: BTreeMap<String, RoleSpec>,
    bindings: BTreeMap<String, BindingSpec>,
    clusters: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Clone, Debug)]
enum Step {
    Role(String, Option<RoleSpec>),
    Binding(String, Option<BindingSpec>),
    Cluster(String, Option<BTreeMap<String, String>>),
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

    /// The roles held at a place, one per binding that counts there.
    fn held(&self, who: &Who<'_>, place: Place<'_>, now: Timestamp) -> Vec<&str> {
        let mut held: Vec<&str> = self
            .bindings
            .values()
            .filter(|spec| spec.expires_at.is_none_or(|end| now < end))
            .filter(|spec| match spec.subject.kind {
                SubjectKind::User => spec.subject.uid == who.user,
                SubjectKind::Group => who.groups.iter().any(|group| **group == *spec.subject.uid),
            })
            .filter(|spec| self.reaches(spec, place))
            .map(|spec| spec.role.as_str())
            .filter(|role| {
                let scope = match place {
                    Place::Global => RoleScope::Global,
                    Place::Cluster(_) => RoleScope::Cluster,
                };
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

    fn reaches(&self, spec: &BindingSpec, place: Place<'_>) -> bool {
        let ways = usize::from(spec.all_clusters)
            + usize::from(!spec.clusters.is_empty())
            + usize::from(!spec.cluster_selector.is_empty());
        match place {
            Place::Global => ways == 0,
            Place::Cluster(name) => {
                let Some(carried) = self.clusters.get(name) else {
                    return false;
                };
                ways == 1
                    && (spec.all_clusters
                        || spec.clusters.iter().any(|cluster| cluster == name)
                        || (!spec.cluster_selector.is_empty()
                            && spec
                                .cluster_selector
                                .iter()
                                .all(|(k, v)| carried.get(k) == Some(v))))
            }
        }
    }

    fn allows(
        &self,
        who: &Who<'_>,
        place: Place<'_>,
        attrs: &Attributes<'_>,
        now: Timestamp,
    ) -> bool {
        let held = self.held(who, place, now);
        let scope = match place {
            Place::Global => RoleScope::Global,
            Place::Cluster(_) => RoleScope::Cluster,
        };
        let basic = !held.is_empty() && place != Place::Global;
        held.iter().any(|role| self.role_allows(role, scope, attrs))
            || (basic && self.role_allows(BASIC, scope, attrs))
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
        2 => Just(RoleScope::Global),
        1 => Just(RoleScope::Project),
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
        2 => Just(Vec::new()),
        1 => prop::collection::vec(name_of(&["c0", "c1", "c2"]), 1..3),
    ];
    let selector = prop_oneof![3 => Just(BTreeMap::new()), 1 => some_labels()];
    let end = prop::option::weighted(0.3, prop::sample::select(&ENDS[..]));
    let spec = (
        name_of(&ROLES),
        kind,
        name_of(&["jane", "bob", "devs"]),
        prop::bool::weighted(0.3),
        clusters,
        selector,
        end,
    )
        .prop_map(
            |(role, kind, id, all_clusters, clusters, cluster_selector, end)| BindingSpec {
                all_clusters,
                clusters,
                cluster_selector,
                expires_at: end.map(at),
                ..bind(&role, kind, &id)
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

fn batch() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![3 => role_step(), 5 => binding_step(), 2 => cluster_step()];
    prop::collection::vec(step, 1..12)
}

fn compare(world: &World, policy: &Policy, requests: &[Request]) -> Result<(), TestCaseError> {
    let groups = [Box::from("devs"), Box::from("jane")];
    for (user, groups) in [
        ("jane", &groups[..0]),
        ("bob", &groups[..1]),
        ("x", &groups[..]),
    ] {
        let who = Who { user, groups };
        for place in [
            Place::Global,
            Place::Cluster("c0"),
            Place::Cluster("c1"),
            Place::Cluster("c2"),
        ] {
            for request in requests {
                let attrs = request.attributes();
                let decision = policy.decide(&who, place, &attrs, now());
                let expected = world.allows(&who, place, &attrs, now());
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
                let roles = policy.cluster_roles(&who, cluster, now());
                let mut names: Vec<&str> = roles.names().collect();
                names.sort_unstable();
                prop_assert_eq!(&names, &world.held(&who, place, now()));
                prop_assert_eq!(policy.holds_any(&who, cluster, now()), !names.is_empty());
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

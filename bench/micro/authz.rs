//! What authorising costs: reading a target, allowing, denying, and changing a policy of a million bindings.
//!
//! The cost of a decision must not grow with the number of bindings. Decisions go round robin over a
//! thousand users, so that the caches are as cold as they would be.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a benchmark fails loudly, and prints what criterion does not measure"
)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use palisade::authz::{Attributes, Change, Place, Policy, RequestInfo, Who};
use palisade::objects::rules::PolicyRule;
use palisade::objects::{BindingSpec, RoleScope, RoleSpec, Subject, SubjectKind};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

const SIZES: [usize; 3] = [10, 10_000, 1_000_000];
const BINDINGS_PER_USER: usize = 10;
const ROLES: usize = 40;
const CLUSTERS: usize = 2_000;
/// Users that decisions go round.
const ASKING: usize = 1_000;

type Labels = BTreeMap<String, String>;

fn own(list: &[&str]) -> Vec<String> {
    list.iter().map(|&entry| entry.to_owned()).collect()
}

/// Forty roles of thirty rules over the usual resources; role `n` has verbs and a resource of its own.
fn role(n: usize) -> RoleSpec {
    let verbs = own(&[
        "get", "list", "watch", "create", "update", "patch", "delete",
    ]);
    let groups = ["", "apps", "batch", "networking.k8s.io", "policy"];
    let resources = [
        "pods",
        "pods/log",
        "services",
        "deployments",
        "jobs",
        "ingresses",
    ];
    let mut rules: Vec<PolicyRule> = groups
        .iter()
        .flat_map(|group| resources.iter().map(move |resource| (group, resource)))
        .map(|(group, resource)| PolicyRule {
            verbs: verbs.iter().take(3 + n % 5).cloned().collect(),
            api_groups: own(&[group]),
            resources: own(&[resource]),
            ..PolicyRule::default()
        })
        .collect();
    rules.push(PolicyRule {
        verbs: own(&["*"]),
        api_groups: own(&["example.com"]),
        resources: vec![format!("things{n}")],
        ..PolicyRule::default()
    });
    RoleSpec {
        scope: RoleScope::Cluster,
        rules,
        ..RoleSpec::default()
    }
}

fn uid(user: usize) -> String {
    format!("0190c2a4-7b1e-7000-8000-{user:012}")
}

/// Of ten bindings of a user eight name a cluster, one selects clusters, one is for all.
fn binding(n: usize) -> (String, BindingSpec) {
    let user = n / BINDINGS_PER_USER;
    let mut spec = BindingSpec {
        role: format!("role{}", n % ROLES),
        subject: Subject {
            kind: SubjectKind::User,
            name: format!("user{user}"),
            uid: uid(user),
        },
        ..BindingSpec::default()
    };
    match n % BINDINGS_PER_USER {
        0 => spec.all_clusters = true,
        1 => {
            spec.cluster_selector
                .insert("env".to_owned(), format!("env{}", n % 7));
        }
        _ => spec.clusters = vec![format!("cluster{}", (n * 7) % CLUSTERS)],
    }
    (format!("user{user}-binding{n}"), spec)
}

fn policy(bindings: usize) -> Policy {
    let roles: Vec<(String, RoleSpec)> =
        (0..ROLES).map(|n| (format!("role{n}"), role(n))).collect();
    let clusters: Vec<(String, Labels)> = (0..CLUSTERS)
        .map(|n| {
            let labels = [("env".to_owned(), format!("env{}", n % 7))];
            (format!("cluster{n}"), labels.into())
        })
        .collect();
    let mut policy = Policy::of(roles.iter().map(|(name, spec)| Change::PutRole(name, spec)));
    policy.apply(
        clusters
            .iter()
            .map(|(name, labels)| Change::PutCluster(name, labels)),
    );
    let info = allocation_counter::measure(|| add_bindings(&mut policy, 0..bindings));
    let each = info.bytes_current / i64::try_from(bindings).unwrap();
    eprintln!("{bindings} bindings: {each} bytes each");
    policy
}

fn add_bindings(policy: &mut Policy, range: std::ops::Range<usize>) {
    // In parts, so that the specs themselves are never all in memory.
    let numbers: Vec<usize> = range.collect();
    for part in numbers.chunks(100_000) {
        let specs: Vec<(String, BindingSpec)> = part.iter().map(|&n| binding(n)).collect();
        policy.apply(
            specs
                .iter()
                .map(|(name, spec)| Change::PutBinding(name, spec)),
        );
    }
}

fn parsing(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    for (name, target) in [
        ("get", "/api/v1/namespaces/default/pods/web-7d4b9c-x2x9z"),
        (
            "list",
            "/apis/apps/v1/namespaces/default/deployments?limit=500",
        ),
        (
            "watch",
            "/api/v1/namespaces/default/pods?allowWatchBookmarks=true&fieldSelector=metadata.name%3Dweb&resourceVersion=12345&timeoutSeconds=391&watch=true",
        ),
        ("path", "/openapi/v3/apis/apps/v1"),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| RequestInfo::parse(black_box("GET"), black_box(target), false).unwrap());
        });
    }
    group.finish();
}

fn deciding(c: &mut Criterion) {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut group = c.benchmark_group("decide");
    for size in SIZES {
        let policy = policy(size);
        let users = size.div_ceil(BINDINGS_PER_USER);
        let uids: Vec<String> = (0..ASKING).map(|n| uid(n * users / ASKING)).collect();
        let groups: Vec<Box<str>> = (0..5).map(|n| format!("group{n}").into()).collect();
        let place = Place::Cluster("cluster7");
        for (name, attrs, expected) in [
            ("allow", Attributes::of_resource("get", "", "pods"), true),
            (
                "deny",
                Attributes::of_resource("escalate", "", "pods"),
                false,
            ),
        ] {
            let mut next = 0;
            let mut decide = || {
                next = (next + 1) % ASKING;
                let who = Who {
                    user: uids.get(next).map_or("", String::as_str),
                    groups: &groups,
                    shared: None,
                };
                policy.decide(black_box(&who), place, black_box(&attrs), now)
            };
            let allocations = allocation_counter::measure(|| {
                for _ in 0..ASKING {
                    assert_eq!(decide().allowed(), expected);
                }
            });
            assert_eq!(allocations.count_total, 0, "a decision allocates nothing");
            group.bench_function(BenchmarkId::new(name, size), |b| b.iter(&mut decide));
        }
    }
    group.finish();
}

/// One user with ten bindings, and one with four thousand.
fn one_user(c: &mut Criterion) {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut group = c.benchmark_group("user");
    for bindings in [10, 4_000] {
        let mut policy = policy(10_000);
        let specs: Vec<(String, BindingSpec)> = (0..bindings)
            .map(|n| {
                let (name, mut spec) = binding(n);
                "somebody".clone_into(&mut spec.subject.uid);
                (format!("of-{name}"), spec)
            })
            .collect();
        policy.apply(
            specs
                .iter()
                .map(|(name, spec)| Change::PutBinding(name, spec)),
        );
        let who = Who {
            user: "somebody",
            groups: &[],
            shared: None,
        };
        for (name, attrs) in [
            ("allow", Attributes::of_resource("get", "", "pods")),
            ("deny", Attributes::of_resource("escalate", "", "pods")),
            (
                "other",
                Attributes::of_resource("get", "example.com", "things39"),
            ),
        ] {
            group.bench_function(BenchmarkId::new(name, bindings), |b| {
                b.iter(|| policy.decide(black_box(&who), Place::Cluster("cluster7"), &attrs, now));
            });
        }
    }
    group.finish();
}

/// What a replica does on an event: clone the snapshot in force, change the clone, put it in its place.
fn changing(c: &mut Criterion) {
    let mut group = c.benchmark_group("change");
    let mut current = policy(1_000_000);
    let mut turn = 0_usize;
    group.bench_function("binding/1000000", |b| {
        b.iter(|| {
            turn += 1;
            let (name, mut spec) = binding(turn * 7919 % 1_000_000);
            spec.role = format!("role{}", turn % ROLES);
            let mut next = current.clone();
            next.apply([Change::PutBinding(&name, &spec)]);
            current = next;
        });
    });
    group.bench_function("role/1000000", |b| {
        b.iter(|| {
            turn += 1;
            let spec = role(turn % ROLES);
            let mut next = current.clone();
            next.apply([Change::PutRole("role7", &spec)]);
            current = next;
        });
    });
    group.bench_function("cluster/1000000", |b| {
        b.iter(|| {
            turn += 1;
            let labels = [("env".to_owned(), format!("env{}", turn % 7))].into();
            let mut next = current.clone();
            next.apply([Change::PutCluster("cluster7", &labels)]);
            current = next;
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30);
    targets = parsing, deciding, one_user, changing
}
criterion_main!(benches);

//! Any cluster and any policy: the differences, once done, make them one.

use super::*;
use proptest::prelude::*;

/// Objects of all sorts: ours, nearly ours, somebody else's.
fn any_object() -> impl Strategy<Value = (Key, Seen)> {
    let name = prop::sample::select(vec![
        "palisade:cluster:a",
        "palisade:cluster:b",
        "palisade:project:a",
        "palisade:project:b",
        "palisade:impersonator",
        "palisade:impersonator:3",
        "palisade:reconciler",
        "palisade:x",
        "admin",
    ]);
    let namespace = prop::sample::select(vec!["shop-a", "bank-a", "kube-system", "none"]);
    let subject = prop::sample::select(vec![
        "palisade:cluster:a",
        "palisade:project:uid-shop:a",
        "system:masters",
    ]);
    let verb = prop::sample::select(vec!["get", "list", "*"]);
    let content = prop_oneof![
        (verb, any::<bool>()).prop_map(|(verb, aggregated)| Content::Role {
            rules: rules(&[verb]),
            aggregated,
        }),
        Just(Content::Unreadable),
    ];
    let bound = (name.clone(), prop::collection::vec(subject, 0..3))
        .prop_map(|(role, subjects)| binding(role, subjects.into_iter().map(group).collect()));
    (name, namespace, content, bound, any::<bool>(), 0..3).prop_map(
        |(name, namespace, content, bound, labelled, sort)| match sort {
            0 => (Key::Role(name.into()), seen(content, true)),
            1 => (Key::ClusterBinding(name.into()), seen(bound, labelled)),
            _ => (
                Key::Binding(namespace.into(), name.into()),
                seen(bound, labelled),
            ),
        },
    )
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let role = || {
        let name = prop::sample::select(vec!["a", "b", "c"]);
        let verb = prop::sample::select(vec!["get", "list", "*"]);
        prop::collection::vec((name, verb), 0..3)
    };
    let project = prop::sample::subsequence(vec!["shop", "bank"], 0..=2);
    (role(), role(), project)
        .prop_map(|(cluster, project, projects)| plan(roles(&cluster, &project), &projects))
}

/// Whether nobody but us could have made it.
fn is_foreign(key: &Key, seen: &Seen) -> bool {
    let kept = [IMPERSONATOR_ROLE, RECONCILER_ROLE].contains(&key.name());
    let protected = key
        .namespace()
        .is_some_and(|it| it == "kube-system" || it == "none");
    let named = key.is_ours() || (kept && key.namespace().is_none());
    protected || !named || (!seen.labelled && !names_grant_group(seen) && !kept)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Doing the differences between any cluster and any policy makes them one, touches nothing of others,
    /// and leaves nothing to do; the same from there to any other policy.
    #[test]
    fn doing_the_differences_brings_a_cluster_in_step(
        objects in prop::collection::vec(any_object(), 0..20),
        first in any_plan(),
        second in any_plan(),
    ) {
        let namespaces = [
            ("shop-a", Life::Old), ("bank-a", Life::New), ("kube-system", Life::Old),
        ];
        let mut cluster = Cluster::of(objects);
        let foreign: Vec<(Key, Seen)> = cluster
            .objects
            .iter()
            .map(|(key, seen)| (key.clone(), seen.clone()))
            .collect();
        let mut book = book(first, &cluster, &namespaces);
        let mut taken_over: BTreeSet<Key> = BTreeSet::new();
        for plan in [None, Some(second)] {
            if let Some(plan) = plan {
                book.replan(plan);
            }
            // Whatever stands under a wanted name is ours from then on.
            taken_over.extend(book.keys().into_iter().filter(|key| book.is_wanted(key)));
            bring_in_step(&mut book, &mut cluster);
            for key in book.keys() {
                let seen = cluster.objects.get(&key);
                match book.wanted(&key) {
                    Some(content) => prop_assert!(seen.is_some_and(|it| it.is(&content)), "{}", key),
                    None => prop_assert!(seen.is_none_or(|it| is_foreign(&key, it)), "{}", key),
                }
            }
            for (key, before) in &foreign {
                if is_foreign(key, before) && !taken_over.contains(key) {
                    prop_assert_eq!(cluster.objects.get(key), Some(before), "{}", key);
                }
            }
        }
    }
}

use super::{
    super::{
        content::{Bound, RoleRef, Who, Wire},
        plan::role,
    },
    wanted::NAMES_TO_REMOVE,
    *,
};
use crate::{
    clusters::manifest::{self, Roles},
    objects::{namespaces::RESERVED, rules::PolicyRule},
};

mod answers;
mod any;
mod restored;

fn rules(verbs: &[&str]) -> Vec<PolicyRule> {
    vec![PolicyRule {
        verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
        api_groups: vec![String::new()],
        resources: vec!["pods".to_owned()],
        ..PolicyRule::default()
    }]
}

fn roles(cluster: &[(&str, &str)], project: &[(&str, &str)]) -> Roles {
    let of = |list: &[(&str, &str)]| {
        let role = |(name, verb): &(&str, &str)| ((*name).to_owned(), rules(&[verb]));
        list.iter().map(role).collect()
    };
    Roles {
        cluster: of(cluster),
        project: of(project),
    }
}

/// A plan in which the namespace `<project>-…` is the project's.
fn plan(roles: Roles, projects: &[&str]) -> Plan {
    let project = |name: &&str| {
        Arc::new(ProjectRef {
            uid: format!("uid-{name}").into(),
            name: (*name).into(),
            namespaces: Box::default(),
        })
    };
    let projects: Vec<Arc<ProjectRef>> = projects.iter().map(project).collect();
    let known = projects.clone();
    Plan {
        projects,
        holder: Arc::new(move |namespace| {
            let (name, _) = namespace.split_once('-')?;
            known.iter().find(|it| *it.name == *name).cloned()
        }),
        ..Plan::of_roles(roles)
    }
}

fn group(name: &str) -> Who {
    Who::group(name)
}

fn binding(role: &str, subjects: Vec<Who>) -> Content {
    Content::Binding(Bound {
        role: RoleRef::cluster(role),
        subjects,
        project: None,
    })
}

fn seen(content: Content, labelled: bool) -> Seen {
    Seen {
        content,
        labelled,
        terminating: false,
        uid: "uid".into(),
        version: Version("1".into()),
    }
}

/// A cluster without an API server: what is done to it, it is.
struct Cluster {
    objects: BTreeMap<Key, Seen>,
    version: u64,
}

impl Cluster {
    fn of(objects: impl IntoIterator<Item = (Key, Seen)>) -> Self {
        Self {
            objects: objects.into_iter().collect(),
            version: 100,
        }
    }

    /// The way of an object to the cluster and back, as JSON.
    fn take(&mut self, key: &Key, action: &Action) {
        self.version += 1;
        match action {
            Action::Apply(content) | Action::Overwrite(content) => {
                let known = self.objects.get(key);
                if let Some(Seen {
                    content: Content::Binding(old),
                    ..
                }) = known
                    && let Content::Binding(new) = content
                {
                    assert_eq!(old.role, new.role, "{key}: no update changes a roleRef");
                }
                let wire: Wire = serde_json::from_value(key.body(content)).unwrap();
                let (read, mut seen) = match key {
                    Key::Role(_) => wire.role(),
                    Key::ClusterBinding(_) | Key::Binding(..) => wire.binding(),
                };
                assert_eq!(read, *key);
                seen.uid = known.map_or("new".into(), |known| known.uid.clone());
                seen.version = Version(self.version.to_string().into());
                self.objects.insert(key.clone(), seen);
            }
            Action::Remove(uid, version) => {
                let gone = self.objects.remove(key).expect("it is there");
                assert_eq!((&gone.uid, &gone.version), (uid, version), "{key}");
            }
        }
    }
}

/// Reads the whole cluster.
fn book(plan: Plan, cluster: &Cluster, namespaces: &[(&str, Life)]) -> Book {
    let mut book = Book::new(plan);
    for (name, life) in namespaces {
        book.put_namespace(name, *life);
    }
    for (key, seen) in &cluster.objects {
        book.see(key, seen.clone());
    }
    book
}

/// What is to be done, in the order in which it is done.
fn differences(book: &Book) -> Vec<(Phase, Key, Action)> {
    let mut all: Vec<(Phase, Key, Action)> = book
        .keys()
        .into_iter()
        .filter_map(|key| {
            let action = book.difference(&key)?;
            Some((book.phase(&key, &action), key, action))
        })
        .collect();
    all.sort_by_key(|(phase, ..)| *phase);
    all
}

/// Does all of it, until nothing is to be done.
fn bring_in_step(book: &mut Book, cluster: &mut Cluster) -> Vec<Key> {
    let mut done = Vec::new();
    for _ in 0..50 {
        let Some((_, key, action)) = differences(book).into_iter().next() else {
            return done;
        };
        cluster.take(&key, &action);
        match cluster.objects.get(&key) {
            Some(seen) => assert!(book.see(&key, seen.clone()), "{key}"),
            None => assert!(book.lose(&key), "{key}"),
        }
        done.push(key);
    }
    panic!("it comes to no end: {:?}", differences(book));
}

fn names(keys: &[Key]) -> Vec<String> {
    keys.iter().map(Key::to_string).collect()
}

#[test]
fn an_empty_cluster_gets_everything_in_the_order_in_which_it_can_be_written() {
    let plan = plan(roles(&[("viewer", "get")], &[("owner", "*")]), &["shop"]);
    let mut cluster = Cluster::of([]);
    let namespaces = [
        ("shop-a", Life::Old),
        ("shop-b", Life::New),
        ("other", Life::Old),
    ];
    let mut book = book(plan, &cluster, &namespaces);
    let done = names(&bring_in_step(&mut book, &mut cluster));
    let shard = manifest::shard_of("uid-shop");
    assert_eq!(
        done,
        [
            "ClusterRole palisade:reconciler".to_owned(),
            "ClusterRole palisade:cluster:viewer".to_owned(),
            "ClusterRole palisade:project:owner".to_owned(),
            "ClusterRoleBinding palisade:cluster:viewer".to_owned(),
            "ClusterRoleBinding palisade:reconciler".to_owned(),
            "ClusterRole palisade:impersonator".to_owned(),
            format!("ClusterRole {shard}"),
            "ClusterRoleBinding palisade:impersonator".to_owned(),
            format!("ClusterRoleBinding {shard}"),
            "RoleBinding shop-b/palisade:project:owner".to_owned(),
            "RoleBinding shop-a/palisade:project:owner".to_owned(),
        ]
    );
    assert_eq!(
        book.groups().into_iter().collect::<Vec<_>>(),
        ["palisade:cluster:viewer", "palisade:project:uid-shop:owner"]
    );
}

// CVE-2026-44947: what is taken out of a role, and a role that is taken away, go from the cluster too.
#[test]
fn a_role_that_shrinks_shrinks_and_one_that_goes_takes_its_bindings_along_first() {
    let full = roles(&[("viewer", "get"), ("runner", "*")], &[("owner", "*")]);
    let mut cluster = Cluster::of([]);
    let namespaces = [("shop-a", Life::Old)];
    let mut book = book(plan(full, &["shop"]), &cluster, &namespaces);
    bring_in_step(&mut book, &mut cluster);
    book.replan(plan(roles(&[("viewer", "list")], &[]), &["shop"]));
    let done = names(&bring_in_step(&mut book, &mut cluster));
    let shard = manifest::shard_of("uid-shop");
    assert_eq!(
        done,
        [
            "ClusterRole palisade:cluster:viewer".to_owned(),
            "ClusterRole palisade:impersonator".to_owned(),
            format!("ClusterRoleBinding {shard}"),
            "ClusterRoleBinding palisade:cluster:runner".to_owned(),
            "RoleBinding shop-a/palisade:project:owner".to_owned(),
            "ClusterRole palisade:cluster:runner".to_owned(),
            format!("ClusterRole {shard}"),
            "ClusterRole palisade:project:owner".to_owned(),
            "ClusterRole palisade:reconciler".to_owned(),
        ]
    );
    let viewer = &cluster.objects[&Key::Role("palisade:cluster:viewer".into())];
    let Content::Role { rules: left, .. } = &viewer.content else {
        panic!("a role")
    };
    assert_eq!(*left, rules(&["list"]));
    let own = Key::Role(RECONCILER_ROLE.into());
    let text = format!("{:?}", cluster.objects[&own]);
    assert!(
        !text.contains("runner"),
        "it may not write it any more: {text}"
    );
}

// A policy that drops a namespace and takes it back at once makes the same plan again; who looked between the two must
// not stay with what was true then.
#[test]
fn a_namespace_that_was_looked_up_between_two_same_plans_is_noticed() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let held = Arc::new(AtomicBool::new(true));
    let (now, before) = (Arc::clone(&held), plan(Roles::default(), &["shop"]));
    let holder = Arc::clone(&before.holder);
    let live = Plan {
        holder: Arc::new(move |namespace| {
            let holds = now.load(Ordering::SeqCst);
            holds.then(|| holder(namespace)).flatten()
        }),
        ..before
    };
    let mut book = book(live, &Cluster::of([]), &[("shop-a", Life::Old)]);
    assert!(!book.has_moved());
    held.store(false, Ordering::SeqCst);
    book.put_namespace("shop-a", Life::Old);
    held.store(true, Ordering::SeqCst);
    assert!(book.has_moved());
}

#[test]
fn a_namespace_that_changes_hands_is_never_without_and_never_in_both() {
    let all = roles(&[], &[("owner", "*")]);
    let mut cluster = Cluster::of([]);
    let mut book = book(
        plan(all.clone(), &["shop"]),
        &cluster,
        &[("shop-a", Life::Old)],
    );
    bring_in_step(&mut book, &mut cluster);
    let taken = Plan {
        holder: Arc::new(|_| {
            Some(Arc::new(ProjectRef {
                uid: "uid-bank".into(),
                name: "bank".into(),
                namespaces: Box::default(),
            }))
        }),
        ..plan(all, &["shop", "bank"])
    };
    book.replan(taken);
    let done = bring_in_step(&mut book, &mut cluster);
    let key = Key::Binding("shop-a".into(), "palisade:project:owner".into());
    assert_eq!(done.iter().filter(|it| **it == key).count(), 1, "one write");
    let Content::Binding(bound) = &cluster.objects[&key].content else {
        panic!("a binding")
    };
    assert_eq!(bound.subjects, [group("palisade:project:uid-bank:owner")]);
    assert_eq!(bound.project.as_deref(), Some("bank"));
}

#[test]
fn protected_ending_and_unknown_namespaces_are_never_written_to() {
    let all = roles(&[], &[("owner", "*")]);
    let everything = Plan {
        holder: Arc::new(|_| {
            Some(Arc::new(ProjectRef {
                uid: "u".into(),
                name: "all".into(),
                namespaces: Box::default(),
            }))
        }),
        ..plan(all, &[])
    };
    let stray = |namespace: &str| {
        let key = Key::Binding(namespace.into(), "palisade:project:owner".into());
        let content = binding(
            "palisade:project:owner",
            vec![group("palisade:project:x:owner")],
        );
        (key, seen(content, true))
    };
    let mut cluster = Cluster::of(RESERVED.into_iter().map(stray));
    cluster.objects.extend([stray("ending"), stray("unknown")]);
    let mut namespaces: Vec<(&str, Life)> = RESERVED.map(|name| (name, Life::New)).into();
    namespaces.extend([
        ("ending", Life::Ending),
        ("bad/../name", Life::New),
        ("good", Life::New),
    ]);
    let mut book = book(everything, &cluster, &namespaces);
    let done = bring_in_step(&mut book, &mut cluster);
    let there: Vec<&str> = done.iter().filter_map(Key::namespace).collect();
    assert_eq!(there, ["good"]);
    // But nobody has to find out by themselves.
    assert_eq!(book.foreign().len(), RESERVED.len() + 2);
}

#[test]
fn bindings_of_others_to_our_groups_are_told_and_left_alone_and_those_under_our_names_go() {
    let ours = || vec![group("palisade:cluster:viewer")];
    let table = [
        // A name of ours with a group of ours, whoever made it.
        (
            Key::ClusterBinding("palisade:cluster:extra".into()),
            binding("admin", ours()),
            false,
            "go",
        ),
        (
            Key::Binding("a".into(), "palisade:project:extra".into()),
            binding("admin", ours()),
            false,
            "go",
        ),
        // Left by an older version of policy.
        (
            Key::ClusterBinding("palisade:cluster:old".into()),
            binding("x", vec![group("y")]),
            true,
            "go",
        ),
        // Somebody else's, under a name of their own.
        (
            Key::ClusterBinding("mine".into()),
            binding("admin", ours()),
            false,
            "told",
        ),
        (
            Key::Binding("a".into(), "mine".into()),
            binding("admin", ours()),
            false,
            "told",
        ),
        (
            Key::ClusterBinding("palisade:mine".into()),
            binding("admin", ours()),
            true,
            "told",
        ),
        // Nothing to do with us.
        (
            Key::ClusterBinding("palisade:cluster:theirs".into()),
            binding("x", vec![group("y")]),
            false,
            "stay",
        ),
        (
            Key::ClusterBinding("other".into()),
            binding("x", vec![Who::account("n", "palisade:x")]),
            false,
            "stay",
        ),
    ];
    let objects = table
        .clone()
        .map(|(key, content, labelled, _)| (key, seen(content, labelled)));
    let mut cluster = Cluster::of(objects);
    let mut book = book(plan(roles(&[], &[]), &[]), &cluster, &[("a", Life::Old)]);
    let told: Vec<Key> = book.foreign().iter().cloned().collect();
    bring_in_step(&mut book, &mut cluster);
    for (key, _, _, fate) in table {
        assert_eq!(cluster.objects.contains_key(&key), fate != "go", "{key}");
        assert_eq!(told.contains(&key), fate == "told", "{key}");
    }
}

#[test]
fn drift_of_every_sort_is_put_back() {
    let plan = plan(roles(&[("viewer", "get")], &[]), &[]);
    let mut cluster = Cluster::of([]);
    let mut book = book(plan, &cluster, &[]);
    bring_in_step(&mut book, &mut cluster);
    let right = cluster.objects.clone();
    let role = Key::Role("palisade:cluster:viewer".into());
    let bound = Key::ClusterBinding("palisade:cluster:viewer".into());
    let wrong = |change: fn(&mut Seen), key: &Key| {
        let mut seen = right[key].clone();
        change(&mut seen);
        (key.clone(), Some(seen))
    };
    let table = [
        (role.clone(), None),
        (bound.clone(), None),
        wrong(|seen| seen.labelled = false, &role),
        wrong(|seen| seen.content = Content::Unreadable, &role),
        wrong(
            |seen| {
                seen.content = Content::Role {
                    rules: rules(&["*"]),
                    aggregated: true,
                }
            },
            &role,
        ),
        wrong(
            |seen| seen.content = binding("cluster-admin", vec![group("palisade:cluster:viewer")]),
            &bound,
        ),
        wrong(
            |seen| seen.content = binding("palisade:cluster:viewer", vec![group("everybody")]),
            &bound,
        ),
        wrong(
            |seen| seen.content = binding("palisade:cluster:viewer", Vec::new()),
            &bound,
        ),
    ];
    for (number, (key, drifted)) in (0..).zip(table) {
        cluster.version = 1000 * (number + 1);
        if let Some(mut seen) = drifted {
            seen.version = Version(cluster.version.to_string().into());
            cluster.objects.insert(key.clone(), seen.clone());
            assert!(book.see(&key, seen), "{number}");
        } else {
            cluster.objects.remove(&key);
            book.lose(&key);
        }
        bring_in_step(&mut book, &mut cluster);
        assert_eq!(
            cluster.objects[&key].content, right[&key].content,
            "{number}"
        );
        assert!(cluster.objects[&key].labelled, "{number}");
    }
}

#[test]
fn an_aggregation_rule_is_taken_away_with_the_rules() {
    let key = Key::Role("palisade:cluster:viewer".into());
    let content = Content::Role {
        rules: rules(&["get"]),
        aggregated: true,
    };
    let cluster = Cluster::of([(key.clone(), seen(content, true))]);
    let book = book(plan(roles(&[("viewer", "get")], &[]), &[]), &cluster, &[]);
    assert!(matches!(book.difference(&key), Some(Action::Overwrite(_))));
}

#[test]
fn news_that_are_older_than_what_is_known_are_none() {
    let key = Key::ClusterBinding("palisade:cluster:viewer".into());
    let at = |version: &str, uid: &str, subject: &str| Seen {
        version: Version(version.into()),
        uid: uid.into(),
        ..seen(binding("x", vec![group(subject)]), true)
    };
    let mut book = Book::new(plan(roles(&[], &[]), &[]));
    assert!(book.see(&key, at("10", "a", "new")));
    assert!(!book.see(&key, at("9", "a", "old")));
    assert!(!book.see(&key, at("10", "a", "new")));
    assert!(book.see(&key, at("11", "a", "newer")));
    assert!(book.see(&key, at("3", "b", "another object")));
}

#[test]
fn somebody_who_makes_objects_by_the_thousand_does_not_make_our_rule_grow_without_end() {
    let stray = |number: usize| {
        let key = Key::Binding("a".into(), format!("palisade:project:x{number}").into());
        (key, seen(binding("x", vec![group("palisade:x")]), false))
    };
    let cluster = Cluster::of((0..1000).map(stray));
    let book = book(plan(roles(&[], &[]), &[]), &cluster, &[("a", Life::Old)]);
    let Some(Action::Apply(Content::Role { rules, .. })) =
        book.difference(&Key::Role(RECONCILER_ROLE.into()))
    else {
        panic!("it is to be written")
    };
    let longest = rules.iter().map(|rule| rule.resource_names.len()).max();
    assert_eq!(longest, Some(NAMES_TO_REMOVE));
}

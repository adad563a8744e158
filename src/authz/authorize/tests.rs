use super::*;
use crate::objects::{
    BindingSpec, ProjectSpec, RoleScope, Stored, Subject, SubjectKind, Token, TokenSpec,
};
use crate::store::KeyValue;

fn put<K: Kind>(object: K) -> Change {
    let key = K::key(&object.meta().name);
    let value = Stored::new(object, K::Private::default()).encode();
    Change::Put(KeyValue {
        key,
        value: value.into(),
        create_revision: 1,
        mod_revision: 1,
        version: 1,
    })
}

fn batch(changes: Vec<Change>, complete: bool) -> Batch {
    Batch {
        changes,
        revision: 1,
        complete,
    }
}

fn binding(name: &str, user: &str) -> Change {
    let spec = BindingSpec {
        role: "viewer".to_owned(),
        subject: Subject {
            kind: SubjectKind::User,
            name: user.to_owned(),
            uid: format!("u-{user}"),
        },
        all_clusters: true,
        ..BindingSpec::default()
    };
    put(Binding::new(name, spec))
}

#[test]
fn a_listing_in_many_parts_counts_as_it_is_at_its_end() {
    let gone = |name: &str| Change::Delete {
        key: Binding::key(name),
        revision: 2,
    };
    let authz = Authz::new(BTreeMap::new());
    let holders = || {
        let people = ["ann", "ben", "cem", "dee", "eva"];
        let holds = |name: &&str| authz.holds_any(&format!("u-{name}"), &[], "c");
        people.into_iter().filter(holds).collect::<Vec<_>>()
    };
    let cluster = Cluster::new("c", crate::objects::ClusterSpec::default());
    let spec = RoleSpec {
        scope: RoleScope::Cluster,
        ..RoleSpec::default()
    };
    authz.apply(&batch(
        vec![
            put(cluster),
            put(Role::new("viewer", spec)),
            binding("old", "eva"),
        ],
        true,
    ));
    assert_eq!(holders(), ["eva"]);
    // Each part says something else of what an earlier one said.
    for part in [
        vec![binding("1", "ann"), binding("2", "ben")],
        vec![binding("1", "cem"), gone("2"), binding("3", "dee")],
        vec![binding("old", "dee"), gone("3")],
        vec![binding("4", "eva"), binding("2", "ann"), gone("4")],
    ] {
        authz.apply(&batch(part, false));
        assert_eq!(holders(), ["eva"], "half a listing counts for nothing");
    }
    authz.apply(&batch(vec![], true));
    assert_eq!(holders(), ["ann", "cem", "dee"]);
    authz.apply(&batch(vec![gone("old"), gone("2")], true));
    assert_eq!(holders(), ["cem"]);
}

#[test]
fn a_listing_that_breaks_off_again_and_again_keeps_no_more_than_one() {
    let authz = Authz::new(BTreeMap::new());
    let names: Vec<String> = (0..500).map(|number| format!("b{number}")).collect();
    for _ in 0..20 {
        let all = names.iter().map(|name| binding(name, "ann")).collect();
        authz.apply(&batch(all, false));
    }
    let kept = authz.next().pending.len();
    assert!(kept <= 4 * names.len(), "{kept}");
    authz.apply(&batch(vec![], true));
    assert_eq!(authz.policy().len(), names.len());
}

#[test]
fn what_clusters_are_to_hold_is_told_once_it_counts_and_nothing_else_is() {
    let authz = Authz::new(BTreeMap::new());
    let mut changes = authz.shape_changes();
    let is_told = |changes: &mut watch::Receiver<u64>| {
        let told = changes.has_changed().unwrap();
        changes.mark_unchanged();
        told
    };
    assert!(!is_told(&mut changes));
    let cluster = Cluster::new("c", crate::objects::ClusterSpec::default());
    let spec = ProjectSpec {
        cluster: "c".to_owned(),
        namespaces: vec!["shop".to_owned()],
        ..ProjectSpec::default()
    };
    let mut project = Project::new("shop", spec);
    project.metadata.uid = "u-shop".to_owned();
    // Half of a transaction is no change yet.
    authz.apply(&batch(vec![put(cluster.clone())], false));
    assert!(!is_told(&mut changes));
    authz.apply(&batch(vec![put(project)], true));
    assert!(is_told(&mut changes));
    let holder = |namespace: &str| {
        let policy = authz.policy();
        let project = policy.project_of("c", namespace);
        project.map(|project| (project.name().to_owned(), project.uid().to_owned()))
    };
    assert_eq!(
        holder("shop"),
        Some(("shop".to_owned(), "u-shop".to_owned()))
    );
    assert_eq!(holder("other"), None);
    // What is no policy tells nothing.
    authz.apply(&batch(
        vec![put(Token::new("t", TokenSpec::default()))],
        true,
    ));
    assert!(!is_told(&mut changes));
    authz.apply(&batch(
        vec![put(Binding::new("b", BindingSpec::default()))],
        true,
    ));
    assert!(
        !is_told(&mut changes),
        "who holds a role is no cluster's affair"
    );
    authz.apply(&batch(vec![put(cluster)], true));
    assert!(!is_told(&mut changes), "it is registered already");
    authz.apply(&batch(vec![put(Role::new("r", RoleSpec::default()))], true));
    assert!(is_told(&mut changes));
    let gone = Change::Delete {
        key: Project::key("shop"),
        revision: 2,
    };
    authz.apply(&batch(vec![gone], true));
    assert!(is_told(&mut changes));
    assert_eq!(holder("shop"), None);
}

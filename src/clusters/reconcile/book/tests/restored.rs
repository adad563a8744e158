//! A cluster whose store was put back from a copy: its versions begin again where the copy ends.

use super::*;

fn at(version: &str, verb: &str) -> Seen {
    Seen {
        version: Version(version.into()),
        ..seen(role(rules(&[verb])), true)
    }
}

#[test]
fn what_a_role_was_in_the_copy_is_seen_and_put_right() {
    let key = Key::Role("palisade:cluster:viewer".into());
    let gone = Key::Role("palisade:cluster:gone".into());
    let back = Key::Role("palisade:cluster:back".into());
    let mut book = Book::new(plan(roles(&[("viewer", "get")], &[]), &[]));
    book.listed(key.kind(), &Version("10".into()), false);
    assert!(book.see(&key, at("20", "get")));
    assert!(book.see(&gone, at("21", "get")));
    assert_eq!(book.difference(&key), None);
    // The very same object, as it was: with more rules than policy gives it now.
    let now = Version("15".into());
    book.listed(key.kind(), &now, false);
    assert!(book.see_listed(&key, at("12", "*"), &now));
    assert!(book.see_listed(&back, at("13", "get"), &now));
    assert!(book.gone(&gone, &now));
    assert!(matches!(book.difference(&key), Some(Action::Apply(_))));
    assert!(matches!(book.difference(&back), Some(Action::Remove(..))));
    // From there on as ever.
    let wrote = book.difference(&key).unwrap();
    let answer = Some(at("16", "get"));
    assert_eq!(book.wrote(&key, &wrote, answer), Wrote::Taken);
    assert!(!book.see(&key, at("12", "*")));
    assert_eq!(book.difference(&key), None);
}

#[test]
fn other_kinds_are_what_they_were() {
    let key = Key::Role("palisade:cluster:viewer".into());
    let mut book = Book::new(plan(roles(&[("viewer", "get")], &[]), &[]));
    book.listed(ObjectKind::ClusterRoleBinding, &Version("30".into()), false);
    assert!(book.see(&key, at("20", "get")));
    book.listed(ObjectKind::ClusterRoleBinding, &Version("5".into()), true);
    assert!(!book.see(&key, at("12", "*")));
}

// As etcd's own tool recommends: the versions go on far above (`--bump-revision`), the objects are those of the copy.
#[test]
fn a_copy_that_counts_on_is_seen_as_it_is() {
    let key = Key::Role("palisade:cluster:viewer".into());
    let mut book = Book::new(plan(roles(&[("viewer", "get")], &[]), &[]));
    assert!(book.see(&key, at("20", "get")));
    let now = Version("1000000015".into());
    book.listed(key.kind(), &now, false);
    assert!(book.see_listed(&key, at("12", "*"), &now));
    assert!(matches!(book.difference(&key), Some(Action::Apply(_))));
}

// What only an answer told is newer than all that the watcher did.
#[test]
fn who_knows_that_versions_begin_again_says_so() {
    let key = Key::Role("palisade:cluster:viewer".into());
    let mut book = Book::new(plan(roles(&[("viewer", "get")], &[]), &[]));
    assert!(book.see(&key, at("20", "*")));
    let action = book.difference(&key).unwrap();
    assert_eq!(
        book.wrote(&key, &action, Some(at("150", "get"))),
        Wrote::Taken
    );
    let now = Version("100".into());
    book.listed(key.kind(), &now, true);
    assert!(book.see_listed(&key, at("12", "*"), &now));
    assert!(book.difference(&key).is_some());
}

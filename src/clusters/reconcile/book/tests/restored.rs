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
    book.listed(key.kind(), &Version("10".into()));
    assert!(book.see(&key, at("20", "get")));
    assert!(book.see(&gone, at("21", "get")));
    assert_eq!(book.difference(&key), None);
    // The very same object, as it was: with more rules than policy gives it now.
    book.listed(key.kind(), &Version("15".into()));
    assert!(book.see(&key, at("12", "*")));
    assert!(book.see(&back, at("13", "get")));
    assert!(book.gone(&gone, &Version("15".into())));
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
    book.listed(ObjectKind::ClusterRoleBinding, &Version("30".into()));
    assert!(book.see(&key, at("20", "get")));
    book.listed(ObjectKind::ClusterRoleBinding, &Version("5".into()));
    assert!(!book.see(&key, at("12", "*")));
}

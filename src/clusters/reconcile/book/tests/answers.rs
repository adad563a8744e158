//! What is made of a cluster's answer to a write: a watch is often quicker, and others write as well.

use super::*;

const OWN: &str = RECONCILER_ROLE;

fn own() -> Key {
    Key::Role(OWN.into())
}

fn at(version: &str, content: Content) -> Seen {
    Seen {
        version: Version(version.into()),
        ..seen(content, true)
    }
}

/// A book in which the reconciler's own rule is to be written, and what is to be written.
fn about_to_write() -> (Book, Action, Content) {
    let mut book = Book::new(plan(roles(&[("viewer", "get")], &[]), &[]));
    book.see(&own(), at("1", role(Vec::new())));
    let action = book.difference(&own()).unwrap();
    let Action::Apply(content) = action.clone() else {
        panic!("{action:?}");
    };
    (book, action, content)
}

#[test]
fn an_answer_is_taken_whether_or_not_a_watch_was_quicker() {
    for quicker in [false, true] {
        let (mut book, action, content) = about_to_write();
        if quicker {
            assert!(book.see(&own(), at("2", content.clone())));
        }
        let wrote = book.wrote(&own(), &action, Some(at("2", content)));
        assert_eq!(wrote, Wrote::Taken, "{quicker}");
        assert_eq!(book.difference(&own()), None, "{quicker}");
    }
}

// Between a write and its answer policy may change, or something be seen that is to be taken away: another write is
// due, and nothing is wrong with the first.
#[test]
fn an_answer_is_taken_though_something_else_is_wanted_by_now() {
    let (mut book, action, content) = about_to_write();
    assert!(book.see(&own(), at("2", content.clone())));
    let more = roles(&[("viewer", "get"), ("admin", "*")], &[]);
    book.replan(plan(more, &[]));
    let wrote = book.wrote(&own(), &action, Some(at("2", content)));
    assert_eq!(wrote, Wrote::Taken);
    assert!(book.difference(&own()).is_some());
}

#[test]
fn a_removal_is_taken_though_a_watch_was_quicker_and_the_object_is_wanted_anew() {
    let mut book = Book::new(plan(roles(&[("viewer", "get")], &[]), &[]));
    let group = manifest::grant_group("viewer");
    let key = Key::ClusterBinding(group.clone().into());
    book.see(
        &key,
        seen(binding("another", vec![Who::group(&group)]), true),
    );
    let action = book.difference(&key).unwrap();
    assert!(matches!(action, Action::Remove(..)), "{action:?}");
    assert!(book.lose(&key));
    assert_eq!(book.wrote(&key, &action, None), Wrote::Taken);
    assert!(matches!(book.difference(&key), Some(Action::Apply(_))));
}

#[test]
fn what_somebody_else_changed_before_the_answer_came_is_theirs() {
    let (mut book, action, content) = about_to_write();
    assert!(book.see(&own(), at("2", content.clone())));
    assert!(book.see(&own(), at("3", role(Vec::new()))));
    let wrote = book.wrote(&own(), &action, Some(at("2", content)));
    assert_eq!(wrote, Wrote::Overtaken);
    assert!(book.difference(&own()).is_some());
}

#[test]
fn a_cluster_that_keeps_something_else_than_was_written_is_noticed() {
    let (mut book, action, _) = about_to_write();
    let kept = || Some(at("2", role(rules(&["watch"]))));
    // The first time something has come of it, and it may be right the next time.
    assert_eq!(book.wrote(&own(), &action, kept()), Wrote::Taken);
    assert_eq!(book.wrote(&own(), &action, kept()), Wrote::Otherwise);
    // At once if it changes nothing.
    let (mut book, action, _) = about_to_write();
    let nothing = Some(at("1", role(Vec::new())));
    assert_eq!(book.wrote(&own(), &action, nothing), Wrote::Otherwise);
}

#[test]
fn what_was_made_anew_at_once_is_not_forgotten_with_what_was_removed() {
    let mut book = Book::new(plan(roles(&[("viewer", "get")], &[]), &[]));
    let group = manifest::grant_group("viewer");
    let key = Key::ClusterBinding(group.clone().into());
    let there = |uid: &str| Seen {
        uid: uid.into(),
        ..seen(binding("another", vec![Who::group(&group)]), true)
    };
    book.see(&key, there("first"));
    let action = book.difference(&key).unwrap();
    assert!(matches!(action, Action::Remove(..)), "{action:?}");
    book.lose(&key);
    book.see(&key, there("second"));
    assert_eq!(book.wrote(&key, &action, None), Wrote::Taken);
    assert!(matches!(book.difference(&key), Some(Action::Remove(uid, _)) if *uid == *"second"));
}

/// A role's binding that is there and right, and what names it.
fn bound_at(version: &str) -> (Key, Seen) {
    let group = manifest::grant_group("viewer");
    let right = at(version, binding(&group, vec![Who::group(&group)]));
    (Key::ClusterBinding(group.into()), right)
}

#[test]
fn what_was_removed_before_the_answer_came_is_written_again() {
    let mut book = Book::new(plan(roles(&[("viewer", "get")], &[]), &[]));
    let (key, right) = bound_at("2");
    let action = book.difference(&key).unwrap();
    // Written, and deleted by somebody, before the answer comes.
    book.begin(&key);
    book.see(&key, right.clone());
    assert!(book.gone(&key, &Version("3".into())));
    let wrote = book.wrote(&key, &action, Some(right));
    assert_eq!(wrote, Wrote::Overtaken);
    assert!(book.difference(&key).is_some(), "it is not there");
    // The answer to the next one is news.
    book.begin(&key);
    let (_, right) = bound_at("4");
    assert_eq!(book.wrote(&key, &action, Some(right)), Wrote::Taken);
    assert_eq!(book.difference(&key), None);
}

#[test]
fn an_answer_does_not_bring_back_what_something_else_came_in_the_place_of() {
    let mut book = Book::new(plan(roles(&[("viewer", "get")], &[]), &[]));
    let (key, right) = bound_at("2");
    let action = book.difference(&key).unwrap();
    let other = Seen {
        uid: "another".into(),
        ..at("4", binding("x", vec![]))
    };
    book.see(&key, other);
    let wrote = book.wrote(&key, &action, Some(right));
    assert_eq!(wrote, Wrote::Overtaken);
    assert!(book.difference(&key).is_some());
}

#[test]
fn news_from_before_an_answer_do_not_take_it_back() {
    let mut book = Book::new(plan(roles(&[("viewer", "get")], &[]), &[]));
    let (key, right) = bound_at("5");
    let action = book.difference(&key).unwrap();
    assert_eq!(book.wrote(&key, &action, Some(right)), Wrote::Taken);
    // A list that was made before, and the end of what stood there before.
    book.listed(key.kind(), &Version("3".into()), false);
    assert!(!book.gone(&key, &Version("3".into())));
    assert!(!book.gone(&key, &Version("4".into())));
    assert_eq!(book.difference(&key), None);
    assert!(book.gone(&key, &Version("6".into())));
}

// Server-side apply that changes nothing answers with the version that the object has had for long.
#[test]
fn an_answer_of_an_old_version_is_no_old_answer() {
    let mut book = Book::new(plan(roles(&[("viewer", "get")], &[]), &[]));
    let (key, right) = bound_at("2");
    let action = book.difference(&key).unwrap();
    // Others of its kind have changed since, and this one was forgotten.
    book.see(
        &Key::ClusterBinding("other".into()),
        at("9", binding("x", vec![])),
    );
    book.begin(&key);
    assert_eq!(book.wrote(&key, &action, Some(right)), Wrote::Taken);
    assert_eq!(book.difference(&key), None);
}

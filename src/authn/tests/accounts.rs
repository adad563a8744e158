//! What a provider last said, as requests judge by it.

use super::*;
use crate::{
    authn::providers::{Account, Accounts, GroupRef, Ids, Record, Rules, Standing, record_key},
    config::{Access, AccessMode},
    objects::Principal,
    status::clock,
};
use std::{collections::HashMap, time::Duration};

const ID: &str = "7a8a2608-3c6c-4d0b-94f8-57ddad3a6b14";
const DEVS: &str = "9d0cad48-a596-4748-8510-0b51913b7e9c";

fn jane() -> Member {
    member("corp:jane", "uid-jane")
}

fn groups(names: &[(&str, &str)]) -> Vec<GroupRef> {
    let group = |&(id, name): &(&str, &str)| GroupRef {
        id: id.into(),
        name: name.into(),
    };
    names.iter().map(group).collect()
}

fn said(groups: Vec<GroupRef>) -> Record {
    Record::new(jane(), "jane", groups, now())
}

impl World {
    /// A user of the provider `corp`, what it said of her, and her token.
    fn of_corp() -> (Self, TokenText) {
        let mut world = Self::new();
        world.rules(Some((AccessMode::DangerAnyone, &[])));
        let spec = UserSpec {
            principals: vec![Principal {
                provider: "corp".to_owned(),
                id: ID.to_owned(),
            }],
            ..UserSpec::default()
        };
        world.user_with("corp:jane", "uid-jane", spec, 0);
        let token = world.token(("corp:jane", "uid-jane"), |_| {});
        world.record(&said(groups(&[(DEVS, "developers")])));
        (world, token)
    }

    fn record(&mut self, record: &Record) {
        self.raw(&record_key("corp", ID), Some(&record.encode()))
            .unwrap();
    }

    /// What the configuration says of `corp`: who may log in; none: there is no such provider.
    fn rules(&self, access: Option<(AccessMode, &[&str])>) {
        let rules = access.map(|(mode, listed)| Rules {
            access: Access {
                mode,
                users: Vec::new(),
                groups: listed.iter().map(ToString::to_string).collect(),
            },
            ids: Ids::Uuids,
            interval: Duration::from_mins(5),
            max_age: Duration::from_hours(1),
            by_grant: false,
        });
        let all: HashMap<_, _> = rules
            .map(|rules| ("corp".into(), Arc::new(rules)))
            .into_iter()
            .collect();
        self.index.set_providers(&all);
    }

    fn refusal(&self, token: &TokenText) -> Option<AuthnError> {
        self.ask(token.expose()).err()
    }
}

fn refused(why: Refusal) -> AuthnError {
    AuthnError::Refused(why)
}

#[test]
fn groups_of_a_provider_count_by_its_name_and_their_ids_and_are_shown_by_name() {
    let (mut world, token) = World::of_corp();
    world.group("web", "a-local", &[("corp:jane", "uid-jane")]);
    let uid = format!("corp:{DEVS}");
    assert_eq!(world.groups(&token), ["a-local", &uid]);
    assert_eq!(
        world.index.group_name(&uid).as_deref(),
        Some("corp:developers")
    );
    let authn = Authn::new(Arc::clone(&world.index));
    assert_eq!(authn.group_uid("corp:developers").as_deref(), Some(&*uid));
    // A local group's name is no provider's, whatever it looks like.
    assert_eq!(world.index.group_uid("corp:developers"), None);
    // Another group of the same name: who acts in it by name would be in one of two.
    world.record(&said(groups(&[
        (DEVS, "developers"),
        ("other", "developers"),
    ])));
    assert_eq!(authn.group_uid("corp:developers"), None);
    world.record(&said(Vec::new()));
    assert_eq!(world.groups(&token), ["a-local"]);
}

// L4
#[test]
fn what_the_provider_says_of_an_account_is_judged_at_once() {
    let (mut world, token) = World::of_corp();
    assert_eq!(world.refusal(&token), None);
    for (standing, why) in [
        (Standing::Disabled, Refusal::AccountDisabled),
        (Standing::Locked, Refusal::AccountLocked),
        (Standing::Expired, Refusal::AccountExpired),
        (Standing::MustChange, Refusal::AccountMustChange),
        (Standing::Gone, Refusal::AccountGone),
        (Standing::Ended, Refusal::LoginEnded),
    ] {
        world.record(&said(Vec::new()).with(standing));
        assert_eq!(world.refusal(&token), Some(refused(why)));
    }
    world.record(&said(Vec::new()));
    assert_eq!(world.refusal(&token), None);
}

// GHSA-c45c-39f6-6gw9
#[test]
fn without_its_provider_an_account_is_refused_and_so_is_who_is_not_listed() {
    let (world, token) = World::of_corp();
    world.rules(None);
    assert_eq!(world.refusal(&token), Some(refused(Refusal::NoProvider)));
    world.rules(Some((AccessMode::Restricted, &["admins"])));
    assert_eq!(world.refusal(&token), Some(refused(Refusal::NotListed)));
    for listed in ["developers", "Developers", DEVS, &DEVS.to_uppercase()] {
        world.rules(Some((AccessMode::Restricted, &[listed])));
        assert_eq!(world.refusal(&token), None, "{listed}");
    }
}

// T10: what could not be read again is not forgotten and not believed for ever.
#[test]
fn a_providers_word_counts_up_to_its_age() {
    let (mut world, token) = World::of_corp();
    let at = |seconds: i64| now() + SignedDuration::from_secs(seconds);
    let token_lives = |world: &World, seconds| world.ask_at(token.expose(), at(seconds)).err();
    assert_eq!(token_lives(&world, 3_599), None);
    // Ends an hour after, with the token; so the record is made older.
    let mut older = said(Vec::new());
    older.checked_at = at(-1_800);
    let (mut old, token) = World::of_corp();
    old.raw(&record_key("corp", ID), None).unwrap();
    old.record(&older);
    let ask = |seconds| old.ask_at(token.expose(), at(seconds)).err();
    assert_eq!(ask(1_799), None);
    assert_eq!(ask(1_800), Some(AuthnError::Unavailable(Unknowable::Stale)));
    // A record that is gone, or cannot be read, is no local user.
    for value in [None, Some(&b"{}"[..])] {
        let _ = world.raw(&record_key("corp", ID), value);
        let (known, token) = (&world, token_of(&world));
        assert!(known.index.user("corp:jane").is_some());
        assert_eq!(token, Some(AuthnError::Unavailable(Unknowable::Unreadable)));
    }
}

// T10: who wrote it had a wrong clock, so nobody knows how old it is.
#[test]
fn a_time_that_is_yet_to_come_is_no_age() {
    let at = |seconds: i64| clock::now() + SignedDuration::from_secs(seconds);
    let accounts = Accounts::default();
    let make = |seconds, old: Option<&Arc<Account>>| {
        let record = Record::new(jane(), "jane", Vec::new(), at(seconds));
        accounts.account(("corp", ID), record, 1, old)
    };
    // Two clocks are never quite the same.
    assert_eq!(make(30, None).age(at(0)), Duration::ZERO);
    let ahead = make(86_400, None);
    assert_eq!(ahead.age(at(0)), Duration::MAX);
    // What is said now counts, in memory and as it is stored.
    let written = make(-10, Some(&ahead));
    assert!((10..20).contains(&written.age(at(0)).as_secs()));
    let ahead = make(86_400, None);
    ahead.confirm(at(0));
    assert!(ahead.age(at(5)) < Duration::from_secs(10));
    // What is older than what is known changes nothing.
    ahead.confirm(at(-100));
    assert!(make(-200, Some(&ahead)).age(at(5)) < Duration::from_secs(10));
}

fn token_of(world: &World) -> Option<AuthnError> {
    let user = world.index.user("corp:jane").unwrap();
    user.judge(now()).err()
}

// L6: an account of another id, or of another provider, is another account.
#[test]
fn a_record_counts_for_the_user_whose_principal_it_is() {
    let (mut world, token) = World::of_corp();
    world.raw(&record_key("corp", ID), None).unwrap();
    for (provider, id) in [("corp", DEVS), ("dept", ID)] {
        let key = record_key(provider, id);
        world.raw(&key, Some(&said(Vec::new()).encode())).unwrap();
        assert_eq!(
            world.refusal(&token),
            Some(AuthnError::Unavailable(Unknowable::Unreadable)),
            "{provider} {id}"
        );
        world.raw(&key, None).unwrap();
    }
    // A local user has no account elsewhere, whatever a record says.
    world.user("joe", "uid-joe");
    let local = world.token(("joe", "uid-joe"), |_| {});
    let record =
        Record::new(member("joe", "uid-joe"), "joe", Vec::new(), now()).with(Standing::Gone);
    world.record(&record);
    assert_eq!(world.refusal(&local), None);
}

// L4: as with a password that is changed here.
#[test]
fn a_change_of_the_password_at_the_provider_ends_sessions_and_keeps_other_tokens() {
    let (mut world, token) = World::of_corp();
    let session = world.token(("corp:jane", "uid-jane"), |spec| spec.kind = TokenKind::Ses);
    assert_eq!(world.refusal(&session), None);
    let changed = said(Vec::new()).with_password(1);
    world.record(&changed);
    assert_eq!(
        world.refusal(&session),
        Some(refused(Refusal::PasswordChanged))
    );
    assert_eq!(world.refusal(&token), None);
    // A server that does not know of it yet undoes nothing.
    let behind = said(Vec::new()).after(&changed);
    world.record(&behind);
    assert_eq!(
        world.refusal(&session),
        Some(refused(Refusal::PasswordChanged))
    );
    // Also where the user is read after the account.
    let spec = UserSpec {
        principals: vec![Principal {
            provider: "corp".to_owned(),
            id: ID.to_owned(),
        }],
        display_name: "Jane".to_owned(),
        ..UserSpec::default()
    };
    world.user_with("corp:jane", "uid-jane", spec, 0);
    assert!(world.refusal(&session).is_some());
}

// Somebody who may act in groups cannot act in one of a provider that is not there any more.
#[test]
fn a_group_of_a_provider_that_is_gone_is_nobodys() {
    let (world, _) = World::of_corp();
    let authn = Authn::new(Arc::clone(&world.index));
    let uid = authn.group_uid("corp:developers");
    assert!(uid.is_some());
    world.rules(None);
    assert_eq!(authn.group_uid("corp:developers"), None);
    world.rules(Some((AccessMode::DangerAnyone, &[])));
    assert_eq!(authn.group_uid("corp:developers"), uid);
}

//! Tests of the index and of authentication against it.

use super::*;
use crate::objects::{
    Group, GroupSpec, Kind, Member, Stored, Token, TokenKind, TokenPrivate, TokenSpec, User,
    UserPrivate, UserSpec,
};
use crate::store::{
    KeyValue,
    follow::{Batch, Change},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

mod accounts;
mod owners;

/// An index and the store's revision.
struct World {
    index: Arc<Index>,
    revision: u64,
}

impl World {
    fn new() -> Self {
        let index = Arc::new(Index::new());
        index.set_loaded();
        Self { index, revision: 0 }
    }

    fn put<K: Kind>(&mut self, name: &str, object: K, private: K::Private) {
        let value = Stored::new(object, private).encode();
        self.raw(&K::key(name), Some(&value)).unwrap();
    }

    fn delete<K: Kind>(&mut self, name: &str) {
        self.raw(&K::key(name), None).unwrap();
    }

    fn raw(&mut self, key: &str, value: Option<&[u8]>) -> Result<(), crate::objects::DecodeError> {
        self.revision += 1;
        let key = key.to_owned();
        self.index.apply(&match value {
            Some(value) => Change::Put(KeyValue {
                key,
                value: Bytes::copy_from_slice(value),
                create_revision: self.revision,
                mod_revision: self.revision,
                version: 1,
            }),
            None => Change::Delete {
                key,
                revision: self.revision,
            },
        })
    }

    fn user(&mut self, name: &str, uid: &str) {
        self.user_with(name, uid, UserSpec::default(), 0);
    }

    fn user_with(&mut self, name: &str, uid: &str, spec: UserSpec, password_epoch: u64) {
        let mut user = User::new(name, spec);
        user.metadata.uid = uid.to_owned();
        let private = UserPrivate {
            password_epoch,
            ..UserPrivate::default()
        };
        self.put(name, user, private);
    }

    fn group(&mut self, name: &str, uid: &str, members: &[(&str, &str)]) {
        let members = members
            .iter()
            .map(|&(name, uid)| member(name, uid))
            .collect();
        let mut group = Group::new(
            name,
            GroupSpec {
                members,
                ..GroupSpec::default()
            },
        );
        group.metadata.uid = uid.to_owned();
        self.put(name, group, <Group as Kind>::Private::default());
    }

    fn token(&mut self, user: (&str, &str), change: impl FnOnce(&mut TokenSpec)) -> TokenText {
        let mut spec = TokenSpec {
            user: member(user.0, user.1),
            expires_at: Some(now() + SignedDuration::from_hours(1)),
            ..TokenSpec::default()
        };
        change(&mut spec);
        let text = TokenText::generate(spec.kind).unwrap();
        let private = TokenPrivate {
            sha256: text.sha256_hex(),
            password_epoch: 0,
        };
        self.put(
            text.id().as_str(),
            Token::new(text.id().as_str(), spec),
            private,
        );
        text
    }

    fn ask(&self, token: &str) -> Result<Identity, AuthnError> {
        self.ask_at(token, now())
    }

    fn ask_at(&self, token: &str, at: Timestamp) -> Result<Identity, AuthnError> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        headers.insert(AUTHORIZATION, value);
        let credential = Credential::extract(&headers, WebSocket::No)?;
        Authn::new(Arc::clone(&self.index)).authenticate(&credential, at)
    }

    fn groups(&self, token: &TokenText) -> Vec<String> {
        let identity = self.ask(token.expose()).map_err(|e| e.to_string()).unwrap();
        identity.groups().iter().map(ToString::to_string).collect()
    }
}

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn member(name: &str, uid: &str) -> Member {
    Member {
        name: name.to_owned(),
        uid: uid.to_owned(),
    }
}

fn refusal(answer: Result<Identity, AuthnError>) -> AuthnError {
    match answer {
        Ok(identity) => panic!("let in as {}", identity.handle()),
        Err(error) => error,
    }
}

fn refused(why: Refusal) -> AuthnError {
    AuthnError::Refused(why)
}

const JANE: (&str, &str) = ("jane", "uid-1");

#[test]
fn a_known_token_is_its_user() {
    let mut world = World::new();
    world.user("jane", "uid-1");
    world.group("devs", "gid-1", &[JANE]);
    let token = world.token(JANE, |spec| {
        spec.kind = TokenKind::Ses;
        spec.clusters = vec!["prod".to_owned(), "dev".to_owned()];
    });
    let identity = world.ask(token.expose()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(identity.handle(), "jane");
    assert_eq!(identity.user_uid(), "uid-1");
    assert_eq!(identity.groups(), [Box::from("gid-1")]);
    assert_eq!(identity.token_id(), token.id());
    assert_eq!(identity.token_kind(), TokenKind::Ses);
    assert_eq!(
        identity.token_clusters(),
        Some([Box::from("prod"), Box::from("dev")].as_slice())
    );
    assert_eq!(identity.expires_at(), now() + SignedDuration::from_hours(1));
}

#[test]
fn a_token_without_clusters_is_good_for_all() {
    let mut world = World::new();
    world.user("jane", "uid-1");
    let token = world.token(JANE, |_| ());
    assert!(
        world
            .ask(token.expose())
            .is_ok_and(|it| it.token_clusters().is_none())
    );
}

#[test]
fn a_revoked_token_is_refused_at_once() {
    let mut world = World::new();
    world.user("jane", "uid-1");
    let token = world.token(JANE, |_| ());
    let other = world.token(JANE, |_| ());
    world.delete::<Token>(token.id().as_str());
    assert_eq!(
        refusal(world.ask(token.expose())),
        refused(Refusal::UnknownToken)
    );
    assert!(world.ask(other.expose()).is_ok());
}

#[test]
fn a_token_expires_at_its_instant() {
    let mut world = World::new();
    world.user("jane", "uid-1");
    let token = world.token(JANE, |_| ());
    let end = now() + SignedDuration::from_hours(1);
    assert!(
        world
            .ask_at(token.expose(), end - SignedDuration::from_nanos(1))
            .is_ok()
    );
    assert_eq!(
        refusal(world.ask_at(token.expose(), end)),
        refused(Refusal::Expired)
    );
}

#[test]
fn another_secret_under_a_known_id_is_refused() {
    let mut world = World::new();
    world.user("jane", "uid-1");
    let token = world.token(JANE, |_| ());
    let forged = TokenText::generate(TokenKind::Pat).unwrap();
    let forged = forged
        .expose()
        .replace(forged.id().as_str(), token.id().as_str());
    // The CRC is public knowledge: it is made good, and the secret alone is wrong.
    let forged = token::with_crc(&forged[..forged.len() - 6]);
    assert_eq!(refusal(world.ask(&forged)), refused(Refusal::WrongSecret));
    let renamed = token::with_crc(&token.expose()[..68].replace("pal_pat_", "pal_ses_"));
    assert_eq!(refusal(world.ask(&renamed)), refused(Refusal::WrongSecret));
}

#[test]
fn a_disabled_user_is_refused_until_enabled() {
    let mut world = World::new();
    world.user("jane", "uid-1");
    let token = world.token(JANE, |_| ());
    let disabled = UserSpec {
        disabled: true,
        ..UserSpec::default()
    };
    world.user_with("jane", "uid-1", disabled, 0);
    assert_eq!(
        refusal(world.ask(token.expose())),
        refused(Refusal::Disabled)
    );
    world.user("jane", "uid-1");
    assert!(world.ask(token.expose()).is_ok());
}

// A handle that was given to another person carries nothing over: neither tokens nor groups.
#[test]
fn a_recreated_user_gets_nothing_of_the_old_one() {
    let mut world = World::new();
    world.user("jane", "uid-1");
    world.group("devs", "gid-1", &[JANE]);
    let old = world.token(JANE, |_| ());
    world.delete::<User>("jane");
    assert_eq!(refusal(world.ask(old.expose())), refused(Refusal::NoUser));
    world.user("jane", "uid-2");
    assert_eq!(refusal(world.ask(old.expose())), refused(Refusal::NoUser));
    let new = world.token(("jane", "uid-2"), |_| ());
    assert_eq!(world.groups(&new), Vec::<String>::new());
    world.group("devs", "gid-1", &[JANE, ("jane", "uid-2")]);
    assert_eq!(world.groups(&new), ["gid-1"]);
}

#[test]
fn a_token_of_another_name_with_the_same_uid_is_nobodys() {
    let mut world = World::new();
    world.user("jane", "uid-1");
    let token = world.token(("joan", "uid-1"), |_| ());
    assert_eq!(refusal(world.ask(token.expose())), refused(Refusal::NoUser));
}

#[test]
fn groups_follow_every_change_in_any_order() {
    let mut world = World::new();
    // The group is known before its user.
    world.group("devs", "gid-2", &[JANE, ("joan", "")]);
    world.user("jane", "uid-1");
    world.user("joan", "");
    let token = world.token(JANE, |_| ());
    assert_eq!(world.groups(&token), ["gid-2"]);
    world.group("ops", "gid-1", &[JANE, JANE]);
    assert_eq!(
        world.groups(&token),
        ["gid-1", "gid-2"],
        "in order of their ids"
    );
    world.user_with("jane", "uid-1", UserSpec::default(), 0);
    assert_eq!(
        world.groups(&token),
        ["gid-1", "gid-2"],
        "kept over a change of the user"
    );
    world.group("devs", "gid-2", &[]);
    assert_eq!(world.groups(&token), ["gid-1"]);
    world.group("ops", "gid-3", &[JANE]);
    assert_eq!(
        world.groups(&token),
        ["gid-3"],
        "a recreated group has another uid"
    );
    world.delete::<Group>("ops");
    assert_eq!(world.groups(&token), Vec::<String>::new());
    let nobody = world.token(("joan", ""), |_| ());
    assert_eq!(
        world.groups(&nobody),
        Vec::<String>::new(),
        "a member without a uid is nobody"
    );
}

#[test]
fn a_change_of_the_password_ends_sessions_and_keeps_other_tokens() {
    let mut world = World::new();
    world.user("jane", "uid-1");
    let session = world.token(JANE, |spec| spec.kind = TokenKind::Ses);
    let token = world.token(JANE, |_| ());
    assert!(world.ask(session.expose()).is_ok());
    world.user_with("jane", "uid-1", UserSpec::default(), 1);
    assert_eq!(
        refusal(world.ask(session.expose())),
        refused(Refusal::PasswordChanged)
    );
    assert!(world.ask(token.expose()).is_ok());
}

#[test]
fn before_it_is_filled_the_index_cannot_tell() {
    let mut world = World::new();
    world.index = Arc::new(Index::new());
    let token = world.token(JANE, |_| ());
    let answer = refusal(world.ask(token.expose()));
    assert_eq!(answer, AuthnError::Unavailable(Unknowable::Loading));
    assert_eq!(answer.status().code, 503);
    let more = |complete| Batch {
        changes: Vec::new(),
        revision: 1,
        complete,
    };
    world.index.apply_batch(&more(false));
    assert!(!world.index.is_loaded(), "half a listing is no listing");
    world.index.apply_batch(&more(true));
    assert_eq!(refusal(world.ask(token.expose())), refused(Refusal::NoUser));
}

// Style rule 3: what cannot be read is neither a refusal nor what it was before.
#[test]
fn unreadable_values_are_503_and_never_the_old_value() {
    let unreadable = AuthnError::Unavailable(Unknowable::Unreadable);
    let mut world = World::new();
    world.user("jane", "uid-1");
    world.group("devs", "gid-1", &[JANE]);
    let token = world.token(JANE, |_| ());
    let newer = br#"{"schema":99}"#.as_slice();

    assert!(world.raw(&User::key("jane"), Some(newer)).is_err());
    assert_eq!(refusal(world.ask(token.expose())), unreadable);
    assert!(world.index.user("jane").is_none());
    world.user("jane", "uid-1");
    assert_eq!(world.groups(&token), ["gid-1"]);

    assert!(world.raw(&Group::key("devs"), Some(b"{")).is_err());
    assert_eq!(world.groups(&token), Vec::<String>::new());

    for value in [newer, b"not json"] {
        assert!(
            world
                .raw(&Token::key(token.id().as_str()), Some(value))
                .is_err()
        );
        assert_eq!(refusal(world.ask(token.expose())), unreadable);
    }
    assert!(world.index.tokens_of("jane", "uid-1").is_empty());
}

#[test]
fn a_stored_token_without_an_end_or_a_hash_is_no_token() {
    let mut world = World::new();
    world.user("jane", "uid-1");
    let endless = world.token(JANE, |spec| spec.expires_at = None);
    let unreadable = AuthnError::Unavailable(Unknowable::Unreadable);
    assert_eq!(refusal(world.ask(endless.expose())), unreadable);
    let token = world.token(JANE, |_| ());
    let spec = TokenSpec {
        user: member("jane", "uid-1"),
        expires_at: Some(Timestamp::MAX),
        ..TokenSpec::default()
    };
    let name = token.id();
    world.put(
        name.as_str(),
        Token::new(name.as_str(), spec),
        TokenPrivate::default(),
    );
    assert_eq!(refusal(world.ask(token.expose())), unreadable);
}

#[test]
fn tokens_of_a_user_are_listed() {
    let mut world = World::new();
    world.user("jane", "uid-1");
    let first = world.token(JANE, |_| ());
    let second = world.token(JANE, |_| ());
    world.token(("jane", "uid-2"), |_| ());
    world.delete::<Token>(first.id().as_str());
    let ids: Vec<_> = world
        .index
        .tokens_of("jane", "uid-1")
        .iter()
        .map(|it| it.id)
        .collect();
    assert_eq!(ids, [second.id()]);
}

// T8: nothing is remembered of tokens that are not known.
#[test]
fn unknown_tokens_leave_no_trace() {
    let world = World::new();
    for _ in 0..100 {
        let token = TokenText::generate(TokenKind::Pat).unwrap();
        assert_eq!(
            refusal(world.ask(token.expose())),
            refused(Refusal::UnknownToken)
        );
        assert!(world.index.token(token.id(), |slot| slot.is_none()));
    }
}

// G5: whatever the reason, a stranger reads the same.
#[test]
fn all_refusals_read_the_same() {
    let texts: std::collections::BTreeSet<_> = [
        Refusal::Missing,
        Refusal::Scheme,
        Refusal::Malformed,
        Refusal::UnknownToken,
        Refusal::WrongSecret,
        Refusal::Expired,
        Refusal::NoUser,
        Refusal::Disabled,
        Refusal::PasswordChanged,
    ]
    .into_iter()
    .map(|why| AuthnError::Refused(why).status().to_json())
    .collect();
    assert_eq!(texts.len(), 1);
}

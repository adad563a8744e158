//! Tokens, users, local groups and accounts at providers in memory, as the requests read them.
//!
//! Reads are lock-free (papaya) and cost an `Arc` clone; one writer at a time applies the store's changes,
//! each touching only the entries that it is about. Of a request only the way from a token to its user counts: the
//! token's entry leads to the user's at once ([`tokens`]), because with a million tokens each step to another piece of
//! memory is one that no cache holds. What could go wrong: a value that cannot be read (a
//! newer schema, a damaged file). It is then neither absent nor what it was before: its slot says
//! [`Slot::Unreadable`], and whoever needs it is told "cannot tell" (503).

mod accounts;

use super::{
    providers::{self, Account, Accounts},
    token::TokenId,
    usage,
};
use crate::{
    objects::{DecodeError, Group, Kind as _, Member, Stored, Token, User},
    store::follow::{Batch, Change},
};
use accounts::Home;
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

mod names;
mod tokens;
mod user;

use tokens::Tokens;
pub use tokens::{TokenEntry, TokenFacts};
pub use user::UserEntry;

/// What the index holds under a name.
#[derive(Clone)]
pub enum Slot<T> {
    /// The entry.
    Known(T),
    /// There is something that this build cannot read.
    Unreadable,
}

/// Names of groups as they are at a moment, without a copy of each. What was removed meanwhile is kept in memory for
/// as long as this lives.
pub struct GroupNames<'i>(
    papaya::HashMapRef<'i, Box<str>, Box<str>, std::hash::RandomState, papaya::LocalGuard<'i>>,
);

impl GroupNames<'_> {
    /// The name of the group with this uid.
    pub fn of(&self, uid: &str) -> Option<&str> {
        self.0.get(uid).map(AsRef::as_ref)
    }
}

/// The in-memory index.
#[derive(Default)]
pub struct Index {
    tokens: Tokens,
    /// By handle: a deletion in the store names nothing else.
    users: papaya::HashMap<Box<str>, Slot<Arc<UserEntry>>>,
    /// Names of local groups by uid.
    group_names: papaya::HashMap<Box<str>, Box<str>>,
    /// Uids of local groups by name.
    group_uids: papaya::HashMap<Box<str>, Box<str>>,
    /// Uids of providers' groups that some user is in, by `<provider>:<name>`; none: several have the name.
    foreign_uids: papaya::HashMap<Box<str>, Option<Box<str>>>,
    accounts: Accounts,
    loaded: AtomicBool,
    writer: Mutex<Writer>,
}

/// What only the writer needs, to touch no more than a change is about.
#[derive(Default)]
struct Writer {
    /// By name.
    groups: BTreeMap<Box<str>, LocalGroup>,
    /// By name and uid: a member whose uid is not the user's is nobody.
    groups_of: BTreeMap<Member, BTreeSet<Box<str>>>,
    owners: tokens::Owners,
    /// By what their keys end with.
    accounts: BTreeMap<Box<str>, Arc<Account>>,
    account_of: BTreeMap<Member, Arc<Account>>,
}

struct LocalGroup {
    uid: Box<str>,
    members: BTreeSet<Member>,
}

impl Index {
    /// An empty index, which answers "cannot tell" until [`Index::set_loaded`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that all that the store holds has been applied once.
    pub fn set_loaded(&self) {
        self.loaded.store(true, Ordering::Release);
    }

    /// Whether the index has been filled.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Applies what a follower of the store tells, and reports in the log what cannot be read.
    pub fn apply_batch(&self, batch: &Batch) {
        for change in &batch.changes {
            if let Err(error) = self.apply(change) {
                tracing::error!(%error, "a user, group or token cannot be read");
            }
        }
        if batch.complete {
            self.set_loaded();
        }
    }

    /// Applies one change. Keys that are not about users, groups or tokens are left alone.
    ///
    /// An error means that the value could not be read; the index has taken note of that.
    pub fn apply(&self, change: &Change) -> Result<(), DecodeError> {
        let value = match change {
            Change::Put(kv) => Some((kv.value.as_ref(), kv.mod_revision)),
            Change::Delete { .. } => None,
        };
        let key = change.key();
        if let Some(name) = key.strip_prefix(&Token::prefix()) {
            self.apply_token(key, name, value)
        } else if let Some(name) = key.strip_prefix(&User::prefix()) {
            self.apply_user(key, name, value)
        } else if let Some(name) = key.strip_prefix(&Group::prefix()) {
            self.apply_group(key, name, value)
        } else if let Some(name) = key.strip_prefix(providers::PREFIX) {
            self.apply_account(key, name, value)
        } else {
            if let (true, Some((value, _))) = (key.starts_with(usage::PREFIX), value) {
                self.apply_uses(value);
            }
            Ok(())
        }
    }

    /// What a newer build wrote in another form says nothing here.
    fn apply_uses(&self, value: &[u8]) {
        for (id, minute) in usage::read(value).unwrap_or_default() {
            if let Some(id) = TokenId::parse(&id) {
                self.token(id, |slot| {
                    if let Some(Slot::Known(token)) = slot {
                        token.last_use.learn(minute);
                    }
                });
            }
        }
    }

    /// Uses of tokens that the store does not have yet. Looks at every token.
    pub(super) fn unsaved_uses(&self) -> Vec<(TokenId, u32)> {
        self.tokens.unsaved_uses()
    }

    /// Shows `look` the token with this id.
    pub fn token<R>(&self, id: TokenId, look: impl FnOnce(Option<&Slot<TokenEntry>>) -> R) -> R {
        self.tokens.get(id, look)
    }

    /// When the token with this id was last used.
    pub fn last_use(&self, id: TokenId) -> Option<Timestamp> {
        self.token(id, |slot| match slot {
            Some(Slot::Known(token)) => token.last_use.get(),
            Some(Slot::Unreadable) | None => None,
        })
    }

    /// The user with this handle, if there is one that can be read.
    pub fn user(&self, handle: &str) -> Option<Arc<UserEntry>> {
        match self.user_slot(handle)? {
            Slot::Known(user) => Some(user),
            Slot::Unreadable => None,
        }
    }

    /// The user with this handle.
    pub fn user_slot(&self, handle: &str) -> Option<Slot<Arc<UserEntry>>> {
        self.users.pin().get(handle).cloned()
    }

    /// The name of the group with this uid: for people to read, uids count.
    pub fn group_name(&self, uid: &str) -> Option<Box<str>> {
        self.group_names().of(uid).map(Into::into)
    }

    /// The names of groups, for whoever wants many of them.
    pub fn group_names(&self) -> GroupNames<'_> {
        GroupNames(self.group_names.pin())
    }

    /// The uid of the local group with this name.
    pub fn group_uid(&self, name: &str) -> Option<Box<str>> {
        self.group_uids.pin().get(name).cloned()
    }

    /// All readable tokens of a user. For the rare commands that end sessions, not for requests.
    pub fn tokens_of(&self, handle: &str, uid: &str) -> Vec<TokenFacts> {
        let ids: Vec<TokenId> = {
            let writer = self.writer();
            writer.owners.tokens_of(&member(handle, uid)).collect()
        };
        let facts = ids.into_iter().filter_map(|id| self.tokens.facts(id));
        facts.collect()
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // Every change is applied whole or not at all, also if a panic cut one off: the next change to
        // the same key repairs it.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply_token(
        &self,
        key: &str,
        name: &str,
        value: Option<(&[u8], u64)>,
    ) -> Result<(), DecodeError> {
        // No text of a token leads to another name.
        let Some(id) = TokenId::parse(name) else {
            return Ok(());
        };
        let decoded = value
            .map(|(bytes, at)| Stored::<Token>::decode(key, bytes, at))
            .transpose();
        let (new, failure) = match decoded {
            Ok(None) => (None, None),
            Ok(Some(stored)) => (Some(tokens::read(stored)), None),
            Err(error) => (Some(Slot::Unreadable), Some(error)),
        };
        let mut writer = self.writer();
        let users = self.users.pin();
        let new = new.map(|slot| match slot {
            Slot::Known(new) => {
                let slot = users.get(new.user.name.as_str());
                let known = slot.and_then(|slot| known_of(&new.user, slot));
                let owner = writer.owners.take(&new.user, id);
                Slot::Known((new, (owner, known)))
            }
            Slot::Unreadable => Slot::Unreadable,
        });
        if let Some(left) = self.tokens.put(id, new) {
            writer.owners.leave(&left, id);
        }
        failure.map_or(Ok(()), Err)
    }

    fn apply_user(
        &self,
        key: &str,
        name: &str,
        value: Option<(&[u8], u64)>,
    ) -> Result<(), DecodeError> {
        let decoded = value.map(|(bytes, at)| (Stored::<User>::decode(key, bytes, at), at));
        let writer = self.writer();
        match decoded {
            None => {
                self.users.pin().remove(name);
                self.tell(&writer, name, |_| None);
                Ok(())
            }
            Some((Ok(stored), at)) => {
                let user = member(name, &stored.object.metadata.uid);
                let home = Home::of(&stored.object.spec.principals);
                let home = home.with(writer.account_of.get(&user));
                let groups = writer.groups_of(&user, &home);
                let entry = UserEntry::new(name, stored, at, (groups, home));
                self.put_user(&writer, name, Slot::Known(Arc::new(entry)));
                Ok(())
            }
            Some((Err(error), _)) => {
                self.put_user(&writer, name, Slot::Unreadable);
                Err(error)
            }
        }
    }

    /// A group that cannot be read has no members: its grants are missed, none is invented.
    fn apply_group(
        &self,
        key: &str,
        name: &str,
        value: Option<(&[u8], u64)>,
    ) -> Result<(), DecodeError> {
        let decoded = value
            .map(|(bytes, at)| Stored::<Group>::decode(key, bytes, at))
            .transpose();
        let (new, failure) = match decoded {
            Ok(stored) => (stored.map(local_group), None),
            Err(error) => (None, Some(error)),
        };
        let mut writer = self.writer();
        let (names, uids) = (self.group_names.pin(), self.group_uids.pin());
        if let Some(old) = writer.groups.get(name) {
            names.remove(&old.uid);
        }
        match &new {
            Some(new) => {
                names.insert(new.uid.clone(), name.into());
                uids.insert(name.into(), new.uid.clone());
            }
            None => {
                uids.remove(name);
            }
        }
        for user in writer.replace_group(name, new) {
            self.refresh_groups(&writer, &user);
        }
        failure.map_or(Ok(()), Err)
    }

    fn refresh_groups(&self, writer: &Writer, user: &Member) {
        let users = self.users.pin();
        let Some(Slot::Known(old)) = users.get(user.name.as_str()) else {
            return;
        };
        if *old.uid == *user.uid {
            let home = old.home.with(writer.account_of.get(user));
            let entry = old.with(writer.groups_of(user, &home), home);
            self.put_user(writer, &user.name, Slot::Known(Arc::new(entry)));
        }
    }

    /// From now on this is what there is under a handle, also for the tokens of its user.
    fn put_user(&self, writer: &Writer, name: &str, slot: Slot<Arc<UserEntry>>) {
        self.tell(writer, name, |user| known_of(user, &slot));
        self.users.pin().insert(name.into(), slot);
    }

    /// Says to the tokens of whoever has or had a handle what is known of their users.
    fn tell(
        &self,
        writer: &Writer,
        handle: &str,
        known: impl Fn(&Member) -> Option<Arc<UserEntry>>,
    ) {
        for (user, tokens) in writer.owners.of_handle(handle) {
            self.tokens.tell(user, tokens, known(user).as_ref());
        }
    }
}

/// What a user's tokens lead to: the entry under the handle, if it is this user's.
fn known_of(user: &Member, slot: &Slot<Arc<UserEntry>>) -> Option<Arc<UserEntry>> {
    match slot {
        Slot::Known(entry) => (*entry.uid == *user.uid).then(|| Arc::clone(entry)),
        Slot::Unreadable => Some(Arc::new(UserEntry::unreadable(user))),
    }
}

impl Writer {
    fn groups_of(&self, user: &Member, home: &Home) -> Arc<[Box<str>]> {
        let local = self.groups_of.get(user).into_iter().flatten().cloned();
        let mut all: Vec<Box<str>> = local.collect();
        if let Home::Account(account) = home {
            all.extend(account.group_uids());
            all.sort();
        }
        all.into()
    }

    /// Puts `new` in the place of the group called `name`; gives the users whose groups changed.
    fn replace_group(&mut self, name: &str, new: Option<LocalGroup>) -> BTreeSet<Member> {
        let ids = |group: Option<&LocalGroup>| -> BTreeSet<(Member, Box<str>)> {
            let group = group.into_iter();
            let members =
                group.flat_map(|group| group.members.iter().map(|user| (user, &group.uid)));
            members
                .map(|(user, uid)| (user.clone(), uid.clone()))
                .collect()
        };
        let (had, has) = (ids(self.groups.get(name)), ids(new.as_ref()));
        for (user, uid) in had.difference(&has) {
            remove_from(&mut self.groups_of, user, uid);
        }
        for (user, uid) in has.difference(&had) {
            let groups = self.groups_of.entry(user.clone()).or_default();
            groups.insert(uid.clone());
        }
        match new {
            Some(new) => drop(self.groups.insert(name.into(), new)),
            None => drop(self.groups.remove(name)),
        }
        let changed = had.symmetric_difference(&has);
        changed.map(|(user, _)| user.clone()).collect()
    }
}

fn member(name: &str, uid: &str) -> Member {
    Member {
        name: name.to_owned(),
        uid: uid.to_owned(),
    }
}

fn remove_from<T: Ord>(map: &mut BTreeMap<Member, BTreeSet<T>>, user: &Member, entry: &T) {
    if let Some(set) = map.get_mut(user) {
        set.remove(entry);
        if set.is_empty() {
            map.remove(user);
        }
    }
}

fn local_group(stored: Stored<Group>) -> LocalGroup {
    let members = stored.object.spec.members.into_iter();
    LocalGroup {
        uid: stored.object.metadata.uid.into(),
        // A member whose uid was never filled in is nobody: handles can be given again.
        members: members.filter(|member| !member.uid.is_empty()).collect(),
    }
}

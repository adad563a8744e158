//! What a provider last said of an account: in the store, and in memory as requests read it.

use super::{
    super::identity::{AuthnError, Refusal, Unknowable},
    ids::Ids,
};
use crate::{
    config::{Access, AccessMode},
    objects::{DecodeError, Member},
    status::clock,
};
use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};

/// Keys of records. They sort before those of the users: a replica that starts reads them first.
pub const PREFIX: &str = "/palisade/accounts/";
/// Schema version that this build writes; a record with a higher one is not read.
const SCHEMA: u32 = 1;
/// Accounts that requests want to have read again, at the same time; what finds no room comes with the schedule.
const MAX_WANTED: usize = 1_000;

/// How far the clock of whoever wrote a record may be ahead: beyond that its time says nothing, and it is read anew.
const AHEAD: Duration = Duration::from_mins(1);
/// How long an account that could not be read is left alone: it would be asked for again with every request. And, at
/// least, one that another replica has begun to ask for: it may have been stopped half-way.
const LEFT_ALONE: Duration = Duration::from_secs(30);

/// The key of an account's record. Ids are UUIDs, numbers (some with a host) or hashes: no slash, nothing to escape.
pub fn record_key(provider: &str, id: &str) -> String {
    format!("{PREFIX}{provider}/{id}")
}

/// What bindings name a provider's group by: ids of two providers never meet, nor those of local groups.
pub fn group_uid(provider: &str, id: &str) -> String {
    format!("{provider}:{id}")
}

/// Whether a uid is one of a provider's groups: those of local groups are UUIDs.
pub fn is_group_uid(uid: &str) -> bool {
    uid.contains(':')
}

/// A group at a provider.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupRef {
    /// Immutable.
    pub id: Box<str>,
    /// For people.
    pub name: Box<str>,
}

/// Whether the provider lets the account log in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It may.
    #[default]
    Active,
    /// An administrator there has disabled it.
    Disabled,
    /// Too many wrong passwords there.
    Locked,
    /// Its time there is over, or has not come.
    Expired,
    /// Its password must be changed there before anything else.
    MustChange,
    /// It is not there any more, or not among the accounts that are looked for.
    Gone,
    /// What its last login left here to read it again with is of no use any more. A new login makes it active.
    Ended,
}

/// What is stored of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// [`SCHEMA`] at the time of writing.
    schema: u32,
    /// The user that the account belongs to.
    pub user: Member,
    /// The account's name at the provider, for people and for lists of who may log in.
    pub name: Box<str>,
    /// Its groups, in the order of their ids.
    pub groups: Vec<GroupRef>,
    /// Its state.
    pub standing: Standing,
    /// Grows when the account's password is changed there: sessions from before are over. 0: the provider does not say.
    #[serde(default)]
    pub password_epoch: u64,
    /// When the provider said so.
    pub checked_at: Timestamp,
    /// What the account is read again with, where that takes something of its own: sealed for this record's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// When a replica began to ask with the grant, where that counts once: until it has an answer no other one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Timestamp>,
}

impl Record {
    /// What was said at this moment.
    pub fn new(user: Member, name: &str, mut groups: Vec<GroupRef>, checked_at: Timestamp) -> Self {
        groups.sort();
        groups.dedup_by(|a, b| a.id == b.id);
        Self {
            schema: SCHEMA,
            user,
            name: name.into(),
            groups,
            standing: Standing::Active,
            password_epoch: 0,
            checked_at,
            grant: None,
            asked_at: None,
        }
    }

    /// The same of this user's account.
    #[must_use]
    pub fn of(&self, user: Member) -> Self {
        Self {
            user,
            ..self.clone()
        }
    }

    /// With this state.
    #[must_use]
    pub fn with(self, standing: Standing) -> Self {
        Self { standing, ..self }
    }

    /// With this, sealed, to read it again with.
    #[must_use]
    pub fn granted(self, grant: Option<String>) -> Self {
        Self { grant, ..self }
    }

    /// As one that a replica asks for from now on.
    #[must_use]
    pub fn asked(self, now: Timestamp) -> Self {
        Self {
            asked_at: Some(now),
            ..self
        }
    }

    /// Whether a replica may be asking for it, where all that it asks takes so long at most.
    pub fn is_asked(&self, now: Timestamp, longest: Duration) -> bool {
        let longest = longest.max(LEFT_ALONE);
        self.asked_at
            .is_some_and(|at| now.duration_since(at).unsigned_abs() < longest)
    }

    /// With a password of this age.
    #[must_use]
    pub fn with_password(self, password_epoch: u64) -> Self {
        Self {
            password_epoch,
            ..self
        }
    }

    /// As what is said after `before`. Of two servers of one directory one may not know yet of a change of the password
    /// that the other has told of: it is not undone.
    #[must_use]
    pub fn after(self, before: &Self) -> Self {
        let password_epoch = self.password_epoch.max(before.password_epoch);
        self.with_password(password_epoch)
    }

    /// Bytes for the store.
    pub fn encode(&self) -> Vec<u8> {
        // Texts, lists and a time: they always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a store value.
    pub fn decode(key: &str, value: &[u8]) -> Result<Self, DecodeError> {
        let broken = |source| DecodeError::Broken {
            key: key.to_owned(),
            source,
        };
        let record: Self = serde_json::from_slice(value).map_err(broken)?;
        if record.schema > SCHEMA {
            return Err(DecodeError::Newer {
                key: key.to_owned(),
                found: record.schema,
            });
        }
        Ok(record)
    }

    /// Whether it says the same, whenever that was, and whatever it is read again with.
    pub fn says_what(&self, other: &Self) -> bool {
        *self
            == Self {
                checked_at: self.checked_at,
                grant: self.grant.clone(),
                asked_at: self.asked_at,
                ..other.clone()
            }
    }

    /// Whether the account may log in here, by what the provider says of it and by who is listed.
    pub fn is_listed(&self, id: &str, access: &Access, ids: &Ids) -> bool {
        match access.mode {
            AccessMode::DangerAnyone => true,
            AccessMode::Restricted => {
                let mut users = access.users.iter();
                let user = users.any(|it| ids.is_user(it, &self.name, id));
                let groups = || {
                    let mut groups = self.groups.iter();
                    groups.any(|group| access.groups.iter().any(|it| ids.is_group(it, group)))
                };
                user || groups()
            }
        }
    }
}

/// What the configuration says about a provider's accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Who may log in.
    pub access: Access,
    /// How they are listed by id.
    pub ids: Ids,
    /// Age from which on the provider is asked again.
    pub interval: Duration,
    /// Age from which on what it said counts no more.
    pub max_age: Duration,
    /// Accounts are read again with a grant of their own: one without cannot be, and its login ends at `max_age`.
    pub by_grant: bool,
}

/// A provider, as its accounts see it: there is one for each name that was ever heard of.
struct Scope {
    /// The provider's name.
    name: Box<str>,
    /// None: there is no such provider (any more), or it is disabled.
    rules: ArcSwapOption<Rules>,
    wanted: mpsc::Sender<Arc<Account>>,
}

/// An account in memory.
pub struct Account {
    scope: Arc<Scope>,
    /// Immutable id at the provider.
    pub id: Box<str>,
    /// As it is stored; what changes without a write is beside it.
    pub record: Record,
    /// Revision of the record: what a compare-and-swap must find.
    pub revision: u64,
    /// Whether it is among those who may log in.
    listed: AtomicBool,
    /// Shared by all that were ever made of this account's records.
    seen: Arc<Seen>,
}

/// What this replica knows besides the record.
#[derive(Default)]
struct Seen {
    /// When the provider was last heard to say what the record says: seconds since 1970.
    checked_at: AtomicI64,
    /// A request has asked for it to be read again.
    wanted: AtomicBool,
    /// When it could last not be read, it alone.
    failed: Mutex<Option<Instant>>,
}

impl Seen {
    /// The provider said so at this moment; what is newer counts, unless no clock can have shown it yet.
    fn at(&self, at: Timestamp, now: Timestamp) {
        let (at, latest) = (at.as_second(), latest(now));
        let next = |known: i64| {
            if known > latest { at } else { known.max(at) }
        };
        let _ = self
            .checked_at
            .fetch_update(Relaxed, Relaxed, |known| Some(next(known)));
    }

    fn failed(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last second that a clock which is right enough can show now.
fn latest(now: Timestamp) -> i64 {
    let ahead = i64::try_from(AHEAD.as_secs()).unwrap_or(0);
    now.as_second().saturating_add(ahead)
}

impl Account {
    /// The provider's name.
    pub fn provider(&self) -> &str {
        &self.scope.name
    }

    /// What bindings name its groups by.
    pub fn group_uids(&self) -> impl Iterator<Item = Box<str>> + '_ {
        let groups = self.record.groups.iter();
        groups.map(|group| group_uid(&self.scope.name, &group.id).into())
    }

    /// Whether a credential of the account's user counts now. Reads memory alone; what is old is asked for
    /// again, beside the request.
    pub(in crate::authn) fn judge(self: &Arc<Self>, now: Timestamp) -> Result<(), AuthnError> {
        let refused = |why| Err(AuthnError::Refused(why));
        let rules = self.scope.rules.load();
        let Some(rules) = &*rules else {
            return refused(Refusal::NoProvider);
        };
        match self.record.standing {
            Standing::Active => {}
            Standing::Disabled => return refused(Refusal::AccountDisabled),
            Standing::Locked => return refused(Refusal::AccountLocked),
            Standing::Expired => return refused(Refusal::AccountExpired),
            Standing::MustChange => return refused(Refusal::AccountMustChange),
            Standing::Gone => return refused(Refusal::AccountGone),
            Standing::Ended => return refused(Refusal::LoginEnded),
        }
        if !self.listed.load(Relaxed) {
            return refused(Refusal::NotListed);
        }
        let age = self.age(now);
        if age >= rules.interval {
            self.want();
        }
        if age >= rules.max_age {
            if rules.by_grant && self.record.grant.is_none() {
                return refused(Refusal::LoginEnded);
            }
            return Err(AuthnError::Unavailable(Unknowable::Stale));
        }
        Ok(())
    }

    /// Time since the provider said so. A time that is yet to come says nothing: a clock was wrong, and nobody knows
    /// how old the word is.
    pub(in crate::authn) fn age(&self, now: Timestamp) -> Duration {
        let checked_at = self.seen.checked_at.load(Relaxed);
        if checked_at > latest(now) {
            return Duration::MAX;
        }
        let seconds = now.as_second() - checked_at;
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    /// The provider said the same at this moment.
    pub fn confirm(&self, at: Timestamp) {
        self.seen.at(at, clock::now());
    }

    /// It could not be read, it alone: for a while it is not tried.
    pub(super) fn put_off(&self) {
        *self.seen.failed() = Some(Instant::now());
    }

    /// Whether it may be tried.
    pub(super) fn may_be_read(&self) -> bool {
        let failed = self.seen.failed();
        failed.is_none_or(|at| at.elapsed() >= LEFT_ALONE)
    }

    /// It is being read, or was: a request may ask for it again.
    pub(super) fn answered(&self) {
        self.seen.wanted.store(false, Relaxed);
    }

    /// Whether its provider is there, and how old its word may become.
    pub(super) fn rules(&self) -> Option<Arc<Rules>> {
        self.scope.rules.load_full()
    }

    fn want(self: &Arc<Self>) {
        if self.seen.wanted.load(Relaxed) || self.seen.wanted.swap(true, Relaxed) {
            return;
        }
        if self.scope.wanted.try_send(Arc::clone(self)).is_err() {
            self.answered();
        }
    }

    fn look_up_rules(&self) {
        let rules = self.scope.rules.load();
        let listed = rules
            .as_ref()
            .is_some_and(|rules| self.record.is_listed(&self.id, &rules.access, &rules.ids));
        self.listed.store(listed, Relaxed);
    }
}

/// All accounts of all providers, by provider and id. Behind the index's own lock.
pub struct Accounts {
    scopes: Mutex<HashMap<Box<str>, Arc<Scope>>>,
    wanted: mpsc::Sender<Arc<Account>>,
    /// For the one who reads again.
    queue: Mutex<Option<mpsc::Receiver<Arc<Account>>>>,
}

impl Default for Accounts {
    fn default() -> Self {
        let (wanted, queue) = mpsc::channel(MAX_WANTED);
        Self {
            scopes: Mutex::default(),
            wanted,
            queue: Mutex::new(Some(queue)),
        }
    }
}

impl Accounts {
    /// From now on these providers are there, by name, and no others. The caller then has every account look at
    /// the rules again.
    pub(in crate::authn) fn set_rules(&self, rules: &HashMap<Box<str>, Arc<Rules>>) {
        let mut scopes = self.scopes();
        for name in rules.keys() {
            self.scope_in(&mut scopes, name);
        }
        for (name, scope) in scopes.iter() {
            scope.rules.store(rules.get(name).cloned());
        }
    }

    /// Whether there is a provider of this name, and not disabled.
    pub(in crate::authn) fn has(&self, provider: &str) -> bool {
        let scopes = self.scopes();
        let scope = scopes.get(provider);
        scope.is_some_and(|scope| scope.rules.load().is_some())
    }

    /// An account as its record says; what `old` knew of the same account is kept.
    pub(in crate::authn) fn account(
        &self,
        (provider, id): (&str, &str),
        record: Record,
        revision: u64,
        old: Option<&Arc<Account>>,
    ) -> Arc<Account> {
        let scope = self.scope_in(&mut self.scopes(), provider);
        let seen = old.map_or_else(Arc::default, |old| Arc::clone(&old.seen));
        seen.at(record.checked_at, clock::now());
        let account = Account {
            scope,
            id: id.into(),
            record,
            revision,
            listed: AtomicBool::new(false),
            seen,
        };
        account.look_up_rules();
        Arc::new(account)
    }

    /// The rules have changed.
    pub(in crate::authn) fn look_up_rules<'a>(accounts: impl Iterator<Item = &'a Arc<Account>>) {
        for account in accounts {
            account.look_up_rules();
        }
    }

    /// Accounts that requests want to have read again. There is one who gets it.
    pub(super) fn take_queue(&self) -> Option<mpsc::Receiver<Arc<Account>>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.take()
    }

    fn scopes(&self) -> std::sync::MutexGuard<'_, HashMap<Box<str>, Arc<Scope>>> {
        // Nothing in there can panic half-way through.
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scope_in(&self, scopes: &mut HashMap<Box<str>, Arc<Scope>>, name: &str) -> Arc<Scope> {
        let scope = scopes.entry(name.into()).or_insert_with(|| {
            Arc::new(Scope {
                name: name.into(),
                rules: ArcSwapOption::empty(),
                wanted: self.wanted.clone(),
            })
        });
        Arc::clone(scope)
    }
}

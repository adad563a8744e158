//! Asking providers again, beside the requests: what an account's groups and state are now.
//!
//! Every account whose user holds a session or a token is read again before its provider's word is older than
//! `refresh.interval`; one that a request finds older is read at once. Reading is spread over the last quarter of
//! the interval, in batches of [`BATCH`], by one task for each provider: 10,000 users and five minutes are some
//! 40 questions a second for the directory.
//!
//! What says the same as before is noted in memory, and written now and then, so that a restart while the
//! directory is down finds it. A directory that does not answer changes nothing here: how long its last word
//! counts is decided where requests are judged.
//!
//! A directory is asked for many accounts at once, with an account of its own; GitHub and OpenID providers for each one
//! by itself, with what its login left here ([`by_grant`]).

mod by_grant;
mod claim;
mod unsaved;

pub use claim::Claims;
pub use unsaved::Unsaved;

use super::{
    Account, Provider, Providers, Record, Standing, ldap,
    ldap::{BATCH, Failure, Found},
    live::names_life,
};
use crate::{
    authn::Index,
    observe::metrics::{cells::Table, labels::RefreshEnd},
    status::clock,
    store::{Store, StoreError, Txn, seal::Keyring},
};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Between two looks at which accounts are due: a fiftieth of the default interval, and of no weight.
const LOOK: Duration = Duration::from_secs(5);
/// How long the first request that wants an account read again waits for others to be read with it.
const GATHER: Duration = Duration::from_millis(50);
/// How long a provider that did not answer is left alone: requests would have it tried some twenty times a second.
/// Below [`LOOK`]: the next look tries it.
const PAUSE: Duration = Duration::from_secs(3);
/// Accounts that could not be read, of one round, of which the log says more than their number.
const MAX_NAMED: usize = 10;
/// Accounts that could not be read, after which a round ends: where none can be read (the search account has lost a
/// right), finding out one by one would be twice as many questions as there are accounts. The next round goes without
/// these ([`Account::put_off`]).
const MAX_ALONE: usize = 200;
/// Accounts whose groups are read at the same time from one directory.
const AT_ONCE: usize = 4;

/// Wait at the end for what the store did not take yet: a queue of writes is gone by then, or stands still.
const LAST_SAVE: Duration = Duration::from_secs(5);

/// What refreshing works with.
#[derive(Clone)]
pub struct Refresher {
    /// Where to ask.
    pub providers: Arc<Providers>,
    /// What is known.
    pub index: Arc<Index>,
    /// Where it is written.
    pub store: Store,
    /// Opens and seals what accounts are read again with.
    pub keyring: Arc<Keyring>,
    /// Counts outcomes.
    pub ends: Arc<Table<RefreshEnd>>,
    /// What the store did not take yet.
    pub unsaved: Arc<Unsaved>,
    /// What other replicas left half-way.
    pub claims: Arc<Claims>,
}

/// What runs.
#[derive(Default)]
struct Running {
    /// Providers that are not to be asked.
    held: Mutex<HashMap<Box<str>, Held>>,
    tasks: TaskTracker,
}

/// Why a provider is not to be asked.
enum Held {
    /// It is being asked.
    Busy,
    /// It did not answer then.
    Failed(Instant),
}

impl Running {
    fn held(&self) -> MutexGuard<'_, HashMap<Box<str>, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn of a provider that may be asked now.
    fn turn(
        self: &Arc<Self>,
        provider: Arc<Provider>,
        accounts: Vec<Arc<Account>>,
    ) -> Result<Turn, Vec<Arc<Account>>> {
        let mut held = self.held();
        match held.get(&provider.name) {
            Some(Held::Busy) => return Err(accounts),
            Some(Held::Failed(at)) if at.elapsed() < PAUSE => return Err(accounts),
            Some(Held::Failed(_)) | None => {}
        }
        held.insert(provider.name.clone(), Held::Busy);
        drop(held);
        Ok(Turn {
            running: Arc::clone(self),
            provider,
            accounts,
            answered: false,
        })
    }
}

/// A provider's turn to be asked. However it ends, the next may begin.
struct Turn {
    running: Arc<Running>,
    provider: Arc<Provider>,
    accounts: Vec<Arc<Account>>,
    answered: bool,
}

impl Turn {
    fn end(mut self, answered: bool) {
        self.answered = answered;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let provider = &*self.provider.name;
            tracing::error!(
                provider,
                "reading accounts again has panicked; it goes on with the next look"
            );
        }
        answered(&self.accounts);
        let mut held = self.running.held();
        if self.answered {
            held.remove(&self.provider.name);
        } else {
            held.insert(self.provider.name.clone(), Held::Failed(Instant::now()));
        }
    }
}

impl Refresher {
    /// Refreshes until `end`, and ends when what was begun is written. That may take as long as a provider and the store
    /// take: whoever waits for it has a bound of their own.
    pub async fn run(self, end: CancellationToken) {
        let Some(mut wanted) = self.index.accounts().take_queue() else {
            return;
        };
        let running = Arc::new(Running::default());
        let (sweeper, stop) = (self.clone(), end.clone());
        running.tasks.spawn(async move {
            let _ = stop.run_until_cancelled(sweeper.keep_swept()).await;
        });
        let (saver, stop) = (self.clone(), end.clone());
        running.tasks.spawn(async move {
            let _ = stop.run_until_cancelled(saver.keep_saving()).await;
        });
        let work = async {
            // One for all of it: begun anew with each account that is wanted it would never come.
            let mut look = interval_at(Instant::now() + LOOK, LOOK);
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let mut due = self.next(&mut wanted, &mut look).await;
                for (provider, accounts) in std::mem::take(&mut due) {
                    self.begin(&running, &provider, accounts, &end);
                }
            }
        };
        let _ = end.run_until_cancelled(work).await;
        running.tasks.close();
        running.tasks.wait().await;
        // All of them wait for the same store: one that takes nothing now does not for the next either.
        let _ = timeout(LAST_SAVE, self.save_all()).await;
    }

    /// What is to be read now, by provider.
    async fn next(
        &self,
        wanted: &mut mpsc::Receiver<Arc<Account>>,
        look: &mut Interval,
    ) -> BTreeMap<Box<str>, Vec<Arc<Account>>> {
        let mut due: Vec<Arc<Account>> = Vec::new();
        tokio::select! {
            first = wanted.recv() => {
                due.extend(first);
                sleep(GATHER).await;
                while let Ok(more) = wanted.try_recv() {
                    due.push(more);
                }
            }
            _ = look.tick() => {
                let index = Arc::clone(&self.index);
                let now = clock::now();
                // Every account is looked at: not on a thread that serves requests.
                let found = tokio::task::spawn_blocking(move || {
                    let mut found = index.accounts_in_use(now);
                    found.retain(|account| is_due(account, now));
                    found
                });
                due = found.await.unwrap_or_default();
            }
        }
        let mut by_provider: BTreeMap<Box<str>, Vec<Arc<Account>>> = BTreeMap::new();
        for account in due {
            if !account.may_be_read() {
                account.answered();
                continue;
            }
            let of_one = by_provider.entry(account.provider().into()).or_default();
            of_one.push(account);
        }
        by_provider
    }

    /// Reads these in a task of their provider's own: one that hangs holds up no other.
    fn begin(
        &self,
        running: &Arc<Running>,
        name: &str,
        accounts: Vec<Arc<Account>>,
        end: &CancellationToken,
    ) {
        let Some(provider) = self.providers.get(name) else {
            answered(&accounts);
            return;
        };
        let turn = match running.turn(provider, accounts) {
            Ok(turn) => turn,
            Err(accounts) => {
                // They are found again by the next look.
                answered(&accounts);
                return;
            }
        };
        let (refresher, end) = (self.clone(), end.clone());
        running.tasks.spawn(async move {
            let read = if let Some(directory) = turn.provider.directory().cloned() {
                let work = refresher.read_all(&turn.provider, &directory, &turn.accounts);
                end.run_until_cancelled(work).await
            } else {
                let work = refresher.read_each(&turn.provider, &turn.accounts, &end);
                match turn.provider.asks_alone() {
                    // What was begun may bring a new token in place of the one that was sent.
                    Some(_) => Some(work.await),
                    None => end.run_until_cancelled(work).await,
                }
            };
            turn.end(read == Some(true));
        });
    }

    /// In batches, and whether the directory answered: one that fails a batch is not asked for the next. An account
    /// that cannot be read fails alone: it stays as it was, and what the provider said of it last grows old.
    async fn read_all(
        &self,
        provider: &Provider,
        directory: &Arc<ldap::Directory>,
        accounts: &[Arc<Account>],
    ) -> bool {
        let mut alone = 0;
        let mut batches: Vec<&[Arc<Account>]> = accounts.chunks(BATCH).rev().collect();
        while alone < MAX_ALONE
            && let Some(batch) = batches.pop()
        {
            let failure = match self.read_batch(directory, batch, &mut alone).await {
                Ok(()) => continue,
                Err(failure) => failure,
            };
            if failure.is_of_one_account() {
                if let [account] = batch {
                    self.fail_alone(account, &failure.chain(), &mut alone);
                } else {
                    // Which of them it is, halves tell in a few questions.
                    let (first, second) = batch.split_at(batch.len() / 2);
                    batches.extend([second, first]);
                }
                continue;
            }
            self.fail_all(provider, &failure.chain());
            return false;
        }
        tell_number(provider, alone);
        alone < MAX_ALONE
    }

    /// The provider as a whole could not be asked.
    fn fail_all(&self, provider: &Provider, failure: &str) {
        self.ends.inc(RefreshEnd::Failed);
        let provider = &*provider.name;
        tracing::warn!(
            provider,
            failure,
            "accounts could not be read again; what the provider said last counts for a while"
        );
    }

    /// One account could not be read; `alone` counts those of this round.
    fn fail_alone(&self, account: &Account, failure: &str, alone: &mut usize) {
        self.ends.inc(RefreshEnd::Failed);
        account.put_off();
        *alone += 1;
        if *alone <= MAX_NAMED {
            let (provider, user) = (account.provider(), &*account.record.user.name);
            tracing::warn!(
                provider,
                user,
                failure,
                "an account could not be read again; what the provider said of it last counts for a while"
            );
        }
    }

    async fn read_batch(
        &self,
        directory: &Arc<ldap::Directory>,
        batch: &[Arc<Account>],
        alone: &mut usize,
    ) -> Result<(), Failure> {
        let ids: Vec<&str> = batch.iter().map(|account| &*account.id).collect();
        let mut found = directory.by_ids(&ids).await?;
        let mut reading = JoinSet::new();
        let mut by_task = HashMap::new();
        let mut waiting = batch.iter();
        loop {
            while reading.len() < AT_ONCE
                && let Some(account) = waiting.next()
            {
                let (refresher, of_task) = (self.clone(), Arc::clone(account));
                let (directory, found) = (Arc::clone(directory), found.remove(&account.id));
                let rules = account.rules();
                let names = rules.map_or(Duration::ZERO, |rules| names_life(rules.interval));
                let task = reading.spawn(async move {
                    refresher
                        .read_one((&directory, names), &of_task, found)
                        .await
                });
                by_task.insert(task.id(), account);
            }
            let Some(done) = reading.join_next_with_id().await else {
                return Ok(());
            };
            let (task, failure) = match done {
                Ok((_, Ok(()))) => continue,
                Ok((task, Err(failure))) => (task, Ok(failure)),
                Err(lost) => (lost.id(), Err(lost)),
            };
            let Some(account) = by_task.get(&task) else {
                continue;
            };
            match failure {
                Ok(failure) if failure.is_of_one_account() => {
                    self.fail_alone(account, &failure.chain(), alone);
                }
                Ok(failure) => {
                    // It may be this one that the directory is so slow with: the next round goes without it.
                    account.put_off();
                    return Err(failure);
                }
                // It panicked: the text says where.
                Err(lost) => self.fail_alone(account, &lost.to_string(), alone),
            }
        }
    }

    async fn read_one(
        &self,
        (directory, names): (&ldap::Directory, Duration),
        account: &Arc<Account>,
        found: Option<Found>,
    ) -> Result<(), Failure> {
        let now = clock::now();
        let user = account.record.user.clone();
        let record = match &found {
            // Whatever groups it had, they are of no use to anybody.
            None => Record::new(user, &account.record.name, Vec::new(), now).with(Standing::Gone),
            Some(found) => {
                let record = match found.standing()? {
                    Standing::Active => {
                        let groups = directory.groups(found, names).await?;
                        Record::new(user, &found.name, groups, now)
                    }
                    standing @ (Standing::Disabled
                    | Standing::Locked
                    | Standing::Expired
                    | Standing::MustChange
                    | Standing::Gone
                    | Standing::Ended) => {
                        Record::new(user, &found.name, Vec::new(), now).with(standing)
                    }
                };
                record.with_password(found.password_epoch())
            }
        };
        let record = record.after(&account.record);
        self.note(account, account.revision, record, now).await;
        Ok(())
    }

    /// Writes what is new, or what was not written for long. Whether the record says it now.
    async fn note(
        &self,
        account: &Arc<Account>,
        revision: u64,
        record: Record,
        now: Timestamp,
    ) -> bool {
        let same = account.record.says_what(&record);
        if same {
            account.confirm(now);
            self.ends.inc(RefreshEnd::Same);
            let stored = now.duration_since(account.record.checked_at);
            let old = account
                .rules()
                .map_or(Duration::MAX, |rules| rules.max_age / 4);
            let is_stored = revision == account.revision && account.record.grant == record.grant;
            if stored.unsigned_abs() < old && is_stored {
                return true;
            }
        } else {
            self.ends.inc(RefreshEnd::Changed);
            let (provider, user) = (account.provider(), &*record.user.name);
            let (groups, standing) = (record.groups.len(), record.standing);
            tracing::info!(
                provider,
                user,
                groups,
                ?standing,
                "an account has changed at its provider"
            );
        }
        let key = super::record_key(account.provider(), &account.id);
        self.write(&key, revision, &record).await
    }

    /// Whether it was written.
    async fn write(&self, key: &str, revision: u64, record: &Record) -> bool {
        let txn = Txn::new().when(key, revision);
        match self.store.txn(txn.put(key, record.encode())).await {
            Ok(_) => true,
            // A login, or another replica, has written it meanwhile, and knows better.
            Err(StoreError::Conflict { .. }) => false,
            Err(error) => {
                tracing::warn!(%error, "what a provider said cannot be written; it is asked again");
                false
            }
        }
    }
}

fn tell_number(provider: &Provider, alone: usize) {
    if alone > MAX_NAMED {
        let provider = &*provider.name;
        tracing::warn!(
            provider,
            accounts = alone,
            "so many accounts could not be read again"
        );
    }
}

/// Requests may ask for them again.
fn answered(accounts: &[Arc<Account>]) {
    for account in accounts {
        account.answered();
    }
}

/// Whether its time has come: somewhere in the last quarter of the interval, for each account at another point.
fn is_due(account: &Account, now: Timestamp) -> bool {
    let Some(rules) = account.rules() else {
        return false;
    };
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&account.id);
    let share = u32::try_from(hash % 256).unwrap_or(0);
    // The next look must not be too late, nor may the names be older.
    let latest = rules.interval.saturating_sub(LOOK);
    let latest = latest.saturating_sub(names_life(rules.interval));
    let due = latest.saturating_sub(latest / 4 * share / 256);
    // A short interval leaves nothing of that: with each look it would be asked twice.
    account.age(now) >= due.max(rules.interval / 2)
}

#[cfg(test)]
mod tests;

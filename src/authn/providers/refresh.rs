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

use super::{
    Account, Provider, Providers, Record, Standing, ldap,
    ldap::{BATCH, Failure, Found},
};
use crate::{
    authn::Index,
    observe::metrics::{cells::Table, labels::RefreshEnd},
    status::clock,
    store::{Store, StoreError, Txn},
};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, HashSet},
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Between two looks at which accounts are due: a fiftieth of the default interval, and of no weight.
const LOOK: Duration = Duration::from_secs(5);
/// How long the first request that wants an account read again waits for others to be read with it.
const GATHER: Duration = Duration::from_millis(50);
/// Accounts whose groups are read at the same time from one directory.
const AT_ONCE: usize = 4;

/// What refreshing works with.
#[derive(Clone)]
pub struct Refresher {
    /// Where to ask.
    pub providers: Arc<Providers>,
    /// What is known.
    pub index: Arc<Index>,
    /// Where it is written.
    pub store: Store,
    /// Counts outcomes.
    pub ends: Arc<Table<RefreshEnd>>,
}

/// What runs.
#[derive(Default)]
struct Running {
    /// Providers that are being asked.
    busy: Mutex<HashSet<Box<str>>>,
    tasks: TaskTracker,
}

impl Refresher {
    /// Refreshes until `end`.
    pub async fn run(self, end: CancellationToken) {
        let Some(mut wanted) = self.index.accounts().take_queue() else {
            return;
        };
        let running = Arc::new(Running::default());
        let work = async {
            loop {
                let mut due = self.next(&mut wanted).await;
                for (provider, accounts) in std::mem::take(&mut due) {
                    self.begin(&running, &provider, accounts, &end);
                }
            }
        };
        let _ = end.run_until_cancelled(work).await;
        running.tasks.close();
        running.tasks.wait().await;
    }

    /// What is to be read now, by provider.
    async fn next(
        &self,
        wanted: &mut mpsc::Receiver<Arc<Account>>,
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
            () = sleep(LOOK) => {
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
        let busy = || running.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let provider = self
            .providers
            .get(name)
            .filter(|_| busy().insert(name.into()));
        let Some(provider) = provider else {
            // They are found again by the next look.
            answered(&accounts);
            return;
        };
        let (refresher, end, of_all) = (self.clone(), end.clone(), Arc::clone(running));
        running.tasks.spawn(async move {
            let work = refresher.read_all(&provider, &accounts);
            let _ = end.run_until_cancelled(work).await;
            answered(&accounts);
            let mut busy = of_all.busy.lock().unwrap_or_else(PoisonError::into_inner);
            busy.remove(&provider.name);
        });
    }

    /// In batches; a directory that fails one is not asked for the next.
    async fn read_all(&self, provider: &Provider, accounts: &[Arc<Account>]) {
        for batch in accounts.chunks(BATCH) {
            if let Err(failure) = self.read_batch(provider, batch).await {
                self.ends.inc(RefreshEnd::Failed);
                let (name, failure) = (&*provider.name, failure.chain());
                tracing::warn!(
                    provider = name,
                    failure,
                    "accounts could not be read again; what the provider said last counts for a while"
                );
                return;
            }
        }
    }

    async fn read_batch(&self, provider: &Provider, batch: &[Arc<Account>]) -> Result<(), Failure> {
        let ids: Vec<&str> = batch.iter().map(|account| &*account.id).collect();
        let mut found = provider.directory.by_ids(&ids).await?;
        let mut reading = JoinSet::new();
        for account in batch {
            if reading.len() >= AT_ONCE {
                read(reading.join_next().await)?;
            }
            let (refresher, account) = (self.clone(), Arc::clone(account));
            let (directory, found) = (Arc::clone(&provider.directory), found.remove(&account.id));
            reading.spawn(async move { refresher.read_one(&directory, &account, found).await });
        }
        while let Some(done) = reading.join_next().await {
            read(Some(done))?;
        }
        Ok(())
    }

    async fn read_one(
        &self,
        directory: &ldap::Directory,
        account: &Arc<Account>,
        found: Option<Found>,
    ) -> Result<(), Failure> {
        let now = clock::now();
        let user = account.record.user.clone();
        let record = match &found {
            // Whatever groups it had, they are of no use to anybody.
            None => Record::new(user, &account.record.name, Vec::new(), now).with(Standing::Gone),
            Some(found) if found.standing != Standing::Active => {
                Record::new(user, &found.name, Vec::new(), now).with(found.standing)
            }
            Some(found) => Record::new(user, &found.name, directory.groups(found).await?, now),
        };
        self.note(account, record, now).await;
        Ok(())
    }

    /// Writes what is new, or what was not written for long.
    async fn note(&self, account: &Arc<Account>, record: Record, now: Timestamp) {
        let same = account.record.says_what(&record);
        if same {
            account.confirm(now);
            self.ends.inc(RefreshEnd::Same);
            let stored = now.duration_since(account.record.checked_at);
            let old = account
                .rules()
                .map_or(Duration::MAX, |rules| rules.max_age / 4);
            if stored.unsigned_abs() < old {
                return;
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
        let txn = Txn::new().when(key.clone(), account.revision);
        match self.store.txn(txn.put(key, record.encode())).await {
            // A login has written it meanwhile, and knows better.
            Ok(_) | Err(StoreError::Conflict { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, "what a provider said cannot be written; it is asked again");
            }
        }
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
    // The next look must not be too late.
    let latest = rules.interval.saturating_sub(LOOK);
    let due = latest.saturating_sub(latest / 4 * share / 256);
    account.age(now) >= due
}

/// What became of one account; a task that was lost has read nothing.
fn read(done: Option<Result<Result<(), Failure>, JoinError>>) -> Result<(), Failure> {
    match done {
        Some(Ok(done)) => done,
        Some(Err(_)) => Err(Failure::Busy),
        None => Ok(()),
    }
}

//! The grants that there are, in memory as the store tells them: a terminal that polls costs the store nothing.

use super::{
    super::{Login, LoginError},
    pace::Paces,
    record::{Answer, Kind, PREFIX, Record, What},
};
use crate::{
    observe::metrics::{
        cells::Grid,
        labels::{TerminalStep, TerminalWay},
    },
    status::clock,
    store::{
        Revision, Store, StoreError, Txn,
        follow::{Batch, Change},
    },
};
use jiff::Timestamp;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Terminals that wait at the same time: a few megabytes. A large company has a hundred at nine in the morning.
const MAX_DEVICES: usize = 10_000;
/// Codes that are about to be fetched: each is a person's who is logged in, and has few.
const MAX_CODES: usize = 10_000;
/// States that were used: each is of a browser that was sent to a provider and came back with a code, or something
/// that looks like one. Some ten megabytes.
const MAX_STATES: usize = 50_000;
/// How often what has ended is taken away.
const SWEEP: Duration = Duration::from_mins(1);
/// Grants that one transaction takes away, below the store's bound.
const SWEPT_AT_ONCE: usize = 100;

/// Grants, and how often they may be asked for.
#[derive(Default)]
pub struct Grants {
    live: Mutex<Held>,
    pub(super) paces: Paces,
    steps: Arc<Grid<TerminalWay, TerminalStep>>,
}

#[derive(Default)]
struct Held {
    all: HashMap<Box<str>, Live>,
    devices: usize,
    codes: usize,
    states: usize,
}

/// One grant.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) record: Arc<Record>,
    pub(super) revision: Revision,
    /// When its terminal last asked.
    polled: Option<Instant>,
}

impl Held {
    fn count(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Device => &mut self.devices,
            Kind::Code => &mut self.codes,
            Kind::State => &mut self.states,
        }
    }

    fn put(&mut self, key: &str, record: Record, revision: Revision) {
        let polled = self.all.get(key).and_then(|it| it.polled);
        self.remove(key);
        *self.count(record.what.kind()) += 1;
        let grant = Live {
            record: Arc::new(record),
            revision,
            polled,
        };
        self.all.insert(key.into(), grant);
    }

    fn remove(&mut self, key: &str) {
        if let Some(old) = self.all.remove(key) {
            let count = self.count(old.record.what.kind());
            *count = count.saturating_sub(1);
        }
    }
}

/// A grant whose time is over.
struct Ended {
    key: Box<str>,
    revision: Revision,
    /// If it is one of a terminal that came to nothing.
    way: Option<TerminalWay>,
}

impl Grants {
    /// None yet; what happens to those of terminals is counted in `steps`.
    pub fn new(steps: Arc<Grid<TerminalWay, TerminalStep>>) -> Self {
        Self {
            steps,
            ..Self::default()
        }
    }

    /// Counts what happened to a terminal's login.
    pub(super) fn count(&self, way: TerminalWay, step: TerminalStep) {
        self.steps.add(way, step, 1);
    }

    #[cfg(test)]
    pub(super) fn counted(&self, way: TerminalWay, step: TerminalStep) -> u64 {
        let row = self.steps.at(way).unwrap();
        row.at(step).unwrap().get()
    }

    /// Applies what a follower of the store tells.
    pub fn apply_batch(&self, batch: &Batch) {
        let changes = batch.changes.iter();
        let mut changes = changes
            .filter(|change| change.key().starts_with(PREFIX))
            .peekable();
        if changes.peek().is_none() {
            return;
        }
        let mut live = self.live();
        for change in changes {
            let decoded = match change {
                Change::Put(kv) => serde_json::from_slice::<Record>(&kv.value)
                    .map(|record| Some((record, kv.mod_revision))),
                Change::Delete { .. } => Ok(None),
            };
            match decoded {
                Ok(Some((record, revision))) => live.put(change.key(), record, revision),
                Ok(None) => live.remove(change.key()),
                Err(_) => {
                    // Of a newer build: for this one there is no such grant.
                    tracing::error!(key = change.key(), "a grant of a login cannot be read");
                    live.remove(change.key());
                }
            }
        }
    }

    /// So many more like this one.
    #[cfg(test)]
    pub(super) fn fill(&self, count: usize, record: &Record) {
        let kind = match record.what.kind() {
            Kind::Device => "device",
            Kind::Code => "code",
            Kind::State => "state",
        };
        let mut live = self.live();
        for i in 0..count {
            live.put(&format!("{PREFIX}{kind}/{i}"), record.clone(), 1);
        }
    }

    /// The grant under this key, whether or not its time is over.
    pub(super) fn find(&self, key: &str) -> Option<Live> {
        self.live().all.get(key).cloned()
    }

    /// Whether its terminal may ask now; notes that it did.
    pub(super) fn poll(&self, key: &str, now: Instant, every: Duration) -> bool {
        let mut live = self.live();
        let Some(grant) = live.all.get_mut(key) else {
            return true;
        };
        let last = grant.polled.replace(now);
        last.is_none_or(|last| now.saturating_duration_since(last) >= every)
    }

    /// Whether there is room for one more of a kind.
    pub(super) fn has_room(&self, kind: Kind, now: Timestamp) -> bool {
        let most = match kind {
            Kind::Device => MAX_DEVICES,
            Kind::Code => MAX_CODES,
            Kind::State => MAX_STATES,
        };
        let mut live = self.live();
        // What has ended and is not swept yet takes no room; it is looked for if that matters.
        *live.count(kind) < most || {
            let records = live.all.values().map(|it| &it.record);
            let open = records.filter(|it| it.what.kind() == kind && now < it.expires_at);
            open.count() < most
        }
    }

    fn ended(&self, now: Timestamp) -> Vec<Ended> {
        let live = self.live();
        let ended = live
            .all
            .iter()
            .filter(|(_, it)| now >= it.record.expires_at);
        let ended = ended.map(|(key, it)| Ended {
            key: key.clone(),
            revision: it.revision,
            way: came_to_nothing(&it.record),
        });
        let mut ended: Vec<Ended> = ended.collect();
        // One order for all replicas: where one was quicker, its transactions are those of the others, and not some of
        // each.
        ended.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        ended
    }

    fn live(&self) -> MutexGuard<'_, Held> {
        // Every change is whole.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Login {
    /// Refuses what is too much.
    pub(super) fn check_room(&self, kind: Kind, now: Timestamp) -> Result<(), LoginError> {
        if self.grants.has_room(kind, now) {
            Ok(())
        } else {
            Err(LoginError::TooManyGrants(kind))
        }
    }
}

/// Of which way to log in a terminal this is one that ends without a session and without a no.
fn came_to_nothing(record: &Record) -> Option<TerminalWay> {
    match &record.what {
        What::Device { answer, .. } => match answer {
            Answer::None | Answer::Yes(_) => Some(TerminalWay::Device),
            Answer::No => None,
        },
        What::Code { .. } => Some(TerminalWay::Browser),
        What::State => None,
    }
}

/// Takes away what has ended, until the end.
pub async fn sweep(grants: Arc<Grants>, store: Store, end: CancellationToken) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let work = async {
        loop {
            ticks.tick().await;
            sweep_once(&grants, &store, clock::now()).await;
        }
    };
    let _ = end.run_until_cancelled(work).await;
}

pub(super) async fn sweep_once(grants: &Grants, store: &Store, now: Timestamp) {
    for ended in grants.ended(now).chunks(SWEPT_AT_ONCE) {
        let txn = ended.iter().fold(Txn::new(), |txn, it| {
            txn.when(&*it.key, it.revision).delete(&*it.key)
        });
        match store.txn(txn).await {
            // Here and on no other replica: each is counted once.
            Ok(_) => {
                let ways = ended.iter().filter_map(|it| it.way);
                ways.for_each(|way| grants.count(way, TerminalStep::Expired));
            }
            // Another replica was quicker with some of them; the rest is taken the next time.
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, "grants of logins that have ended are still there");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::follow::Follower;

    #[tokio::test]
    async fn what_has_ended_is_swept_and_the_rest_stays() {
        let (store, grants) = (Store::memory(), Arc::new(Grants::default()));
        let follower = Follower::new(store.clone());
        let stop = CancellationToken::new();
        let sink = Arc::clone(&grants);
        tokio::spawn(
            follower
                .clone()
                .run(move |batch| sink.apply_batch(&batch), stop.clone()),
        );
        let now = clock::now();
        let mut revision = 0;
        for i in 0..250 {
            let record = Record {
                client: "host".to_owned(),
                from: std::net::IpAddr::from([192, 0, 2, 1]),
                asked_at: now,
                expires_at: now + Duration::from_secs(if i < 240 { 1 } else { 100 }),
                what: super::super::record::What::State,
            };
            let put = Txn::new().put(format!("{PREFIX}state/{i}"), record.encode());
            revision = store.txn(put).await.unwrap();
        }
        let soon = Duration::from_secs(10);
        follower.wait_for(revision, soon).await.unwrap();
        assert!(grants.find(&format!("{PREFIX}state/1")).is_some());
        let later = now + Duration::from_secs(1);
        sweep_once(&grants, &store, later).await;
        assert_eq!(
            store.list(PREFIX, 1000, None).await.unwrap().items.len(),
            10
        );
        follower
            .wait_for(store.revision().await.unwrap(), soon)
            .await
            .unwrap();
        assert!(grants.find(&format!("{PREFIX}state/1")).is_none());
        assert!(grants.find(&format!("{PREFIX}state/245")).is_some());
        stop.cancel();
    }
}

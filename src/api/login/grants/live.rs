//! The grants that there are, in memory as the store tells them: a terminal that polls costs the store nothing.

use super::{
    super::{Login, LoginError},
    record::{PREFIX, Record},
};
use crate::{
    authn::throttle::{Pace, Rate},
    status::clock,
    store::{
        Revision, Store, Txn,
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

/// Grants of all kinds at the same time: a few megabytes. A large company has a hundred at nine in the morning.
const MAX_GRANTS: usize = 10_000;
/// What one source begins: an office behind one address, each morning.
const BEGIN: Pace = Pace {
    tries: 50,
    interval: Duration::from_secs(12),
};
/// User codes that were wrong, of one person who is logged in.
const WRONG_BY_PERSON: Pace = Pace {
    tries: 10,
    interval: Duration::from_mins(1),
};
/// And from one source.
const WRONG_FROM_SOURCE: Pace = Pace {
    tries: 30,
    interval: Duration::from_secs(20),
};
/// Codes that are nobody's, fetched from one source: each may cost the store a read.
const UNKNOWN: Pace = Pace {
    tries: 60,
    interval: Duration::from_secs(1),
};
/// How often what has ended is taken away.
const SWEEP: Duration = Duration::from_mins(1);
/// Grants that one transaction takes away, below the store's bound.
const SWEPT_AT_ONCE: usize = 100;

/// Grants, and how often they may be asked for.
pub struct Grants {
    live: Mutex<HashMap<Box<str>, Live>>,
    pub(super) begin: Rate,
    pub(super) wrong_by_person: Rate,
    pub(super) wrong_from_source: Rate,
    pub(super) unknown: Rate,
}

/// One grant.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) record: Arc<Record>,
    pub(super) revision: Revision,
    /// When its terminal last asked.
    polled: Option<Instant>,
}

impl Default for Grants {
    fn default() -> Self {
        Self {
            live: Mutex::default(),
            begin: Rate::new(BEGIN),
            wrong_by_person: Rate::new(WRONG_BY_PERSON),
            wrong_from_source: Rate::new(WRONG_FROM_SOURCE),
            unknown: Rate::new(UNKNOWN),
        }
    }
}

impl Grants {
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
                Ok(Some((record, revision))) => {
                    let polled = live.get(change.key()).and_then(|it| it.polled);
                    let grant = Live {
                        record: Arc::new(record),
                        revision,
                        polled,
                    };
                    live.insert(change.key().into(), grant);
                }
                Ok(None) => {
                    live.remove(change.key());
                }
                Err(_) => {
                    // Of a newer build: for this one there is no such grant.
                    tracing::error!(key = change.key(), "a grant of a login cannot be read");
                    live.remove(change.key());
                }
            }
        }
    }

    /// The grant under this key, whether or not its time is over.
    pub(super) fn find(&self, key: &str) -> Option<Live> {
        self.live().get(key).cloned()
    }

    /// Whether its terminal may ask now; notes that it did.
    pub(super) fn poll(&self, key: &str, now: Instant, every: Duration) -> bool {
        let mut live = self.live();
        let Some(grant) = live.get_mut(key) else {
            return true;
        };
        let last = grant.polled.replace(now);
        last.is_none_or(|last| now.saturating_duration_since(last) >= every)
    }

    /// Whether there is room for one more.
    pub(super) fn has_room(&self, now: Timestamp) -> bool {
        let live = self.live();
        live.len() < MAX_GRANTS
            || live
                .values()
                .filter(|it| now < it.record.expires_at)
                .count()
                < MAX_GRANTS
    }

    fn ended(&self, now: Timestamp) -> Vec<Box<str>> {
        let live = self.live();
        let ended = live.iter().filter(|(_, it)| now >= it.record.expires_at);
        ended.map(|(key, _)| key.clone()).collect()
    }

    fn live(&self) -> MutexGuard<'_, HashMap<Box<str>, Live>> {
        // Every change is whole.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Login {
    /// Refuses what is too much.
    pub(super) fn check_room(&self, now: Timestamp) -> Result<(), LoginError> {
        if self.grants.has_room(now) {
            Ok(())
        } else {
            Err(LoginError::TooManyGrants)
        }
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

async fn sweep_once(grants: &Grants, store: &Store, now: Timestamp) {
    for keys in grants.ended(now).chunks(SWEPT_AT_ONCE) {
        let txn = keys.iter().map(|key| &**key).fold(Txn::new(), Txn::delete);
        if let Err(error) = store.txn(txn).await {
            tracing::warn!(%error, "grants of logins that have ended are still there");
            return;
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

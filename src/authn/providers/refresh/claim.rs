//! Which replica asks for an account.
//!
//! Two that send the same token would end the login: the issuer takes that for a theft (RFC 9700, section 4.14.2). So
//! whoever asks says so in the record first ([`Record::asked_at`]), and nobody else asks meanwhile.
//!
//! A claim that is older than any reading was left: by a replica that was stopped half-way, by one that nobody answered,
//! or by one that has a new token for a store that takes nothing ([`super::unsaved`]). From outside they look the same.
//! So a claim is taken over in two steps. The first is a write, which shows that the store takes something again; the
//! second comes after [`TIME_TO_SAVE`], and only if the record is as the first step left it.

use super::{LOOK, Record, Refresher};
use crate::{
    authn::providers::Provider,
    store::{StoreError, Txn},
};
use jiff::Timestamp;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long whoever has a new token has to write it once the store takes it: they try with each [`LOOK`].
pub(super) const TIME_TO_SAVE: Duration = Duration::from_secs(2 * LOOK.as_secs());
/// Claims that one replica is taking over. Each is of a question that was under way when something went wrong.
const MAX_TAKEN: usize = 1_000;

/// Claims of others that this replica is taking over: by key, the revision of its own write, and when that was.
#[derive(Default)]
pub struct Claims {
    taken: Mutex<HashMap<Box<str>, (u64, Instant)>>,
}

impl Claims {
    /// Since when the record of this revision is held by this replica's first step.
    fn since(&self, key: &str, revision: u64) -> Option<Instant> {
        let taken = self.taken();
        let (own, at) = taken.get(key)?;
        (*own == revision).then_some(*at)
    }

    fn take(&self, key: &str, revision: u64) {
        let mut taken = self.taken();
        if taken.len() >= MAX_TAKEN {
            // Of records that somebody has written meanwhile, for the most part. The others are taken over anew, later.
            taken.clear();
        }
        taken.insert(key.into(), (revision, Instant::now()));
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Box<str>, (u64, Instant)>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refresher {
    /// Notes in the record that this replica asks now; the record as it is then, and its revision. Also finds out
    /// whether the store takes anything at all before the token is spent. None: another replica asks, or may have to
    /// write first, or nothing can be written; it is left for now.
    pub(super) async fn claim(
        &self,
        provider: &Provider,
        key: &str,
        (known, revision): (Record, u64),
        now: Timestamp,
    ) -> Option<(Record, u64)> {
        let Some(longest) = provider.asks_alone() else {
            return Some((known, revision));
        };
        let since = self.claims.since(key, revision);
        let is_anothers = match since {
            Some(since) => since.elapsed() < TIME_TO_SAVE,
            None => known.is_asked(now, longest),
        };
        if is_anothers {
            return None;
        }
        let was_left = known.asked_at.is_some() && since.is_none();
        let known = known.asked(now);
        let txn = Txn::new().when(key, revision);
        match self.store.txn(txn.put(key, known.encode())).await {
            Ok(revision) if was_left => {
                self.claims.take(key, revision);
                None
            }
            Ok(revision) => {
                self.claims.taken().remove(key);
                Some((known, revision))
            }
            Err(StoreError::Conflict { .. }) => None,
            Err(error) => {
                tracing::warn!(%error, "an account is not read again: what comes of it could not be written");
                None
            }
        }
    }
}

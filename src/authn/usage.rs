//! When tokens were last used: noted in memory as requests come, written to the store every ten minutes.
//!
//! A use costs a request one relaxed load, and a store once a minute. What is written does not grow with
//! requests: at most [`SHARDS`] keys in [`EVERY`], each for the tokens whose ids begin alike, and none if no
//! token was used. Of a use only the minute is kept: no address, no cluster (the audit log has those).
//!
//! What could go wrong: several replicas write the same key, so each adds its own to what is there
//! (compare-and-swap); a gateway that is killed loses ten minutes of uses, never a token; a key that a newer
//! build wrote in another form is left alone.

use super::{index::Index, token::TokenId};
use crate::store::{Store, StoreError, Txn};
use jiff::Timestamp;
use std::{
    cmp::Reverse,
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Keys of uses. They sort after those of the tokens: a replica that starts reads the tokens first.
pub(super) const PREFIX: &str = "/palisade/usage/tokens/";
/// How many of them there may be.
const SHARDS: usize = 64;
/// How often uses are written.
const EVERY: Duration = Duration::from_mins(10);
/// How often a write is tried anew because another replica wrote in between.
const ATTEMPTS: usize = 4;
/// Tokens in one key, of more the oldest uses are forgotten: two millions in all. At 28 bytes each two thirds of what
/// a transaction takes.
const MAX_TOKENS: usize = 32_768;

/// When a token was last used, in minutes since 1970; 0: not yet.
#[derive(Debug, Default)]
pub struct LastUse {
    /// As far as this replica knows.
    known: AtomicU32,
    /// As the store has it.
    stored: AtomicU32,
}

impl LastUse {
    /// The token is being used.
    pub(super) fn touch(&self, now: Timestamp) {
        let minute = u32::try_from(now.as_second() / 60).unwrap_or(0);
        if self.known.load(Relaxed) < minute {
            self.known.fetch_max(minute, Relaxed);
        }
    }

    /// The store says so.
    pub(super) fn learn(&self, minute: u32) {
        self.stored.fetch_max(minute, Relaxed);
        self.known.fetch_max(minute, Relaxed);
    }

    /// The same token's, when the token was written anew.
    pub(super) fn take_over(&self, old: &Self) {
        self.stored.fetch_max(old.stored.load(Relaxed), Relaxed);
        self.known.fetch_max(old.known.load(Relaxed), Relaxed);
    }

    /// The minute in which it was last used.
    pub fn get(&self) -> Option<Timestamp> {
        match self.known.load(Relaxed) {
            0 => None,
            minute => Timestamp::from_second(i64::from(minute) * 60).ok(),
        }
    }

    /// The minute that the store does not have yet.
    pub(super) fn unsaved(&self) -> Option<u32> {
        let known = self.known.load(Relaxed);
        (known > self.stored.load(Relaxed)).then_some(known)
    }
}

/// Minutes by token: what a key holds.
pub(super) type Uses = BTreeMap<String, u32>;

/// Reads what a key holds.
pub(super) fn read(value: &[u8]) -> Result<Uses, serde_json::Error> {
    serde_json::from_slice(value)
}

/// The key of a token's use. Ids are random, so any sum of theirs spreads them.
fn key(id: TokenId) -> String {
    let sum = id.as_str().bytes().fold(0_usize, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(byte))
    });
    let mut key = PREFIX.to_owned();
    let _ = write!(key, "{:02x}", sum % SHARDS);
    key
}

/// Writes uses until `end`, and once more then.
pub async fn keep(index: Arc<Index>, store: Store, end: CancellationToken) {
    loop {
        let ended = tokio::time::timeout(EVERY, end.cancelled()).await.is_ok();
        save(&index, &store).await;
        if ended {
            return;
        }
    }
}

/// Writes what the store does not have; what cannot be written now is tried the next time.
pub async fn save(index: &Arc<Index>, store: &Store) {
    let of_index = Arc::clone(index);
    // Every token is looked at: not on a thread that serves requests.
    let Ok(uses) = tokio::task::spawn_blocking(move || of_index.unsaved_uses()).await else {
        return;
    };
    let mut by_key: BTreeMap<String, Vec<(TokenId, u32)>> = BTreeMap::new();
    for (id, minute) in uses {
        by_key.entry(key(id)).or_default().push((id, minute));
    }
    for (key, uses) in by_key {
        let Err(error) = save_key(index, store, &key, &uses).await else {
            continue;
        };
        tracing::warn!(%error, key, "when tokens were last used cannot be written; it is tried again");
        // What is wrong with one key holds up no other; a store that is away is not asked for each.
        if !matches!(error, StoreError::Invalid(_) | StoreError::Conflict { .. }) {
            return;
        }
    }
}

async fn save_key(
    index: &Index,
    store: &Store,
    key: &str,
    uses: &[(TokenId, u32)],
) -> Result<(), StoreError> {
    let mut tried = 0;
    loop {
        let found = store.get(key).await?;
        let revision = found.as_ref().map_or(0, |kv| kv.mod_revision);
        let mut all = match found.map(|kv| read(&kv.value)).transpose() {
            Ok(all) => all.unwrap_or_default(),
            Err(_) => return Err(StoreError::Invalid("a newer build wrote it")),
        };
        for (id, minute) in uses {
            let at = all.entry(id.to_string()).or_default();
            *at = (*at).max(*minute);
        }
        // What is left of tokens that are gone.
        all.retain(|id, _| {
            TokenId::parse(id).is_some_and(|id| index.token(id, |slot| slot.is_some()))
        });
        keep_newest(&mut all);
        let value = serde_json::to_vec(&all).unwrap_or_default();
        tried += 1;
        match store
            .txn(Txn::new().when(key, revision).put(key, value))
            .await
        {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict { .. }) if tried < ATTEMPTS => {}
            Err(other) => return Err(other),
        }
    }
}

fn keep_newest(all: &mut Uses) {
    if all.len() > MAX_TOKENS {
        let mut newest: Vec<(String, u32)> = std::mem::take(all).into_iter().collect();
        newest.select_nth_unstable_by_key(MAX_TOKENS, |(_, minute)| Reverse(*minute));
        newest.truncate(MAX_TOKENS);
        all.extend(newest);
    }
}

#[cfg(test)]
mod tests;

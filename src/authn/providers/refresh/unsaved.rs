//! New tokens that are not written yet.
//!
//! A provider has given another token in place of the old one, and the store takes nothing just then: whoever brings the
//! old one now is taken for a thief, and the login ends. So the new one stays here, sealed, until it is written, and
//! this replica does not ask for its account before that. Others are held off by the claim, and when that has grown old
//! by the time that this one has to write once the store takes it ([`super::claim`]). What it is lost with is the process.
//!
//! With it nothing else of the provider's word is written: the account has the rights that it had, until it is read again.

use super::{LOOK, Record, Refresher};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::sleep;

/// Waits between tries to write a new token while its account is being read: a store that is busy is not so for long, and
/// a stop waits for this where it has the time.
const KEEPING: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];
/// Tokens that wait for the store. Where it takes nothing no account is asked for any more ([`Refresher::claim`]), so
/// these are of the questions that were under way: some for each provider.
const MAX_UNSAVED: usize = 1_000;

/// Tokens by the key of their account's record.
#[derive(Default)]
pub struct Unsaved {
    by_key: Mutex<HashMap<Box<str>, Rotated>>,
}

/// Both sealed for the record.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Rotated {
    /// Of no use any more.
    pub(super) old: String,
    pub(super) new: String,
}

impl Unsaved {
    /// Whether there is room for it.
    fn put(&self, key: &str, rotated: Rotated) -> bool {
        let mut all = self.by_key();
        let has_room = all.len() < MAX_UNSAVED || all.contains_key(key);
        if has_room {
            all.insert(key.into(), rotated);
        }
        has_room
    }

    fn get(&self, key: &str) -> Option<Rotated> {
        self.by_key().get(key).cloned()
    }

    /// If it is this one still: an account may have been asked for again since.
    fn remove(&self, key: &str, rotated: &Rotated) {
        let mut all = self.by_key();
        if all.get(key) == Some(rotated) {
            all.remove(key);
        }
    }

    fn keys(&self) -> Vec<Box<str>> {
        self.by_key().keys().cloned().collect()
    }

    fn by_key(&self) -> MutexGuard<'_, HashMap<Box<str>, Rotated>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refresher {
    /// Puts a new token in the place of the old one, now or as soon as the store takes it.
    pub(super) async fn keep(&self, key: &str, rotated: Rotated) {
        if !self.unsaved.put(key, rotated) {
            tracing::error!(
                key,
                "the new token of an account could not be written, nor kept: its login may end"
            );
            return;
        }
        for pause in KEEPING {
            if self.save(key).await {
                return;
            }
            sleep(pause).await;
        }
        tracing::warn!(
            key,
            "the new token of an account cannot be written yet: it is tried again, and its account is not read before"
        );
    }

    /// Tries again, now and then.
    pub(super) async fn keep_saving(&self) {
        loop {
            sleep(LOOK).await;
            self.save_all().await;
        }
    }

    pub(super) async fn save_all(&self) {
        for key in self.unsaved.keys() {
            self.save(&key).await;
        }
    }

    /// Writes the new token of this account, if there is one that waits, whatever else the record says by now: a login
    /// that brought none has written it, or the store was busy. Where another token is there by now, that one stays. A
    /// record that does not decode, as a newer build may have written it, says nothing of its token: the new one waits.
    /// Whether nothing waits any more.
    pub(super) async fn save(&self, key: &str) -> bool {
        let Some(rotated) = self.unsaved.get(key) else {
            return true;
        };
        let found = match self.store.get(key).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "what is known of an account cannot be read; it is tried again");
                return false;
            }
        };
        if let Some(kv) = found {
            let Ok(record) = Record::decode(key, &kv.value) else {
                return false;
            };
            if record.grant.as_ref() == Some(&rotated.old) {
                let mut record = record.granted(Some(rotated.new.clone()));
                record.asked_at = None;
                if !self.write(key, kv.mod_revision, &record).await {
                    return false;
                }
            }
        }
        self.unsaved.remove(key, &rotated);
        true
    }
}

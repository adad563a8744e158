//! The state that must outlive the process: one store model, two back ends.
//!
//! The model is etcd's, so that etcd fits behind the same type: ordered keys, one revision counter that
//! every writing transaction raises by one, compare-and-swap transactions, watches of a prefix from a
//! revision on, and compaction of the log that those watches replay. What dies with time (tokens,
//! bindings) carries its instant in its value today; a lease would be one more field of [`Op::Put`].
//!
//! Guarantees, the same for each back end (held by `conformance.rs`):
//!
//! - An acknowledged transaction survives the death of the process and of the machine (SQLite: WAL with
//!   `synchronous=FULL`; the memory back end is for tests and offline tools and promises nothing).
//! - A transaction is whole or absent, for readers, for watches and after a crash.
//! - Revisions never go back, and a watch misses nothing after the revision it starts from, or says
//!   [`WatchError::Compacted`] or [`WatchError::Lagged`]: list again.
//! - What could not be told is an error of its own ([`StoreError::Uncertain`]), never a success.
//!
//! What could go wrong: an identity store that opens *empty* lets a stranger bootstrap it. So a new file
//! appears under its name only when it is whole, a file that cannot be read is never replaced, and two
//! gateways never open one file.
//!
//! No request path touches the store: replicas follow it ([`follow`]) into memory.

mod hub;
mod memory;
mod model;
mod sqlite;

pub mod follow;
pub mod seal;

#[cfg(test)]
mod conformance;

pub use hub::{Watch, WatchError};
pub use memory::Memory;
pub use model::{
    Compare, Event, EventKind, KeyValue, LOG_KEEP_BYTES, LOG_KEEP_EVENTS, Listing, MAX_KEY_BYTES,
    MAX_TXN_BYTES, MAX_TXN_OPS, Op, Revision, StoreError, Txn,
};
pub use sqlite::{Durability, OpenError, Sqlite, copy};

use std::{path::Path, sync::Arc};
use tokio::sync::mpsc;

/// A store; cloning gives another handle to the same one.
#[derive(Clone)]
pub enum Store {
    /// One file, for one gateway.
    Sqlite(Sqlite),
    /// Nothing outlives the process: tests and offline tools.
    Memory(Memory),
}

impl Store {
    /// Opens the file, or makes it if there is none; refuses one that is damaged, foreign, newer or open
    /// elsewhere. Blocks for as long as SQLite's quick check of the file takes.
    pub fn open_sqlite(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Ok(Self::Sqlite(Sqlite::open(path.as_ref())?))
    }

    /// An empty store in memory.
    pub fn memory() -> Self {
        Self::Memory(Memory::new())
    }

    /// The revision of the last transaction; 0 in an empty store.
    pub async fn revision(&self) -> Result<Revision, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.revision().await,
            Self::Memory(memory) => memory.revision(),
        }
    }

    /// The value under `key` now.
    pub async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.get(key).await,
            Self::Memory(memory) => memory.get(key),
        }
    }

    /// At most `limit` keys that start with `prefix` and come after `after`, in byte order, as of one
    /// revision.
    pub async fn list(
        &self,
        prefix: &str,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Listing, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.list(prefix, limit, after).await,
            Self::Memory(memory) => memory.list(prefix, limit, after),
        }
    }

    /// Everything that starts with `prefix`, as of one revision, in pages.
    pub async fn scan(&self, prefix: &str) -> Result<Scan, StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.scan(prefix).await,
            Self::Memory(memory) => memory.scan(prefix),
        }
    }

    /// Writes all of `txn` or nothing of it, and answers with the store's revision after it.
    ///
    /// A transaction that changes nothing (no operation, or the deletion of what is not there) raises no
    /// revision. Dropping the future does not take a queued transaction back.
    pub async fn txn(&self, txn: Txn) -> Result<Revision, StoreError> {
        txn.check()?;
        match self {
            Self::Sqlite(sqlite) => sqlite.txn(txn).await,
            Self::Memory(memory) => memory.txn(txn),
        }
    }

    /// Every change of keys that start with `prefix`, from the first after `after_revision` on.
    ///
    /// [`WatchError::Compacted`] if the log does not reach back that far, or if `after_revision` lies in
    /// the future: then the store was put back to an older copy, and what the caller knows is void.
    pub async fn watch(&self, prefix: &str, after_revision: Revision) -> Result<Watch, WatchError> {
        Watch::start(self.clone(), prefix, after_revision).await
    }

    /// Forgets the changes up to `revision`: a watch from before it must list again. The present stays.
    /// The store also does this by itself, past [`LOG_KEEP_EVENTS`] and [`LOG_KEEP_BYTES`].
    pub async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.compact(revision).await,
            Self::Memory(memory) => memory.compact(revision),
        }
    }

    /// Finishes what is queued, ends all watches, and closes the file; later calls are refused.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(sqlite) => sqlite.close().await,
            Self::Memory(memory) => memory.close(),
        }
    }

    fn hub(&self) -> &hub::Hub {
        match self {
            Self::Sqlite(sqlite) => sqlite.hub(),
            Self::Memory(memory) => memory.hub(),
        }
    }

    async fn replay(
        &self,
        prefix: &str,
        after: Revision,
        until: Revision,
    ) -> Result<hub::Page, WatchError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.replay(prefix, after, until).await,
            Self::Memory(memory) => memory.replay(prefix, after, until),
        }
    }
}

/// A consistent listing in pages ([`Store::scan`]).
pub struct Scan {
    /// What the pages show: the store as of this revision.
    pub revision: Revision,
    pages: mpsc::Receiver<Result<ScanPage, StoreError>>,
    done: bool,
}

/// Some keys, and whether more follow.
struct ScanPage {
    items: Vec<KeyValue>,
    more: bool,
}

impl Scan {
    fn new(revision: Revision, pages: mpsc::Receiver<Result<ScanPage, StoreError>>) -> Self {
        Self {
            revision,
            pages,
            done: false,
        }
    }

    /// The next page, in key order; `None` after the last. A listing that breaks off ends with an error,
    /// never with `None`: what it did not show must not pass for deleted.
    pub async fn next(&mut self) -> Option<Result<Vec<KeyValue>, StoreError>> {
        if self.done {
            return None;
        }
        let page = match self.pages.recv().await {
            Some(Ok(page)) => page,
            Some(Err(error)) => return Some(Err(error)),
            None => return Some(Err(StoreError::Unavailable(Arc::new(BrokeOff)))),
        };
        self.done = !page.more;
        Some(Ok(page.items))
    }
}

/// A scan's reader ended before its last page.
#[derive(Debug, thiserror::Error)]
#[error("the listing broke off")]
struct BrokeOff;

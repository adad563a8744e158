//! The embedded back end: one SQLite file, one writer thread, a few read-only connections.
//!
//! Writers queue; the thread takes whatever waits, commits it as one SQLite transaction (one fsync for
//! all), publishes the events and answers. Readers see the last commit (WAL), never half of one.
//!
//! What could go wrong: a commit whose fsync fails (answered as uncertain, see `writer.rs`), a queue that
//! grows without end (it is bounded, and so is the wait for a place in it), a second gateway on the same
//! file (`file.rs` holds a lock for as long as the writer lives).

use super::{
    Scan, ScanPage,
    hub::{Hub, Page, WatchError},
    model::{KeyValue, Listing, LogBounds, Revision, StoreError, Txn},
};
use rusqlite::Connection;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};

pub mod copy;
mod file;
mod read;
mod writer;

pub use file::OpenError;
pub use writer::Durability;

use writer::{Request, Writer};

/// Read-only connections, and so reads at one time. Reads serve start-up, lists of the own API and watches
/// that catch up; none of them is on a request path.
const READERS: usize = 4;
/// Longest wait for a read-only connection. A read takes milliseconds; only scans hold one for longer.
const READ_WAIT: Duration = Duration::from_secs(5);
/// Transactions that may wait for the writer: at 0.4 ms a commit of a whole batch, well under a second.
const WRITE_QUEUE: usize = 256;
/// Longest wait for a place in that queue.
const QUEUE_WAIT: Duration = Duration::from_secs(5);
/// Longest wait for the answer of a queued transaction: a disk that takes longer for an fsync is broken.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Keys in one page of a scan: about half a megabyte of our objects.
const SCAN_PAGE: usize = 512;

/// The SQLite back end.
#[derive(Clone)]
pub struct Sqlite {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    hub: Arc<Hub>,
    requests: mpsc::Sender<Request>,
    slots: Arc<Semaphore>,
    readers: Mutex<Vec<Connection>>,
}

/// Why a queued request has no answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("the writer thread ended")]
    Gone,
    #[error("the writer did not answer in time")]
    Late,
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with(path, LogBounds::PRODUCT)
    }

    pub(super) fn open_with(path: &Path, bounds: LogBounds) -> Result<Self, OpenError> {
        let opened = file::open(path)?;
        let hub = Arc::new(Hub::new(opened.revision));
        let (requests, queue) = mpsc::channel(WRITE_QUEUE);
        Writer::spawn(opened, queue, hub.clone(), bounds).map_err(|source| OpenError::Io {
            path: path.to_owned(),
            doing: "start the writer thread of",
            source,
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                hub,
                requests,
                slots: Arc::new(Semaphore::new(READERS)),
                readers: Mutex::new(Vec::new()),
            }),
        })
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.inner.hub
    }

    pub(super) async fn revision(&self) -> Result<Revision, StoreError> {
        self.read(read::revision).await
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        let key = key.to_owned();
        self.read(move |connection| read::get(connection, &key))
            .await
    }

    pub(super) async fn list(
        &self,
        prefix: &str,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Listing, StoreError> {
        let prefix = prefix.to_owned();
        let after = after.map(str::to_owned);
        self.read(move |connection| read::list(connection, &prefix, limit, after.as_deref()))
            .await
    }

    pub(super) async fn replay(
        &self,
        prefix: &str,
        after: Revision,
        until: Revision,
    ) -> Result<Page, WatchError> {
        let prefix = prefix.to_owned();
        self.read(move |connection| read::replay(connection, &prefix, after, until))
            .await?
            .ok_or(WatchError::Compacted)
    }

    /// One read transaction feeds all pages, so that they show one revision.
    pub(super) async fn scan(&self, prefix: &str) -> Result<Scan, StoreError> {
        let permit = self.slot().await?;
        let (this, prefix) = (self.clone(), prefix.to_owned());
        let (sender, pages) = mpsc::channel(1);
        let (first, revision) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            // An error of a channel says that nobody listens any more.
            let outcome = this.with_reader(permit, |connection| {
                let _ = first.send(read::revision(connection)?);
                let mut after: Option<String> = None;
                loop {
                    let page = read::list(connection, &prefix, SCAN_PAGE, after.as_deref())?;
                    after = page.items.last().map(|kv| kv.key.clone());
                    let (items, more) = (page.items, page.more);
                    if sender.blocking_send(Ok(ScanPage { items, more })).is_err() || !more {
                        return Ok(());
                    }
                }
            });
            if let Err(error) = outcome {
                let _ = sender.blocking_send(Err(error));
            }
        });
        let mut scan = Scan::new(0, pages);
        if let Ok(revision) = revision.await {
            scan.revision = revision;
            return Ok(scan);
        }
        // No revision was read: what comes instead of a page says why.
        match scan.next().await {
            Some(Err(error)) => Err(error),
            Some(Ok(_)) | None => Err(StoreError::Unavailable(Arc::new(super::BrokeOff))),
        }
    }

    pub(super) async fn txn(&self, txn: Txn) -> Result<Revision, StoreError> {
        self.ask(|answer| Request::Txn { txn, answer }).await?
    }

    pub(super) async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.ask(|answer| Request::Compact { revision, answer })
            .await?
    }

    /// What the writing connection itself says of its settings.
    pub async fn durability(&self) -> Result<Durability, StoreError> {
        self.ask(|answer| Request::Durability { answer }).await?
    }

    pub(super) async fn close(&self) {
        self.inner.slots.close();
        self.idle().clear();
        // An error says that the writer has ended already.
        let _ = self.ask(|answer| Request::Stop { answer }).await;
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, StoreError> {
        let (answer, outcome) = oneshot::channel();
        match timeout(QUEUE_WAIT, self.inner.requests.send(request(answer))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(StoreError::Closed),
            Err(_) => return Err(StoreError::Busy),
        }
        match timeout(ANSWER_WAIT, outcome).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => Err(StoreError::Uncertain(Arc::new(NoAnswer::Gone))),
            Err(_) => Err(StoreError::Uncertain(Arc::new(NoAnswer::Late))),
        }
    }

    async fn slot(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        match timeout(READ_WAIT, self.inner.slots.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(StoreError::Closed),
            Err(_) => Err(StoreError::Busy),
        }
    }

    /// Runs `query` inside one read transaction, on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = self.slot().await?;
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.with_reader(permit, query))
            .await
            .map_err(|panicked| StoreError::Unavailable(Arc::new(panicked)))?
    }

    fn with_reader<T>(
        &self,
        permit: OwnedSemaphorePermit,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let idle = self.idle().pop();
        let attempt = || {
            let connection = match idle {
                Some(connection) => connection,
                None => file::open_reader(&self.inner.path)?,
            };
            let snapshot = connection.unchecked_transaction()?;
            let found = query(&snapshot)?;
            snapshot.finish()?;
            Ok((found, connection))
        };
        // A connection that failed is not used again.
        let (found, connection) =
            attempt().map_err(|error: rusqlite::Error| StoreError::Unavailable(Arc::new(error)))?;
        if !self.inner.slots.is_closed() {
            self.idle().push(connection);
        }
        drop(permit);
        Ok(found)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        let readers = self.inner.readers.lock();
        readers.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

//! Watches: the log replayed up to now, then what is committed from now on, with no gap between.
//!
//! A watch first joins the live channel and notes the revision published so far; up to that one it reads
//! the log, from the next one on the channel delivers. Both back ends publish in revision order, after the
//! commit and before the writer learns of it.
//!
//! What could go wrong: a slow watcher that makes the process hold every change. The channel is a ring of
//! fixed size shared by all watchers; who falls behind by more is told so and lists again.

use super::{
    Store,
    model::{Event, Revision, StoreError, mark_last},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::broadcast::{self, error::RecvError};

/// Transactions that a watcher may be behind before it must list again. At a kilobyte each this is a
/// megabyte, held only while somebody is behind.
const WATCH_BUFFER: usize = 1024;

/// Why a watch ended; what the watcher knows is no longer followed, so it must list again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WatchError {
    /// The log does not reach back to the wanted revision (or the store is older than it).
    #[error("the store's log does not reach back that far")]
    Compacted,
    /// The watcher was too slow.
    #[error("the watcher fell too far behind")]
    Lagged,
    /// The log could not be read.
    #[error("the store's log cannot be read")]
    Store(#[from] StoreError),
}

/// One item a transaction.
type Live = broadcast::Receiver<Arc<[Event]>>;

/// Where committed transactions are published.
pub(super) struct Hub {
    state: Mutex<State>,
}

struct State {
    revision: Revision,
    /// `None` once the store is closed: every watch then ends.
    sender: Option<broadcast::Sender<Arc<[Event]>>>,
}

impl Hub {
    pub(super) fn new(revision: Revision) -> Self {
        let sender = Some(broadcast::Sender::new(WATCH_BUFFER));
        Self {
            state: Mutex::new(State { revision, sender }),
        }
    }

    /// Hands one transaction's events, all of one revision, to the watches.
    pub(super) fn publish(&self, revision: Revision, events: Vec<Event>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.revision = revision;
        if let Some(sender) = &state.sender {
            // An error says that nobody watches.
            let _ = sender.send(events.into());
        }
    }

    /// Ends all watches, now and later.
    pub(super) fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sender = None;
    }

    fn subscribe(&self) -> Result<(Revision, Live), StoreError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = state.sender.as_ref().ok_or(StoreError::Closed)?;
        Ok((state.revision, sender.subscribe()))
    }
}

/// A piece of the log.
pub(super) struct Page {
    /// Whole revisions, in order, those of the prefix.
    pub(super) events: Vec<Event>,
    /// The log was read up to here.
    pub(super) through: Revision,
}

/// A running watch.
pub struct Watch {
    store: Store,
    prefix: String,
    ready: VecDeque<Event>,
    /// What is wanted comes after this; while the log is read, it has been read up to here …
    seen: Revision,
    /// … and must be read up to here; after it the channel has everything.
    until: Revision,
    live: Live,
    ended: bool,
}

impl Watch {
    pub(super) async fn start(
        store: Store,
        prefix: &str,
        after: Revision,
    ) -> Result<Self, WatchError> {
        let (until, live) = store.hub().subscribe()?;
        // A reader may have seen a commit a moment before it is published: only what the store itself does
        // not know is the future.
        if after > until && after > store.revision().await? {
            return Err(WatchError::Compacted);
        }
        let mut watch = Self {
            store,
            prefix: prefix.to_owned(),
            ready: VecDeque::new(),
            seen: after,
            until,
            live,
            ended: false,
        };
        if watch.seen < watch.until {
            watch.replay().await?;
        }
        Ok(watch)
    }

    /// The next change; `None` when the store was closed. After an error nothing more comes.
    ///
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Result<Event, WatchError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.ended {
                return None;
            }
            match self.fill().await {
                Ok(open) => self.ended = !open,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }

    /// Gets more events, possibly none of this prefix; `false` when there will be no more.
    async fn fill(&mut self) -> Result<bool, WatchError> {
        if self.seen < self.until {
            self.replay().await?;
            return Ok(true);
        }
        match self.live.recv().await {
            Ok(events) => {
                let (seen, prefix) = (self.seen, self.prefix.as_str());
                let ours = |event: &&Event| event.revision > seen && event.key.starts_with(prefix);
                self.ready.extend(events.iter().filter(ours).cloned());
                mark_last(self.ready.make_contiguous());
                Ok(true)
            }
            Err(RecvError::Closed) => Ok(false),
            Err(RecvError::Lagged(_)) => Err(WatchError::Lagged),
        }
    }

    async fn replay(&mut self) -> Result<(), WatchError> {
        let page = self
            .store
            .replay(&self.prefix, self.seen, self.until)
            .await?;
        self.ready.extend(page.events);
        mark_last(self.ready.make_contiguous());
        self.seen = page.through;
        Ok(())
    }
}

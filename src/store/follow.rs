//! Following the store into memory: list everything, then watch; list again whenever the watch breaks.
//!
//! Guarantees to the sink: it sees every key's last state, in revision order per key; all changes of one
//! transaction come in one [`Batch`]; after a break it is told also what vanished meanwhile. The sink runs
//! on the follower's task, which the gateway gives a thread of its own: it may compute for a second, and whoever
//! waits for a revision waits as long.
//!
//! What could go wrong:
//!
//! - An answer that is not visible to its own writer. [`Follower::wait_for`] waits until this replica has
//!   applied the revision that the write got.
//! - A replica that serves from an old view and does not know it. [`Follower::age`] says since when it may
//!   have missed something; readiness is decided from it.
//! - A listing that breaks off and looks complete would delete users: only a listing that came to its end
//!   removes anything.

use super::{Event, EventKind, KeyValue, Revision, Store, StoreError, WatchError};
use crate::observe::metrics::cells::Counter;
use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// All keys of the gateway start with this; what else lives in a shared store is not ours.
pub const ROOT: &str = "/palisade/";

/// How often the store is asked whether it is there and how far it is: a tenth of the smallest age that
/// readiness could sensibly be strict about.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for that answer.
const PROBE_LIMIT: Duration = Duration::from_secs(5);
/// First pause after a break: most breaks (a lagging watch) are over at once.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Longest pause: a store that comes back is noticed this fast. Tries are endless, as long as the gateway
/// runs: it serves from memory meanwhile, and readiness says so.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key has this value now.
    Put(KeyValue),
    /// The key is gone.
    Delete {
        /// The key.
        key: String,
        /// When it went, or when that was noticed.
        revision: Revision,
    },
}

impl Change {
    /// The key that it is about.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(kv) => &kv.key,
            Self::Delete { key, .. } => key,
        }
    }
}

impl From<Event> for Change {
    fn from(event: Event) -> Self {
        match event.kind {
            EventKind::Put(kv) => Self::Put(kv),
            EventKind::Delete => Self::Delete {
                key: event.key,
                revision: event.revision,
            },
        }
    }
}

/// What a sink gets at once.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Possibly none.
    pub changes: Vec<Change>,
    /// The store's revision that they lead to.
    pub revision: Revision,
    /// Whether the view is whole now. `false` while more of one listing follows: a snapshot that is made
    /// from changes is published only at `true`.
    pub complete: bool,
}

/// The wanted revision was not applied in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this replica has not yet seen revision {wanted}")]
pub struct Behind {
    /// The revision.
    pub wanted: Revision,
}

/// Follows one store; clones are handles to the same one.
#[derive(Clone)]
pub struct Follower {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    /// `None` until the first listing is complete.
    applied: watch::Sender<Option<Revision>>,
    /// Where the store was when it was last heard of.
    heard: AtomicU64,
    breaks: Counter,
    contact: Mutex<Option<Instant>>,
}

/// Why following ended for now.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Watch(#[from] WatchError),
    #[error("the store does not answer")]
    Silent,
}

impl Follower {
    /// A follower that does nothing until [`Follower::run`].
    pub fn new(store: Store) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                applied: watch::Sender::new(None),
                heard: AtomicU64::new(0),
                breaks: Counter::default(),
                contact: Mutex::new(None),
            }),
        }
    }

    /// The last revision that the sink has seen whole; 0 before the first listing.
    pub fn applied(&self) -> Revision {
        self.shared.applied.borrow().unwrap_or(0)
    }

    /// The store's own revision, as it was last heard of: at most [`PROBE_EVERY`] old while the store answers.
    pub fn heard(&self) -> Revision {
        self.shared.heard.load(Relaxed).max(self.applied())
    }

    /// How often following broke off so far.
    pub fn breaks(&self) -> u64 {
        self.shared.breaks.get()
    }

    /// Waits until the sink has seen `revision`; 0 waits for the first complete listing.
    pub async fn wait_for(&self, revision: Revision, limit: Duration) -> Result<(), Behind> {
        let mut applied = self.shared.applied.subscribe();
        let reached = applied.wait_for(|applied| applied.is_some_and(|at| at >= revision));
        match timeout(limit, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Behind { wanted: revision }),
        }
    }

    /// How old the view may be: the time since the sink last had all that the store had. `None` before the
    /// first complete listing.
    pub fn age(&self) -> Option<Duration> {
        self.contact().map(|at| at.elapsed())
    }

    /// Follows until `stop`, or until the store is closed. Call it once.
    pub async fn run(self, mut sink: impl FnMut(Batch) + Send, stop: CancellationToken) {
        let mut known = Known::default();
        let mut pause = RETRY_FIRST;
        loop {
            let following = self.follow(&mut sink, &mut known, &mut pause);
            match stop.run_until_cancelled(following).await {
                None | Some(Ok(()) | Err(Broken::Store(StoreError::Closed))) => return,
                Some(Err(error)) => {
                    self.shared.breaks.inc();
                    tracing::warn!(error = ?error, "following the store broke off; listing again");
                }
            }
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    async fn follow(
        &self,
        sink: &mut (impl FnMut(Batch) + Send),
        known: &mut Known,
        pause: &mut Duration,
    ) -> Result<(), Broken> {
        let started = Instant::now();
        let listed = self.list(sink, known).await?;
        self.settle(listed, Some((started, listed)));
        *pause = RETRY_FIRST;
        let mut watch = self.shared.store.watch(ROOT, listed).await?;
        let mut ticks = interval(PROBE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut probed = None;
        let mut changes = Vec::new();
        loop {
            tokio::select! {
                // Events first: a probe is worth nothing while there is news.
                biased;
                event = watch.next() => {
                    let Some(event) = event else { return Ok(()) };
                    let event = event?;
                    let (revision, last) = (event.revision, event.last);
                    known.note(&event);
                    changes.push(Change::from(event));
                    if last {
                        let changes = std::mem::take(&mut changes);
                        sink(Batch { changes, revision, complete: true });
                        self.settle(revision, probed);
                    }
                }
                _ = ticks.tick() => {
                    let asked = Instant::now();
                    let answer = timeout(PROBE_LIMIT, self.shared.store.revision()).await;
                    let at = answer.map_err(|_| Broken::Silent)??;
                    self.shared.heard.store(at, Relaxed);
                    probed = Some((asked, at));
                    self.settle(self.applied(), probed);
                }
            }
        }
    }

    /// Hands the whole store to the sink, and then what is no longer in it.
    async fn list(
        &self,
        sink: &mut (impl FnMut(Batch) + Send),
        known: &mut Known,
    ) -> Result<Revision, Broken> {
        let mut scan = self.shared.store.scan(ROOT).await?;
        let revision = scan.revision;
        known.begin();
        while let Some(page) = scan.next().await {
            let page = page?;
            for kv in &page {
                known.list(&kv.key);
            }
            sink(Batch {
                changes: page.into_iter().map(Change::Put).collect(),
                revision,
                complete: false,
            });
        }
        let changes = known
            .take_unlisted()
            .map(|key| Change::Delete { key, revision })
            .collect();
        sink(Batch {
            changes,
            revision,
            complete: true,
        });
        Ok(revision)
    }

    /// Notes how far the sink is; if that is where the store was when it was `probed`, the view was fresh
    /// at that moment.
    fn settle(&self, applied: Revision, probed: Option<(Instant, Revision)>) {
        self.shared.applied.send_replace(Some(applied));
        if let Some((asked, at)) = probed
            && applied >= at
        {
            *self.contact() = Some(asked);
        }
    }

    fn contact(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        let contact = self.shared.contact.lock();
        contact.unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys that the sink has: what a later listing does not show was deleted while nobody watched.
#[derive(Default)]
struct Known {
    keys: HashSet<Box<str>>,
    /// Those that a listing has not shown yet; empty once one is complete.
    unlisted: HashSet<Box<str>>,
}

impl Known {
    fn note(&mut self, event: &Event) {
        match event.kind {
            EventKind::Put(_) => {
                self.keys.insert(event.key.as_str().into());
            }
            EventKind::Delete => {
                self.keys.remove(event.key.as_str());
            }
        }
    }

    /// A listing begins. What one that broke off has not shown is looked for again.
    fn begin(&mut self) {
        let keys = std::mem::take(&mut self.keys);
        if self.unlisted.is_empty() {
            self.unlisted = keys;
        } else {
            self.unlisted.extend(keys);
        }
    }

    /// The listing shows this one.
    fn list(&mut self, key: &str) {
        let known = self.unlisted.take(key);
        self.keys.insert(known.unwrap_or_else(|| key.into()));
    }

    /// The listing is complete.
    fn take_unlisted(&mut self) -> impl Iterator<Item = String> {
        let gone = std::mem::take(&mut self.unlisted);
        gone.into_iter().map(String::from)
    }
}

#[cfg(test)]
mod tests;

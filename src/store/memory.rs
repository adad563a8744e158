//! The store in memory: for tests and for tools that look at a folder. Nothing outlives the process.

use super::{
    Scan, ScanPage,
    hub::{Hub, Page, WatchError},
    model::{
        Event, EventKind, KeyValue, Listing, LogBounds, Op, Revision, StoreError, Txn, mark_last,
    },
};
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The memory back end.
#[derive(Clone)]
pub struct Memory {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    hub: Hub,
    bounds: LogBounds,
    /// Keys that were read so far.
    #[cfg(test)]
    reads: std::sync::atomic::AtomicUsize,
    /// What the next writes are answered with.
    #[cfg(test)]
    faults: Mutex<VecDeque<StoreError>>,
    /// What others do just before a write.
    #[cfg(test)]
    before_writes: Mutex<Option<BeforeWrite>>,
}

/// Is told the keys that the write compares, and writes itself if it likes.
#[cfg(test)]
type BeforeWrite = Box<dyn FnMut(&[super::Compare]) -> Option<Txn> + Send>;

struct State {
    keys: BTreeMap<String, KeyValue>,
    log: VecDeque<Event>,
    log_bytes: usize,
    revision: Revision,
    compacted: Revision,
    closed: bool,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self::with_bounds(LogBounds::PRODUCT)
    }

    pub(super) fn with_bounds(bounds: LogBounds) -> Self {
        let state = State {
            keys: BTreeMap::new(),
            log: VecDeque::new(),
            log_bytes: 0,
            revision: 0,
            compacted: 0,
            closed: false,
        };
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                hub: Hub::new(0),
                bounds,
                #[cfg(test)]
                reads: std::sync::atomic::AtomicUsize::new(0),
                #[cfg(test)]
                faults: Mutex::default(),
                #[cfg(test)]
                before_writes: Mutex::default(),
            }),
        }
    }

    /// Keys that were read so far, also those that were not there.
    #[cfg(test)]
    pub(crate) fn reads(&self) -> usize {
        self.inner.reads.load(std::sync::atomic::Ordering::Relaxed)
    }

    #[cfg(test)]
    fn count_reads(&self, keys: usize) {
        let order = std::sync::atomic::Ordering::Relaxed;
        self.inner.reads.fetch_add(keys, order);
    }

    /// The next writes fail, each with one of these; an [`StoreError::Uncertain`] one is made all the same. What was to
    /// fail before does not any more.
    #[cfg(test)]
    pub(crate) fn fail_writes(&self, with: impl IntoIterator<Item = StoreError>) {
        *self.inner.faults.lock().unwrap() = with.into_iter().collect();
    }

    /// Others write just before each write from now on, if they want to.
    #[cfg(test)]
    pub(crate) fn before_writes(
        &self,
        other: impl FnMut(&[super::Compare]) -> Option<Txn> + Send + 'static,
    ) {
        *self.inner.before_writes.lock().unwrap() = Some(Box::new(other));
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.inner.hub
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.inner.state.lock();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(StoreError::Closed);
        }
        Ok(state)
    }

    pub(super) fn revision(&self) -> Result<Revision, StoreError> {
        Ok(self.state()?.revision)
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        #[cfg(test)]
        self.count_reads(1);
        Ok(self.state()?.keys.get(key).cloned())
    }

    pub(super) fn list(
        &self,
        prefix: &str,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Listing, StoreError> {
        let state = self.state()?;
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let mut found = state
            .keys
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(_, kv)| kv.clone());
        let items: Vec<KeyValue> = found.by_ref().take(limit).collect();
        #[cfg(test)]
        self.count_reads(items.len());
        Ok(Listing {
            items,
            revision: state.revision,
            more: found.next().is_some(),
        })
    }

    pub(super) fn scan(&self, prefix: &str) -> Result<Scan, StoreError> {
        let listing = self.list(prefix, usize::MAX, None)?;
        let (sender, pages) = tokio::sync::mpsc::channel(1);
        // The channel is new and has room for one.
        let _ = sender.try_send(Ok(ScanPage {
            items: listing.items,
            more: false,
        }));
        Ok(Scan::new(listing.revision, pages))
    }

    pub(super) fn txn(&self, txn: Txn) -> Result<Revision, StoreError> {
        #[cfg(test)]
        if let Some(other) = &mut *self.inner.before_writes.lock().unwrap()
            && let Some(quicker) = other(&txn.compares)
        {
            self.write(quicker)?;
        }
        #[cfg(test)]
        if let Some(fault) = self.inner.faults.lock().unwrap().pop_front() {
            if matches!(fault, StoreError::Uncertain(_)) {
                self.write(txn)?;
            }
            return Err(fault);
        }
        self.write(txn)
    }

    fn write(&self, txn: Txn) -> Result<Revision, StoreError> {
        let mut state = self.state()?;
        for compare in &txn.compares {
            let found = state.keys.get(&compare.key).map_or(0, |kv| kv.mod_revision);
            if found != compare.mod_revision {
                return Err(StoreError::Conflict {
                    key: compare.key.clone(),
                });
            }
        }
        let revision = state.revision + 1;
        let mut events: Vec<Event> = txn
            .ops
            .into_iter()
            .filter_map(|op| state.apply(op, revision))
            .collect();
        if events.is_empty() {
            return Ok(state.revision);
        }
        mark_last(&mut events);
        state.revision = revision;
        state.log_bytes += events.iter().map(Event::bytes).sum::<usize>();
        state.log.extend(events.iter().cloned());
        state.trim(self.inner.bounds);
        // Under the lock: publishing keeps the order of revisions.
        self.inner.hub.publish(revision, events);
        Ok(revision)
    }

    pub(super) fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        let mut state = self.state()?;
        if revision > state.revision {
            return Err(StoreError::Invalid("compaction of the future"));
        }
        state.cut(revision);
        Ok(())
    }

    pub(super) fn replay(
        &self,
        prefix: &str,
        after: Revision,
        until: Revision,
    ) -> Result<Page, WatchError> {
        let state = self.state()?;
        if after < state.compacted {
            return Err(WatchError::Compacted);
        }
        let wanted = |event: &&Event| {
            event.revision > after && event.revision <= until && event.key.starts_with(prefix)
        };
        Ok(Page {
            events: state.log.iter().filter(wanted).cloned().collect(),
            through: until,
        })
    }

    pub(super) fn close(&self) {
        if let Ok(mut state) = self.state() {
            state.closed = true;
        }
        self.inner.hub.close();
    }
}

impl State {
    fn apply(&mut self, op: Op, revision: Revision) -> Option<Event> {
        let (key, kind) = match op {
            Op::Put { key, value } => {
                let old = self.keys.get(&key);
                let kv = KeyValue {
                    key: key.clone(),
                    value,
                    create_revision: old.map_or(revision, |old| old.create_revision),
                    mod_revision: revision,
                    version: old.map_or(1, |old| old.version + 1),
                };
                self.keys.insert(key.clone(), kv.clone());
                (key, EventKind::Put(kv))
            }
            Op::Delete { key } => {
                self.keys.remove(&key)?;
                (key, EventKind::Delete)
            }
        };
        Some(Event {
            revision,
            key,
            kind,
            last: false,
        })
    }

    fn used(&self) -> LogBounds {
        LogBounds {
            events: self.log.len(),
            bytes: self.log_bytes,
        }
    }

    fn trim(&mut self, bounds: LogBounds) {
        if !bounds.exceeded(self.used()) {
            return;
        }
        while !bounds.holds(self.used()) {
            let Some(oldest) = self.log.front() else {
                return;
            };
            self.cut(oldest.revision);
        }
    }

    fn cut(&mut self, revision: Revision) {
        while let Some(event) = self.log.pop_front_if(|event| event.revision <= revision) {
            self.log_bytes -= event.bytes();
        }
        self.compacted = self.compacted.max(revision);
    }
}

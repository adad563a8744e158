//! What a store holds and what can be asked of it, whatever the back end.

use bytes::Bytes;
use std::{error::Error, fmt, sync::Arc};

/// Counts transactions that changed something; 0 is the empty store.
pub type Revision = u64;

/// Longest key. Ours are under a hundred bytes; the bound keeps an index page from degenerating.
pub const MAX_KEY_BYTES: usize = 1024;
/// Most operations, and most compares, of one transaction: etcd's default `--max-txn-ops`.
pub const MAX_TXN_OPS: usize = 128;
/// Most bytes of keys and values of one transaction: etcd's default `--max-request-bytes` is 1.5 MiB,
/// less room for its framing, so that what this back end takes etcd takes too.
pub const MAX_TXN_BYTES: usize = 1_400_000;
/// Changes that a watch can go back over. A replica that was away for longer lists again, which costs one
/// read of the whole store; two hours of a busy install fit.
pub const LOG_KEEP_EVENTS: usize = 20_000;
/// The same bound in bytes of keys and values, for installs with large objects.
pub const LOG_KEEP_BYTES: usize = 64 << 20;

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// A compare failed; nothing was written.
    #[error("{key} was changed in between")]
    Conflict {
        /// The first key whose revision is another.
        key: String,
    },
    /// The request can never succeed; nothing was written.
    #[error("the store refuses this: {0}")]
    Invalid(&'static str),
    /// The queue stayed full; nothing was written. Worth another try.
    #[error("the store is too busy")]
    Busy,
    /// [`super::Store::close`] was called; nothing was written.
    #[error("the store is closed")]
    Closed,
    /// The back end failed; nothing was written.
    #[error("the store cannot be reached")]
    Unavailable(#[source] Arc<dyn Error + Send + Sync>),
    /// The back end failed at a moment at which nobody can say whether the transaction counts.
    #[error("it is not known whether the write was made")]
    Uncertain(#[source] Arc<dyn Error + Send + Sync>),
}

/// A key with its value and history. `Debug` shows no value: it may hold hashes.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// UTF-8; ordered by bytes.
    pub key: String,
    /// Whatever was put.
    pub value: Bytes,
    /// Revision of the put that made the key.
    pub create_revision: Revision,
    /// Revision of the last put.
    pub mod_revision: Revision,
    /// Puts since the key was made; starts at 1.
    pub version: u64,
}

impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyValue")
            .field("key", &self.key)
            .field("value_bytes", &self.value.len())
            .field("create_revision", &self.create_revision)
            .field("mod_revision", &self.mod_revision)
            .field("version", &self.version)
            .finish()
    }
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Listing {
    /// In byte order of their keys.
    pub items: Vec<KeyValue>,
    /// The store's revision when the page was read.
    pub revision: Revision,
    /// Whether keys follow after the last item.
    pub more: bool,
}

/// "Write only if `key` was last written at `mod_revision`."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The key.
    pub key: String,
    /// 0: the key must not exist.
    pub mod_revision: Revision,
}

/// One operation of a transaction. `Debug` shows no value.
#[derive(Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes `value` under `key`.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Bytes,
    },
    /// Removes `key`; nothing happens if it is not there.
    Delete {
        /// The key.
        key: String,
    },
}

impl Op {
    /// The key that it is about.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
        }
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value } => write!(f, "Put({key}, {} bytes)", value.len()),
            Self::Delete { key } => write!(f, "Delete({key})"),
        }
    }
}

/// All of `ops`, if all of `compares` hold; else nothing.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    /// What must hold.
    pub compares: Vec<Compare>,
    /// What is then done, all at one revision. A key may occur once.
    pub ops: Vec<Op>,
}

impl Txn {
    /// An empty transaction.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds: `key` was last written at `mod_revision` (0: does not exist).
    #[must_use]
    pub fn when(mut self, key: impl Into<String>, mod_revision: Revision) -> Self {
        self.compares.push(Compare {
            key: key.into(),
            mod_revision,
        });
        self
    }

    /// Adds a put.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.ops.push(Op::Put {
            key: key.into(),
            value: value.into(),
        });
        self
    }

    /// Adds a deletion.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }

    /// The bounds that every back end keeps.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.ops.len() > MAX_TXN_OPS || self.compares.len() > MAX_TXN_OPS {
            return Err(StoreError::Invalid("more than 128 operations at once"));
        }
        if self.ops.iter().map(Op::bytes).sum::<usize>() > MAX_TXN_BYTES {
            return Err(StoreError::Invalid("more than 1,400,000 bytes at once"));
        }
        let mut keys: Vec<&str> = self.ops.iter().map(Op::key).collect();
        let compared = self.compares.iter().map(|compare| compare.key.as_str());
        if keys
            .iter()
            .copied()
            .chain(compared)
            .any(|key| key.is_empty() || key.len() > MAX_KEY_BYTES)
        {
            return Err(StoreError::Invalid(
                "a key is empty or longer than 1024 bytes",
            ));
        }
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(StoreError::Invalid("one key twice in one transaction"));
        }
        Ok(())
    }
}

/// One change that a watch reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The transaction's revision.
    pub revision: Revision,
    /// The key.
    pub key: String,
    /// What happened to it.
    pub kind: EventKind,
    /// Whether this is the last event of its revision that the watch shows: what came before is then whole.
    pub last: bool,
}

/// What happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Made or written anew.
    Put(KeyValue),
    /// Removed.
    Delete,
}

impl Event {
    /// Bytes that the log keeps for it.
    pub(super) fn bytes(&self) -> usize {
        self.key.len()
            + match &self.kind {
                EventKind::Put(kv) => kv.value.len(),
                EventKind::Delete => 0,
            }
    }
}

/// Sets [`Event::last`] by the order of the events.
pub(super) fn mark_last(events: &mut [Event]) {
    let mut next = None;
    for event in events.iter_mut().rev() {
        event.last = next != Some(event.revision);
        next = Some(event.revision);
    }
}

/// How much of the log is kept.
#[derive(Clone, Copy)]
pub(super) struct LogBounds {
    /// Events.
    pub(super) events: usize,
    /// Bytes of their keys and values.
    pub(super) bytes: usize,
}

impl LogBounds {
    /// What a product store keeps.
    pub(super) const PRODUCT: Self = Self {
        events: LOG_KEEP_EVENTS,
        bytes: LOG_KEEP_BYTES,
    };

    /// Whether it is time to cut: an eighth over the bound, so that cutting is rare and in large pieces.
    pub(super) fn exceeded(self, used: LogBounds) -> bool {
        used.events > self.events + self.events / 8 || used.bytes > self.bytes + self.bytes / 8
    }

    /// Whether what is left is little enough.
    pub(super) fn holds(self, used: LogBounds) -> bool {
        used.events <= self.events && used.bytes <= self.bytes
    }
}

/// The first string after all that start with `prefix`; `None` if there is none (no upper bound).
///
/// UTF-8 orders by code point as by byte, so raising the last character gives the bound.
pub(super) fn prefix_end(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_string_of_its_length() {
        assert_eq!(
            prefix_end("/palisade/users/").as_deref(),
            Some("/palisade/users0")
        );
        assert_eq!(prefix_end("a\u{d7ff}").as_deref(), Some("a\u{e000}"));
        assert_eq!(prefix_end("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(prefix_end(""), None);
        assert_eq!(prefix_end("\u{10ffff}"), None);
    }

    #[test]
    fn debug_shows_no_value() {
        let txn = Txn::new().when("a", 0).put("a", "hunter2");
        assert!(!format!("{txn:?}").contains("hunter2"));
    }
}

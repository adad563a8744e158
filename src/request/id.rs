//! The id of a request: in its answer, its log line, and the cluster's own audit log (`Audit-ID`).

use crate::status::clock;
use http::HeaderValue;
use std::{
    fmt,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};
use uuid::{Builder, Uuid};

/// What this process' ids have in common (42 bits of it): asking the system for random bytes would be a
/// system call for each request, and an id need not be secret.
static OWN: LazyLock<[u8; 16]> = LazyLock::new(|| Uuid::new_v4().into_bytes());
/// Counts the ids of this process: two of the same millisecond differ, and are in order.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A UUID v7: unique across replicas and ordered by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(Uuid);

impl RequestId {
    /// A new one.
    pub fn new() -> Self {
        let millis = u64::try_from(clock::now().as_millisecond()).unwrap_or_default();
        let count = COUNT.fetch_add(1, Relaxed).to_be_bytes();
        let mut own = [0; 10];
        for (slot, &byte) in own.iter_mut().zip(OWN.iter().take(6).chain(&count)) {
            *slot = byte;
        }
        Self(Builder::from_unix_timestamp_millis(millis, &own).into_uuid())
    }

    /// A given one, for documents.
    #[cfg(test)]
    pub(crate) fn from_u128(id: u128) -> Self {
        Self(Uuid::from_u128(id))
    }

    /// The id as a header value (36 bytes).
    pub fn header_value(self) -> HeaderValue {
        let mut buffer = Uuid::encode_buffer();
        let text = self.0.hyphenated().encode_lower(&mut buffer);
        // Hex digits and hyphens are always a legal header value.
        HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_differ_and_are_in_order() {
        let ids: Vec<Uuid> = (0..10_000).map(|_| RequestId::new().0).collect();
        assert!(ids.is_sorted());
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
        let now = u64::try_from(clock::now().as_millisecond()).unwrap();
        let (seconds, _) = ids[0].get_timestamp().unwrap().to_unix();
        assert!(now / 1000 - seconds < 60);
    }
}

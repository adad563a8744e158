//! The id of a request: in its answer, its log line, and the cluster's own audit log (`Audit-ID`).

use http::HeaderValue;
use std::fmt;
use uuid::Uuid;

/// A UUID v7: unique across replicas and ordered by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(Uuid);

impl RequestId {
    /// A new one.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
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

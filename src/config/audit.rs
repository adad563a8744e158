//! `audit`: what it means once it is checked.

use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};

/// The audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Where events go.
    pub output: AuditOutput,
    /// The file; empty with another output.
    pub path: PathBuf,
    /// Bytes at which it is rotated.
    pub max_size: u64,
    /// Older files that are kept; 0: it is not rotated.
    pub max_files: u32,
    /// When events are put on the disk for sure.
    pub sync: AuditSync,
    /// From an event to that, with `interval`.
    pub sync_interval: Duration,
    /// Events that may wait.
    pub queue: usize,
    /// Whether requests go on that cannot be recorded.
    pub danger_audit_best_effort: bool,
}

/// Where events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditOutput {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// A file.
    File,
}

/// When events are put on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditSync {
    /// When the system likes.
    Never,
    /// A while after they were written.
    Interval,
    /// With every write.
    Batch,
}

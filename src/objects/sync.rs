//! Whether a cluster holds what policy says, as a cluster's status shows it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Whether a cluster is in step with policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The cluster was not read yet, or cannot be read at the moment.
    #[default]
    Unknown,
    /// It holds what policy says.
    InStep,
    /// Something is still to be written, or cannot be.
    Behind,
}

impl Step {
    /// As it stands in JSON and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::InStep => "InStep",
            Self::Behind => "Behind",
        }
    }
}

/// What the answering replica knows of a cluster's roles and bindings. Never stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncStatus {
    /// In a word.
    #[serde(default)]
    pub state: Step,
    /// Since when it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// How many objects differ from policy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub behind: usize,
    /// Some of them, each with the reason if there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    /// How many bindings of others name a group of the gateway's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub foreign: usize,
    /// Some of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foreign_bindings: Vec<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

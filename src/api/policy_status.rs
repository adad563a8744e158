//! `GET /policy/status`: how the policy folder of the replica that answers is.
//!
//! It is no kind of the API: there is one, nobody writes it, and it differs from replica to replica. A role
//! of scope global reaches it by `nonResourceURLs: [/policy/status]`.

use super::Api;
use crate::observe::reloads::Source;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// When what counts was read.
    pub since: Timestamp,
    /// Roles of the folder.
    pub roles: usize,
    /// Projects of the folder.
    #[serde(default)]
    pub projects: usize,
    /// Bindings of the folder.
    pub bindings: usize,
    /// Why what is in the folder now was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// What does not count of what was taken, and what is probably not meant.
    pub remarks: Vec<String>,
}

/// A folder that was not taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// When it was first read.
    pub since: Timestamp,
    /// `FILE:LINE:COLUMN: path: message`, one a mistake.
    pub mistakes: Vec<String>,
}

impl PolicyStatus {
    pub(super) fn of(api: &Api) -> Self {
        let folder = api.authz.folder();
        let (since, problem) = api.reloads.of(Source::Policy);
        Self {
            since,
            roles: folder.roles.len(),
            projects: folder.projects.len(),
            bindings: folder.bindings.len(),
            refused: problem.map(|(problem, since)| Refused {
                since,
                mistakes: problem.lines,
            }),
            remarks: folder.remarks(),
        }
    }
}

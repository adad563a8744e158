//! What the store holds of a grant. Nothing secret: hashes of codes, and what people read.

use crate::objects::Member;
use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Where grants are.
pub const PREFIX: &str = "/palisade/grants/";

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// What the terminal calls its machine.
    pub(super) client: String,
    /// The address that asked.
    pub(super) from: IpAddr,
    pub(super) asked_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) what: What,
}

/// What kind of grant it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum What {
    /// A terminal waits for somebody's answer. Its key is made of the user code.
    Device {
        /// SHA-256 of what the terminal alone knows.
        secret: String,
        answer: Answer,
    },
    /// Somebody has said yes, and a terminal is about to fetch it. Its key is made of the code.
    Code {
        challenge: String,
        redirect_uri: String,
        by: By,
    },
    /// A login at a provider came back with this state; it does not a second time.
    State,
}

/// What grants are counted by: those of strangers take no room from those of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Terminals that wait for an answer.
    Device,
    /// Terminals that are about to fetch what somebody said yes to.
    Code,
    /// Browsers that came back from a provider.
    State,
}

impl What {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Device { .. } => Kind::Device,
            Self::Code { .. } => Kind::Code,
            Self::State => Kind::State,
        }
    }
}

/// What somebody has said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Answer {
    None,
    No,
    Yes(By),
}

/// Who said yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct By {
    pub(super) user: Member,
    /// A change of the password takes the yes back.
    pub(super) password_epoch: u64,
    /// The browser's session in which it was said: its end takes the yes back too.
    pub(super) session: String,
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        // Texts, numbers and times: this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Keys of each kind, by what a code is hashed to.
pub(super) fn device_key(locator: &str) -> String {
    format!("{PREFIX}device/{locator}")
}

pub(super) fn code_key(code: &str) -> String {
    format!("{PREFIX}code/{}", hash("palisade code", code))
}

pub(super) fn state_key(state: &str) -> String {
    format!("{PREFIX}state/{}", hash("palisade state", state))
}

/// SHA-256 in lower-case hex; `purpose` keeps the kinds apart.
pub(super) fn hash(purpose: &str, text: &str) -> String {
    use std::fmt::Write as _;
    let bytes = [purpose.as_bytes(), &[0], text.as_bytes()].concat();
    let sum = digest(&SHA256, &bytes);
    sum.as_ref().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

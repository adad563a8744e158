//! The line: an `audit.k8s.io/v1` Event, level Metadata, with upstream's fields in upstream's order
//! (`k8s.io/apiserver/pkg/apis/audit/v1`), so that whatever reads a cluster's audit log reads this one.
//!
//! Everything is borrowed, and numbers and ids are turned into text in the line itself: there is one of these for
//! each request.

use crate::status::{Empty, Reason};
use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use smallvec::SmallVec;
use std::{collections::BTreeSet, fmt, time::Duration};

/// Annotations that an event has room for without memory of its own: all that there are kinds of.
const ANNOTATIONS: usize = 12;

/// One line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event<'a> {
    kind: &'static str,
    api_version: &'static str,
    level: &'static str,
    /// Id of the request.
    #[serde(rename = "auditID")]
    pub audit_id: Shown<'a>,
    /// When in the life of the request.
    pub stage: Stage,
    /// As far as it may be told.
    #[serde(rename = "requestURI")]
    pub request_uri: &'a str,
    /// `get`, `list`, …; for what is no resource the method in lower case.
    pub verb: &'a str,
    /// Who asked; empty if nobody was identified.
    pub user: User<'a>,
    /// As whom, if as somebody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<User<'a>>,
    /// The other end of the connection.
    #[serde(rename = "sourceIPs")]
    pub source_ips: [Shown<'a>; 1],
    /// What the client calls itself.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub user_agent: &'a str,
    /// What it is about, if about a resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_ref: Option<ObjectRef<'a>>,
    /// What came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_status: Option<ResponseStatus<'a>>,
    /// When the head had arrived.
    #[serde(serialize_with = "micro_time")]
    pub request_received_timestamp: Timestamp,
    /// When the stage was reached.
    #[serde(serialize_with = "micro_time")]
    pub stage_timestamp: Timestamp,
    /// Whatever else there is to say.
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    annotations: Annotations<'a>,
}

/// What is written as it shows itself.
#[derive(Clone, Copy)]
pub struct Shown<'a>(pub &'a dyn fmt::Display);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// An annotation's text.
#[derive(Clone, Copy, Debug)]
pub enum Note<'a> {
    /// As it is.
    Text(&'a str),
    /// Of the role that allowed a request.
    Role(&'a str),
    /// In decimal.
    Number(u64),
    /// In seconds, to the millisecond.
    Length(Duration),
    /// An exit code.
    Code(i32),
}

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Role(role) => write!(f, "allowed by role {role:?}"),
            Self::Number(number) => number.fmt(f),
            Self::Length(length) => write!(f, "{:.3}", length.as_secs_f64()),
            Self::Code(code) => code.fmt(f),
        }
    }
}

/// In the order of their keys.
#[derive(Debug, Default)]
struct Annotations<'a>(SmallVec<[(&'static str, Note<'a>); ANNOTATIONS]>);

impl<'a> Annotations<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was there under the key is forgotten.
    fn insert(&mut self, key: &'static str, note: Note<'a>) {
        match self.0.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(at) => {
                if let Some(slot) = self.0.get_mut(at) {
                    slot.1 = note;
                }
            }
            Err(at) => self.0.insert(at, (key, note)),
        }
    }
}

impl Serialize for Annotations<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, note) in &self.0 {
            map.serialize_entry(key, &Shown(note))?;
        }
        map.end()
    }
}

/// When in the life of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Stage {
    /// A stream's head was answered; its body goes on.
    ResponseStarted,
    /// The end.
    ResponseComplete,
    /// The gateway itself broke.
    Panic,
}

/// `authentication/v1` UserInfo.
#[derive(Debug, Default, Serialize)]
pub struct User<'a> {
    /// Handle.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub username: &'a str,
    /// Uid.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub uid: &'a str,
    /// Names of groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<&'a str>,
    /// What else belongs to the identity.
    #[serde(skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra<'a>,
}

/// What else belongs to an identity.
#[derive(Debug, Default)]
pub enum Extra<'a> {
    /// Nothing.
    #[default]
    None,
    /// One key with one value.
    One(&'static str, Shown<'a>),
    /// Keys of which the values are not told.
    Keys(BTreeSet<&'a str>),
}

impl Extra<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(_, _) => false,
            Self::Keys(keys) => keys.is_empty(),
        }
    }
}

impl Serialize for Extra<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.collect_map(std::iter::empty::<(&str, &str)>()),
            Self::One(key, value) => serializer.collect_map([(key, [value])]),
            Self::Keys(keys) => serializer.collect_map(keys.iter().map(|key| (key, [""; 0]))),
        }
    }
}

/// `audit/v1` ObjectReference.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef<'a> {
    /// `pods`
    pub resource: &'a str,
    /// Empty: none.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub namespace: &'a str,
    /// Empty: none, or not known yet.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub name: &'a str,
    /// Empty: the core group.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub api_group: &'a str,
    /// `v1`
    #[serde(skip_serializing_if = "str::is_empty")]
    pub api_version: &'a str,
    /// `log`
    #[serde(skip_serializing_if = "str::is_empty")]
    pub subresource: &'a str,
}

/// `meta/v1` Status, as far as an audit event has it.
#[derive(Debug, Serialize)]
pub struct ResponseStatus<'a> {
    metadata: Empty,
    /// `Failure`, if the gateway itself answered so.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    /// The gateway's reason, as its log has it.
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    /// Kubernetes' word for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// HTTP status.
    code: u16,
}

impl<'a> Event<'a> {
    /// An event that says no more than that there was a request, and from where.
    pub fn new(audit_id: Shown<'a>, stage: Stage, source: Shown<'a>) -> Self {
        Self {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: "Metadata",
            audit_id,
            stage,
            request_uri: "",
            verb: "",
            user: User::default(),
            impersonated_user: None,
            source_ips: [source],
            user_agent: "",
            object_ref: None,
            response_status: None,
            request_received_timestamp: Timestamp::UNIX_EPOCH,
            stage_timestamp: Timestamp::UNIX_EPOCH,
            annotations: Annotations::default(),
        }
    }

    /// Adds an annotation.
    pub fn annotate(&mut self, key: &'static str, note: Note<'a>) {
        self.annotations.insert(key, note);
    }

    /// Appends the line.
    pub fn write(&self, line: &mut Vec<u8>) {
        // Strings, numbers and string-keyed maps into memory: serialising cannot fail.
        let _ = serde_json::to_writer(&mut *line, self);
        line.push(b'\n');
    }
}

impl<'a> ResponseStatus<'a> {
    /// An answer that is no refusal of the gateway's.
    pub fn answered(code: u16) -> Self {
        Self {
            metadata: Empty {},
            status: None,
            message: "",
            reason: None,
            code,
        }
    }

    /// The gateway's own failure or refusal.
    pub fn failure(code: u16, reason: Option<Reason>, message: &'a str) -> Self {
        Self {
            status: Some("Failure"),
            message,
            reason,
            ..Self::answered(code)
        }
    }
}

/// `metav1.MicroTime`: always six digits.
fn micro_time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

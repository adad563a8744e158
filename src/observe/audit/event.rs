//! The line: an `audit.k8s.io/v1` Event, level Metadata, with upstream's fields in upstream's order
//! (`k8s.io/apiserver/pkg/apis/audit/v1`), so that whatever reads a cluster's audit log reads this one.

use crate::status::{Empty, Reason};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::{borrow::Cow, collections::BTreeMap};

/// One line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event<'a> {
    kind: &'static str,
    api_version: &'static str,
    level: &'static str,
    /// Id of the request.
    #[serde(rename = "auditID")]
    pub audit_id: String,
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
    pub source_ips: [String; 1],
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
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<&'static str, Cow<'a, str>>,
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
    pub groups: Vec<Cow<'a, str>>,
    /// What else belongs to the identity.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<Cow<'a, str>, Vec<Cow<'a, str>>>,
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
    /// An event that says no more than that there was a request.
    pub fn new(audit_id: String, stage: Stage) -> Self {
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
            source_ips: [String::new()],
            user_agent: "",
            object_ref: None,
            response_status: None,
            request_received_timestamp: Timestamp::UNIX_EPOCH,
            stage_timestamp: Timestamp::UNIX_EPOCH,
            annotations: BTreeMap::new(),
        }
    }

    /// Adds an annotation.
    pub fn annotate(&mut self, key: &'static str, value: impl Into<Cow<'a, str>>) {
        self.annotations.insert(key, value.into());
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

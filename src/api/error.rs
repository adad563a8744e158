//! What can go wrong in the own API, and the `metav1.Status` of each.
//!
//! Texts follow upstream (`apimachinery/pkg/api/errors`), because kubectl and people recognise them.

use super::login::LoginError;
use crate::clusters::ClusterError;
use crate::objects::{DecodeError, GROUP, Kind};
use crate::status::{Cause, Details, Reason, Status};
use crate::store::{Revision, StoreError};
use std::borrow::Cow;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No such path.
    #[error("the server could not find the requested resource")]
    NoSuchPath,
    /// No such object.
    #[error("{0} not found")]
    NotFound(ObjectRef),
    /// The name is taken.
    #[error("{0} already exists{1}")]
    AlreadyExists(ObjectRef, Cow<'static, str>),
    /// Somebody else wrote it in between, or a precondition does not hold.
    #[error("Operation cannot be fulfilled on {0}: {1}")]
    Conflict(ObjectRef, String),
    /// One or more fields are wrong; all of them are told.
    #[error("{} is invalid: {}", .0.kind_and_name(), list(.1))]
    Invalid(ObjectRef, Vec<Mistake>),
    /// The request itself cannot be read.
    #[error("{0}")]
    BadRequest(String),
    /// The caller may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// The path exists, the method does not.
    #[error("{0}")]
    MethodNotAllowed(String),
    /// The body is larger than the bound (bytes).
    #[error("Request entity too large: limit is {0}")]
    TooLarge(usize),
    /// The body is in a format that is not read here.
    #[error("the body of the request was in an unknown format - accepted media types include: {0}")]
    UnsupportedMediaType(&'static str),
    /// The client takes none of the forms that there are.
    #[error("only the following media types are accepted: {0}")]
    NotAcceptable(&'static str),
    /// The body did not arrive in time.
    #[error("Timeout: the body of the request did not arrive within {0} seconds")]
    BodyTimeout(u64),
    /// The client went away, or broke the framing, while it sent the body.
    #[error("the body of the request could not be read")]
    BodyBroken,
    /// A state of the store that is not there yet: a revision of another gateway, most likely.
    #[error("Too large resource version: {wanted}, current: {current}")]
    TooNew {
        /// What was asked for.
        wanted: Revision,
        /// What there is.
        current: Revision,
    },
    /// A state of the store that is not there any more.
    #[error(
        "the resource version {0} is too old: the present alone can be listed, without resourceVersionMatch=Exact"
    )]
    Expired(Revision),
    /// More objects than one answer may hold.
    #[error("there are more than {0} objects: ask for them in parts, with limit and continue")]
    TooMany(usize),
    /// The store's queue is full; nothing was written.
    #[error("the gateway's store is too busy; nothing was written")]
    Busy,
    /// This replica could not follow the store to the present, so nobody can tell who holds what.
    #[error(
        "this replica has not seen everything that was written before, and cannot tell who may do this; nothing was written"
    )]
    Behind,
    /// The store takes no value of this size.
    #[error("{0}; nothing was written")]
    TooLargeToStore(&'static str),
    /// The store does not answer: nothing was written.
    #[error("the gateway's store does not answer; nothing was written")]
    Store(#[source] StoreError),
    /// Nobody can say whether the write counts.
    #[error(
        "the gateway's store failed while it wrote: look whether the change was made before you try again"
    )]
    Uncertain(#[source] StoreError),
    /// A stored value cannot be read.
    #[error("an object that the gateway stores cannot be read; its log says which")]
    Stored(#[source] DecodeError),
    /// The password was not changed.
    #[error(transparent)]
    Password(LoginError),
    /// Something with a cluster failed.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The system gave no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// Seconds after which another try makes sense.
const RETRY_AFTER: u32 = 1;

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::Busy,
            StoreError::Invalid(why) => Self::TooLargeToStore(why),
            error @ StoreError::Uncertain(_) => Self::Uncertain(error),
            // A conflict that nobody looked at is a retry that did not happen: nothing was written.
            error @ (StoreError::Conflict { .. }
            | StoreError::Closed
            | StoreError::Unavailable(_)) => Self::Store(error),
        }
    }
}

impl From<DecodeError> for ApiError {
    fn from(error: DecodeError) -> Self {
        Self::Stored(error)
    }
}

fn code_of(status: &Status) -> (u16, Option<Reason>) {
    (status.code, status.reason)
}

/// Which object an answer is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    kind: &'static str,
    plural: &'static str,
    name: String,
}

impl ObjectRef {
    /// The object of kind `K` called `name`.
    pub fn of<K: Kind>(name: &str) -> Self {
        Self {
            kind: K::KIND,
            plural: K::PLURAL,
            name: shown(name).into_owned(),
        }
    }

    fn kind_and_name(&self) -> String {
        format!("{}.{GROUP} {:?}", self.kind, self.name)
    }

    /// Details whose `kind` is the resource, as for NotFound and Conflict.
    fn details(&self) -> Details {
        Details {
            name: self.name.clone(),
            group: GROUP.to_owned(),
            kind: self.plural.to_owned(),
            ..Details::default()
        }
    }
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{GROUP} {:?}", self.plural, self.name)
    }
}

/// One wrong field (`apimachinery/pkg/util/validation/field`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    field: String,
    reason: &'static str,
    message: String,
}

impl Mistake {
    /// A value that is not allowed, and what is.
    pub fn invalid(field: impl Into<String>, value: &str, detail: impl std::fmt::Display) -> Self {
        Self::new(
            field,
            "FieldValueInvalid",
            format!("Invalid value: {:?}: {detail}", shown(value)),
        )
    }

    /// A value of another JSON type.
    pub fn wrong_type(field: impl Into<String>, value: &str, detail: &str) -> Self {
        let message = format!("Invalid value: {value}: {detail}");
        Self::new(field, "FieldValueTypeInvalid", message)
    }

    /// A value that is none of the few that there are.
    pub fn not_supported(field: impl Into<String>, value: &str, choices: &[&str]) -> Self {
        let choices: Vec<String> = choices.iter().map(|one| format!("{one:?}")).collect();
        let message = format!(
            "Unsupported value: {value:?}: supported values: {}",
            choices.join(", ")
        );
        Self::new(field, "FieldValueNotSupported", message)
    }

    /// A field that must be there.
    pub fn required(field: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        Self::new(
            field,
            "FieldValueRequired",
            format!("Required value: {detail}"),
        )
    }

    /// A field that must not be there, or not be changed.
    pub fn forbidden(field: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        Self::new(field, "FieldValueForbidden", format!("Forbidden: {detail}"))
    }

    /// A reference to something that is not there.
    pub fn not_found(field: impl Into<String>, value: &str) -> Self {
        Self::new(field, "FieldValueNotFound", format!("Not found: {value:?}"))
    }

    /// A value that is there twice.
    pub fn duplicate(field: impl Into<String>, value: &str) -> Self {
        Self::new(
            field,
            "FieldValueDuplicate",
            format!("Duplicate value: {value:?}"),
        )
    }

    /// More entries than allowed.
    pub fn too_many(field: impl Into<String>, found: usize, bound: usize) -> Self {
        let message = format!("Too many: {found}: must have at most {bound} items");
        Self::new(field, "FieldValueTooMany", message)
    }

    /// Path of the field.
    pub fn field(&self) -> &str {
        &self.field
    }

    fn new(field: impl Into<String>, reason: &'static str, message: String) -> Self {
        Self {
            field: field.into(),
            reason,
            message,
        }
    }

    fn cause(&self) -> Cause {
        Cause {
            reason: self.reason.to_owned(),
            message: self.message.clone(),
            field: self.field.clone(),
        }
    }
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// A text of the client's as answers and the log show it: a body may hold one of megabytes.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    // The longest names that there are have 253.
    cut(text, 256)
}

/// The first `most` bytes.
pub(super) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return text.into();
    }
    let cut = text.get(..text.floor_char_boundary(most));
    format!("{}…", cut.unwrap_or_default()).into()
}

/// `a`, or `[a, b]`, as upstream's aggregate writes it.
fn list(mistakes: &[Mistake]) -> String {
    let texts: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    match texts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

impl ApiError {
    /// The answer that a client reads. `Retry-After` mirrors `details.retryAfterSeconds`.
    pub fn status(&self) -> Status {
        // Their stages know best how to say it.
        if let Self::Password(error) = self {
            return error.status();
        }
        if let Self::Cluster(error) = self {
            return error.status();
        }
        let (code, reason) = self.code();
        let status = Status::failure(code, reason, self.to_string());
        match self.details() {
            Some(details) => status.with_details(details),
            None => status,
        }
    }

    fn code(&self) -> (u16, Option<Reason>) {
        match self {
            Self::NoSuchPath | Self::NotFound(_) => (404, Some(Reason::NotFound)),
            Self::AlreadyExists(..) => (409, Some(Reason::AlreadyExists)),
            Self::Conflict(..) => (409, Some(Reason::Conflict)),
            Self::Invalid(..) => (422, Some(Reason::Invalid)),
            Self::BadRequest(_) | Self::BodyBroken => (400, Some(Reason::BadRequest)),
            Self::Forbidden(_) => (403, Some(Reason::Forbidden)),
            Self::MethodNotAllowed(_) => (405, Some(Reason::MethodNotAllowed)),
            Self::TooLarge(_) | Self::TooMany(_) | Self::TooLargeToStore(_) => {
                (413, Some(Reason::RequestEntityTooLarge))
            }
            Self::UnsupportedMediaType(_) => (415, Some(Reason::UnsupportedMediaType)),
            Self::NotAcceptable(_) => (406, Some(Reason::NotAcceptable)),
            // Upstream gives 408 no reason.
            Self::BodyTimeout(_) => (408, None),
            Self::Busy => (429, Some(Reason::TooManyRequests)),
            Self::Behind | Self::Store(_) | Self::Uncertain(_) | Self::NoRandomness => {
                (503, Some(Reason::ServiceUnavailable))
            }
            Self::TooNew { .. } => (504, Some(Reason::Timeout)),
            Self::Expired(_) => (410, Some(Reason::Expired)),
            Self::Password(error) => code_of(&error.status()),
            Self::Cluster(error) => code_of(&error.status()),
            Self::Stored(_) => (500, Some(Reason::InternalError)),
        }
    }

    fn details(&self) -> Option<Details> {
        match self {
            Self::NotFound(object) | Self::AlreadyExists(object, _) | Self::Conflict(object, _) => {
                Some(object.details())
            }
            Self::Invalid(object, mistakes) => Some(Details {
                // Upstream has the kind here, not the resource.
                kind: object.kind.to_owned(),
                causes: mistakes.iter().map(Mistake::cause).collect(),
                ..object.details()
            }),
            // client-go knows it by this cause, and waits.
            Self::TooNew { .. } => Some(Details {
                causes: vec![Cause {
                    reason: "ResourceVersionTooLarge".to_owned(),
                    message: "Too large resource version".to_owned(),
                    field: String::new(),
                }],
                retry_after_seconds: RETRY_AFTER,
                ..Details::default()
            }),
            Self::Busy | Self::Behind => Some(Details {
                retry_after_seconds: RETRY_AFTER,
                ..Details::default()
            }),
            Self::NoSuchPath => Some(Details::default()),
            Self::BadRequest(_)
            | Self::Forbidden(_)
            | Self::MethodNotAllowed(_)
            | Self::TooLarge(_)
            | Self::UnsupportedMediaType(_)
            | Self::NotAcceptable(_)
            | Self::BodyTimeout(_)
            | Self::BodyBroken
            | Self::Expired(_)
            | Self::TooMany(_)
            | Self::TooLargeToStore(_)
            | Self::Store(_)
            | Self::Uncertain(_)
            | Self::Stored(_)
            | Self::Password(_)
            | Self::Cluster(_)
            | Self::NoRandomness => None,
        }
    }
}

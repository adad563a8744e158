//! Who may do what, beyond what the policy has said.
//!
//! The policy answered for the request as such. With [`Reach::Own`] only the operations below are open, on
//! what is the caller's own. Whether they may give what a write gives is for `authority` to say.

use super::error::ApiError;
use super::{Caller, Reach};
use crate::objects::{Binding, Cluster, GROUP, Kind, Project, Token, User};

/// What a request does with one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation<'a> {
    /// GET of one.
    Get(&'a str),
    /// GET of many.
    List,
    /// POST.
    Create,
    /// PUT.
    Update(&'a str),
    /// PATCH.
    Patch(&'a str),
    /// DELETE of one.
    Delete(&'a str),
    /// Name, subresource and its verb.
    Sub(&'a str, &'a str, &'a str),
}

impl<'a> Operation<'a> {
    pub(super) fn verb(self) -> &'a str {
        match self {
            Self::Get(_) => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Update(_) => "update",
            Self::Patch(_) => "patch",
            Self::Delete(_) => "delete",
            Self::Sub(_, _, verb) => verb,
        }
    }

    /// `users`, `users/password`.
    pub(super) fn resource<K: Kind>(self) -> String {
        match self {
            Self::Sub(_, subresource, _) => format!("{}/{subresource}", K::PLURAL),
            Self::Get(_)
            | Self::List
            | Self::Create
            | Self::Update(_)
            | Self::Patch(_)
            | Self::Delete(_) => K::PLURAL.to_owned(),
        }
    }

    pub(super) fn name(self) -> Option<&'a str> {
        match self {
            Self::Get(name)
            | Self::Update(name)
            | Self::Patch(name)
            | Self::Delete(name)
            | Self::Sub(name, ..) => Some(name),
            Self::List | Self::Create => None,
        }
    }
}

/// Refuses what is closed to the caller whatever the object is.
pub(super) fn check<K: Kind>(caller: &Caller, op: &Operation<'_>) -> Result<(), ApiError> {
    // What outlives the request would outlive the right to act as somebody, and reach further: a token of
    // theirs is good for clusters too.
    if caller.acting.is_some() && lasts::<K>(op) {
        return Err(ApiError::Forbidden(format!(
            "{}: tokens and passwords are not given out while acting as somebody else (--as)",
            sentence::<K>(caller, op)
        )));
    }
    let read = [Token::KIND, Cluster::KIND, Project::KIND, Binding::KIND];
    let own = match *op {
        Operation::Get(_) | Operation::List => read.contains(&K::KIND),
        Operation::Create | Operation::Delete(_) => [Token::KIND, Binding::KIND].contains(&K::KIND),
        Operation::Update(_) | Operation::Patch(_) => K::KIND == Binding::KIND,
        Operation::Sub(name, "password", _) => K::KIND == User::KIND && name == &*caller.handle,
        Operation::Sub(..) => false,
    };
    // Whose it is shows with the object.
    if own || caller.reach == Reach::All {
        return Ok(());
    }
    Err(forbidden::<K>(caller, op))
}

/// Whether it makes something that one can log in with.
fn lasts<K: Kind>(op: &Operation<'_>) -> bool {
    match *op {
        Operation::Create => K::KIND == Token::KIND,
        Operation::Sub(_, "password", _) => K::KIND == User::KIND,
        Operation::Get(_)
        | Operation::List
        | Operation::Update(_)
        | Operation::Patch(_)
        | Operation::Delete(_)
        | Operation::Sub(..) => false,
    }
}

/// The refusal of everything that is not the caller's own, whether or not it is there.
pub(super) fn forbidden<K: Kind>(caller: &Caller, op: &Operation<'_>) -> ApiError {
    ApiError::Forbidden(format!(
        "{}: without a role of scope global you reach your own tokens, your own password, the clusters and projects in which you hold a role, and the bindings of projects whose members you manage",
        sentence::<K>(caller, op)
    ))
}

/// Upstream's grammar (`responsewriters/errors.go`).
fn sentence<K: Kind>(caller: &Caller, op: &Operation<'_>) -> String {
    let resource = op.resource::<K>();
    let object = op
        .name()
        .map(|name| format!(" {name:?}"))
        .unwrap_or_default();
    format!(
        "{}.{GROUP}{object} is forbidden: User {:?} cannot {} resource {resource:?} in API group {GROUP:?} at the cluster scope",
        K::PLURAL,
        caller.handle,
        op.verb(),
    )
}

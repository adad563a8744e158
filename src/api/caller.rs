//! Who calls, and how far they reach.

use crate::authz::{OwnPermit, Reach};
use crate::objects::TokenKind;
use jiff::Timestamp;

/// The identity of a request to the own API, and its reach: what a permit says, and nothing else.
#[derive(Clone)]
pub struct Caller {
    pub(super) user_uid: Box<str>,
    pub(super) handle: Box<str>,
    /// Uids.
    pub(super) groups: Box<[Box<str>]>,
    /// Handle of the one whose token it is, if they act as the caller.
    pub(super) acting: Option<Box<str>>,
    pub(super) token_id: Box<str>,
    pub(super) token_kind: TokenKind,
    pub(super) token_clusters: Option<Box<[Box<str>]>>,
    pub(super) token_expires_at: Timestamp,
    pub(super) reach: Reach,
}

impl Caller {
    /// The same caller with another reach: for reviews of what another request would be answered.
    pub(super) fn with_reach(&self, reach: Reach) -> Self {
        Self {
            reach,
            ..self.clone()
        }
    }

    /// Whom the authoriser let through, and how far.
    pub fn permitted(permit: &OwnPermit) -> Self {
        let actor = permit.actor();
        let identity = actor.caller();
        Self {
            user_uid: actor.user_uid().into(),
            handle: actor.handle().into(),
            groups: actor.groups().into(),
            acting: actor.assumed().map(|_| identity.handle().into()),
            token_id: identity.token_id().as_str().into(),
            token_kind: identity.token_kind(),
            token_clusters: identity.token_clusters().map(Into::into),
            token_expires_at: identity.expires_at(),
            reach: permit.reach(),
        }
    }
}

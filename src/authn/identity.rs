//! Credential → identity, and the stage's errors.

use super::{
    credential::Credential,
    index::{Index, Slot, TokenEntry, TokenFacts, UserEntry},
    token::TokenId,
};
use crate::{
    objects::TokenKind,
    status::{Reason, Status},
};
use jiff::Timestamp;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;

/// Why a credential gives no identity. The person asking sees [`AuthnError::status`], which says nothing
/// of the reason; the reason is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthnError {
    /// 400: more than one credential, or one that two parsers could read differently.
    #[error("ambiguous credential: {0}")]
    Ambiguous(&'static str),
    /// 401: this is nobody.
    #[error("credential refused: {0}")]
    Refused(Refusal),
    /// 503: whether this is somebody cannot be told now. Never taken for a refusal, never for an allow.
    #[error("cannot tell who this is: {0}")]
    Unavailable(Unknowable),
}

/// Why a credential is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Neither header nor subprotocol.
    #[error("no credential")]
    Missing,
    /// Not `Bearer`.
    #[error("not a bearer token")]
    Scheme,
    /// Not the text of a token.
    #[error("malformed token")]
    Malformed,
    /// A browser's session where a bearer token belongs.
    #[error("a browser's session is no bearer token")]
    OfABrowser,
    /// No token has this id (revoked, or never made).
    #[error("unknown or revoked token")]
    UnknownToken,
    /// The id exists, the rest does not fit.
    #[error("wrong secret")]
    WrongSecret,
    /// Its time is over.
    #[error("expired token")]
    Expired,
    /// Its user was removed, or the handle belongs to somebody else now.
    #[error("the token's user does not exist")]
    NoUser,
    /// Its user is disabled.
    #[error("the token's user is disabled")]
    Disabled,
    /// Its user's provider is not there any more, or disabled.
    #[error("the provider of the token's user is not there or disabled")]
    NoProvider,
    /// The provider says that the user's account is disabled.
    #[error("the account of the token's user is disabled at its provider")]
    AccountDisabled,
    /// The provider says that the user's account is locked.
    #[error("the account of the token's user is locked at its provider")]
    AccountLocked,
    /// The provider says that the user's account has expired.
    #[error("the account of the token's user has expired at its provider")]
    AccountExpired,
    /// The provider wants the account's password to be changed first.
    #[error("the password of the token's user must be changed at the provider first")]
    AccountMustChange,
    /// The provider does not have the user's account any more.
    #[error("the account of the token's user is gone from its provider")]
    AccountGone,
    /// What the user's last login left here to ask the provider again with is of no use any more.
    #[error("the login of the token's user has ended at its provider")]
    LoginEnded,
    /// The user is not, or not any more, among those who may log in.
    #[error("the token's user is not among those who may log in at the provider")]
    NotListed,
    /// A session from before the user's password was changed.
    #[error("the session was ended by a change of the password")]
    PasswordChanged,
}

/// Why it cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknowable {
    /// The in-memory index has not been filled yet.
    #[error("users and tokens are not loaded yet")]
    Loading,
    /// The store holds a token or user that this build cannot read.
    #[error("the stored token or user cannot be read")]
    Unreadable,
    /// The user's provider was not heard of for too long.
    #[error("the user's provider has not answered for too long")]
    Stale,
}

impl AuthnError {
    /// What the stranger is told: one constant text a class, whatever the reason.
    pub fn status(&self) -> Status {
        match self {
            Self::Ambiguous(why) => {
                Status::failure(400, Some(Reason::BadRequest), format!("Bad request: {why}"))
            }
            Self::Refused(_) => Status::failure(401, Some(Reason::Unauthorized), "Unauthorized"),
            Self::Unavailable(_) => Status::failure(
                503,
                Some(Reason::ServiceUnavailable),
                "The gateway cannot tell who you are at the moment; try again",
            ),
        }
    }
}

/// A user who proved to be themselves, and with which token. Made by [`Authn::authenticate`] alone.
#[derive(Clone)]
pub struct Identity {
    user: Arc<UserEntry>,
    token: TokenFacts,
    clusters: Option<Arc<[Box<str>]>>,
}

impl Identity {
    /// The user.
    pub fn user(&self) -> &Arc<UserEntry> {
        &self.user
    }

    /// What bindings name the user by.
    pub fn user_uid(&self) -> &str {
        &self.user.uid
    }

    /// The user's name.
    pub fn handle(&self) -> &str {
        &self.user.handle
    }

    /// Uids of the groups that the user is a member of, in order.
    pub fn groups(&self) -> &[Box<str>] {
        &self.user.groups
    }

    /// Public id of the token used.
    pub fn token_id(&self) -> TokenId {
        self.token.id
    }

    /// Kind of the token used.
    pub fn token_kind(&self) -> TokenKind {
        self.token.kind
    }

    /// Names of the clusters that the token is good for; `None`: all, and the gateway's own API.
    pub fn token_clusters(&self) -> Option<&[Box<str>]> {
        self.clusters.as_deref()
    }

    /// From this instant on the token is refused.
    pub fn expires_at(&self) -> Timestamp {
        self.token.expires_at
    }

    /// Whether nothing moves that instant.
    pub fn is_final(&self) -> bool {
        self.token.is_final
    }
}

/// The authenticator.
#[derive(Clone)]
pub struct Authn {
    index: Arc<Index>,
}

impl Authn {
    /// Answers from `index`.
    pub fn new(index: Arc<Index>) -> Self {
        Self { index }
    }

    /// Whose credential this is, at the time `now`.
    pub fn authenticate(
        &self,
        credential: &Credential,
        now: Timestamp,
    ) -> Result<Identity, AuthnError> {
        let refused = |why| Err(AuthnError::Refused(why));
        if !self.index.is_loaded() {
            return Err(AuthnError::Unavailable(Unknowable::Loading));
        }
        let presented = &credential.token;
        self.index.token(presented.id, |slot| {
            let token = readable(slot)?;
            // The hash first: who does not know the secret learns nothing of the token, not even that it
            // has expired.
            let is_right = bool::from(token.sha256.ct_eq(&presented.sha256));
            let facts = token.facts(presented.id);
            if !is_right || facts.kind != presented.kind {
                return refused(Refusal::WrongSecret);
            }
            let user = user_of(token, &facts, now)?;
            token.last_use.touch(now);
            Ok(Identity {
                user,
                token: facts,
                clusters: token.clusters.clone(),
            })
        })
    }

    /// Whether the token of this id still lets its user in: for a request that has taken its time since it was
    /// authenticated.
    pub fn still(&self, id: TokenId, now: Timestamp) -> Result<(), AuthnError> {
        self.index.token(id, |slot| {
            let token = readable(slot)?;
            user_of(token, &token.facts(id), now).map(drop)
        })
    }

    /// The user with this handle, whoever asks. Proves nothing: what may be done with it is for `authz`.
    pub fn user(&self, handle: &str) -> Option<Slot<Arc<UserEntry>>> {
        self.index.user_slot(handle)
    }

    /// The uid of the group with this name: a local one, or `<provider>:<name>`.
    pub fn group_uid(&self, name: &str) -> Option<Box<str>> {
        let local = self.index.group_uid(name);
        local.or_else(|| self.index.foreign_group_uid(name))
    }
}

fn readable(slot: Option<&Slot<TokenEntry>>) -> Result<&TokenEntry, AuthnError> {
    match slot {
        Some(Slot::Known(token)) => Ok(token),
        Some(Slot::Unreadable) => Err(AuthnError::Unavailable(Unknowable::Unreadable)),
        None => Err(AuthnError::Refused(Refusal::UnknownToken)),
    }
}

/// The user whom a token lets in.
fn user_of(
    token: &TokenEntry,
    facts: &TokenFacts,
    now: Timestamp,
) -> Result<Arc<UserEntry>, AuthnError> {
    let refused = |why| Err(AuthnError::Refused(why));
    if now >= facts.expires_at {
        return refused(Refusal::Expired);
    }
    let user = token.user();
    let Some(user) = &*user else {
        return refused(Refusal::NoUser);
    };
    user.judge(now)?;
    if facts.kind.is_session() && facts.password_epoch != user.password_epoch {
        return refused(Refusal::PasswordChanged);
    }
    Ok(Arc::clone(user))
}

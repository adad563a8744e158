//! What is known of a user.

use super::{accounts::Home, names::Names};
use crate::{
    authn::{
        Refusal,
        identity::{AuthnError, Unknowable},
        providers::Account,
        throttle::Source,
    },
    objects::{Member, Stored, USER_PREFIX, User, UserPrivate, UserSpec},
};
use bytestring::ByteString;
use http::HeaderValue;
use jiff::Timestamp;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A user, as far as authentication needs it. No `Debug`: it holds the password's hash.
#[derive(Clone)]
pub struct UserEntry {
    /// Handle.
    pub handle: ByteString,
    /// Uid.
    pub uid: ByteString,
    /// Refused everywhere.
    pub disabled: bool,
    /// Has tokens only.
    pub machine: bool,
    /// PHC string.
    pub password: Option<Zeroizing<String>>,
    /// Grows with each change of the password, here or at the provider.
    pub password_epoch: u64,
    /// How often an admin has unlocked the account.
    pub unlocks: u64,
    /// Where an admin expects the next login from, and until when.
    pub vouched: Option<(Source, Timestamp)>,
    /// Revision of the user's last write: what a compare-and-swap must find.
    pub revision: u64,
    /// Uids of the groups, local ones and those of the provider, in order.
    pub groups: Arc<[Box<str>]>,
    /// Where the user logs in.
    pub(super) home: Home,
    /// The name under which most clusters see the user, and the uid, as they are sent with each request: made
    /// once, shared by all of them. `None`: no header can hold it.
    sent_name: Option<HeaderValue>,
    /// See `sent_name`.
    sent_uid: Option<HeaderValue>,
}

impl UserEntry {
    /// As the store has it, with the groups and the home that are known from elsewhere.
    pub(super) fn new(
        name: &str,
        stored: Stored<User>,
        revision: u64,
        (groups, home): (Arc<[Box<str>]>, Home),
    ) -> Self {
        let names = Names::new(name, &stored.object.metadata.uid);
        Self {
            handle: names.handle,
            uid: names.uid,
            sent_name: names.sent_name,
            sent_uid: names.sent_uid,
            disabled: stored.object.spec.disabled,
            machine: stored.object.spec.machine,
            password: stored.private.password.map(Zeroizing::new),
            password_epoch: home
                .password_epoch()
                .unwrap_or(stored.private.password_epoch),
            unlocks: stored.private.unlocks,
            vouched: stored
                .private
                .vouched
                .map(|it| (Source::of(it.address), it.until)),
            revision,
            groups,
            home,
        }
    }

    /// The same user with other groups and another home.
    pub(super) fn with(&self, groups: Arc<[Box<str>]>, home: Home) -> Self {
        Self {
            groups,
            password_epoch: home.password_epoch().unwrap_or(self.password_epoch),
            home,
            ..self.clone()
        }
    }

    /// Somebody of whom nothing can be told.
    pub(super) fn unreadable(user: &Member) -> Self {
        let mut nothing = Stored::new(
            User::new(&user.name, UserSpec::default()),
            UserPrivate::default(),
        );
        let (groups, home) = (Arc::default(), Home::Unreadable);
        nothing.object.metadata.uid.clone_from(&user.uid);
        Self::new(&user.name, nothing, 0, (groups, home))
    }

    /// Whether the user counts at this moment: is not disabled here, nor at the provider, as far as that is
    /// known in memory.
    pub fn judge(&self, now: Timestamp) -> Result<(), AuthnError> {
        if self.disabled {
            return Err(AuthnError::Refused(Refusal::Disabled));
        }
        match &self.home {
            Home::Local => Ok(()),
            Home::Account(account) => account.judge(now),
            Home::Unknown(_) | Home::Unreadable => {
                Err(AuthnError::Unavailable(Unknowable::Unreadable))
            }
        }
    }

    /// The account at a provider, if the user has one and it is known.
    pub fn account(&self) -> Option<&Arc<Account>> {
        match &self.home {
            Home::Account(account) => Some(account),
            Home::Local | Home::Unknown(_) | Home::Unreadable => None,
        }
    }

    /// The name under which a cluster with this prefix sees the user; `None` if no header can hold it.
    pub fn sent_name(&self, prefix: &str) -> Option<HeaderValue> {
        if prefix == USER_PREFIX {
            return self.sent_name.clone();
        }
        header_value(format!("{prefix}{}", self.handle))
    }

    /// The uid as a header's value; `None` if no header can hold it.
    pub fn sent_uid(&self) -> Option<HeaderValue> {
        self.sent_uid.clone()
    }
}

/// From bytes: a name may be any UTF-8.
fn header_value(text: String) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()
}

//! Logging a terminal in by way of a browser: the device grant (RFC 8628) and the authorisation code with PKCE
//! (RFC 7636, RFC 8252), both served by the gateway itself, whatever the provider.
//!
//! A terminal asks, somebody who is logged in to the pages says yes, the terminal fetches its session. What is
//! agreed meanwhile is in the store, under the hash of a code, so that every replica sees it; it holds no secret, is
//! good for a few minutes, and for one use: the session is written in the transaction that takes the grant away.
//!
//! Guarantees: nobody gets a session without a yes of the person whose it is, given to a page that showed who asks and
//! from where, with a code to compare (G4, CVE-2024-58267); a yes of somebody who was disabled or has another
//! password since is none; there is no list of grants, and nothing is told or taken away without the code's own
//! secret (CVE-2025-23387).
//!
//! What an attacker would try: filling the store (bounded in number, by source, and each kind by itself: strangers keep nobody from logging in), guessing user codes (by somebody
//! logged in, at a pace for each person and each source: one in 25,600,000,000), guessing the others (256 bits),
//! fetching twice (compare-and-swap), another terminal's code (PKCE with S256, nothing less).

mod at_provider;
mod code;
mod device;
mod live;
mod pace;
mod record;
mod state;
mod wire;

pub use code::{CHALLENGE, Callback, compare_code};
pub use device::{Answered, Asked, USER_CODE, normalised};
pub use live::{Grants, sweep};
pub use record::{Kind, PREFIX};
pub use state::{STATE_LIFE, Spent};
pub use wire::client_name;

use record::{By, Record};

use super::{APPLY_LIMIT, ATTEMPTS, Done, Login, LoginError, Wanted};
use crate::{
    authn::{
        Authn, AuthnError, Device, Identity, Slot, TokenId, Unknowable, UserEntry, throttle::Source,
    },
    objects::{Member, TokenKind},
    status::clock,
    store::{Revision, StoreError, Txn},
};
use jiff::Timestamp;
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// What the terminal is told (RFC 6749, section 5.2; RFC 8628, section 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody has answered yet.
    Pending,
    /// It asks too often.
    SlowDown,
    /// Too many codes that are nobody's were brought: this one was not looked at.
    TooOften(Duration),
    /// Its time is over, or there never was one.
    Expired,
    /// Somebody said no, or may not say yes any more.
    Denied,
    /// The code is nobody's, was used, or belongs to another terminal.
    InvalidGrant(&'static str),
    /// No such grant here.
    Unsupported,
    /// The request is none.
    InvalidRequest(&'static str),
}

impl Login {
    /// Gives a terminal the session that was agreed to, and takes the grant away.
    async fn redeem(
        &self,
        (key, revision): (&str, Revision),
        by: &By,
        (client, from): (&str, IpAddr),
    ) -> Result<Result<Done, Refusal>, LoginError> {
        let wanted = Wanted {
            kind: TokenKind::Ses,
            client: client.to_owned(),
            from,
        };
        for _ in 0..ATTEMPTS {
            self.settled().await?;
            let now = clock::now();
            let Some(user) = self.giver(by, now)? else {
                return Ok(Err(Refusal::Denied));
            };
            let once = Txn::new().when(key, revision).delete(key);
            match self.create_with(&user, &wanted, now, once).await {
                Ok(session) => {
                    let (uid, epoch) = (&user.uid, user.password_epoch);
                    let device = Device::seal(&self.keyring, None, uid, epoch, now)?;
                    return Ok(Ok(Done {
                        session,
                        user,
                        device,
                    }));
                }
                Err(LoginError::Store(StoreError::Conflict { key: other })) => {
                    if other == key {
                        return Ok(Err(Refusal::InvalidGrant("the code was used")));
                    }
                    // Somebody changed the user since this replica last looked: look again.
                }
                Err(other) => return Err(other),
            }
        }
        Err(LoginError::Conflict)
    }

    /// Waits until this replica knows all that the store does, so that what was ended before, wherever, is over.
    async fn settled(&self) -> Result<(), LoginError> {
        let revision = self.store.revision().await?;
        let waited = self.follower.wait_for(revision, APPLY_LIMIT).await;
        if waited.is_err() || !self.index.is_loaded() {
            return Err(AuthnError::Unavailable(Unknowable::Loading).into());
        }
        Ok(())
    }

    /// The person who said yes, if they are still who they were, and so is the session that they said it in.
    fn giver(&self, by: &By, now: Timestamp) -> Result<Option<Arc<UserEntry>>, LoginError> {
        let refused = |error| match error {
            AuthnError::Refused(_) => Ok(None),
            other @ (AuthnError::Ambiguous(_) | AuthnError::Unavailable(_)) => {
                Err(LoginError::Authn(other))
            }
        };
        let Some(session) = TokenId::parse(&by.session) else {
            return Ok(None);
        };
        let authn = Authn::new(Arc::clone(&self.index));
        if let Err(error) = authn.still(session, now) {
            return refused(error);
        }
        let user = match self.index.user_slot(&by.user.name) {
            Some(Slot::Known(user)) => user,
            Some(Slot::Unreadable) => {
                return Err(AuthnError::Unavailable(Unknowable::Unreadable).into());
            }
            None => return Ok(None),
        };
        if *user.uid != *by.user.uid || user.password_epoch != by.password_epoch {
            return Ok(None);
        }
        match user.judge(now) {
            Ok(()) => Ok(Some(user)),
            Err(error) => refused(error),
        }
    }

    /// The grant under this key: as this replica remembers it, or else as the store has it, so many times for each
    /// source.
    async fn look_up(
        &self,
        key: &str,
        peer: IpAddr,
    ) -> Result<Result<Option<(Arc<Record>, Revision)>, Refusal>, LoginError> {
        // The index is told last, so grants are there when it is.
        if !self.index.is_loaded() {
            return Err(AuthnError::Unavailable(Unknowable::Loading).into());
        }
        if let Some(live) = self.grants.find(key) {
            return Ok(Ok(Some((live.record, live.revision))));
        }
        // Whoever asks may have been quicker than this replica's memory.
        let (unknown, source) = (&self.grants.paces.unknown, self.source(peer));
        if let Err(wait) = unknown.admit(source, Instant::now()) {
            return Ok(Err(Refusal::TooOften(wait)));
        }
        let Some(kv) = self.store.get(key).await? else {
            return Ok(Ok(None));
        };
        let Ok(record) = serde_json::from_slice::<Record>(&kv.value) else {
            // Of a newer build, which may have another answer.
            return Err(AuthnError::Unavailable(Unknowable::Unreadable).into());
        };
        unknown.forgive(source);
        self.applied(kv.mod_revision).await;
        Ok(Ok(Some((Arc::new(record), kv.mod_revision))))
    }

    /// Where somebody comes from, if sources are told apart.
    fn source(&self, peer: IpAddr) -> Option<Source> {
        self.tells_sources_apart().then(|| Source::of(peer))
    }

    /// Takes a grant away, if it is still the same.
    async fn withdraw(&self, key: &str, revision: Revision) -> Result<(), LoginError> {
        let txn = Txn::new().when(key, revision).delete(key);
        match self.store.txn(txn).await {
            Ok(revision) => self.applied(revision).await,
            Err(StoreError::Conflict { .. }) => {}
            Err(other) => return Err(other.into()),
        }
        Ok(())
    }
}

/// The person who says yes.
fn by(identity: &Identity) -> By {
    By {
        user: Member {
            name: identity.handle().to_owned(),
            uid: identity.user_uid().to_owned(),
        },
        password_epoch: identity.user().password_epoch,
        session: identity.token_id().to_string(),
    }
}

#[cfg(test)]
mod tests;

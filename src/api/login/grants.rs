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
pub(super) use wire::Ask;
pub use wire::client_name;

use record::{By, Record};

use super::{APPLY_LIMIT, ATTEMPTS, Done, Login, LoginError, Wanted};
use crate::{
    authn::{
        Authn, AuthnError, Device, Identity, Slot, TokenId, Unknowable, UserEntry, throttle::Source,
    },
    objects::{Kind as _, Member, Token, TokenKind},
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
    /// What is to be revoked is something else, and goes on being good.
    UnsupportedToken(&'static str),
    /// The request is none.
    InvalidRequest(&'static str),
}

/// A yes that counts, as it was looked at.
struct Yes {
    user: Arc<UserEntry>,
    /// Key and revision of the session in which it was said.
    session: (String, Revision),
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
            let Some(yes) = self.look_at(by).await? else {
                return Ok(Err(Refusal::Denied));
            };
            if let Some(given) = self.give((key, revision), &yes, &wanted).await? {
                return Ok(given);
            }
        }
        Err(LoginError::Conflict)
    }

    /// Whether the yes counts at this moment.
    async fn look_at(&self, by: &By) -> Result<Option<Yes>, LoginError> {
        let Some(session) = TokenId::parse(&by.session) else {
            return Ok(None);
        };
        // Before all else: whatever becomes of the session after this is a conflict when the new one is written.
        let key = Token::key(session.as_str());
        let Some(kv) = self.store.get(&key).await? else {
            return Ok(None);
        };
        self.settled().await?;
        let user = self.giver((session, by), clock::now())?;
        Ok(user.map(|user| Yes {
            user,
            session: (key, kv.mod_revision),
        }))
    }

    /// Writes the session and takes the grant away, if nothing has changed since the look. None: the user or the session
    /// of the yes was written meanwhile, maybe because it was used; another look tells.
    async fn give(
        &self,
        (key, revision): (&str, Revision),
        yes: &Yes,
        wanted: &Wanted,
    ) -> Result<Option<Result<Done, Refusal>>, LoginError> {
        let (now, user) = (clock::now(), &yes.user);
        let (of_session, seen) = &yes.session;
        let once = Txn::new().when(key, revision).delete(key);
        let once = once.when(of_session, *seen);
        let session = match self.create_with(user, wanted, now, once).await {
            Ok(session) => session,
            Err(LoginError::Store(StoreError::Conflict { key: other })) => {
                let gone = Refusal::InvalidGrant("the code was used");
                return Ok((other == key).then_some(Err(gone)));
            }
            Err(other) => return Err(other),
        };
        let device = Device::seal(&self.keyring, None, &user.uid, user.password_epoch, now)?;
        Ok(Some(Ok(Done {
            session,
            user: Arc::clone(user),
            device,
        })))
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
    fn giver(
        &self,
        (session, by): (TokenId, &By),
        now: Timestamp,
    ) -> Result<Option<Arc<UserEntry>>, LoginError> {
        let refused = |error| match error {
            AuthnError::Refused(_) => Ok(None),
            other @ (AuthnError::Ambiguous(_) | AuthnError::Unavailable(_)) => {
                Err(LoginError::Authn(other))
            }
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
        let found = self.read(key).await?;
        if found.is_some() {
            unknown.forgive(source);
        }
        Ok(Ok(found))
    }

    /// The grant under this key as the store has it.
    async fn read(&self, key: &str) -> Result<Option<(Arc<Record>, Revision)>, LoginError> {
        let Some(kv) = self.store.get(key).await? else {
            return Ok(None);
        };
        let Ok(record) = serde_json::from_slice::<Record>(&kv.value) else {
            // Of a newer build, which may have another answer.
            return Err(AuthnError::Unavailable(Unknowable::Unreadable).into());
        };
        self.applied(kv.mod_revision).await;
        Ok(Some((Arc::new(record), kv.mod_revision)))
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

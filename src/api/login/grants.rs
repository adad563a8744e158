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
//! What an attacker would try: filling the store (bounded in number, and by source), guessing user codes (by somebody
//! logged in, at a pace for each person and each source: one in 25,600,000,000), guessing the others (256 bits),
//! fetching twice (compare-and-swap), another terminal's code (PKCE with S256, nothing less).

mod code;
mod device;
mod live;
mod record;
mod state;
mod wire;

pub use code::{CHALLENGE, Callback, compare_code};
pub use device::{Answered, Asked, USER_CODE, normalised};
pub use live::{Grants, sweep};
pub use record::PREFIX;
pub use state::{STATE_LIFE, Spent};
pub use wire::client_name;

use record::By;

use super::{ATTEMPTS, Done, Login, LoginError, Wanted};
use crate::{
    authn::{Device, Identity},
    objects::{Kind as _, Member, TokenKind, User},
    status::clock,
    store::{Revision, StoreError, Txn},
};
use std::net::IpAddr;

/// What the terminal is told (RFC 6749, section 5.2; RFC 8628, section 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody has answered yet.
    Pending,
    /// It asks too often.
    SlowDown,
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
            let now = clock::now();
            let user = self.index.user(&by.user.name);
            let user = user.filter(|it| *it.uid == *by.user.uid);
            let user = user.filter(|it| it.password_epoch == by.password_epoch);
            let Some(user) = user else {
                return Ok(Err(Refusal::Denied));
            };
            match user.judge(now) {
                Ok(()) => {}
                Err(crate::authn::AuthnError::Refused(_)) => return Ok(Err(Refusal::Denied)),
                Err(other) => return Err(other.into()),
            }
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
                    if let Some(kv) = self.store.get(&User::key(&user.handle)).await? {
                        self.applied(kv.mod_revision).await;
                    }
                }
                Err(other) => return Err(other),
            }
        }
        Err(LoginError::Conflict)
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
    }
}

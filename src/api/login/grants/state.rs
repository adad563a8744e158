//! The state of a login at a provider, used once, on every replica (G1, CVE-2026-44946).

use super::{
    super::{Login, LoginError},
    record::{Kind, Record, What, state_key},
};
use crate::{
    status::clock,
    store::{StoreError, Txn},
};
use jiff::{SignedDuration, Timestamp};
use std::{net::IpAddr, time::Instant};

/// How long it is remembered: longer than what it belongs to is good, at a replica whose clock is behind and where one
/// whose clock is ahead takes it away.
pub const STATE_LIFE: SignedDuration = SignedDuration::from_mins(12);

/// Whether a state was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// It is used now.
    Now,
    /// It was used.
    Before,
}

impl Login {
    /// Charges a browser that is sent to a provider.
    pub fn admit_leave(&self, peer: IpAddr) -> Result<(), LoginError> {
        let leave = &self.grants.paces.leave;
        let admitted = leave.admit(self.source(peer), Instant::now());
        admitted.map_err(LoginError::TooManyCodes)
    }

    /// Charges a browser that comes back from one.
    pub fn admit_arrival(&self, peer: IpAddr) -> Result<(), LoginError> {
        let arrive = &self.grants.paces.arrive;
        let admitted = arrive.admit(self.source(peer), Instant::now());
        admitted.map_err(LoginError::TooManyCodes)
    }

    /// Gives both back: somebody has logged in.
    pub fn forgive_browser(&self, peer: IpAddr) {
        let (paces, source) = (&self.grants.paces, self.source(peer));
        paces.leave.forgive(source);
        paces.arrive.forgive(source);
    }

    /// Notes that somebody came back from a provider with this state.
    pub async fn spend_state(&self, state: &str, from: IpAddr) -> Result<Spent, LoginError> {
        let now = clock::now();
        self.check_room(Kind::State, now)?;
        let record = Record {
            client: String::new(),
            from,
            asked_at: now,
            expires_at: now.saturating_add(STATE_LIFE).unwrap_or(Timestamp::MAX),
            what: What::State,
        };
        let key = state_key(state);
        let txn = Txn::new().when(key.clone(), 0).put(key, record.encode());
        match self.store.txn(txn).await {
            Ok(_) => Ok(Spent::Now),
            Err(StoreError::Conflict { .. }) => Ok(Spent::Before),
            Err(other) => Err(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::providers::redirect::{AHEAD, PENDING_LIFE};

    // G1, CVE-2026-44946: a login that could be ended still has not been forgotten to be over.
    #[test]
    fn a_state_is_remembered_for_longer_than_its_login_is_good() {
        assert!(STATE_LIFE >= PENDING_LIFE + AHEAD * 2);
    }
}

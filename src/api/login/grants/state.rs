//! The state of a login at a provider, used once, on every replica (G1, CVE-2026-44946).

use super::{
    super::{Login, LoginError},
    record::{Record, What, state_key},
};
use crate::{
    status::clock,
    store::{StoreError, Txn},
};
use jiff::{SignedDuration, Timestamp};
use std::net::IpAddr;

/// How long it is remembered: as long as what it belongs to is good.
pub const STATE_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// Whether a state was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// It is used now.
    Now,
    /// It was used.
    Before,
}

impl Login {
    /// Notes that somebody came back from a provider with this state.
    pub async fn spend_state(&self, state: &str, from: IpAddr) -> Result<Spent, LoginError> {
        let now = clock::now();
        self.check_room(now)?;
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

//! Sessions in the store: make, lengthen, end.

use super::{ATTEMPTS, Login, LoginError};
use crate::{
    authn::{AuthnError, Refusal, TokenId, TokenText, UserEntry},
    objects::{Kind as _, Member, Stored, Token, TokenKind, TokenPrivate, TokenSpec, User},
    status::clock,
    store::{StoreError, Txn},
};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Sessions of one user at most: the next login ends the one that would end first. A person has a few
/// machines; the bound keeps a login in a loop from filling the store.
const MAX_SESSIONS: usize = 100;
/// Old sessions that one login clears away: far below the store's bound on a transaction.
const MAX_CLEARED: usize = 50;
/// Characters of the name that a client gives itself.
const MAX_CLIENT: usize = 100;
/// A renewal that would lengthen a session by less writes nothing: asking in a loop costs no disk.
const WORTH_WRITING: SignedDuration = SignedDuration::from_secs(60);

/// A session that was just made.
pub(super) struct New {
    pub(super) text: TokenText,
    pub(super) expires_at: Timestamp,
    pub(super) renewable_until: Timestamp,
}

impl Login {
    /// Writes a session for `user`, if the user is still as this replica knows it.
    pub(super) async fn create(
        &self,
        user: &UserEntry,
        client: &str,
        now: Timestamp,
    ) -> Result<New, LoginError> {
        let text = TokenText::generate(TokenKind::Ses)?;
        let now = clock::whole_seconds(now);
        let sessions = self.sessions.get();
        let expires_at = later(now, sessions.lifetime);
        let renewable_until = later(now, sessions.max_age).max(expires_at);
        let spec = TokenSpec {
            user: Member {
                name: user.handle.to_string(),
                uid: user.uid.to_string(),
            },
            kind: TokenKind::Ses,
            display_name: client
                .chars()
                .filter(|c| !c.is_control())
                .take(MAX_CLIENT)
                .collect(),
            clusters: Vec::new(),
            expires_at: Some(expires_at),
            renewable_until: Some(renewable_until),
        };
        let id = text.id();
        let mut token = Token::new(id.as_str(), spec);
        token.metadata.uid = uuid::Uuid::new_v4().to_string();
        token.metadata.creation_timestamp = Some(now);
        let private = TokenPrivate {
            sha256: text.sha256_hex(),
            password_epoch: user.password_epoch,
        };
        let key = Token::key(id.as_str());
        let mut txn = Txn::new()
            .when(User::key(&user.handle), user.revision)
            .when(key.clone(), 0)
            .put(key, Stored::new(token, private).encode());
        for old in self.superfluous(user, now) {
            txn = txn.delete(Token::key(old.as_str()));
        }
        let revision = self.store.txn(txn).await?;
        self.applied(revision).await;
        Ok(New {
            text,
            expires_at,
            renewable_until,
        })
    }

    /// Sessions that a login clears away: those that ended, and those beyond the bound.
    fn superfluous(&self, user: &UserEntry, now: Timestamp) -> Vec<TokenId> {
        let mut sessions = self.index.tokens_of(&user.handle, &user.uid);
        sessions.retain(|token| token.kind == TokenKind::Ses);
        sessions.sort_by_key(|token| token.expires_at);
        let beyond = (sessions.len() + 1).saturating_sub(MAX_SESSIONS);
        let sessions = sessions.iter().enumerate();
        let of_no_use = sessions.filter(|(place, token)| {
            *place < beyond
                || token.expires_at <= now
                || token.password_epoch != user.password_epoch
        });
        of_no_use
            .map(|(_, token)| token.id)
            .take(MAX_CLEARED)
            .collect()
    }

    /// Lengthens a session; gives its end.
    pub(super) async fn extend(
        &self,
        id: TokenId,
        now: Timestamp,
    ) -> Result<Timestamp, LoginError> {
        let key = Token::key(id.as_str());
        let gone = || LoginError::Authn(AuthnError::Refused(Refusal::UnknownToken));
        let ended = || LoginError::Authn(AuthnError::Refused(Refusal::Expired));
        for _ in 0..ATTEMPTS {
            // From the store: this replica's memory may be older than a revocation elsewhere.
            let kv = self.store.get(&key).await?.ok_or_else(gone)?;
            let mut stored = Stored::<Token>::decode(&key, &kv.value, kv.mod_revision)?;
            let spec = &mut stored.object.spec;
            let (Some(end), Some(latest)) = (spec.expires_at, spec.renewable_until) else {
                return Err(LoginError::NotASession);
            };
            if now >= end {
                return Err(ended());
            }
            let wanted = later(clock::whole_seconds(now), self.sessions.get().lifetime).min(latest);
            let gain = end.duration_until(wanted);
            let worth_writing = gain >= WORTH_WRITING || wanted == latest;
            if !gain.is_positive() || !worth_writing {
                return Ok(end);
            }
            spec.expires_at = Some(wanted);
            let txn = Txn::new().when(key.clone(), kv.mod_revision);
            match self.store.txn(txn.put(key.clone(), stored.encode())).await {
                Ok(revision) => {
                    self.applied(revision).await;
                    return Ok(wanted);
                }
                Err(StoreError::Conflict { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(LoginError::Conflict)
    }

    /// Deletes a session.
    pub(super) async fn end(&self, id: TokenId) -> Result<(), LoginError> {
        let txn = Txn::new().delete(Token::key(id.as_str()));
        let revision = self.store.txn(txn).await?;
        self.applied(revision).await;
        Ok(())
    }
}

/// Saturates at the end of time: lives are bounded by the configuration to some years.
fn later(from: Timestamp, by: Duration) -> Timestamp {
    from.checked_add(by).unwrap_or(Timestamp::MAX)
}

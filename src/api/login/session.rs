//! Sessions in the store: make, lengthen, end.

use super::{ATTEMPTS, Login, LoginError, Wanted};
use crate::{
    authn::{AuthnError, Identity, ParsedToken, Refusal, TokenId, TokenText, UserEntry},
    objects::{Kind as _, Member, Stored, Token, TokenKind, TokenPrivate, TokenSpec, User},
    status::clock,
    store::{StoreError, Txn},
};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use subtle::ConstantTimeEq as _;

/// Sessions of one kind that one user has at most: the next login ends the one that would end first. A person has a few
/// machines; the bound keeps a login in a loop from filling the store.
const MAX_SESSIONS: usize = 100;
/// Old sessions that one login clears away: far below the store's bound on a transaction.
const MAX_CLEARED: usize = 50;
/// Characters of the name that a client gives itself.
const MAX_CLIENT: usize = 100;
/// A renewal that would lengthen a session by less writes nothing: asking in a loop costs no disk.
const WORTH_WRITING: SignedDuration = SignedDuration::from_secs(60);

/// A session that was just made.
pub struct New {
    /// The secret.
    pub text: TokenText,
    /// Without a renewal.
    pub expires_at: Timestamp,
    /// With all of them.
    pub renewable_until: Timestamp,
}

impl Login {
    /// Writes a session for `user`, if the user is still as this replica knows it.
    pub(super) async fn create(
        &self,
        user: &UserEntry,
        wanted: &Wanted,
        now: Timestamp,
    ) -> Result<New, LoginError> {
        self.create_with(user, wanted, now, Txn::new()).await
    }

    /// The same, together with what `also` says: all of it or nothing.
    pub(super) async fn create_with(
        &self,
        user: &UserEntry,
        wanted: &Wanted,
        now: Timestamp,
        also: Txn,
    ) -> Result<New, LoginError> {
        let text = TokenText::generate(wanted.kind)?;
        let now = clock::whole_seconds(now);
        let (lifetime, max_age) = self.lives(wanted.kind);
        let expires_at = later(now, lifetime);
        let renewable_until = later(now, max_age).max(expires_at);
        let spec = TokenSpec {
            user: Member {
                name: user.handle.to_string(),
                uid: user.uid.to_string(),
            },
            kind: wanted.kind,
            display_name: wanted
                .client
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
        token.status.address = Some(wanted.from);
        let private = TokenPrivate {
            sha256: text.sha256_hex(),
            password_epoch: user.password_epoch,
        };
        let key = Token::key(id.as_str());
        let mut txn = also
            .when(User::key(&user.handle), user.revision)
            .when(key.clone(), 0)
            .put(key, Stored::new(token, private).encode());
        for old in self.superfluous(user, wanted.kind, now) {
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
    fn superfluous(&self, user: &UserEntry, kind: TokenKind, now: Timestamp) -> Vec<TokenId> {
        let mut sessions = self.index.tokens_of(&user.handle, &user.uid);
        sessions.retain(|token| token.kind == kind);
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

    /// How long a session of this kind is good without a renewal, and with all of them.
    fn lives(&self, kind: TokenKind) -> (Duration, Duration) {
        let sessions = self.sessions.get();
        match kind {
            TokenKind::Web => (sessions.browser_idle, sessions.browser_max_age),
            TokenKind::Ses | TokenKind::Pat => (sessions.lifetime, sessions.max_age),
        }
    }

    /// Lengthens a browser's session because it is used. If that fails it lasts as long as it did.
    pub async fn touch(&self, identity: &Identity, now: Timestamp) {
        // Its absolute end: in the hour before it no page has the store asked.
        if identity.is_final() {
            return;
        }
        let (idle, _) = self.lives(identity.token_kind());
        let gain = identity.expires_at().duration_until(later(now, idle));
        if gain < WORTH_WRITING {
            return;
        }
        if let Err(error) = self.extend(identity.token_id(), now).await {
            tracing::warn!(token = %identity.token_id(), %error, "a browser's session was not lengthened");
        }
    }

    /// Lengthens a session; gives its end.
    pub async fn extend(&self, id: TokenId, now: Timestamp) -> Result<Timestamp, LoginError> {
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
            let (lifetime, _) = self.lives(spec.kind);
            let wanted = later(clock::whole_seconds(now), lifetime).min(latest);
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

    /// Deletes sessions or tokens.
    pub async fn end_all(&self, ids: &[TokenId]) -> Result<(), LoginError> {
        for ids in ids.chunks(MAX_CLEARED) {
            let keys = ids.iter().map(|id| Token::key(id.as_str()));
            let revision = self.store.txn(keys.fold(Txn::new(), Txn::delete)).await?;
            self.applied(revision).await;
        }
        Ok(())
    }

    /// Deletes the session whose secret this is, also while nobody can tell whether its user still stands.
    pub async fn end_held(&self, token: &ParsedToken) -> Result<(), LoginError> {
        let key = Token::key(token.id.as_str());
        let Some(kv) = self.store.get(&key).await? else {
            return Ok(());
        };
        let stored = Stored::<Token>::decode(&key, &kv.value, kv.mod_revision)?;
        // An id is no secret: nobody ends a session by that alone.
        let held = token.sha256_hex();
        if bool::from(stored.private.sha256.as_bytes().ct_eq(held.as_bytes())) {
            self.end(token.id).await?;
        }
        Ok(())
    }

    /// Deletes a session.
    pub async fn end(&self, id: TokenId) -> Result<(), LoginError> {
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

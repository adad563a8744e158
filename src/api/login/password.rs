//! Changing a password.

use super::{Login, LoginError};
use crate::{
    authn::passwords::check_rules,
    objects::{Kind as _, Stored, Token, TokenKind, User},
    store::{Revision, StoreError, Txn},
};
use zeroize::Zeroizing;

/// Sessions that are deleted in the same transaction, far below the store's bound; those beyond it are
/// refused all the same (their epoch is over) and cleared away by later logins.
const MAX_CLEARED: usize = 100;

/// Why somebody may set a user's password.
pub enum Proof {
    /// They gave the present one.
    Current(Zeroizing<String>),
    /// The policy lets them write this user.
    Administrator,
}

impl Login {
    /// Sets a user's password and ends all of their sessions, in one transaction.
    pub async fn change_password(
        &self,
        handle: &str,
        proof: Proof,
        new: Zeroizing<String>,
    ) -> Result<Revision, LoginError> {
        check_rules(handle, &new)?;
        let key = User::key(handle);
        let kv = self.store.get(&key).await?.ok_or(LoginError::NoUser)?;
        let mut stored = Stored::<User>::decode(&key, &kv.value, kv.mod_revision)?;
        if stored.object.spec.machine {
            return Err(LoginError::Machine);
        }
        if let Proof::Current(current) = proof {
            let hash = stored.private.password.take().map(Zeroizing::new);
            if !self.passwords.verify(hash, current).await? {
                return Err(LoginError::WrongCurrent);
            }
        }
        let hash = self.passwords.hash(new).await?;
        stored.private.password = Some(hash.to_string());
        stored.private.password_epoch += 1;
        stored.object.status.has_password = true;
        let mut txn = Txn::new()
            .when(key.clone(), kv.mod_revision)
            .put(key, stored.encode());
        let tokens = self.index.tokens_of(handle, &stored.object.metadata.uid);
        let sessions = tokens.iter().filter(|token| token.kind == TokenKind::Ses);
        for session in sessions.take(MAX_CLEARED) {
            txn = txn.delete(Token::key(session.id.as_str()));
        }
        let revision = match self.store.txn(txn).await {
            Ok(revision) => revision,
            Err(StoreError::Conflict { .. }) => return Err(LoginError::Conflict),
            Err(other) => return Err(other.into()),
        };
        self.applied(revision).await;
        tracing::info!(user = handle, "password changed, sessions ended");
        Ok(revision)
    }
}

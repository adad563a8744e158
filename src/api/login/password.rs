//! Changing a password.

use super::{Login, LoginError};
use crate::{
    authn::{
        passwords::{Asker, PasswordError, check_rules},
        throttle::Account,
    },
    objects::{Kind as _, LOCAL, Stored, Token, User},
    store::{Compare, Revision, StoreError, Txn},
};
use std::time::Instant;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

/// Sessions that are deleted in the same transaction, far below the store's bound; those beyond it are
/// refused all the same (their epoch is over) and cleared away by later logins.
const MAX_CLEARED: usize = 100;

/// Why somebody may set a user's password.
pub enum Proof {
    /// They gave the present one.
    Current(Zeroizing<String>),
    /// The policy lets them write this user, and they hold all that the user holds: as long as this is so.
    Administrator(Vec<Compare>),
}

impl Login {
    /// Sets a user's password and ends all of their sessions, in one transaction.
    pub async fn change_password(
        &self,
        handle: &str,
        proof: Proof,
        new: Zeroizing<String>,
    ) -> Result<Revision, LoginError> {
        let key = User::key(handle);
        let kv = self.store.get(&key).await?.ok_or(LoginError::NoUser)?;
        let mut stored = Stored::<User>::decode(&key, &kv.value, kv.mod_revision)?;
        if stored.object.spec.machine {
            return Err(LoginError::Machine);
        }
        let mut principals = stored.object.spec.principals.iter();
        if principals.any(|principal| principal.provider != LOCAL) {
            return Err(LoginError::Foreign);
        }
        let holds = match proof {
            Proof::Current(current) => {
                self.prove(&stored, current).await?;
                Vec::new()
            }
            Proof::Administrator(holds) => holds,
        };
        // After the proof, whose tries are bounded, and not on a thread that serves requests: judging takes
        // milliseconds.
        let name = handle.to_owned();
        let judged = spawn_blocking(move || check_rules(&name, &new).map(|()| new)).await;
        let new = judged.map_err(|_| PasswordError::Broken("a thread was lost"))??;
        let hash = self.passwords.hash(new).await?;
        stored.private.password = Some(hash.to_string());
        stored.private.password_epoch += 1;
        stored.object.status.has_password = true;
        let mut txn = Txn::new()
            .when(key.clone(), kv.mod_revision)
            .put(key, stored.encode());
        for Compare { key, mod_revision } in holds {
            txn = txn.when(key, mod_revision);
        }
        let tokens = self.index.tokens_of(handle, &stored.object.metadata.uid);
        let sessions = tokens.iter().filter(|token| token.kind.is_session());
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

    /// Whether somebody who is logged in knows the present password: a stolen token must not find it out.
    async fn prove(
        &self,
        user: &Stored<User>,
        current: Zeroizing<String>,
    ) -> Result<(), LoginError> {
        let account = Account {
            name: &user.object.metadata.name,
            uid: Some(&user.object.metadata.uid),
            unlocks: user.private.unlocks,
        };
        let admitted = self.throttle.admit_change(&account, Instant::now())?;
        let hash = user.private.password.clone().map(Zeroizing::new);
        let fits = self.passwords.verify(hash, current, Asker::Known).await;
        if !matches!(fits, Ok(false)) {
            self.throttle.forgive(&admitted);
        }
        if fits? {
            Ok(())
        } else {
            Err(LoginError::WrongCurrent)
        }
    }
}

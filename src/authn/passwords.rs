//! Passwords of local users: Argon2id, in a bounded number of threads, at one speed for everybody.
//!
//! What an attacker would try: learning which users exist by the time of the answer (a name without a
//! password costs the same hash: G5 of docs/attacks.md), filling memory and cores with logins (so many at
//! a time, so many waiting, the rest are told to come back; some places wait for people who were there
//! before), and passwords of megabytes (refused before they are hashed).

use crate::{
    config::live::Bound,
    status::{Reason, Status},
};
mod rules;

pub use rules::{RuleError, check_rules, generate};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{self, PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use rules::MAX_LENGTH;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use zeroize::Zeroizing;

/// Argon2id, 19 MiB, two passes, one lane: the OWASP cheat sheet's first choice; some 60 ms of one core.
const MEMORY_KIB: u32 = 19 * 1024;
/// See [`MEMORY_KIB`].
const PASSES: u32 = 2;
/// See [`MEMORY_KIB`].
const LANES: u32 = 1;

/// Waiting places that strangers cannot take: with the hashes of a full queue before them their wait is a few
/// seconds, and the memory is bounded all the same.
const RESERVED: usize = 32;

/// Seconds after which a call that found no room should come back.
pub const RETRY_AFTER: u32 = 2;

/// Salt and hash of a random password that nobody kept ([`nobody`]).
const NOBODY: &str = "HKb44AY139IP6XyKtcM3kw$vd2DybSzKbXRtpTv2qjF6Zp1JDh+fhQ6wKJke/AKiNY";

/// Why a password can be neither hashed nor checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too many at the same time.
    #[error("too many password checks at the same time")]
    Busy,
    /// The stored hash cannot be read, or the hash function failed.
    #[error("the password hash failed: {0}")]
    Broken(&'static str),
}

impl PasswordError {
    /// 429 with a time to come back, or 503: never a wrong password.
    pub fn status(&self) -> Status {
        match self {
            Self::Busy => {
                let details = crate::status::Details {
                    retry_after_seconds: RETRY_AFTER,
                    ..crate::status::Details::default()
                };
                let message = "Too many logins at the same time; try again in a few seconds";
                Status::failure(429, Some(Reason::TooManyRequests), message).with_details(details)
            }
            Self::Broken(_) => Status::failure(
                503,
                Some(Reason::ServiceUnavailable),
                "Passwords cannot be checked at the moment",
            ),
        }
    }
}

/// Who asks for a hash: strangers who take every place must not keep out those who were there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Anybody.
    Stranger,
    /// Somebody who is logged in, or was before on this device or from this place.
    Known,
}

/// The password hasher. Clones share the bounds.
#[derive(Clone)]
pub struct Passwords {
    argon2: Argon2<'static>,
    nobody: Arc<str>,
    running: Bound,
    /// Running and waiting together.
    admitted: Bound,
    /// Places beyond those, for [`Asker::Known`] alone.
    reserved: Bound,
}

impl Passwords {
    /// A hasher that computes `concurrent` hashes at the same time and lets `waiting` more calls wait.
    /// Each hash holds 19 MiB and one core.
    pub fn new(concurrent: usize, waiting: usize) -> Result<Self, PasswordError> {
        Self::costing(MEMORY_KIB, concurrent, waiting)
    }

    /// Hashes of `memory` KiB. Few of them are for tests that look at what happens around a hash.
    pub(crate) fn costing(
        memory: u32,
        concurrent: usize,
        waiting: usize,
    ) -> Result<Self, PasswordError> {
        let params = Params::new(memory, PASSES, LANES, None)
            .map_err(|_| PasswordError::Broken("parameters"))?;
        Ok(Self {
            nobody: nobody(&params).into(),
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            running: Bound::new(concurrent.max(1)),
            admitted: Bound::new(concurrent.max(1).saturating_add(waiting)),
            reserved: Bound::new(RESERVED),
        })
    }

    /// Changes both numbers; what runs and waits goes on. Must be called within a runtime.
    pub fn resize(&self, concurrent: usize, waiting: usize) {
        self.running.resize(concurrent.max(1));
        self.admitted
            .resize(concurrent.max(1).saturating_add(waiting));
    }

    /// Hashes that are being computed.
    pub fn running(&self) -> usize {
        self.running.held()
    }

    /// Calls that wait for their turn.
    pub fn waiting(&self) -> usize {
        self.admitted.held().saturating_sub(self.running.held())
    }

    /// Whether `password` is the one of `hash`; without a hash (no such user, disabled, machine user) the
    /// same work is done and the answer is no.
    pub async fn verify(
        &self,
        hash: Option<Zeroizing<String>>,
        password: Zeroizing<String>,
        asker: Asker,
    ) -> Result<bool, PasswordError> {
        // Longer ones are never taken as new passwords, so they are nobody's.
        let possible = hash.is_some() && password.len() <= 4 * MAX_LENGTH;
        let password = if possible {
            password
        } else {
            Zeroizing::default()
        };
        let nobody = Arc::clone(&self.nobody);
        self.run(asker, move |argon2| {
            let hash = hash.as_ref().map_or(&*nobody, |hash| hash.as_str());
            let hash = PasswordHash::new(hash).map_err(|_| PasswordError::Broken("stored hash"))?;
            match argon2.verify_password(password.as_bytes(), &hash) {
                Ok(()) => Ok(possible),
                Err(password_hash::Error::PasswordInvalid) => Ok(false),
                Err(_) => Err(PasswordError::Broken("verification")),
            }
        })
        .await
    }

    /// PHC string of a new password, whose rules ([`check_rules`]) the caller has checked.
    pub async fn hash(
        &self,
        password: Zeroizing<String>,
    ) -> Result<Zeroizing<String>, PasswordError> {
        self.run(Asker::Known, move |argon2| {
            match argon2.hash_password(password.as_bytes()) {
                Ok(hash) => Ok(Zeroizing::new(hash.to_string())),
                Err(_) => Err(PasswordError::Broken("hashing")),
            }
        })
        .await
    }

    /// Takes a place as a hash under way does, for as long as the test keeps it.
    #[cfg(test)]
    pub(crate) fn occupy(&self) -> OwnedSemaphorePermit {
        self.admitted.try_acquire().expect("a place is free")
    }

    async fn run<T: Send + 'static>(
        &self,
        asker: Asker,
        work: impl FnOnce(&Argon2<'static>) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let admitted = self.admitted.try_acquire();
        let admitted = admitted.or_else(|full| match asker {
            Asker::Stranger => Err(full),
            Asker::Known => self.reserved.try_acquire(),
        });
        let admitted = admitted.map_err(|_| PasswordError::Busy)?;
        let running = self.running.acquire().await;
        let running = running.map_err(|_| PasswordError::Broken("stopped"))?;
        let argon2 = self.argon2.clone();
        // Both permits go with the work: a client that hangs up does not make room before its hash ends.
        let held: (OwnedSemaphorePermit, OwnedSemaphorePermit) = (admitted, running);
        let task = tokio::task::spawn_blocking(move || {
            let result = work(&argon2);
            drop(held);
            result
        });
        task.await.unwrap_or(Err(PasswordError::Broken("thread")))
    }
}

/// What is checked in place of the hash that an unknown user does not have: with the same parameters, so that
/// it costs the same. Its outcome is never used.
fn nobody(params: &Params) -> String {
    let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${NOBODY}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_hash_fits_its_own_password_alone() {
        let passwords = Passwords::new(2, 8).unwrap();
        let hash = passwords
            .hash(secret("correct horse battery"))
            .await
            .unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{}",
            *hash
        );
        for (password, expected) in [
            ("correct horse battery", true),
            ("correct horse batterY", false),
            ("correct horse battery ", false),
            ("", false),
        ] {
            let answer = passwords
                .verify(Some(hash.clone()), secret(password), Asker::Stranger)
                .await;
            assert_eq!(answer, Ok(expected), "{password}");
        }
        let again = passwords
            .hash(secret("correct horse battery"))
            .await
            .unwrap();
        assert_ne!(*hash, *again, "each hash has a salt of its own");
    }

    // G5: the work for a user without a password is that of a real check.
    #[test]
    fn nobody_costs_what_somebody_costs() {
        let passwords = Passwords::new(1, 0).unwrap();
        let nobody = PasswordHash::new(&passwords.nobody).unwrap();
        let params = Params::try_from(&nobody).unwrap();
        assert_eq!(
            (params.m_cost(), params.t_cost(), params.p_cost()),
            (MEMORY_KIB, PASSES, LANES)
        );
        assert_eq!(nobody.algorithm.as_str(), "argon2id");
        assert_eq!(nobody.salt.map(|salt| salt.len()), Some(16));
        assert_eq!(nobody.hash.map(|hash| hash.len()), Some(32));
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        let passwords = Passwords::new(2, 8).unwrap();
        for password in ["", "a password that was guessed"] {
            assert_eq!(
                passwords
                    .verify(None, secret(password), Asker::Stranger)
                    .await,
                Ok(false)
            );
        }
    }

    #[tokio::test]
    async fn a_password_of_megabytes_is_not_hashed() {
        let passwords = Passwords::new(2, 8).unwrap();
        let long = "x".repeat(4 * MAX_LENGTH + 1);
        let hash = passwords.hash(secret(&long)).await.unwrap();
        assert_eq!(
            passwords
                .verify(Some(hash), secret(&long), Asker::Stranger)
                .await,
            Ok(false)
        );
    }

    #[tokio::test]
    async fn an_unreadable_hash_is_no_wrong_password() {
        let passwords = Passwords::new(2, 8).unwrap();
        let answer = passwords
            .verify(
                Some(secret("$argon2id$nonsense")),
                secret("x"),
                Asker::Stranger,
            )
            .await;
        assert_eq!(answer, Err(PasswordError::Broken("stored hash")));
        assert_eq!(PasswordError::Broken("stored hash").status().code, 503);
    }

    #[tokio::test]
    async fn what_finds_no_room_is_told_to_come_back() {
        let passwords = Passwords::new(1, 2).unwrap();
        let calls = (0..8).map(|_| passwords.verify(None, secret("x"), Asker::Stranger));
        let tasks: Vec<_> = calls.collect();
        let answers = futures_join(tasks).await;
        let busy = answers
            .iter()
            .filter(|&answer| *answer == Err(PasswordError::Busy))
            .count();
        let done = answers
            .iter()
            .filter(|&answer| *answer == Ok(false))
            .count();
        assert_eq!((done, busy), (3, 5), "one runs, two wait");
        let status = PasswordError::Busy.status();
        assert_eq!(status.code, 429);
        assert_eq!(status.details.unwrap().retry_after_seconds, RETRY_AFTER);
        assert_eq!(
            passwords.verify(None, secret("x"), Asker::Stranger).await,
            Ok(false),
            "there is room again"
        );
    }

    /// Polls all futures on one task, first to last, so that what is admitted is decided in order.
    async fn futures_join<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
        let mut pending: Vec<_> = futures.into_iter().map(|f| (Box::pin(f), None)).collect();
        std::future::poll_fn(move |context| {
            let mut all = true;
            for (future, output) in &mut pending {
                if output.is_none() {
                    match future.as_mut().poll(context) {
                        std::task::Poll::Ready(value) => *output = Some(value),
                        std::task::Poll::Pending => all = false,
                    }
                }
            }
            if all {
                let outputs = pending.iter_mut().filter_map(|(_, output)| output.take());
                std::task::Poll::Ready(outputs.collect())
            } else {
                std::task::Poll::Pending
            }
        })
        .await
    }
}

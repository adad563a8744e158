//! A login with a password: whether it may be tried, whether the password is right, and what comes of it.
//!
//! What an attacker would try: trying passwords, or trying so many that the person is kept out (`authn::throttle`: 429
//! before any hash), floods of logins (`authn::passwords` bounds the hashing, and answers 429 too).

use super::{ATTEMPTS, Deed, Login, LoginError, Refused, Seen, Wanted, session};
use crate::{
    authn::{
        AuthnError, Device, Slot,
        Unknowable::{Loading, Unreadable},
        UserEntry,
        passwords::Asker,
        throttle::{Account, Source, Try, Vouched},
    },
    objects::{LOCAL, check_handle},
    status::clock,
    store::StoreError,
};
use jiff::Timestamp;
use serde::Deserialize;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// A login with a password, from a terminal or from a page.
pub struct PasswordLogin {
    /// Where the account is.
    pub provider: String,
    /// As it was typed.
    pub username: String,
    /// As it was typed.
    pub password: Zeroized,
    /// What an earlier login gave the client to keep.
    pub device: Option<String>,
    /// What it is to give.
    pub wanted: Wanted,
}

/// Text that is wiped when it is dropped.
pub struct Zeroized(pub(super) Zeroizing<String>);

impl From<Zeroizing<String>> for Zeroized {
    fn from(text: Zeroizing<String>) -> Self {
        Self(text)
    }
}

impl<'de> Deserialize<'de> for Zeroized {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// A login that succeeded.
pub struct Done {
    /// What it gave.
    pub session: session::New,
    /// To whom.
    pub user: Arc<UserEntry>,
    /// The proof that the client keeps for the next time.
    pub device: String,
}

/// Whose password was right, and on which device that was known before.
struct Checked {
    user: Arc<UserEntry>,
    device: Option<Device>,
}

impl Login {
    /// Logs in with a password: the one way for terminals and for pages. What could not be read is counted too.
    pub async fn by_password(
        &self,
        login: Result<PasswordLogin, LoginError>,
        seen: &mut Seen,
    ) -> Result<Done, LoginError> {
        let source = |login: &PasswordLogin| Source::of(login.wanted.from);
        let mut tried = None;
        let done = match login {
            Ok(login) if login.provider == LOCAL => {
                let done = self.log_in(&login, source(&login), seen).await;
                tried = self.index.user(&login.username);
                done
            }
            Ok(login) => match self.providers.get(&login.provider) {
                Some(provider) => {
                    let notes = (&mut *seen, &mut tried);
                    self.log_in_at(&provider, &login, source(&login), notes)
                        .await
                }
                None => Err(LoginError::Provider),
            },
            Err(error) => Err(error),
        };
        self.note(tried, &done, seen);
        done
    }

    /// How long strangers are kept from trying this user's password; none: they are not.
    pub fn kept_from(&self, user: &UserEntry) -> Option<Duration> {
        self.throttle.kept_from(&account_of(user), Instant::now())
    }

    /// Whether it matters from which address somebody logs in.
    pub fn tells_sources_apart(&self) -> bool {
        self.throttle.tells_sources_apart()
    }

    pub(super) async fn log_in(
        &self,
        login: &PasswordLogin,
        source: Source,
        seen: &mut Seen,
    ) -> Result<Done, LoginError> {
        for _ in 0..ATTEMPTS {
            let now = clock::now();
            let Checked { user, device } = self.check(login, source, now).await?;
            let made = self
                .let_in(user, device, &login.wanted, (seen, now))
                .await?;
            if let Some(done) = made {
                return Ok(done);
            }
        }
        Err(LoginError::Conflict)
    }

    /// The session of somebody who has proven themselves. None: somebody changed the user since this replica last
    /// looked, and it has seen that by now.
    pub(super) async fn let_in(
        &self,
        user: Arc<UserEntry>,
        device: Option<Device>,
        wanted: &Wanted,
        (seen, now): (&mut Seen, Timestamp),
    ) -> Result<Option<Done>, LoginError> {
        // Before the session is made: a client that hangs up now is recorded all the same.
        seen.deed = Some(Deed::Login);
        seen.tried = Some(Arc::clone(&user));
        let session = match self.create(&user, wanted, now).await {
            Ok(session) => session,
            Err(LoginError::Store(StoreError::Conflict { key })) => {
                self.catch_up(&key).await?;
                return Ok(None);
            }
            Err(other) => return Err(other),
        };
        let (uid, epoch) = (&user.uid, user.password_epoch);
        let device = Device::seal(&self.keyring, device, uid, epoch, now)?;
        Ok(Some(Done {
            session,
            user,
            device,
        }))
    }

    /// The user whose password this is. One hash is computed, whoever asks for whom; none, if there were too
    /// many wrong ones.
    async fn check(
        &self,
        login: &PasswordLogin,
        source: Source,
        now: Timestamp,
    ) -> Result<Checked, LoginError> {
        let found = self.find(&login.username)?;
        let user = found.as_deref().ok();
        let device = self.device(login, user, now);
        let account = match user {
            Some(user) => account_of(user),
            None => Account {
                name: &login.username,
                uid: None,
                unlocks: 0,
            },
        };
        let admitted = self.throttle.admit(
            &Try {
                account,
                source,
                device: device.as_ref(),
                vouched: vouched(user, source, now),
            },
            Instant::now(),
        )?;
        let asker = if admitted.is_known() {
            Asker::Known
        } else {
            Asker::Stranger
        };
        let (hash, refused) = match &found {
            Err(refused) => (None, *refused),
            Ok(user) if user.disabled => (None, Refused::Disabled),
            Ok(user) if user.machine => (None, Refused::Machine),
            Ok(user) => match &user.password {
                Some(hash) => (Some(hash.clone()), Refused::WrongPassword),
                None => (None, Refused::NoPassword),
            },
        };
        let password = login.password.0.clone();
        let fits = self.passwords.verify(hash, password, asker).await;
        // A wrong password alone stays charged. A client that hangs up is not told, and pays.
        if !matches!(fits, Ok(false)) {
            self.throttle.forgive(&admitted);
        }
        match (found, fits?) {
            (Ok(user), true) => {
                self.throttle.remember(&user.uid, source, Instant::now());
                Ok(Checked { user, device })
            }
            (Ok(_) | Err(_), _) => Err(LoginError::Refused(refused)),
        }
    }

    /// Exactly the handle: other spellings of a name are nobody's (L3).
    fn find(&self, name: &str) -> Result<Result<Arc<UserEntry>, Refused>, LoginError> {
        if !self.index.is_loaded() {
            return Err(AuthnError::Unavailable(Loading).into());
        }
        let slot = check_handle(name)
            .ok()
            .and_then(|()| self.index.user_slot(name));
        match slot {
            Some(Slot::Known(user)) => Ok(Ok(user)),
            Some(Slot::Unreadable) => Err(AuthnError::Unavailable(Unreadable).into()),
            None => Ok(Err(Refused::UnknownUser)),
        }
    }

    /// What the client proves about itself. A text is opened for nobody too: it takes the same time (G5).
    pub(super) fn device(
        &self,
        login: &PasswordLogin,
        user: Option<&UserEntry>,
        now: Timestamp,
    ) -> Option<Device> {
        let text = login.device.as_deref()?;
        let (uid, epoch) = user.map_or(("", 0), |user| (&*user.uid, user.password_epoch));
        Device::open(&self.keyring, text, uid, epoch, now)
    }
}

/// The account of a user that there is.
pub(super) fn account_of(user: &UserEntry) -> Account<'_> {
    Account {
        name: &user.handle,
        uid: Some(&user.uid),
        unlocks: user.unlocks,
    }
}

/// Whether an admin expects this user's next login from there.
pub(super) fn vouched(user: Option<&UserEntry>, source: Source, now: Timestamp) -> Vouched {
    match user.and_then(|user| user.vouched) {
        Some((place, until)) if place == source && now < until => Vouched::Yes,
        Some(_) | None => Vouched::No,
    }
}

//! A login with a password at a provider: whose account it is, whether the password is right, and which user of
//! ours that is.
//!
//! The account is found first, so that all spellings of its name are one account to the throttle (L3); a name that
//! finds nothing costs a bind all the same, and every refusal is told after the same time (G5).

use super::{
    ATTEMPTS, Deed, Login, LoginError, PasswordLogin, Refused, Seen,
    attempt::{Done, vouched},
    error::NoHandle,
};
use crate::{
    api::users::tombstone,
    authn::{
        AuthnError, Device, Slot,
        Unknowable::{Loading, Unreadable},
        UserEntry,
        providers::{
            Account as ProviderAccount, Provider, Record, Standing,
            ldap::{Failure, Found, Tried, is_no_password},
            record_key,
        },
        throttle::{Account, Source, Try},
    },
    objects::{Kind as _, Member, Principal, Stored, User, UserPrivate, UserSpec, check_handle},
    status::clock,
    store::{StoreError, Txn},
};
use jiff::Timestamp;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};

/// A refusal is told no sooner than this after the question: above what a directory takes that is not overloaded,
/// so that the time says nothing of whether there is such an account.
const REFUSED_AFTER: Duration = Duration::from_millis(300);

/// Whose password was right.
struct Checked {
    found: Found,
    /// What is known of the account from earlier logins.
    known: Option<Arc<ProviderAccount>>,
    device: Option<Device>,
}

impl Login {
    /// Logs in at a provider. `tried` becomes the user whose password was tried, if there is one.
    pub(super) async fn log_in_at(
        &self,
        provider: &Provider,
        login: &PasswordLogin,
        source: Source,
        (seen, tried): (&mut Seen, &mut Option<Arc<UserEntry>>),
    ) -> Result<Done, LoginError> {
        let asked = Instant::now();
        let now = clock::now();
        let done = match Box::pin(self.check_at(provider, login, source, tried)).await {
            Ok(checked) => Box::pin(self.enter(provider, &checked, login, (seen, now))).await,
            Err(error) => Err(error),
        };
        if matches!(done, Err(LoginError::Refused(_))) {
            sleep_until(asked + REFUSED_AFTER).await;
        }
        if let Ok(done) = &done {
            let now = std::time::Instant::now();
            self.throttle.remember(&done.user.uid, source, now);
        }
        done
    }

    async fn check_at(
        &self,
        provider: &Provider,
        login: &PasswordLogin,
        source: Source,
        tried: &mut Option<Arc<UserEntry>>,
    ) -> Result<Checked, LoginError> {
        if !self.index.is_loaded() {
            return Err(AuthnError::Unavailable(Loading).into());
        }
        let directory = &provider.directory;
        let found = directory.find(&login.username).await?;
        let known = found
            .as_ref()
            .and_then(|found| self.index.account(&provider.name, &found.id));
        let user = known
            .as_ref()
            .and_then(|known| self.user_of(&known.record.user));
        tried.clone_from(&user);
        let now = clock::now();
        let device = self.device(login, user.as_deref(), now);
        let name = account_name(provider, &login.username, found.as_ref(), user.as_deref());
        let admitted = self.throttle.admit(
            &Try {
                account: Account {
                    name: &name,
                    uid: user.as_ref().map(|user| &*user.uid),
                    unlocks: user.as_ref().map_or(0, |user| user.unlocks),
                },
                source,
                device: device.as_ref(),
                vouched: vouched(user.as_deref(), source, now),
            },
            std::time::Instant::now(),
        )?;
        let password = &login.password.0;
        if is_no_password(password) {
            return Err(LoginError::Refused(Refused::NoPasswordGiven));
        }
        let outcome = directory.try_password(found.as_ref(), password).await;
        // A wrong password alone stays charged. A client that hangs up is not told, and pays.
        if !matches!(outcome, Ok(Tried::Refused(_))) {
            self.throttle.forgive(&admitted);
        }
        match (found, outcome?) {
            (None, _) => Err(LoginError::Refused(Refused::UnknownUser)),
            (Some(_), Tried::Refused(why)) => Err(LoginError::Refused(Refused::AtProvider(why))),
            (Some(found), Tried::Right) => match found.standing {
                Standing::Active => Ok(Checked {
                    found,
                    known,
                    device,
                }),
                Standing::Disabled | Standing::Locked | Standing::Expired | Standing::Gone => {
                    let why = "the account is disabled, locked or expired in the directory";
                    Err(LoginError::Refused(Refused::AtProvider(why)))
                }
            },
        }
    }

    /// From the right password to a session.
    async fn enter(
        &self,
        provider: &Provider,
        checked: &Checked,
        login: &PasswordLogin,
        (seen, now): (&mut Seen, Timestamp),
    ) -> Result<Done, LoginError> {
        let Checked {
            found,
            known,
            device,
        } = checked;
        let groups = provider.directory.groups(found).await?;
        let nobody = Member::default();
        let record = Record::new(nobody, &found.name, groups, now);
        if !record.is_listed(&found.id, &provider.config.access) {
            return Err(LoginError::NotListed);
        }
        let mut known = known.clone();
        for _ in 0..ATTEMPTS {
            let user = match &known {
                Some(known) => self.bring_up_to_date(known, &record).await?,
                None => self.make_user(provider, found, &record).await?,
            };
            let Some(user) = user else {
                // Somebody wrote the same account at the same time: look again.
                known = self.index.account(&provider.name, &found.id);
                continue;
            };
            if user.disabled {
                return Err(LoginError::Refused(Refused::Disabled));
            }
            // Before the session is made: a client that hangs up now is recorded all the same.
            seen.deed = Some(Deed::Login);
            seen.tried = Some(Arc::clone(&user));
            match self.create(&user, &login.wanted, now).await {
                Ok(session) => {
                    let (uid, epoch) = (&user.uid, user.password_epoch);
                    let device = Device::seal(&self.keyring, *device, uid, epoch, now)?;
                    return Ok(Done {
                        session,
                        user,
                        device,
                    });
                }
                Err(LoginError::Store(StoreError::Conflict { key })) => {
                    if let Some(kv) = self.store.get(&key).await? {
                        self.applied(kv.mod_revision).await;
                    }
                    known = self.index.account(&provider.name, &found.id);
                }
                Err(other) => return Err(other),
            }
        }
        Err(LoginError::Conflict)
    }

    /// Notes what the provider says of an account that was here before; gives its user. None: look again.
    async fn bring_up_to_date(
        &self,
        known: &Arc<ProviderAccount>,
        record: &Record,
    ) -> Result<Option<Arc<UserEntry>>, LoginError> {
        let member = &known.record.user;
        match self.index.user_slot(&member.name) {
            Some(Slot::Known(user)) if *user.uid == *member.uid => {}
            Some(Slot::Unreadable) => return Err(AuthnError::Unavailable(Unreadable).into()),
            // An account whose user was removed stays out: the handle is nobody's for ever.
            Some(Slot::Known(_)) | None => {
                return Err(LoginError::NoHandle(NoHandle::Removed(member.name.clone())));
            }
        }
        let record = record.of(member.clone());
        if known.record.says_what(&record) {
            known.confirm(record.checked_at);
        } else {
            let key = record_key(known.provider(), &known.id);
            let txn = Txn::new().when(key.clone(), known.revision);
            match self.store.txn(txn.put(key.clone(), record.encode())).await {
                Ok(revision) => self.applied(revision).await,
                Err(StoreError::Conflict { .. }) => {
                    if let Some(kv) = self.store.get(&key).await? {
                        self.applied(kv.mod_revision).await;
                    }
                    return Ok(None);
                }
                Err(other) => return Err(other.into()),
            }
        }
        Ok(self.user_of(member))
    }

    /// The user of an account that is here for the first time. None: look again.
    async fn make_user(
        &self,
        provider: &Provider,
        found: &Found,
        record: &Record,
    ) -> Result<Option<Arc<UserEntry>>, LoginError> {
        let handle = provider.handle(&found.handle);
        if let Err(error) = check_handle(&found.handle) {
            return Err(LoginError::NoHandle(NoHandle::Name(
                found.handle.to_string(),
                error,
            )));
        }
        let spec = UserSpec {
            display_name: shown(&found.display_name),
            principals: vec![Principal {
                provider: provider.name.to_string(),
                id: found.id.to_string(),
            }],
            ..UserSpec::default()
        };
        let mut user = User::new(handle.clone(), spec);
        user.metadata.uid = uuid::Uuid::new_v4().to_string();
        user.metadata.creation_timestamp = Some(clock::whole_seconds(record.checked_at));
        let member = Member {
            name: handle.clone(),
            uid: user.metadata.uid.clone(),
        };
        let record = record.of(member.clone());
        let (of_user, grave) = (User::key(&handle), tombstone(&handle));
        let of_account = record_key(&provider.name, &found.id);
        let txn = Txn::new()
            .when(of_user.clone(), 0)
            .when(grave.clone(), 0)
            .when(of_account.clone(), 0)
            .put(of_account.clone(), record.encode())
            .put(
                of_user.clone(),
                Stored::new(user, UserPrivate::default()).encode(),
            );
        match self.store.txn(txn).await {
            Ok(revision) => {
                self.applied(revision).await;
                let provider = &*provider.name;
                tracing::info!(user = handle, provider, "a user came for the first time");
                Ok(self.user_of(&member))
            }
            Err(StoreError::Conflict { key }) if key == of_user => {
                // Also if the same account was quicker on another connection: then its record is there.
                match self.store.get(&of_account).await? {
                    Some(kv) => {
                        self.applied(kv.mod_revision).await;
                        Ok(None)
                    }
                    None => Err(LoginError::NoHandle(NoHandle::Taken(handle))),
                }
            }
            Err(StoreError::Conflict { key }) if key == grave => {
                Err(LoginError::NoHandle(NoHandle::Removed(handle)))
            }
            Err(StoreError::Conflict { key }) => {
                if let Some(kv) = self.store.get(&key).await? {
                    self.applied(kv.mod_revision).await;
                }
                Ok(None)
            }
            Err(other) => Err(other.into()),
        }
    }

    fn user_of(&self, member: &Member) -> Option<Arc<UserEntry>> {
        let user = self.index.user(&member.name);
        user.filter(|user| *user.uid == *member.uid)
    }
}

/// What failed tries are counted under: the user, else the account, else what was typed.
fn account_name(
    provider: &Provider,
    typed: &str,
    found: Option<&Found>,
    user: Option<&UserEntry>,
) -> String {
    match (user, found) {
        (Some(user), _) => user.handle.to_string(),
        (None, Some(found)) => format!("{}:{}", provider.name, found.id),
        (None, None) => format!("{}:{}", provider.name, typed.trim().to_lowercase()),
    }
}

/// A display name as the API takes it.
fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let good = text.chars().filter(|c| !c.is_control());
    good.take(LONGEST).collect()
}

impl From<Failure> for LoginError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Busy => Self::ProviderBusy,
            failure @ (Failure::File { .. }
            | Failure::Dns { .. }
            | Failure::Connect { .. }
            | Failure::SearchAccount(_)
            | Failure::Broken { .. }
            | Failure::Answer { .. }
            | Failure::TooMany { .. }
            | Failure::Malformed(_)) => Self::ProviderDown(Box::new(failure)),
        }
    }
}

//! A login with a password at a provider: whose account it is, whether the password is right, and which user of
//! ours that is.
//!
//! The account is found first, so that all spellings of its name are one account to the throttle (L3); a name that
//! finds nothing costs a bind all the same, and every refusal is told after the same time (G5).

use super::{
    Login, LoginError, PasswordLogin, Refused, Seen,
    attempt::{Done, vouched},
    enter::Person,
};
use crate::{
    authn::{
        AuthnError, Device,
        Unknowable::Loading,
        UserEntry,
        providers::{
            Account as ProviderAccount, Provider, Record, Standing,
            ldap::{Failure, Found, Tried, is_no_password},
        },
        throttle::{Account, Source, Try},
    },
    objects::Member,
    status::clock,
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
        let directory = provider.directory().ok_or(LoginError::ByBrowser)?;
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
                Standing::Disabled
                | Standing::Locked
                | Standing::Expired
                | Standing::Gone
                | Standing::Ended => {
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
        let found = &checked.found;
        let directory = provider.directory().ok_or(LoginError::ByBrowser)?;
        let groups = directory.groups(found).await?;
        let person = Person {
            provider,
            id: &found.id,
            handle: &found.handle,
            display_name: &found.display_name,
            record: Record::new(Member::default(), &found.name, groups, now),
        };
        let known = (checked.known.clone(), checked.device);
        Box::pin(self.enter_as(&person, known, &login.wanted, (seen, now))).await
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

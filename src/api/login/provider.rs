//! A login with a password at a provider: whose account it is, whether the password is right, and which user of
//! ours that is.
//!
//! A try is charged before the directory is asked for anything ([`super::tries`]), all spellings of a name to one
//! account (L3); a name that finds nothing costs a bind all the same, and every refusal is told after the same time
//! (G5).

use super::{
    Login, LoginError, PasswordLogin, Refused, Seen,
    attempt::Done,
    enter::Person,
    tries::{Tries, Turn},
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
        throttle::Source,
    },
    objects::Member,
    status::clock,
};
use jiff::Timestamp;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};

/// A refusal is told so long after the question, or twice, three times as long: above what a directory takes that is
/// not overloaded, so that the time says nothing of whether there is such an account, and little where it is slower.
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
            sleep_until(asked + refused_after(asked.elapsed())).await;
        }
        if let Ok(done) = &done {
            let now = std::time::Instant::now();
            self.throttle.remember(&done.user.uid, source, now);
        }
        done
    }

    /// Whose password this is. A try is charged before anybody is asked, and given back if the password was right or
    /// if nobody could tell. A client that hangs up is not told, and pays.
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
        let name = provider.handle(&directory.folded(&login.username));
        let mut charged = self.begin_try(name, login, source)?;
        if is_no_password(&login.password.0) {
            return Err(LoginError::Refused(Refused::NoPasswordGiven));
        }
        let checked = self
            .ask(provider, login, source, (&mut charged, tried))
            .await;
        match &checked {
            Err(LoginError::Refused(_) | LoginError::Throttled(_)) => {}
            Ok(_) | Err(_) => self.forgive(&charged),
        }
        checked
    }

    async fn ask(
        &self,
        provider: &Provider,
        login: &PasswordLogin,
        source: Source,
        (charged, tried): (&mut Tries, &mut Option<Arc<UserEntry>>),
    ) -> Result<Checked, LoginError> {
        let directory = provider.directory().ok_or(LoginError::ByBrowser)?;
        let found = match directory.find(&login.username).await {
            Ok(found) => found,
            // Of this name alone: a stranger must not see that there is something.
            Err(failure) if failure.is_of_name() => {
                let (provider, failure) = (&*provider.name, failure.chain());
                tracing::warn!(
                    provider,
                    failure,
                    "a name was typed that leads to no one account: nobody logs in by it"
                );
                None
            }
            Err(failure) => return Err(failure.into()),
        };
        let known = found
            .as_ref()
            .and_then(|found| self.index.account(&provider.name, &found.id));
        let user = known
            .as_ref()
            .and_then(|known| self.user_of(&known.record.user));
        tried.clone_from(&user);
        let mut turn = Turn::Allowed;
        if let Some(found) = &found {
            let account = format!("{}:{}", provider.name, found.id);
            turn = self.go_on(charged, (&account, user.as_deref()), login, source)?;
        }
        let password = &login.password.0;
        let whose = found.as_ref().filter(|_| turn == Turn::Allowed);
        let outcome = directory.try_password(whose, password).await?;
        let why = match (found, outcome, turn) {
            (None, ..) => Refused::UnknownUser,
            (Some(_), _, Turn::UsedUp) => {
                Refused::AtProvider("the account's tries are used up, by other names of it")
            }
            (Some(_), Tried::Refused(why), Turn::Allowed) => Refused::AtProvider(why),
            (Some(found), Tried::Right, Turn::Allowed) => match found.standing()? {
                Standing::Active => {
                    let device = self.device(login, user.as_deref(), clock::now());
                    return Ok(Checked {
                        found,
                        known,
                        device,
                    });
                }
                Standing::MustChange => {
                    Refused::AtProvider("the directory wants the password to be changed first")
                }
                Standing::Disabled
                | Standing::Locked
                | Standing::Expired
                | Standing::Gone
                | Standing::Ended => Refused::AtProvider(
                    "the account is disabled, locked or expired in the directory",
                ),
            },
        };
        Err(LoginError::Refused(why))
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
        let groups = directory.groups(found, provider.names_life()).await?;
        let person = Person {
            provider,
            id: &found.id,
            handle: &found.handle,
            display_name: &found.display_name,
            record: Record::new(Member::default(), &found.name, groups, now)
                .with_password(found.password_epoch()),
        };
        let known = (checked.known.clone(), checked.device);
        Box::pin(self.enter_as(&person, known, &login.wanted, (seen, now))).await
    }
}

/// The next multiple of [`REFUSED_AFTER`].
fn refused_after(took: Duration) -> Duration {
    let steps = took.as_millis() / REFUSED_AFTER.as_millis();
    REFUSED_AFTER.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX).saturating_add(1))
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

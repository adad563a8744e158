//! What a try at a provider is charged for.
//!
//! Before the directory is asked nobody knows whose name was typed, and asking is already something that a stranger
//! must not do without a bound. So a try is first charged to the name as it was typed, whichever spelling
//! ([`Directory::folded`]), and to its source; what somebody was told of that cannot depend on whether there is such
//! an account (G5). When the account is found, it is charged too if it has other names (L3): whoever has used up the
//! account's tries by several of its names is told what a wrong password is told.
//!
//! Whoever was there before pays from a bucket of their own (`throttle`). Whose device or place it is, is known
//! before the search where the name is the handle's, or has led to a user before.
//!
//! [`Directory::folded`]: crate::authn::providers::ldap::Directory::folded

use super::{Login, LoginError, PasswordLogin, attempt::vouched};
use crate::{
    authn::{
        Device, UserEntry,
        throttle::{Account, Admitted, Source, Try},
    },
    status::clock,
};
use std::{sync::Arc, time::Instant};

/// A try that was charged before anybody was asked.
pub(super) struct Tries {
    /// What is counted for the name as it was typed.
    name: String,
    /// Whom the name leads to as far as it is known without asking.
    expected: Option<Arc<UserEntry>>,
    admitted: Admitted,
    /// Charged to the account behind the name.
    account: Option<Admitted>,
}

/// Whether a password may be tried on the account that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It may.
    Allowed,
    /// The account's tries are used up, by other names of it: no password is tried on it.
    UsedUp,
}

impl Tries {
    /// How often an admin has unlocked who is meant, as far as it was known.
    fn unlocks(&self) -> u64 {
        self.expected.as_ref().map_or(0, |user| user.unlocks)
    }

    fn is_of(&self, user: &UserEntry) -> bool {
        let expected = self.expected.as_ref();
        expected.is_some_and(|expected| expected.uid == user.uid)
    }
}

impl Login {
    /// Charges a try of the name that is counted as `name`, before anybody is asked whose it is.
    pub(super) fn begin_try(
        &self,
        name: String,
        login: &PasswordLogin,
        source: Source,
    ) -> Result<Tries, LoginError> {
        let learnt = self.throttle.led_to(&name);
        let learnt = learnt.and_then(|handle| self.index.user(&handle));
        let expected = learnt.or_else(|| self.index.user(&name));
        let user = expected.as_deref();
        let device = self.device(login, user, clock::now());
        let it = the_try(&name, user, source, device.as_ref());
        let admitted = self.throttle.admit(&it, Instant::now())?;
        Ok(Tries {
            name,
            expected,
            admitted,
            account: None,
        })
    }

    /// Charges what is only known now: which account it is, called `account` where it is nobody's yet, and whether
    /// whoever tries was there before.
    pub(super) fn go_on(
        &self,
        tries: &mut Tries,
        (account, user): (&str, Option<&UserEntry>),
        login: &PasswordLogin,
        source: Source,
    ) -> Result<Turn, LoginError> {
        let now = Instant::now();
        if let Some(user) = user {
            self.throttle.learn(&tries.name, &user.handle);
        }
        if !user.is_some_and(|user| tries.is_of(user)) {
            let device = self.device(login, user, clock::now());
            let it = the_try(&tries.name, user, source, device.as_ref());
            let before = if self.throttle.knows(&it, now) {
                // Somebody who was here before, under a name that was not known to be theirs.
                Some(self.throttle.admit(&it, now)?)
            } else if tries.admitted.is_known() {
                // Somebody who was here before, at another account.
                let it = the_try(&tries.name, None, source, None);
                Some(self.throttle.admit(&it, now)?)
            } else {
                None
            };
            if let Some(other) = before {
                let first = std::mem::replace(&mut tries.admitted, other);
                self.throttle.forgive(&first);
            }
        }
        let (name, unlocks) = user.map_or((account, 0), |user| (&*user.handle, user.unlocks));
        if tries.admitted.is_known() || (name, unlocks) == (&*tries.name, tries.unlocks()) {
            return Ok(Turn::Allowed);
        }
        let account = Account {
            name,
            uid: None,
            unlocks,
        };
        match self.throttle.admit_account(&account, now) {
            Ok(admitted) => {
                tries.account = Some(admitted);
                Ok(Turn::Allowed)
            }
            Err(_) => Ok(Turn::UsedUp),
        }
    }

    /// Gives all of it back: the password was right, or nobody could tell.
    pub(super) fn forgive(&self, tries: &Tries) {
        self.throttle.forgive(&tries.admitted);
        if let Some(account) = &tries.account {
            self.throttle.forgive(account);
        }
    }
}

fn the_try<'a>(
    name: &'a str,
    user: Option<&'a UserEntry>,
    source: Source,
    device: Option<&'a Device>,
) -> Try<'a> {
    Try {
        account: Account {
            name,
            uid: user.map(|user| &*user.uid),
            unlocks: user.map_or(0, |user| user.unlocks),
        },
        source,
        device,
        vouched: vouched(user, source, clock::now()),
    }
}

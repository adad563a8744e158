//! How often a password may be tried: per account and per source, and nobody locked out by a stranger.
//!
//! Every try is charged before its hash is computed, and given back if the password was right or if nobody
//! can tell; so many tries at the same moment are as many charges. Each bucket is GCRA: so many tries at
//! once, then one per interval. Which bucket pays depends on who tries:
//!
//! - Whoever proves to have logged in to this account before ([`Device`]) pays from a bucket of that device
//!   alone. So does whoever comes from an address from which the account was lately logged in to.
//! - Everybody else is a stranger, and all strangers together pay from one bucket of the account, and each
//!   source from one of its own.
//!
//! A stranger who hammers an account therefore keeps out other strangers, and nobody who was there before
//! (OWASP calls it device cookies). Accounts that do not exist are charged like those that do (G5).
//!
//! What an attacker would try, and why it gains nothing:
//!
//! - Emptying the memory of their failures with made-up names: nothing is ever taken out ([`sketch`]).
//! - Filling it, so that everybody seems throttled: only what was admitted is charged, and hashing bounds
//!   what is admitted. The space grows with the hashing that operators allow ([`COLUMNS_PER_HASH`]).
//! - Many devices for one account: a proof takes the password, and all proofs from before the last change of
//!   it pay from one bucket.
//! - Many addresses: IPv6 counts by /64, and the account's own bucket does not care where tries come from.
//!
//! The counters are this process's own: with several replicas an attacker has as many tries at each. They
//! start empty, so a restart forgives. The gateway makes no decision on time: a clock that jumps does not
//! matter (`Instant`).

use super::device::{Device, DeviceId};
use crate::config::live::Live;
use sketch::{Cells, Millis, Sketch};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

mod rate;
mod sketch;

pub use rate::{Charge, Rate};

/// Columns of a sketch for each hash that may be computed at the same time (1 MiB). A core computes some 15
/// to 50 hashes a second, and each admitted try of a stranger takes its two buckets' intervals, at their
/// defaults 330 s: the cells are then taken for a sixth to a half of the time, a bucket of ten tries is full
/// by chance once in a hundred thousand, and all four of them at once practically never.
const COLUMNS_PER_HASH: usize = 32 * 1024;
/// Addresses remembered for each account: a person has a few places.
const PLACES: usize = 4;
/// Accounts whose addresses are remembered. Only a right password puts one in; beyond it new ones are not
/// remembered, and devices still are.
const MAX_ACCOUNTS: usize = 50_000;
/// How long an address counts as one of the account's places.
const PLACE_LIFE: Duration = Duration::from_hours(30 * 24);
/// Names of which it is remembered whose they are. Only a name that was found puts one in; beyond it others are not
/// remembered, and who types them is a stranger until their account is found.
const MAX_NAMES: usize = MAX_ACCOUNTS;

/// So many tries at once, then one per interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// At least 1.
    pub tries: u32,
    /// Time after which one more is taken.
    pub interval: Duration,
}

/// What operators can set (`login` in docs/config.md).
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Of an account, and of each of its devices and places.
    pub account: Pace,
    /// Of a source; none: sources tell nobody apart, as behind a balancer that hides them.
    pub source: Option<Pace>,
}

/// Where a try comes from: an IPv4 address, or the first half of an IPv6 address, which is what one
/// customer, machine or office has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The source that an address belongs to.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(six) => {
                let half = u128::from(six) & (u128::MAX << 64);
                Self(IpAddr::V6(Ipv6Addr::from(half)))
            }
            four @ IpAddr::V4(_) => Self(four),
        }
    }
}

/// Whose password is tried.
#[derive(Clone, Copy)]
pub struct Account<'a> {
    /// As it was typed.
    pub name: &'a str,
    /// Uid, if there is such a user.
    pub uid: Option<&'a str>,
    /// How often an admin has unlocked the account: each time it has new buckets.
    pub unlocks: u64,
}

/// One try.
pub struct Try<'a> {
    /// Whose password.
    pub account: Account<'a>,
    /// Where it comes from.
    pub source: Source,
    /// What the client proved about itself, for this account.
    pub device: Option<&'a Device>,
    /// Whether an admin vouches for the source.
    pub vouched: Vouched,
}

/// Whether an admin said that this source belongs to the account's person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vouched {
    /// Nobody said so.
    No,
    /// An unlock named the source.
    Yes,
}

/// What is charged. Everything that tells two buckets apart stands in it, each part at its own place (T4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key<'a> {
    /// All strangers at one account.
    Account(Unlocked<'a>),
    Source(Source),
    Device(Unlocked<'a>, DeviceId),
    OldDevices(Unlocked<'a>),
    Place(Unlocked<'a>, Source),
    /// Proofs of the present password by somebody who is logged in.
    Change(Unlocked<'a>),
}

/// An account since an admin last unlocked it: each unlock begins new buckets, on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Unlocked<'a> {
    /// A name as it was typed, or a uid; what stands around it says which.
    who: &'a str,
    unlocks: u64,
}

/// Which bucket was empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// That of all strangers at one account.
    Account,
    /// That of a source.
    Source,
    /// That of a device or place which had logged in to the account before.
    Known,
}

/// Too many wrong passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many failed tries ({limit:?})")]
pub struct Throttled {
    /// For the log; whoever tries is not told.
    pub limit: Limit,
    /// When one more try is taken; at least a second.
    pub wait: Duration,
}

/// A try that was charged. Dropping it leaves the charge: only an outcome gives it back.
#[must_use]
pub struct Admitted {
    known: bool,
    charges: [Option<(Cells, Millis)>; 2],
}

impl Admitted {
    /// Whether the client was there before.
    pub fn is_known(&self) -> bool {
        self.known
    }
}

/// Counts tries.
pub struct Throttle {
    started: Instant,
    settings: Live<Settings>,
    inner: Mutex<Inner>,
}

struct Inner {
    /// Accounts and sources: what strangers can charge.
    strangers: Sketch,
    /// Devices, places and changes of a password: what takes a proof.
    known: Sketch,
    places: HashMap<Box<str>, Vec<(Source, Millis)>>,
    /// Handles of users by the names that were typed for them at a provider.
    names: HashMap<Box<str>, Box<str>>,
}

impl Throttle {
    /// A throttle that has seen nothing, with space for so many hashes at the same time.
    pub fn new(settings: Live<Settings>, hashes: usize) -> Self {
        let columns = COLUMNS_PER_HASH.saturating_mul(hashes.max(1));
        Self {
            started: Instant::now(),
            settings,
            inner: Mutex::new(Inner {
                strangers: Sketch::new(columns),
                known: Sketch::new(columns),
                places: HashMap::new(),
                names: HashMap::new(),
            }),
        }
    }

    /// Charges a try, or refuses it. Nothing is charged for what is refused.
    pub fn admit(&self, it: &Try<'_>, now: Instant) -> Result<Admitted, Throttled> {
        let at = self.millis(now);
        let mut inner = self.inner();
        match self.known_as(&inner, it, at) {
            Some(key) => self.admit_known(&mut inner, &key, at),
            None => self.admit_stranger(&mut inner, it, at),
        }
    }

    /// Charges a try of a stranger to the account alone: for one that has already paid for the name which was typed,
    /// and turns out to be for an account that has others.
    pub fn admit_account(
        &self,
        account: &Account<'_>,
        now: Instant,
    ) -> Result<Admitted, Throttled> {
        let at = self.millis(now);
        let pace = self.settings.get().account;
        let strangers = &mut self.inner().strangers;
        let cells = strangers.cells(&Key::Account(account.by_name()));
        if let Some(wait) = wait(strangers.time(&cells), pace, at) {
            let limit = Limit::Account;
            return Err(Throttled { limit, wait });
        }
        strangers.delay(&cells, at, pace.charge());
        Ok(Admitted {
            known: false,
            charges: [Some((cells, pace.charge())), None],
        })
    }

    /// Whether whoever tries was there before.
    pub fn knows(&self, it: &Try<'_>, now: Instant) -> bool {
        let at = self.millis(now);
        self.known_as(&self.inner(), it, at).is_some()
    }

    /// Notes which user a typed name has led to: the next one who types it may prove to be no stranger to that user
    /// before the directory is asked.
    pub fn learn(&self, name: &str, handle: &str) {
        let names = &mut self.inner().names;
        if names.get(name).is_some_and(|known| **known == *handle) {
            return;
        }
        if names.len() < MAX_NAMES || names.contains_key(name) {
            names.insert(name.into(), handle.into());
        }
    }

    /// The handle of the user whom this name has led to.
    pub fn led_to(&self, name: &str) -> Option<Box<str>> {
        self.inner().names.get(name).cloned()
    }

    /// Charges a try of the present password by somebody who is logged in and wants another one.
    pub fn admit_change(&self, account: &Account<'_>, now: Instant) -> Result<Admitted, Throttled> {
        let at = self.millis(now);
        let key = Key::Change(account.by_name());
        self.admit_known(&mut self.inner(), &key, at)
    }

    /// Gives a charge back: the password was right, or nobody could tell.
    pub fn forgive(&self, admitted: &Admitted) {
        let mut inner = self.inner();
        for (cells, charge) in admitted.charges.iter().flatten() {
            if admitted.known {
                inner.known.hasten(cells, *charge);
            } else {
                inner.strangers.hasten(cells, *charge);
            }
        }
    }

    /// Notes that a user has logged in from a source.
    pub fn remember(&self, user: &str, source: Source, now: Instant) {
        if self.settings.get().source.is_none() {
            return;
        }
        let at = self.millis(now);
        self.inner().remember(user, source, at);
    }

    /// How long strangers are kept from an account; none: they are not.
    pub fn kept_from(&self, account: &Account<'_>, now: Instant) -> Option<Duration> {
        let at = self.millis(now);
        let inner = self.inner();
        let cells = inner.strangers.cells(&Key::Account(account.by_name()));
        wait(
            inner.strangers.time(&cells),
            self.settings.get().account,
            at,
        )
    }

    /// Whether a source means anything.
    pub fn tells_sources_apart(&self) -> bool {
        self.settings.get().source.is_some()
    }

    /// The bucket of somebody who was there before.
    fn known_as<'a>(&self, inner: &Inner, it: &Try<'a>, at: Millis) -> Option<Key<'a>> {
        let user = it.account.uid?;
        let account = Unlocked {
            who: user,
            unlocks: it.account.unlocks,
        };
        if let Some(device) = it.device {
            return Some(if device.fresh {
                Key::Device(account, device.id)
            } else {
                Key::OldDevices(account)
            });
        }
        let known = it.vouched == Vouched::Yes || inner.is_place(user, it.source, at);
        (known && self.settings.get().source.is_some()).then_some(Key::Place(account, it.source))
    }

    fn admit_known(
        &self,
        inner: &mut Inner,
        key: &Key<'_>,
        at: Millis,
    ) -> Result<Admitted, Throttled> {
        let pace = self.settings.get().account;
        let cells = inner.known.cells(key);
        if let Some(wait) = wait(inner.known.time(&cells), pace, at) {
            let limit = Limit::Known;
            return Err(Throttled { limit, wait });
        }
        let charge = pace.charge();
        inner.known.delay(&cells, at, charge);
        Ok(Admitted {
            known: true,
            charges: [Some((cells, charge)), None],
        })
    }

    fn admit_stranger(
        &self,
        inner: &mut Inner,
        it: &Try<'_>,
        at: Millis,
    ) -> Result<Admitted, Throttled> {
        let Settings { account, source } = self.settings.get();
        let strangers = &mut inner.strangers;
        let of_source = source.map(|pace| {
            let cells = strangers.cells(&Key::Source(it.source));
            (cells, pace, Limit::Source)
        });
        let of_account = (
            strangers.cells(&Key::Account(it.account.by_name())),
            account,
            Limit::Account,
        );
        let buckets = [Some(of_account), of_source];
        let waits = buckets.iter().flatten().filter_map(|(cells, pace, limit)| {
            let wait = wait(strangers.time(cells), *pace, at)?;
            Some(Throttled {
                limit: *limit,
                wait,
            })
        });
        if let Some(longest) = waits.max_by_key(|throttled| throttled.wait) {
            return Err(longest);
        }
        let charges = buckets.map(|bucket| {
            let (cells, pace, _) = bucket?;
            strangers.delay(&cells, at, pace.charge());
            Some((cells, pace.charge()))
        });
        Ok(Admitted {
            known: false,
            charges,
        })
    }

    fn millis(&self, now: Instant) -> Millis {
        let since = now.saturating_duration_since(self.started);
        Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in there can panic half-way through.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn is_place(&self, user: &str, source: Source, at: Millis) -> bool {
        let places = self.places.get(user).into_iter().flatten();
        places
            .filter(|(_, since)| is_recent(*since, at))
            .any(|(place, _)| *place == source)
    }

    fn remember(&mut self, user: &str, source: Source, at: Millis) {
        if let Some(places) = self.places.get_mut(user) {
            places.retain(|(place, since)| *place != source && is_recent(*since, at));
            if places.len() >= PLACES {
                places.remove(0);
            }
            places.push((source, at));
            return;
        }
        if self.places.len() >= MAX_ACCOUNTS {
            self.places
                .retain(|_, places| places.iter().any(|(_, since)| is_recent(*since, at)));
        }
        if self.places.len() < MAX_ACCOUNTS {
            self.places.insert(user.into(), vec![(source, at)]);
        }
    }
}

fn is_recent(since: Millis, at: Millis) -> bool {
    Duration::from_millis(at.saturating_sub(since)) < PLACE_LIFE
}

impl<'a> Account<'a> {
    fn by_name(&self) -> Unlocked<'a> {
        Unlocked {
            who: self.name,
            unlocks: self.unlocks,
        }
    }
}

impl Pace {
    /// What one try costs.
    fn charge(self) -> Millis {
        Millis::try_from(self.interval.as_millis()).unwrap_or(Millis::MAX)
    }
}

/// GCRA: how long a bucket whose time is `time` takes no further try.
fn wait(time: Millis, pace: Pace, at: Millis) -> Option<Duration> {
    let room = pace
        .charge()
        .saturating_mul(u64::from(pace.tries.saturating_sub(1)));
    let wait = time.saturating_sub(at.saturating_add(room));
    // To the second, as `Retry-After` has it, and never a time that is too short.
    (wait > 0).then(|| Duration::from_secs(wait.div_ceil(1000)))
}

#[cfg(test)]
mod tests;

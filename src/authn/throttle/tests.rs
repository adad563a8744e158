//! The throttle at chosen instants.

use super::*;
use proptest::prelude::*;
use std::hash::{BuildHasher as _, RandomState};

const ACCOUNT: Pace = Pace {
    tries: 10,
    interval: Duration::from_mins(5),
};
const SOURCE: Pace = Pace {
    tries: 100,
    interval: Duration::from_secs(30),
};

struct World {
    throttle: Throttle,
    start: Instant,
}

/// What came of some tries.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    admitted: usize,
    limit: Option<Limit>,
}

impl World {
    fn new() -> Self {
        Self::with(Some(SOURCE))
    }

    fn with(source: Option<Pace>) -> Self {
        let settings = Settings {
            account: ACCOUNT,
            source,
        };
        Self {
            throttle: Throttle::new(Live::fixed(settings), 1),
            start: Instant::now(),
        }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn admit(&self, it: &Try<'_>, seconds: u64) -> Result<Admitted, Throttled> {
        self.throttle.admit(it, self.at(seconds))
    }

    /// Wrong passwords until one is refused, `most` at most.
    fn fail(&self, it: &Try<'_>, seconds: u64, most: usize) -> Seen {
        for admitted in 0..most {
            if let Err(throttled) = self.admit(it, seconds) {
                let limit = Some(throttled.limit);
                return Seen { admitted, limit };
            }
        }
        Seen {
            admitted: most,
            limit: None,
        }
    }
}

fn seen(admitted: usize, limit: Limit) -> Seen {
    Seen {
        admitted,
        limit: Some(limit),
    }
}

fn source(text: &str) -> Source {
    Source::of(text.parse().unwrap())
}

/// A try by a stranger, from an address that nobody else uses.
fn stranger(name: &str) -> Try<'_> {
    Try {
        account: Account {
            name,
            uid: None,
            unlocks: 0,
        },
        source: source("192.0.2.1"),
        device: None,
        vouched: Vouched::No,
    }
}

/// The same at an account that there is.
fn jane(source: Source) -> Try<'static> {
    let mut it = stranger("jane");
    it.account.uid = Some("uid-1");
    it.source = source;
    it
}

const DEVICE: Device = Device {
    id: [7; 16],
    fresh: true,
};

// G6: so many tries at once, then one per interval, however many are made.
#[test]
fn a_bucket_takes_its_tries_and_then_one_per_interval() {
    let world = World::new();
    let it = stranger("jane");
    assert_eq!(world.fail(&it, 0, 50), seen(10, Limit::Account));
    let throttled = world.admit(&it, 0).err().unwrap();
    assert_eq!(throttled.wait, Duration::from_mins(5));
    assert!(world.admit(&it, 299).is_err());
    assert_eq!(world.fail(&it, 301, 50), seen(1, Limit::Account));
    // A day of trying every second.
    let admitted = (302..302 + 86_400).filter(|&at| world.admit(&it, at).is_ok());
    assert_eq!(admitted.count(), 288);
    // A bucket that was left alone is full again, and no fuller.
    assert_eq!(world.fail(&it, 1_000_000, 50), seen(10, Limit::Account));
}

// G6 (CVE-2025-6004, CVE-2025-24806): neither another address nor many tries at the same moment get around it.
#[test]
fn strangers_share_the_accounts_bucket_wherever_they_come_from() {
    let world = World::new();
    let admitted = (0..1000_u32).filter(|i| {
        let [.., c, d] = i.to_be_bytes();
        let mut it = stranger("jane");
        it.source = Source::of(IpAddr::from([10, 0, c, d]));
        world.admit(&it, 0).is_ok()
    });
    assert_eq!(admitted.count(), 10);
    let world = World::new();
    let admitted = std::thread::scope(|scope| {
        let tries = || {
            let it = stranger("jane");
            (0..100).filter(|_| world.admit(&it, 0).is_ok()).count()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(tries)).collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap())
            .sum::<usize>()
    });
    assert_eq!(admitted, 10);
}

// G6: a source that goes through accounts is slowed down too, and others are not.
#[test]
fn a_source_that_tries_many_accounts_runs_into_its_own_bucket() {
    let world = World::new();
    let names: Vec<String> = (0..200).map(|i| format!("user-{i}")).collect();
    let admitted = names
        .iter()
        .filter(|name| world.admit(&stranger(name), 0).is_ok());
    assert_eq!(admitted.count(), 100);
    let throttled = world.admit(&stranger("one-more"), 0).err().unwrap();
    assert_eq!(throttled.limit, Limit::Source);
    assert_eq!(throttled.wait, Duration::from_secs(30));
    let mut elsewhere = stranger("one-more");
    elsewhere.source = source("192.0.2.2");
    assert!(world.admit(&elsewhere, 0).is_ok());
}

#[test]
fn without_sources_only_accounts_are_counted() {
    let world = World::with(None);
    let names: Vec<String> = (0..1000).map(|i| format!("user-{i}")).collect();
    assert!(
        names
            .iter()
            .all(|name| world.admit(&stranger(name), 0).is_ok())
    );
    // A balancer's address is nobody's place.
    world
        .throttle
        .remember("uid-1", source("192.0.2.1"), world.at(0));
    let vouched = Try {
        vouched: Vouched::Yes,
        ..jane(source("192.0.2.1"))
    };
    assert!(world.admit(&vouched, 0).is_ok_and(|it| !it.is_known()));
}

// G6: the lockout that a stranger can cause keeps out strangers.
#[test]
fn a_device_that_was_there_before_gets_in_while_strangers_hammer() {
    let world = World::new();
    let attacker = jane(source("198.51.100.9"));
    assert_eq!(world.fail(&attacker, 0, 1000), seen(10, Limit::Account));
    let device = Try {
        device: Some(&DEVICE),
        ..jane(source("198.51.100.9"))
    };
    let admitted = world.admit(&device, 0).unwrap();
    assert!(admitted.is_known());
    // Its own mistakes count, and only for itself.
    assert_eq!(world.fail(&device, 0, 50), seen(9, Limit::Known));
    let other = Device {
        id: [8; 16],
        fresh: true,
    };
    let other = Try {
        device: Some(&other),
        ..device
    };
    assert!(world.admit(&other, 0).is_ok());
}

#[test]
fn a_place_of_a_former_login_gets_in_while_strangers_hammer() {
    let world = World::new();
    let (home, street) = (source("203.0.113.7"), source("198.51.100.9"));
    world.throttle.remember("uid-1", home, world.at(0));
    assert_eq!(world.fail(&jane(street), 1, 1000), seen(10, Limit::Account));
    assert!(world.admit(&jane(home), 1).is_ok_and(|it| it.is_known()));
    assert_eq!(world.fail(&jane(home), 1, 50), seen(9, Limit::Known));
    // It is a place of that account alone …
    let mut other = jane(home);
    other.account = Account {
        name: "bob",
        uid: Some("uid-2"),
        unlocks: 0,
    };
    assert!(world.admit(&other, 1).is_ok_and(|it| !it.is_known()));
    // … and not for ever.
    let month = 30 * 86_400;
    assert!(
        world
            .admit(&jane(home), month + 1)
            .is_ok_and(|it| !it.is_known())
    );
}

#[test]
fn an_account_has_a_few_places_the_last_ones() {
    let world = World::new();
    let places: Vec<Source> = (1..=6).map(|i| source(&format!("203.0.113.{i}"))).collect();
    for place in &places {
        world.throttle.remember("uid-1", *place, world.at(0));
    }
    let known = |place: Source| world.admit(&jane(place), 0).unwrap().is_known();
    let known: Vec<bool> = places.iter().map(|place| known(*place)).collect();
    assert_eq!(known, [false, false, true, true, true, true]);
}

// A thief who made proofs by the hundred has no more tries with them once the password is another.
#[test]
fn proofs_from_before_a_change_of_the_password_share_one_bucket() {
    let world = World::new();
    let admitted = (0..100).filter(|&i| {
        let device = Device {
            id: [i; 16],
            fresh: false,
        };
        let it = Try {
            device: Some(&device),
            ..jane(source("198.51.100.9"))
        };
        world.admit(&it, 0).is_ok()
    });
    assert_eq!(admitted.count(), 10);
    let stranger = jane(source("198.51.100.9"));
    assert!(
        world.admit(&stranger, 0).is_ok(),
        "which is not that of strangers"
    );
}

#[test]
fn what_is_forgiven_was_never_charged() {
    let world = World::new();
    let it = jane(source("192.0.2.1"));
    for _ in 0..1000 {
        let admitted = world.admit(&it, 0).unwrap();
        world.throttle.forgive(&admitted);
    }
    assert_eq!(world.fail(&it, 0, 50), seen(10, Limit::Account));
    let device = Try {
        device: Some(&DEVICE),
        ..it
    };
    for _ in 0..1000 {
        let admitted = world.admit(&device, 0).unwrap();
        world.throttle.forgive(&admitted);
    }
    assert_eq!(world.fail(&device, 0, 50), seen(10, Limit::Known));
}

#[test]
fn an_unlock_begins_every_bucket_of_the_account_anew_and_no_other() {
    let world = World::new();
    let mut it = jane(source("192.0.2.1"));
    assert_eq!(world.fail(&it, 0, 50), seen(10, Limit::Account));
    assert_eq!(
        world.fail(&stranger("bob"), 0, 50),
        seen(10, Limit::Account)
    );
    assert!(world.throttle.kept_from(&it.account, world.at(0)).is_some());
    it.account.unlocks = 1;
    assert_eq!(world.throttle.kept_from(&it.account, world.at(0)), None);
    assert_eq!(world.fail(&it, 0, 50), seen(10, Limit::Account));
    assert!(world.admit(&stranger("bob"), 0).is_err());
}

#[test]
fn a_source_that_an_admin_vouches_for_is_no_stranger() {
    let world = World::new();
    let street = source("198.51.100.9");
    assert_eq!(world.fail(&jane(street), 0, 50), seen(10, Limit::Account));
    let it = Try {
        vouched: Vouched::Yes,
        ..jane(street)
    };
    assert_eq!(world.fail(&it, 0, 50), seen(10, Limit::Known));
    // Nobody can vouch for what does not exist.
    let nobody = Try {
        vouched: Vouched::Yes,
        ..stranger("jane")
    };
    assert!(world.admit(&nobody, 0).is_err());
}

#[test]
fn guesses_of_the_present_password_by_its_own_user_are_counted_apart() {
    let world = World::new();
    let account = jane(source("192.0.2.1")).account;
    let admitted = (0..50).filter(|_| world.throttle.admit_change(&account, world.at(0)).is_ok());
    assert_eq!(admitted.count(), 10);
    assert!(world.admit(&jane(source("192.0.2.1")), 0).is_ok());
}

// G6: made-up names neither push a record out nor fill the space: what strangers can have admitted in an
// interval is bounded by the hashes that can be computed in it.
#[test]
fn a_flood_of_made_up_names_frees_nobody_and_throttles_hardly_anybody() {
    // Names share counters by chance, under a secret of each process: now and then the flood costs somebody
    // one of the two tries that two intervals give back. It never gives one more.
    const WORLDS: usize = 4;
    let mut given_back = 0;
    for _ in 0..WORLDS {
        let world = World::with(None);
        assert_eq!(
            world.fail(&stranger("jane"), 0, 50),
            seen(10, Limit::Account)
        );
        // Fifty a second, for ten minutes: one core at its fastest.
        for i in 0..30_000 {
            let name = format!("made up {i}");
            assert!(world.admit(&stranger(&name), i / 50).is_ok(), "{name}");
        }
        let again = world.fail(&stranger("jane"), 600, 50);
        assert!(again.admitted <= 2, "{again:?}");
        given_back += again.admitted;
        let people: Vec<String> = (0..2_000).map(|i| format!("person {i}")).collect();
        assert!(
            people
                .iter()
                .all(|name| world.admit(&stranger(name), 600).is_ok())
        );
    }
    assert!(given_back >= WORLDS, "{given_back} of {}", 2 * WORLDS);
}

#[test]
fn sources_are_addresses_and_the_first_half_of_ipv6_ones() {
    for (one, other, same) in [
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.2", false),
        ("192.0.2.1", "::ffff:192.0.2.1", true),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
        // An IPv4 address is no IPv6 network.
        ("192.0.2.1", "::192.0.2.1", false),
    ] {
        assert_eq!(source(one) == source(other), same, "{one} {other}");
    }
}

fn key_parts() -> impl Strategy<Value = (u8, String, u64, u8)> {
    // Few letters, so that parts that run into each other are tried.
    (0..6_u8, "[ab]{0,3}", 0..3_u64, 0..3_u8)
}

fn key((kind, who, unlocks, last): &(u8, String, u64, u8)) -> Key<'_> {
    let account = Unlocked {
        who,
        unlocks: *unlocks,
    };
    let place = Source::of(IpAddr::from([192, 0, 2, *last]));
    match kind {
        0 => Key::Account(account),
        1 => Key::Source(place),
        2 => Key::Device(account, [*last; 16]),
        3 => Key::OldDevices(account),
        4 => Key::Place(account, place),
        _ => Key::Change(account),
    }
}

proptest! {
    // T4 (CVE-2026-33496, CVE-2026-71326): two keys are one bucket only if they are the same in every part.
    #[test]
    fn keys_collide_only_if_they_are_equal(one in key_parts(), other in key_parts()) {
        let (one, other) = (key(&one), key(&other));
        let secret = RandomState::new();
        prop_assert_eq!(secret.hash_one(one) == secret.hash_one(other), one == other);
        let sketch = Sketch::new(1 << 20);
        prop_assert_eq!(sketch.cells(&one) == sketch.cells(&other), one == other);
    }

    // GCRA against a plain account of what was admitted: never more than the tries and those that came back.
    #[test]
    fn never_more_is_admitted_than_a_plain_count_allows(steps in proptest::collection::vec(0..400_u64, 1..200)) {
        let world = World::with(None);
        let it = stranger("jane");
        let mut now = 0;
        let mut admitted = Vec::new();
        for step in steps {
            now += step;
            if world.admit(&it, now).is_ok() {
                admitted.push(now);
            }
            for (index, since) in admitted.iter().enumerate() {
                let within = u64::try_from(admitted.len() - index).unwrap();
                prop_assert!(within <= 10 + (now - since) / 300 + 1);
            }
        }
    }
}

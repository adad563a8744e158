//! What is still to be done on a cluster, and when: the order, the pace, the pauses.
//!
//! Guarantees: at most one action on an object at a time; a phase that others rest on is over before they
//! begin; at most one write at a time of the pace that is configured, however much there is to do.
//!
//! What could go wrong: an object that cannot be written (its own tries become rare, the others go on), a
//! cluster that cannot take anything at the moment (everything waits), somebody who undoes every write (from
//! the sixth on the object is left alone for longer and longer).

use super::{book::Phase, content::Key};
use crate::{clusters::keeper::share, config::live::Live, status::clock};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};
use tokio::time::Instant;

/// First pause of an object that was refused: mostly an authoriser that has not heard of a rule yet.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Longest pause of an object that is refused again and again.
const RETRY_MAX: Duration = Duration::from_mins(5);
/// First and longest pause of a whole cluster that takes nothing.
const REST_FIRST: Duration = Duration::from_millis(500);
/// See [`REST_FIRST`].
const REST_MAX: Duration = Duration::from_secs(30);
/// So often an object is put back within [`COOL`] before that is slowed down. What policy changes is written at
/// once, however often: a shard of groups has a write for every project.
const WARM: u32 = 5;
/// Longest pause of an object that somebody else writes too.
const HOT_MAX: Duration = Duration::from_mins(1);
/// An object that was left alone for so long is written at once again.
const COOL: Duration = Duration::from_mins(10);
/// Bound on what is remembered of writes.
const REMEMBERED: usize = 50_000;

/// One object that differs from what is wanted.
pub(super) struct Waiting {
    phase: Phase,
    number: u64,
    not_before: Instant,
    tries: u32,
    drift: bool,
    /// Since when it differs.
    pub(super) since: Timestamp,
    /// Why the last try failed.
    pub(super) why: Option<String>,
}

/// An action that was begun.
struct Begun {
    phase: Phase,
    waiting: Waiting,
}

/// Writes of one object that undid what somebody else had changed.
struct Heat {
    writes: u32,
    last: Instant,
}

/// See the module.
pub(super) struct Queue {
    waiting: BTreeMap<Key, Waiting>,
    begun: HashMap<Key, Begun>,
    heat: HashMap<Key, Heat>,
    next_write: Instant,
    rest: Duration,
    numbers: u64,
    /// Between two writes: evenly, so that something urgent never waits longer than this for its turn.
    pace: Live<Duration>,
}

/// Why an object is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Policy, or what is known of the cluster as a whole, has changed.
    Policy,
    /// It has changed on the cluster, while it was as it should be.
    Drift,
}

impl Queue {
    /// An empty one.
    pub(super) fn new(now: Instant, pace: Live<Duration>) -> Self {
        Self {
            waiting: BTreeMap::new(),
            begun: HashMap::new(),
            heat: HashMap::new(),
            next_write: now,
            rest: REST_FIRST,
            numbers: 0,
            pace,
        }
    }

    /// How many objects differ.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.begun.len()
    }

    /// Those that wait, in the order of their names.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&Key, &Waiting)> {
        self.waiting.iter()
    }

    /// Whether something is being done about an object.
    pub(super) fn has_begun(&self, key: &Key) -> bool {
        self.begun.contains_key(key)
    }

    /// Whether an object waits, or something is being done about it.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.waiting.contains_key(key) || self.has_begun(key)
    }

    /// Whether every object that differs was tried, and failed.
    pub(super) fn is_stuck(&self) -> bool {
        self.begun.is_empty() && self.waiting.values().all(|it| it.why.is_some())
    }

    /// An object differs. Whether that is new.
    pub(super) fn want(&mut self, key: &Key, phase: Phase, cause: Cause, now: Instant) -> bool {
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.phase = phase;
            return false;
        }
        self.numbers += 1;
        let waiting = Waiting {
            phase,
            number: self.numbers,
            not_before: match cause {
                Cause::Policy => now,
                Cause::Drift => now + self.cooling(key, now),
            },
            tries: 0,
            drift: cause == Cause::Drift,
            since: clock::now(),
            why: None,
        };
        self.waiting.insert(key.clone(), waiting);
        true
    }

    /// An object is as it should be.
    pub(super) fn settle(&mut self, key: &Key) {
        self.waiting.remove(key);
    }

    /// What was refused may be taken now.
    pub(super) fn hurry(&mut self, now: Instant) {
        for waiting in self.waiting.values_mut().filter(|it| it.tries > 0) {
            waiting.not_before = now;
            waiting.tries = 0;
        }
    }

    /// The most urgent object that something can be done about now.
    pub(super) fn next(&self, now: Instant) -> Option<Key> {
        if now < self.next_write {
            return None;
        }
        let due = self.waiting.iter().filter(|(_, it)| it.not_before <= now);
        let (key, first) = due.min_by_key(|(_, it)| (it.phase, it.number))?;
        self.may_begin(first.phase).then(|| key.clone())
    }

    /// A phase that rests on others waits until what was begun of them is over.
    fn may_begin(&self, phase: Phase) -> bool {
        let free = |phase| (Phase::Fresh..=Phase::Rest).contains(&phase);
        let before = |begun: &Begun| begun.phase < phase && !(free(begun.phase) && free(phase));
        !self.begun.values().any(before)
    }

    /// When there may be something to do. What was begun wakes the caller by its end.
    pub(super) fn wake(&self) -> Option<Instant> {
        let first = self.waiting.values().map(|it| it.not_before).min()?;
        Some(first.max(self.next_write))
    }

    /// Something is done about a waiting object.
    pub(super) fn begin(&mut self, key: &Key, now: Instant) {
        let Some(waiting) = self.waiting.remove(key) else {
            return;
        };
        self.next_write = now + self.pace.get();
        if waiting.drift {
            self.warm(key, now);
        }
        let phase = waiting.phase;
        self.begun.insert(key.clone(), Begun { phase, waiting });
    }

    /// It was done. Whether it put something back that somebody had changed.
    pub(super) fn succeeded(&mut self, key: &Key) -> bool {
        self.rest = REST_FIRST;
        self.begun
            .remove(key)
            .is_some_and(|begun| begun.waiting.drift)
    }

    /// It was refused: this object waits, the others go on. How often it was tried.
    pub(super) fn failed(&mut self, key: &Key, why: String, now: Instant) -> u32 {
        let Some(Begun { mut waiting, .. }) = self.begun.remove(key) else {
            return 0;
        };
        let pause = RETRY_FIRST.saturating_mul(1 << waiting.tries.min(16));
        waiting.not_before = now + share(pause.min(RETRY_MAX), 800, 1200);
        waiting.tries = waiting.tries.saturating_add(1);
        waiting.why = Some(why);
        let tries = waiting.tries;
        // A failed try has put nothing back.
        if waiting.drift
            && let Some(heat) = self.heat.get_mut(key)
        {
            heat.writes = heat.writes.saturating_sub(1);
        }
        self.waiting.insert(key.clone(), waiting);
        tries
    }

    /// The cluster takes nothing at the moment: everything waits.
    pub(super) fn rest(&mut self, now: Instant) {
        self.next_write = now + share(self.rest, 800, 1200);
        self.rest = (self.rest * 2).min(REST_MAX);
    }

    /// What somebody else had changed is put back.
    fn warm(&mut self, key: &Key, now: Instant) {
        if self.heat.len() >= REMEMBERED {
            self.heat.retain(|_, heat| now - heat.last < COOL);
        }
        let heat = self.heat.entry(key.clone()).or_insert(Heat {
            writes: 0,
            last: now,
        });
        if now - heat.last > COOL {
            heat.writes = 0;
        }
        heat.writes = heat.writes.saturating_add(1);
        heat.last = now;
    }

    /// How long an object is left alone that was put back again and again.
    fn cooling(&self, key: &Key, now: Instant) -> Duration {
        match self.heat.get(key) {
            Some(heat) if heat.writes >= WARM && now - heat.last < COOL => {
                let times = 1 << (heat.writes - WARM).min(6);
                Duration::from_secs(times).min(HOT_MAX)
            }
            Some(_) | None => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty a second.
    const PACE: Duration = Duration::from_millis(50);

    fn key(name: &str) -> Key {
        Key::Binding("shop".into(), name.into())
    }

    fn filled(keys: &[(&str, Phase)]) -> (Queue, Instant) {
        let now = Instant::now();
        let mut queue = Queue::new(now, Live::fixed(PACE));
        for (name, phase) in keys {
            assert!(queue.want(&key(name), *phase, Cause::Policy, now));
        }
        (queue, now)
    }

    /// Does everything as soon as it may be done; when each was begun.
    fn drain(queue: &mut Queue, mut now: Instant) -> Vec<(String, Instant)> {
        let mut order = Vec::new();
        while let Some(at) = queue.wake() {
            now = now.max(at);
            let next = queue.next(now).expect("something is due when it says so");
            queue.begin(&next, now);
            assert!(!queue.succeeded(&next));
            order.push((next.name().to_owned(), now));
        }
        order
    }

    #[test]
    fn urgent_things_come_first_and_others_in_the_order_they_came() {
        let (mut queue, now) = filled(&[
            ("rest-b", Phase::Rest),
            ("rest-a", Phase::Rest),
            ("tail", Phase::Tail),
            ("fresh", Phase::Fresh),
            ("roles", Phase::Roles),
            ("away", Phase::Away),
            ("grow", Phase::Grow),
        ]);
        let order = drain(&mut queue, now);
        let names: Vec<&str> = order.iter().map(|(name, _)| name.as_str()).collect();
        let wanted = ["grow", "roles", "fresh", "away", "rest-b", "rest-a", "tail"];
        assert_eq!(names, wanted);
    }

    #[test]
    fn no_second_has_more_than_twenty_writes() {
        let names: Vec<String> = (0..100).map(|number| format!("n{number}")).collect();
        let keys: Vec<(&str, Phase)> = names.iter().map(|it| (it.as_str(), Phase::Rest)).collect();
        let (mut queue, now) = filled(&keys);
        let order = drain(&mut queue, now);
        assert_eq!(order.len(), 100);
        for window in order.windows(21) {
            let [(_, first), .., (_, last)] = window else {
                panic!("21 of them")
            };
            assert!(*last - *first >= Duration::from_secs(1));
        }
    }

    #[test]
    fn what_rests_on_something_waits_until_it_is_done() {
        let (mut queue, now) = filled(&[("roles", Phase::Roles), ("fresh", Phase::Fresh)]);
        queue.begin(&key("roles"), now);
        let later = now + PACE;
        assert_eq!(queue.next(later), None);
        queue.succeeded(&key("roles"));
        assert_eq!(queue.next(later), Some(key("fresh")));
        // Bindings rest on nothing of each other.
        queue.begin(&key("fresh"), later);
        assert!(queue.want(&key("rest"), Phase::Rest, Cause::Policy, later));
        assert_eq!(queue.next(later + PACE), Some(key("rest")));
    }

    #[test]
    fn a_refused_object_waits_longer_each_time_and_holds_nobody_up() {
        let (mut queue, mut now) = filled(&[("bad", Phase::Roles), ("good", Phase::Rest)]);
        let mut last = Duration::ZERO;
        for round in 0..20 {
            let at = queue.waiting[&key("bad")].not_before;
            let pause = at.saturating_duration_since(now);
            assert!(pause <= RETRY_MAX * 12 / 10, "{pause:?}");
            assert!(
                round < 2 || pause > last || pause > RETRY_MAX * 7 / 10,
                "{pause:?}"
            );
            last = pause;
            if round == 1 {
                assert_eq!(queue.next(now + PACE), Some(key("good")));
            }
            now = at.max(now + PACE);
            queue.begin(&key("bad"), now);
            queue.failed(&key("bad"), "no".to_owned(), now);
        }
        assert_eq!(queue.waiting[&key("bad")].why.as_deref(), Some("no"));
        queue.hurry(now);
        assert!(queue.waiting[&key("bad")].not_before <= now);
    }

    #[test]
    fn a_cluster_that_takes_nothing_is_left_alone_for_longer_and_longer() {
        let (mut queue, now) = filled(&[("a", Phase::Rest)]);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            queue.rest(now);
            pauses.push(queue.wake().unwrap() - now);
        }
        assert!(pauses[0] < Duration::from_secs(1), "{pauses:?}");
        assert!(pauses[9] >= REST_MAX * 8 / 10 && pauses[9] <= REST_MAX * 12 / 10);
        queue.begin(&key("a"), now);
        queue.succeeded(&key("a"));
        queue.rest(now);
        queue.want(&key("a"), Phase::Rest, Cause::Policy, now);
        assert!(queue.wake().unwrap() - now < Duration::from_secs(1));
    }

    #[test]
    fn who_undoes_every_write_is_answered_ever_more_slowly() {
        let mut now = Instant::now();
        let mut queue = Queue::new(now, Live::fixed(PACE));
        let mut pauses = Vec::new();
        for _ in 0..14 {
            queue.want(&key("a"), Phase::Rest, Cause::Drift, now);
            let at = queue.wake().unwrap().max(now + PACE);
            pauses.push(at - now);
            now = at;
            queue.begin(&key("a"), now);
            assert!(queue.succeeded(&key("a")), "it counts as drift");
        }
        assert!(pauses[..5].iter().all(|pause| *pause <= PACE), "{pauses:?}");
        assert!(pauses[6] >= Duration::from_secs(1), "{pauses:?}");
        assert_eq!(pauses[13], HOT_MAX, "{pauses:?}");
        now += COOL * 2;
        queue.want(&key("a"), Phase::Rest, Cause::Drift, now);
        assert_eq!(queue.next(now), Some(key("a")));
    }

    #[test]
    fn what_policy_changes_again_and_again_is_written_at_once() {
        let mut now = Instant::now();
        let mut queue = Queue::new(now, Live::fixed(PACE));
        for _ in 0..30 {
            queue.want(&key("a"), Phase::Groups, Cause::Policy, now);
            assert_eq!(queue.next(now), Some(key("a")));
            queue.begin(&key("a"), now);
            assert!(!queue.succeeded(&key("a")));
            now += PACE;
        }
    }
}

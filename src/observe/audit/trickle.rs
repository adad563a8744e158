//! How many lines strangers may cause.
//!
//! Whoever reaches the gateway can send requests that are refused, as many as the line carries. Their lines
//! must neither fill the disk nor push out of the rotated files what people did: so a burst is let through,
//! and then one a second. The next line that is let through says how many were not.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Lines at once: a person's mistakes, or the first minute of an attack.
const BURST: u64 = 100;
/// Then one in this time: under 100 MB a day.
const EVERY: Duration = Duration::from_secs(1);

/// A bucket of one atomic (the generic cell rate algorithm).
pub(super) struct Trickle {
    began: Instant,
    /// Milliseconds after `began` at which the bucket will be full again.
    full_at: AtomicU64,
    left_out: AtomicU64,
}

impl Trickle {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            full_at: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// Takes one, if there is room for it elsewhere: the number that was left out since the last. None:
    /// this one is left out too.
    pub(super) fn take(&self, room: bool) -> Option<u64> {
        self.take_at(self.began.elapsed(), room)
    }

    fn take_at(&self, now: Duration, room: bool) -> Option<u64> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (now, every) = (millis(now), millis(EVERY));
        let next = |full_at: u64| {
            let next = full_at.max(now) + every;
            (next <= now + BURST * every).then_some(next)
        };
        if room && self.full_at.fetch_update(Relaxed, Relaxed, next).is_ok() {
            return Some(self.left_out.swap(0, Relaxed));
        }
        self.left_out.fetch_add(1, Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // T8: a flood of requests without a credential.
    #[test]
    fn a_burst_passes_then_one_a_second_which_tells_of_the_others() {
        let trickle = Trickle::new();
        let start = Duration::from_secs(1000);
        for _ in 0..BURST {
            assert_eq!(trickle.take_at(start, true), Some(0));
        }
        for _ in 0..500 {
            assert_eq!(trickle.take_at(start, true), None);
        }
        assert_eq!(trickle.take_at(start + EVERY, true), Some(500));
        assert_eq!(trickle.take_at(start + EVERY, true), None);
        // What has no room elsewhere takes nothing from the others.
        let later = start + 10 * EVERY;
        assert_eq!(trickle.take_at(later, false), None);
        assert_eq!(trickle.take_at(later, true), Some(2));
        // A quiet night fills the bucket, and no more than that.
        let night = Duration::from_hours(9);
        let passed = (0..1000).filter(|_| trickle.take_at(night, true).is_some());
        assert_eq!(passed.count(), 100);
    }
}

//! How often something may be done by one source or one person: so many times at once, then one per interval, in a
//! space of fixed size that no stranger can fill or empty ([`super::sketch`]).

use super::{
    Pace,
    sketch::{Cells, Millis, Sketch},
    wait,
};
use std::{
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// 256 KiB: a thousand keys at the same moment share all of their cells with others hardly ever.
const COLUMNS: usize = 8 * 1024;

/// Counts one thing.
pub struct Rate {
    started: Instant,
    pace: Pace,
    sketch: Mutex<Sketch>,
}

/// What was charged. Dropping it leaves the charge.
#[must_use]
pub struct Charge(Cells);

impl Rate {
    /// A rate that has seen nothing.
    pub fn new(pace: Pace) -> Self {
        Self {
            started: Instant::now(),
            pace,
            sketch: Mutex::new(Sketch::new(COLUMNS)),
        }
    }

    /// A rate of one thing, whoever does it: it needs no space for keys.
    pub fn of_all(pace: Pace) -> Self {
        Self {
            started: Instant::now(),
            pace,
            sketch: Mutex::new(Sketch::new(1)),
        }
    }

    /// Charges one more, or says how long none is taken; to the second, at least one.
    pub fn admit(&self, key: &impl Hash, now: Instant) -> Result<Charge, Duration> {
        let at = now.saturating_duration_since(self.started).as_millis();
        let at = Millis::try_from(at).unwrap_or(Millis::MAX);
        let mut sketch = self.sketch.lock().unwrap_or_else(PoisonError::into_inner);
        let cells = sketch.cells(key);
        if let Some(wait) = wait(sketch.time(&cells), self.pace, at) {
            return Err(wait);
        }
        sketch.delay(&cells, at, self.pace.charge());
        Ok(Charge(cells))
    }

    /// Gives a charge back: it was not one of those that are counted.
    pub fn forgive(&self, charge: &Charge) {
        let mut sketch = self.sketch.lock().unwrap_or_else(PoisonError::into_inner);
        sketch.hasten(&charge.0, self.pace.charge());
    }

    /// The same for a charge of an earlier request. What was charged on another replica is given back here: it was
    /// proven not to be one of those that are counted, so nobody has more than they prove.
    pub fn forgive_one(&self, key: &impl Hash) {
        let mut sketch = self.sketch.lock().unwrap_or_else(PoisonError::into_inner);
        let cells = sketch.cells(key);
        sketch.hasten(&cells, self.pace.charge());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_then_one_per_interval_for_each_key() {
        let rate = Rate::new(Pace {
            tries: 3,
            interval: Duration::from_secs(10),
        });
        let now = Instant::now();
        for _ in 0..3 {
            assert!(rate.admit(&"jane", now).is_ok());
        }
        let wait = rate.admit(&"jane", now).err().unwrap();
        assert!((9..=10).contains(&wait.as_secs()), "{wait:?}");
        assert!(rate.admit(&"john", now).is_ok());
        let later = now + Duration::from_secs(10);
        let charge = rate.admit(&"jane", later).ok().unwrap();
        assert!(rate.admit(&"jane", later).is_err());
        rate.forgive(&charge);
        assert!(rate.admit(&"jane", later).is_ok());
        assert!(rate.admit(&"jane", later).is_err());
        rate.forgive_one(&"jane");
        assert!(rate.admit(&"jane", later).is_ok());
        assert!(rate.admit(&"jane", later).is_err());
    }

    #[test]
    fn a_rate_of_all_counts_whoever_comes() {
        let rate = Rate::of_all(Pace {
            tries: 2,
            interval: Duration::from_secs(10),
        });
        let now = Instant::now();
        assert!(rate.admit(&"jane", now).is_ok());
        assert!(rate.admit(&"john", now).is_ok());
        assert!(rate.admit(&"jim", now).is_err());
    }
}

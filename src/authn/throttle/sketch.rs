//! Times under keys in a space of fixed size: what a throttle needs and no attacker can fill or empty.
//!
//! A count-min sketch (Cormode and Muthukrishnan, 2005) whose cells hold GCRA's theoretical arrival times
//! (ITU-T I.371). A key has one cell in each row and its time is the least of the four. Keys that share a
//! cell make each other's times later, never earlier, and nothing is ever taken out to make room: whoever
//! asks under a million made-up names makes nobody's failures forgotten, their own included. The other way
//! round, a key seems later than it is only if all of its cells are shared with keys that are; which cells a
//! key has is decided by a secret of the process.

use std::hash::{BuildHasher as _, Hash, RandomState};

/// Rows: a key that shares a cell with another in all of four is rarer than one in a thousand even where a
/// sixth of all cells is taken.
pub(super) const ROWS: usize = 4;

/// Milliseconds since the throttle was made.
pub(super) type Millis = u64;

/// The cells of one key.
pub(super) type Cells = [usize; ROWS];

pub(super) struct Sketch {
    secret: RandomState,
    columns: usize,
    /// Row after row.
    times: Box<[Millis]>,
}

impl Sketch {
    /// A sketch of `columns` cells a row; each cell takes eight bytes.
    pub(super) fn new(columns: usize) -> Self {
        let columns = columns.max(1);
        Self {
            secret: RandomState::new(),
            columns,
            times: vec![0; ROWS * columns].into(),
        }
    }

    /// Where a key's times are.
    pub(super) fn cells(&self, key: &impl Hash) -> Cells {
        std::array::from_fn(|row| {
            let hash = self.secret.hash_one((row, key));
            let columns = u64::try_from(self.columns).unwrap_or(u64::MAX);
            // Below `columns`, so it fits.
            row * self.columns + usize::try_from(hash % columns).unwrap_or_default()
        })
    }

    /// The key's time, or a later one.
    pub(super) fn time(&self, cells: &Cells) -> Millis {
        let times = cells.iter().filter_map(|&cell| self.times.get(cell));
        times.copied().min().unwrap_or_default()
    }

    /// Moves the key's time `by` later, from `now` if it has passed.
    pub(super) fn delay(&mut self, cells: &Cells, now: Millis, by: Millis) {
        for &cell in cells {
            if let Some(time) = self.times.get_mut(cell) {
                *time = (*time).max(now).saturating_add(by);
            }
        }
    }

    /// Takes one [`Sketch::delay`] back.
    pub(super) fn hasten(&mut self, cells: &Cells, by: Millis) {
        for &cell in cells {
            if let Some(time) = self.times.get_mut(cell) {
                *time = time.saturating_sub(by);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_delayed_is_never_forgotten_whatever_else_is_written() {
        let mut sketch = Sketch::new(64);
        let jane = sketch.cells(&"jane");
        sketch.delay(&jane, 0, 500);
        for i in 0..100_000 {
            let other = sketch.cells(&format!("made up {i}"));
            sketch.delay(&other, 0, 1);
        }
        assert!(sketch.time(&jane) >= 500);
    }

    // What random names cost others: the bound in the throttle's own comment rests on this.
    #[test]
    fn a_sixth_of_the_cells_delays_hardly_anybody_else() {
        let mut sketch = Sketch::new(1 << 14);
        for i in 0..(1 << 14) / 6 {
            let other = sketch.cells(&format!("made up {i}"));
            sketch.delay(&other, 0, 1000);
        }
        let delayed = (0..10_000).filter(|i| {
            let cells = sketch.cells(&format!("person {i}"));
            sketch.time(&cells) > 0
        });
        let delayed = delayed.count();
        assert!(delayed < 20, "{delayed} of 10,000");
    }

    #[test]
    fn a_delay_that_is_taken_back_leaves_nothing() {
        let mut sketch = Sketch::new(64);
        let cells = sketch.cells(&"jane");
        for now in [5, 7, 9] {
            sketch.delay(&cells, now, 100);
        }
        for _ in 0..3 {
            sketch.hasten(&cells, 100);
        }
        assert!(sketch.time(&cells) <= 9);
    }
}

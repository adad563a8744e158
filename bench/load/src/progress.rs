//! How far a run is, and how long it will still take.

use std::{cell::Cell, time::Instant};

/// Until so much was done, what was planned is trusted more than what was measured (seconds).
const TRUST: f64 = 45.0;

/// Steps of a run, each with the seconds that it was planned to take.
pub struct Progress {
    began: Instant,
    planned: f64,
    done: Cell<f64>,
    now: Cell<f64>,
}

impl Progress {
    /// A run that is planned to take so many seconds.
    pub fn new(planned: f64) -> Self {
        Self {
            began: Instant::now(),
            planned,
            done: Cell::new(0.0),
            now: Cell::new(0.0),
        }
    }

    /// The next step begins, so the last one has ended; prints a line.
    pub fn step(&self, what: &str, seconds: f64) {
        self.done.set(self.done.get() + self.now.replace(seconds));
        let elapsed = self.began.elapsed().as_secs_f64();
        let left = left(self.planned, self.done.get(), elapsed);
        eprintln!("{} done, {} left: {what}", clock(elapsed), clock(left));
    }

    /// Seconds since the beginning.
    pub fn elapsed(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

/// What is left of the plan, stretched as the part that is done was.
fn left(planned: f64, done: f64, elapsed: f64) -> f64 {
    let stretch = (elapsed + TRUST) / (done + TRUST);
    (planned - done).max(0.0) * stretch
}

fn clock(seconds: f64) -> String {
    let seconds = seconds as u64;
    format!("{:2}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_stretched_as_what_was_done() {
        assert!((left(1000.0, 0.0, 0.0) - 1000.0).abs() < 1e-9);
        // Twice as slow as planned: nearly twice the rest.
        let found = left(1000.0, 500.0, 1000.0);
        assert!((950.0..1000.0).contains(&found), "{found}");
        assert!(left(100.0, 120.0, 120.0).abs() < 1e-9);
        assert_eq!(clock(125.9), " 2:05");
    }
}

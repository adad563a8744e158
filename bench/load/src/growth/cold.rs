//! What a read costs that no cache holds: the large store's requests wait for a dozen of them, and how long that is differs
//! by a factor of four from one machine, and from one hour of a shared one, to the next.

use std::time::Instant;

/// A cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(u32);

/// Lines: 128 MiB, in pages of 4 KiB.
const LINES: usize = 2 << 20;
/// Reads of one measurement.
const READS: u32 = 300_000;

/// Lines, each of which names the next to be read, in one circle.
pub struct Chase {
    lines: Vec<Line>,
    at: u32,
}

impl Chase {
    /// Lines in a random order.
    pub fn new() -> Self {
        let mut lines: Vec<Line> = (0..LINES as u32).map(Line).collect();
        // Sattolo: one circle through all of them.
        for at in (1..LINES).rev() {
            lines.swap(at, fastrand::usize(..at));
        }
        Self { lines, at: 0 }
    }

    /// Nanoseconds of a read.
    pub fn read(&mut self) -> f64 {
        let began = Instant::now();
        for _ in 0..READS {
            self.at = self.lines[self.at as usize].0;
        }
        began.elapsed().as_nanos() as f64 / f64::from(std::hint::black_box(READS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lines_are_in_one_circle() {
        let chase = Chase::new();
        let mut at = chase.lines[0].0;
        let mut seen = 1;
        while at != 0 {
            at = chase.lines[at as usize].0;
            seen += 1;
        }
        assert_eq!(seen, LINES);
    }
}

//! A generator whose whole state is its seed (SplitMix64), so that a printed seed repeats a run.

pub(super) struct Random(u64);

/// A seed that nobody chose.
pub(super) fn from_the_clock() -> u64 {
    let now = palisade::status::clock::now().as_nanosecond();
    u64::try_from(now & i128::from(u64::MAX >> 1)).unwrap()
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    /// True in so many of a hundred cases.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// `from` to `to` entries, some perhaps twice.
    pub(super) fn some(&mut self, of: &[&str], from: usize, to: usize) -> Vec<String> {
        let number = from + self.below(to - from + 1);
        (0..number).map(|_| self.pick(of).to_owned()).collect()
    }
}

//! A set of small numbers (roles, clusters), as bits.

use smallvec::SmallVec;

const WORD: u32 = 64;

/// Inline up to 128 members' numbers; the words are as many as the highest member needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits(SmallVec<[u64; 2]>);

impl Bits {
    pub(super) fn insert(&mut self, member: u32) {
        let word = word_of(member);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(bits) = self.0.get_mut(word) {
            *bits |= mask(member);
        }
    }

    pub(super) fn remove(&mut self, member: u32) {
        if let Some(bits) = self.0.get_mut(word_of(member)) {
            *bits &= !mask(member);
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    pub(super) fn contains(&self, member: u32) -> bool {
        self.0
            .get(word_of(member))
            .is_some_and(|bits| bits & mask(member) != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lowest common member.
    pub(super) fn first_common(&self, other: &Self) -> Option<u32> {
        self.common(other).next()
    }

    /// The common members, lowest first.
    pub(super) fn common<'b>(&'b self, other: &'b Self) -> impl Iterator<Item = u32> + 'b {
        let words = self.0.iter().zip(&other.0).zip(0_u32..);
        words.flat_map(|((ours, theirs), word)| members(ours & theirs, word))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let words = self.0.iter().zip(0_u32..);
        words.flat_map(|(&bits, word)| members(bits, word))
    }
}

impl FromIterator<u32> for Bits {
    fn from_iter<I: IntoIterator<Item = u32>>(members: I) -> Self {
        let mut bits = Self::default();
        for member in members {
            bits.insert(member);
        }
        bits
    }
}

/// The members that one word says.
fn members(mut bits: u64, word: u32) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        if bits == 0 {
            return None;
        }
        let bit = bits.trailing_zeros();
        bits &= bits - 1;
        Some(word * WORD + bit)
    })
}

fn word_of(member: u32) -> usize {
    usize::try_from(member / WORD).unwrap_or(usize::MAX)
}

fn mask(member: u32) -> u64 {
    1 << (member % WORD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_and_go() {
        let mut bits: Bits = [3, 64, 200].into_iter().collect();
        assert_eq!(bits.iter().collect::<Vec<_>>(), [3, 64, 200]);
        assert!(bits.contains(64) && !bits.contains(65) && !bits.contains(9999));
        bits.remove(200);
        bits.remove(9999);
        assert_eq!(bits.iter().collect::<Vec<_>>(), [3, 64]);
        let other: Bits = [64, 1000].into_iter().collect();
        assert_eq!(bits.first_common(&other), Some(64));
        assert_eq!(other.first_common(&bits), Some(64));
        bits.remove(64);
        assert_eq!(bits.first_common(&other), None);
        bits.remove(3);
        assert!(bits.is_empty());
    }
}

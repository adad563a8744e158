//! A map whose copies share what they do not change.
//!
//! 4,096 small hash tables under a tree of two levels: a change to a shared map copies one branch of each
//! level and one table (with a million entries some 250 of them), whatever the size. Readers pay two more
//! loads. A map that nobody shares is changed in place.

use hashbrown::HashTable;
use std::sync::Arc;

/// Children of a node; 64 × 64 tables keep a table at some 250 entries with a million in all.
const FAN: usize = 64;
/// Bits of the hash that pick a child. The tables themselves use the lowest and the top seven bits.
const FAN_BITS: u32 = 6;
const FIRST_BIT: u32 = 40;

type Shard<E> = HashTable<E>;
type Branch<E> = [Arc<Shard<E>>; FAN];

/// The map. Keys are inside the entries; callers bring the hash and the comparison. Hashes are not kept: of a million
/// entries that would be a third of what the map takes.
pub(super) struct ShardMap<E> {
    root: Arc<[Arc<Branch<E>>; FAN]>,
    len: usize,
}

impl<E> Clone for ShardMap<E> {
    fn clone(&self) -> Self {
        Self {
            root: Arc::clone(&self.root),
            len: self.len,
        }
    }
}

impl<E> Default for ShardMap<E> {
    fn default() -> Self {
        let shard = Arc::new(Shard::new());
        let branch: Arc<Branch<E>> = Arc::new(std::array::from_fn(|_| Arc::clone(&shard)));
        Self {
            root: Arc::new(std::array::from_fn(|_| Arc::clone(&branch))),
            len: 0,
        }
    }
}

impl<E: Clone> ShardMap<E> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, hash: u64, is: impl Fn(&E) -> bool) -> Option<&E> {
        let (high, low) = children(hash);
        self.root.get(high)?.get(low)?.find(hash, is)
    }

    /// Puts an entry in the place of the one that `is` finds, which is given back. `hash_of` is what `hash` is of the
    /// entry's own key.
    pub(super) fn put(
        &mut self,
        hash: u64,
        is: impl Fn(&E) -> bool,
        hash_of: impl Fn(&E) -> u64,
        entry: E,
    ) -> Option<E> {
        let shard = self.shard_mut(hash)?;
        if let Some(found) = shard.find_mut(hash, is) {
            return Some(std::mem::replace(found, entry));
        }
        shard.insert_unique(hash, entry, hash_of);
        self.len += 1;
        None
    }

    pub(super) fn remove(&mut self, hash: u64, is: impl Fn(&E) -> bool) -> Option<E> {
        // Looked for first: a removal of nothing must not copy a shared table.
        self.get(hash, &is)?;
        let shard = self.shard_mut(hash)?;
        let (entry, _) = shard.find_entry(hash, is).ok()?.remove();
        self.len -= 1;
        Some(entry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &E> {
        self.root
            .iter()
            .flat_map(|branch| branch.iter())
            .flat_map(|shard| shard.iter())
    }

    fn shard_mut(&mut self, hash: u64) -> Option<&mut Shard<E>> {
        let (high, low) = children(hash);
        let branch = Arc::make_mut(&mut self.root).get_mut(high)?;
        let shard = Arc::make_mut(branch).get_mut(low)?;
        Some(Arc::make_mut(shard))
    }
}

fn children(hash: u64) -> (usize, usize) {
    let child = |shift: u32| usize::try_from(hash >> shift).unwrap_or(0) % FAN;
    (child(FIRST_BIT), child(FIRST_BIT + FAN_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;

    #[test]
    fn copies_do_not_see_later_changes() {
        let hasher = hashbrown::DefaultHashBuilder::default();
        let mut map = ShardMap::<u32>::default();
        let hash_of = |entry: &u32| hasher.hash_one(entry);
        for n in 0..10_000 {
            assert_eq!(map.put(hash_of(&n), |&e| e == n, hash_of, n), None);
        }
        let before = map.clone();
        let hash = hash_of(&77);
        assert_eq!(map.remove(hash, |&e| e == 77), Some(77));
        assert_eq!(map.remove(hash, |&e| e == 77), None);
        assert_eq!(map.put(hash_of(&78), |&e| e == 78, hash_of, 78), Some(78));
        assert_eq!((map.len(), before.len()), (9_999, 10_000));
        assert_eq!(before.get(hash, |&e| e == 77), Some(&77));
        assert_eq!(map.get(hash, |&e| e == 77), None);
        // However often the tables grew, all are found.
        for n in (0..10_000).filter(|&n| n != 77) {
            assert_eq!(map.get(hash_of(&n), |&e| e == n), Some(&n));
        }
        let mut all: Vec<u32> = before.iter().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..10_000).collect::<Vec<_>>());
    }
}

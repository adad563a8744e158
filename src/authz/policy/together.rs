//! What a user of many groups holds with all of them, put together once for each policy.
//!
//! People have hundreds of groups where a directory says so. Asking each of them for each request would make
//! the request's cost grow with them. What is kept here belongs to one policy (a change of it begins anew) and to
//! one list of groups, which it holds on to: another list is never taken for it, also not one at the same
//! address. Ends of bindings and labels of clusters are looked at by each request, as ever.

use super::grants::Holdings;
use smallvec::SmallVec;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Of up to this many groups each is asked.
pub(super) const MANY: usize = 16;
/// These and the user.
const FEW: usize = MANY + 1;
/// Users that are kept.
const MAX_USERS: usize = 16_384;
/// Groups, grants and the places of grants of all of them, up to 100 bytes each. At either bound all are forgotten, and what is asked for
/// is put together anew.
pub(super) const MAX_SIZE: usize = 500_000;

/// By the address of the list of groups.
#[derive(Default)]
pub(super) struct Together {
    known: papaya::HashMap<usize, Known>,
    size: AtomicUsize,
}

struct Known {
    /// Keeps the address from becoming another list's.
    groups: Arc<[Box<str>]>,
    user: Box<str>,
    holdings: Option<Arc<Holdings>>,
}

impl Together {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// What this user and these groups hold; `make` finds it out.
    pub(super) fn of(
        &self,
        user: &str,
        groups: &Arc<[Box<str>]>,
        make: impl FnOnce() -> Option<Holdings>,
    ) -> Option<Arc<Holdings>> {
        let known = self.known.pin();
        let address = Arc::as_ptr(groups).cast::<()>().addr();
        match known.get(&address) {
            Some(found) if *found.user == *user && Arc::ptr_eq(&found.groups, groups) => {
                return found.holdings.clone();
            }
            // The groups of somebody else: not kept, so that the two do not put each other out in turn.
            Some(_) => return make().map(Arc::new),
            None => {}
        }
        let holdings = make().map(Arc::new);
        let size = groups.len() + holdings.as_ref().map_or(0, |all| all.size());
        if known.len() >= MAX_USERS || self.size.load(Relaxed) + size > MAX_SIZE {
            known.clear();
            self.size.store(0, Relaxed);
        }
        if size <= MAX_SIZE {
            self.size.fetch_add(size, Relaxed);
            let found = Known {
                groups: Arc::clone(groups),
                user: user.into(),
                holdings: holdings.clone(),
            };
            known.insert(address, found);
        }
        holdings
    }
}

/// What somebody holds, looked up: by each of their subjects, or by all of them together.
pub(super) enum HoldingsOf<'p> {
    /// The user's, and each group's.
    Each(SmallVec<[&'p Holdings; FEW]>),
    /// All of these.
    Together(Option<Arc<Holdings>>),
}

impl HoldingsOf<'_> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Holdings> {
        let (each, together) = match self {
            Self::Each(each) => (each.as_slice(), None),
            Self::Together(all) => ([].as_slice(), all.as_deref()),
        };
        each.iter().copied().chain(together)
    }
}

//! Values that a reload changes while the gateway runs.
//!
//! [`LiveConfig`] holds the configuration that counts now; a reload replaces it as a whole, so that no part
//! works with half of a new file. Each part gets a [`Live`] of the little that it needs. [`Bound`] is for
//! what a number alone does not do: a bound that things hold places under.
//!
//! What could go wrong: a part that reads its value once and keeps it (then the option's row must say that
//! it takes a restart), or reads it in a loop where one view is meant (read it once per unit of work).

use super::Config;
use arc_swap::ArcSwap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// The configuration that counts now; clones are the same one.
#[derive(Clone)]
pub struct LiveConfig(Arc<ArcSwap<Config>>);

impl LiveConfig {
    /// Begins with what the gateway was started with.
    pub fn new(config: Config) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(config)))
    }

    /// The whole of it.
    pub fn load(&self) -> Arc<Config> {
        self.0.load_full()
    }

    /// From now on this one counts.
    pub fn replace(&self, config: Config) {
        self.0.store(Arc::new(config));
    }

    /// A part of it, as it is whenever somebody looks.
    pub fn part<T>(&self, of: impl Fn(&Config) -> T + Send + Sync + 'static) -> Live<T> {
        let whole = Arc::clone(&self.0);
        Live(Arc::new(move || of(&whole.load())))
    }
}

/// A part of the configuration; clones are the same one. A look costs a few nanoseconds.
pub struct Live<T>(Arc<dyn Fn() -> T + Send + Sync>);

impl<T: Clone + Send + Sync + 'static> Live<T> {
    /// One that never changes: for what has no configuration behind it.
    pub fn fixed(value: T) -> Self {
        Self(Arc::new(move || value.clone()))
    }
}

impl<T> Live<T> {
    /// What counts at this moment.
    pub fn get(&self) -> T {
        (self.0)()
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// So many places at the same time, and the number can change; clones are the same one.
///
/// Places that are taken stay taken: after the number has shrunk, new ones are given when enough of the
/// old ones have been given back. Whoever waits is served in order.
#[derive(Clone, Debug)]
pub struct Bound {
    places: Arc<Semaphore>,
    size: Arc<Mutex<usize>>,
}

impl Bound {
    /// With this many places.
    pub fn new(size: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(size)),
            size: Arc::new(Mutex::new(size)),
        }
    }

    /// Waits for a place.
    pub async fn acquire(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.places).acquire_owned().await
    }

    /// A place, if there is one at once.
    pub fn try_acquire(&self) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        Arc::clone(&self.places).try_acquire_owned()
    }

    /// How many places are held now; more than there are while it shrinks.
    pub fn held(&self) -> usize {
        let size = *self.size.lock().unwrap_or_else(PoisonError::into_inner);
        size.saturating_sub(self.places.available_permits())
    }

    /// Changes the number of places. Must be called within a runtime.
    pub fn resize(&self, to: usize) {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let from = std::mem::replace(&mut *size, to);
        if to >= from {
            self.places.add_permits(to - from);
            return;
        }
        let mut gone = from - to;
        gone -= self.places.forget_permits(gone);
        let Ok(gone) = u32::try_from(gone) else {
            // No number of the configuration is that large.
            return;
        };
        if gone == 0 {
            return;
        }
        // The semaphore serves in order: nobody gets a place before these have been taken away, and a later
        // growth gives them first.
        let places = Arc::clone(&self.places);
        tokio::spawn(async move {
            if let Ok(permits) = places.acquire_many_owned(gone).await {
                permits.forget();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bound_shrinks_as_places_are_given_back_and_grows_at_once() {
        let bound = Bound::new(3);
        let held: Vec<_> = (0..3).map(|_| bound.try_acquire().unwrap()).collect();
        assert_eq!(bound.held(), 3);
        bound.resize(1);
        tokio::task::yield_now().await;
        let mut held = held.into_iter();
        for given_back in held.by_ref().take(2) {
            drop(given_back);
            tokio::task::yield_now().await;
            assert!(bound.try_acquire().is_err(), "one is still held");
        }
        drop(held);
        let one = bound.acquire().await.unwrap();
        assert!(bound.try_acquire().is_err());
        bound.resize(2);
        let two = bound.try_acquire().unwrap();
        assert!(bound.try_acquire().is_err());
        drop((one, two));
    }

    #[tokio::test]
    async fn growing_while_a_shrink_still_waits_comes_out_right() {
        let bound = Bound::new(4);
        let held: Vec<_> = (0..4).map(|_| bound.try_acquire().unwrap()).collect();
        bound.resize(1);
        tokio::task::yield_now().await;
        bound.resize(5);
        tokio::task::yield_now().await;
        let fifth = bound.try_acquire().unwrap();
        assert!(bound.try_acquire().is_err());
        drop((held, fifth));
        tokio::task::yield_now().await;
        let all: Vec<_> = std::iter::from_fn(|| bound.try_acquire().ok()).collect();
        assert_eq!(all.len(), 5);
    }
}

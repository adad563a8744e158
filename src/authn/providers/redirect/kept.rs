//! What is read from a provider now and then and kept meanwhile: the discovery document, the keys.

use super::Failure;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::Instant};

/// Age from which on it is read again: a key that a provider has withdrawn is trusted no longer than that.
const KEEP: Duration = Duration::from_hours(1);
/// Age up to which it counts while it cannot be read again.
const KEEP_AT_MOST: Duration = Duration::from_hours(24);
/// Between two readings that are wanted because something is not in it: whoever sends tokens of keys that nobody has
/// could have the provider asked as often as they like.
const REREAD: Duration = Duration::from_secs(30);
/// After a reading that failed.
const PAUSE: Duration = Duration::from_secs(3);

/// One thing. Whoever wants it while it is being read waits for that reading and makes none of their own.
pub(in crate::authn::providers) struct Kept<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Option<(Arc<T>, Instant)>,
    tried: Option<Instant>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                value: None,
                tried: None,
            }),
        }
    }
}

impl<T> Kept<T> {
    /// As it is known, read again by `read` if that is too old. A reading that fails leaves what was there, for a while.
    pub(in crate::authn::providers) async fn get(
        &self,
        read: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Arc<T>, Failure> {
        let mut state = self.state.lock().await;
        let (known, fresh) = match &state.value {
            Some((value, at)) if at.elapsed() < KEEP_AT_MOST => {
                (Some(Arc::clone(value)), at.elapsed() < KEEP)
            }
            Some(_) | None => (None, false),
        };
        let tried_lately = state.tried.is_some_and(|at| at.elapsed() < PAUSE);
        match known {
            Some(known) if fresh || tried_lately => Ok(known),
            None if tried_lately => Err(Failure::Paused),
            known => match state.read(read).await {
                Ok(value) => Ok(value),
                Err(failure) => {
                    let Some(known) = known else {
                        return Err(failure);
                    };
                    let failure = failure.chain();
                    tracing::warn!(
                        failure,
                        "what a provider publishes cannot be read again; what is known counts for a while"
                    );
                    Ok(known)
                }
            },
        }
    }

    /// Another one than `old`, in which something is missing; `None` if it was read too short a time ago.
    pub(in crate::authn::providers) async fn newer(
        &self,
        old: &Arc<T>,
        read: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Option<Arc<T>>, Failure> {
        let mut state = self.state.lock().await;
        match &state.value {
            // Somebody else has just read it.
            Some((value, _)) if !Arc::ptr_eq(value, old) => return Ok(Some(Arc::clone(value))),
            Some((_, at)) if at.elapsed() < REREAD => return Ok(None),
            Some(_) | None => {}
        }
        if state.tried.is_some_and(|at| at.elapsed() < REREAD) {
            return Ok(None);
        }
        state.read(read).await.map(Some)
    }
}

impl<T> State<T> {
    async fn read(
        &mut self,
        read: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Arc<T>, Failure> {
        // Before it begins: one whose caller has gone away was tried too.
        self.tried = Some(Instant::now());
        let value = match read.await {
            Ok(value) => Arc::new(value),
            Err(failure) => {
                // Who waited meanwhile does not ask one who is silent in turn.
                self.tried = Some(Instant::now());
                return Err(failure);
            }
        };
        self.value = Some((Arc::clone(&value), Instant::now()));
        self.tried = None;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use tokio::time::advance;

    #[derive(Default)]
    struct World {
        kept: Kept<usize>,
        reads: AtomicUsize,
    }

    impl World {
        async fn get(&self) -> Result<usize, Failure> {
            let read = async { Ok(self.reads.fetch_add(1, Relaxed)) };
            self.kept.get(read).await.map(|value| *value)
        }

        async fn fail(&self) -> Result<usize, Failure> {
            let read = async {
                self.reads.fetch_add(1, Relaxed);
                Err(Failure::Busy)
            };
            self.kept.get(read).await.map(|value| *value)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_read_once_an_hour_and_outlives_an_outage_of_a_day() {
        let world = World::default();
        assert_eq!(world.get().await.unwrap(), 0);
        assert_eq!(world.get().await.unwrap(), 0);
        advance(KEEP).await;
        assert_eq!(world.get().await.unwrap(), 1);
        advance(KEEP).await;
        assert_eq!(world.fail().await.unwrap(), 1, "the old one counts");
        assert_eq!(world.fail().await.unwrap(), 1);
        assert_eq!(world.reads.load(Relaxed), 3, "not tried at once again");
        advance(KEEP_AT_MOST).await;
        assert!(matches!(world.fail().await, Err(Failure::Busy)));
        assert!(matches!(world.fail().await, Err(Failure::Paused)));
        advance(PAUSE).await;
        assert_eq!(world.get().await.unwrap(), 4);
    }

    // P14
    #[tokio::test(start_paused = true)]
    async fn a_provider_that_is_silent_is_asked_once_for_all_who_wait() {
        let world = World::default();
        let silent = || {
            let read = async {
                world.reads.fetch_add(1, Relaxed);
                tokio::time::sleep(PAUSE * 3).await;
                Err(Failure::Busy)
            };
            world.kept.get(read)
        };
        let began = Instant::now();
        let (one, two, three) = tokio::join!(silent(), silent(), silent());
        assert!(matches!(one, Err(Failure::Busy)));
        assert!(matches!(two, Err(Failure::Paused)) && matches!(three, Err(Failure::Paused)));
        assert_eq!(world.reads.load(Relaxed), 1);
        assert_eq!(began.elapsed(), PAUSE * 3);
    }

    // T1
    #[tokio::test(start_paused = true)]
    async fn what_is_missing_has_it_read_once_an_interval_whoever_asks() {
        let world = World::default();
        world.get().await.unwrap();
        let old = world.kept.get(async { unreachable!() }).await.unwrap();
        let newer = || {
            let read = async { Ok(world.reads.fetch_add(1, Relaxed)) };
            world.kept.newer(&old, read)
        };
        assert!(newer().await.unwrap().is_none(), "it is young");
        advance(REREAD).await;
        let (one, two) = tokio::join!(newer(), newer());
        assert_eq!((*one.unwrap().unwrap(), *two.unwrap().unwrap()), (1, 1));
        let now = world.kept.get(async { unreachable!() }).await.unwrap();
        for _ in 0..100 {
            let read = async { Ok(world.reads.fetch_add(1, Relaxed)) };
            assert!(world.kept.newer(&now, read).await.unwrap().is_none());
        }
        assert_eq!(world.reads.load(Relaxed), 2);
    }

    // T1
    #[tokio::test(start_paused = true)]
    async fn what_is_missing_and_cannot_be_read_is_not_tried_for_whoever_asks() {
        let world = World::default();
        world.get().await.unwrap();
        let old = world.kept.get(async { unreachable!() }).await.unwrap();
        let newer = || {
            let read = async {
                world.reads.fetch_add(1, Relaxed);
                Err(Failure::Busy)
            };
            world.kept.newer(&old, read)
        };
        for reads in 2..4 {
            advance(REREAD).await;
            assert!(newer().await.is_err());
            for _ in 0..100 {
                assert!(newer().await.unwrap().is_none());
            }
            assert_eq!(world.reads.load(Relaxed), reads);
        }
    }
}

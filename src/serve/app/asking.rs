//! The end of questions about accounts.
//!
//! A provider may answer with a token whose predecessor is of no use any more. Who is asked at the stop is waited for
//! until that token is written: a process that ends before loses it, and its person's login with it. How long a
//! question may take (five times a provider's `timeout`) is more than a supervisor may wait, so there are two bounds.

use super::Drained;
use std::{
    future,
    time::{Duration, Instant},
};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// Wait after a drain that left time, within that time: five questions in their default time, and the writes.
const LONGEST: Duration = Duration::from_mins(1);
/// The same when there is no time left: with the default `drain.deadline` it ends before Kubernetes' 30 s do.
const CUT: Duration = Duration::from_secs(3);

/// Waits until nobody is asked any more and all answers are written, until there is no time left, or until `hurry`,
/// which has come already if the drain was cut by it.
pub(super) async fn finish(
    asking: &TaskTracker,
    (drained, deadline): (Drained, Instant),
    hurry: impl Future<Output = ()>,
) {
    asking.close();
    let left = deadline.saturating_duration_since(Instant::now());
    let longest = match drained {
        Drained::Clean => left.clamp(CUT, LONGEST),
        Drained::Cut(_) => CUT,
    };
    let hurry = async {
        match drained {
            Drained::Clean => hurry.await,
            Drained::Cut(_) => future::pending().await,
        }
    };
    let finished = tokio::select! {
        waited = timeout(longest, asking.wait()) => waited.is_ok(),
        () = hurry => false,
    };
    if !finished {
        tracing::warn!(
            "providers were still being asked about accounts: where one has given a new token, that login ends"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long is waited for a question that nobody answers.
    async fn waited(drained: Drained, left: Duration, hurry: impl Future<Output = ()>) -> Duration {
        let asking = TaskTracker::new();
        asking.spawn(future::pending::<()>());
        let began = tokio::time::Instant::now();
        finish(&asking, (drained, Instant::now() + left), hurry).await;
        began.elapsed()
    }

    // L4
    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_questions_as_long_as_it_has_time() {
        let secs = Duration::from_secs;
        let is = |waited: Duration, seconds| waited.abs_diff(secs(seconds)) < secs(1);
        let never = future::pending::<()>;
        assert!(is(waited(Drained::Clean, secs(25), never()).await, 25));
        assert!(is(waited(Drained::Clean, secs(0), never()).await, 3));
        assert!(is(waited(Drained::Clean, secs(3600), never()).await, 60));
        // A drain that was cut by a second signal has time left that nobody wants to wait for.
        assert!(is(waited(Drained::Cut(1), secs(25), never()).await, 3));
        let second_signal = tokio::time::sleep(secs(1));
        assert!(is(waited(Drained::Clean, secs(25), second_signal).await, 1));
        let asking = TaskTracker::new();
        asking.spawn(tokio::time::sleep(secs(7)));
        let began = tokio::time::Instant::now();
        finish(
            &asking,
            (Drained::Clean, Instant::now() + secs(25)),
            never(),
        )
        .await;
        assert!(is(began.elapsed(), 7), "no longer than it takes");
    }

    // A future that has ended must not be asked again.
    #[tokio::test(start_paused = true)]
    async fn a_hurry_that_has_cut_the_drain_is_over() {
        let over = async { unreachable!("it is polled again") };
        let _ = waited(Drained::Cut(1), Duration::from_secs(25), over).await;
    }
}

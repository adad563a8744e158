//! A task on a thread of its own.
//!
//! Some work is long without a pause: with a million bindings, putting the policy together takes a second. On a worker it
//! would keep the requests waiting that the worker carries. It has memory of its own then, too: what it allocates for
//! good does not lie between what requests need for a moment.

use std::{io, thread};
use tokio::{runtime, sync::oneshot};

/// Threads that the task may use to block: it reads the store and nothing else.
const BLOCKING: usize = 4;

/// Begins the task; what comes back ends when it does, also by a panic.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn run(
    name: &str,
    task: impl Future<Output = ()> + Send + 'static,
) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name(name)
        .max_blocking_threads(BLOCKING)
        .build()?;
    let (alive, ended) = oneshot::channel::<()>();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Goes at the very end, whatever the end is.
            let _alive = alive;
            runtime.block_on(task);
            // A read that was begun goes on to its end, for nobody.
            runtime.shutdown_background();
        })?;
    Ok(async move {
        // Nothing is ever sent: the other half went.
        let _ = ended.await;
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_task_that_blocks_keeps_nobody_else_waiting() {
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let mut end = Box::pin(
            run("apart", async move {
                let _ = gone.recv();
            })
            .unwrap(),
        );
        let early = timeout(Duration::from_millis(20), &mut end).await;
        assert!(early.is_err(), "it has not ended");
        drop(go);
        timeout(Duration::from_secs(10), end).await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_panics_has_ended() {
        let end = run("apart", async { panic!("in the test") }).unwrap();
        timeout(Duration::from_secs(10), end).await.unwrap();
    }

    #[tokio::test]
    async fn a_task_can_sleep_and_block() {
        let end = run("apart", async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            tokio::task::spawn_blocking(|| ()).await.unwrap();
        });
        timeout(Duration::from_secs(10), end.unwrap())
            .await
            .unwrap();
    }
}

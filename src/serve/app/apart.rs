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
            // Goes last, also after a panic: what was declared first.
            let _alive = alive;
            let runtime = runtime;
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
    use std::{sync::mpsc, time::Duration};
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_task_that_blocks_keeps_nobody_else_waiting() {
        let (go, gone) = mpsc::channel::<()>();
        let (say, running) = oneshot::channel();
        let end = run("apart", async move {
            say.send(()).unwrap();
            // This test's own thread lets it go on.
            gone.recv_timeout(SOON).unwrap();
        });
        timeout(SOON, running).await.unwrap().unwrap();
        go.send(()).unwrap();
        timeout(SOON, end.unwrap()).await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_panics_has_ended() {
        let end = run("apart", async { panic!("in the test") }).unwrap();
        timeout(SOON, end).await.unwrap();
    }

    #[tokio::test]
    async fn a_task_can_sleep_and_block() {
        let (done, was_done) = oneshot::channel();
        let end = run("apart", async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            tokio::task::spawn_blocking(|| ()).await.unwrap();
            done.send(()).unwrap();
        });
        timeout(SOON, end.unwrap()).await.unwrap();
        was_done.await.unwrap();
    }
}

//! The connection that a client keeps for its next request, and for how long.
//!
//! Each cluster has several clients, and most of them have nothing to say for hours: a connection that nobody used again is
//! closed. Only one that waits has a clock; two thousand watches have none.

use super::Sender;
use std::{
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{
    sync::{Mutex, Notify},
    time::{Instant, sleep},
};

/// A connection that was idle for longer is not used again, and closed: servers close idle ones after ten seconds and
/// more, and a write that meets that moment cannot be repeated.
pub(super) const KEEP: Duration = Duration::from_secs(8);

/// Where a connection waits for the next request.
pub(super) type Kept = Mutex<Option<Waiting>>;

/// A connection.
pub(super) struct Link {
    pub(super) sender: Sender,
    /// Told when it begins to wait.
    waits: Arc<Notify>,
}

/// A connection that waits, and since when.
pub(super) struct Waiting {
    link: Link,
    since: Instant,
}

impl Link {
    /// Drives the connection of `sender` until that is dropped or the peer closes; its error is the request's error too.
    /// What waits in `kept` for too long is dropped there.
    pub(super) fn drive(
        sender: Sender,
        connection: impl Future<Output = hyper::Result<()>> + Send + 'static,
        kept: &Arc<Kept>,
    ) -> Self {
        let waits = Arc::new(Notify::new());
        let (kept, told) = (Arc::downgrade(kept), Arc::clone(&waits));
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            loop {
                tokio::select! {
                    _ = &mut connection => return,
                    () = told.notified() => {}
                }
                tokio::select! {
                    _ = &mut connection => return,
                    () = outwait(&told, &kept) => {}
                }
            }
        });
        Self { sender, waits }
    }

    /// Leaves it for the next request.
    pub(super) fn wait(self, kept: &mut Option<Waiting>) {
        let waits = Arc::clone(&self.waits);
        *kept = Some(Waiting {
            link: self,
            since: Instant::now(),
        });
        waits.notify_one();
    }
}

impl Waiting {
    /// For a request, if it has not waited for too long.
    pub(super) fn take(self) -> Option<Link> {
        (self.since.elapsed() < KEEP).then_some(self.link)
    }
}

/// Ends when this connection waits no more, because somebody took it or because it has been dropped here.
async fn outwait(waits: &Arc<Notify>, kept: &Weak<Kept>) {
    loop {
        sleep(KEEP).await;
        let Some(kept) = kept.upgrade() else { return };
        // Locked: it is being used, and who does so takes it out, and tells when it waits again.
        let Ok(mut kept) = kept.try_lock() else {
            return;
        };
        match &mut *kept {
            Some(it) if Arc::ptr_eq(&it.link.waits, waits) => {
                // Not ready: its last answer is still being read.
                if it.since.elapsed() >= KEEP && it.link.sender.is_ready() {
                    *kept = None;
                    return;
                }
            }
            Some(_) | None => return,
        }
    }
}

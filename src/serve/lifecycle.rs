//! The end of the process: SIGTERM or SIGINT, finish what is under way, a deadline.
//!
//! First nothing new is accepted and every connection is told to end (GOAWAY, `Connection: close`), so that
//! clients open their next one elsewhere. Requests under way finish. At the deadline, or at a second
//! signal, what is still open (watches, exec) is cut.

use std::{io, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The signals that end the process.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes SIGTERM and SIGINT over.
    pub fn take() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one and names it.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything was finished.
    Clean,
    /// This many connections were cut.
    Cut(usize),
}

/// Stops and drains: `stop` tells listeners and connections, `open` lists the latter, `hurry` ends the wait
/// at once.
pub async fn drain(
    stop: &CancellationToken,
    open: &TaskTracker,
    deadline: Duration,
    hurry: impl Future<Output = ()>,
) -> Drained {
    stop.cancel();
    open.close();
    let finished = tokio::select! {
        waited = timeout(deadline, open.wait()) => waited.is_ok(),
        () = hurry => false,
    };
    if finished {
        Drained::Clean
    } else {
        Drained::Cut(open.len())
    }
}

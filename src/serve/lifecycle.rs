//! The end of the process: SIGTERM or SIGINT, finish what is under way, a deadline.
//!
//! First nothing new is accepted and every connection is told to end (GOAWAY, `Connection: close`), so that
//! clients open their next one elsewhere. Requests under way finish. At the deadline, or at a second
//! signal, what is still open (watches, exec) is cut.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
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

/// SIGHUP, the wish to read everything again.
pub struct Hangups(Signal);

impl Hangups {
    /// Takes SIGHUP over, which ends a process that does not.
    pub fn take() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one; several at once are one.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// Raises the soft limit of file descriptors to the hard one: shells and systemd set the soft one to 1024 for
/// the sake of programs that use `select`.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of file descriptors stays as it is");
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

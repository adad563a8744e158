//! The audit log: one line for every request, in order, to a file or to standard output.
//!
//! A request hands over a small owned value and goes on; one thread makes lines of the values and writes
//! them, many at once. Guarantees: what was admitted ([`Audit::admit`]) has a place in the queue, so its
//! line is written, or waits until it can be; when the queue is full or the disk refuses, nothing more is
//! admitted, and whoever asks is told so (503) before anything is done. Only `danger_audit_best_effort`
//! turns that around: lines are then dropped and counted.
//!
//! What could go wrong: strangers who fill the disk with refused requests (their lines trickle, the rest is
//! counted), a file that somebody moved or removed (the path is looked at before each write), a line that
//! was written in part (cut off again, or ended where the file cannot be cut), a disk that says after
//! the write that it failed (the lines are written again: readers may find one twice).
//!
//! The queue has a bound for those who want in. Those who are in always end: so it can hold, beyond its
//! bound, one line for each request that was under way when it filled up, which is memory that such a
//! request has anyway.

use super::metrics::cells::{Counter, Gauge};
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread::Thread,
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};

pub mod event;
mod sink;
mod trickle;
mod writer;

use trickle::Trickle;
use writer::Message;

/// How long a stop waits for the last lines: a disk that has not taken them by then is not going to.
const CLOSE: Duration = Duration::from_secs(5);

/// Where lines go, and what happens when they cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where lines go.
    pub output: Output,
    /// Lines that may wait.
    pub queue: usize,
    /// What cannot be written is left out, and the request goes on.
    pub best_effort: bool,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// A file.
    File(FileSettings),
}

/// A file that is rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// The file; older ones are beside it, with `.1`, `.2` … at the end.
    pub path: PathBuf,
    /// Bytes at which the file is moved to `.1`.
    pub max_size: u64,
    /// Older files that are kept; 0: the gateway moves nothing, something else does.
    pub max_files: u32,
    /// When lines are on the disk for sure.
    pub sync: Sync,
}

/// When the system is asked to put lines on the disk (`fdatasync`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Never: the system does so when it likes. A crash of the machine loses the last half minute.
    Never,
    /// This long after the first line that is not yet there.
    Every(Duration),
    /// With every write.
    Batch,
}

/// What became of lines.
#[derive(Debug, Default)]
pub struct Counts {
    /// Lines that wait.
    pub queued: Gauge,
    /// Lines written.
    pub written: Counter,
    /// Lines that were owed and lost: dropped under best effort, or still waiting when the process ended.
    pub dropped: Counter,
    /// Lines about strangers' requests that were left out, so that they fill no disk.
    pub left_out: Counter,
    /// Requests that were refused because they could not have been recorded.
    pub refused: Counter,
    /// Attempts to write that failed.
    pub failures: Counter,
    /// 1 while the disk refuses.
    pub failing: Gauge,
}

/// Why a request cannot be recorded, and so must not be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAudited {
    /// `audit.queue` lines wait.
    #[error("the queue of the audit log is full")]
    Full,
    /// The last attempt to write failed, and none since has succeeded.
    #[error("the audit log cannot be written")]
    Failing,
}

/// The audit log of this process; lines are made of `E`.
pub struct Audit<E> {
    /// None: there is no audit log.
    writer: Option<Handle<E>>,
    queue: i64,
    best_effort: bool,
    counts: Arc<Counts>,
    strangers: Trickle,
}

struct Handle<E> {
    messages: mpsc::Sender<Message<E>>,
    /// Waits between two attempts of a disk that refuses; it is woken for what cannot wait.
    thread: Thread,
    /// Nothing more is waited for.
    closing: Arc<AtomicBool>,
}

impl<E: Send + 'static> Audit<E> {
    /// Opens the output and begins to write. `encode` appends the line of a value, with its line end.
    ///
    /// # Errors
    /// The file cannot be opened, or the thread not be started.
    pub fn start(
        settings: &Settings,
        encode: impl Fn(&E, &mut Vec<u8>) + Send + 'static,
    ) -> io::Result<Self> {
        let counts = Arc::new(Counts::default());
        let writer = match sink::Sink::open(&settings.output)? {
            Some(sink) => Some(spawn(sink, encode, &counts)?),
            None => None,
        };
        Ok(Self {
            writer,
            queue: i64::try_from(settings.queue).unwrap_or(i64::MAX),
            best_effort: settings.best_effort,
            counts,
            strangers: Trickle::new(),
        })
    }

    /// Whether there is an audit log.
    pub fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// What became of lines so far.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Whether a request that has to be recorded may begin. Counts those that may not.
    ///
    /// # Errors
    /// [`NotAudited`]: it must be refused.
    pub fn admit(&self) -> Result<(), NotAudited> {
        self.can_admit().inspect_err(|_| {
            self.counts.refused.inc();
        })
    }

    /// Whether a request would be admitted. Every one is with best effort, and without an audit log.
    ///
    /// # Errors
    /// [`NotAudited`] says why not.
    pub fn can_admit(&self) -> Result<(), NotAudited> {
        if self.best_effort || !self.is_on() {
            return Ok(());
        }
        if self.counts.failing.get() != 0 {
            return Err(NotAudited::Failing);
        }
        if self.is_full() {
            return Err(NotAudited::Full);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.counts.queued.get() >= self.queue
    }

    /// Takes the line of a request that was admitted: there is always a place for it, but with best
    /// effort.
    pub fn record(&self, event: E) {
        if self.best_effort && self.is_full() {
            self.counts.dropped.inc();
            return;
        }
        self.send(event);
    }

    /// Takes the line of a request that nobody was identified in, if it is not one of too many.
    /// `make` learns how many such lines were left out since the last one.
    pub fn record_stranger(&self, make: impl FnOnce(u64) -> E) {
        if !self.is_on() {
            return;
        }
        let room = self.counts.failing.get() == 0 && !self.is_full();
        match self.strangers.take(room) {
            Some(left_out) => self.send(make(left_out)),
            None => {
                self.counts.left_out.inc();
            }
        }
    }

    /// Closes the file and opens it anew by its name: for whoever moved it away. What waits goes to the new
    /// one. Also tries at once what a disk has refused.
    pub fn reopen(&self) {
        if let Some(writer) = &self.writer {
            // Fails only if the thread has ended, which `send` tells.
            let _ = writer.messages.send(Message::Reopen);
            writer.thread.unpark();
        }
    }

    /// Writes what waits and ends. What comes later is lost, and counted.
    pub async fn close(&self) {
        let Some(writer) = &self.writer else { return };
        let (done, ended) = oneshot::channel();
        writer.closing.store(true, Relaxed);
        let _ = writer.messages.send(Message::Close(done));
        writer.thread.unpark();
        // An error says that the thread had ended already.
        let _ = timeout(CLOSE, ended).await;
        let lines = self.counts.queued.get();
        if lines > 0 {
            tracing::error!(lines, "the audit log did not take its last lines");
        }
    }

    fn send(&self, event: E) {
        let Some(writer) = &self.writer else { return };
        self.counts.queued.inc();
        let event = Box::new(event);
        if writer.messages.send(Message::Event(event)).is_err() {
            self.counts.queued.dec();
            self.counts.dropped.inc();
        }
    }
}

fn spawn<E: Send + 'static>(
    sink: sink::Sink,
    encode: impl Fn(&E, &mut Vec<u8>) + Send + 'static,
    counts: &Arc<Counts>,
) -> io::Result<Handle<E>> {
    let (sender, messages) = mpsc::channel();
    let closing = Arc::new(AtomicBool::new(false));
    let writer = writer::Writer::new(sink, encode, Arc::clone(counts), Arc::clone(&closing));
    let thread = std::thread::Builder::new()
        .name("audit-writer".to_owned())
        .spawn(move || writer.run(messages))?;
    Ok(Handle {
        messages: sender,
        thread: thread.thread().clone(),
        closing,
    })
}

#[cfg(test)]
mod tests;

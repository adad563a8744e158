//! The thread that writes.
//!
//! It waits for a line, lets others gather for a moment, and writes all of them at once: under load that is
//! a few hundred wake-ups and writes a second, whatever the number of requests. What the disk refuses it
//! keeps and tries again; meanwhile [`Counts::failing`] is 1 and nothing is admitted.

use super::{Counts, sink::Sink};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// How long further lines gather behind the first one. A process that is killed loses as much.
const GATHER: Duration = Duration::from_millis(5);
/// Bytes that are written at once, and one line more.
const BATCH: usize = 1 << 20;
/// Pause after an attempt that failed: full disks are emptied by people.
const RETRY: Duration = Duration::from_secs(1);

/// What the handles say to the thread.
pub(super) enum Message<E> {
    /// Boxed: the queue would move it three times, and is made of blocks of 31 messages.
    Event(Box<E>),
    Reopen,
    Close(oneshot::Sender<()>),
}

/// The thread's side.
pub(super) struct Writer<F> {
    sink: Sink,
    encode: F,
    counts: Arc<Counts>,
    closing: Arc<AtomicBool>,
    /// Lines that are not written yet.
    batch: Vec<u8>,
    /// How many.
    lines: u64,
}

impl<F> Writer<F> {
    pub(super) fn new(
        sink: Sink,
        encode: F,
        counts: Arc<Counts>,
        closing: Arc<AtomicBool>,
    ) -> Self {
        Self {
            sink,
            encode,
            counts,
            closing,
            batch: Vec::new(),
            lines: 0,
        }
    }

    /// Writes until it is told to close, or all handles are gone.
    pub(super) fn run<E>(mut self, messages: Receiver<Message<E>>)
    where
        F: Fn(&E, &mut Vec<u8>),
    {
        // A thread that ends in any other way leaves the log failing: nothing is admitted then.
        let mut end = AtEnd {
            counts: Arc::clone(&self.counts),
            in_order: false,
        };
        let closed = self.serve(&messages);
        // Whoever was faster than the word to close.
        for message in messages.try_iter() {
            if let Message::Event(event) = message {
                self.take(&event);
            }
        }
        drop(messages);
        self.flush();
        self.sink.finish();
        end.in_order = true;
        if let Some(done) = closed {
            // An error says that nobody waits any more.
            let _ = done.send(());
        }
    }

    fn serve<E>(&mut self, messages: &Receiver<Message<E>>) -> Option<oneshot::Sender<()>>
    where
        F: Fn(&E, &mut Vec<u8>),
    {
        loop {
            let mut message = match self.next(messages) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => {
                    self.settle();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return None,
            };
            if !self.closing.load(Relaxed) {
                thread::park_timeout(GATHER);
            }
            loop {
                match message {
                    Message::Event(event) => self.take(&event),
                    Message::Reopen => {
                        self.flush();
                        self.sink.reopen();
                        self.settle();
                    }
                    Message::Close(done) => return Some(done),
                }
                if self.batch.len() >= BATCH {
                    self.flush();
                }
                match messages.try_recv() {
                    Ok(next) => message = next,
                    Err(_) => break,
                }
            }
            self.flush();
        }
    }

    /// The next message; the time is over when written lines are to be put on the disk.
    fn next<E>(&self, messages: &Receiver<Message<E>>) -> Result<Message<E>, RecvTimeoutError> {
        match self.sink.sync_at() {
            Some(at) => messages.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => messages.recv().map_err(RecvTimeoutError::from),
        }
    }

    fn take<E>(&mut self, event: &E)
    where
        F: Fn(&E, &mut Vec<u8>),
    {
        (self.encode)(event, &mut self.batch);
        self.lines += 1;
    }

    fn flush(&mut self) {
        if self.lines > 0 {
            self.settle();
        }
    }

    /// Writes what there is, and what is due is put on the disk; tries until it is done. Only at the very
    /// end it gives up.
    fn settle(&mut self) {
        while let Err(error) = self.sink.write(&self.batch) {
            self.counts.failures.inc();
            if self.counts.failing.get() == 0 {
                tracing::error!(%error, "the audit log cannot be written");
            }
            self.counts.failing.set(1);
            if self.closing.load(Relaxed) {
                tracing::error!(lines = self.lines, %error, "audit lines are lost");
                self.counts.dropped.add(self.lines);
                self.forget();
                return;
            }
            thread::park_timeout(RETRY);
        }
        if self.counts.failing.get() != 0 {
            tracing::warn!("the audit log is written again");
            self.counts.failing.set(0);
        }
        self.counts.written.add(self.lines);
        self.forget();
    }

    fn forget(&mut self) {
        self.counts.queued.sub(self.lines);
        self.batch.clear();
        self.lines = 0;
    }
}

/// Says, if the thread ends out of order, that nothing is written any more.
struct AtEnd {
    counts: Arc<Counts>,
    in_order: bool,
}

impl Drop for AtEnd {
    fn drop(&mut self) {
        if !self.in_order {
            self.counts.failing.set(1);
        }
    }
}

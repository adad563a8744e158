//! Traces on their way to a collector: OTLP over HTTP with protobuf (OpenTelemetry Protocol 1.x).
//!
//! One task takes what waits in the queue, in batches, and sends one after the other. What could go wrong: a
//! collector that is away, slow or busy (a batch has a bounded number of tries and a bounded time; meanwhile
//! the queue fills, and what finds no place there is dropped and counted), one that refuses a batch (it is
//! dropped, since the same would be refused again), a stop meanwhile (the last batches have one try each, and
//! all of them together a bound). The log tells of an outage once, and of its end.

use super::{Finished, Settings, TraceError};
use crate::observe::metrics::{cells::Table, labels::SpanEnd};
use bytes::Bytes;
use collector::{Collector, Failure};
use prost::Message as _;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

mod collector;
mod message;

/// Requests in one message: about 1300 spans, some 300 KiB.
const BATCH: usize = 256;
/// A request waits this long for company.
const GATHER: Duration = Duration::from_secs(1);
/// Bound on one try, from dialling to the end of the answer.
const TRY: Duration = Duration::from_secs(5);
/// Tries for one message, where trying again can help.
const TRIES: u32 = 3;
/// Wait before the second try; before the third it is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest wait that a collector may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Sends what waits.
pub(super) struct Exporter {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Exporter {
    pub(super) fn start(
        settings: &Settings,
        waiting: mpsc::Receiver<Finished>,
        ends: Arc<Table<SpanEnd>>,
    ) -> Result<Self, TraceError> {
        let sender = Sender {
            collector: Collector::new(settings)?,
            waiting,
            ends,
            stop: CancellationToken::new(),
            failing: false,
        };
        let stop = sender.stop.clone();
        let task = tokio::spawn(sender.run());
        Ok(Self { stop, task })
    }

    pub(super) async fn finish(mut self, within: Duration) {
        self.stop.cancel();
        if timeout(within, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!(
                "the last traces were not sent: the collector did not take them in time"
            );
        }
    }
}

/// The task that sends.
struct Sender {
    collector: Collector,
    waiting: mpsc::Receiver<Finished>,
    ends: Arc<Table<SpanEnd>>,
    stop: CancellationToken,
    /// Whether the last message was lost.
    failing: bool,
}

impl Sender {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.gather(&mut batch).await {
            let spans = batch.iter().map(Finished::spans).sum();
            let message = message::of(&batch).encode_to_vec();
            batch.clear();
            let sent = self.send(message.into()).await;
            self.tell(sent, spans);
        }
    }

    /// Fills a batch; false: there is nothing left, and there will be nothing more.
    async fn gather(&mut self, batch: &mut Vec<Finished>) -> bool {
        let first = tokio::select! {
            biased;
            first = self.waiting.recv() => first,
            () = self.stop.cancelled() => None,
        };
        batch.extend(first);
        let end = Instant::now() + GATHER;
        while !batch.is_empty() && batch.len() < BATCH {
            let room = BATCH - batch.len();
            let more = self.waiting.recv_many(batch, room);
            tokio::select! {
                biased;
                more = timeout_at(end, more) => {
                    if more.is_err() || more == Ok(0) {
                        break;
                    }
                }
                // What is there already came first: this is all.
                () = self.stop.cancelled() => break,
            }
        }
        !batch.is_empty()
    }

    /// Sends a message, again if that can help; says how many spans of it the collector refused.
    async fn send(&mut self, message: Bytes) -> Result<u64, Failure> {
        let mut tries = 1;
        loop {
            let sent = timeout(TRY, self.collector.send(message.clone())).await;
            let failure = match sent.unwrap_or_else(|_| Err(self.collector.too_slow())) {
                Ok(refused) => return Ok(refused),
                Err(failure) => failure,
            };
            if !failure.may_pass || tries == TRIES || self.stop.is_cancelled() {
                return Err(failure);
            }
            let pause = failure.after.unwrap_or(PAUSE * tries);
            tokio::select! {
                () = sleep(pause.min(LONGEST_PAUSE)) => {}
                () = self.stop.cancelled() => {}
            }
            tries += 1;
        }
    }

    fn tell(&mut self, sent: Result<u64, Failure>, spans: u64) {
        let collector = self.collector.url();
        match sent {
            Ok(refused) => {
                let refused = refused.min(spans);
                self.ends.add(SpanEnd::Refused, refused);
                self.ends.add(SpanEnd::Exported, spans - refused);
                if self.failing {
                    tracing::info!(collector, "traces arrive again");
                }
                self.failing = false;
            }
            Err(failure) => {
                self.ends.add(failure.end, spans);
                if !self.failing {
                    tracing::warn!(collector, problem = failure.problem, "traces are lost");
                }
                self.failing = true;
            }
        }
    }
}

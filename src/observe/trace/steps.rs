//! The steps of a traced request: each a span of its own, below the request's.

use super::SpanId;
use std::time::{Duration, Instant};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Who sends it.
    Authentication,
    /// Whether they may.
    Authorization,
    /// The wait for a connection to the cluster.
    Connection,
    /// From the request's sending to the head of the cluster's answer.
    Response,
}

impl Step {
    /// How many there are.
    pub(super) const COUNT: usize = 4;
    /// All of them, in their order.
    const ALL: [Self; Self::COUNT] = [
        Self::Authentication,
        Self::Authorization,
        Self::Connection,
        Self::Response,
    ];
}

/// A step that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Which.
    pub step: Step,
    /// Its span.
    pub span: SpanId,
    /// From the request's beginning to the step's first.
    pub begins: Duration,
    /// From the request's beginning to the step's last end: what is sent again has two of them.
    pub ends: Duration,
    /// Whether the request failed in it.
    pub failed: bool,
}

/// The steps of one request, while it runs.
pub(super) struct Steps {
    spans: [SpanId; Step::COUNT],
    times: [Option<(Instant, Instant)>; Step::COUNT],
    running: Option<Step>,
    failed: Option<Step>,
}

impl Steps {
    pub(super) fn new(ids: [[u8; 8]; Step::COUNT]) -> Option<Self> {
        let [one, two, three, four] = ids.map(SpanId::of);
        Some(Self {
            spans: [one?, two?, three?, four?],
            times: [None; Step::COUNT],
            running: None,
            failed: None,
        })
    }

    /// The span of the cluster's answer.
    pub(super) fn response(&self) -> SpanId {
        let [.., response] = self.spans;
        response
    }

    pub(super) fn enter(&mut self, step: Step, now: Instant) {
        self.leave(now);
        self.running = Some(step);
        if let Some(time) = self.times.get_mut(step as usize) {
            let (begin, _) = time.unwrap_or((now, now));
            *time = Some((begin, now));
        }
    }

    pub(super) fn leave(&mut self, now: Instant) {
        let running = self.running.take();
        let time = running.and_then(|step| self.times.get_mut(step as usize));
        if let Some((_, end)) = time.and_then(Option::as_mut) {
            *end = now;
        }
    }

    pub(super) fn fail(&mut self) {
        self.failed = self.running.or(self.failed);
    }

    /// Those that were taken by a request that began then.
    pub(super) fn taken(&self, began: Instant) -> Vec<Taken> {
        let all = Step::ALL.into_iter().zip(self.spans).zip(self.times);
        let taken = all.filter_map(|((step, span), time)| {
            let (from, to) = time?;
            Some(Taken {
                step,
                span,
                begins: from.saturating_duration_since(began),
                ends: to.saturating_duration_since(began),
                failed: self.failed == Some(step),
            })
        });
        taken.collect()
    }
}

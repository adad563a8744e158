//! A traced request that has ended, as it waits for the exporter.

use super::{Remote, SpanId, Step, Trace, TraceId, steps::Taken};
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// What is told of a request beside its times. Nothing of it is a secret, a person's name or a path.
#[derive(Debug, Default)]
pub struct About {
    /// Its id, as the client and the cluster know it.
    pub request_id: String,
    /// Where it went, as a class.
    pub route: &'static str,
    /// The cluster as it was asked for; empty: none, or the client is not known.
    pub cluster: String,
    /// What it does, in Kubernetes' words; empty likewise.
    pub verb: String,
    /// To what; empty likewise, or if it is no resource.
    pub resource: String,
    /// `None`: the client went away before there was an answer.
    pub code: Option<u16>,
    /// Whose fault it is, if the gateway refused it or failed.
    pub fault: Option<&'static str>,
    /// Whether the answer broke off before its end.
    pub cut: bool,
}

/// One of them.
#[derive(Debug)]
pub struct Finished {
    /// The trace that it is in.
    pub trace: TraceId,
    /// Its own span.
    pub span: SpanId,
    /// The client's span, if it is in the client's trace.
    pub parent: Option<SpanId>,
    /// The client's span, if it is linked to.
    pub link: Option<Remote>,
    /// The method; `_OTHER` if OpenTelemetry does not know it.
    pub method: &'static str,
    /// What it was.
    pub about: About,
    /// When it came.
    pub began: Timestamp,
    /// From its head to the end of its answer.
    pub took: Duration,
    /// Its steps, in order.
    pub steps: Vec<Taken>,
}

impl Finished {
    pub(super) fn new(trace: &Trace, about: About, ended: Instant) -> Self {
        Self {
            trace: trace.id,
            span: trace.span,
            parent: trace.parent,
            link: trace.client,
            method: trace.method,
            about,
            began: trace.arrived,
            took: ended.saturating_duration_since(trace.began),
            steps: trace.steps.taken(trace.began),
        }
    }

    /// How many spans it is: its own, and its steps'.
    pub fn spans(&self) -> u64 {
        1 + self.steps.len() as u64
    }

    /// The step, if it was taken.
    pub fn step(&self, step: Step) -> Option<&Taken> {
        self.steps.iter().find(|taken| taken.step == step)
    }
}

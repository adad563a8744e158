//! Traces: the way of one request, for those who follow it through several systems.
//!
//! A request that is traced is one span from its head to the end of its answer, with spans below it for who
//! sends it, whether they may, the wait for a connection, and the cluster's answer. Which requests are traced
//! the gateway's own lot decides, whatever clients send; what is not traced costs the drawing of that lot, and
//! a gateway that exports no traces not even that. A span is told of when its request has ended: it waits in
//! a bounded queue for the exporter (`otlp`, behind the cargo feature of that name), and one that finds no
//! place there is dropped and counted, so that no request waits.
//!
//! What could go wrong:
//! - a secret or a person in a span: its values are words of this program, an id, and, of requests of people
//!   whom the gateway knows, the cluster, verb and resource as the log line has them; a test holds it;
//! - a client that has all of its requests traced, or ties them to somebody else's trace: the `traceparent`
//!   that it sends has no say in the lot, and becomes a link, or, with `tracing.client_context: parent` and
//!   once the gateway knows who it is, the parent ([`ClientContext`]).

mod context;
mod finished;
mod steps;

#[cfg(feature = "otlp")]
mod otlp;

pub use context::{Remote, SpanId, TraceId};
pub use finished::{About, Finished};
pub use steps::{Step, Taken};

use super::metrics::{cells::Table, labels::SpanEnd};
use crate::status::clock;
use aws_lc_rs::rand;
use http::{HeaderMap, HeaderValue, Method};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use steps::Steps;
use tokio::sync::mpsc;

/// Whether this program can export traces.
pub const BUILT_IN: bool = cfg!(feature = "otlp");

/// Traced requests that wait to be exported: some seconds of a busy gateway, about 2 MiB.
const QUEUE: usize = 2048;

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `http[s]://host[:port]`, without a path.
    pub endpoint: String,
    /// PEM file with the authorities of an `https` collector; `None`: the public ones.
    pub ca_file: Option<PathBuf>,
}

/// What is made of the `traceparent` that a client sends (W3C Trace Context).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientContext {
    /// The request's trace is one of its own, with a link to the client's.
    Link,
    /// The request is in the client's trace, once the gateway knows who the client is; until then, a link.
    Parent,
}

/// Why traces cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The cargo feature is missing.
    #[error("cannot export traces: this palisade was built without the cargo feature otlp")]
    NotBuiltIn,
    /// The collector's URL.
    #[error("cannot export traces to {0} (tracing.otlp.endpoint)")]
    Endpoint(String),
    /// The file with the collector's authorities.
    #[error("cannot use {} (tracing.otlp.ca_file): {why}", file.display())]
    Ca {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// TLS cannot be set up.
    #[error("cannot export traces")]
    Tls(#[from] rustls::Error),
}

/// Exports what the tracer's requests tell, until it is finished.
pub struct Exporter {
    #[cfg(feature = "otlp")]
    inner: otlp::Exporter,
    /// There is none without the feature.
    #[cfg(not(feature = "otlp"))]
    none: std::convert::Infallible,
}

impl Exporter {
    /// Begins to export. Must be called within a runtime.
    #[cfg(feature = "otlp")]
    pub fn start(
        settings: &Settings,
        waiting: mpsc::Receiver<Finished>,
        ends: Arc<Table<SpanEnd>>,
    ) -> Result<Self, TraceError> {
        let inner = otlp::Exporter::start(settings, waiting, ends)?;
        Ok(Self { inner })
    }

    /// Begins to export.
    #[cfg(not(feature = "otlp"))]
    pub fn start(
        _: &Settings,
        _: mpsc::Receiver<Finished>,
        _: Arc<Table<SpanEnd>>,
    ) -> Result<Self, TraceError> {
        Err(TraceError::NotBuiltIn)
    }

    /// Sends what is left, for so long at most.
    #[cfg(feature = "otlp")]
    pub async fn finish(self, within: Duration) {
        self.inner.finish(within).await;
    }

    /// Sends what is left, for so long at most.
    #[cfg(not(feature = "otlp"))]
    pub fn finish(self, _: Duration) -> std::future::Ready<()> {
        match self.none {}
    }
}

/// Decides which requests are traced.
pub struct Tracer {
    /// Of so many requests one is traced, as it is whenever somebody looks.
    one_in: Box<dyn Fn() -> u32 + Send + Sync>,
    client_context: ClientContext,
    lots: Lots,
    queue: mpsc::Sender<Finished>,
    ends: Arc<Table<SpanEnd>>,
}

impl Tracer {
    /// A tracer, and where what it tells of comes out.
    pub fn new(
        one_in: impl Fn() -> u32 + Send + Sync + 'static,
        client_context: ClientContext,
        ends: Arc<Table<SpanEnd>>,
    ) -> (Arc<Self>, mpsc::Receiver<Finished>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let tracer = Self {
            one_in: Box::new(one_in),
            client_context,
            lots: Lots::new(),
            queue,
            ends,
        };
        (Arc::new(tracer), waiting)
    }

    /// The trace of a request, if it is to be traced.
    pub fn begin(self: &Arc<Self>, method: &Method, headers: &HeaderMap) -> Option<Box<Trace>> {
        if !self.lots.draw((self.one_in)()) {
            return None;
        }
        let [trace, span, steps @ ..] = ids()?;
        Some(Box::new(Trace {
            tracer: Arc::clone(self),
            began: Instant::now(),
            arrived: clock::now(),
            id: TraceId::of(trace, span)?,
            span: SpanId::of(span)?,
            parent: None,
            client: Remote::read(headers),
            method: known(method),
            steps: Steps::new(steps)?,
        }))
    }
}

/// One request that is traced.
pub struct Trace {
    tracer: Arc<Tracer>,
    began: Instant,
    arrived: Timestamp,
    id: TraceId,
    span: SpanId,
    /// The client's span, once the request is in its trace.
    parent: Option<SpanId>,
    /// The client's span, while it is no more than linked to.
    client: Option<Remote>,
    method: &'static str,
    steps: Steps,
}

impl Trace {
    /// The gateway knows who sends it: the client's trace may be its own now.
    pub fn known_client(&mut self) {
        if self.tracer.client_context == ClientContext::Parent
            && let Some(client) = self.client.take()
        {
            self.id = client.trace;
            self.parent = Some(client.span);
        }
    }

    /// What a cluster is told.
    pub fn onward(&self) -> Onward {
        Onward {
            traceparent: context::traceparent(self.id, self.steps.response()),
            is_clients: self.parent.is_some(),
        }
    }

    /// A step begins, and ends the one before it.
    pub fn enter(&mut self, step: Step, now: Instant) {
        self.steps.enter(step, now);
    }

    /// The step that runs ends.
    pub fn leave(&mut self, now: Instant) {
        self.steps.leave(now);
    }

    /// The request fails in the step that runs, if one does.
    pub fn fail(&mut self) {
        self.steps.fail();
    }

    /// The request has ended.
    pub fn finish(mut self: Box<Self>, about: About) {
        let ended = Instant::now();
        self.steps.leave(ended);
        let tracer = Arc::clone(&self.tracer);
        let finished = Finished::new(&self, about, ended);
        if let Err(full) = tracer.queue.try_send(finished) {
            let lost = full.into_inner();
            tracer.ends.add(SpanEnd::QueueFull, lost.spans());
        }
    }
}

/// What a cluster is told of the trace.
#[derive(Clone, Debug)]
pub struct Onward {
    /// The gateway's own span as the parent.
    pub traceparent: HeaderValue,
    /// Whether the trace is the client's: its `tracestate` belongs to it then, and else to nothing.
    pub is_clients: bool,
}

/// Lots that nobody outside can foresee or influence: the numbers of a counter, each scattered over all
/// values. A client that chose its trace's id would choose its lot, if that were drawn from the id.
struct Lots {
    seed: u64,
    count: AtomicU64,
}

impl Lots {
    fn new() -> Self {
        let mut seed = [0; 8];
        // Without random bytes the lots are foreseeable, and still not to be influenced.
        let _ = rand::fill(&mut seed);
        Self {
            seed: u64::from_ne_bytes(seed),
            count: AtomicU64::new(0),
        }
    }

    /// True once in so many times, on average.
    fn draw(&self, one_in: u32) -> bool {
        let count = self.count.fetch_add(1, Relaxed);
        // SplitMix64 (Steele, Lea, Flood 2014), which visits every value once.
        let mut lot = (self.seed.wrapping_add(count)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        lot = (lot ^ (lot >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        lot = (lot ^ (lot >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        lot ^= lot >> 31;
        lot <= u64::MAX / u64::from(one_in.max(1))
    }
}

/// Random bytes for a trace, its first span, and the spans of its steps.
fn ids() -> Option<[[u8; 8]; 2 + Step::COUNT]> {
    let mut ids = [[0; 8]; 2 + Step::COUNT];
    // Fails only where nothing that needs random bytes works; then nothing is traced.
    rand::fill(ids.as_flattened_mut()).ok()?;
    Some(ids)
}

/// Methods that OpenTelemetry knows; a client could send any other word.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "CONNECT" => "CONNECT",
        "DELETE" => "DELETE",
        "GET" => "GET",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        "POST" => "POST",
        "PUT" => "PUT",
        "TRACE" => "TRACE",
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests;

//! What the gateway counts, and `/metrics`.
//!
//! Guarantees: every metric is in the catalogue, with all values that its labels can have, and nothing
//! else is shown; an observation allocates nothing and takes no lock; the number of series is bounded,
//! whatever clients send.
//!
//! [`cells`] is what is counted in, [`labels`] what it is told apart by, [`catalog`] what there is, and
//! [`docs`] makes docs/metrics.md of it. What a part knows by itself (a queue's length, an age) is not
//! counted but asked for at every scrape ([`Metrics::sample`]).

pub mod catalog;
pub mod cells;
pub mod docs;
pub mod labels;
pub mod meter;
mod page;
mod process;
mod reload;
pub mod times;

pub use labels::HandshakeEnd;
pub use meter::{Meter, Meters};
pub use page::Family;
pub use reload::Reloads;
pub use times::{Part, Times};

use catalog::Metric;
use cells::{Counter, Gauge, Grid, Histogram, Table};
use labels::{
    Authentication, Authorization, LoginEnd, RefreshEnd, Route, SpanEnd, TerminalStep, TerminalWay,
};
use page::Page;
use process::Process;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// All metrics of this process.
pub struct Metrics {
    /// Connections that are open, handshakes included.
    pub connections_open: Gauge,
    /// Handshakes, by how they ended.
    pub handshakes: Table<HandshakeEnd>,
    /// Requests that came in.
    pub requests_received: Counter,
    /// The gateway's own share of requests.
    pub own_share: Table<Route, OwnShare>,
    /// What became of credentials.
    pub authentications: Table<Authentication>,
    /// What the policy said.
    pub authorizations: Table<Authorization>,
    /// How logins ended.
    pub logins: Arc<Table<LoginEnd>>,
    /// What happened to logins of terminals by way of a browser.
    pub terminals: Arc<Grid<TerminalWay, TerminalStep>>,
    /// What came of reading accounts again at their providers.
    pub refreshes: Arc<Table<RefreshEnd>>,
    /// What became of spans.
    pub spans: Arc<Table<SpanEnd>>,
    /// What is counted of each cluster.
    pub meters: Arc<Meters>,
    /// What is read again while the gateway runs.
    pub reloads: Reloads,
    process: Process,
    samples: Mutex<Vec<Sample>>,
}

/// A histogram of the gateway's own share.
#[derive(Debug)]
pub struct OwnShare(pub Histogram);

impl Default for OwnShare {
    fn default() -> Self {
        Self(Histogram::new(catalog::OWN_BUCKETS))
    }
}

/// What is asked for at every scrape.
struct Sample {
    metric: &'static Metric,
    fill: Fill,
}

/// Writes a family's series.
type Fill = Arc<dyn Fn(&mut Family<'_>) -> fmt::Result + Send + Sync>;

impl Metrics {
    /// The set, everything at 0.
    pub fn new() -> Self {
        Self {
            connections_open: Gauge::default(),
            handshakes: Table::default(),
            requests_received: Counter::default(),
            own_share: Table::default(),
            authentications: Table::default(),
            authorizations: Table::default(),
            logins: Arc::default(),
            terminals: Arc::default(),
            refreshes: Arc::default(),
            spans: Arc::default(),
            meters: Arc::default(),
            reloads: Reloads::default(),
            process: Process::new(),
            samples: Mutex::default(),
        }
    }

    /// From now on `fill` is asked for this metric at every scrape. It must be quick and must not block.
    pub fn sample(
        &self,
        metric: &'static Metric,
        fill: impl Fn(&mut Family<'_>) -> fmt::Result + Send + Sync + 'static,
    ) {
        let fill: Fill = Arc::new(fill);
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.retain(|sample| !std::ptr::eq(sample.metric, metric));
        samples.push(Sample { metric, fill });
    }

    /// The text that `/metrics` answers with.
    pub fn encode(self: &Arc<Self>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape(Arc::clone(self))));
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut text, &registry);
        text
    }

    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        self.write_requests(page)?;
        self.write_streams(page)?;
        self.write_clusters(page)?;
        page.family(&catalog::CONNECTIONS_OPEN, |f| {
            f.gauge(&[], self.connections_open.get())
        })?;
        page.family(&catalog::HANDSHAKES, |f| f.table(&[], &self.handshakes))?;
        page.family(&catalog::SPANS, |f| f.table(&[], &self.spans))?;
        self.reloads.write(page)?;
        page.family(&catalog::BUILD, |f| f.info(&[env!("CARGO_PKG_VERSION")]))?;
        // Not under the lock: whoever is asked may register something.
        let samples: Vec<_> = {
            let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            let both = samples.iter();
            both.map(|sample| (sample.metric, Arc::clone(&sample.fill)))
                .collect()
        };
        for (metric, fill) in samples {
            page.family(metric, |family| fill(family))?;
        }
        self.process.write(page)
    }

    fn write_requests(&self, page: &mut Page<'_>) -> fmt::Result {
        let all = self.meters.all();
        page.family(&catalog::REQUESTS, |f| {
            for meter in &all {
                for (verb, of) in meter.verbs() {
                    for (code, blame, count) in of.answers() {
                        f.count(&[meter.name(), verb, &code, blame], count)?;
                    }
                }
            }
            Ok(())
        })?;
        page.family(&catalog::REQUESTS_RECEIVED, |f| {
            f.count(&[], self.requests_received.get())
        })?;
        page.family(&catalog::IN_FLIGHT, |f| {
            let mut meters = all.iter();
            meters.try_for_each(|meter| f.gauge(&[meter.name()], meter.in_flight.get()))
        })?;
        page.family(&catalog::OWN_SHARE, |f| {
            let mut routes = self.own_share.iter();
            routes.try_for_each(|(route, share)| f.histogram(&[route], &share.0))
        })?;
        page.family(&catalog::AUTHENTICATIONS, |f| {
            f.table(&[], &self.authentications)
        })?;
        page.family(&catalog::AUTHORIZATIONS, |f| {
            f.table(&[], &self.authorizations)
        })?;
        page.family(&catalog::LOGINS, |f| f.table(&[], &self.logins))?;
        page.family(&catalog::TERMINAL_LOGINS, |f| f.grid(&[], &self.terminals))?;
        page.family(&catalog::REFRESHES, |f| f.table(&[], &self.refreshes))
    }

    fn write_streams(&self, page: &mut Page<'_>) -> fmt::Result {
        let mut each = of_each(page, self.meters.all());
        each(&catalog::STREAMS_OPEN, &|f, meter| {
            f.gauges(&[meter.name()], &meter.streams_open)
        })?;
        each(&catalog::STREAMS, &|f, meter| {
            f.table(&[meter.name()], &meter.streams)
        })?;
        each(&catalog::STREAM_BYTES, &|f, meter| {
            f.grid(&[meter.name()], &meter.stream_bytes)
        })
    }

    fn write_clusters(&self, page: &mut Page<'_>) -> fmt::Result {
        let mut each = of_each(page, self.meters.of_clusters());
        each(&catalog::RESPONSES, &|f, meter| {
            let mut verbs = meter.verbs();
            verbs.try_for_each(|(verb, of)| f.histogram(&[meter.name(), verb], &of.responses))
        })?;
        each(&catalog::WAITS, &|f, meter| {
            f.histogram(&[meter.name()], &meter.waits)
        })?;
        each(&catalog::LINKS_OPEN, &|f, meter| {
            f.gauges(&[meter.name()], &meter.links_open)
        })?;
        each(&catalog::DIALS, &|f, meter| {
            f.grid(&[meter.name()], &meter.dials)
        })?;
        each(&catalog::FAILURES, &|f, meter| {
            f.table(&[meter.name()], &meter.failures)
        })?;
        each(&catalog::RETRIES, &|f, meter| {
            f.count(&[meter.name()], meter.retries.get())
        })
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes the series of one meter.
type OfMeter<'w> = &'w dyn Fn(&mut Family<'_>, &Meter) -> fmt::Result;

/// Writes a metric for each of these meters.
fn of_each<'p>(
    page: &'p mut Page<'_>,
    meters: Vec<Arc<Meter>>,
) -> impl FnMut(&'static Metric, OfMeter<'_>) -> fmt::Result + 'p {
    move |metric, write| {
        page.family(metric, |f| {
            meters.iter().try_for_each(|meter| write(f, meter))
        })
    }
}

/// One scrape: what the library's registry asks.
struct Scrape(Arc<Metrics>);

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.write(&mut Page { encoder })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_the_build_and_what_was_counted() {
        let metrics = Arc::new(Metrics::new());
        metrics.connections_open.inc();
        metrics.handshakes.inc(HandshakeEnd::TimedOut);
        let text = metrics.encode();
        assert!(text.contains("palisade_build_info{version=\""), "{text}");
        assert!(text.contains("palisade_connections_open 1\n"), "{text}");
        assert!(
            text.contains("palisade_handshakes_total{result=\"timed_out\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("palisade_handshakes_total{result=\"done\"} 0\n"),
            "{text}"
        );
        assert!(
            text.contains("# UNIT process_cpu_seconds seconds\nprocess_cpu_seconds_total "),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn what_is_sampled_twice_is_shown_once() {
        let metrics = Arc::new(Metrics::new());
        for value in [1, 2] {
            metrics.sample(&catalog::CONNECTIONS_OPEN, move |f| f.gauge(&[], value));
        }
        let samples = metrics.samples.lock().unwrap();
        assert_eq!(samples.len(), 1);
    }
}

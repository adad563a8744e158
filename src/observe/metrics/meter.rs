//! What is counted of one cluster.
//!
//! A cluster's [`Meter`] is made when it is registered and hangs on its entry in the registry, so that a
//! request finds it where it finds the cluster. When the cluster goes its meter goes, and its series with
//! it; requests that still run count into nothing.
//!
//! What could go wrong: series without end. There are at most [`CLUSTERS`] meters with a name; further
//! clusters share one, and so do all names that are not registered.

use super::{
    catalog::{ANSWER_BUCKETS, WAIT_BUCKETS},
    cells::{Counter, Gauge, Grid, Histogram, Table},
    labels::{Blame, DialEnd, Direction, LinkKind, StreamKind, UpstreamFailure, Verb},
};
use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

/// Clusters with series of their own; further ones are counted together. With all verbs in use each takes
/// 16 KiB here and 500 lines of a scrape.
pub const CLUSTERS: usize = 1000;

// Names of clusters are DNS labels: none has an underscore.
/// The gateway's own API, login and pages.
pub const GATEWAY: &str = "_gateway";
/// Every name that is not registered.
pub const UNKNOWN: &str = "_unknown";
/// Clusters beyond [`CLUSTERS`].
pub const OTHERS: &str = "_other";

/// Status codes that are told apart: what API servers, the gateway and common web applications answer
/// with, and 499 for a client that left before its answer. In order.
const CODES: [u16; 36] = [
    101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408,
    409, 410, 411, 412, 413, 414, 415, 416, 422, 429, 431, 499, 500, 501, 502, 503, 504,
];

/// All values of the label `code`.
pub fn codes() -> Vec<String> {
    let codes = CODES.iter().map(u16::to_string);
    codes.chain(["other".to_owned()]).collect()
}

/// What is counted of one cluster.
pub struct Meter {
    name: Box<str>,
    /// Requests that are under way, less open streams.
    pub in_flight: Gauge,
    verbs: Table<Verb, OnceLock<Box<OfVerb>>>,
    pub(super) streams_open: Table<StreamKind, Gauge>,
    pub(super) streams: Table<StreamKind>,
    pub(super) stream_bytes: Grid<StreamKind, Direction>,
    pub(super) links_open: Table<LinkKind, Gauge>,
    /// Attempts to connect.
    pub dials: Grid<LinkKind, DialEnd>,
    /// Requests without an answer.
    pub failures: Table<UpstreamFailure>,
    /// Requests that were sent a second time.
    pub retries: Counter,
    /// Waiting for a place on a connection.
    pub waits: Histogram,
}

/// What is counted of one verb; made when its first request ends.
pub(super) struct OfVerb {
    /// For each code, and the others together, one of each blame.
    answers: Box<[Table<Blame>]>,
    /// From the request's sending to the head of the cluster's answer.
    pub(super) responses: Histogram,
}

impl OfVerb {
    fn new() -> Self {
        Self {
            answers: (0..=CODES.len()).map(|_| Table::default()).collect(),
            responses: Histogram::new(ANSWER_BUCKETS),
        }
    }

    /// Every code and blame that was seen, with its number.
    pub(super) fn answers(&self) -> impl Iterator<Item = (String, &'static str, u64)> {
        codes()
            .into_iter()
            .zip(&self.answers)
            .flat_map(|(code, blames)| {
                let seen = blames.iter().filter(|(_, cell)| cell.get() > 0);
                seen.map(move |(blame, cell)| (code.clone(), blame, cell.get()))
            })
    }
}

impl Meter {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            in_flight: Gauge::default(),
            verbs: Table::default(),
            streams_open: Table::default(),
            streams: Table::default(),
            stream_bytes: Table::default(),
            links_open: Table::default(),
            dials: Table::default(),
            failures: Table::default(),
            retries: Counter::default(),
            waits: Histogram::new(WAIT_BUCKETS),
        })
    }

    /// The value of the label `cluster`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A request with this verb ended.
    pub fn ended(&self, verb: Verb, code: u16, blame: Blame) {
        let place = CODES.binary_search(&code).unwrap_or(CODES.len());
        let answers = self.of(verb).and_then(|of| of.answers.get(place));
        if let Some(blames) = answers {
            blames.inc(blame);
        }
    }

    /// The head of the cluster's answer took so long.
    pub fn responded(&self, verb: Verb, took: Duration) {
        if let Some(of) = self.of(verb) {
            of.responses.observe(took);
        }
    }

    fn of(&self, verb: Verb) -> Option<&OfVerb> {
        let cell = self.verbs.at(verb)?;
        Some(cell.get_or_init(|| Box::new(OfVerb::new())))
    }

    /// Every verb that was seen.
    pub(super) fn verbs(&self) -> impl Iterator<Item = (&'static str, &OfVerb)> {
        let verbs = self.verbs.iter();
        verbs.filter_map(|(verb, cell)| Some((verb, &**cell.get()?)))
    }
}

/// An open stream, until it is dropped.
pub struct Stream {
    meter: Arc<Meter>,
    kind: StreamKind,
}

impl Stream {
    /// Counts a stream that has just begun.
    pub fn open(meter: Arc<Meter>, kind: StreamKind) -> Self {
        meter.streams.inc(kind);
        if let Some(open) = meter.streams_open.at(kind) {
            open.inc();
        }
        Self { meter, kind }
    }

    /// So many bytes went this way.
    pub fn carried(&self, direction: Direction, bytes: u64) {
        self.meter.stream_bytes.add(self.kind, direction, bytes);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(open) = self.meter.streams_open.at(self.kind) {
            open.dec();
        }
    }
}

/// An open connection to a cluster, until it is dropped.
pub struct Link {
    meter: Arc<Meter>,
    kind: LinkKind,
}

impl Link {
    /// Counts a connection that has just been made.
    pub fn open(meter: Arc<Meter>, kind: LinkKind) -> Self {
        if let Some(open) = meter.links_open.at(kind) {
            open.inc();
        }
        Self { meter, kind }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(open) = self.meter.links_open.at(self.kind) {
            open.dec();
        }
    }
}

/// The meters there are.
pub struct Meters {
    /// Of what goes to no cluster.
    pub gateway: Arc<Meter>,
    /// Of every name that is not registered.
    pub unknown: Arc<Meter>,
    others: Arc<Meter>,
    /// By name. Locked when a cluster comes or goes, and by a scrape.
    named: Mutex<Vec<Arc<Meter>>>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            gateway: Meter::new(GATEWAY),
            unknown: Meter::new(UNKNOWN),
            others: Meter::new(OTHERS),
            named: Mutex::default(),
        }
    }
}

impl Meters {
    /// A meter for a cluster that was registered; the shared one if there are too many.
    pub fn take(&self, cluster: &str) -> Arc<Meter> {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        // A name that still has one is registered anew: the old series end here.
        named.retain(|meter| meter.name() != cluster);
        if named.len() >= CLUSTERS {
            return Arc::clone(&self.others);
        }
        let meter = Meter::new(cluster);
        let at = named.partition_point(|other| other.name() < cluster);
        named.insert(at, Arc::clone(&meter));
        meter
    }

    /// The cluster of this meter is gone, and its series with it.
    pub fn give_back(&self, meter: &Arc<Meter>) {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.retain(|other| !Arc::ptr_eq(other, meter));
    }

    /// Those to show.
    pub(super) fn all(&self) -> Vec<Arc<Meter>> {
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = [&self.gateway, &self.unknown, &self.others];
        shared.into_iter().chain(named.iter()).cloned().collect()
    }

    /// Those of clusters, to show.
    pub(super) fn of_clusters(&self) -> Vec<Arc<Meter>> {
        let mut all = self.all();
        all.retain(|meter| {
            !Arc::ptr_eq(meter, &self.gateway) && !Arc::ptr_eq(meter, &self.unknown)
        });
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_others_fall_together() {
        assert!(CODES.is_sorted());
        let meter = Meter::new("a");
        for code in [200, 299, 600, 404] {
            meter.ended(Verb::Get, code, Blame::None);
        }
        let (verb, seen) = meter.verbs().next().unwrap();
        let seen: Vec<_> = seen.answers().collect();
        assert_eq!(verb, "get");
        let expected = [("200", 1), ("404", 1), ("other", 2)];
        assert_eq!(seen, expected.map(|(code, n)| (code.to_owned(), "none", n)));
    }

    #[test]
    fn clusters_beyond_the_bound_share_a_meter_and_a_place_that_is_free_is_taken() {
        let meters = Meters::default();
        let all: Vec<_> = (0..CLUSTERS)
            .map(|at| meters.take(&format!("c{at}")))
            .collect();
        assert_eq!(meters.take("one-more").name(), OTHERS);
        assert_eq!(meters.take("another").name(), OTHERS);
        assert_eq!(meters.all().len(), CLUSTERS + 3);
        meters.give_back(&meters.others);
        meters.give_back(&all[7]);
        assert_eq!(meters.take("another").name(), "another");
        assert_eq!(meters.all().len(), CLUSTERS + 3);
    }

    #[test]
    fn a_name_that_is_registered_anew_begins_at_0() {
        let meters = Meters::default();
        let first = meters.take("prod");
        first.retries.inc();
        let second = meters.take("prod");
        assert_eq!(second.retries.get(), 0);
        assert_eq!(meters.all().len(), 4);
        // The first is given back late: the second stays.
        meters.give_back(&first);
        assert_eq!(meters.all().len(), 4);
    }

    #[test]
    fn streams_and_connections_return_to_0() {
        let meter = Meter::new("a");
        let stream = Stream::open(Arc::clone(&meter), StreamKind::Exec);
        stream.carried(Direction::ToCluster, 9);
        let link = Link::open(Arc::clone(&meter), LinkKind::Upgrade);
        let open = || {
            let streams: i64 = meter.streams_open.iter().map(|(_, cell)| cell.get()).sum();
            let links: i64 = meter.links_open.iter().map(|(_, cell)| cell.get()).sum();
            (streams, links)
        };
        assert_eq!(open(), (1, 1));
        drop((stream, link));
        assert_eq!(open(), (0, 0));
        assert_eq!(meter.streams.at(StreamKind::Exec).unwrap().get(), 1);
    }

    #[test]
    fn what_a_request_does_allocates_nothing_once_its_verb_is_known() {
        let meter = Meter::new("a");
        let request = || {
            meter.in_flight.inc();
            meter.waits.observe(Duration::from_micros(3));
            meter.responded(Verb::List, Duration::from_millis(3));
            let stream = Stream::open(Arc::clone(&meter), StreamKind::Watch);
            stream.carried(Direction::ToClient, 100);
            drop(stream);
            meter.ended(Verb::List, 200, Blame::None);
            meter.in_flight.dec();
        };
        request();
        assert_eq!(allocation_counter::measure(request).count_total, 0);
    }
}

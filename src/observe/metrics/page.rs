//! One answer of `/metrics` while it is written.
//!
//! A family is written whole and once (OpenMetrics, section 4.4: families must not be interleaved), with
//! the labels that the catalogue says it has.

use super::{
    catalog::{Kind, Metric},
    cells::{Counter, Gauge, Grid, Histogram, Label, Table},
};
use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder},
    metrics::MetricType,
    registry::Unit,
};
use std::fmt;

static SECONDS: Unit = Unit::Seconds;
static BYTES: Unit = Unit::Bytes;

/// Values of a series' labels, in the metric's order.
type Values<'a> = &'a [&'a str];

/// The answer.
pub(super) struct Page<'a> {
    pub(super) encoder: DescriptorEncoder<'a>,
}

impl Page<'_> {
    /// Writes a metric's head; its series follow by `fill`.
    pub(super) fn family(
        &mut self,
        metric: &'static Metric,
        fill: impl FnOnce(&mut Family<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let (name, kind) = match metric.kind {
            Kind::Counter => (metric.name.strip_suffix("_total"), MetricType::Counter),
            Kind::Info => (metric.name.strip_suffix("_info"), MetricType::Info),
            Kind::Gauge => (None, MetricType::Gauge),
            Kind::Histogram(_) => (None, MetricType::Histogram),
        };
        let name = name.unwrap_or(metric.name);
        let (name, unit) = [&SECONDS, &BYTES]
            .into_iter()
            .find_map(|unit| {
                let name = name.strip_suffix(unit.as_str())?.strip_suffix('_')?;
                Some((name, Some(unit)))
            })
            .unwrap_or((name, None));
        let encoder = self
            .encoder
            .encode_descriptor(name, metric.help, unit, kind)?;
        fill(&mut Family { encoder, metric })
    }
}

/// One metric while its series are written.
pub struct Family<'a> {
    encoder: MetricEncoder<'a>,
    metric: &'static Metric,
}

impl Family<'_> {
    fn series(
        &mut self,
        values: Values<'_>,
        write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let names = self.metric.labels.iter().map(|label| label.name);
        let labels: Vec<(&str, &str)> = names.zip(values.iter().copied()).collect();
        debug_assert_eq!(
            (labels.len(), values.len()),
            (self.metric.labels.len(), self.metric.labels.len()),
            "{} has other labels",
            self.metric.name
        );
        let labels = labels.as_slice();
        if labels.is_empty() {
            return write(&mut self.encoder);
        }
        write(&mut self.encoder.encode_family(&labels)?)
    }

    /// A counter's series.
    pub fn count(&mut self, values: Values<'_>, value: u64) -> fmt::Result {
        self.series(values, |encoder| {
            encoder.encode_counter::<[(&str, &str); 0], _, u64>(&value, None)
        })
    }

    /// A counter's series with a value that is no whole number: seconds.
    pub(super) fn sum(&mut self, values: Values<'_>, value: f64) -> fmt::Result {
        self.series(values, |encoder| {
            encoder.encode_counter::<[(&str, &str); 0], _, u64>(&value, None)
        })
    }

    /// A gauge's series.
    pub fn gauge(&mut self, values: Values<'_>, value: i64) -> fmt::Result {
        self.series(values, |encoder| encoder.encode_gauge(&value))
    }

    /// A gauge's series with a value that is no whole number: seconds.
    pub fn level(&mut self, values: Values<'_>, value: f64) -> fmt::Result {
        self.series(values, |encoder| encoder.encode_gauge(&value))
    }

    /// A histogram's series.
    pub(super) fn histogram(&mut self, values: Values<'_>, value: &Histogram) -> fmt::Result {
        let (sum, buckets) = value.read();
        // From the buckets themselves, so that it is the last bucket's number whatever comes in meanwhile.
        let count = buckets.iter().map(|(_, count)| count).sum();
        self.series(values, |encoder| {
            encoder.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
        })
    }

    /// What the program says of itself.
    pub(super) fn info(&mut self, values: Values<'_>) -> fmt::Result {
        let names = self.metric.labels.iter().map(|label| label.name);
        let labels: Vec<(&str, &str)> = names.zip(values.iter().copied()).collect();
        self.encoder.encode_info(&labels)
    }

    /// A series for each value of a label, after these `front` ones.
    pub(super) fn table<L: Label>(
        &mut self,
        front: Values<'_>,
        table: &Table<L, Counter>,
    ) -> fmt::Result {
        for (word, cell) in table.iter() {
            self.count(&[front, &[word]].concat(), cell.get())?;
        }
        Ok(())
    }

    /// The same for gauges.
    pub(super) fn gauges<L: Label>(
        &mut self,
        front: Values<'_>,
        table: &Table<L, Gauge>,
    ) -> fmt::Result {
        for (word, cell) in table.iter() {
            self.gauge(&[front, &[word]].concat(), cell.get())?;
        }
        Ok(())
    }

    /// A series for each pair of values.
    pub(super) fn grid<A: Label, B: Label>(
        &mut self,
        front: Values<'_>,
        grid: &Grid<A, B>,
    ) -> fmt::Result {
        for (word, row) in grid.iter() {
            self.table(&[front, &[word]].concat(), row)?;
        }
        Ok(())
    }
}

//! What is counted in: atomics, made once and never looked up by text.
//!
//! An observation takes no lock and allocates nothing; a test holds that. A label's values are those of an
//! enum, so a table has its whole size from the start and nobody outside can make it grow.

use std::{
    marker::PhantomData,
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use strum::VariantArray;

/// The values of one label; as text they are its variants in `snake_case`.
pub trait Label: Copy + PartialEq + VariantArray + Into<&'static str> + 'static {}

impl<L: Copy + PartialEq + VariantArray + Into<&'static str> + 'static> Label for L {}

/// All values of a label, as text.
pub fn words<L: Label>() -> Vec<String> {
    let words = L::VARIANTS.iter().map(|value| (*value).into());
    words.map(str::to_owned).collect()
}

/// Where a value stands among its label's; a few comparisons of bytes.
fn place<L: Label>(value: L) -> usize {
    let places = L::VARIANTS.iter();
    places.take_while(|other| **other != value).count()
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// One more.
    pub fn inc(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// One less.
    pub fn dec(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// So many less.
    pub fn sub(&self, less: u64) {
        let less = i64::try_from(less).unwrap_or(i64::MAX);
        self.0.fetch_sub(less, Relaxed);
    }

    /// So many from now on.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// How many now.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// A cell for each value of a label.
#[derive(Debug)]
pub struct Table<L, C = Counter> {
    cells: Box<[C]>,
    of: PhantomData<L>,
}

impl<L: Label, C: Default> Default for Table<L, C> {
    fn default() -> Self {
        Self {
            cells: L::VARIANTS.iter().map(|_| C::default()).collect(),
            of: PhantomData,
        }
    }
}

impl<L: Label, C> Table<L, C> {
    /// The cell of this value.
    pub fn at(&self, value: L) -> Option<&C> {
        self.cells.get(place(value))
    }

    /// Every value with its cell.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &C)> {
        let values = L::VARIANTS.iter().map(|value| (*value).into());
        values.zip(&self.cells)
    }
}

impl<L: Label> Table<L> {
    /// One more of this value.
    pub fn inc(&self, value: L) {
        if let Some(cell) = self.at(value) {
            cell.inc();
        }
    }

    /// So many more of this value.
    pub fn add(&self, value: L, more: u64) {
        if let Some(cell) = self.at(value) {
            cell.add(more);
        }
    }
}

/// A cell for each pair of values of two labels.
pub type Grid<A, B> = Table<A, Table<B>>;

impl<L: Label> Table<L, Gauge> {
    /// So many of this value from now on.
    pub fn set(&self, value: L, now: i64) {
        if let Some(cell) = self.at(value) {
            cell.set(now);
        }
    }
}

impl<A: Label, B: Label> Grid<A, B> {
    /// So many more of this pair.
    pub fn add(&self, first: A, second: B, more: u64) {
        let row = self.at(first);
        if let Some(cell) = row.and_then(|row| row.at(second)) {
            cell.add(more);
        }
    }
}

/// How long things took, sorted into buckets.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds in seconds, ascending, without the infinite one.
    bounds: &'static [f64],
    /// One more than bounds.
    buckets: Box<[Counter]>,
    nanos: Counter,
}

impl Histogram {
    /// An empty one.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| Counter::default()).collect(),
            nanos: Counter::default(),
        }
    }

    /// Notes one.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.inc();
        }
        // 584 years of waiting fit.
        self.nanos
            .add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Sum in seconds, and each bucket's bound with what lies between it and the one before.
    pub fn read(&self) -> (f64, Vec<(f64, u64)>) {
        let sum = Duration::from_nanos(self.nanos.get()).as_secs_f64();
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(Counter::get);
        (sum, bounds.zip(counts).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, strum::IntoStaticStr)]
    #[strum(serialize_all = "snake_case")]
    enum Fruit {
        Apple,
        BloodOrange,
    }

    #[test]
    fn a_table_has_a_cell_for_every_value() {
        let table: Table<Fruit> = Table::default();
        table.inc(Fruit::BloodOrange);
        let read: Vec<_> = table
            .iter()
            .map(|(word, cell)| (word, cell.get()))
            .collect();
        assert_eq!(read, [("apple", 0), ("blood_orange", 1)]);
        let grid: Grid<Fruit, Fruit> = Grid::default();
        grid.add(Fruit::Apple, Fruit::BloodOrange, 7);
        let row = grid.at(Fruit::Apple).unwrap();
        assert_eq!(row.at(Fruit::BloodOrange).unwrap().get(), 7);
        assert_eq!(row.at(Fruit::Apple).unwrap().get(), 0);
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::new(&[0.5, 1.0]);
        for millis in [0, 500, 501, 1000, 1001, 90_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let (sum, buckets) = histogram.read();
        assert!((sum - 93.002).abs() < 1e-9, "{sum}");
        assert_eq!(buckets, [(0.5, 2), (1.0, 2), (f64::INFINITY, 2)]);
    }

    #[test]
    fn an_observation_allocates_nothing() {
        let table: Table<Fruit> = Table::default();
        let grid: Grid<Fruit, Fruit> = Grid::default();
        let histogram = Histogram::new(&[0.5, 1.0]);
        let counted = allocation_counter::measure(|| {
            table.inc(Fruit::BloodOrange);
            grid.add(Fruit::Apple, Fruit::BloodOrange, 7);
            histogram.observe(Duration::from_millis(700));
        });
        assert_eq!(counted.count_total, 0);
    }
}

//! Medians and their spread.

use serde::{Deserialize, Serialize};

/// A figure over the rounds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Figure {
    /// The median of the rounds.
    pub median: f64,
    /// The true median is not below this, nor above `high`, with 95 % confidence; with fewer than six rounds these are
    /// the smallest and the largest value, and it is less.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// How many rounds.
    pub rounds: usize,
}

impl Figure {
    /// Of these values; `None` if there is none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values
            .into_iter()
            .filter(|value| value.is_finite())
            .collect();
        values.sort_by(f64::total_cmp);
        let outside = outside(values.len());
        Some(Self {
            low: *values.get(outside)?,
            high: *values.get(values.len() - 1 - outside)?,
            median: at(&values, 0.5),
            rounds: values.len(),
        })
    }

    /// Half of the interval: `0.83 ± 0.02`.
    pub fn spread(&self) -> f64 {
        (self.high - self.low) / 2.0
    }

    /// Whether two runs say the same: the medians are no further apart than the two intervals, seen from one median
    /// towards the other, allow together.
    pub fn agrees(&self, other: &Self) -> bool {
        let (less, more) = if self.median <= other.median {
            (self, other)
        } else {
            (other, self)
        };
        let allowed = (less.high - less.median).hypot(more.median - more.low);
        more.median - less.median <= allowed
    }
}

/// How many of `count` sorted values lie outside of the interval in which their median is, at either end: the largest
/// number with at most 2.5 % (no matter how the values are distributed; each is as likely above as below).
fn outside(count: usize) -> usize {
    let mut term = 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let mut sum = term;
    let mut outside = 0;
    while sum <= 0.025 && outside < count {
        outside += 1;
        term *= (count - outside + 1) as f64 / outside as f64;
        sum += term;
    }
    outside.saturating_sub(1)
}

/// A quantile of sorted values, between the two nearest.
pub fn at(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let part = place - below as f64;
    sorted[below] * (1.0 - part) + sorted[above] * part
}

/// Quantiles of nanoseconds, in microseconds; zeros if there are none.
pub fn micros<const N: usize>(nanos: &[u64], shares: [f64; N]) -> [f64; N] {
    let mut sorted: Vec<f64> = nanos.iter().map(|&nanos| nanos as f64 / 1e3).collect();
    sorted.sort_by(f64::total_cmp);
    shares.map(|share| {
        if sorted.is_empty() {
            0.0
        } else {
            at(&sorted, share)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_nearest_values() {
        let figure = Figure::of([4.0, 1.0, 2.0, 3.0]).unwrap();
        assert!((figure.median - 2.5).abs() < 1e-9);
        assert!(Figure::of([]).is_none());
        assert!((micros(&[1000, 3000], [0.5])[0] - 2.0).abs() < 1e-9);
    }

    #[test]
    fn the_interval_leaves_out_what_a_binomial_table_says() {
        // Of 12 values, the second lowest is above the median with 0.3 %, the third with 1.9 %, the fourth with 7.3 %.
        let figure = Figure::of((1..=12).map(f64::from)).unwrap();
        assert!((figure.low - 3.0).abs() < 1e-9, "{figure:?}");
        assert!((figure.high - 10.0).abs() < 1e-9, "{figure:?}");
        for (count, expected) in [
            (1, 0),
            (3, 0),
            (5, 0),
            (6, 0),
            (8, 0),
            (9, 1),
            (12, 2),
            (20, 5),
        ] {
            assert_eq!(outside(count), expected, "{count}");
        }
    }

    #[test]
    fn runs_agree_when_their_intervals_allow_the_distance() {
        let figure = |median, low, high| Figure {
            median,
            low,
            high,
            rounds: 12,
        };
        let one = figure(1.0, 0.97, 1.03);
        assert!(one.agrees(&figure(1.04, 1.01, 1.08)));
        assert!(figure(1.04, 1.01, 1.08).agrees(&one));
        assert!(!one.agrees(&figure(1.05, 1.02, 1.08)));
        assert!(!one.agrees(&figure(0.95, 0.92, 0.98)));
        assert!(one.agrees(&one));
    }
}

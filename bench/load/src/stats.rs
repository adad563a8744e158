//! Medians and their spread.

use serde::{Deserialize, Serialize};

/// A figure over the rounds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Figure {
    /// The median.
    pub median: f64,
    /// A quarter of the rounds were below.
    pub low: f64,
    /// A quarter of the rounds were above.
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
        if values.is_empty() {
            return None;
        }
        values.sort_by(f64::total_cmp);
        Some(Self {
            median: at(&values, 0.5),
            low: at(&values, 0.25),
            high: at(&values, 0.75),
            rounds: values.len(),
        })
    }

    /// Standard error of the median, from the quartiles (normal: IQR = 1.349 sigma, median 1.253 sigma/sqrt n).
    pub fn error(&self) -> f64 {
        1.253 * (self.high - self.low) / 1.349 / (self.rounds as f64).sqrt()
    }
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
        assert!((figure.low - 1.75).abs() < 1e-9);
        assert!(Figure::of([]).is_none());
        assert!((micros(&[1000, 3000], [0.5])[0] - 2.0).abs() < 1e-9);
    }
}

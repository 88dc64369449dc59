//! Medians of samples.

use std::collections::BTreeMap;

use crate::{figure::Figure, plan::Variant, record::Record};

/// What all rounds say about one figure of one peer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle one; of an even number the mean of the two middle ones.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many there are.
    pub count: usize,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let count = values.len();
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Self {
            median: f64::midpoint(values[(count - 1) / 2], values[count / 2]),
            min,
            max,
            count,
        })
    }
}

/// The samples of a run by circumstances, figure and peer.
#[derive(Debug)]
pub struct Summary(BTreeMap<(Variant, Figure, String), Spread>);

impl Summary {
    /// Of everything in a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let mut values = BTreeMap::<_, Vec<f64>>::new();
        for sample in &record.samples {
            values
                .entry((sample.variant, sample.figure, sample.peer.clone()))
                .or_default()
                .push(sample.value);
        }
        Self(
            values
                .into_iter()
                .filter_map(|(key, values)| Some((key, Spread::of(values)?)))
                .collect(),
        )
    }

    /// One figure of one peer.
    #[must_use]
    pub fn get(&self, variant: Variant, figure: Figure, peer: &str) -> Option<Spread> {
        self.0.get(&(variant, figure, peer.to_owned())).copied()
    }

    /// Whether there is anything for these circumstances.
    #[must_use]
    pub fn has(&self, variant: Variant) -> bool {
        self.0.keys().any(|key| key.0 == variant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_in_the_middle() {
        let spread = Spread::of(vec![4.0, 1.0, 2.0, 9.0]).expect("values");
        assert_eq!(
            spread,
            Spread {
                median: 3.0,
                min: 1.0,
                max: 9.0,
                count: 4
            }
        );
        assert_eq!(Spread::of(Vec::new()), None);
    }
}

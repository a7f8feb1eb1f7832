//! Sizes and durations in buckets of powers of two, each cut in four.

use serde::{Deserialize, Serialize};

/// Counts of values, in at most 252 buckets of which only those with something in them are kept.
///
/// * A bucket is a quarter of an octave: what it tells is at most a quarter too large.
/// * `merge` is associative and commutative.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log2Histogram {
    /// Number and count of each bucket, by number.
    buckets: Vec<(u8, u64)>,
}

impl Log2Histogram {
    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.add(bucket(value), 1);
    }

    /// Adds the counts of another one.
    pub fn merge(&mut self, other: &Log2Histogram) {
        for (bucket, n) in &other.buckets {
            self.add(*bucket, *n);
        }
    }

    /// Values counted.
    pub fn n(&self) -> u64 {
        self.buckets
            .iter()
            .fold(0, |sum: u64, (_, n)| sum.saturating_add(*n))
    }

    /// The least bound that this share of the values does not pass; none without values.
    ///
    /// * `share`: in `[0, 1]`.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let wanted = (share * self.n() as f64).ceil().max(1.0) as u64;
        let mut sum = 0_u64;
        let found = self.buckets.iter().find(|(_, n)| {
            sum = sum.saturating_add(*n);
            wanted <= sum
        });
        found
            .or(self.buckets.last())
            .map(|(bucket, _)| highest(*bucket))
    }

    fn add(&mut self, bucket: u8, n: u64) {
        match self
            .buckets
            .binary_search_by_key(&bucket, |(bucket, _)| *bucket)
        {
            Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(n),
            Err(at) => self.buckets.insert(at, (bucket, n)),
        }
    }
}

/// 0 to 3 for themselves, then four to an octave.
fn bucket(value: u64) -> u8 {
    match value {
        0..4 => value as u8,
        _ => {
            let octave = value.ilog2();
            let quarter = value >> (octave - 2) & 3;
            (4 * (octave - 1)) as u8 + quarter as u8
        }
    }
}

/// Highest value of a bucket.
fn highest(bucket: u8) -> u64 {
    let (octave, quarter) = (u32::from(bucket / 4), u64::from(bucket % 4));
    match octave {
        0 => quarter,
        // The octave's own number is one more: those of 0 to 3 share the first four buckets.
        1..=62 => ((4 + quarter) << (octave - 1)) + ((1 << (octave - 1)) - 1),
        _ => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Log2Histogram {
        let mut histogram = Log2Histogram::default();
        values.iter().for_each(|value| histogram.record(*value));
        histogram
    }

    #[test]
    fn quantiles_are_bounds() {
        assert_eq!(of(&[]).quantile(0.5), None);
        for (values, share, want) in [
            (vec![0, 1, 2, 3], 0.5, 1),
            (vec![0, 1, 2, 3], 1.0, 3),
            (vec![100], 0.5, 111),
            (vec![1, 1, 1, 1000], 0.95, 1023),
            (vec![u64::MAX], 0.5, u64::MAX),
        ] {
            assert_eq!(
                of(&values).quantile(share),
                Some(want),
                "{values:?} {share}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_value_is_in_its_bucket_and_the_bound_is_near(value in any::<u64>(), shift in 0_u32..64) {
            let value = value >> shift;
            let bound = highest(bucket(value));
            prop_assert!(value <= bound);
            prop_assert!(bound - value <= value / 4, "{value} {bound}");
            prop_assert!(bound == u64::MAX || bucket(bound + 1) == bucket(value) + 1);
        }

        #[test]
        fn merging_is_the_count_of_all(a in proptest::collection::vec(any::<u64>(), 0..50), b in proptest::collection::vec(0_u64..5000, 0..50)) {
            let whole = of(&[a.clone(), b.clone()].concat());
            let (mut ab, mut ba) = (of(&a), of(&b));
            ab.merge(&of(&b));
            ba.merge(&of(&a));
            prop_assert_eq!(&ab, &whole);
            prop_assert_eq!(&ba, &whole);
        }
    }
}

//! Quantiles of one group in bounded space.
//!
//! A value is counted in the bucket that its sign, its exponent and the first bits of its fraction name, so a bucket is
//! at most 1/256 as wide as its values are great, and integers up to 511 have one of their own. The k-th smallest value is in
//! the k-th smallest bucket: ranks are exact, values are short of theirs by less than 0.4 %, towards zero. When there are more
//! buckets than [`BUCKETS_MAX`], pairs are joined, and the error doubles. **Invariant:** what a sketch holds follows from the
//! values alone, not from their order or from how they were merged.

use serde::{Deserialize, Serialize};

/// Buckets of one sketch, 8 bytes each; beyond it pairs are joined.
pub const BUCKETS_MAX: usize = 1024;

/// Bits of a float that name no bucket while none were joined: 11 of the exponent and 8 of the fraction do.
const FINEST: u32 = 44;

/// Values, counted in buckets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sketch {
    /// How many times pairs were joined.
    joined: u8,
    /// Number and count of each bucket, in the order of their values.
    buckets: Vec<(i32, u32)>,
}

impl Sketch {
    /// Counts one value. Says true when buckets had to be joined for it.
    pub fn add(&mut self, value: f64) -> bool {
        let bucket = self.bucket(value);
        match self.buckets.binary_search_by_key(&bucket, |(b, _)| *b) {
            Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(1),
            Err(at) => self.buckets.insert(at, (bucket, 1)),
        }
        self.join()
    }

    /// Counts what another sketch has counted.
    pub fn merge(&mut self, other: &Sketch) {
        let joined = self.joined.max(other.joined);
        let (mine, theirs) = (self.coarse(joined), other.coarse(joined));
        let mut all = Vec::with_capacity(mine.len() + theirs.len());
        let (mut mine, mut theirs) = (mine.into_iter().peekable(), theirs.into_iter().peekable());
        while let (Some(a), Some(b)) = (mine.peek(), theirs.peek()) {
            match a.0 <= b.0 {
                true => all.extend(mine.next()),
                false => all.extend(theirs.next()),
            }
        }
        all.extend(mine.chain(theirs));
        (self.joined, self.buckets) = (joined, summed(all));
        self.join();
    }

    /// Bytes of the buckets.
    pub fn bytes(&self) -> usize {
        self.buckets.len() * size_of::<(i32, u32)>()
    }

    /// The value below which a share of the values is, in `[0, 1]`, between two of them in proportion; nothing without values.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let n: u64 = self.buckets.iter().map(|(_, n)| u64::from(*n)).sum();
        let rank = share * n.checked_sub(1)? as f64;
        let (low, high) = (
            self.ranked(rank.floor() as u64)?,
            self.ranked(rank.ceil() as u64)?,
        );
        // Equal ones may be infinite.
        Some(if low == high {
            low
        } else {
            low + (high - low) * rank.fract()
        })
    }

    /// The value of that rank, from 0.
    fn ranked(&self, rank: u64) -> Option<f64> {
        let mut below = 0;
        let found = self.buckets.iter().find(|(_, n)| {
            below += u64::from(*n);
            rank < below
        });
        found.map(|(bucket, _)| self.value(*bucket))
    }

    fn bucket(&self, value: f64) -> i32 {
        let bits = value.to_bits() & (u64::MAX >> 1);
        let magnitude = (bits >> (FINEST + u32::from(self.joined))) as i32;
        if value.is_sign_negative() {
            -magnitude
        } else {
            magnitude
        }
    }

    /// The value of a bucket that is nearest to zero.
    fn value(&self, bucket: i32) -> f64 {
        let bits = u64::from(bucket.unsigned_abs()) << (FINEST + u32::from(self.joined));
        let value = f64::from_bits(bits);
        if bucket < 0 { -value } else { value }
    }

    fn join(&mut self) -> bool {
        let before = self.joined;
        while BUCKETS_MAX < self.buckets.len() {
            self.buckets = self.coarse(self.joined + 1);
            self.joined += 1;
        }
        before < self.joined
    }

    /// The buckets as they are when pairs were joined so many times.
    fn coarse(&self, joined: u8) -> Vec<(i32, u32)> {
        let by = 1 << (joined - self.joined);
        let buckets = self.buckets.iter();
        summed(buckets.map(|(bucket, n)| (bucket / by, *n)).collect())
    }
}

/// Counts of equal buckets that follow each other, together.
fn summed(mut buckets: Vec<(i32, u32)>) -> Vec<(i32, u32)> {
    buckets.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        if is_same {
            kept.1 = kept.1.saturating_add(next.1);
        }
        is_same
    });
    buckets
}

#[cfg(test)]
mod tests {
    use super::super::laws::Dice;
    use super::*;

    fn of(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| {
            sketch.add(*value);
        });
        sketch
    }

    /// Values over many magnitudes, of both signs.
    fn drawn(dice: &mut Dice, n: usize, magnitudes: u64) -> Vec<f64> {
        let mut value = |_| {
            let size = 2f64.powi(dice.roll(magnitudes) as i32 - magnitudes as i32 / 2);
            let sign = if dice.roll(3) == 0 { -1.0 } else { 1.0 };
            sign * size * (1.0 + dice.roll(1 << 20) as f64 / f64::from(1 << 20))
        };
        (0..n).map(&mut value).collect()
    }

    #[test]
    fn a_quantile_is_short_of_the_true_one_by_no_more_than_it_says() {
        let mut dice = Dice(1);
        for _ in 0..200 {
            let n = 1 + dice.roll(400) as usize;
            let mut values = drawn(&mut dice, n, 40);
            let sketch = of(&values);
            assert_eq!(sketch.joined, 0);
            values.sort_by(f64::total_cmp);
            for share in [0.0, 0.1, 0.5, 0.95, 1.0] {
                let rank = share * (n - 1) as f64;
                let (low, high) = (values[rank as usize], values[rank.ceil() as usize]);
                let exact = low + (high - low) * rank.fract();
                let found = sketch.quantile(share).unwrap();
                let bound = low.abs().max(high.abs()) / 256.0;
                assert!((found - exact).abs() <= bound, "{found} {exact} {share}");
            }
        }
    }

    #[test]
    fn small_integers_are_exact() {
        let sketch = of(&(-511..512).map(f64::from).collect::<Vec<_>>());
        for (share, wanted) in [(0.0, -511.0), (0.25, -255.5), (0.5, 0.0), (1.0, 511.0)] {
            assert_eq!(sketch.quantile(share), Some(wanted));
        }
        assert_eq!(Sketch::default().quantile(0.5), None);
    }

    #[test]
    fn what_is_merged_is_what_was_counted_together_however_coarse() {
        let mut dice = Dice(2);
        for magnitudes in [2, 40, 1_000] {
            let values = drawn(&mut dice, 6_000, magnitudes);
            let whole = of(&values);
            let mut merged = Sketch::default();
            for part in values.chunks(700).rev() {
                merged.merge(&of(part));
            }
            assert_eq!(merged, whole);
            assert!(whole.buckets.len() <= BUCKETS_MAX);
            assert_eq!(0 < whole.joined, 2 < magnitudes, "{}", whole.joined);
        }
    }

    #[test]
    fn values_that_are_no_numbers_have_their_places_at_the_ends() {
        let sketch = of(&[f64::NAN, 1.0, f64::INFINITY, f64::NEG_INFINITY, -0.0]);
        assert_eq!(sketch.quantile(0.0), Some(f64::NEG_INFINITY));
        assert_eq!(sketch.quantile(0.5), Some(1.0));
        assert_eq!(sketch.quantile(0.75), Some(f64::INFINITY));
        assert!(sketch.quantile(1.0).unwrap().is_nan());
    }
}

//! Seeded randomness: the same keys give the same numbers on every machine.
//!
//! Generators are written from the published algorithms: SplitMix64 (Steele, Lea, Flood, *Fast splittable pseudorandom number
//! generators*, 2014; constants as in Vigna's `splitmix64.c`) to spread seeds, xoshiro256++ (Blackman, Vigna, *Scrambled linear
//! pseudorandom number generators*, 2021) to draw.

use std::f64::consts::TAU;

/// SplitMix64's finaliser: a bijection that spreads every bit.
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One number out of several; the order counts.
pub fn fold(keys: &[u64]) -> u64 {
    keys.iter()
        .fold(0x517c_c1b7_2722_0a95, |sum, key| mix(sum ^ *key))
}

/// A share in `[0, 1)` that belongs to keys, the same whenever it is asked for.
pub fn share(keys: &[u64]) -> f64 {
    unit(fold(keys))
}

fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// A stream of draws.
#[derive(Clone, Debug)]
pub struct Dice {
    state: [u64; 4],
}

impl Dice {
    /// The stream that belongs to these keys.
    pub fn of(keys: &[u64]) -> Dice {
        let seed = fold(keys);
        Dice {
            state: [1, 2, 3, 4].map(|n| mix(seed.wrapping_add(mix(n)))),
        }
    }

    /// The next 64 bits, by xoshiro256++.
    pub fn bits(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A share in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        unit(self.bits())
    }

    /// True with a probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A whole number below `n`, which is at least 1. The bias of the product is below `n / 2^64`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n.max(1) as u128) >> 64) as usize
    }

    /// A whole number in `[low, high]`.
    pub fn within(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1).max(1) as usize) as i64
    }

    /// A number in `[low, high)`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A number in `[low, high)`, even on a logarithmic scale; both are above 0.
    pub fn magnitude(&mut self, low: f64, high: f64) -> f64 {
        (self.between(low.ln(), high.ln())).exp()
    }

    /// Standard normal, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (TAU * self.unit()).cos()
    }

    /// Log-normal around a median.
    pub fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }

    /// Exponential with a mean.
    pub fn wait(&mut self, mean: f64) -> f64 {
        -(1.0 - self.unit()).ln() * mean
    }

    /// Poisson; beyond a mean of 30 by its normal limit.
    pub fn count(&mut self, mean: f64) -> usize {
        if mean > 30.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as usize;
        }
        let (limit, mut product, mut n) = ((-mean).exp(), self.unit(), 0);
        while product > limit {
            product *= self.unit();
            n += 1;
        }
        n
    }

    /// A rank below `n` with weight about `1 / (rank + 1)`.
    pub fn zipf(&mut self, n: usize) -> usize {
        let rank = ((n.max(1) + 1) as f64).powf(self.unit()) - 1.0;
        (rank as usize).min(n.max(1) - 1)
    }

    /// One of several; there is at least one.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Puts items in random order, by Fisher and Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_the_published_numbers() {
        // First two outputs of splitmix64.c from state 0; the second has the increment added once more.
        let increment = 0x9e37_79b9_7f4a_7c15_u64;
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(increment), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn draws_stay_in_their_bounds() {
        let mut dice = Dice::of(&[7]);
        for _ in 0..10_000 {
            assert!(dice.below(3) < 3 && dice.zipf(5) < 5);
            assert!((-2..=2).contains(&dice.within(-2, 2)));
            assert!((1.0..10.0).contains(&dice.magnitude(1.0, 10.0)));
        }
        let mean = (0..20_000).map(|_| dice.count(4.0)).sum::<usize>() as f64 / 20_000.0;
        assert!((mean - 4.0).abs() < 0.1, "{mean}");
    }
}

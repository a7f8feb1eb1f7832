//! How many different things there were: HyperLogLog, a list of registers while they are few.

use serde::{Deserialize, Serialize};

/// Registers: the standard error is 1.04 / sqrt(1024), 3.3 %.
const REGISTERS: usize = 1024;
const INDEX_BITS: u32 = REGISTERS.ilog2();
/// Registers listed; with more of them all are kept. 3 bytes each when written, against one.
const LISTED_MAX: usize = 128;

/// A set of hashes that tells about how many it has, in 1 KiB at most.
///
/// * `merge` is associative, commutative and idempotent, and equal sets are equal values.
/// * Source: P. Flajolet and others, *HyperLogLog*, 2007, with its linear counting below 2.5 registers; no correction above
///   2^32, since hashes have 64 bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Distinct {
    /// Number and rank of each register that is set, by number.
    Listed(Vec<(u16, u8)>),
    /// Rank of every register.
    All(Vec<u8>),
}

impl Default for Distinct {
    fn default() -> Self {
        Distinct::Listed(Vec::new())
    }
}

impl Distinct {
    /// Bytes it points to at most.
    pub const BYTES_MAX: usize = REGISTERS;

    /// Adds a hash. It is mixed once more: a lane's hashes have their low bits in common.
    pub fn insert(&mut self, hash: u64) {
        let mixed = mix(hash);
        let index = (mixed >> (u64::BITS - INDEX_BITS)) as u16;
        // The bit set below the hash's own ends every rank.
        let rest = mixed << INDEX_BITS | 1 << (INDEX_BITS - 1);
        self.raise(index, rest.leading_zeros() as u8 + 1);
    }

    /// Adds all of another set.
    pub fn merge(&mut self, other: &Distinct) {
        match other {
            Distinct::Listed(listed) => {
                for (index, rank) in listed {
                    self.raise(*index, *rank);
                }
            }
            Distinct::All(ranks) => {
                let ranks = (0..REGISTERS as u16).zip(ranks);
                for (index, rank) in ranks.filter(|(_, rank)| 0 < **rank) {
                    self.raise(index, *rank);
                }
            }
        }
    }

    /// About how many different hashes were added.
    pub fn estimate(&self) -> u64 {
        let (mut n_zero, mut sum) = (REGISTERS, 0.0);
        let mut add = |rank: u8| {
            n_zero = n_zero.saturating_sub(1);
            sum += (-f64::from(rank)).exp2();
        };
        match self {
            Distinct::Listed(listed) => listed.iter().for_each(|(_, rank)| add(*rank)),
            Distinct::All(ranks) => ranks
                .iter()
                .filter(|rank| 0 < **rank)
                .for_each(|rank| add(*rank)),
        }
        let m = REGISTERS as f64;
        let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / (sum + n_zero as f64);
        let estimate = match n_zero {
            1.. if raw <= 2.5 * m => m * (m / n_zero as f64).ln(),
            _ => raw,
        };
        estimate.round() as u64
    }

    fn raise(&mut self, index: u16, rank: u8) {
        if REGISTERS <= usize::from(index) {
            return;
        }
        match self {
            Distinct::All(ranks) => {
                ranks.resize(REGISTERS, 0);
                let register = &mut ranks[usize::from(index)];
                *register = rank.max(*register);
            }
            Distinct::Listed(listed) => {
                match listed.binary_search_by_key(&index, |(index, _)| *index) {
                    Ok(at) => listed[at].1 = rank.max(listed[at].1),
                    Err(at) => listed.insert(at, (index, rank)),
                }
                if LISTED_MAX < listed.len() {
                    let mut ranks = vec![0; REGISTERS];
                    for (index, rank) in listed.iter() {
                        if let Some(register) = ranks.get_mut(usize::from(*index)) {
                            *register = *rank;
                        }
                    }
                    *self = Distinct::All(ranks);
                }
            }
        }
    }
}

/// The finaliser of SplitMix64.
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(hashes: impl IntoIterator<Item = u64>) -> Distinct {
        let mut set = Distinct::default();
        hashes.into_iter().for_each(|hash| set.insert(hash));
        set
    }

    #[test]
    fn few_are_counted_and_many_are_told_within_ten_percent() {
        for n in [0, 1, 2, 10, 100, 1000, 3000, 20_000, 1_000_000_u64] {
            // As within a lane of 256: all of one shard.
            let got = of((0..n).map(|i| i << 8 | 7)).estimate();
            let off = got.abs_diff(n);
            assert!(off * 10 <= n, "{got} for {n}");
            assert!(n > 100 || off <= 2, "{got} for {n}");
        }
    }

    proptest! {
        #[test]
        fn merging_is_the_set_of_all(parts in proptest::collection::vec(proptest::collection::vec(0_u64..2000, 0..400), 0..5)) {
            let whole = of(parts.iter().flatten().copied());
            let (mut forth, mut back) = (Distinct::default(), Distinct::default());
            for part in &parts {
                forth.merge(&of(part.iter().copied()));
            }
            for part in parts.iter().rev() {
                let mut both = of(part.iter().copied());
                both.merge(&back);
                both.merge(&back);
                back = both;
            }
            prop_assert_eq!(&forth, &whole);
            prop_assert_eq!(&back, &whole);
        }
    }
}

//! The few names of something: parameters, content types, schemes.

use serde::{Deserialize, Serialize};

use crate::identity::is_unprintable;

/// Longest name, in bytes; a longer one is [`OTHER`].
const NAME_BYTES_MAX: usize = 64;
/// What stands for names that are none: too long, or not printable.
pub(super) const OTHER: &str = "*";

/// A name and how often it was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The name.
    pub name: Box<str>,
    /// First time, ms.
    pub first_ms: i64,
    /// Calls with it.
    pub n: u64,
    /// What its values looked like, as bits of [`crate::endpoint::SegmentKind`].
    pub kinds: u16,
}

/// At most so many names, by name: those that were there first, so that who comes later with many pushes none of them out.
///
/// Merging is associative and commutative. Beyond the bound it is so for which names are kept; counts are then lower bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Few {
    names: Vec<Named>,
    /// True when there were more.
    is_cut: bool,
}

impl Few {
    /// Notes a name at `at_ms`, among at most `max`.
    ///
    /// * `kinds`: asked when the name is new, or when `looks`.
    pub fn note(
        &mut self,
        name: &str,
        at_ms: i64,
        max: usize,
        looks: bool,
        kinds: impl FnOnce() -> u16,
    ) {
        // A name that is kept was looked at when it came.
        let found = self.place(name);
        let is_kept = found.is_ok();
        let is_fine = || name.len() <= NAME_BYTES_MAX && !name.contains(is_unprintable);
        let (name, found) = match is_kept || is_fine() {
            true => (name, found),
            false => (OTHER, self.place(OTHER)),
        };
        match found {
            Ok(at) => {
                let named = &mut self.names[at];
                named.n = named.n.saturating_add(1);
                named.first_ms = at_ms.min(named.first_ms);
                if looks {
                    named.kinds |= kinds();
                }
            }
            Err(at) => {
                let named = Named {
                    name: name.into(),
                    first_ms: at_ms,
                    n: 1,
                    kinds: kinds(),
                };
                self.names.insert(at, named);
                self.cut(max);
            }
        }
    }

    /// True when a name is kept.
    pub fn has(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.names.binary_search_by(|named| (*named.name).cmp(name))
    }

    /// Adds the names of another one, to at most `max`.
    pub fn merge(&mut self, other: &Few, max: usize) {
        self.is_cut |= other.is_cut;
        for named in &other.names {
            match self.names.binary_search_by(|own| own.name.cmp(&named.name)) {
                Ok(at) => {
                    let own = &mut self.names[at];
                    own.n = own.n.saturating_add(named.n);
                    own.first_ms = named.first_ms.min(own.first_ms);
                    own.kinds |= named.kinds;
                }
                Err(at) => {
                    self.names.insert(at, named.clone());
                    self.cut(max);
                }
            }
        }
    }

    /// The names, by name.
    pub fn names(&self) -> &[Named] {
        &self.names
    }

    /// True when there were more names than are kept.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Drops the name that came last when there are too many.
    fn cut(&mut self, max: usize) {
        if self.names.len() <= max {
            return;
        }
        let last = self
            .names
            .iter()
            .enumerate()
            .max_by(|(_, a), (_, b)| (a.first_ms, &a.name).cmp(&(b.first_ms, &b.name)));
        if let Some((at, _)) = last {
            self.names.remove(at);
            self.is_cut = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(calls: &[(u8, i64)], max: usize) -> Few {
        let mut few = Few::default();
        for (name, at_ms) in calls {
            few.note(&format!("n{name}"), *at_ms, max, true, || 1 << (name % 16));
        }
        few
    }

    fn merged(parts: &[&Few], max: usize) -> Few {
        let mut all = Few::default();
        parts.iter().for_each(|part| all.merge(part, max));
        all
    }

    #[test]
    fn who_comes_late_with_many_names_pushes_out_none() {
        let mut few = of(&[(1, 0), (2, 5)], 3);
        for i in 0..1000 {
            few.note(&format!("flood{i}"), 10 + i, 3, true, || 0);
        }
        few.note(&"long".repeat(50), 1, 3, true, || 0);
        let names: Vec<&str> = few.names().iter().map(|named| &*named.name).collect();
        assert_eq!(names, ["*", "n1", "n2"]);
        assert!(few.is_cut());
    }

    proptest! {
        #[test]
        fn within_the_bound_merging_is_the_count_of_all(
            a in proptest::collection::vec((0_u8..20, 0_i64..50), 0..40),
            b in proptest::collection::vec((0_u8..20, 0_i64..50), 0..40),
        ) {
            let whole = of(&[a.clone(), b.clone()].concat(), 20);
            prop_assert_eq!(&merged(&[&of(&a, 20), &of(&b, 20)], 20), &whole);
            prop_assert_eq!(&merged(&[&of(&b, 20), &of(&a, 20)], 20), &whole);
        }

        #[test]
        fn beyond_the_bound_the_same_names_are_kept_in_whatever_order(
            parts in proptest::collection::vec(proptest::collection::vec((0_u8..40, 0_i64..50), 0..40), 3),
        ) {
            let few: Vec<Few> = parts.iter().map(|part| of(part, 5)).collect();
            let kept = |few: &Few| -> (Vec<(Box<str>, i64)>, bool) {
                (few.names().iter().map(|n| (n.name.clone(), n.first_ms)).collect(), few.is_cut())
            };
            let whole = kept(&of(&parts.concat(), 5));
            let [a, b, c] = [&few[0], &few[1], &few[2]];
            for order in [[a, b, c], [c, b, a], [b, a, c]] {
                prop_assert_eq!(&kept(&merged(&order, 5)), &whole);
            }
            let bc = merged(&[b, c], 5);
            prop_assert_eq!(&kept(&merged(&[a, &bc], 5)), &whole);
        }
    }
}

//! Values that are told as they are: the first, the last, a list of them.
//!
//! Rows have an order: that of ORDER BY inside the aggregate, and among equals, or without one, that of the log. What is kept of a
//! run of panes is kept of each of them, so panes are merged exactly, whatever was left out.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::aggregate::{Scalar, compared};

/// Values one list keeps: the first in its order. Beyond it values are left out and counted.
pub const LIST_MAX: usize = 100;
/// Bytes of one text of a list; longer ones are cut.
pub const LIST_TEXT_MAX: usize = 256;

/// ORDER BY inside an aggregate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Order {
    /// DESC.
    pub falls: bool,
    /// NULLS FIRST.
    pub nulls_first: bool,
}

/// Where a row stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// What it is ordered by; null too where there is no ORDER BY.
    pub by: Option<Scalar>,
    /// Its number among the rows of the rule.
    pub row: u64,
}

impl Order {
    fn compare(self, a: &Place, b: &Place) -> Ordering {
        let by = match (&a.by, &b.by) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) if self.nulls_first => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) if self.nulls_first => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) if self.falls => compared(b, a),
            (Some(a), Some(b)) => compared(a, b),
        };
        by.then(a.row.cmp(&b.row))
    }
}

/// The value of the first row, or of the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Picked {
    place: Place,
    value: Option<Scalar>,
}

impl Picked {
    /// Of one row.
    pub fn new(place: Place, value: Option<Scalar>) -> Picked {
        Picked { place, value }
    }

    /// Keeps the other one where that is earlier, or later.
    pub fn take(&mut self, order: Order, is_last: bool, other: Picked) {
        let wanted = if is_last {
            Ordering::Greater
        } else {
            Ordering::Less
        };
        if order.compare(&other.place, &self.place) == wanted {
            *self = other;
        }
    }

    /// The value; null is one.
    pub fn value(&self) -> Option<&Scalar> {
        self.value.as_ref()
    }

    /// Bytes it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Picked>() + text_bytes(&self.place.by) + text_bytes(&self.value)
    }
}

/// The first values in an order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct List {
    entries: Vec<Picked>,
    bytes: usize,
}

impl List {
    /// Bytes a list takes at most.
    pub const BYTES_MAX: usize = LIST_MAX * (size_of::<Picked>() + 2 * LIST_TEXT_MAX);

    /// Takes one value in. Says true when it, or another for it, was left out.
    ///
    /// * `is_distinct`: equal values are one, in the place of the first.
    pub fn take(&mut self, order: Order, is_distinct: bool, mut entry: Picked) -> bool {
        [&mut entry.value, &mut entry.place.by]
            .into_iter()
            .for_each(cut);
        let known = match is_distinct {
            true => self.entries.iter().position(|e| e.value == entry.value),
            false => None,
        };
        if let Some(at) = known {
            if order.compare(&self.entries[at].place, &entry.place).is_le() {
                return false;
            }
            self.bytes -= self.entries.remove(at).bytes();
        }
        let at = self
            .entries
            .partition_point(|e| order.compare(&e.place, &entry.place).is_le());
        if at == LIST_MAX {
            return true;
        }
        self.bytes += entry.bytes();
        self.entries.insert(at, entry);
        let is_full = LIST_MAX < self.entries.len();
        if is_full {
            self.bytes -= self.entries.pop().map_or(0, |last| last.bytes());
        }
        is_full
    }

    /// The values, in their order.
    pub fn values(&self) -> impl Iterator<Item = Option<&Scalar>> {
        self.entries.iter().map(Picked::value)
    }

    /// The entries, to be taken by another list.
    pub fn entries(&self) -> &[Picked] {
        &self.entries
    }

    /// Bytes it takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn text_bytes(of: &Option<Scalar>) -> usize {
    match of {
        Some(Scalar::Text(text)) => text.len(),
        _ => 0,
    }
}

fn cut(value: &mut Option<Scalar>) {
    if let Some(Scalar::Text(text)) = value
        && LIST_TEXT_MAX < text.len()
    {
        *text = text[..text.floor_char_boundary(LIST_TEXT_MAX)].into();
    }
}

#[cfg(test)]
mod tests {
    use super::super::laws::Dice;
    use super::*;

    fn entry(dice: &mut Dice, row: u64) -> Picked {
        let by = (dice.roll(9) != 0).then(|| Scalar::Int(i128::from(dice.roll(50))));
        let value = (dice.roll(9) != 0).then(|| Scalar::Int(i128::from(dice.roll(150))));
        Picked::new(Place { by, row }, value)
    }

    #[test]
    fn lists_of_parts_merge_to_the_list_of_all() {
        let mut dice = Dice(5);
        for round in 0..60 {
            let order = Order {
                falls: round % 2 == 0,
                nulls_first: round % 3 == 0,
            };
            let is_distinct = round % 5 < 2;
            let entries: Vec<Picked> = (0..400).map(|row| entry(&mut dice, row)).collect();
            let list = |entries: &[Picked]| {
                let mut list = List::default();
                for entry in entries {
                    list.take(order, is_distinct, entry.clone());
                }
                list
            };
            let mut merged = List::default();
            for part in entries.chunks(90).rev() {
                for entry in list(part).entries() {
                    merged.take(order, is_distinct, entry.clone());
                }
            }
            let whole = list(&entries);
            assert_eq!(merged, whole);
            let bytes: usize = whole.entries.iter().map(Picked::bytes).sum();
            assert_eq!((whole.entries.len(), whole.bytes), (LIST_MAX, bytes));
        }
    }

    #[test]
    fn long_texts_of_a_list_are_cut_between_characters() {
        let long = format!("{}é", "x".repeat(LIST_TEXT_MAX - 1));
        let text = Some(Scalar::Text(long.into()));
        let mut list = List::default();
        list.take(
            Order::default(),
            false,
            Picked::new(Place { by: None, row: 0 }, text),
        );
        let kept = list.values().next();
        assert!(matches!(kept, Some(Some(Scalar::Text(text))) if text.len() == LIST_TEXT_MAX - 1));
    }
}

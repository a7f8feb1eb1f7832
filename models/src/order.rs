//! Whether a caller's touches keep to the order of the ids.
//!
//! Comes in: the place of each object among its neighbours ([`crate::object::Object::number`]). A touch is a *step*
//! when it is next to the one before, or as far from it as that was from its own: up, down and in strides.
//!
//! 24 bytes a caller and collection. (Walks among other touches were followed too, and found less on captures: then
//! the pages that people read are walks, and usual.)

use serde::{Deserialize, Serialize};

/// Places apart that count as next to each other: a deleted object leaves a hole.
const NEXT: u64 = 2;

/// The order of one caller's touches in one collection.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Order {
    last: Option<i64>,
    stride: i64,
}

impl Order {
    /// Notes one place; true when it is a step from the one before.
    pub fn is_step(&mut self, place: i64) -> bool {
        let Some(last) = self.last.replace(place) else {
            return false;
        };
        let stride = place.wrapping_sub(last);
        let before = std::mem::replace(&mut self.stride, stride);
        stride != 0 && (stride == before || stride.unsigned_abs() <= NEXT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_in_any_direction_and_stride_are_steps_and_leaps_are_not() {
        let table: [(&str, &[i64], usize); 6] = [
            ("up", &[10, 11, 12, 13, 14], 4),
            ("down, over a hole", &[14, 13, 11, 10], 3),
            ("in strides of twenty", &[20, 40, 60, 80], 2),
            ("the same again", &[5, 5, 5], 0),
            ("here and there", &[9, 300, 4, 71, 1000], 0),
            ("far ends", &[i64::MIN, i64::MAX, 0], 1),
        ];
        for (row, places, steps) in table {
            let mut order = Order::default();
            let n = places.iter().filter(|&&place| order.is_step(place)).count();
            assert_eq!(n, steps, "{row}");
        }
    }
}

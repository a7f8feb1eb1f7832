//! Whom an identity shares objects with.
//!
//! Two directions are kept per neighbour: how often the identity first-touched what the neighbour
//! had touched before (out), and the reverse (in). Only *mutual* sharing makes neighbours: an
//! enumerator visits everybody, and nobody visits it back.
//!
//! 16 bytes a neighbour, at most [`NEIGHBOURS_MAX`]; beyond it the weakest gives way.

use serde::{Deserialize, Serialize};

/// Neighbours kept for one identity.
pub const NEIGHBOURS_MAX: usize = 64;

/// Visits in both directions that make two identities related.
pub const MUTUAL_MIN: u16 = 4;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Neighbour {
    identity: u64,
    n_out: u16,
    n_in: u16,
}

/// The neighbours of one identity.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sharing {
    neighbours: Vec<Neighbour>,
}

impl Sharing {
    /// Bytes of the neighbours of one identity, at most.
    pub const BYTES_MAX: usize = NEIGHBOURS_MAX * size_of::<Neighbour>();

    /// Notes that this identity touched an object `other` had touched before.
    pub fn visit(&mut self, other: u64) {
        let neighbour = self.entry(other);
        neighbour.n_out = neighbour.n_out.saturating_add(1);
    }

    /// Notes that `other` touched an object this identity had touched before.
    pub fn visited(&mut self, other: u64) {
        let neighbour = self.entry(other);
        neighbour.n_in = neighbour.n_in.saturating_add(1);
    }

    /// Makes `other` a neighbour at once: it is the same caller under another name.
    pub fn relate(&mut self, other: u64) {
        let neighbour = self.entry(other);
        neighbour.n_out = neighbour.n_out.max(MUTUAL_MIN);
        neighbour.n_in = neighbour.n_in.max(MUTUAL_MIN);
    }

    /// True when this identity has touched an object of `other` before.
    pub fn met(&self, other: u64) -> bool {
        self.neighbours
            .iter()
            .any(|n| n.identity == other && n.n_out > 0)
    }

    /// How concentrated this identity's visits are on `other`, `> 1` when it gets more than an even
    /// share of them. A token that was renewed goes back to one owner, its former self; an
    /// enumerator spreads.
    pub fn concentration(&self, other: u64) -> f64 {
        let n_visited = self.neighbours.iter().filter(|n| n.n_out > 0).count();
        self.share(other) * n_visited as f64
    }

    /// Share of this identity's visits that go to `other`, in [0, 1].
    pub fn share(&self, other: u64) -> f64 {
        let visits = |n: &Neighbour| f64::from(n.n_out);
        let total: f64 = self.neighbours.iter().map(visits).sum();
        let to_other = self.neighbours.iter().find(|n| n.identity == other);
        to_other.map_or(0.0, visits) / total.max(1.0)
    }

    /// True when both visit each other, often enough.
    pub fn related(&self, other: u64) -> bool {
        self.neighbours.iter().any(|n| {
            n.identity == other
                && n.n_out > 0
                && n.n_in > 0
                && u32::from(n.n_out) + u32::from(n.n_in) >= u32::from(MUTUAL_MIN)
        })
    }

    /// Neighbours kept.
    pub fn len(&self) -> usize {
        self.neighbours.len()
    }

    /// True when there is no neighbour.
    pub fn is_empty(&self) -> bool {
        self.neighbours.is_empty()
    }

    fn entry(&mut self, other: u64) -> &mut Neighbour {
        let found = self.neighbours.iter().position(|n| n.identity == other);
        let at = found.unwrap_or_else(|| self.place(other));
        &mut self.neighbours[at]
    }

    fn place(&mut self, other: u64) -> usize {
        let fresh = Neighbour {
            identity: other,
            n_out: 0,
            n_in: 0,
        };
        if self.neighbours.len() < NEIGHBOURS_MAX {
            self.neighbours.push(fresh);
            return self.neighbours.len() - 1;
        }
        // Mutual neighbours stay: an enumerator's one-way visits only push out one another.
        let weakness = |n: &Neighbour| (n.n_in.min(n.n_out), n.n_in.saturating_add(n.n_out));
        let weakest = (0..self.neighbours.len()).min_by_key(|&i| weakness(&self.neighbours[i]));
        let at = weakest.unwrap_or(0);
        self.neighbours[at] = fresh;
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mutual_visits_make_neighbours() {
        let mut sharing = Sharing::default();
        for _ in 0..10 {
            sharing.visit(7);
        }
        assert!(sharing.met(7));
        assert!(!sharing.related(7), "one-way visits never relate");
        sharing.visited(7);
        assert!(sharing.related(7));
        sharing.visited(8);
        assert!(!sharing.met(8), "being visited is not meeting");
    }

    #[test]
    fn an_enumerators_visits_push_out_no_mutual_neighbour() {
        let mut sharing = Sharing::default();
        for _ in 0..3 {
            sharing.visit(1);
            sharing.visited(1);
        }
        for other in 100..10_000 {
            sharing.visit(other);
        }
        assert!(sharing.related(1));
        assert_eq!(sharing.len(), NEIGHBOURS_MAX);
    }
}

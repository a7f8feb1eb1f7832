//! Conditions on aggregates that once true stay true. Which ones do, [`super::monotone`] proves.

use super::aggregate::Scalar;

/// A HAVING that once true stays true while rows come, so it may be asked at every row.
#[derive(Debug, Clone, PartialEq)]
pub enum Having {
    /// All of these.
    All(Vec<Having>),
    /// One of these.
    Any(Vec<Having>),
    /// One aggregate against one literal.
    Term(Term),
}

/// One aggregate against one literal.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// Which aggregate.
    pub aggregate: usize,
    /// The literal.
    pub bound: Scalar,
    /// Whether the bound itself is enough.
    pub inclusive: bool,
    /// Whether the aggregate falls (`min`) rather than grows.
    pub falls: bool,
}

impl Having {
    /// Whether it holds, given the value of each aggregate.
    pub fn holds(&self, value: &impl Fn(usize) -> Option<Scalar>) -> bool {
        match self {
            Having::All(terms) => terms.iter().all(|t| t.holds(value)),
            Having::Any(terms) => terms.iter().any(|t| t.holds(value)),
            Having::Term(term) => value(term.aggregate).is_some_and(|v| term.holds(&v)),
        }
    }

    /// The first term, which paces the samples of evidence.
    pub fn first(&self) -> Option<&Term> {
        match self {
            Having::All(terms) | Having::Any(terms) => terms.iter().find_map(Having::first),
            Having::Term(term) => Some(term),
        }
    }

    /// Greatest literal a count of distinct values is compared with.
    pub fn bound_max(&self, aggregate: usize) -> Option<f64> {
        match self {
            Having::All(terms) | Having::Any(terms) => terms
                .iter()
                .filter_map(|t| t.bound_max(aggregate))
                .reduce(f64::max),
            Having::Term(term) if term.aggregate == aggregate => term.bound.as_f64(),
            Having::Term(_) => None,
        }
    }
}

impl Term {
    fn holds(&self, value: &Scalar) -> bool {
        let (low, high) = if self.falls {
            (value, &self.bound)
        } else {
            (&self.bound, value)
        };
        let order = match (low, high) {
            (Scalar::Int(low), Scalar::Int(high)) => Some(low.cmp(high)),
            (Scalar::Text(low), Scalar::Text(high)) => Some(low.cmp(high)),
            (low, high) => low
                .as_f64()
                .zip(high.as_f64())
                .map(|(low, high)| low.total_cmp(&high)),
        };
        order.is_some_and(|o| o.is_lt() || (self.inclusive && o.is_eq()))
    }

    /// The value that is enough: the next whole number where the bound itself is not.
    pub fn enough(&self) -> Option<f64> {
        match self.bound {
            Scalar::Int(bound) if !self.inclusive => Some(bound.saturating_add(1) as f64),
            _ => self.bound.as_f64(),
        }
    }

    /// Share of the way to the bound, for counts and sums that start at zero.
    pub fn progress(&self, value: &Scalar) -> f64 {
        match (value.as_f64(), self.bound.as_f64()) {
            (Some(value), Some(bound)) if !self.falls && 0.0 < bound => value / bound,
            _ => 1.0,
        }
    }
}

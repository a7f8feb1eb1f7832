//! The live inventory: which endpoints there are, and what is known of each from its calls.
//!
//! [`Summary`] is what some calls of one endpoint come to: a lane of `profile` makes one a few seconds, and two of them merge in
//! any order to what all their calls come to. [`Inventory`] absorbs summaries, decides which endpoints are believed to be there
//! ([`Standing`]), and says which records are news. An [`Entry`] is a record as the world reads it. [`Documents`] are OpenAPI
//! documents to hold it against, [`export`](openapi::export) writes one, [`changes`] compares two inventories.
//!
//! **Invariant**: callers choose paths, hosts and parameters, so everything here has a bound, and what is beyond it is counted.

mod compare;
mod diff;
mod distinct;
mod document;
mod entry;
pub mod fact;
mod few;
mod hint;
mod histogram;
pub mod openapi;
mod summary;
mod table;

pub use compare::{Deviation, Orphan, Severity, compare};
pub use diff::{Change, changes};
pub use distinct::Distinct;
pub use document::{Documents, Operation, Promise};
pub use entry::{Entry, IdTypes, Parameter, Sample, Spread};
pub use few::{Few, Named};
pub use histogram::Log2Histogram;
pub use summary::{Call, CallObject, Place, Standing, Summary};
pub use table::{Inventory, Told};

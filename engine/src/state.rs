//! A lane's state outside the lane: snapshots in object storage, and lanes put back from them.
//!
//! A snapshot is what a lane was when it had processed its log up to an offset. [`image`] freezes a lane
//! and puts one back; [`part`] is the file: blocks, compressed, under a checksum; [`store`] is where
//! they lie, under manifests that only one owner can publish; [`keeper`] writes them aside of the lanes;
//! [`standby`] keeps copies of them beside a process that may have to take a lane over.
//!
//! **Invariant**: a lane put back at an offset is, to every later record, the lane that had read its
//! log from the beginning up to there.

pub(crate) mod address;
pub mod image;
pub mod keeper;
pub mod part;
pub mod slab;
pub mod standby;
pub mod store;

pub use image::{LaneWalk, Loader, Saver};
pub use keeper::Keeper;
pub use slab::Slab;
pub use standby::Standby;
pub use store::{Place, StateError, Store};

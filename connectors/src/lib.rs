//! Wire formats in and out: gateway log records become batches of events.
//!
//! The order of the modules is the way of the data: [`mod@file`] (or Kafka, or [`mod@tail`] of files that grow) yields raw records,
//! [`mod@value`] makes them text, [`mod@format`] decodes them, [`event`] is what they become, [`reject`] what the others become,
//! [`dead_letter`] how a reject leaves. [`time`] reads every clock seen so far. On the way out [`mod@render`] makes of an alert the
//! text another system takes, and [`mod@sink`] hands it over.
//!
//! **Invariant**: nothing here knows what an attack is. A record that cannot be decoded is a value with a position, never an error
//! and never a panic, whatever its bytes.

pub mod dead_letter;
pub mod event;
pub mod file;
pub mod format;
pub mod kafka;
pub mod reject;
pub mod render;
pub mod sink;
pub mod tail;
pub mod time;
pub mod value;

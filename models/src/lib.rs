//! The statistics: pure functions and plain state, in the order a call meets them.
//!
//! `identity` (who calls), `arrival` (since when) → `endpoint` (with `template`), `object` (what is called) → `seen` (is it new to the caller)
//! → `ownership` (whose is it), `device` (who was it before) → `sharing`, `evidence`, `order`, `volume`, `judge` (is the caller leaving what is
//! usual, for it and its peers); beside it `probe`, `probing` (misconfiguration), `sizes` (response volume) and `inventory` (which
//! endpoints there are).
//!
//! Beside the way of a call: `posture` (what is wrong with the APIs), `agent` (AI agents and MCP), `compliance` (standards, readiness), `user_agent` (what
//! kind of program calls), `privacy` (what of a call is kept).
//!
//! Their tables are `generations`, and `walk` is how all of it is saved and put back.
//!
//! **Invariant**: no I/O, no clock, no async, no Arrow, no Kafka, no SQL. Time is an argument, and
//! every state has a bound and forgets in an order the log decides.

pub mod agent;
pub mod arrival;
pub mod compliance;
pub mod device;
pub mod endpoint;
pub mod evidence;
pub mod generations;
pub mod idea;
pub mod identity;
pub mod inventory;
pub mod judge;
pub mod jwt;
pub mod lineage;
pub mod object;
pub mod order;
pub mod ownership;
pub mod posture;
pub mod privacy;
pub mod probe;
pub mod probing;
pub mod secret;
pub mod seen;
pub mod sharing;
pub mod sizes;
pub mod spread;
pub mod template;
pub mod user_agent;
pub mod volume;
pub mod walk;

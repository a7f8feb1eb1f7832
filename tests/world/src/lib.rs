//! A world of API traffic for measuring detection: gateway log lines, and beside them what is true of each.
//!
//! In: a seed, days, callers. Out: `access.ndjson`, `labels.tsv`, `scenarios.json`, `truth.json`, OpenAPI documents. The way: dice → ids →
//! apis → people → world → usage and services (benign), attacks, posture (misconfigurations) → log, labels, truth. It must not know how anything is detected, hence has no dependencies: what is
//! tuned to it is tuned to a seed, and another seed is another world.

pub mod api;
pub mod attacks;
pub mod dice;
pub mod ids;
pub mod labels;
pub mod log;
pub mod people;
pub mod play;
pub mod posture;
pub mod request;
pub mod scribe;
pub mod services;
pub mod truth;
pub mod usage;
pub mod world;

//! tollwatch's engine: joins the connectors and the models.
//!
//! The way of the data is the order of the modules: [`pipeline`] says it on one screen, [`lane`] runs
//! one partition of it, [`log`] is what lies between two stages, [`stage`] holds the stages,
//! [`rule`] the SQL, [`alert`] and [`inventory`] what comes out, [`state`] what a lane leaves to the next one, [`lake`] what all leave to whoever asks later. [`service`] runs it over Kafka, [`command`] is one file
//! a subcommand, [`templates`] reads what names endpoints, [`enrich`] what is known of
//! addresses.
//!
//! **Invariant**: only this crate knows DataFusion, and only here do connectors and models meet.

pub mod alert;
pub mod briefing;
pub mod command;
pub mod config;
pub mod enrich;
pub mod evaluation;
pub mod inventory;
pub mod lake;
pub mod lane;
pub mod log;
pub mod mapping;
pub mod pipeline;
pub mod rule;
pub mod schema;
pub mod service;
pub mod sigma;
pub mod stage;
pub mod state;
pub mod telemetry;
pub mod templates;

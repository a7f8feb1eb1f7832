//! Integration tests, one binary: DataFusion is linked once.
//!
//! In the order of the data: `formats` and `poison` (what comes in), `replay` (laws of the way over files), `simulation`
//! (the lanes under every fault), `bounds` (what an attacker may choose), `detection` and `alerts` (what comes out), `kafka`
//! (the same over a real Apache Kafka), `faults` (processes and brokers that end), `tidy` (what holds of the project
//! itself). Tests that use captures which are not part of the project say so when they skip.

mod alerts;
mod bounds;
mod detection;
mod faults;
mod formats;
mod kafka;
mod poison;
mod replay;
mod simulation;
mod support;
mod tidy;

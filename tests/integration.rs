//! Integration tests, one binary: DataFusion is linked once.
//!
//! In the order of the data: `formats`, `mapping` (logs that no decoder knows), `poison` and `fuzz` (what comes in), `replay`
//! (laws of the way over files), `simulation` (the lanes under every fault), `snapshots` (what is saved of them), `standby`
//! (copies of that), `bounds` (what an attacker may choose), `privacy` and `enrichment` (what of a call is kept, and added),
//! `templates` (what names endpoints), `lake` (scored events kept, and asked again), `sigma` (rules of others), `hostile_rules`
//! (rules of somebody who means harm), `lookups` (tables beside the logs), `rules` (rules as data), `correlate` (rules over
//! alerts), `workbench` (rules tried over files), `inventory` (which endpoints there are), `posture` (what is wrong with them), `answers` (what
//! headers of answers show of it), `probing` (who tries them), `agents` (who acts, with which tools), `truth` (all of that against what is
//! true), `roi` (what it is worth), `detection`, `alerts`, `explain` and `outputs` (what comes out), `kafka` (the same over a real Apache Kafka),
//! `reload` (rules that change there), `briefing` (documents and the register of agents that do), `shed` (rules that are too slow), `deliver` (alerts on to other systems), `avro` (by a schema of a
//! registry), `collect` (logs brought there), `grpc` (by OTLP over gRPC), `values` (what a schema registry must open),
//! `secure` (over one that asks for a login), `topology` (what changes on it under a running service), `losses` (what is gone,
//! full or wrong when a service comes to it), `faults` (processes and brokers that end), `tidy` (what holds of the project
//! itself). Tests that use captures which are not part of the project say so when they skip. `long` runs the long forms,
//! `sabotage` breaks promises to see that tests notice.

mod agents;
mod alerts;
mod answers;
mod avro;
mod bounds;
mod briefing;
mod collect;
mod correlate;
mod curves;
mod deliver;
mod detection;
mod enrichment;
mod explain;
mod faults;
mod findings;
mod formats;
mod fuzz;
mod grpc;
mod hostile_rules;
mod inventory;
mod kafka;
mod lake;
mod linking;
mod lookups;
mod losses;
mod mapping;
mod outputs;
mod poison;
mod posture;
mod privacy;
mod probing;
mod reload;
mod replay;
mod roi;
mod rules;
mod secure;
mod shed;
mod sigma;
mod simulation;
mod snapshots;
mod standby;
mod support;
mod templates;
mod tidy;
mod topology;
mod truth;
mod values;
mod workbench;

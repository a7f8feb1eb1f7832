//! The rules over `inventory` and `findings`, in the lanes of `govern`: what became news of a host, and alerts about it out.
//!
//! Comes in: records of the inventory and findings of posture as they are told. Goes out: alerts. A row is what the topic's
//! record says, in columns; the record itself is beside them, for `json_get`.

use std::sync::Arc;

use arrow::array::RecordBatch;
use models::inventory::Told;
use models::posture;
use serde::Serialize;

use super::{Watcher, compile};
use crate::alert::{Alert, Alerter};
use crate::config::ModelConfig;
use crate::inventory::finding;
use crate::rule::{Rule, RuleCounters, RuleFault, RuleRunner, RuleSet};
use crate::schema::column::TEXT_BYTES_MAX;
use crate::schema::{self, FindingRow, FindingRowsBuilder, InventoryRow, InventoryRowsBuilder};
use crate::state::LaneWalk;

/// The SQL tables.
pub const TABLES: [&str; 2] = [INVENTORY, FINDINGS];
const INVENTORY: &str = "inventory";
const FINDINGS: &str = "findings";

/// The rules over what one lane tells.
pub struct Governing {
    inventory: RuleRunner,
    findings: RuleRunner,
    alerter: Alerter,
}

impl Governing {
    /// Nothing told yet.
    ///
    /// # Errors
    /// Every fault of the rules over `inventory` and `findings`.
    pub fn new(config: &ModelConfig, rules: &Arc<RuleSet>) -> Result<Self, Vec<RuleFault>> {
        Ok(Self {
            inventory: compile(config, rules, INVENTORY)?,
            findings: compile(config, rules, FINDINGS)?,
            alerter: Alerter::new(config),
        })
    }

    /// Lets the rules see what was told, and appends what they raise.
    ///
    /// * `told`, `told_at`: records of the inventory, and the lane's event time at each, ms. `changed`: findings.
    /// * `reached_ms`: how far event time is behind them.
    pub fn see(
        &mut self,
        (told, told_at): (&[Told], &[i64]),
        changed: &[posture::Told],
        reached_ms: i64,
        watcher: Option<&Watcher>,
        alerts: &mut Vec<Alert>,
    ) {
        let tables = [
            (INVENTORY, &mut self.inventory),
            (FINDINGS, &mut self.findings),
        ];
        for (table, rules) in tables {
            if rules.n_rules() == 0 && watcher.is_none() {
                continue;
            }
            let batch = match table {
                INVENTORY => entries(told, told_at),
                _ => findings(changed),
            };
            if let Some(watcher) = watcher.filter(|_| 0 < batch.num_rows()) {
                watcher(table, &batch);
            }
            let mut found = Vec::new();
            rules.push(&batch, Some(reached_ms), &mut found);
            self.alerter.raise(&found, &batch, |_| Vec::new(), alerts);
        }
    }

    /// Ends a bounded input: every window closes.
    pub fn close(&mut self, alerts: &mut Vec<Alert>) {
        let nothing = RecordBatch::new_empty(schema::inventory_table());
        for rules in [&mut self.inventory, &mut self.findings] {
            let mut found = Vec::new();
            rules.close(&mut found);
            self.alerter.raise(&found, &nothing, |_| Vec::new(), alerts);
        }
    }

    /// Runs other rules over one of the tables from now on; those whose windows begin empty come out.
    pub fn put_rules(&mut self, table: &str, rules: RuleRunner) -> Vec<Arc<Rule>> {
        let place = match table {
            INVENTORY => &mut self.inventory,
            _ => &mut self.findings,
        };
        let old = std::mem::replace(place, rules);
        place.adopt(old)
    }

    /// The rules over each of the tables.
    pub fn runners(&mut self) -> [&mut RuleRunner; 2] {
        [&mut self.inventory, &mut self.findings]
    }

    /// What the rules did.
    pub fn counters(&self) -> Vec<RuleCounters> {
        let mut counters = self.inventory.counters();
        counters.extend(self.findings.counters());
        self.alerter.counted(counters)
    }

    /// Goes over the state; behind everything else of the stage, since what follows is of the scope of a rule.
    pub fn walk(&mut self, walk: &mut impl LaneWalk) {
        self.alerter.walk(walk);
        for (table, rules) in TABLES
            .into_iter()
            .zip([&mut self.inventory, &mut self.findings])
        {
            walk.enter(table);
            rules.walk(walk);
        }
    }
}

/// Names in one text, which `string_to_array` takes apart; none where there are none.
fn joined(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| names.join(","))
}

/// A record as JSON; none where a column has no room for it, since half of one is none.
fn whole(record: &impl Serialize) -> Option<String> {
    let text = serde_json::to_string(record).ok()?;
    (text.len() <= TEXT_BYTES_MAX).then_some(text)
}

fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The rows of the table `inventory`.
fn entries(told: &[Told], told_at: &[i64]) -> RecordBatch {
    let mut rows = InventoryRowsBuilder::default();
    for (Told { entry, is_new }, at_ms) in told.iter().zip(told_at) {
        let of_class = |class: char| {
            let those = entry.statuses.iter();
            let those = those.filter(|(status, _)| status.starts_with(class));
            count(those.map(|(_, n)| n).sum())
        };
        let [auth_schemes, sensitive, collections, services, routes] = [
            &entry.auth_schemes,
            &entry.sensitive,
            &entry.collections,
            &entry.services,
            &entry.routes,
        ]
        .map(|names| joined(names));
        let record = whole(entry);
        let sample = entry.samples.first().cloned().unwrap_or_default();
        rows.push(&InventoryRow {
            event_time: *at_ms,
            kind: &entry.kind,
            endpoint: &entry.key,
            method: &entry.method,
            host: &entry.host,
            template: &entry.template,
            version: entry.version.as_deref(),
            standing: &entry.standing,
            is_new: *is_new,
            first_time: entry.first_seen_ms,
            last_time: entry.last_seen_ms,
            calls: count(entry.calls),
            calls_per_minute: entry.calls_per_minute,
            n_success: of_class('2'),
            n_client_errors: of_class('4'),
            n_server_errors: of_class('5'),
            authenticated: count(entry.authenticated),
            anonymous: count(entry.anonymous),
            anonymous_answered: count(entry.anonymous_answered),
            auth_schemes: auth_schemes.as_deref(),
            tls: count(entry.tls),
            plaintext: count(entry.plaintext),
            identities: count(entry.identities),
            objects: count(entry.objects),
            paths: entry.paths.map(count),
            sensitive: sensitive.as_deref(),
            collections: collections.as_deref(),
            services: services.as_deref(),
            routes: routes.as_deref(),
            record: record.as_deref(),
            source_topic: &sample.topic,
            source_partition: sample.partition,
            source_offset: sample.offset,
            source_row: sample.row,
        });
    }
    RecordBatch::try_new(schema::inventory_table(), rows.finish())
        .expect("a builder's columns are its own table's")
}

/// The rows of the table `findings`.
fn findings(changed: &[posture::Told]) -> RecordBatch {
    let mut rows = FindingRowsBuilder::default();
    for told in changed {
        let of = &told.finding;
        let (check, window) = (told.check, of.life.window());
        let ((rate_low, rate_high), record) = (of.life.rate(), whole(&finding(told)));
        let (endpoint, host) = match check.scope {
            posture::Scope::Endpoint => (of.subject.clone(), of.subject.split(' ').nth(1)),
            // As the inventory calls what is asked for of a whole host.
            posture::Scope::Host => (format!("* {} /**", of.subject), Some(of.subject.as_str())),
            _ => (of.subject.clone(), None),
        };
        let sample = of.samples.iter().next();
        rows.push(&FindingRow {
            event_time: told.at_ms,
            uid: &of.uid,
            check: check.id,
            title: check.title,
            severity: check.severity.as_str(),
            scope: check.scope.as_str(),
            subject: &of.subject,
            endpoint: &endpoint,
            host: host.filter(|host| *host != "-"),
            phase: of.life.phase.as_str(),
            change: told.change.as_str(),
            first_time: of.life.first_ms,
            last_time: of.life.last_ms,
            regressed: i64::from(of.life.n_regressed),
            bad: count(window.bad),
            of: count(window.of),
            rate_low,
            rate_high,
            identities: count(of.n_identities),
            owner: of.owner.as_deref(),
            record: record.as_deref(),
            source_topic: sample.map_or("", |sample| &sample.topic),
            source_partition: sample.map_or(0, |sample| sample.partition),
            source_offset: sample.map_or(0, |sample| sample.offset),
            source_row: sample.map_or(0, |sample| sample.row),
        });
    }
    RecordBatch::try_new(schema::findings_table(), rows.finish())
        .expect("a builder's columns are its own table's")
}

//! The alert about a rule that was shed: a detection is off, which whoever reads alerts must know.
//!
//! It has the form of every alert ([`super`]), with the rule as its resource and no caller. Its position is that of the act in
//! the lane's own log, since no event triggered it. Each lane that sheds the rule tells it, under one id a day of event time.
//! Rules over `alerts` don't see it.

use serde_json::json;
use xxhash_rust::xxh3::xxh3_128;

use super::{Alert, Raised, clean};
use crate::rule::case::CASE_MS;
use crate::rule::shed::{Cost, Shed};
use crate::rule::{Rule, Severity};

/// Name of the analytic that tells it.
pub const RULE_SHED: &str = "rule_shed";

/// Tells that `rule` was shed.
///
/// * `time_ms`: event time of the lane. `position`: topic, partition and offset of the act.
pub fn alert(rule: &Rule, shed: &Shed, time_ms: i64, position: (&str, i32, i64)) -> Alert {
    let (header, cost) = (&rule.header, &shed.cost);
    let (topic, partition, offset) = position;
    let day = time_ms.div_euclid(CASE_MS);
    let uid = format!("{RULE_SHED}:{:016x}:{day}", shed.hash);
    let uid = format!("{:032x}", xxh3_128(uid.as_bytes()));
    let title = clean(&format!("rule {} is too slow and was shed", header.name));
    let severity_id = Severity::Medium as u8 + 1;
    let ocsf = json!({
        "activity_id": 1,
        "activity_name": "Create",
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": 2004,
        "class_name": "Detection Finding",
        "type_uid": 200_401,
        "time": time_ms,
        "severity_id": severity_id,
        "status_id": 1,
        "is_alert": true,
        "message": title,
        "metadata": {
            "version": "1.8.0",
            "uid": format!("{uid}-1"),
            "product": { "name": "tollwatch", "vendor_name": "tollwatch", "version": env!("CARGO_PKG_VERSION") },
        },
        "finding_info": {
            "uid": uid,
            "title": title,
            "desc": "The lane fell behind and this rule took more of its time than a rule may. It finds nothing in this lane until its file changes, or it is named in shedding.exempt; all other rules go on.",
            "analytic": { "uid": RULE_SHED, "name": "A rule was shed", "version": "1", "type_id": 1 },
            "first_seen_time": time_ms,
            "last_seen_time": time_ms,
        },
        "resources": [{ "uid": header.name, "name": header.title, "type": "detection_rule" }],
        "evidences": [],
        "unmapped": { "tollwatch": {
            "position": { "topic": topic, "partition": partition, "offset": offset },
            "rule": header.name,
            "rule_id": header.id,
            "rule_hash": format!("{:016x}", shed.hash),
            "rule_version": header.version,
            "reasons": reasons(cost),
            "cost": cost,
        } },
    });
    Alert {
        key: header.name.clone(),
        about: header.name.clone(),
        rule: RULE_SHED.to_owned(),
        activity_id: 1,
        json: ocsf.to_string(),
        title,
        about_identity: false,
        severity_id,
        time_ms,
        position: (topic.to_owned(), partition, offset),
        read_at_ms: 0,
        raised: Box::new(Raised::default()),
    }
}

fn reasons(cost: &Cost) -> [String; 2] {
    [
        format!(
            "it took {} % of the lane's time and {} ns a row; a rule that takes {} % and {} ns is too slow",
            cost.percent, cost.row_ns, cost.percent_max, cost.row_ns_max
        ),
        format!(
            "rows had waited {} ms in their log, and longer and longer",
            cost.behind_ms
        ),
    ]
}

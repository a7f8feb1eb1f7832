//! An alert as rules over `alerts` see it, on its way from the stage that raised it.
//!
//! Comes in: a finding that was told. Goes out: a value that a log carries, and a row of the table `alerts`. Texts are cut as
//! those of sample rows are, so one takes at most [`Raised::BYTES_MAX`].

use arrow::array::{Array, AsArray, RecordBatch};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::clean;
use crate::log::identity_hash;
use crate::rule::{Admitted, Evidence, Finding, Severity};
use crate::schema::AlertRow;

/// Bytes of the output columns; a rule that gives more has none here.
const COLUMNS_MAX: usize = 4 << 10;
/// Bytes of one other text; longer ones are cut.
const TEXT_MAX: usize = 1024;

/// One alert.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Raised {
    /// When it could be told, ms of event time.
    pub told_ms: i64,
    /// Hash of what its lane is found by: the identity, or what the case is about.
    pub hash: u64,
    rule: String,
    title: String,
    severity_id: u8,
    confidence: f64,
    tags: String,
    is_new: bool,
    uid: String,
    n_findings: u64,
    about: String,
    /// Who called; none in an alert about an endpoint.
    pub identity: Option<String>,
    identity_kind: Option<String>,
    identity_quality: Option<String>,
    endpoint: String,
    first_ms: i64,
    columns: Option<String>,
    n_evidence: usize,
    trigger: Evidence,
}

impl Raised {
    /// Bytes one takes at most.
    pub const BYTES_MAX: usize =
        size_of::<Raised>() + Evidence::BYTES_MAX + COLUMNS_MAX + 9 * TEXT_MAX;

    /// What `finding` told.
    ///
    /// * `batch`: the rows it was made on; a window that closed has none of them.
    /// * `first_ms`: when what it tells began. `columns`: its output. `n_evidence`: sample rows it shows.
    pub(super) fn new(
        finding: &Finding,
        trigger: &Evidence,
        case: &Admitted,
        batch: &RecordBatch,
        first_ms: i64,
        columns: &Map<String, Value>,
        n_evidence: usize,
    ) -> Raised {
        let header = &finding.rule.header;
        let given = |column: &str| {
            let value = finding.value(column).filter(|value| !value.is_null())?;
            Some(value.to_string())
        };
        let identity = given("identity");
        let of_row = |column: &str| {
            let array = batch.column_by_name(column)?.as_string_opt::<i32>()?;
            (finding.row < array.len() && array.is_valid(finding.row))
                .then(|| array.value(finding.row).to_owned())
        };
        let known = |column: &str| {
            let _ = identity.as_ref()?;
            given(column).or_else(|| of_row(column)).map(cut)
        };
        // A window that has closed is told when it is believed to be whole.
        let closed_ms = (finding.row == usize::MAX).then_some(header.lateness.ms);
        let columns = serde_json::to_string(columns).ok();
        Raised {
            told_ms: finding.time_ms.saturating_add(closed_ms.unwrap_or(0)),
            hash: identity_hash(identity.as_deref().unwrap_or(&case.about)),
            rule: header.name.clone(),
            title: cut(clean(&finding.rule.title(&finding.values))),
            severity_id: header.severity as u8 + 1,
            confidence: header.confidence,
            tags: cut(header.tags.join(",")),
            is_new: case.is_new,
            uid: case.uid.clone(),
            n_findings: case.n_findings,
            about: cut(clean(&case.about)),
            identity_kind: known("identity_kind"),
            identity_quality: known("identity_quality"),
            identity: identity.map(cut),
            endpoint: cut(given("endpoint").unwrap_or_else(|| trigger.endpoint.clone())),
            first_ms,
            columns: columns.filter(|text| text.len() <= COLUMNS_MAX),
            n_evidence,
            trigger: trigger.clone(),
        }
    }

    /// The row of the table `alerts`.
    pub fn row(&self) -> AlertRow<'_> {
        let tags = |start| {
            let tags = self.tags.split(',');
            tags.filter_map(move |tag: &str| tag.strip_prefix(start))
        };
        // ATT&CK's tactics have words, its techniques a number behind a t.
        let is_technique = |tag: &&str| tag[1..].starts_with(|c: char| c.is_ascii_digit());
        let mut techniques = tags("attack.").filter(|tag| tag.starts_with('t'));
        let host = self.endpoint.split(' ').nth(1).filter(|host| *host != "-");
        let trigger = &self.trigger;
        AlertRow {
            event_time: self.told_ms,
            rule: &self.rule,
            title: &self.title,
            severity: severity(self.severity_id),
            severity_id: i32::from(self.severity_id),
            confidence: self.confidence,
            tactic: tags("owasp.").next(),
            technique: techniques.find(is_technique),
            tags: &self.tags,
            is_new: self.is_new,
            uid: &self.uid,
            n_findings: i64::try_from(self.n_findings).unwrap_or(i64::MAX),
            about: &self.about,
            identity: self.identity.as_deref(),
            identity_kind: self.identity_kind.as_deref(),
            identity_quality: self.identity_quality.as_deref(),
            endpoint: &self.endpoint,
            host,
            first_time: self.first_ms,
            columns: self.columns.as_deref(),
            n_evidence: i32::try_from(self.n_evidence).unwrap_or(i32::MAX),
            method: &trigger.method,
            path: &trigger.path,
            status: trigger.status,
            client_ip: trigger.client_ip.as_deref(),
            user_agent: trigger.user_agent.as_deref(),
            source_topic: &trigger.topic,
            source_partition: trigger.partition,
            source_offset: trigger.offset,
            source_row: trigger.row,
        }
    }
}

/// Name of a severity by OCSF's number.
fn severity(id: u8) -> &'static str {
    let all = [
        Severity::Informational,
        Severity::Low,
        Severity::Medium,
        Severity::High,
        Severity::Critical,
    ];
    let at = usize::from(id.max(1) - 1).min(all.len() - 1);
    all[at].as_str()
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_MAX));
    text
}

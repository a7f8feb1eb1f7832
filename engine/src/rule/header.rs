//! The YAML header of a rule file: what SQL has no place for.
//!
//! A rule is one `.sql` file: `/*---`, YAML, `---*/`, one plain SELECT. In comes the text of the file, out comes a [`Rule`]
//! whose header has passed every check that needs no schema. Unknown keys are refused, so a misspelt `supress` cannot
//! silently disable anything. Must not know: Arrow, DataFusion's planner, the tables.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use datafusion::scalar::ScalarValue;
use models::identity::is_unprintable;
use serde::{Deserialize, Deserializer};

use super::{RULE_BYTES_MAX, Rule, RuleFault};

/// Sample rows kept for one finding unless the header says otherwise.
pub const EVIDENCE_DEFAULT: usize = 5;
/// Sample rows a header may ask for. Each is up to a few hundred bytes in every group of a window; beyond it the rule is refused.
pub const EVIDENCE_MAX: usize = 50;
/// Characters of one value in a title; longer ones are cut. A path is under the caller's control, a title is read by people.
const TITLE_VALUE_MAX: usize = 128;
/// How long a window waits for stragglers unless the header says otherwise, in milliseconds.
const LATENESS_DEFAULT_MS: i64 = 60_000;

/// Longest duration, in milliseconds: a century, so that sums with event times stay times.
const SPAN_MAX_MS: i64 = 36_500 * 86_400_000;
/// Tests of a rule, and its parameters, exceptions and columns it requires.
const LIST_MAX: usize = 500;

/// The header of a rule file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of this form: `rule/v1`.
    pub schema: String,
    /// UUID of the rule, never reused.
    pub id: String,
    /// Name of the rule: the stem of its file, and its label in metrics.
    pub name: String,
    /// Version of the rule, from 1; grows with every change of meaning.
    pub version: u32,
    /// What the rule sees, in one line.
    pub title: String,
    /// How far the rule is trusted.
    pub status: Status,
    /// How bad a finding is.
    pub severity: Severity,
    /// Share of findings expected to be right, in `[0, 1]`.
    #[serde(default = "confidence_default")]
    pub confidence: f64,
    /// What happens, why it matters, how it is recognised.
    pub description: String,
    /// Who wrote it.
    #[serde(default)]
    pub author: String,
    /// Day of the first version, `YYYY-MM-DD`.
    pub date: Option<String>,
    /// Day of the last change, `YYYY-MM-DD`.
    pub modified: Option<String>,
    /// `owasp.api1-2023`, `attack.t1213`, `cwe.639`.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Where to read more.
    #[serde(default)]
    pub references: Vec<String>,
    /// Harmless causes, for the analyst.
    #[serde(default)]
    pub falsepositives: Vec<String>,
    /// Controls the finding speaks to: `pci-dss-4.0.1:6.2.4`.
    #[serde(default)]
    pub compliance: Vec<String>,
    /// What to do about it.
    #[serde(default)]
    pub remediation: String,
    /// Values the SQL uses as `$name`.
    #[serde(default)]
    pub params: BTreeMap<String, Param>,
    /// When a finding is made; the compiler picks if absent.
    pub emit: Option<Emit>,
    /// How long windows wait for rows that come out of order.
    #[serde(default = "lateness_default")]
    pub lateness: Span,
    /// Event time from the first row of a sequence to its last.
    #[serde(default)]
    pub within: Option<Span>,
    /// Which repetitions are one case.
    pub suppress: Option<Suppress>,
    /// Rows that are known and accepted.
    #[serde(default)]
    pub exceptions: Vec<Exception>,
    /// Columns a source must fill for the rule to see anything.
    #[serde(default)]
    pub requires: Vec<String>,
    /// How a finding reads.
    #[serde(default)]
    pub alert: AlertText,
    /// Rows in, alerts out.
    #[serde(default)]
    pub tests: Vec<Test>,
}

impl Header {
    /// Takes white space off the ends of texts: a folded YAML text ends with a line feed, which has no place in an alert.
    fn trim(&mut self) {
        let texts = [
            &mut self.title,
            &mut self.description,
            &mut self.author,
            &mut self.remediation,
            &mut self.alert.title,
        ];
        let lists = [
            &mut self.tags,
            &mut self.references,
            &mut self.falsepositives,
            &mut self.compliance,
        ];
        for text in texts.into_iter().chain(lists.into_iter().flatten()) {
            let trimmed = text.trim();
            if trimmed.len() < text.len() {
                *text = trimmed.to_owned();
            }
        }
    }
}

/// How far a rule is trusted; Sigma's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// May be noisy.
    Experimental,
    /// Mostly tuned.
    Test,
    /// Meant for production.
    Stable,
    /// Replaced by another.
    Deprecated,
}

/// How bad a finding is; Sigma's words, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the record.
    Informational,
    /// Look when there is time.
    Low,
    /// Look this week.
    Medium,
    /// Look today.
    High,
    /// Look now.
    Critical,
}

impl Severity {
    /// The word in the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Informational => "informational",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

impl Status {
    /// The word in the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Experimental => "experimental",
            Status::Test => "test",
            Status::Stable => "stable",
            Status::Deprecated => "deprecated",
        }
    }
}

/// When a finding is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Emit {
    /// As soon as an open window crosses; needs a HAVING that, once true, stays true.
    FirstCrossing,
    /// When the watermark passes the end of the window.
    WindowClose,
    /// At every row; rules without a window.
    Each,
}

/// A length of time: `500ms`, `10s`, `5m`, `12h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Milliseconds, never negative.
    pub ms: i64,
}

impl Span {
    /// Reads a number with its unit.
    ///
    /// # Errors
    /// Says what was expected when the text is no such thing.
    pub fn parse(text: &str) -> Result<Span, String> {
        let fault = || {
            format!(
                "`{text}` is not a duration: write a number and ms, s, m, h or d, as in 500ms or 5m"
            )
        };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit_ms: i64 = match &text[digits.len()..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(fault()),
        };
        let n: i64 = digits.trim().parse().map_err(|_| fault())?;
        match n.checked_mul(unit_ms) {
            Some(ms) if (0..=SPAN_MAX_MS).contains(&ms) => Ok(Span { ms }),
            Some(ms) if 0 <= ms => Err(format!("`{text}` is longer than 36500d")),
            _ => Err(fault()),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1_000, "s"),
        ];
        match units
            .iter()
            .find(|(ms, _)| 0 < self.ms && self.ms % ms == 0)
        {
            Some((ms, unit)) => write!(f, "{}{unit}", self.ms / ms),
            None => write!(f, "{}ms", self.ms),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = String::deserialize(deserializer)?;
        Span::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// One value the SQL uses as `$name`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ParamKind,
    /// Its value unless the deployment sets another.
    pub default: serde_json::Value,
    /// Smallest value allowed.
    pub min: Option<serde_json::Value>,
    /// Greatest value allowed.
    pub max: Option<serde_json::Value>,
    /// What it does, for whoever tunes it.
    #[serde(default)]
    pub description: String,
}

/// Type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamKind {
    /// 64-bit integer.
    Int,
    /// 64-bit float.
    Float,
    /// Text.
    String,
    /// `true` or `false`.
    Bool,
    /// `5m`; an INTERVAL in SQL.
    Duration,
}

impl Param {
    /// The value as SQL sees it, after type and bounds.
    ///
    /// # Errors
    /// Says what is wrong with the value.
    pub fn scalar(&self, value: &serde_json::Value) -> Result<ScalarValue, String> {
        let number = self.number(value)?;
        for (bound, name, outside) in [(&self.min, "min", -1.0), (&self.max, "max", 1.0)] {
            let Some(bound) = bound else { continue };
            let limit = self.number(bound).map_err(|e| format!("{name}: {e}"))?;
            if let (Some(number), Some(limit)) = (number, limit)
                && 0.0 < (number - limit) * outside
            {
                return Err(format!("{value} is beyond {name} {bound}"));
            }
        }
        Ok(match self.kind {
            ParamKind::Int => ScalarValue::Int64(value.as_i64()),
            ParamKind::Float => ScalarValue::Float64(value.as_f64()),
            ParamKind::Bool => ScalarValue::Boolean(value.as_bool()),
            ParamKind::String => ScalarValue::Utf8(value.as_str().map(str::to_owned)),
            ParamKind::Duration => ScalarValue::new_interval_mdn(
                0,
                0,
                number.map_or(0, |ms| ms as i64).saturating_mul(1_000_000),
            ),
        })
    }

    /// The value as a number to compare with its bounds; text and flags have none.
    fn number(&self, value: &serde_json::Value) -> Result<Option<f64>, String> {
        let fault = |wanted: &str| format!("{value} is not {wanted}");
        match self.kind {
            ParamKind::Int => value
                .as_i64()
                .map(|n| Some(n as f64))
                .ok_or_else(|| fault("an integer")),
            ParamKind::Float => value.as_f64().map(Some).ok_or_else(|| fault("a number")),
            ParamKind::Bool => value
                .as_bool()
                .map(|_| None)
                .ok_or_else(|| fault("true or false")),
            ParamKind::String => value.as_str().map(|_| None).ok_or_else(|| fault("text")),
            ParamKind::Duration => {
                let text = value
                    .as_str()
                    .ok_or_else(|| fault("a duration such as 5m"))?;
                Ok(Some(Span::parse(text)?.ms as f64))
            }
        }
    }
}

/// Which repetitions are one case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suppress {
    /// Output columns; equal values are one case.
    pub by: Vec<String>,
    /// Event time a case stays open after it was opened.
    #[serde(rename = "for")]
    pub span: Span,
    /// Whether a case is told again each time its findings have grown tenfold.
    #[serde(default)]
    pub update: bool,
}

/// Rows that are known and accepted until a day.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// SQL predicate over the columns of the input table.
    pub when: String,
    /// Why, usually a ticket.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// Last day it applies, `YYYY-MM-DD`, in event time (UTC).
    pub expires: String,
}

impl Exception {
    /// First millisecond of event time at which the exception no longer applies: the midnight after its last day.
    pub fn expires_ms(&self) -> Option<i64> {
        day_ms(&self.expires).map(|ms| ms + 86_400_000)
    }
}

/// How a finding reads.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertText {
    /// `{column}` stands for the value of an output column.
    #[serde(default)]
    pub title: String,
    /// Sample rows.
    #[serde(default)]
    pub evidence: EvidenceText,
}

/// Sample rows of a finding.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceText {
    /// How many at most, up to [`EVIDENCE_MAX`].
    #[serde(default = "evidence_default")]
    pub limit: usize,
}

impl Default for EvidenceText {
    fn default() -> Self {
        EvidenceText {
            limit: EVIDENCE_DEFAULT,
        }
    }
}

/// Rows in, alerts out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// What is shown, as a sentence.
    pub name: String,
    /// `{generate: {n, every, start, column: SQL over i}}`, or a list of such and of single rows `{at, column: SQL}`.
    pub rows: serde_json::Value,
    /// `{table: CSV}`: lookup tables of the test, in the place of the deployment's.
    #[serde(default)]
    pub lookups: BTreeMap<String, String>,
    /// What must come out.
    pub expect: Expect,
}

/// What must come out of a test.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Cases opened, after suppression.
    pub alerts: usize,
    /// Values of the first alerts' output columns, compared as text.
    #[serde(default)]
    pub rows: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Title of the first alert.
    pub title: Option<String>,
}

fn confidence_default() -> f64 {
    0.5
}

fn evidence_default() -> usize {
    EVIDENCE_DEFAULT
}

fn lateness_default() -> Span {
    Span {
        ms: LATENESS_DEFAULT_MS,
    }
}

/// Milliseconds since the epoch of a `YYYY-MM-DD`, or nothing if it is no day.
pub(crate) fn day_ms(text: &str) -> Option<i64> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    if (year.len(), month.len(), day.len()) != (4, 2, 2) {
        return None;
    }
    let (year, month, day): (i64, i64, i64) =
        (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let lengths = [
        31,
        if leap { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let length = *lengths.get(usize::try_from(month - 1).ok()?)?;
    if !(1..=length).contains(&day) {
        return None;
    }
    // Days from civil, H. Hinnant: years start in March, so the leap day is the last one.
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400_000)
}

impl Rule {
    /// Reads one rule file.
    ///
    /// # Errors
    /// Every fault of the header that can be seen without a schema, with its line.
    pub fn parse(path: &Path, text: &str) -> Result<Rule, Vec<RuleFault>> {
        let fault = |line: usize, message: String| RuleFault {
            file: path.to_owned(),
            line,
            message,
        };
        if RULE_BYTES_MAX < text.len() {
            let told = format!("is longer than {RULE_BYTES_MAX} bytes");
            return Err(vec![fault(1, told)]);
        }
        let Some(rest) = text.trim_start_matches('\u{feff}').strip_prefix("/*---") else {
            return Err(vec![fault(
                1,
                "a rule starts with /*---, its YAML header and ---*/".to_owned(),
            )]);
        };
        let Some((yaml, sql)) = rest.split_once("---*/") else {
            return Err(vec![fault(
                1,
                "the header has no end: close it with ---*/".to_owned(),
            )]);
        };
        let mut header: Header = serde_saphyr::from_str(yaml).map_err(|e| {
            // The YAML starts on the line of the opening mark, so its lines are the lines of the file.
            let line = e.location().map_or(1, |l| l.line() as usize);
            vec![fault(
                line,
                e.to_string().lines().next().unwrap_or_default().to_owned(),
            )]
        })?;
        header.trim();
        let faults: Vec<RuleFault> = header_faults(&header, path)
            .into_iter()
            .map(|(key, message)| fault(line_of(text, key), format!("{key}: {message}")))
            .collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let hash = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
        Ok(Rule {
            header,
            sql: sql.trim().to_owned(),
            path: path.to_owned(),
            line: sql_line(text),
            text: text.into(),
            hash,
        })
    }

    /// The columns the rule requires and the source never fills; where there are any, the rule is blind.
    pub fn blind_on(&self, columns_present: impl Fn(&str) -> bool) -> Vec<String> {
        self.header
            .requires
            .iter()
            .filter(|c| !columns_present(c))
            .cloned()
            .collect()
    }

    /// The title of one finding: the template with its columns filled in.
    ///
    /// Values come from callers: control characters become spaces, and each value is cut to 128 characters.
    pub fn title(&self, values: &[(String, ScalarValue)]) -> String {
        let template = if self.header.alert.title.is_empty() {
            &self.header.title
        } else {
            &self.header.alert.title
        };
        let mut title = String::with_capacity(template.len() + 64);
        let mut rest = template.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            title.push_str(before);
            let Some((column, tail)) = after.split_once('}') else {
                title.push('{');
                rest = after;
                continue;
            };
            match values.iter().find(|(name, _)| name == column) {
                Some((_, value)) => title.push_str(&plain(value)),
                None => title.push('?'),
            }
            rest = tail;
        }
        title.push_str(rest);
        title
    }

    /// Sets a parameter to another value than its default.
    ///
    /// # Errors
    /// Says so when there is no such parameter, or the value has the wrong type or is out of bounds.
    pub fn set_param(&mut self, name: &str, value: serde_json::Value) -> Result<(), String> {
        let known: Vec<String> = self.header.params.keys().cloned().collect();
        let Some(param) = self.header.params.get_mut(name) else {
            return Err(format!(
                "rule {} has no parameter `{name}`, it has: {}",
                self.header.name,
                known.join(", ")
            ));
        };
        param.scalar(&value)?;
        param.default = value;
        Ok(())
    }
}

/// Line of the file on which the SELECT starts.
fn sql_line(text: &str) -> usize {
    let Some(end) = text.find("---*/") else {
        return 1;
    };
    let rest = &text[end + 5..];
    let blank = rest.len() - rest.trim_start().len();
    text[..end + 5 + blank].matches('\n').count() + 1
}

/// Columns a title template names.
pub(crate) fn title_columns(template: &str) -> Vec<&str> {
    template
        .split('{')
        .skip(1)
        .filter_map(|part| part.split_once('}').map(|(column, _)| column))
        .collect()
}

/// A value as people read it, without what a caller could forge a text with, and cut to 128 characters.
pub(crate) fn plain(value: &ScalarValue) -> String {
    let text = match value {
        value if value.is_null() => return "-".to_owned(),
        ScalarValue::Float64(Some(number)) => plain_number(*number),
        other => other.to_string(),
    };
    let mut chars = text.chars();
    let shown = chars.by_ref().take(TITLE_VALUE_MAX);
    let mut shown: String = shown
        .map(|c| if is_unprintable(c) { ' ' } else { c })
        .collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

/// A number as people read it: three digits behind the point at most, and none from a thousand up.
fn plain_number(number: f64) -> String {
    if number.abs() >= 1000.0 {
        return format!("{number:.0}");
    }
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Line on which a key of the header stands, or 1.
fn line_of(text: &str, key: &str) -> usize {
    let key = format!("{key}:");
    text.lines()
        .position(|line| line.starts_with(&key))
        .map_or(1, |at| at + 1)
}

/// Faults of the header, each with the key it is under.
fn header_faults(header: &Header, path: &Path) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    let mut check = |ok: bool, key: &'static str, message: String| {
        if !ok {
            faults.push((key, message));
        }
    };
    check(
        header.schema == "rule/v1",
        "schema",
        format!("`{}` is not known, write rule/v1", header.schema),
    );
    check(
        is_uuid(&header.id),
        "id",
        format!("`{}` is not a UUID", header.id),
    );
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    check(
        !header.name.is_empty() && header.name.chars().all(is_name),
        "name",
        format!("`{}` may hold a-z, 0-9 and _ only", header.name),
    );
    let stem = path
        .file_stem()
        .and_then(|s| s.to_str())
        .unwrap_or_default();
    check(
        stem == header.name,
        "name",
        format!("`{}` is not the name of the file, `{stem}`", header.name),
    );
    check(
        0 < header.version,
        "version",
        "versions start at 1".to_owned(),
    );
    check(
        (0.0..=1.0).contains(&header.confidence),
        "confidence",
        format!("{} is not in [0, 1]", header.confidence),
    );
    check(
        !header.title.trim().is_empty(),
        "title",
        "a rule needs a title".to_owned(),
    );
    for (key, day) in [("date", &header.date), ("modified", &header.modified)] {
        let Some(day) = day else { continue };
        check(
            day_ms(day).is_some(),
            key,
            format!("`{day}` is not a day, write YYYY-MM-DD"),
        );
    }
    let lines = [
        ("title", &header.title),
        ("author", &header.author),
        ("alert", &header.alert.title),
    ];
    let lists = [
        ("tags", &header.tags),
        ("references", &header.references),
        ("falsepositives", &header.falsepositives),
        ("compliance", &header.compliance),
    ];
    let lists = lists
        .into_iter()
        .flat_map(|(key, texts)| texts.iter().map(move |text| (key, text)));
    for (key, text) in lines.into_iter().chain(lists) {
        let forges = |c| is_unprintable(c) && (c != '\n' || key == "title" || key == "alert");
        check(
            !text.contains(forges),
            key,
            "holds a control character, or one that can't be seen: it goes into alerts".to_owned(),
        );
    }
    let lengths = [
        ("params", header.params.len()),
        ("exceptions", header.exceptions.len()),
        ("requires", header.requires.len()),
        ("tests", header.tests.len()),
    ];
    for (key, n) in lengths {
        check(
            n <= LIST_MAX,
            key,
            format!("there are {n}, at most {LIST_MAX} are possible"),
        );
    }
    let limit = header.alert.evidence.limit;
    check(
        (1..=EVIDENCE_MAX).contains(&limit),
        "alert",
        format!("evidence limit {limit} is not in 1 to {EVIDENCE_MAX}"),
    );
    for (name, param) in &header.params {
        let value = param.scalar(&param.default);
        check(
            value.is_ok(),
            "params",
            format!("{name}: {}", value.err().unwrap_or_default()),
        );
        let used = name.chars().all(is_name) && !name.is_empty();
        check(
            used,
            "params",
            format!("`{name}` may hold a-z, 0-9 and _ only"),
        );
    }
    if let Some(suppress) = &header.suppress {
        check(
            !suppress.by.is_empty(),
            "suppress",
            "`by` names no column".to_owned(),
        );
        check(
            0 < suppress.span.ms,
            "suppress",
            "`for` must be longer than zero".to_owned(),
        );
    }
    for exception in &header.exceptions {
        let day = &exception.expires;
        check(
            exception.expires_ms().is_some(),
            "exceptions",
            format!("expires `{day}` is not a day, write YYYY-MM-DD"),
        );
        check(
            !exception.reason.trim().is_empty(),
            "exceptions",
            "every exception needs a reason".to_owned(),
        );
    }
    faults
}

pub(crate) fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "/*---
schema: rule/v1
id: 6f1c2f0e-2f62-4c0c-9f0c-2a6e3b1d9f10
name: small
version: 1
title: A small rule
status: stable
severity: high
description: For the tests
params: {floor: {type: int, default: 5, min: 1, max: 9}, wait: {type: duration, default: 5m}}
suppress: {by: [identity], for: 15m, update: true}
exceptions: [{when: \"identity = 'x'\", reason: SEC-1, owner: me, expires: 2026-06-30}]
alert: {title: \"{identity} did {what}\"}
---*/

SELECT identity FROM events
";

    fn parse(text: &str) -> Result<Rule, String> {
        let faults = |f: Vec<RuleFault>| {
            f.iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; ")
        };
        Rule::parse(Path::new("rules/small.sql"), text).map_err(faults)
    }

    #[test]
    fn a_whole_header_is_read() {
        let rule = parse(HEADER).unwrap();
        assert_eq!(rule.sql, "SELECT identity FROM events");
        assert_eq!(
            rule.header.suppress.as_ref().unwrap().span,
            Span { ms: 900_000 }
        );
        assert_eq!(
            rule.header.exceptions[0].expires_ms(),
            Some(1_782_864_000_000)
        );
        assert_eq!(rule.line, 16);
        assert_eq!(rule.header.lateness.to_string(), "1m");
    }

    #[test]
    fn a_folded_text_ends_without_a_line_feed() {
        let folded = "description: >\n  one line\n  and another\nremediation: |\n  do it\n";
        let rule = parse(&HEADER.replacen("description: For the tests\n", folded, 1)).unwrap();
        assert_eq!(rule.header.description, "one line and another");
        assert_eq!(rule.header.remediation, "do it");
    }

    #[test]
    fn faults_name_the_file_the_line_and_the_key() {
        let rows = [
            ("version: 1", "versoin: 1", "versoin"),
            (
                "name: small",
                "name: other",
                "rules/small.sql:4: name: `other` is not the name of the file",
            ),
            ("id: 6f1c2f0e-", "id: 6f1c2f0", "not a UUID"),
            (
                "default: 5,",
                "default: 50,",
                "rules/small.sql:10: params: floor: 50 is beyond max 9",
            ),
            ("severity: high", "severity: huge", "huge"),
            ("for: 15m", "for: 15", "15"),
            ("expires: 2026-06-30", "expires: 2026-02-30", "is not a day"),
            ("---*/", "", "has no end"),
            ("/*---", "", "starts with"),
        ];
        for (from, to, wanted) in rows {
            let message = parse(&HEADER.replacen(from, to, 1)).unwrap_err();
            assert!(message.contains(wanted), "{from} -> {to}: {message}");
        }
    }

    #[test]
    fn a_title_cannot_be_forged_by_a_value() {
        let rule = parse(HEADER).unwrap();
        let text = |s: &str| ScalarValue::Utf8(Some(s.to_owned()));
        let values = vec![
            ("identity".to_owned(), text("a\n\u{1b}[2Jb\u{202e}{what}")),
            ("what".to_owned(), text(&"x".repeat(200))),
        ];
        assert_eq!(
            rule.title(&values),
            format!("a  [2Jb {{what}} did {}…", "x".repeat(128))
        );
    }

    #[test]
    fn parameters_keep_type_and_bounds() {
        let mut rule = parse(HEADER).unwrap();
        assert!(rule.set_param("floor", 7.into()).is_ok());
        assert!(
            rule.set_param("floor", 70.into())
                .unwrap_err()
                .contains("beyond max")
        );
        assert!(
            rule.set_param("floor", "7".into())
                .unwrap_err()
                .contains("not an integer")
        );
        assert!(
            rule.set_param("flor", 7.into())
                .unwrap_err()
                .contains("floor, wait")
        );
    }
}

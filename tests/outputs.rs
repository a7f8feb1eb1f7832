//! Alerts as other systems take them: every alert of the captures, in every format, against the vendors' own lists of fields.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use connectors::render::{Alert, Format};
use connectors::time::parse_time;
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::alerts::{alerts_of, secret_traffic};
use crate::findings::findings_of;
use crate::support::{bundled, shared, succeed, tollwatch, write_lines};
use crate::values::alerts::reader;

/// What the bundled captures, hostile traffic, and the captures beside the project when they are there, give.
fn of_every_capture(told_of: fn(&Path) -> Vec<Value>) -> Vec<Value> {
    let dir = tempfile::tempdir().expect("a folder");
    let hostile = dir.path().join("log");
    write_lines(&hostile, &secret_traffic());
    let mut told: Vec<Value> = [
        bundled("vampi.ndjson.xz"),
        bundled("ledger.log.xz"),
        hostile,
    ]
    .iter()
    .flat_map(|log| told_of(log))
    .collect();
    for capture in [
        "captures/dev-board-nginx/access.ndjson.xz",
        "captures/dev-vampi-nginx/access.ndjson.xz",
        "captures/dev-ledger-apache/access.log.xz",
    ] {
        told.extend(shared(capture).iter().flat_map(|log| told_of(log)));
    }
    told
}

/// The lines `render` makes of a file of alerts.
pub(crate) fn rendered(alerts: &Path, format: &str) -> Vec<String> {
    let output = succeed(tollwatch().arg("render").arg(alerts).args(["--as", format]));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(str::to_owned).collect()
}

/// A list of fields beside the project.
fn yaml<T: for<'de> Deserialize<'de>>(name: &str) -> Option<T> {
    let text = std::fs::read_to_string(shared(name)?).expect("readable");
    Some(serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")))
}

#[test]
fn every_alert_of_the_captures_is_valid_in_every_format() {
    let alerts = of_every_capture(alerts_of);
    assert!(alerts.len() >= 100, "{} alerts", alerts.len());
    assert_valid_in_every_format(&alerts);
}

#[test]
fn every_finding_of_the_captures_is_valid_in_every_format() {
    let findings = of_every_capture(findings_of);
    assert!(findings.len() >= 5, "{} findings", findings.len());
    assert_valid_in_every_format(&findings);
}

fn assert_valid_in_every_format(alerts: &[Value]) {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("alerts");
    let lines: Vec<Vec<u8>> = alerts.iter().map(|a| a.to_string().into_bytes()).collect();
    write_lines(&file, &lines);
    let checks: [(&str, Check); 9] = [
        ("ocsf", ocsf()),
        ("ecs", ecs()),
        ("cef", cef()),
        ("leef", leef()),
        ("hec", hec()),
        ("asim", asim()),
        ("udm", udm()),
        ("json", Box::new(flat)),
        ("slack", Box::new(slack)),
    ];
    let names: Vec<&str> = checks.iter().map(|(name, _)| *name).collect();
    let known: Vec<&str> = Format::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, known, "every format is looked at");
    for (name, check) in checks {
        let lines = rendered(&file, name);
        assert_eq!(lines.len(), alerts.len(), "{name}: one line an alert");
        for (line, alert) in lines.iter().zip(alerts) {
            if let Err(fault) = check(line) {
                panic!("{name}: {fault}\n{line}");
            }
            let uid = alert["metadata"]["uid"].as_str().expect("an id");
            assert!(line.contains(uid), "{name} has the id to deduplicate by");
        }
    }
    // Avro is no text: read back by its schema it says what `json` does.
    let values = reader();
    for line in &lines {
        crate::values::alerts::check(&values, &Alert::parse(line).expect("an alert"));
    }
}

/// Says what is wrong with a line.
pub(crate) type Check = Box<dyn Fn(&str) -> Result<(), String>>;

fn nothing_to_check() -> Check {
    Box::new(|_| Ok(()))
}

fn object(line: &str) -> Result<Value, String> {
    match serde_json::from_str(line) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("no object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Paths and values of everything that is no object.
fn leaves<'v>(value: &'v Value, path: &str, found: &mut Vec<(String, &'v Value)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                leaves(value, &path, found);
            }
        }
        value => found.push((path.to_owned(), value)),
    }
}

pub(crate) fn ocsf() -> Check {
    let validator = |class: &str| {
        let path = shared(&format!("standards/ocsf/1.8.0/{class}.schema.json"))?;
        let text = std::fs::read_to_string(path).expect("readable");
        let schema: Value = serde_json::from_str(&text).expect("a schema");
        Some(jsonschema::validator_for(&schema).expect("a schema"))
    };
    let (Some(detection), Some(compliance)) = (
        validator("detection_finding"),
        validator("compliance_finding"),
    ) else {
        return nothing_to_check();
    };
    Box::new(move |line| {
        let value = object(line)?;
        let validator = match value["class_uid"] == 2003 {
            true => &compliance,
            false => &detection,
        };
        validator
            .validate(&value)
            .map_err(|fault| fault.to_string())
    })
}

#[derive(Deserialize)]
struct EcsField {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    normalize: Vec<String>,
    #[serde(default)]
    allowed_values: Vec<Named>,
    #[serde(default)]
    ignore_above: Option<usize>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

pub(crate) fn ecs() -> Check {
    let Some(fields) = yaml::<BTreeMap<String, EcsField>>("standards/ecs/ecs_flat.yml") else {
        return nothing_to_check();
    };
    Box::new(move |line| {
        let (value, mut found) = (object(line)?, Vec::new());
        leaves(&value, "", &mut found);
        for (path, value) in found {
            if path.starts_with("tollwatch.") {
                continue;
            }
            let field = fields.get(&path).ok_or(format!("{path} is no field"))?;
            let is_list = field.normalize.iter().any(|normal| normal == "array");
            let one = std::slice::from_ref(value);
            let values = match value.as_array() {
                Some(values) if is_list => values.as_slice(),
                None if !is_list => one,
                _ => return Err(format!("{path} is a list, or should be")),
            };
            for value in values {
                let text = value.as_str().unwrap_or_default();
                let is_allowed = |known: &Named| known.name == text;
                let fits = match field.kind.as_str() {
                    "date" => parse_time(text).is_some(),
                    "ip" => text.parse::<IpAddr>().is_ok(),
                    "long" => value.is_i64(),
                    "keyword" | "wildcard" | "match_only_text" => !text.is_empty(),
                    other => return Err(format!("{path} is a {other}, which no test knows")),
                } && (field.allowed_values.is_empty()
                    || field.allowed_values.iter().any(is_allowed))
                    && field.ignore_above.is_none_or(|most| text.len() <= most);
                if !fits {
                    return Err(format!("{path} can't be {value}"));
                }
            }
        }
        Ok(())
    })
}

#[derive(Deserialize)]
struct CefKeys {
    extensions: Vec<CefKey>,
}

#[derive(Deserialize)]
struct CefKey {
    key: String,
    #[serde(rename = "type")]
    kind: String,
    /// A number, but for widths such as `64-bit`.
    #[serde(default)]
    length: Value,
    audience: String,
}

fn cef() -> Check {
    let Some(keys) = yaml::<CefKeys>("standards/siem/cef/extensions.yaml") else {
        return nothing_to_check();
    };
    let line_of = Regex::new(r"^CEF:0(?:\|(?:[^|\\]|\\[|\\])*){5}\|(?:[0-9]|10)\|(.*)$");
    // Of a value's own `=` a backslash keeps the word away.
    let key_of = Regex::new(r"(?:^| )([A-Za-z0-9]+)=").expect("a pattern");
    let line_of = line_of.expect("a pattern");
    Box::new(move |line| {
        let found = line_of.captures(line).ok_or("no CEF header")?;
        let extension = found.get(1).map_or("", |extension| extension.as_str());
        let keys_at: Vec<_> = key_of.captures_iter(extension).collect();
        let ends = keys_at.iter().skip(1).filter_map(|next| next.get(0));
        let ends = ends.map(|next| next.start()).chain([extension.len()]);
        let mut seen = BTreeSet::new();
        for (found, end) in keys_at.iter().zip(ends) {
            let (whole, name) = (found.get(0).ok_or("no key")?, &found[1]);
            let value = &extension[whole.end()..end];
            let mut known = keys.extensions.iter();
            let key = known.find(|known| known.key == name);
            let key = key.ok_or(format!("{name} is no key"))?;
            if key.audience == "consumer" || !seen.insert(name.to_owned()) {
                return Err(format!("{name} is not ours to set, or there twice"));
            }
            let value = value.replace("\\=", "=").replace("\\\\", "\\");
            let fits = match key.kind.as_str() {
                "timestamp" | "integer" | "long" => value.parse::<i64>().is_ok(),
                "ipv4_address" => value.parse::<std::net::Ipv4Addr>().is_ok(),
                "ipv6_address" => value.parse::<std::net::Ipv6Addr>().is_ok(),
                "string" => !value.is_empty(),
                other => return Err(format!("{name} is a {other}, which no test knows")),
            };
            let most = key.length.as_u64().unwrap_or(u64::MAX);
            if !fits || most < value.len() as u64 {
                return Err(format!("{name} can't be {value}"));
            }
        }
        Ok(())
    })
}

#[derive(Deserialize)]
struct LeefKeys {
    attributes: Vec<LeefKey>,
}

#[derive(Deserialize)]
struct LeefKey {
    key: String,
    #[serde(rename = "type")]
    kind: String,
}

fn leef() -> Check {
    let Some(keys) = yaml::<LeefKeys>("standards/siem/leef/attributes.yaml") else {
        return nothing_to_check();
    };
    Box::new(move |line| {
        let parts: Vec<&str> = line.splitn(7, '|').collect();
        let [version, _, _, _, event, delimiter, attributes] = parts[..] else {
            return Err("no LEEF header".to_owned());
        };
        if (version, delimiter) != ("LEEF:2.0", "x09") || event.is_empty() || 255 < event.len() {
            return Err("a wrong header".to_owned());
        }
        let mut seen = BTreeSet::new();
        for attribute in attributes.split('\t') {
            let (name, value) = attribute.split_once('=').ok_or("no key")?;
            if value.is_empty() || !seen.insert(name) {
                return Err(format!("{name} is empty, or there twice"));
            }
            let known = keys.attributes.iter().find(|known| known.key == name);
            let fits = match known.map(|key| key.kind.as_str()) {
                Some("ip_address") => value.parse::<IpAddr>().is_ok(),
                Some("integer") => value.parse::<i64>().is_ok(),
                // 10 or 13 digits need no format beside them.
                _ if name == "devTime" => value.len() == 13 && value.parse::<i64>().is_ok(),
                Some(_) => true,
                None => name.bytes().all(|b| b.is_ascii_alphanumeric()),
            };
            if !fits {
                return Err(format!("{name} can't be {value}"));
            }
        }
        let has_all = ["cat", "devTime", "sev"]
            .iter()
            .all(|name| seen.contains(name));
        if has_all {
            Ok(())
        } else {
            Err("QRadar's own keys are missing".to_owned())
        }
    })
}

#[derive(Deserialize)]
struct CimModel {
    datasets: BTreeMap<String, CimDataset>,
}

#[derive(Deserialize)]
struct CimDataset {
    fields: BTreeMap<String, Value>,
}

fn hec() -> Check {
    let (ocsf, model) = (ocsf(), yaml::<CimModel>("standards/siem/cim/alerts.yaml"));
    Box::new(move |line| {
        let value = object(line)?;
        let keys: Vec<&str> = value
            .as_object()
            .into_iter()
            .flat_map(|o| o.keys())
            .map(|k| &**k)
            .collect();
        if keys != ["time", "source", "sourcetype", "event", "fields"] || !value["time"].is_f64() {
            return Err(format!("{keys:?}"));
        }
        ocsf(&value["event"].to_string())?;
        let Some(model) = &model else { return Ok(()) };
        let fields = &model.datasets["Alerts"].fields;
        for (name, value) in value["fields"].as_object().ok_or("no fields")? {
            let is_known = fields.contains_key(name) || name == "vendor_product";
            // Splunk takes texts and lists of texts.
            let is_text = |value: &Value| value.is_string();
            let texts = value.as_array().map(|values| values.iter().all(is_text));
            if !is_known || !texts.unwrap_or(value.is_string()) {
                return Err(format!("{name} can't be {value}"));
            }
        }
        Ok(())
    })
}

#[derive(Deserialize)]
struct AsimSchema {
    fields: Vec<AsimField>,
}

#[derive(Deserialize)]
struct AsimField {
    name: String,
    class: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    allowed_values: Vec<String>,
}

fn asim() -> Check {
    let Some(schema) = yaml::<AsimSchema>("standards/siem/asim/alert_event.yaml") else {
        return nothing_to_check();
    };
    Box::new(move |line| {
        let value = object(line)?;
        let row = value.as_object().ok_or("no row")?;
        for field in &schema.fields {
            if field.class == "Mandatory" && !row.contains_key(&field.name) {
                return Err(format!("{} is missing", field.name));
            }
        }
        for (name, value) in row.iter().filter(|(name, _)| *name != "TimeGenerated") {
            let field = schema.fields.iter().find(|field| field.name == *name);
            let field = field.ok_or(format!("{name} is no column"))?;
            let text = value.as_str().unwrap_or_default();
            // A value is told with its meaning after it, in parentheses.
            let allowed = field.allowed_values.iter();
            let mut allowed = allowed.map(|known| known.split(" (").next().unwrap_or_default());
            let fits = match field.kind.to_ascii_lowercase().as_str() {
                "integer" => value.is_i64(),
                "date/time" => parse_time(text).is_some(),
                "dynamic" => value.is_object(),
                _ => !text.is_empty(),
            };
            let is_allowed = field.allowed_values.is_empty() || allowed.any(|known| known == text);
            let is_fixed = field.value.as_ref().is_none_or(|fixed| fixed == text);
            if !fits || !is_allowed || !is_fixed {
                return Err(format!("{name} can't be {value}"));
            }
        }
        let severities = ["Informational", "Low", "Medium", "High"];
        if !severities.contains(&row["EventSeverity"].as_str().unwrap_or_default()) {
            return Err("a severity of our own".to_owned());
        }
        Ok(())
    })
}

#[derive(Deserialize)]
struct UdmRecord {
    fields: BTreeMap<String, UdmField>,
}

#[derive(Deserialize)]
struct UdmField {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    ingestion_name: Option<String>,
}

impl UdmRecord {
    /// Whether these are fields of the record, lists where it has lists.
    fn takes(&self, value: &Value) -> Result<(), String> {
        for (name, value) in value.as_object().ok_or("no object")? {
            let named = |(key, field): &(&String, &UdmField)| {
                field.ingestion_name.as_ref().unwrap_or(key) == name
            };
            let (_, field) = self
                .fields
                .iter()
                .find(named)
                .ok_or(format!("{name} is no field"))?;
            let fits = match field.kind.as_str() {
                "string" => value.is_string(),
                "int32" => value.is_i64(),
                "timestamp" => parse_time(value.as_str().unwrap_or_default()).is_some(),
                kind if kind.starts_with("list<") => value.is_array(),
                _ => value.is_object() || value.is_string(),
            };
            if !fits {
                return Err(format!("{name}, a {}, can't be {value}", field.kind));
            }
        }
        Ok(())
    }
}

fn udm() -> Check {
    let record = |name: &str| yaml::<UdmRecord>(&format!("standards/siem/udm/{name}.yaml"));
    let (metadata, noun, result, http) = (
        record("metadata"),
        record("noun"),
        record("security_result"),
        record("http"),
    );
    let (Some(metadata), Some(noun), Some(result), Some(http)) = (metadata, noun, result, http)
    else {
        return nothing_to_check();
    };
    Box::new(move |line| {
        let value = object(line)?;
        metadata.takes(&value["metadata"])?;
        // Both are there on every event; a principal without a machine or a user is none.
        noun.takes(&value["principal"])?;
        noun.takes(&value["target"])?;
        http.takes(&value["network"]["http"])?;
        let results = value["securityResult"].as_array().ok_or("no result")?;
        results.iter().try_for_each(|value| result.takes(value))?;
        let known = [
            "metadata",
            "principal",
            "target",
            "network",
            "securityResult",
        ];
        let mut names = value.as_object().into_iter().flat_map(|event| event.keys());
        match names.find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(format!("{name} is no field")),
        }
    })
}

fn flat(line: &str) -> Result<(), String> {
    for (name, value) in object(line)?.as_object().ok_or("no object")? {
        let values = value
            .as_array()
            .map_or(std::slice::from_ref(value), Vec::as_slice);
        if values
            .iter()
            .any(|value| value.is_object() || value.is_array() || value.is_null())
        {
            return Err(format!("{name} is nested"));
        }
    }
    Ok(())
}

fn slack(line: &str) -> Result<(), String> {
    let value = object(line)?;
    let text = value["text"].as_str().ok_or("no text")?;
    match text.contains(['<', '>']) || 40_000 < text.len() {
        true => Err("a link, or too long".to_owned()),
        false => Ok(()),
    }
}

#[test]
fn the_checks_can_fail() {
    let wrongs: [(Check, &str); 12] = [
        (ocsf(), r#"{"class_uid":2004}"#),
        (ocsf(), r#"{"class_uid":2003}"#),
        (ecs(), r#"{"event":{"kind":"alarm"}}"#),
        (ecs(), r#"{"event":{"sort":"alert"}}"#),
        (ecs(), r#"{"related":{"user":"a"}}"#),
        (cef(), "CEF:0|a|b|c|d|e|5|rt=1 forged=x"),
        (cef(), "CEF:0|a|b|c|d|5|rt=1"),
        (leef(), "LEEF:2.0|a|b|c|d|x09|cat=a\tcat=b"),
        (hec(), r#"{"event":{}}"#),
        (asim(), r#"{"EventType":"Alert"}"#),
        (udm(), r#"{"metadata":{"eventKind":"x"}}"#),
        (Box::new(flat), r#"{"a":{"b":1}}"#),
    ];
    for (check, wrong) in wrongs {
        if shared("standards/siem").is_some() {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}

#[test]
fn render_chooses_and_says_what_is_no_alert() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("alerts");
    let alerts = alerts_of(&bundled("vampi.ndjson.xz"));
    let mut lines: Vec<Vec<u8>> = alerts.iter().map(|a| a.to_string().into_bytes()).collect();
    lines.push(b"{\"class_uid\":2002}".to_vec());
    write_lines(&file, &lines);
    let mut high = tollwatch();
    let high = high
        .arg("render")
        .arg(&file)
        .args(["--as", "json", "--min-severity", "high"]);
    let output = high
        .args(["--rule", "bola_enumeration"])
        .output()
        .expect("starts");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    let number = lines.len();
    assert!(
        said.contains(&format!(
            "line {number}: no OCSF Detection or Compliance Finding"
        )),
        "{said}"
    );
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let chosen: Vec<Value> = text.lines().map(|l| object(l).expect("an alert")).collect();
    let wanted = |alert: &&Value| {
        alert["finding_info"]["analytic"]["uid"] == "bola_enumeration"
            && alert["severity_id"].as_i64() >= Some(4)
    };
    assert_eq!(chosen.len(), alerts.iter().filter(wanted).count());
    assert!(chosen.iter().all(|alert| alert["severity"] == "high") && !chosen.is_empty());
    let usage = tollwatch().args(["render", "-", "--as", "xml"]).output();
    let usage = usage.expect("starts");
    assert_eq!(usage.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&usage.stderr).contains("formats are ocsf, ecs"));
}

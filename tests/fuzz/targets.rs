//! The targets: what opens values, a decoder each, `decode` with all behind it, the log's reader, the configuration.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use connectors::event::DecodedBatch;
use connectors::format::{Format, RECORD_BYTES_MAX, SourceRecord};
use connectors::reject::{DETAIL_CHARS_MAX, Reject};
use connectors::value::{RegistryConfig, SchemaId, Unopened, Values};
use engine::config::Config;
use engine::lane::Outbox;
use engine::log::{self, Item, Log, LogRecord};
use engine::mapping::suggest::propose;
use engine::mapping::{Mapping, Mappings, Reader, SourceFormat};
use engine::rule::{Rule, RuleSet};
use engine::schema::{JudgementRowsBuilder, SummaryRow, SummaryRowsBuilder, TouchRowsBuilder};
use engine::stage::decode::{Decode, DecodeConfig};
use models::identity::{Resolver, is_unprintable};
use models::secret::HashKey;

use super::{Verdict, fuzz, kept};
use crate::poison::good;
use crate::support::root;
use crate::values::registry::{self, Registry};

fn must(holds: bool, what: impl Into<String>) -> Verdict {
    if holds { Ok(()) } else { Err(what.into()) }
}

fn records<'a>(payloads: &[&'a [u8]]) -> Vec<SourceRecord<'a>> {
    let record = |(offset, payload): (i64, &&'a [u8])| SourceRecord {
        payload,
        offset,
        broker_time_ms: None,
    };
    (0..).zip(payloads).map(record).collect()
}

/// Rows of one record, with where they are in it.
fn rows(decoded: &DecodedBatch, offset: i64) -> Vec<(i32, RecordBatch)> {
    let at = decoded.positions.iter().enumerate();
    at.filter(|(_, position)| position.offset == offset)
        .map(|(row, position)| (position.row, decoded.batch.slice(row, 1)))
        .collect()
}

fn rejects(decoded: &DecodedBatch, offset: i64) -> Vec<&Reject> {
    let all = decoded.rejects.iter();
    all.filter(|reject| reject.position.offset == offset)
        .collect()
}

/// True when a text is an array without elements, which is no call and no fault.
fn is_empty_array(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    text.ends_with("[]")
}

/// The lines of a file's header are no calls and no faults either.
fn is_header(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.contains("#Version: 1.0") || text.contains("#Fields: ")
}

/// Of an export request's spans none may be a server's.
fn is_export(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.contains("resourceSpans") || text.contains("resource_spans")
}

fn decoder(format: Format, neighbour: &[u8], bytes: &[u8]) -> Verdict {
    reader(&format.into(), neighbour, bytes)
}

/// A record between two good ones becomes events or rejects in its place, and nothing else of the two.
fn reader(format: &SourceFormat, neighbour: &[u8], bytes: &[u8]) -> Verdict {
    let decode = |payloads: &[&[u8]]| Reader::new(format).decode(&records(payloads));
    let decoded = decode(&[neighbour, bytes, neighbour]);
    let again = decode(&[neighbour, bytes, neighbour]);
    must(
        decoded.batch == again.batch
            && decoded.positions == again.positions
            && decoded.rejects == again.rejects,
        "it decodes to something else the second time",
    )?;
    let alone = decode(&[neighbour, b"", neighbour]);
    for offset in [0, 2] {
        let row = rows(&decoded, offset);
        must(
            row.len() == 1 && rejects(&decoded, offset).is_empty(),
            "a neighbour is lost",
        )?;
        must(row == rows(&alone, offset), "a neighbour is another")?;
    }
    let (rows, rejects) = (rows(&decoded, 1), rejects(&decoded, 1));
    let n = rows.len() + rejects.len();
    must(
        n > 0 || is_empty_array(bytes) || is_header(bytes) || is_export(bytes),
        "it became nothing",
    )?;
    must(n <= 1 || bytes.contains(&b'['), format!("it became {n}"))?;
    must(
        decoded.positions.len() == 2 + rows.len() && decoded.rejects.len() == rejects.len(),
        "something is in another place",
    )?;
    let mut places: Vec<i32> = rows.iter().map(|(row, _)| *row).collect();
    places.extend(rejects.iter().map(|reject| reject.position.row));
    if rejects.len() > connectors::format::REJECTS_PER_RECORD_MAX {
        // The last counts the others, and says where the last of them was.
        places.pop();
    }
    let distinct: BTreeSet<i32> = places.iter().copied().collect();
    must(
        distinct.len() == places.len() && distinct.iter().all(|row| 0 <= *row),
        format!("elements are in one place: {places:?}"),
    )?;
    for reject in rejects {
        let n_chars = reject.detail.chars().count();
        must(
            (1..=DETAIL_CHARS_MAX).contains(&n_chars),
            format!("a reject says {:?}", reject.detail),
        )?;
    }
    Ok(())
}

fn decoders(name: &str) {
    let format: Format = name.parse().expect("a format");
    let neighbour = good(name, 1).remove(0);
    fuzz(name, &good(name, 3), |bytes| {
        decoder(format, &neighbour, bytes)?;
        decoder(Format::Auto, &neighbour, bytes)
    });
}

#[test]
fn kong_is_decoded_or_rejected() {
    decoders("kong");
}

#[test]
fn envoy_is_decoded_or_rejected() {
    decoders("envoy");
}

#[test]
fn nginx_is_decoded_or_rejected() {
    decoders("nginx");
}

#[test]
fn combined_is_decoded_or_rejected() {
    decoders("combined");
}

/// Formats of which no capture is bundled: their corpus has a good line each, in a file of that name.
const CLOUD: [&str; 12] = [
    "akamai",
    "apigee",
    "aws-alb",
    "aws-api-gateway",
    "aws-waf",
    "azure-apim",
    "azure-app-gateway",
    "cloudflare",
    "cloudfront",
    "f5",
    "gcp",
    "imperva",
];

/// The same of gateways that their users run, and of schemas of others.
const HOSTED: [&str; 10] = [
    "apisix", "caddy", "ecs", "haproxy", "krakend", "ocsf", "otlp", "traefik", "tyk", "zeek",
];

#[test]
fn hosted_gateways_are_decoded_or_rejected() {
    HOSTED.into_iter().for_each(|name| by_corpus(name, name));
}

#[test]
fn envelopes_are_opened_or_rejected() {
    by_corpus("envelope", "combined");
}

#[test]
fn cloud_gateways_are_decoded_or_rejected() {
    CLOUD.into_iter().for_each(|name| by_corpus(name, name));
}

fn by_corpus(name: &str, format: &str) {
    let format: Format = format.parse().expect("a format");
    let good = kept(name)
        .into_iter()
        .find(|(file, _)| file.starts_with("good."));
    let (_, neighbour) = good.expect("a good line");
    fuzz(name, &[], |bytes| {
        decoder(format, &neighbour, bytes)?;
        decoder(Format::Auto, &neighbour, bytes)
    });
}

/// Mappings that use what a line can be hostile to: JSON, a pattern, expressions that fail.
const MAPPINGS: &str = r#"
[by_json]
fields = { event_time = "json_get(raw, 't')", method = "json_get(raw, 'm')", path = "json_get(raw, 'p')", status = "cast(json_get(raw, 's') AS int)", consumer = "json_get(raw, 'who.name')", route = "json_get(raw, 'who')", response_bytes = "json_get_int(raw, 'who.list[1]')", request_body = "upper(raw)" }
[by_pattern]
pattern = '^(?P<t>\S+) "(?P<line>(?:[^"\\]|\\.)*)" (?P<s>\S+)(?: (?P<who>.*))?$'
fields = { event_time = "coalesce(to_timestamp(t), to_timestamp_seconds(1))", request_line = "line", status = "cast(s AS int)", consumer = "regexp_replace(who, '([a-z]+)', '<\\1>', 'g')", query = "url_decode(who)", host = "substr(who, cast(s AS int))" }
"#;

#[test]
fn a_mapping_decodes_or_rejects() {
    let mappings: Mappings = toml::from_str(MAPPINGS).expect("mappings");
    let good: [(&str, &[u8]); 2] = [
        ("by_json", br#"{"t":"2026-01-05T11:50:05Z","m":"GET","p":"/a?b","s":"200","who":{"name":"ann","list":[1,2]}}"#),
        ("by_pattern", br#"2026-01-05T11:50:05Z "GET /a?b HTTP/1.1" 2 ann"#),
    ];
    for (name, neighbour) in good {
        let mapping = Mapping::compile(name, &mappings[name]).expect("sound");
        let format = SourceFormat::Mapped(Arc::new(mapping));
        fuzz("mapping", &[neighbour.to_vec()], |bytes| {
            reader(&format, neighbour, bytes)
        });
    }
}

#[test]
fn a_mapping_is_compiled_or_refused() {
    fuzz("mapping-config", &[MAPPINGS.as_bytes().to_vec()], |bytes| {
        let Ok(mappings) = toml::from_str::<Mappings>(&String::from_utf8_lossy(bytes)) else {
            return Ok(());
        };
        for (name, config) in &mappings {
            if let Err(faults) = Mapping::compile(name, config) {
                must(!faults.0.is_empty(), "refused without a reason")?;
            }
        }
        Ok(())
    });
}

/// What is proposed of any lines is TOML, and a mapping where nothing is missing.
#[test]
fn what_is_proposed_of_any_lines_is_a_mapping() {
    fuzz("mapping", &[], |bytes| {
        let lines: Vec<Vec<u8>> = bytes
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        let lines = [lines.clone(), lines].concat();
        let proposal = propose("mine", &lines);
        let parsed: Result<toml::Value, _> = toml::from_str(&proposal.toml);
        must(parsed.is_ok(), format!("no TOML: {}", proposal.toml))?;
        let compiled = Mapping::compile("mine", &proposal.config);
        must(
            compiled.is_ok() == proposal.missing.is_empty(),
            format!("missing {:?}: {}", proposal.missing, proposal.toml),
        )
    });
}

/// The stage; `hides` keeps as little of a call as it can.
fn stage(format: SourceFormat, hides: bool) -> Decode {
    let privacy = match hides {
        true => crate::privacy::everything().privacy(),
        false => Ok(Arc::default()),
    };
    let config = DecodeConfig {
        format,
        resolver: Arc::new(Resolver::new(HashKey::new([7; 32]), hides)),
        templates: Arc::default(),
        enrichment: Arc::default(),
        privacy: privacy.expect("sound options"),
        partitions: 2,
    };
    Decode::new("fuzz".into(), 0, config)
}

/// Records of the events log that some payloads become.
fn events(payloads: &[&[u8]], hides: bool) -> (usize, usize, Vec<LogRecord>) {
    let (mut decode, mut out) = (stage(Format::Auto.into(), hides), Outbox::default());
    let pushed = decode.push(&records(payloads), 1, &mut out);
    let pushed = pushed.expect("what a decoder gives is what the stage takes");
    decode.flush(&mut out).expect("rows are rows");
    let written = out.records.into_iter().map(|(_, record)| record).collect();
    (pushed.n_events, pushed.rejects.len(), written)
}

/// Identities, templates, objects and secrets of whatever was decoded, up to the bytes of the log and back.
fn whole_stage(bytes: &[u8]) -> Verdict {
    stage_keeping(bytes, false)?;
    stage_keeping(bytes, true)
}

fn stage_keeping(bytes: &[u8], hides: bool) -> Verdict {
    let (n_events, n_rejects, written) = events(&[bytes], hides);
    must(
        n_events + n_rejects > 0 || is_empty_array(bytes) || is_header(bytes) || is_export(bytes),
        "it became nothing",
    )?;
    let n_rows: usize = written.iter().map(|record| record.batch.num_rows()).sum();
    must(
        n_rows == n_events,
        format!("{n_events} events, {n_rows} rows"),
    )?;
    for record in &written {
        for (part, value) in log::encode_parts(record).map_err(|error| error.to_string())? {
            let back = log::decode(Log::Events, &value).map_err(|error| error.to_string())?;
            must(back == part.batch, "the log gives back other rows")?;
        }
    }
    Ok(())
}

#[test]
fn whatever_is_decoded_can_be_written() {
    for target in ["kong", "envoy", "nginx", "combined"]
        .into_iter()
        .chain(CLOUD)
        .chain(HOSTED)
        .chain(["envelope"])
    {
        fuzz(target, &[], whole_stage);
    }
}

/// A value is opened within the limits, or refused in few words.
#[test]
fn a_value_is_opened_or_refused() {
    let registry = Registry::written_by_others();
    let config = RegistryConfig {
        url: registry.url.clone(),
        login: None,
        ca: None,
    };
    let mut opener = Values::new(Some(&config)).expect("a sound address");
    for id in 1..8 {
        opener.fetch(SchemaId::Number(id)).expect("an answer");
    }
    let all = registry::values_by_others();
    let good: Vec<Vec<u8>> = all.into_iter().map(|(_, value)| value).collect();
    fuzz("value", &good, |bytes| match opener.open(bytes, None) {
        Ok(opened) => must(opened.n_bytes() <= RECORD_BYTES_MAX, "more than a record"),
        Err(Unopened::Refused(refusal)) => must(!refusal.detail.is_empty(), "no reason"),
        Err(Unopened::Wanted(SchemaId::Number(id))) => {
            must(!(1..8).contains(&id), "a schema is gone")
        }
        Err(Unopened::Wanted(_)) => Err("a GUID without a header".to_owned()),
    });
}

/// A value of each log, of real rows where there are any.
fn values() -> Vec<Vec<u8>> {
    let kept = ["kong", "envoy", "nginx", "combined"].map(kept);
    let payloads: Vec<&[u8]> = kept
        .iter()
        .flatten()
        .map(|(_, bytes)| bytes.as_slice())
        .collect();
    let (_, _, written) = events(&payloads, false);
    let encode = |batch: &RecordBatch| log::encode(batch).expect("encodes");
    let mut values: Vec<_> = written.iter().map(|record| encode(&record.batch)).collect();
    let empty = |log: Log| RecordBatch::new_empty(engine::schema::of_log(log));
    values.extend(Log::ALL.map(|log| encode(&empty(log))));
    let (mut touches, mut judgements) =
        (TouchRowsBuilder::default(), JudgementRowsBuilder::default());
    for _ in 0..3 {
        touches.push(&Default::default());
        judgements.push(&Default::default());
    }
    let (touch, judgement) = (touches.finish(), judgements.finish());
    let mut summaries = SummaryRowsBuilder::default();
    for n in 0..3 {
        let summary = vec![n as u8; n];
        summaries.push(&SummaryRow {
            endpoint: "GET h /a",
            summary: &summary,
            ..Default::default()
        });
    }
    for (log, columns) in [
        (Log::Touches, touch.clone()),
        (Log::Judgements, [touch, judgement].concat()),
        (Log::Endpoints, summaries.finish()),
    ] {
        let batch = RecordBatch::try_new(engine::schema::of_log(log), columns);
        values.push(encode(&batch.expect("the table's columns")));
    }
    values
}

/// Bytes that are no record are an error; those that are one can be read to the last value.
fn log_value(bytes: &[u8]) -> Verdict {
    for log in Log::ALL {
        let Ok(batch) = log::decode(log, bytes) else {
            continue;
        };
        for row in 0..batch.num_rows() {
            must(
                log::row_at(log, &batch, row).is_some(),
                "a row has no position",
            )?;
        }
        // Every value is looked at: each is printed.
        let printed = arrow::util::pretty::pretty_format_batches(std::slice::from_ref(&batch));
        printed.map_err(|error| error.to_string())?;
        let held: usize = batch
            .columns()
            .iter()
            .map(|column| column.get_buffer_memory_size())
            .sum();
        // Up to three buffers a column are parts of one allocation, and each counts all of it.
        let bound = batch.num_columns() * (bytes.len() + 1024) * 4;
        must(held <= bound, format!("{} bytes hold {held}", bytes.len()))?;
        let again = log::encode(&batch).and_then(|value| log::decode(log, &value));
        must(
            again.is_ok_and(|again| again == batch),
            "what was read is not what is written",
        )?;
    }
    Ok(())
}

#[test]
fn a_log_is_read_or_an_error() {
    fuzz("log", &values(), log_value);
}

/// Headers as lines of `name=value`: what is read of them is what would be written.
fn headers(bytes: &[u8]) -> Verdict {
    let empty = RecordBatch::new_empty(engine::schema::of_log(Log::Touches));
    let value = log::encode(&empty).map_err(|error| error.to_string())?;
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b'=')?;
        Some((std::str::from_utf8(&line[..at]).ok()?, &line[at + 1..]))
    });
    let Ok(Item::Record(record)) = log::read(Log::Touches, &value, lines) else {
        return Ok(());
    };
    let written = log::headers(Log::Touches, "profile", &record);
    let pairs = written
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()));
    let again = log::read(Log::Touches, &value, pairs).map_err(|error| error.to_string())?;
    let Item::Record(again) = again else {
        return Err("rows are read as rules".to_owned());
    };
    must(
        again.header == record.header,
        "what was read is not what is written",
    )
}

#[test]
fn headers_are_read_or_an_error() {
    fuzz("headers", &[], headers);
}

fn configuration(bytes: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(bytes);
    match (Config::parse(&text), Config::parse(&text)) {
        (Ok(config), Ok(again)) => {
            must(
                format!("{config:?}") == format!("{again:?}"),
                "it parses to something else",
            )?;
            must(config.faults() == again.faults(), "it has other faults")?;
            let _ = config.listens_beyond_loopback();
            Ok(())
        }
        (Err(error), Err(again)) => must(
            error == again && !error.to_string().is_empty(),
            "another error",
        ),
        _ => Err("it parses sometimes".to_owned()),
    }
}

#[test]
fn a_configuration_is_read_or_has_faults() {
    fuzz("config", &[], configuration);
}

/// Documents of Sigma become rules whose text stays where it belongs, or reasons that can be shown.
fn sigma(bytes: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let outcome = engine::sigma::convert(&[("fuzz.yml".to_owned(), text)], None);
    for refused in &outcome.refused {
        let told = [&refused.title, &refused.reason];
        must(!refused.reason.is_empty(), "no reason")?;
        must(
            !told.iter().any(|text| text.contains(is_unprintable)),
            "a reason can't be shown",
        )?;
    }
    for made in &outcome.converted {
        let (header, sql) = made.text.split_once("*/").ok_or("the header has no end")?;
        must(header.ends_with("---"), "the header ends early")?;
        must(!header[2..].contains("/*"), "the header holds a comment")?;
        must(sql.starts_with("\nSELECT "), "the header ends late")?;
        let can_be_shown = |c: char| c == '\n' || !is_unprintable(c);
        must(made.text.chars().all(can_be_shown), "a rule can't be shown")?;
        let path = format!("{}.sql", made.name);
        // A fault is told by the command; `tests` are the author's own.
        let Ok(rule) = Rule::parse(Path::new(&path), &made.text) else {
            continue;
        };
        let rules = RuleSet::new(vec![rule]).map_err(|faults| format!("{faults:?}"))?;
        let _ = engine::command::rules::faults(&Arc::new(rules));
    }
    Ok(())
}

#[test]
fn sigma_rules_are_converted_or_refused() {
    let seeds = ["fields", "values", "together", "refused"].map(|name| {
        let path = root().join(format!("tests/sigma/{name}.yml"));
        std::fs::read(path).expect("a file")
    });
    fuzz("sigma", &seeds, sigma);
}

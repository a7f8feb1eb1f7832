//! One line of a file through `decode`: its fields, who it says calls, the endpoint, the objects.
//!
//! What could be a credential is shown by its length alone, as everywhere behind `decode`.

use std::io::Write;
use std::path::Path;

use arrow::array::RecordBatch;
use connectors::file::{Lines, open};
use connectors::reject::Reject;
use models::identity::{Credentials, IdentityKind, Resolver};
use models::secret::looks_like_secret;
use serde_json::{Map, Value, json};

use super::super::reading::{LINES_PER_ROUND, SourceLine, decoding, read_chunk, source_of};
use super::super::{Failure, plain_table};
use super::distance::too_short;
use super::rows::{row_of, value};
use super::{ExplainArgs, LineAt};
use crate::alert::clean;
use crate::lane::Outbox;
use crate::mapping::Reader;
use crate::schema::{EventRowsBuilder, Objects};
use crate::stage::decode::{Decode, credentials};

/// Fields that may hold a credential, or a URL or body with one in it.
const HIDDEN: [&str; 9] = [
    "authorization",
    "api_key",
    "session",
    "jwt_claims",
    "request_body",
    "referer",
    "rewritten_url",
    "path",
    "query",
];

/// Decodes the line and shows it; 1 when it is rejected.
pub(super) fn explain_line(args: &ExplainArgs, at: &LineAt) -> Result<u8, Failure> {
    let (first, line) = lines(&at.file, at.number)?;
    let config = decoding(&args.reading, &args.engine.naming, 1)?;
    let (resolver, privacy) = (config.resolver.clone(), config.privacy.clone());
    // A format that is detected is that of the lines before: they are decoded first, as a replay does.
    let (mut decoder, mut decode) = (
        Reader::new(&config.format),
        Decode::new(source_of(&at.file).into(), 0, config),
    );
    let before: Vec<_> = first.iter().map(SourceLine::record).collect();
    decoder.decode(&before);
    let (mut ignored, mut out) = (Outbox::default(), Outbox::default());
    decode.push(&before, 0, &mut ignored)?;
    decode.flush(&mut ignored)?;
    let decoded = decoder.decode(&[line.record()]);
    let pushed = decode.push(&[line.record()], 0, &mut out)?;
    decode.flush(&mut out)?;
    let format = decode.detected().map(|format| format.to_string());
    let mut calls = Vec::new();
    if let Some((_, record)) = out.records.first() {
        for row in 0..record.batch.num_rows() {
            let who = credentials(&decoded.batch, row)?;
            let client_ip = who.client_ip.and_then(|ip| privacy.address(ip));
            let who = Credentials {
                client_ip: client_ip.as_deref(),
                ..who
            };
            calls.push(json!({
                "fields": fields(&decoded.batch, row),
                "identity_chain": chain(&resolver, &who),
                "event": event(&record.batch, row),
                "objects": objects(&record.batch, row)?,
            }));
        }
    }
    let rejects: Vec<Value> = pushed.rejects.iter().map(reject).collect();
    let n_rejects = rejects.len();
    let report = json!({ "format": format, "calls": calls, "rejects": rejects });
    let mut out = std::io::stdout().lock();
    match args.json {
        true => writeln!(out, "{report}")?,
        false => show(at, &report, &mut out)?,
    }
    Ok(u8::from(n_rejects != 0))
}

/// The first lines of a file before that one, a round of them at most, and that one.
fn lines(path: &Path, number: i64) -> Result<(Vec<SourceLine>, SourceLine), Failure> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut lines = Lines::new(open(path).map_err(failed)?.reader);
    let n_first = usize::try_from(number - 1).map_or(LINES_PER_ROUND, |n| n.min(LINES_PER_ROUND));
    let first = read_chunk(&mut lines, n_first).map_err(failed)?;
    let mut n_lines = first.last().map_or(0, |line| line.number);
    loop {
        let mut chunk = read_chunk(&mut lines, 1).map_err(failed)?;
        match chunk.pop() {
            Some(line) if line.number == number => return Ok((first, line)),
            Some(line) => n_lines = line.number,
            None => return Err(too_short(path, n_lines).into()),
        }
    }
}

/// Every field found, credentials by their length.
pub(in crate::command) fn fields(batch: &RecordBatch, row: usize) -> Map<String, Value> {
    let schema = batch.schema();
    let shown = schema.fields().iter().filter_map(|field| {
        let name = field.name().as_str();
        let value = value(batch, name, row);
        let is_hidden = |text: &str| HIDDEN.contains(&name) || looks_like_secret(text);
        let value = match value {
            Value::Null => return None,
            Value::String(text) if is_hidden(&text) => {
                json!(format!("({} characters, not shown)", text.chars().count()))
            }
            value => value,
        };
        Some((name.to_owned(), value))
    });
    shown.collect()
}

/// The event as it is written, where a column has a value; its path and query have no secrets in them.
fn event(batch: &RecordBatch, row: usize) -> Value {
    let columns = EventRowsBuilder::fields();
    let columns: Vec<&str> = columns.iter().map(|field| field.name().as_str()).collect();
    let mut event = row_of(batch, row, &columns);
    // The columns of the source say the same.
    event.remove("position");
    event.into()
}

fn objects(batch: &RecordBatch, row: usize) -> Result<Vec<Value>, Failure> {
    let objects = Objects::new(batch)?;
    let shown = objects.row(row).map(|object| {
        json!({
            "collection": clean(object.collection), "object": format!("{:016x}", object.object),
            "number": object.number,
        })
    });
    Ok(shown.collect())
}

fn reject(reject: &Reject) -> Value {
    json!({
        "row": reject.position.row, "reason": reject.reason.as_str(), "detail": clean(&reject.detail),
    })
}

/// A field that can name the caller.
type Field = for<'a, 'c> fn(&'c mut Credentials<'a>) -> &'c mut Option<&'a str>;

const FIELDS: [(&str, Field); 10] = [
    ("authorization", |who| &mut who.authorization),
    ("api_key", |who| &mut who.api_key),
    ("token_hash", |who| &mut who.token_hash),
    ("jwt_sub", |who| &mut who.jwt_sub),
    ("jwt_claims", |who| &mut who.jwt_claims),
    ("consumer", |who| &mut who.consumer),
    ("principal", |who| &mut who.principal),
    ("client_cert", |who| &mut who.client_cert),
    ("session", |who| &mut who.session),
    ("client_ip", |who| &mut who.client_ip),
];

/// The fields that could name the caller, as the resolver ranks them: the one whose answer alone is that of all together
/// has won; it is taken away, and the resolver is asked again. So the order is the resolver's own.
fn chain(resolver: &Resolver, who: &Credentials<'_>) -> Vec<Value> {
    let mut left = *who;
    let mut fields: Vec<_> = FIELDS
        .into_iter()
        .filter(|(_, field)| field(&mut left).is_some())
        .collect();
    let mut chain: Vec<Value> = Vec::new();
    while !fields.is_empty() {
        let all = resolve(resolver, &left);
        let alone = |(_, field): &(&str, Field)| resolve(resolver, &only(who, *field)) == all;
        let (name, field) = fields.remove(fields.iter().position(alone).unwrap_or(0));
        *field(&mut left) = None;
        let (identity, kind, grade) = resolve(resolver, &only(who, field));
        let is_somebody = kind != IdentityKind::Unknown.as_str();
        let believed = Credentials {
            status: None,
            ..only(who, field)
        };
        let remark = match (is_somebody, resolve(resolver, &believed).0 == identity) {
            (true, _) if chain.is_empty() => "won",
            (true, _) => "ranks lower",
            (false, false) => "refused with 401: nothing sent with it names anybody",
            (false, true) => "names nobody",
        };
        chain.push(json!({
            "field": name, "identity": is_somebody.then(|| clean(&identity)),
            "kind": is_somebody.then_some(kind), "grade": is_somebody.then_some(grade), "remark": remark,
        }));
    }
    chain
}

/// The credentials with one field alone; an address has its user agent.
fn only<'a>(who: &Credentials<'a>, field: Field) -> Credentials<'a> {
    let mut only = Credentials {
        user_agent: who.user_agent,
        status: who.status,
        ..Credentials::default()
    };
    *field(&mut only) = *field(&mut { *who });
    only
}

fn resolve(resolver: &Resolver, who: &Credentials<'_>) -> (String, &'static str, &'static str) {
    let mut name = String::new();
    let identity = resolver.resolve(who, &mut name);
    (name, identity.kind.as_str(), identity.quality.as_str())
}

fn show(at: &LineAt, report: &Value, out: &mut impl Write) -> std::io::Result<()> {
    let format = report["format"].as_str().unwrap_or("no format known");
    writeln!(out, "{}:{} read as {format}", at.file.display(), at.number)?;
    for reject in report["rejects"].as_array().into_iter().flatten() {
        let text = |name: &str| reject[name].as_str().unwrap_or_default().to_owned();
        writeln!(
            out,
            "rejected, row {}: {}: {}",
            reject["row"],
            text("reason"),
            text("detail")
        )?;
    }
    for call in report["calls"].as_array().into_iter().flatten() {
        writeln!(out, "\nfields")?;
        writeln!(out, "{}", pairs(&call["fields"]))?;
        writeln!(out, "\nwho calls, best first")?;
        writeln!(
            out,
            "{}",
            list(
                &call["identity_chain"],
                &["field", "identity", "kind", "grade", "remark"]
            )
        )?;
        writeln!(out, "\nevent")?;
        writeln!(out, "{}", pairs(&call["event"]))?;
        writeln!(out, "\nobjects")?;
        writeln!(
            out,
            "{}",
            list(&call["objects"], &["collection", "object", "number"])
        )?;
    }
    Ok(())
}

fn plainly(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn pairs(object: &Value) -> comfy_table::Table {
    let mut table = plain_table();
    for (name, value) in object.as_object().into_iter().flatten() {
        table.add_row([name.clone(), plainly(value)]);
    }
    table
}

fn list(rows: &Value, columns: &[&str]) -> comfy_table::Table {
    let mut table = plain_table();
    table.set_header(columns.to_vec());
    for row in rows.as_array().into_iter().flatten() {
        table.add_row(columns.iter().map(|column| plainly(&row[*column])));
    }
    table
}

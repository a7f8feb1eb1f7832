//! Export requests of OTLP logs: what each log record is, [`super::super::otlp_log`] says.
//!
//! A log record that tells a call by its attributes is kept with its resource and scope, as it was written; of one that wraps a line,
//! or an object, that alone is the record, as the gateway wrote it. One that is empty is left out.

use super::super::otlp_log::{Log, log};
use super::super::posted::RECORDS_MAX;
use super::super::{Fault, envelope};
use super::{Exported, Names, Packer, array, object, partial_success, protobuf, sound};
use crate::format::json::{Raw, read};

pub(super) const NAMES: Names = Names(["resourceLogs", "scopeLogs", "logRecords"]);

/// Makes records of a request in JSON.
///
/// # Errors
/// It is malformed, or makes more than [`RECORDS_MAX`] records; what is wrong, without any of it.
pub fn from_json(body: &[u8]) -> Result<Exported, String> {
    logs_of_json(sound(body)?)
}

/// Makes records of a request in protobuf.
///
/// # Errors
/// As of one in JSON.
pub fn from_protobuf(body: &[u8]) -> Result<Exported, String> {
    protobuf::log_records(body)
}

/// The answer to a request of which so many log records were not taken.
pub fn answer_json(n_too_long: u64) -> String {
    partial_success("rejectedLogRecords", n_too_long)
}

object! { struct Request { resources: Raw<'a> = "resourceLogs" | "resource_logs", } }
object! {
    struct ResourceLogs {
        resource: Raw<'a> = "resource",
        scopes: Raw<'a> = "scopeLogs" | "scope_logs" | "instrumentationLibraryLogs",
    }
}
object! { struct ScopeLogs { scope: Raw<'a> = "scope", logs: Raw<'a> = "logRecords" | "log_records", } }

fn logs_of_json(text: &str) -> Result<Exported, String> {
    let mut packer = Packer::new(&NAMES);
    let request: Request<'_> = read(text).map_err(said)?;
    for resource in envelope::elements(array(&request.resources)) {
        let resource: ResourceLogs<'_> = resource.and_then(read).map_err(said)?;
        for scope in envelope::elements(array(&resource.scopes)) {
            let scope: ScopeLogs<'_> = scope.and_then(read).map_err(said)?;
            packer.group(object(&resource.resource), object(&scope.scope));
            for log in envelope::elements(array(&scope.logs)) {
                push(&mut packer, log.map_err(said)?)?;
            }
        }
    }
    Ok(packer.finish())
}

/// Takes a log record, a JSON object.
pub(super) fn push(packer: &mut Packer, text: &str) -> Result<(), String> {
    match log(text, true).map_err(said)? {
        Log::Call(_) => packer.item(text),
        Log::Line(line) => packer.line(line),
        Log::Empty => (),
    }
    // A short line costs more than its bytes.
    if RECORDS_MAX < packer.exported.records.len() {
        return Err(format!("more than {RECORDS_MAX} records in one request"));
    }
    Ok(())
}

fn said(fault: Fault) -> String {
    fault.detail.into_owned()
}

#[cfg(test)]
mod tests;

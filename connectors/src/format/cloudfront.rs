//! Amazon CloudFront standard logs (developer guide, *Standard logging reference*, 33 fields, read 2026-11): text with tabs, legacy and
//! version 2, or the JSON of version 2.
//!
//! | event | field, and its column in the text |
//! |---|---|
//! | `event_time_ms` | `date` 0 and `time` 1, 1 s, UTC; JSON: `timestamp(ms)` first; when the **answer** ended |
//! | `method` | `cs-method` 5 |
//! | `path`, `query` | `cs-uri-stem` 7, `cs-uri-query` 11; `%25` is read as `%` |
//! | `scheme` | `cs-protocol` 16 |
//! | `host` | `x-host-header` 15, else `cs(Host)` 6, the distribution's own name |
//! | `status` | `sc-status` 8; 000: the client left |
//! | `request_bytes`, `response_bytes` | `cs-bytes` 17, `sc-bytes` 3, **with** headers |
//! | `latency_us` | `time-taken` 18, s |
//! | `client_ip` | `c-ip` 4 |
//! | `user_agent`, `referer` | `cs(User-Agent)` 10, `cs(Referer)` 9, percent-decoded |
//! | `session` | a session cookie of `cs(Cookie)` 12, where the distribution logs cookies |
//! | `tls_version` | `ssl-protocol` 20 |
//! | `response_content_type` | `sc-content-type` 29, percent-decoded |
//! | `request_id` | `x-edge-request-id` 14 |
//!
//! The header lines of a file (`#Version`, `#Fields`) are neither events nor rejects. They are not used: a record has to mean the same
//! whatever came before it, and the legacy columns only ever grow at the end. A selection of fields in version 2 is therefore read from
//! **JSON** only; as text its columns are not where they belong, and it is rejected.
//!
//! Traps: CloudFront percent-encodes what it logs, `%` too, so that `/a%2Fb` stands as `/a%252Fb`; a literal `[` and a `%5B` on the wire
//! look the same; `x-forwarded-for` is the client's word; files come up to a day late; a line may be missing the newest columns. There is
//! no identity but a cookie: whoever signs in behind CloudFront is told apart by the origin's log.

use std::borrow::Cow;

use super::detect::has_any;
use super::json::{Scalar, believe, object, read};
use super::target;
use super::{Capabilities, Fault, Presence};
use crate::event::Event;
use crate::reject::RejectReason;
use crate::time;

pub(super) const DESCRIPTION: &str =
    "Amazon CloudFront standard logs, text with tabs or the JSON of version 2";

pub(super) const CAPABILITIES: Capabilities = Capabilities {
    identity: Presence::Configured,
    scheme: Presence::Always,
    host: Presence::Always,
    raw_path: Presence::Always,
    template: Presence::Never,
    response_bytes: Presence::Always,
    tls_version: Presence::Always,
    upstream_scheme: Presence::Never,
    request_headers: Presence::Never,
    response_headers: Presence::Configured,
    body: Presence::Never,
};

/// Columns of the text up to the last that is read.
const N_COLUMNS: usize = 30;
/// Columns that a line has at least: up to `time-taken`, which the first version of the log had.
const N_COLUMNS_MIN: usize = 19;

object! {
    struct Record {
        timestamp_ms: Scalar<'a> = "timestamp(ms)",
        date: Scalar<'a> = "date",
        time: Scalar<'a> = "time",
        sc_bytes: Scalar<'a> = "sc-bytes",
        c_ip: Scalar<'a> = "c-ip",
        method: Scalar<'a> = "cs-method",
        distribution: Scalar<'a> = "cs(Host)",
        uri_stem: Scalar<'a> = "cs-uri-stem",
        status: Scalar<'a> = "sc-status",
        referer: Scalar<'a> = "cs(Referer)",
        user_agent: Scalar<'a> = "cs(User-Agent)",
        uri_query: Scalar<'a> = "cs-uri-query",
        cookie: Scalar<'a> = "cs(Cookie)",
        request_id: Scalar<'a> = "x-edge-request-id",
        host: Scalar<'a> = "x-host-header",
        protocol: Scalar<'a> = "cs-protocol",
        cs_bytes: Scalar<'a> = "cs-bytes",
        time_taken: Scalar<'a> = "time-taken",
        ssl_protocol: Scalar<'a> = "ssl-protocol",
        content_type: Scalar<'a> = "sc-content-type",
    }
}

/// Says whether a line begins with a date, a tab and a time, or a record has keys that only this format has.
pub(super) fn looks_like(text: &str) -> bool {
    if text.starts_with('{') {
        return has_any(text, &["\"cs-uri-stem\"", "\"x-edge-request-id\""]);
    }
    matches!(text.as_bytes(), [y, _, _, _, b'-', _, _, b'-', _, _, b'\t', _, _, b':', ..] if y.is_ascii_digit())
}

/// Says whether a line is of a file's header. Strict, as no line of another format may vanish for looking like one.
pub(super) fn is_header(text: &str) -> bool {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b" -()\t".contains(&b);
    text == "#Version: 1.0"
        || text
            .strip_prefix("#Fields: ")
            .is_some_and(|names| names.bytes().all(is_name))
}

/// Decodes one line or object.
pub(super) fn decode(text: &str) -> Result<Event<'_>, Fault> {
    let record = if text.starts_with('{') {
        read(text)?
    } else {
        columns(text)?
    };
    let event_time_ms = if record.timestamp_ms.is_blank() {
        moment(
            &record.date.required("date")?,
            &record.time.required("time")?,
        )
    } else {
        record.timestamp_ms.time("timestamp(ms)")
    }?;
    let session = target::decoded(record.cookie.text("cs(Cookie)")?)
        .and_then(|cookie| target::session_of(&cookie));
    let protocol = record.protocol.text("cs-protocol")?;
    Ok(Event {
        event_time_ms,
        gateway: "cloudfront",
        method: record
            .method
            .method("cs-method")?
            .ok_or_else(|| Fault::missing("cs-method"))?,
        scheme: protocol.as_deref().and_then(target::http_scheme),
        host: record.host.or(record.distribution).text("x-host-header")?,
        path: as_sent(record.uri_stem.required("cs-uri-stem")?),
        query: record.uri_query.text("cs-uri-query")?.map(as_sent),
        status: record.status.status("sc-status")?,
        request_bytes: record.cs_bytes.count("cs-bytes")?,
        response_bytes: record.sc_bytes.count("sc-bytes")?,
        latency_us: record.time_taken.scaled("time-taken", 1_000_000)?,
        client_ip: record.c_ip.address("c-ip")?,
        user_agent: target::decoded(record.user_agent.text("cs(User-Agent)")?),
        session,
        tls_version: record.ssl_protocol.text("ssl-protocol")?,
        response_content_type: target::decoded(record.content_type.text("sc-content-type")?),
        request_id: record.request_id.text("x-edge-request-id")?,
        referer: target::decoded(record.referer.text("cs(Referer)")?),
        ..Event::default()
    })
}

/// Reads the columns of a line into the fields of the same names.
fn columns(line: &str) -> Result<Record<'_>, Fault> {
    let other = || {
        Fault::new(
            RejectReason::Malformed,
            "the columns are not those of the standard log",
        )
    };
    let mut columns = [""; N_COLUMNS];
    let (mut n_columns, mut start) = (0, 0);
    for end in memchr::memchr_iter(b'\t', line.as_bytes()).chain([line.len()]) {
        if n_columns == N_COLUMNS {
            break;
        }
        columns[n_columns] = &line[start..end];
        n_columns += 1;
        start = end + 1;
    }
    // The columns of a selection would be read as others: these four fit only where they belong.
    let fits = N_COLUMNS_MIN <= n_columns
        && columns[7].starts_with('/')
        && columns[8].len() == 3
        && columns[8].bytes().all(|b| b.is_ascii_digit())
        && target::http_scheme(columns[16]).is_some();
    if !looks_like(line) || !fits {
        return Err(other());
    }
    let at = |column: usize| Scalar::Text(Cow::Borrowed(columns[column]));
    Ok(Record {
        date: at(0),
        time: at(1),
        sc_bytes: at(3),
        c_ip: at(4),
        method: at(5),
        distribution: at(6),
        uri_stem: at(7),
        status: at(8),
        referer: at(9),
        user_agent: at(10),
        uri_query: at(11),
        cookie: at(12),
        request_id: at(14),
        host: at(15),
        protocol: at(16),
        cs_bytes: at(17),
        time_taken: at(18),
        ssl_protocol: at(20),
        content_type: at(29),
        ..Record::default()
    })
}

/// The time of a day and a clock in UTC.
fn moment(date: &str, clock: &str) -> Result<i64, Fault> {
    let wrong = || Fault::wrong_type("date and time", "a time");
    let mut text = [b' '; 19];
    if date.len() != 10 || clock.len() != 8 {
        return Err(wrong());
    }
    text[..10].copy_from_slice(date.as_bytes());
    text[11..].copy_from_slice(clock.as_bytes());
    let time_ms = str::from_utf8(&text).ok().and_then(time::parse_time);
    believe(time_ms.ok_or_else(wrong)?, "date and time")
}

/// A part of the URL as the client sent it: the percent signs were encoded once more.
fn as_sent(text: Cow<'_, str>) -> Cow<'_, str> {
    let mut signs = memchr::memchr_iter(b'%', text.as_bytes());
    match signs.find(|at| text.as_bytes()[*at..].starts_with(b"%25")) {
        Some(_) => Cow::Owned(text.replace("%25", "%")),
        None => text,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use crate::format::Format::{Auto, CloudFront};
    use crate::format::tests::{assert_has, assert_lacks, print};

    pub(in crate::format) const LINE: &str = "2026-01-05\t00:00:00\tFRA1-C1\t392\t192.0.2.7\tGET\td1.cloudfront.net\t/a/7\t200\thttps://r.example/\tMozilla/5.0%20(X11)\tx=1\tsessionid=s1;%20b=c\tMiss\tid-1==\tapi.example\thttps\t123\t0.101\t6.6.6.6\tTLSv1.3\tTLS_AES_128_GCM_SHA256\tMiss\tHTTP/2.0\t-\t-\t11040\t0.001\tMiss\ttext/plain;%20charset=utf-8\t78\t-\t-";
    pub(in crate::format) const JSON: &str = r#"{"timestamp(ms)":"1767571200003","date":"2026-01-05","time":"00:00:00","x-edge-location":"FRA1-C1","c-ip":"192.0.2.7","cs-method":"GET","cs(Host)":"d1.cloudfront.net","cs-uri-stem":"/a/7","sc-status":"200","cs-uri-query":"-","cs(Cookie)":"-"}"#;

    #[test]
    fn every_column_is_mapped() {
        let want = [
            "event_time=2026-01-05T00:00:00Z",
            "status=200",
            "request_bytes=123",
            "response_bytes=392",
            "latency_us=101000",
            "gateway=cloudfront",
            "method=GET",
            "scheme=https",
            "host=api.example",
            "path=/a/7",
            "query=x=1",
            "client_ip=192.0.2.7",
            "user_agent=Mozilla/5.0 (X11)",
            "session=s1",
            "tls_version=TLSv1.3",
            "response_content_type=text/plain; charset=utf-8",
            "request_id=id-1==",
            "referer=https://r.example/",
        ];
        assert_eq!(print(CloudFront, LINE), want);
        assert_has(
            CloudFront,
            JSON,
            &[
                "event_time=2026-01-05T00:00:00.003Z",
                "host=d1.cloudfront.net",
                "path=/a/7",
            ],
        );
        assert_lacks(CloudFront, JSON, "query");
    }

    #[test]
    fn paths_are_as_the_client_sent_them() {
        let line = LINE.replace("\t/a/7\t", "\t/a%252F..%252f/%5B%2520\t");
        assert_has(CloudFront, &line, &["path=/a%2F..%2f/%5B%20"]);
    }

    #[test]
    fn short_lines_and_answers_that_never_came_are_read() {
        let n_bytes = |n: usize| {
            let ends: Vec<_> = LINE.match_indices('\t').map(|(at, _)| at).collect();
            ends[n - 1]
        };
        assert_has(CloudFront, &LINE[..n_bytes(31)], &["tls_version=TLSv1.3"]);
        assert_has(CloudFront, &LINE[..n_bytes(19)], &["latency_us=101000"]);
        let left = LINE
            .replace("\t200\t", "\t000\t")
            .replace("\tTLSv1.3\t", "\t-\t");
        for column in ["status", "tls_version"] {
            assert_lacks(CloudFront, &left, column);
        }
    }

    #[test]
    fn header_lines_are_neither_events_nor_rejects() {
        for header in ["#Version: 1.0", "#Fields: date time cs(Host) sc-bytes\r\n"] {
            for format in [Auto, CloudFront] {
                assert_eq!(print(format, header), [""; 0], "{header}");
            }
            assert_ne!(print(crate::format::Format::Combined, header), [""; 0]);
        }
        for other in ["#Version: 1.0 \"", "#Fields: <script>", "#Software: x"] {
            assert_eq!(print(Auto, other).len(), 1, "{other}");
        }
    }

    #[test]
    fn other_columns_are_rejected() {
        const OTHER: &str = "malformed: the columns are not those of the standard log";
        let cut = LINE.find("\t123\t").unwrap();
        let rows = [
            (LINE[..cut].to_owned(), OTHER),
            (LINE.replacen("\tFRA1-C1", "", 1), OTHER),
            (LINE.replacen("2026-01-05", "05-01-2026", 1), OTHER),
            (
                LINE.replacen("2026-01-05", "2026-13-05", 1),
                "wrong_type: date and time is not a time",
            ),
            (
                LINE.replacen("2026-01-05", "2126-01-05", 1),
                "absurd_time: date and time is 4923244800000 ms since 1970",
            ),
            (
                LINE.replace("\t392\t", "\tmany\t"),
                "wrong_type: sc-bytes is not a number",
            ),
        ];
        for (line, want) in rows {
            assert_eq!(print(CloudFront, &line), [want], "{line}");
        }
    }
}

//! Formats: raw records become events.
//!
//! ```text
//! record -> envelope (BOM, white space, CRI and syslog prefix, JSON array) -> which format -> its decoder -> event
//!               ^------------- the line that an object of a shipper wraps -----------/              \-> reject with position,
//!                                                                                                       reason and what is wrong
//! ```
//!
//! Each decoder is one file with its mapping table, its traps and its tests; adding one is a file and a row of the table below.
//! Invalid UTF-8 is replaced (U+FFFD) and the record decoded all the same: nginx passes raw 0xFF bytes inside valid JSON.

mod akamai;
mod apigee;
mod apisix;
mod aws_alb;
mod aws_api_gateway;
mod aws_waf;
mod azure_apim;
mod azure_app_gateway;
mod base64;
mod caddy;
mod cloudflare;
mod cloudfront;
mod combined;
mod detect;
mod duration;
mod ecs;
mod envelope;
mod envoy;
mod envoy_text;
mod f5;
mod gcp;
mod haproxy;
mod haproxy_json;
mod headers;
mod imperva;
mod ingress_nginx;
mod json;
mod keys;
mod kong;
mod krakend;
mod krakend_json;
pub mod mapped;
mod nginx;
mod ocsf;
mod otlp;
mod otlp_log;
pub mod otlp_request;
pub mod posted;
mod rows;
mod syslog;
mod target;
mod traefik;
mod tyk;
mod words;
mod zeek;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use arrow::buffer::Buffer;

use crate::event::{DecodedBatch, Event, EventBatchBuilder, RowPosition};
use crate::reject::{Reject, RejectReason};
use envelope::{Opened, Wrapped};
use otlp_log::Log;
use rows::Rows;

/// Bytes of one record: brokers refuse larger ones by default (`message.max.bytes`). Longer ones are rejected as oversized.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Rejects kept for one record that is an array or wraps one; one more counts the rest. Half a million bad elements fit into one record.
pub const REJECTS_PER_RECORD_MAX: usize = 100;

/// Envelopes opened one in the other: a container's line in a shipper's object. What lies deeper is rejected.
const ENVELOPES_MAX: usize = 2;

/// Declares [`Format`] and the table of its decoders: per format a row with its variant, its module, the names it goes by and what
/// its records are. A module has `DESCRIPTION`, `CAPABILITIES`, `decode` and `looks_like`.
macro_rules! formats {
    ($($(#[$doc:meta])* $variant:ident = $module:ident, $name:literal, [$($alias:literal),*], $shape:ident;)+) => {
        /// Which gateway's log a source holds.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum Format {
            /// Found out per record.
            #[default]
            Auto,
            $($(#[$doc])* $variant,)+
        }

        /// A row per format, in the order of [`Format`] without `Auto`.
        const SPECS: &[Spec] = &[$(Spec {
            format: Format::$variant,
            name: $name,
            aliases: &[$($alias),*],
            description: $module::DESCRIPTION,
            capabilities: $module::CAPABILITIES,
            shape: Shape::$shape,
            decode: $module::decode,
            looks_like: $module::looks_like,
        },)+];
    };
}

// Detection asks the rows in this order; no two of them take one line.
formats! {
    /// Kong http-log, file-log, kafka-log.
    Kong = kong, "kong", [], Json;
    /// Envoy, Envoy Gateway and Istio access logs, JSON or text.
    Envoy = envoy, "envoy", ["istio"], Either;
    /// nginx with a JSON `log_format`.
    Nginx = nginx, "nginx", [], Json;
    /// nginx and Apache combined and common logs, ingress-nginx' and Traefik's text logs.
    Combined = combined, "combined", ["apache", "ingress-nginx"], Text;
    /// AWS API Gateway: REST, HTTP and WebSocket APIs.
    AwsApiGateway = aws_api_gateway, "aws-api-gateway", [], Json;
    /// AWS Application Load Balancer.
    AwsAlb = aws_alb, "aws-alb", ["alb"], Text;
    /// Amazon CloudFront standard logs.
    CloudFront = cloudfront, "cloudfront", ["aws-cloudfront"], Either;
    /// Google Cloud load balancer, API Gateway, Endpoints.
    Gcp = gcp, "gcp", [], Json;
    /// Azure API Management.
    AzureApim = azure_apim, "azure-apim", ["apim"], Json;
    /// Azure Application Gateway.
    AzureAppGateway = azure_app_gateway, "azure-app-gateway", [], Json;
    /// Cloudflare Logpush.
    Cloudflare = cloudflare, "cloudflare", [], Json;
    /// Akamai DataStream 2.
    Akamai = akamai, "akamai", [], Json;
    /// Apigee MessageLogging.
    Apigee = apigee, "apigee", [], Json;
    /// F5 BIG-IP LTM.
    F5 = f5, "f5", ["big-ip"], Json;
    /// Imperva Cloud WAF.
    Imperva = imperva, "imperva", ["incapsula"], Text;
    /// AWS WAF.
    AwsWaf = aws_waf, "aws-waf", [], Json;
    /// HAProxy's HTTP log in text, or a JSON log-format.
    Haproxy = haproxy, "haproxy", [], Either;
    /// Traefik's access log.
    Traefik = traefik, "traefik", [], Json;
    /// Caddy's access log.
    Caddy = caddy, "caddy", [], Json;
    /// APISIX kafka-logger, http-logger, file-logger.
    Apisix = apisix, "apisix", [], Json;
    /// Tyk's analytics records.
    Tyk = tyk, "tyk", [], Json;
    /// KrakenD's access log in text, or Enterprise's in JSON.
    Krakend = krakend, "krakend", ["gin"], Either;
    /// OpenTelemetry's HTTP server spans.
    Otlp = otlp, "otlp", ["opentelemetry"], Json;
    /// Web access in the Elastic Common Schema.
    Ecs = ecs, "ecs", ["filebeat"], Json;
    /// OCSF's HTTP and API Activity.
    Ocsf = ocsf, "ocsf", [], Json;
    /// Zeek's http.log.
    Zeek = zeek, "zeek", [], Json;
}

/// What a format is, and how its records are told and read.
struct Spec {
    format: Format,
    name: &'static str,
    aliases: &'static [&'static str],
    description: &'static str,
    capabilities: Capabilities,
    shape: Shape,
    decode: fn(&str) -> Result<Event<'_>, Fault>,
    /// Cheap marks that no other format's records of this shape have.
    looks_like: fn(&str) -> bool,
}

/// What a format's records begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A JSON object.
    Json,
    /// A line of text.
    Text,
    /// One or the other, as the gateway is configured.
    Either,
}

impl Shape {
    fn fits(self, is_json: bool) -> bool {
        match self {
            Shape::Json => is_json,
            Shape::Text => !is_json,
            Shape::Either => true,
        }
    }
}

impl Format {
    /// The format's row; `Auto` has none.
    fn spec(self) -> Option<&'static Spec> {
        SPECS.get((self as usize).checked_sub(1)?)
    }
}

/// No format has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown format {name:?}, known are auto, {}", known_names())]
pub struct UnknownFormatName {
    name: String,
}

fn known_names() -> String {
    let names: Vec<String> = SPECS
        .iter()
        .map(|spec| match spec.aliases {
            [] => spec.name.to_owned(),
            aliases => format!("{} ({})", spec.name, aliases.join(", ")),
        })
        .collect();
    names.join(", ")
}

impl FromStr for Format {
    type Err = UnknownFormatName;

    fn from_str(name: &str) -> Result<Format, UnknownFormatName> {
        let lower = name.to_ascii_lowercase();
        if lower == "auto" {
            return Ok(Format::Auto);
        }
        let named = |spec: &&Spec| spec.name == lower || spec.aliases.contains(&lower.as_str());
        SPECS
            .iter()
            .find(named)
            .map(|spec| spec.format)
            .ok_or_else(|| UnknownFormatName {
                name: name.chars().take(64).collect(),
            })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.spec().map_or("auto", |spec| spec.name))
    }
}

/// Whether a format's records hold something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// There is no place for it.
    Never,
    /// Where the gateway is configured to log it.
    Configured,
    /// As the gateway logs by default, where the call has it.
    Always,
}

/// What a format can say about a call; from which fields is in the decoder's doc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Who called, and whether the gateway knew it.
    pub identity: Presence,
    /// `http` or `https`.
    pub scheme: Presence,
    /// The host called.
    pub host: Presence,
    /// The path as on the wire, hence object ids.
    pub raw_path: Presence,
    /// The route's template.
    pub template: Presence,
    /// The response's size.
    pub response_bytes: Presence,
    /// The TLS version of the client's connection.
    pub tls_version: Presence,
    /// `http` or `https` on the way to the service.
    pub upstream_scheme: Presence,
    /// Request headers beyond user agent and referer.
    pub request_headers: Presence,
    /// Response headers.
    pub response_headers: Presence,
    /// The request's body.
    pub body: Presence,
}

/// The formats: name, what they can say, and what they are.
pub fn formats() -> [(&'static str, Capabilities, &'static str); SPECS.len()] {
    std::array::from_fn(|at| {
        let spec = &SPECS[at];
        (spec.name, spec.capabilities, spec.description)
    })
}

/// A raw record of a source.
#[derive(Clone, Copy, Debug)]
pub struct SourceRecord<'a> {
    /// The value, untouched.
    pub payload: &'a [u8],
    /// Offset, or line number, in the source.
    pub offset: i64,
    /// The broker's time in milliseconds, if known. No decoder needs it today: every format carries its own time.
    pub broker_time_ms: Option<i64>,
}

/// What is wrong with one record; becomes a [`Reject`] once its position is known.
#[derive(Debug)]
struct Fault {
    reason: RejectReason,
    detail: Cow<'static, str>,
}

impl Fault {
    fn new(reason: RejectReason, detail: impl Into<Cow<'static, str>>) -> Fault {
        Fault {
            reason,
            detail: detail.into(),
        }
    }

    fn missing(field: &'static str) -> Fault {
        Fault::new(RejectReason::MissingField, field)
    }

    fn wrong_type(field: &'static str, want: &str) -> Fault {
        Fault::new(RejectReason::WrongType, format!("{field} is not {want}"))
    }
}

/// Decodes records of one source.
#[derive(Clone, Debug)]
pub struct Decoder {
    format: Format,
    /// Format of the last record that `Auto` decoded: tried first, as a topic seldom mixes gateways.
    last: Option<Format>,
}

impl Decoder {
    /// Makes a decoder; `Auto` decides per record.
    pub fn new(format: Format) -> Decoder {
        Decoder { format, last: None }
    }

    /// Format of the last record decoded; `None` before the first with `Auto`.
    pub fn detected(&self) -> Option<Format> {
        match self.format {
            Format::Auto => self.last,
            format => Some(format),
        }
    }

    /// Decodes records into one batch, in order; never fails for one record.
    ///
    /// The payloads are copied once, back to back, into the block that the batch's strings point into.
    pub fn decode(&mut self, records: &[SourceRecord<'_>]) -> DecodedBatch {
        let fits = |record: &SourceRecord<'_>| record.payload.len() <= RECORD_BYTES_MAX;
        let n_bytes = records
            .iter()
            .filter(|record| fits(record))
            .map(|record| record.payload.len())
            .sum();
        let mut bytes = Vec::with_capacity(n_bytes);
        records
            .iter()
            .filter(|record| fits(record))
            .for_each(|record| bytes.extend_from_slice(record.payload));
        let block = Buffer::from_vec(bytes);
        let mut batch = EventBatchBuilder::with_capacity(block.clone(), records.len());
        let mut rest = block.as_slice();
        for record in records {
            if !fits(record) {
                let detail = format!(
                    "record of {} bytes, limit {RECORD_BYTES_MAX}",
                    record.payload.len()
                );
                let position = RowPosition {
                    offset: record.offset,
                    row: 0,
                };
                batch.reject(Reject::new(position, RejectReason::Oversized, &detail));
                continue;
            }
            let payload;
            (payload, rest) = rest.split_at(record.payload.len());
            self.decode_record(payload, record.offset, &mut batch);
        }
        batch.finish()
    }

    fn decode_record(&mut self, payload: &[u8], offset: i64, batch: &mut EventBatchBuilder) {
        // Three times faster than the lossy conversion where nothing is lost.
        let lossy = str::from_utf8(payload)
            .map_or_else(|_| String::from_utf8_lossy(payload), Cow::Borrowed);
        let is_lossy = matches!(lossy, Cow::Owned(_));
        let mut rows = Rows::new(batch, offset, is_lossy);
        if let Err(fault) = self.decode_text(&lossy, ENVELOPES_MAX, &mut rows) {
            rows.reject(&fault);
        }
        rows.finish();
    }

    /// Decodes a text with its prefixes: an array's elements, or one object or line.
    fn decode_text(
        &mut self,
        text: &str,
        n_envelopes: usize,
        rows: &mut Rows<'_>,
    ) -> Result<(), Fault> {
        // A piece may be a call all the same: a text line has all but the end of its user agent.
        let Opened { text, is_partial } = envelope::open(text);
        let as_piece = |fault: Fault| Fault {
            reason: if is_partial {
                RejectReason::Partial
            } else {
                fault.reason
            },
            ..fault
        };
        if !self.is_array(text) {
            return self.push(text, n_envelopes, rows).map_err(as_piece);
        }
        let mut elements = envelope::elements(text).peekable();
        if n_envelopes < ENVELOPES_MAX && elements.peek().is_none() {
            return Err(Fault::new(RejectReason::Empty, envelope::WITHOUT_RECORDS));
        }
        for element in elements {
            let pushed = element.and_then(|element| self.push(element, n_envelopes, rows));
            if let Err(fault) = pushed {
                rows.reject(&as_piece(fault));
            }
        }
        Ok(())
    }

    /// Says whether a text is a JSON array. A text line may begin like one, where its first field is the client's word.
    fn is_array(&self, text: &str) -> bool {
        envelope::is_array(text) && !self.is_line(text)
    }

    /// Says whether a text is a line of a text format that this source may hold.
    fn is_line(&self, text: &str) -> bool {
        match self.format.spec() {
            Some(spec) => spec.shape.fits(false) && (spec.decode)(text).is_ok(),
            None => detect::decode_line(text).is_some(),
        }
    }

    /// Decodes one object or line; JSON with a writer's bad escapes is repaired, as a client could hide behind them.
    ///
    /// `n_envelopes`: how many more envelopes are opened, one in the other, if it is no event itself.
    fn push(&mut self, text: &str, n_envelopes: usize, rows: &mut Rows<'_>) -> Result<(), Fault> {
        if n_envelopes != 0 && otlp_log::is_request(text) {
            return self.push_logs(text, n_envelopes - 1, rows);
        }
        let fault = match self.push_whole(text, rows) {
            Ok(()) => return Ok(()),
            Err(fault) => fault,
        };
        if !text.starts_with('{') {
            return if self.is_header(text) {
                Ok(())
            } else {
                Err(fault)
            };
        }
        let mut repaired = None;
        if fault.reason == RejectReason::Malformed {
            repaired = envelope::repair(text);
            if let Some(repaired) = &repaired
                && self.push_whole(repaired, rows).is_ok()
            {
                return Ok(());
            }
        }
        if n_envelopes == 0 {
            return Err(fault);
        }
        let wrapped = envelope::unwrap(text).or_else(|| {
            repaired = repaired.take().or_else(|| envelope::repair(text));
            envelope::unwrap(repaired.as_deref()?)
        });
        match wrapped {
            None => Err(fault),
            Some(Wrapped::Nothing(what)) => Err(Fault::new(RejectReason::Empty, what)),
            Some(Wrapped::Text(inner)) => {
                let pushed = self.decode_text(&inner, n_envelopes - 1, rows);
                // A record that merely has such a key is rejected for what it lacks itself.
                pushed.map_err(|of_inner| {
                    if self.is_known(&inner, &of_inner) {
                        of_inner
                    } else {
                        fault
                    }
                })
            }
        }
    }

    /// Decodes an export request of OTLP logs: each record is a call by its attributes, or wraps a line.
    fn push_logs(
        &mut self,
        text: &str,
        n_envelopes: usize,
        rows: &mut Rows<'_>,
    ) -> Result<(), Fault> {
        // The lines of a gateway whose format is told are read, whatever attributes a shipper put beside them.
        let takes_calls = matches!(self.format, Format::Auto | Format::Otlp);
        otlp_log::decode_all(text, takes_calls, &mut |log| {
            let pushed = match log {
                Ok(Log::Call(mut call)) => {
                    rows.push(&mut call);
                    Ok(())
                }
                Ok(Log::Line(line)) => self.decode_text(&line, n_envelopes, rows),
                Ok(Log::Empty) => Err(Fault::new(RejectReason::Empty, otlp_log::EMPTY)),
                Err(fault) => Err(fault),
            };
            if let Err(fault) = pushed {
                rows.reject(&fault);
            }
        })
    }

    /// Says whether a text that is no event is of a format all the same, or a piece.
    fn is_known(&self, text: &str, fault: &Fault) -> bool {
        match (self.format.spec(), fault.reason) {
            (_, RejectReason::Partial) => true,
            (Some(spec), _) => (spec.looks_like)(envelope::open(text).text),
            (None, reason) => reason != RejectReason::UnknownFormat,
        }
    }

    /// Decodes one object or line that is no envelope. Nothing is pushed where it fails.
    fn push_whole(&mut self, text: &str, rows: &mut Rows<'_>) -> Result<(), Fault> {
        if matches!(self.format, Format::Auto | Format::Otlp) && otlp::is_request(text) {
            otlp::decode_all(text, &mut |call| match call {
                Ok(mut call) => rows.push(&mut call),
                Err(fault) => rows.reject(&fault),
            })?;
            self.last = Some(Format::Otlp);
            return Ok(());
        }
        // An event is a kilobyte large: it stays where it was made.
        match self.decode_one(text) {
            Ok(ref mut event) => {
                rows.push(event);
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    /// Says whether a text that is no event is of the header of a file's lines: neither an event nor a reject.
    fn is_header(&self, text: &str) -> bool {
        matches!(self.format, Format::Auto | Format::CloudFront) && cloudfront::is_header(text)
    }

    fn decode_one<'a>(&mut self, text: &'a str) -> Result<Event<'a>, Fault> {
        if text.is_empty() {
            return Err(Fault::new(RejectReason::Empty, "no bytes but white space"));
        }
        match self.format {
            Format::Auto => detect::decode(text, &mut self.last),
            format => decode_as(format, text),
        }
    }
}

/// Decodes one object or line by one format's decoder.
fn decode_as(format: Format, text: &str) -> Result<Event<'_>, Fault> {
    let spec = format
        .spec()
        .ok_or_else(|| Fault::new(RejectReason::UnknownFormat, "no format takes it"))?;
    (spec.decode)(text)
}

#[cfg(test)]
mod tests;

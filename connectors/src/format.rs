//! Formats: raw records become events.
//!
//! ```text
//! record -> envelope (BOM, white space, CRI prefix, JSON array) -> which format -> its decoder -> event
//!                                  \-> reject with position, reason and what is wrong where
//! ```
//!
//! Each decoder is one file with its mapping table, its traps and its tests; adding one is a file and a row of the table below.
//! Invalid UTF-8 is replaced (U+FFFD) and the record decoded all the same: nginx passes raw 0xFF bytes inside valid JSON.

mod akamai;
mod apigee;
mod aws_alb;
mod aws_api_gateway;
mod aws_waf;
mod azure_apim;
mod azure_app_gateway;
mod cloudflare;
mod cloudfront;
mod combined;
mod detect;
mod envelope;
mod envoy;
mod f5;
mod gcp;
mod headers;
mod imperva;
mod json;
mod kong;
mod nginx;
mod target;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use arrow::buffer::Buffer;

use crate::event::{BODY_BYTES_MAX, DecodedBatch, Event, EventBatchBuilder, RowPosition};
use crate::reject::{Reject, RejectReason};
use envelope::Opened;

/// Bytes of one record: brokers refuse larger ones by default (`message.max.bytes`). Longer ones are rejected as oversized.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Rejects kept for one record that is an array; one more counts the rest. Half a million bad elements fit into one record.
pub const REJECTS_PER_RECORD_MAX: usize = 100;

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
    /// Envoy, Envoy Gateway and Istio access logs in JSON.
    Envoy = envoy, "envoy", ["istio"], Json;
    /// nginx with a JSON `log_format`.
    Nginx = nginx, "nginx", [], Json;
    /// nginx and Apache combined and common logs.
    Combined = combined, "combined", ["apache"], Text;
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

/// Where a text is in its source, and whether its bytes were UTF-8.
struct Place {
    position: RowPosition,
    is_lossy: bool,
    is_partial: bool,
}

impl Place {
    fn reject(&self, fault: &Fault) -> Reject {
        // What fails after replacing bad bytes most likely fails because of them, and a piece because it is one.
        let reason = if self.is_partial {
            RejectReason::Partial
        } else if self.is_lossy {
            RejectReason::InvalidUtf8
        } else {
            fault.reason
        };
        Reject::new(self.position, reason, &fault.detail)
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
        // A piece may be a call all the same: a text line has all but the end of its user agent.
        let Opened { text, is_partial } = envelope::open(&lossy);
        let place = |row| Place {
            position: RowPosition { offset, row },
            is_lossy,
            is_partial,
        };
        if self.is_array(text) {
            self.decode_array(text, place, batch);
        } else if let Err(reject) = self.push(text, place(0), batch) {
            batch.reject(reject);
        }
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

    fn decode_array(
        &mut self,
        text: &str,
        place: impl Fn(i32) -> Place,
        batch: &mut EventBatchBuilder,
    ) {
        let (mut n_rejects, mut row_last) = (0_usize, 0);
        for (row, element) in (0..).zip(envelope::elements(text)) {
            let pushed = match element {
                Ok(element) => self.push(element, place(row), batch),
                Err(fault) => Err(place(row).reject(&fault)),
            };
            let Err(reject) = pushed else { continue };
            n_rejects += 1;
            row_last = row;
            if n_rejects <= REJECTS_PER_RECORD_MAX {
                batch.reject(reject);
            }
        }
        if REJECTS_PER_RECORD_MAX < n_rejects {
            let n_more = n_rejects - REJECTS_PER_RECORD_MAX;
            let detail = format!("{n_more} more elements rejected, up to this row");
            batch.reject(Reject::new(
                place(row_last).position,
                RejectReason::Malformed,
                &detail,
            ));
        }
    }

    /// Decodes one object or line; JSON with a writer's bad escapes is repaired, as a client could hide behind them.
    fn push(
        &mut self,
        text: &str,
        place: Place,
        batch: &mut EventBatchBuilder,
    ) -> Result<(), Reject> {
        let fault = match self.decode_one(text) {
            Ok(event) => {
                batch.push(&event, place.position);
                return Ok(());
            }
            Err(fault) => fault,
        };
        let is_syntax = fault.reason == RejectReason::Malformed && text.starts_with('{');
        let repaired = if is_syntax {
            envelope::repair(text)
        } else {
            None
        };
        match repaired.as_deref().map(|text| self.decode_one(text)) {
            Some(Ok(event)) => {
                batch.push(&event, place.position);
                Ok(())
            }
            _ if self.is_header(text) => Ok(()),
            _ => Err(place.reject(&fault)),
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
            Format::Auto => {
                let (format, event) = detect::decode(text, self.last)?;
                self.last = Some(format);
                Ok(event)
            }
            format => decode_as(format, text),
        }
    }
}

/// Decodes one object or line by one format's decoder; the limits that hold for all formats are here.
fn decode_as(format: Format, text: &str) -> Result<Event<'_>, Fault> {
    let spec = format
        .spec()
        .ok_or_else(|| Fault::new(RejectReason::UnknownFormat, "no format takes it"))?;
    let mut event = (spec.decode)(text)?;
    event.request_body = event.request_body.map(cut_body);
    Ok(event)
}

fn cut_body(body: Cow<'_, str>) -> Cow<'_, str> {
    if body.len() <= BODY_BYTES_MAX {
        return body;
    }
    let end = body.floor_char_boundary(BODY_BYTES_MAX);
    target::cut(&body, 0..end)
}

#[cfg(test)]
mod tests;

//! Renderings of one alert: the record of the alerts topic, or of the topic of findings, as the text another system takes.
//!
//! In comes an [`Alert`], the OCSF 1.8.0 Detection Finding that the alerts topic holds, or a Compliance Finding; out goes one line without its end. A format is
//! a file here, with its mapping table and the vendor document it follows, and a line in [`Format::ALL`]. [`avro`] alone is no text: it goes
//! where bytes can.
//!
//! **Invariant**: an alert carries texts that attackers chose (paths, user agents, names), so no text may end up as anything but one
//! value: no line, field or header more or less than the alert has. [`Alert::parse`] takes the control characters out and bounds every text;
//! each format then escapes by its own rules, and cuts where its document limits a field. What is cut ends in `…`.

mod alert;
mod asim;
pub mod avro;
mod cef;
mod ecs;
mod flat;
mod hec;
mod leef;
mod slack;
mod text;
mod udm;

pub mod syslog;

#[cfg(test)]
mod tests;

pub use alert::{Alert, Call, Endpoint, RenderError, SEVERITIES};
pub use slack::code as slack_text;
pub(crate) use text::clean;

/// A text another system takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The record as it is: OCSF 1.8.0.
    Ocsf,
    /// Elastic Common Schema.
    Ecs,
    /// ArcSight Common Event Format.
    Cef,
    /// IBM QRadar Log Event Extended Format 2.0.
    Leef,
    /// Splunk HTTP Event Collector.
    Hec,
    /// Microsoft Sentinel ASIM alert event.
    Asim,
    /// Google SecOps Unified Data Model.
    Udm,
    /// JSON without nesting, for everything else.
    Json,
    /// A message for Slack and its likes.
    Slack,
}

impl Format {
    /// Every format with its name.
    pub const ALL: [(&str, Format); 9] = [
        ("ocsf", Format::Ocsf),
        ("ecs", Format::Ecs),
        ("cef", Format::Cef),
        ("leef", Format::Leef),
        ("hec", Format::Hec),
        ("asim", Format::Asim),
        ("udm", Format::Udm),
        ("json", Format::Json),
        ("slack", Format::Slack),
    ];

    /// The format of a name.
    pub fn named(name: &str) -> Option<Format> {
        let mut all = Self::ALL.iter();
        all.find(|(known, _)| *known == name)
            .map(|(_, format)| *format)
    }

    /// Its media type, for HTTP.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Cef | Format::Leef => "text/plain; charset=utf-8",
            _ => "application/json",
        }
    }
}

/// Renders an alert as one line, without its end.
pub fn render(alert: &Alert, format: Format) -> String {
    match format {
        Format::Ocsf => alert.line.clone(),
        Format::Ecs => ecs::render(alert).to_string(),
        Format::Cef => cef::render(alert),
        Format::Leef => leef::render(alert),
        Format::Hec => hec::render(alert).to_string(),
        Format::Asim => asim::render(alert).to_string(),
        Format::Udm => udm::render(alert).to_string(),
        Format::Json => flat::render(alert).to_string(),
        Format::Slack => slack::render(alert).to_string(),
    }
}

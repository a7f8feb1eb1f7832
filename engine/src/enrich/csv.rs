//! Ranges as comma-separated values.
//!
//! The first line names the columns: `network` (`203.0.113.0/24`), or `start` and `end` (both within the range), and any of
//! `country`, `asn` (`64500` or `AS64500`) and `as_org`; others are passed over. An empty field says nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Gathering, Known, Ranges};
use crate::rule::lookup::csv::{Record, Records};

/// Where the columns stand.
struct Columns {
    network: Option<usize>,
    start: Option<usize>,
    end: Option<usize>,
    country: Option<usize>,
    asn: Option<usize>,
    as_org: Option<usize>,
}

impl Columns {
    fn of(header: &Record<'_>) -> Result<Columns, String> {
        let find = |name: &str| {
            let names = header.fields.iter();
            let mut names = names.map(|field| field.as_deref().unwrap_or("").trim());
            names.position(|field| field.eq_ignore_ascii_case(name))
        };
        let columns = Columns {
            network: find("network"),
            start: find("start"),
            end: find("end"),
            country: find("country"),
            asn: find("asn"),
            as_org: find("as_org"),
        };
        let has_range = columns.network.is_some() || columns.start.zip(columns.end).is_some();
        let has_value = [columns.country, columns.asn, columns.as_org]
            .iter()
            .any(Option::is_some);
        match has_range && has_value {
            true => Ok(columns),
            false => Err(
                "has no header of `network`, or `start` and `end`, and any of `country`, `asn` and `as_org`"
                    .to_owned(),
            ),
        }
    }
}

/// Reads a table.
///
/// # Errors
/// What is wrong with it, with its line.
pub(super) fn read(text: &str) -> Result<Ranges, String> {
    let mut records = Records::new(text);
    let at = |line: usize, what: String| format!("line {line}: {what}");
    let header = match records.next() {
        Some(Ok(header)) => header,
        Some(Err((line, what))) => return Err(at(line, what)),
        None => return Err("is empty".to_owned()),
    };
    let columns = Columns::of(&header)?;
    let mut gathering = Gathering::default();
    for record in records {
        let record = record.map_err(|(line, what)| at(line, what))?;
        add(&mut gathering, &columns, &record).map_err(|what| at(record.line, what))?;
    }
    gathering.finish()
}

fn add(gathering: &mut Gathering, columns: &Columns, record: &Record<'_>) -> Result<(), String> {
    let field = |at: Option<usize>| record.fields.get(at?)?.as_deref().map(str::trim);
    let (first, last) = match field(columns.network) {
        Some(network) => network_of(network)?,
        None => {
            let end_of = |column| address_of(field(column).unwrap_or(""));
            (end_of(columns.start)?, end_of(columns.end)?)
        }
    };
    let asn = field(columns.asn).map(|text| {
        let digits = text.strip_prefix("AS").or(text.strip_prefix("as"));
        let number = digits.unwrap_or(text).parse::<u32>();
        number.map_err(|_| format!("`{}` is no number of a network", shown(text)))
    });
    let country = field(columns.country);
    if let Some(code) = country.filter(|code| code.len() != 2 || !code.is_ascii()) {
        return Err(format!("`{}` is no country of two letters", shown(code)));
    }
    let known = Known::new(country, asn.transpose()?, field(columns.as_org));
    match gathering.number(known)? {
        Some(number) => gathering.add(first, last, number),
        None => Ok(()),
    }
}

/// The beginning of a text, without what no terminal should see.
fn shown(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}

fn address_of(text: &str) -> Result<IpAddr, String> {
    let ip = text.parse::<IpAddr>();
    ip.map_err(|_| format!("`{}` is no address", shown(text)))
}

/// First and last address of `203.0.113.0/24`, or of one address. Bits behind the prefix are passed over.
fn network_of(text: &str) -> Result<(IpAddr, IpAddr), String> {
    let (ip, bits) = match text.split_once('/') {
        Some((ip, bits)) => (address_of(ip)?, Some(bits)),
        None => (address_of(text)?, None),
    };
    let width = if ip.is_ipv4() { 32 } else { 128 };
    let bits = match bits.map(str::parse::<u32>) {
        None => width,
        Some(Ok(bits)) if bits <= width => bits,
        Some(_) => return Err(format!("`{}` is no network", shown(text))),
    };
    Ok(match ip {
        IpAddr::V4(ip) => {
            let free = u32::MAX.checked_shr(bits).unwrap_or(0);
            let first = u32::from(ip) & !free;
            (
                Ipv4Addr::from(first).into(),
                Ipv4Addr::from(first | free).into(),
            )
        }
        IpAddr::V6(ip) => {
            let free = u128::MAX.checked_shr(bits).unwrap_or(0);
            let first = u128::from(ip) & !free;
            (
                Ipv6Addr::from(first).into(),
                Ipv6Addr::from(first | free).into(),
            )
        }
    })
}

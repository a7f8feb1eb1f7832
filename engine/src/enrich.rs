//! What files say of addresses: country, number and name of the network (autonomous system).
//!
//! Comes in: MMDB databases and CSV tables of ranges, read once at the start. Goes out: [`Place`] of an address. Every file is
//! read whole and turned into sorted ranges before anything is decoded, so a damaged one is told at the start and never met by a
//! lane. The event log has what was found: reading it again asks no file.
//!
//! In memory a range of IPv4 takes 12 bytes, one of IPv6 48; neighbours that say the same are one. **Invariant**: ranges of a file
//! are sorted and don't overlap; of several files the first that says something counts, field by field.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::rule::lookup::read_bounded;

mod csv;
mod mmdb;

/// Bytes of a file. The largest in use, of cities, have less than 150 MiB.
pub const FILE_BYTES_MAX: usize = 512 << 20;
/// Files of a configuration.
pub const FILES_MAX: usize = 8;
/// Ranges of a file, neighbours that say the same being one: at most 48 bytes each, so 184 MiB.
pub const RANGES_MAX: usize = 4_000_000;
/// Different places of a file. There are about 80,000 networks in use.
pub const PLACES_MAX: usize = 1_000_000;
/// Bytes of a network's name; the rest is cut.
pub const NAME_BYTES_MAX: usize = 128;

/// What is known of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place<'a> {
    /// Two letters of ISO 3166-1.
    pub country: Option<&'a str>,
    /// Number of the autonomous system.
    pub asn: Option<u32>,
    /// Who runs it.
    pub as_org: Option<&'a str>,
}

/// A file of places that can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{} {reason}", path.display())]
pub struct EnrichError {
    path: PathBuf,
    reason: String,
}

/// The files of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Enrichment {
    tables: Vec<Arc<Ranges>>,
}

impl Enrichment {
    /// Reads files, `.csv` as tables and any other as MMDB.
    ///
    /// # Errors
    /// The first that can't be read, is damaged, or is beyond a limit.
    pub fn load(paths: &[PathBuf]) -> Result<Arc<Enrichment>, EnrichError> {
        let tables = paths.iter().map(|path| {
            let failed = |reason: String| EnrichError {
                path: path.clone(),
                reason,
            };
            let bytes = read_bounded(path, FILE_BYTES_MAX).map_err(failed)?;
            Ok(Arc::new(ranges(path, bytes).map_err(failed)?))
        });
        let tables = tables.collect::<Result<Vec<_>, EnrichError>>()?;
        Ok(Arc::new(Enrichment { tables }))
    }

    /// True when no address is looked up.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// What is known of an address; one of IPv4 within IPv6 is the IPv4 address.
    pub fn place(&self, ip: IpAddr) -> Place<'_> {
        let mut place = Place::default();
        for table in &self.tables {
            let Some(found) = table.get(ip.to_canonical()) else {
                continue;
            };
            place.country = place.country.or(found.country.as_deref());
            if place.asn.is_none() && place.as_org.is_none() {
                (place.asn, place.as_org) = (found.asn, found.as_org.as_deref());
            }
        }
        place
    }
}

/// The ranges a file's bytes say.
///
/// # Errors
/// What is wrong with them, to stand behind the file's name.
pub fn ranges(path: &Path, bytes: Vec<u8>) -> Result<Ranges, String> {
    match path.extension().is_some_and(|end| end == "csv") {
        true => csv::read(&String::from_utf8(bytes).map_err(|_| "is no UTF-8".to_owned())?),
        false => mmdb::read(&bytes),
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Known {
    country: Option<Box<str>>,
    asn: Option<u32>,
    as_org: Option<Box<str>>,
}

impl Known {
    /// Takes what a file says.
    ///
    /// * `country`: what is not two letters is none, `zz` is `ZZ`.
    fn new(country: Option<&str>, asn: Option<u32>, as_org: Option<&str>) -> Known {
        let is_code =
            |code: &&str| code.len() == 2 && code.bytes().all(|b| b.is_ascii_alphabetic());
        let cut = |name: &str| name[..name.floor_char_boundary(NAME_BYTES_MAX)].into();
        Known {
            country: country
                .filter(is_code)
                .map(|code| code.to_ascii_uppercase().into()),
            asn,
            as_org: as_org.filter(|name| !name.is_empty()).map(cut),
        }
    }

    fn is_nothing(&self) -> bool {
        *self == Known::default()
    }
}

/// Ranges of addresses and what is known of each.
#[derive(Debug, Default)]
pub struct Ranges {
    v4: Vec<(u32, u32, u32)>,
    v6: Vec<(u128, u128, u32)>,
    known: Vec<Known>,
}

impl Ranges {
    /// Ranges of IPv4 and of IPv6.
    pub fn len(&self) -> (usize, usize) {
        (self.v4.len(), self.v6.len())
    }

    fn get(&self, ip: IpAddr) -> Option<&Known> {
        let at = match ip {
            IpAddr::V4(ip) => find(&self.v4, u32::from(ip)),
            IpAddr::V6(ip) => find(&self.v6, u128::from(ip)),
        };
        self.known.get(at? as usize)
    }
}

/// The value of the range an address is in.
fn find<A: Ord + Copy>(ranges: &[(A, A, u32)], at: A) -> Option<u32> {
    let behind = ranges.partition_point(|(first, ..)| *first <= at);
    let (_, last, value) = ranges.get(behind.checked_sub(1)?)?;
    (at <= *last).then_some(*value)
}

/// Gathers ranges, in any order.
#[derive(Default)]
struct Gathering {
    ranges: Ranges,
    numbers: HashMap<Known, u32>,
}

impl Gathering {
    /// The number of what is known; none for nothing.
    fn number(&mut self, known: Known) -> Result<Option<u32>, String> {
        if known.is_nothing() {
            return Ok(None);
        }
        if let Some(number) = self.numbers.get(&known) {
            return Ok(Some(*number));
        }
        let number = self.ranges.known.len();
        if PLACES_MAX <= number {
            return Err(format!("tells more than {PLACES_MAX} places apart"));
        }
        self.ranges.known.push(known.clone());
        self.numbers.insert(known, number as u32);
        Ok(Some(number as u32))
    }

    /// Adds a range, its last address included.
    fn add(&mut self, first: IpAddr, last: IpAddr, number: u32) -> Result<(), String> {
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                push(&mut self.ranges.v4, (first.into(), last.into(), number))
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                push(&mut self.ranges.v6, (first.into(), last.into(), number))
            }
            _ => Err("has a range that begins in IPv4 and ends in IPv6".to_owned()),
        }
    }

    /// The ranges, sorted.
    ///
    /// # Errors
    /// Two of them overlap.
    fn finish(mut self) -> Result<Ranges, String> {
        let overlap =
            |first: IpAddr| format!("says two things of {first}: ranges must not overlap");
        if let Some((first, ..)) = sort(&mut self.ranges.v4) {
            return Err(overlap(IpAddr::V4(first.into())));
        }
        if let Some((first, ..)) = sort(&mut self.ranges.v6) {
            return Err(overlap(IpAddr::V6(first.into())));
        }
        self.ranges.v4.shrink_to_fit();
        self.ranges.v6.shrink_to_fit();
        Ok(self.ranges)
    }
}

/// An address as a number.
trait Address: Ord + Copy {
    fn next(self) -> Option<Self>;
}

impl Address for u32 {
    fn next(self) -> Option<u32> {
        self.checked_add(1)
    }
}

impl Address for u128 {
    fn next(self) -> Option<u128> {
        self.checked_add(1)
    }
}

/// Appends a range, to the one before it where both say the same and nothing lies between.
fn push<A: Address>(ranges: &mut Vec<(A, A, u32)>, range: (A, A, u32)) -> Result<(), String> {
    if range.1 < range.0 {
        return Err("has a range that ends before it begins".to_owned());
    }
    if let Some(before) = ranges.last_mut()
        && before.2 == range.2
        && before.1.next() == Some(range.0)
    {
        before.1 = range.1;
        return Ok(());
    }
    if RANGES_MAX <= ranges.len() {
        return Err(format!("has more than {RANGES_MAX} ranges"));
    }
    ranges.push(range);
    Ok(())
}

/// Sorts ranges; the first that begins within the one before it comes back.
fn sort<A: Address>(ranges: &mut [(A, A, u32)]) -> Option<(A, A, u32)> {
    ranges.sort_unstable();
    let overlap = ranges.windows(2).find(|pair| pair[1].0 <= pair[0].1);
    overlap.map(|pair| pair[1])
}

#[cfg(test)]
mod tests;

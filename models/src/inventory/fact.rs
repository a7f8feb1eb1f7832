//! What one call shows, as bits: counted per endpoint by [`super::Summary`].
//!
//! Whoever finds out more about a call adds a bit here and its name, and sets it where `profile` makes a call's facts; counts,
//! merging and the inventory's record follow from that.

/// The request alone shows a probe.
pub const PROBE: u64 = 1;
/// A secret stood in the URL.
pub const URL_SECRET: u64 = 1 << 1;
/// A header asked for another method than the request line.
pub const METHOD_OVERRIDE: u64 = 1 << 2;

/// Names of the bits, lowest first.
pub const NAMES: [&str; 3] = ["probe", "url_secret", "method_override"];

/// Name of a bit by its number.
pub fn name(bit: u8) -> String {
    NAMES
        .get(usize::from(bit))
        .map_or_else(|| format!("fact_{bit}"), |name| (*name).to_owned())
}

//! MMDB, the binary form of GeoIP and ASN databases (MaxMind DB File Format Specification 2.0).
//!
//! A file is a binary tree over the bits of addresses, a section of values, and behind the mark `\xab\xcd\xefMaxMind.com` a map that
//! says how both are laid out. All of the tree is walked once and becomes sorted ranges, so that nothing of the file is believed
//! later: no node is visited twice, every value lies within its section, and a value costs at most [`STEPS_MAX`] steps.
//!
//! | of a value | becomes |
//! |---|---|
//! | `country.iso_code` | country |
//! | `autonomous_system_number`, `autonomous_system_organization` | number and name of the network |
//!
//! Trees of IPv6 hold IPv4 below `::/96`; other ways into that subtree (`::ffff:0:0/96`, 6to4) are passed over.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Gathering, Known, Ranges};

const MARK: &[u8] = b"\xab\xcd\xefMaxMind.com";
/// Bytes at the end of a file in which the mark stands.
const METADATA_BYTES_MAX: usize = 128 << 10;
/// Zero bytes between tree and values.
const SEPARATOR_BYTES: usize = 16;
/// Fields that are passed over in one value. That of a city has about a hundred.
const STEPS_MAX: usize = 10_000;
/// Different values of a file.
const VALUES_MAX: usize = 4_000_000;

/// Reads a database.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<Ranges, String> {
    let tree = Tree::of(bytes)?;
    let mut walk = Walk {
        visited: vec![0; tree.n_nodes.div_ceil(64)],
        values: HashMap::new(),
        gathering: Gathering::default(),
        ipv4: None,
        tree,
    };
    walk.all()?;
    walk.gathering.finish()
}

fn damaged(what: &str) -> String {
    format!("is damaged: {what}")
}

/// The tree, and the section of values behind it.
struct Tree<'a> {
    nodes: &'a [u8],
    n_nodes: usize,
    record_bits: usize,
    /// Bits of an address: 32 or 128.
    width: u8,
    values: Section<'a>,
}

/// What a half of a node leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Node(usize),
    Nothing,
    /// Place within the section of values.
    Value(usize),
}

impl<'a> Tree<'a> {
    fn of(bytes: &'a [u8]) -> Result<Tree<'a>, String> {
        let from = bytes.len().saturating_sub(METADATA_BYTES_MAX);
        let tail = bytes.get(from..).unwrap_or(&[]);
        let mark = tail.windows(MARK.len()).rposition(|window| window == MARK);
        let mark = from + mark.ok_or("is no MMDB file, or cut short")?;
        let metadata = Section(bytes.get(mark + MARK.len()..).unwrap_or(&[]));
        let number = |name: &str| {
            let number = metadata.get(0, name)?.map(|at| metadata.number(at));
            let number = number.transpose()?.flatten();
            number.ok_or_else(|| damaged(&format!("its metadata has no {name}")))
        };
        let version = number("binary_format_major_version")?;
        if version != 2 {
            return Err(format!("has version {version} of MMDB; 2 is read"));
        }
        let (record_bits, width) = match (number("record_size")?, number("ip_version")?) {
            (bits @ (24 | 28 | 32), 4) => (bits as usize, 32),
            (bits @ (24 | 28 | 32), 6) => (bits as usize, 128),
            _ => {
                return Err(damaged(
                    "its metadata has an unknown record_size or ip_version",
                ));
            }
        };
        let n_nodes = usize::try_from(number("node_count")?).unwrap_or(usize::MAX);
        let tree_bytes = n_nodes.checked_mul(record_bits / 4);
        let nodes = tree_bytes.and_then(|n_bytes| bytes.get(..n_bytes));
        let values =
            tree_bytes.and_then(|n_bytes| bytes.get(n_bytes.checked_add(SEPARATOR_BYTES)?..mark));
        match nodes.zip(values) {
            Some((nodes, values)) if n_nodes != 0 => Ok(Tree {
                nodes,
                n_nodes,
                record_bits,
                width,
                values: Section(values),
            }),
            _ => Err(damaged("its tree does not fit into it")),
        }
    }

    /// One half of a node.
    fn way(&self, node: usize, right: bool) -> Result<Way, String> {
        let n_bytes = self.record_bits / 4;
        let bytes = self.nodes.get(node * n_bytes..(node + 1) * n_bytes);
        let bytes = bytes.ok_or_else(|| damaged("a node leads beyond the tree"))?;
        let value = match (self.record_bits, right) {
            (28, false) => big_endian(&bytes[..3]) | u64::from(bytes[3] >> 4) << 24,
            (28, true) => big_endian(&bytes[4..]) | u64::from(bytes[3] & 0xf) << 24,
            (_, false) => big_endian(&bytes[..n_bytes / 2]),
            (_, true) => big_endian(&bytes[n_bytes / 2..]),
        };
        let value = usize::try_from(value).unwrap_or(usize::MAX);
        match value.checked_sub(self.n_nodes) {
            None => Ok(Way::Node(value)),
            Some(0) => Ok(Way::Nothing),
            Some(behind) => match behind.checked_sub(SEPARATOR_BYTES) {
                Some(at) if at < self.values.0.len() => Ok(Way::Value(at)),
                _ => Err(damaged("a node leads beyond the values")),
            },
        }
    }
}

/// Goes over the whole tree, addresses in order.
struct Walk<'a> {
    tree: Tree<'a>,
    /// A bit a node.
    visited: Vec<u64>,
    /// What values say, by their places.
    values: HashMap<usize, Option<u32>>,
    gathering: Gathering,
    /// The node below `::/96`, the first way of a tree of IPv6, once it was seen.
    ipv4: Option<usize>,
}

impl Walk<'_> {
    fn all(&mut self) -> Result<(), String> {
        // What is still to be seen: a way, the bits that lead to it, and how many these are.
        let mut ahead = vec![(Way::Node(0), 0_u128, 0_u8)];
        while let Some((way, bits, depth)) = ahead.pop() {
            let node = match way {
                Way::Nothing => continue,
                Way::Value(at) => {
                    self.value(at, bits, depth)?;
                    continue;
                }
                Way::Node(node) => node,
            };
            if depth == self.tree.width {
                return Err(damaged("its tree is deeper than an address is long"));
            }
            if !self.visit(node) {
                match self.ipv4 == Some(node) {
                    true => continue,
                    false => return Err(damaged("two ways of its tree meet")),
                }
            }
            if (depth, bits, self.tree.width) == (96, 0, 128) {
                self.ipv4 = Some(node);
            }
            let bit = 1_u128 << (self.tree.width - 1 - depth);
            ahead.push((self.tree.way(node, true)?, bits | bit, depth + 1));
            ahead.push((self.tree.way(node, false)?, bits, depth + 1));
        }
        Ok(())
    }

    /// Notes that a node was seen; false when it had been.
    fn visit(&mut self, node: usize) -> bool {
        let (word, bit) = (&mut self.visited[node / 64], 1 << (node % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Adds the addresses that begin with these bits.
    fn value(&mut self, at: usize, bits: u128, depth: u8) -> Result<(), String> {
        let Some(number) = self.number(at)? else {
            return Ok(());
        };
        let free = |width: u8| {
            u128::MAX
                .checked_shr(128 - u32::from(width - depth))
                .unwrap_or(0)
        };
        let is_ipv4 = self.tree.width == 32 || (96 <= depth && bits >> 32 == 0);
        if is_ipv4 {
            let last = bits | free(self.tree.width);
            let ip = |bits: u128| IpAddr::V4(Ipv4Addr::from(bits as u32));
            return self.gathering.add(ip(bits), ip(last), number);
        }
        if bits == 0 {
            let all = (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into());
            self.gathering.add(all.0, all.1, number)?;
        }
        let ip = |bits: u128| IpAddr::V6(Ipv6Addr::from(bits));
        self.gathering.add(ip(bits), ip(bits | free(128)), number)
    }

    /// The number of what a value says; none for nothing.
    fn number(&mut self, at: usize) -> Result<Option<u32>, String> {
        if let Some(number) = self.values.get(&at) {
            return Ok(*number);
        }
        if VALUES_MAX <= self.values.len() {
            return Err(format!("has more than {VALUES_MAX} values"));
        }
        let values = self.tree.values;
        let text = |at: Option<usize>| match at {
            Some(at) => values.text(at),
            None => Ok(None),
        };
        let country = match values.get(at, "country")? {
            Some(country) => text(values.get(country, "iso_code")?)?,
            None => None,
        };
        let asn = match values.get(at, "autonomous_system_number")? {
            Some(at) => values.number(at)?.and_then(|asn| u32::try_from(asn).ok()),
            None => None,
        };
        let as_org = text(values.get(at, "autonomous_system_organization")?)?;
        let number = self.gathering.number(Known::new(country, asn, as_org))?;
        self.values.insert(at, number);
        Ok(number)
    }
}

/// Values in their encoding; places are offsets from its beginning.
#[derive(Clone, Copy)]
struct Section<'a>(&'a [u8]);

/// A field, with what its control byte says.
#[derive(Clone, Copy)]
enum Field<'a> {
    Pointer(usize),
    Text(&'a [u8]),
    Number(u64),
    /// Pairs that follow.
    Map(usize),
    /// Fields that follow.
    Array(usize),
    Other,
}

impl<'a> Section<'a> {
    /// The field at a place, and the place behind it: of maps and arrays that of what is in them.
    fn field(self, at: usize) -> Result<(Field<'a>, usize), String> {
        let beyond = || damaged("a value leads beyond the values");
        let take = |at: usize, n_bytes: usize| {
            let end = at.checked_add(n_bytes)?;
            Some((self.0.get(at..end)?, end))
        };
        let (control, mut at) = take(at, 1).ok_or_else(beyond)?;
        let (mut kind, low) = (control[0] >> 5, usize::from(control[0] & 0x1f));
        if kind == 1 {
            let n_bytes = low >> 3;
            let (rest, end) = take(at, n_bytes + 1).ok_or_else(beyond)?;
            let high = (low as u64 & 7) << (8 * (n_bytes + 1));
            let to = match n_bytes {
                0 => high | big_endian(rest),
                1 => (high | big_endian(rest)) + 2048,
                2 => (high | big_endian(rest)) + 526_336,
                _ => big_endian(rest),
            };
            return Ok((
                Field::Pointer(usize::try_from(to).map_err(|_| beyond())?),
                end,
            ));
        }
        if kind == 0 {
            let (extended, end) = take(at, 1).ok_or_else(beyond)?;
            (kind, at) = (extended[0].saturating_add(7), end);
        }
        let (n_more, least) = [(1, 29), (2, 285), (3, 65_821)]
            .get(low.wrapping_sub(29))
            .copied()
            .unwrap_or((0, low));
        let (more, at) = take(at, n_more).ok_or_else(beyond)?;
        let size = least + big_endian(more) as usize;
        let payload = |n_max: usize| {
            let (bytes, end) = take(at, size).ok_or_else(beyond)?;
            match size <= n_max {
                true => Ok((bytes, end)),
                false => Err(damaged("a number is too long")),
            }
        };
        Ok(match kind {
            2 => {
                let (bytes, end) = payload(usize::MAX)?;
                (Field::Text(bytes), end)
            }
            5 | 6 | 9 => {
                let (bytes, end) = payload(8)?;
                (Field::Number(big_endian(bytes)), end)
            }
            7 => (Field::Map(size), at),
            11 => (Field::Array(size), at),
            // A flag's size is its value.
            14 => (Field::Other, at),
            3 | 4 | 8 | 10 | 15 => (Field::Other, payload(usize::MAX)?.1),
            _ => return Err(damaged("a value has an unknown type")),
        })
    }

    /// The field at a place; behind a pointer that which it leads to. A pointer to a pointer is none of the format's.
    fn meant(self, at: usize) -> Result<(Field<'a>, usize), String> {
        match self.field(at)? {
            (Field::Pointer(to), _) => match self.field(to)? {
                (Field::Pointer(_), _) => Err(damaged("a pointer leads to a pointer")),
                meant => Ok(meant),
            },
            meant => Ok(meant),
        }
    }

    /// Place of the value of a map's key; none where there is no such key, or no map.
    fn get(self, at: usize, key: &str) -> Result<Option<usize>, String> {
        let (Field::Map(n), mut at) = self.meant(at)? else {
            return Ok(None);
        };
        let mut n_steps = 0;
        for _ in 0..n {
            let name = self.meant(at)?.0;
            let value = self.behind(at, &mut n_steps)?;
            match name {
                Field::Text(name) if name == key.as_bytes() => return Ok(Some(value)),
                Field::Text(_) => at = self.behind(value, &mut n_steps)?,
                _ => return Err(damaged("a key is no text")),
            }
        }
        Ok(None)
    }

    /// The place behind a field and all that is in it.
    fn behind(self, at: usize, n_steps: &mut usize) -> Result<usize, String> {
        let (mut at, mut n_ahead) = (at, 1_usize);
        while n_ahead != 0 {
            *n_steps += 1;
            if STEPS_MAX < *n_steps {
                return Err(damaged("a value has too many fields"));
            }
            let (field, behind) = self.field(at)?;
            at = behind;
            n_ahead -= 1;
            match field {
                Field::Map(n) => n_ahead += 2 * n,
                Field::Array(n) => n_ahead += n,
                _ => (),
            }
        }
        Ok(at)
    }

    fn text(self, at: usize) -> Result<Option<&'a str>, String> {
        match self.meant(at)?.0 {
            Field::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(damaged("a text is no UTF-8")),
            },
            _ => Ok(None),
        }
    }

    fn number(self, at: usize) -> Result<Option<u64>, String> {
        match self.meant(at)?.0 {
            Field::Number(number) => Ok(Some(number)),
            _ => Ok(None),
        }
    }
}

/// A number of at most eight bytes.
fn big_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

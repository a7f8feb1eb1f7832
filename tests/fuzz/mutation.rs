//! Mutations of an input: of its bytes, and of its values where it is JSON.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Value};

/// One change of an input.
#[derive(Clone, Debug)]
pub(super) enum Mutation {
    /// Replaces a byte.
    Byte(Index, u8),
    /// Inserts a text that readers have stumbled over.
    Insert(Index, &'static str),
    /// Inserts a text that is long.
    Long(Index, &'static str),
    /// Removes some bytes.
    Remove(Index, usize),
    /// Cuts the rest off.
    Truncate(Index),
    /// Says some bytes twice.
    Duplicate(Index, usize),
    /// Replaces eight bytes by a number, at a place where a binary format may have one.
    Word(Index, i64),
    /// Replaces four bytes by a number, at such a place.
    HalfWord(Index, i32),
    /// Removes a line, and says it again elsewhere.
    MoveLine(Index, Index),
    /// Replaces a value of JSON by another, which may be raw text.
    Value(Index, &'static str),
    /// Removes a value of JSON.
    Drop(Index),
    /// Puts a value of JSON into arrays, so many.
    Nest(Index, usize),
    /// Puts the whole into arrays, or several of it into one.
    Array(usize),
}

/// Texts of another kind than what stands there: signs of syntax, odd Unicode, ends and beginnings of other formats.
const TEXTS: [&str; 24] = [
    "\"",
    "\\",
    "\\x22",
    "\\ud800",
    "\\u0000",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\n",
    "\t",
    "\u{0}",
    "\u{feff}",
    "\u{202e}",
    "\u{1f4a9}",
    "e\u{301}",
    "%2f%00%ff",
    "../..",
    "2025-12-31T17:37:40.49+01:00 stdout P ",
    "'''",
    "=",
];

/// Values of JSON, some of which only a lenient reader takes.
const VALUES: [&str; 28] = [
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "\"-\"",
    "0",
    "-0",
    "-1",
    "1e400",
    "-1e-400",
    "0.1",
    "1767571200003",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "99999999999999999999999999999999",
    "\"99999999999\"",
    "\"1e9\"",
    "\"NaN\"",
    "NaN",
    "\"9999-12-31T23:59:59Z\"",
    "\"0000-00-00T00:00:00Z\"",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
    "{\"a\":{\"a\":{\"a\":{}}}}",
    "\"\\u202e\\u0000\\ud83d\\udca9\"",
    "\"//?#&=%\"",
    "\"Bearer a.b.c\"",
];

/// How often a long text is repeated.
const LONG: usize = 4_000;

/// Any mutation.
pub(super) fn any() -> impl Strategy<Value = Mutation> {
    let at = || proptest::prelude::any::<Index>();
    let words = prop_oneof![
        Just(0),
        Just(1),
        Just(-1),
        Just(i64::MAX),
        Just(i64::MIN),
        Just(1 << 31),
        Just(1 << 40),
        -64_i64..4096,
    ];
    prop_oneof![
        (at(), proptest::prelude::any::<u8>()).prop_map(|(at, byte)| Mutation::Byte(at, byte)),
        (at(), proptest::sample::select(&TEXTS[..]))
            .prop_map(|(at, text)| Mutation::Insert(at, text)),
        (at(), proptest::sample::select(&TEXTS[..]))
            .prop_map(|(at, text)| Mutation::Long(at, text)),
        (at(), 1_usize..64).prop_map(|(at, n)| Mutation::Remove(at, n)),
        at().prop_map(Mutation::Truncate),
        (at(), 1_usize..64).prop_map(|(at, n)| Mutation::Duplicate(at, n)),
        (at(), words).prop_map(|(at, word)| Mutation::Word(at, word)),
        (at(), -64_i32..4096).prop_map(|(at, word)| Mutation::HalfWord(at, word)),
        (at(), at()).prop_map(|(from, to)| Mutation::MoveLine(from, to)),
        (at(), proptest::sample::select(&VALUES[..]))
            .prop_map(|(at, value)| Mutation::Value(at, value)),
        (at(), proptest::sample::select(&VALUES[..]))
            .prop_map(|(at, value)| Mutation::Value(at, value)),
        at().prop_map(Mutation::Drop),
        (at(), 1_usize..200).prop_map(|(at, depth)| Mutation::Nest(at, depth)),
        (1_usize..300).prop_map(Mutation::Array),
    ]
}

/// The input after these changes. One that does not apply, as no JSON is left, changes nothing.
pub(super) fn apply(seed: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    mutations
        .iter()
        .for_each(|mutation| one(&mut bytes, mutation));
    bytes
}

fn one(bytes: &mut Vec<u8>, mutation: &Mutation) {
    let length = bytes.len();
    let place = |at: &Index| at.index(length + 1);
    match mutation {
        Mutation::Byte(at, byte) => {
            if let Some(found) = bytes.get_mut(place(at)) {
                *found = *byte;
            }
        }
        Mutation::Insert(at, text) => insert(bytes, place(at), text.as_bytes()),
        Mutation::Long(at, text) => insert(bytes, place(at), text.repeat(LONG).as_bytes()),
        Mutation::Remove(at, n) => {
            let from = place(at);
            bytes.drain(from..(from + n).min(length));
        }
        Mutation::Truncate(at) => bytes.truncate(place(at)),
        Mutation::Duplicate(at, n) => {
            let from = place(at);
            let again = bytes[from..(from + n).min(length)].to_vec();
            insert(bytes, from, &again);
        }
        Mutation::Word(at, word) => write(bytes, place(at) / 8 * 8, &word.to_le_bytes()),
        Mutation::HalfWord(at, word) => write(bytes, place(at) / 4 * 4, &word.to_le_bytes()),
        Mutation::MoveLine(from, to) => {
            let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
            let line = lines.remove(from.index(lines.len()));
            lines.insert(to.index(lines.len() + 1), line);
            *bytes = lines.join(&b'\n');
        }
        Mutation::Value(at, value) => json(bytes, at, |found| *found = raw(value)),
        Mutation::Drop(at) => json(bytes, at, |found| *found = raw("")),
        Mutation::Nest(at, depth) => json(bytes, at, |found| {
            for _ in 0..*depth {
                *found = Value::Array(vec![found.take()]);
            }
        }),
        Mutation::Array(n) => {
            let elements = vec![bytes.as_slice(); if *n < 8 { *n } else { 1 }].join(&b","[..]);
            let (open, close) = if *n < 8 { (1, 1) } else { (*n, *n) };
            *bytes = [vec![b'['; open], elements, vec![b']'; close]].concat();
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, what: &[u8]) {
    bytes.splice(at..at, what.iter().copied());
}

fn write(bytes: &mut [u8], at: usize, word: &[u8]) {
    if let Some(found) = bytes.get_mut(at..at + word.len()) {
        found.copy_from_slice(word);
    }
}

/// Marks a text that is to stand in the JSON as it is.
const RAW: &str = "raw:";

fn raw(text: &str) -> Value {
    Value::String(format!("{RAW}{text}{RAW}"))
}

/// Changes one value, of all there are.
fn json(bytes: &mut Vec<u8>, at: &Index, change: impl FnOnce(&mut Value)) {
    let Ok(mut root) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    let mut at = at.index(count(&root));
    if let Some(found) = nth(&mut root, &mut at) {
        change(found);
    }
    *bytes = Vec::new();
    print(&root, bytes);
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

fn count(value: &Value) -> usize {
    1 + children(value).into_iter().map(count).sum::<usize>()
}

fn nth<'a>(value: &'a mut Value, at: &mut usize) -> Option<&'a mut Value> {
    if *at == 0 {
        return Some(value);
    }
    *at -= 1;
    match value {
        Value::Array(values) => values.iter_mut().find_map(|value| nth(value, at)),
        Value::Object(fields) => fields.values_mut().find_map(|value| nth(value, at)),
        _ => None,
    }
}

/// Prints JSON with its raw texts; a field or element without one is left out.
fn print(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(values) => {
            out.push(b'[');
            values.iter().enumerate().for_each(|(i, value)| {
                if i > 0 {
                    out.push(b',');
                }
                print(value, out);
            });
            out.push(b']');
        }
        Value::Object(fields) => fields_of(fields, out),
        Value::String(text) => match text.strip_prefix(RAW).and_then(|t| t.strip_suffix(RAW)) {
            Some(text) => out.extend_from_slice(text.as_bytes()),
            None => out.extend_from_slice(value.to_string().as_bytes()),
        },
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
}

fn fields_of(fields: &Map<String, Value>, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut is_first = true;
    for (name, value) in fields {
        let mut printed = Vec::new();
        print(value, &mut printed);
        if printed.is_empty() {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        out.extend_from_slice(Value::String(name.clone()).to_string().as_bytes());
        out.push(b':');
        out.extend_from_slice(&printed);
    }
    out.push(b'}');
}

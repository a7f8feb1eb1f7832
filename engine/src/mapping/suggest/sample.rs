//! Lines as columns: the paths of JSON objects, or the words of a text line of the commonest shape.

use std::collections::BTreeMap;

use connectors::format::mapped;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::text::{self, Shape};
use super::{BYTES_MAX, LINES_MAX};

/// Columns of a log; names that come later are left out. Records have some dozens.
const COLUMNS_MAX: usize = 300;
/// Objects and lists in one another.
const DEPTH_MAX: usize = 6;
/// Bytes kept of a value.
const VALUE_BYTES_MAX: usize = 512;

/// Columns of the lines looked at.
#[derive(Debug, Default)]
pub struct Sample {
    /// Lines looked at.
    pub n_lines: usize,
    /// Lines whose values are in the columns: JSON objects, or texts of the shape.
    pub n_shaped: usize,
    /// The columns.
    pub columns: Vec<Column>,
    /// How a text line is put together; none for JSON.
    pub(super) text: Option<Shape>,
}

/// One column.
#[derive(Debug)]
pub struct Column {
    /// A JSON path, or what a text's word is called.
    pub name: String,
    /// Places of the words it is put together from, in a text.
    pub(super) words: Vec<usize>,
    /// Value by shaped line.
    pub values: Vec<Option<String>>,
}

impl Sample {
    /// Lines of records, with envelopes opened so many times.
    pub fn of(payloads: &[Vec<u8>], n_envelopes: u8) -> Sample {
        let mut n_bytes = 0;
        let lines = payloads
            .iter()
            .flat_map(|payload| mapped::lines(payload, n_envelopes));
        let lines: Vec<String> = lines
            .take(LINES_MAX)
            .take_while(|line| {
                n_bytes += line.len();
                n_bytes <= BYTES_MAX
            })
            .collect();
        // Parsed here to be counted and there to be kept, a line at a time: as values they take ten times their bytes.
        let is_object = |line: &&String| {
            line.starts_with('{') && serde_json::from_str::<IgnoredAny>(line).is_ok()
        };
        let objects: Vec<&String> = lines.iter().filter(is_object).collect();
        match lines.len() <= 2 * objects.len() {
            true => Sample::of_objects(lines.len(), &objects),
            false => text::sample(&lines),
        }
    }

    fn of_objects(n_lines: usize, objects: &[&String]) -> Sample {
        let mut places = BTreeMap::<String, usize>::new();
        let mut columns: Vec<Column> = Vec::new();
        for (row, object) in objects.iter().enumerate() {
            // Nested too deep for a value: as a line without one.
            let object = serde_json::from_str(object).unwrap_or(Value::Null);
            flatten(&object, &mut String::new(), 0, &mut |path, value| {
                let n_columns = columns.len();
                let at = match places.get(path) {
                    Some(at) => *at,
                    None if COLUMNS_MAX <= n_columns => return,
                    None => {
                        places.insert(path.to_owned(), n_columns);
                        columns.push(Column {
                            name: path.to_owned(),
                            words: Vec::new(),
                            values: vec![None; objects.len()],
                        });
                        n_columns
                    }
                };
                columns[at].values[row] = known(&value);
            });
        }
        Sample {
            n_lines,
            n_shaped: objects.len(),
            columns,
            text: None,
        }
    }
}

/// A value as a column keeps it; `""` and `-` are none.
pub(super) fn known(text: &str) -> Option<String> {
    let kept = &text[..text.floor_char_boundary(text.len().min(VALUE_BYTES_MAX))];
    (!matches!(kept, "" | "-")).then(|| kept.to_owned())
}

/// Hands over every text, number and flag of a value with its path as `json_get` takes it; of a list the first element only.
fn flatten(value: &Value, path: &mut String, depth: usize, each: &mut impl FnMut(&str, String)) {
    let length = path.len();
    match value {
        Value::Object(members) if depth < DEPTH_MAX => {
            for (key, value) in members {
                // No path names such a key.
                if key.contains('"') || key.is_empty() {
                    continue;
                }
                if key.contains(['.', '[']) {
                    path.push_str(&format!("[\"{key}\"]"));
                } else {
                    path.push_str(if path.is_empty() { "" } else { "." });
                    path.push_str(key);
                }
                flatten(value, path, depth + 1, each);
                path.truncate(length);
            }
        }
        Value::Array(elements) if depth < DEPTH_MAX => {
            if let Some(first) = elements.first() {
                path.push_str("[0]");
                flatten(first, path, depth + 1, each);
                path.truncate(length);
            }
        }
        Value::String(text) => each(path, text.clone()),
        Value::Number(number) => each(path, number.to_string()),
        Value::Bool(flag) => each(path, flag.to_string()),
        Value::Null | Value::Object(_) | Value::Array(_) => (),
    }
}

//! Values out of JSON texts.

use datafusion::scalar::ScalarValue;
use serde_json::Value;

use super::{Constants, Each, Function, text_of};

/// Longest JSON that is read, in bytes; a longer one gives NULL. No column's text is longer than 16 KiB.
const JSON_BYTES_MAX: usize = 64 * 1024;
/// Steps of a path. JSON that is nested deeper than 128 gives NULL.
const STEPS_MAX: usize = 16;

pub(super) const JSON_GET: Function = Function {
    name: "json_get",
    form: "json_get(text, 'path')",
    gives: "text",
    about: "What stands at a path such as `user.roles[0]`, or `user[\"a.name\"]` for a name with a dot in it: a text as it is, a number, flag, list or object as JSON. NULL when nothing or `null` stands there, and for what is no JSON, is longer than 64 KiB or nested deeper than 128.",
    example: "json_get('{\"user\": {\"roles\": [\"admin\"]}}', 'user.roles[0]')",
    answer: "admin",
    constants: Constants::Text,
    prepare: |constants| {
        let steps = steps(constants)?;
        Ok(Each::Text(Box::new(move |text, out| {
            at(text, &steps).is_some_and(|value| push_text(value, out))
        })))
    },
};

pub(super) const JSON_GET_INT: Function = Function {
    name: "json_get_int",
    form: "json_get_int(text, 'path')",
    gives: "int",
    about: "As `json_get`, for whole numbers; NULL for anything else.",
    example: "json_get_int('{\"items\": [{\"n\": 3}]}', 'items[0].n')",
    answer: "3",
    constants: Constants::Text,
    prepare: |constants| {
        let steps = steps(constants)?;
        Ok(Each::Integer(Box::new(move |text| {
            at(text, &steps)?.as_i64()
        })))
    },
};

pub(super) const JSON_GET_FLOAT: Function = Function {
    name: "json_get_float",
    form: "json_get_float(text, 'path')",
    gives: "float",
    about: "As `json_get`, for numbers; NULL for anything else.",
    example: "json_get_float('{\"amount\": 2.5}', 'amount')",
    answer: "2.5",
    constants: Constants::Text,
    prepare: |constants| {
        let steps = steps(constants)?;
        Ok(Each::Float(Box::new(move |text| {
            at(text, &steps)?.as_f64()
        })))
    },
};

pub(super) const JSON_GET_BOOL: Function = Function {
    name: "json_get_bool",
    form: "json_get_bool(text, 'path')",
    gives: "bool",
    about: "As `json_get`, for `true` and `false`; NULL for anything else.",
    example: "json_get_bool('{\"admin\": false}', 'admin')",
    answer: "false",
    constants: Constants::Text,
    prepare: |constants| {
        let steps = steps(constants)?;
        Ok(Each::Flag(Box::new(move |text| {
            at(text, &steps)?.as_bool()
        })))
    },
};

/// One step into JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The steps of the path that is a function's constant.
fn steps(constants: &[ScalarValue]) -> Result<Vec<Step>, String> {
    steps_of(&constants.iter().map(text_of).collect::<String>())
}

/// The steps of a path: names between dots, places and quoted names in brackets.
pub(super) fn steps_of(path: &str) -> Result<Vec<Step>, String> {
    let fault = || format!("`{path}` is no path: write user.roles[0], or user[\"a.name\"]");
    let mut rest = path.strip_prefix("$.").unwrap_or(path);
    let mut steps = Vec::new();
    loop {
        let (name, tail) = rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()));
        if !name.is_empty() {
            steps.push(Step::Key(name.to_owned()));
        } else if !tail.starts_with('[') || !steps.is_empty() {
            return Err(fault());
        }
        rest = tail;
        while let Some(inner) = rest.strip_prefix('[') {
            let (step, tail) = match inner.strip_prefix('"') {
                Some(name) => {
                    let (name, tail) = name.split_once("\"]").ok_or_else(fault)?;
                    (Step::Key(name.to_owned()), tail)
                }
                None => {
                    let (place, tail) = inner.split_once(']').ok_or_else(fault)?;
                    (Step::Index(place.parse().map_err(|_| fault())?), tail)
                }
            };
            steps.push(step);
            rest = tail;
        }
        match (rest.strip_prefix('.'), rest) {
            (Some(next), _) => rest = next,
            (None, "") => break,
            _ => return Err(fault()),
        }
    }
    match steps.len() <= STEPS_MAX {
        true => Ok(steps),
        false => Err(format!("`{path}` has more than {STEPS_MAX} steps")),
    }
}

/// A value as `json_get` gives it; false for none.
pub(super) fn push_text(value: Value, out: &mut String) -> bool {
    match value {
        Value::Null => return false,
        Value::String(text) => out.push_str(&text),
        other => out.push_str(&other.to_string()),
    }
    true
}

fn at(text: &str, steps: &[Step]) -> Option<Value> {
    if JSON_BYTES_MAX < text.len() {
        return None;
    }
    let mut value: Value = serde_json::from_str(text).ok()?;
    for step in steps {
        value = match step {
            Step::Key(key) => value.get_mut(key)?.take(),
            Step::Index(at) => value.get_mut(at)?.take(),
        };
    }
    Some(value)
}

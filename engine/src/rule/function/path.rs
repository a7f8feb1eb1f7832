//! Paths and queries of URLs.

use models::endpoint::{decode, decode_query, endpoint};

use super::{Constants, Each, Function, integer_of, text_of};

/// Farthest segment that can be asked for: no server takes a path of so many.
const SEGMENT_MAX: i64 = 256;

pub(super) const PATH_TEMPLATE: Function = Function {
    name: "path_template",
    form: "path_template(path)",
    gives: "text",
    about: "The path with `{id}` in the place of what names a thing, as in `endpoint`, but by the path alone: templates that were learnt or come of OpenAPI documents count in `endpoint` only.",
    example: "path_template('/accounts/42/cards/7?full=1')",
    answer: "/accounts/{id}/cards/{id}",
    constants: Constants::None,
    prepare: |_| {
        Ok(Each::Text(Box::new(|path, out| {
            let mut name = String::new();
            endpoint("GET", None, path, &mut name, &mut Vec::new());
            out.push_str(name.strip_prefix("GET - ").unwrap_or(&name));
            true
        })))
    },
};

pub(super) const PATH_SEGMENT: Function = Function {
    name: "path_segment",
    form: "path_segment(path, n)",
    gives: "text",
    about: "The n-th segment, percent-decoded; the first is 1, the last -1. NULL when there are fewer.",
    example: "path_segment('/v2/accounts/42', -1)",
    answer: "42",
    constants: Constants::Integer,
    prepare: |constants| {
        let n = integer_of(constants);
        if n == 0 || SEGMENT_MAX < n.abs() {
            return Err(format!(
                "{n} is no segment: the first is 1, the last -1, and the farthest {SEGMENT_MAX}"
            ));
        }
        let at = n.unsigned_abs() as usize - 1;
        Ok(Each::Text(Box::new(move |path, out| {
            let path = path.split(['?', '#']).next().unwrap_or_default();
            let mut segments = path.split('/').filter(|segment| !segment.is_empty());
            let segment = match 0 < n {
                true => segments.nth(at),
                false => segments.rev().nth(at),
            };
            segment
                .map(|segment| out.push_str(&decode(segment)))
                .is_some()
        })))
    },
};

pub(super) const QUERY_PARAM: Function = Function {
    name: "query_param",
    form: "query_param(query, 'name')",
    gives: "text",
    about: "The first value of that name, percent-decoded, `+` as a space; empty when the name stands alone, NULL when it does not stand there.",
    example: "query_param('page=2&q=a%20b', 'q')",
    answer: "a b",
    constants: Constants::Text,
    prepare: |constants| {
        let wanted = constants.iter().map(text_of).collect::<String>();
        Ok(Each::Text(Box::new(move |query, out| {
            let query = query.strip_prefix('?').unwrap_or(query);
            let value = query.split('&').find_map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (name == wanted || decode_query(name) == wanted).then_some(value)
            });
            value
                .map(|value| out.push_str(&decode_query(value)))
                .is_some()
        })))
    },
};

pub(super) const URL_DECODE: Function = Function {
    name: "url_decode",
    form: "url_decode(text)",
    gives: "text",
    about: "The text with `%hh` decoded once. A broken escape stays as it is, and bytes that are no UTF-8 become `�`.",
    example: "url_decode('%2e%2e%2fetc')",
    answer: "../etc",
    constants: Constants::None,
    prepare: |_| {
        Ok(Each::Text(Box::new(|text, out| {
            out.push_str(&decode(text));
            true
        })))
    },
};

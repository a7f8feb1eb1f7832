//! Comma-separated values as of RFC 4180, with the line each record begins on.

use std::borrow::Cow;

/// One record: its fields, nothing for an empty one without quotes.
pub(crate) struct Record<'a> {
    /// Line it begins on, from 1.
    pub(crate) line: usize,
    pub(crate) fields: Vec<Option<Cow<'a, str>>>,
}

/// The records of a text; empty lines are none.
pub(crate) struct Records<'a> {
    rest: &'a str,
    line: usize,
}

/// Line and what is wrong there.
type Fault = (usize, String);

impl<'a> Records<'a> {
    pub(crate) fn new(text: &'a str) -> Records<'a> {
        Records {
            rest: text.trim_start_matches('\u{feff}'),
            line: 1,
        }
    }

    /// The next field, and whether it is the last one of its record.
    fn field(&mut self) -> Result<(Option<Cow<'a, str>>, bool), Fault> {
        if let Some(quoted) = self.rest.strip_prefix('"') {
            return self.quoted(quoted);
        }
        let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
        let (field, rest) = self.rest.split_at(end);
        let field = match rest.starts_with(',') {
            true => field,
            false => field.strip_suffix('\r').unwrap_or(field),
        };
        if field.contains('"') {
            let told =
                "a quote within a field: put the field into quotes, and write \"\" for a quote";
            return Err((self.line, told.to_owned()));
        }
        let is_last = self.end_field(rest);
        Ok(((!field.is_empty()).then_some(Cow::Borrowed(field)), is_last))
    }

    fn quoted(&mut self, text: &'a str) -> Result<(Option<Cow<'a, str>>, bool), Fault> {
        let (begins, mut from) = (self.line, 0);
        loop {
            let Some(at) = text[from..].find('"').map(|at| from + at) else {
                return Err((begins, "a quote that begins here has no end".to_owned()));
            };
            if text[at + 1..].starts_with('"') {
                from = at + 2;
                continue;
            }
            let (field, rest) = (&text[..at], &text[at + 1..]);
            let rest = rest.strip_prefix('\r').unwrap_or(rest);
            if !(rest.is_empty() || rest.starts_with([',', '\n'])) {
                return Err((begins, "text behind a field's last quote".to_owned()));
            }
            self.line += field.matches('\n').count();
            let is_last = self.end_field(rest);
            let field = match field.contains('"') {
                true => Cow::Owned(field.replace("\"\"", "\"")),
                false => Cow::Borrowed(field),
            };
            return Ok((Some(field), is_last));
        }
    }

    /// Goes behind the mark that ends a field; true at the end of the record.
    fn end_field(&mut self, rest: &'a str) -> bool {
        if let Some(rest) = rest.strip_prefix(',') {
            self.rest = rest;
            return false;
        }
        self.rest = rest.strip_prefix('\n').unwrap_or(rest);
        self.line += usize::from(rest.starts_with('\n'));
        true
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let empty = self
                .rest
                .strip_prefix('\n')
                .or(self.rest.strip_prefix("\r\n"));
            match empty {
                Some(rest) => (self.rest, self.line) = (rest, self.line + 1),
                None => break,
            }
        }
        if self.rest.is_empty() {
            return None;
        }
        let mut record = Record {
            line: self.line,
            fields: Vec::new(),
        };
        loop {
            match self.field() {
                Ok((field, is_last)) => {
                    record.fields.push(field);
                    if is_last {
                        return Some(Ok(record));
                    }
                }
                Err(fault) => {
                    self.rest = "";
                    return Some(Err(fault));
                }
            }
        }
    }
}

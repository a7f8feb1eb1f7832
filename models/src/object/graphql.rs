//! GraphQL documents: the operation, its top field and every argument, read in one pass without a tree.
//!
//! **Invariant**: no document makes this panic, recurse deeper than [`DEPTH_MAX`] or read a byte twice.

use std::borrow::Cow;

use hashbrown::HashMap;

use crate::generations::FixedHasher;

/// Deepest nesting of argument values; deeper ones are skipped.
const DEPTH_MAX: usize = 8;

/// An argument's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Argument<'q> {
    /// A string without its quotes, or a number.
    Literal(&'q str),
    /// A variable's name without `$`.
    Variable(&'q str),
}

/// Values that variables have when the request gives them none: by variable, the key each stands under and its
/// text; the key is the variable's name where it stands alone or in a list.
pub(crate) type Defaults<'q> = HashMap<&'q str, Vec<(&'q str, &'q str)>, FixedHasher>;

/// Takes `(field, name, argument, defaults)`.
type Visit<'f, 'q> = &'f mut dyn FnMut(&'q str, &'q str, Argument<'q>, &Defaults<'q>);

/// What the head of a document says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Operation<'q> {
    /// One of the operations is a mutation.
    pub(crate) is_mutation: bool,
    /// The first field of the first mutation, else of the first operation, without its alias.
    pub(crate) field: &'q str,
}

/// Reads a document, calling `f` for every argument of every field.
pub(crate) fn scan<'q>(document: &'q str, f: Visit<'_, 'q>) -> Operation<'q> {
    let mut defaults = Defaults::default();
    let mut reader = Reader {
        text: document,
        at: 0,
    };
    let mut operation = Operation::default();
    let mut depth = 0usize;
    let mut previous = Token::End;
    let mut field = "";
    let mut in_fragment = false;
    loop {
        let token = reader.token();
        match token {
            Token::End => return operation,
            Token::Mark(b'{') => {
                // A query may begin without its keyword.
                in_fragment &= depth != 0 || !is_end_of_definition(previous);
                depth += 1;
            }
            Token::Mark(b'}') => depth = depth.saturating_sub(1),
            // Definitions begin the document or follow one another; elsewhere these are names like any other.
            Token::Name(keyword) if depth == 0 && is_end_of_definition(previous) => {
                in_fragment = keyword == "fragment";
                if keyword == "mutation" && !operation.is_mutation {
                    operation.is_mutation = true;
                    operation.field = "";
                }
            }
            Token::Name(_) if depth == 0 => (),
            Token::Name(name) if 0 < depth => {
                let directive = previous == Token::Mark(b'@');
                let spread = previous == Token::Mark(b'.');
                if !directive && !spread {
                    field = name;
                    // An alias is a name before a colon: the field follows.
                    let is_first = depth == 1 && !in_fragment && operation.field.is_empty();
                    if is_first && reader.peek() != Some(b':') {
                        operation.field = name;
                    }
                } else {
                    field = "";
                }
            }
            Token::Mark(b'(') if depth == 0 => reader.definitions(&mut defaults),
            Token::Mark(b'(') if field.is_empty() => reader.skip_parens(),
            Token::Mark(b'(') => {
                reader.arguments(field, &mut |field, name, argument| {
                    f(field, name, argument, &defaults);
                });
                field = "";
            }
            _ => (),
        }
        previous = token;
    }
}

fn is_end_of_definition(token: Token<'_>) -> bool {
    matches!(token, Token::End | Token::Mark(b'}'))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Token<'q> {
    Name(&'q str),
    Number(&'q str),
    Text(&'q str),
    Mark(u8),
    End,
}

struct Reader<'q> {
    text: &'q str,
    at: usize,
}

impl<'q> Reader<'q> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(byte) = self.byte() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b',' => self.at += 1,
                b'#' => {
                    let rest = self.text.as_bytes().get(self.at..).unwrap_or(b"");
                    self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                }
                _ => break,
            }
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.byte()
    }

    fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &'q str {
        let start = self.at;
        while self.byte().is_some_and(&keep) {
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or("")
    }

    fn token(&mut self) -> Token<'q> {
        self.skip_space();
        match self.byte() {
            None => Token::End,
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_') => {
                Token::Name(self.take_while(|b| b.is_ascii_alphanumeric() || b == b'_'))
            }
            Some(b'0'..=b'9' | b'-') => Token::Number(
                self.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.')),
            ),
            Some(b'"') => Token::Text(self.text_token()),
            Some(byte) => {
                self.at += 1;
                Token::Mark(byte)
            }
        }
    }

    /// A string as written between its quotes; block strings and escapes stay as they are.
    fn text_token(&mut self) -> &'q str {
        let rest = self.text.get(self.at..).unwrap_or("");
        if let Some(block) = rest.strip_prefix("\"\"\"") {
            let length = block.find("\"\"\"").unwrap_or(block.len());
            self.at += (3 + length + 3).min(rest.len());
            return block.get(..length).unwrap_or("");
        }
        self.at += 1;
        let start = self.at;
        while let Some(byte) = self.byte() {
            match byte {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        let text = self
            .text
            .get(start..self.at.min(self.text.len()))
            .unwrap_or("");
        self.at = (self.at + 1).min(self.text.len());
        text
    }

    /// The variables of an operation: `($id: ID! = "8", $in: In = {taskId: 7})`.
    fn definitions(&mut self, defaults: &mut Defaults<'q>) {
        let mut variable = "";
        loop {
            match self.token() {
                Token::End | Token::Mark(b')') => return,
                Token::Mark(b'(') => self.skip_parens(),
                Token::Mark(b'$') => {
                    if let Token::Name(name) = self.token() {
                        variable = name;
                    }
                }
                Token::Mark(b'=') => self.value("", variable, 0, &mut |_, key, argument| {
                    if let Argument::Literal(text) = argument {
                        defaults.entry(variable).or_default().push((key, text));
                    }
                }),
                _ => (),
            }
        }
    }

    fn skip_parens(&mut self) {
        let mut depth = 1usize;
        while 0 < depth {
            match self.token() {
                Token::End => return,
                Token::Mark(b'(') => depth += 1,
                Token::Mark(b')') => depth -= 1,
                _ => (),
            }
        }
    }

    fn arguments(&mut self, field: &'q str, f: &mut dyn FnMut(&'q str, &'q str, Argument<'q>)) {
        loop {
            match self.token() {
                Token::End | Token::Mark(b')') => return,
                Token::Name(name) if self.peek() == Some(b':') => {
                    self.token();
                    self.value(field, name, 0, f);
                }
                _ => (),
            }
        }
    }

    fn value(
        &mut self,
        field: &'q str,
        name: &'q str,
        depth: usize,
        f: &mut dyn FnMut(&'q str, &'q str, Argument<'q>),
    ) {
        match self.token() {
            Token::Text(text) | Token::Number(text) => f(field, name, Argument::Literal(text)),
            Token::Mark(b'$') => {
                if let Token::Name(variable) = self.token() {
                    f(field, name, Argument::Variable(variable));
                }
            }
            Token::Mark(open @ (b'[' | b'{')) if depth < DEPTH_MAX => {
                let close = if open == b'[' { b']' } else { b'}' };
                loop {
                    match self.peek() {
                        None | Some(b')') => return,
                        Some(byte) if byte == close => {
                            self.token();
                            return;
                        }
                        Some(_) if open == b'[' => self.value(field, name, depth + 1, f),
                        Some(_) => match self.token() {
                            Token::Name(key) if self.peek() == Some(b':') => {
                                self.token();
                                let key = if is_operator(key) { name } else { key };
                                self.value(field, key, depth + 1, f);
                            }
                            _ => (),
                        },
                    }
                }
            }
            _ => (),
        }
    }
}

/// A string's text without its escapes (`\u0037`), which are those of JSON; a broken one stays as it is.
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    match serde_json::from_str(&format!("\"{text}\"")) {
        Ok(plain) => Cow::Owned(plain),
        Err(_) => Cow::Borrowed(text),
    }
}

/// `{id: {eq: 7}}`: the comparison says nothing about the noun.
pub(crate) fn is_operator(key: &str) -> bool {
    matches!(
        key,
        "eq" | "_eq" | "in" | "_in" | "equals" | "$eq" | "$in" | "is"
    )
}

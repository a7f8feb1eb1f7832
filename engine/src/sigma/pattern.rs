//! Texts with wildcards, as tests in SQL.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use models::identity::is_unprintable;

use super::field::Column;
use super::predicate::{Piece, Predicate};

/// What Windows' tools take for `-`.
const DASHES: &str = "[-/–—―]";

/// Encodings of one text: each can make it three texts, a third longer.
const ENCODINGS_MAX: usize = 3;

/// How a text is encoded before it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf16Le,
    Utf16Be,
    /// With a mark of the byte order.
    Utf16,
    Base64,
    /// At each of the three places a text can begin at in a longer one.
    Base64Offset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `*`
    Any,
    /// `?`
    One,
    /// One of [`DASHES`].
    Dash,
}

/// A text with wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Token>);

impl Pattern {
    /// Reads `*`, `?` and their escapes; a backslash before anything else stands for itself.
    fn read(text: &str) -> Pattern {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                '\\' => Token::Char(
                    chars
                        .next_if(|c| matches!(c, '*' | '?' | '\\'))
                        .unwrap_or(c),
                ),
                c => Token::Char(c),
            });
        }
        Pattern(tokens)
    }

    /// The patterns of a text in its encodings: one, or one for each place it can begin at.
    ///
    /// # Errors
    /// What is encoded has wildcards, or is no text any more.
    pub(super) fn encoded(text: &str, encodings: &[Encoding]) -> Result<Vec<Pattern>, String> {
        let pattern = Pattern::read(text);
        if encodings.is_empty() {
            return Ok(vec![pattern]);
        }
        if ENCODINGS_MAX < encodings.len() {
            return Err(format!("it is encoded more than {ENCODINGS_MAX} times"));
        }
        let chars = pattern.0.iter().map(|token| match token {
            Token::Char(c) => Ok(*c),
            _ => Err("a text with wildcards can't be encoded".to_owned()),
        });
        let mut all = vec![chars.collect::<Result<String, _>>()?.into_bytes()];
        for encoding in encodings {
            let of = |bytes: Vec<u8>| encode(&bytes, *encoding);
            all = all
                .into_iter()
                .map(of)
                .collect::<Result<Vec<_>, _>>()?
                .concat();
        }
        let pattern = |bytes| match String::from_utf8(bytes) {
            Ok(text) => Ok(Pattern(text.chars().map(Token::Char).collect())),
            Err(_) => Err("what it is encoded to is no text".to_owned()),
        };
        all.into_iter().map(pattern).collect()
    }

    /// The same where a `-` or `/` before a word is any dash.
    pub(super) fn with_any_dash(self) -> Pattern {
        let is_word = |token: Option<&Token>| matches!(token, Some(Token::Char(c)) if c.is_alphanumeric() || *c == '_');
        let token = |(at, token): (usize, &Token)| match token {
            Token::Char('-' | '/')
                if is_word(self.0.get(at + 1)) && !is_word(self.0[..at].last()) =>
            {
                Token::Dash
            }
            other => *other,
        };
        Pattern(self.0.iter().enumerate().map(token).collect())
    }

    /// Lets anything stand before or behind it.
    pub(super) fn open(&mut self, before: bool, behind: bool) {
        if before {
            self.0.insert(0, Token::Any);
        }
        if behind {
            self.0.push(Token::Any);
        }
        self.0.dedup_by(|b, a| *a == Token::Any && *b == Token::Any);
    }

    /// The character it begins with, when that is fixed.
    pub(super) fn first(&self) -> Option<char> {
        match self.0.first() {
            Some(Token::Char(c)) => Some(*c),
            _ => None,
        }
    }

    /// Whether it has no wildcards.
    pub(super) fn is_plain(&self) -> bool {
        self.0.iter().all(|token| matches!(token, Token::Char(_)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts a text before it.
    pub(super) fn behind(&mut self, text: &str) {
        self.0.splice(0..0, text.chars().map(Token::Char));
    }

    /// The test of a column.
    ///
    /// # Errors
    /// It holds what can't be shown.
    pub(super) fn test(&self, column: Column, cased: bool) -> Result<Predicate, String> {
        if self.0 == [Token::Any] {
            return Ok(Predicate::test(column, "IS NOT NULL"));
        }
        if self.0.contains(&Token::Dash) {
            return Ok(Predicate::test(
                column,
                format!("~ {}", quoted(&self.regex(cased))?),
            ));
        }
        let inner = self.0.strip_prefix(&[Token::Any]);
        let before = inner.is_some();
        let inner = inner.unwrap_or(&self.0);
        let behind = inner.ends_with(&[Token::Any]);
        let inner = &inner[..inner.len() - usize::from(behind)];
        let is_plain = inner.iter().all(|token| matches!(token, Token::Char(_)));
        let is_made = column.definition().is_some();
        // ILIKE on a column is shared among rules and fast at its ends; anywhere in a text, and with wildcards within, it is a
        // regular expression that is compiled for every batch.
        let is_within = is_plain && before && behind;
        if !is_made && !is_within {
            let like = if cased { "LIKE" } else { "ILIKE" };
            return Ok(Predicate::test(
                column,
                format!("{like} {}", quoted(&self.like())?),
            ));
        }
        let (folded, column) = match cased {
            true => (self.clone(), Piece::Column(column)),
            false => (self.lower(), Piece::Folded(column)),
        };
        if !is_plain {
            let like = format!(" LIKE {}", quoted(&folded.like())?);
            return Ok(Predicate::Leaf {
                text: vec![column, Piece::Sql(like)],
                needs: true,
            });
        }
        let chars = folded.0.iter().filter_map(|token| match token {
            Token::Char(c) => Some(*c),
            _ => None,
        });
        let value = quoted(&chars.collect::<String>())?;
        Ok(match (before, behind) {
            (true, true) => Predicate::call("contains", column, &value),
            (true, false) => Predicate::call("ends_with", column, &value),
            (false, true) => Predicate::call("starts_with", column, &value),
            (false, false) => Predicate::Leaf {
                text: vec![column, Piece::Sql(format!(" = {value}"))],
                needs: true,
            },
        })
    }

    fn lower(&self) -> Pattern {
        let mut lower = Vec::new();
        for token in &self.0 {
            match token {
                Token::Char(c) => lower.extend(c.to_lowercase().map(Token::Char)),
                other => lower.push(*other),
            }
        }
        Pattern(lower)
    }

    fn like(&self) -> String {
        let mut like = String::new();
        for token in &self.0 {
            match token {
                Token::Char(c) => {
                    if matches!(c, '%' | '_' | '\\') {
                        like.push('\\');
                    }
                    like.push(*c);
                }
                Token::Any => like.push('%'),
                Token::One | Token::Dash => like.push('_'),
            }
        }
        like
    }

    fn regex(&self, cased: bool) -> String {
        let part = |token: &Token| match token {
            Token::Char(c) => regex::escape(c.encode_utf8(&mut [0; 4])),
            Token::Any => ".*".to_owned(),
            Token::One => ".".to_owned(),
            Token::Dash => DASHES.to_owned(),
        };
        let flags = if cased { "s" } else { "is" };
        let body: String = self.0.iter().map(part).collect();
        format!("(?{flags})^{body}$")
    }
}

fn encode(bytes: &[u8], encoding: Encoding) -> Result<Vec<Vec<u8>>, String> {
    let units = || match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.encode_utf16()),
        Err(_) => Err("what it is encoded to is no text".to_owned()),
    };
    Ok(match encoding {
        Encoding::Utf16Le => vec![units()?.flat_map(u16::to_le_bytes).collect()],
        Encoding::Utf16Be => vec![units()?.flat_map(u16::to_be_bytes).collect()],
        Encoding::Utf16 => {
            let marked = std::iter::once(0xfeff).chain(units()?);
            vec![marked.flat_map(u16::to_le_bytes).collect()]
        }
        Encoding::Base64 => vec![STANDARD.encode(bytes).into_bytes()],
        Encoding::Base64Offset => (0..3).map(|offset| offset_base64(bytes, offset)).collect(),
    })
}

/// The characters that a text makes alone, `offset` bytes behind the start of three: those it shares with neighbours are cut off.
fn offset_base64(bytes: &[u8], offset: usize) -> Vec<u8> {
    let padded = [vec![0; offset], bytes.to_vec()].concat();
    let encoded = STANDARD.encode(&padded).into_bytes();
    let start = [0, 2, 3][offset];
    // Six bits a character: the last one is whole only where the text ends with it.
    let end = padded.len() * 8 / 6;
    encoded.get(start..end).unwrap_or_default().to_vec()
}

/// A text as SQL writes it.
///
/// # Errors
/// It holds what can't be shown: a rule is read by people.
pub(super) fn quoted(text: &str) -> Result<String, String> {
    match text.chars().find(|c| is_unprintable(*c)) {
        Some(c) => Err(format!(
            "a value holds U+{:04X}, which can't be shown",
            u32::from(c)
        )),
        None => Ok(format!("'{}'", text.replace('\'', "''"))),
    }
}

//! Text lines as words: bare, in quotes or brackets, with a name in front or not, between spaces, tabs, commas, bars or semicolons.
//!
//! The commonest shape of a line becomes a regular expression that is anchored at both ends: a client who writes a quote or a name
//! into its own header makes a line of another shape, which is rejected, and no other field of this one.

use std::collections::BTreeMap;

use super::sample::{Column, Sample, known};

/// Words of a line, and bytes of a name in front of one: a longer line has no shape, as its pattern would be too long for a rule's.
const WORDS_MAX: usize = 60;
const NAME_BYTES_MAX: usize = 32;
/// Lines of each hundred that have as many separators as the commonest count, for it to be one.
const SEPARATED_PERCENT: usize = 80;

/// How a word stands in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Bare,
    Quoted,
    Bracketed,
}

/// The words of a line without their texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    separator: char,
    /// Name in front of each word, with its `=`, and how the word stands.
    words: Vec<(String, Kind)>,
}

struct Word<'a> {
    name: &'a str,
    kind: Kind,
    text: &'a str,
}

/// The columns of the lines that have the commonest shape.
pub(super) fn sample(lines: &[String]) -> Sample {
    let separator = separator(lines);
    let words: Vec<Option<Vec<Word<'_>>>> =
        lines.iter().map(|line| words(line, separator)).collect();
    let shape = |words: &[Word<'_>]| -> Vec<(String, Kind)> {
        words
            .iter()
            .map(|word| (word.name.to_owned(), word.kind))
            .collect()
    };
    let mut shapes = BTreeMap::<Vec<(String, Kind)>, usize>::new();
    for words in words.iter().flatten() {
        *shapes.entry(shape(words)).or_default() += 1;
    }
    // Of two as common the first in order, so that the same lines give the same answer.
    let common = shapes
        .iter()
        .max_by_key(|(shape, n)| (**n, std::cmp::Reverse(*shape)));
    let Some(common) = common.map(|(shape, _)| shape.clone()) else {
        return Sample {
            n_lines: lines.len(),
            ..Sample::default()
        };
    };
    let shaped: Vec<&Vec<Word<'_>>> = words
        .iter()
        .flatten()
        .filter(|words| shape(words) == common)
        .collect();
    let mut columns: Vec<Column> = common
        .iter()
        .enumerate()
        .map(|(at, (name, _))| Column {
            name: match name.trim_end_matches('=') {
                "" => format!("word {}", at + 1),
                name => name.to_owned(),
            },
            words: vec![at],
            values: shaped.iter().map(|words| known(words[at].text)).collect(),
        })
        .collect();
    columns.extend(clocks(&common, &shaped));
    Sample {
        n_lines: lines.len(),
        n_shaped: shaped.len(),
        columns,
        text: Some(Shape {
            separator,
            words: common,
        }),
    }
}

/// A date and a clock beside each other, as one column.
fn clocks(shape: &[(String, Kind)], shaped: &[&Vec<Word<'_>>]) -> Option<Column> {
    let is_date =
        |text: &str| text.len() == 10 && text.bytes().filter(u8::is_ascii_digit).count() == 8;
    let is_clock =
        |text: &str| text.as_bytes().get(2) == Some(&b':') && text.as_bytes().get(5) == Some(&b':');
    let at = (1..shape.len()).find(|at| {
        let both = shaped
            .iter()
            .filter(|words| is_date(words[at - 1].text) && is_clock(words[*at].text));
        shaped.len() <= both.count() * 10 / 9
    })?;
    Some(Column {
        name: format!("words {at} and {}", at + 1),
        words: vec![at - 1, at],
        values: shaped
            .iter()
            .map(|words| known(&format!("{} {}", words[at - 1].text, words[at].text)))
            .collect(),
    })
}

/// What stands between words: the sign of which most lines have the same number, three at least; else a space.
fn separator(lines: &[String]) -> char {
    let common = |sign: char| {
        let mut counts = BTreeMap::<usize, usize>::new();
        for line in lines {
            let n_words = words(line, sign).map_or(0, |words| words.len());
            *counts.entry(n_words).or_default() += 1;
        }
        let common = counts
            .into_iter()
            .max_by_key(|(n_words, n_lines)| (*n_lines, *n_words));
        common.is_some_and(|(n_words, n_lines)| {
            3 < n_words && lines.len() * SEPARATED_PERCENT <= n_lines * 100
        })
    };
    ['\t', '|', ';', ',']
        .into_iter()
        .find(|sign| common(*sign))
        .unwrap_or(' ')
}

/// The words of a line; none when a quote never ends, or there are too many.
fn words(line: &str, separator: char) -> Option<Vec<Word<'_>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        if separator == ' ' {
            rest = rest.trim_start_matches(' ');
            if rest.is_empty() {
                break;
            }
        }
        let name_end = name_end(rest);
        let (name, value) = rest.split_at(name_end);
        let (kind, text, tail) = word(value, separator)?;
        words.push(Word { name, kind, text });
        if WORDS_MAX < words.len() {
            return None;
        }
        match tail.strip_prefix(separator) {
            Some(tail) => rest = tail,
            None if tail.is_empty() => break,
            // Something behind a closing quote.
            None => return None,
        }
    }
    Some(words)
}

/// Where the name in front of a word ends, behind its `=`.
fn name_end(text: &str) -> usize {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    match begins && end < NAME_BYTES_MAX && text[end..].starts_with('=') {
        true => end + 1,
        false => 0,
    }
}

/// A word, and what comes behind it.
fn word(text: &str, separator: char) -> Option<(Kind, &str, &str)> {
    if let Some(inner) = text.strip_prefix('"') {
        let end = quote_end(inner)?;
        return Some((Kind::Quoted, &inner[..end], &inner[end + 1..]));
    }
    if separator == ' '
        && let Some(inner) = text.strip_prefix('[')
        && let Some(end) = inner.find(']')
        && inner[end + 1..]
            .chars()
            .next()
            .is_none_or(|next| next == ' ')
    {
        return Some((Kind::Bracketed, &inner[..end], &inner[end + 1..]));
    }
    let end = text.find(separator).unwrap_or(text.len());
    Some((Kind::Bare, &text[..end], &text[end..]))
}

/// Where the quote is that ends a text.
fn quote_end(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })
}

impl Shape {
    /// The regular expression of a line, with groups of these names for words at these places.
    pub(super) fn pattern(&self, groups: &BTreeMap<usize, String>) -> String {
        let separator = match self.separator {
            ' ' => " +".to_owned(),
            '\t' => "\\t".to_owned(),
            sign => regex::escape(&sign.to_string()),
        };
        let bare = match self.separator {
            ' ' => "[^ ]+".to_owned(),
            _ => format!("[^{separator}]*"),
        };
        let words = self.words.iter().enumerate().map(|(at, (name, kind))| {
            let inner = match kind {
                Kind::Bare => bare.as_str(),
                Kind::Quoted => r#"(?:[^"\\]|\\.)*"#,
                Kind::Bracketed => r"[^\]]*",
            };
            let group = match groups.get(&at) {
                Some(group) => format!("(?P<{group}>{inner})"),
                None => inner.to_owned(),
            };
            let name = regex::escape(name);
            match kind {
                Kind::Bare => format!("{name}{group}"),
                Kind::Quoted => format!("{name}\"{group}\""),
                Kind::Bracketed => format!(r"{name}\[{group}\]"),
            }
        });
        let words: Vec<String> = words.collect();
        let spaces = if self.separator == ' ' { " *" } else { "" };
        format!("^{spaces}{}{spaces}$", words.join(&separator))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        let lines = vec![line.to_owned(); 4];
        let sample = sample(&lines);
        let of = |column: &Column| {
            let value = column.values.first().cloned().flatten();
            format!("{}={}", column.name, value.unwrap_or_default())
        };
        sample
            .columns
            .iter()
            .map(of)
            .collect::<Vec<_>>()
            .join(" / ")
    }

    #[test]
    fn lines_are_taken_apart_at_what_separates_their_words() {
        let rows = [
            (
                r#"a - [x y] "b \" c" 200"#,
                r#"word 1=a / word 2= / word 3=x y / word 4=b \" c / word 5=200"#,
            ),
            (r#"t=1 ua="a b=c" s=2"#, "t=1 / ua=a b=c / s=2"),
            ("a\tb c\t\td", "word 1=a / word 2=b c / word 3= / word 4=d"),
            (
                "a,\"b,c\",d,e",
                "word 1=a / word 2=b,c / word 3=d / word 4=e",
            ),
            (
                "2026-01-05 10:50:05,1 x",
                "word 1=2026-01-05 / word 2=10:50:05,1 / word 3=x / words 1 and 2=2026-01-05 10:50:05,1",
            ),
            (r#"a "never ends"#, ""),
        ];
        for (line, wanted) in rows {
            assert_eq!(shown(line), wanted, "{line}");
        }
    }

    #[test]
    fn the_pattern_matches_the_lines_it_comes_from_and_gives_their_words() {
        for line in [
            r#"192.0.2.1 - - [05/Jan/2026:11:50:05 +0100] "GET /a?b=\"c HTTP/1.1" 200 12"#,
            r#"t=1 ua="a b=c" s=2"#,
            "a|b|c|d",
            "a\tb\tc\t",
        ] {
            let lines = vec![line.to_owned(); 3];
            let sample = sample(&lines);
            let shape = sample.text.as_ref().unwrap();
            let groups: BTreeMap<usize, String> = (0..shape.words.len())
                .map(|at| (at, format!("g{at}")))
                .collect();
            let regex = regex::Regex::new(&shape.pattern(&groups)).unwrap();
            let found = regex
                .captures(line)
                .unwrap_or_else(|| panic!("{line} {regex}"));
            for column in sample
                .columns
                .iter()
                .filter(|column| column.words.len() == 1)
            {
                let text = found
                    .name(&format!("g{}", column.words[0]))
                    .unwrap()
                    .as_str();
                assert_eq!(known(text), column.values[0], "{line}");
            }
        }
    }
}

//! The condition of a rule: `selection and not 1 of filter_*`.
//!
//! `not` binds before `and`, `and` before `or`. In come the text and what each name stands for, out comes one predicate.

use super::predicate::Predicate;

/// Levels of parentheses and negations; none in 146 rules of SigmaHQ has more than two.
const DEPTH_MAX: usize = 32;
/// Tests one rule may make. DataFusion walks a chain of them by recursion; the longest rule of SigmaHQ has 94.
pub(super) const TESTS_MAX: usize = 500;

/// What the names in a condition stand for, in the order of the file; a fault counts only where its name is used.
pub(super) type Selections = Vec<(String, Result<Predicate, String>)>;

/// Reads a condition.
///
/// # Errors
/// What is wrong with it, with a selection it uses, or which old form it has.
pub(super) fn condition(text: &str, selections: &Selections) -> Result<Predicate, String> {
    if text.contains('|') {
        return Err("`condition` ends in an aggregation behind `|`, a form Sigma has given up: write a correlation".to_owned());
    }
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let mut reader = Reader {
        words: spaced.split_whitespace().collect(),
        at: 0,
        n_tests: 0,
        selections,
    };
    let predicate = reader.any(0)?;
    match reader.next() {
        None => Ok(predicate),
        Some(word) => Err(format!("`condition` is not understood at `{word}`")),
    }
}

struct Reader<'a> {
    words: Vec<&'a str>,
    at: usize,
    n_tests: usize,
    selections: &'a Selections,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    fn next(&mut self) -> Option<&'a str> {
        self.at += 1;
        self.words.get(self.at - 1).copied()
    }

    fn takes(&mut self, word: &str) -> bool {
        let is_next = self
            .peek()
            .is_some_and(|next| next.eq_ignore_ascii_case(word));
        self.at += usize::from(is_next);
        is_next
    }

    fn any(&mut self, depth: usize) -> Result<Predicate, String> {
        let mut parts = vec![self.all(depth)?];
        while self.takes("or") {
            parts.push(self.all(depth)?);
        }
        Ok(Predicate::Any(parts))
    }

    fn all(&mut self, depth: usize) -> Result<Predicate, String> {
        let mut parts = vec![self.one(depth)?];
        while self.takes("and") {
            parts.push(self.one(depth)?);
        }
        Ok(Predicate::All(parts))
    }

    fn one(&mut self, depth: usize) -> Result<Predicate, String> {
        if DEPTH_MAX < depth {
            return Err(format!(
                "`condition` is nested more than {DEPTH_MAX} levels deep"
            ));
        }
        if self.takes("not") {
            return Ok(Predicate::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.takes("(") {
            let inner = self.any(depth + 1)?;
            return match self.takes(")") {
                true => Ok(inner),
                false => Err("`condition` lacks a closing parenthesis".to_owned()),
            };
        }
        let Some(word) = self.next() else {
            return Err("`condition` ends where a name is expected".to_owned());
        };
        if self.takes("of") {
            return self.several(word);
        }
        match self.selections.iter().find(|(name, _)| name == word) {
            Some((_, predicate)) => self.used(predicate),
            None => Err(format!(
                "`condition` names `{word}`, which is not in `detection`"
            )),
        }
    }

    /// `1 of selection_*`, `all of them`; `them` leaves out names that begin with `_`.
    fn several(&mut self, how_many: &str) -> Result<Predicate, String> {
        let Some(pattern) = self.next() else {
            return Err("`condition` ends behind `of`".to_owned());
        };
        let is_named = |name: &str| match pattern.eq_ignore_ascii_case("them") {
            true => !name.starts_with('_'),
            false => is_like(name, pattern),
        };
        let selections = self.selections;
        let mut parts = Vec::new();
        for (_, predicate) in selections.iter().filter(|(name, _)| is_named(name)) {
            parts.push(self.used(predicate)?);
        }
        if parts.is_empty() {
            return Err(format!(
                "`condition` asks for `{how_many} of {pattern}`, and there is none"
            ));
        }
        match how_many.to_ascii_lowercase().as_str() {
            "1" | "any" => Ok(Predicate::Any(parts)),
            "all" => Ok(Predicate::All(parts)),
            other => Err(format!(
                "`condition` asks for `{other} of`: only 1, any and all are known"
            )),
        }
    }

    fn used(&mut self, predicate: &Result<Predicate, String>) -> Result<Predicate, String> {
        let predicate = predicate.as_ref().map_err(Clone::clone)?;
        // Counted before it is copied: a condition can name the same selection a thousand times.
        self.n_tests += predicate.n_tests();
        match self.n_tests <= TESTS_MAX {
            true => Ok(predicate.clone()),
            false => Err(format!("it makes more than {TESTS_MAX} tests")),
        }
    }
}

/// Whether a name is like a pattern with `*`.
fn is_like(name: &str, pattern: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return name == pattern;
    };
    let Some(mut name) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match name.split_once(part) {
            Some((_, behind)) => name = behind,
            None => return false,
        }
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigma::field::Column;

    fn read(text: &str) -> Result<String, String> {
        let leaf = |name: &str| Ok(Predicate::test(Column::Text("path"), format!("= '{name}'")));
        let mut selections: Selections = ["a", "b", "c_1", "c_2", "_d"]
            .map(|name| (name.to_owned(), leaf(name)))
            .into();
        selections.push(("bad".to_owned(), Err("a fault".to_owned())));
        let read = condition(text, &selections)?.folded().sql(true, None);
        let read = read.replace("path = ", "").replace('\'', "");
        Ok(read.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn conditions_are_read_as_they_bind() {
        for (text, wanted) in [
            ("a", "a"),
            ("a and b or c_1", "(a AND b) OR c_1"),
            ("a or b and c_1", "a OR (b AND c_1)"),
            ("not a and b", "(a) IS NOT TRUE AND b"),
            ("not (a AND b)", "(a AND b) IS NOT TRUE"),
            ("(a or b)and(c_1)", "(a OR b) AND c_1"),
            ("1 of c_*", "c_1 OR c_2"),
            (
                "all of c_* and not any of *_1",
                "c_1 AND c_2 AND (c_1) IS NOT TRUE",
            ),
        ] {
            assert_eq!(read(text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_told() {
        for (text, wanted) in [
            ("", "ends where a name is expected"),
            ("a b", "not understood at `b`"),
            ("(a", "closing parenthesis"),
            ("e", "names `e`"),
            ("2 of c_*", "only 1, any and all"),
            ("1 of", "ends behind `of`"),
            ("1 of e*", "there is none"),
            ("1 of them", "a fault"),
            ("a | count() > 5", "write a correlation"),
        ] {
            let told = read(text).expect_err(text);
            assert!(told.contains(wanted), "{text}: {told}");
        }
        let deep = format!("{}a", "not ".repeat(100_000));
        assert!(read(&deep).expect_err("too deep").contains("levels deep"));
        let long = format!("a{}", " or a".repeat(100_000));
        assert!(read(&long).expect_err("too long").contains("tests"));
    }
}

//! A PATTERN as an automaton over its places: which symbol a row may be next, and after which a match is whole.
//!
//! Glushkov's construction (V. M. Glushkov, The abstract theory of automata, 1961): one state for each symbol as it stands
//! in the pattern, repetitions with counts written out. At most [`PLACES_MAX`] of them, so that a set is one word.

use datafusion::common::{DataFusionError, plan_err};
use datafusion::sql::sqlparser::ast::{
    MatchRecognizePattern as Ast, MatchRecognizeSymbol, RepetitionQuantifier,
};

/// Places of a pattern, repetitions written out.
pub(super) const PLACES_MAX: usize = 64;

/// A set of places, or of symbols: one bit each.
pub(super) type Set = u64;

/// The automaton of a pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pattern {
    /// Symbol of each place, by its number.
    pub(super) symbols: Vec<usize>,
    /// Places that may come after each place.
    pub(super) follow: Vec<Set>,
    /// Places a match may begin with.
    pub(super) first: Set,
    /// Places a match may end with.
    pub(super) last: Set,
}

/// Part of a pattern while it is built.
#[derive(Clone, Copy)]
struct Part {
    /// True when it may be left out.
    is_optional: bool,
    first: Set,
    last: Set,
}

const NOTHING: Part = Part {
    is_optional: true,
    first: 0,
    last: 0,
};

impl Pattern {
    /// * `symbol`: number of a symbol's name.
    ///
    /// # Errors
    /// What of it can't be read row by row, or is too long.
    pub(super) fn new(
        ast: &Ast,
        symbol: &mut dyn FnMut(&str) -> Result<usize, DataFusionError>,
    ) -> Result<Pattern, DataFusionError> {
        let mut pattern = Pattern::default();
        let whole = pattern.part(ast, symbol)?;
        if whole.is_optional {
            return plan_err!(
                "PATTERN ({ast}) is already whole without a row: let one symbol be there, as in ({ast} last)"
            );
        }
        (pattern.first, pattern.last) = (whole.first, whole.last);
        Ok(pattern)
    }

    fn part(
        &mut self,
        ast: &Ast,
        symbol: &mut dyn FnMut(&str) -> Result<usize, DataFusionError>,
    ) -> Result<Part, DataFusionError> {
        match ast {
            Ast::Symbol(MatchRecognizeSymbol::Named(name)) => {
                let at = self.symbols.len();
                if at == PLACES_MAX {
                    return plan_err!(
                        "PATTERN has more than {PLACES_MAX} symbols, repetitions written out: count with HAVING count(*) > … over a window instead"
                    );
                }
                self.symbols.push(symbol(&name.value)?);
                self.follow.push(0);
                Ok(Part {
                    is_optional: false,
                    first: 1 << at,
                    last: 1 << at,
                })
            }
            Ast::Symbol(_) => plan_err!(
                "^ and $ are not supported: a stream has no first and no last row; leave them out"
            ),
            Ast::Exclude(_) => {
                plan_err!("{{- … -}} is not supported: what MEASURES name is all that is put out")
            }
            Ast::Permute(_) => {
                plan_err!("PERMUTE is not supported: write the orders with |, as in (a b | b a)")
            }
            Ast::Group(inner) => self.part(inner, symbol),
            Ast::Concat(parts) => parts.iter().try_fold(NOTHING, |before, part| {
                let after = self.part(part, symbol)?;
                Ok(self.joined(before, after))
            }),
            Ast::Alternation(parts) => {
                let mut all = Part {
                    is_optional: false,
                    ..NOTHING
                };
                for part in parts {
                    let one = self.part(part, symbol)?;
                    all.is_optional |= one.is_optional;
                    all.first |= one.first;
                    all.last |= one.last;
                }
                Ok(all)
            }
            Ast::Repetition(inner, quantifier) => {
                let (least, most) = match quantifier {
                    RepetitionQuantifier::ZeroOrMore => (0, None),
                    RepetitionQuantifier::OneOrMore => (1, None),
                    RepetitionQuantifier::AtMostOne => (0, Some(1)),
                    RepetitionQuantifier::Exactly(n) => (*n, Some(*n)),
                    RepetitionQuantifier::AtLeast(n) => (*n, None),
                    RepetitionQuantifier::AtMost(n) => (0, Some(*n)),
                    RepetitionQuantifier::Range(least, most) => (*least, Some(*most)),
                };
                self.repeated(inner, symbol, least, most)
            }
        }
    }

    fn repeated(
        &mut self,
        inner: &Ast,
        symbol: &mut dyn FnMut(&str) -> Result<usize, DataFusionError>,
        least: u32,
        most: Option<u32>,
    ) -> Result<Part, DataFusionError> {
        if most.is_some_and(|most| most < least.max(1)) {
            return plan_err!("a repetition in PATTERN has no number of rows it could have");
        }
        let mut whole = NOTHING;
        for nth in 1..=least {
            let one = self.part(inner, symbol)?;
            whole = self.joined(whole, one);
            if most.is_none() && nth == least {
                // The last copy that must be there may come again and again.
                self.follow_on(one.last, one.first);
            }
        }
        match most {
            None if least == 0 => {
                let one = self.part(inner, symbol)?;
                self.follow_on(one.last, one.first);
                whole = Part {
                    is_optional: true,
                    ..one
                };
            }
            None => (),
            Some(most) => {
                for _ in least..most {
                    let one = self.part(inner, symbol)?;
                    let optional = Part {
                        is_optional: true,
                        ..one
                    };
                    whole = self.joined(whole, optional);
                }
            }
        }
        Ok(whole)
    }

    /// One part after the other.
    fn joined(&mut self, before: Part, after: Part) -> Part {
        self.follow_on(before.last, after.first);
        let reach = |is_open: bool, set: Set| if is_open { set } else { 0 };
        Part {
            is_optional: before.is_optional && after.is_optional,
            first: before.first | reach(before.is_optional, after.first),
            last: after.last | reach(after.is_optional, before.last),
        }
    }

    fn follow_on(&mut self, from: Set, to: Set) {
        places(from).for_each(|place| self.follow[place] |= to);
    }
}

/// The places of a set.
pub(super) fn places(set: Set) -> impl Iterator<Item = usize> {
    (0..PLACES_MAX).filter(move |place| set >> place & 1 == 1)
}

#[cfg(test)]
pub(in crate::rule) mod tests {
    use datafusion::sql::sqlparser::ast::Ident;
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    fn symbol(name: &str) -> Ast {
        Ast::Symbol(MatchRecognizeSymbol::Named(Ident::new(name)))
    }

    fn number(name: &str) -> Result<usize, DataFusionError> {
        Ok(usize::from(name.as_bytes()[0] - b'a'))
    }

    pub(in crate::rule) fn any_pattern() -> impl Strategy<Value = Ast> {
        let leaf = prop_oneof![Just("a"), Just("b"), Just("c")].prop_map(symbol);
        leaf.prop_recursive(4, 12, 3, |inner| {
            let quantifier = prop_oneof![
                Just(RepetitionQuantifier::ZeroOrMore),
                Just(RepetitionQuantifier::OneOrMore),
                Just(RepetitionQuantifier::AtMostOne),
                (1..3_u32).prop_map(RepetitionQuantifier::Exactly),
                (0..3_u32).prop_map(RepetitionQuantifier::AtLeast),
                (1..3_u32).prop_map(RepetitionQuantifier::AtMost),
                (0..2_u32, 2..4_u32).prop_map(|(n, m)| RepetitionQuantifier::Range(n, m)),
            ];
            let group = |ast| Box::new(Ast::Group(Box::new(ast)));
            prop_oneof![
                prop::collection::vec(inner.clone(), 2..4).prop_map(Ast::Concat),
                prop::collection::vec(inner.clone(), 2..4)
                    .prop_map(move |parts| Ast::Group(Box::new(Ast::Alternation(parts)))),
                (inner, quantifier).prop_map(move |(ast, q)| Ast::Repetition(group(ast), q)),
            ]
        })
    }

    fn accepts(pattern: &Pattern, word: &str) -> bool {
        let mut at: Option<Set> = None;
        for letter in word.bytes() {
            let may = match at {
                None => pattern.first,
                Some(at) => places(at).fold(0, |all, place| all | pattern.follow[place]),
            };
            let is = |place: &usize| pattern.symbols[*place] == usize::from(letter - b'a');
            at = Some(
                places(may)
                    .filter(is)
                    .fold(0, |all, place| all | 1 << place),
            );
        }
        at.is_some_and(|at| at & pattern.last != 0)
    }

    proptest! {
        #[test]
        fn it_takes_the_words_the_regular_expression_takes(ast in any_pattern(), words in prop::collection::vec("[abc]{1,9}", 20)) {
            // The text of a pattern without its blanks is a regular expression.
            let text = ast.to_string().replace(' ', "").replace("{,", "{0,");
            let expression = Regex::new(&format!("^(?:{text})$")).unwrap();
            match Pattern::new(&ast, &mut number) {
                Ok(pattern) => for word in &words {
                    prop_assert_eq!(accepts(&pattern, word), expression.is_match(word), "{} {}", text, word);
                },
                Err(error) => {
                    let error = error.to_string();
                    prop_assert!(error.contains("without a row") && expression.is_match("") || error.contains("more than 64"), "{}: {}", text, error);
                }
            }
        }
    }

    #[test]
    fn what_no_stream_can_take_is_refused_at_once() {
        let many = |inner, n| Ast::Repetition(Box::new(inner), RepetitionQuantifier::Exactly(n));
        let nested = (0..9).fold(symbol("a"), |inner, _| many(inner, u32::MAX));
        let rows = [
            (nested, "more than 64"),
            (Ast::Symbol(MatchRecognizeSymbol::Start), "no first"),
            (Ast::Permute(Vec::new()), "(a b | b a)"),
            (Ast::Exclude(MatchRecognizeSymbol::End), "MEASURES"),
            (
                Ast::Repetition(Box::new(symbol("a")), RepetitionQuantifier::Range(3, 2)),
                "no number of rows",
            ),
            (
                Ast::Repetition(Box::new(symbol("a")), RepetitionQuantifier::ZeroOrMore),
                "without a row",
            ),
        ];
        for (ast, words) in rows {
            let error = Pattern::new(&ast, &mut number).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}

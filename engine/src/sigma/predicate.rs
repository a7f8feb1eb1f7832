//! What a rule asks of one event, and its text in SQL.
//!
//! **Invariant:** a condition on a column without a value does not hold, and its negation does, as in Sigma: so a negation is
//! `IS NOT TRUE`, never `NOT`.

use std::collections::BTreeSet;

use super::field::Column;

/// A condition on one event.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Predicate {
    /// Asks for what no event holds, and so never holds; why not.
    Unseen(String),
    /// A test of columns.
    Leaf {
        text: Vec<Piece>,
        /// True when it can hold only where its columns have values.
        needs: bool,
    },
    /// Every one holds; an empty one always does.
    All(Vec<Predicate>),
    /// One of them holds.
    Any(Vec<Predicate>),
    /// It does not hold.
    Not(Box<Predicate>),
}

/// A piece of a test's text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Sql(String),
    Column(Column),
    /// In lower case.
    Folded(Column),
}

impl Predicate {
    /// A function of a column and a value.
    pub(super) fn call(function: &str, column: Piece, value: &str) -> Predicate {
        let sql = |text: String| Piece::Sql(text);
        Predicate::Leaf {
            text: vec![
                sql(format!("{function}(")),
                column,
                sql(format!(", {value})")),
            ],
            needs: true,
        }
    }

    /// A column and the test behind it.
    pub(super) fn test(column: Column, test: impl Into<String>) -> Predicate {
        Predicate::Leaf {
            text: vec![
                Piece::Column(column),
                Piece::Sql(format!(" {}", test.into())),
            ],
            needs: true,
        }
    }

    /// The column has no value.
    pub(super) fn absent(column: Column) -> Predicate {
        Predicate::Leaf {
            text: vec![Piece::Column(column), Piece::Sql(" IS NULL".to_owned())],
            needs: false,
        }
    }

    /// Tests in it.
    pub(super) fn n_tests(&self) -> usize {
        match self {
            Predicate::Unseen(_) | Predicate::Leaf { .. } => 1,
            Predicate::All(parts) | Predicate::Any(parts) => {
                1 + parts.iter().map(Predicate::n_tests).sum::<usize>()
            }
            Predicate::Not(part) => part.n_tests(),
        }
    }

    /// Reasons for which parts of it never hold.
    pub(super) fn unseen(&self, into: &mut BTreeSet<String>) {
        match self {
            Predicate::Unseen(reason) => {
                into.insert(reason.clone());
            }
            Predicate::Leaf { .. } => (),
            Predicate::All(parts) | Predicate::Any(parts) => {
                parts.iter().for_each(|part| part.unseen(into));
            }
            Predicate::Not(part) => part.unseen(into),
        }
    }

    /// The same without what never or always holds, and without lists of one.
    pub(super) fn folded(self) -> Predicate {
        let always = |part: &Predicate| *part == Predicate::All(Vec::new());
        match self {
            Predicate::All(parts) => {
                let mut kept = Vec::new();
                for part in parts.into_iter().map(Predicate::folded) {
                    match part {
                        Predicate::Unseen(_) => return part,
                        Predicate::All(more) => kept.extend(more),
                        part => kept.push(part),
                    }
                }
                match kept.len() {
                    1 => kept.remove(0),
                    _ => Predicate::All(kept),
                }
            }
            Predicate::Any(parts) => {
                let (mut kept, mut never) = (Vec::new(), None);
                for part in parts.into_iter().map(Predicate::folded) {
                    match part {
                        Predicate::Unseen(_) => never = never.or(Some(part)),
                        Predicate::Any(more) => kept.extend(more),
                        part if always(&part) => return part,
                        part => kept.push(part),
                    }
                }
                match (kept.len(), never) {
                    (0, Some(never)) => never,
                    (1, _) => kept.remove(0),
                    _ => Predicate::Any(kept),
                }
            }
            Predicate::Not(part) => match part.folded() {
                Predicate::Unseen(_) => Predicate::All(Vec::new()),
                part if always(&part) => Predicate::Unseen("it excludes every call".to_owned()),
                Predicate::Not(part) => *part,
                Predicate::All(parts)
                    if parts.iter().all(|part| matches!(part, Predicate::Not(_))) =>
                {
                    let parts = parts.into_iter().map(|part| Predicate::Not(Box::new(part)));
                    Predicate::Any(parts.collect()).folded()
                }
                part => Predicate::Not(Box::new(part)),
            },
            leaf => leaf,
        }
    }

    /// The texts it reads in lower case that are made of several columns.
    pub(super) fn made(&self, into: &mut Vec<Column>) {
        match self {
            Predicate::Unseen(_) => (),
            Predicate::Leaf { text, .. } => {
                for piece in text {
                    match piece {
                        Piece::Folded(column)
                            if column.definition().is_some() && !into.contains(column) =>
                        {
                            into.push(*column);
                        }
                        _ => (),
                    }
                }
            }
            Predicate::All(parts) | Predicate::Any(parts) => {
                parts.iter().for_each(|part| part.made(into));
            }
            Predicate::Not(part) => part.made(into),
        }
    }

    /// Columns that a source must fill for it ever to hold.
    pub(super) fn required(&self) -> BTreeSet<&'static str> {
        match self {
            Predicate::Leaf { text, needs: true } => text
                .iter()
                .filter_map(|piece| match piece {
                    Piece::Column(column) | Piece::Folded(column) => column.source(),
                    Piece::Sql(_) => None,
                })
                .collect(),
            Predicate::All(parts) => parts.iter().flat_map(Predicate::required).collect(),
            Predicate::Any(parts) => parts
                .iter()
                .map(Predicate::required)
                .reduce(|all, more| all.intersection(&more).copied().collect())
                .unwrap_or_default(),
            Predicate::Leaf { .. } | Predicate::Not(_) | Predicate::Unseen(_) => BTreeSet::new(),
        }
    }

    /// The text of the condition, with names for texts made of several columns, or with these written out; broken into lines
    /// from a depth on, or in one.
    pub(super) fn sql(&self, names: bool, depth: Option<usize>) -> String {
        let joined = |parts: &[Predicate], word: &str| {
            let within = |part: &Predicate| match part {
                Predicate::All(_) | Predicate::Any(_) => {
                    format!("({})", part.sql(names, depth.map(|depth| depth + 1)))
                }
                _ => part.sql(names, depth),
            };
            let parts: Vec<String> = parts.iter().map(within).collect();
            let gap = depth.map_or(" ".to_owned(), |depth| format!("\n{}", "  ".repeat(depth)));
            parts.join(&format!("{gap}{word} "))
        };
        match self {
            Predicate::Unseen(_) => "false".to_owned(),
            Predicate::Leaf { text, .. } => {
                let piece = |piece: &Piece| match piece {
                    Piece::Sql(text) => text.clone(),
                    Piece::Column(column) => column.value(),
                    Piece::Folded(column) if names && column.definition().is_some() => {
                        column.name()
                    }
                    Piece::Folded(column) => format!("lower({})", column.value()),
                };
                text.iter().map(piece).collect()
            }
            Predicate::All(parts) if parts.is_empty() => "true".to_owned(),
            Predicate::All(parts) => joined(parts, "AND"),
            Predicate::Any(parts) => joined(parts, "OR"),
            Predicate::Not(part) => {
                format!(
                    "({}) IS NOT TRUE",
                    part.sql(names, depth.map(|depth| depth + 1))
                )
            }
        }
    }
}

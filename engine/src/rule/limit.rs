//! What a SELECT may ask of whoever plans it: bounds that hold before anything is folded, rewritten or compiled.
//!
//! A rule file may come from anybody. The parser, the planner and the optimiser go down into conditions by calling themselves, fold
//! constants, and write columns of inner SELECTs out wherever they are used, so a short text could ask for more stack, memory or
//! time than there is. What is refused here is named with its bound. Must not know: tables, streams, state.

use std::cell::Cell;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, plan_datafusion_err, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, JoinType, LogicalPlan, Operator};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// What is said of anything else.
pub(super) const NOT_A_SELECT: &str = "a rule is one SELECT: a second one, and statements that make, change, set or show something, have no place in it";
/// Words and signs of a SELECT, without commas, numbers and texts: each may be one more call of the planner by itself. A sum of
/// a thousand terms takes 2.6 s of a CPU to plan, and twice as many four times that.
const TOKENS_MAX: usize = 2_000;
/// Stack of the thread that plans: twice as many terms need at most 16 MiB. Only what is used of it is memory.
const STACK_BYTES: usize = 64 << 20;
/// Parentheses within each other.
const PARENTHESES_MAX: usize = 24;
/// Columns and operators of a condition, once inner SELECTs are written out.
const TERMS_MAX: u64 = 2_000;
/// Bytes of a text an expression may make of one row.
const TEXT_BYTES_MAX: u64 = 16 << 20;
/// Bytes that all functions of a rule may make of one row.
const WORK_BYTES_MAX: u64 = 256 << 20;
/// Longest text of a column; the logs cut there.
const COLUMN_BYTES: u64 = 16 << 10;
/// Bytes of a number, a time, a flag.
const FIXED_BYTES: u64 = 16;
/// Longest regular expression, in bytes.
const PATTERN_BYTES_MAX: usize = 4 << 10;
/// Bytes of the automaton a regular expression may become: `(a{500}){500}` is short and would be 100 MB.
const AUTOMATON_BYTES_MAX: usize = 1 << 20;

/// Plans on a thread with the stack that the deepest SELECT within the bounds needs.
///
/// # Panics
/// When the work does, or the system has no thread to give.
pub fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, work);
        let thread = thread.expect("a thread to plan rules on, as those that run them");
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Bounds the text of a SELECT before it is parsed.
///
/// # Errors
/// It is too long or too deep, or the text ends within a word.
pub(super) fn text(sql: &str) -> Result<(), DataFusionError> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize()
        .map_err(|error| plan_datafusion_err!("{error}"))?;
    let (mut n_tokens, mut depth, mut has_ended) = (0, 0usize, false);
    for token in &tokens {
        match token {
            Token::Whitespace(_) => continue,
            _ if has_ended => return plan_err!("{NOT_A_SELECT}"),
            Token::Comma | Token::Number(..) => continue,
            Token::SemiColon => has_ended = true,
            Token::SingleQuotedString(_) | Token::Placeholder(_) => continue,
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            _ => (),
        }
        n_tokens += 1;
        if PARENTHESES_MAX < depth {
            return plan_err!("more than {PARENTHESES_MAX} parentheses are within each other");
        }
    }
    match n_tokens <= TOKENS_MAX {
        true => Ok(()),
        false => plan_err!(
            "the SELECT has {n_tokens} words and signs, at most {TOKENS_MAX} are possible: write column IN (…) for many values of a column, a lookup table for more, or several rules"
        ),
    }
}

/// Bounds what a plan asks for, parameters put in, before it is optimised.
///
/// # Errors
/// Which bound it goes beyond.
pub(super) fn plan(plan: &LogicalPlan) -> Result<(), DataFusionError> {
    let work = Cell::new(0);
    columns(plan, &work).map(drop)
}

/// Bounds an expression over a table.
///
/// # Errors
/// Which bound it goes beyond.
pub(super) fn expression(expr: &Expr, schema: &DFSchema) -> Result<(), DataFusionError> {
    expression_over(expr, schema, &vec![COLUMN_BYTES; schema.fields().len()])
}

/// Bounds an expression over columns whose texts are at most so long, in bytes.
///
/// # Errors
/// Which bound it goes beyond.
pub(super) fn expression_over(
    expr: &Expr,
    schema: &DFSchema,
    bytes: &[u64],
) -> Result<(), DataFusionError> {
    let columns: Vec<Size> = bytes
        .iter()
        .map(|bytes| Size {
            terms: 1,
            bytes: *bytes,
        })
        .collect();
    let work = Cell::new(0);
    Sizing {
        schema,
        columns: &columns,
        work: &work,
    }
    .checked(expr)
    .map(drop)
}

/// A regular expression, within the bounds of one in a rule.
///
/// # Errors
/// It is none, or which bound it goes beyond.
pub(super) fn regex(text: &str) -> Result<regex::Regex, DataFusionError> {
    if PATTERN_BYTES_MAX < text.len() {
        return plan_err!(
            "a regular expression of {} bytes is too long, at most {PATTERN_BYTES_MAX} are possible: write several conditions",
            text.len()
        );
    }
    let built = regex::RegexBuilder::new(text)
        .size_limit(AUTOMATON_BYTES_MAX)
        .build();
    match built {
        Ok(regex) => Ok(regex),
        Err(regex::Error::CompiledTooBig(bytes)) => plan_err!(
            "the regular expression `{}` becomes more than {bytes} bytes: count less with {{n}}, or use . instead of classes of Unicode",
            shortened(text)
        ),
        // The parser marks the place in lines of its own.
        Err(error) => {
            let told = error.to_string();
            let last = told.lines().last().unwrap_or_default();
            plan_err!(
                "`{}` is no regular expression: {}",
                shortened(text),
                last.trim_start_matches("error: ")
            )
        }
    }
}

/// What an expression is once everything in it is written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    /// Columns and operators in it.
    terms: u64,
    /// Bytes of its value, at most.
    bytes: u64,
}

impl Size {
    const COLUMN: Size = Size {
        terms: 1,
        bytes: COLUMN_BYTES,
    };
}

/// Sizes of the columns a plan gives.
fn columns(plan: &LogicalPlan, work: &Cell<u64>) -> Result<Vec<Size>, DataFusionError> {
    let mut below = Vec::new();
    for input in plan.inputs() {
        below.push((columns(input, work)?, input.schema()));
    }
    let of_inputs: Vec<Size> = below.iter().flat_map(|(sizes, _)| sizes.clone()).collect();
    // Only a join has two inputs, and its conditions see both.
    let joined = match below.as_slice() {
        [(_, one)] => one.as_ref().clone(),
        [(_, left), (_, right)] => left.join(right).unwrap_or_else(|_| DFSchema::empty()),
        _ => DFSchema::empty(),
    };
    let sizing = Sizing {
        schema: &joined,
        columns: &of_inputs,
        work,
    };
    let mut sizes = Vec::new();
    for expr in plan.expressions() {
        sizes.push(sizing.checked(&expr)?);
    }
    Ok(match plan {
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => sizes,
        LogicalPlan::Join(join) if join.join_type != JoinType::LeftMark => of_inputs,
        LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => of_inputs,
        other => vec![Size::COLUMN; other.schema().fields().len()],
    })
}

/// Sizes of expressions over the columns of a node's inputs.
struct Sizing<'a> {
    schema: &'a DFSchema,
    columns: &'a [Size],
    work: &'a Cell<u64>,
}

impl Sizing<'_> {
    fn checked(&self, expr: &Expr) -> Result<Size, DataFusionError> {
        let size = self.size(expr)?;
        if TERMS_MAX < size.terms {
            return plan_err!(
                "a condition or column has {} terms once inner SELECTs are written out, at most {TERMS_MAX} are possible: compute less in one rule",
                size.terms
            );
        }
        self.bounded(size.bytes)?;
        Ok(size)
    }

    fn bounded(&self, bytes: u64) -> Result<(), DataFusionError> {
        match bytes <= TEXT_BYTES_MAX {
            true => Ok(()),
            false => plan_err!(
                "an expression could make a text of {bytes} bytes of one row, at most {TEXT_BYTES_MAX} are possible: shorten what it replaces by, repeats or joins"
            ),
        }
    }

    fn size(&self, expr: &Expr) -> Result<Size, DataFusionError> {
        match expr {
            Expr::Column(column) => {
                let at = self.schema.maybe_index_of_column(column);
                return Ok(at
                    .and_then(|at| self.columns.get(at).copied())
                    .unwrap_or(Size::COLUMN));
            }
            Expr::Literal(value, _) => {
                return Ok(Size {
                    terms: 0,
                    bytes: bytes_of(value),
                });
            }
            Expr::InSubquery(within) => columns(&within.subquery.subquery, self.work).map(drop)?,
            Expr::Exists(within) => columns(&within.subquery.subquery, self.work).map(drop)?,
            _ => (),
        }
        let mut parts = Vec::new();
        expr.apply_children(|part| {
            parts.push(self.size(part)?);
            Ok(TreeNodeRecursion::Continue)
        })?;
        let terms = parts.iter().map(|part| part.terms);
        let bytes = parts.iter().map(|part| part.bytes);
        let bytes = match expr {
            Expr::ScalarFunction(function) => self.made(expr, function, &parts)?,
            Expr::BinaryExpr(binary) => {
                if matches!(
                    binary.op,
                    Operator::RegexMatch
                        | Operator::RegexIMatch
                        | Operator::RegexNotMatch
                        | Operator::RegexNotIMatch
                ) {
                    pattern(&binary.right)?;
                }
                match binary.op {
                    Operator::StringConcat => bytes.sum(),
                    _ => FIXED_BYTES,
                }
            }
            Expr::SimilarTo(like) => {
                pattern(&like.pattern)?;
                FIXED_BYTES
            }
            _ => bytes.fold(FIXED_BYTES, u64::saturating_add),
        };
        Ok(Size {
            terms: terms.fold(1, u64::saturating_add),
            bytes,
        })
    }

    /// Bytes of what a function makes, at most.
    fn made(
        &self,
        expr: &Expr,
        function: &ScalarFunction,
        args: &[Size],
    ) -> Result<u64, DataFusionError> {
        let name = function.func.name();
        let bytes = |at: usize| args.get(at).map_or(0, |size| size.bytes);
        let all = args
            .iter()
            .fold(0u64, |all, size| all.saturating_add(size.bytes));
        let count = || match function.args.get(1) {
            Some(Expr::Literal(value, _)) => match value.cast_to(&DataType::UInt64) {
                Ok(ScalarValue::UInt64(Some(count))) => Ok(count),
                _ => plan_err!("{name}() takes a count from 0 up, written as a number"),
            },
            _ => plan_err!("{name}() takes a count from 0 up, written as a number"),
        };
        if name.starts_with("regexp_")
            && let Some(text) = function.args.get(1)
        {
            pattern(text)?;
        }
        let made = match name {
            name if is_endless(name) => {
                return plan_err!("{name}() makes lists of any length: write make_array(…)");
            }
            "repeat" | "array_repeat" | "array_resize" => {
                bytes(0).max(1).saturating_mul(count()?.max(1))
            }
            "lpad" | "rpad" => bytes(0).max(count()?.saturating_mul(4)),
            "replace" | "regexp_replace" | "array_to_string" => {
                let by = bytes(if name == "array_to_string" { 1 } else { 2 });
                let matches = bytes(0).saturating_mul(2).saturating_add(1);
                bytes(0).saturating_add(matches.saturating_mul(by))
            }
            "levenshtein" => bytes(0).saturating_mul(bytes(1)) / 64,
            // What stands between the others stands there once less than they are many.
            "concat_ws" => bytes(0)
                .saturating_mul(args.len() as u64)
                .saturating_add(all),
            // The longest of Unicode's special casings.
            "lower" | "upper" | "initcap" => all.saturating_mul(3),
            "concat" | "substr" | "substring" | "left" | "right" | "split_part" | "reverse"
            | "btrim" | "ltrim" | "rtrim" | "coalesce" | "nullif" | "nvl" | "regexp_match"
            | "translate" | "make_array" | "array_element" | "url_decode" | "query_param"
            | "path_segment" => all,
            "path_template" | "ip_prefix" | "id_kind" | "ua_family" => 1024,
            _ => all.saturating_mul(4).saturating_add(64),
        };
        let is_fixed = expr
            .get_type(self.schema)
            .is_ok_and(|of| of.is_primitive() || of == DataType::Boolean);
        if !is_fixed {
            self.bounded(made)?;
        }
        self.work.set(self.work.get().saturating_add(made));
        if WORK_BYTES_MAX < self.work.get() {
            return plan_err!(
                "the functions of the rule could make more than {WORK_BYTES_MAX} bytes of one row: use fewer of them"
            );
        }
        Ok(if is_fixed { FIXED_BYTES } else { made })
    }
}

/// Whether a function makes lists of any length.
pub(super) fn is_endless(name: &str) -> bool {
    matches!(name, "range" | "generate_series")
}

/// The front of a text, for a message.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn bytes_of(value: &ScalarValue) -> u64 {
    match value.try_as_str() {
        Some(text) => text.map_or(0, str::len) as u64,
        None => value.size() as u64,
    }
}

/// Bounds a regular expression: matching is linear in text and automaton, so the automaton is bounded here.
fn pattern(expr: &Expr) -> Result<(), DataFusionError> {
    let text = match expr {
        Expr::Literal(value, _) => match value.try_as_str() {
            Some(text) => text,
            None => return plan_err!("a regular expression is a text"),
        },
        Expr::Cast(cast) => return pattern(&cast.expr),
        _ => {
            return plan_err!(
                "a regular expression is written in the rule or is a $parameter: `{expr}` could be a caller's"
            );
        }
    };
    text.map_or(Ok(()), |text| regex(text).map(drop))
}

//! The proof that a HAVING, once true, stays true while rows come, so that it may be asked at every row.
//!
//! Counts and greatest values only grow, smallest values only fall, sums grow when what is summed is never negative. What is
//! not proved is refused, with the reason. Must not know: state, batches.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{BinaryExpr, Case, Expr, ExprSchemable, Operator};
use datafusion::scalar::ScalarValue;

use super::aggregate::{Aggregate, Kind, Scalar};
use super::compile::{Aggregated, Cell, unaliased};
use super::having::{Having, Term};

/// The expression a condition holds at zero or above.
pub(super) fn floor(condition: &Expr) -> Option<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else {
        return None;
    };
    let (kept, literal) = match (op, left.as_ref(), right.as_ref()) {
        (Operator::Gt | Operator::GtEq, kept, Expr::Literal(value, _)) => (kept, value),
        (Operator::Lt | Operator::LtEq, Expr::Literal(value, _), kept) => (kept, value),
        _ => return None,
    };
    matches!(number_of(literal), Some(n) if n.as_f64().is_some_and(|n| 0.0 <= n))
        .then(|| unqualified(uncast(kept)))
}

pub(super) fn never_negative(expr: &Expr, floors: &[Expr], input: &DFSchema) -> bool {
    let expr = uncast(unaliased(expr));
    if expr.get_type(input).is_ok_and(|t| t.is_unsigned_integer())
        || floors.contains(&unqualified(expr))
    {
        return true;
    }
    match expr {
        Expr::Literal(value, _) => number_of(value)
            .and_then(|n| n.as_f64())
            .is_some_and(|n| 0.0 <= n),
        Expr::Case(Case {
            when_then_expr,
            else_expr,
            ..
        }) => {
            let thens = when_then_expr.iter().map(|(_, then)| then);
            thens.chain(else_expr).all(|e| {
                never_negative(e, floors, input)
                    || matches!(e.as_ref(), Expr::Literal(v, _) if v.is_null())
            })
        }
        Expr::ScalarFunction(f) => matches!(
            f.func.name(),
            "abs" | "length" | "character_length" | "octet_length"
        ),
        _ => false,
    }
}

/// The expression without the names of tables: there is only one, under its own name and its alias.
fn unqualified(expr: &Expr) -> Expr {
    let plain = expr.clone().transform(|e| match e {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(
            datafusion::common::Column::new_unqualified(column.name),
        ))),
        other => Ok(Transformed::no(other)),
    });
    plain.map_or_else(|_| expr.clone(), |plain| plain.data)
}

fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) => uncast(&cast.expr),
        other => other,
    }
}

fn number_of(value: &ScalarValue) -> Option<Scalar> {
    match value {
        ScalarValue::Float64(Some(v)) => Some(Scalar::Float(*v)),
        ScalarValue::Float32(Some(v)) => Some(Scalar::Float(f64::from(*v))),
        ScalarValue::UInt64(Some(v)) => Some(Scalar::Int(i128::from(*v))),
        ScalarValue::TimestampMillisecond(..) | ScalarValue::Utf8(_) | ScalarValue::Boolean(_) => {
            None
        }
        value if value.data_type().is_integer() => match value.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(Some(v))) => Some(Scalar::Int(i128::from(v))),
            _ => None,
        },
        _ => None,
    }
}

/// The proof that a condition on an aggregate stays true once it is.
pub(super) struct Monotone<'a> {
    pub(super) aggregated: &'a Aggregated,
    /// Columns the condition reads, and which of the aggregate's they are.
    pub(super) schema: &'a DFSchema,
    pub(super) above: &'a [Option<usize>],
}

impl Monotone<'_> {
    /// One condition.
    ///
    /// # Errors
    /// Why it may turn false again.
    pub(super) fn part(&self, condition: &Expr) -> Result<Having, String> {
        if let Some(flag) = self.flag(condition) {
            return flag;
        }
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else {
            return Err(format!(
                "`{condition}` is not a comparison of an aggregate with a number"
            ));
        };
        if matches!(op, Operator::And | Operator::Or) {
            let parts = vec![self.part(left)?, self.part(right)?];
            return Ok(if *op == Operator::And {
                Having::All(parts)
            } else {
                Having::Any(parts)
            });
        }
        let (aggregate, op, literal) = match (uncast(left), uncast(right)) {
            (Expr::Column(column), Expr::Literal(value, _)) => (column, *op, value),
            (Expr::Literal(value, _), Expr::Column(column)) => {
                (column, op.swap().unwrap_or(*op), value)
            }
            _ => {
                return Err(format!(
                    "`{condition}` is not a comparison of an aggregate with a number"
                ));
            }
        };
        let at = self.aggregate(aggregate, condition)?;
        let bound = number_of(literal)
            .ok_or_else(|| format!("`{condition}` does not compare with a number"))?;
        let Aggregate { kind, output, .. } = &self.aggregated.aggregates[at];
        if !output.is_numeric() {
            return Err(format!("`{condition}` does not compare numbers"));
        }
        stays(*kind, op, self.aggregated.nonnegative[at])
            .map_err(|reason| format!("`{condition}` may turn false again: {reason}"))?;
        let (inclusive, falls) = (
            matches!(op, Operator::GtEq | Operator::LtEq),
            *kind == Kind::Min,
        );
        Ok(Having::Term(Term {
            aggregate: at,
            bound,
            inclusive,
            falls,
        }))
    }

    /// A condition that is a flag, or its opposite: `bool_or(x)`, `NOT bool_and(x)`; nothing for any other.
    fn flag(&self, condition: &Expr) -> Option<Result<Having, String>> {
        let (column, falls) = match uncast(condition) {
            Expr::Column(column) => (column, false),
            Expr::Not(inner) => match uncast(inner) {
                Expr::Column(column) => (column, true),
                _ => return None,
            },
            _ => return None,
        };
        let at = match self.aggregate(column, condition) {
            Ok(at) => at,
            Err(reason) => return Some(Err(reason)),
        };
        let kind = self.aggregated.aggregates[at].kind;
        Some(match (kind, falls) {
            (Kind::Max, false) | (Kind::Min, true) => Ok(Having::Term(Term {
                aggregate: at,
                bound: Scalar::Int(i128::from(!falls)),
                inclusive: true,
                falls,
            })),
            (Kind::Max | Kind::Min, _) => Err(format!(
                "`{condition}` may turn false again: bool_or(…) and NOT bool_and(…) stay true"
            )),
            _ => Err(format!(
                "`{condition}` is not a comparison of an aggregate with a number"
            )),
        })
    }

    /// The number of the aggregate a column is.
    fn aggregate(
        &self,
        column: &datafusion::common::Column,
        condition: &Expr,
    ) -> Result<usize, String> {
        let place = self.schema.maybe_index_of_column(column);
        let place = place.and_then(|at| self.above[at]).ok_or_else(|| format!("`{condition}` is about what the SELECT computes; write it on the aggregates themselves"))?;
        match self.aggregated.columns[place] {
            Cell::Aggregate(at) => Ok(at),
            _ => Err(format!(
                "`{condition}` is about {}, not about an aggregate; put it into WHERE",
                column.name
            )),
        }
    }
}

/// Whether a comparison with an aggregate of that kind stays true while rows come.
fn stays(kind: Kind, op: Operator, is_nonnegative: bool) -> Result<(), &'static str> {
    let (grows, falls) = (
        matches!(op, Operator::Gt | Operator::GtEq),
        matches!(op, Operator::Lt | Operator::LtEq),
    );
    match kind {
        Kind::Avg => Err("a mean rises and falls"),
        Kind::Spread { .. } => Err("a spread rises and falls"),
        Kind::Quantile(_) => Err("a quantile rises and falls"),
        Kind::Picked { .. } => {
            Err("a row that comes later may take the place of the first or last")
        }
        Kind::List { .. } => Err("a list is no number"),
        Kind::Min if !falls => Err("a minimum only falls, so < and <= stay true"),
        Kind::Min => Ok(()),
        _ if !grows => Err("it only grows, so > and >= stay true"),
        Kind::Sum if !is_nonnegative => {
            Err("the summed column may be negative (add `column >= 0` to WHERE to prove it is not)")
        }
        Kind::Count | Kind::Distinct | Kind::Max | Kind::Sum => Ok(()),
    }
}

//! From the clause as it was parsed to a [`Sequence`], or the reason why a stream can't answer it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, plan_err};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    AfterMatchSkip, Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    RowsPerMatch, TableFactor, VisitMut, VisitorMut,
};

use super::super::input::is_foldable;
use super::super::plan::{WINDOW_START, refuse_expr};
use super::pattern::Pattern;
use super::{MATCH_END, MATCH_START, Measure, Sequence, What};

/// Symbols of one pattern: a row's are one word.
const SYMBOLS_MAX: usize = 64;

/// What a clause reads, and the columns it puts out.
pub(in super::super) struct Read {
    /// The stream.
    pub(in super::super) table: String,
    pub(in super::super) sequence: Arc<Sequence>,
    pub(in super::super) output: SchemaRef,
}

/// Reads a clause.
///
/// * `stream`: gives the columns of a table that is a stream.
///
/// # Errors
/// What of it a stream can't answer, and what to write instead.
pub(in super::super) fn read(
    relation: TableFactor,
    within_ms: Option<i64>,
    params: &HashMap<String, ScalarValue>,
    context: &mut dyn RelationPlannerContext,
) -> Result<Read, DataFusionError> {
    let TableFactor::MatchRecognize {
        table,
        partition_by,
        order_by,
        measures,
        rows_per_match,
        after_match_skip,
        pattern,
        symbols,
        ..
    } = relation
    else {
        return plan_err!("it is no MATCH_RECOGNIZE");
    };
    let Some(within_ms) = within_ms else {
        return plan_err!(
            "MATCH_RECOGNIZE needs a bound: write `within: 10m` in the header, the event time from the first row of a match to its last"
        );
    };
    if !order_by.is_empty() {
        return plan_err!(
            "ORDER BY in MATCH_RECOGNIZE is not supported: rows are taken in the order of the log; remove it"
        );
    }
    if !matches!(rows_per_match, None | Some(RowsPerMatch::OneRow)) {
        return plan_err!(
            "ALL ROWS PER MATCH is not supported: a match is one row; sample rows are in the alert's evidence"
        );
    }
    if !matches!(after_match_skip, None | Some(AfterMatchSkip::PastLastRow)) {
        return plan_err!(
            "AFTER MATCH SKIP PAST LAST ROW is how the next match begins: remove what says otherwise"
        );
    }
    let (table, filter, columns) = scanned(&context.plan(*table)?)?;
    let filter = filter
        .map(|filter| with_params(filter, params))
        .transpose()?;
    let mut reader = Reader {
        params,
        context,
        columns,
        symbols: Vec::new(),
    };
    for definition in symbols {
        reader.define(definition.symbol, definition.definition)?;
    }
    let pattern = Pattern::new(&pattern, &mut |name| reader.symbol(name))?;
    let unused = (0..reader.symbols.len()).find(|at| !pattern.symbols.contains(at));
    if let Some(unused) = unused {
        let (name, _) = &reader.symbols[unused];
        return plan_err!("DEFINE names `{name}`, which PATTERN does not");
    }
    if partition_by.is_empty() {
        return plan_err!(
            "MATCH_RECOGNIZE needs a key: write PARTITION BY identity, or whatever the rows of one sequence share"
        );
    }
    let partition = partition_by.into_iter().map(|sql| reader.key(sql));
    let partition = partition.collect::<Result<Vec<_>, _>>()?;
    let measures = measures.into_iter().map(|measure| {
        let name = reader.context.normalize_ident(measure.alias);
        reader.measure(name, &measure.expr)
    });
    let measures = measures.collect::<Result<Vec<_>, _>>()?;
    let output = output(&partition, &measures, &reader.columns)?;
    Ok(Read {
        table,
        output,
        sequence: Arc::new(Sequence {
            filter,
            partition,
            symbols: reader.symbols,
            pattern,
            measures,
            within_ms,
        }),
    })
}

/// The stream below a clause, what its rows must fulfil, and its columns.
fn scanned(plan: &LogicalPlan) -> Result<(String, Option<Expr>, DFSchema), DataFusionError> {
    let refused = || {
        plan_err!(
            "MATCH_RECOGNIZE reads a table, or some of its rows by WITH those AS (SELECT * FROM table WHERE …) in front of the SELECT: nothing else"
        )
    };
    match plan {
        LogicalPlan::TableScan(scan) => {
            let unqualified = DFSchema::try_from(scan.source.schema().as_ref().clone())?;
            if unqualified.has_column_with_unqualified_name(WINDOW_START) {
                return plan_err!(
                    "MATCH_RECOGNIZE reads a table itself: `within` in the header takes the place of TUMBLE and HOP"
                );
            }
            Ok((scan.table_name.table().to_owned(), None, unqualified))
        }
        LogicalPlan::SubqueryAlias(alias) => scanned(&alias.input),
        LogicalPlan::Projection(projection) => {
            let (table, filter, columns) = scanned(&projection.input)?;
            let all = projection.expr.iter().zip(columns.fields());
            let is_whole = projection.expr.len() == columns.fields().len()
                && all.into_iter().all(
                    |(expr, field)| matches!(expr, Expr::Column(c) if c.name == *field.name()),
                );
            if is_whole {
                Ok((table, filter, columns))
            } else {
                refused()
            }
        }
        LogicalPlan::Filter(filter) => {
            let (table, below, columns) = scanned(&filter.input)?;
            refuse_expr(&filter.predicate)?;
            let own = unqualified(filter.predicate.clone())?;
            let both = below.map_or_else(|| own.clone(), |below| below.and(own.clone()));
            Ok((table, Some(both), columns))
        }
        _ => refused(),
    }
}

/// The expression with bare column names: there is one table.
fn unqualified(expr: Expr) -> Result<Expr, DataFusionError> {
    let bare = expr.transform(|e| {
        Ok(match e {
            Expr::Column(column) => Transformed::yes(Expr::Column(
                datafusion::common::Column::new_unqualified(column.name),
            )),
            other => Transformed::no(other),
        })
    });
    Ok(bare?.data)
}

/// The expression with the values of its parameters.
fn with_params(expr: Expr, params: &HashMap<String, ScalarValue>) -> Result<Expr, DataFusionError> {
    let known = expr.transform(|e| match e {
        Expr::Placeholder(placeholder) => {
            match params.get(placeholder.id.trim_start_matches('$')) {
                Some(value) => Ok(Transformed::yes(Expr::Literal(value.clone(), None))),
                None => plan_err!("there is no parameter {}", placeholder.id),
            }
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(known?.data)
}

struct Reader<'a> {
    params: &'a HashMap<String, ScalarValue>,
    context: &'a mut dyn RelationPlannerContext,
    columns: DFSchema,
    symbols: Vec<(String, Option<Expr>)>,
}

impl Reader<'_> {
    /// Number of a symbol; one that DEFINE does not name is any row.
    fn symbol(&mut self, name: &str) -> Result<usize, DataFusionError> {
        let name = self.context.normalize_ident(Ident::new(name));
        let known = self.symbols.iter().position(|(known, _)| *known == name);
        match known {
            Some(at) => Ok(at),
            None if self.symbols.len() == SYMBOLS_MAX => {
                plan_err!("a pattern has at most {SYMBOLS_MAX} symbols")
            }
            None => {
                self.symbols.push((name, None));
                Ok(self.symbols.len() - 1)
            }
        }
    }

    fn define(&mut self, symbol: Ident, mut sql: SqlExpr) -> Result<(), DataFusionError> {
        let at = self.symbol(&symbol.value)?;
        let name = self.symbols[at].0.clone();
        if self.symbols[at].1.is_some() {
            return plan_err!("DEFINE names `{name}` twice");
        }
        let mut own = Own { name: &name };
        // Never broken off.
        let _ = VisitMut::visit(&mut sql, &mut own);
        let expr = self.expression(sql)?;
        if expr.get_type(&self.columns)? != DataType::Boolean {
            return plan_err!("`{name}` in DEFINE is not a condition");
        }
        self.symbols[at].1 = Some(expr);
        Ok(())
    }

    /// An expression over one row.
    fn expression(&mut self, sql: SqlExpr) -> Result<Expr, DataFusionError> {
        let expr = self.context.sql_to_expr(sql, &self.columns)?;
        refuse_expr(&expr)?;
        unqualified(with_params(expr, self.params)?)
    }

    fn key(&mut self, sql: SqlExpr) -> Result<(String, Expr), DataFusionError> {
        let expr = self.expression(sql)?;
        let name = match &expr {
            Expr::Column(column) => column.name.clone(),
            other => other.schema_name().to_string(),
        };
        Ok((name, expr))
    }

    fn measure(&mut self, name: String, sql: &SqlExpr) -> Result<Measure, DataFusionError> {
        let refused = || {
            plan_err!(
                "`{sql}` in MEASURES is not supported: write FIRST(symbol.column), LAST(symbol.column) or COUNT(symbol.*), without `symbol.` for all rows of the match"
            )
        };
        let SqlExpr::Function(function) = sql else {
            return refused();
        };
        let FunctionArguments::List(list) = &function.args else {
            return refused();
        };
        let [FunctionArg::Unnamed(arg)] = list.args.as_slice() else {
            return refused();
        };
        let function = function.name.to_string().to_ascii_uppercase();
        let (symbol, column) = match arg {
            FunctionArgExpr::Wildcard => (None, None),
            FunctionArgExpr::QualifiedWildcard(symbol) => (Some(symbol.to_string()), None),
            FunctionArgExpr::Expr(SqlExpr::Identifier(column)) => (None, Some(column)),
            FunctionArgExpr::Expr(SqlExpr::CompoundIdentifier(parts)) => match parts.as_slice() {
                [symbol, column] => (Some(symbol.value.clone()), Some(column)),
                _ => return refused(),
            },
            _ => return refused(),
        };
        let symbol = match symbol {
            None => None,
            Some(symbol) => {
                let symbol = self.context.normalize_ident(Ident::new(symbol));
                match self.symbols.iter().position(|(known, _)| *known == symbol) {
                    Some(at) => Some(at),
                    None => return plan_err!("MEASURES names `{symbol}`, which PATTERN does not"),
                }
            }
        };
        let (what, of) = match (function.as_str(), column) {
            ("COUNT", None) => (What::Count, DataType::Int64),
            ("FIRST" | "LAST", Some(column)) => {
                let column = self.expression(SqlExpr::Identifier(column.clone()))?;
                let of = column.get_type(&self.columns)?;
                if !is_foldable(&of) {
                    return plan_err!(
                        "{function} of {of} is not supported: measure another column"
                    );
                }
                match function.as_str() {
                    "FIRST" => (What::First(column), of),
                    _ => (What::Last(column), of),
                }
            }
            _ => return refused(),
        };
        Ok(Measure {
            name,
            what,
            symbol,
            of,
        })
    }
}

/// Takes a symbol's own name from its columns; another one's is left, and is no column.
struct Own<'a> {
    name: &'a str,
}

impl VisitorMut for Own<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> std::ops::ControlFlow<()> {
        if let SqlExpr::CompoundIdentifier(parts) = expr
            && let [symbol, column] = parts.as_slice()
            && symbol.value.eq_ignore_ascii_case(self.name)
        {
            *expr = SqlExpr::Identifier(column.clone());
        }
        std::ops::ControlFlow::Continue(())
    }
}

fn output(
    partition: &[(String, Expr)],
    measures: &[Measure],
    columns: &DFSchema,
) -> Result<SchemaRef, DataFusionError> {
    let mut fields = Vec::new();
    for (name, key) in partition {
        fields.push(Field::new(name, key.get_type(columns)?, true));
    }
    for measure in measures {
        fields.push(Field::new(&measure.name, measure.of.clone(), true));
    }
    for name in [MATCH_START, MATCH_END] {
        let at = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        fields.push(Field::new(name, at, false));
    }
    let twice = (0..fields.len()).find(|at| {
        fields[..*at]
            .iter()
            .any(|field| field.name() == fields[*at].name())
    });
    match twice {
        Some(at) => plan_err!(
            "two columns of the match are called `{}`: give a measure another name with AS",
            fields[at].name()
        ),
        None => Ok(Arc::new(Schema::new(fields))),
    }
}

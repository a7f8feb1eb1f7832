//! From the text of a SELECT to an optimised logical plan.
//!
//! DataFusion parses, resolves names, coerces types and optimises. Two things are ours: the tables are streams of our own
//! [`Catalog`] (its session would look for stored tables, and cannot resolve one inside `HOP(…)`), and a relation planner
//! turns `TUMBLE` and `HOP` into the scan of a virtual table with `window_start` and `window_end`. What a stream cannot
//! answer is refused here, before the optimiser rewrites it beyond recognition. No I/O, no async, no clock.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{
    DFSchema, DataFusionError, ParamValues, TableReference, plan_datafusion_err, plan_err,
};
use datafusion::config::{ConfigOptions, Dialect};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::logical_plan::TableScan;
use datafusion::logical_expr::planner::{
    ContextProvider, ExprPlanner, PlannedRelation, RelationPlanner, RelationPlannerContext,
    RelationPlanning,
};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource,
    Volatility, WindowUDF,
};
use datafusion::optimizer::Optimizer;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement;
use datafusion::sql::planner::{ParserOptions, SqlToRel};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, ObjectName, Statement as SqlStatement,
    TableFactor, Value,
};

use super::lookup::{Lookup, Lookups};
use super::sequence::{self, Sequence};
use super::{Rule, function, limit};

/// Column a window adds: its first millisecond.
pub const WINDOW_START: &str = "window_start";
/// Column a window adds: the first millisecond after it.
pub const WINDOW_END: &str = "window_end";

/// Panes a window and its lateness may span: a value remembers where it was seen in one 64-bit word.
pub const PANES_MAX: i64 = 64;

/// The streams rules may read, and the tables they may look into.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    streams: BTreeMap<String, Stream>,
    lookups: Lookups,
}

/// One stream: its columns and which of them is the event time.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Columns of every batch.
    pub schema: SchemaRef,
    /// Name of the `Timestamp(ms, UTC)` column windows run on.
    pub time: String,
}

impl Catalog {
    /// An empty catalogue.
    pub fn new() -> Catalog {
        Catalog::default()
    }

    /// Adds a stream under a table name.
    #[must_use]
    pub fn with(mut self, table: &str, schema: SchemaRef, time: &str) -> Catalog {
        self.streams.insert(
            table.to_owned(),
            Stream {
                schema,
                time: time.to_owned(),
            },
        );
        self
    }

    /// Adds the tables rules may look into, in the place of those before.
    #[must_use]
    pub fn with_lookups(mut self, lookups: &Lookups) -> Catalog {
        self.lookups = lookups.clone();
        self
    }

    /// The tables rules may look into.
    pub fn lookups(&self) -> &Lookups {
        &self.lookups
    }

    /// The stream of that name.
    pub fn get(&self, table: &str) -> Option<&Stream> {
        self.streams.get(table)
    }

    /// Names of the streams.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.streams.keys().map(String::as_str)
    }

    /// Whether some stream has a column of that name.
    pub(super) fn has_column(&self, column: &str) -> bool {
        self.streams
            .values()
            .any(|s| s.schema.index_of(column).is_ok())
    }

    /// Says which tables there are.
    fn no_table(&self, table: &str) -> DataFusionError {
        let streams = self.streams.keys().map(String::as_str);
        let lookups = self.lookups.tables().map(|table| table.name.as_str());
        let names: Vec<&str> = streams.chain(lookups).collect();
        plan_datafusion_err!(
            "there is no table `{table}`, there are: {}; lookup tables come from --lookups",
            names.join(", ")
        )
    }
}

/// Windows a SELECT asks for: half-open, aligned to the epoch, `size_ms` a multiple of `slide_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSpec {
    /// Milliseconds between the starts of two windows; the width of a pane.
    pub slide_ms: i64,
    /// Milliseconds from start to end.
    pub size_ms: i64,
}

impl WindowSpec {
    /// Panes in one window.
    pub fn n_panes(&self) -> i64 {
        self.size_ms / self.slide_ms
    }

    /// Panes a group may hold: those of a window, and of the lateness that keeps it open.
    pub fn panes_max(&self, lateness_ms: i64) -> i64 {
        self.n_panes() + (lateness_ms + self.slide_ms - 1) / self.slide_ms + 1
    }
}

/// Sessions a SELECT asks for: rows of a group with less than the gap between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSpec {
    /// Milliseconds without a row of the group after which its session is over.
    pub gap_ms: i64,
    /// Milliseconds from the first row of a session to its last, at most.
    pub longest_ms: i64,
}

/// Sliding windows a SELECT asks for: each ends with a row of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlidingSpec {
    /// Milliseconds from its start to the row, that one included.
    pub size_ms: i64,
}

/// What rows are put together by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Windowing {
    /// `TUMBLE` and `HOP`.
    Aligned(WindowSpec),
    /// `SESSION`.
    Sessions(SessionSpec),
    /// `SLIDING`.
    Sliding(SlidingSpec),
}

/// Length of a session that names none: what goes on for longer is a service, and its days are told apart.
pub const LONGEST_MS: i64 = 86_400_000;

/// The table a plan scans; `window` when it stands in `TUMBLE`, `HOP`, `SESSION` or `SLIDING`, `sequence` when in `MATCH_RECOGNIZE`.
pub(super) struct StreamSource {
    pub(super) table: String,
    /// Columns of the stream, then `window_start` and `window_end` if there is a window; or those of a match.
    pub(super) schema: SchemaRef,
    /// How many of them are the stream's.
    pub(super) n_columns: usize,
    pub(super) window: Option<Windowing>,
    /// Set when its rows are matches of a sequence in the table's.
    pub(super) sequence: Option<Arc<Sequence>>,
}

impl TableSource for StreamSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// The table a plan looks into.
pub(super) struct LookupSource(pub(super) Arc<Lookup>);

impl TableSource for LookupSource {
    fn schema(&self) -> SchemaRef {
        self.0.schema.clone()
    }
}

pub(super) fn stream_source(scan: &TableScan) -> Option<Arc<StreamSource>> {
    let source: Arc<dyn std::any::Any + Send + Sync> = scan.source.clone();
    source.downcast::<StreamSource>().ok()
}

pub(super) fn lookup_source(scan: &TableScan) -> Option<Arc<Lookup>> {
    let source: Arc<dyn std::any::Any + Send + Sync> = scan.source.clone();
    source
        .downcast::<LookupSource>()
        .ok()
        .map(|source| source.0.clone())
}

/// Whether a plan reads a stream.
pub(super) fn reads_stream(plan: &LogicalPlan) -> Result<bool, DataFusionError> {
    plan.exists(|node| {
        Ok(matches!(node, LogicalPlan::TableScan(scan) if stream_source(scan).is_some()))
    })
}

fn source(table: &str, stream: &Stream, window: Option<Windowing>) -> Arc<dyn TableSource> {
    let mut fields: Vec<Arc<Field>> = stream.schema.fields().iter().cloned().collect();
    let n_columns = fields.len();
    if window.is_some() {
        let at = || DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        fields.push(Arc::new(Field::new(WINDOW_START, at(), true)));
        fields.push(Arc::new(Field::new(WINDOW_END, at(), true)));
    }
    Arc::new(StreamSource {
        table: table.to_owned(),
        schema: Arc::new(Schema::new(fields)),
        n_columns,
        window,
        sequence: None,
    })
}

/// DataFusion's functions and optimiser, without what would hide a rule's shape from the compiler.
static SESSION: LazyLock<SessionState> = LazyLock::new(|| {
    // The first turns one count(DISTINCT) into two aggregates, the others pull common expressions into projections that
    // a filter on all columns would then sit above.
    let hidden = [
        "single_distinct_aggregation_to_group_by",
        "common_sub_expression_eliminate",
        "extract_leaf_expressions",
        "push_down_leaf_projections",
    ];
    let rules = Optimizer::new()
        .rules
        .into_iter()
        .filter(|rule| !hidden.contains(&rule.name()))
        .collect();
    let mut session = SessionStateBuilder::new_with_default_features()
        .with_optimizer_rules(rules)
        .build();
    for udf in function::all() {
        let name = udf.name().to_owned();
        let shadowed = session.register_udf(udf);
        debug_assert!(
            matches!(shadowed, Ok(None)),
            "{name} is a function of DataFusion"
        );
    }
    session
});

/// The functions rules may call, besides those of the domain: their names, in order.
pub fn other_functions() -> Vec<String> {
    let own: Vec<&str> = function::FUNCTIONS.iter().map(|f| f.name).collect();
    let names = SESSION.scalar_functions().iter();
    let names = names.filter(|(_, udf)| udf.signature().volatility == Volatility::Immutable);
    let names = names.filter(|(_, udf)| !limit::is_endless(udf.name()));
    let mut names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
    names.retain(|name| !own.contains(&name.as_str()));
    names.sort();
    names
}

/// Plans the SELECT of a rule.
///
/// # Errors
/// What DataFusion says of the text, or which construct a stream cannot answer and what to write instead.
pub(super) fn plan(rule: &Rule, catalog: &Catalog) -> Result<LogicalPlan, DataFusionError> {
    let mut params = HashMap::new();
    for (name, param) in &rule.header.params {
        let value = param
            .scalar(&param.default)
            .map_err(|e| plan_datafusion_err!("parameter {name}: {e}"))?;
        params.insert(name.clone(), value);
    }
    let unused = params.keys().find(|name| !mentions(&rule.sql, name));
    if let Some(name) = unused {
        return plan_err!(
            "parameter `{name}` is not used: write ${name} in the SELECT or remove it"
        );
    }
    limit::text(&rule.sql)?;
    let statement = SESSION.sql_to_statement(&rule.sql, &Dialect::Generic)?;
    if !is_query(&statement) {
        return plan_err!("{}", limit::NOT_A_SELECT);
    }
    let provider = Streams {
        catalog,
        relations: vec![Arc::new(Windows {
            catalog: catalog.clone(),
            params: params.clone(),
            within_ms: rule.header.within.map(|within| within.ms),
        })],
    };
    let options = ParserOptions {
        map_string_types_to_utf8view: false,
        ..ParserOptions::default()
    };
    let plan = SqlToRel::new_with_options(&provider, options).statement_to_plan(statement)?;
    refuse(&plan)?;
    if !reads_stream(&plan)? {
        return plan_err!(
            "the SELECT reads no stream: write FROM events, and JOIN the lookup table"
        );
    }
    let values: Vec<(String, ScalarValue)> = params.into_iter().collect();
    let plan = match values.is_empty() {
        true => plan,
        false => plan.with_param_values(ParamValues::from(values))?,
    };
    limit::plan(&plan)?;
    SESSION.optimize(&plan)
}

fn is_query(statement: &Statement) -> bool {
    matches!(statement, Statement::Statement(plain) if matches!(plain.as_ref(), SqlStatement::Query(_)))
}

/// Compiles a predicate or expression in SQL over a schema.
///
/// # Errors
/// What DataFusion says of the text; subqueries and functions that change from call to call are refused.
pub(super) fn expression(
    sql: &str,
    schema: &DFSchema,
) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    limit::text(sql)?;
    let expr = SESSION.create_logical_expr(sql, schema)?;
    refuse_expr(&expr)?;
    limit::expression(&expr, schema)?;
    SESSION.create_physical_expr(expr, schema)
}

/// Parses an expression over a schema, within the bounds of a SELECT's text; what it may ask for is not looked at yet.
///
/// # Errors
/// What DataFusion says of the text.
pub(super) fn parsed(sql: &str, schema: &DFSchema) -> Result<Expr, DataFusionError> {
    limit::text(sql)?;
    SESSION.create_logical_expr(sql, schema)
}

/// An expression as the optimiser leaves one: types coerced, constants folded, functions made ready for their constants.
///
/// # Errors
/// A type that does not fit, a constant that can't be computed.
pub(super) fn simplified(expr: Expr, schema: &DFSchema) -> Result<Expr, DataFusionError> {
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(schema.clone()))
        .with_config_options(SESSION.config_options().clone())
        .build();
    let simplifier = ExprSimplifier::new(context);
    let expr = simplifier.coerce(expr, schema)?;
    simplifier.simplify(expr)
}

/// Compiles an expression of an optimised plan over a schema.
///
/// # Errors
/// An expression DataFusion has no evaluation for.
pub(super) fn physical(
    expr: &Expr,
    schema: &DFSchema,
) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    SESSION.create_physical_expr(expr.clone(), schema)
}

/// Whether the text uses `$name`.
fn mentions(sql: &str, name: &str) -> bool {
    sql.split('$').skip(1).any(|rest| {
        rest.strip_prefix(name)
            .is_some_and(|tail| !tail.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
    })
}

const TWO_STREAMS: &str = "streams can't be joined: write one rule for each, whose findings of one identity and `owasp.` tag are one case, or read `touches`, which has the call's columns too";
const SUBQUERY: &str = "a subquery stands in WHERE, as column IN (SELECT column FROM a lookup table WHERE …) or NOT IN: write a fixed list, a JOIN with a lookup table, or a second rule";

/// Refuses what a stream cannot answer, in the words of SQL.
fn refuse(plan: &LogicalPlan) -> Result<(), DataFusionError> {
    plan.apply(|node| {
        let message = match node {
            LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::TableScan(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Aggregate(_) => "",
            LogicalPlan::Join(join) => match (reads_stream(&join.left)?, reads_stream(&join.right)?) {
                (true, true) => TWO_STREAMS,
                _ => "",
            },
            LogicalPlan::Sort(_) => "ORDER BY has no meaning on a stream: remove it, findings come in the order of their rows",
            LogicalPlan::Limit(_) => "LIMIT has no meaning on a stream: use `suppress` in the header to have fewer alerts",
            LogicalPlan::Union(_) => "UNION is not supported: write one rule for each part, or join the conditions with OR",
            LogicalPlan::Window(_) => "OVER (…) is not supported: aggregate over TUMBLE, HOP or SESSION in FROM and GROUP BY window_start, window_end",
            LogicalPlan::Distinct(_) => "SELECT DISTINCT is not supported: use `suppress` with the columns that make a finding the same",
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => "the SELECT reads no table: write FROM and a table",
            LogicalPlan::Subquery(_) => SUBQUERY,
            _ => "only a plain SELECT … FROM … WHERE … GROUP BY … HAVING is supported",
        };
        if !message.is_empty() {
            return plan_err!("{message}");
        }
        for expr in node.expressions() {
            refuse_expr(&expr)?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// A subquery reads one lookup table, so that it is looked into once a row.
fn refuse_subquery(plan: &LogicalPlan) -> Result<(), DataFusionError> {
    plan.apply(|node| match node {
        LogicalPlan::TableScan(scan) if stream_source(scan).is_some() => plan_err!("{TWO_STREAMS}"),
        LogicalPlan::TableScan(_)
        | LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_) => Ok(TreeNodeRecursion::Continue),
        _ => plan_err!("{SUBQUERY}"),
    })?;
    Ok(())
}

pub(super) fn refuse_expr(expr: &Expr) -> Result<(), DataFusionError> {
    expr.apply(|e| {
        match e {
            Expr::InSubquery(within) => refuse_subquery(&within.subquery.subquery)?,
            Expr::Exists(within) => refuse_subquery(&within.subquery.subquery)?,
            Expr::ScalarSubquery(_) | Expr::SetComparison(_) => return plan_err!("{SUBQUERY}"),
            Expr::WindowFunction(f) => {
                return plan_err!("{}(…) OVER is not supported: aggregate over TUMBLE, HOP or SESSION in FROM and GROUP BY window_start, window_end", f.fun);
            }
            Expr::ScalarFunction(f) if f.func.signature().volatility != Volatility::Immutable => {
                return plan_err!("{}() changes from call to call: use event_time, so that a replay gives the same answer", f.func.name());
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// Resolves table names to streams, and everything else with the session's functions.
struct Streams<'a> {
    catalog: &'a Catalog,
    relations: Vec<Arc<dyn RelationPlanner>>,
}

impl ContextProvider for Streams<'_> {
    fn get_table_source(
        &self,
        name: TableReference,
    ) -> Result<Arc<dyn TableSource>, DataFusionError> {
        let table = name.table();
        match (self.catalog.get(table), self.catalog.lookups.get(table)) {
            (Some(stream), _) => Ok(source(table, stream, None)),
            (None, Some(lookup)) => Ok(Arc::new(LookupSource(lookup.clone()))),
            (None, None) => Err(self.catalog.no_table(table)),
        }
    }

    fn get_table_function_source(
        &self,
        name: &str,
        _: Vec<Expr>,
    ) -> Result<Arc<dyn TableSource>, DataFusionError> {
        plan_err!("there is no table function `{name}`, there are TUMBLE, HOP, SESSION and SLIDING")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        SESSION.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relations
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        SESSION.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        SESSION.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        let own = super::aggregating::own(name);
        own.or_else(|| SESSION.aggregate_functions().get(name).cloned())
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        SESSION.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        SESSION.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        SESSION.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        SESSION.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        SESSION.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        SESSION.window_functions().keys().cloned().collect()
    }
}

/// Plans `TUMBLE(table, time, size)`, `HOP(table, time, slide, size)`, `SESSION(table, time, gap, longest)`,
/// `SLIDING(table, time, size)` and `table MATCH_RECOGNIZE (…)`.
#[derive(Debug)]
struct Windows {
    catalog: Catalog,
    params: HashMap<String, ScalarValue>,
    within_ms: Option<i64>,
}

impl RelationPlanner for Windows {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning, DataFusionError> {
        if matches!(relation, TableFactor::MatchRecognize { .. }) {
            return self.sequence(relation, context);
        }
        let TableFactor::Table {
            name,
            alias,
            args: Some(args),
            ..
        } = &relation
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let function = last_name(name).to_ascii_uppercase();
        let form = match function.as_str() {
            "TUMBLE" => "TUMBLE(table, event_time, INTERVAL 'size')",
            "HOP" => "HOP(table, event_time, INTERVAL 'slide', INTERVAL 'size')",
            "SESSION" => "SESSION(table, event_time, INTERVAL 'gap')",
            "SLIDING" => "SLIDING(table, event_time, INTERVAL 'size')",
            "CUMULATE" => {
                return plan_err!("CUMULATE windows are not supported: use TUMBLE or HOP");
            }
            _ => return Ok(RelationPlanning::Original(Box::new(relation))),
        };
        let mut plain = Vec::with_capacity(args.args.len());
        for arg in &args.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => plain.push(expr),
                _ => return plan_err!("write {form}, without names for the arguments"),
            }
        }
        let (table, time, lengths) = match (function.as_str(), plain.as_slice()) {
            ("TUMBLE", [table, time, size]) => (table, time, vec![*size, *size]),
            ("SLIDING", [table, time, size]) => (table, time, vec![*size]),
            ("HOP", [table, time, slide, size]) => (table, time, vec![*slide, *size]),
            ("SESSION", [table, time, lengths @ ..]) if matches!(lengths.len(), 1 | 2) => {
                (table, time, lengths.to_vec())
            }
            _ => return plan_err!("{function} takes other arguments: write {form}"),
        };
        let SqlExpr::Identifier(table) = table else {
            return plan_err!(
                "the first argument of {function} is the name of a table: write {form}"
            );
        };
        let table = context.normalize_ident(table.clone());
        let Some(stream) = self.catalog.get(&table) else {
            return match self.catalog.lookups.get(&table) {
                Some(_) => plan_err!(
                    "`{table}` is a lookup table, which has no windows: write {form} over a stream, and JOIN {table}"
                ),
                None => Err(self.catalog.no_table(&table)),
            };
        };
        match time {
            SqlExpr::Identifier(column)
                if context.normalize_ident(column.clone()) == stream.time => {}
            _ => {
                return plan_err!(
                    "windows over `{table}` run on its event time: write {} as the second argument of {function}",
                    stream.time
                );
            }
        }
        let lengths = lengths.into_iter().map(|l| self.length_ms(l, context));
        let window = match (
            function.as_str(),
            lengths.collect::<Result<Vec<_>, _>>()?.as_slice(),
        ) {
            ("SESSION", [gap_ms, more @ ..]) => {
                let (gap_ms, longest_ms) = (*gap_ms, more.first().copied().unwrap_or(LONGEST_MS));
                if longest_ms < gap_ms {
                    return plan_err!(
                        "a session of {longest_ms} ms is shorter than its gap of {gap_ms} ms: write SESSION(table, event_time, INTERVAL 'gap', INTERVAL 'longest')"
                    );
                }
                Windowing::Sessions(SessionSpec { gap_ms, longest_ms })
            }
            ("SLIDING", &[size_ms]) => Windowing::Sliding(SlidingSpec { size_ms }),
            (_, &[slide_ms, size_ms]) if size_ms < slide_ms || size_ms % slide_ms != 0 => {
                return plan_err!(
                    "the size of a HOP is a multiple of its slide, {size_ms} ms is none of {slide_ms} ms (the slide comes first)"
                );
            }
            (_, &[slide_ms, size_ms]) => Windowing::Aligned(WindowSpec { slide_ms, size_ms }),
            _ => return plan_err!("{function} takes other arguments: write {form}"),
        };
        let scan =
            LogicalPlanBuilder::scan(table.as_str(), source(&table, stream, Some(window)), None)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            scan.build()?,
            alias.clone(),
        ))))
    }
}

impl Windows {
    /// The scan of a virtual table whose rows are matches.
    fn sequence(
        &self,
        mut relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning, DataFusionError> {
        let alias = match &mut relation {
            TableFactor::MatchRecognize { alias, .. } => alias.take(),
            _ => None,
        };
        let read = sequence::plan::read(relation, self.within_ms, &self.params, context)?;
        let source = StreamSource {
            table: read.table.clone(),
            n_columns: read.output.fields().len(),
            schema: read.output,
            window: None,
            sequence: Some(read.sequence),
        };
        let scan = LogicalPlanBuilder::scan(read.table, Arc::new(source), None)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            scan.build()?,
            alias,
        ))))
    }

    /// Milliseconds of a length in FROM: an INTERVAL, or a parameter of type duration.
    fn length_ms(
        &self,
        length: &SqlExpr,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<i64, DataFusionError> {
        let fault = || {
            plan_datafusion_err!(
                "`{length}` is not a length of whole milliseconds: write INTERVAL '5 minutes' (months have none), or a parameter of type duration"
            )
        };
        let value = match length {
            SqlExpr::Value(value) => match &value.value {
                Value::Placeholder(name) => self.params.get(name.trim_start_matches('$')).cloned(),
                _ => None,
            },
            _ => match context.sql_to_expr(length.clone(), &DFSchema::empty())? {
                Expr::Literal(value, _) => Some(value),
                _ => None,
            },
        };
        let Some(ScalarValue::IntervalMonthDayNano(Some(span))) = value else {
            return Err(fault());
        };
        let whole = span.months == 0 && span.nanoseconds % 1_000_000 == 0;
        let ms = i64::from(span.days) * 86_400_000 + span.nanoseconds / 1_000_000;
        if whole && 0 < ms {
            Ok(ms)
        } else {
            Err(fault())
        }
    }
}

fn last_name(name: &ObjectName) -> String {
    name.0.last().map(ToString::to_string).unwrap_or_default()
}

//! From an optimised logical plan to push operators.
//!
//! The plan is walked from its scan to its root: conditions directly on the scan that cannot fail are shared among the rules
//! of a table, and so are the texts that other conditions make of its columns; what is left becomes [`Step`]s; at most one
//! aggregate over windows becomes a [`WindowProgram`]. A rule that does not fit is refused here, with its reason. Must not know:
//! batches, state.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef, DataFusionError, plan_datafusion_err, plan_err};
use datafusion::logical_expr::logical_plan::{Aggregate as LogicalAggregate, TableScan};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;

use super::aggregate::{Aggregate, Kind};
use super::case::CASE_MS;
use super::distinct::DISTINCT_MAX;
use super::frames::Frames;
use super::function;
use super::having::Having;
use super::header::{Emit, title_columns};
use super::monotone::{Monotone, floor, never_negative};
use super::plan::{
    Catalog, PANES_MAX, StreamSource, WINDOW_END, WINDOW_START, Windowing, expression, physical,
    plan,
};
use super::session::Sessions;
use super::step::Step;
use super::window::{Mode, Windows};
use super::{Rule, RuleFault};

/// A compiled rule without its state.
pub(super) struct Program {
    /// Conditions on the columns of the stream that cannot fail: evaluated on whole batches, shared among rules.
    pub(super) shared: Vec<Expr>,
    /// Columns of the stream the steps read, by number; `None` stands for a window column, which has no value below an aggregate.
    pub(super) scan: Vec<Option<usize>>,
    /// Texts made of the stream's columns, which the steps read behind those: evaluated on whole batches, shared among rules.
    pub(super) texts: Vec<Expr>,
    pub(super) scan_schema: SchemaRef,
    pub(super) steps: Vec<Step>,
    pub(super) exceptions: Vec<CompiledException>,
    pub(super) window: Option<WindowProgram>,
    /// Names of the output columns.
    pub(super) output: Vec<String>,
}

/// An exception: rows it holds on are left out until it expires.
pub(super) struct CompiledException {
    pub(super) predicate: Arc<dyn PhysicalExpr>,
    /// First millisecond of event time at which it no longer applies.
    pub(super) expires_ms: i64,
}

/// Aggregation of a rule over windows.
pub(super) struct WindowProgram {
    pub(super) keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Encodes keys to bytes; nothing when the only group is everything.
    pub(super) converter: Option<RowConverter>,
    pub(super) aggregates: Arc<[Aggregate]>,
    pub(super) columns: Vec<Cell>,
    pub(super) schema: SchemaRef,
    /// HAVING and SELECT.
    pub(super) steps: Vec<Step>,
    pub(super) windows: Frames,
}

/// What a column of an aggregate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    Key(usize),
    Start,
    End,
    Aggregate(usize),
}

/// Compiles a rule; nothing when it reads another table than `table`.
///
/// # Errors
/// Why the rule cannot run, with its file and line.
pub(super) fn compile(
    rule: &Rule,
    catalog: &Catalog,
    table: &str,
) -> Result<Option<Program>, Vec<RuleFault>> {
    compile_for(rule, catalog, Some(table))
        .map_err(|e| vec![fault(rule, &e)])
        .map(|p| p.map(|(_, program)| program))
}

/// What a rule reads and gives.
#[derive(Debug, Clone)]
pub struct Reads {
    /// The table.
    pub table: String,
    /// Columns of the table that its conditions and outputs read.
    pub columns: Vec<String>,
    /// Columns of its findings.
    pub output: Vec<String>,
    /// True when findings are groups in windows.
    pub is_windowed: bool,
}

/// What a rule reads and gives.
///
/// # Errors
/// Why the rule cannot be planned.
pub fn reads(rule: &Rule, catalog: &Catalog) -> Result<Reads, RuleFault> {
    let plan = plan(rule, catalog).map_err(|e| fault(rule, &e))?;
    let source = scanned(&plan).map_err(|e| fault(rule, &e))?;
    let names = |schema: &DFSchemaRef| schema.fields().iter().map(|f| f.name().clone()).collect();
    let mut reads = Reads {
        table: source.table.clone(),
        columns: Vec::new(),
        output: names(plan.schema()),
        is_windowed: false,
    };
    plan.apply(|node| {
        match node {
            LogicalPlan::TableScan(scan) => reads.columns = names(&scan.projected_schema),
            LogicalPlan::Aggregate(_) => reads.is_windowed = true,
            _ => (),
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(|e| fault(rule, &e))?;
    Ok(reads)
}

pub(super) fn fault(rule: &Rule, error: &DataFusionError) -> RuleFault {
    let text = error.strip_backtrace();
    let plain = [
        "Error during planning: ",
        "SQL error: ",
        "Schema error: ",
        "External error: ",
        "Optimizer rule ",
    ];
    let mut message = text.as_str();
    while let Some(rest) = plain.iter().find_map(|p| message.strip_prefix(p)) {
        message = rest;
    }
    RuleFault {
        file: rule.path.clone(),
        line: rule.line,
        message: message.to_owned(),
    }
}

fn scanned(plan: &LogicalPlan) -> Result<Arc<StreamSource>, DataFusionError> {
    let mut found = None;
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found = stream_source(scan);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    // DataFusion replaces a plan that cannot yield a row by an empty one.
    found.ok_or_else(|| {
        plan_datafusion_err!(
            "the WHERE or HAVING is never true: a rule that cannot fire is refused"
        )
    })
}

fn stream_source(scan: &TableScan) -> Option<Arc<StreamSource>> {
    let source: Arc<dyn std::any::Any + Send + Sync> = scan.source.clone();
    source.downcast::<StreamSource>().ok()
}

fn compile_for(
    rule: &Rule,
    catalog: &Catalog,
    table: Option<&str>,
) -> Result<Option<(String, Program)>, DataFusionError> {
    let plan = plan(rule, catalog)?;
    let source = scanned(&plan)?;
    if table.is_some_and(|table| table != source.table) {
        return Ok(None);
    }
    let mut walk = Walk {
        rule,
        catalog,
        shared: Vec::new(),
        steps: Vec::new(),
        scan: None,
        texts: Vec::new(),
        lineage: Vec::new(),
        floors: Vec::new(),
        aggregate: None,
        above: Vec::new(),
        having: Vec::new(),
    };
    walk.node(&plan)?;
    let output: Vec<String> = plan
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    walk.finish(&source, output)
        .map(|program| Some((source.table.clone(), program)))
}

/// What is gathered on the way from the scan to the root.
struct Walk<'a> {
    rule: &'a Rule,
    catalog: &'a Catalog,
    shared: Vec<Expr>,
    /// Steps since the scan, or since the aggregate.
    steps: Vec<Step>,
    scan: Option<(Vec<Option<usize>>, SchemaRef)>,
    texts: Vec<Expr>,
    /// Which columns of the node below are bounds of the window.
    lineage: Vec<Option<Cell>>,
    /// Columns known to be zero or more where the aggregate reads.
    floors: Vec<Expr>,
    aggregate: Option<Aggregated>,
    /// Above the aggregate: which of its columns each column is, nothing for one that is computed.
    above: Vec<Option<usize>>,
    /// Conditions on the aggregate as conditions that stay true, or why one does not.
    having: Vec<Result<Having, String>>,
}

pub(super) struct Aggregated {
    steps_below: Vec<Step>,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    key_types: Vec<DataType>,
    pub(super) aggregates: Vec<Aggregate>,
    /// For each aggregate, whether its argument is never below zero.
    pub(super) nonnegative: Vec<bool>,
    pub(super) columns: Vec<Cell>,
    schema: DFSchemaRef,
}

impl Walk<'_> {
    fn node(&mut self, plan: &LogicalPlan) -> Result<(), DataFusionError> {
        match plan {
            LogicalPlan::TableScan(scan) => self.table_scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.node(&alias.input),
            LogicalPlan::Filter(filter) => {
                self.node(&filter.input)?;
                self.filter(&filter.predicate, &filter.input)
            }
            LogicalPlan::Projection(projection) => {
                self.node(&projection.input)?;
                self.projection(
                    &projection.expr,
                    projection.input.schema(),
                    &projection.schema,
                )
            }
            LogicalPlan::Aggregate(aggregate) => {
                self.node(&aggregate.input)?;
                self.aggregate(aggregate)
            }
            LogicalPlan::EmptyRelation(_) => {
                plan_err!("the WHERE or HAVING is never true: a rule that cannot fire is refused")
            }
            other => plan_err!(
                "only a plain SELECT … FROM … WHERE … GROUP BY … HAVING is supported, not {}",
                other.display()
            ),
        }
    }

    fn table_scan(&mut self, scan: &TableScan) -> Result<(), DataFusionError> {
        let Some(source) = stream_source(scan) else {
            return plan_err!("`{}` is not a stream", scan.table_name);
        };
        if scan.fetch.is_some() || !scan.filters.is_empty() {
            return plan_err!("the scan of `{}` cannot filter or limit", scan.table_name);
        }
        let all = (0..scan.source.schema().fields().len()).collect();
        let places = scan.projection.clone().unwrap_or(all);
        let bound = |at: usize| match at.checked_sub(source.n_columns) {
            None => None,
            Some(0) => Some(Cell::Start),
            Some(_) => Some(Cell::End),
        };
        self.lineage = places.iter().map(|at| bound(*at)).collect();
        let columns = places
            .iter()
            .map(|at| (*at < source.n_columns).then_some(*at))
            .collect();
        self.scan = Some((columns, nullable(&scan.projected_schema)));
        Ok(())
    }

    fn filter(&mut self, predicate: &Expr, input: &LogicalPlan) -> Result<(), DataFusionError> {
        let schema = input.schema();
        if let Some(aggregated) = &self.aggregate {
            let monotone = Monotone {
                aggregated,
                schema,
                above: &self.above,
            };
            self.having.extend(
                split_conjunction(predicate)
                    .into_iter()
                    .map(|part| monotone.part(part)),
            );
            self.steps.push(Step::Filter(physical(predicate, schema)?));
            return Ok(());
        }
        let on_scan = matches!(input, LogicalPlan::TableScan(_));
        let mut own: Option<Expr> = None;
        for part in split_conjunction(predicate) {
            self.refuse_bounds(&physical(part, schema)?)?;
            self.floors.extend(floor(part));
            match on_scan && cannot_fail(part) {
                true => self.shared.push(part.clone()),
                false => own = Some(own.map_or_else(|| part.clone(), |all| all.and(part.clone()))),
            }
        }
        let Some(own) = own else { return Ok(()) };
        let (own, schema) = match on_scan {
            true => (take_texts(own, &mut self.texts)?, self.with_texts(schema)?),
            false => (own, schema.as_ref().clone()),
        };
        self.steps.push(Step::Filter(physical(&own, &schema)?));
        Ok(())
    }

    /// The schema of the scan with the texts behind its columns.
    fn with_texts(&self, scan: &DFSchema) -> Result<DFSchema, DataFusionError> {
        let field = |(at, text): (usize, &Expr)| {
            let of = text.get_type(scan)?;
            Ok((None, Arc::new(Field::new(text_name(at), of, true))))
        };
        let fields = self.texts.iter().enumerate().map(field);
        let fields = fields.collect::<Result<Vec<_>, DataFusionError>>()?;
        scan.join(&DFSchema::new_with_metadata(fields, HashMap::new())?)
    }

    fn projection(
        &mut self,
        exprs: &[Expr],
        input: &DFSchema,
        output: &DFSchemaRef,
    ) -> Result<(), DataFusionError> {
        let exprs = exprs
            .iter()
            .map(|e| physical(e, input))
            .collect::<Result<Vec<_>, _>>()?;
        if self.aggregate.is_none() {
            let mut lineage = Vec::with_capacity(exprs.len());
            for expr in &exprs {
                match expr.downcast_ref::<Column>() {
                    Some(column) => lineage.push(self.lineage[column.index()]),
                    None => {
                        self.refuse_bounds(expr)?;
                        lineage.push(None);
                    }
                }
            }
            self.lineage = lineage;
            self.floors.clear();
        }
        if self.aggregate.is_some() {
            let origin = |expr: &Arc<dyn PhysicalExpr>| {
                expr.downcast_ref::<Column>()
                    .and_then(|c| self.above[c.index()])
            };
            self.above = exprs.iter().map(origin).collect();
        }
        self.steps.push(Step::Project(exprs, nullable(output)));
        Ok(())
    }

    /// Below an aggregate a row is in many windows, so their bounds have no value.
    fn refuse_bounds(&self, expr: &Arc<dyn PhysicalExpr>) -> Result<(), DataFusionError> {
        let used = collect_columns(expr)
            .into_iter()
            .find(|c| self.lineage[c.index()].is_some());
        match used {
            Some(column) => plan_err!(
                "{} can stand in GROUP BY, SELECT and HAVING only: a row may be in more than one window, and a session ends after its rows",
                column.name()
            ),
            None => Ok(()),
        }
    }

    fn aggregate(&mut self, node: &LogicalAggregate) -> Result<(), DataFusionError> {
        if self.aggregate.is_some() {
            return plan_err!(
                "one GROUP BY is supported, not one over another: write two rules, or count(DISTINCT …)"
            );
        }
        let input = node.input.schema();
        let (mut keys, mut key_types, mut columns) = (Vec::new(), Vec::new(), Vec::new());
        for expr in &node.group_expr {
            if matches!(expr, Expr::GroupingSet(_)) {
                return plan_err!(
                    "GROUPING SETS, ROLLUP and CUBE are not supported: write one rule for each grouping"
                );
            }
            let key = physical(expr, input)?;
            let bound = key
                .downcast_ref::<Column>()
                .and_then(|c| self.lineage[c.index()]);
            match bound {
                Some(bound) => columns.push(bound),
                None => {
                    self.refuse_bounds(&key)?;
                    columns.push(Cell::Key(keys.len()));
                    key_types.push(key.data_type(input.as_arrow())?);
                    keys.push(key);
                }
            }
        }
        if !columns.iter().any(|c| matches!(c, Cell::Start | Cell::End)) {
            return plan_err!(
                "an aggregate needs a window: write FROM TUMBLE(table, event_time, INTERVAL '5 minutes'), HOP(…) or SESSION(…), and GROUP BY {WINDOW_START}, {WINDOW_END} too"
            );
        }
        let (mut aggregates, mut nonnegative, mut n_sets) = (Vec::new(), Vec::new(), 0);
        for (at, expr) in node.aggr_expr.iter().enumerate() {
            let output = node
                .schema
                .field(node.group_expr.len() + at)
                .data_type()
                .clone();
            let mut aggregate = self.one_aggregate(expr, input, output)?;
            let is_set = aggregate.kind == Kind::Distinct;
            aggregate.slot = if is_set { n_sets } else { at - n_sets };
            n_sets += usize::from(is_set);
            nonnegative.push(self.is_nonnegative(expr, input));
            columns.push(Cell::Aggregate(at));
            aggregates.push(aggregate);
        }
        let steps_below = std::mem::take(&mut self.steps);
        self.above = (0..columns.len()).map(Some).collect();
        self.aggregate = Some(Aggregated {
            steps_below,
            keys,
            key_types,
            aggregates,
            nonnegative,
            columns,
            schema: node.schema.clone(),
        });
        Ok(())
    }

    fn one_aggregate(
        &self,
        expr: &Expr,
        input: &DFSchema,
        output: DataType,
    ) -> Result<Aggregate, DataFusionError> {
        let expr = unaliased(expr);
        let Expr::AggregateFunction(function) = expr else {
            return plan_err!("`{expr}` is not an aggregate");
        };
        let aggregate = function::aggregate(function, input, output)?;
        let exprs = [&aggregate.arg, &aggregate.filter, &aggregate.by];
        for expr in exprs.into_iter().flatten() {
            self.refuse_bounds(expr)?;
        }
        Ok(aggregate)
    }

    /// Whether the argument of an aggregate is never below zero, so that its sum never falls.
    fn is_nonnegative(&self, aggregate: &Expr, input: &DFSchema) -> bool {
        let Expr::AggregateFunction(function) = unaliased(aggregate) else {
            return false;
        };
        function
            .params
            .args
            .first()
            .is_some_and(|arg| never_negative(arg, &self.floors, input))
    }

    fn finish(
        self,
        source: &StreamSource,
        output: Vec<String>,
    ) -> Result<Program, DataFusionError> {
        self.check_names(&output)?;
        let Some((scan, scan_schema)) = self.scan.clone() else {
            return plan_err!("the SELECT reads no table");
        };
        let scan_schema = match self.texts.is_empty() {
            true => scan_schema,
            false => nullable(&self.with_texts(&DFSchema::try_from_qualified_schema(
                source.table.as_str(),
                &scan_schema,
            )?)?),
        };
        let exceptions = exceptions(self.rule, self.catalog, &source.table)?;
        let (steps, window) = match (self.aggregate, source.window) {
            (Some(aggregated), Some(spec)) => {
                let (below, window) = window(self.rule, aggregated, spec, self.steps, self.having)?;
                (below, Some(window))
            }
            (None, None) => {
                if !matches!(self.rule.header.emit, None | Some(Emit::Each)) {
                    return plan_err!(
                        "emit: a rule without a window fires at each row: remove `emit`, or write TUMBLE, HOP or SESSION in FROM"
                    );
                }
                (self.steps, None)
            }
            (Some(_), None) => {
                return plan_err!(
                    "an aggregate needs a window: write FROM TUMBLE(…), HOP(…) or SESSION(…)"
                );
            }
            (None, Some(_)) => {
                return plan_err!(
                    "TUMBLE, HOP and SESSION need a GROUP BY with {WINDOW_START}, {WINDOW_END} and an aggregate: without one, read the table itself"
                );
            }
        };
        Ok(Program {
            shared: self.shared,
            scan,
            texts: self.texts,
            scan_schema,
            steps,
            exceptions,
            window,
            output,
        })
    }

    /// Output columns the header names must exist.
    fn check_names(&self, output: &[String]) -> Result<(), DataFusionError> {
        let header = &self.rule.header;
        if let Some(name) = output
            .iter()
            .enumerate()
            .find_map(|(at, name)| output[..at].contains(name).then_some(name))
        {
            return plan_err!(
                "two output columns are called `{name}`: give one of them another name with AS"
            );
        }
        let by = header
            .suppress
            .iter()
            .flat_map(|s| s.by.iter().map(|name| ("suppress.by", name.as_str())));
        let title = title_columns(&header.alert.title)
            .into_iter()
            .map(|name| ("alert.title", name));
        for (key, name) in by.chain(title) {
            if !output.iter().any(|o| o == name) {
                return plan_err!(
                    "{key} names `{name}`, which the SELECT does not put out: it has {}",
                    output.join(", ")
                );
            }
        }
        match header
            .requires
            .iter()
            .find(|name| !self.catalog.has_column(name))
        {
            Some(name) => plan_err!("requires names `{name}`, which no table has"),
            None => Ok(()),
        }
    }
}

fn window(
    rule: &Rule,
    aggregated: Aggregated,
    windowing: Windowing,
    steps: Vec<Step>,
    having: Vec<Result<Having, String>>,
) -> Result<(Vec<Step>, WindowProgram), DataFusionError> {
    let lateness_ms = rule.header.lateness.ms;
    match windowing {
        Windowing::Aligned(spec) if PANES_MAX < spec.panes_max(lateness_ms) => {
            return plan_err!(
                "the window and its lateness span {} slides of {} ms, at most {PANES_MAX} are kept: widen the slide, or lower `lateness` ({lateness_ms} ms)",
                spec.panes_max(lateness_ms),
                spec.slide_ms
            );
        }
        Windowing::Sessions(spec) if PANES_MAX < lateness_ms / spec.gap_ms => {
            return plan_err!(
                "the lateness spans {} gaps of {} ms, at most {PANES_MAX} are possible, since a group may have a session in each: lower `lateness` ({lateness_ms} ms)",
                lateness_ms / spec.gap_ms,
                spec.gap_ms
            );
        }
        _ => {}
    }
    let case_ms = rule.header.suppress.as_ref().map_or(CASE_MS, |s| s.span.ms);
    let proof = having
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map(Having::All);
    if let Ok(having) = &proof {
        let sets = aggregated.aggregates.iter().enumerate();
        let bounds = sets
            .filter(|(_, aggregate)| aggregate.kind == Kind::Distinct)
            .filter_map(|(at, _)| having.bound_max(at));
        if let Some(bound) = bounds
            .reduce(f64::max)
            .filter(|b| DISTINCT_MAX as f64 <= *b)
        {
            return plan_err!(
                "count(DISTINCT …) is compared with {bound}, which it never reaches: a group keeps at most {DISTINCT_MAX} values; lower the threshold, or narrow the window"
            );
        }
    }
    let mode = match (rule.header.emit, proof) {
        (Some(Emit::Each), _) => {
            return plan_err!(
                "emit: each is for rules without a window: write first_crossing or window_close"
            );
        }
        (Some(Emit::WindowClose), _) => Mode::Close,
        (Some(Emit::FirstCrossing), Err(reason)) => {
            return plan_err!(
                "emit: first_crossing needs a HAVING that stays true once it is: {reason}; write emit: window_close"
            );
        }
        (Some(Emit::FirstCrossing), Ok(having)) => Mode::FirstCrossing(having),
        (None, Ok(terms)) if terms != Having::All(Vec::new()) => Mode::FirstCrossing(terms),
        (None, _) => Mode::Close,
    };
    let converter = match aggregated.key_types.is_empty() {
        true => None,
        false => Some(RowConverter::new(
            aggregated
                .key_types
                .iter()
                .cloned()
                .map(SortField::new)
                .collect(),
        )?),
    };
    let aggregates: Arc<[Aggregate]> = aggregated.aggregates.into();
    let (own, evidence_max) = (aggregates.clone(), rule.header.alert.evidence.limit);
    let windows = match windowing {
        Windowing::Aligned(spec) => {
            let of = Windows::new(spec, lateness_ms, case_ms, mode, own, evidence_max);
            Frames::Aligned(of)
        }
        Windowing::Sessions(spec) => {
            let of = Sessions::new(spec, lateness_ms, case_ms, mode, own, evidence_max);
            Frames::Sessions(of)
        }
    };
    let program = WindowProgram {
        keys: aggregated.keys,
        converter,
        aggregates,
        columns: aggregated.columns,
        schema: nullable(&aggregated.schema),
        steps,
        windows,
    };
    Ok((aggregated.steps_below, program))
}

fn exceptions(
    rule: &Rule,
    catalog: &Catalog,
    table: &str,
) -> Result<Vec<CompiledException>, DataFusionError> {
    let Some(stream) = catalog.get(table) else {
        return Ok(Vec::new());
    };
    let schema = DFSchema::try_from_qualified_schema(table, &stream.schema)?;
    let compiled = |exception: &super::header::Exception| {
        let named = |e: DataFusionError| {
            plan_datafusion_err!("exception `{}`: {}", exception.when, e.strip_backtrace())
        };
        let predicate = expression(&exception.when, &schema).map_err(named)?;
        match predicate.data_type(&stream.schema)? {
            DataType::Boolean => Ok(CompiledException {
                predicate,
                expires_ms: exception.expires_ms().unwrap_or(i64::MIN),
            }),
            _ => plan_err!("exception `{}` is not a condition", exception.when),
        }
    };
    rule.header.exceptions.iter().map(compiled).collect()
}

/// The schema without promises about nulls: a source that lacks a column leaves it null.
fn nullable(schema: &DFSchema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|f| f.as_ref().clone().with_nullable(true))
        .collect();
    Arc::new(Schema::new(fields))
}

pub(super) fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// Whether it may be asked of rows other conditions would rule out: no row can make it fail, and it costs little.
///
/// Arithmetic and casts can fail; functions and regular expressions are dear, so they are asked of what is left.
fn cannot_fail(expr: &Expr) -> bool {
    let mut safe = true;
    let walked = expr.apply(|e| {
        safe &= match e {
            Expr::BinaryExpr(b) => is_plain(b.op),
            Expr::Column(_)
            | Expr::Literal(..)
            | Expr::Not(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
            | Expr::Like(_)
            | Expr::InList(_)
            | Expr::Between(_) => true,
            _ => false,
        };
        Ok(if safe {
            TreeNodeRecursion::Continue
        } else {
            TreeNodeRecursion::Stop
        })
    });
    safe && walked.is_ok()
}

/// Puts columns in the place of the texts in a condition that functions make and that no row can make fail.
fn take_texts(condition: Expr, texts: &mut Vec<Expr>) -> Result<Expr, DataFusionError> {
    let taken = condition.transform_down(|e| {
        if !matches!(e, Expr::ScalarFunction(_)) || !is_text(&e) {
            return Ok(Transformed::no(e));
        }
        let known = texts.iter().position(|text| *text == e);
        let at = known.unwrap_or_else(|| {
            texts.push(e);
            texts.len() - 1
        });
        let column = datafusion::common::Column::new_unqualified(text_name(at));
        Ok(Transformed::yes(Expr::Column(column)))
    });
    Ok(taken?.data)
}

/// Whether it is a text made of columns by what cannot fail.
fn is_text(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) | Expr::Literal(..) => true,
        Expr::Cast(cast) => *cast.field.data_type() == DataType::Utf8 && is_text(&cast.expr),
        Expr::BinaryExpr(b) => {
            b.op == Operator::StringConcat && is_text(&b.left) && is_text(&b.right)
        }
        Expr::ScalarFunction(f) => {
            matches!(f.func.name(), "lower" | "upper" | "concat" | "concat_ws")
                && f.args.iter().all(is_text)
        }
        _ => false,
    }
}

/// Name of the column that stands for a text; none of a table begins with a space.
fn text_name(at: usize) -> String {
    format!(" text {at}")
}

fn is_plain(op: Operator) -> bool {
    use Operator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or};
    matches!(
        op,
        And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom
    )
}

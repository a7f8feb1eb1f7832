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
use datafusion::common::{
    DFSchema, DFSchemaRef, DataFusionError, NullEquality, plan_datafusion_err, plan_err,
};
use datafusion::logical_expr::logical_plan::{Aggregate as LogicalAggregate, Join, TableScan};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, JoinType, LogicalPlan, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;

use super::aggregate::{Aggregate, Kind};
use super::aggregating;
use super::case::CASE_MS;
use super::distinct::DISTINCT_MAX;
use super::frames::Frames;
use super::having::Having;
use super::header::{Emit, title_columns};
use super::limit::on_deep_stack;
use super::lookup::Lookup;
use super::lookup::index::{Keep, Look};
use super::monotone::{Monotone, floor, never_negative};
use super::plan::{
    Catalog, PANES_MAX, StreamSource, WINDOW_END, WINDOW_START, Windowing, expression,
    lookup_source, physical, plan, reads_stream, stream_source,
};
use super::sequence;
use super::session::Sessions;
use super::sliding::Sliding;
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
    /// Set when the steps read matches, not rows of the stream.
    pub(super) sequence: Option<sequence::Program>,
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
    /// Names what is counted and how: state made under one name may be gone on with under the same one.
    pub(super) counted: u64,
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
    on_deep_stack(|| reads_here(rule, catalog))
}

fn reads_here(rule: &Rule, catalog: &Catalog) -> Result<Reads, RuleFault> {
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
            LogicalPlan::TableScan(scan) if stream_source(scan).is_some() => {
                reads.columns = names(&scan.projected_schema)
            }
            LogicalPlan::Aggregate(_) => reads.is_windowed = true,
            _ => (),
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(|e| fault(rule, &e))?;
    if let Some(sequence) = &source.sequence {
        reads.columns = sequence.columns();
    }
    Ok(reads)
}

pub(super) fn fault(rule: &Rule, error: &DataFusionError) -> RuleFault {
    RuleFault {
        file: rule.path.clone(),
        line: rule.line,
        message: told(error),
    }
}

/// What an error says, without the words of who found it.
pub(super) fn told(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    let plain = [
        "Error during planning: ",
        "SQL error: ",
        "Schema error: ",
        "External error: ",
        "Optimizer rule ",
    ];
    // An optimiser's pass says its name first, which no author of rules knows.
    let mut message = text.rsplit("\ncaused by\n").next().unwrap_or(&text);
    while let Some(rest) = plain.iter().find_map(|p| message.strip_prefix(p)) {
        message = rest;
    }
    message.to_owned()
}

fn scanned(plan: &LogicalPlan) -> Result<Arc<StreamSource>, DataFusionError> {
    let mut found = None;
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found = found.take().or(stream_source(scan));
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
        has_looked: false,
        aggregate: None,
        above: Vec::new(),
        having: Vec::new(),
        is_sequence: source.sequence.is_some(),
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
    /// Whether columns may be of a lookup table too, under the name of one of the stream.
    has_looked: bool,
    aggregate: Option<Aggregated>,
    /// Above the aggregate: which of its columns each column is, nothing for one that is computed.
    above: Vec<Option<usize>>,
    /// Conditions on the aggregate as conditions that stay true, or why one does not.
    having: Vec<Result<Having, String>>,
    /// True when the scan's rows are matches of a sequence, so that nothing of it is shared with other rules.
    is_sequence: bool,
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
    /// The rows that are counted, by what, and which aggregates, in words.
    counted: String,
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
            LogicalPlan::Join(join) => self.join(join),
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
        let on_scan = matches!(input, LogicalPlan::TableScan(_)) && !self.is_sequence;
        let mut own: Option<Expr> = None;
        for part in split_conjunction(predicate) {
            self.refuse_bounds(&physical(part, schema)?)?;
            // The proof forgets which table a column is of.
            self.floors.extend(floor(part).filter(|_| !self.has_looked));
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

    /// A stream joined with a lookup table, in any of the forms DataFusion has for JOIN and IN.
    fn join(&mut self, join: &Join) -> Result<(), DataFusionError> {
        let is_first = !reads_stream(&join.left)?;
        let (stream, side) = match is_first {
            false => (&join.left, &join.right),
            true => (&join.right, &join.left),
        };
        self.node(stream)?;
        let keep = match (join.join_type, is_first) {
            (JoinType::Inner, _) => Keep::Found,
            (JoinType::Left, false) | (JoinType::Right, true) => Keep::All,
            (JoinType::LeftSemi, false) | (JoinType::RightSemi, true) => Keep::Listed,
            (JoinType::LeftAnti, false) | (JoinType::RightAnti, true) => Keep::NotListed {
                is_null_out: join.null_aware,
            },
            (JoinType::LeftMark | JoinType::RightMark, _) => {
                return plan_err!(
                    "IN (SELECT …) beside OR is not supported: LEFT JOIN the lookup table and ask for IS NOT NULL, or write two rules"
                );
            }
            _ => {
                return plan_err!(
                    "a stream has no end, so rows of a lookup table that no row of it meets can't be told: write JOIN, or LEFT JOIN with the stream on the left"
                );
            }
        };
        if self.aggregate.is_some() {
            return plan_err!(
                "a lookup table is joined below the GROUP BY: write FROM TUMBLE(…) JOIN … GROUP BY, and IN (SELECT …) into WHERE"
            );
        }
        let is_asked_by_equality =
            !join.on.is_empty() && join.null_equality == NullEquality::NullEqualsNothing;
        if !is_asked_by_equality || (join.filter.is_some() && keep != Keep::Found) {
            return plan_err!(
                "a lookup table is joined by equal columns: write ON events.column = table.column, and other conditions into WHERE"
            );
        }
        let (mut asked, mut keys) = (Vec::new(), Vec::new());
        for (left, right) in &join.on {
            let (of_stream, of_side) = match is_first {
                false => (left, right),
                true => (right, left),
            };
            let key = physical(of_stream, stream.schema())?;
            self.refuse_bounds(&key)?;
            asked.push(key);
            keys.push(of_side);
        }
        let mut looked = Side::default();
        looked.node(side)?;
        let Some(table) = looked.table else {
            return plan_err!("a lookup that can't find anything: its WHERE is never true");
        };
        let asked_for = format!("{:?} {:?} {keys:?}", looked.projection, looked.chosen);
        let keys = keys.into_iter().map(|key| physical(key, side.schema()));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let index = table.index(asked_for, &looked.projection, &looked.steps, &keys)?;
        let look = Look {
            keys: asked,
            index,
            keep,
            is_first,
            schema: nullable(&join.schema),
        };
        look.check(&table.name)?;
        if matches!(keep, Keep::Found | Keep::All) {
            let of_table = vec![None; side.schema().fields().len()];
            let at = if is_first { 0 } else { self.lineage.len() };
            self.lineage.splice(at..at, of_table);
            self.floors.clear();
            self.has_looked = true;
        }
        self.steps.push(Step::Look(look));
        if let Some(filter) = &join.filter {
            let filter = physical(filter, &join.schema)?;
            self.refuse_bounds(&filter)?;
            self.steps.push(Step::Filter(filter));
        }
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
        if self.is_sequence {
            return plan_err!(
                "an aggregate over MATCH_RECOGNIZE is not supported: COUNT in MEASURES counts the rows of a match, and `suppress` makes its matches one case"
            );
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
            counted: format!(
                "{:?} by {:?} of {} with {:?}",
                shown(&node.aggr_expr),
                shown(&node.group_expr),
                node.input.display_indent_schema(),
                looked_into(&node.input)?
            ),
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
        let aggregate = aggregating::aggregate(function, input, output)?;
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
        let sequence = match (&source.sequence, self.catalog.get(&source.table)) {
            (Some(sequence), Some(stream)) => Some(sequence::Program::new(
                sequence.clone(),
                &nullable(&DFSchema::try_from(stream.schema.as_ref().clone())?),
                source.schema.clone(),
                self.rule.header.alert.evidence.limit,
            )?),
            _ if self.rule.header.within.is_some() => {
                return plan_err!(
                    "within: is the bound of a MATCH_RECOGNIZE, and there is none: remove it"
                );
            }
            _ => None,
        };
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
                    "an aggregate needs a window: write FROM TUMBLE(…), HOP(…), SESSION(…) or SLIDING(…)"
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
            sequence,
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
        Windowing::Sliding(_) => refuse_sliding(rule, &aggregated, &having)?,
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
    let closes = mode == Mode::Close;
    let counted = format!(
        "{} {windowing:?} {lateness_ms} {closes}",
        aggregated.counted
    );
    let counted = xxhash_rust::xxh3::xxh3_64(counted.as_bytes());
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
        Windowing::Sliding(spec) => {
            let of = Sliding::new(spec, lateness_ms, case_ms, mode, own, evidence_max);
            Frames::Sliding(of)
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
        counted,
    };
    Ok((aggregated.steps_below, program))
}

/// Refuses what a window that moves with each row can't keep.
fn refuse_sliding(
    rule: &Rule,
    aggregated: &Aggregated,
    having: &[Result<Having, String>],
) -> Result<(), DataFusionError> {
    let is_count = |aggregate: &Aggregate| matches!(aggregate.kind, Kind::Count | Kind::Distinct);
    if !aggregated.aggregates.iter().all(is_count) {
        return plan_err!(
            "SLIDING keeps counts alone, count(*), count(x) and count(DISTINCT x): write HOP for other aggregates"
        );
    }
    if rule.header.emit == Some(Emit::WindowClose) {
        return plan_err!(
            "a SLIDING window ends with each row and never closes: remove `emit`, or write HOP"
        );
    }
    if let Some(Err(reason)) = having.iter().find(|part| part.is_err()) {
        return plan_err!(
            "SLIDING needs a HAVING that a row alone can make true: {reason}; write HOP and emit: window_close"
        );
    }
    if having.is_empty() {
        return plan_err!(
            "SLIDING needs a threshold: write HAVING count(*) >= 10, or read the table itself"
        );
    }
    let all = having.iter().flatten().cloned().collect();
    let all = Having::All(all);
    let bounds = (0..aggregated.aggregates.len()).filter_map(|at| all.bound_max(at));
    match bounds
        .reduce(f64::max)
        .filter(|bound| DISTINCT_MAX as f64 <= *bound)
    {
        Some(bound) => plan_err!(
            "a count is compared with {bound}, which it never reaches: SLIDING keeps at most {DISTINCT_MAX} times of a group; lower the threshold, or write HOP"
        ),
        None => Ok(()),
    }
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

/// Names and hashes of the lookup tables that a plan reads.
fn looked_into(plan: &LogicalPlan) -> Result<Vec<String>, DataFusionError> {
    let mut tables = Vec::new();
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            tables.extend(
                lookup_source(scan).map(|table| format!("{}@{:016x}", table.name, table.hash)),
            );
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(tables)
}

fn shown(exprs: &[Expr]) -> Vec<String> {
    exprs.iter().map(ToString::to_string).collect()
}

/// What is read of a lookup table, on the way from its scan to the join.
#[derive(Default)]
struct Side {
    table: Option<Arc<Lookup>>,
    projection: Vec<usize>,
    steps: Vec<Step>,
    /// What the steps choose: rows by a condition, or columns.
    chosen: Vec<Vec<Expr>>,
}

impl Side {
    fn node(&mut self, plan: &LogicalPlan) -> Result<(), DataFusionError> {
        match plan {
            LogicalPlan::TableScan(scan) if scan.fetch.is_none() && scan.filters.is_empty() => {
                self.table = lookup_source(scan);
                let all = (0..scan.source.schema().fields().len()).collect();
                self.projection = scan.projection.clone().unwrap_or(all);
            }
            LogicalPlan::SubqueryAlias(alias) => self.node(&alias.input)?,
            LogicalPlan::Filter(filter) => {
                self.node(&filter.input)?;
                let predicate = physical(&filter.predicate, filter.input.schema())?;
                self.steps.push(Step::Filter(predicate));
                self.chosen.push(vec![filter.predicate.clone()]);
            }
            LogicalPlan::Projection(projection) => {
                self.node(&projection.input)?;
                self.chosen.push(projection.expr.clone());
                let of = projection.input.schema();
                let exprs = projection.expr.iter().map(|expr| physical(expr, of));
                let exprs = exprs.collect::<Result<Vec<_>, _>>()?;
                let schema = nullable(&projection.schema);
                self.steps.push(Step::Project(exprs, schema));
            }
            LogicalPlan::EmptyRelation(_) => (),
            other => {
                return plan_err!(
                    "of a lookup table columns and rows are chosen, nothing else: {} is not supported",
                    other.display()
                );
            }
        }
        Ok(())
    }
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

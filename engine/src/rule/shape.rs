//! How a rule is run and what its groups take, for whoever writes or reviews one. Must not know: batches, files.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;

use super::aggregate::Aggregate;
use super::compile::{Reads, compile, fault, reads, unaliased};
use super::limit::on_deep_stack;
use super::plan::{Catalog, WINDOW_END, WINDOW_START, Windowing, plan};
use super::window::GroupBytes;
use super::{Rule, RuleFault};

/// How a rule is run.
#[derive(Debug, Clone)]
pub struct Shape {
    /// What it reads and gives.
    pub reads: Reads,
    /// The plan as DataFusion prints it, one operator a line.
    pub plan: String,
    /// Groups in windows; none for a rule that fires at each row.
    pub window: Option<WindowShape>,
    /// Keys whose rows are followed in a pattern; none for a rule without.
    pub sequence: Option<SequenceShape>,
}

/// The keys of a sequence.
#[derive(Debug, Clone)]
pub struct SequenceShape {
    /// What rows of one sequence share.
    pub keys: Vec<String>,
    /// Symbols of the pattern, repetitions written out.
    pub n_places: usize,
    /// Event time from the first row of a match to its last.
    pub within_ms: i64,
    /// Bytes a key takes at most.
    pub bytes_of_key: usize,
}

/// The groups of a rule and their windows.
#[derive(Debug, Clone)]
pub struct WindowShape {
    /// What rows are grouped by, besides the window.
    pub keys: Vec<String>,
    /// What is counted for each group.
    pub aggregates: Vec<String>,
    /// Which windows.
    pub windowing: Windowing,
    /// Milliseconds a window waits for rows that come out of order.
    pub lateness_ms: i64,
    /// Panes a group may hold; a session is one.
    pub panes_max: i64,
    /// True when a group is told as soon as it crosses, false when its window closes.
    pub is_early: bool,
    /// What a group takes.
    pub bytes: GroupBytes,
    /// Values a group keeps at most, for each `count(DISTINCT …)`; of `SLIDING`, times or values for each aggregate.
    pub values_max: Vec<usize>,
    /// Aggregates that keep more than a number, and how many bytes in each pane at most.
    pub kept_max: Vec<(String, usize)>,
}

/// Tells how a rule is run.
///
/// # Errors
/// Why it cannot run.
pub fn shape(rule: &Rule, catalog: &Catalog) -> Result<Shape, Vec<RuleFault>> {
    on_deep_stack(|| shape_here(rule, catalog))
}

fn shape_here(rule: &Rule, catalog: &Catalog) -> Result<Shape, Vec<RuleFault>> {
    let reads = reads(rule, catalog).map_err(|one| vec![one])?;
    let program = compile(rule, catalog, &reads.table)?;
    let plan = plan(rule, catalog).map_err(|e| vec![fault(rule, &e)])?;
    let (mut keys, mut aggregates) = (Vec::new(), Vec::new());
    plan.apply(|node| {
        if let LogicalPlan::Aggregate(aggregate) = node {
            let names = |exprs: &[_]| exprs.iter().map(|e| unaliased(e).to_string()).collect();
            (keys, aggregates) = (names(&aggregate.group_expr), names(&aggregate.aggr_expr));
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(|e| vec![fault(rule, &e)])?;
    keys.retain(|key: &String| {
        let column = key.rsplit('.').next();
        column != Some(WINDOW_START) && column != Some(WINDOW_END)
    });
    let (window, sequence) = match program {
        Some(program) => (program.window, program.sequence),
        None => (None, None),
    };
    let sequence = sequence.map(|sequence| sequence.shape());
    let window = window.map(|window| {
        let (windowing, lateness_ms) = (window.windows.windowing(), rule.header.lateness.ms);
        let kept = |(name, aggregate): (&String, &Aggregate)| {
            let bytes_max = aggregate.bytes_max();
            (0 < bytes_max).then(|| (name.clone(), bytes_max))
        };
        let kept_max = aggregates.iter().zip(window.aggregates.iter());
        WindowShape {
            keys,
            kept_max: kept_max.filter_map(kept).collect(),
            aggregates,
            windowing,
            lateness_ms,
            panes_max: match windowing {
                Windowing::Aligned(spec) => spec.panes_max(lateness_ms),
                Windowing::Sessions(_) | Windowing::Sliding(_) => 1,
            },
            is_early: window.windows.speaks_early(),
            bytes: window.windows.group_bytes(),
            values_max: window.windows.values_max().to_vec(),
        }
    });
    Ok(Shape {
        reads,
        plan: plan.display_indent().to_string(),
        window,
        sequence,
    })
}

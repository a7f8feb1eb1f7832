//! Which aggregate of ours a call in SQL is, or why it is none. Must not know: windows, groups.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, DataFusionError, plan_err};
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::aggregate::{Aggregate, Kind};
use super::input::is_foldable;
use super::picked::Order;
use super::plan::physical;

/// The aggregates there are, as their authors write them.
const AGGREGATES: &str = "count, count(DISTINCT …), approx_distinct, sum, min, max, avg, stddev, stddev_pop, var, var_pop, median, \
     approx_median, percentile_cont, approx_percentile_cont, first_value, last_value, array_agg, string_agg, bool_and and bool_or";

/// Compiles a call over the columns of `input`; `output`: the type DataFusion gives it. Its place among the cells or sets is left zero.
///
/// # Errors
/// What of it is not supported, and what to write instead.
pub(super) fn aggregate(
    function: &AggregateFunction,
    input: &DFSchema,
    output: DataType,
) -> Result<Aggregate, DataFusionError> {
    let (name, params) = (function.func.name(), &function.params);
    let kind = kind(function)?;
    let ordered = matches!(kind, Kind::Picked { .. } | Kind::List { .. });
    let by = match (params.order_by.as_slice(), kind) {
        ([], _) => None,
        // WITHIN GROUP, whose column DataFusion has put before the share.
        ([_], Kind::Quantile(_)) if params.args.len() == 2 => None,
        ([sort], _) if ordered => Some(physical(&sort.expr, input)?),
        _ if ordered => {
            return plan_err!(
                "{name}() is ordered by one expression: rows that are equal in it come in the order of the log"
            );
        }
        _ => return plan_err!("ORDER BY inside {name}() is not supported: it changes nothing"),
    };
    let arg = match (params.args.as_slice(), kind) {
        ([Expr::Literal(value, _)], Kind::Count) if !value.is_null() => None,
        ([arg], _) | ([arg, _], Kind::Quantile(_) | Kind::List { .. }) => {
            Some(physical(arg, input)?)
        }
        _ => return plan_err!("{name}() takes one argument: concatenate several with ||"),
    };
    let folded = match kind {
        Kind::Count | Kind::Distinct => None,
        _ => arg.as_ref(),
    };
    for folded in folded.into_iter().chain(&by) {
        let of = folded.data_type(input.as_arrow())?;
        if !is_foldable(&of) {
            return plan_err!(
                "{name}() of {of} is not supported: cast it to DOUBLE, BIGINT or VARCHAR"
            );
        }
    }
    let filter = params.filter.as_ref();
    Ok(Aggregate {
        kind,
        arg,
        filter: filter.map(|f| physical(f, input)).transpose()?,
        by,
        between: between(function)?,
        output,
        slot: 0,
    })
}

fn kind(function: &AggregateFunction) -> Result<Kind, DataFusionError> {
    let (name, params) = (function.func.name(), &function.params);
    let spread = |is_sample, is_root| Kind::Spread { is_sample, is_root };
    let sort = params.order_by.first();
    let order = sort.map_or_else(Order::default, |sort| Order {
        falls: !sort.asc,
        nulls_first: sort.nulls_first,
    });
    let skips_nulls = params.null_treatment == Some(NullTreatment::IgnoreNulls);
    Ok(match (name, params.distinct) {
        ("count", false) => Kind::Count,
        ("count", true) | ("approx_distinct", _) => Kind::Distinct,
        ("sum", false) => Kind::Sum,
        ("min" | "bool_and", _) => Kind::Min,
        ("max" | "bool_or", _) => Kind::Max,
        ("avg", false) => Kind::Avg,
        ("stddev", false) => spread(true, true),
        ("stddev_pop", false) => spread(false, true),
        ("var", false) => spread(true, false),
        ("var_pop", false) => spread(false, false),
        ("median" | "approx_median", false) => Kind::Quantile(0.5),
        ("percentile_cont" | "approx_percentile_cont", false) => {
            let share = share(function)?;
            Kind::Quantile(if order.falls { 1.0 - share } else { share })
        }
        ("first_value" | "last_value", false) => Kind::Picked {
            order,
            is_last: name == "last_value",
            skips_nulls,
        },
        ("array_agg", is_distinct) => Kind::List {
            order,
            is_distinct,
            skips_nulls,
        },
        ("string_agg", is_distinct) => Kind::List {
            order,
            is_distinct,
            skips_nulls: true,
        },
        (_, true) => {
            return plan_err!(
                "{name}(DISTINCT …) is not supported: DISTINCT goes with count, array_agg and string_agg"
            );
        }
        _ => return plan_err!("{name}() is not supported: use {AGGREGATES}"),
    })
}

/// The share a quantile is asked for.
fn share(function: &AggregateFunction) -> Result<f64, DataFusionError> {
    let name = function.func.name();
    let literal = function.params.args.get(1).and_then(|arg| match arg {
        Expr::Literal(value, _) => value.cast_to(&DataType::Float64).ok(),
        _ => None,
    });
    match literal {
        Some(ScalarValue::Float64(Some(share))) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => plan_err!("{name}() takes a column and a number from 0 to 1: {name}(column, 0.95)"),
    }
}

/// What stands between the values of a text.
fn between(function: &AggregateFunction) -> Result<Option<Box<str>>, DataFusionError> {
    match (function.func.name(), function.params.args.get(1)) {
        ("string_agg", Some(Expr::Literal(value, _))) => match value.cast_to(&DataType::Utf8)? {
            ScalarValue::Utf8(text) => Ok(Some(text.unwrap_or_default().into())),
            _ => Ok(None),
        },
        ("string_agg", _) => {
            plan_err!("string_agg() takes a column and a text: string_agg(path, ', ')")
        }
        _ => Ok(None),
    }
}

/// `approx_distinct`, which counts as `count(DISTINCT …)` does and so is a signed number, not DataFusion's sketch.
static APPROX_DISTINCT: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
    Arc::new(AggregateUDF::from(ApproxDistinct(Signature::any(
        1,
        Volatility::Immutable,
    ))))
});

/// Our own form of an aggregate, where DataFusion's has another type.
pub(super) fn own(name: &str) -> Option<Arc<AggregateUDF>> {
    (name == "approx_distinct").then(|| APPROX_DISTINCT.clone())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ApproxDistinct(Signature);

impl AggregateUDFImpl for ApproxDistinct {
    fn name(&self) -> &str {
        "approx_distinct"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Int64)
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>, DataFusionError> {
        plan_err!("approx_distinct is counted by windows alone")
    }
}

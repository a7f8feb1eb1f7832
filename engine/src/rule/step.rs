//! Operators that need no state: filters, projections and looks into tables, over one batch. Must not know: plans, windows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::compute::{filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, plan_datafusion_err};
use datafusion::physical_expr::PhysicalExpr;

use super::lookup::index::Look;

/// One operator that needs no state.
pub(super) enum Step {
    Filter(Arc<dyn PhysicalExpr>),
    Project(Vec<Arc<dyn PhysicalExpr>>, SchemaRef),
    Look(Look),
}

impl Step {
    /// Applies the steps to a batch; `rows` names each row of it and is thinned alike.
    pub(super) fn apply(
        steps: &[Step],
        mut batch: RecordBatch,
        mut rows: Vec<u32>,
    ) -> Result<(RecordBatch, Vec<u32>), DataFusionError> {
        for step in steps {
            match step {
                Step::Filter(predicate) => {
                    let mask = mask(predicate, &batch)?;
                    if mask.true_count() < batch.num_rows() {
                        batch = filter_record_batch(&batch, &mask)?;
                        let mut kept = mask.iter();
                        rows.retain(|_| kept.next().flatten() == Some(true));
                    }
                }
                Step::Look(look) => (batch, rows) = look.apply(batch, rows)?,
                Step::Project(exprs, schema) => {
                    let columns = exprs
                        .iter()
                        .map(|e| column(e, &batch))
                        .collect::<Result<Vec<_>, _>>()?;
                    batch = batch_of(schema, columns, batch.num_rows())?;
                }
            }
        }
        Ok((batch, rows))
    }
}

/// Evaluates a predicate; null counts as false.
pub(super) fn mask(
    predicate: &Arc<dyn PhysicalExpr>,
    batch: &RecordBatch,
) -> Result<BooleanArray, DataFusionError> {
    let array = column(predicate, batch)?;
    let mask = array
        .as_boolean_opt()
        .ok_or_else(|| plan_datafusion_err!("`{predicate}` is not a condition"))?;
    Ok(if mask.null_count() == 0 {
        mask.clone()
    } else {
        prep_null_mask_filter(mask)
    })
}

/// Evaluates an expression to one value a row.
pub(super) fn column(
    expr: &Arc<dyn PhysicalExpr>,
    batch: &RecordBatch,
) -> Result<ArrayRef, DataFusionError> {
    expr.evaluate(batch)?.into_array(batch.num_rows())
}

/// A batch of columns, which may be none.
pub(super) fn batch_of(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    n_rows: usize,
) -> Result<RecordBatch, DataFusionError> {
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    Ok(RecordBatch::try_new_with_options(
        schema.clone(),
        columns,
        &options,
    )?)
}

/// Some rows of a column.
pub(super) fn taken(array: &ArrayRef, rows: &UInt32Array) -> Result<ArrayRef, DataFusionError> {
    Ok(arrow::compute::take(array, rows, None)?)
}

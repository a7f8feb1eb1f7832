//! Looking into a table by some of its columns: the index, built once, and the step that asks it for each row of a stream.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{DataFusionError, plan_err};
use datafusion::physical_expr::PhysicalExpr;
use hashbrown::HashMap;

use super::super::step::{Step, batch_of, column, taken};
use super::Lookup;

/// Indexes of one table, by how they were asked for.
#[derive(Default)]
pub(super) struct Indexes(Mutex<BTreeMap<String, Arc<Index>>>);

/// Rows of a table by the values of its keys.
pub(in crate::rule) struct Index {
    converter: RowConverter,
    types: Vec<DataType>,
    /// The first row of each key.
    rows: HashMap<Box<[u8]>, u32>,
    batch: RecordBatch,
    /// Two lines that have the same key.
    pub(in crate::rule) twice: Option<(u32, u32)>,
    /// A line on which a key is NULL.
    pub(in crate::rule) null: Option<u32>,
}

#[cfg(test)]
impl Indexes {
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Lookup {
    /// The index over what `steps` leave of the table, by `keys`; `asked` names both, and each is built once.
    ///
    /// # Errors
    /// An expression fails on a row of the table.
    pub(in crate::rule) fn index(
        &self,
        asked: String,
        projection: &[usize],
        steps: &[Step],
        keys: &[Arc<dyn PhysicalExpr>],
    ) -> Result<Arc<Index>, DataFusionError> {
        let mut indexes = self
            .indexes
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(built) = indexes.get(&asked) {
            return Ok(built.clone());
        }
        let rows = (0..self.batch.num_rows() as u32).collect();
        let (batch, rows) = Step::apply(steps, self.batch.project(projection)?, rows)?;
        let lines: Vec<u32> = rows.iter().map(|row| self.lines[*row as usize]).collect();
        let built = Arc::new(Index::new(batch, keys, &lines)?);
        indexes.insert(asked, built.clone());
        Ok(built)
    }
}

impl Index {
    fn new(
        batch: RecordBatch,
        keys: &[Arc<dyn PhysicalExpr>],
        lines: &[u32],
    ) -> Result<Index, DataFusionError> {
        let keys = keys.iter().map(|key| column(key, &batch));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let types: Vec<DataType> = keys.iter().map(|key| key.data_type().clone()).collect();
        let fields = types.iter().cloned().map(SortField::new).collect();
        let mut index = Index {
            converter: RowConverter::new(fields)?,
            types,
            rows: HashMap::with_capacity(lines.len()),
            batch,
            twice: None,
            null: None,
        };
        let encoded = index.converter.convert_columns(&keys)?;
        for (row, line) in lines.iter().enumerate() {
            if keys.iter().any(|key| key.is_null(row)) {
                index.null.get_or_insert(*line);
                continue;
            }
            let key = encoded.row(row).as_ref().into();
            if let Err(before) = index.rows.try_insert(key, row as u32) {
                let first = lines[*before.entry.get() as usize];
                index.twice.get_or_insert((first, *line));
            }
        }
        Ok(index)
    }

    /// The row of each key, nothing where there is none.
    fn find(&self, keys: &[ArrayRef], n_rows: usize) -> Result<Vec<Option<u32>>, DataFusionError> {
        let keys = keys.iter().zip(&self.types).map(|(key, of)| cast(key, of));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let encoded = self.converter.convert_columns(&keys)?;
        let find = |row| match keys.iter().any(|key| key.is_null(row)) {
            true => None,
            false => self.rows.get(encoded.row(row).as_ref()).copied(),
        };
        Ok((0..n_rows).map(find).collect())
    }
}

/// What becomes of a row of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rule) enum Keep {
    /// It goes on with the table's columns where there are some for it.
    Found,
    /// It goes on with the table's columns, or NULL in their place.
    All,
    /// It goes on as it is where there is a row for it.
    Listed,
    /// It goes on as it is where there is none.
    NotListed {
        /// True for `NOT IN`: a row whose key is NULL does not go on.
        is_null_out: bool,
    },
}

/// Asks an index for each row.
pub(in crate::rule) struct Look {
    pub(in crate::rule) keys: Vec<Arc<dyn PhysicalExpr>>,
    pub(in crate::rule) index: Arc<Index>,
    pub(in crate::rule) keep: Keep,
    /// Whether the table's columns stand before the stream's.
    pub(in crate::rule) is_first: bool,
    /// What comes out.
    pub(in crate::rule) schema: SchemaRef,
}

impl Look {
    /// What the table must be for the rows to be kept so.
    ///
    /// # Errors
    /// Which lines of the table are not so.
    pub(in crate::rule) fn check(&self, table: &str) -> Result<(), DataFusionError> {
        match (self.keep, self.index.twice, self.index.null) {
            (Keep::Found | Keep::All, Some((first, second)), _) => plan_err!(
                "lines {first} and {second} of `{table}` have the same key: a row would be counted twice; leave one of them, join on more columns, or write IN (SELECT …)"
            ),
            (Keep::NotListed { is_null_out: true }, _, Some(line)) => plan_err!(
                "line {line} of `{table}` has no value where NOT IN looks, so that nothing is ever NOT IN it: add WHERE … IS NOT NULL to the subquery"
            ),
            _ => Ok(()),
        }
    }

    /// Thins and widens a batch; `rows` names each row of it and is thinned alike.
    pub(in crate::rule) fn apply(
        &self,
        batch: RecordBatch,
        mut rows: Vec<u32>,
    ) -> Result<(RecordBatch, Vec<u32>), DataFusionError> {
        let keys = self.keys.iter().map(|key| column(key, &batch));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let mut found = self.index.find(&keys, batch.num_rows())?;
        let is_null = |row: usize| keys.iter().any(|key| key.is_null(row));
        let stays = |(row, at): (usize, &Option<u32>)| match self.keep {
            Keep::Found | Keep::Listed => at.is_some(),
            Keep::All => true,
            Keep::NotListed { is_null_out } => {
                at.is_none() && !(is_null_out && !self.index.rows.is_empty() && is_null(row))
            }
        };
        let mask: BooleanArray = found.iter().enumerate().map(stays).map(Some).collect();
        let mut batch = batch;
        if mask.true_count() < batch.num_rows() {
            batch = filter_record_batch(&batch, &mask)?;
            let mut kept = mask.values().iter();
            rows.retain(|_| kept.next() == Some(true));
            let mut kept = mask.values().iter();
            found.retain(|_| kept.next() == Some(true));
        }
        if matches!(self.keep, Keep::Listed | Keep::NotListed { .. }) {
            return Ok((batch, rows));
        }
        let at = UInt32Array::from(found);
        let looked = self
            .index
            .batch
            .columns()
            .iter()
            .map(|array| taken(array, &at));
        let looked = looked.collect::<Result<Vec<_>, _>>()?;
        let own = batch.columns().to_vec();
        let columns = match self.is_first {
            true => looked.into_iter().chain(own).collect(),
            false => own.into_iter().chain(looked).collect(),
        };
        Ok((batch_of(&self.schema, columns, rows.len())?, rows))
    }
}

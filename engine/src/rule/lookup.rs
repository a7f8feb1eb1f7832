//! Lookup tables: what is known about callers, paths or networks beside the logs (owners, tiers, allow-lists), for rules to
//! join with or to look into.
//!
//! A folder holds one file a table, `owners.csv` or `owners.parquet`; the table is called as the file. In come the files, out
//! comes each as one Arrow batch, and as the [CSV text](Lookup::text) it stands for: that text travels with the rules in a log, so a
//! lane and a replay of it look into the same table. All of it is in memory, so rows, columns and bytes are bounded; what
//! goes beyond is refused, never cut.
//!
//! | in the header of a CSV file | type in SQL |
//! |---|---|
//! | `name` | text |
//! | `name:int`, `name:float`, `name:bool` | 64-bit integer, 64-bit float, `true` or `false` |
//! | `name:time` | a time as RFC 3339, or a day |
//!
//! An empty field is NULL, `""` the empty text. Must not know: rules, streams, plans.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use xxhash_rust::xxh3::xxh3_64;

use super::RuleFault;

mod columnar;
pub(crate) mod csv;
pub(super) mod index;

use index::Indexes;

/// Tables of a folder.
pub const TABLES_MAX: usize = 64;
/// Rows of a table.
pub const ROWS_MAX: usize = 100_000;
/// Columns of a table.
pub const COLUMNS_MAX: usize = 32;
/// Bytes of all tables of a folder as CSV, and of any one file.
pub const BYTES_MAX: usize = 8 << 20;
/// Longest value, in bytes: that of a text in the logs.
const VALUE_BYTES_MAX: usize = 16 << 10;
/// Names that tables of the logs have, or will have.
const RESERVED: [&str; 5] = ["events", "touches", "findings", "inventory", "alerts"];

/// One table.
pub struct Lookup {
    /// Its name in SQL.
    pub name: String,
    /// What it is, as CSV.
    pub text: Arc<str>,
    /// Its columns, all nullable.
    pub schema: SchemaRef,
    /// XXH3 of the text: equal for equal tables.
    pub hash: u64,
    batch: RecordBatch,
    /// Line of the text each row begins on.
    lines: Vec<u32>,
    /// Built once, shared by the rules and lanes that look into it in the same way.
    indexes: Indexes,
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{:016x}", self.name, self.hash)
    }
}

/// Tables that somebody holds, by name and hash.
type Known = HashMap<(String, u64), Weak<Lookup>>;

/// The tables rules may look into, by name.
#[derive(Debug, Clone, Default)]
pub struct Lookups {
    tables: BTreeMap<String, Arc<Lookup>>,
}

impl Lookups {
    /// Reads every `.csv` and `.parquet` file of a folder (not of those below it).
    ///
    /// # Errors
    /// All faults of all files together.
    pub fn load(dir: &Path) -> Result<Lookups, Vec<RuleFault>> {
        let unread = |e| vec![fault(dir, 1, format!("cannot be read: {e}"))];
        let entries = std::fs::read_dir(dir).map_err(unread)?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut paths: Vec<PathBuf> = paths.filter(|path| is_lookup(path)).collect();
        paths.sort();
        if paths.is_empty() {
            let told = "no lookup tables in it: a table is a .csv or .parquet file";
            return Err(vec![fault(dir, 1, told.to_owned())]);
        }
        if TABLES_MAX < paths.len() {
            let told = format!(
                "{} lookup tables, at most {TABLES_MAX} are possible",
                paths.len()
            );
            return Err(vec![fault(dir, 1, told)]);
        }
        let (mut lookups, mut faults) = (Lookups::default(), Vec::new());
        for path in &paths {
            match Lookup::read(path).and_then(|table| lookups.with(table, path)) {
                Ok(more) => lookups = more,
                Err(more) => faults.extend(more),
            }
        }
        let bytes: usize = lookups.tables.values().map(|table| table.text.len()).sum();
        if BYTES_MAX < bytes {
            let told = format!(
                "the lookup tables are {bytes} bytes as CSV, at most {BYTES_MAX} are possible: leave out columns no rule reads"
            );
            faults.push(fault(dir, 1, told));
        }
        match faults.is_empty() {
            true => Ok(lookups),
            false => Err(faults),
        }
    }

    fn with(&self, table: Arc<Lookup>, path: &Path) -> Result<Lookups, Vec<RuleFault>> {
        if self.tables.contains_key(&table.name) {
            let told = format!("there is another table `{}`", table.name);
            return Err(vec![fault(path, 1, told)]);
        }
        let mut lookups = self.clone();
        lookups.tables.insert(table.name.clone(), table);
        Ok(lookups)
    }

    /// These tables, with others in the place of those of the same name.
    #[must_use]
    pub fn over(mut self, others: impl IntoIterator<Item = Arc<Lookup>>) -> Lookups {
        let named = others.into_iter().map(|table| (table.name.clone(), table));
        self.tables.extend(named);
        self
    }

    /// The table of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Lookup>> {
        self.tables.get(name)
    }

    /// The tables, in the order of their names.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Lookup>> {
        self.tables.values()
    }
}

/// Whether a file would be a lookup table.
pub fn is_lookup(path: &Path) -> bool {
    path.extension()
        .is_some_and(|end| end == "csv" || end == "parquet")
}

fn fault(path: &Path, line: usize, message: String) -> RuleFault {
    RuleFault {
        file: path.to_owned(),
        line,
        message,
    }
}

/// Reads a file of at most so many bytes.
///
/// # Errors
/// It can't be read, is no plain file, or is longer.
pub(crate) fn read_bounded(path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
    let unread = |e: std::io::Error| format!("cannot be read: {e}");
    // A pipe or a device has no end, and opening one may wait for ever.
    if !std::fs::metadata(path).map_err(unread)?.is_file() {
        return Err("is no plain file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unread)?;
    let limit = bytes_max as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(unread)?;
    match bytes.len() <= bytes_max {
        true => Ok(bytes),
        false => Err(format!("is longer than {bytes_max} bytes")),
    }
}

impl Lookup {
    fn read(path: &Path) -> Result<Arc<Lookup>, Vec<RuleFault>> {
        let one = |message| vec![fault(path, 1, message)];
        let bytes = read_bounded(path, BYTES_MAX).map_err(one)?;
        let text = match path.extension().is_some_and(|end| end == "parquet") {
            true => columnar::as_csv(bytes).map_err(one)?,
            false => String::from_utf8(bytes).map_err(|_| one("is no UTF-8".to_owned()))?,
        };
        Lookup::parse(path, &text)
    }

    /// Reads a table as CSV; the file's stem is its name. Equal tables are one in memory.
    ///
    /// # Errors
    /// What is wrong with it, with its line.
    pub fn parse(path: &Path, text: &str) -> Result<Arc<Lookup>, Vec<RuleFault>> {
        static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let key = (name.into_owned(), xxh3_64(text.as_bytes()));
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.get(&key).and_then(Weak::upgrade);
        if let Some(before) = before.filter(|before| *before.text == *text) {
            return Ok(before);
        }
        let lookup = Arc::new(parsed(path, &key.0, text, key.1)?);
        known.retain(|_, table| 0 < table.strong_count());
        known.insert(key, Arc::downgrade(&lookup));
        Ok(lookup)
    }
}

fn parsed(path: &Path, name: &str, text: &str, hash: u64) -> Result<Lookup, Vec<RuleFault>> {
    let one = |line: usize, message: String| vec![fault(path, line, message)];
    if !is_name(name) {
        let told = format!(
            "`{name}` can't be the name of a table: write a-z, 0-9 and _, and begin with a letter"
        );
        return Err(one(1, told));
    }
    if RESERVED.contains(&name) {
        return Err(one(
            1,
            format!("`{name}` is a table of the logs: give the file another name"),
        ));
    }
    if BYTES_MAX < text.len() {
        let told = format!("{} bytes, at most {BYTES_MAX} are possible", text.len());
        return Err(one(1, told));
    }
    let mut records = csv::Records::new(text);
    let header = match records.next() {
        None => {
            return Err(one(
                1,
                "is empty: the first line names the columns".to_owned(),
            ));
        }
        Some(header) => header.map_err(|(line, told)| one(line, told))?,
    };
    let columns = header.fields.iter().map(|field| column(field.as_deref()));
    let columns = columns
        .collect::<Result<Vec<_>, _>>()
        .map_err(|told| one(header.line, told))?;
    if COLUMNS_MAX < columns.len() {
        let told = format!(
            "{} columns, at most {COLUMNS_MAX} are possible",
            columns.len()
        );
        return Err(one(header.line, told));
    }
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    if let Some(twice) = (1..names.len()).find(|at| names[..*at].contains(&names[*at])) {
        return Err(one(
            header.line,
            format!("two columns are called `{}`", names[twice]),
        ));
    }
    let mut values: Vec<Vec<Option<String>>> = vec![Vec::new(); columns.len()];
    let mut lines = Vec::new();
    for record in records {
        let record = record.map_err(|(line, told)| one(line, told))?;
        let (line, n_fields) = (record.line, record.fields.len());
        if n_fields != columns.len() {
            let told = format!("{n_fields} fields under {} columns", columns.len());
            return Err(one(line, told));
        }
        if lines.len() == ROWS_MAX {
            return Err(one(line, format!("more than {ROWS_MAX} rows")));
        }
        for (field, values) in record.fields.into_iter().zip(&mut values) {
            if field
                .as_ref()
                .is_some_and(|text| VALUE_BYTES_MAX < text.len())
            {
                return Err(one(
                    line,
                    format!("a value is longer than {VALUE_BYTES_MAX} bytes"),
                ));
            }
            values.push(field.map(|text| text.into_owned()));
        }
        lines.push(u32::try_from(line).unwrap_or(u32::MAX));
    }
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for ((name, of), values) in columns.into_iter().zip(values) {
        let texts: ArrayRef = Arc::new(StringArray::from(values));
        let array = cast(&texts, &of).map_err(|e| one(1, format!("{name}: {e}")))?;
        // A value the type has not becomes null.
        if let Some(row) = (0..texts.len()).find(|row| array.is_null(*row) && texts.is_valid(*row))
        {
            let line = lines.get(row).map_or(1, |line| *line as usize);
            return Err(one(
                line,
                format!("{name}: the value is no {}", type_name(&of)),
            ));
        }
        fields.push(Field::new(name, of, true));
        arrays.push(array);
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), arrays);
    Ok(Lookup {
        name: name.to_owned(),
        text: text.into(),
        schema,
        hash,
        batch: batch.map_err(|e| one(1, e.to_string()))?,
        lines,
        indexes: Indexes::default(),
    })
}

/// The types a column may have, by their names in a header.
fn types() -> [(&'static str, DataType); 5] {
    [
        ("text", DataType::Utf8),
        ("int", DataType::Int64),
        ("float", DataType::Float64),
        ("bool", DataType::Boolean),
        (
            "time",
            DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        ),
    ]
}

fn type_name(of: &DataType) -> &'static str {
    let types = types();
    types
        .iter()
        .find(|(_, known)| known == of)
        .map_or("value", |(name, _)| name)
}

/// Name and type of a column, `name` or `name:type`.
fn column(field: Option<&str>) -> Result<(String, DataType), String> {
    let field = field.unwrap_or_default().trim();
    let (name, of) = field.split_once(':').unwrap_or((field, "text"));
    if !is_name(name) {
        return Err(format!(
            "`{name}` can't be the name of a column: write a-z, 0-9 and _, and begin with a letter"
        ));
    }
    let types = types();
    match types.iter().find(|(known, _)| *known == of) {
        Some((_, of)) => Ok((name.to_owned(), of.clone())),
        None => Err(format!(
            "`{of}` is no type of a column: write text, int, float, bool or time"
        )),
    }
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 64
        && name.chars().all(plain)
}

#[cfg(test)]
mod tests;

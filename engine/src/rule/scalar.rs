//! Expressions over one line of a log, within the bounds that hold for rules.
//!
//! `json_get` and its kin over the line itself become columns of their own, which are read in one pass for all expressions
//! ([`Scalars::paths`]). What looks beyond the line is refused: other rows, tables, the clock, chance. Must not know: fields, events.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DataFusionError, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, Volatility};
use datafusion::physical_expr::PhysicalExpr;

use super::compile::told;
use super::function::extract::Paths;
use super::limit;
use super::plan::{parsed, physical, simplified};

pub use super::function::extract::{Found, text};
pub use super::limit::on_deep_stack;

/// The column that holds the line.
pub const RAW: &str = "raw";
/// Bytes kept of a value out of JSON or of a pattern's group; the rest is cut at a character. The logs keep less.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a line: a record's, each of which may have been no UTF-8 and become three.
const LINE_BYTES_MAX: usize = 3 * connectors::format::RECORD_BYTES_MAX;

/// What a JSON value is wanted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `json_get`.
    Text,
    /// `json_get_int`.
    Integer,
    /// `json_get_float`.
    Float,
    /// `json_get_bool`.
    Flag,
}

impl Kind {
    fn of(function: &str) -> Option<Kind> {
        Some(match function {
            "json_get" => Kind::Text,
            "json_get_int" => Kind::Integer,
            "json_get_float" => Kind::Float,
            "json_get_bool" => Kind::Flag,
            _ => return None,
        })
    }

    fn data_type(self) -> DataType {
        match self {
            Kind::Text => DataType::Utf8,
            Kind::Integer => DataType::Int64,
            Kind::Float => DataType::Float64,
            Kind::Flag => DataType::Boolean,
        }
    }
}

/// Expressions over the columns of a line, being gathered.
#[derive(Debug)]
pub struct Scalars {
    groups: Vec<String>,
    exprs: Vec<Expr>,
    /// JSON columns, in order: the path's place in `paths`, and what it is wanted as.
    json: Vec<(usize, Kind)>,
    columns: BTreeMap<(usize, Kind), String>,
    paths: Paths,
}

/// Expressions that can be evaluated.
#[derive(Debug)]
pub struct Compiled {
    /// In the order they were added.
    pub exprs: Vec<Arc<dyn PhysicalExpr>>,
    /// `raw`, the groups, then the JSON columns.
    pub schema: SchemaRef,
    /// The JSON columns: the path's place in `paths`, and what it is wanted as.
    pub json: Vec<(usize, Kind)>,
    /// What is read of a line that is JSON.
    pub paths: Paths,
}

/// A regular expression within the bounds of one in a rule.
///
/// # Errors
/// It is none, or which bound it goes beyond.
pub fn pattern(text: &str) -> Result<regex::Regex, String> {
    limit::regex(text).map_err(|error| told(&error))
}

impl Scalars {
    /// Over `raw` and the named groups of a pattern.
    pub fn new(groups: &[String]) -> Scalars {
        Scalars {
            groups: groups.to_vec(),
            exprs: Vec::new(),
            json: Vec::new(),
            columns: BTreeMap::new(),
            paths: Paths::default(),
        }
    }

    /// Adds an expression.
    ///
    /// # Errors
    /// Why it can't be evaluated of one line.
    pub fn add(&mut self, sql: &str) -> Result<(), String> {
        let expr = self.expression(sql).map_err(|error| told(&error))?;
        self.exprs.push(expr);
        Ok(())
    }

    fn expression(&mut self, sql: &str) -> Result<Expr, DataFusionError> {
        let plain = schema(&self.groups, &[], &self.columns);
        let expr = parsed(sql, &DFSchema::try_from(plain)?)?;
        refuse(&expr)?;
        let expr = expr.transform(|part| self.column(part))?.data;
        let schema = DFSchema::try_from(self.schema())?;
        let bytes: Vec<u64> = schema
            .fields()
            .iter()
            .map(|field| match field.name().as_str() {
                RAW => LINE_BYTES_MAX as u64,
                _ => VALUE_BYTES_MAX as u64,
            })
            .collect();
        limit::expression_over(&expr, &schema, &bytes)?;
        let expr = simplified(expr, &schema)?;
        // Compiled here too, so that each fault is told of its own expression.
        physical(&expr, &schema)?;
        Ok(expr)
    }

    fn schema(&self) -> Schema {
        schema(&self.groups, &self.json, &self.columns)
    }

    /// A call of `json_get` and its kin on the line, as a column.
    fn column(&mut self, part: Expr) -> Result<Transformed<Expr>, DataFusionError> {
        let Expr::ScalarFunction(ScalarFunction { func, args }) = &part else {
            return Ok(Transformed::no(part));
        };
        let (Some(kind), [Expr::Column(column), Expr::Literal(path, _)]) =
            (Kind::of(func.name()), args.as_slice())
        else {
            return Ok(Transformed::no(part));
        };
        let Some(path) = path.try_as_str().flatten().filter(|_| column.name == RAW) else {
            return Ok(Transformed::no(part));
        };
        let place = match self.paths.add(path) {
            Ok(place) => place,
            Err(fault) => return plan_err!("{}: {fault}", func.name()),
        };
        let json = &mut self.json;
        let name = self.columns.entry((place, kind)).or_insert_with(|| {
            json.push((place, kind));
            // No group of a pattern is named like this.
            format!("{}:{path}", func.name())
        });
        Ok(Transformed::yes(Expr::Column(Column::new_unqualified(
            name.clone(),
        ))))
    }

    /// Ends the gathering.
    ///
    /// # Errors
    /// An expression DataFusion has no evaluation for.
    pub fn compile(self) -> Result<Compiled, String> {
        let schema = self.schema();
        let compiled = DFSchema::try_from(schema.clone()).and_then(|schema| {
            let exprs = self.exprs.iter().map(|expr| physical(expr, &schema));
            exprs.collect::<Result<Vec<_>, _>>()
        });
        Ok(Compiled {
            exprs: compiled.map_err(|error| told(&error))?,
            schema: Arc::new(schema),
            json: self.json,
            paths: self.paths,
        })
    }
}

fn schema(
    groups: &[String],
    json: &[(usize, Kind)],
    columns: &BTreeMap<(usize, Kind), String>,
) -> Schema {
    let mut fields = vec![Field::new(RAW, DataType::Utf8, false)];
    fields.extend(
        groups
            .iter()
            .map(|name| Field::new(name, DataType::Utf8, true)),
    );
    fields.extend(json.iter().filter_map(|at| {
        let name = columns.get(at)?;
        Some(Field::new(name, at.1.data_type(), true))
    }));
    Schema::new(fields)
}

/// Refuses what one line does not tell.
fn refuse(expr: &Expr) -> Result<(), DataFusionError> {
    expr.apply(|part| {
        match part {
            Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
                return plan_err!("a mapping sees one line and no table: write a fixed list");
            }
            Expr::AggregateFunction(f) => {
                return plan_err!("{}() puts rows together, and a mapping sees one line: count in a rule", f.func.name());
            }
            Expr::WindowFunction(f) => {
                return plan_err!("{}(…) OVER looks at other rows, and a mapping sees one line", f.fun);
            }
            Expr::Placeholder(placeholder) => {
                return plan_err!("{} is a parameter, which a mapping has none of: write the value", placeholder.id);
            }
            Expr::ScalarFunction(f) if f.func.signature().volatility != Volatility::Immutable => {
                return plan_err!("{}() changes from call to call: a record must mean the same whenever it is read", f.func.name());
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

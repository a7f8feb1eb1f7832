//! Functions of the domain for SQL: addresses, paths, JSON, ids, user agents.
//!
//! One [`Function`] declares everything about one of them: how it is called, its documentation, an example with its answer,
//! and what it does with one text. DataFusion calls it as an immutable [`ScalarUDF`]; `tollwatch rules functions` and
//! `docs/rules.md` are printed from the same declaration, and a test runs each example.
//!
//! **Invariant:** the first argument is a text a caller may have chosen, so nothing here panics, and time and memory are
//! linear in it. The arguments behind it are constants, read once when the rule is planned: a bad one is a fault of the rule.
//! NULL gives NULL. Must not know: tables, rules, batches of the log.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Float64Builder, Int64Builder, StringArray,
    StringBuilder,
};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, plan_datafusion_err, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

mod agent;
pub(super) mod extract;
mod id;
mod json;
mod network;
mod path;

/// One function: everything that is known about it.
pub struct Function {
    /// Its name in SQL.
    pub name: &'static str,
    /// How it is called.
    pub form: &'static str,
    /// What it gives.
    pub gives: &'static str,
    /// What it does, in one or two sentences.
    pub about: &'static str,
    /// A call.
    pub example: &'static str,
    /// What the call gives, as SQL shows it.
    pub answer: &'static str,
    /// Constants behind the first argument.
    constants: Constants,
    /// Reads the constants.
    prepare: fn(&[ScalarValue]) -> Result<Each, String>,
}

/// Which constants a function takes behind its text.
#[derive(Clone, Copy)]
enum Constants {
    None,
    Text,
    Texts,
    Integer,
}

/// Finds a value for one text, or NULL.
type Find<T> = dyn Fn(&str) -> Option<T> + Send + Sync;
/// Appends a text for one text; false for NULL, whatever was appended.
type Append = dyn Fn(&str, &mut String) -> bool + Send + Sync;

/// What a function does with one text.
enum Each {
    Flag(Box<Find<bool>>),
    Integer(Box<Find<i64>>),
    Float(Box<Find<f64>>),
    Text(Box<Append>),
}

/// Every function, by family.
pub const FUNCTIONS: [&Function; 17] = [
    &network::IP_IN,
    &network::IS_PRIVATE,
    &network::IP_PREFIX,
    &path::PATH_TEMPLATE,
    &path::PATH_SEGMENT,
    &path::QUERY_PARAM,
    &path::URL_DECODE,
    &json::JSON_GET,
    &json::JSON_GET_INT,
    &json::JSON_GET_FLOAT,
    &json::JSON_GET_BOOL,
    &id::ENTROPY,
    &id::IS_UUID,
    &id::ID_KIND,
    &agent::UA_FAMILY,
    &agent::UA_IS_BOT,
    &agent::UA_CLASS,
];

/// The functions as DataFusion calls them.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    let udf = |function: &&'static Function| {
        let call = Call {
            function,
            signature: Signature::user_defined(Volatility::Immutable),
            ready: None,
        };
        Arc::new(ScalarUDF::from(call))
    };
    FUNCTIONS.iter().map(udf).collect()
}

/// A function in a plan; ready once its constants are read.
#[derive(Clone)]
struct Call {
    function: &'static Function,
    signature: Signature,
    ready: Option<Ready>,
}

/// Constants and what came of them; nothing where one of them is NULL.
#[derive(Clone)]
struct Ready {
    constants: Vec<ScalarValue>,
    each: Option<Arc<Each>>,
}

impl Call {
    fn constants(&self) -> Option<&[ScalarValue]> {
        self.ready.as_ref().map(|ready| ready.constants.as_slice())
    }

    fn ready(&self, constants: Vec<ScalarValue>) -> Result<Ready, DataFusionError> {
        let each = match constants.iter().any(ScalarValue::is_null) {
            true => None,
            false => {
                let each = (self.function.prepare)(&constants);
                let told = |e| plan_datafusion_err!("{}: {e}", self.function.name);
                Some(Arc::new(each.map_err(told)?))
            }
        };
        Ok(Ready { constants, each })
    }

    fn not_constant(&self) -> DataFusionError {
        plan_datafusion_err!(
            "{} takes constants behind its first argument, written in the rule or as $parameters: {}",
            self.function.name,
            self.function.form
        )
    }
}

impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name && self.constants() == other.constants()
    }
}

impl Eq for Call {}

impl Hash for Call {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
        self.constants().hash(state);
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.function.name, self.constants())
    }
}

impl ScalarUDFImpl for Call {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(match self.function.gives {
            "bool" => DataType::Boolean,
            "int" => DataType::Int64,
            "float" => DataType::Float64,
            _ => DataType::Utf8,
        })
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>, DataFusionError> {
        let form = self.function.form;
        let (n_min, n_max) = match self.function.constants {
            Constants::None => (1, 1),
            Constants::Text | Constants::Integer => (2, 2),
            Constants::Texts => (2, usize::MAX),
        };
        if !(n_min..=n_max).contains(&given.len()) {
            return plan_err!("{} takes other arguments: {form}", self.name());
        }
        let behind = match self.function.constants {
            Constants::Integer => DataType::Int64,
            _ => DataType::Utf8,
        };
        let wanted = std::iter::once(DataType::Utf8).chain(std::iter::repeat(behind));
        let wanted: Vec<DataType> = wanted.take(given.len()).collect();
        let fits = |(given, wanted): (&DataType, &DataType)| {
            given.is_null()
                || match wanted {
                    DataType::Int64 => given.is_integer(),
                    _ => {
                        given.is_string()
                            || matches!(given, DataType::Dictionary(_, of) if of.is_string())
                    }
                }
        };
        match given.iter().zip(&wanted).position(|pair| !fits(pair)) {
            None => Ok(wanted),
            Some(at) => plan_err!(
                "argument {} of {} is a {}: {form}",
                at + 1,
                self.name(),
                given[at]
            ),
        }
    }

    /// Reads the constants once, for all rows to come; the arguments stay, so that a plan shows them.
    fn simplify(
        &self,
        args: Vec<Expr>,
        _: &SimplifyContext,
    ) -> Result<ExprSimplifyResult, DataFusionError> {
        if self.ready.is_some() {
            return Ok(ExprSimplifyResult::Original(args));
        }
        let constant = |arg: &Expr| match arg {
            Expr::Literal(value, _) => Ok(value.clone()),
            _ => Err(self.not_constant()),
        };
        let constants = args.iter().skip(1).map(constant);
        let ready = self.ready(constants.collect::<Result<Vec<_>, _>>()?)?;
        let call = Call {
            ready: Some(ready),
            ..self.clone()
        };
        let func = Arc::new(ScalarUDF::from(call));
        let call = ScalarFunction::new_udf(func, args);
        Ok(ExprSimplifyResult::Simplified(Expr::ScalarFunction(call)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let constant = |arg: &ColumnarValue| match arg {
            ColumnarValue::Scalar(value) => Ok(value.clone()),
            ColumnarValue::Array(_) => Err(self.not_constant()),
        };
        let ready = match &self.ready {
            Some(ready) => ready.clone(),
            None => {
                let constants = args.args.iter().skip(1).map(constant);
                self.ready(constants.collect::<Result<Vec<_>, _>>()?)?
            }
        };
        let Some(text) = args.args.first() else {
            return plan_err!("{} takes other arguments", self.name());
        };
        let is_scalar = matches!(text, ColumnarValue::Scalar(_));
        let n_rows = if is_scalar { 1 } else { args.number_rows };
        let texts = text.to_array(n_rows)?;
        let texts = arrow::compute::cast(&texts, &DataType::Utf8)?;
        let answers = match ready.each {
            Some(each) => answers(&each, texts.as_string()),
            None => arrow::array::new_null_array(args.return_field.data_type(), n_rows),
        };
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&answers, 0)?),
            false => ColumnarValue::Array(answers),
        })
    }
}

/// One answer a row.
fn answers(each: &Each, texts: &StringArray) -> ArrayRef {
    let rows = texts.iter();
    match each {
        Each::Flag(each) => {
            let mut made = BooleanBuilder::with_capacity(texts.len());
            rows.for_each(|text| made.append_option(text.and_then(each)));
            Arc::new(made.finish())
        }
        Each::Integer(each) => {
            let mut made = Int64Builder::with_capacity(texts.len());
            rows.for_each(|text| made.append_option(text.and_then(each)));
            Arc::new(made.finish())
        }
        Each::Float(each) => {
            let mut made = Float64Builder::with_capacity(texts.len());
            rows.for_each(|text| made.append_option(text.and_then(each)));
            Arc::new(made.finish())
        }
        Each::Text(each) => {
            let mut made = StringBuilder::with_capacity(texts.len(), 16 * texts.len());
            let mut answer = String::new();
            for text in rows {
                answer.clear();
                match text.is_some_and(|text| each(text, &mut answer)) {
                    true => made.append_value(&answer),
                    false => made.append_null(),
                }
            }
            Arc::new(made.finish())
        }
    }
}

/// A constant text; checked before by the types.
fn text_of(constant: &ScalarValue) -> &str {
    constant.try_as_str().flatten().unwrap_or_default()
}

/// A constant integer; checked before by the types.
fn integer_of(constants: &[ScalarValue]) -> i64 {
    match constants {
        [ScalarValue::Int64(Some(value))] => *value,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;

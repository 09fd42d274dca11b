//! CEL expressions: compiled once, evaluated on the record where it lies.
//!
//! An expression sees `record`, which holds the CRM's fields by name, and, in a consent rule, `value`. Only the fields that
//! it names are selected. At compile time `record.X` becomes a variable of its own, so that evaluating looks up just that
//! field and copies nothing; `record` in any other place is an error, because it would need every field of the object.
//!
//! A field's null is CEL's `null`. A number is an `int` where the CRM sent neither fraction nor exponent, else a `double`;
//! dates and instants are text, which `timestamp()` reads, Salesforce's `+0000` included.
//!
//! What an expression costs is bounded by an estimate when it is compiled (`cost`), by the text that it may read of one record,
//! and by how much a list or a map may hold that it gives (`given`). `described` holds it against the CRM's own types.

mod analysis;
mod cost;
mod described;
mod environment;
mod given;
mod shortcut;
mod types;

use std::borrow::Cow;

use ::cel::common::ast::IdedExpr;
use ::cel::common::types::{CelBool, CelDouble, CelInt, CelNull, CelString};
use ::cel::common::value::CowVal;
use ::cel::context::VariableResolver;
use ::cel::{Context, ExecutionError};

use self::analysis::Analysis;
pub(super) use self::described::described;
use self::environment::ENVIRONMENT;
use self::shortcut::Shortcut;
use self::types::Types;
use super::typed::{Current, Kinds, Rule};
use crate::api::mapping_version::TraitType;
use crate::record::Field;

/// The most bytes of text that an expression may read of one record: what the estimate of its cost can't tell.
const LONGEST: usize = 65_536;
const TOO_LONG: &str = "the expression's fields hold more than 65,536 bytes of text together";

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Expression {
    root: IdedExpr,
    /// The variables that the expression reads, and the field behind each.
    variables: Vec<(String, usize)>,
    /// The same meaning without the interpreter, for the shapes that most rules have.
    shortcut: Option<Shortcut>,
    /// What the expression gives, where that is known before a record is seen.
    gives: Option<Gives>,
}

/// What an expression gives, apart from null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gives {
    Text,
    Integer,
    Boolean,
    Timestamp,
    Double,
    /// An int or a double: which of the two, only the record tells.
    Number,
    Duration,
    List,
    Map,
}

impl Gives {
    fn name(self) -> &'static str {
        match self {
            Gives::Text => "a string",
            Gives::Integer => "an int",
            Gives::Boolean => "a bool",
            Gives::Timestamp => "a timestamp",
            Gives::Double => "a double",
            Gives::Number => "a number",
            Gives::Duration => "a duration",
            Gives::List => "a list",
            Gives::Map => "a map",
        }
    }

    fn fits(self, kind: TraitType) -> bool {
        matches!(
            (self, kind),
            (
                Gives::Text,
                TraitType::String | TraitType::Date | TraitType::Enum | TraitType::Json
            ) | (Gives::Integer | Gives::Number, TraitType::Integer | TraitType::Decimal)
                | (Gives::Boolean, TraitType::Boolean)
                | (Gives::Timestamp, TraitType::Timestamp)
                | (Gives::List, TraitType::List | TraitType::Json)
                | (Gives::Map, TraitType::Json)
        )
    }

    /// What to write instead, where an expression gives this and the trait is of `kind`.
    pub fn misfit(self, kind: TraitType) -> String {
        let hint = match (self, kind) {
            (Gives::Double, TraitType::Decimal) => {
                "; a double is not exact: give a string, and add the transform decimal"
            }
            (Gives::Text, TraitType::Decimal) => "; add the transform decimal",
            (Gives::Text, TraitType::Timestamp) => "; wrap it in timestamp(), or add the transform timestamp",
            (Gives::List, TraitType::String) => "; put its items into one text with join(', ')",
            (_, TraitType::String) => "; wrap it in string()",
            (Gives::Double, TraitType::Integer) => "; wrap it in int()",
            (_, TraitType::Money) => "; add the transforms decimal and money",
            (Gives::Text, TraitType::List) => "; add the transform split or multiSelect, or call split() on it",
            (_, TraitType::List) => "; put it into one: [x]",
            _ => "",
        };
        format!("the expression gives {}, which is no {kind:?}{hint}", self.name())
    }
}

/// What a rule gives that is to be true or false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    True,
    False,
    Null,
    /// Something else.
    Other,
    /// Nothing: it fails on the record.
    Failed,
}

/// A fault in an expression, with the line and column where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub at: Option<(usize, usize)>,
    pub message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.at {
            Some((1, column)) => write!(formatter, "column {column}: {}", self.message),
            Some((line, column)) => write!(formatter, "line {line}, column {column}: {}", self.message),
            None => formatter.write_str(&self.message),
        }
    }
}

impl Expression {
    /// Compiles an expression. `value` is the field that the variable `value` stands for, if there is one; `field` gives
    /// the place of a field that the expression reads.
    pub fn compile(
        source: &str,
        value: Option<usize>,
        mut field: impl FnMut(&str) -> usize,
    ) -> Result<Expression, Vec<Fault>> {
        let program = ENVIRONMENT
            .compile(source)
            .map_err(|errors| analysis::syntax_faults(&errors))?;
        let mut root = program.expression().clone();
        let mut analysis = Analysis::new(source, program.source_info(), value.is_some(), Types::default());
        analysis.resolve(&mut root);
        let fields = analysis.finish()?;
        if let Some(message) = cost::fault(&root) {
            return Err(vec![Fault { at: None, message }]);
        }
        let mut variables: Vec<(String, usize)> = fields
            .into_iter()
            .map(|name| {
                let field = field(&name);
                (analysis::variable(&name), field)
            })
            .collect();
        if let Some(field) = value {
            variables.push((analysis::VALUE.to_owned(), field));
        }
        let shortcut = Shortcut::of(&root, &variables);
        let gives = analysis::gives(&root, &Types::default());
        Ok(Expression {
            root,
            variables,
            shortcut,
            gives,
        })
    }

    /// Whether what the expression gives can fit `kind`, or feed transforms; the kinds that it may give if it can.
    pub fn check(&self, kind: TraitType, transformed: bool) -> Result<Kinds, String> {
        match self.gives {
            None => Ok(Kinds::FIELD),
            Some(gives) if !transformed && !gives.fits(kind) => Err(gives.misfit(kind)),
            Some(Gives::Text) => Ok(Kinds::TEXT),
            Some(Gives::Integer) => Ok(Kinds::INTEGER),
            Some(Gives::Boolean) => Ok(Kinds::BOOLEAN),
            Some(Gives::Timestamp) => Ok(Kinds::TIMESTAMP),
            Some(Gives::Number) => Ok(Kinds::FIELD),
            Some(Gives::List) => Ok(Kinds::list(Kinds::FIELD)),
            Some(Gives::Map) if !transformed => Ok(Kinds::JSON),
            Some(gives) => Err(format!(
                "the expression gives {}, which no transform takes",
                gives.name()
            )),
        }
    }

    /// The value for a trait of type `kind`: null, or of the CEL type that stands for it. Where transforms follow, any scalar
    /// will do, and a list of them.
    pub fn value<'m>(
        &'m self,
        fields: &'m [Field<'m>],
        kind: TraitType,
        transformed: bool,
    ) -> Result<Current<'m>, Rule<'m>> {
        let wanted = (!transformed).then_some(kind);
        let (value, gives) = self.evaluate(fields, wanted)?;
        match gives {
            Some(gives) if !transformed && !gives.fits(kind) => Err(Cow::Owned(gives.misfit(kind))),
            _ => Ok(value),
        }
    }

    /// What a rule that is to be true or false gives.
    pub fn answer<'m>(&'m self, fields: &'m [Field<'m>]) -> Answer {
        match self.evaluate(fields, None) {
            Ok((Current::Boolean(true), _)) => Answer::True,
            Ok((Current::Boolean(false), _)) => Answer::False,
            Ok((Current::Null, _)) => Answer::Null,
            Ok(_) => Answer::Other,
            Err(_) => Answer::Failed,
        }
    }

    /// `wanted` is the type of a trait that is to be made of it without a transform.
    fn evaluate<'m>(
        &'m self,
        fields: &'m [Field<'m>],
        wanted: Option<TraitType>,
    ) -> Result<(Current<'m>, Option<Gives>), Rule<'m>> {
        match self.shortcut.as_ref().and_then(|shortcut| shortcut.evaluate(fields)) {
            Some(answer) => Ok(answer),
            None => self.interpret(fields, wanted),
        }
    }

    fn interpret<'m>(
        &'m self,
        fields: &'m [Field<'m>],
        wanted: Option<TraitType>,
    ) -> Result<(Current<'m>, Option<Gives>), Rule<'m>> {
        let read = self.variables.iter().filter_map(|(_, field)| fields.get(*field));
        let length: usize = read
            .map(|field| match field {
                Field::Text(text) => text.len(),
                _ => 0,
            })
            .sum();
        if length > LONGEST {
            return Err(Cow::Borrowed(TOO_LONG));
        }
        let scope = Scope {
            variables: &self.variables,
            fields,
        };
        let mut context = Context::with_env(ENVIRONMENT.clone());
        context.set_variable_resolver(&scope);
        let value = ::cel::Value::resolve_val(&self.root, &context).map_err(|error| rule(&error))?;
        given::answer(value, wanted)
    }
}

/// A record's fields as CEL's variables.
struct Scope<'m> {
    variables: &'m [(String, usize)],
    fields: &'m [Field<'m>],
}

static NULL: CelNull = CelNull;

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let (_, field) = self.variables.iter().find(|(name, _)| name == variable)?;
        Some(match self.fields.get(*field)? {
            Field::Null => CowVal::Borrowed(&NULL),
            Field::Text(text) => CowVal::owned(CelString::from(&**text)),
            Field::Boolean(boolean) => CowVal::owned(CelBool::from(*boolean)),
            Field::Number(digits) => match digits.parse::<i64>() {
                Ok(integer) => CowVal::owned(CelInt::from(integer)),
                Err(_) => CowVal::owned(CelDouble::from(digits.parse::<f64>().ok()?)),
            },
        })
    }
}

/// Why an expression failed, without the values that it failed on.
fn rule<'m>(error: &ExecutionError) -> Rule<'m> {
    match error {
        // names the function and its arguments' types, and nothing else
        ExecutionError::NoSuchOverload(overload) => Cow::Owned(format!("the expression fails: {overload}")),
        ExecutionError::UnsupportedBinaryOperator(operator, ..) => {
            Cow::Owned(format!("the expression fails: {operator} of values of these types"))
        }
        ExecutionError::FunctionError { function, .. } => Cow::Owned(format!(
            "the expression fails in {}()",
            function.trim_start_matches('@')
        )),
        ExecutionError::NoSuchKey(_) => Cow::Borrowed("the expression fails: no such key"),
        ExecutionError::ValuesNotComparable(..) => {
            Cow::Borrowed("the expression fails: it compares values that have no order")
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            Cow::Borrowed("the expression fails: division by zero")
        }
        ExecutionError::Overflow(..) => Cow::Borrowed("the expression fails: the result is out of range"),
        ExecutionError::IndexOutOfBounds(_) => Cow::Borrowed("the expression fails: index out of bounds"),
        _ => Cow::Borrowed("the expression fails on these values"),
    }
}

#[cfg(test)]
mod tests;

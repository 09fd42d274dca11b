//! Operations that fail for every record, since the types that they work on are known and don't go together.
//!
//! Without the CRM's description a field's type only the record tells, so what is done to a field passes; what is done to a literal
//! or to another operation's outcome is held against the operation here.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use regex::Regex;

use super::Gives;
use super::analysis::{VALUE, field_of, gives};

/// What is known of a field, by its name.
pub(super) type FieldType<'t> = dyn Fn(&str) -> Option<Gives> + 't;

/// What is known of the variables before a record is seen.
#[derive(Clone, Copy, Default)]
pub(super) struct Types<'t> {
    /// Of the record's fields, by name.
    pub field: Option<&'t FieldType<'t>>,
    /// Of `value`.
    pub value: Option<Gives>,
}

impl Types<'_> {
    /// What a variable holds where it is not null.
    pub fn of(&self, variable: &str) -> Option<Gives> {
        if variable == VALUE {
            return self.value;
        }
        let field = field_of(variable)?;
        self.field?(field)
    }

    /// A macro has a variable of that name.
    pub fn forget_value(&mut self) {
        self.value = None;
    }
}

/// What an operation on two numbers gives, of which one is of the record.
pub(super) fn number_of(left: Gives, right: Gives) -> Option<Gives> {
    let number = |given| matches!(given, Gives::Integer | Gives::Double | Gives::Number);
    (number(left) && number(right)).then_some(Gives::Number)
}

/// What is wrong with a call, if that can be told.
pub(super) fn fault(call: &CallExpr, types: &Types<'_>) -> Option<String> {
    let gives = |expression: &IdedExpr| gives(expression, types);
    let logical = |operator, operand| logical(operator, gives(operand));
    let number = |operator, operand| number(operator, gives(operand));
    let apart = |left, right| apart(gives(left)?, gives(right)?);
    let text = |function, target: Option<&IdedExpr>| text(function, target.and_then(gives));
    let args = &call.args[..];
    match (call.func_name.as_str(), args) {
        (operators::LOGICAL_AND, [left, right]) => logical("&&", left).or_else(|| logical("&&", right)),
        (operators::LOGICAL_OR, [left, right]) => logical("||", left).or_else(|| logical("||", right)),
        (operators::LOGICAL_NOT, [operand]) => logical("!", operand),
        (operators::CONDITIONAL, [condition, ..]) => logical("?:", condition),
        (operators::ADD, [left, right]) => match (gives(left), gives(right)) {
            (Some(left), Some(right)) => added(left, right),
            (Some(one), None) | (None, Some(one)) if matches!(one, Gives::Boolean | Gives::Map) => {
                Some(format!("+ can't add {} to anything", one.name()))
            }
            _ => None,
        },
        (operators::SUBSTRACT, [left, right]) => number("-", left).or_else(|| number("-", right)),
        (operators::MULTIPLY, [left, right]) => number("*", left).or_else(|| number("*", right)),
        (operators::DIVIDE, [left, right]) => number("/", left).or_else(|| number("/", right)),
        (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => {
            apart(left, right).map(|(left, right)| format!("{left} and {right} are never equal"))
        }
        (operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS, [left, right]) => {
            apart(left, right).map(|(left, right)| format!("{left} and {right} have no order"))
        }
        (name @ ("contains" | "endsWith" | "startsWith" | "matches"), [argument]) => {
            let pattern = (name == "matches").then(|| pattern(argument)).flatten();
            text(name, call.target.as_deref()).or(pattern)
        }
        (name @ ("lowerAscii" | "upperAscii" | "trim" | "split" | "replace" | "substring" | "charAt"), _) => {
            text(name, call.target.as_deref())
        }
        _ => None,
    }
}

fn logical(operator: &str, given: Option<Gives>) -> Option<String> {
    let given = given.filter(|given| *given != Gives::Boolean)?;
    Some(format!("{operator} takes true or false, and here {}", given.name()))
}

fn number(operator: &str, given: Option<Gives>) -> Option<String> {
    let given = given.filter(|given| matches!(given, Gives::Text | Gives::Boolean | Gives::List | Gives::Map))?;
    Some(format!("{operator} takes numbers, and here {}", given.name()))
}

fn added(left: Gives, right: Gives) -> Option<String> {
    let of_record = matches!(left, Gives::Number) || matches!(right, Gives::Number);
    let fit = left == right && !matches!(left, Gives::Boolean | Gives::Map)
        || of_record && number_of(left, right).is_some()
        || matches!(
            (left, right),
            (Gives::Timestamp, Gives::Duration) | (Gives::Duration, Gives::Timestamp)
        );
    let hint = match (left, right) {
        (Gives::Text, _) | (_, Gives::Text) => "; wrap the other one in string()",
        (Gives::Integer, Gives::Double) | (Gives::Double, Gives::Integer) => "; wrap the int in double()",
        _ => "",
    };
    (!fit).then(|| format!("+ can't add {} and {}{hint}", left.name(), right.name()))
}

/// The names of two types that are known and can't be compared.
fn apart(left: Gives, right: Gives) -> Option<(&'static str, &'static str)> {
    (left != right && number_of(left, right).is_none()).then(|| (left.name(), right.name()))
}

fn text(function: &str, given: Option<Gives>) -> Option<String> {
    let given = given.filter(|given| *given != Gives::Text)?;
    Some(format!(
        "{function}() is called on a string, and here on {}; wrap it in string()",
        given.name()
    ))
}

fn pattern(argument: &IdedExpr) -> Option<String> {
    let Expr::Literal(LiteralValue::String(pattern)) = &argument.expr else {
        return None;
    };
    let error = Regex::new(pattern.inner()).err()?.to_string();
    let last = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
    Some(format!("matches() needs a regular expression: {last}"))
}

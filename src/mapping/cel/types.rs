//! Operations that fail for every record, since the types that they work on are known and don't go together.
//!
//! A field's type only the record tells, so what is done to a field passes; what is done to a literal or to another
//! operation's outcome is held against the operation here.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use regex::Regex;

use super::Gives;
use super::analysis::gives;

/// What is wrong with a call, if that can be told.
pub(super) fn fault(call: &CallExpr) -> Option<String> {
    let args = &call.args[..];
    match (call.func_name.as_str(), args) {
        (operators::LOGICAL_AND, [left, right]) => logical("&&", left).or_else(|| logical("&&", right)),
        (operators::LOGICAL_OR, [left, right]) => logical("||", left).or_else(|| logical("||", right)),
        (operators::LOGICAL_NOT, [operand]) => logical("!", operand),
        (operators::CONDITIONAL, [condition, ..]) => logical("?:", condition),
        (operators::ADD, [left, right]) => added(left, right),
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

fn logical(operator: &str, operand: &IdedExpr) -> Option<String> {
    let given = gives(operand).filter(|given| *given != Gives::Boolean)?;
    Some(format!("{operator} takes true or false, and here {}", given.name()))
}

fn number(operator: &str, operand: &IdedExpr) -> Option<String> {
    let given =
        gives(operand).filter(|given| matches!(given, Gives::Text | Gives::Boolean | Gives::List | Gives::Map))?;
    Some(format!("{operator} takes numbers, and here {}", given.name()))
}

fn added(left: &IdedExpr, right: &IdedExpr) -> Option<String> {
    let (left, right) = (gives(left)?, gives(right)?);
    let fit = left == right && !matches!(left, Gives::Boolean | Gives::Map)
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
fn apart(left: &IdedExpr, right: &IdedExpr) -> Option<(&'static str, &'static str)> {
    let (left, right) = (gives(left)?, gives(right)?);
    let numbers = |given| matches!(given, Gives::Integer | Gives::Double);
    (left != right && !(numbers(left) && numbers(right))).then(|| (left.name(), right.name()))
}

fn text(function: &str, target: Option<&IdedExpr>) -> Option<String> {
    let given = gives(target?).filter(|given| *given != Gives::Text)?;
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

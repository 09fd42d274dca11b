//! What is known of an expression before a record is seen: which fields it reads, which names are nobody's, and what it
//! gives.

use cel::ParseErrors;
use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};

use super::environment::{self, ENVIRONMENT, FUNCTIONS};
use super::types::{self, Types};
use super::{Fault, Gives};
use crate::mapping::error::did_you_mean;

const RECORD: &str = "record";
pub(super) const VALUE: &str = "value";

/// The variable that `record.NAME` becomes.
pub(super) fn variable(field: &str) -> String {
    format!("{RECORD}.{field}")
}

/// The field that a variable stands for.
pub(super) fn field_of(variable: &str) -> Option<&str> {
    variable.strip_prefix(RECORD)?.strip_prefix('.')
}

/// Syntax errors with their places. The parser's own text has the source line as well, which the user has before them.
pub(super) fn syntax_faults(errors: &ParseErrors) -> Vec<Fault> {
    let mut faults: Vec<Fault> = errors
        .errors
        .iter()
        .map(|error| Fault {
            at: usize::try_from(error.pos.0).ok().zip(usize::try_from(error.pos.1).ok()),
            message: error.msg.trim().to_owned(),
        })
        .collect();
    if faults.is_empty() {
        faults.push(Fault {
            at: None,
            message: "the expression can't be parsed".to_owned(),
        });
    }
    faults
}

/// One pass over an expression.
pub(super) struct Analysis<'s> {
    source: &'s str,
    places: &'s SourceInfo,
    value: bool,
    fields: Vec<String>,
    /// The variables of the macros that the pass is in.
    bound: Vec<String>,
    types: Types<'s>,
    faults: Vec<Fault>,
}

impl<'s> Analysis<'s> {
    pub fn new(source: &'s str, places: &'s SourceInfo, value: bool, types: Types<'s>) -> Analysis<'s> {
        Analysis {
            source,
            places,
            value,
            fields: Vec::new(),
            bound: Vec::new(),
            types,
            faults: Vec::new(),
        }
    }

    /// The fields that the expression reads, each once.
    pub fn finish(self) -> Result<Vec<String>, Vec<Fault>> {
        if self.faults.is_empty() {
            Ok(self.fields)
        } else {
            Err(self.faults)
        }
    }

    /// Replaces `record.X` and `record["X"]` by their variables, and finds what is wrong.
    pub fn resolve(&mut self, expression: &mut IdedExpr) {
        if let Some(field) = self.field(expression) {
            if !self.fields.contains(&field) {
                self.fields.push(field.clone());
            }
            expression.expr = Expr::Ident(variable(&field));
            return;
        }
        let id = expression.id;
        match &mut expression.expr {
            Expr::Unspecified => self.fault(id, "the expression is empty"),
            Expr::Literal(_) => {}
            Expr::Ident(name) => {
                let name = name.clone();
                self.name(id, &name);
            }
            Expr::Select(select) => {
                if select.test && self.is_record(&select.operand) {
                    let field = select.field.clone();
                    self.fault(
                        id,
                        format!("has(record.{field}) would always be true, the CRM sends null for an empty field; write record.{field} != null"),
                    );
                } else {
                    self.resolve(&mut select.operand);
                }
            }
            Expr::Call(call) => {
                if call.func_name == "timestamp" && call.target.is_none() {
                    call.func_name = environment::TIMESTAMP.to_owned();
                }
                // `math.abs(x)`: a name before the dot that is no variable is part of the function's name
                let qualified = call
                    .target
                    .as_ref()
                    .and_then(|target| self.qualifier(target))
                    .map(|qualifier| format!("{qualifier}.{}", call.func_name));
                match qualified {
                    Some(name) => self.function(id, &name, false),
                    None => {
                        self.function(id, &call.func_name, call.target.is_some());
                        if let Some(target) = &mut call.target {
                            self.resolve(target);
                        }
                    }
                }
                call.args.iter_mut().for_each(|argument| self.resolve(argument));
                if let Some(message) = types::fault(call, &self.types) {
                    self.fault(id, message);
                }
            }
            Expr::List(list) => list.elements.iter_mut().for_each(|element| self.resolve(element)),
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    match &mut entry.expr {
                        EntryExpr::MapEntry(entry) => {
                            self.resolve(&mut entry.key);
                            self.resolve(&mut entry.value);
                        }
                        EntryExpr::StructField(field) => self.resolve(&mut field.value),
                    }
                }
            }
            Expr::Struct(structure) => {
                let message = format!("there is no type {:?}", structure.type_name);
                self.fault(id, message);
            }
            Expr::Comprehension(comprehension) => {
                self.resolve(&mut comprehension.iter_range);
                self.resolve(&mut comprehension.accu_init);
                if gives(&comprehension.iter_range, &self.types) == Some(Gives::Map) {
                    self.fault(
                        id,
                        "a map has no order, so that what a macro makes of it could differ from run to run; use a list",
                    );
                }
                if comprehension.iter_var == VALUE {
                    self.types.forget_value();
                }
                let outer = self.bound.len();
                self.bound.push(comprehension.iter_var.clone());
                self.bound.extend(comprehension.iter_var2.clone());
                self.bound.push(comprehension.accu_var.clone());
                self.resolve(&mut comprehension.loop_cond);
                self.resolve(&mut comprehension.loop_step);
                self.resolve(&mut comprehension.result);
                self.bound.truncate(outer);
            }
        }
    }

    /// The field that `record.X` or `record["X"]` names.
    fn field(&self, expression: &IdedExpr) -> Option<String> {
        match &expression.expr {
            Expr::Select(select) if !select.test && self.is_record(&select.operand) => Some(select.field.clone()),
            Expr::Call(call)
                if call.func_name == operators::INDEX && call.args.len() == 2 && self.is_record(&call.args[0]) =>
            {
                match &call.args[1].expr {
                    Expr::Literal(LiteralValue::String(name)) => Some(name.inner().to_owned()),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn is_record(&self, expression: &IdedExpr) -> bool {
        matches!(&expression.expr, Expr::Ident(name) if name == RECORD) && !self.is_bound(RECORD)
    }

    fn is_bound(&self, name: &str) -> bool {
        self.bound.iter().any(|bound| bound == name)
    }

    /// `a.b` of `a.b.f(x)`, if `a` is nobody's variable.
    fn qualifier(&self, target: &IdedExpr) -> Option<String> {
        match &target.expr {
            Expr::Ident(name) if name != RECORD && !(self.value && name == VALUE) && !self.is_bound(name) => {
                Some(name.clone())
            }
            Expr::Select(select) if !select.test => {
                Some(format!("{}.{}", self.qualifier(&select.operand)?, select.field))
            }
            _ => None,
        }
    }

    fn name(&mut self, id: u64, name: &str) {
        if self.is_bound(name) || (self.value && name == VALUE) || ENVIRONMENT.types().find_type(name).is_some() {
            return;
        }
        if name == RECORD {
            self.fault(
                id,
                "record can't be used as a whole, only its fields by name, like record.Email or record[\"Email\"]: just those are read",
            );
            return;
        }
        let known = [RECORD]
            .into_iter()
            .chain(self.value.then_some(VALUE))
            .chain(self.bound.iter().map(String::as_str));
        let hint = did_you_mean(name, known.filter(|known| !known.starts_with('@')));
        let hint = if hint.is_empty() {
            format!("; a field is read as record.{name}")
        } else {
            hint
        };
        self.fault(id, format!("there is no variable {name:?}{hint}"));
    }

    fn function(&mut self, id: u64, name: &str, member: bool) {
        let operator = !name.starts_with(|first: char| first.is_ascii_alphabetic());
        if operator || environment::exists(name, member) {
            return;
        }
        let message = if environment::exists(name, !member) {
            if member {
                format!("{name} is called as {name}(…), not after a dot")
            } else {
                format!("{name} is called after a dot, on the value that it works on: value.{name}(…)")
            }
        } else {
            format!(
                "there is no function {name:?}{}",
                did_you_mean(name, FUNCTIONS.iter().copied())
            )
        };
        self.fault(id, message);
    }

    fn fault(&mut self, id: u64, message: impl Into<String>) {
        let at = self.places.offset_for(id).map(|(start, _)| {
            let before: String = self
                .source
                .chars()
                .take(usize::try_from(start).unwrap_or_default())
                .collect();
            let line = before.matches('\n').count() + 1;
            (
                line,
                before.chars().rev().take_while(|character| *character != '\n').count() + 1,
            )
        });
        self.faults.push(Fault {
            at,
            message: message.into(),
        });
    }
}

/// What an expression gives apart from null, where its outermost operation tells.
pub(super) fn gives(expression: &IdedExpr, types: &Types<'_>) -> Option<Gives> {
    let gives = |expression: &IdedExpr| gives(expression, types);
    match &expression.expr {
        Expr::Literal(literal) => match literal {
            LiteralValue::Boolean(_) => Some(Gives::Boolean),
            LiteralValue::Double(_) => Some(Gives::Double),
            LiteralValue::Int(_) | LiteralValue::UInt(_) => Some(Gives::Integer),
            LiteralValue::String(_) => Some(Gives::Text),
            LiteralValue::Bytes(_) | LiteralValue::Null => None,
        },
        Expr::Ident(name) => types.of(name),
        Expr::List(_) => Some(Gives::List),
        Expr::Map(_) => Some(Gives::Map),
        // filter and map gather a list, all and exists a bool, and others say what they give in the end
        Expr::Comprehension(comprehension) => gives(&comprehension.result).or_else(|| gives(&comprehension.accu_init)),
        Expr::Call(call) => match call.func_name.as_str() {
            operators::CONDITIONAL => match &call.args[..] {
                [_, first, second] => either(first, second, types),
                _ => None,
            },
            operators::ADD => match &call.args[..] {
                [left, right] => match (gives(left), gives(right)) {
                    (Some(left), Some(right)) if left == right => Some(left),
                    (Some(left), Some(right)) => types::number_of(left, right),
                    _ => None,
                },
                _ => None,
            },
            operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE => match &call.args[..] {
                [left, right] => match (gives(left), gives(right)) {
                    (Some(left @ (Gives::Integer | Gives::Double)), Some(right)) if left == right => Some(left),
                    (Some(left), Some(right)) => types::number_of(left, right),
                    _ => None,
                },
                _ => None,
            },
            operators::LOGICAL_AND
            | operators::LOGICAL_OR
            | operators::LOGICAL_NOT
            | operators::EQUALS
            | operators::NOT_EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
            | operators::IN
            | "bool"
            | "contains"
            | "endsWith"
            | "matches"
            | "startsWith" => Some(Gives::Boolean),
            "charAt" | "format" | "join" | "lowerAscii" | "replace" | "string" | "substring" | "trim"
            | "upperAscii" => Some(Gives::Text),
            "getDate" | "getDayOfMonth" | "getDayOfWeek" | "getDayOfYear" | "getFullYear" | "getHours"
            | "getMilliseconds" | "getMinutes" | "getMonth" | "getSeconds" | "indexOf" | "int" | "lastIndexOf"
            | "size" | "uint" => Some(Gives::Integer),
            "double" => Some(Gives::Double),
            "duration" => Some(Gives::Duration),
            "split" | "distinct" | "flatten" | "sort" | "slice" => Some(Gives::List),
            environment::TIMESTAMP => Some(Gives::Timestamp),
            _ => None,
        },
        _ => None,
    }
}

/// What `c ? first : second` gives: the same on both sides, or null on one.
fn either(first: &IdedExpr, second: &IdedExpr, types: &Types<'_>) -> Option<Gives> {
    let null = |expression: &IdedExpr| matches!(expression.expr, Expr::Literal(LiteralValue::Null));
    match (gives(first, types), gives(second, types)) {
        (Some(gives), None) if null(second) => Some(gives),
        (None, Some(gives)) if null(first) => Some(gives),
        (Some(first), Some(second)) if first == second => Some(first),
        _ => None,
    }
}

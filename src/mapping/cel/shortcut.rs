//! The shapes that most rules have, evaluated without the interpreter: an optimisation of the expression's tree that means
//! exactly what the interpreter would find. A property test holds the two together.

use std::borrow::Cow;

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

use super::Gives;
use crate::mapping::typed::Current;
use crate::record::Field;

/// An expression of one of these shapes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shortcut {
    /// `value`, `record.X`
    Field(usize),
    /// `!value`
    Not(usize),
    /// A comparison, and conjunctions and disjunctions of them: they can't fail, so their order doesn't matter.
    Test(Test),
    /// `[record.A, record.B].filter(x, x != null).join(' ')`
    JoinPresent { fields: Vec<usize>, separator: String },
}

/// Something that is true or false for every record.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    /// `value == false`, `record.X == 'DE'`, `record.X == null`
    Equals { field: usize, literal: Literal },
    /// `record.X in ['DE', 'AT']`
    Among { field: usize, literals: Vec<Literal> },
    /// `a != b`
    Not(Box<Test>),
    /// `a && b`
    And(Box<Test>, Box<Test>),
    /// `a || b`
    Or(Box<Test>, Box<Test>),
}

/// A literal that equals only values of its own type. Numbers are left to the interpreter, which compares across types.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Null,
    Boolean(bool),
    Text(String),
}

impl Shortcut {
    pub fn of(expression: &IdedExpr, variables: &[(String, usize)]) -> Option<Shortcut> {
        if let Some(field) = field(expression, variables) {
            return Some(Shortcut::Field(field));
        }
        if let Some(test) = Test::of(expression, variables) {
            return Some(Shortcut::Test(test));
        }
        let Expr::Call(call) = &expression.expr else {
            return None;
        };
        match (call.func_name.as_str(), &call.target, &call.args[..]) {
            (operators::LOGICAL_NOT, None, [operand]) => field(operand, variables).map(Shortcut::Not),
            ("join", Some(list), [separator]) => match literal(separator)? {
                Literal::Text(separator) => Some(Shortcut::JoinPresent {
                    fields: present(list, variables)?,
                    separator,
                }),
                _ => None,
            },
            _ => None,
        }
    }

    /// The value, or nothing where the interpreter would fail or give a double: then it has the word.
    pub fn evaluate<'m>(&self, fields: &'m [Field<'m>]) -> Option<(Current<'m>, Option<Gives>)> {
        match self {
            Shortcut::Field(field) => match fields.get(*field)? {
                Field::Null => Some((Current::Null, None)),
                Field::Text(text) => Some((Current::Text(Cow::Borrowed(text)), Some(Gives::Text))),
                Field::Boolean(boolean) => Some((Current::Boolean(*boolean), Some(Gives::Boolean))),
                Field::Number(digits) => Some((Current::Integer(digits.parse().ok()?), Some(Gives::Integer))),
            },
            Shortcut::Not(field) => match fields.get(*field)? {
                Field::Boolean(boolean) => Some((Current::Boolean(!boolean), Some(Gives::Boolean))),
                _ => None,
            },
            Shortcut::Test(test) => Some((Current::Boolean(test.holds(fields)), Some(Gives::Boolean))),
            Shortcut::JoinPresent {
                fields: joined,
                separator,
            } => {
                let mut text: Option<Cow<'m, str>> = None;
                for field in joined {
                    match fields.get(*field)? {
                        Field::Null => {}
                        Field::Text(part) => match &mut text {
                            None => text = Some(Cow::Borrowed(part)),
                            Some(text) => {
                                let text = text.to_mut();
                                text.reserve(separator.len() + part.len());
                                text.push_str(separator);
                                text.push_str(part);
                            }
                        },
                        Field::Number(_) | Field::Boolean(_) => return None,
                    }
                }
                Some((Current::Text(text.unwrap_or_default()), Some(Gives::Text)))
            }
        }
    }
}

impl Test {
    fn of(expression: &IdedExpr, variables: &[(String, usize)]) -> Option<Test> {
        let Expr::Call(call) = &expression.expr else {
            return None;
        };
        let [left, right] = &call.args[..] else { return None };
        if call.target.is_some() {
            return None;
        }
        match call.func_name.as_str() {
            operators::EQUALS => Test::equals(left, right, variables),
            operators::NOT_EQUALS => Test::equals(left, right, variables).map(|test| Test::Not(Box::new(test))),
            operators::LOGICAL_AND => Some(Test::And(
                Box::new(Test::of(left, variables)?),
                Box::new(Test::of(right, variables)?),
            )),
            operators::LOGICAL_OR => Some(Test::Or(
                Box::new(Test::of(left, variables)?),
                Box::new(Test::of(right, variables)?),
            )),
            operators::IN => match &right.expr {
                Expr::List(list) if list.optional_indices.is_empty() => Some(Test::Among {
                    field: field(left, variables)?,
                    literals: list.elements.iter().map(literal).collect::<Option<_>>()?,
                }),
                _ => None,
            },
            _ => None,
        }
    }

    fn equals(left: &IdedExpr, right: &IdedExpr, variables: &[(String, usize)]) -> Option<Test> {
        let (operand, other) = match field(left, variables) {
            Some(field) => (field, right),
            None => (field(right, variables)?, left),
        };
        Some(Test::Equals {
            field: operand,
            literal: literal(other)?,
        })
    }

    fn holds(&self, fields: &[Field<'_>]) -> bool {
        match self {
            Test::Equals { field, literal } => literal.equals(fields.get(*field)),
            Test::Among { field, literals } => literals.iter().any(|literal| literal.equals(fields.get(*field))),
            Test::Not(test) => !test.holds(fields),
            Test::And(left, right) => left.holds(fields) && right.holds(fields),
            Test::Or(left, right) => left.holds(fields) || right.holds(fields),
        }
    }
}

impl Literal {
    fn equals(&self, field: Option<&Field<'_>>) -> bool {
        match (self, field) {
            (Literal::Null, Some(Field::Null)) => true,
            (Literal::Boolean(literal), Some(Field::Boolean(value))) => literal == value,
            (Literal::Text(literal), Some(Field::Text(value))) => literal == value,
            _ => false,
        }
    }
}

fn field(expression: &IdedExpr, variables: &[(String, usize)]) -> Option<usize> {
    let Expr::Ident(name) = &expression.expr else {
        return None;
    };
    variables
        .iter()
        .find(|(variable, _)| variable == name)
        .map(|(_, field)| *field)
}

fn literal(expression: &IdedExpr) -> Option<Literal> {
    let Expr::Literal(literal) = &expression.expr else {
        return None;
    };
    match literal {
        LiteralValue::Null => Some(Literal::Null),
        LiteralValue::Boolean(boolean) => Some(Literal::Boolean(*boolean.inner())),
        LiteralValue::String(text) => Some(Literal::Text(text.inner().to_owned())),
        _ => None,
    }
}

/// The fields of `[record.A, record.B].filter(x, x != null)`.
fn present(list: &IdedExpr, variables: &[(String, usize)]) -> Option<Vec<usize>> {
    let Expr::Comprehension(filter) = &list.expr else {
        return None;
    };
    let Expr::List(range) = &filter.iter_range.expr else {
        return None;
    };
    if !range.optional_indices.is_empty() || filter.iter_var2.is_some() {
        return None;
    }
    let is = |expression: &IdedExpr, name: &str| matches!(&expression.expr, Expr::Ident(ident) if ident == name);
    // filter(x, p) is: result = []; for x: result = p ? result + [x] : result
    let Expr::List(start) = &filter.accu_init.expr else {
        return None;
    };
    let Expr::Literal(LiteralValue::Boolean(go_on)) = &filter.loop_cond.expr else {
        return None;
    };
    let Expr::Call(step) = &filter.loop_step.expr else {
        return None;
    };
    let [condition, appended, kept] = &step.args[..] else {
        return None;
    };
    let (Expr::Call(condition), Expr::Call(append)) = (&condition.expr, &appended.expr) else {
        return None;
    };
    let ([tested, null], [accumulated, element]) = (&condition.args[..], &append.args[..]) else {
        return None;
    };
    let Expr::List(element) = &element.expr else {
        return None;
    };
    let [element] = &element.elements[..] else { return None };
    let shape = start.elements.is_empty()
        && *go_on.inner()
        && step.func_name == operators::CONDITIONAL
        && condition.func_name == operators::NOT_EQUALS
        && is(tested, &filter.iter_var)
        && literal(null) == Some(Literal::Null)
        && append.func_name == operators::ADD
        && is(accumulated, &filter.accu_var)
        && is(element, &filter.iter_var)
        && is(kept, &filter.accu_var)
        && is(&filter.result, &filter.accu_var);
    if !shape {
        return None;
    }
    range.elements.iter().map(|element| field(element, variables)).collect()
}

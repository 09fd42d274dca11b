//! What an expression can call: CEL's standard functions and macros, and the extensions for text, lists and numbers that
//! Kubernetes users know (`join`, `lowerAscii`, `split`, `replace`, `substring`, `indexOf`, …).

use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};
use cel::common::types::{CelString, DYN_TYPE};
use cel::common::value::CowVal;
use cel::{Context, DeclarationError, Env, ExecutionError, Value, extensions};

/// The name under which `timestamp(…)` is called: see [`timestamp`].
pub(super) const TIMESTAMP: &str = "@timestamp";

/// The environment of every expression.
pub(super) static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib();
    let extended: Result<(), DeclarationError> = environment
        .add_extension(extensions::strings)
        .and_then(|()| environment.add_extension(extensions::lists))
        .and_then(|()| environment.add_extension(extensions::math))
        .and_then(|()| environment.add_overload(TIMESTAMP, "ferrygate_timestamp", vec![DYN_TYPE], timestamp));
    debug_assert_eq!(extended, Ok(()), "the extensions declare no name twice");
    Arc::new(environment)
});

/// The names that a misspelt function may have meant.
#[rustfmt::skip]
pub(super) const FUNCTIONS: &[&str] = &[
    "all", "bool", "bytes", "charAt", "contains", "distinct", "double", "duration", "dyn", "endsWith", "exists",
    "exists_one", "filter", "flatten", "format", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear",
    "getFullYear", "getHours", "getMilliseconds", "getMinutes", "getMonth", "getSeconds", "has", "hasValue",
    "indexOf", "int", "join", "lastIndexOf", "lists.range", "lowerAscii", "map", "matches", "math.abs", "math.ceil",
    "math.floor", "math.greatest", "math.least", "math.round", "math.trunc", "optional.none", "optional.of",
    "orValue", "replace", "reverse", "size", "slice", "sort", "sortBy", "split", "startsWith", "string",
    "strings.quote", "substring", "timestamp", "trim", "type", "uint", "upperAscii", "value",
];

/// `timestamp(…)` as CEL has it, and text in Salesforce's form as well: `2026-05-04T08:41:07.000+0000` lacks the colon of
/// [RFC 3339](https://datatracker.ietf.org/doc/html/rfc3339#section-5.6), and every datetime field of a record has it.
fn timestamp<'b, 'v>(mut arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let colon = arguments.first().and_then(|argument| {
        let text: &str = argument.downcast_ref::<CelString>()?.inner();
        let (rest, minutes) = text.split_at_checked(text.len().checked_sub(2)?)?;
        let offset = rest.as_bytes().get(rest.len().checked_sub(3)?..)?;
        let basic = matches!(offset[0], b'+' | b'-')
            && minutes
                .bytes()
                .chain(offset[1..].iter().copied())
                .all(|byte| byte.is_ascii_digit());
        (basic && text.contains('T')).then(|| format!("{rest}:{minutes}"))
    });
    if let Some(text) = colon {
        arguments = vec![CowVal::owned(CelString::from(text))];
    }
    match ENVIRONMENT.find_overload("timestamp", &arguments) {
        Some(standard) => standard(arguments),
        None => {
            let types = arguments
                .iter()
                .map(|argument| argument.get_type().name().to_owned())
                .collect();
            Err(ExecutionError::no_such_overload("timestamp", types))
        }
    }
}

/// Whether there is a function of that name, called as `name(…)` or, as a `member`, as `target.name(…)`.
///
/// The environment tells only on being called: a function that is there refuses these arguments with another error.
pub(super) fn exists(name: &str, member: bool) -> bool {
    let call = IdedExpr {
        id: 0,
        expr: Expr::Call(CallExpr {
            func_name: name.to_owned(),
            target: member.then(|| {
                Box::new(IdedExpr {
                    id: 0,
                    expr: Expr::Literal(LiteralValue::Null),
                })
            }),
            args: Vec::new(),
        }),
    };
    let context = Context::with_env(ENVIRONMENT.clone());
    let undeclared = matches!(
        Value::resolve_val(&call, &context),
        Err(ExecutionError::UndeclaredReference(missing)) if *missing == name
    );
    !undeclared
}

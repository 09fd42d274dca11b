//! What an expression costs at most, so that no mapping holds up a run: an estimate in steps, made before a record is seen,
//! as Kubernetes' API server makes one of its own rules.

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

/// The most steps that an expression may take.
const LIMIT: u64 = 100_000;

/// How long a list is taken to be that only the record tells, like what `split` gives.
const UNKNOWN: u64 = 1_000;

/// What is wrong with an expression that costs too much.
pub(super) fn fault(expression: &IdedExpr) -> Option<String> {
    let cost = cost(expression);
    (cost > LIMIT).then(|| {
        format!(
            "the expression may take some {cost} steps for a record, and {LIMIT} are the most: macros inside macros multiply, \
             and a list that only the record tells counts as {UNKNOWN} items"
        )
    })
}

fn cost(expression: &IdedExpr) -> u64 {
    let all = |expressions: &[IdedExpr]| expressions.iter().map(cost).fold(0, u64::saturating_add);
    let inner = match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => 0,
        Expr::Select(select) => cost(&select.operand),
        Expr::Call(call) => {
            let target = call.target.as_deref().map_or(0, cost);
            // A list is made whole, whatever is done with it.
            let made = if is_range(expression) { size(expression) } else { 0 };
            target.saturating_add(all(&call.args)).saturating_add(made)
        }
        Expr::List(list) => all(&list.elements),
        Expr::Map(map) => u64::try_from(map.entries.len()).unwrap_or(u64::MAX),
        Expr::Struct(_) => 0,
        Expr::Comprehension(macro_call) => {
            let round = cost(&macro_call.loop_cond).saturating_add(cost(&macro_call.loop_step));
            cost(&macro_call.iter_range)
                .saturating_add(cost(&macro_call.result))
                .saturating_add(size(&macro_call.iter_range).saturating_mul(round))
        }
    };
    inner.saturating_add(1)
}

/// How many items a list has at most.
fn size(list: &IdedExpr) -> u64 {
    match &list.expr {
        Expr::List(list) => u64::try_from(list.elements.len()).unwrap_or(u64::MAX),
        Expr::Map(map) => u64::try_from(map.entries.len()).unwrap_or(u64::MAX),
        Expr::Comprehension(macro_call) => size(&macro_call.iter_range),
        Expr::Call(call) if call.func_name == operators::ADD => call.args.iter().map(size).fold(0, u64::saturating_add),
        Expr::Call(call) if is_range(list) => match call.args.first().map(|count| &count.expr) {
            Some(Expr::Literal(LiteralValue::Int(count))) => u64::try_from(*count.inner()).unwrap_or(0),
            _ => u64::MAX,
        },
        _ => UNKNOWN,
    }
}

/// Whether this is `lists.range(n)`, which makes a list of n items.
fn is_range(expression: &IdedExpr) -> bool {
    let Expr::Call(call) = &expression.expr else {
        return false;
    };
    match call.func_name.as_str() {
        "lists.range" => true,
        "range" => call
            .target
            .as_ref()
            .is_some_and(|target| matches!(&target.expr, Expr::Ident(name) if name == "lists")),
        _ => false,
    }
}

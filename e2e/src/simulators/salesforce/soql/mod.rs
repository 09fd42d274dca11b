//! SOQL, the part of it that a sync uses: read by the published grammar, bound to the org's schema, run over its records.
//!
//! `SELECT` fields (of parents too, `Account.Name`), `FIELDS(ALL|STANDARD|CUSTOM)`, `COUNT()`, `COUNT`, `COUNT_DISTINCT`,
//! `MIN`, `MAX`, `SUM`, `AVG` over the whole result; `WHERE` with `AND`, `OR`, `NOT`, parentheses, comparison, `LIKE`, `IN`
//! and `NOT IN`; `ORDER BY` with `ASC`, `DESC`, `NULLS FIRST` and `LAST`; `LIMIT`; `OFFSET`. Grouping, sub-queries,
//! semi-joins, `TYPEOF` and relative dates other than `TODAY`, `YESTERDAY` and `LAST_N_DAYS:n` are not simulated: they are
//! refused as malformed.
//!
//! <https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select.htm>

mod bind;
mod evaluate;
mod lexer;
mod parser;
mod syntax;

pub use bind::{Output, Plan, bind};
pub use evaluate::{aggregate, csv_names, is_flat, matching, write_csv, write_record};
pub use parser::parse;

use super::error::ApiError;

/// An error at a place of the query, as the API words it: the text around the place, a caret, row and column, and what is
/// wrong.
fn error_at(query: &str, at: usize, code: &'static str, what: &str) -> ApiError {
    let before = query[..at.min(query.len())].rfind('\n').map_or(0, |line| line + 1);
    let row = query[..before].matches('\n').count() + 1;
    let column = query[before..at.min(query.len())].chars().count();
    let line: Vec<char> = query[before..].lines().next().unwrap_or_default().chars().collect();
    let from = column.saturating_sub(40);
    let shown: String = line[from.min(line.len())..(column + 40).min(line.len())]
        .iter()
        .collect();
    let caret = " ".repeat(column - from);
    ApiError::bad(
        code,
        format!("\n{shown}\n{caret}^\nERROR at Row:{row}:Column:{}\n{what}", column + 1),
    )
}

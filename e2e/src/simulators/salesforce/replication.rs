//! `updated/` and `deleted/`: what changed in a span of time.
//!
//! Seconds are ignored. `latestDateCovered` is the end of the span, or the start of the oldest transaction that is open
//! still: what it will commit carries older stamps.
//! <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_getupdated.htm>
//! <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_getdeleted.htm>

use serde_json::json;

use super::error::{ApiError, Result};
use super::rest::{Call, Reply};
use super::time::{Millis, datetime, parse_datetime};

const MINUTE: Millis = 60_000;
const DAY: Millis = 86_400_000;
const MOST_IDS: usize = 600_000;

struct Span {
    start: Millis,
    end: Millis,
    covered: Millis,
}

pub fn updated(call: &Call<'_>, object: &str) -> Result<Reply> {
    let data = call.org.read();
    let table = data.table(object).ok_or_else(ApiError::not_found)?;
    let span = span(call, 30)?;
    let within = |stamp: Millis| span.start <= stamp && stamp < span.end;
    let ids: Vec<String> = table
        .rows
        .iter()
        .filter(|row| !row.deleted && within(row.stamp))
        .map(|row| row.id.to_string())
        .collect();
    if ids.len() > MOST_IDS {
        return Err(ApiError::bad(
            "EXCEEDED_ID_LIMIT",
            format!("more than {MOST_IDS} ids would be returned"),
        ));
    }
    Ok(Reply::json(
        &json!({"ids": ids, "latestDateCovered": datetime(span.covered)}),
    ))
}

pub fn deleted(call: &Call<'_>, object: &str) -> Result<Reply> {
    let data = call.org.read();
    let table = data.table(object).ok_or_else(ApiError::not_found)?;
    let span = span(call, 15)?;
    let within = |stamp: Millis| span.start <= stamp && stamp < span.end;
    let deleted = table.rows.iter().filter(|row| row.deleted);
    let earliest = deleted.clone().map(|row| row.stamp).min().unwrap_or(span.start);
    let records = deleted.filter(|row| within(row.stamp));
    let records: Vec<_> = records
        .map(|row| json!({"id": row.id.to_string(), "deletedDate": datetime(row.stamp)}))
        .collect();
    Ok(Reply::json(&json!({
        "deletedRecords": records,
        "earliestDateAvailable": datetime(earliest),
        "latestDateCovered": datetime(span.covered),
    })))
}

/// The span that the request names, which reaches back this many days at most.
fn span(call: &Call<'_>, days: Millis) -> Result<Span> {
    let instant = |name: &str| {
        let text = call.parameter(name).unwrap_or_default();
        parse_datetime(text, false)
            .map(|millis| millis - millis.rem_euclid(MINUTE))
            .ok_or_else(|| {
                let message = format!("{name}: '{text}' is not a valid value for the type xsd:dateTime");
                ApiError::bad("INVALID_REPLICATION_DATE", message)
            })
    };
    let (start, end) = (instant("start")?, instant("end")?);
    if start >= end {
        return Err(ApiError::bad(
            "INVALID_REPLICATION_DATE",
            "startDate must be before endDate",
        ));
    }
    let now = call.org.now();
    if start < now - days * DAY {
        let message = format!("startDate cannot be more than {days} days ago");
        return Err(ApiError::bad("INVALID_REPLICATION_DATE", message));
    }
    let open = call.org.open_transactions().into_values().min().unwrap_or(Millis::MAX);
    Ok(Span {
        start,
        end,
        covered: end.min(now).min(open),
    })
}

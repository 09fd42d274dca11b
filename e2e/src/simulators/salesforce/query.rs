//! `query`, `queryAll`, and the pages that follow.
//! <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_query.htm>

use std::sync::Arc;

use axum::http::HeaderMap;

use super::cursors::Cursor;
use super::data::Data;
use super::error::{ApiError, Result};
use super::rest::{Call, Reply};
use super::soql::{self, Output};

const PAGE: usize = 2000;

/// `Sforce-Query-Options: batchSize=200..2000`; what is outside is brought inside.
/// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/headers_queryoptions.htm>
fn page_size(headers: &HeaderMap) -> usize {
    let options = headers
        .get("sforce-query-options")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let size = options.split(',').find_map(|option| {
        let (name, value) = option.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("batchSize")
            .then(|| value.trim().parse().ok())?
    });
    size.map_or(PAGE, |size: usize| size.clamp(200, PAGE))
}

pub fn first_page(call: &Call<'_>, with_deleted: bool) -> Result<Reply> {
    let text = call
        .parameter("q")
        .ok_or_else(|| ApiError::bad("MALFORMED_QUERY", "A query string has to be specified"))?;
    if text.trim().is_empty() {
        return Err(ApiError::bad("MALFORMED_QUERY", "A query string has to be specified"));
    }
    let query = soql::parse(text)?;
    let data = call.org.read();
    let plan = soql::bind(&data, text, &query, call.org.now())?;
    let slots = soql::matching(&data, &plan, with_deleted);
    let mut out = Vec::new();
    match &plan.output {
        Output::Count => {
            out.extend(format!("{{\"totalSize\":{},\"done\":true,\"records\":[]}}", slots.len()).into_bytes());
        }
        Output::Aggregates(aggregates) => {
            out.extend(b"{\"totalSize\":1,\"done\":true,\"records\":[{\"attributes\":{\"type\":\"AggregateResult\"}");
            for (name, function, getter) in aggregates {
                out.extend(format!(",\"{name}\":").into_bytes());
                out.extend(soql::aggregate(&data, plan.table, &slots, *function, getter));
            }
            out.extend(b"}]}");
        }
        Output::Records(_) => {
            let cursor = Cursor {
                plan,
                slots,
                with_deleted,
                page: page_size(&call.headers),
            };
            let next = cursor.page;
            let cursor = Arc::new(cursor);
            let more = cursor.slots.len() > next;
            let locator = more.then(|| call.org.cursors.open(&call.caller, cursor.clone(), next));
            write_page(&data, &cursor, 0, locator, call.version, &mut out);
        }
    }
    Ok(Reply {
        status: axum::http::StatusCode::OK,
        body: out,
        location: None,
        part: None,
    })
}

pub fn next_page(call: &Call<'_>, locator: &str) -> Result<Reply> {
    let config = &call.org.config;
    let found = call.org.cursors.find(
        &call.caller,
        locator,
        config.cursor_lifetime,
        config.cursors_end_with_session,
    );
    let (cursor, offset) = found.ok_or_else(|| ApiError::bad("INVALID_QUERY_LOCATOR", "invalid query locator"))?;
    let next = offset + cursor.page;
    let more = cursor.slots.len() > next;
    let locator = if more {
        call.org.cursors.advance(locator, next)
    } else {
        None
    };
    let mut out = Vec::new();
    write_page(&call.org.read(), &cursor, offset, locator, call.version, &mut out);
    Ok(Reply {
        status: axum::http::StatusCode::OK,
        body: out,
        location: None,
        part: None,
    })
}

/// A record that was deleted since the query ran is left out of its page, unless the query asked for deleted ones.
fn write_page(data: &Data, cursor: &Cursor, offset: usize, locator: Option<String>, version: &str, out: &mut Vec<u8>) {
    let Output::Records(columns) = &cursor.plan.output else {
        return;
    };
    let total = cursor.slots.len();
    out.extend(format!("{{\"totalSize\":{total},\"done\":{},", locator.is_none()).into_bytes());
    if let Some(locator) = locator {
        out.extend(format!("\"nextRecordsUrl\":\"/services/data/{version}/query/{locator}\",").into_bytes());
    }
    out.extend(b"\"records\":[");
    let rows = &data.tables[cursor.plan.table].rows;
    let page = cursor.slots[offset.min(total)..(offset + cursor.page).min(total)].iter();
    // After a reset of the simulator the slots of older cursors are gone.
    let page = page.filter_map(|&slot| rows.get(slot));
    for (place, row) in page.filter(|row| cursor.with_deleted || !row.deleted).enumerate() {
        if place > 0 {
            out.push(b',');
        }
        soql::write_record(data, cursor.plan.table, row, columns, version, out);
    }
    out.extend(b"]}");
}

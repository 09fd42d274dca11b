//! Records by their ids, whenever they were modified.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::extract::{Org, check_names};
use super::page::{Layout, Page};
use super::soql::{self, URI_LIMIT};
use super::stamp;
use crate::api::common::Outcome;
use crate::source::{Recalled, Selection, SourceError};

/// Reads the records with these ids. Where the selection has deleted ones as well, one that the org has no more, not even in its
/// recycle bin, comes as a deleted record of which nothing is known but its id; its stamp is the instant beside that.
pub(super) async fn read(org: &Org, selection: &Selection, ids: &[Recalled]) -> Result<Vec<Page>, SourceError> {
    let object = selection.object.as_str();
    check_names(selection)?;
    let cursor = org.cursor(object).await?;
    let deleted = selection.deleted && cursor.deletable;
    let layout = Arc::new(Layout::new(
        &selection.fields,
        cursor.stamp,
        deleted.then_some("IsDeleted"),
    ));
    let query = |ids: &[Recalled]| {
        let soql = soql::select_ids(object, &layout, ids);
        soql::target(&org.client.config.data_path, deleted, &soql)
    };
    let mut pages = Vec::new();
    let mut missing: HashMap<&str, _> = ids.iter().map(|it| (it.record_id.as_str(), it.at)).collect();
    let mut rest = ids;
    while !rest.is_empty() {
        let mut count = rest.len();
        let mut target = query(rest);
        // A query of one id that is still too long is refused by the client, with what to do.
        while target.len() > URI_LIMIT && count > 1 {
            count = count.div_ceil(2);
            target = query(&rest[..count]);
        }
        rest = &rest[count..];
        loop {
            let mut page = org
                .client
                .get(&target, object, |answer| Page::parse(answer.body, &layout))
                .await?;
            page.decode(|record| {
                missing.remove(&*record.id);
            })?;
            let next = page.next.take();
            pages.push(page);
            match next {
                Some(next) => target = next,
                None => break,
            }
        }
    }
    if selection.deleted && !missing.is_empty() {
        pages.push(gone(selection, cursor.stamp, missing)?);
    }
    Ok(pages)
}

/// A page of records that are gone, in the order of their ids.
fn gone(selection: &Selection, stamp: &str, ids: HashMap<&str, Timestamp>) -> Result<Page, SourceError> {
    // What the object itself has no field for is told all the same.
    let layout = Arc::new(Layout::new(&selection.fields, stamp, Some("IsDeleted")));
    let mut ids: Vec<_> = ids.into_iter().collect();
    ids.sort_unstable();
    let gone = ids.iter().map(|(id, stamp)| gone_record(&layout, id, *stamp));
    let body = json!({"totalSize": ids.len(), "done": true, "records": gone.collect::<Vec<_>>()}).to_string();
    Page::parse(body, &layout).map_err(|error| {
        SourceError::new(
            Outcome::InternalError,
            format!("{}: records that are gone can't be told: {error}", selection.object),
        )
    })
}

/// A record that is gone, as a page would have it.
fn gone_record(layout: &Layout, id: &str, stamp: Timestamp) -> serde_json::Value {
    let columns = layout.columns.iter().enumerate().map(|(place, column)| {
        let value = match place {
            _ if place == layout.id => json!(id),
            _ if place == layout.stamp => json!(stamp::literal(stamp)),
            _ if Some(place) == layout.deleted => json!(true),
            _ => serde_json::Value::Null,
        };
        (column.clone(), value)
    });
    columns.collect::<serde_json::Map<_, _>>().into()
}

//! Records by their ids, whenever they were modified.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::extract::{Org, check_names};
use super::page::{Layout, Page};
use super::soql::{self, URI_LIMIT};
use super::stamp;
use crate::api::common::Outcome;
use crate::source::{Selection, SourceError};

/// Reads the records with these ids, deleted ones too. One that the org has no more, not even in its recycle bin, comes as a
/// deleted record of which nothing is known but its id; its stamp is the instant beside the id.
pub(super) async fn read(
    org: &Org,
    selection: &Selection,
    ids: &[(&str, Timestamp)],
) -> Result<Vec<Page>, SourceError> {
    let object = selection.object.as_str();
    check_names(selection)?;
    let cursor = org.cursor(object).await?;
    let layout = Arc::new(Layout::new(
        &selection.fields,
        cursor.stamp,
        cursor.deletable.then_some("IsDeleted"),
    ));
    let query = |ids: &[(&str, Timestamp)]| {
        let soql = soql::select_ids(object, &layout, ids.iter().map(|(id, _)| *id));
        soql::target(&org.client.config.data_path, cursor.deletable, &soql)
    };
    let (mut pages, mut missing): (Vec<Page>, HashSet<&str>) = (Vec::new(), ids.iter().map(|(id, _)| *id).collect());
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
    let gone = ids.iter().filter(|(id, _)| missing.contains(id));
    let gone: Vec<_> = gone.map(|(id, stamp)| gone_record(&layout, id, *stamp)).collect();
    if !gone.is_empty() {
        let body = json!({"totalSize": gone.len(), "done": true, "records": gone}).to_string();
        let page = Page::parse(body, &layout).map_err(|error| {
            SourceError::new(
                Outcome::InternalError,
                format!("{object}: records that are gone can't be told: {error}"),
            )
        })?;
        pages.push(page);
    }
    Ok(pages)
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

//! The queries of an extraction: a keyset over `(stamp, id)`.

use jiff::Timestamp;
use reqwest::Url;

use super::page::Layout;
use super::stamp::literal;
use crate::api::sync_pipeline::Watermark;
use crate::source::Recalled;

/// The longest URI that Salesforce takes, in bytes:
/// <https://developer.salesforce.com/docs/atlas.en-us.salesforce_app_limits_cheatsheet.meta/salesforce_app_limits_cheatsheet/salesforce_app_limits_platform_api.htm>
pub(super) const URI_LIMIT: usize = 16_384;

/// From which record on a query reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start<'a> {
    Everything,
    /// Records with this stamp or a later one.
    At(Timestamp),
    /// Records after this one, in keyset order.
    After(&'a Watermark),
}

/// Records in keyset order. Stamps are not unique: the id orders those that share one.
pub(super) fn select(object: &str, layout: &Layout, start: Start<'_>) -> String {
    let (columns, stamp) = (layout.columns.join(","), &layout.columns[layout.stamp]);
    let condition = match start {
        Start::Everything => String::new(),
        Start::At(instant) => format!(" WHERE {stamp} >= {}", literal(instant)),
        Start::After(Watermark { stamp: instant, id }) => {
            let (instant, id) = (literal(*instant), quoted(id));
            format!(" WHERE {stamp} > {instant} OR ({stamp} = {instant} AND Id > {id})")
        }
    };
    format!("SELECT {columns} FROM {object}{condition} ORDER BY {stamp} ASC, Id ASC")
}

/// Records in no order, for a query job: an order would keep the org from dividing the job.
/// <https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/queries.htm>
pub(super) fn select_unordered(object: &str, layout: &Layout, from: Option<Timestamp>) -> String {
    let (columns, stamp) = (layout.columns.join(","), &layout.columns[layout.stamp]);
    match from {
        None => format!("SELECT {columns} FROM {object}"),
        Some(instant) => format!("SELECT {columns} FROM {object} WHERE {stamp} >= {}", literal(instant)),
    }
}

/// The records with these ids.
pub(super) fn select_ids(object: &str, layout: &Layout, ids: &[Recalled]) -> String {
    let ids: Vec<String> = ids.iter().map(|recalled| quoted(&recalled.record_id)).collect();
    format!(
        "SELECT {} FROM {object} WHERE Id IN ({})",
        layout.columns.join(","),
        ids.join(",")
    )
}

/// The number of records, or of those with a later stamp.
pub(super) fn count(object: &str, modified_after: Option<(&str, Timestamp)>) -> String {
    match modified_after {
        Some((stamp, instant)) => format!("SELECT COUNT() FROM {object} WHERE {stamp} > {}", literal(instant)),
        None => format!("SELECT COUNT() FROM {object}"),
    }
}

/// The path and query of a request: `query`, or `queryAll`, which includes deleted records.
pub(super) fn target(data_path: &str, deleted: bool, soql: &str) -> String {
    let resource = if deleted { "queryAll" } else { "query" };
    let mut encoder = Url::parse("https://localhost").expect("a constant URL parses");
    // A comma stands for itself in a query, and encoding it would shorten the longest list of fields by a tenth.
    let query = encoder
        .query_pairs_mut()
        .append_pair("q", soql)
        .finish()
        .query()
        .unwrap_or_default()
        .replace("%2C", ",");
    format!("{data_path}/{resource}?{query}")
}

/// Whether a name can be written into a query as it is.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_begins_at_a_stamp_and_resumes_after_a_record() {
        let fields = ["Email", "id", "Name"].map(str::to_owned);
        let layout = Layout::new(&fields, "SystemModstamp", Some("IsDeleted"));
        let stamp: Timestamp = "2026-05-04T08:41:07Z".parse().unwrap();
        let last = Watermark {
            stamp,
            id: "003Qy00000AbCdE'\\".into(),
        };
        let queries =
            [Start::Everything, Start::At(stamp), Start::After(&last)].map(|start| select("Contact", &layout, start));
        assert_eq!(
            queries,
            [
                "SELECT Email,id,Name,SystemModstamp,IsDeleted FROM Contact ORDER BY SystemModstamp ASC, Id ASC",
                "SELECT Email,id,Name,SystemModstamp,IsDeleted FROM Contact WHERE SystemModstamp >= 2026-05-04T08:41:07.000Z \
                 ORDER BY SystemModstamp ASC, Id ASC",
                "SELECT Email,id,Name,SystemModstamp,IsDeleted FROM Contact WHERE SystemModstamp > 2026-05-04T08:41:07.000Z OR \
                 (SystemModstamp = 2026-05-04T08:41:07.000Z AND Id > '003Qy00000AbCdE\\'\\\\') ORDER BY SystemModstamp ASC, \
                 Id ASC",
            ]
        );
    }

    #[test]
    fn records_are_named_by_their_ids() {
        let layout = Layout::new(&["Email".to_owned()], "SystemModstamp", None);
        let ids = ["003A", "003'B"].map(|id| Recalled {
            record_id: id.to_owned(),
            at: Timestamp::UNIX_EPOCH,
        });
        assert_eq!(
            select_ids("Contact", &layout, &ids),
            "SELECT Email,Id,SystemModstamp FROM Contact WHERE Id IN ('003A','003\\'B')"
        );
    }

    #[test]
    fn a_query_is_encoded_into_its_uri() {
        assert_eq!(
            target(
                "/services/data/v62.0",
                true,
                "SELECT Id,Name FROM A WHERE S > 2026-05-04T08:41:07.000Z AND Id > 'x+y'"
            ),
            "/services/data/v62.0/queryAll?q=SELECT+Id,Name+FROM+A+WHERE+S+%3E+2026-05-04T08%3A41%3A07.000Z+AND+Id+%3E+\
             %27x%2By%27"
        );
        assert_eq!(
            [
                count("A", None),
                count("A", Some(("S", "2026-05-04T08:41:07Z".parse().unwrap())))
            ],
            [
                "SELECT COUNT() FROM A",
                "SELECT COUNT() FROM A WHERE S > 2026-05-04T08:41:07.000Z"
            ]
        );
    }

    #[test]
    fn only_names_enter_a_query() {
        let names = [
            "Contact",
            "My__c",
            "ns__X9__c",
            "Account.Name",
            "1a",
            "a b",
            "",
            "x'y",
            "naïve",
        ];
        assert_eq!(
            names.map(is_name),
            [true, true, true, false, false, false, false, false, false]
        );
    }
}

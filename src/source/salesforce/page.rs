//! A page of a query's result: one pass over its JSON finds where each value stands, after which decoding only points there.
//! ([`super::csv`] makes the same pages of CSV.)
//!
//! Shape of a page: <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/dome_query.htm>

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::csv::Kind;
use super::stamp;
use crate::api::sync_pipeline::Watermark;
use crate::record::{Field, Record};
use crate::source::{ResumePoint, SourceError};

/// Which columns a query asks for, and which of them are the selection's fields.
#[derive(Debug)]
pub(super) struct Layout {
    /// The API names that the query selects, none twice.
    pub columns: Vec<String>,
    /// The column of each field of the selection.
    pub fields: Vec<usize>,
    /// The column of the record's id.
    pub id: usize,
    /// The column of the modification stamp.
    pub stamp: usize,
    /// The column that tells whether the record was deleted.
    pub deleted: Option<usize>,
}

impl Layout {
    /// The fields, then what the connector itself needs. SOQL's names have no case, and selecting one twice is an error.
    pub fn new(fields: &[String], stamp: &str, deleted: Option<&str>) -> Self {
        let mut columns: Vec<String> = Vec::with_capacity(fields.len() + 3);
        let mut column = |name: &str| {
            columns
                .iter()
                .position(|column| column.eq_ignore_ascii_case(name))
                .unwrap_or_else(|| {
                    columns.push(name.to_owned());
                    columns.len() - 1
                })
        };
        let fields = fields.iter().map(|field| column(field)).collect();
        let (id, stamp, deleted) = (column("Id"), column(stamp), deleted.map(&mut column));
        Layout {
            columns,
            fields,
            id,
            stamp,
            deleted,
        }
    }

    /// The column called `name`. Records repeat the order of the query, so that it is most often the `expected` one.
    fn column(&self, name: &str, expected: usize) -> Option<usize> {
        match self.columns.get(expected) {
            Some(column) if column == name => Some(expected),
            _ if name == "attributes" => None,
            _ => self.columns.iter().position(|column| column.eq_ignore_ascii_case(name)),
        }
    }
}

/// How an error begins that names a column which a record lacks, and quotes nothing of the answer.
pub(super) const LACKS: &str = "a record without";

/// Where a value stands in the body: of JSON quotes included. Nothing stands at 0..0.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

/// How the values of a body are written.
#[derive(Debug)]
enum Form {
    Json,
    /// By the types of the layout's columns.
    Csv(Arc<[Kind]>),
}

/// One page of records, in keyset order or, with a [`ResumePoint`], in none. It owns the answer's body; records borrow from it.
#[derive(Debug)]
pub struct Page {
    layout: Arc<Layout>,
    form: Form,
    body: String,
    /// Where the values stand: a row of columns for each record.
    spans: Vec<Span>,
    stamps: Vec<Timestamp>,
    /// The path of the next page.
    pub(super) next: Option<String>,
    position: Option<Watermark>,
    resume_point: Option<ResumePoint>,
}

impl Page {
    /// Reads the structure of a page.
    ///
    /// # Errors
    /// Where the body is not the whole JSON of a page, or a record lacks its id, its stamp, or any other column that was asked
    /// for: a page has each of them, be it as null. What is left out is not null, and must not unset a trait.
    pub(super) fn parse(body: String, layout: &Arc<Layout>) -> Result<Page, serde_json::Error> {
        if u32::try_from(body.len()).is_err() {
            return Err(Error::custom("more than 4 GiB"));
        }
        let mut index = Index {
            layout,
            base: body.as_ptr() as usize,
            spans: Vec::new(),
            stamps: Vec::new(),
        };
        let mut deserializer = serde_json::Deserializer::from_str(&body);
        let next = Envelope(&mut index).deserialize(&mut deserializer)?;
        deserializer.end()?;
        let Index { spans, stamps, .. } = index;
        Ok(Page {
            layout: layout.clone(),
            form: Form::Json,
            body,
            spans,
            stamps,
            next,
            position: None,
            resume_point: None,
        })
    }

    /// A page of the values that CSV held: `spans` has a row of the layout's columns for each of `stamps`, and each span lies
    /// within `body`, between characters.
    pub(super) fn of_csv(
        layout: &Arc<Layout>,
        kinds: &Arc<[Kind]>,
        body: String,
        spans: Vec<Span>,
        stamps: Vec<Timestamp>,
    ) -> Page {
        Page {
            layout: layout.clone(),
            form: Form::Csv(kinds.clone()),
            body,
            spans,
            stamps,
            next: None,
            position: None,
            resume_point: None,
        }
    }

    /// How many records the page has.
    pub fn len(&self) -> usize {
        self.stamps.len()
    }

    /// Whether the page has no record.
    pub fn is_empty(&self) -> bool {
        self.stamps.is_empty()
    }

    /// The place up to which the extraction is complete with this page: the last record, in keyset order, that was not modified
    /// since the query began, nor since a transaction began that was open then. A record that is modified while the query is
    /// paged through keeps its place and shows its new stamp; a watermark that followed that stamp would pass over records that
    /// are still to come.
    pub fn position(&self) -> Option<&Watermark> {
        self.position.as_ref()
    }

    /// Where the reading can be gone on with once everything up to and with this page is dealt with. A page that has one comes in
    /// no order, and tells nothing of how far the watermark may move.
    pub fn resume_point(&self) -> Option<&ResumePoint> {
        self.resume_point.as_ref()
    }

    /// Settles [`Page::resume_point`].
    pub(super) fn resume_at(&mut self, point: ResumePoint) {
        self.resume_point = Some(point);
    }

    /// Of all records that were not modified after this instant the last one in keyset order, whatever order they came in.
    pub(super) fn greatest_until(&self, instant: Timestamp) -> Option<(Timestamp, Cow<'_, str>)> {
        let rows = self.stamps.iter().enumerate().filter(|(_, stamp)| **stamp <= instant);
        rows.map(|(row, stamp)| (*stamp, self.id(row))).max()
    }

    /// How many bytes the values have.
    pub(super) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// The last record that was not modified after this instant.
    pub(super) fn last_until(&self, instant: Timestamp) -> Option<Watermark> {
        let row = self.stamps.iter().rposition(|stamp| *stamp <= instant)?;
        Some(Watermark {
            stamp: self.stamps[row],
            id: self.id(row).into_owned(),
        })
    }

    /// Settles [`Page::position`].
    pub(super) fn settle(&mut self, position: Option<Watermark>) {
        self.position = position;
    }

    /// Visits the records in order. Each borrows from the page.
    pub fn decode(&self, mut visit: impl FnMut(&Record<'_>)) -> Result<(), SourceError> {
        let layout = &*self.layout;
        let mut fields = Vec::with_capacity(layout.fields.len());
        for (row, stamp) in self.stamps.iter().enumerate() {
            fields.clear();
            match &self.form {
                Form::Json => fields.extend(layout.fields.iter().map(|column| field(self.raw(row, *column)))),
                Form::Csv(kinds) => {
                    let cells = layout
                        .fields
                        .iter()
                        .map(|&column| (kinds[column], self.raw(row, column)));
                    fields.extend(cells.map(|(kind, cell)| kind.field(cell)));
                }
            }
            visit(&Record {
                id: self.id(row),
                stamp: *stamp,
                deleted: layout.deleted.is_some_and(|column| self.raw(row, column) == "true"),
                fields: &fields,
            });
        }
        Ok(())
    }

    fn id(&self, row: usize) -> Cow<'_, str> {
        let raw = self.raw(row, self.layout.id);
        match self.form {
            Form::Json => text(raw),
            Form::Csv(_) => Cow::Borrowed(raw),
        }
    }

    fn raw(&self, row: usize, column: usize) -> &str {
        let span = self.spans[row * self.layout.columns.len() + column];
        &self.body[span.start as usize..span.end as usize]
    }
}

/// A value by its JSON. A compound field (an address, a location) is an object, and is passed on as its JSON.
fn field(raw: &str) -> Field<'_> {
    match raw.as_bytes().first() {
        None | Some(b'n') => Field::Null,
        Some(b't') => Field::Boolean(true),
        Some(b'f') => Field::Boolean(false),
        Some(b'-' | b'0'..=b'9') => Field::Number(raw),
        _ => Field::Text(text(raw)),
    }
}

/// A string by its JSON: borrowed unless it has escapes.
fn text(raw: &str) -> Cow<'_, str> {
    match raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) {
        Some(inner) if !inner.as_bytes().contains(&b'\\') => Cow::Borrowed(inner),
        Some(inner) => match serde_json::from_str(raw) {
            Ok(text) => Cow::Owned(text),
            // A lone surrogate, which no text can hold: the escapes stay as they were sent.
            Err(_) => Cow::Borrowed(inner),
        },
        None => Cow::Borrowed(raw),
    }
}

/// What one pass over the JSON finds.
struct Index<'l> {
    layout: &'l Layout,
    /// The address of the body's first byte.
    base: usize,
    spans: Vec<Span>,
    stamps: Vec<Timestamp>,
}

impl Index<'_> {
    fn span(&self, raw: &str) -> Span {
        // The body is shorter than 4 GiB.
        let start = (raw.as_ptr() as usize - self.base) as u32;
        Span {
            start,
            end: start + raw.len() as u32,
        }
    }
}

/// `{"totalSize": …, "done": …, "nextRecordsUrl": …, "records": […]}`, in any order.
struct Envelope<'i, 'l>(&'i mut Index<'l>);

impl<'de> DeserializeSeed<'de> for Envelope<'_, '_> {
    type Value = Option<String>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Envelope<'_, '_> {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a page of records")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut done, mut next, mut records) = (None, None, false);
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "done" => done = Some(map.next_value::<bool>()?),
                "nextRecordsUrl" => next = map.next_value::<Option<String>>()?,
                "records" => {
                    map.next_value_seed(Records(self.0))?;
                    records = true;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        match (records, done, next) {
            (false, ..) => Err(Error::missing_field("records")),
            (_, None, _) => Err(Error::missing_field("done")),
            (_, Some(true), _) => Ok(None),
            (_, Some(false), None) => Err(Error::missing_field("nextRecordsUrl")),
            (_, Some(false), next) => Ok(next),
        }
    }
}

struct Records<'i, 'l>(&'i mut Index<'l>);

impl<'de> DeserializeSeed<'de> for Records<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Records<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        while records.next_element_seed(Row(self.0))?.is_some() {}
        Ok(())
    }
}

struct Row<'i, 'l>(&'i mut Index<'l>);

impl<'de> DeserializeSeed<'de> for Row<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let index = self.0;
        let layout = index.layout;
        let row = index.spans.len();
        index.spans.resize(row + layout.columns.len(), Span::default());
        let (mut id, mut stamp, mut expected) = ("", None, 0);
        while let Some(column) = map.next_key_seed(Key { layout, expected })? {
            let Some(column) = column else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let raw = map.next_value::<&'de RawValue>()?.get();
            index.spans[row + column] = index.span(raw);
            if column == layout.id {
                id = raw;
            }
            if column == layout.stamp {
                stamp = stamp::parse(&text(raw));
            }
            expected = column + 1;
        }
        if id.len() <= 2 || !id.starts_with('"') {
            return Err(Error::custom(format_args!("{LACKS} an Id")));
        }
        let stamp = stamp.ok_or_else(|| Error::custom(format_args!("{LACKS} a modification stamp")))?;
        if let Some(column) = index.spans[row..].iter().position(|span| span.end == 0) {
            return Err(Error::custom(format_args!("{LACKS} {}", layout.columns[column])));
        }
        index.stamps.push(stamp);
        Ok(())
    }
}

/// The key of a record's member: its column, or none where the query didn't ask for it.
struct Key<'l> {
    layout: &'l Layout,
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.layout.column(name, self.expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(fields: &[&str]) -> Arc<Layout> {
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        Arc::new(Layout::new(&fields, "SystemModstamp", Some("IsDeleted")))
    }

    fn page(members: &str, records: &str) -> String {
        format!(r#"{{"totalSize":1,{members},"records":[{records}]}}"#)
    }

    #[test]
    fn values_are_passed_on_as_they_were_sent() {
        let layout = layout(&[
            "Name", "Id", "Amount", "Active", "Gone", "Empty", "Escaped", "Address", "Lone", "Null",
        ]);
        let record = r#"{"attributes":{"type":"Deal","url":"/x"},"name":"Ada","Id":"006A","Amount":1234567890.1230,"Active":true,
            "Gone":null,"Empty":"","Escaped":"a\"b\u00e9\n","Address":{"city":"K\u00f6ln"},"Lone":"x\ud800","Null":"null",
            "SystemModstamp":"2026-05-04T08:41:07.000+0000","IsDeleted":true,"More":[1]}"#;
        let page = Page::parse(page(r#""done":true"#, record), &layout).unwrap();
        let mut seen = Vec::new();
        page.decode(|record| {
            assert!(
                matches!(&record.fields[0], Field::Text(Cow::Borrowed(_))),
                "nothing is copied"
            );
            seen.push(format!(
                "{} {} {} {:?}",
                record.id, record.stamp, record.deleted, record.fields
            ));
        })
        .unwrap();
        let expected = [
            r#"Text("Ada")"#,
            r#"Text("006A")"#,
            r#"Number("1234567890.1230")"#,
            "Boolean(true)",
            "Null",
            r#"Text("")"#,
            r#"Text("a\"bé\n")"#,
            r#"Text("{\"city\":\"K\\u00f6ln\"}")"#,
            r#"Text("x\\ud800")"#,
            r#"Text("null")"#,
        ];
        assert_eq!(
            seen,
            [format!("006A 2026-05-04T08:41:07Z true [{}]", expected.join(", "))]
        );
    }

    #[test]
    fn a_page_is_whole_or_refused() {
        let record = r#"{"Id":"a","SystemModstamp":"2026-05-04T08:41:07.000+0000","IsDeleted":false}"#;
        let whole = page(r#""done":false,"nextRecordsUrl":"/next""#, record);
        let cases = [
            (whole.clone(), Some(Some("/next"))),
            (page(r#""done":true"#, ""), Some(None)),
            (format!(r#"{{"records":[{record}],"done":true}}"#), Some(None)),
            (page(r#""done":true,"nextRecordsUrl":"/next""#, record), Some(None)),
            (page(r#""done":false"#, record), None),
            (page(r#""size":1"#, record), None),
            (r#"{"done":true}"#.to_owned(), None),
            (page(r#""done":true"#, r#"{"Id":"a","IsDeleted":false}"#), None),
            (page(r#""done":true"#, &record.replace(r#""a""#, "null")), None),
            (page(r#""done":true"#, &record.replace("2026", "last year")), None),
            (page(r#""done":true"#, &record.replace("IsDeleted", "Other")), None),
            (format!("{whole}x"), None),
            ("[]".to_owned(), None),
            (String::new(), None),
        ];
        for (body, expected) in cases {
            let parsed = Page::parse(body.clone(), &layout(&[]));
            assert_eq!(
                parsed.ok().map(|page| page.next),
                expected.map(|next| next.map(str::to_owned)),
                "{body}"
            );
        }
        for end in 0..whole.len() {
            assert!(
                Page::parse(whole[..end].to_owned(), &layout(&[])).is_err(),
                "{}",
                &whole[..end]
            );
        }
    }

    #[test]
    fn the_last_record_until_an_instant_is_none_that_was_modified_since() {
        let record = |id: &str, minute: u8| {
            format!(r#"{{"Id":"{id}","SystemModstamp":"2026-05-04T08:{minute:02}:00.000+0000","IsDeleted":false}}"#)
        };
        let instant = "2026-05-04T08:10:00Z".parse().unwrap();
        let cases = [
            (vec![("a", 2), ("b", 3)], Some("2026-05-04T08:03:00.000Z b")),
            (vec![("a", 2), ("b", 11)], Some("2026-05-04T08:02:00.000Z a")),
            (vec![("a", 12), ("b", 11)], None),
            (vec![], None),
        ];
        for (records, expected) in cases {
            let records: Vec<String> = records.into_iter().map(|(id, minute)| record(id, minute)).collect();
            let page = Page::parse(page(r#""done":true"#, &records.join(",")), &layout(&[])).unwrap();
            assert_eq!(
                page.last_until(instant).map(|last| last.to_string()).as_deref(),
                expected
            );
        }
    }
}

//! A page of a query job's result: CSV, read as it arrives, into the same [`Page`]s that JSON becomes.
//!
//! Shape of a page: <https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/query_get_job_results.htm>. It
//! begins with a row of names, and each row ends with a line feed, the last one too.

use std::borrow::Cow;
use std::sync::Arc;

use csv_core::{ReadRecordResult, ReaderBuilder, Terminator};
use jiff::Timestamp;

use super::page::{Layout, Page, Span};
use super::stamp;
use crate::record::Field;

/// What a field's text in CSV is, where REST sends JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Boolean,
    Number,
    /// REST writes `+0000` where CSV has `Z`.
    Instant,
}

impl Kind {
    /// By the type that the description names; none, where a query job does not have it, or nobody knows how.
    /// <https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/field_types.htm>
    pub fn of(described: &str) -> Option<Kind> {
        match described {
            "id" | "reference" | "string" | "textarea" | "email" | "phone" | "url" | "picklist" | "multipicklist"
            | "combobox" | "encryptedstring" | "date" | "time" => Some(Kind::Text),
            "boolean" => Some(Kind::Boolean),
            "int" | "long" | "double" | "currency" | "percent" => Some(Kind::Number),
            "datetime" => Some(Kind::Instant),
            _ => None,
        }
    }

    /// The value of a cell, as REST's JSON would have it. An org holds no empty text: an empty cell is null.
    pub fn field(self, cell: &str) -> Field<'_> {
        match (self, cell) {
            (_, "") => Field::Null,
            (Kind::Boolean, "true") => Field::Boolean(true),
            (Kind::Boolean, "false") => Field::Boolean(false),
            (Kind::Number, digits) if digits.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
                Field::Number(digits)
            }
            (_, text) => Field::Text(Cow::Borrowed(text)),
        }
    }
}

/// Why a page is none. It quotes nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken(pub &'static str);

/// A page that is being read.
pub(super) struct Reader<'l> {
    layout: &'l Arc<Layout>,
    kinds: &'l Arc<[Kind]>,
    core: csv_core::Reader,
    /// The values without their quotes, one after another; only the first `filled` bytes are.
    body: Vec<u8>,
    filled: usize,
    /// Where the row begins that is being read, and where its cells end, from there.
    start: usize,
    ends: Vec<usize>,
    seen: usize,
    /// The layout's column of each cell, once the names are read.
    columns: Option<Vec<usize>>,
    spans: Vec<Span>,
    stamps: Vec<Timestamp>,
    /// Whether the last row is at its end.
    whole: bool,
}

impl<'l> Reader<'l> {
    /// Begins with a page; `kinds` are those of the layout's columns.
    pub fn new(layout: &'l Arc<Layout>, kinds: &'l Arc<[Kind]>) -> Self {
        Reader {
            layout,
            kinds,
            core: ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build(),
            body: Vec::new(),
            filled: 0,
            start: 0,
            // One more than there should be, to see that there are more.
            ends: vec![0; layout.columns.len() + 1],
            seen: 0,
            columns: None,
            spans: Vec::new(),
            stamps: Vec::new(),
            whole: true,
        }
    }

    /// How much is held.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Makes room for so many records and bytes at once, where they are known.
    pub fn reserve(&mut self, records: usize, bytes: usize) {
        self.spans.reserve(records * self.layout.columns.len());
        self.stamps.reserve(records);
        self.body.reserve(bytes);
    }

    /// Reads on.
    pub fn feed(&mut self, mut input: &[u8]) -> Result<(), Broken> {
        while !input.is_empty() {
            self.make_room(input.len());
            let (result, read, written, ended) =
                self.core
                    .read_record(input, &mut self.body[self.filled..], &mut self.ends[self.seen..]);
            input = &input[read..];
            self.filled += written;
            self.seen += ended;
            match result {
                ReadRecordResult::Record => {
                    self.row()?;
                    self.whole = true;
                }
                ReadRecordResult::InputEmpty => self.whole = false,
                ReadRecordResult::OutputEndsFull => {
                    return Err(Broken("a row has more cells than the query has fields"));
                }
                ReadRecordResult::OutputFull | ReadRecordResult::End => {}
            }
        }
        Ok(())
    }

    /// Ends the page, which should have so many records.
    pub fn finish(mut self, expected: usize) -> Result<Page, Broken> {
        if !self.whole {
            return Err(Broken("it ends in the middle of a row"));
        }
        if self.columns.is_none() && expected > 0 {
            return Err(Broken("it is empty"));
        }
        if self.stamps.len() != expected {
            return Err(Broken("it does not have as many rows as it says"));
        }
        self.body.truncate(self.filled);
        let body = String::from_utf8(self.body).map_err(|_| Broken("it is not UTF-8"))?;
        let between = |place: u32| body.is_char_boundary(place as usize);
        if !self.spans.iter().all(|span| between(span.start) && between(span.end)) {
            return Err(Broken("it is not UTF-8"));
        }
        Ok(Page::of_csv(self.layout, self.kinds, body, self.spans, self.stamps))
    }

    fn make_room(&mut self, bytes: usize) {
        if self.body.len() < self.filled + bytes {
            self.body.resize(self.filled + bytes, 0);
        }
    }

    /// Notes the row that was read.
    fn row(&mut self) -> Result<(), Broken> {
        let cells = std::mem::take(&mut self.seen);
        if cells != self.layout.columns.len() {
            return Err(Broken("a row has other cells than the query has fields"));
        }
        if self.columns.is_none() {
            self.columns = Some(self.names()?);
            self.filled = self.start;
            return Ok(());
        }
        let row = self.spans.len();
        self.spans.resize(row + cells, Span::default());
        let mut from = self.start;
        for (cell, column) in self.columns.iter().flatten().enumerate() {
            let to = self.start + self.ends[cell];
            self.spans[row + column] = span(from, to)?;
            from = to;
        }
        self.start = self.filled;
        let id = self.spans[row + self.layout.id];
        if id.start == id.end {
            return Err(Broken("a record without an Id"));
        }
        let stamp = std::str::from_utf8(self.cell(row + self.layout.stamp))
            .ok()
            .and_then(stamp::parse);
        self.stamps
            .push(stamp.ok_or(Broken("a record without a modification stamp"))?);
        for column in 0..cells {
            if self.kinds[column] == Kind::Instant {
                self.as_rest_writes(row + column)?;
            }
        }
        Ok(())
    }

    /// The layout's column of each name.
    fn names(&self) -> Result<Vec<usize>, Broken> {
        let mut from = self.start;
        let mut columns = Vec::with_capacity(self.layout.columns.len());
        for end in &self.ends[..self.layout.columns.len()] {
            let name = &self.body[from..self.start + end];
            from = self.start + end;
            let mut known = self.layout.columns.iter();
            let column = known.position(|column| column.as_bytes().eq_ignore_ascii_case(name));
            match column.filter(|column| !columns.contains(column)) {
                Some(column) => columns.push(column),
                None => return Err(Broken("its names are not the query's fields")),
            }
        }
        Ok(columns)
    }

    fn cell(&self, place: usize) -> &[u8] {
        let Span { start, end } = self.spans[place];
        &self.body[start as usize..end as usize]
    }

    /// `2026-05-04T08:41:07.000Z` becomes `2026-05-04T08:41:07.000+0000`, behind all that was read.
    fn as_rest_writes(&mut self, place: usize) -> Result<(), Broken> {
        let [digits @ .., b'Z'] = self.cell(place) else {
            return Ok(());
        };
        let length = digits.len();
        let from = self.spans[place].start as usize;
        self.make_room(length + 5);
        self.body.copy_within(from..from + length, self.filled);
        let to = self.filled + length + 5;
        self.body[to - 5..to].copy_from_slice(b"+0000");
        self.spans[place] = span(self.filled, to)?;
        self.filled = to;
        self.start = to;
        Ok(())
    }
}

fn span(start: usize, end: usize) -> Result<Span, Broken> {
    match (u32::try_from(start), u32::try_from(end)) {
        (Ok(start), Ok(end)) => Ok(Span { start, end }),
        _ => Err(Broken("it has more than 4 GiB")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [(&str, Kind); 5] = [
        ("Name", Kind::Text),
        ("Amount", Kind::Number),
        ("Active", Kind::Boolean),
        ("Since", Kind::Instant),
        ("Birth", Kind::Text),
    ];
    const NAMES: &str = "\"Name\",\"Amount\",\"Active\",\"Since\",\"Birth\",\"Id\",\"SystemModstamp\",\"IsDeleted\"\n";

    fn layout() -> (Arc<Layout>, Arc<[Kind]>) {
        let fields = FIELDS.map(|(name, _)| name.to_owned());
        let own = [Kind::Text, Kind::Instant, Kind::Boolean];
        let kinds = FIELDS.iter().map(|(_, kind)| *kind).chain(own).collect();
        (
            Arc::new(Layout::new(&fields, "SystemModstamp", Some("IsDeleted"))),
            kinds,
        )
    }

    /// Reads a page that arrives in pieces of `piece` bytes.
    fn read(body: &[u8], piece: usize, expected: usize) -> Result<Page, Broken> {
        let (layout, kinds) = layout();
        let mut reader = Reader::new(&layout, &kinds);
        for piece in body.chunks(piece) {
            reader.feed(piece)?;
        }
        reader.finish(expected)
    }

    fn shown(page: &Page) -> Vec<String> {
        let mut seen = Vec::new();
        page.decode(|record| {
            seen.push(format!(
                "{} {} {} {:?}",
                record.id, record.stamp, record.deleted, record.fields
            ));
        })
        .unwrap();
        seen
    }

    fn row(cells: &str) -> String {
        format!("{cells},\"003A\",\"2026-05-04T08:41:07.000Z\",\"false\"\n")
    }

    #[test]
    fn a_cell_is_what_rest_would_have_sent() {
        let rows = [
            r#""Ada","1234567890.1230","true","2026-05-04T08:41:07.000Z","1985-12-10""#,
            r#"Ada,-5,false,2026-05-04T08:41:07.000+0000,"#,
            r#""","","","","""#,
            "\"say \"\"hi\"\",\r\nthen\0 go\",,,,",
            "NULL,,,,",
        ];
        let body = format!("{NAMES}{}", rows.map(row).concat());
        let expected = [
            r#"[Text("Ada"), Number("1234567890.1230"), Boolean(true), Text("2026-05-04T08:41:07.000+0000"), Text("1985-12-10")]"#,
            r#"[Text("Ada"), Number("-5"), Boolean(false), Text("2026-05-04T08:41:07.000+0000"), Null]"#,
            "[Null, Null, Null, Null, Null]",
            r#"[Text("say \"hi\",\r\nthen\0 go"), Null, Null, Null, Null]"#,
            r#"[Text("NULL"), Null, Null, Null, Null]"#,
        ]
        .map(|fields| format!("003A 2026-05-04T08:41:07Z false {fields}"));
        for piece in [1, 2, 7, body.len()] {
            assert_eq!(shown(&read(body.as_bytes(), piece, 5).unwrap()), expected, "{piece}");
        }
    }

    #[test]
    fn columns_are_told_by_their_names() {
        let body = "Id,IsDeleted,systemmodstamp,Birth,Since,Active,Amount,Name\n\
                    003B,true,2026-05-04T08:41:07.000Z,,,true,7,Bob\n";
        assert_eq!(
            shown(&read(body.as_bytes(), 3, 1).unwrap()),
            [r#"003B 2026-05-04T08:41:07Z true [Text("Bob"), Number("7"), Boolean(true), Null, Null]"#]
        );
    }

    #[test]
    fn a_page_that_is_cut_anywhere_is_refused() {
        let rows = [row("\"Zoë, \"\"Z\"\"\",1,true,,"), row("\"line\nbreak\",2,true,,")];
        let body = format!("{NAMES}{}", rows.concat());
        assert_eq!(read(body.as_bytes(), 16, 2).map(|page| page.len()), Ok(2));
        for end in 0..body.len() {
            assert!(read(&body.as_bytes()[..end], 16, 2).is_err(), "{end}");
        }
    }

    #[test]
    fn what_is_no_page_is_refused_and_an_empty_one_is_not() {
        let cases: [(&[u8], usize, Result<usize, &str>); 9] = [
            (b"", 0, Ok(0)),
            (b"", 1, Err("it is empty")),
            (NAMES.as_bytes(), 0, Ok(0)),
            (NAMES.as_bytes(), 1, Err("it does not have as many rows as it says")),
            (
                b"<html>maintenance</html>\n",
                0,
                Err("a row has other cells than the query has fields"),
            ),
            (b"a,b,c,d,e,f,g,h\n", 0, Err("its names are not the query's fields")),
            (
                b"Name,Name,Active,Since,Birth,Id,SystemModstamp,IsDeleted\n",
                0,
                Err("its names are not the query's fields"),
            ),
            (
                b"Name,Amount,Active,Since,Birth,Id,SystemModstamp,IsDeleted\n,,,,,,2026-05-04T08:41:07.000Z,false\n",
                1,
                Err("a record without an Id"),
            ),
            (
                b"Name,Amount,Active,Since,Birth,Id,SystemModstamp,IsDeleted\n\xc3,\xa9,,,,a,2026-05-04T08:41:07.000Z,false\n",
                1,
                Err("it is not UTF-8"),
            ),
        ];
        for (body, expected, result) in cases {
            let read = read(body, 5, expected)
                .map(|page| page.len())
                .map_err(|Broken(why)| why);
            assert_eq!(read, result, "{}", String::from_utf8_lossy(body));
        }
    }
}

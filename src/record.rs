//! A CRM record on its way through a run, borrowed from the page that it was read from.

use std::borrow::Cow;

use jiff::Timestamp;

/// One record as the CRM sent it.
#[derive(Debug)]
pub struct Record<'a> {
    /// The CRM's id of the record.
    pub id: Cow<'a, str>,
    /// When the record was last modified, by the CRM's clock.
    pub stamp: Timestamp,
    /// Whether the record was deleted in the CRM.
    pub deleted: bool,
    /// The selected fields, in the order in which they were selected.
    pub fields: &'a [Field<'a>],
}

/// One field's value as the CRM sent it. Null is the API's own null, never a text that looks like one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// The API's null.
    Null,
    /// Text; dates and instants are text as well.
    Text(Cow<'a, str>),
    /// A number's digits, as sent: never a float.
    Number(&'a str),
    /// True or false.
    Boolean(bool),
}

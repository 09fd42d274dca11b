//! One event as the Tracking API reads it, and why it may be refused.
//! <https://segment.com/docs/connections/spec/common/>

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

/// The fields that decide whether an event is taken; the rest is kept as it came.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head<'a> {
    #[serde(borrow, rename = "type", default, deserialize_with = "text")]
    pub kind: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub user_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub anonymous_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub message_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub event: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub group_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub previous_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub timestamp: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub original_timestamp: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub sent_at: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub write_key: Option<Cow<'a, str>>,
}

/// Text, or a number read as text, as ids may be; anything else is as good as nothing. Empty text is nothing too.
fn text<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Scalar<'a> {
        #[serde(borrow)]
        Text(Cow<'a, str>),
        Number(serde_json::Number),
        Other(serde::de::IgnoredAny),
    }
    Ok(match Scalar::deserialize(deserializer)? {
        Scalar::Text(text) => (!text.is_empty()).then_some(text),
        Scalar::Number(number) => Some(Cow::Owned(number.to_string())),
        Scalar::Other(_) => None,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Identify,
    Track,
    Group,
    Alias,
    Page,
    Screen,
}

impl Kind {
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "identify" => Self::Identify,
            "track" => Self::Track,
            "group" => Self::Group,
            "alias" => Self::Alias,
            "page" => Self::Page,
            "screen" => Self::Screen,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Track => "track",
            Self::Group => "group",
            Self::Alias => "alias",
            Self::Page => "page",
            Self::Screen => "screen",
        }
    }
}

/// Why an event that was answered with 200 is lost all the same.
/// <https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/#errors>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    InvalidWriteKey,
    TooManyEvents,
    NotAnObject,
    UnknownType,
    NoUserAnonId,
    MissingEventName,
    MissingGroupId,
    MissingPreviousId,
    MessageIdTooLong,
    /// By a regulation: <https://segment.com/docs/privacy/user-deletion-and-suppression/#suppression-support>.
    SuppressedUser,
}

/// A `messageId` has fewer than 100 characters.
const LONGEST_MESSAGE_ID: usize = 99;

/// The event's type, if it has all that its type needs. `endpoint` is the type that the path names.
pub fn accept(head: &Head<'_>, endpoint: Option<Kind>) -> Result<Kind, Refusal> {
    let kind = endpoint
        .or_else(|| Kind::named(head.kind.as_deref()?))
        .ok_or(Refusal::UnknownType)?;
    if head.user_id.is_none() && head.anonymous_id.is_none() {
        return Err(Refusal::NoUserAnonId);
    }
    match kind {
        Kind::Track if head.event.is_none() => return Err(Refusal::MissingEventName),
        Kind::Group if head.group_id.is_none() => return Err(Refusal::MissingGroupId),
        Kind::Alias if head.previous_id.is_none() => return Err(Refusal::MissingPreviousId),
        _ => {}
    }
    let too_long = |id: &Cow<'_, str>| id.chars().count() > LONGEST_MESSAGE_ID;
    if head.message_id.as_ref().is_some_and(too_long) {
        return Err(Refusal::MessageIdTooLong);
    }
    Ok(kind)
}

pub fn instant(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok()
}

/// `timestamp = receivedAt - (sentAt - originalTimestamp)`
/// <https://segment.com/docs/connections/spec/common/#timestamps>
pub fn corrected(received: Timestamp, sent: Option<Timestamp>, original: Option<Timestamp>) -> Timestamp {
    match (sent, original) {
        (Some(sent), Some(original)) => {
            let waited = sent.as_nanosecond() - original.as_nanosecond();
            Timestamp::from_nanosecond(received.as_nanosecond() - waited).unwrap_or(received)
        }
        (None, Some(original)) => original,
        (_, None) => received,
    }
}

#[cfg(test)]
mod tests {
    use super::{Head, Kind, Refusal, accept, corrected};

    #[test]
    fn an_event_is_taken_or_refused_by_what_its_type_needs() {
        let long = "x".repeat(100);
        let most = "x".repeat(99);
        let cases = [
            (r#"{"type":"identify","userId":"1"}"#.to_owned(), Ok(Kind::Identify)),
            (r#"{"type":"identify","userId":7}"#.to_owned(), Ok(Kind::Identify)),
            (
                r#"{"type":"identify","anonymousId":"1"}"#.to_owned(),
                Ok(Kind::Identify),
            ),
            (
                r#"{"type":"identify","userId":""}"#.to_owned(),
                Err(Refusal::NoUserAnonId),
            ),
            (
                r#"{"type":"identify","userId":null}"#.to_owned(),
                Err(Refusal::NoUserAnonId),
            ),
            (
                r#"{"type":"identify","userId":{}}"#.to_owned(),
                Err(Refusal::NoUserAnonId),
            ),
            (
                r#"{"type":"track","userId":"1"}"#.to_owned(),
                Err(Refusal::MissingEventName),
            ),
            (
                r#"{"type":"track","userId":"1","event":"Ordered"}"#.to_owned(),
                Ok(Kind::Track),
            ),
            (
                r#"{"type":"group","userId":"1"}"#.to_owned(),
                Err(Refusal::MissingGroupId),
            ),
            (
                r#"{"type":"alias","userId":"1"}"#.to_owned(),
                Err(Refusal::MissingPreviousId),
            ),
            (r#"{"type":"erase","userId":"1"}"#.to_owned(), Err(Refusal::UnknownType)),
            (r#"{"userId":"1"}"#.to_owned(), Err(Refusal::UnknownType)),
            (
                format!(r#"{{"type":"page","userId":"1","messageId":"{long}"}}"#),
                Err(Refusal::MessageIdTooLong),
            ),
            (
                format!(r#"{{"type":"page","userId":"1","messageId":"{most}"}}"#),
                Ok(Kind::Page),
            ),
        ];
        for (json, expected) in cases {
            let head: Head<'_> = serde_json::from_str(&json).expect("an object");
            assert_eq!(accept(&head, None), expected, "{json}");
        }
    }

    #[test]
    fn the_clock_of_a_client_that_lags_is_corrected() {
        let at = |text: &str| text.parse().expect("an instant");
        let received = at("2026-05-04T10:00:00Z");
        let (sent, original) = (Some(at("2026-05-04T09:00:00Z")), Some(at("2026-05-04T08:30:00Z")));
        assert_eq!(corrected(received, sent, original), at("2026-05-04T09:30:00Z"));
        assert_eq!(corrected(received, None, original), at("2026-05-04T08:30:00Z"));
        assert_eq!(corrected(received, sent, None), received);
    }
}

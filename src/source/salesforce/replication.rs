//! Up to when an org's transactions have ended.
//!
//! A record is stamped when its transaction begins to write it, and is seen when that ends: a record of a transaction that is
//! still open comes with a stamp that a reading has passed. `updated/` tells the start of the oldest one:
//! <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_getupdated.htm>

use jiff::tz::TimeZone;
use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use serde::Deserialize;
use serde::de::{Error, IgnoredAny};

use super::client::Failure;
use super::extract::Org;
use super::stamp;
use crate::api::common::Outcome;
use crate::source::SourceError;

/// The API takes no notice of seconds, and a span has a minute at the least.
const SPAN: SignedDuration = SignedDuration::from_mins(1);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Updated {
    #[serde(rename = "ids")]
    _ids: IgnoredAny,
    latest_date_covered: String,
}

/// The instant before which nothing is still to be committed. It lies a minute or two ago, and long ago while a transaction is
/// open anywhere on the org's instance. None where the org refuses to tell.
pub(super) async fn covered(org: &Org, object: &str) -> Result<Option<Timestamp>, SourceError> {
    let Some(target) = target(&org.client.config.data_path, object, Timestamp::now()) else {
        return Ok(None);
    };
    let covered = org.client.get(&target, object, |answer| {
        let updated: Updated = serde_json::from_str(&answer.body)?;
        stamp::parse(&updated.latest_date_covered).ok_or_else(|| Error::custom("latestDateCovered is no instant"))
    });
    match covered.await {
        Ok(instant) => Ok(Some(instant)),
        Err(Failure::Source(error)) if is_refusal(error.outcome) => {
            tracing::warn!(
                object,
                "up to when all transactions have ended is not known: {error}; what commits late is found by the look-back alone"
            );
            Ok(None)
        }
        Err(failure) => Err(failure.into()),
    }
}

/// Whether the org answered, and would answer the same again.
fn is_refusal(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::SchemaDrifted | Outcome::ConfigurationInvalid | Outcome::AuthenticationFailed
    )
}

/// The last whole minute: the shortest span, with the fewest ids in the answer.
fn target(data_path: &str, object: &str, now: Timestamp) -> Option<String> {
    let minutes = TimestampRound::new().smallest(Unit::Minute).mode(RoundMode::Floor);
    let end = now.round(minutes).ok()?;
    let time = |instant: Timestamp| {
        instant
            .to_zoned(TimeZone::UTC)
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string()
    };
    let (start, end) = (time(end.checked_sub(SPAN).ok()?), time(end));
    Some(format!(
        "{data_path}/sobjects/{object}/updated/?start={start}&end={end}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_minute_is_asked_for() {
        let at = |now: &str| target("/services/data/v62.0", "Contact", now.parse().unwrap()).unwrap();
        let expected =
            "/services/data/v62.0/sobjects/Contact/updated/?start=2026-05-04T08:40:00Z&end=2026-05-04T08:41:00Z";
        assert_eq!(
            [at("2026-05-04T08:41:00Z"), at("2026-05-04T08:41:59.999Z")],
            [expected, expected]
        );
    }
}

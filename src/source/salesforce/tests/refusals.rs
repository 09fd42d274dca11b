//! What ends a run, and with which words.

use jiff::{SignedDuration, Timestamp};

use super::org::{Fault, Org};
use super::{connect, contacts, ids};
use crate::api::common::Outcome;
use crate::source::{Quota, Selection};

#[tokio::test]
async fn an_error_that_no_retry_mends_says_what_to_do() {
    let error = |status, code| Fault::Error(status, code, None);
    let cases = [
        (
            error(400, "INVALID_FIELD"),
            Outcome::SchemaDrifted,
            "Contact: the org has no field \"Fax__c\", or the integration user may not see it (400 INVALID_FIELD); correct the \
             mapping, or give the user access",
        ),
        (
            error(404, "NOT_FOUND"),
            Outcome::SchemaDrifted,
            "Contact: not found (404 NOT_FOUND); check that it exists, that the integration user may see it, and apiVersion",
        ),
        (
            error(403, "API_DISABLED_FOR_ORG"),
            Outcome::AuthenticationFailed,
            "the user may not use the API (403 API_DISABLED_FOR_ORG); give its profile or a permission set \"API Enabled\"",
        ),
        (
            Fault::OtherHost,
            Outcome::SourceUnavailable,
            "Contact: the org names a next page on another host; it is not asked",
        ),
    ];
    for (fault, outcome, message) in cases {
        let org = Org::start(&["08:00:01 a", "08:00:02 b", "08:00:03 c"], &[(2, fault)]).await;
        let source = connect(&org).await.unwrap();
        let error = ids(&mut source.extract(contacts(None, false))).await.unwrap_err();
        assert_eq!((error.outcome, error.message.as_str()), (outcome, message));
    }
}

#[tokio::test]
async fn a_redirect_is_refused_and_not_followed() {
    let org = Org::start(&["08:00:01 a"], &[(2, Fault::Redirect)]).await;
    let source = connect(&org).await.unwrap();
    let error = ids(&mut source.extract(contacts(None, false))).await.unwrap_err();
    let expected = format!(
        "{} answers with a redirect, and redirects are not followed; set instanceUrl to the org's My Domain URL",
        org.url
    );
    assert_eq!(
        (error.outcome, error.message),
        (Outcome::ConfigurationInvalid, expected)
    );
}

#[tokio::test]
async fn a_quota_that_is_used_up_parks_the_run_for_as_long_as_the_org_says_or_an_hour() {
    for (wait, seconds) in [(Some("90"), 90), (None, 3600)] {
        let org = Org::start(
            &["08:00:01 a"],
            &[(2, Fault::Error(403, "REQUEST_LIMIT_EXCEEDED", wait))],
        )
        .await;
        let source = connect(&org).await.unwrap();
        let error = ids(&mut source.extract(contacts(None, false))).await.unwrap_err();
        let parked = error.parked_until.unwrap().duration_since(Timestamp::now());
        let expected = SignedDuration::from_secs(seconds);
        assert!(
            error
                .message
                .starts_with("Contact: the org's request quota is used up (18 of 15000); it counts"),
            "{error}"
        );
        assert_eq!(error.outcome, Outcome::SourceThrottled);
        assert!(
            parked <= expected && parked > expected - SignedDuration::from_secs(30),
            "{parked}"
        );
        assert_eq!(org.seen().len(), 2, "no further request is made");
    }
}

#[tokio::test]
async fn patience_ends_as_an_outage_and_a_long_wait_as_a_parked_run() {
    let busy = Fault::Error(503, "SERVER_UNAVAILABLE", None);
    let org = Org::start(&[], &[(2, busy), (3, busy), (4, busy), (5, busy), (6, busy)]).await;
    let error = ids(&mut connect(&org).await.unwrap().extract(contacts(None, false)))
        .await
        .unwrap_err();
    assert_eq!(
        (error.outcome, error.message.as_str(), error.parked_until),
        (
            Outcome::SourceUnavailable,
            "Contact: no good answer in 5 tries; the last: the org answered 503 SERVER_UNAVAILABLE",
            None
        )
    );

    let org = Org::start(&[], &[(2, Fault::Error(429, "", Some("600")))]).await;
    let error = ids(&mut connect(&org).await.unwrap().extract(contacts(None, false)))
        .await
        .unwrap_err();
    assert_eq!(
        (error.outcome, error.parked_until.is_some()),
        (Outcome::SourceThrottled, true)
    );
}

#[tokio::test]
async fn a_cursor_that_is_always_lost_ends_the_run() {
    // Nothing tells where to resume from: every record is newer than the query.
    let faults: Vec<(usize, Fault)> = (0..20)
        .map(|number| (3 + 2 * number, Fault::SessionAndCursor))
        .collect();
    let org = Org::start(&["13:00:01 a", "13:00:02 b", "13:00:03 c"], &faults).await;
    let error = ids(&mut connect(&org).await.unwrap().extract(contacts(None, false)))
        .await
        .unwrap_err();
    assert_eq!(error.outcome, Outcome::SourceUnavailable);
}

#[tokio::test]
async fn a_query_that_no_uri_can_hold_is_not_sent() {
    let org = Org::start(&[], &[]).await;
    let selection = Selection {
        fields: (0..600)
            .map(|number| format!("A_Field_With_A_Long_Name_{number}__c"))
            .collect(),
        ..contacts(None, false)
    };
    let error = ids(&mut connect(&org).await.unwrap().extract(selection))
        .await
        .unwrap_err();
    assert_eq!(
        (error.outcome, error.message.as_str(), org.seen().len()),
        (
            Outcome::ConfigurationInvalid,
            "Contact: the query is 19192 bytes long and a URI may have 16384; map fewer fields of this object",
            1
        )
    );
}

#[tokio::test]
async fn the_quota_is_the_last_header_or_asked_for() {
    let org = Org::start(&[], &[]).await;
    let source = connect(&org).await.unwrap();
    assert_eq!(source.quota().await, Ok(Some(Quota { used: 18, max: 15_000 })));
    assert_eq!(source.quota().await, Ok(Some(Quota { used: 18, max: 15_000 })));
    assert_eq!(org.seen(), ["/services/data/v62.0/limits"]);
}

#[tokio::test]
async fn a_name_that_would_change_the_query_is_refused() {
    let org = Org::start(&[], &[]).await;
    let source = connect(&org).await.unwrap();
    let error = source.count("Contact WHERE Id = 'x'", None, false).await.unwrap_err();
    assert_eq!((error.outcome, org.seen().len()), (Outcome::ConfigurationInvalid, 0));
}

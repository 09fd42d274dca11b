//! Readings by a query job of the Bulk API.

use std::sync::Arc;

use super::org::{Fault, Org};
use super::{PATIENCE, contacts, ids, secrets, spec};
use crate::api::common::Outcome;
use crate::source::salesforce::Salesforce;
use crate::source::{Extract, ResumePoint, Selection};

/// Two records share a stamp; the last one is stamped after the org's clock, as one that is modified while the job goes on.
const RECORDS: [&str; 7] = [
    "08:00:01 a",
    "08:00:02 b",
    "08:00:02 c",
    "08:00:03 d",
    "08:00:03 e",
    "08:00:04 f",
    "13:00:00 g",
];

const COUNT: &str = "SELECT COUNT() FROM Contact";
const DESCRIBE: &str = "/services/data/v62.0/sobjects/Contact/describe";
const LIMITS: &str = "/services/data/v62.0/limits";
const JOB: &str = "/services/data/v62.0/jobs/query/7501";
const RESULTS: &str = "/services/data/v62.0/jobs/query/7501/results";

fn made(query: &str) -> String {
    format!(
        "POST /services/data/v62.0/jobs/query {{\"columnDelimiter\":\"COMMA\",\"contentType\":\"CSV\",\"lineEnding\":\"LF\",\
         \"operation\":\"query\",\"query\":\"{query}\"}}"
    )
}

/// Reads by a job where there are three records and more.
async fn connect(org: &Org) -> Salesforce {
    let mut source = Salesforce::connect_with(&spec(&org.url, |_| {}), &secrets(), PATIENCE)
        .await
        .unwrap();
    Arc::get_mut(&mut source.org).unwrap().client.config.bulk_from = Some(3);
    source
}

/// The ids, sorted.
async fn sorted(extract: &mut Extract) -> String {
    let mut ids = ids(extract).await.unwrap();
    ids.sort();
    ids.concat()
}

#[tokio::test]
async fn a_job_is_made_watched_read_part_by_part_and_told_where_to_go_on() {
    let org = Org::start(&RECORDS, &[]).await;
    let source = connect(&org).await;
    let mut extract = source.extract(contacts(None, false));
    let mut seen = Vec::new();
    while let Some(page) = extract.next_page().await.unwrap() {
        let mut ids = String::new();
        page.decode(|record| ids.push_str(&record.id)).unwrap();
        let point = page.resume_point().unwrap();
        let reached = point.reached.as_ref().map_or("-", |reached| &reached.id);
        seen.push(format!("{ids} reaches {reached}, then {:?}", point.next));
    }
    assert_eq!(
        seen,
        [
            " reaches -, then First",
            "gf reaches f, then Named(\"part+2\")",
            "ed reaches f, then Named(\"part+4\")",
            "cb reaches f, then Named(\"part+6\")",
            "a reaches f, then End",
        ]
    );
    let as_of = extract.complete_as_of().unwrap();
    assert_eq!(as_of.as_second() / 60, 29_631_599, "{as_of}");
    source.remove(extract.resume_point().unwrap()).await;
    let delete = format!("DELETE {JOB}");
    let make = made("SELECT LastName,Id,SystemModstamp FROM Contact");
    let asked = [
        DESCRIBE, COUNT, LIMITS, &make, JOB, JOB, RESULTS, RESULTS, RESULTS, RESULTS, &delete,
    ];
    assert_eq!(org.seen(), asked);
    org.jobs(|jobs| assert_eq!(jobs.kept(), [""; 0]));
}

#[tokio::test]
async fn only_much_that_jobs_can_have_is_read_by_one() {
    let recently = (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1)).to_string();
    let long_ago = "2026-05-04T08:00:02Z";
    // What is asked before the first record is.
    type Case<'a> = (&'a str, usize, Option<&'a str>, &'static str, &'a [&'a str]);
    let cases: [Case<'_>; 5] = [
        ("everything of much", 7, None, "string", &[COUNT, LIMITS]),
        ("everything of little", 2, None, "string", &[COUNT]),
        (
            "much of long ago",
            7,
            Some(long_ago),
            "string",
            &[
                "SELECT COUNT() FROM Contact WHERE SystemModstamp > 2026-05-04T08:00:02.000Z",
                LIMITS,
            ],
        ),
        ("what changed of late", 7, Some(&recently), "string", &[]),
        ("a compound field", 7, None, "address", &[]),
    ];
    for (case, records, from, kind, expected) in cases {
        let org = Org::start(&RECORDS[..records], &[]).await;
        org.describe_as(&[
            ("Id", "id", true),
            ("LastName", kind, true),
            ("SystemModstamp", "datetime", true),
        ]);
        let mut extract = connect(&org).await.extract(contacts(from, false));
        ids(&mut extract).await.unwrap();
        let seen = org.seen();
        let begun = seen[1..]
            .iter()
            .position(|asked| asked.contains("SELECT LastName"))
            .unwrap();
        assert_eq!(seen[1..=begun], *expected, "{case}");
        let by_job = expected.contains(&LIMITS);
        assert_eq!(seen[1 + begun].starts_with("POST"), by_job, "{case}");
        assert_eq!(extract.resume_point().is_some(), by_job, "{case}");
    }
}

#[tokio::test]
async fn an_object_that_the_bulk_api_does_not_serve_is_read_by_rest_and_not_tried_again() {
    let refusals = [
        ("INVALIDENTITY", "Entity 'Contact' is not supported by the Bulk API."),
        (
            "API_ERROR",
            "Blob field not supported in Bulk V2 Query with CSV content type",
        ),
    ];
    for refusal in refusals {
        let org = Org::start(&RECORDS, &[]).await;
        org.jobs(|jobs| jobs.refuses = Some(refusal));
        let source = connect(&org).await;
        for _ in 0..2 {
            let mut extract = source.extract(contacts(None, false));
            assert_eq!(sorted(&mut extract).await, "abcdefg");
            assert_eq!(extract.resume_point(), None);
        }
        let tried = org.seen().iter().filter(|asked| asked.starts_with("POST")).count();
        assert_eq!(tried, 1, "{refusal:?}");
    }
}

#[tokio::test]
async fn a_job_that_fails_for_what_the_bulk_api_does_not_serve_is_removed_and_rest_asked() {
    let org = Org::start(&RECORDS, &[]).await;
    org.jobs(|jobs| {
        jobs.fails = Some(
            "InvalidBatch : Failed to process query: FUNCTIONALITY_NOT_ENABLED: Selecting compound data not supported in Bulk Query",
        );
    });
    let mut extract = connect(&org).await.extract(contacts(None, false));
    assert_eq!(sorted(&mut extract).await, "abcdefg");
    assert_eq!(extract.resume_point(), None);
    org.jobs(|jobs| assert_eq!(jobs.kept(), [""; 0]));
}

/// Failure case 7: a quota that is used up is waited for, never evaded.
#[tokio::test]
async fn a_used_up_quota_of_jobs_parks_the_run() {
    let limit = (
        "LIMIT_EXCEEDED",
        "Max bulk v2 query jobs (10000) per 24 hrs has been reached (10021)",
    );
    let requests = ("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.");
    for (left, refuses, asked) in [(0, None, 0), (10_000, Some(limit), 1), (10_000, Some(requests), 1)] {
        let org = Org::start(&RECORDS, &[]).await;
        org.jobs(|jobs| (jobs.left, jobs.refuses) = (left, refuses));
        let error = ids(&mut connect(&org).await.extract(contacts(None, false)))
            .await
            .unwrap_err();
        assert_eq!(error.outcome, Outcome::SourceThrottled, "{}", error.message);
        assert!(error.parked_until.is_some());
        let seen = org.seen();
        assert_eq!(seen.iter().filter(|asked| asked.starts_with("POST")).count(), asked);
        assert!(!seen.iter().any(|asked| asked.contains("ORDER BY")), "{seen:?}");
    }
}

#[tokio::test]
async fn every_record_is_read_once_whatever_passes() {
    let error = |status, code| Fault::Error(status, code, None);
    // Requests: 1 describes, 2 counts, 3 asks for the limits, 4 makes the job, 5 and 6 look at it, 7 to 10 read.
    let cases: [(&str, &[(usize, Fault)]); 9] = [
        ("the session ends before the job", &[(4, error(401, ""))]),
        ("the session ends while it is waited for", &[(5, error(401, ""))]),
        ("the session ends between parts", &[(8, error(401, ""))]),
        ("a part is truncated", &[(7, Fault::Truncated), (9, Fault::Truncated)]),
        (
            "the connection drops",
            &[(8, Fault::Dropped), (9, Fault::Dropped), (10, Fault::Dropped)],
        ),
        (
            "a proxy answers",
            &[(4, Fault::Html), (7, Fault::Html), (9, Fault::Html)],
        ),
        (
            "the org is busy",
            &[
                (4, error(503, "SERVER_UNAVAILABLE")),
                (8, error(500, "UNKNOWN_EXCEPTION")),
            ],
        ),
        ("the org asks to wait", &[(7, Fault::Error(429, "", Some("0.01")))]),
        (
            "the limits are not to be seen",
            &[(3, error(403, "INSUFFICIENT_ACCESS"))],
        ),
    ];
    for (case, faults) in cases {
        let org = Org::start(&RECORDS, faults).await;
        let mut extract = connect(&org).await.extract(contacts(None, false));
        assert_eq!(sorted(&mut extract).await, "abcdefg", "{case}: {:#?}", org.seen());
        assert!(extract.resume_point().is_some(), "{case}");
    }
}

#[tokio::test]
async fn a_record_is_the_same_whichever_way_it_comes() {
    let org = Org::start(&["08:00:01 a", "08:00:02 b deleted", "08:00:03 c"], &[]).await;
    org.describe_as(&[
        ("Id", "id", true),
        ("LastName", "string", true),
        ("Since", "datetime", true),
        ("Score", "double", true),
        ("SystemModstamp", "datetime", true),
        ("IsDeleted", "boolean", true),
    ]);
    let selection = Selection {
        fields: ["LastName", "Id", "Since", "Score", "IsDeleted", "SystemModstamp"]
            .map(str::to_owned)
            .into(),
        ..contacts(None, true)
    };
    let mut ways = Vec::new();
    for source in [connect(&org).await, super::connect(&org).await.unwrap()] {
        let mut extract = source.extract(selection.clone());
        let mut records = Vec::new();
        while let Some(page) = extract.next_page().await.unwrap() {
            page.decode(|record| records.push(format!("{record:?}"))).unwrap();
        }
        records.sort();
        ways.push((extract.resume_point().is_some(), records));
    }
    assert_eq!(ways[0].0, !ways[1].0);
    assert_eq!(ways[0].1.len(), 3);
    assert_eq!(ways[0].1, ways[1].1);
}

/// Reads so many pages and goes away, as a run does that is killed.
async fn begun(source: &Salesforce, pages: usize) -> ResumePoint {
    let mut extract = source.extract(contacts(None, false));
    for _ in 0..pages {
        extract.next_page().await.unwrap().unwrap();
    }
    extract.resume_point().unwrap().clone()
}

#[tokio::test]
async fn a_later_run_goes_on_behind_the_last_part_that_was_dealt_with() {
    let parts = ["abcdefg", "abcde", "abc", "a", ""];
    for (read, left) in parts.into_iter().enumerate() {
        let org = Org::start(&RECORDS, &[]).await;
        let point = begun(&connect(&org).await, read + 1).await;
        let mut extract = connect(&org)
            .await
            .extract(contacts(None, false))
            .going_on_from(Some(point));
        assert_eq!(sorted(&mut extract).await, left);
        let end = extract.resume_point().unwrap();
        assert_eq!(
            end.reached.as_ref().map(|reached| reached.id.as_str()),
            Some("f"),
            "{read}"
        );
        let made = org.seen().iter().filter(|asked| asked.starts_with("POST")).count();
        assert_eq!(made, 1, "{read}");
    }
}

#[tokio::test]
async fn what_a_later_run_can_not_go_on_with_is_removed_and_read_anew() {
    let other = Selection {
        from: Some("2026-05-04T08:00:02Z".parse().unwrap()),
        ..contacts(None, false)
    };
    type Case<'a> = (&'a str, Selection, &'a dyn Fn(&Org), &'a str);
    let cases: [Case<'_>; 4] = [
        ("another question", other, &|_| {}, "bcdefg"),
        ("another purpose", contacts(None, false), &|_| {}, "abcdefg"),
        (
            "the org has lost it",
            contacts(None, false),
            &|org| org.jobs(|jobs| jobs.lose()),
            "abcdefg",
        ),
        ("deleted ones as well", contacts(None, true), &|_| {}, "abcdefg"),
    ];
    for (case, selection, arrange, expected) in cases {
        let org = Org::start(&RECORDS, &[]).await;
        let point = begun(&connect(&org).await, 2).await;
        arrange(&org);
        let purpose = if case == "another purpose" { "keys" } else { "" };
        let extract = connect(&org).await.extract(selection).for_purpose(purpose.to_owned());
        let mut extract = extract.going_on_from(Some(point));
        assert_eq!(sorted(&mut extract).await, expected, "{case}");
        org.jobs(|jobs| assert_eq!(jobs.kept(), ["7502 JobComplete"], "{case}"));
    }
}

#[tokio::test]
async fn a_leftover_is_removed_where_the_reading_is_rests_now() {
    let org = Org::start(&RECORDS, &[]).await;
    let point = begun(&connect(&org).await, 2).await;
    let rest = super::connect(&org).await.unwrap();
    let mut extract = rest.extract(contacts(None, false)).going_on_from(Some(point));
    assert_eq!(sorted(&mut extract).await, "abcdefg");
    assert_eq!(extract.resume_point(), None);
    org.jobs(|jobs| assert_eq!(jobs.kept(), [""; 0]));
}

#[tokio::test]
async fn a_result_that_goes_away_while_it_is_read_is_left_to_the_next_run() {
    let org = Org::start(&RECORDS, &[]).await;
    let source = connect(&org).await;
    let mut extract = source.extract(contacts(None, false));
    extract.next_page().await.unwrap();
    org.jobs(|jobs| jobs.lose());
    let error = ids(&mut extract).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::SourceUnavailable, "{}", error.message);
}

#[tokio::test]
async fn a_job_that_fails_is_removed_or_left_for_the_next_run_to_find() {
    let org = Org::start(&RECORDS, &[]).await;
    org.jobs(|jobs| jobs.fails = Some("InternalServerError: ada@acme.example: retried more than fifteen times"));
    let source = connect(&org).await;
    let mut extract = source.extract(contacts(None, false));
    let error = ids(&mut extract).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::SourceUnavailable);
    assert!(!error.message.contains("acme"), "{}", error.message);
    let point = extract.resume_point().unwrap().clone();
    org.jobs(|jobs| jobs.fails = None);
    let mut extract = source.extract(contacts(None, false)).going_on_from(Some(point));
    assert_eq!(sorted(&mut extract).await, "abcdefg");
    org.jobs(|jobs| assert_eq!(jobs.kept(), ["7502 JobComplete"]));
}

#[tokio::test]
async fn a_run_that_stops_has_no_job_worked_on_for_nobody_and_keeps_a_result() {
    for (takes, kept) in [(usize::MAX, &[][..]), (0, &["7501 JobComplete"][..])] {
        let org = Org::start(&RECORDS, &[]).await;
        org.jobs(|jobs| jobs.takes = takes);
        let mut extract = connect(&org).await.extract(contacts(None, false));
        extract.next_page().await.unwrap();
        if takes == 0 {
            extract.next_page().await.unwrap();
        }
        extract.close().await;
        org.jobs(|jobs| assert_eq!(jobs.kept(), kept));
    }
}

#[tokio::test]
async fn the_watermark_stays_before_open_transactions_and_before_what_the_caller_says() {
    let cases = [
        (None, Some("f")),
        (Some("2026-05-04T08:00:02Z"), Some("c")),
        (Some("2026-05-04T07:00:00Z"), None),
    ];
    for (settled, expected) in cases {
        for by_org in [true, false] {
            let org = Org::start(&RECORDS, &[]).await;
            let mut extract = connect(&org).await.extract(contacts(None, false));
            match settled {
                Some(instant) if by_org => org.covers(instant),
                settled => extract = extract.settling_until(settled.map(|instant| instant.parse().unwrap())),
            }
            assert_eq!(sorted(&mut extract).await, "abcdefg");
            let reached = extract.resume_point().unwrap().reached.as_ref();
            assert_eq!(
                reached.map(|reached| reached.id.as_str()),
                expected,
                "{settled:?} {by_org}"
            );
        }
    }
}

//! What an extraction gets over by itself.

use super::org::{Fault, Org};
use super::{connect, contacts, ids};

/// Two records share a stamp on both sides of a page's edge, and so do two of the next page.
const RECORDS: [&str; 7] = [
    "08:00:01 a",
    "08:00:02 b",
    "08:00:02 c",
    "08:00:03 d",
    "08:00:03 e",
    "08:00:04 f",
    "08:00:05 g",
];

#[tokio::test]
async fn every_record_is_read_once_and_in_order_whatever_passes() {
    let error = |status, code| Fault::Error(status, code, None);
    // Requests for data: 1 describes, 2 queries, 3, 4 and 5 follow the cursor.
    let cases: [(&str, &[(usize, Fault)]); 13] = [
        ("nothing", &[]),
        ("the session ends at once", &[(2, error(401, ""))]),
        ("the session ends between two pages", &[(3, error(401, ""))]),
        ("the session ends twice", &[(3, error(401, "")), (5, error(401, ""))]),
        (
            "the session ends, and the cursor with it",
            &[(4, Fault::SessionAndCursor)],
        ),
        (
            "the cursor is lost after one page",
            &[(3, error(400, "INVALID_QUERY_LOCATOR"))],
        ),
        (
            "the cursor is lost twice",
            &[
                (3, error(400, "INVALID_QUERY_LOCATOR")),
                (5, error(400, "INVALID_QUERY_LOCATOR")),
            ],
        ),
        ("a page is truncated", &[(2, Fault::Truncated), (4, Fault::Truncated)]),
        ("the connection drops", &[(2, Fault::Dropped), (4, Fault::Dropped)]),
        ("a proxy answers", &[(3, Fault::Html)]),
        (
            "the org is busy",
            &[
                (2, error(503, "SERVER_UNAVAILABLE")),
                (3, error(500, "UNKNOWN_EXCEPTION")),
            ],
        ),
        ("a row is locked", &[(3, error(400, "UNABLE_TO_LOCK_ROW"))]),
        ("the org asks to wait", &[(3, Fault::Error(429, "", Some("0.01")))]),
    ];
    for (case, faults) in cases {
        let org = Org::start(&RECORDS, faults).await;
        let source = connect(&org).await.unwrap();
        let mut extract = source.extract(contacts(None, false));
        let read = ids(&mut extract).await;
        assert_eq!(
            read.as_deref().map(<[String]>::concat),
            Ok("abcdefg".into()),
            "{case}: {:#?}",
            org.seen()
        );
        assert_eq!(
            extract.complete_as_of().map(|instant| instant.as_second() / 60),
            Some(29_631_599),
            "{case}"
        );
    }
}

#[tokio::test]
async fn a_lost_cursor_resumes_after_the_last_record_that_was_read() {
    let org = Org::start(&RECORDS, &[(4, Fault::Error(400, "INVALID_QUERY_LOCATOR", None))]).await;
    let source = connect(&org).await.unwrap();
    ids(&mut source.extract(contacts(Some("2026-05-04T08:00:01Z"), false)))
        .await
        .unwrap();
    let select = "SELECT LastName,Id,SystemModstamp FROM Contact WHERE SystemModstamp";
    let order = "ORDER BY SystemModstamp ASC, Id ASC";
    assert_eq!(
        org.seen(),
        [
            "/services/data/v62.0/sobjects/Contact/describe".to_owned(),
            format!("{select} >= 2026-05-04T08:00:01.000Z {order}"),
            "/services/data/v62.0/query/0r8-2-2".to_owned(),
            "/services/data/v62.0/query/0r8-2-4".to_owned(),
            format!(
                "{select} > 2026-05-04T08:00:03.000Z OR (SystemModstamp = 2026-05-04T08:00:03.000Z AND Id > 'd') {order}"
            ),
            "/services/data/v62.0/query/0r8-5-2".to_owned(),
        ]
    );
}

/// A cursor keeps the place of a record that is modified while it is read, and shows the new stamp there. A resumption after
/// that stamp would skip everything between.
#[tokio::test]
async fn a_record_that_is_modified_while_it_is_read_hides_no_other() {
    let faults = [
        (3, Fault::Modify("d")),
        (4, Fault::Error(400, "INVALID_QUERY_LOCATOR", None)),
    ];
    let org = Org::start(&RECORDS, &faults).await;
    let source = connect(&org).await.unwrap();
    let mut extract = source.extract(contacts(None, false));
    let mut positions = Vec::new();
    let mut read = String::new();
    while let Some(page) = extract.next_page().await.unwrap() {
        page.decode(|record| read.push_str(&record.id)).unwrap();
        positions.push(page.position().unwrap().id.clone());
    }
    // d comes once at its old place and once at its new one, and no position is after it.
    assert_eq!((read.as_str(), positions.concat().as_str()), ("abcdefgd", "bcfg"));
}

#[tokio::test]
async fn no_position_is_after_the_start_of_a_transaction_that_is_open() {
    // Requests for data: 1 describes, 2 asks what is covered, 3 queries, 4 and 5 follow the cursor.
    let lost = Fault::Error(400, "INVALID_QUERY_LOCATOR", None);
    let refused = Fault::Error(400, "INVALID_REPLICATION_DATE", None);
    let cases = [
        ("all pages come by one cursor", vec![], "bccc"),
        (
            "what was read is not read again for a cursor that was lost",
            vec![(5, lost)],
            "bccc",
        ),
        ("an org that does not tell", vec![(2, refused)], "bdfg"),
    ];
    for (case, faults, expected) in cases {
        let org = Org::start(&RECORDS, &faults).await;
        org.covers("2026-05-04T08:00:02.500+0000");
        let source = connect(&org).await.unwrap();
        let mut extract = source.extract(contacts(None, false));
        let (mut read, mut positions) = (String::new(), String::new());
        while let Some(page) = extract.next_page().await.unwrap() {
            page.decode(|record| read.push_str(&record.id)).unwrap();
            positions.push_str(page.position().map_or("-", |position| &position.id));
        }
        assert_eq!(
            (read.as_str(), positions.as_str()),
            ("abcdefg", expected),
            "{case}: {:#?}",
            org.seen()
        );
    }
}

#[tokio::test]
async fn deleted_records_are_read_and_counted_where_they_are_asked_for() {
    let org = Org::start(&["08:00:01 a", "08:00:02 b deleted", "08:00:03 c"], &[]).await;
    let source = connect(&org).await.unwrap();
    let (mut all, mut live) = (
        source.extract(contacts(None, true)),
        source.extract(contacts(None, false)),
    );
    let mut deleted = Vec::new();
    while let Some(page) = all.next_page().await.unwrap() {
        page.decode(|record| deleted.push((record.id.to_string(), record.deleted)))
            .unwrap();
    }
    let later = "2026-05-04T08:00:02Z".parse().ok();
    let counts = (
        source.count("Contact", None, false).await.unwrap(),
        source.count("Contact", None, true).await.unwrap(),
        source.count("Contact", later, true).await.unwrap(),
    );
    assert_eq!(
        (deleted, ids(&mut live).await.unwrap().concat(), counts),
        (
            [("a", false), ("b", true), ("c", false)]
                .map(|(id, deleted)| (id.to_owned(), deleted))
                .to_vec(),
            "ac".into(),
            (2, 3, 1)
        )
    );
}

#[tokio::test]
async fn the_cursor_field_is_asked_of_the_description() {
    let org = Org::start(&["08:00:01 a"], &[]).await;
    org.describe_as(&[
        ("Id", "id", true),
        ("SystemModstamp", "datetime", false),
        ("LastModifiedDate", "datetime", true),
    ]);
    let source = connect(&org).await.unwrap();
    ids(&mut source.extract(contacts(None, true))).await.unwrap();
    assert_eq!(
        org.seen()[1],
        "SELECT LastName,Id,LastModifiedDate FROM Contact ORDER BY LastModifiedDate ASC, Id ASC"
    );
}

#[tokio::test]
async fn requests_that_lose_their_session_together_log_in_once() {
    let lost = Fault::Error(401, "", None);
    let org = Org::start(&["08:00:01 a"], &[(1, lost)]).await;
    let source = connect(&org).await.unwrap();
    let counted = futures::future::join_all((0..8).map(|_| source.count("Contact", None, false))).await;
    assert_eq!((counted, org.logins()), (vec![Ok(1); 8], 2));
}

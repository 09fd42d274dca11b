//! Deletes, merges, late commits, `updated/` and `deleted/`.

use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::{Value, json};

use super::Org;

const SPAN: &str = "start=2026-05-04T08:00:00%2B00:00&end=2026-05-04T09:00:00Z";

async fn at(org: &Org, instant: &str) -> Result<()> {
    org.control(Method::PUT, "/_control/clock", json!({"fixed": instant}))
        .await
        .map(drop)
}

#[tokio::test]
async fn query_hides_the_deleted_and_query_all_shows_them() -> Result<()> {
    let org = Org::with_contacts(3).await?;
    let id = org.contact(json!({"LastName": "Gone"})).await?;
    let path = format!("/services/data/v62.0/sobjects/Contact/{id}");
    assert_eq!(org.outcome(Method::DELETE, &path, None).await?.0.as_u16(), 204);
    let count = |resource: &str| format!("/services/data/v62.0/{resource}?q=SELECT+COUNT()+FROM+Contact");
    assert_eq!(org.get(&count("query")).await?["totalSize"], json!(3));
    assert_eq!(org.get(&count("queryAll")).await?["totalSize"], json!(4));
    let deleted = org
        .get("/services/data/v62.0/queryAll?q=SELECT+Id+FROM+Contact+WHERE+IsDeleted=TRUE")
        .await?;
    assert_eq!(deleted["records"][0]["Id"], json!(id));
    let undelete = json!({"changes": [{"op": "undelete", "id": id}]});
    org.control(Method::POST, "/_control/changes", undelete).await?;
    assert_eq!(org.get(&count("query")).await?["totalSize"], json!(4));
    Ok(())
}

#[tokio::test]
async fn the_loser_of_a_merge_names_the_winner() -> Result<()> {
    let org = Org::with_contacts(0).await?;
    let (winner, loser) = (
        org.contact(json!({"LastName": "A"})).await?,
        org.contact(json!({"LastName": "B"})).await?,
    );
    let merge = json!({"changes": [{"op": "merge", "id": loser, "into": winner}]});
    org.control(Method::POST, "/_control/changes", merge).await?;
    let record = org
        .control(Method::GET, &format!("/_control/records/{loser}"), Value::Null)
        .await?;
    assert_eq!(
        (&record["IsDeleted"], &record["MasterRecordId"]),
        (&json!(true), &json!(winner))
    );
    Ok(())
}

#[tokio::test]
async fn a_transaction_is_seen_when_it_commits_under_the_stamp_of_its_start() -> Result<()> {
    let org = Org::with_contacts(0).await?;
    at(&org, "2026-05-04T08:30:00Z").await?;
    let begin = json!({"name": "late", "started": "2026-05-04T08:10:30Z", "changes": [
        {"op": "create", "object": "Contact", "fields": {"LastName": "Late"}},
    ]});
    org.control(Method::POST, "/_control/transactions", begin).await?;
    let updated = format!("/services/data/v62.0/sobjects/Contact/updated/?{SPAN}");
    assert_eq!(
        org.get(&updated).await?,
        json!({"ids": [], "latestDateCovered": "2026-05-04T08:10:30.000+0000"})
    );
    let query = "SELECT Id FROM Contact WHERE SystemModstamp = 2026-05-04T08:10:30Z";
    assert_eq!(org.query(query).await?["totalSize"], json!(0));

    let committed = org
        .control(Method::POST, "/_control/transactions/late/commit", Value::Null)
        .await?;
    assert_eq!(org.query(query).await?["records"][0]["Id"], committed["ids"][0]);
    let expected = json!({"ids": committed["ids"], "latestDateCovered": "2026-05-04T08:30:00.000+0000"});
    assert_eq!(org.get(&updated).await?, expected);
    Ok(())
}

#[tokio::test]
async fn spans_ignore_seconds_and_have_limits() -> Result<()> {
    let org = Org::with_contacts(0).await?;
    at(&org, "2026-05-04T08:30:59Z").await?;
    let id = org.contact(json!({"LastName": "Kim"})).await?;
    let updated = |span: &str| format!("/services/data/v62.0/sobjects/Contact/updated?{span}");
    let ids = |answer: &Value| answer["ids"].as_array().map(Vec::len).context("ids");
    let seconds = updated("start=2026-05-04T08:30:59Z&end=2026-05-04T08:31:59Z");
    assert_eq!(ids(&org.get(&seconds).await?)?, 1);
    org.outcome(
        Method::DELETE,
        &format!("/services/data/v62.0/sobjects/Contact/{id}"),
        None,
    )
    .await?;
    let deleted = org
        .get(&format!("/services/data/v62.0/sobjects/Contact/deleted/?{SPAN}"))
        .await?;
    let record = json!({"id": id, "deletedDate": "2026-05-04T08:30:59.000+0000"});
    assert_eq!(deleted["deletedRecords"], json!([record]));
    let refused = [
        "start=2026-05-04T08:30:10Z&end=2026-05-04T08:30:50Z",
        "start=2026-05-04T09:00:00Z&end=2026-05-04T08:00:00Z",
        "start=2026-03-04T09:00:00Z&end=2026-05-04T08:00:00Z",
        "start=2026-05-04T08:00:00+00:00&end=2026-05-04T09:00:00Z",
        "end=2026-05-04T09:00:00Z",
    ];
    for span in refused {
        let (status, answer) = org.outcome(Method::GET, &updated(span), None).await?;
        let code = &answer[0]["errorCode"];
        assert_eq!(
            (status.as_u16(), code),
            (400, &json!("INVALID_REPLICATION_DATE")),
            "{span}"
        );
    }
    Ok(())
}

//! Sessions, limits, records, `describe`, and paging.

use anyhow::{Context as _, Result};
use ferrygate_e2e::simulators::salesforce::Config;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Org, query_path};

#[tokio::test]
async fn without_a_session_every_data_request_is_401_in_an_array() -> Result<()> {
    let mut org = Org::with_contacts(1).await?;
    let expected = (
        401,
        json!([{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]),
    );
    let good = std::mem::replace(&mut org.token, "00D5g000004xYzA!nothing".to_owned());
    let (status, answer) = org.outcome(Method::GET, "/services/data/v62.0/limits", None).await?;
    assert_eq!((status.as_u16(), answer), expected);

    org.token = good;
    org.get("/services/data/v62.0/limits").await?;
    let expired = org
        .control(Method::POST, "/_control/sessions/expire", Value::Null)
        .await?;
    assert_eq!(expired, json!({"expired": 1}));
    let (status, answer) = org
        .outcome(Method::GET, &query_path("SELECT Id FROM Contact"), None)
        .await?;
    assert_eq!((status.as_u16(), answer), expected);
    Ok(())
}

#[tokio::test]
async fn requests_count_against_the_daily_limit_until_it_is_used_up() -> Result<()> {
    let org = Org::start(Config {
        daily_requests: 3,
        ..Config::default()
    })
    .await?;
    for used in 1..=3 {
        let response = org.send(Method::GET, "/services/data/v62.0/limits", None).await?;
        assert_eq!(response.headers()["sforce-limit-info"], format!("api-usage={used}/3"));
        let limits: Value = response.json().await?;
        assert_eq!(limits["DailyApiRequests"], json!({"Max": 3, "Remaining": 3 - used}));
    }
    let (status, answer) = org.outcome(Method::GET, "/services/data/v62.0/limits", None).await?;
    let exhausted = json!([{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]);
    assert_eq!((status.as_u16(), answer), (403, exhausted));
    org.control(Method::PUT, "/_control/quota", json!({"used": 0})).await?;
    org.get("/services/data/v62.0/limits").await?;
    Ok(())
}

#[tokio::test]
async fn pages_follow_each_other_and_a_new_session_of_the_user_goes_on() -> Result<()> {
    let mut org = Org::with_contacts(4_500).await?;
    let soql = "SELECT Id, SystemModstamp FROM Contact ORDER BY SystemModstamp, Id";
    let mut page = org.query(soql).await?;
    let mut ids = Vec::new();
    let mut sizes = Vec::new();
    loop {
        let records = page["records"].as_array().context("records")?;
        sizes.push(records.len());
        ids.extend(records.iter().map(|record| record["Id"].to_string()));
        assert_eq!(page["totalSize"], json!(4_500));
        if page["done"] == json!(true) {
            assert!(page.get("nextRecordsUrl").is_none());
            break;
        }
        let next = page["nextRecordsUrl"].as_str().context("a locator")?.to_owned();
        org.simulator.org.sessions.end_all();
        assert_eq!(org.outcome(Method::GET, &next, None).await?.0.as_u16(), 401);
        org.log_in().await?;
        page = org.get(&next).await?;
    }
    ids.sort();
    ids.dedup();
    assert_eq!((sizes, ids.len()), (vec![2000, 2000, 500], 4_500));
    Ok(())
}

#[tokio::test]
async fn locators_are_opaque_and_the_eleventh_cursor_releases_the_first() -> Result<()> {
    let org = Org::with_contacts(450).await?;
    let mut locators = Vec::new();
    for _ in 0..11 {
        let url = format!("{}{}", org.simulator.url(), query_path("SELECT Id FROM Contact"));
        let request = org
            .http
            .get(url)
            .bearer_auth(&org.token)
            .header("Sforce-Query-Options", "batchSize=200");
        let page: Value = request.send().await?.json().await?;
        assert_eq!(page["records"].as_array().map(Vec::len), Some(200));
        locators.push(page["nextRecordsUrl"].as_str().context("a locator")?.to_owned());
    }
    org.get(&locators[1]).await?;
    let guessed = locators[1].replace("-200", "-300");
    for locator in [
        &locators[0],
        &guessed,
        &"/services/data/v62.0/query/01gD0000002HU6KIAW-2000".to_owned(),
    ] {
        let (status, answer) = org.outcome(Method::GET, locator, None).await?;
        assert_eq!(
            (status.as_u16(), &answer[0]["errorCode"]),
            (400, &json!("INVALID_QUERY_LOCATOR")),
            "{locator}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_page_shows_values_as_they_are_when_it_is_fetched() -> Result<()> {
    let org = Org::with_contacts(2_002).await?;
    let page = org.query("SELECT Id, Title FROM Contact ORDER BY Id").await?;
    let all = org.query("SELECT Id FROM Contact ORDER BY Id DESC LIMIT 2").await?;
    let id = |place: usize| all["records"][place]["Id"].clone();
    let changes = json!({"changes": [
        {"op": "update", "id": id(0), "fields": {"Title": "Changed since"}},
        {"op": "delete", "id": id(1)},
        {"op": "create", "object": "Contact", "fields": {"LastName": "New since"}},
    ]});
    org.control(Method::POST, "/_control/changes", changes).await?;
    let last = org.get(page["nextRecordsUrl"].as_str().context("a locator")?).await?;
    let titles: Vec<&Value> = last["records"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|record| &record["Title"])
        .collect();
    assert_eq!(titles, [&json!("Changed since")]);
    Ok(())
}

#[tokio::test]
async fn a_record_is_created_read_changed_and_deleted() -> Result<()> {
    let org = Org::with_contacts(0).await?;
    let contacts = "/services/data/v62.0/sobjects/Contact";
    let fields = json!({"LastName": " Kim ", "Email": "kim@example.com", "LTV__c": 12.5, "Birthdate": "1990-01-31", "Title": ""});
    let (status, made) = org.outcome(Method::POST, contacts, Some(fields)).await?;
    assert_eq!(
        (status.as_u16(), &made["success"], &made["errors"]),
        (201, &json!(true), &json!([]))
    );
    let path = format!("{contacts}/{}", made["id"].as_str().context("an id")?);
    let record = org
        .get(&format!(
            "{path}?fields=LastName,LTV__c,Birthdate,Title,HasOptedOutOfEmail,Name"
        ))
        .await?;
    let attributes = json!({"type": "Contact", "url": path});
    assert_eq!(
        record,
        json!({"attributes": attributes, "LastName": "Kim", "LTV__c": 12.5, "Birthdate": "1990-01-31", "Title": null,
            "HasOptedOutOfEmail": false, "Name": "Kim"})
    );
    assert_eq!(
        org.outcome(Method::PATCH, &path, Some(json!({"FirstName": "Jo"})))
            .await?
            .0
            .as_u16(),
        204
    );
    assert_eq!(org.get(&path).await?["Name"], json!("Jo Kim"));
    assert_eq!(org.outcome(Method::DELETE, &path, None).await?.0.as_u16(), 204);
    let (status, answer) = org
        .outcome(Method::PATCH, &path, Some(json!({"FirstName": "Jo"})))
        .await?;
    assert_eq!(
        (status.as_u16(), &answer[0]["errorCode"]),
        (404, &json!("ENTITY_IS_DELETED"))
    );
    assert_eq!(org.outcome(Method::GET, &path, None).await?.0.as_u16(), 404);
    Ok(())
}

#[tokio::test]
async fn invalid_records_are_refused_field_by_field() -> Result<()> {
    let org = Org::with_contacts(1).await?;
    let cases = [
        (json!({"FirstName": "Jo"}), "REQUIRED_FIELD_MISSING"),
        (json!({"LastName": "Kim", "Shoe_Size__c": 42}), "INVALID_FIELD"),
        (
            json!({"LastName": "Kim", "SystemModstamp": "2026-01-01T00:00:00Z"}),
            "INVALID_FIELD_FOR_INSERT_UPDATE",
        ),
        (
            json!({"LastName": "Kim", "Email": "kim at example"}),
            "INVALID_EMAIL_ADDRESS",
        ),
        (json!({"LastName": "x".repeat(81)}), "STRING_TOO_LONG"),
        (
            json!({"LastName": "Kim", "HasOptedOutOfEmail": "yes"}),
            "JSON_PARSER_ERROR",
        ),
        (
            json!({"LastName": "Kim", "External_Id__c": "C-0000000"}),
            "DUPLICATE_VALUE",
        ),
        (
            json!({"LastName": "Kim", "AccountId": "001000000000000AAA"}),
            "INVALID_CROSS_REFERENCE_KEY",
        ),
        (json!([]), "JSON_PARSER_ERROR"),
    ];
    for (fields, code) in cases {
        let (status, answer) = org
            .outcome(
                Method::POST,
                "/services/data/v62.0/sobjects/Contact",
                Some(fields.clone()),
            )
            .await?;
        assert_eq!(
            (status.as_u16(), &answer[0]["errorCode"]),
            (400, &json!(code)),
            "{fields} {answer}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn an_upsert_creates_then_updates_by_external_id() -> Result<()> {
    let org = Org::with_contacts(0).await?;
    let path = "/services/data/v62.0/sobjects/Contact/External_Id__c/crm%2F7";
    let (status, made) = org
        .outcome(Method::PATCH, path, Some(json!({"LastName": "Kim"})))
        .await?;
    assert_eq!((status.as_u16(), &made["created"]), (201, &json!(true)));
    let (status, again) = org
        .outcome(Method::PATCH, path, Some(json!({"LastName": "Lee"})))
        .await?;
    assert_eq!(
        (status.as_u16(), &again["created"], &again["id"]),
        (200, &json!(false), &made["id"])
    );
    assert_eq!(org.get(path).await?["External_Id__c"], json!("crm/7"));
    Ok(())
}

#[tokio::test]
async fn describe_tells_types_and_what_can_be_filtered() -> Result<()> {
    let org = Org::with_contacts(0).await?;
    let described = org.get("/services/data/v62.0/sobjects/contact/describe").await?;
    assert_eq!(
        (&described["name"], &described["keyPrefix"]),
        (&json!("Contact"), &json!("003"))
    );
    let fields = described["fields"].as_array().context("fields")?;
    let shown = |name: &str| {
        let field = fields
            .iter()
            .find(|field| field["name"] == name)
            .cloned()
            .unwrap_or_default();
        ["type", "soapType", "nillable", "filterable", "updateable", "calculated"].map(|key| field[key].clone())
    };
    let cases = [
        ("Id", json!(["id", "tns:ID", false, true, false, false])),
        (
            "SystemModstamp",
            json!(["datetime", "xsd:dateTime", false, true, false, false]),
        ),
        ("LastName", json!(["string", "xsd:string", false, true, true, false])),
        (
            "Description",
            json!(["textarea", "xsd:string", true, false, true, false]),
        ),
        ("LTV__c", json!(["currency", "xsd:double", true, true, true, false])),
        (
            "HasOptedOutOfEmail",
            json!(["boolean", "xsd:boolean", false, true, true, false]),
        ),
        (
            "Customer_Since__c",
            json!(["date", "xsd:date", true, true, true, false]),
        ),
        (
            "MailingAddress",
            json!(["address", "urn:address", true, true, false, false]),
        ),
        (
            "Account_Industry__c",
            json!(["string", "xsd:string", true, true, false, true]),
        ),
    ];
    for (name, expected) in cases {
        assert_eq!(json!(shown(name)), expected, "{name}");
    }
    let added = json!({"object": "Contact", "name": "Shoe_Size__c", "type": "double"});
    org.control(Method::POST, "/_control/fields", added).await?;
    org.query("SELECT Shoe_Size__c FROM Contact").await?;
    org.control(Method::DELETE, "/_control/fields/Contact/Shoe_Size__c", Value::Null)
        .await?;
    assert_eq!(
        org.refused("SELECT Shoe_Size__c FROM Contact").await?.1,
        "INVALID_FIELD"
    );
    Ok(())
}

#[tokio::test]
async fn paths_that_are_not_there_and_uris_that_are_too_long_are_refused() -> Result<()> {
    let org = Org::with_contacts(0).await?;
    let cases = [
        (
            Method::GET,
            "/services/data/v62.0/sobjects/Nothing/describe",
            404,
            "NOT_FOUND",
        ),
        (Method::GET, "/services/data/v99.0/limits", 404, "NOT_FOUND"),
        (Method::GET, "/services/data/v62.0/nothing", 404, "NOT_FOUND"),
        (
            Method::POST,
            "/services/data/v62.0/query?q=SELECT+Id+FROM+Contact",
            405,
            "METHOD_NOT_ALLOWED",
        ),
        (Method::GET, "/services/data/v62.0/query", 400, "MALFORMED_QUERY"),
        (
            Method::GET,
            "/services/data/v62.0/sobjects/Contact/nonsense",
            404,
            "NOT_FOUND",
        ),
    ];
    for (method, path, expected, code) in cases {
        let (status, answer) = org.outcome(method, path, None).await?;
        assert_eq!(
            (status.as_u16(), &answer[0]["errorCode"]),
            (expected, &json!(code)),
            "{path}"
        );
    }
    let long = "x".repeat(16_384);
    let status = |padding: usize| format!("/services/data/v62.0/query?q={}", &long[..padding]);
    assert_eq!(
        org.send(Method::GET, &status(16_370), None).await?.status().as_u16(),
        414
    );
    assert_eq!(
        org.send(Method::GET, &status(16_340), None).await?.status().as_u16(),
        431
    );
    let versions: Value = org
        .http
        .get(format!("{}/services/data/", org.simulator.url()))
        .send()
        .await?
        .json()
        .await?;
    let spring = json!({"label": "Spring '26", "url": "/services/data/v66.0", "version": "66.0"});
    assert_eq!(versions.as_array().and_then(|list| list.last()), Some(&spring));
    Ok(())
}

#[tokio::test]
async fn answers_are_compressed_for_who_accepts_it_if_the_org_does_so() -> Result<()> {
    let org = Org::start(Config {
        compress: true,
        ..Config::default()
    })
    .await?;
    let path = "/services/data/v62.0/sobjects/Contact/describe";
    let request = org
        .http
        .get(format!("{}{path}", org.simulator.url()))
        .bearer_auth(&org.token);
    let plain = reqwest::Client::builder().no_gzip().build()?;
    let raw = plain
        .get(format!("{}{path}", org.simulator.url()))
        .bearer_auth(&org.token);
    let zipped = raw.header("Accept-Encoding", "gzip").send().await?;
    assert_eq!(zipped.headers()["content-encoding"], "gzip");
    let described: Value = request.send().await?.json().await?;
    assert_eq!(described["name"], json!("Contact"));
    Ok(())
}

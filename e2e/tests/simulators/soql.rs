//! The query language: what it finds, and what it refuses.

use anyhow::{Context as _, Result};
use ferrygate_e2e::simulators::salesforce::Config;
use reqwest::Method;
use serde_json::{Value, json};

use super::Org;

/// Last names of the contacts that a condition finds, by last name.
async fn found(org: &Org, condition: &str) -> Result<Vec<String>> {
    let answer = org
        .query(&format!(
            "SELECT LastName FROM Contact WHERE {condition} ORDER BY LastName"
        ))
        .await?;
    let names = answer["records"].as_array().context("records")?.iter();
    Ok(names
        .map(|record| record["LastName"].as_str().unwrap_or_default().to_owned())
        .collect())
}

async fn people() -> Result<Org> {
    let org = Org::start(Config::default()).await?;
    let changes = json!({"at": "2026-05-04T08:41:07Z", "changes": [
        {"op": "create", "object": "Account", "fields": {"Name": "Acme", "Industry": "Retail"}},
        {"op": "create", "object": "Contact", "fields": {"LastName": "Abel", "Title": "CEO", "LTV__c": 10, "Birthdate": "1990-01-31"}},
        {"op": "create", "object": "Contact", "fields": {"LastName": "null", "Title": "100% fun", "LTV__c": 20}},
        {"op": "create", "object": "Contact", "fields": {"LastName": "O'Brien\\", "MailingState": "NA", "HasOptedOutOfEmail": true}},
    ]});
    let made = org.control(Method::POST, "/_control/changes", changes).await?;
    let attach = json!({"at": "2026-05-04T08:41:08Z", "changes": [
        {"op": "update", "id": made["ids"][1], "fields": {"AccountId": made["ids"][0]}},
    ]});
    org.control(Method::POST, "/_control/changes", attach).await?;
    Ok(org)
}

#[tokio::test]
async fn conditions_find_what_they_say() -> Result<()> {
    let org = people().await?;
    let (abel, null, brien) = ("Abel", "null", "O'Brien\\");
    let cases: [(&str, &[&str]); 26] = [
        ("LastName = 'abel'", &[abel]),
        ("LastName != 'abel'", &[null, brien]),
        ("LastName = 'null'", &[null]),
        ("LastName = null", &[]),
        ("Title = null", &[brien]),
        ("Title != null", &[abel, null]),
        ("Title != 'CEO'", &[null, brien]),
        (r"LastName = 'O\'Brien\\'", &[brien]),
        ("LastName LIKE '%b%'", &[abel, brien]),
        ("LastName LIKE '_bel'", &[abel]),
        (r"Title LIKE '100\% %'", &[null]),
        ("LTV__c > 10", &[null]),
        ("LTV__c >= 10.0", &[abel, null]),
        ("LTV__c < 15", &[abel]),
        ("HasOptedOutOfEmail = true", &[brien]),
        ("HasOptedOutOfEmail = null", &[abel, null]),
        ("Birthdate = 1990-01-31", &[abel]),
        ("MailingState IN ('NA', 'BE')", &[brien]),
        ("MailingState NOT IN ('NA')", &[abel, null]),
        ("NOT LastName LIKE 'a%'", &[null, brien]),
        ("LastName = 'abel' OR (LTV__c = 20 AND Title != null)", &[abel, null]),
        ("(NOT LastName = 'abel') AND (NOT LTV__c = 20)", &[brien]),
        ("Account.Name = 'acme'", &[abel]),
        ("Account.Name = null", &[null, brien]),
        ("SystemModstamp > 2026-05-04T08:41:07Z", &[abel]),
        ("SystemModstamp = 2026-05-04T10:41:07.000+02:00", &[null, brien]),
    ];
    for (condition, expected) in cases {
        assert_eq!(found(&org, condition).await?, expected, "{condition}");
    }
    Ok(())
}

#[tokio::test]
async fn malformed_queries_are_refused_as_published() -> Result<()> {
    let org = people().await?;
    let malformed = "MALFORMED_QUERY";
    let field = "INVALID_FIELD";
    let operator = "INVALID_QUERY_FILTER_OPERATOR";
    let cases = [
        ("SELECT FROM Contact", malformed),
        ("SELECT Id, FROM Contact", malformed),
        ("SELECT Id FROM Contact WHERE", malformed),
        ("SELECT * FROM Contact", malformed),
        ("SELECT Id FROM Contact WHERE LastName = \"Abel\"", malformed),
        ("SELECT Id FROM Contact WHERE LastName = 'Abel", malformed),
        (r"SELECT Id FROM Contact WHERE LastName = 'a\qb'", malformed),
        // The two are mixed with parentheses only; so is NOT after AND.
        (
            "SELECT Id FROM Contact WHERE LTV__c = 1 AND LTV__c = 2 OR LTV__c = 3",
            malformed,
        ),
        ("SELECT Id FROM Contact WHERE LTV__c = 1 AND NOT LTV__c = 2", malformed),
        // What becomes of a plus sign that nobody encoded.
        (
            "SELECT Id FROM Contact WHERE SystemModstamp > 2026-05-04T10:41:07.000 02:00",
            malformed,
        ),
        (
            "SELECT Id FROM Contact WHERE SystemModstamp > 2026-05-04T10:41:07",
            malformed,
        ),
        ("SELECT Id FROM Contact ORDER BY Description", malformed),
        ("SELECT FIELDS(ALL) FROM Contact", malformed),
        ("SELECT Id FROM Contact LIMIT 1 ORDER BY Id", malformed),
        ("SELECT COUNT(Id), LastName FROM Contact", malformed),
        (
            "SELECT Id FROM Contact WHERE SystemModstamp > '2026-05-04T08:41:07Z'",
            field,
        ),
        ("SELECT Id FROM Contact WHERE SystemModstamp > 2026-05-04", field),
        ("SELECT Id FROM Contact WHERE Birthdate = '1990-01-31'", field),
        ("SELECT Id FROM Contact WHERE LTV__c = '10'", field),
        ("SELECT Id FROM Contact WHERE LastName = 10", field),
        ("SELECT Id FROM Contact WHERE HasOptedOutOfEmail = 'true'", field),
        ("SELECT Id FROM Contact WHERE Description = 'x'", field),
        ("SELECT Id, Nothing__c FROM Contact", field),
        ("SELECT Id, id FROM Contact", field),
        ("SELECT Nobody.Name FROM Contact", field),
        ("SELECT Id FROM Nothing__c", "INVALID_TYPE"),
        ("SELECT Id FROM Contact WHERE Id > 'abc'", operator),
        ("SELECT Id FROM Contact WHERE Id > ''", operator),
        ("SELECT Id FROM Contact WHERE HasOptedOutOfEmail > false", operator),
        ("SELECT Id FROM Contact WHERE Id LIKE '003%'", operator),
        ("SELECT Id FROM Contact OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE"),
    ];
    for (soql, code) in cases {
        let (status, actual, message) = org.refused(soql).await?;
        assert_eq!((status, actual.as_str()), (400, code), "{soql}: {message}");
    }
    let (_, _, message) = org
        .refused("SELECT Id FROM Contact WHERE SystemModstamp > '2026-05-04T08:41:07Z'")
        .await?;
    let expected = "value of filter criterion for field 'SystemModstamp' must be of type dateTime and should not be enclosed in quotes";
    assert_eq!(message, expected);
    Ok(())
}

#[tokio::test]
async fn an_error_shows_its_place() -> Result<()> {
    let org = people().await?;
    let (_, answer) = org
        .outcome(Method::GET, &super::query_path("SELECT Id, Foo FROM Contact"), None)
        .await?;
    let expected = "\nSELECT Id, Foo FROM Contact\n           ^\nERROR at Row:1:Column:12\nNo such column 'Foo' on entity \
                    'Contact'. If you are attempting to use a custom field, be sure to append the '__c' after the custom \
                    field name. Please reference your WSDL or the describe call for the appropriate names.";
    assert_eq!(answer, json!([{"message": expected, "errorCode": "INVALID_FIELD"}]));
    Ok(())
}

#[tokio::test]
async fn records_carry_their_attributes_and_those_of_their_parents() -> Result<()> {
    let org = people().await?;
    let answer = org.query("SELECT lastname, Account.Name, Account_Industry__c, LTV__c, SystemModstamp FROM Contact WHERE LastName = 'Abel'").await?;
    let record = &answer["records"][0];
    assert_eq!((&answer["totalSize"], &answer["done"]), (&json!(1), &json!(true)));
    let path = record["attributes"]["url"].as_str().context("a url")?;
    assert!(path.starts_with("/services/data/v62.0/sobjects/Contact/003"), "{path}");
    let mut shown = record.clone();
    shown["attributes"] = Value::Null;
    shown["Account"]["attributes"]["url"] = Value::Null;
    let expected = json!({"attributes": null, "LastName": "Abel", "Account": {"attributes": {"type": "Account", "url": null}, "Name": "Acme"},
        "Account_Industry__c": "Retail", "LTV__c": 10.0, "SystemModstamp": "2026-05-04T08:41:08.000+0000"});
    assert_eq!(shown, expected);
    let orphan = org
        .query("SELECT Account.Name FROM Contact WHERE LastName = 'null'")
        .await?;
    assert_eq!(orphan["records"][0]["Account"], Value::Null);
    Ok(())
}

#[tokio::test]
async fn counts_and_aggregates_are_shaped_as_published() -> Result<()> {
    let org = people().await?;
    let count = org.query("SELECT COUNT() FROM Contact WHERE LTV__c > 0").await?;
    assert_eq!(count, json!({"totalSize": 2, "done": true, "records": []}));
    let aggregates = org
        .query("SELECT COUNT(Id), COUNT_DISTINCT(SystemModstamp) stamps, MAX(SystemModstamp), SUM(LTV__c), COUNT(Title) FROM Contact")
        .await?;
    let record = json!({"attributes": {"type": "AggregateResult"}, "expr0": 3, "stamps": 2,
        "expr2": "2026-05-04T08:41:08.000+0000", "expr3": 30.0, "expr4": 2});
    assert_eq!(aggregates, json!({"totalSize": 1, "done": true, "records": [record]}));
    Ok(())
}

#[tokio::test]
async fn order_limit_and_offset() -> Result<()> {
    let org = people().await?;
    let names = async |clause: &str| -> Result<Vec<String>> {
        let answer = org.query(&format!("SELECT LastName FROM Contact {clause}")).await?;
        let records = answer["records"].as_array().context("records")?.iter();
        Ok(records
            .map(|record| record["LastName"].as_str().unwrap_or_default().to_owned())
            .collect())
    };
    let (abel, null, brien) = ("Abel", "null", "O'Brien\\");
    let cases: [(&str, &[&str]); 6] = [
        ("ORDER BY LTV__c", &[brien, abel, null]),
        ("ORDER BY LTV__c DESC NULLS LAST", &[null, abel, brien]),
        ("ORDER BY LastName DESC LIMIT 1", &[brien]),
        ("ORDER BY LastName LIMIT 2 OFFSET 1", &[null, brien]),
        ("ORDER BY HasOptedOutOfEmail DESC, LastName ASC", &[brien, abel, null]),
        ("ORDER BY Account.Name NULLS LAST, LastName DESC", &[abel, brien, null]),
    ];
    for (clause, expected) in cases {
        assert_eq!(names(clause).await?, expected, "{clause}");
    }
    Ok(())
}

/// The query that a sync repeats, over records of which several share a stamp on both sides of a page's edge.
#[tokio::test]
async fn a_keyset_walk_meets_every_record_once() -> Result<()> {
    let org = Org::start(Config::default()).await?;
    let seed = json!({"contacts": 500, "tie": {"position": 95, "records": 20}});
    org.control(Method::POST, "/_control/seed", seed).await?;
    let order = "ORDER BY SystemModstamp, Id LIMIT 100";
    let mut page = org
        .query(&format!("SELECT Id, SystemModstamp FROM Contact {order}"))
        .await?;
    let mut ids = Vec::new();
    while let Some(last) = page["records"].as_array().and_then(|records| records.last()).cloned() {
        ids.extend(
            page["records"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|record| record["Id"].to_string()),
        );
        let (stamp, id) = (
            last["SystemModstamp"].as_str().context("a stamp")?,
            last["Id"].as_str().context("an id")?,
        );
        let stamp = stamp.replace("+0000", "Z");
        let after = format!("WHERE SystemModstamp > {stamp} OR (SystemModstamp = {stamp} AND Id > '{id}')");
        page = org
            .query(&format!("SELECT Id, SystemModstamp FROM Contact {after} {order}"))
            .await?;
    }
    let met = ids.len();
    ids.sort();
    ids.dedup();
    let tied = org.query("SELECT COUNT_DISTINCT(SystemModstamp) FROM Contact").await?;
    assert_eq!((met, ids.len(), &tied["records"][0]["expr0"]), (500, 500, &json!(481)));
    Ok(())
}

//! Query jobs of the Bulk API 2.0, and Ferrygate's own reading by them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use ferrygate::cli::files::Manifests;
use ferrygate::source::{Selection, Source};
use ferrygate_e2e::simulators::salesforce::bulk::Setting;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::Org;

const JOBS: &str = "/services/data/v62.0/jobs/query";

async fn make(org: &Org, query: &str) -> Result<String> {
    let asked = json!({"operation": "query", "query": query});
    let (status, job) = org.outcome(Method::POST, JOBS, Some(asked)).await?;
    anyhow::ensure!(status == StatusCode::OK, "{status} {job}");
    Ok(format!("{JOBS}/{}", job["id"].as_str().context("an id")?))
}

async fn completed(org: &Org, query: &str) -> Result<String> {
    let job = make(org, query).await?;
    while org.get(&job).await?["state"] != "JobComplete" {}
    Ok(job)
}

/// A part: its lines, how many records it says it has, and the locator of the next.
async fn part(org: &Org, path: &str) -> Result<(Vec<String>, usize, String)> {
    let response = org.send(Method::GET, path, None).await?.error_for_status()?;
    let header = |name: &str| response.headers()[name].to_str().map(str::to_owned);
    let (records, next) = (header("sforce-numberofrecords")?.parse()?, header("sforce-locator")?);
    assert_eq!(header("content-type")?, "text/csv");
    let text = response.text().await?;
    assert!(text.ends_with('\n'));
    Ok((text.lines().map(str::to_owned).collect(), records, next))
}

/// The ids of all parts from this path on.
async fn all(org: &Org, path: &str, parameters: &str) -> Result<Vec<String>> {
    let (mut ids, mut at) = (Vec::new(), format!("{path}?{parameters}"));
    loop {
        let (lines, records, next) = part(org, &at).await?;
        let (names, rows) = lines.split_first().context("a row of names")?;
        assert_eq!((names.as_str(), rows.len()), ("\"Id\"", records));
        ids.extend(rows.iter().cloned());
        if next == "null" {
            return Ok(ids);
        }
        at = format!("{path}?locator={next}&{parameters}");
    }
}

#[tokio::test]
async fn a_job_goes_through_its_states_and_its_result_through_its_parts() -> Result<()> {
    let org = Org::with_contacts(2_500).await?;
    let job = make(&org, "SELECT Id FROM Contact").await?;
    let results = format!("{job}/results");
    let (early, _) = org.outcome(Method::GET, &results, None).await?;
    let mut states = Vec::new();
    for _ in 0..3 {
        states.push(org.get(&job).await?["state"].clone());
    }
    assert_eq!(
        (early, states),
        (StatusCode::BAD_REQUEST, vec![json!("JobComplete"); 3])
    );

    let ids = all(&org, &results, "maxRecords=700").await?;
    let whole = all(&org, &results, "").await?;
    assert_eq!((ids.len(), &ids), (2_500, &whole));
    assert!(!ids.is_sorted(), "no order may be relied on");
    let (_, _, next) = part(&org, &format!("{results}?maxRecords=700")).await?;
    let again = format!("{results}?locator={next}&maxRecords=1");
    assert_eq!(part(&org, &again).await?, part(&org, &again).await?);

    let pages = org.get(&format!("{job}/resultPages")).await?;
    assert_eq!(pages["resultPages"].as_array().map(Vec::len), Some(1));
    assert_eq!(org.outcome(Method::DELETE, &job, None).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(org.outcome(Method::GET, &job, None).await?.0, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn five_parts_at_a_time_are_named_for_reading_them_at_once() -> Result<()> {
    let org = Org::with_contacts(1_234).await?;
    org.simulator.org.jobs.set(Setting {
        largest_part: Some(100),
        ..Setting::default()
    });
    let job = completed(&org, "SELECT Id FROM Contact").await?;
    let (mut at, mut ids, mut sizes) = (format!("{job}/resultPages"), Vec::new(), Vec::new());
    loop {
        let pages = org.get(&at).await?;
        let urls = pages["resultPages"].as_array().context("pages")?;
        sizes.push(urls.len());
        for url in urls {
            let (lines, ..) = part(&org, url["resultUrl"].as_str().context("a URL")?).await?;
            ids.extend(lines.into_iter().skip(1));
        }
        if pages["done"] == true {
            break;
        }
        at = pages["nextRecordsUrl"].as_str().context("a URL")?.to_owned();
    }
    assert_eq!(
        (sizes, ids),
        (vec![5, 5, 3], all(&org, &format!("{job}/results"), "").await?)
    );
    Ok(())
}

#[tokio::test]
async fn cells_are_quoted_null_is_empty_and_an_order_is_kept() -> Result<()> {
    let org = Org::with_contacts(0).await?;
    org.control(Method::PUT, "/_control/clock", json!({"fixed": "2026-05-04T08:41:07Z"}))
        .await?;
    org.contact(json!({"LastName": "Zoë \"Z\",\nJr.", "LTV__c": 12.5, "Birthdate": "1985-12-10"}))
        .await?;
    org.contact(json!({"LastName": "Ada", "HasOptedOutOfEmail": true}))
        .await?;
    let query = "SELECT LastName, LTV__c, Birthdate, HasOptedOutOfEmail, SystemModstamp, Account.Name FROM Contact ORDER BY LastName";
    let job = completed(&org, query).await?;
    let response = org.send(Method::GET, &format!("{job}/results"), None).await?;
    assert_eq!(
        response.text().await?,
        "\"LastName\",\"LTV__c\",\"Birthdate\",\"HasOptedOutOfEmail\",\"SystemModstamp\",\"Account.Name\"\n\
         \"Ada\",\"\",\"\",\"true\",\"2026-05-04T08:41:07.000Z\",\"\"\n\
         \"Zoë \"\"Z\"\",\nJr.\",\"12.5\",\"1985-12-10\",\"false\",\"2026-05-04T08:41:07.000Z\",\"\"\n"
    );
    Ok(())
}

#[tokio::test]
async fn what_a_job_is_not_is_refused() -> Result<()> {
    let org = Org::with_contacts(10).await?;
    org.simulator.org.jobs.set(Setting {
        not_served: Some(vec!["Lead".into()]),
        ..Setting::default()
    });
    let cases = [
        (
            json!({"operation": "query", "query": "SELECT Id FROM Lead"}),
            (400, "INVALIDENTITY"),
        ),
        (
            json!({"operation": "query", "query": "SELECT MailingAddress FROM Contact"}),
            (400, "FUNCTIONALITY_NOT_ENABLED"),
        ),
        (
            json!({"operation": "query", "query": "SELECT COUNT() FROM Contact"}),
            (400, "API_ERROR"),
        ),
        (
            json!({"operation": "query", "query": "SELECT Nothing__c FROM Contact"}),
            (400, "INVALID_FIELD"),
        ),
        (
            json!({"operation": "insert", "query": "SELECT Id FROM Contact"}),
            (400, "INVALIDJOB"),
        ),
        (
            json!({"operation": "query", "query": "SELECT Id FROM Contact", "contentType": "JSON"}),
            (400, "INVALIDJOB"),
        ),
    ];
    for (asked, expected) in cases {
        let (status, answer) = org.outcome(Method::POST, JOBS, Some(asked.clone())).await?;
        let code = answer[0]["errorCode"].as_str().unwrap_or_default();
        assert_eq!((status.as_u16(), code), expected, "{asked} {answer}");
    }
    let job = make(&org, "SELECT Id FROM Contact").await?;
    let not_ended = org.outcome(Method::DELETE, &job, None).await?;
    assert_eq!(
        (not_ended.0.as_u16(), &not_ended.1[0]["errorCode"]),
        (400, &json!("API_ERROR"))
    );
    let aborted = org
        .outcome(Method::PATCH, &job, Some(json!({"state": "Aborted"})))
        .await?;
    assert_eq!(aborted.1["state"], "Aborted");
    assert_eq!(org.outcome(Method::DELETE, &job, None).await?.0.as_u16(), 204);

    let job = completed(&org, "SELECT Id FROM Contact").await?;
    let by_other = job.replace("v62.0", "v61.0");
    assert_eq!(
        org.outcome(Method::GET, &format!("{by_other}/results"), None)
            .await?
            .0
            .as_u16(),
        409
    );
    assert_eq!(
        org.outcome(Method::GET, &format!("{job}/results?locator=x"), None)
            .await?
            .0
            .as_u16(),
        400
    );
    Ok(())
}

#[tokio::test]
async fn jobs_are_counted_against_the_days_limit() -> Result<()> {
    let org = Org::with_contacts(1).await?;
    let left = async || -> Result<Value> {
        let limits = org.get("/services/data/v62.0/limits").await?;
        Ok(limits["DailyBulkV2QueryJobs"]["Remaining"].clone())
    };
    make(&org, "SELECT Id FROM Contact").await?;
    assert_eq!(left().await?, json!(9_999));
    org.control(Method::PUT, "/_control/bulk", json!({"jobsLeft": 0}))
        .await?;
    assert_eq!(left().await?, json!(0));
    let asked = json!({"operation": "query", "query": "SELECT Id FROM Contact"});
    let (status, answer) = org.outcome(Method::POST, JOBS, Some(asked)).await?;
    assert_eq!(
        (status.as_u16(), &answer[0]["errorCode"]),
        (400, &json!("LIMIT_EXCEEDED"))
    );
    Ok(())
}

/// Ferrygate's source of this org, by jobs where they are worth it, or by REST alone.
async fn source(org: &Org, bulk_query: &str) -> Result<Source> {
    let config = &org.simulator.org.config;
    let secret = |key: &str| json!({"secretKeyRef": {"name": "org", "key": key}});
    let manifests = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "org"},
         "stringData": {"clientId": config.client_id, "clientSecret": config.client_secret}},
        {"apiVersion": "ferrygate.io/v1alpha1", "kind": "CrmSource", "metadata": {"name": "crm"}, "spec": {"salesforce": {
            "instanceUrl": org.simulator.url(), "allowPlaintext": true, "bulkQuery": bulk_query,
            "auth": {"clientCredentials": {"clientId": secret("clientId"), "clientSecret": secret("clientSecret")}},
        }}},
    ]});
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("all.yaml"), manifests.to_string())?;
    let manifests = Manifests::read(folder.path())?;
    let (_, namespace) = manifests.namespaces().next().context("a namespace")?;
    Ok(Source::connect(&namespace.sources["crm"].spec, &namespace.secrets()).await?)
}

/// All records by their ids, as the engine sees them; and whether they came by a job.
async fn read(source: &Source, selection: Selection) -> Result<(BTreeMap<String, String>, bool)> {
    let mut extract = source.extract(selection);
    let mut records = BTreeMap::new();
    while let Some(page) = extract.next_page().await? {
        page.decode(|record| {
            let before = records.insert(record.id.to_string(), format!("{record:?}"));
            assert_eq!(before, None, "it came twice");
        })?;
    }
    let end = extract.resume_point().cloned();
    if let Some(end) = &end {
        source.remove(end).await;
    }
    Ok((records, end.is_some()))
}

/// Fingerprints and ids of messages rest on it: the way that a record comes tells nothing of the record.
#[tokio::test]
async fn every_field_of_every_record_is_the_same_by_a_job_as_by_a_query() -> Result<()> {
    const CONTACTS: usize = 100_000;
    let org = Org::with_contacts(CONTACTS).await?;
    org.control(
        Method::POST,
        "/_control/changes",
        json!({"changes": [
            {"op": "create", "object": "Contact", "fields": {"LastName": "quote \" comma , null\u{0} end", "Title": "one\r\ntwo\nthree"}},
            {"op": "create", "object": "Contact", "fields": {"LastName": "NULL", "LTV__c": -0.000_001, "Loyalty_Points__c": 1e21}},
        ]}),
    )
    .await?;
    let [by_job, by_query] = [source(&org, "Auto").await?, source(&org, "Never").await?];
    let description = by_query.describe("Contact").await?;
    let fields = description.fields.iter().filter(|field| field.kind != "address");
    let selection = Selection {
        object: "Contact".into(),
        fields: fields.map(|field| field.name.clone()).collect(),
        from: None,
        deleted: true,
    };
    let (by_query, queried) = read(&by_query, selection.clone()).await?;
    // Everything that may happen to a job happens to this one.
    org.control(
        Method::PUT,
        "/_control/faults",
        json!([
            {"match": {"path": JOBS}, "after": 4, "times": 1, "kind": "expireSession"},
            {"match": {"path": JOBS}, "after": 7, "times": 1, "kind": {"status": {"code": 503}}},
            {"match": {"path": JOBS}, "after": 10, "times": 1, "kind": {"truncateBody": {"atBytes": 100_000}}},
            {"match": {"path": JOBS}, "after": 13, "times": 1, "kind": {"dropConnection": {"atBytes": 1_000}}},
        ]),
    )
    .await?;
    let (by_job, ordered) = read(&by_job, selection).await?;
    assert_eq!((queried, ordered, by_job.len()), (false, true, CONTACTS + 2));
    let different: Vec<_> = by_job
        .iter()
        .filter(|(id, record)| by_query.get(*id) != Some(record))
        .collect();
    assert!(different.is_empty(), "{:?}", different.first());
    assert_eq!(org.simulator.org.jobs.kept(), [""; 0]);
    let ordered = org.control(Method::GET, "/_control/faults", Value::Null).await?;
    let struck = ordered
        .as_array()
        .context("faults")?
        .iter()
        .filter(|fault| fault["struck"] == 1);
    assert_eq!(struck.count(), 4);
    Ok(())
}

//! Contacts as a Salesforce page holds them, and what is made of them.

use std::fmt::Write;

use serde_json::{Value, json};

/// How many records a page holds, as the REST API's default:
/// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/headers_queryoptions.htm>
pub const PAGE: usize = 2_000;

/// The fields that the mapping reads, with their types; the id and the stamp come besides.
pub const FIELDS: [(&str, &str); 21] = [
    ("FirstName", "string"),
    ("LastName", "string"),
    ("Email", "email"),
    ("Phone", "phone"),
    ("MailingCountry", "string"),
    ("MailingState", "string"),
    ("MailingCity", "string"),
    ("MailingPostalCode", "string"),
    ("Title", "string"),
    ("Department", "string"),
    ("LeadSource", "picklist"),
    ("Birthdate", "date"),
    ("Lifecycle__c", "picklist"),
    ("LTV__c", "currency"),
    ("Customer_Since__c", "datetime"),
    ("HasOptedOutOfEmail", "boolean"),
    ("Double_Opt_In__c", "boolean"),
    ("Language__c", "picklist"),
    ("Loyalty_Points__c", "double"),
    ("AccountId", "reference"),
    ("AssistantName", "string"),
];

/// The value of a contact's field.
pub fn field(name: &str, number: usize) -> Value {
    let pick = |values: &[&str]| json!(values[number % values.len()]);
    match name {
        "Id" => json!(format!("003Qy{number:010}AAA")),
        "SystemModstamp" => {
            let (second, minute, hour) = (number % 60, number / 60 % 60, number / 3_600 % 24);
            json!(format!(
                "2026-05-{:02}T{hour:02}:{minute:02}:{second:02}.000+0000",
                1 + number / 86_400
            ))
        }
        "IsDeleted" => json!(false),
        "FirstName" => pick(&["Ada", "Grace", "Jürgen", "Zoë", "Mehmet"]),
        "LastName" => json!(format!("Müller-Nr {number}")),
        "Email" => json!(format!("Person.{number}@Example.com ")),
        "Phone" => json!(format!("030 {:07}", 1_000_000 + number % 8_999_999)),
        "MailingCountry" => json!("DE"),
        "MailingState" => pick(&["Berlin", "NA", "Hessen"]),
        "MailingCity" => pick(&["Berlin", "Frankfurt am Main", "Kassel"]),
        "MailingPostalCode" => json!(format!("{:05}", number % 99_999)),
        "Title" => pick(&["Head of \"Growth\"", "Engineer", "Buyer"]),
        "Department" | "LeadSource" => pick(&["Web", "Partner Referral", "Other"]),
        "Birthdate" => json!(format!(
            "19{:02}-0{}-1{}",
            50 + number % 50,
            1 + number % 9,
            number % 10
        )),
        "Lifecycle__c" => pick(&["Open - Not Contacted", "Working", "Customer", "Former"]),
        "LTV__c" => json!((number % 1_000_000) as f64 / 100.0),
        "Customer_Since__c" => json!("2019-03-31T08:15:00.000+0000"),
        "HasOptedOutOfEmail" => json!(number.is_multiple_of(10)),
        "Double_Opt_In__c" => json!(number.is_multiple_of(3)),
        "Language__c" => pick(&["de", "en", "fr"]),
        "Loyalty_Points__c" => json!((number % 5_000) as f64),
        "AccountId" => json!(format!("001Qy{:010}AAA", number / 10)),
        _ => Value::Null,
    }
}

/// The pages of a query's answer, whose fields are in the query's order.
pub fn pages(selected: &[String], contacts: usize) -> Vec<bytes::Bytes> {
    (0..contacts)
        .step_by(PAGE)
        .map(|start| {
            let end = (start + PAGE).min(contacts);
            let mut page = format!("{{\"totalSize\":{contacts},\"done\":{}", end == contacts);
            if end < contacts {
                let _ = write!(page, ",\"nextRecordsUrl\":\"/services/data/v62.0/query/01gBENCH-{end}\"");
            }
            page.push_str(",\"records\":[");
            for number in start..end {
                let comma = if number > start { "," } else { "" };
                let id = field("Id", number);
                let _ = write!(
                    page,
                    "{comma}{{\"attributes\":{{\"type\":\"Contact\",\"url\":\"/services/data/v62.0/sobjects/Contact/{}\"}}",
                    id.as_str().unwrap_or_default()
                );
                for name in selected {
                    let _ = write!(page, ",\"{name}\":{}", field(name, number));
                }
                page.push('}');
            }
            page.push_str("]}");
            page.into()
        })
        .collect()
}

/// The manifests of the run: every field is used, with the transforms of a real mapping and one CEL expression.
pub fn manifests(crm: &str, sink: &str) -> String {
    let renamed = [
        ("country", "MailingCountry", "String"),
        ("state", "MailingState", "String"),
        ("city", "MailingCity", "String"),
        ("postal_code", "MailingPostalCode", "String"),
        ("title", "Title", "String"),
        ("department", "Department", "String"),
        ("lead_source", "LeadSource", "String"),
        ("birthday", "Birthdate", "Date"),
        ("lifetime_value", "LTV__c", "Decimal"),
        ("double_opt_in", "Double_Opt_In__c", "Boolean"),
        ("language", "Language__c", "String"),
        ("loyalty_points", "Loyalty_Points__c", "Decimal"),
        ("assistant", "AssistantName", "String"),
    ];
    let mut traits: Vec<Value> = renamed
        .iter()
        .map(|(name, from, kind)| json!({"trait": name, "from": from, "type": kind, "onNull": "Unset"}))
        .collect();
    traits.extend([
        json!({"trait": "email", "from": "Email", "type": "String", "transforms": [{"trim": {}}, {"lower": {}}]}),
        json!({"trait": "phone", "from": "Phone", "type": "String", "onError": "Null",
               "transforms": [{"e164": {"countryFrom": "MailingCountry", "default": "DE"}}]}),
        json!({"trait": "lifecycle_stage", "from": "Lifecycle__c", "type": "String",
               "transforms": [{"enum": {"table": "lifecycle"}}]}),
        json!({"trait": "customer_since", "from": "Customer_Since__c", "type": "Timestamp", "transforms": [{"timestamp": {}}]}),
        json!({"trait": "full_name", "type": "String",
               "cel": "[record.FirstName, record.LastName].filter(x, x != null).join(' ')"}),
    ]);
    let secret = |key: &str| json!({"secretKeyRef": {"name": "bench", "key": key}});
    let resource = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "ferrygate.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let all = [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bench"},
               "stringData": {"clientId": "bench", "clientSecret": "bench", "writeKey": "bench"}}),
        resource(
            "CrmSource",
            "crm",
            json!({"salesforce": {
                "instanceUrl": crm, "allowPlaintext": true,
                "auth": {"clientCredentials": {"clientId": secret("clientId"), "clientSecret": secret("clientSecret")}},
            }}),
        ),
        resource(
            "CdpSink",
            "cdp",
            json!({
                "segment": {"endpoint": sink, "allowPlaintext": true, "writeKey": secret("writeKey")},
                "identity": {"userId": "crm_id"},
                "consent": {"require": ["marketing_email"]},
            }),
        ),
        resource(
            "MappingVersion",
            "contact-1.0.0",
            json!({
                "mapping": "contact",
                "version": "1.0.0",
                "enums": {"lifecycle": {
                    "Open - Not Contacted": "lead", "Working": "lead", "Customer": "customer", "Former": "churned",
                }},
                "objects": [{
                    "object": "Contact",
                    "entity": "Person",
                    "identity": [{"kind": "crm_id", "from": "Id"}, {"kind": "account_id", "from": "AccountId"}],
                    "traits": traits,
                    "consent": [{"purpose": "marketing_email", "from": "HasOptedOutOfEmail", "granted": "value == false"}],
                }],
            }),
        ),
        resource(
            "SyncPipeline",
            "bench",
            json!({
                "sourceRef": {"name": "crm"},
                "sinkRef": {"name": "cdp"},
                "mappingRef": {"name": "contact", "version": "1.0.0"},
                "streams": [{"name": "contacts", "object": "Contact", "schedule": {"every": "5m"}}],
            }),
        ),
    ];
    json!({"apiVersion": "v1", "kind": "List", "items": all}).to_string()
}

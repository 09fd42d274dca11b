//! What is written for programs, held against what a sink is sent.

use std::collections::BTreeMap;

use ferrygate::api::CdpSink;
use ferrygate::api::common::SecretKeySelector;
use ferrygate::consent::Decision;
use ferrygate::mapping::Plan;
use ferrygate::record::{Field, Record};
use ferrygate::secrets::Secrets;
use ferrygate::sink::Provenance;
use ferrygate::sink::segment::Segment;
use serde_json::{Value, json};

use super::{CONTRACTS, FILES, manifests};

const PERSON: &str = "crm-prod/customer/2.1.0/person.schema.json";

fn schema(path: &str) -> Value {
    serde_json::from_str(&FILES[path]).unwrap()
}

fn field(name: &str) -> Field<'static> {
    match name {
        "Id" => Field::Text("003A".into()),
        "Email" => Field::Text(" Ada@Example.com ".into()),
        "Phone" => Field::Text("030 123456".into()),
        "FirstName" => Field::Text("Ada".into()),
        "LastName" => Field::Text("Null".into()),
        "Lifecycle__c" => Field::Text("Customer".into()),
        "LTV__c" => Field::Number("1234.50"),
        "VIP__c" => Field::Boolean(true),
        "Customer_Since__c" => Field::Text("2020-01-31".into()),
        "Birthdate" => Field::Text("1990-02-28".into()),
        "MailingCountry" => Field::Text("DE".into()),
        // `orders` says `onNull: Unset`, so that null is sent.
        _ => Field::Null,
    }
}

/// The traits of a record of Contact, in the bytes that a sink is sent which may hold all of them.
fn delivered() -> Value {
    delivered_by(CONTRACTS)
}

fn delivered_by(contracts: &str) -> Value {
    let manifests = manifests(contracts);
    let (_, namespace) = manifests.namespaces().next().unwrap();
    let mut sink: CdpSink = namespace.sinks["segment-eu"].clone();
    sink.spec.max_classification = ferrygate::api::common::Classification::Sensitive;
    let plan = Plan::compile(&namespace.mappings["customer-2.1.0"].spec, "Contact", &sink.spec).unwrap();
    let fields: Vec<_> = plan.fields().iter().map(|name| field(name)).collect();
    let stamp = "2026-05-04T10:00:00Z".parse().unwrap();
    let record = Record {
        id: "003A".into(),
        stamp,
        deleted: false,
        fields: &fields,
    };
    let key = SecretKeySelector {
        name: "segment-eu".into(),
        key: "writeKey".into(),
    };
    let secrets = Secrets::Manifests(BTreeMap::from([(key, "key".to_owned().into())]));
    let provenance = Provenance {
        pipeline: "crm-prod/customers",
        stream: "contacts",
        run: "run",
        mapping: "customer",
        mapping_version: "2.1.0",
        object: "Contact",
        record_id: "003A",
        stamp,
        extracted_at: stamp,
    };
    let encoder = Segment::new(&sink.spec, &secrets).unwrap().encoder();
    let mut bytes = vec![b'['];
    let mapped = plan.map(&record).unwrap();
    encoder
        .encode(&mapped, Decision::Activate, &[], &provenance, &mut bytes)
        .unwrap();
    bytes.push(b']');
    let calls: Value = serde_json::from_slice(&bytes).unwrap();
    calls[0]["traits"].clone()
}

#[test]
fn every_json_schema_is_one_by_the_metaschema() {
    let mut checked = 0;
    for (path, text) in FILES.iter().filter(|(path, _)| path.ends_with(".schema.json")) {
        let schema: Value = serde_json::from_str(text).unwrap();
        assert_eq!(
            schema["$schema"], "https://json-schema.org/draft/2020-12/schema",
            "{path}"
        );
        if let Err(error) = jsonschema::meta::validate(&schema) {
            panic!("{path}: {error}");
        }
        checked += 1;
    }
    assert_eq!(checked, 7);
}

#[test]
fn what_a_cdp_is_sent_under_its_own_names_is_valid_by_the_schema_for_it() {
    let names = "cdp: segment, entity: Person, traits: {phone: contact.phone, lifecycle_stage: contact.stage.now, fax: \"Null\"}";
    let contracts = CONTRACTS.replace(
        "cdp: unomi, entity: Person, traits: {phone: contact.phone, fax: \"Null\"}",
        names,
    );
    let delivered = delivered_by(&contracts);
    assert_eq!(
        delivered["contact"],
        json!({"phone": "+4930123456", "stage": {"now": "customer"}})
    );
    let files = super::catalog(&contracts).render();
    let schema: Value = serde_json::from_str(&files["crm-prod/customer/2.1.0/person-segment.schema.json"]).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(&delivered)
        .map(|error| error.to_string())
        .collect();
    assert_eq!(errors, Vec::<String>::new());
    let mut lacking = delivered.clone();
    lacking["contact"]["stage"].as_object_mut().unwrap().remove("now");
    let mut canonical = delivered.clone();
    canonical["phone"] = json!("+4930123456");
    for wrong in [lacking, canonical] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}

#[test]
fn what_a_sink_is_sent_is_valid_by_the_entitys_schema_and_little_else_is() {
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(&schema(PERSON))
        .unwrap();
    let delivered = delivered();
    let errors: Vec<_> = validator
        .iter_errors(&delivered)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?} in {delivered}");
    assert_eq!(delivered["orders"], Value::Null);
    assert_eq!(delivered.as_object().unwrap().len(), 9, "{delivered}");

    let cases = [
        (
            "lifecycle_stage",
            json!("Customer"),
            "a value that the table does not give",
        ),
        ("orders", json!("7"), "text for a whole number"),
        (
            "orders",
            json!(9_223_372_036_854_775_808_u64),
            "a number of more than 64 bits",
        ),
        ("lifetime_value", json!(null), "null where it is not sent"),
        ("vip", json!("yes"), "text for yes or no"),
        ("customer_since", json!("2020-01-31"), "a day for an instant"),
        ("birthday", json!("28.02.1990"), "a day that is not written as one"),
        ("shoe_size", json!(38), "a trait that the contract lacks"),
    ];
    for (name, value, what) in cases {
        let mut wrong = delivered.clone();
        wrong[name] = value;
        assert!(!validator.is_valid(&wrong), "{what} is taken for {name}");
    }
    let mut missing = delivered;
    missing.as_object_mut().unwrap().remove("lifecycle_stage");
    assert!(
        !validator.is_valid(&missing),
        "a trait that every record has is missing"
    );
}

#[test]
fn a_schema_says_what_a_trait_means_and_that_it_is_on_its_way_out() {
    let properties = &schema(PERSON)["properties"];
    assert_eq!(properties["fax"]["deprecated"], true);
    assert_eq!(properties["orders"]["type"], json!(["integer", "null"]));
    assert_eq!(
        properties["lifecycle_stage"]["enum"],
        json!(["churned", "customer", "lead", "unknown"])
    );
    assert_eq!(properties["birthday"]["x-classification"], "Sensitive");
    assert!(
        properties["vip"]["description"]
            .as_str()
            .unwrap()
            .contains("service desk")
    );
}

/// The members that version 3.0.2 of the standard requires, and the words that it allows:
/// <https://bitol-io.github.io/open-data-contract-standard/v3.0.2/>.
#[test]
fn a_data_contract_has_what_the_open_data_contract_standard_requires() {
    let contracts: Vec<_> = FILES.iter().filter(|(path, _)| path.ends_with(".odcs.yaml")).collect();
    assert_eq!(contracts.len(), 5);
    for (path, text) in contracts {
        let contract: Value = serde_saphyr::from_str(text).unwrap();
        for member in ["version", "apiVersion", "kind", "id", "status"] {
            assert!(contract[member].is_string(), "{path}: {member}");
        }
        assert_eq!(
            (&contract["apiVersion"], &contract["kind"]),
            (&json!("v3.0.2"), &json!("DataContract"))
        );
        let status = contract["status"].as_str().unwrap();
        assert!(
            ["proposed", "draft", "active", "deprecated", "retired"].contains(&status),
            "{path}: {status}"
        );
        for object in contract["schema"].as_array().unwrap() {
            assert!(
                object["name"].is_string() && object["logicalType"] == "object",
                "{path}: {object}"
            );
            for property in object["properties"].as_array().unwrap() {
                assert!(property["name"].is_string(), "{path}: {property}");
                let kind = property["logicalType"].as_str().unwrap();
                let allowed = ["string", "date", "number", "integer", "object", "array", "boolean"];
                assert!(allowed.contains(&kind), "{path}: {property}");
            }
        }
        for support in contract["support"].as_array().into_iter().flatten() {
            assert!(
                support["channel"].is_string() && support["url"].is_string(),
                "{path}: {support}"
            );
        }
    }
}

#[test]
fn a_data_contract_tells_how_it_stands_and_how_fresh_the_data_is() {
    let read = |version: &str| -> Value {
        serde_saphyr::from_str(&FILES[&format!("crm-prod/customer/{version}/contract.odcs.yaml")]).unwrap()
    };
    let standing: Vec<_> = ["1.4.0", "2.0.0", "2.1.0", "3.0.0-rc.1"]
        .map(|version| read(version)["status"].as_str().unwrap().to_owned())
        .into();
    assert_eq!(standing, ["retired", "active", "active", "draft"]);
    let current = read("2.1.0");
    let phone = current["schema"][0]["properties"].as_array().unwrap();
    let phone = phone.iter().find(|one| one["name"] == "phone").unwrap();
    let custom = |of: &Value, name: &str| {
        let all = of["customProperties"].as_array().unwrap();
        all.iter()
            .find(|one| one["property"] == name)
            .map(|one| one["value"].to_string())
    };
    assert!(
        custom(phone, "names").is_some_and(|names| names.contains("contact.phone")),
        "{phone}"
    );
    let consent = custom(&current["schema"][0], "consent");
    assert!(
        consent
            .as_ref()
            .is_some_and(|consent| consent.contains("email_marketing")),
        "{consent:?}"
    );
    assert_eq!(
        current["slaProperties"],
        json!([{"property": "latency", "value": 900, "unit": "s", "element": "Person", "driver": "operational"}])
    );
}

//! The catalog of a folder: what it says, that it is safe and whole as a site, and that programs can hold it against the data.

mod schemas;
mod site;

use std::fs;
use std::sync::LazyLock;

use ferrygate::catalog::{Catalog, CatalogError, Contracts, Files, Mapping, Verdict, What};
use ferrygate::cli::files::Manifests;

const CONTRACTS: &str = include_str!("contracts.yaml");

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| catalog(CONTRACTS));
static FILES: LazyLock<Files> = LazyLock::new(|| CATALOG.render());

fn manifests(text: &str) -> Manifests {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("contracts.yaml"), text).unwrap();
    Manifests::read(folder.path()).unwrap()
}

fn catalog_of(manifests: &Manifests) -> Result<Catalog, CatalogError> {
    let contracts: Vec<_> = manifests
        .namespaces()
        .map(|(namespace, resources)| Contracts {
            namespace,
            mappings: resources.mappings.values().collect(),
            sinks: resources.sinks.values().collect(),
            pipelines: resources.pipelines.values().collect(),
            statuses: resources.pipelines.values().collect(),
        })
        .collect();
    Catalog::of(&contracts)
}

fn catalog(text: &str) -> Catalog {
    catalog_of(&manifests(text)).unwrap()
}

fn customer() -> &'static Mapping {
    CATALOG
        .mappings
        .iter()
        .find(|mapping| mapping.name == "customer")
        .unwrap()
}

#[test]
fn the_same_contracts_give_the_same_bytes_in_whatever_order_they_are_read() {
    let documents: Vec<_> = CONTRACTS.split("\n---\n").collect();
    let reversed: Vec<_> = documents.iter().rev().copied().collect();
    assert_eq!(*FILES, catalog(&reversed.join("\n---\n")).render());
}

#[test]
fn each_trait_tells_since_and_until_when_it_is_there() {
    let told: Vec<_> = customer()
        .traits
        .iter()
        .map(|history| (history.name.as_str(), history.since.as_str(), history.until.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            ("email", "1.4.0", None),
            ("phone", "2.0.0", None),
            ("full_name", "2.1.0", None),
            ("lifecycle_stage", "2.1.0", None),
            ("lifetime_value", "2.1.0", None),
            ("orders", "2.1.0", None),
            ("vip", "2.1.0", None),
            ("customer_since", "2.1.0", None),
            ("birthday", "2.1.0", None),
            ("fax", "1.4.0", None),
            ("preferred_language", "3.0.0-rc.1", None),
            ("pager", "1.4.0", Some("2.0.0")),
        ]
    );
}

#[test]
fn what_changed_about_a_trait_is_told_version_by_version() {
    let told = |name: &str| customer().history("Person", name).unwrap().changes.clone();
    let changed = |parts: &[&'static str]| What::Changed(parts.to_vec());
    assert_eq!(
        told("email"),
        [
            ("1.4.0".to_owned(), What::Added),
            (
                "2.0.0".to_owned(),
                changed(&["how the value is prepared", "whether it is critical"])
            ),
            (
                "2.1.0".to_owned(),
                changed(&["where it comes from", "meaning", "what rests on it"])
            ),
            (
                "3.0.0-rc.1".to_owned(),
                changed(&[
                    "where it comes from",
                    "how the value is prepared",
                    "meaning",
                    "whether it is critical",
                    "what rests on it",
                ])
            ),
        ]
    );
    assert_eq!(
        told("pager"),
        [("1.4.0".to_owned(), What::Added), ("2.0.0".to_owned(), What::Removed)]
    );
}

#[test]
fn who_gets_a_trait_follows_from_versions_streams_and_what_a_destination_may_hold() {
    let verdicts = |name: &str| {
        let recipients = customer().history("Person", name).unwrap().recipients.iter();
        let told = recipients.map(|recipient| match recipient.verdict {
            Verdict::Delivered => format!("{} gets it", recipient.sink),
            Verdict::Withheld(limit) => format!("{} holds {limit:?}", recipient.sink),
            Verdict::LeftOut => format!("{} is left out", recipient.sink),
            Verdict::NotInVersion => format!("{} takes {}", recipient.sink, recipient.version),
            Verdict::Unknown => format!("{} is not known", recipient.sink),
        });
        told.collect::<Vec<_>>()
    };
    let cases = [
        (
            "email",
            [
                "segment-eu gets it",
                "analytics holds Internal",
                "elsewhere is not known",
            ],
        ),
        (
            "fax",
            ["segment-eu gets it", "analytics gets it", "elsewhere is not known"],
        ),
        (
            "birthday",
            [
                "segment-eu holds Personal",
                "analytics takes 2.0.0",
                "elsewhere is not known",
            ],
        ),
    ];
    for (name, expected) in cases {
        assert_eq!(verdicts(name), expected, "{name}");
    }
}

#[test]
fn two_resources_for_one_version_are_an_error_that_names_both() {
    let twice = CONTRACTS.replace("version: 2.0.0\n  owners", "version: 1.4.0\n  owners");
    let error = catalog_of(&manifests(&twice)).unwrap_err().to_string();
    assert!(
        error.contains("customer-1.4.0") && error.contains("customer-2.0.0"),
        "{error}"
    );
}

#[test]
fn the_markdown_tells_what_the_site_tells() {
    let page = &FILES["markdown/crm-prod/customer.md"];
    for words in [
        "| lifecycle\\_stage | Where a customer stands\\: asked us something",
        "- Rests on it: Audience EU win-back, of \\#lifecycle",
        "- The destination analytics, by the pipeline numbers, does not get it\\: it may hold no more than Internal",
        "- On its way out since version 2.1.0, may be gone after 2027-03-01; use phone",
        "- Person pager: from version 1.4.0 until 2.0.0 left it out",
        "> Deprecates fax\\: use phone.",
        "  - Translate by the table “lifecycle”; a value that it lacks can't be used",
    ] {
        assert!(page.contains(words), "{words:?} is not in:\n{page}");
    }
}

#[test]
fn what_a_destination_calls_a_trait_is_told_to_people_and_to_programs() {
    let projection = r"    - cdp: segment
      entity: Person
      traits: {lifecycle_stage: stage.now, fax: null}
    - cdp: segment
      entity: Deal
      events: {Opportunity Stage Changed: Order Updated}
      properties: {Opportunity Stage Changed: {amount: revenue}}
";
    let projections = "  projections:\n";
    let catalog = catalog(&CONTRACTS.replace(projections, &format!("{projections}{projection}")));
    let mapping = catalog
        .mappings
        .iter()
        .find(|mapping| mapping.name == "customer")
        .unwrap();
    let told = |name: &str| {
        let recipients = &mapping.history("Person", name).unwrap().recipients;
        let of_segment = recipients.iter().find(|one| one.sink == "segment-eu").unwrap();
        (of_segment.verdict, of_segment.sent_as.clone())
    };
    assert_eq!(
        told("lifecycle_stage"),
        (Verdict::Delivered, Some("stage.now".to_owned()))
    );
    assert_eq!(told("fax"), (Verdict::LeftOut, None));
    assert_eq!(told("email"), (Verdict::Delivered, None));
    let files = catalog.render();
    let page = |path: &str| {
        files
            .get(path)
            .unwrap_or_else(|| panic!("{path} among {:?}", files.keys()))
    };
    let schema: serde_json::Value = serde_json::from_str(page("crm-prod/customer/2.1.0/person.schema.json")).unwrap();
    let names = |name: &str| schema["properties"][name]["x-names"].clone();
    assert_eq!(
        [names("lifecycle_stage"), names("fax"), names("phone")],
        [
            serde_json::json!({"segment": "stage.now"}),
            serde_json::json!({"segment": null, "unomi": null}),
            serde_json::json!({"unomi": "contact.phone"})
        ]
    );
    let event: serde_json::Value =
        serde_json::from_str(page("crm-prod/customer/2.1.0/opportunity-stage-changed.schema.json")).unwrap();
    assert_eq!(
        (&event["x-names"], &event["properties"]["amount"]["x-names"]),
        (
            &serde_json::json!({"segment": "Order Updated"}),
            &serde_json::json!({"segment": "revenue"})
        )
    );
    let site = page("crm-prod/customer/person/lifecycle_stage.html");
    assert!(site.contains("As <code>stage.now</code>"), "{site}");
    let index = page("crm-prod/customer/index.html");
    assert!(
        index.contains("called Order Updated") && index.contains("called revenue"),
        "{index}"
    );
    let markdown = page("markdown/crm-prod/customer.md");
    assert!(markdown.contains("gets it as stage.now"), "{markdown}");
    assert!(page("crm-prod/customer/person/phone.html").contains("called contact.phone"));
}

#[test]
fn how_full_a_trait_is_follows_from_the_statuses_of_the_pipelines() {
    let told = |name: &str| {
        let fill = customer().history("Person", name).unwrap().fill.iter();
        fill.map(|one| (one.object.as_str(), one.pipeline.as_str(), one.records, one.per_mille))
            .collect::<Vec<_>>()
    };
    assert_eq!(told("phone"), [("Contact", "customers", 1204, 812)]);
    // Of a trait that the sink does not get, nothing is known; nor of one that the run's version did not have.
    assert_eq!([told("birthday"), told("pager")], [vec![], vec![]]);
    let page = &FILES["crm-prod/customer/person/phone.html"];
    assert!(
        page.contains("<strong>81.2 %</strong> of the 1204 records of Contact"),
        "{page}"
    );
    let markdown = &FILES["markdown/crm-prod/customer.md"];
    assert!(
        markdown.contains("- Has a value: None of the 1204 records of Contact"),
        "{markdown}"
    );
}

//! The protocol, before a small org of the tests' own.

mod bulk;
mod jobs;
mod login;
mod org;
mod recovery;
mod refusals;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use org::Org;
use secrecy::SecretString;

use super::Salesforce;
use crate::api::CrmSourceSpec;
use crate::api::common::SecretKeySelector;
use crate::http::Patience;
use crate::record::Field;
use crate::secrets::Secrets;
use crate::source::{Extract, Selection, SourceError};

/// A private and a public key, PEM, made on the spot: none lies in the repository.
static KEYS: LazyLock<[String; 2]> = LazyLock::new(|| {
    let pem = |label: &str, der: &[u8]| {
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            STANDARD.encode(der)
        )
    };
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    [
        pem("PRIVATE KEY", pair.as_der().unwrap().as_ref()),
        pem("PUBLIC KEY", pair.public_key().as_der().unwrap().as_ref()),
    ]
});

/// As patient as in production, and a thousand times as fast.
const PATIENCE: Patience = Patience {
    first: std::time::Duration::from_millis(1),
    longest: std::time::Duration::from_millis(5),
    repetitions: 4,
    total: std::time::Duration::from_secs(2),
};

fn secrets() -> Secrets {
    let values = [
        ("clientId", "the-id"),
        ("clientSecret", "the-secret"),
        ("privateKey", &KEYS[0]),
        ("noKey", "nonsense"),
    ];
    let selector = |key: &str| SecretKeySelector {
        name: "org".into(),
        key: key.into(),
    };
    Secrets::Manifests(BTreeMap::from(
        values.map(|(key, value)| (selector(key), SecretString::from(value))),
    ))
}

/// A source of which `change` says what differs from one that works.
fn spec(url: &str, change: impl FnOnce(&mut serde_json::Value)) -> CrmSourceSpec {
    let secret = |key: &str| serde_json::json!({"secretKeyRef": {"name": "org", "key": key}});
    let mut spec = serde_json::json!({"salesforce": {
        "instanceUrl": url,
        "allowPlaintext": true,
        "auth": {"clientCredentials": {"clientId": secret("clientId"), "clientSecret": secret("clientSecret")}},
    }});
    change(&mut spec);
    serde_json::from_value(spec).unwrap()
}

/// Reads by REST alone.
async fn connect(org: &Org) -> Result<Salesforce, SourceError> {
    let spec = spec(&org.url, |spec| spec["salesforce"]["bulkQuery"] = "Never".into());
    Salesforce::connect_with(&spec, &secrets(), PATIENCE).await
}

fn contacts(from: Option<&str>, deleted: bool) -> Selection {
    Selection {
        object: "Contact".into(),
        fields: vec!["LastName".into()],
        from: from.map(|from| from.parse().unwrap()),
        deleted,
    }
}

/// The ids of all records, in the order in which they came.
async fn ids(extract: &mut Extract) -> Result<Vec<String>, SourceError> {
    let mut ids = Vec::new();
    while let Some(page) = extract.next_page().await? {
        page.decode(|record| {
            assert_eq!(record.fields, [Field::Text(format!("name of {}", record.id).into())]);
            ids.push(record.id.to_string());
        })?;
    }
    Ok(ids)
}

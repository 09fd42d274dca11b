//! What is sent, and what is made of the answers.

mod calls;
mod delivery;
mod privacy;

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::Segment;
use crate::api::CdpSinkSpec;
use crate::api::common::SecretKeySelector;
use crate::http::Patience;
use crate::secrets::Secrets;
use crate::sink::SinkError;

/// As patient as in production, and a thousand times as fast.
const PATIENCE: Patience = Patience {
    first: std::time::Duration::from_millis(1),
    longest: std::time::Duration::from_millis(5),
    repetitions: 4,
    total: std::time::Duration::from_secs(2),
};

fn spec(endpoint: &str, allow_plaintext: bool, key: &str) -> CdpSinkSpec {
    let spec = serde_json::json!({
        "segment": {
            "endpoint": endpoint,
            "allowPlaintext": allow_plaintext,
            "writeKey": {"secretKeyRef": {"name": "cdp", "key": key}},
        },
        "identity": {"userId": "crm_id", "groupId": "account_id"},
        "consent": {"require": ["marketing_email"]},
    });
    serde_json::from_value(spec).unwrap()
}

fn connect(endpoint: &str, allow_plaintext: bool, key: &str) -> Result<Segment, SinkError> {
    let selector = SecretKeySelector {
        name: "cdp".into(),
        key: "writeKey".into(),
    };
    let secrets = Secrets::Manifests(BTreeMap::from([(selector, SecretString::from("the-key"))]));
    Segment::with_patience(&spec(endpoint, allow_plaintext, key), &secrets, PATIENCE)
}

//! What happens in the CRM: an update, an opt-out, a bad record, a delete.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::PIPELINE;
use crate::cluster::until::until;
use crate::tenant::{Simulated, Tenant};

/// One change, and the contact that it happens to.
pub struct Scene {
    /// What a person calls it.
    pub title: &'static str,
    /// The contact's id.
    pub id: String,
    /// The change, as the simulator takes it.
    change: Value,
    /// What must have arrived before the scene is told.
    arrived: Arrived,
    /// How many identify calls the CDP had for the contact before.
    calls_before: i64,
}

enum Arrived {
    Call,
    DeadLetter,
}

/// How a scene went.
pub struct Told {
    /// What a person calls it.
    pub title: &'static str,
    /// What was done in the CRM.
    pub in_crm: String,
    /// What the CDP holds now.
    pub in_cdp: String,
}

/// Chooses four contacts that the CDP knows and may activate.
pub async fn prepare(tenant: &Tenant) -> Result<Vec<Scene>> {
    let users = tenant.get(Simulated::Segment, "users").await?;
    let mut activated = Vec::new();
    for user in users.as_array().context("the simulator lists no users")? {
        let id = user.as_str().unwrap_or_default();
        let profile = tenant.get(Simulated::Segment, &format!("profiles/{id}")).await?;
        if profile["traits"]["lifecycle_stage"].is_string() {
            activated.push((
                id.to_owned(),
                profile["events"]["identify"].as_i64().unwrap_or_default(),
            ));
        }
        if activated.len() == 4 {
            break;
        }
    }
    let scenes = [
        (
            "An update",
            json!({"Lifecycle__c": "Former", "LTV__c": 1234.56}),
            Arrived::Call,
        ),
        ("An opt-out", json!({"HasOptedOutOfEmail": true}), Arrived::Call),
        ("A bad record", json!({"Lifecycle__c": "Promoted"}), Arrived::DeadLetter),
        ("A delete", Value::Null, Arrived::Call),
    ];
    let scenes = scenes
        .into_iter()
        .zip(activated)
        .map(|((title, fields, arrived), (id, calls_before))| {
            let change = match &fields {
                Value::Null => json!({"op": "delete", "id": id}),
                fields => json!({"op": "update", "id": id, "fields": fields}),
            };
            Scene {
                title,
                id,
                change,
                arrived,
                calls_before,
            }
        });
    Ok(scenes.collect())
}

/// Makes the changes in the CRM.
pub async fn change(tenant: &Tenant, scenes: &[Scene]) -> Result<()> {
    let changes: Vec<_> = scenes.iter().map(|scene| &scene.change).collect();
    tenant
        .tell(Simulated::Salesforce, "POST", "changes", &json!({"changes": changes}))
        .await?;
    Ok(())
}

/// Waits until each change has arrived.
pub async fn until_arrived(tenant: &Tenant, scenes: &[Scene]) -> Result<()> {
    for scene in scenes {
        until(Duration::from_secs(120), scene.title, async || {
            let there = match scene.arrived {
                Arrived::Call => {
                    let profile = tenant
                        .get(Simulated::Segment, &format!("profiles/{}", scene.id))
                        .await?;
                    profile["events"]["identify"].as_i64().unwrap_or_default() > scene.calls_before
                }
                Arrived::DeadLetter => {
                    let status = tenant.pipeline(PIPELINE).await?.status.unwrap_or_default();
                    status.dead_letters.is_some_and(|letters| letters > 0)
                }
            };
            Ok(there.then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// What each change came to.
pub async fn tell(tenant: &Tenant, scenes: &[Scene]) -> Result<Vec<Told>> {
    let mut told = Vec::new();
    for scene in scenes {
        let profile = tenant
            .get(Simulated::Segment, &format!("profiles/{}", scene.id))
            .await?;
        let events = tenant
            .get(Simulated::Segment, &format!("events?userId={}&type=identify", scene.id))
            .await?;
        let last = events["events"]
            .as_array()
            .and_then(|events| events.last())
            .cloned()
            .unwrap_or_default();
        let in_cdp = match scene.arrived {
            Arrived::DeadLetter => {
                "nothing: the record is a dead letter, with its cause; the profile stays as it was".to_owned()
            }
            Arrived::Call => format!(
                "identify with {} traits, marketing_email {}",
                last["traits"].as_object().map_or(0, serde_json::Map::len),
                profile["consent"]["categoryPreferences"]["marketing_email"],
            ),
        };
        let in_crm = match scene.change["fields"].as_object() {
            Some(fields) => fields
                .iter()
                .map(|(name, value)| format!("{name} = {value}"))
                .collect::<Vec<_>>()
                .join("\n"),
            None => "the contact is deleted".to_owned(),
        };
        told.push(Told {
            title: scene.title,
            in_crm,
            in_cdp,
        });
    }
    Ok(told)
}

//! Salesforce, by its [REST API](https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/intro_rest.htm).
//!
//! In the order in which data passes: [`config`] says where the org is, [`auth`] logs in, [`client`] makes requests, as many as
//! [`share`] allows, and
//! [`error`] tells what a refusal means, [`soql`] writes the queries, [`replication`] tells how far they can be complete,
//! [`extract`] pages through them, and [`page`] decodes. Where there is much, [`bulk`] has the org make the result, [`results`]
//! pages through that, and [`csv`] decodes. [`by_id`] reads single records.

mod auth;
mod bulk;
mod by_id;
mod client;
mod config;
mod csv;
mod error;
mod extract;
mod page;
mod replication;
mod results;
mod share;
mod soql;
mod stamp;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use client::{Client, Failure, PATIENCE};
use config::Config;
pub use extract::Extract;
use extract::{Org, Schema};
use jiff::Timestamp;
pub use page::Page;
use serde::Deserialize;

use crate::api::CrmSourceSpec;
use crate::api::common::Outcome;
use crate::http::Patience;
use crate::secrets::Secrets;
use crate::source::{FieldDescription, ObjectDescription, Quota, Recalled, ResumePoint, Selection, SourceError};

/// A Salesforce org, logged in. Clones share the session.
#[derive(Clone, Debug)]
pub struct Salesforce {
    org: Arc<Org>,
}

impl Salesforce {
    /// Validates the configuration, reads the credentials, and logs in.
    ///
    /// # Errors
    /// `ConfigurationInvalid`, `AuthenticationFailed` or `SourceUnavailable`.
    pub async fn connect(spec: &CrmSourceSpec, secrets: &Secrets) -> Result<Salesforce, SourceError> {
        Self::connect_with(spec, secrets, PATIENCE).await
    }

    async fn connect_with(
        spec: &CrmSourceSpec,
        secrets: &Secrets,
        patience: Patience,
    ) -> Result<Salesforce, SourceError> {
        let client = Client::connect(Config::new(spec, secrets)?, patience).await?;
        Ok(Salesforce {
            org: Arc::new(Org::new(client)),
        })
    }

    /// The object and its fields, as far as the integration user may see them.
    ///
    /// # Errors
    /// `SchemaDrifted` where the org has no such object.
    pub async fn describe(&self, object: &str) -> Result<ObjectDescription, SourceError> {
        let (description, replicateable) = describe(&self.org, object).await?;
        if let Ok(schema) = Schema::of(&description, replicateable) {
            self.org.learn(object, schema);
        }
        Ok(description)
    }

    /// What the last answer told of the daily API requests; asked for where none did yet. `None` where the user may not know.
    ///
    /// # Errors
    /// As any request's.
    pub async fn quota(&self) -> Result<Option<Quota>, SourceError> {
        let client = &self.org.client;
        if let Some(quota) = client.last_quota() {
            return Ok(Some(quota));
        }
        let target = format!("{}/limits", client.config.data_path);
        let limits: Result<Limits, Failure> = client
            .get(&target, "limits", |answer| serde_json::from_str(&answer.body))
            .await;
        let refused = |outcome| {
            matches!(
                outcome,
                Outcome::SchemaDrifted | Outcome::ConfigurationInvalid | Outcome::AuthenticationFailed
            )
        };
        match limits {
            Ok(limits) => Ok(client.last_quota().or(limits.daily_api_requests.map(|limit| Quota {
                used: limit.max - limit.remaining,
                max: limit.max,
            }))),
            Err(Failure::Source(error)) if refused(error.outcome) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// How many records the object has.
    ///
    /// # Errors
    /// As any request's.
    pub async fn count(
        &self,
        object: &str,
        modified_after: Option<Timestamp>,
        deleted: bool,
    ) -> Result<i64, SourceError> {
        check_object(object)?;
        let modified_after = match modified_after {
            Some(instant) => Some((self.org.cursor(object).await?.stamp, instant)),
            None => None,
        };
        let client = &self.org.client;
        let target = soql::target(&client.config.data_path, deleted, &soql::count(object, modified_after));
        Ok(counted(client, &target, object).await?)
    }

    /// Reads records by their ids.
    ///
    /// # Errors
    /// As any request's.
    pub async fn read(&self, selection: &Selection, ids: &[Recalled]) -> Result<Vec<Page>, SourceError> {
        by_id::read(&self.org, selection, ids).await
    }

    /// Begins to read the selected records.
    pub fn extract(&self, selection: Selection) -> Extract {
        Extract::new(self.org.clone(), selection)
    }

    /// Removes a query job and its result.
    pub async fn remove(&self, point: &ResumePoint) {
        bulk::remove(&self.org.client, &point.job).await;
    }
}

/// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_sobject_describe.htm>
#[derive(Deserialize)]
struct Described {
    name: String,
    #[serde(default)]
    replicateable: bool,
    fields: Vec<DescribedField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribedField {
    name: String,
    #[serde(default)]
    label: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    length: u32,
    #[serde(default)]
    filterable: bool,
    #[serde(default)]
    nillable: bool,
    #[serde(default)]
    calculated: bool,
    #[serde(default)]
    picklist_values: Vec<PicklistValue>,
}

#[derive(Deserialize)]
struct PicklistValue {
    value: String,
    #[serde(default)]
    active: bool,
}

/// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_limits.htm>
#[derive(Deserialize)]
struct Limits {
    #[serde(rename = "DailyApiRequests")]
    daily_api_requests: Option<Limit>,
    #[serde(rename = "DailyBulkV2QueryJobs")]
    daily_query_jobs: Option<Limit>,
    #[serde(rename = "DailyBulkV2QueryFileStorageMB")]
    daily_query_megabytes: Option<Limit>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Limit {
    max: i64,
    remaining: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    total_size: i64,
}

/// The answer to a query for a number of records.
async fn counted(client: &Client, target: &str, object: &str) -> Result<i64, Failure> {
    let counted = client.get(target, object, |answer| serde_json::from_str(&answer.body));
    counted.await.map(|counted: Counted| counted.total_size)
}

/// The object, and whether `updated/` can be asked for it.
async fn describe(org: &Org, object: &str) -> Result<(ObjectDescription, bool), SourceError> {
    check_object(object)?;
    let target = format!("{}/sobjects/{object}/describe", org.client.config.data_path);
    let described: Described = org
        .client
        .get(&target, object, |answer| serde_json::from_str(&answer.body))
        .await?;
    let field = |field: DescribedField| FieldDescription {
        name: field.name,
        kind: field.kind,
        label: field.label,
        length: field.length,
        filterable: field.filterable,
        nillable: field.nillable,
        calculated: field.calculated,
        values: active(field.picklist_values),
    };
    let description = ObjectDescription {
        object: described.name,
        fields: described.fields.into_iter().map(field).collect(),
    };
    Ok((description, described.replicateable))
}

/// The values that people can choose. A record may still hold one that is no longer offered.
fn active(values: Vec<PicklistValue>) -> Vec<String> {
    let active = values.into_iter().filter(|value| value.active);
    active.map(|value| value.value).collect()
}

fn check_object(object: &str) -> Result<(), SourceError> {
    if soql::is_name(object) {
        return Ok(());
    }
    Err(SourceError::new(
        Outcome::ConfigurationInvalid,
        format!("{object:?} is not the API name of an object: letters, digits and underscores"),
    ))
}

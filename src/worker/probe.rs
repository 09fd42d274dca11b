//! A probe: logs in to a CRM, reads its quota and describes the objects that mappings name; or calls a CDP.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::common::{Outcome, ProbeResult};
use crate::api::crm_source::{Budget, CrmSourceSpec, DescribedObject};
use crate::api::{CdpSink, CrmSource};
use crate::secrets::Secrets;
use crate::sink::{Sink, SinkError};
use crate::source::{ObjectDescription, Quota, Source, SourceError};

/// How long a probe may take before the other side counts as unavailable; its Job's deadline is longer.
const TIME_LIMIT: Duration = Duration::from_secs(90);

/// What a probe is told.
pub struct ProbeSpec {
    /// The resource's name.
    pub name: String,
    /// The probe's name, which is its Job's.
    pub run: String,
    /// `metadata.generation` of the resource that is probed.
    pub generation: i64,
    /// The CRM objects to describe.
    pub objects: Vec<String>,
}

/// What a probe of a source found.
#[derive(Debug)]
struct Found {
    schema: Vec<DescribedObject>,
    quota: Option<Quota>,
}

/// Probes a source and writes what it found into its status.
///
/// # Errors
/// A [`kube::Error`] where the API server could not be read or written; what the CRM did is in the returned outcome.
pub async fn probe_source(
    api: Api<CrmSource>,
    spec: &ProbeSpec,
    secrets: &Secrets,
) -> Result<ProbeResult, kube::Error> {
    let source = api.get(&spec.name).await?;
    let found = match tokio::time::timeout(TIME_LIMIT, read_source(&source.spec, &spec.objects, secrets)).await {
        Ok(found) => found,
        Err(_) => Err(SourceError {
            outcome: Outcome::SourceUnavailable,
            message: format!(
                "the CRM did not answer the probe within {} seconds",
                TIME_LIMIT.as_secs()
            ),
            parked_until: None,
        }),
    };
    let mut fields = Vec::new();
    let result = match found {
        Ok(found) => {
            let message = format!("logged in; objects described: {}", found.schema.len());
            fields.push(("schema", json!(found.schema)));
            if let Some(quota) = found.quota {
                fields.push(("budget", json!(budget(quota))));
            }
            result(spec, Outcome::Succeeded, message)
        }
        Err(error) => result(spec, error.outcome, error.message),
    };
    fields.push(("probe", json!(result)));
    write(&api, spec, fields).await?;
    Ok(result)
}

/// Probes a sink and writes what it found into its status.
///
/// # Errors
/// A [`kube::Error`] where the API server could not be read or written; what the CDP did is in the returned outcome.
pub async fn probe_sink(api: Api<CdpSink>, spec: &ProbeSpec, secrets: &Secrets) -> Result<ProbeResult, kube::Error> {
    let sink = api.get(&spec.name).await?;
    let call = async { Sink::connect(&sink.spec, secrets).await?.probe().await };
    let found = match tokio::time::timeout(TIME_LIMIT, call).await {
        Ok(found) => found,
        Err(_) => Err(SinkError {
            outcome: Outcome::SinkUnavailable,
            message: format!(
                "the CDP did not answer the probe within {} seconds",
                TIME_LIMIT.as_secs()
            ),
        }),
    };
    let result = match found {
        Ok(()) => result(
            spec,
            Outcome::Succeeded,
            "the CDP answers; its API does not tell whether the write key is right".into(),
        ),
        Err(error) => result(spec, error.outcome, error.message),
    };
    write(&api, spec, vec![("probe", json!(result))]).await?;
    Ok(result)
}

async fn read_source(spec: &CrmSourceSpec, objects: &[String], secrets: &Secrets) -> Result<Found, SourceError> {
    let source = Source::connect(spec, secrets).await?;
    let mut schema = Vec::with_capacity(objects.len());
    for object in objects {
        schema.push(described(&source.describe(object).await?));
    }
    Ok(Found {
        schema,
        quota: source.quota().await?,
    })
}

fn described(description: &ObjectDescription) -> DescribedObject {
    let count = i32::try_from(description.fields.len()).unwrap_or(i32::MAX);
    DescribedObject {
        object: description.object.clone(),
        fields: count,
        hash: description.hash(),
    }
}

fn budget(quota: Quota) -> Budget {
    let used = if quota.max > 0 {
        quota.used.saturating_mul(100) / quota.max
    } else {
        100
    };
    Budget {
        used: format!("{used}%"),
        remaining: (quota.max - quota.used).max(0),
        max: quota.max,
    }
}

fn result(spec: &ProbeSpec, outcome: Outcome, message: String) -> ProbeResult {
    ProbeResult {
        run: spec.run.clone(),
        observed_generation: spec.generation,
        time: Time(Timestamp::now()),
        outcome,
        message,
    }
}

/// Writes into the status only while it names this probe: a probe that was superseded writes nothing.
async fn write<K>(api: &Api<K>, spec: &ProbeSpec, fields: Vec<(&str, Value)>) -> Result<(), kube::Error>
where
    K: Clone + DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    let mut operations = vec![json!({"op": "test", "path": "/status/activeProbe", "value": spec.run})];
    operations.extend(
        fields
            .into_iter()
            .map(|(path, value)| json!({"op": "add", "path": format!("/status/{path}"), "value": value})),
    );
    let patch =
        serde_json::from_value(Value::Array(operations)).expect("the operations are of the form that RFC 6902 gives");
    api.patch_status(&spec.name, &PatchParams::default(), &Patch::Json::<K>(patch))
        .await?;
    Ok(())
}

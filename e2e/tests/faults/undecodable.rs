//! An object that the API server has stored and the controller can't read stops only itself, and says so on itself.

use std::time::Duration;

use anyhow::{Context, Result};
use ferrygate_e2e::cluster::until::until;
use ferrygate_e2e::control_plane::ControlPlane;
use ferrygate_e2e::control_plane::workers::{Ends, Workers};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::json;

use crate::{PATIENCE, condition, control_plane, controller, events, has_run, pipeline, pipelines, until_status};

const NAMESPACE: &str = "undecodable";
/// A failing watch may pause for half a minute.
const HEALED: Duration = Duration::from_secs(40);

/// The API server takes any spec of a pipeline from now on.
async fn loosen(plane: &ControlPlane) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(plane.client());
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let patch = json!([{"op": "replace", "path": path, "value": anything}]);
    let patch = Patch::Json::<()>(serde_json::from_value(patch)?);
    definitions
        .patch("syncpipelines.ferrygate.io", &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

/// The conditions of an object, whatever else is in it.
async fn conditions(api: &Api<DynamicObject>, name: &str) -> Result<Vec<Condition>> {
    let conditions = api.get(name).await?.data["status"]["conditions"].clone();
    Ok(serde_json::from_value(conditions).unwrap_or_default())
}

#[tokio::test]
async fn a_pipeline_that_cannot_be_read_stops_only_itself_and_is_told_on_itself() -> Result<()> {
    let plane = control_plane(NAMESPACE).await?;
    let _workers = Workers::start(&plane, Ends::All);
    let mut controller = controller(&plane, "controller", &[]).await?;
    plane
        .apply(NAMESPACE, &pipeline("before", json!({"every": "6h"})).to_string())
        .await?;
    loosen(&plane).await?;
    let kind = ApiResource::erase::<ferrygate::api::SyncPipeline>(&());
    let raw: Api<DynamicObject> = Api::namespaced_with(plane.client(), NAMESPACE, &kind);
    let malformed = [
        ("no-list", "/spec/streams", "contacts", "spec.streams"),
        ("no-truth", "/spec/suspend", "perhaps", "spec.suspend"),
        (
            "no-schedule",
            "/spec/streams/0/schedule/every",
            "soon",
            "schedule.every",
        ),
    ];
    for (name, place, wrong, field) in malformed {
        let mut manifest = pipeline(name, json!({"every": "6h"}));
        manifest["spec"]["suspend"] = json!(false);
        *manifest.pointer_mut(place).context("a place")? = json!(wrong);
        // The new schema reaches each object a moment after it was taken.
        until(PATIENCE, "the API server to take anything", async || {
            let object: DynamicObject = serde_json::from_value(manifest.clone())?;
            let apply = PatchParams::apply("ferrygate-e2e");
            Ok(Some(raw.patch(name, &apply, &Patch::Apply(&object)).await?))
        })
        .await
        .with_context(|| format!("{name}: {field}"))?;
    }

    let api = pipelines(&plane, NAMESPACE);
    plane
        .apply(NAMESPACE, &pipeline("after", json!({"every": "6h"})).to_string())
        .await?;
    for name in ["before", "after"] {
        until(PATIENCE, "the sound pipeline's run", async || {
            Ok(api.get(name).await?.status.filter(has_run))
        })
        .await
        .with_context(|| format!("{name}, beside pipelines that can't be read"))?;
    }
    for (name, _, _, field) in malformed {
        let said = until(PATIENCE, "the conditions", async || {
            let said = conditions(&raw, name).await?;
            Ok(condition(&said, "Stalled").is_some().then_some(said))
        });
        let said = said.await.with_context(|| name.to_owned())?;
        let told = |kind: &str| condition(&said, kind).map(|found| (found.status.as_str(), found.reason.as_str()));
        assert_eq!(
            (told("Ready"), told("Stalled")),
            (Some(("False", "Undecodable")), Some(("True", "Undecodable"))),
            "{name}: {said:?}"
        );
        let message = &condition(&said, "Ready").context("Ready")?.message;
        assert!(message.contains(field), "{name}: {field} is not in: {message}");
        let told = until(PATIENCE, "the Event", async || {
            Ok(events(&plane, NAMESPACE, name, "Undecodable").await?.pop())
        });
        assert!(told.await?.contains(field), "{name}");
    }

    // Mended, it goes on by itself.
    plane
        .apply(NAMESPACE, &pipeline("no-list", json!({"every": "6h"})).to_string())
        .await?;
    until_status(&api, "no-list", HEALED, "the mended pipeline's run", has_run).await?;
    assert!(controller.runs()?, "the controller was not restarted");
    Ok(())
}

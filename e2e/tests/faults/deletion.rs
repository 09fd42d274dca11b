//! What is deleted goes away whole, by owner references alone, whether the controller is there or not.

use std::time::{Duration, Instant};

use anyhow::Result;
use ferrygate::api::{CdpSink, CrmSource, MappingVersion, SyncPipeline};
use ferrygate_e2e::cluster::until::until;
use ferrygate_e2e::control_plane::ControlPlane;
use ferrygate_e2e::control_plane::workers::{Ends, Workers};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{PATIENCE, control_plane, controller, pipeline, pipelines, tenant};

const PIPELINES: usize = 500;
/// How many of them are in the middle of a run; the others are suspended.
const RUNNING: usize = 100;
/// How long the namespace may take to go.
const GONE: Duration = Duration::from_secs(60);

async fn names<K>(plane: &ControlPlane, namespace: &str) -> Result<Vec<String>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let listed = Api::<K>::namespaced(plane.client(), namespace)
        .list_metadata(&ListParams::default())
        .await?;
    Ok(listed.items.iter().map(ResourceExt::name_any).collect())
}

/// The finalizers of all objects of a kind.
async fn finalizers<K>(plane: &ControlPlane, namespace: &str) -> Result<Vec<String>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let listed = Api::<K>::namespaced(plane.client(), namespace)
        .list_metadata(&ListParams::default())
        .await?;
    Ok(listed
        .items
        .iter()
        .flat_map(|object| object.finalizers().to_vec())
        .collect())
}

#[tokio::test]
async fn deleting_a_pipeline_in_the_middle_of_a_run_ends_its_job_and_removes_its_state() -> Result<()> {
    let mut plane = control_plane("middle").await?;
    plane.start_managers()?;
    let _workers = Workers::start(&plane, Ends::Probes);
    let _controller = controller(&plane, "controller", &[]).await?;
    plane
        .apply("middle", &pipeline("people", json!({"every": "6h"})).to_string())
        .await?;
    let running = ListParams::default().labels("ferrygate.io/pipeline=people");
    let pods: Api<Pod> = Api::namespaced(plane.client(), "middle");
    until(PATIENCE, "the run's pod", async || {
        Ok(pods.list(&running).await?.items.pop())
    })
    .await?;
    for (kind, held) in [
        ("SyncPipeline", finalizers::<SyncPipeline>(&plane, "middle").await?),
        ("CrmSource", finalizers::<CrmSource>(&plane, "middle").await?),
        ("CdpSink", finalizers::<CdpSink>(&plane, "middle").await?),
        ("MappingVersion", finalizers::<MappingVersion>(&plane, "middle").await?),
        ("Job", finalizers::<Job>(&plane, "middle").await?),
    ] {
        assert_eq!(held, Vec::<String>::new(), "{kind} has a finalizer");
    }

    pipelines(&plane, "middle")
        .delete("people", &DeleteParams::default())
        .await?;
    let jobs: Api<Job> = Api::namespaced(plane.client(), "middle");
    until(PATIENCE, "all that was the pipeline's to go", async || {
        let left = (
            jobs.list(&running).await?.items.len(),
            pods.list(&running).await?.items.len(),
            names::<PersistentVolumeClaim>(&plane, "middle").await?.len(),
        );
        Ok((left == (0, 0, 0)).then_some(()))
    })
    .await
}

/// Makes as many pipelines, and waits until each that is to run does, and each other was seen.
async fn crowd(plane: &ControlPlane, namespace: &str) -> Result<()> {
    tenant(plane, namespace).await?;
    let api = pipelines(plane, namespace);
    stream::iter(0..PIPELINES)
        .map(async |number| {
            let mut manifest = pipeline(&format!("people-{number}"), json!({"every": "6h"}));
            manifest["spec"]["suspend"] = json!(number >= RUNNING);
            api.create(&PostParams::default(), &serde_json::from_value(manifest)?)
                .await?;
            anyhow::Ok(())
        })
        .buffer_unordered(8)
        .try_collect::<()>()
        .await?;
    let labelled = ListParams::default().labels("ferrygate.io/pipeline");
    let pods: Api<Pod> = Api::namespaced(plane.client(), namespace);
    until(3 * PATIENCE, "a pod for each that runs, a status for all", async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let started = pods.list_metadata(&labelled).await?.items.len() >= RUNNING;
        let seen = |one: &SyncPipeline| one.status.as_ref().is_some_and(|status| !status.conditions.is_empty());
        let all = api.list(&ListParams::default()).await?.items;
        Ok((started && all.iter().all(seen)).then_some(()))
    })
    .await
}

async fn goes_away(plane: &ControlPlane, namespace: &str) -> Result<Duration> {
    let namespaces: Api<Namespace> = Api::all(plane.client());
    let started = Instant::now();
    namespaces.delete(namespace, &DeleteParams::default()).await?;
    let gone = until(GONE, "the namespace to go away", async || {
        Ok(namespaces.get_metadata_opt(namespace).await?.is_none().then_some(()))
    });
    if let Err(error) = gone.await {
        let left = [
            names::<SyncPipeline>(plane, namespace).await?.len(),
            names::<Job>(plane, namespace).await?.len(),
            names::<Pod>(plane, namespace).await?.len(),
            names::<PersistentVolumeClaim>(plane, namespace).await?.len(),
        ];
        return Err(error.context(format!("of pipelines, Jobs, pods and claims there are {left:?} left")));
    }
    Ok(started.elapsed())
}

#[tokio::test]
async fn a_namespace_with_500_pipelines_goes_away_in_a_minute_with_the_controller_and_without() -> Result<()> {
    let mut plane = control_plane("crowd").await?;
    plane.start_managers()?;
    let _workers = Workers::start(&plane, Ends::Probes);
    let mut controller = controller(&plane, "controller", &[]).await?;
    let started = Instant::now();
    crowd(&plane, "crowd").await?;
    println!("{PIPELINES} pipelines after {:?}", started.elapsed());
    println!(
        "with the controller: gone after {:?}",
        goes_away(&plane, "crowd").await?
    );
    crowd(&plane, "deserted").await?;
    controller.kill()?;
    println!("without: gone after {:?}", goes_away(&plane, "deserted").await?);
    Ok(())
}

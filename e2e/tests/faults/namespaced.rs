//! Installed for some namespaces, the controller needs no permission beyond them.

use anyhow::Result;
use ferrygate_e2e::control_plane::workers::{Ends, Workers};
use ferrygate_e2e::control_plane::{ControlPlane, chart};
use ferrygate_e2e::operator::NAMESPACE;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use crate::{PATIENCE, controller, has_run, jobs_of, pipeline, pipelines, tenant, until_status};

#[tokio::test]
async fn a_controller_of_two_namespaces_works_by_their_roles_alone() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let (served, other) = (["north", "south"], "elsewhere");
    chart::install(&plane, &served).await?;
    for namespace in served.into_iter().chain([other]) {
        tenant(&plane, namespace).await?;
        plane
            .apply(namespace, &pipeline("people", json!({"every": "6h"})).to_string())
            .await?;
    }
    let bindings = Api::<ClusterRoleBinding>::all(plane.client())
        .list(&ListParams::default())
        .await?;
    let ours = bindings
        .items
        .iter()
        .flat_map(|binding| binding.subjects.iter().flatten());
    let ours: Vec<_> = ours.filter(|subject| subject.name == chart::ACCOUNT).collect();
    assert!(ours.is_empty(), "the chart binds more than Roles: {ours:?}");

    let _workers = Workers::start(&plane, Ends::All);
    let flags = chart::namespace_flags(&plane).await?;
    assert_eq!(flags, ["--namespace=north", "--namespace=south"]);
    let mut words: Vec<&str> = flags.iter().map(String::as_str).collect();
    words.extend(["--lease-namespace", NAMESPACE]);
    let controller = controller(&plane, "controller", &words).await?;
    for namespace in served {
        until_status(
            &pipelines(&plane, namespace),
            "people",
            PATIENCE,
            "the first run",
            has_run,
        )
        .await?;
    }
    assert!(
        jobs_of(&plane, other, "people").await?.is_empty(),
        "a namespace is served that was not named"
    );
    let said = controller.log()?;
    let refused: Vec<_> = said.lines().filter(|line| line.contains("forbidden")).collect();
    assert!(
        refused.is_empty(),
        "the controller asked for what it may not: {refused:#?}"
    );
    Ok(())
}

//! The operator on a real cluster: real Jobs, a CRM and a CDP beside it, and faults that both order.

mod exactly_once;
mod explain;
mod fencing;
mod freshness;
mod health;
mod incremental;
mod manifests;
mod not_starting;
mod refused;
mod wrong_input;

use anyhow::Result;
use ferrygate_e2e::cluster::{Cluster, TEST_NAME};
use ferrygate_e2e::image::{self, BuiltImages};
use ferrygate_e2e::operator;
use ferrygate_e2e::progress::Steps;
use ferrygate_e2e::tenant::Tenant;
use tokio::sync::OnceCell;

static OPERATOR: OnceCell<(Cluster, BuiltImages)> = OnceCell::const_new();

/// The cluster that all tests share, with the operator in it.
async fn operator() -> Result<&'static (Cluster, BuiltImages)> {
    OPERATOR
        .get_or_try_init(async || {
            let steps = Steps::silent();
            let cluster = Cluster::ensure(TEST_NAME, &steps).await?;
            let images = image::build_images(&cluster, &steps).await?;
            operator::install(&cluster, &images, &steps).await?;
            Ok((cluster, images))
        })
        .await
}

/// A namespace of the test's own, with both simulators in it and the workers' ServiceAccount.
async fn tenant(namespace: &str) -> Result<Tenant> {
    let (cluster, images) = operator().await?;
    let tenant = Tenant::create(cluster, images, namespace).await?;
    tenant.apply_base().await?;
    Ok(tenant)
}

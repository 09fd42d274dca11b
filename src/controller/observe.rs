//! What a decision rests on, as the API server tells it now.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use super::jobs::SERVICE_ACCOUNT;

/// The Jobs and the Pods that were made for one resource.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// The Jobs, by name.
    pub jobs: BTreeMap<String, Job>,
    /// Their Pods.
    pub pods: Vec<Pod>,
    /// Whether the workers' ServiceAccount is in the namespace.
    pub has_service_account: bool,
}

impl Made {
    /// What carries a label of the resource's.
    pub async fn observe(client: &Client, namespace: &str, label: &str, value: &str) -> Result<Made, kube::Error> {
        let labelled = ListParams::default().labels(&format!("{label}={value}"));
        let jobs = Api::<Job>::namespaced(client.clone(), namespace)
            .list(&labelled)
            .await?;
        let pods = Api::<Pod>::namespaced(client.clone(), namespace)
            .list(&labelled)
            .await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
        Ok(Made {
            jobs: jobs.items.into_iter().map(|job| (job.name_any(), job)).collect(),
            pods: pods.items,
            has_service_account: accounts.get_opt(SERVICE_ACCOUNT).await?.is_some(),
        })
    }

    /// The Pods of a Job.
    pub fn pods_of(&self, job: &str) -> Vec<&Pod> {
        const JOB_NAME: &str = "batch.kubernetes.io/job-name";
        self.pods
            .iter()
            .filter(|pod| pod.labels().get(JOB_NAME).is_some_and(|name| name == job))
            .collect()
    }
}

/// What to do where the workers' ServiceAccount is missing.
pub fn missing_service_account(namespace: &str) -> String {
    format!(
        "namespace {namespace} has no ServiceAccount {SERVICE_ACCOUNT}; make it with `kubectl apply -n {namespace} -k \
         config/tenant`, or name the namespace in the chart's tenantNamespaces"
    )
}

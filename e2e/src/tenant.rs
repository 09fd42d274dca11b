//! A tenant's namespace: a Salesforce org and a Segment workspace as pods, their credentials as Secrets, and the four kinds.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ferrygate::api::SyncPipeline;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::cluster::Cluster;
use crate::cluster::command::run;
use crate::cluster::until::until;
use crate::image::BuiltImages;
use crate::operator::checkout;
use crate::simulators::keys::RsaKeyPair;

/// The consumer key of the simulated connected app.
pub const CLIENT_ID: &str = "3MVG9ferrygate.simulated.clientid";
/// The write key of the simulated workspace.
pub const WRITE_KEY: &str = "simulated-write-key-9f31";

/// A namespace with both simulators.
pub struct Tenant {
    cluster: Cluster,
    client: Client,
    namespace: String,
}

/// Which simulator.
#[derive(Clone, Copy, Debug)]
pub enum Simulated {
    /// The CRM.
    Salesforce,
    /// The CDP.
    Segment,
}

impl Simulated {
    fn service(self) -> &'static str {
        match self {
            Simulated::Salesforce => "salesforce",
            Simulated::Segment => "segment",
        }
    }
}

impl Tenant {
    /// Makes the namespace and waits until both simulators answer. A namespace of that name that is there already is
    /// removed first.
    ///
    /// # Errors
    /// When the cluster refuses something, or a simulator does not come up.
    pub async fn create(cluster: &Cluster, images: &BuiltImages, namespace: &str) -> Result<Self> {
        let client = cluster.client().await?;
        let tenant = Tenant {
            cluster: cluster.clone(),
            client,
            namespace: namespace.to_owned(),
        };
        tenant.remove().await?;
        let keys = RsaKeyPair::generate().context("no key pair could be made")?;
        tenant.apply_to_cluster(&tenant.namespace_manifest()).await?;
        tenant.apply(&tenant.secrets(&keys)).await?;
        tenant.apply(&simulators(&images.e2e.reference)).await?;
        for simulated in [Simulated::Salesforce, Simulated::Segment] {
            until(Duration::from_secs(120), simulated.service(), async || {
                Ok(tenant.get(simulated, "faults").await.ok())
            })
            .await?;
        }
        Ok(tenant)
    }

    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A client with the administrator's rights.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Removes the namespace and all in it, and waits until it is gone.
    ///
    /// # Errors
    /// When the API server can't be asked, or the namespace stays.
    pub async fn remove(&self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        until(Duration::from_secs(120), "the namespace to go away", async || {
            let Some(there) = namespaces.get_opt(&self.namespace).await? else {
                return Ok(Some(()));
            };
            if there.metadata.deletion_timestamp.is_none() {
                namespaces.delete(&there.name_any(), &DeleteParams::default()).await?;
            }
            Ok(None)
        })
        .await
    }

    /// Applies manifests to the namespace.
    ///
    /// # Errors
    /// With what the API server said, word for word.
    pub async fn apply(&self, manifests: &str) -> Result<()> {
        self.kubectl_with(&["apply", "-n", &self.namespace, "-f", "-"], manifests)
            .await
    }

    /// Applies the samples and the tenant's base, with the simulators in place of the services.
    ///
    /// # Errors
    /// With what kubectl said.
    pub async fn apply_samples(&self) -> Result<()> {
        self.kubectl(&[
            "apply",
            "-n",
            &self.namespace,
            "-k",
            &checkout().join("config/demo").to_string_lossy(),
        ])
        .await?;
        Ok(())
    }

    /// Applies the tenant's base alone: the workers' ServiceAccount.
    ///
    /// # Errors
    /// With what kubectl said.
    pub async fn apply_base(&self) -> Result<()> {
        self.kubectl(&[
            "apply",
            "-n",
            &self.namespace,
            "-k",
            &checkout().join("config/tenant").to_string_lossy(),
        ])
        .await?;
        Ok(())
    }

    /// What kubectl prints.
    ///
    /// # Errors
    /// With what kubectl said.
    pub async fn kubectl(&self, words: &[&str]) -> Result<String> {
        run(self.cluster.kubectl().await?.args(words)).await
    }

    /// What a simulator's control interface answers.
    ///
    /// # Errors
    /// When it answers no JSON.
    pub async fn get(&self, simulated: Simulated, path: &str) -> Result<Value> {
        self.ask(simulated, "GET", path, &Value::Null).await
    }

    /// Tells a simulator something.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn tell(&self, simulated: Simulated, method: &str, path: &str, body: &Value) -> Result<Value> {
        self.ask(simulated, method, path, body).await
    }

    /// The pipeline as it is now.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn pipeline(&self, name: &str) -> Result<SyncPipeline> {
        Ok(Api::<SyncPipeline>::namespaced(self.client.clone(), &self.namespace)
            .get(name)
            .await?)
    }

    /// Waits until the pipeline is as `wanted`, and returns it.
    ///
    /// # Errors
    /// After `patience`, with the status as it was last.
    pub async fn until_pipeline(
        &self,
        name: &str,
        patience: Duration,
        what: &str,
        wanted: impl Fn(&SyncPipeline) -> bool,
    ) -> Result<SyncPipeline> {
        let found = until(patience, what, async || {
            Ok(Some(self.pipeline(name).await?).filter(|now| wanted(now)))
        })
        .await;
        match found {
            Ok(pipeline) => Ok(pipeline),
            Err(error) => {
                let status = self
                    .pipeline(name)
                    .await
                    .map(|pipeline| json!(pipeline.status))
                    .unwrap_or_default();
                Err(error.context(format!("the pipeline's status was {status:#}")))
            }
        }
    }

    /// Through the API server's proxy, which works with every cluster.
    async fn ask(&self, simulated: Simulated, method: &str, path: &str, body: &Value) -> Result<Value> {
        let uri = format!(
            "/api/v1/namespaces/{}/services/{}:8080/proxy/_control/{path}",
            self.namespace,
            simulated.service()
        );
        let body = if body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(body)?
        };
        let request = http::Request::builder()
            .method(method)
            .uri(uri)
            .header("Content-Type", "application/json");
        let text = self.client.request_text(request.body(body)?).await?;
        if text.is_empty() {
            Ok(Value::Null)
        } else {
            Ok(serde_json::from_str(&text)?)
        }
    }

    async fn apply_to_cluster(&self, manifests: &str) -> Result<()> {
        self.kubectl_with(&["apply", "-f", "-"], manifests).await
    }

    async fn kubectl_with(&self, words: &[&str], input: &str) -> Result<()> {
        let mut command = self.cluster.kubectl().await?;
        command
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().context("kubectl has no standard input")?;
        stdin.write_all(input.as_bytes()).await?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    fn namespace_manifest(&self) -> String {
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": self.namespace,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        })
        .to_string()
    }

    fn secrets(&self, keys: &RsaKeyPair) -> String {
        list(vec![
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sales-cloud"},
                "stringData": {"clientId": CLIENT_ID, "privateKey": keys.private_pem},
            }),
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "segment-eu"},
                "stringData": {"writeKey": WRITE_KEY},
            }),
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "connected-app"},
                "data": {"certificate.pem": keys.public_pem},
            }),
        ])
    }
}

fn list(items: Vec<Value>) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn simulators(image: &str) -> String {
    let salesforce = [
        "simulator",
        "salesforce",
        "--client-id",
        CLIENT_ID,
        "--public-key",
        "/app/certificate.pem",
    ];
    let segment = ["simulator", "segment", "--write-key", WRITE_KEY];
    let certificate = json!([{"name": "app", "configMap": {"name": "connected-app"}}]);
    list(vec![
        pod(
            "salesforce",
            image,
            &salesforce,
            &certificate,
            &json!([{"name": "app", "mountPath": "/app"}]),
        ),
        service("salesforce"),
        pod("segment", image, &segment, &json!([]), &json!([])),
        service("segment"),
    ])
}

fn pod(name: &str, image: &str, words: &[&str], volumes: &Value, mounts: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumes": volumes,
            "containers": [{
                "name": name,
                "image": image,
                "imagePullPolicy": "Never",
                "args": words,
                "ports": [{"containerPort": 8080}],
                "volumeMounts": mounts,
                "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    })
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 8080}]},
    })
}

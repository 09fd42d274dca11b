//! The local cluster is what pods expect of any: these are the promises that the other end-to-end tests build on.
//!
//! All tests share one cluster, which `ferrygate-e2e cluster down --name ferrygate-test` removes, and each has a namespace.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ferrygate_e2e::{
    cluster::{Cluster, TEST_NAME, command, until::until},
    image::{self, BuiltImages},
    progress::Steps,
};
use k8s_openapi::{
    Metadata, NamespaceResourceScope,
    api::{
        batch::v1::Job,
        core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    serde::{Serialize, de::DeserializeOwned},
};
use kube::{
    Api, Client, Resource,
    api::{AttachParams, DeleteParams, ListParams, LogParams, PostParams},
};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

const PATIENCE: Duration = Duration::from_secs(90);

/// A namespace of a test's own, in which Pod Security admits restricted pods only.
struct Scene {
    cluster: Cluster,
    client: Client,
    namespace: String,
    image: String,
}

impl Scene {
    async fn new(purpose: &str) -> Result<Self> {
        let steps = Steps::new();
        let cluster = Cluster::ensure(TEST_NAME, &steps).await?;
        let BuiltImages { e2e, .. } = image::build_images(&cluster, &steps).await?;
        let client = cluster.client().await?;
        let namespaces = Api::<Namespace>::all(client.clone());
        let namespace = serde_json::from_value(json!({
            "metadata": {
                "generateName": format!("{purpose}-"),
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        }))?;
        let namespace = namespaces.create(&PostParams::default(), &namespace).await?;
        let namespace = namespace.metadata.name.context("a namespace without a name")?;
        Ok(Self {
            cluster,
            client,
            namespace,
            image: e2e.reference,
        })
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Metadata<Ty = ObjectMeta>,
        <K as Resource>::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn create<K>(&self, object: Value) -> Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Metadata<Ty = ObjectMeta>,
        K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
        <K as Resource>::DynamicType: Default,
    {
        Ok(self
            .api::<K>()
            .create(&PostParams::default(), &serde_json::from_value(object)?)
            .await?)
    }

    /// A pod's spec that Pod Security admits, and whose one container does `what`.
    fn pod_spec(&self, what: &[&str]) -> Value {
        let arguments = [&["pod"], what].concat();
        json!({
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "main",
                "image": self.image,
                "imagePullPolicy": "Never",
                "args": arguments,
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        })
    }

    async fn create_pod(&self, name: &str, spec: Value) -> Result<()> {
        self.create::<Pod>(json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": spec}))
            .await
            .map(|_| ())
    }

    /// What a pod printed, once it has ended well.
    async fn printed(&self, pod: &str) -> Result<String> {
        let pods = self.api::<Pod>();
        let phase = until(PATIENCE, "the pod to end", async || {
            let status = pods.get(pod).await?.status.unwrap_or_default();
            Ok(status.phase.filter(|phase| phase == "Succeeded" || phase == "Failed"))
        });
        let phase = phase.await?;
        let printed = pods.logs(pod, &LogParams::default()).await?;
        ensure!(phase == "Succeeded", "{pod} {phase}: {printed}");
        Ok(printed.trim().to_owned())
    }

    async fn running(&self, pod: &str) -> Result<Pod> {
        let pods = self.api::<Pod>();
        until(PATIENCE, "the pod to run", async || {
            let pod = pods.get(pod).await?;
            let running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
            Ok(running.then_some(pod))
        })
        .await
    }

    async fn leave(self) -> Result<()> {
        Api::<Namespace>::all(self.client)
            .delete(&self.namespace, &DeleteParams::background())
            .await?;
        Ok(())
    }
}

fn job(spec: Value, policy: Value) -> Value {
    json!({
        "metadata": {"name": "job"},
        "spec": {"backoffLimit": 3, "podFailurePolicy": {"rules": policy}, "template": {"spec": spec}},
    })
}

async fn ended(scene: &Scene) -> Result<(String, String)> {
    let jobs = scene.api::<Job>();
    until(PATIENCE, "the Job to end", async || {
        let conditions = jobs
            .get("job")
            .await?
            .status
            .and_then(|status| status.conditions)
            .unwrap_or_default();
        let end = conditions
            .into_iter()
            .find(|each| each.type_ == "Complete" || each.type_ == "Failed");
        Ok(end.map(|end| (end.type_, end.reason.unwrap_or_default())))
    })
    .await
}

#[tokio::test]
async fn a_cluster_that_is_up_is_found_and_not_made_again() -> Result<()> {
    let first = Cluster::ensure(TEST_NAME, &Steps::new()).await?;
    let second = Cluster::ensure(TEST_NAME, &Steps::new()).await?;
    assert_eq!(
        first.local().map(|local| local.node().pid),
        second.local().map(|local| local.node().pid)
    );
    assert_eq!(first.kubeconfig(), second.kubeconfig());
    Ok(())
}

#[tokio::test]
async fn a_restricted_job_reads_its_secret_from_a_file() -> Result<()> {
    let scene = Scene::new("secret").await?;
    scene
        .create::<Secret>(json!({"metadata": {"name": "crm"}, "stringData": {"token": "open sesame"}}))
        .await?;
    let mut spec = scene.pod_spec(&["read", "/secrets/token"]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "crm", "mountPath": "/secrets", "readOnly": true}]);
    spec["volumes"] = json!([{"name": "crm", "secret": {"secretName": "crm"}}]);
    scene.create::<Job>(job(spec, json!([]))).await?;
    assert_eq!(ended(&scene).await?.0, "Complete");
    let pods = scene
        .api::<Pod>()
        .list(&ListParams::default().labels("job-name=job"))
        .await?;
    let pod = pods
        .items
        .first()
        .and_then(|pod| pod.metadata.name.clone())
        .context("the Job has no pod")?;
    assert_eq!(scene.printed(&pod).await?, "open sesame");
    scene.leave().await
}

#[tokio::test]
async fn a_jobs_failure_policy_sees_the_exit_code() -> Result<()> {
    let scene = Scene::new("policy").await?;
    let fail_at_once = json!([{
        "action": "FailJob",
        "onExitCodes": {"containerName": "main", "operator": "In", "values": [64]},
    }]);
    scene
        .create::<Job>(job(scene.pod_spec(&["exit", "64"]), fail_at_once))
        .await?;
    assert_eq!(ended(&scene).await?, ("Failed".into(), "PodFailurePolicy".into()));
    let pods = scene
        .api::<Pod>()
        .list(&ListParams::default().labels("job-name=job"))
        .await?;
    assert_eq!(pods.items.len(), 1, "it was not tried again");
    scene.leave().await
}

#[tokio::test]
async fn a_pod_that_is_not_restricted_is_refused() -> Result<()> {
    let scene = Scene::new("refused").await?;
    let mut spec = scene.pod_spec(&["exit", "0"]);
    spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
    let Err(error) = scene.create_pod("bold", spec).await else {
        bail!("Pod Security let it pass")
    };
    assert!(error.to_string().contains("violates PodSecurity"), "{error}");
    scene.leave().await
}

#[tokio::test]
async fn pods_find_services_by_name() -> Result<()> {
    let scene = Scene::new("names").await?;
    let service: Service = scene
        .create(json!({"metadata": {"name": "crm"}, "spec": {"selector": {"app": "crm"}, "ports": [{"port": 80}]}}))
        .await?;
    let address = service
        .spec
        .and_then(|spec| spec.cluster_ip)
        .context("a Service without an address")?;
    let whole = format!("crm.{}.svc.cluster.local", scene.namespace);
    scene.create_pod("short", scene.pod_spec(&["resolve", "crm"])).await?;
    scene.create_pod("whole", scene.pod_spec(&["resolve", &whole])).await?;
    scene
        .create_pod("nobody", scene.pod_spec(&["resolve", "nobody.example.com"]))
        .await?;
    assert_eq!(scene.printed("short").await?, address);
    assert_eq!(scene.printed("whole").await?, address);
    let error = scene.printed("nobody").await.unwrap_err().to_string();
    assert!(error.contains("Name or service not known"), "{error}");
    scene.leave().await
}

#[tokio::test]
async fn a_claim_gets_a_volume_that_outlives_its_pods_and_goes_with_it() -> Result<()> {
    let scene = Scene::new("volume").await?;
    scene
        .create::<PersistentVolumeClaim>(json!({
            "metadata": {"name": "state"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }))
        .await?;
    let claims = scene.api::<PersistentVolumeClaim>();
    let with_state = |what: &[&str]| {
        let mut spec = scene.pod_spec(what);
        spec["containers"][0]["volumeMounts"] = json!([{"name": "state", "mountPath": "/state"}]);
        spec["volumes"] = json!([{"name": "state", "persistentVolumeClaim": {"claimName": "state"}}]);
        spec
    };
    scene
        .create_pod("writer", with_state(&["write", "/state/mark", "17"]))
        .await?;
    scene.printed("writer").await?;
    scene.create_pod("reader", with_state(&["read", "/state/mark"])).await?;
    assert_eq!(scene.printed("reader").await?, "17");

    let volume = claims
        .get("state")
        .await?
        .spec
        .and_then(|spec| spec.volume_name)
        .context("the claim is not bound")?;
    for pod in ["writer", "reader"] {
        scene
            .api::<Pod>()
            .delete(pod, &DeleteParams::default().grace_period(0))
            .await?;
    }
    claims.delete("state", &DeleteParams::default()).await?;
    let volumes = Api::<PersistentVolume>::all(scene.client.clone());
    until(PATIENCE, "the volume to go", async || {
        Ok(volumes.get_opt(&volume).await?.is_none().then_some(()))
    })
    .await?;
    if let Some(local) = scene.cluster.local() {
        assert!(!local.folder().node_home().join("volumes").join(&volume).exists());
    }
    scene.leave().await
}

#[tokio::test]
async fn a_pods_token_says_which_pod_it_is_of() -> Result<()> {
    let scene = Scene::new("token").await?;
    scene.create_pod("who", scene.pod_spec(&["whoami"])).await?;
    let review: Value = serde_json::from_str(&scene.printed("who").await?)?;
    assert_eq!(
        review["userInfo"]["username"],
        format!("system:serviceaccount:{}:default", scene.namespace)
    );
    assert_eq!(
        review["userInfo"]["extra"]["authentication.kubernetes.io/pod-name"],
        json!(["who"])
    );
    scene.leave().await
}

#[tokio::test]
async fn a_container_can_be_entered_and_its_pod_reached() -> Result<()> {
    let scene = Scene::new("enter").await?;
    scene.create_pod("waits", scene.pod_spec(&["wait"])).await?;
    let pod = scene.running("waits").await?;
    let what = ["/ferrygate-e2e", "pod", "resolve", "kubernetes.default.svc"];
    let mut inside = scene.api::<Pod>().exec("waits", what, &AttachParams::default()).await?;
    let mut printed = String::new();
    inside
        .stdout()
        .context("no output")?
        .read_to_string(&mut printed)
        .await?;
    inside.join().await?;
    if let Some(local) = scene.cluster.local() {
        assert_eq!(printed.trim(), local.network().api_service().to_string());
        let address = pod
            .status
            .and_then(|status| status.pod_ip)
            .context("a pod without an address")?;
        // Nothing listens there: an answer at once, and not silence, shows that this machine reaches the pod.
        let refused = tokio::net::TcpStream::connect((address.as_str(), 9)).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let api = (local.network().api_service(), 443);
        tokio::net::TcpStream::connect(api)
            .await
            .context("this machine does not reach Services")?;
    }
    scene.leave().await
}

#[tokio::test]
async fn the_tools_that_are_built_speak_to_the_cluster() -> Result<()> {
    let cluster = Cluster::ensure(TEST_NAME, &Steps::new()).await?;
    let nodes = command::run(cluster.kubectl().await?.args(["get", "nodes", "--output=name"])).await?;
    assert!(nodes.starts_with("node/"), "{nodes}");
    command::run(cluster.helm().await?.args(["list", "--all-namespaces"])).await?;
    Ok(())
}

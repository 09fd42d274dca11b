//! A cluster on this machine: brought up, found again, taken down.

use std::{fs, fs::File, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use http::Request;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};

use super::{
    addons,
    binaries::Binaries,
    certificates, cgroups,
    command::{sh, tail},
    components::{self, Definition, Host},
    config, images,
    network::Network,
    node::{self, Record},
    paths::{ClusterFolder, cache},
    prerequisites::{self, Consent},
    until::until,
};
use crate::progress::Steps;

/// How long a start may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);

/// A local cluster that is up.
#[derive(Clone, Debug)]
pub struct Local {
    name: String,
    folder: ClusterFolder,
    binaries: Binaries,
    record: Record,
    snapshotter: &'static str,
}

impl Local {
    /// The cluster `name`, up and ready. One that runs and answers is kept; one that died, hangs, or was started from
    /// other words than today's is replaced by a new and empty one.
    ///
    /// # Errors
    /// When this machine can't have one, or it does not come up.
    pub async fn ensure(name: &str, consent: Consent, steps: &Steps) -> Result<Self> {
        prerequisites::ensure(consent, steps).await?;
        prerequisites::ensure_image_builder(consent, steps).await?;
        let binaries = Binaries::ensure(steps).await?;
        let _alone = lock(name).await?;
        let pause = images::pause(&binaries, steps).await?;
        let folder = ClusterFolder::of(name)?;
        fs::create_dir_all(cache()?.join("clusters"))?;
        let snapshotter = snapshotter(&cache()?).await?;
        if let Some(record) = Record::read(&folder) {
            let found = Self {
                name: name.into(),
                folder: folder.clone(),
                binaries: binaries.clone(),
                record,
                snapshotter,
            };
            match found.ailment().await {
                None => return Ok(found),
                Some(ailment) => steps.note(&format!("the cluster {name} {ailment}: it is made anew")),
            }
        }
        remove(&folder).await?;
        let started = Self::start(name, folder.clone(), binaries, &pause, snapshotter, steps).await;
        if started.is_err() {
            // The logs stay, for whoever wants to know why.
            if let Some(record) = Record::read(&folder) {
                record.kill().await?;
            }
        }
        started
    }

    /// Ends the cluster `name` and removes everything that it made.
    ///
    /// # Errors
    /// When something can't be removed.
    pub async fn take_down(name: &str, steps: &Steps) -> Result<()> {
        let _alone = lock(name).await?;
        let folder = ClusterFolder::of(name)?;
        if !folder.path().exists() && !cgroups::exist(&folder.tag()) {
            steps.note(&format!("there is no cluster {name}"));
            return Ok(());
        }
        steps
            .step(&format!("Taking the cluster {name} down"), remove(&folder))
            .await
    }

    /// The names of the clusters that have a folder.
    ///
    /// # Errors
    /// When there is no cache folder to look in.
    pub fn names() -> Result<Vec<String>> {
        let Ok(entries) = fs::read_dir(cache()?.join("clusters")) else {
            return Ok(vec![]);
        };
        Ok(entries
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect())
    }

    /// The cluster `name` as it is found, in words; [`ensure`](Self::ensure) would change it.
    ///
    /// # Errors
    /// When there is no cache folder to look in.
    pub async fn status(name: &str) -> Result<String> {
        let folder = ClusterFolder::of(name)?;
        let Some(record) = Record::read(&folder) else {
            return Ok(format!("{name}: not there"));
        };
        if !record.is_alive() {
            return Ok(format!(
                "{name}: has died; `cluster up` makes it anew, `cluster down` removes it"
            ));
        }
        let ready = is_ready(&folder).await.unwrap_or(false);
        Ok(format!(
            "{name}: {}\n  API server  https://{}:6443\n  kubeconfig  {}\n  pods        {}\n  services    {}\n  \
             interface   {}\n  process     {}\n  logs        {}",
            if ready { "ready" } else { "runs, but is not ready" },
            record.network.node(),
            folder.kubeconfig().display(),
            record.network.pods(),
            record.network.services(),
            record.network.interface,
            record.pid,
            folder.logs().display(),
        ))
    }

    /// Its files.
    pub fn folder(&self) -> &ClusterFolder {
        &self.folder
    }

    /// The programs it was made of, and `kubectl` and `helm`.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Its node.
    pub fn node(&self) -> &Record {
        &self.record
    }

    /// Its addresses: this machine reaches pods and Services by them.
    pub fn network(&self) -> &Network {
        &self.record.network
    }

    /// How containerd keeps its layers.
    pub fn snapshotter(&self) -> &'static str {
        self.snapshotter
    }

    async fn start(
        name: &str,
        folder: ClusterFolder,
        binaries: Binaries,
        pause: &Path,
        snapshotter: &'static str,
        steps: &Steps,
    ) -> Result<Self> {
        let network = Network::choose(&folder.tag()).await?;
        let definition = define(name, &folder, &binaries, &network, snapshotter)?;
        fs::create_dir_all(folder.path())?;
        certificates::write(name, &network, &folder.node_home(), &folder.kubeconfig())?;
        let half = steps
            .step("Starting the node and its API server", async {
                let half = node::start(name, &folder, &definition, &network, &binaries).await?;
                let api = until(PATIENCE, "the API server to be ready", async || answers(&folder).await);
                with_log(&folder, "kube-apiserver", api.await)?;
                Ok(half)
            })
            .await?;
        steps
            .step("Starting the controllers, the kubelet and DNS", async {
                let record = half.go_on().await?;
                let local = Self {
                    name: name.into(),
                    folder,
                    binaries,
                    record,
                    snapshotter,
                };
                let client = client(&local.folder).await?;
                addons::apply(&client, &local.record.network).await?;
                images::import(&local, pause, components::PAUSE_IMAGE).await?;
                let ready = until(PATIENCE, "the node to be ready", async || {
                    Ok(is_ready(&local.folder).await?.then_some(()))
                });
                with_log(&local.folder, "kubelet", ready.await)?;
                Ok(local)
            })
            .await
    }

    /// What is wrong with a cluster that was found; nothing if it can be used.
    async fn ailment(&self) -> Option<&'static str> {
        if !self.record.is_alive() {
            return Some("has died");
        }
        let today = define(
            &self.name,
            &self.folder,
            &self.binaries,
            &self.record.network,
            self.snapshotter,
        )
        .ok()?;
        if today.digest() != self.record.digest {
            return Some("was made by another version");
        }
        let outcome = until(PATIENCE, "readiness", async || {
            if !self.record.is_alive() {
                return Ok(Some("has died"));
            }
            Ok(is_ready(&self.folder).await?.then_some(""))
        });
        Some(outcome.await.unwrap_or("does not answer")).filter(|ailment| !ailment.is_empty())
    }
}

fn define(
    name: &str,
    folder: &ClusterFolder,
    binaries: &Binaries,
    network: &Network,
    snapshotter: &'static str,
) -> Result<Definition> {
    let host = Host {
        built: binaries
            .folder()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        cgroup: cgroups::root_of(&folder.tag()),
        cni_folder: prerequisites::cni_folder()?,
        snapshotter,
    };
    Ok(components::define(name, &host, network))
}

/// Ends and removes whatever there is of a cluster, whole or half.
async fn remove(folder: &ClusterFolder) -> Result<()> {
    if let Some(record) = Record::read(folder) {
        record.kill().await?;
        record.network.disconnect().await?;
    }
    until(
        Duration::from_secs(20),
        "the node's control groups to be empty",
        async || cgroups::remove(&folder.tag()).map(Some),
    )
    .await?;
    if folder.path().exists() {
        fs::remove_dir_all(folder.path()).with_context(|| format!("could not remove {}", folder.path().display()))?;
    }
    Ok(())
}

async fn client(folder: &ClusterFolder) -> Result<Client> {
    let mut config = config(&folder.kubeconfig()).await?;
    config.proxy_url = None;
    Ok(Client::try_from(config)?)
}

async fn answers(folder: &ClusterFolder) -> Result<Option<()>> {
    let answer = client(folder)
        .await?
        .request_text(Request::get("/readyz").body(vec![])?)
        .await?;
    Ok((answer == "ok").then_some(()))
}

/// Whether pods would run: the API server is ready, and so is the node, which nothing keeps pods away from.
async fn is_ready(folder: &ClusterFolder) -> Result<bool> {
    if answers(folder).await?.is_none() {
        return Ok(false);
    }
    let nodes = Api::<Node>::all(client(folder).await?)
        .list(&Default::default())
        .await?;
    Ok(nodes.items.iter().any(|node| {
        let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
        let ready = conditions.is_some_and(|conditions| {
            conditions
                .iter()
                .any(|each| each.type_ == "Ready" && each.status == "True")
        });
        let tainted = node
            .spec
            .as_ref()
            .and_then(|spec| spec.taints.as_ref())
            .is_some_and(|taints| !taints.is_empty());
        ready && !tainted
    }))
}

/// Adds the end of a program's log to an error that it may explain.
fn with_log<T>(folder: &ClusterFolder, program: &str, outcome: Result<T>) -> Result<T> {
    outcome.with_context(|| {
        let log = folder.logs().join(format!("{program}.log"));
        let said = fs::read_to_string(&log).unwrap_or_default();
        format!("{} ends with:\n{}", log.display(), tail(&said, 8))
    })
}

/// Of those who would start, replace or end the cluster `name`, one at a time.
async fn lock(name: &str) -> Result<File> {
    let folder = cache()?.join("locks");
    fs::create_dir_all(&folder)?;
    let file = File::create(folder.join(name))?;
    Ok(tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await??)
}

/// `overlayfs`, or `native` where the cache is on an overlay already, as in a container.
async fn snapshotter(folder: &Path) -> Result<&'static str> {
    let kind = sh(["stat", "--file-system", "--format=%T", &folder.to_string_lossy()]).await?;
    match kind.trim() {
        "" => bail!("the file system of {} has no type", folder.display()),
        "overlayfs" | "ecryptfs" | "nfs" | "zfs" => Ok("native"),
        _ => Ok("overlayfs"),
    }
}

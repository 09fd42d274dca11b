//! A real Kubernetes cluster, on this machine from packages alone, or one that is there already.
//!
//! [`Cluster`] is the door. Behind it, in the order in which a local cluster comes up:
//!
//! 1. [`prerequisites`] sees to Debian's packages, [`binaries`] builds the rest and keeps it;
//! 2. [`network`] chooses addresses, [`certificates`] makes keys, [`components`] says what is to run and how, [`cgroups`]
//!    makes room for it;
//! 3. [`node`] starts a process in namespaces of its own, where [`init`] runs those programs, [`storage`] among them;
//! 4. [`images`] brings in container images, [`addons`] what pods expect of any cluster.
//!
//! [`local`] joins these; [`external`] is for clusters that others made.

pub mod addons;
pub mod binaries;
pub mod certificates;
pub mod cgroups;
pub mod cli;
pub mod command;
pub mod components;
pub mod external;
pub mod images;
pub mod init;
pub mod local;
pub mod network;
pub mod node;
pub mod paths;
pub mod pod;
pub mod prerequisites;
pub mod storage;
pub mod until;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kube::{
    Client, Config,
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use tokio::process::Command;

use self::{binaries::Binaries, command::find, local::Local, prerequisites::Consent};
use crate::progress::Steps;

/// The cluster that a person's commands mean when they name none.
pub const DEFAULT_NAME: &str = "ferrygate";

/// The cluster that the tests share.
pub const TEST_NAME: &str = "ferrygate-test";

/// The cluster of `make bench-operator`.
pub const BENCH_NAME: &str = "ferrygate-bench";

/// A cluster that is up.
#[derive(Clone, Debug)]
pub struct Cluster {
    name: String,
    provider: Provider,
    kubeconfig: PathBuf,
}

#[derive(Clone, Debug)]
enum Provider {
    Local(Box<Local>),
    Kind,
    Current,
}

/// Which provider the environment asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Any,
    Local,
    Kind,
    Current,
}

impl Wish {
    fn from_environment() -> Result<Self> {
        match std::env::var("CLUSTER").unwrap_or_default().as_str() {
            "" => Ok(Self::Any),
            "local" => Ok(Self::Local),
            "kind" => Ok(Self::Kind),
            "current" => Ok(Self::Current),
            other => bail!("CLUSTER is `{other}`: it can be local, kind or current"),
        }
    }

    /// A wish for any cluster, made one for the best that can be had here.
    fn decided(self, obstacle: Option<&str>, has_kind: bool) -> Result<Self> {
        match (self, obstacle) {
            (Self::Any, None) => Ok(Self::Local),
            (Self::Any, Some(_)) if has_kind => Ok(Self::Kind),
            (Self::Any | Self::Local, Some(obstacle)) => bail!("{obstacle}"),
            (wish, _) => Ok(wish),
        }
    }
}

impl Cluster {
    /// The cluster `name`, up and ready: the running one if it is well, or else a new one.
    ///
    /// `CLUSTER` in the environment says which: `local` (made here, the default), `kind` (made by kind, under the same
    /// name), or `current` (the one of the current kubeconfig).
    ///
    /// # Errors
    /// When no such cluster can be had, in words that say what to do.
    pub async fn ensure(name: &str, steps: &Steps) -> Result<Self> {
        let consent = if std::env::var_os("CI").is_some() {
            Consent::Given
        } else {
            Consent::Ask
        };
        Self::ensure_with(name, consent, steps).await
    }

    /// [`ensure`](Self::ensure), with a person's consent to install packages, or without.
    ///
    /// # Errors
    /// As `ensure`.
    pub async fn ensure_with(name: &str, consent: Consent, steps: &Steps) -> Result<Self> {
        check_name(name)?;
        let obstacle = prerequisites::obstacle();
        let wish = Wish::from_environment()?.decided(obstacle.as_deref(), find("kind").is_some())?;
        let (provider, kubeconfig) = match wish {
            Wish::Kind => (Provider::Kind, external::ensure_kind(name, steps).await?),
            Wish::Current => (Provider::Current, external::current()?),
            Wish::Any | Wish::Local => {
                let local = Local::ensure(name, consent, steps).await?;
                let kubeconfig = local.folder().kubeconfig();
                (Provider::Local(Box::new(local)), kubeconfig)
            }
        };
        Ok(Self {
            name: name.into(),
            provider,
            kubeconfig,
        })
    }

    /// Takes the cluster `name` down, if it is up: processes, mounts, network, control groups, files. A cluster that
    /// others made, by `CLUSTER=current`, is left alone.
    ///
    /// # Errors
    /// When something can't be removed.
    pub async fn take_down(name: &str, steps: &Steps) -> Result<()> {
        check_name(name)?;
        match Wish::from_environment()? {
            Wish::Current => Ok(()),
            Wish::Kind => external::delete_kind(name, steps).await,
            Wish::Local => Local::take_down(name, steps).await,
            Wish::Any => {
                if cfg!(target_os = "linux") {
                    Local::take_down(name, steps).await?;
                }
                if find("kind").is_some() {
                    external::delete_kind(name, steps).await
                } else {
                    Ok(())
                }
            }
        }
    }

    /// [`take_down`](Self::take_down) for this one.
    ///
    /// # Errors
    /// As `take_down`.
    pub async fn down(self, steps: &Steps) -> Result<()> {
        match self.provider {
            Provider::Current => Ok(()),
            Provider::Kind => external::delete_kind(&self.name, steps).await,
            Provider::Local(_) => Local::take_down(&self.name, steps).await,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `kubectl`, or any other client, needs to reach it as its administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The local cluster that this is, if it is one: for what only a local one has, as pods' addresses that this machine
    /// can reach.
    pub fn local(&self) -> Option<&Local> {
        match &self.provider {
            Provider::Local(local) => Some(local),
            _ => None,
        }
    }

    /// A new client, with the administrator's rights. It belongs to the runtime it is first used in.
    ///
    /// # Errors
    /// When the kubeconfig can't be read.
    pub async fn client(&self) -> Result<Client> {
        Ok(Client::try_from(self.config().await?)?)
    }

    /// A new client with the rights of a ServiceAccount's token alone.
    ///
    /// # Errors
    /// When the kubeconfig can't be read.
    pub async fn client_by_token(&self, token: &str) -> Result<Client> {
        let mut config = self.config().await?;
        config.auth_info = AuthInfo {
            token: Some(token.to_owned().into()),
            ..AuthInfo::default()
        };
        Ok(Client::try_from(config)?)
    }

    async fn config(&self) -> Result<Config> {
        let mut config = config(&self.kubeconfig).await?;
        if self.local().is_some() {
            config.proxy_url = None;
        }
        Ok(config)
    }

    /// Makes a container image known to the cluster, from an archive as `docker save` writes it.
    ///
    /// # Errors
    /// When the cluster does not take it; one that others made can't be given images at all, unless kind or minikube did.
    pub async fn load_image(&self, archive: &Path, reference: &str) -> Result<()> {
        match &self.provider {
            Provider::Local(local) => images::import(local, archive, reference).await,
            Provider::Kind => external::load_into_kind(&self.name, archive).await,
            Provider::Current => external::load_into_current(&self.kubeconfig, archive, reference).await,
        }
    }

    /// `kubectl`, told which cluster: the one on the PATH for clusters that others made, or one that is built.
    ///
    /// # Errors
    /// When it is nowhere and can't be built.
    pub async fn kubectl(&self) -> Result<Command> {
        self.tool("kubectl").await
    }

    /// `helm`, told which cluster.
    ///
    /// # Errors
    /// When it is nowhere and can't be built.
    pub async fn helm(&self) -> Result<Command> {
        self.tool("helm").await
    }

    async fn tool(&self, name: &str) -> Result<Command> {
        let program = match (&self.provider, find(name)) {
            (Provider::Local(local), _) => local.binaries().path(name),
            (_, Some(program)) => program,
            (_, None) => Binaries::ensure(&Steps::new()).await?.path(name),
        };
        let mut command = Command::new(program);
        command.env("KUBECONFIG", &self.kubeconfig);
        if self.local().is_some() {
            for proxy in [
                "HTTP_PROXY",
                "HTTPS_PROXY",
                "ALL_PROXY",
                "http_proxy",
                "https_proxy",
                "all_proxy",
            ] {
                command.env_remove(proxy);
            }
        }
        Ok(command)
    }
}

pub(crate) async fn config(kubeconfig: &Path) -> Result<Config> {
    let read = Kubeconfig::read_from(kubeconfig).with_context(|| format!("no cluster in {}", kubeconfig.display()))?;
    Ok(Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?)
}

/// A cluster's name is a host name, a folder and a control group.
fn check_name(name: &str) -> Result<()> {
    let fits = !name.is_empty()
        && name.len() <= 40
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .chars()
            .all(|each| each.is_ascii_lowercase() || each.is_ascii_digit() || each == '-')
        && !name.ends_with('-');
    if !fits {
        bail!("`{name}` can't be a cluster's name: use up to 40 lower-case letters, digits and dashes");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_cluster_is_chosen_that_can_be_had() {
        let no_root = Some("needs root");
        assert_eq!(Wish::Any.decided(None, true).unwrap(), Wish::Local);
        assert_eq!(Wish::Any.decided(no_root, true).unwrap(), Wish::Kind);
        assert_eq!(Wish::Any.decided(no_root, false).unwrap_err().to_string(), "needs root");
        assert_eq!(
            Wish::Local.decided(no_root, true).unwrap_err().to_string(),
            "needs root"
        );
        assert_eq!(Wish::Current.decided(no_root, true).unwrap(), Wish::Current);
        assert_eq!(Wish::Kind.decided(None, true).unwrap(), Wish::Kind);
    }

    #[test]
    fn a_name_that_is_no_host_name_is_refused() {
        for name in ["ferrygate", "ferrygate-test", "a1"] {
            check_name(name).unwrap();
        }
        for name in ["", "../x", "Upper", "1st", "ends-", "under_score"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}

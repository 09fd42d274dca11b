//! `ferrygate-e2e cluster …`.

use std::{fs, process::exit};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use tokio::runtime::Runtime;

use super::{
    Cluster, DEFAULT_NAME, external, init,
    local::Local,
    paths::{NODE_HOME, cache},
    prerequisites::Consent,
    storage,
};
use crate::{
    image,
    progress::{Steps, seconds},
};

/// What to do with a cluster.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Brings a cluster up, or finds the one that is.
    Up {
        #[command(flatten)]
        name: Name,
        /// Installs what is missing without asking.
        #[arg(long, short)]
        yes: bool,
    },
    /// Takes a cluster down, and removes everything that it made.
    Down {
        #[command(flatten)]
        name: Name,
        /// Takes all clusters down, and removes the programs and images that were built for them.
        #[arg(long)]
        purge: bool,
    },
    /// Tells how the clusters of this machine are.
    Status,
    /// Runs kubectl against a cluster.
    Kubectl(Tool),
    /// Runs Helm against a cluster.
    Helm(Tool),
    /// Builds the images and makes them known to a cluster.
    Image {
        #[command(flatten)]
        name: Name,
    },
    /// The first process of a node.
    #[command(hide = true)]
    Node {
        /// The cluster.
        name: String,
    },
    /// The node's provisioner of volumes.
    #[command(hide = true)]
    Storage,
}

/// Which cluster.
#[derive(Debug, Args)]
pub struct Name {
    /// The cluster's name.
    #[arg(long, default_value = DEFAULT_NAME)]
    name: String,
}

/// A tool's own words.
#[derive(Debug, Args)]
pub struct Tool {
    #[command(flatten)]
    name: Name,
    /// What the tool is told.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl ClusterCommand {
    /// Does it.
    ///
    /// # Errors
    /// When it can't be done, in words that say what to do.
    pub fn run(self) -> Result<()> {
        match self {
            // It waits for its children itself, which a runtime would want to do as well.
            Self::Node { name } => init::run(&name),
            other => Runtime::new()?.block_on(other.run_within()),
        }
    }

    async fn run_within(self) -> Result<()> {
        let steps = Steps::new();
        let started = std::time::Instant::now();
        match self {
            Self::Up { name, yes } => {
                let consent = if yes { Consent::Given } else { Consent::Ask };
                let cluster = Cluster::ensure_with(&name.name, consent, &steps).await?;
                steps.title(&format!(
                    "The cluster {} is ready, after {}",
                    cluster.name(),
                    seconds(started.elapsed())
                ));
                println!("export KUBECONFIG={}", cluster.kubeconfig().display());
            }
            Self::Down { name, purge: false } => Cluster::take_down(&name.name, &steps).await?,
            Self::Down { purge: true, .. } => purge(&steps).await?,
            Self::Status => {
                let names = Local::names()?;
                if names.is_empty() {
                    println!("there is no cluster");
                }
                for name in names {
                    println!("{}", Local::status(&name).await?);
                }
            }
            Self::Kubectl(tool) => hand_over(tool, "kubectl").await?,
            Self::Helm(tool) => hand_over(tool, "helm").await?,
            Self::Image { name } => {
                let cluster = Cluster::ensure(&name.name, &steps).await?;
                let images = image::build_images(&cluster, &steps).await?;
                for image in [images.ferrygate, images.e2e] {
                    println!("{} {}", image.reference, image.size);
                }
            }
            Self::Storage => {
                let config = super::config(format!("{NODE_HOME}/kubeconfig/admin").as_ref()).await?;
                storage::run(kube::Client::try_from(config)?).await?;
            }
            Self::Node { .. } => bail!("a node has no runtime"),
        }
        Ok(())
    }
}

async fn hand_over(tool: Tool, program: &str) -> Result<()> {
    let cluster = Cluster::ensure(&tool.name.name, &Steps::new()).await?;
    let mut command = match program {
        "helm" => cluster.helm().await?,
        _ => cluster.kubectl().await?,
    };
    let status = command.args(tool.arguments).status().await?;
    exit(status.code().unwrap_or(1))
}

async fn purge(steps: &Steps) -> Result<()> {
    for name in Local::names()? {
        Local::take_down(&name, steps).await?;
    }
    let kinds = fs::read_dir(cache()?.join("kind")).into_iter().flatten().flatten();
    for kind in kinds {
        external::delete_kind(&kind.file_name().to_string_lossy(), steps).await?;
    }
    let cache = cache()?;
    if cache.exists() {
        steps
            .step(&format!("Removing {}", cache.display()), async {
                Ok(fs::remove_dir_all(&cache)?)
            })
            .await?;
    }
    Ok(())
}

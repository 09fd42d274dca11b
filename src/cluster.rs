//! The way to the cluster's API server.

use std::time::Duration;

use kube::{Client, Config};

/// How long the API server may take to take a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long it may take to answer a request that is no watch.
pub const ANSWER: Duration = Duration::from_secs(30);

/// How to reach it, by the kubeconfig or by the pod's ServiceAccount; `silence` is how long the API server may send nothing while
/// it answers.
///
/// # Errors
/// When there is neither, or it can't be read.
pub async fn config(silence: Duration) -> Result<Config, kube::Error> {
    let mut config = Config::infer().await.map_err(kube::Error::InferConfig)?;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(silence);
    Ok(config)
}

/// A client with [`config`].
///
/// # Errors
/// As `config`.
pub async fn client(silence: Duration) -> Result<Client, kube::Error> {
    Client::try_from(config(silence).await?)
}

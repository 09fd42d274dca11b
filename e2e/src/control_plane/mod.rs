//! A control plane without nodes: etcd, the API server and, where a test wants them, Kubernetes' own controllers.
//!
//! It starts in seconds and is one test's own, which may freeze, kill, compact and restart it as it likes. No pod ever runs on it:
//! [`workers`] end Jobs as a node and a worker would, [`controller`] runs Ferrygate's controller as a process of this machine, with
//! the permissions that the [`chart`] gives it.

pub mod binary;
pub mod chart;
pub mod controller;
mod etcd;
pub mod program;
pub mod workers;

use std::{
    ffi::OsStr,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use http::Request;
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::{Namespace, ServiceAccount},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use nix::sys::signal::Signal;
use rcgen::KeyPair;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use self::program::Program;
use crate::{
    cluster::{binaries::Binaries, certificates::Authority, command::run, config},
    operator::checkout,
    progress::Steps,
};

const API_PORT: u16 = 6443;

/// How long a start may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);

/// The parts of Kubernetes' controller manager that do what follows from a deletion, and make pods of Jobs.
const CONTROLLERS: [&str; 4] = [
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "persistentvolumeclaim-protection-controller",
];

/// A control plane that is up, unless its test has taken the API server away. Everything goes with it.
pub struct ControlPlane {
    managers: Option<Program>,
    api_server: Program,
    _etcd: Program,
    address: Ipv4Addr,
    next_port: AtomicU16,
    binaries: Binaries,
    client: Client,
    folder: TempDir,
}

impl ControlPlane {
    /// Starts etcd and the API server, and installs Ferrygate's CRDs.
    ///
    /// # Errors
    /// When the programs can't be had, or don't come up.
    pub async fn start() -> Result<Self> {
        let binaries = Binaries::ensure(&Steps::silent()).await?;
        let folder = tempfile::Builder::new().prefix("ferrygate-control-plane-").tempdir()?;
        let address = own_address();
        write_keys(folder.path(), address)?;
        let etcd = Program::start("etcd", &binaries.path("etcd"), etcd::flags(address), &[], folder.path())?;
        let api_server = start_api_server(&binaries, folder.path(), address)?;
        let mut plane = Self {
            managers: None,
            api_server,
            _etcd: etcd,
            address,
            next_port: AtomicU16::new(8080),
            client: client(&folder.path().join("kubeconfig")).await?,
            binaries,
            folder,
        };
        plane.until_ready().await?;
        let crds = checkout().join("crds");
        let mut install = plane.kubectl();
        run(install.args(["apply", "--server-side", "-f"]).arg(&crds)).await?;
        let mut established = plane.kubectl();
        run(established
            .args(["wait", "--for=condition=Established", "--timeout=60s", "-f"])
            .arg(&crds))
        .await?;
        Ok(plane)
    }

    /// Starts the parts of Kubernetes' controller manager that remove what belongs to what was deleted, and make pods of Jobs.
    ///
    /// # Errors
    /// When they can't be started.
    pub fn start_managers(&mut self) -> Result<()> {
        let flags = [
            format!("--kubeconfig={}", self.kubeconfig().display()),
            format!("--controllers={}", CONTROLLERS.join(",")),
            format!("--bind-address={}", self.address),
            "--leader-elect=false".into(),
            // As on the local cluster: 1,690 Jobs a minute rather than the defaults' 127.
            "--kube-api-qps=300".into(),
            "--kube-api-burst=600".into(),
            "--concurrent-job-syncs=20".into(),
        ];
        let program = self.binaries.path("kube-controller-manager");
        self.managers = Some(Program::start(
            "kube-controller-manager",
            &program,
            flags,
            &[],
            self.folder(),
        )?);
        Ok(())
    }

    /// Its folder, with a log for each program.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Whether Jobs get pods, which then decide how a Job stands.
    fn has_pods(&self) -> bool {
        self.managers.is_some()
    }

    /// A client with the administrator's rights. It belongs to the runtime of the test.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder().join("kubeconfig")
    }

    /// `kubectl`, with the administrator's rights.
    pub fn kubectl(&self) -> Command {
        let mut kubectl = self.tool("kubectl");
        kubectl.arg("--cache-dir").arg(self.folder().join("kubectl-cache"));
        kubectl
    }

    /// One of the built programs, with the administrator's rights.
    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(self.binaries.path(name));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder())
            .env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// Applies manifests to a namespace.
    ///
    /// # Errors
    /// With what the API server said, word for word.
    pub async fn apply(&self, namespace: &str, manifests: &str) -> Result<()> {
        self.kubectl_apply(&["--namespace", namespace], manifests).await
    }

    async fn kubectl_apply(&self, words: &[&str], manifests: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new_in(self.folder())?;
        fs::write(file.path(), manifests)?;
        let mut kubectl = self.kubectl();
        kubectl
            .args(["apply", "--server-side", "--force-conflicts"])
            .args(words);
        run(kubectl.arg("--filename").arg(file.path())).await?;
        Ok(())
    }

    /// Makes a namespace, where it is not there.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn namespace(&self, name: &str) -> Result<()> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        Api::<Namespace>::all(self.client())
            .patch(name, &PatchParams::apply("ferrygate-e2e"), &Patch::Apply(namespace))
            .await?;
        Ok(())
    }

    /// A kubeconfig with the rights of a ServiceAccount.
    ///
    /// # Errors
    /// When the ServiceAccount is not there.
    pub async fn kubeconfig_of(&self, namespace: &str, account: &str) -> Result<PathBuf> {
        let request: TokenRequest =
            serde_json::from_value(json!({"spec": {"audiences": [], "expirationSeconds": 14_400}}))?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let granted = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await?;
        let token = granted.status.context("a token")?.token;
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": account,
            "contexts": [{"name": account, "context": {"cluster": account, "user": account, "namespace": namespace}}],
            "clusters": [{"name": account, "cluster": {
                "server": server(self.address), "certificate-authority": self.folder().join("ca.crt"),
            }}],
            "users": [{"name": account, "user": {"token": token}}],
        });
        let file = self.folder().join(format!("{namespace}-{account}.kubeconfig"));
        fs::write(&file, kubeconfig.to_string())?;
        Ok(file)
    }

    /// The API server neither answers nor refuses, until it is [thawed](Self::thaw_api_server) or killed.
    ///
    /// # Errors
    /// When it has ended.
    pub fn freeze_api_server(&self) -> Result<()> {
        self.api_server.signal(Signal::SIGSTOP)
    }

    /// A frozen API server goes on.
    ///
    /// # Errors
    /// When it has ended.
    pub fn thaw_api_server(&self) -> Result<()> {
        self.api_server.signal(Signal::SIGCONT)
    }

    /// The API server ends at once: connections break, and new ones are refused.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill_api_server(&mut self) -> Result<()> {
        self.api_server.kill()
    }

    /// Starts an API server that knows no more than what etcd has, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_api_server(&mut self) -> Result<()> {
        self.api_server = start_api_server(&self.binaries, self.folder(), self.address)?;
        self.until_ready().await
    }

    /// etcd forgets all that was before now: who watches from a moment that is past is told `410 Gone`, once the API server has
    /// forgotten it too.
    ///
    /// # Errors
    /// When etcd does not do it.
    pub async fn compact(&self) -> Result<()> {
        etcd::compact(self.address).await
    }

    /// An address to listen on that nobody else has.
    fn free_address(&self) -> SocketAddr {
        (self.address, self.next_port.fetch_add(1, Ordering::Relaxed)).into()
    }

    async fn until_ready(&mut self) -> Result<()> {
        let client = self.client();
        let ready = async || Ok(client.request_text(Request::get("/readyz").body(vec![])?).await? == "ok");
        self.api_server.ready(PATIENCE, ready).await
    }
}

/// An address of this machine alone that no other control plane has: all of 127.0.0.0/8 is. With an address of its own, a control
/// plane's ports can't be taken while its API server is away.
fn own_address() -> Ipv4Addr {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    let number = std::process::id().wrapping_mul(32).wrapping_add(made) % (1 << 22);
    // From 127.64.0.1 on; the last byte is never 0.
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 64, 0, 1).to_bits() + (number << 1))
}

fn server(address: Ipv4Addr) -> String {
    format!("https://{address}:{API_PORT}")
}

fn write_keys(folder: &Path, address: Ipv4Addr) -> Result<()> {
    let authority = Authority::new("control plane")?;
    fs::write(folder.join("ca.crt"), &authority.certificate)?;
    authority
        .issue("kube-apiserver", "", &[], &[IpAddr::from(address)])?
        .write(folder, "apiserver")?;
    let tokens = KeyPair::generate()?;
    fs::write(folder.join("service-accounts.key"), tokens.serialize_pem())?;
    fs::write(folder.join("service-accounts.pub"), tokens.public_key_pem())?;
    let admin = authority.issue("ferrygate:admin", "system:masters", &[], &[])?;
    let kubeconfig = admin.kubeconfig("control-plane", &authority.certificate, &server(address));
    fs::write(folder.join("kubeconfig"), kubeconfig)?;
    Ok(())
}

fn start_api_server(binaries: &Binaries, folder: &Path, address: Ipv4Addr) -> Result<Program> {
    let file = |name: &str| folder.join(name).display().to_string();
    let flags = [
        format!("--bind-address={address}"),
        format!("--secure-port={API_PORT}"),
        format!("--advertise-address={address}"),
        // No pod looks for the API server by the Service `kubernetes`.
        "--endpoint-reconciler-type=none".into(),
        "--service-cluster-ip-range=198.18.0.0/24".into(),
        format!("--etcd-servers={}", etcd::url(address)),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        "--authorization-mode=RBAC".into(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        format!("--service-account-key-file={}", file("service-accounts.pub")),
        format!("--service-account-signing-key-file={}", file("service-accounts.key")),
        "--profiling=false".into(),
    ];
    let program = binaries.path("kube-apiserver");
    Program::start(
        "kube-apiserver",
        &program,
        flags,
        &[("HOME", OsStr::new("/nonexistent"))],
        folder,
    )
}

/// A client for as long as the control plane lives: no proxy is on the way, and an answer that does not come is an error.
async fn client(kubeconfig: &Path) -> Result<Client> {
    let mut config = config(kubeconfig).await?;
    config.proxy_url = None;
    config.connect_timeout = Some(Duration::from_secs(5));
    Ok(Client::try_from(config)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_control_plane_has_an_address_of_its_own() {
        let (one, other) = (own_address(), own_address());
        assert_ne!(one, other);
        assert!(one.is_loopback() && other.is_loopback());
    }
}

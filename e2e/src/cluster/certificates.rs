//! The cluster's own authority, and what its programs show to each other.

use std::{fs, net::IpAddr, path::Path};

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::{network::Network, paths::NODE_HOME};

/// Who connects to the API server: the file that holds its kubeconfig, its user name, its group.
const CLIENTS: [(&str, &str, &str); 4] = [
    ("admin", "ferrygate:admin", "system:masters"),
    ("kube-controller-manager", "system:kube-controller-manager", ""),
    ("kube-scheduler", "system:kube-scheduler", ""),
    ("kube-proxy", "system:kube-proxy", ""),
];

/// Writes every key, certificate and kubeconfig of a new cluster: those of the node's programs into `node_home`, the
/// administrator's into `kubeconfig`.
///
/// # Errors
/// When a file can't be written.
pub fn write(cluster: &str, network: &Network, node_home: &Path, kubeconfig: &Path) -> Result<()> {
    let pki = node_home.join("pki");
    let configs = node_home.join("kubeconfig");
    fs::create_dir_all(&pki).context("could not make the folder of the cluster's keys")?;
    fs::create_dir_all(&configs)?;
    let authority = Authority::new(cluster)?;
    fs::write(pki.join("ca.crt"), &authority.certificate)?;

    let api_names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    ];
    let api_addresses = [network.node(), network.api_service(), std::net::Ipv4Addr::LOCALHOST].map(IpAddr::from);
    authority
        .issue("kube-apiserver", "", &api_names, &api_addresses)?
        .write(&pki, "apiserver")?;
    authority
        .issue(cluster, "", &[cluster], &[network.node().into()])?
        .write(&pki, "kubelet")?;
    authority
        .issue("kube-apiserver-kubelet-client", "system:masters", &[], &[])?
        .write(&pki, "apiserver-kubelet")?;
    let tokens = KeyPair::generate()?;
    fs::write(pki.join("service-accounts.key"), tokens.serialize_pem())?;
    fs::write(pki.join("service-accounts.pub"), tokens.public_key_pem())?;

    let server = format!("https://{}:6443", network.node());
    let node_user = format!("system:node:{cluster}");
    let node_client = ("kubelet", node_user.as_str(), "system:nodes");
    for (file, user, group) in CLIENTS.into_iter().chain([node_client]) {
        let identity = authority.issue(user, group, &[], &[])?;
        let config = identity.kubeconfig(cluster, &authority.certificate, &server);
        fs::write(configs.join(file), &config)?;
        if file == "admin" {
            fs::write(kubeconfig, &config)?;
        }
    }
    Ok(())
}

/// The path, inside the node, of a key, a certificate or a kubeconfig.
pub fn in_node(file: &str) -> String {
    format!("{NODE_HOME}/{file}")
}

/// Whom a cluster's programs trust.
pub struct Authority {
    /// Its own certificate, as PEM.
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a program shows to the others.
pub struct Identity {
    certificate: String,
    key: String,
}

impl Authority {
    /// A new one, which nobody trusts yet.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(cluster: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&format!("{cluster} authority"), "");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    /// An identity for a user of a group, or for a server of these names and addresses.
    ///
    /// # Errors
    /// When a name is none, or no key can be made.
    pub fn issue(&self, user: &str, group: &str, names: &[&str], addresses: &[IpAddr]) -> Result<Identity> {
        let subjects: Vec<String> = names
            .iter()
            .map(ToString::to_string)
            .chain(addresses.iter().map(ToString::to_string))
            .collect();
        let mut params = CertificateParams::new(subjects)?;
        params.distinguished_name = name(user, group);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        Ok(Identity {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

impl Identity {
    /// Writes `NAME.crt` and `NAME.key` into a folder.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<()> {
        fs::write(folder.join(format!("{name}.crt")), &self.certificate)?;
        fs::write(folder.join(format!("{name}.key")), &self.key)?;
        Ok(())
    }

    /// A kubeconfig for the API server at the URL `server`, which has its identity from `authority`.
    pub fn kubeconfig(&self, cluster: &str, authority: &str, server: &str) -> String {
        format!(
            "apiVersion: v1
kind: Config
current-context: {cluster}
contexts: [{{name: {cluster}, context: {{cluster: {cluster}, user: {cluster}}}}}]
clusters:
  - name: {cluster}
    cluster:
      server: {server}
      certificate-authority-data: {}
users:
  - name: {cluster}
    user:
      client-certificate-data: {}
      client-key-data: {}
",
            STANDARD.encode(authority),
            STANDARD.encode(&self.certificate),
            STANDARD.encode(&self.key),
        )
    }
}

fn name(user: &str, group: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if !group.is_empty() {
        name.push(DnType::OrganizationName, group);
    }
    name.push(DnType::CommonName, user);
    name
}

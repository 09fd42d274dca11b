//! What runs in the node: each program with its flags and its configuration file.
//!
//! Everything here is a pure function of the cluster's name and network, so that a cluster which was started from other
//! words than today's is known as stale.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{certificates::in_node, network::Network, paths::NODE_HOME};

/// Where containerd listens, in the node.
pub const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// Where the API server writes down, in the node, who asked for what: see [`audit_policy`].
const AUDIT_LOG: &str = "/var/log/audit.log";

/// The image that holds a pod's namespaces open.
pub const PAUSE_IMAGE: &str = "localhost/ferrygate-pause:1";

/// A program that runs in the node for as long as the node does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// Its name in the logs.
    pub name: String,
    /// The program, of the node's own or of the machine's.
    pub program: String,
    /// Its flags.
    pub arguments: Vec<String>,
}

/// All that makes a node: the programs in the order of their start, and their files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// The node's host name.
    pub host_name: String,
    /// Which programs it is made of.
    pub built: String,
    /// What the API server needs, and the API server.
    pub first: Vec<Component>,
    /// What needs the API server.
    pub then: Vec<Component>,
    /// Files below [`NODE_HOME`], by their path.
    pub files: BTreeMap<String, String>,
}

impl Definition {
    /// A short name for all that it says.
    pub fn digest(&self) -> String {
        // A struct of strings always has a JSON.
        let json = serde_json::to_vec(self).unwrap_or_default();
        Sha256::digest(json)[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// What the machine has for a node.
#[derive(Clone, Debug)]
pub struct Host {
    /// Which programs were built.
    pub built: String,
    /// The node's control group.
    pub cgroup: String,
    /// Where the CNI plugins are.
    pub cni_folder: PathBuf,
    /// How containerd keeps its layers.
    pub snapshotter: &'static str,
}

/// The node of the cluster `name`.
pub fn define(name: &str, host: &Host, network: &Network) -> Definition {
    let Host {
        built,
        cgroup,
        cni_folder,
        snapshotter,
    } = host;
    let files = [
        ("etc/containerd.toml", containerd(cni_folder, snapshotter)),
        ("etc/kubelet.yaml", kubelet(cgroup, network)),
        ("etc/kube-proxy.yaml", kube_proxy(name, network)),
        ("etc/kube-scheduler.yaml", kube_scheduler()),
        ("etc/Corefile", corefile()),
        ("etc/audit.yaml", audit_policy()),
        (
            "etc/resolv.conf",
            "# This node knows no names but the cluster's own.\n".into(),
        ),
        ("cni/10-ferrygate.conflist", cni(network)),
    ];
    Definition {
        host_name: name.into(),
        built: built.clone(),
        first: vec![
            own("etcd", "etcd", etcd()),
            Component {
                name: "containerd".into(),
                program: "containerd".into(),
                arguments: vec!["--config".into(), in_node("etc/containerd.toml")],
            },
            own("kube-apiserver", "kube-apiserver", kube_apiserver(network)),
        ],
        then: vec![
            own(
                "kube-controller-manager",
                "kube-controller-manager",
                kube_controller_manager(),
            ),
            own(
                "kube-scheduler",
                "kube-scheduler",
                vec![format!("--config={}", in_node("etc/kube-scheduler.yaml"))],
            ),
            own(
                "kubelet",
                "kubelet",
                vec![
                    format!("--config={}", in_node("etc/kubelet.yaml")),
                    format!("--kubeconfig={}", in_node("kubeconfig/kubelet")),
                    format!("--hostname-override={name}"),
                    format!("--node-ip={}", network.node()),
                    "--root-dir=/var/lib/kubelet".into(),
                ],
            ),
            own(
                "kube-proxy",
                "kube-proxy",
                vec![format!("--config={}", in_node("etc/kube-proxy.yaml"))],
            ),
            own("coredns", "coredns", vec!["-conf".into(), in_node("etc/Corefile")]),
            own(
                "storage",
                "ferrygate-e2e",
                ["cluster", "storage"].map(String::from).into(),
            ),
        ],
        files: files.into_iter().map(|(path, text)| (path.into(), text)).collect(),
    }
}

fn own(name: &str, program: &str, arguments: Vec<String>) -> Component {
    Component {
        name: name.into(),
        program: format!("{NODE_HOME}/bin/{program}"),
        arguments,
    }
}

fn etcd() -> Vec<String> {
    [
        "--data-dir=/var/lib/etcd",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        // What a power cut would lose here, nobody misses.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]
    .map(String::from)
    .into()
}

fn kube_apiserver(network: &Network) -> Vec<String> {
    vec![
        format!("--advertise-address={}", network.node()),
        "--secure-port=6443".into(),
        "--etcd-servers=http://127.0.0.1:2379".into(),
        format!("--service-cluster-ip-range={}", network.services()),
        format!("--client-ca-file={}", in_node("pki/ca.crt")),
        format!("--tls-cert-file={}", in_node("pki/apiserver.crt")),
        format!("--tls-private-key-file={}", in_node("pki/apiserver.key")),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--allow-privileged=true".into(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        format!("--service-account-key-file={}", in_node("pki/service-accounts.pub")),
        format!(
            "--service-account-signing-key-file={}",
            in_node("pki/service-accounts.key")
        ),
        format!("--kubelet-certificate-authority={}", in_node("pki/ca.crt")),
        format!("--kubelet-client-certificate={}", in_node("pki/apiserver-kubelet.crt")),
        format!("--kubelet-client-key={}", in_node("pki/apiserver-kubelet.key")),
        // Nobody extends this API, but the controllers complain for as long as nobody could.
        format!("--requestheader-client-ca-file={}", in_node("pki/ca.crt")),
        "--requestheader-allowed-names=aggregator".into(),
        "--requestheader-username-headers=X-Remote-User".into(),
        "--requestheader-group-headers=X-Remote-Group".into(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
        // The node's name means nothing outside of it.
        "--kubelet-preferred-address-types=InternalIP".into(),
        format!("--audit-policy-file={}", in_node("etc/audit.yaml")),
        format!("--audit-log-path={AUDIT_LOG}"),
        "--audit-log-maxsize=500".into(),
        "--audit-log-maxbackup=1".into(),
        "--event-ttl=24h".into(),
        "--profiling=false".into(),
    ]
}

/// Every write, list and watch of those who are neither Kubernetes itself nor an administrator: what a test or a benchmark
/// counts. Only who, what and when; no content.
fn audit_policy() -> String {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {
                "level": "None",
                "userGroups": ["system:masters", "system:nodes", "system:serviceaccounts:kube-system"],
            },
            {
                "level": "None",
                "users": ["system:apiserver", "system:kube-controller-manager", "system:kube-proxy", "system:kube-scheduler"],
            },
            {
                "level": "Metadata",
                "verbs": ["create", "update", "patch", "delete", "deletecollection", "list", "watch"],
            },
            {"level": "None"},
        ],
    })
    .to_string()
}

fn kube_controller_manager() -> Vec<String> {
    let kubeconfig = in_node("kubeconfig/kube-controller-manager");
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        format!("--root-ca-file={}", in_node("pki/ca.crt")),
        format!(
            "--service-account-private-key-file={}",
            in_node("pki/service-accounts.key")
        ),
        "--use-service-account-credentials=true".into(),
        "--bind-address=127.0.0.1".into(),
        "--leader-elect=false".into(),
        // 1,690 Jobs a minute rather than the defaults' 127.
        "--kube-api-qps=300".into(),
        "--kube-api-burst=600".into(),
        "--concurrent-job-syncs=20".into(),
        // A machine that is busy compiling is not a node that died.
        "--node-monitor-grace-period=10m".into(),
        "--profiling=false".into(),
    ]
}

fn kube_scheduler() -> String {
    json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": false},
        "clientConnection": {"kubeconfig": in_node("kubeconfig/kube-scheduler"), "qps": 300, "burst": 600},
        "enableProfiling": false,
    })
    .to_string()
}

fn kubelet(cgroup: &str, network: &Network) -> String {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD_SOCKET}"),
        "authentication": {"anonymous": {"enabled": false}, "x509": {"clientCAFile": in_node("pki/ca.crt")}},
        "tlsCertFile": in_node("pki/kubelet.crt"),
        "tlsPrivateKeyFile": in_node("pki/kubelet.key"),
        "clusterDomain": "cluster.local",
        "clusterDNS": [network.dns_service()],
        "resolvConf": in_node("etc/resolv.conf"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "maxPods": 110,
        "podPidsLimit": -1,
        // A changed Secret reaches its pods within seconds; Jobs start at once.
        "syncFrequency": "5s",
        "nodeStatusUpdateFrequency": "10s",
        "kubeAPIQPS": 300,
        "kubeAPIBurst": 600,
        "eventRecordQPS": 0,
        "serializeImagePulls": false,
        // Images are brought in by hand, and can't be fetched again: a disk that is nearly full removes none, and evicts
        // nothing. (100 percent turns the collector off.)
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%",
            "imagefs.available": "0%", "imagefs.inodesFree": "0%",
        },
        "logging": {"verbosity": 1},
    })
    .to_string()
}

fn kube_proxy(name: &str, network: &Network) -> String {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": name,
        "clientConnection": {"kubeconfig": in_node("kubeconfig/kube-proxy"), "qps": 300, "burst": 600},
        "clusterCIDR": network.pods().to_string(),
        "metricsBindAddress": "127.0.0.1:10249",
        "iptables": {"minSyncPeriod": "100ms"},
        // The table's size belongs to the whole machine, not to a network namespace.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "oomScoreAdj": 0,
    })
    .to_string()
}

/// Each pod gets a cable of its own to the node, which routes between them: every packet then passes the node's firewall,
/// where Services are made. (On a bridge, a pod's answer to its neighbour would not.)
fn cni(network: &Network) -> String {
    json!({
        "cniVersion": "0.4.0",
        "name": "ferrygate",
        "plugins": [{
            "type": "ptp",
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/cni",
                "ranges": [[{"subnet": network.pods().to_string()}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
    .to_string()
}

/// Names outside of the cluster don't exist, at once, rather than fail after a while.
fn corefile() -> String {
    format!(
        ".:53 {{
    errors
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {}
        pods insecure
        ttl 5
    }}
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
    cache {{
        success 1000 5
        denial 1000 1
    }}
}}
",
        in_node("kubeconfig/admin")
    )
}

fn containerd(cni_folder: &Path, snapshotter: &str) -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.opt",
]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # A profile would be loaded into the machine's kernel and stay there.
  disable_apparmor = true
  enable_unprivileged_ports = true
  # Without CAP_SYS_RESOURCE no process can be made less likely to be killed than its parent.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{}"
    conf_dir = "{NODE_HOME}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"#,
        cni_folder.display()
    )
}

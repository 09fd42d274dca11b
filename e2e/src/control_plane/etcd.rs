//! etcd, spoken to by its JSON gateway: <https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/>.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Where etcd listens, at the control plane's address.
pub const PORT: u16 = 2379;
const PEERS: u16 = 2380;

/// etcd's flags.
pub fn flags(address: Ipv4Addr) -> Vec<String> {
    vec![
        "--data-dir=etcd".into(),
        format!("--listen-client-urls={}", url(address)),
        format!("--advertise-client-urls={}", url(address)),
        format!("--listen-peer-urls=http://{address}:{PEERS}"),
        format!("--initial-advertise-peer-urls=http://{address}:{PEERS}"),
        format!("--initial-cluster=default=http://{address}:{PEERS}"),
        // What a power cut would lose here, nobody misses.
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ]
}

/// The URL for clients.
pub fn url(address: Ipv4Addr) -> String {
    format!("http://{address}:{PORT}")
}

/// Forgets all that was before now, but for the objects as they are.
///
/// # Errors
/// When etcd does not do it.
pub async fn compact(address: Ipv4Addr) -> Result<()> {
    // The header of any answer has the newest revision.
    let now = ask(
        address,
        "kv/range",
        json!({"key": "AA==", "limit": 1, "keys_only": true}),
    )
    .await?;
    let revision = now["header"]["revision"]
        .as_str()
        .context("an answer without a revision")?;
    ask(
        address,
        "kv/compaction",
        json!({"revision": revision, "physical": true}),
    )
    .await?;
    Ok(())
}

async fn ask(address: Ipv4Addr, what: &str, question: Value) -> Result<Value> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let asked = client.post(format!("{}/v3/{what}", url(address))).json(&question);
    Ok(asked.send().await?.error_for_status()?.json().await?)
}

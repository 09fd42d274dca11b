//! A cluster's addresses, and the one cable that joins its node to this machine.
//!
//! Each cluster has a block of 4,096 addresses from the range that RFC 2544 sets aside for tests, where no office
//! network and no VPN should be. The node lives in a network namespace of its own; a veth pair joins it to this machine,
//! with one route to the block. This machine's firewall, bridges and forwarding are left as they are.

use std::{fmt, net::Ipv4Addr};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::command::sh;

/// A range of addresses, as `198.18.16.0/20`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    first: Ipv4Addr,
    prefix: u8,
}

const TEST_RANGE: Range = Range {
    first: Ipv4Addr::new(198, 18, 0, 0),
    prefix: 15,
};
const BLOCK_PREFIX: u8 = 20;

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (first, prefix) = text.split_once('/').unwrap_or((text, "32"));
        Some(Self {
            first: first.parse().ok()?,
            prefix: prefix.parse().ok().filter(|prefix| *prefix <= 32)?,
        })
    }

    fn part(self, offset: u32, prefix: u8) -> Self {
        Self {
            first: self.address(offset),
            prefix,
        }
    }

    fn address(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first.to_bits() + offset)
    }

    fn overlaps(self, other: Self) -> bool {
        let shift = 32 - u32::from(self.prefix.min(other.prefix));
        let network = |range: Self| range.first.to_bits().checked_shr(shift).unwrap_or(0);
        network(self) == network(other)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// The addresses of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    block: Range,
    /// This machine's end of the cable.
    pub interface: String,
}

impl Network {
    /// A block that nothing on this machine uses yet; a cluster of the same tag gets the same one where it can.
    ///
    /// # Errors
    /// When this machine's routes can't be read, or leave no block free.
    pub async fn choose(tag: &str) -> Result<Self> {
        let routes = sh(["ip", "-4", "-json", "route", "show", "table", "all"]).await?;
        Self::choose_beside(tag, &taken(&routes)?)
    }

    fn choose_beside(tag: &str, taken: &[Range]) -> Result<Self> {
        let hash = Sha256::digest(tag);
        let blocks = 1_u32 << (BLOCK_PREFIX - TEST_RANGE.prefix);
        let block = (0..blocks)
            .map(|n| (u32::from(hash[0]) + n) % blocks)
            .map(|n| TEST_RANGE.part(n << (32 - BLOCK_PREFIX), BLOCK_PREFIX))
            .find(|block| !taken.iter().any(|range| range.overlaps(*block)));
        let Some(block) = block else {
            bail!(
                "this machine's routes leave no free addresses for the cluster in {TEST_RANGE}: see `ip route`; a VPN \
                 that takes the whole range has to be left first"
            )
        };
        Ok(Self {
            block,
            interface: format!("fg-{tag}"),
        })
    }

    /// This machine, as the node sees it.
    pub fn host(&self) -> Ipv4Addr {
        self.block.address(1)
    }

    /// The node, where the API server listens.
    pub fn node(&self) -> Ipv4Addr {
        self.block.address(2)
    }

    /// The pods' addresses: 1,022 of them.
    pub fn pods(&self) -> Range {
        self.block.part(1 << 10, 22)
    }

    /// The Services' addresses: 2,046 of them.
    pub fn services(&self) -> Range {
        self.block.part(1 << 11, 21)
    }

    /// The Service `kubernetes`, which is always the first of them.
    pub fn api_service(&self) -> Ipv4Addr {
        self.services().address(1)
    }

    /// The Service `kube-dns`.
    pub fn dns_service(&self) -> Ipv4Addr {
        self.services().address(10)
    }

    /// Puts the cable between this machine and the node whose first process is `pid`.
    ///
    /// # Errors
    /// When `ip` refuses; an interface left over from a cluster that died is replaced.
    pub async fn connect(&self, pid: i32) -> Result<()> {
        self.disconnect().await?;
        let pid = pid.to_string();
        let name = self.interface.as_str();
        sh([
            "ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", &pid,
        ])
        .await?;
        sh(["ip", "address", "add", &format!("{}/30", self.host()), "dev", name]).await?;
        sh(["ip", "link", "set", name, "up"]).await?;
        let inside = format!(
            "ip link set lo up && ip address add {}/30 dev eth0 && ip link set eth0 up && ip route add default via {}",
            self.node(),
            self.host()
        );
        sh(["nsenter", "--target", &pid, "--net", "sh", "-c", &inside]).await?;
        sh([
            "ip",
            "route",
            "add",
            &self.block.to_string(),
            "via",
            &self.node().to_string(),
            "dev",
            name,
        ])
        .await?;
        Ok(())
    }

    /// Takes the cable away, if it is there; its route and the other end go with it.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub async fn disconnect(&self) -> Result<()> {
        if std::path::Path::new("/sys/class/net").join(&self.interface).exists() {
            // The kernel removes a dead namespace's devices by itself, maybe between the look and the deed.
            if let Err(error) = sh(["ip", "link", "delete", &self.interface]).await
                && std::path::Path::new("/sys/class/net").join(&self.interface).exists()
            {
                return Err(error);
            }
        }
        Ok(())
    }
}

/// What a machine's routes, as `ip -json route` lists them, already lead to.
fn taken(routes: &str) -> Result<Vec<Range>> {
    #[derive(Deserialize)]
    struct Route {
        dst: Option<String>,
    }
    let routes: Vec<Route> = serde_json::from_str(routes).context("`ip -json route` did not answer with a list")?;
    Ok(routes
        .iter()
        .filter_map(|route| Range::parse(route.dst.as_deref()?))
        // A default route, or a VPN's halves of one, lead elsewhere whatever is not known better.
        .filter(|range| range.prefix >= 4)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_the_same_addresses_each_time() {
        let network = Network::choose_beside("ferrygate", &[]).unwrap();
        assert_eq!(network, Network::choose_beside("ferrygate", &[]).unwrap());
        assert!(TEST_RANGE.overlaps(network.block));
        assert!(!network.pods().overlaps(network.services()));
        assert!(network.block.overlaps(network.services()) && network.block.overlaps(network.pods()));
    }

    #[test]
    fn two_clusters_never_share_a_block() {
        let mut taken = vec![];
        for n in 0..32 {
            let network = Network::choose_beside(&format!("cluster-{n}"), &taken).unwrap();
            assert!(!taken.iter().any(|range: &Range| range.overlaps(network.block)));
            taken.push(network.block);
        }
        let error = Network::choose_beside("one-too-many", &taken).unwrap_err().to_string();
        assert!(error.contains("no free addresses"), "{error}");
    }

    #[test]
    fn routes_of_this_machine_are_left_alone() {
        let routes = r#"[{"dst":"default","gateway":"192.0.2.1"},{"dst":"0.0.0.0/1"},{"dst":"198.18.0.0/16"},
            {"type":"local","dst":"127.0.0.1"},{"dst":"fd00::/64"}]"#;
        let taken = taken(routes).unwrap();
        assert_eq!(
            taken,
            [
                Range::parse("198.18.0.0/16").unwrap(),
                Range::parse("127.0.0.1").unwrap()
            ]
        );
        for name in ["a", "b", "c", "d"] {
            assert_eq!(
                Network::choose_beside(name, &taken).unwrap().block.first.octets()[..2],
                [198, 19]
            );
        }
    }
}

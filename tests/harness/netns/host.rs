//! Hosts on the underlay, and bridges with containers behind them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use ipnet::{Ipv4Net, Ipv6Net};

use super::Namespace;

/// A server on the underlay.
#[derive(Debug)]
pub struct Host {
    /// Short name.
    pub name: String,
    /// Its network.
    pub namespace: Namespace,
    /// Underlay address.
    pub v4: Ipv4Addr,
    /// Underlay address.
    pub v6: Ipv6Addr,
    /// A directory of its own.
    pub dir: PathBuf,
}

impl Host {
    /// Lets nothing through between this host and an address, until [`Self::let_through`]. More addresses may follow.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn cut_off(&self, from: impl Into<IpAddr>) {
        let from = from.into();
        let family = if from.is_ipv4() { "ip" } else { "ip6" };
        self.namespace.shell(&format!(
            "nft add table inet cut
             nft add chain inet cut in '{{ type filter hook input priority 0; }}'
             nft add chain inet cut out '{{ type filter hook output priority 0; }}'
             nft add rule inet cut in {family} saddr {from} drop
             nft add rule inet cut out {family} daddr {from} drop"
        ));
    }

    /// Takes the host's underlay addresses away and gives it others, as a provider does that moves a server. The fields of
    /// this value stay what they were.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn move_to_another_address(&self) {
        self.namespace.shell(
            "ip addr flush dev eth0 scope global
             ip addr add 203.0.113.200/24 dev eth0
             ip addr add 2001:db8::200/64 dev eth0 nodad",
        );
    }

    /// Undoes [`Self::cut_off`].
    ///
    /// # Panics
    /// When nothing is cut off.
    #[track_caller]
    pub fn let_through(&self) {
        self.namespace.run("nft delete table inet cut");
    }
}

/// A container network on a host.
#[derive(Debug, Clone)]
pub struct Bridge {
    /// Interface name.
    pub name: String,
    /// IPv4 subnet.
    pub v4: Ipv4Net,
    /// IPv6 prefix.
    pub v6: Ipv6Net,
}

impl Bridge {
    /// The IPv4 address with this last number.
    #[must_use]
    pub fn v4_at(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.v4.network()) + u32::from(number))
    }

    /// The IPv6 address with this last number.
    #[must_use]
    pub fn v6_at(&self, number: u8) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.v6.network()) + u128::from(number))
    }
}

/// A container.
#[derive(Debug)]
pub struct Container {
    /// Its network.
    pub namespace: Namespace,
    /// Its address.
    pub v4: Ipv4Addr,
    /// Its address.
    pub v6: Ipv6Addr,
    dir: PathBuf,
    label: String,
}

impl Container {
    pub(crate) fn new(
        namespace: Namespace,
        v4: Ipv4Addr,
        v6: Ipv6Addr,
        dir: &Path,
        label: &str,
    ) -> Self {
        Self {
            namespace,
            v4,
            v6,
            dir: dir.to_owned(),
            label: label.to_owned(),
        }
    }

    /// Where a process in the container may write its log.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{}-{name}.log", self.label))
    }
}

//! This host's own addresses towards the outside, as far as others may call them.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use crate::io::underlay;

/// Of a node's endpoints, so many may be local ones.
pub(super) const MAX_LOCAL: usize = 2;
/// What the kernel says of an interface without a link layer (`ARPHRD_NONE`, if_arp.h).
const NO_LINK_LAYER: &str = "65534";
/// Where the kernel describes interfaces.
const INTERFACES: &str = "/sys/class/net";

/// The addresses by which this host sends to the outside, one per family at most: private IPv4 addresses, and IPv6
/// addresses of any kind, because there may be no controller that sees those. No default route leads to a container bridge,
/// so those have no address here, and none of an interface that is an overlay's counts: no tunnel in the tunnel. A default route
/// of our own into the overlay is left out of sight by the mark.
pub(super) fn local_addresses() -> Vec<IpAddr> {
    // Addresses for documentation (RFC 5737, RFC 3849): the kernel looks up the way there, and nothing is sent.
    let ways: [(IpAddr, IpAddr); MAX_LOCAL] = [
        (
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::new(192, 0, 2, 1).into(),
        ),
        (
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        ),
    ];
    let local = |(any, outside): (IpAddr, IpAddr)| {
        let socket = underlay::bind_udp((any, 0).into()).ok()?;
        socket.connect((outside, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let mut addresses: Vec<IpAddr> = ways.into_iter().filter_map(local).collect();
    addresses.retain(|address| is_worth_telling(*address) && !is_of_tunnel(*address));
    addresses
}

fn is_worth_telling(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        // RFC 4291 section 2.4: global unicast addresses are given from 2000::/3.
        IpAddr::V6(address) => address.is_unique_local() || address.segments()[0] >> 13 == 1,
    }
}

/// Whether an address is one of an interface that some program or WireGuard made: a way into an overlay, ours or another.
fn is_of_tunnel(address: IpAddr) -> bool {
    let Ok(mut interfaces) = getifaddrs::getifaddrs() else {
        return false;
    };
    interfaces
        .find(|interface| interface.address.ip_addr() == Some(address))
        .is_some_and(|interface| is_tunnel(&Path::new(INTERFACES).join(interface.name)))
}

/// `interface` is its directory in sysfs. Modems without a link layer have a device behind them; tunnels have none.
fn is_tunnel(interface: &Path) -> bool {
    let kind = fs::read_to_string(interface.join("type")).unwrap_or_default();
    let is_virtual = !interface.join("device").exists();
    interface.join("tun_flags").exists() || is_virtual && kind.trim() == NO_LINK_LAYER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_and_all_of_ipv6_but_those_of_one_link_are_told() {
        for (address, is_told) in [
            ("192.168.1.2", true),
            ("203.0.113.7", false),
            ("2001:db8::7", true),
            ("2a01:4f8::1", true),
            ("fd00::1", true),
            ("fe80::1", false),
            ("::1", false),
        ] {
            let parsed = address.parse().expect("an address");
            assert_eq!(is_worth_telling(parsed), is_told, "{address}");
        }
    }

    #[test]
    fn tunnels_are_told_from_cards_bridges_and_modems() {
        let sysfs = tempfile::tempdir().expect("the temporary directory is writable");
        for (name, kind, also, expected) in [
            ("eth0", "1", Some("device"), false),
            ("br0", "1", None, false),
            ("wwan0", NO_LINK_LAYER, Some("device"), false),
            ("tap0", "1", Some("tun_flags"), true),
            ("tun0", NO_LINK_LAYER, Some("tun_flags"), true),
            ("wg0", NO_LINK_LAYER, None, true),
        ] {
            let interface = sysfs.path().join(name);
            fs::create_dir(&interface).expect("a new directory");
            let write = |file: &str, text: String| {
                fs::write(interface.join(file), text).expect("it is writable");
            };
            write("type", format!("{kind}\n"));
            if let Some(file) = also {
                write(file, String::new());
            }
            assert_eq!(is_tunnel(&interface), expected, "{name}");
        }
    }
}

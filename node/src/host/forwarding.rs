//! Turns on IP forwarding where this member carries prefixes for others.
//!
//! Only for the families that need it, and never off again: Docker and others rely on it too. Turning on IPv6
//! forwarding makes Linux ignore router advertisements, so an interface whose default route comes from one is told to
//! listen on (`accept_ra = 2`) first.

use std::{collections::BTreeSet, fs, io};

use anyhow::Context as _;
use tombolo_engine::reconcile::Family;

use super::sysctl;

const V4: &str = "net/ipv4/ip_forward";
const V6: &str = "net/ipv6/conf/all/forwarding";
/// One line per IPv6 route; proc(5).
const V6_ROUTES: &str = "/proc/net/ipv6_route";

/// Remembers what failed, so that it is said once.
#[derive(Debug, Default)]
pub struct Forwarding {
    given_up: BTreeSet<Family>,
}

impl Forwarding {
    /// Makes sure that the host forwards packets of these families.
    pub fn ensure(&mut self, families: &BTreeSet<Family>) {
        for family in families.difference(&self.given_up.clone()) {
            let (key, turned_on) = match family {
                Family::V4 => (V4, turn_on(V4)),
                Family::V6 => (V6, keep_listening_to_routers().and_then(|()| turn_on(V6))),
            };
            match turned_on {
                Ok(true) => {
                    tracing::info!("Turned on {key}: this member carries prefixes for others")
                }
                Ok(false) => {}
                Err(error) => {
                    self.given_up.insert(*family);
                    tracing::warn!("Containers behind this member are not reached: {error:#}");
                }
            }
        }
    }
}

/// Writes 1 where it is not 1 yet; whether it had to.
fn turn_on(key: &str) -> anyhow::Result<bool> {
    if sysctl::get(key)? != "0" {
        return Ok(false);
    }
    sysctl::set(key, "1")?;
    Ok(true)
}

fn keep_listening_to_routers() -> anyhow::Result<()> {
    let routes = match fs::read_to_string(V6_ROUTES) {
        Ok(routes) => routes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("Failed to read {V6_ROUTES}")),
    };
    for link in uplinks_with_router_advertisements(&routes) {
        let key = format!("net/ipv6/conf/{link}/accept_ra");
        if sysctl::get(&key).is_ok_and(|now| now == "1") {
            sysctl::set(&key, "2")?;
        }
    }
    Ok(())
}

/// Interfaces with a default route that a router advertisement brought (`RTF_ADDRCONF | RTF_DEFAULT`).
fn uplinks_with_router_advertisements(routes: &str) -> BTreeSet<&str> {
    const RTF_FROM_ROUTER: u32 = 0x0004_0000 | 0x0001_0000;
    let uplink = |line: &'_ str| -> Option<(bool, u32)> {
        let mut fields = line.split_whitespace();
        let is_default =
            fields.next()?.bytes().all(|digit| digit == b'0') && fields.next()? == "00";
        let flags = u32::from_str_radix(fields.nth(6)?, 16).ok()?;
        Some((is_default, flags))
    };
    routes
        .lines()
        .filter(|line| {
            uplink(line).is_some_and(|(is_default, flags)| {
                is_default && flags & RTF_FROM_ROUTER == RTF_FROM_ROUTER
            })
        })
        .filter_map(|line| line.split_whitespace().last())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_default_routes_from_router_advertisements_mark_an_uplink() {
        let zero = "0".repeat(32);
        let routes = format!(
            "{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00450003     eth0\n\
             {zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth1\n\
             20010db8000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00450001     eth2\n"
        );

        assert_eq!(
            uplinks_with_router_advertisements(&routes),
            BTreeSet::from(["eth0"])
        );
    }
}

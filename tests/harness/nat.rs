//! Routers with NAT between a laboratory's underlay and hosts behind them, as homes and offices have them.
//!
//! ```text
//!   underlay 203.0.113.0/24 ── eth0  router  lan0 10.<n>.0.1/24 ── hosts behind it, IPv4 alone
//!                                           lan<m> 10.<m>.0.1/24 ── more of them, where it has another segment
//! ```
//!
//! Linux's own masquerading is a NAT that maps every inner socket once and lets in nothing but answers; the other kinds
//! of RFC 4787 are made of it with maps that are filled by what goes out.

use std::{fs, net::Ipv4Addr, process::Command};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::netns::{Bridge, Host, Lab};

/// What a router's NAT does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// One mapping per inner socket, open to everybody.
    FullCone,
    /// One mapping per inner socket, open to addresses that it has sent to.
    AddressRestricted,
    /// One mapping per inner socket, open to sockets that it has sent to.
    PortRestricted,
    /// A mapping for every destination, at a random port, open to that destination alone.
    Symmetric,
    /// The same, at ports in a row.
    SymmetricSequential,
}

/// How hosts ask a router for a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortProtocol {
    /// PCP (RFC 6887) and NAT-PMP (RFC 6886).
    Pcp,
    /// UPnP alone.
    Upnp,
}

/// A router and its inner network.
#[derive(Debug)]
pub struct Router {
    /// Its place on the underlay.
    pub host: Host,
    lan: Bridge,
}

impl Lab {
    /// Adds a router whose inner network is `10.<number>.0.0/24`.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    #[track_caller]
    pub fn router(&self, name: &str, number: u8, nat: Nat) -> Router {
        let host = self.host(name);
        let v4 = Ipv4Net::new(Ipv4Addr::new(10, number, 0, 0), 24).expect("24 is within 32");
        let v6: Ipv6Net = format!("fd00:{number}::/64").parse().expect("a prefix");
        let lan = self.bridge(&host, "lan0", v4, v6);
        // Inside there is IPv6, but no way out for it.
        host.namespace.sysctl("net.ipv6.conf.all.forwarding", 0);
        let rules = host.dir.join("nat.nft");
        fs::write(&rules, nat.rules()).expect("the lab's directory is writable");
        host.namespace.run(&format!("nft -f {}", rules.display()));
        Router { host, lan }
    }

    /// Gives a router another inner network, `10.<number>.0.0/24`. From one to the other nothing passes but what the
    /// router's own NAT turns round.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    #[track_caller]
    pub fn segment(&self, router: &Router, number: u8) -> Bridge {
        let v4 = Ipv4Net::new(Ipv4Addr::new(10, number, 0, 0), 24).expect("24 is within 32");
        let v6: Ipv6Net = format!("fd00:{number}::/64").parse().expect("a prefix");
        let name = format!("lan{number}");
        let segment = self.bridge(&router.host, &name, v4, v6);
        let first = &router.lan.name;
        let turned_round = format!("iifname {{ {first}, {name} }} ct status dnat accept");
        router.host.namespace.shell(&format!(
            "nft add table ip apart
             nft add chain ip apart between '{{ type filter hook forward priority 1; }}'
             nft add rule ip apart between '{turned_round}'
             nft add rule ip apart between iifname {first} oifname {name} drop
             nft add rule ip apart between iifname {name} oifname {first} drop",
        ));
        segment
    }

    /// Adds a host behind a router, at its inner address with this last number.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    #[track_caller]
    pub fn host_behind(&self, router: &Router, name: &str, number: u8) -> Host {
        self.host_in(router, &router.lan, name, number)
    }

    /// The same in one of its segments.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    #[track_caller]
    pub fn host_in(&self, router: &Router, segment: &Bridge, name: &str, number: u8) -> Host {
        let inside = self.container(&router.host, segment, number);
        let dir = self.dir().join(name);
        fs::create_dir_all(&dir).expect("the temporary directory is writable");
        Host {
            name: name.to_owned(),
            namespace: inside.namespace,
            v4: inside.v4,
            v6: inside.v6,
            dir,
        }
    }
}

impl Router {
    /// From now on what inner hosts send to the router's own address goes back in to whoever has that port, as if it
    /// came from outside (RFC 4787, REQ-9: hairpinning). Inner hosts have to use different ports.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn hairpins(&self) {
        let rules = self.host.dir.join("hairpin.nft");
        let outer = self.host.v4;
        let text = format!(
            "table ip hairpin {{
               map inner {{ type inet_service : ipv4_addr; flags timeout, dynamic; }}
               chain learn {{ type filter hook postrouting priority 51;
                 oifname \"eth0\" meta l4proto udp update @inner {{ udp sport timeout 60s : ip saddr }}
               }}
               chain before {{ type nat hook prerouting priority dstnat;
                 iifname \"lan*\" ip daddr {outer} meta l4proto udp dnat ip to udp dport map @inner
               }}
               chain after {{ type nat hook postrouting priority srcnat;
                 oifname \"lan*\" ct status dnat meta l4proto udp snat ip to {outer}
               }}
             }}\n"
        );
        fs::write(&rules, text).expect("the lab's directory is writable");
        let inside = &self.host.namespace;
        inside.run(&format!("nft -f {}", rules.display()));
    }

    /// The daemon of Debian's `miniupnpd-nftables`, to be run: the router then maps ports of its
    /// address `outer` for whoever asks from inside by this protocol.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    #[track_caller]
    pub fn maps_ports(&self, miniupnpd: &str, outer: &str, by: PortProtocol) -> Command {
        let rules = self.host.dir.join("mapped.nft");
        fs::write(&rules, MAPPED).expect("the lab's directory is writable");
        let inside = &self.host.namespace;
        inside.run(&format!("nft -f {}", rules.display()));
        let config = self.host.dir.join("miniupnpd.conf");
        let [pcp, upnp] = match by {
            PortProtocol::Pcp => ["yes", "no"],
            PortProtocol::Upnp => ["no", "yes"],
        };
        let text = format!(
            "ext_ifname=eth0\next_ip={outer}\nlistening_ip=lan0\nenable_natpmp={pcp}\nenable_upnp={upnp}\n\
             uuid=8f1e1a3e-1c5b-4d8e-9c64-1f6f1b1f0a01\nallow 1024-65535 0.0.0.0/0 1024-65535\n"
        );
        fs::write(&config, text).expect("the lab's directory is writable");
        let pid = self.host.dir.join("miniupnpd.pid");
        let mut command = inside.command(miniupnpd);
        command.arg("-d").arg("-f").arg(config).arg("-P").arg(pid);
        command
    }
}

/// Where miniupnpd puts its rules, as its package's own script makes it.
const MAPPED: &str = "table inet filter {
  chain miniupnpd { }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
  chain forward { type filter hook forward priority 0; policy accept; jump miniupnpd; }
  chain prerouting { type nat hook prerouting priority -100; policy accept; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority 100; policy accept; jump postrouting_miniupnpd; }
}
";

impl Nat {
    /// Whether it maps by destination.
    #[must_use]
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::Symmetric | Self::SymmetricSequential)
    }

    /// What a node behind it finds out about its mapping.
    #[must_use]
    pub const fn mapping(self) -> &'static str {
        if self.is_symmetric() {
            "address-and-port-dependent"
        } else {
            "endpoint-independent"
        }
    }

    /// What a node behind it finds out about its filter, from one controller: whether other hosts get in it cannot tell.
    #[must_use]
    pub const fn filtering(self) -> &'static str {
        match self {
            Self::FullCone | Self::AddressRestricted => "address-dependent",
            Self::PortRestricted | Self::Symmetric | Self::SymmetricSequential => {
                "address-and-port-dependent"
            }
        }
    }

    /// Rules for nft. What comes in and nobody waits for is dropped before conntrack keeps it: it would take the port that
    /// an inner socket is about to be mapped to.
    fn rules(self) -> String {
        let masquerade = match self {
            Self::FullCone | Self::AddressRestricted | Self::PortRestricted => "masquerade",
            Self::Symmetric => "masquerade fully-random",
            Self::SymmetricSequential => {
                "meta l4proto udp masquerade to :numgen inc mod 20000 offset 40000"
            }
        };
        // Masquerading keeps ports, so the outer port is known before there is a mapping.
        let open = match self {
            Self::FullCone => Some(("inet_service", "udp sport", "udp dport")),
            Self::AddressRestricted => Some((
                "inet_service . ipv4_addr",
                "udp sport . ip daddr",
                "udp dport . ip saddr",
            )),
            Self::PortRestricted | Self::Symmetric | Self::SymmetricSequential => None,
        };
        let opened = open.map(|(key, sent, received)| {
            format!(
                "map open {{ type {key} : ipv4_addr; flags timeout, dynamic; }}
                 chain before {{ type nat hook prerouting priority dstnat;
                   iifname \"eth0\" meta l4proto udp dnat ip to {received} map @open
                 }}
                 chain learn {{ type filter hook postrouting priority 50;
                   oifname \"eth0\" meta l4proto udp update @open {{ {sent} timeout 60s : ip saddr }}
                 }}"
            )
        });
        format!(
            "table ip nat {{
               {}
               chain after {{ type nat hook postrouting priority srcnat;
                 oifname \"eth0\" {masquerade}
               }}
               chain through {{ type filter hook forward priority filter;
                 iifname \"eth0\" ct state invalid drop
                 iifname \"eth0\" ct state new ct status dnat accept
                 iifname \"eth0\" ct state new drop
               }}
               chain to_router {{ type filter hook input priority filter;
                 iifname \"eth0\" meta l4proto udp ct state new drop
               }}
             }}\n",
            opened.unwrap_or_default()
        )
    }
}

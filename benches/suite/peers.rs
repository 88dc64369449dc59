//! The peers, in the order of tables.

mod boringtun;
mod gotatun;
mod n2n;
mod nebula;
mod openvpn;
mod raw;
mod tinc;
mod tombolo;
mod tombolo_plain;
mod vpncloud;
mod vxlan;
mod wireguard;
mod wireguard_go;

use crate::peer::Peer;

/// All of them.
pub const ALL: &[&dyn Peer] = &[
    &raw::Raw,
    &vxlan::Vxlan,
    &tombolo_plain::TomboloPlain,
    &tombolo::Tombolo::AS_INSTALLED,
    &tombolo::Tombolo::WITHOUT_AES,
    &wireguard_go::WireguardGo,
    &boringtun::Boringtun,
    &gotatun::Gotatun,
    &nebula::Nebula,
    &tinc::Tinc,
    &vpncloud::Vpncloud,
    &n2n::N2n,
    &openvpn::Openvpn,
];

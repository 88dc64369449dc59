//! A small world of few nodes, few addresses and few prefixes, so that random commands meet each other.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::IpNet;
use proptest::prelude::*;
use tombolo_domain::{
    command::{Author, Command, MemberPatch, RoutePatch, RouteWish, SettingsPatch},
    decide::decide,
    managed_route::{RouteId, RouteState},
    member::Request,
    network::Network,
    settings::{MemberRoutes, Settings, V4Plan},
};
use tombolo_proto::{
    config::{RouteMode, V6Mode},
    id::{NetworkId, NodeId, UnixSeconds},
    key::{IdentityKey, TransportKey},
};

pub(crate) const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const NODES: u8 = 6;

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Join {
        who: u8,
        granted: bool,
        epoch: u32,
    },
    Authorize(u8, bool),
    Rename(u8, u8),
    Address(u8, u8),
    Remove(u8),
    Route {
        id: u32,
        who: u8,
        target: IpNet,
        failover: bool,
        admin: bool,
    },
    Approve(u32),
    Failover(u32, bool),
    RemoveRoute(u32),
    Withdraw(u8, IpNet),
    Subnet {
        id: u32,
        who: u8,
    },
    Modes(bool),
    Pool(u8),
    Setting(MemberRoutes),
    Upkeep,
}

pub(crate) fn a_step() -> impl Strategy<Value = Step> {
    let who = 0..NODES;
    prop_oneof![
        4 => (who.clone(), any::<bool>(), 0u32..2)
            .prop_map(|(who, granted, epoch)| Step::Join { who, granted, epoch }),
        4 => (who.clone(), any::<bool>()).prop_map(|(who, on)| Step::Authorize(who, on)),
        1 => (who.clone(), 0u8..4).prop_map(|(who, name)| Step::Rename(who, name)),
        2 => (who.clone(), 0u8..16).prop_map(|(who, low)| Step::Address(who, low)),
        1 => who.clone().prop_map(Step::Remove),
        6 => (0u32..12, who.clone(), a_target(), any::<bool>(), any::<bool>())
            .prop_map(|(id, who, target, failover, admin)| Step::Route { id, who, target, failover, admin }),
        2 => (0u32..12).prop_map(Step::Approve),
        1 => (0u32..12, any::<bool>()).prop_map(|(id, on)| Step::Failover(id, on)),
        1 => (0u32..12).prop_map(Step::RemoveRoute),
        1 => (who.clone(), a_target()).prop_map(|(who, target)| Step::Withdraw(who, target)),
        1 => (12u32..20, who).prop_map(|(id, who)| Step::Subnet { id, who }),
        1 => any::<bool>().prop_map(Step::Modes),
        1 => (0u8..3).prop_map(Step::Pool),
        1 => prop_oneof![Just(MemberRoutes::Approve), Just(MemberRoutes::Auto), Just(MemberRoutes::Off)]
            .prop_map(Step::Setting),
        1 => Just(Step::Upkeep),
    ]
}

pub(crate) fn a_target() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (0u8..4, 22u8..=26).prop_map(|(third, length)| net(&format!("172.28.{third}.0/{length}"))),
        Just(net("10.0.0.0/29")),
        Just(net("0.0.0.0/0")),
        Just(net("2001:db8::/48")),
        Just(net("2001:db8::/64")),
        Just(net("fc00::/7")),
        Just(net("127.0.0.0/8")),
    ]
}

impl Step {
    /// Members are sometimes named before they are there: refusals are part of the game.
    pub(crate) fn command(&self, network: &Network) -> Command {
        match self.clone() {
            Self::Join {
                who,
                granted,
                epoch,
            } => Command::Join {
                request: a_request(who, epoch),
                granted,
            },
            Self::Authorize(who, on) => update(
                who,
                MemberPatch {
                    authorized: Some(on),
                    ..MemberPatch::default()
                },
            ),
            Self::Rename(who, name) => update(
                who,
                MemberPatch {
                    name: Some(format!("name-{name}").parse().expect("a name")),
                    ..MemberPatch::default()
                },
            ),
            Self::Address(who, low) => update(
                who,
                MemberPatch {
                    addresses: Some(BTreeSet::from([Ipv4Addr::new(10, 0, 0, low).into()])),
                    ..MemberPatch::default()
                },
            ),
            Self::Remove(who) => Command::RemoveMember(identity(who)),
            Self::Route {
                id,
                who,
                target,
                failover,
                admin,
            } => Command::AddRoute(RouteWish {
                // Ids are drawn at random by callers: never one that is there.
                id: fresh(network, id),
                target: target.trunc(),
                via: identity(who),
                mode: mode(failover),
                metric: 0,
                author: if admin { Author::Admin } else { Author::Member },
            }),
            Self::Approve(id) => Command::UpdateRoute {
                id: RouteId(id),
                patch: RoutePatch {
                    state: Some(RouteState::Active),
                    ..RoutePatch::default()
                },
            },
            Self::Failover(id, on) => Command::UpdateRoute {
                id: RouteId(id),
                patch: RoutePatch {
                    mode: Some(mode(on)),
                    ..RoutePatch::default()
                },
            },
            Self::RemoveRoute(id) => Command::RemoveRoute(RouteId(id)),
            Self::Withdraw(who, target) => Command::WithdrawRoute {
                identity: identity(who),
                prefix: target.trunc(),
            },
            Self::Subnet { id, who } => Command::AllocateSubnet {
                id: fresh(network, id),
                via: identity(who),
                length: 24,
                metric: 0,
                author: Author::Admin,
            },
            Self::Modes(both) => configure(SettingsPatch {
                v6_modes: Some(if both {
                    BTreeSet::from([V6Mode::SixPlane, V6Mode::Rfc4193])
                } else {
                    BTreeSet::new()
                }),
                ..SettingsPatch::default()
            }),
            Self::Pool(which) => configure(SettingsPatch {
                v4: Some(pool(
                    ["10.0.0.0/29", "10.0.0.0/28", "172.28.0.0/23"][usize::from(which)],
                )),
                ..SettingsPatch::default()
            }),
            Self::Setting(member_routes) => configure(SettingsPatch {
                member_routes: Some(member_routes),
                ..SettingsPatch::default()
            }),
            Self::Upkeep => Command::Upkeep {
                requests_since: UnixSeconds(NOW.0 - 1),
            },
        }
    }
}

/// A network at its first revision, with room for six members.
pub(crate) fn a_network() -> Network {
    let id = NetworkId::from_bits(0x8056_c2e2_1c00_0001).expect("a valid id");
    let mut settings = Settings::new("home".parse().expect("a name"));
    settings.v4 = pool("10.0.0.0/29");
    let blank = Network::new(id, settings);
    let first = Command::Configure(SettingsPatch::default());
    let changes = decide(first, &blank, NOW).expect("sensible settings");
    blank.apply(&changes)
}

pub(crate) fn a_request(who: u8, epoch: u32) -> Request {
    Request {
        identity: identity(who),
        node: NodeId::new(0x10_0000_0000 + u64::from(who)).expect("a valid address"),
        name: "host".parse().expect("a name"),
        transport: TransportKey([who + 100 + epoch as u8; 32]),
        transport_epoch: epoch,
        source: Ipv4Addr::new(192, 0, 2, who).into(),
        requested_at: NOW,
    }
}

pub(crate) fn identity(who: u8) -> IdentityKey {
    IdentityKey([who + 1; 32])
}

pub(crate) fn net(text: &str) -> IpNet {
    text.parse::<IpNet>().expect("a prefix").trunc()
}

fn pool(text: &str) -> V4Plan {
    V4Plan::whole(text.parse().expect("a prefix")).expect("a sensible pool")
}

const fn mode(failover: bool) -> RouteMode {
    if failover {
        RouteMode::Failover
    } else {
        RouteMode::Single
    }
}

fn fresh(network: &Network, id: u32) -> RouteId {
    (id..)
        .step_by(20)
        .map(RouteId)
        .find(|id| network.route(*id).is_none())
        .expect("there are more ids than routes")
}

fn update(who: u8, patch: MemberPatch) -> Command {
    Command::UpdateMember {
        identity: identity(who),
        patch,
    }
}

const fn configure(patch: SettingsPatch) -> Command {
    Command::Configure(patch)
}

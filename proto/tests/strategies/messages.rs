//! Arbitrary messages between nodes and controllers.

use super::*;

pub(crate) fn to_controller() -> impl Strategy<Value = ToController> {
    let action = prop_oneof![
        any::<u32>().prop_map(|metric| RouteAction::Publish { metric }),
        Just(RouteAction::Withdraw)
    ];
    prop_oneof![
        (any::<u16>(), any::<u16>(), ".{0,20}")
            .prop_map(|(min, max, software)| ToController::Hello { min, max, software }),
        any::<u32>().prop_map(|variant| ToController::Unsupported { variant }),
        (
            a_network_id(),
            option::of(".{0,40}"),
            a_transport(),
            any::<u32>(),
            ".{0,20}"
        )
            .prop_map(|(network, token, transport, transport_epoch, name)| {
                ToController::Join {
                    network,
                    token,
                    transport,
                    transport_epoch,
                    name,
                }
            }),
        (a_network_id(), a_version())
            .prop_map(|(network, have)| ToController::Sync { network, have }),
        (a_network_id(), any::<u64>()).prop_map(|(network, moment)| {
            ToController::EndpointsSince {
                network,
                moment: UnixSeconds(moment),
            }
        }),
        any::<u64>().prop_map(|bits| ToController::Capabilities(Capabilities(bits))),
        (a_network_id(), collection::vec(a_node_id(), 0..4))
            .prop_map(|(network, peers)| ToController::ByTcp { network, peers }),
        (a_network_id(), a_signed_announcement()).prop_map(|(network, announcement)| {
            ToController::Announce {
                network,
                announcement,
            }
        }),
        (a_network_id(), any::<u32>(), a_prefix(), action).prop_map(
            |(network, request, prefix, action)| ToController::Route {
                network,
                request,
                prefix,
                action
            }
        ),
        a_network_id().prop_map(|network| ToController::Leave { network }),
        (a_network_id(), collection::vec(".{0,20}", 0..3))
            .prop_map(|(network, clashes)| ToController::Clashes { network, clashes }),
        (a_network_id(), any::<u32>(), any::<u8>(), any::<u32>()).prop_map(
            |(network, request, length, metric)| ToController::Subnet {
                network,
                request,
                length,
                metric,
            }
        ),
        (a_network_id(), an_identity(), a_signed_announcement()).prop_map(
            |(network, peer, announcement)| ToController::Rendezvous {
                network,
                peer,
                announcement,
            }
        ),
        (a_network_id(), a_relay_message())
            .prop_map(|(network, message)| ToController::Relay { network, message }),
        (a_network_id(), a_link_report())
            .prop_map(|(network, report)| ToController::Links { network, report }),
        (a_network_id(), any::<u64>(), any::<u64>()).prop_map(|(network, clients, bytes)| {
            ToController::Carries {
                network,
                carried: Carried { clients, bytes },
            }
        }),
    ]
}

fn a_link_report() -> impl Strategy<Value = LinkReport> {
    let way = prop_oneof![
        Just(LinkWay::Direct),
        option::of(a_node_id()).prop_map(LinkWay::Relayed)
    ];
    let link = (a_node_id(), way, option::of(any::<u32>())).prop_map(|(peer, way, latency)| Link {
        peer,
        way,
        latency,
    });
    (collection::vec(link, 0..4), any::<u64>(), any::<u64>()).prop_map(|(links, sent, received)| {
        LinkReport {
            links,
            sent,
            received,
        }
    })
}

pub(crate) fn to_node() -> impl Strategy<Value = ToNode> {
    let standing = prop_oneof![
        Just(Standing::Pending),
        Just(Standing::Member),
        ".{0,20}".prop_map(|reason| Standing::Denied { reason }),
        Just(Standing::NotFound),
        Just(Standing::Busy),
    ];
    let outcome = prop_oneof![
        Just(RouteOutcome::Active),
        Just(RouteOutcome::Pending),
        Just(RouteOutcome::Withdrawn),
        ".{0,20}".prop_map(|reason| RouteOutcome::Refused { reason }),
    ];
    let allocated = prop_oneof![
        a_prefix().prop_map(|prefix| SubnetOutcome::Allocated { prefix }),
        ".{0,20}".prop_map(|reason| SubnetOutcome::Refused { reason }),
    ];
    let met = prop_oneof![
        Just(RendezvousOutcome::Told),
        Just(RendezvousOutcome::NotHere),
        Just(RendezvousOutcome::Refused),
        Just(RendezvousOutcome::Busy),
    ];
    prop_oneof![
        (any::<u16>(), a_keyring(), a_secret(), a_node_id()).prop_map(
            |(protocol, keyring, key, authority)| {
                let keyring = Signed::sign(&keyring, Keyring::scope(authority), &key);
                ToNode::Welcome {
                    protocol,
                    root: key.public(),
                    keyring,
                }
            }
        ),
        any::<(u16, u16)>().prop_map(|(min, max)| ToNode::Incompatible { min, max }),
        any::<u32>().prop_map(|variant| ToNode::Unsupported { variant }),
        (a_network_id(), standing)
            .prop_map(|(network, standing)| ToNode::Status { network, standing }),
        (
            a_network_id(),
            collection::vec(an_entry(), 0..3),
            a_version(),
            any::<bool>()
        )
            .prop_map(|(network, entries, upto, more)| ToNode::Directory {
                network,
                entries,
                upto,
                more
            }),
        (a_network_id(), an_identity(), a_signed_announcement()).prop_map(
            |(network, identity, announcement)| {
                ToNode::Endpoints {
                    network,
                    identity,
                    announcement,
                }
            }
        ),
        (a_network_id(), any::<u32>(), outcome).prop_map(|(network, request, outcome)| {
            ToNode::RouteAnswer {
                network,
                request,
                outcome,
            }
        }),
        (a_network_id(), any::<u32>(), allocated).prop_map(|(network, request, outcome)| {
            ToNode::SubnetAnswer {
                network,
                request,
                outcome,
            }
        }),
        (a_network_id(), an_identity(), a_signed_announcement()).prop_map(
            |(network, identity, announcement)| ToNode::Rendezvous {
                network,
                identity,
                announcement,
            }
        ),
        (a_network_id(), an_identity(), met).prop_map(|(network, peer, outcome)| {
            ToNode::RendezvousAnswer {
                network,
                peer,
                outcome,
            }
        }),
        any::<u16>().prop_map(|port| ToNode::Relay { port }),
        (a_network_id(), any::<u64>()).prop_map(|(network, moment)| ToNode::EndpointsUpto {
            network,
            moment: UnixSeconds(moment),
        }),
        (a_keyring(), a_secret(), a_node_id()).prop_map(|(keyring, key, authority)| {
            ToNode::Keyring(Signed::sign(&keyring, Keyring::scope(authority), &key))
        }),
        (a_network_id(), any::<u16>(), a_relay_message()).prop_map(|(network, port, message)| {
            ToNode::RelayAnswer {
                network,
                port,
                message,
            }
        }),
    ]
}

fn a_relay_message() -> impl Strategy<Value = RelayMessage> {
    let index = || any::<u32>().prop_map(RelayIndex);
    let reason = prop_oneof![
        Just(RelayRefusal::NotRelaying),
        Just(RelayRefusal::Full),
        Just(RelayRefusal::NotAClient),
        Just(RelayRefusal::NotHere),
        Just(RelayRefusal::NotAMember),
    ];
    prop_oneof![
        Just(RelayMessage::Ask),
        (index(), any::<[u8; 16]>()).prop_map(|(index, key)| RelayMessage::Grant {
            index,
            key: RelayKey(key),
        }),
        an_identity().prop_map(|peer| RelayMessage::Open { peer }),
        (an_identity(), index()).prop_map(|(peer, channel)| RelayMessage::Opened { peer, channel }),
        (option::of(an_identity()), reason)
            .prop_map(|(peer, reason)| RelayMessage::Refused { peer, reason }),
        Just(RelayMessage::Farewell),
    ]
}

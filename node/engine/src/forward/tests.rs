use std::{collections::BTreeSet, sync::Arc};

use proptest::prelude::*;
use tombolo_proto::{
    config::MemberCert,
    frame::LANE_CONTROL,
    id::{Mtu, NodeId, UnixSeconds, Version},
    key::{IdentityKey, TransportKey},
};

use super::*;
use crate::{
    counters::PeerCounters,
    fib::SendPath,
    lane::{Aead, Lane, LaneKeys, framed},
    ownership::Ownership,
    parts::Unfinished,
};

const ME: u8 = 1;
const PEER: u8 = 2;
const STRANGER: u8 = 3;
const NEAR: LaneIndex = LaneIndex(10);
const FAR: LaneIndex = LaneIndex(20);

#[test]
fn a_packet_passes_from_one_side_to_the_other() {
    let (near, far) = two_sides();
    let mut frame = framed(&a_packet(ME, PEER));

    let sent = near.outbound(NetworkSlot(0), &mut frame);

    let to = place(PEER);
    assert_eq!(
        sent,
        Outbound::Send {
            to: Way::Direct(to),
            peer: PeerSlot(0)
        }
    );
    let Inbound::Deliver {
        network,
        packet,
        note: None,
    } = far.inbound(place(ME), &mut frame)
    else {
        panic!("not delivered");
    };
    assert_eq!(network, NetworkSlot(0));
    assert_eq!(&frame[packet], &a_packet(ME, PEER)[..]);
    let counters = &lane_of(&far).counters;
    assert_eq!(
        counters
            .rx_packets
            .load(std::sync::atomic::Ordering::Relaxed),
        1
    );
}

#[test]
fn a_peer_without_a_lane_and_one_whose_key_is_used_up_punt_the_packet_as_it_was() {
    let (mut near, _) = two_sides();
    let mut frame = framed(&a_packet(ME, PEER));
    let path = near.paths[0].clone().expect("a path");
    for _ in 0..3 {
        assert!(matches!(
            near.outbound(NetworkSlot(0), &mut framed(&a_packet(ME, PEER))),
            Outbound::Send { .. }
        ));
    }
    path.lane.exhaust();

    let used_up = near.outbound(NetworkSlot(0), &mut frame);
    near.paths[0] = None;
    let without = near.outbound(NetworkSlot(0), &mut frame);

    let expected = Outbound::Punt(Punt::Packet {
        peer: PeerSlot(0),
        packet: a_packet(ME, PEER),
    });
    assert_eq!((&used_up, &without), (&expected, &expected));
}

#[test]
fn what_is_not_ip_or_leads_nowhere_is_dropped_and_counted() {
    let (near, _) = two_sides();

    let drops = [
        near.outbound(NetworkSlot(0), &mut framed(b"not ip")),
        near.outbound(NetworkSlot(0), &mut []),
        near.outbound(NetworkSlot(0), &mut framed(&a_packet(ME, STRANGER))),
        near.outbound(NetworkSlot(0), &mut framed(&a_packet(PEER, ME))),
        near.outbound(NetworkSlot(9), &mut framed(&a_packet(ME, PEER))),
    ];

    let expected = [
        DropReason::NotIp,
        DropReason::NotIp,
        DropReason::NoRoute,
        DropReason::NoRoute,
        DropReason::NoRoute,
    ];
    assert_eq!(drops, expected.map(Outbound::Drop));
    assert_eq!(near.counters().get(DropReason::NoRoute), 3);
}

#[test]
fn a_peer_may_send_only_from_what_it_owns() {
    let (near, far) = two_sides();
    for source in [STRANGER, PEER] {
        let mut frame = framed(&a_packet(source, PEER));
        let path = near.paths[0].clone().expect("a path");
        path.lane.seal(LANE_DATA, &mut frame).expect("a fresh lane");

        let verdict = far.inbound(place(ME), &mut frame);

        assert_eq!(verdict, Inbound::Drop(DropReason::SourceNotAllowed));
    }
}

#[test]
fn the_first_frames_of_an_unconfirmed_lane_say_so_until_somebody_listens() {
    let (near, far) = two_sides();
    let lane = Arc::clone(&lane_of(&far).lane);
    let index = lane.local();
    lane.unconfirm();

    let note = Some(Punt::Confirmed {
        lane: index,
        from: Way::from(place(ME)),
    });
    assert_eq!(note_of(&near, &far, place(ME)), note);
    assert_eq!(note_of(&near, &far, place(ME)), note);
    lane.set_confirmed();
    assert_eq!(note_of(&near, &far, place(ME)), None);
}

#[test]
fn the_newest_frame_from_another_address_is_reported_once_and_now_and_then_again() {
    let (near, far) = two_sides();
    let index = lane_of(&far).lane.local();
    let elsewhere = place(STRANGER);

    let notes: Vec<_> = (0..200).map(|_| note_of(&near, &far, elsewhere)).collect();

    let roamed = Some(Punt::Roamed {
        lane: index,
        from: Way::from(elsewhere),
    });
    assert_eq!(notes[0], roamed);
    let reported = notes.iter().filter(|note| note.is_some()).count();
    assert!((2..=5).contains(&reported), "{reported}");
}

#[test]
fn control_messages_go_to_the_slow_path_opened() {
    let (near, far) = two_sides();
    let mut frame = framed(b"hello");
    let path = near.paths[0].clone().expect("a path");
    path.lane
        .seal(LANE_CONTROL, &mut frame)
        .expect("a fresh lane");

    let Inbound::Punt(Punt::Control { message, .. }) = far.inbound(place(ME), &mut frame) else {
        panic!("not punted");
    };

    assert_eq!(message, b"hello");
}

#[test]
fn kinds_of_later_versions_and_handshakes_for_nobody_are_dropped() {
    let (near, _) = two_sides();
    let from = place(STRANGER);
    let drop = |bytes: &[u8]| near.inbound(from, &mut bytes.to_vec());
    let padded = |first: &[u8], length: usize| [first, &vec![0; length - first.len()]].concat();

    for unknown in [&[0x12, 0][..], &[0x20], &[0x30], &[0x99], &[]] {
        assert_eq!(drop(unknown), Inbound::Drop(DropReason::UnknownFrame));
    }
    for (kind, length) in [(1, 148), (2, 92), (3, 64), (4, 100)] {
        let message = padded(&[kind, 0, 0, 0], length);
        assert_eq!(drop(&message), Inbound::Drop(DropReason::UnknownHandshake));
    }
    assert_eq!(
        drop(&padded(&[4, 0, 0, 0], 5000)),
        Inbound::Drop(DropReason::UnknownFrame)
    );
    assert_eq!(
        drop(&padded(&[0x10, 0, 0, 0], 40)),
        Inbound::Drop(DropReason::UnknownLane)
    );
    assert_eq!(
        drop(&padded(&[0x10, 1, 0, 0], 40)),
        Inbound::Drop(DropReason::UnknownFrame)
    );
}

#[test]
fn a_packet_too_large_for_the_way_arrives_whole_and_only_from_who_may_send_it() {
    let (mut near, far) = two_sides();
    let mut packet = a_packet(ME, PEER);
    packet[2..4].copy_from_slice(&1400u16.to_be_bytes());
    packet.resize(1400, 9);
    narrow(&mut near, 1188);

    let whole = cross(&near, &far, &packet);

    assert_eq!(whole, [(NetworkSlot(0), packet.clone(), Ecn::NotEct)]);
    packet[15] = STRANGER;
    let path = near.paths[0].clone().expect("a path");
    let parts = cut(&path, &packet).expect("two parts").sealed();
    assert_eq!(take(&far, parts), []);
    let counters = &lane_of(&far).counters;
    assert_eq!(counters.dropped.get(DropReason::SourceNotAllowed), 1);
}

#[test]
fn parts_that_are_repeated_or_changed_on_the_way_give_no_packet() {
    let (mut near, far) = two_sides();
    narrow(&mut near, 1188);
    let mut packet = a_packet(ME, PEER);
    packet[2..4].copy_from_slice(&1400u16.to_be_bytes());
    packet.resize(1400, 9);
    let path = near.paths[0].clone().expect("a path");
    let parts = cut(&path, &packet).expect("two parts").sealed();
    let mut forged = parts.clone();
    forged[1][100] ^= 1;

    assert_eq!(take(&far, forged), []);
    let repeated = [&parts[..1], &parts[..1], &parts[1..], &parts[..]].concat();
    assert_eq!(take(&far, repeated).len(), 1);

    let counters = &lane_of(&far).counters;
    assert_eq!(counters.dropped.get(DropReason::BadTag), 1);
    // The first part came with the forged one already.
    assert_eq!(counters.dropped.get(DropReason::Replayed), 4);
}

#[test]
fn what_tcp_announces_fits_the_way_and_not_only_the_network() {
    let (mut near, far) = two_sides();
    let syn = a_syn(1460);
    assert_eq!(mss_of(&crossed(&near, &far, &syn)), 1360);
    narrow(&mut near, 1232);

    assert_eq!(mss_of(&crossed(&near, &far, &syn)), 1232 - 32 - 40);
}

proptest! {
    #[test]
    fn no_bytes_panic_or_are_delivered(
        first in prop_oneof![Just(0x10u8), Just(0x11), Just(1), Just(2), Just(4), any::<u8>()],
        rest in prop::collection::vec(any::<u8>(), 0..200),
        names_the_lane in any::<bool>(),
    ) {
        let (near, far) = two_sides();
        let mut datagram = [&[first, 0, 0, 0], &rest[..]].concat();
        if names_the_lane && let Some(field) = datagram.get_mut(4..8) {
            let index = lane_of(&far).lane.local();
            field.copy_from_slice(&index.0.to_le_bytes());
        }
        let mut frame = framed(&rest);

        let delivered = matches!(
            far.inbound(place(ME), &mut datagram),
            Inbound::Deliver { .. } | Inbound::Punt(Punt::Control { .. })
        );
        prop_assert!(!delivered);
        let _ = near.outbound(NetworkSlot(0), &mut frame);
        let _ = near.outbound(NetworkSlot(0), &mut datagram);
    }
}

fn narrow(fib: &mut Fib, frame_limit: u16) {
    let path = fib.paths[0].clone().expect("a path");
    fib.paths[0] = Some(Arc::new(SendPath {
        lane: Arc::clone(&path.lane),
        to: path.to,
        frame_limit,
        counters: Arc::clone(&path.counters),
    }));
}

fn cross(near: &Fib, far: &Fib, packet: &[u8]) -> Vec<(NetworkSlot, Vec<u8>, Ecn)> {
    match near.outbound(NetworkSlot(0), &mut framed(packet)) {
        Outbound::SendParts { frames, .. } => take(far, frames),
        verdict @ (Outbound::Send { .. } | Outbound::Punt(_) | Outbound::Drop(_)) => {
            panic!("not cut: {verdict:?}")
        }
    }
}

fn take(far: &Fib, frames: Vec<Vec<u8>>) -> Vec<(NetworkSlot, Vec<u8>, Ecn)> {
    let mut whole = Vec::new();
    for mut frame in frames {
        if let Inbound::Part {
            lane,
            counter,
            payload,
            ..
        } = far.inbound(place(ME), &mut frame)
        {
            whole.extend(far.gather(lane, counter, &frame[payload], Ecn::NotEct));
        }
    }
    whole
}

/// What becomes of a packet that goes in one frame.
fn crossed(near: &Fib, far: &Fib, packet: &[u8]) -> Vec<u8> {
    let mut frame = framed(packet);
    let _ = near.outbound(NetworkSlot(0), &mut frame);
    match far.inbound(place(ME), &mut frame) {
        Inbound::Deliver { packet, .. } => frame[packet].to_vec(),
        verdict @ (Inbound::Part { .. }
        | Inbound::Punt(_)
        | Inbound::Relayed(_)
        | Inbound::Drop(_)) => {
            panic!("not delivered: {verdict:?}")
        }
    }
}

fn a_syn(mss: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 44, 0, 0, 0, 0, 64, 6, 0, 0];
    packet.extend_from_slice(&[10, 0, 0, ME, 10, 0, 0, PEER]);
    let mut tcp = [0; 24];
    tcp[12] = 6 << 4;
    tcp[13] = 2;
    tcp[20..22].copy_from_slice(&[2, 4]);
    tcp[22..].copy_from_slice(&mss.to_be_bytes());
    packet.extend_from_slice(&tcp);
    packet
}

fn mss_of(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[42], packet[43]])
}

fn note_of(near: &Fib, far: &Fib, from: SocketAddr) -> Option<Punt> {
    let mut frame = framed(&a_packet(ME, PEER));
    let _ = near.outbound(NetworkSlot(0), &mut frame);
    match far.inbound(from, &mut frame) {
        Inbound::Deliver { note, .. } => note,
        verdict @ (Inbound::Part { .. }
        | Inbound::Punt(_)
        | Inbound::Relayed(_)
        | Inbound::Drop(_)) => {
            panic!("not delivered: {verdict:?}")
        }
    }
}

fn lane_of(far: &Fib) -> &LaneEntry {
    far.lanes.get(&FAR).expect("the lane between the two")
}

/// Two nodes with a confirmed lane between them.
fn two_sides() -> (Fib, Fib) {
    let (one, other) = ([1; 32], [2; 32]);
    let near = LaneKeys {
        seal: one,
        open: other,
    };
    let far = LaneKeys {
        seal: other,
        open: one,
    };
    (
        a_side(ME, PEER, (NEAR, FAR), &near),
        a_side(PEER, ME, (FAR, NEAR), &far),
    )
}

fn a_side(me: u8, peer: u8, (local, remote): (LaneIndex, LaneIndex), keys: &LaneKeys) -> Fib {
    let lane = Arc::new(Lane::new(local, remote, Aead::Aes256Gcm, keys));
    lane.set_confirmed();
    let counters = Arc::new(PeerCounters::default());
    let certs = [ME, PEER].map(a_cert);
    let ownership = Ownership::new(certs.iter(), key(me), Mtu::DEFAULT, |_| Some(PeerSlot(0)));
    let entry = LaneEntry {
        lane: Arc::clone(&lane),
        network: NetworkSlot(0),
        peer: PeerSlot(0),
        counters: Arc::clone(&counters),
        unfinished: Unfinished::default(),
    };
    let path = SendPath {
        lane,
        to: Way::from(place(peer)),
        frame_limit: 1432,
        counters,
    };
    Fib {
        networks: vec![Some(Arc::new(ownership))],
        paths: vec![Some(Arc::new(path))],
        lanes: [(local, Arc::new(entry))].into_iter().collect(),
        ..Fib::default()
    }
}

fn a_cert(number: u8) -> MemberCert {
    MemberCert {
        version: Version::first_epoch(1),
        node: NodeId::new(u64::from(number)).expect("a node address"),
        name: String::new(),
        identity: key(number),
        transport: TransportKey([number; 32]),
        transport_epoch: 0,
        addresses: BTreeSet::from([IpAddr::from([10, 0, 0, number])]),
        prefix: None,
        routes: Vec::new(),
        relay: false,
        tags: BTreeSet::new(),
        issued_at: UnixSeconds(0),
        not_after: UnixSeconds(u64::MAX),
    }
}

fn a_packet(from: u8, to: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 21, 0, 0, 0, 0, 64, 254, 0, 0];
    packet.extend_from_slice(&[10, 0, 0, from, 10, 0, 0, to, 7]);
    packet
}

fn key(number: u8) -> IdentityKey {
    IdentityKey([number; 32])
}

fn place(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 9790))
}

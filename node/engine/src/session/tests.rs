use proptest::prelude::*;
use tombolo_proto::key::Seed;

use super::*;

const INITIATION: usize = 148;
const RESPONSE: usize = 92;

#[test]
fn a_handshake_opens_an_envelope_in_both_directions() {
    let (mut a, mut b) = two_machines();
    establish(&mut a, &mut b);

    let there = a.seal(&a_packet(100)).expect("established");
    assert_eq!(b.receive(&there), Received::Payload(a_packet(100)));
    let back = b.seal(&a_packet(50)).expect("heard from the initiator");
    assert_eq!(a.receive(&back), Received::Payload(a_packet(50)));
    assert_eq!(there.len(), 100 + ENVELOPE);
    assert_eq!(b.receive(&there), Received::Refused);
}

#[test]
fn nothing_is_sealed_or_queued_before_there_is_a_session_or_after_it_is_forgotten() {
    let (mut a, mut b) = two_machines();
    assert_eq!(a.seal(&a_packet(100)), None);
    establish(&mut a, &mut b);
    assert_eq!(b.seal(&a_packet(100)), None);
    let sealed = a.seal(&a_packet(100)).expect("established");

    a.forget();
    b.forget();

    assert_eq!(a.seal(&a_packet(100)), None);
    assert_eq!(b.receive(&sealed), Received::Refused);
    establish(&mut a, &mut b);
    assert!(a.seal(&a_packet(100)).is_some());
}

#[test]
fn a_repeated_initiation_is_stale_even_after_forgetting() {
    let (mut a, mut b) = two_machines();
    let initiation = a.initiate().expect("an initiation");
    assert!(matches!(b.receive(&initiation), Received::Answer(_)));

    b.forget();

    assert_eq!(b.receive(&initiation), Received::Stale);
}

#[test]
fn handshakes_that_cross_both_succeed() {
    let (mut a, mut b) = two_machines();
    let (from_a, from_b) = (a.initiate().expect("one"), b.initiate().expect("another"));
    let answer_to_b = answer(&mut a, &from_b);
    let answer_to_a = answer(&mut b, &from_a);

    assert_eq!(a.receive(&answer_to_a), Received::Established);
    assert_eq!(b.receive(&answer_to_b), Received::Established);

    {
        let (from, to) = (&mut a, &mut b);
        let sealed = from.seal(&a_packet(60)).expect("established");
        assert_eq!(to.receive(&sealed), Received::Payload(a_packet(60)));
        let back = to.seal(&a_packet(61)).expect("established");
        assert_eq!(from.receive(&back), Received::Payload(a_packet(61)));
    }
}

#[test]
fn two_networks_with_the_same_keys_do_not_complete_a_handshake() {
    let (secret_a, secret_b) = (secret(1), secret(2));
    let mut a = WireGuardNoise.machine(&secret_a, secret_b.public(), [1; 32], index(1));
    let mut b = WireGuardNoise.machine(&secret_b, secret_a.public(), [2; 32], index(2));

    let response = answer(&mut b, &a.initiate().expect("an initiation"));

    assert_eq!(a.receive(&response), Received::Refused);
}

#[test]
fn a_door_knows_what_is_for_it_and_who_calls() {
    let (secret_a, secret_b) = (secret(1), secret(2));
    let door = WireGuardNoise.door(&secret_b);
    let mut a = WireGuardNoise.machine(&secret_a, secret_b.public(), [0; 32], index(1));
    let initiation = a.initiate().expect("an initiation");
    let elsewhere = WireGuardNoise.door(&secret(3));

    assert!(door.is_addressed_to_us(&initiation));
    assert_eq!(door.caller(&initiation), Some(secret_a.public()));
    assert!(!elsewhere.is_addressed_to_us(&initiation));
    for position in 0..INITIATION - 32 {
        let mut changed = initiation.clone();
        changed[position] ^= 1;
        assert!(!door.is_addressed_to_us(&changed), "byte {position}");
    }
}

#[test]
fn the_first_mac_is_checked_however_many_come() {
    let (secret_a, secret_b) = (secret(1), secret(2));
    let door = WireGuardNoise.door(&secret_b);
    let mut a = WireGuardNoise.machine(&secret_a, secret_b.public(), [0; 32], index(1));
    let initiation = a.initiate().expect("an initiation");

    assert!((0..10_000).all(|_| door.is_addressed_to_us(&initiation)));
}

#[test]
fn a_cookie_counts_for_the_address_it_was_given_to() {
    let (secret_a, secret_b) = (secret(1), secret(2));
    let door = WireGuardNoise.door(&secret_b);
    let mut a = WireGuardNoise.machine(&secret_a, secret_b.public(), [0; 32], index(1));
    let here: IpAddr = "192.0.2.1".parse().expect("an address");
    let there: IpAddr = "192.0.2.2".parse().expect("an address");

    let first = a.initiate().expect("an initiation");
    let reply = door
        .check_cookie(&first, here)
        .expect_err("it has none yet");
    assert_eq!(receiver(WireGuardKind::Cookie, &reply), Some(index(1)));
    assert_eq!(a.receive(&reply), Received::Nothing);
    let second = a.initiate().expect("an initiation");

    assert_eq!(door.check_cookie(&second, here), Ok(()));
    assert!(door.check_cookie(&second, there).is_err());
}

#[test]
fn indices_have_24_bits_and_lead_back_to_their_machine() {
    let (secret_a, secret_b) = (secret(1), secret(2));
    let wide = MachineIndex::from_bits(0xffff_fffe);
    assert_eq!(wide.get(), 0x00ff_fffe);
    let mut a = WireGuardNoise.machine(&secret_a, secret_b.public(), [0; 32], wide);
    let mut b = WireGuardNoise.machine(&secret_b, secret_a.public(), [0; 32], index(7));

    let response = answer(&mut b, &a.initiate().expect("an initiation"));
    assert_eq!(response.len(), RESPONSE);
    assert_eq!(receiver(WireGuardKind::Response, &response), Some(wide));
    assert_eq!(a.receive(&response), Received::Established);
    let sealed = a.seal(&a_packet(40)).expect("established");
    assert_eq!(receiver(WireGuardKind::Transport, &sealed), Some(index(7)));
}

#[test]
fn lengths_and_counters_that_would_hurt_the_library_never_reach_it() {
    let (mut a, mut b) = two_machines();
    establish(&mut a, &mut b);
    let genuine = a.seal(&a_packet(100)).expect("established");

    for length in [0, 1, 15, 16, 31, 32, 1199, 1201, 1500, 4000, 9000, 65_535] {
        let mut message = genuine.clone();
        message.resize(length, 0);
        assert_eq!(b.receive(&message), Received::Refused, "{length} bytes");
    }
    for counter in [
        u64::MAX,
        u64::MAX - 1,
        u64::MAX - 1024,
        u64::MAX - LIBRARY_WINDOW,
    ] {
        let mut message = genuine.clone();
        message[8..16].copy_from_slice(&counter.to_le_bytes());
        assert_eq!(b.receive(&message), Received::Refused, "counter {counter}");
    }
    assert!(a.seal(&a_packet(MAX_DATAGRAM as u16)).is_none());
    assert_eq!(b.receive(&genuine), Received::Payload(a_packet(100)));
}

proptest! {
    #[test]
    fn no_bytes_panic(kind in 0u8..6, rest in prop::collection::vec(any::<u8>(), 0..300)) {
        let (mut a, mut b) = two_machines();
        establish(&mut a, &mut b);
        let message = [&[kind, 0, 0, 0], &rest[..]].concat();
        let door = WireGuardNoise.door(&secret(2));

        prop_assert!(!door.is_addressed_to_us(&message));
        let _ = door.caller(&message);
        let _ = door.check_cookie(&message, IpAddr::from([192, 0, 2, 1]));
        prop_assert_eq!(b.receive(&message), Received::Refused);
    }
}

fn two_machines() -> (Box<dyn Machine>, Box<dyn Machine>) {
    let (secret_a, secret_b) = (secret(1), secret(2));
    (
        WireGuardNoise.machine(&secret_a, secret_b.public(), [3; 32], index(1)),
        WireGuardNoise.machine(&secret_b, secret_a.public(), [3; 32], index(2)),
    )
}

fn establish(a: &mut Box<dyn Machine>, b: &mut Box<dyn Machine>) {
    let response = answer(b, &a.initiate().expect("an initiation"));
    assert_eq!(a.receive(&response), Received::Established);
}

fn answer(machine: &mut Box<dyn Machine>, initiation: &[u8]) -> Vec<u8> {
    let received = machine.receive(initiation);
    let Received::Answer(response) = received else {
        panic!("not an answer: {received:?}");
    };
    response
}

fn secret(number: u8) -> TransportSecret {
    let network = NetworkId::from_bits(0x8056_c2e2_1c00_0001).expect("a network id");
    Seed::from_bytes([number; 32]).transport(network, 0)
}

fn index(number: u32) -> MachineIndex {
    MachineIndex::from_bits(number)
}

fn a_packet(length: u16) -> Vec<u8> {
    let mut packet = vec![0; usize::from(length)];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet
}

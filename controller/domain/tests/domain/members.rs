//! A member's life, step by step.

use crate::scene::{NOW, a_network, a_request, identity};
use tombolo_domain::{
    command::{Command, MemberPatch},
    compile::compile,
    decide::{MAX_REQUESTS, MAX_REQUESTS_PER_SOURCE, decide},
    network::Network,
    refusal::Refusal,
};
use tombolo_proto::{
    config::CERT_LIFETIME_SECONDS,
    id::{Epoch, NodeId, Revision, UnixSeconds},
    key::IdentityKey,
};

#[test]
fn deauthorising_revokes_up_to_the_last_serial_and_authorising_again_goes_above_it() {
    let network = joined(&a_network(), 0);
    let member = network.member(&identity(0)).expect("joined").clone();

    let (out, documents) = patched(&network, 0, Some(false));
    let (back, again) = patched(&out, 0, Some(true));

    let revocation = documents.revocations.first().expect("a revocation");
    assert_eq!(revocation.serial_floor, member.serial);
    assert!(documents.certs.is_empty());
    let cert = again.certs.first().expect("a new certificate");
    assert!(cert.version.revision > revocation.serial_floor);
    let kept = back.member(&identity(0)).expect("still there");
    assert_eq!(kept.addresses, member.addresses);
}

#[test]
fn deleting_revokes_frees_the_address_and_asking_again_waits_anew() {
    let network = joined(&a_network(), 0);
    let address = network
        .member(&identity(0))
        .expect("joined")
        .addresses
        .clone();

    let changes = decide(Command::RemoveMember(identity(0)), &network, NOW).expect("it is there");
    let gone = network.apply(&changes);
    let documents = compile(&network, &gone, &changes, Epoch(0), NOW);
    let again = apply(&gone, join(0, false));

    assert_eq!(documents.revocations.len(), 1);
    assert!(again.member(&identity(0)).is_none() && again.request(&identity(0)).is_some());
    let (member, _) = patched(&again, 0, Some(true));
    assert_eq!(
        member.member(&identity(0)).expect("authorised").addresses,
        address
    );
}

#[test]
fn deleting_a_deauthorised_member_leaves_the_revocation_that_is_there() {
    let (out, _) = patched(&joined(&a_network(), 0), 0, Some(false));

    let changes = decide(Command::RemoveMember(identity(0)), &out, NOW).expect("it is there");
    let documents = compile(&out, &out.apply(&changes), &changes, Epoch(0), NOW);

    assert!(documents.revocations.is_empty());
}

#[test]
fn a_deauthorised_member_cannot_come_back_by_a_token() {
    let (out, _) = patched(&joined(&a_network(), 0), 0, Some(false));

    assert_eq!(decide(join(0, true), &out, NOW), Err(Refusal::Deauthorized));
}

#[test]
fn a_second_key_with_the_same_node_address_is_refused() {
    let network = joined(&a_network(), 0);
    let mut imposter = a_request(0, 0);
    imposter.identity = IdentityKey([99; 32]);

    let refused = decide(
        Command::Join {
            request: imposter.clone(),
            granted: true,
        },
        &network,
        NOW,
    );

    assert_eq!(refused, Err(Refusal::NodeAddressTaken(imposter.node)));
}

#[test]
fn nobody_joins_with_the_transport_key_of_another_member() {
    let network = joined(&joined(&a_network(), 0), 1);
    let known = a_request(0, 0).transport;

    for number in [1, 2] {
        let mut thief = a_request(number, 0);
        thief.transport = known;
        let refused = decide(
            Command::Join {
                request: thief,
                granted: true,
            },
            &network,
            NOW,
        );
        assert_eq!(refused, Err(Refusal::TransportKeyTaken));
    }
}

#[test]
fn members_with_the_same_host_name_get_numbers() {
    let network = joined(&joined(&a_network(), 0), 1);

    let names: Vec<&str> = network
        .members()
        .map(|member| member.name.as_str())
        .collect();

    assert_eq!(names, ["host", "host-2"]);
}

#[test]
fn a_rotated_transport_key_gives_a_new_certificate() {
    let network = joined(&a_network(), 0);
    let rotated = Command::Join {
        request: a_request(0, 1),
        granted: false,
    };

    let changes = decide(rotated, &network, NOW).expect("a member may");
    let after = network.apply(&changes);
    let documents = compile(&network, &after, &changes, Epoch(0), NOW);

    assert_eq!(documents.certs.first().expect("one").transport_epoch, 1);
}

#[test]
fn requests_are_capped_per_source_and_in_all() {
    let mut network = a_network();
    let stranger = |number: usize, source: [u8; 4]| {
        let mut request = a_request(0, 0);
        let mut key = [7; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        request.identity = IdentityKey(key);
        request.node = NodeId::new(0x20_0000_0000 + number as u64).expect("a valid address");
        request.source = source.into();
        Command::Join {
            request,
            granted: false,
        }
    };
    for number in 0..MAX_REQUESTS_PER_SOURCE {
        network = apply(&network, stranger(number, [192, 0, 2, 1]));
    }
    assert_eq!(
        decide(stranger(500, [192, 0, 2, 1]), &network, NOW),
        Err(Refusal::TooManyRequests)
    );
    for number in MAX_REQUESTS_PER_SOURCE..MAX_REQUESTS {
        let source = [10, (number >> 8) as u8, number as u8, 1];
        network = apply(&network, stranger(number, source));
    }
    assert_eq!(
        decide(stranger(9999, [198, 51, 100, 1]), &network, NOW),
        Err(Refusal::TooManyRequests)
    );
    assert_eq!(network.revision(), Revision(1), "strangers move nothing");
}

#[test]
fn certificates_are_renewed_after_half_of_their_life_and_not_before() {
    let network = joined(&a_network(), 0);
    let upkeep = || Command::Upkeep {
        requests_since: UnixSeconds(0),
    };
    let half = CERT_LIFETIME_SECONDS / 2;

    let early = decide(upkeep(), &network, UnixSeconds(NOW.0 + half - 1));
    let due = decide(upkeep(), &network, UnixSeconds(NOW.0 + half)).expect("always possible");

    assert_eq!(early, Ok(Vec::new()));
    let renewed = network.apply(&due);
    let member = renewed.member(&identity(0)).expect("still there");
    assert_eq!(member.not_after.0, NOW.0 + half + CERT_LIFETIME_SECONDS);
    assert_eq!(member.serial, renewed.revision());
}

fn join(who: u8, granted: bool) -> Command {
    Command::Join {
        request: a_request(who, 0),
        granted,
    }
}

fn joined(network: &Network, who: u8) -> Network {
    apply(network, join(who, true))
}

fn apply(network: &Network, command: Command) -> Network {
    let changes = decide(command, network, NOW).expect("it is allowed");
    network.apply(&changes)
}

fn patched(
    network: &Network,
    who: u8,
    authorized: Option<bool>,
) -> (Network, tombolo_domain::compile::Documents) {
    let command = Command::UpdateMember {
        identity: identity(who),
        patch: MemberPatch {
            authorized,
            ..MemberPatch::default()
        },
    };
    let changes = decide(command, network, NOW).expect("it is allowed");
    let after = network.apply(&changes);
    let documents = compile(network, &after, &changes, Epoch(0), NOW);
    (after, documents)
}

//! What two versions must agree on to make a lane, frozen. Computed with other implementations: OpenSSL for X25519,
//! kyber-py for ML-KEM-768, the key schedule and the encodings written out by hand from the description.

use super::*;

const OFFERER: Parties = Parties {
    network: NETWORK,
    local: TransportKey([0xa1; 32]),
    remote: TransportKey([0xb2; 32]),
};
const ANSWERER: Parties = Parties {
    network: NETWORK,
    local: TransportKey([0xb2; 32]),
    remote: TransportKey([0xa1; 32]),
};
const NETWORK: NetworkId = match NetworkId::from_bits(0x8056_c2e2_1c00_0001) {
    Some(network) => network,
    None => panic!("a network id"),
};

#[test]
fn ml_kem_768_gives_what_another_implementation_gives() {
    let seed = a_seed();
    let key = seed.public();

    let (ciphertext, secret) = kem::encapsulate_message(&key, a_message()).expect("a proper key");

    assert_eq!(
        digest(key.as_bytes()),
        "0b7934c83125c788995e2ba6bd761e33046b3e40571be53e023309a29f398cc9"
    );
    assert_eq!(
        digest(ciphertext.as_bytes()),
        "dbf4e9aa48b078ad46ec1c9c47bda8c2d2fec9d0e7a21bd48d2238a2abedb856"
    );
    assert_eq!(
        hex(secret.as_slice()),
        "9cddd089ffe70e3996e76f7c8d06746df34d07e8657bc0fcf2bb0e1c3084aea1"
    );
    assert_eq!(seed.decapsulate(&ciphertext), secret);
}

#[test]
fn the_keys_of_a_hybrid_lane() {
    let (offered, answer, answerers) = a_lane(true, true);

    let offerers = offered.accept(&answer, &OFFERER).expect("an answer to it");

    let offer = wire::encode(&offered.offer);
    assert_eq!(
        digest(&offer),
        "5cb8454d4b2bb7aafffad1c9b2db5e1bd3dfb105930598bbede3e08f6fde24fb"
    );
    let answer = wire::encode(&answer);
    assert_eq!(
        digest(&answer),
        "cffa7c905487a580c2ea15969d84e5052145cd878b19953a7f1cbaf060ac3c72"
    );
    for (of_offerer, of_answerer) in [
        (offerers.seal, offerers.open),
        (answerers.open, answerers.seal),
    ] {
        assert_eq!(
            hex(&of_offerer),
            "2142e84323cc4373bd2c79d8c3f82b9510ecc85325e5d2362e2e00a49476df3f"
        );
        assert_eq!(
            hex(&of_answerer),
            "8ba92782e0c7c2b4424b97bc3f494b06cf4db64973c9a019e59203ac09f52e77"
        );
    }
}

#[test]
fn the_keys_of_a_plain_lane() {
    let (offered, answer, answerers) = a_lane(false, false);

    let offerers = offered.accept(&answer, &OFFERER).expect("an answer to it");

    assert_eq!(
        hex(&wire::encode(&offered.offer)),
        "848688087b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f130000"
    );
    assert_eq!(
        hex(&wire::encode(&answer)),
        "84868808888e98280faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f200100"
    );
    for (of_offerer, of_answerer) in [
        (offerers.seal, offerers.open),
        (answerers.open, answerers.seal),
    ] {
        assert_eq!(
            hex(&of_offerer),
            "897d18c76dfbeb35f493e268075a3a10b91512aba5f22fd4a2fe7ce8a2e50262"
        );
        assert_eq!(
            hex(&of_answerer),
            "d47280977476bb70c4266937ff052b36ac22be59f38e35c70940d981e466fd88"
        );
    }
}

#[test]
fn the_parts_of_an_offer() {
    let (offered, ..) = a_lane(true, true);

    let parts: Vec<(usize, String)> = offered
        .offer
        .messages()
        .iter()
        .map(wire::encode)
        .map(|part| (part.len(), digest(&part)))
        .collect();

    assert_eq!(
        parts,
        [
            (
                1008,
                "a546879d538ff5ffe307ea3265143470d2caed90642f90c59746a93864eed9f0".to_owned()
            ),
            (
                232,
                "33607d450171b921a3ab9e8eb7c83334077ab6232c02802fc5ecb087f066df49".to_owned()
            ),
        ]
    );
}

#[test]
fn the_packets_that_carry_messages() {
    let (offered, answer, _) = a_lane(false, false);
    let [offer] = offered.offer.messages().try_into().expect("one message");

    let packets =
        [offer, Negotiation::Answer(Box::new(answer))].map(|message| hex(&message.wrap()));

    let starts = [
        "4500003b0000000000fd0000000000000000000000848688087b4e909b",
        "4500003f0000000000fd000000000000000000000184868808888e9828",
    ];
    for (packet, start) in packets.iter().zip(starts) {
        assert!(packet.starts_with(start), "{packet}");
    }
}

/// An offer, the answer to it, and the answerer's keys.
fn a_lane(aes: bool, hybrid: bool) -> (Offered, Answer, LaneKeys) {
    let offered = Offered::from_secrets(
        LaneIndex(0x0102_0304),
        aes,
        StaticSecret::from([0x11; 32]),
        hybrid.then(a_seed),
    );
    let kem = offered
        .offer
        .kem
        .as_ref()
        .map(|key| kem::encapsulate_message(key, a_message()).expect("a proper key"));
    let (answer, keys) = answer_with(
        &offered.offer,
        LaneIndex(0x0506_0708),
        aes,
        &ANSWERER,
        &StaticSecret::from([0x22; 32]),
        kem,
    )
    .expect("a proper offer");
    (offered, answer, keys)
}

/// 00 to 3f.
fn a_seed() -> KemSeed {
    KemSeed::from_bytes(std::array::from_fn(|position| position as u8))
}

/// 40 to 5f.
fn a_message() -> [u8; 32] {
    std::array::from_fn(|position| 64 + position as u8)
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

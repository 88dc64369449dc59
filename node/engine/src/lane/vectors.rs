//! Published test vectors, through the very calls a lane makes; and frames of a lane, frozen.
//!
//! The frozen frames were computed with another implementation (OpenSSL).

use sha2::{Digest as _, Sha256};
use tombolo_proto::frame::LANE_DATA;

use super::*;

struct Vector {
    name: &'static str,
    aead: Aead,
    key: &'static str,
    nonce: &'static str,
    aad: &'static str,
    plain: &'static str,
    sealed: &'static str,
    tag: &'static str,
}

/// RFC 8439 section 2.8.2 and appendix A.5; test cases 13 to 16 of the specification of GCM that NIST took over.
const PUBLISHED: [Vector; 6] = [
    Vector {
        name: "RFC 8439 section 2.8.2",
        aead: Aead::ChaCha20Poly1305,
        key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
        nonce: "070000004041424344454647",
        aad: "50515253c0c1c2c3c4c5c6c7",
        plain: "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a204966204920636f\
                756c64206f6666657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e736372\
                65656e20776f756c642062652069742e",
        sealed: "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a\
                 71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4\
                 def08e4b7a9de576d26586cec64b6116",
        tag: "1ae10b594f09e26a7e902ecbd0600691",
    },
    Vector {
        name: "RFC 8439 appendix A.5",
        aead: Aead::ChaCha20Poly1305,
        key: "1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0",
        nonce: "000000000102030405060708",
        aad: "f33388860000000000004e91",
        plain: "496e7465726e65742d4472616674732061726520647261667420646f63756d656e74732076616c696420666f722061206d\
                6178696d756d206f6620736978206d6f6e74687320616e64206d617920626520757064617465642c207265706c61636564\
                2c206f72206f62736f6c65746564206279206f7468657220646f63756d656e747320617420616e792074696d652e204974\
                20697320696e617070726f70726961746520746f2075736520496e7465726e65742d447261667473206173207265666572\
                656e6365206d6174657269616c206f7220746f2063697465207468656d206f74686572207468616e206173202fe2809c77\
                6f726b20696e2070726f67726573732e2fe2809d",
        sealed: "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d26b0bd\
                 b7b73c321b0100d4f03b7f355894cf332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c8559797\
                 a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4b9166c767b804d46a59b5216cde7a4e99040c5\
                 a40433225ee282a1b0a06c523eaf4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a0bb23160\
                 53fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a1049e617d91d361094fa68f0ff77987130305beaba2e\
                 da04df997b714d6c6f2c29a6ad5cb4022b02709b",
        tag: "eead9d67890cbb22392336fea1851f38",
    },
    Vector {
        name: "GCM test case 13",
        aead: Aead::Aes256Gcm,
        key: "0000000000000000000000000000000000000000000000000000000000000000",
        nonce: "000000000000000000000000",
        aad: "",
        plain: "",
        sealed: "",
        tag: "530f8afbc74536b9a963b4f1c4cb738b",
    },
    Vector {
        name: "GCM test case 14",
        aead: Aead::Aes256Gcm,
        key: "0000000000000000000000000000000000000000000000000000000000000000",
        nonce: "000000000000000000000000",
        aad: "",
        plain: "00000000000000000000000000000000",
        sealed: "cea7403d4d606b6e074ec5d3baf39d18",
        tag: "d0d1c8a799996bf0265b98b5d48ab919",
    },
    Vector {
        name: "GCM test case 15",
        aead: Aead::Aes256Gcm,
        key: "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        nonce: "cafebabefacedbaddecaf888",
        aad: "",
        plain: "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b1\
                6aedf5aa0de657ba637b391aafd255",
        sealed: "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5\
                 f61e6393ba7a0abcc9f662898015ad",
        tag: "b094dac5d93471bdec1a502270e3cc6c",
    },
    Vector {
        name: "GCM test case 16",
        aead: Aead::Aes256Gcm,
        key: "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        nonce: "cafebabefacedbaddecaf888",
        aad: "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        plain: "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b1\
                6aedf5aa0de657ba637b39",
        sealed: "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5\
                 f61e6393ba7a0abcc9f662",
        tag: "76fc6ece0f4e1768cddf8853bb2d551b",
    },
];

#[test]
fn published_vectors_seal_and_open() {
    for vector in PUBLISHED {
        let mut payload = bytes(vector.plain);

        let tag = vector
            .key()
            .seal_in_place_separate_tag(vector.nonce(), vector.aad(), &mut payload)
            .expect("within limits");

        assert_eq!(hex(&payload), vector.sealed, "{}", vector.name);
        assert_eq!(hex(tag.as_ref()), vector.tag, "{}", vector.name);
        assert_eq!(
            vector.open(|_| ()),
            Some(bytes(vector.plain)),
            "{}",
            vector.name
        );
    }
}

#[test]
fn whatever_bit_of_a_vector_is_changed_it_does_not_open() {
    for vector in PUBLISHED {
        let lengths = [
            vector.aad.len() / 2,
            vector.sealed.len() / 2 + LANE_TAG,
            vector.nonce.len() / 2,
            vector.key.len() / 2,
        ];
        for (part, length) in lengths.into_iter().enumerate() {
            for bit in 0..length * 8 {
                let opened = vector.open(|parts| parts[part][bit / 8] ^= 1 << (bit % 8));
                assert_eq!(opened, None, "{} part {part} bit {bit}", vector.name);
            }
        }
    }
}

#[test]
fn vectors_that_are_cut_or_lengthened_do_not_open() {
    for vector in PUBLISHED {
        for (part, least) in [(0, 0), (1, 0)] {
            let length = if part == 0 {
                vector.aad.len() / 2
            } else {
                vector.sealed.len() / 2 + LANE_TAG
            };
            for shorter in least..length {
                let opened = vector.open(|parts| parts[part].truncate(shorter));
                assert_eq!(opened, None, "{} part {part} cut to {shorter}", vector.name);
            }
            let opened = vector.open(|parts| parts[part].push(0));
            assert_eq!(opened, None, "{} part {part}", vector.name);
        }
    }
}

#[test]
fn tags_of_zeros_ones_and_of_other_vectors_do_not_open() {
    for vector in PUBLISHED {
        let others = PUBLISHED.iter().map(|other| other.tag);
        let tags = [
            "00000000000000000000000000000000",
            "ffffffffffffffffffffffffffffffff",
        ];
        for tag in others.chain(tags).filter(|tag| *tag != vector.tag) {
            let opened = vector.open(|parts| {
                let at = parts[1].len() - LANE_TAG;
                parts[1][at..].copy_from_slice(&bytes(tag));
            });
            assert_eq!(opened, None, "{} with {tag}", vector.name);
        }
    }
}

#[test]
fn the_nonce_is_four_zero_bytes_and_the_counter() {
    for (counter, expected) in [
        (0, "000000000000000000000000"),
        (1, "000000000100000000000000"),
        (0x0807_0605_0403_0201, "000000000102030405060708"),
        (u64::MAX, "00000000ffffffffffffffff"),
    ] {
        assert_eq!(hex(nonce(counter).as_ref()), expected);
    }
}

#[test]
fn frames_are_what_they_were_from_the_start() {
    let frozen = [
        (
            Aead::Aes256Gcm,
            0,
            "",
            "1000000014000000000000000000000020755ca79da66ca8d66a5aae365410ef",
        ),
        (
            Aead::Aes256Gcm,
            0,
            "0123456789",
            "100000001400000000000000000000008f04aaef410e3588ab405a470297f22bf4f4266332632206688a",
        ),
        (
            Aead::Aes256Gcm,
            1,
            "0123456789",
            "10000000140000000100000000000000845b74f396a09be0abb1bd1659ea990f7203aa71683c685c6f1a",
        ),
        (
            Aead::Aes256Gcm,
            REKEY_AFTER_FRAMES,
            "0123456789",
            "10000000140000000000000200000000854d1715cfaed42f267fefdcb20d15cee55b6ea76047e7f839ef",
        ),
        (
            Aead::ChaCha20Poly1305,
            0,
            "",
            "10000000140000000000000000000000dc9a30b15c043f7d4a992a28c373b827",
        ),
        (
            Aead::ChaCha20Poly1305,
            0,
            "0123456789",
            "1000000014000000000000000000000031167fe2da6720f53cc248b012239779dd0f2ead50e6a75e6208",
        ),
        (
            Aead::ChaCha20Poly1305,
            1,
            "0123456789",
            "100000001400000001000000000000007d0b1920bcfdb1e1065cffa03e525a8486fd6433526888933ad6",
        ),
        (
            Aead::ChaCha20Poly1305,
            REKEY_AFTER_FRAMES,
            "0123456789",
            "100000001400000000000002000000000e120caaba816094ef6827ffa31fc1b62e9ccdb0a81a6f3b0502",
        ),
    ];
    for (aead, counter, payload, frame) in frozen {
        let (sealed, opened) = through_a_lane(aead, counter, payload.as_bytes());
        assert_eq!(hex(&sealed), frame, "{aead:?} {counter}");
        assert_eq!(opened, payload.as_bytes());
    }
}

#[test]
fn the_last_and_longest_frame_of_a_key_is_what_it_was_from_the_start() {
    let payload: Vec<u8> = (0..8900u32).map(|position| (position * 7) as u8).collect();
    for (aead, digest) in [
        (
            Aead::Aes256Gcm,
            "cb6540c4c64cd02239b0056e8fe17d9f0c1bfd9966c7dc2eec05923b02a2f2e4",
        ),
        (
            Aead::ChaCha20Poly1305,
            "4f76729b80480cd86ca754e6542741e262fe09d381d97af1b5fc6ad234f6bbad",
        ),
    ] {
        let (sealed, opened) = through_a_lane(aead, REJECT_AFTER_FRAMES - 1, &payload);
        assert_eq!(hex(&Sha256::digest(&sealed)), digest, "{aead:?}");
        assert_eq!(opened, payload);
    }
}

impl Vector {
    fn key(&self) -> LessSafeKey {
        self.aead
            .key(&bytes(self.key).try_into().expect("32 bytes"))
    }

    fn nonce(&self) -> Nonce {
        Nonce::try_assume_unique_for_key(&bytes(self.nonce)).expect("12 bytes")
    }

    fn aad(&self) -> Aad<Vec<u8>> {
        Aad::from(bytes(self.aad))
    }

    /// Opens it after a change to `[associated data, sealed with tag, nonce, key]`.
    fn open(&self, change: impl FnOnce(&mut [Vec<u8>; 4])) -> Option<Vec<u8>> {
        let sealed = bytes(&[self.sealed, self.tag].concat());
        let mut parts = [bytes(self.aad), sealed, bytes(self.nonce), bytes(self.key)];
        change(&mut parts);
        let [aad, mut sealed, nonce, key] = parts;
        let nonce = Nonce::try_assume_unique_for_key(&nonce).ok()?;
        let key = self.aead.key(&key.try_into().ok()?);
        let plain = key.open_in_place(nonce, Aad::from(aad), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

/// The frame that a lane seals with a counter, and what the other end makes of it.
fn through_a_lane(aead: Aead, counter: u64, payload: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (a, b) = tests::two_ends(aead);
    a.next.0.store(counter, Relaxed);
    let mut frame = framed(payload);
    a.seal(LANE_DATA, &mut frame).expect("within the limit");
    let sealed = frame.clone();
    let header = LaneHeader::decode(&frame).expect("a lane frame");
    let opened = b.open(header, &mut frame).expect("it is genuine");
    (sealed, frame[opened.payload].to_vec())
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(pair, 16).expect("hexadecimal")
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

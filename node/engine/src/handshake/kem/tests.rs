use rand::SeedableRng as _;

use super::*;

#[test]
fn both_sides_learn_the_same_secret_and_another_seed_another() {
    let mut rng = StdRng::seed_from_u64(1);
    let seed = KemSeed::generate(&mut rng);
    let other = KemSeed::generate(&mut rng);

    let (ciphertext, secret) = encapsulate(&seed.public(), &mut rng).expect("a proper key");

    assert_eq!(seed.decapsulate(&ciphertext), secret);
    assert_ne!(other.decapsulate(&ciphertext), secret);
}

#[test]
fn a_changed_ciphertext_gives_another_secret_and_no_error() {
    let mut rng = StdRng::seed_from_u64(2);
    let seed = KemSeed::generate(&mut rng);
    let (ciphertext, secret) = encapsulate(&seed.public(), &mut rng).expect("a proper key");

    for position in [0, 500, CIPHERTEXT - 1] {
        let mut bytes = Vec::from(ciphertext.clone());
        bytes[position] ^= 1;
        let changed = KemCiphertext::try_from(bytes).expect("the right length");
        let first = seed.decapsulate(&changed);
        assert_ne!(first, secret);
        assert_eq!(first, seed.decapsulate(&changed));
    }
}

#[test]
fn keys_with_coefficients_beyond_the_modulus_are_refused() {
    let mut rng = StdRng::seed_from_u64(3);
    let genuine = Vec::from(KemSeed::generate(&mut rng).public());

    for position in [0, 3, 1149] {
        let mut bytes = genuine.clone();
        // Two coefficients of 12 bits in three bytes: both 4095, above 3328.
        bytes[position..position + 3].fill(0xff);
        let key = KemKey::try_from(bytes).expect("the right length");
        assert!(encapsulate(&key, &mut rng).is_none());
    }
}

#[test]
fn other_lengths_are_no_keys_and_no_ciphertexts() {
    for length in [0, 1, KEY - 1, KEY + 1, CIPHERTEXT - 1, CIPHERTEXT + 1] {
        assert!(KemKey::try_from(vec![0; length]).is_err());
        assert!(KemCiphertext::try_from(vec![0; length]).is_err());
    }
}

//! The one encoding of documents and messages: postcard (its wire format is specified and stable), accepted only in its
//! canonical form.
//!
//! A decoder that re-encodes what it read and compares refuses, in one stroke, trailing bytes, over-long integers,
//! unsorted sets and duplicate keys. So equal documents have equal bytes, and a signature covers exactly one document.

use serde::{Serialize, de::DeserializeOwned};

/// Longest control message and largest document, in bytes.
pub const MAX_ENCODED: usize = 1 << 20;

/// Why bytes are not the canonical form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end early, hold an unknown variant or a value that the type refuses.
    #[error("malformed encoding")]
    Malformed,
    /// The bytes decode but are not what encoding gives.
    #[error("not the canonical encoding")]
    NotCanonical,
    /// More than [`MAX_ENCODED`] bytes.
    #[error("longer than {MAX_ENCODED} bytes")]
    TooLong,
}

/// Encodes a value. Values of this crate's types always encode.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data structures always encode into memory")
}

/// Decodes exactly one value in canonical form.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > MAX_ENCODED {
        return Err(DecodeError::TooLong);
    }
    decode_unbounded(bytes)
}

/// [`decode`] for what this program wrote itself, of any length.
pub fn decode_unbounded<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let value: T = postcard::from_bytes(bytes).map_err(|_| DecodeError::Malformed)?;
    if encode(&value) == bytes {
        Ok(value)
    } else {
        Err(DecodeError::NotCanonical)
    }
}

/// Reads only the number of an enum's variant, so that an unknown message can be told from a broken one.
#[must_use]
pub fn variant(bytes: &[u8]) -> Option<u32> {
    postcard::take_from_bytes::<u32>(bytes)
        .ok()
        .map(|(number, _)| number)
}

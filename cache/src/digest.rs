//! Digests of content: SHA-256 for objects, BLAKE3 for chunks.
//!
//! An object's digest is its name, and S3 checks it too. Chunks are all that is saved and restored, several times the
//! bytes of the objects, and nobody but us checks them: there BLAKE3 spares a fifth of the CPU time of a restore to memory.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A digest of either kind; written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Gives the SHA-256 of an object's bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Gives the BLAKE3 of a chunk's content.
    #[must_use]
    pub fn of_chunk(content: &[u8]) -> Self {
        Self(blake3::hash(content).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Digest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut digest = [0; 32];
        let lower = text.bytes().all(|byte| !byte.is_ascii_uppercase());
        match hex::decode_to_slice(text, &mut digest) {
            Ok(()) if lower => Ok(Self(digest)),
            _ => Err("a digest is 64 lower-case hexadecimal digits"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_every_earlier_version() {
        for (digest, expected) in [
            (Digest::of(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (Digest::of_chunk(b""), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        ] {
            assert_eq!(digest.to_string(), expected);
        }
    }
}

//! The keyed hash of flow keys: SipHash-1-3 over the key's one block.
//!
//! Secret keys, so that nobody outside can aim collisions; CRC, FNV and Toeplitz are linear and would not
//! do. Cost: about 140 instructions for IPv4, a fifth of what the standard hasher takes for the same key
//! field by field (callgrind over `bench-pipeline run established`).

use std::hash::{BuildHasher, Hasher};

use siphasher::sip::SipHasher13;

/// Makes hashers under one secret.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyHash(SipHasher13);

impl KeyHash {
    /// The hash under a secret.
    pub(super) fn new((high, low): (u64, u64)) -> Self {
        Self(SipHasher13::new_with_keys(high, low))
    }
}

impl BuildHasher for KeyHash {
    type Hasher = Block;

    fn build_hasher(&self) -> Block {
        Block { sip: self.0, hash: 0 }
    }
}

/// Hashes one block; a key writes no more.
pub(super) struct Block {
    sip: SipHasher13,
    hash: u64,
}

impl Hasher for Block {
    fn write(&mut self, block: &[u8]) {
        // A second block would be mixed in, not lost.
        self.hash = self.hash.rotate_left(1) ^ self.sip.hash(block);
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

//! The keyed hash of flow keys: AES-128 of the key's blocks under a random key, chained (CBC-MAC) where
//! there are three; SipHash-1-3 on a processor without AES instructions.
//!
//! A secret key, so that nobody outside can aim collisions; CRC, FNV and Toeplitz are linear and would not
//! do (65 000 of 65 000 crafted keys collide under any seed, FLOWS.md §1). What it is not: a signature; a
//! hash never leaves the process. Both families share the chain's first step: that a v4 block equals a v6
//! one's last input can't be aimed without the key. Cost: 16 instructions a key in a batch of IPv4
//! (callgrind), three passes for IPv6.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Block};
use siphasher::sip::SipHasher13;

use crate::wire::Key;

/// Keys hashed in one go.
pub const BATCH: usize = 64;

/// A secret that nobody knows: the standard library's random state is where the process's randomness comes
/// from. A fuzzer's build has a fixed one: an input does the same each time.
#[must_use]
pub fn random_secret() -> (u64, u64) {
    if cfg!(fuzzing) {
        return (1, 2);
    }
    let random = RandomState::new();
    (random.hash_one(0_u8), random.hash_one(1_u8))
}

/// The hash under one secret.
#[derive(Clone)]
pub(super) enum KeyHash {
    Aes(Box<Aes128>),
    Sip(SipHasher13),
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aes(_) => "KeyHash(AES-128)",
            Self::Sip(_) => "KeyHash(SipHash-1-3)",
        })
    }
}

impl KeyHash {
    /// The hash under a secret.
    pub(super) fn new((high, low): (u64, u64)) -> Self {
        if has_aes() { Self::aes((high, low)) } else { Self::sip((high, low)) }
    }

    /// Under a secret that nobody knows.
    pub(super) fn random() -> Self {
        Self::new(random_secret())
    }

    fn aes((high, low): (u64, u64)) -> Self {
        let secret = u128::from(high) << 64 | u128::from(low);
        Self::Aes(Box::new(Aes128::new(&secret.to_ne_bytes().into())))
    }

    fn sip((high, low): (u64, u64)) -> Self {
        Self::Sip(SipHasher13::new_with_keys(high, low))
    }

    /// The hash of one key.
    pub(super) fn of(&self, key: &Key) -> u64 {
        let (ends, tail) = key.words();
        match self {
            Self::Sip(sip) => sip_of(*sip, key),
            Self::Aes(aes) => {
                let [w0, w1, w2, w3] = ends;
                let mut state = block(w0, tail);
                aes.encrypt_block(&mut state);
                if key.is_v6() {
                    mix(&mut state, w1, w2);
                    aes.encrypt_block(&mut state);
                    mix(&mut state, w3, 0);
                    aes.encrypt_block(&mut state);
                }
                first(&state)
            }
        }
    }

    /// The hash of one block that is no flow's key, under a secret of its own.
    pub(super) fn of_block(&self, block: [u8; 16]) -> u64 {
        match self {
            Self::Sip(sip) => sip.hash(&block),
            Self::Aes(aes) => {
                let mut state = block.into();
                aes.encrypt_block(&mut state);
                first(&state)
            }
        }
    }

    /// The hashes of up to [`BATCH`] keys.
    #[inline]
    pub(super) fn many<'k>(&self, keys: impl Iterator<Item = &'k Key> + Clone, hashes: &mut [u64; BATCH]) {
        match self {
            Self::Sip(sip) => {
                for (hash, key) in hashes.iter_mut().zip(keys) {
                    *hash = sip_of(*sip, key);
                }
            }
            Self::Aes(aes) => {
                let mut blocks = [Block::default(); BATCH];
                let (mut n, mut v6) = (0, 0_usize);
                for (state, key) in blocks.iter_mut().zip(keys.clone()) {
                    let ([w0, ..], tail) = key.words();
                    *state = block(w0, tail);
                    v6 += usize::from(key.is_v6());
                    n += 1;
                }
                let blocks = blocks.get_mut(..n).unwrap_or_default();
                aes.encrypt_blocks(blocks);
                if v6 == n && n > 0 {
                    for (state, key) in blocks.iter_mut().zip(keys.clone()) {
                        let ([_, w1, w2, _], _) = key.words();
                        mix(state, w1, w2);
                    }
                    aes.encrypt_blocks(blocks);
                    for (state, key) in blocks.iter_mut().zip(keys) {
                        let ([_, _, _, w3], _) = key.words();
                        mix(state, w3, 0);
                    }
                    aes.encrypt_blocks(blocks);
                } else if v6 > 0 {
                    lengthen(aes, blocks, &keys);
                }
                for (hash, state) in hashes.iter_mut().zip(blocks) {
                    *hash = first(state);
                }
            }
        }
    }
}

/// The two further blocks of the IPv6 keys in a burst of both families. Those of IPv4 stay as they are.
#[inline(never)]
fn lengthen<'k>(aes: &Aes128, blocks: &mut [Block], keys: &(impl Iterator<Item = &'k Key> + Clone)) {
    for step in 0..2 {
        let mut longer = [Block::default(); BATCH];
        let mut n = 0;
        for ((state, key), place) in
            blocks.iter().zip(keys.clone()).filter(|(_, key)| key.is_v6()).zip(&mut longer)
        {
            let ([_, w1, w2, w3], _) = key.words();
            *place = *state;
            if step == 0 {
                mix(place, w1, w2);
            } else {
                mix(place, w3, 0);
            }
            n += 1;
        }
        let longer = longer.get_mut(..n).unwrap_or_default();
        aes.encrypt_blocks(longer);
        let states = blocks.iter_mut().zip(keys.clone()).filter(|(_, key)| key.is_v6());
        for ((state, _), done) in states.zip(longer) {
            *state = *done;
        }
    }
}

#[inline]
fn block(low: u64, high: u64) -> Block {
    (u128::from(high) << 64 | u128::from(low)).to_le_bytes().into()
}

#[inline]
fn mix(state: &mut Block, low: u64, high: u64) {
    let with = u128::from(high) << 64 | u128::from(low);
    *state = (u128::from_le_bytes((*state).into()) ^ with).to_le_bytes().into();
}

#[inline]
fn first(state: &Block) -> u64 {
    let [first, _]: [u64; 2] = zerocopy::transmute!(<[u8; 16]>::from(*state));
    u64::from_le(first)
}

#[inline(never)]
fn sip_of(sip: SipHasher13, key: &Key) -> u64 {
    let ([w0, w1, w2, w3], tail) = key.words();
    let mut bytes = [0; 40];
    for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip([w0, tail, w1, w2, w3]) {
        *place = word.to_ne_bytes();
    }
    sip.hash(if key.is_v6() { &bytes } else { bytes.get(..16).unwrap_or_default() })
}

fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::wire::Vlans;

    fn keys() -> Vec<Key> {
        let ends = |v6: bool, n: u8| {
            let (src, dst) = if v6 {
                (format!("fd00::{n}"), "fd00:1::1".to_owned())
            } else {
                (format!("10.0.0.{n}"), "10.1.0.1".to_owned())
            };
            Key::new(src.parse().unwrap(), dst.parse().unwrap(), 5000, 443, 6, Vlans::UNTAGGED).0
        };
        (0..64).map(|n| ends(n % 3 == 1, n)).collect()
    }

    #[test]
    fn a_batch_hashes_as_one_by_one() {
        for hash in [KeyHash::aes((1, 2)), KeyHash::sip((1, 2))] {
            for (v6, n) in
                [(None, 0), (None, 1), (None, 7), (None, 64), (Some(true), 21), (Some(false), 40)]
            {
                let keys: Vec<Key> =
                    keys().into_iter().filter(|key| v6.is_none_or(|v6| key.is_v6() == v6)).collect();
                let mut hashes = [0; BATCH];
                hash.many(keys.iter().take(n), &mut hashes);
                for (key, found) in keys.iter().take(n).zip(hashes) {
                    assert_eq!(found, hash.of(key), "{hash:?} {key:?}");
                }
            }
        }
    }

    /// FIPS 197 appendix C.1's cipher through the hash: the key and block of the example.
    #[test]
    fn the_cipher_is_aes_128() {
        let KeyHash::Aes(aes) = KeyHash::aes((0x0f0e_0d0c_0b0a_0908, 0x0706_0504_0302_0100)) else {
            panic!()
        };
        let mut state = block(0x7766_5544_3322_1100, 0xffee_ddcc_bbaa_9988);
        aes.encrypt_block(&mut state);
        assert_eq!(first(&state), 0x3004_7b6a_d8e0_c469);
        assert_eq!(
            <[u8; 16]>::from(state),
            [
                0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30, 0xd8, 0xcd, 0xb7, 0x80, 0x70, 0xb4, 0xc5,
                0x5a
            ]
        );
    }

    #[test]
    fn every_bit_of_a_block_counts() {
        for hash in [KeyHash::aes((1, 2)), KeyHash::sip((1, 2))] {
            let blocks = (0..128).map(|bit| (1_u128 << bit).to_ne_bytes()).chain([[0; 16]]);
            let hashes: HashSet<u64> = blocks.map(|block| hash.of_block(block)).collect();
            assert_eq!(hashes.len(), 129, "{hash:?}");
        }
    }

    #[test]
    fn every_bit_of_a_key_counts_and_so_does_the_secret() {
        for make in [KeyHash::aes, KeyHash::sip] {
            let (one, other) = (make((1, 2)), make((1, 3)));
            let mut seen = HashSet::new();
            let base = [0x0102_0304_0506_0708_u64, 9, 10, 11, 12];
            for v6 in [false, true] {
                let words = if v6 { 5 } else { 2 };
                for bit in 0..=words * 64 {
                    let [mut w0, mut tail, mut w1, mut w2, mut w3] = base;
                    if !v6 {
                        (w1, w2, w3) = (0, 0, 0);
                    }
                    if bit > 0 {
                        let all = [&mut w0, &mut tail, &mut w1, &mut w2, &mut w3];
                        *all.into_iter().nth((bit - 1) / 64).unwrap() ^= 1 << ((bit - 1) % 64);
                    }
                    let key = Key::from_words([w0, w1, w2, w3], tail, v6);
                    assert!(seen.insert(one.of(&key)), "{one:?} {key:?}");
                    assert_ne!(one.of(&key), other.of(&key));
                }
            }
        }
    }

    #[test]
    fn a_random_secret_is_another_each_time() {
        let key = keys().into_iter().next().unwrap();
        assert_ne!(KeyHash::random().of(&key), KeyHash::random().of(&key));
    }
}

//! A quick hasher for keys that no stranger chooses.
//!
//! What it is: one multiplication a word, for the numbers that the compiler gives out itself and for the
//! operator's addresses. What it is not: keyed; nothing that a sender writes may be a key of a map that
//! grows with it.

use std::hash::{BuildHasherDefault, Hasher};

/// For [`std::collections::HashMap`].
pub(super) type Quick = BuildHasherDefault<Fold>;

/// Each word is multiplied into the last product, folded on itself.
#[derive(Debug, Default)]
pub(super) struct Fold(u64);

/// The product's high half on its low one.
fn fold(word: u64) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let product = u128::from(word ^ ODD) * 0xD6E8_FEB8_6659_FD93;
    let high = u64::try_from(product >> 64).unwrap_or(0);
    let low = u64::try_from(product & u128::from(u64::MAX)).unwrap_or(0);
    high ^ low
}

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in words.by_ref() {
            let word = word.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
            self.write_u64(word);
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let mut last = [0; 8];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.write_u64(u64::from_le_bytes(last) ^ (1 << 63));
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = fold(self.0.rotate_left(5) ^ word);
    }

    fn write_u128(&mut self, word: u128) {
        self.write_u64(u64::try_from(word & u128::from(u64::MAX)).unwrap_or(0));
        self.write_u64(u64::try_from(word >> 64).unwrap_or(0));
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(u64::try_from(word).unwrap_or(u64::MAX));
    }
}

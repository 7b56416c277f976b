//! The content that servers send and clients check: a stream of bytes that both can compute.
//!
//! One block over and over. Its length is a prime, so what is lost, doubled or moved in units that
//! networks and buffers have does not fall on a repetition. Cost: a copy.

use std::sync::LazyLock;

/// Bytes to ask for at a time.
pub const CHUNK: usize = 65_536;

const PERIOD: usize = 65_521;

// xorshift64* (Vigna 2016).
static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let words = std::iter::repeat_with(|| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes()
    });
    words.flatten().take(PERIOD).collect()
});

/// A place in the stream.
#[derive(Clone, Debug, Default)]
pub struct Content {
    next: usize,
}

impl Content {
    /// Fills a chunk with what comes next.
    pub fn fill(&mut self, mut chunk: &mut [u8]) {
        while !chunk.is_empty() {
            let rest = BLOCK.get(self.next..).unwrap_or_default();
            let length = rest.len().min(chunk.len());
            let (now, later) = chunk.split_at_mut(length);
            now.copy_from_slice(rest.get(..length).unwrap_or_default());
            self.next = (self.next + length) % PERIOD;
            chunk = later;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_join_to_one_stream() {
        let mut whole = vec![0; 200_000];
        Content::default().fill(&mut whole);
        let mut content = Content::default();
        let mut joined = Vec::new();
        for length in [1, 7, 65_513, 65_536, 0, 68_943] {
            let mut part = vec![0; length];
            content.fill(&mut part);
            joined.extend(part);
        }
        assert!(whole == joined);
        assert_eq!(whole[..100], whole[PERIOD..PERIOD + 100]);
        assert_ne!(whole[..100], whole[CHUNK..CHUNK + 100]);
    }
}

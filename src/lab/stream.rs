//! The content that servers send and clients check: a stream of bytes that both can compute.

/// Bytes of a block.
pub const BLOCK: usize = 65_536;

/// xorshift64* (Vigna 2016): not for secrets, only so that a byte lost, doubled or moved shows.
#[derive(Clone, Debug)]
pub struct Content {
    state: u64,
}

impl Default for Content {
    fn default() -> Self {
        Self { state: 0x9E37_79B9_7F4A_7C15 }
    }
}

impl Content {
    /// Fills a block with what comes next. Only the last block of a stream may be other than a multiple
    /// of eight long.
    pub fn fill(&mut self, block: &mut [u8]) {
        for eight in block.chunks_mut(8) {
            self.state ^= self.state >> 12;
            self.state ^= self.state << 25;
            self.state ^= self.state >> 27;
            let word = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes();
            for (byte, value) in eight.iter_mut().zip(word) {
                *byte = value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_join_to_one_stream() {
        let mut whole = vec![0; 100];
        Content::default().fill(&mut whole);
        let mut content = Content::default();
        let mut parts = vec![0; 64];
        content.fill(&mut parts);
        let mut rest = vec![0; 36];
        content.fill(&mut rest);
        parts.extend(rest);
        assert_eq!(whole, parts);
        assert_ne!(whole[..32], whole[32..64]);
    }
}

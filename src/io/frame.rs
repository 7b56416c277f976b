//! The affine token of one frame.

use std::num::NonZeroU64;

use crate::wire::Side;

/// One frame of a UMEM, owned. Neither `Copy` nor `Clone`: whoever has it must send it or recycle it.
///
/// One word, also as an `Option` or a `Result`, for it is passed on at every step, also from worker to worker:
/// its number among all of its wire ([`Pools`](super::Pools)) plus 1 (32 bits), its bytes (16: no frame holds
/// 2^16), the side whose pool it belongs to (1).
#[derive(Debug)]
#[must_use = "a frame that is dropped is lost to its pool"]
pub struct Frame(NonZeroU64);

const LENGTH: u32 = 32;
const HOME: u32 = 48;

impl Frame {
    /// The frame of this number, which nobody else has.
    #[inline]
    pub(super) const fn new(number: u32, length: u16, home: Side) -> Self {
        let home = match home {
            Side::Outside => 0,
            Side::Inside => 1 << HOME,
        };
        let word = NonZeroU64::MIN.saturating_add(number as u64);
        Self(word.saturating_add((length as u64) << LENGTH | home))
    }

    /// The same frame holding so many bytes.
    pub(super) fn of_length(self, length: u16) -> Self {
        Self::new(u32::try_from(self.number()).unwrap_or(u32::MAX), length, self.home())
    }

    /// Its number among the frames of its wire.
    #[inline]
    pub(super) fn number(&self) -> usize {
        let number = (self.0.get() & u64::from(u32::MAX)).wrapping_sub(1);
        usize::try_from(number).unwrap_or(usize::MAX)
    }

    /// The side whose pool it belongs to.
    #[inline]
    #[must_use]
    pub const fn home(&self) -> Side {
        if self.0.get() >> HOME & 1 == 0 { Side::Outside } else { Side::Inside }
    }

    /// Bytes it holds.
    #[must_use]
    #[inline]
    pub fn length(&self) -> u32 {
        let [_, _, _, _, low, high, ..] = self.0.get().to_le_bytes();
        u32::from(u16::from_le_bytes([low, high]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_one_word_that_tells_what_it_was_made_of() {
        assert_eq!(
            (size_of::<Frame>(), size_of::<Option<Frame>>(), size_of::<Result<(), Frame>>()),
            (8, 8, 8)
        );
        for number in [0, 1, 255, u32::MAX - 1] {
            for length in [0, 60, u16::MAX] {
                for home in Side::BOTH {
                    let frame = Frame::new(number, length, home);
                    assert_eq!((frame.number(), frame.length()), (number as usize, u32::from(length)));
                    assert_eq!(frame.home(), home);
                }
            }
        }
    }
}

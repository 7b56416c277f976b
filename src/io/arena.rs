//! The memory of frames that several pairs in memory share.
//!
//! What it is: bytes by frame. What it is not: it does not know who has a frame. Invariant: whoever has a
//! [`Frame`] has the only claim to its bytes, in whichever thread; pairs make each number once, and a frame is
//! passed on by value. That holds among the pairs of one arena: a frame tells its number and not its arena, so it is
//! given only to pairs that were made with the one it came from. Cost: a bound check.
#![allow(unsafe_code, reason = "the pairs of a wire share one memory, as they do over a UMEM")]

use std::cell::UnsafeCell;

use super::Frame;
use super::memory::FRAME_SIZE;

/// Frames of [`FRAME_SIZE`] bytes, by number.
#[derive(Debug)]
pub(super) struct Arena {
    frames: Box<[UnsafeCell<[u8; FRAME_SIZE]>]>,
}

// SAFETY: the bytes of a frame are reached through its `Frame` alone, which is in one place, as long as it is given
// only to pairs of this arena: what makes pairs says so to whoever has them.
unsafe impl Sync for Arena {}

impl Arena {
    pub(super) fn new(frames: u32) -> Self {
        Self { frames: (0..frames).map(|_| UnsafeCell::new([0; FRAME_SIZE])).collect() }
    }

    /// The bytes of a frame. Both borrows last as long as they do: meanwhile it can't be given up.
    #[inline]
    pub(super) fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        let Some(room) = self.frames.get(frame.number()) else { return &[] };
        // SAFETY: whoever has the `Frame` has the only claim to its bytes; it is borrowed for as long as they
        // are, and writing needs it exclusively.
        let room = unsafe { &*room.get() };
        room.get(..usize::try_from(frame.length()).unwrap_or(usize::MAX)).unwrap_or(&[])
    }

    /// Writes over a frame from its first byte on; false, and nothing is written, where it does not hold so much.
    pub(super) fn write(&self, frame: &mut Frame, bytes: &[u8]) -> bool {
        let Some(room) = self.frames.get(frame.number()) else { return false };
        // SAFETY: as in `bytes`; the `Frame` is borrowed exclusively.
        let room = unsafe { &mut *room.get() };
        let Some(room) = room.get_mut(..bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        true
    }
}

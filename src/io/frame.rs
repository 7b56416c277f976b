//! The affine token of one frame.

use crate::wire::Side;

/// One frame of a UMEM, owned. Neither `Copy` nor `Clone`: whoever has it must send it or recycle it.
#[derive(Debug)]
#[must_use = "a frame that is dropped is lost to its pool"]
pub struct Frame {
    /// Offset of the first byte in the UMEM.
    pub(super) address: u64,
    /// Bytes.
    pub(super) length: u32,
    /// The side whose pool it belongs to.
    pub(super) home: Side,
}

impl Frame {
    /// Bytes it holds.
    #[must_use]
    pub const fn length(&self) -> u32 {
        self.length
    }
}

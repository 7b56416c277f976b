//! How a packet ends, as the worker is told.

use super::Reason;

/// What the worker does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Send it by the other port; a place there was reserved before it was judged.
    Forward,
    /// Recycle it.
    Drop(Reason),
    /// Pass it to the worker that owns its flow.
    HandOver(u32),
}

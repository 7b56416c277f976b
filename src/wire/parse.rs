//! The parser.

use super::{Facts, Housekeeping, Unreadable};

/// Reads one frame.
///
/// # Errors
/// Why it can't be read.
pub fn parse(frame: &[u8]) -> Result<Facts, Unreadable> {
    let _ = frame;
    Err(Unreadable::Truncated)
}

impl Facts {
    /// Whether the `[profile]` decides this frame, and under which name.
    #[must_use]
    pub fn housekeeping(&self) -> Option<Housekeeping> {
        None
    }
}

//! Ports that are files: captures in, a capture of what crossed out.
//!
//! What it is: one reader for classic pcap (microseconds and nanoseconds, both byte orders) and pcapng,
//! several captures merged by time, and a writer of pcapng. What it is not: no packet is judged or changed
//! here, and it is no [`super::QueuePair`]: files have no rings, and a packet's time is the one written
//! beside it. Invariant: packets of one file keep their order. Cost: 8 MB of buffer a file; a packet is
//! copied once.

mod error;
mod merge;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use error::{CaptureError, Cause};
pub use merge::Merge;
pub use read::Capture;
pub use write::{Forwarded, ForwardedError};

/// One packet of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its number in its file, from 1.
    pub number: u64,
    /// When it was captured, in nanoseconds since the Unix epoch.
    pub nanos: u64,
    /// Bytes it had on the wire: more than `bytes` where the capture kept only its beginning.
    pub length: u32,
    /// The bytes captured.
    pub bytes: Vec<u8>,
}

impl Packet {
    /// Whether the capture kept only its beginning.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        u32::try_from(self.bytes.len()).is_ok_and(|captured| captured < self.length)
    }
}

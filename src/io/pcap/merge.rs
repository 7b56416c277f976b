//! Several captures as one, by time.

use std::fs::File;
use std::io::Read;

use super::{Capture, CaptureError, Packet};

/// Captures merged by the time of their next packets; on a tie the file named first goes first. A file
/// whose times go back keeps its order: its next packet comes when nothing earlier is left elsewhere.
pub struct Merge<R: Read = File> {
    sources: Vec<Source<R>>,
}

struct Source<R: Read> {
    capture: Capture<R>,
    next: Option<Result<Packet, CaptureError>>,
    /// The time of its latest packet: where it breaks off.
    latest: u64,
}

impl<R: Read> Merge<R> {
    /// Merges these, in the order in which they were named.
    #[must_use]
    pub fn new(captures: Vec<Capture<R>>) -> Self {
        let sources = captures.into_iter().map(|mut capture| {
            let next = capture.next_packet();
            Source { capture, next, latest: 0 }
        });
        Self { sources: sources.collect() }
    }

    /// The next packet and the index of its file.
    ///
    /// # Errors
    /// One of the captures breaks off behind the packets that came of it so far. What the others hold after
    /// that moment would be judged without what is missing: nothing comes after.
    pub fn next_packet(&mut self) -> Option<Result<(usize, Packet), CaptureError>> {
        let time = |source: &Source<R>| match &source.next {
            Some(Ok(packet)) => Some(packet.nanos),
            Some(Err(_)) => Some(source.latest),
            None => None,
        };
        let due = self.sources.iter().enumerate().filter_map(|(file, source)| Some((time(source)?, file)));
        let (_, file) = due.min()?;
        let source = self.sources.get_mut(file)?;
        match source.next.take()? {
            Ok(packet) => {
                source.next = source.capture.next_packet();
                source.latest = packet.nanos;
                Some(Ok((file, packet)))
            }
            Err(error) => {
                self.sources.clear();
                Some(Err(error))
            }
        }
    }
}

//! How a frame ends that is not simply sent.
//!
//! What it is: dropped, answered in its own frame, kept until its first fragment comes, passed on to another
//! worker, or sent with zeros where something padded it. What it is not: it decides none of that. Invariant: each
//! frame is counted once and goes to one place.

use super::Lanes;
use crate::flow::fragments::Ports;
use crate::io::{Frame, QueuePair};
use crate::pipeline::{Counters, Outcome, Pass, Reason, Unsent};
use crate::wire::{LONGEST_PADDED, Reply, Side, residue, unpadded};

/// Zeros in place of what pads a short frame: it may be what its sender's memory held before.
#[inline(never)]
pub(super) fn without_residue<Q: QueuePair>(queues: &mut Q, frame: Frame) -> Frame {
    match residue(queues.bytes(&frame)) {
        Some(_) => with_zeros(queues, frame),
        None => frame,
    }
}

#[cold]
fn with_zeros<Q: QueuePair>(queues: &mut Q, frame: Frame) -> Frame {
    let mut draft = [0; LONGEST_PADDED];
    match unpadded(queues.bytes(&frame), &mut draft) {
        // It holds as much as it did.
        Some(bytes) => queues.rewrite(frame, bytes).unwrap_or_else(|frame| frame),
        None => frame,
    }
}

/// Where a frame goes that is not forwarded.
pub(super) struct Aside<'a> {
    /// Frames of fragments that wait, by place.
    pub(super) shelf: &'a mut [Option<Frame>],
    /// Where a reply is written.
    pub(super) draft: &'a mut [u8; Reply::LONGEST],
    /// The rings to other workers, for a frame that may be passed on.
    pub(super) lanes: Option<&'a mut Lanes>,
}

/// Ends a frame that is not forwarded; what its datagram's first tells goes along with one that is passed on.
#[inline(never)]
pub(super) fn set_aside<Q: QueuePair>(
    queues: &mut Q,
    Aside { shelf, draft, lanes }: Aside<'_>,
    counters: &Counters,
    side: Side,
    (frame, outcome, with): (Frame, &Outcome, Option<Ports>),
) {
    match *outcome {
        Outcome::Forward | Outcome::Drop(_) => queues.recycle(frame),
        Outcome::Reject(reason, reply) => {
            answer(queues, counters, draft, Refused { frame, side, reason, reply });
        }
        Outcome::Hold(place) => match shelve(shelf, place, frame) {
            None => counters.held(side),
            Some(frame) => {
                // There is a place for each that waits.
                counters.dropped(side, Reason::FragmentHeldFull);
                queues.recycle(frame);
            }
        },
        Outcome::HandOver(pass) => pass_on(queues, lanes, counters, side, (frame, pass, with)),
    }
}

/// Passes a frame on to another worker, at the end of the turn; a drop where that one takes no more.
#[inline(never)]
pub(super) fn pass_on<Q: QueuePair>(
    queues: &mut Q,
    lanes: Option<&mut Lanes>,
    counters: &Counters,
    side: Side,
    (frame, pass, with): (Frame, Pass, Option<Ports>),
) {
    let given = match lanes {
        Some(lanes) => lanes.give(queues, pass.worker.into(), frame, with),
        None => Err(frame),
    };
    match given {
        Ok(()) => counters.handed_over(side),
        Err(frame) => {
            counters.dropped(side, Reason::HandoverFull);
            queues.recycle(frame);
        }
    }
}

/// A packet that is dropped and answered.
struct Refused {
    frame: Frame,
    side: Side,
    reason: Reason,
    reply: Reply,
}

/// Sends a reply back by the port that a packet came from, in the packet's own frame: no other is needed, and
/// it goes home from there as from the other port. Without a way out the packet is a plain drop.
fn answer<Q: QueuePair>(
    queues: &mut Q,
    counters: &Counters,
    draft: &mut [u8; Reply::LONGEST],
    refused: Refused,
) {
    let Refused { frame, side, reason, reply } = refused;
    let written = reply.write(queues.bytes(&frame), draft);
    let (frame, unsent) = match written {
        None => (frame, Unsent::NotAnswerable),
        Some(bytes) => match queues.rewrite(frame, bytes).and_then(|frame| queues.send(side, frame)) {
            Ok(()) => return counters.rejected(side, reason, count(bytes.len())),
            Err(frame) => (frame, Unsent::NoWayBack),
        },
    };
    counters.dropped(side, reason);
    counters.unsent(side, unsent);
    queues.recycle(frame);
}

/// Keeps the frame of a fragment that waits for its first; gives it back when the place is taken.
fn shelve(shelf: &mut [Option<Frame>], place: u32, frame: Frame) -> Option<Frame> {
    let found = usize::try_from(place).ok().and_then(|place| shelf.get_mut(place));
    match found {
        Some(found @ None) => {
            *found = Some(frame);
            None
        }
        Some(Some(_)) | None => Some(frame),
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

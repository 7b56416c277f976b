//! Any frames in any order, from both sides, at any pace, through the whole worker over memory ports: every
//! frame ends once, none is lost to its pool, what leaves came in byte for byte (what pads it is zero) or is a
//! counted reply, the counters add up, and in the end nothing is left: no fragment that waits, no flow, no
//! half-open connection.
//!
//! Input: steps of one head byte (bit 0: side, bit 1: end the burst here, bits 2–7: seconds that pass) and
//! a frame behind its length in two bytes. Each input meets a worker of its own, and the build's secrets are
//! fixed (`cfg(fuzzing)`): the same input does the same each time. Policy and queues are made once; the
//! queues are empty when an input begins.
#![no_main]

#[expect(dead_code, reason = "what the tests assert of single frames is not said of any frames")]
#[path = "../../tests/rig/memory.rs"]
mod memory;

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use memory::{POLICY, Rig, Shape, policy};
use portcullis::flow::fragments::FragmentLimits;
use portcullis::io::QueuePair;
use portcullis::io::memory::FRAME_SIZE;
use portcullis::wire::{LONGEST_PADDED, Side, unpadded};
use portcullis::worker::{Policy, WorkerFace};

const SECOND: u64 = 1_000_000_000;
const POOL: u32 = 16;

/// A TX ring below the pool: the way out is full now and then. Few flows, datagrams and destinations: so are
/// their tables.
fn shape() -> Shape {
    let fragments = FragmentLimits { datagrams: 16, datagrams_a_source: 8, ..FragmentLimits::DEFAULT };
    Shape {
        pool: POOL,
        tx_ring: 12,
        flows: 8,
        fragments: Some(fragments),
        destinations: 16,
        ..Shape::default()
    }
}

/// What all inputs share.
struct Common {
    policy: Arc<Policy>,
    /// Its rings, which each input leaves empty; nothing else of it is used.
    face: WorkerFace,
}

impl Common {
    fn rig(&self) -> Rig {
        let face = WorkerFace::over(0, None, Arc::clone(&self.face.events), Arc::clone(&self.face.cuts));
        Rig::over(Arc::clone(&self.policy), shape(), face)
    }
}

/// What came left as it was, but for zeros where something padded it.
fn is_whole(came: &[u8], left: &[u8]) -> bool {
    unpadded(came, &mut [0; LONGEST_PADDED]).unwrap_or(came) == left
}

/// The rig balances the books of the turn; whatever left is taken out, and is something that came in or one
/// of the replies that were counted.
fn turn(rig: &mut Rig, (inside, made): (&mut [Vec<&[u8]>; 2], &mut u64)) {
    rig.turn();
    for side in Side::BOTH {
        while let Some(frame) = rig.take(side) {
            let came = &mut inside[side.other().index()];
            match came.iter().position(|came| is_whole(came, &frame)) {
                Some(at) => drop(came.swap_remove(at)),
                None => *made += 1,
            }
        }
    }
    let replies = rig.face.counters.snapshot().sides.iter().map(|side| side.replies).sum();
    assert!(*made <= replies, "{made} frames left that did not come in, {replies} replies were sent");
    while rig.event().is_some() {}
    assert!(rig.face.cuts.take().is_none(), "no policy was published");
}

thread_local!(static COMMON: Common = Common {
    policy: Arc::new(policy(POLICY, 1).expect("the policy loads")),
    face: WorkerFace::new(0, None),
});

fuzz_target!(|input: &[u8]| {
    let mut rig = COMMON.with(Common::rig);
    let (mut rest, mut offered, mut inside, mut made) = (input, 0, [Vec::new(), Vec::new()], 0);
    while let Some(([head, long, short], tail)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([*long, *short])).min(tail.len()).min(FRAME_SIZE);
        let (frame, tail) = tail.split_at(length);
        rest = tail;
        let side = if head & 1 == 0 { Side::Outside } else { Side::Inside };
        if rig.offer(side, frame) {
            offered += 1;
            inside[side.index()].push(frame);
        }
        if head & 2 != 0 || offered == POOL {
            rig.later(u64::from(head >> 2) * SECOND);
            turn(&mut rig, (&mut inside, &mut made));
            offered = 0;
        }
    }
    turn(&mut rig, (&mut inside, &mut made));
    // Longer than anything lives: one turn of the hands ends it all.
    rig.later(100_000 * SECOND);
    turn(&mut rig, (&mut inside, &mut made));
    let census = rig.worker.queues().census();
    assert_eq!((census.free, census.held), (2 * POOL, 0), "every frame is back");
    assert_eq!(rig.half_open.total(), 0, "nothing is half-open");
    assert_eq!(rig.face.gauges.load().flows, 0, "no flow is left");
});

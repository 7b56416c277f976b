//! Any frames in any order, from both sides, at any pace, through one, two or four workers over memory ports: every
//! frame ends once, none is lost to its pool, what leaves came in byte for byte (what pads it is zero) or is a
//! counted reply, the counters add up, and in the end nothing is left: no fragment that waits, no flow, no
//! half-open connection.
//!
//! Input: steps of one head byte (bit 0: side, bit 1: end the burst here, bits 2–7: seconds that pass) and
//! a frame behind its length in two bytes; bytes left over, too few for another step, say how many workers
//! there are: none one, one two, two four. Which queue a frame takes its length and head say. Each input meets a worker of its own, and the build's secrets are
//! fixed (`cfg(fuzzing)`): the same input does the same each time. Policy and queues are made once; the
//! queues are empty when an input begins.
#![no_main]

#[expect(dead_code, reason = "what the tests assert of single frames is not said of any frames")]
#[path = "../../tests/rig/memory.rs"]
mod memory;

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use memory::{POLICY, Rig, Shape, policy};
use portcullis::flow::Owner;
use portcullis::flow::fragments::FragmentLimits;
use portcullis::io::QueuePair;
use portcullis::io::memory::FRAME_SIZE;
use portcullis::wire::{LONGEST_PADDED, Side, unpadded};
use portcullis::worker::{Policy, WorkerFace};

const SECOND: u64 = 1_000_000_000;
const POOL: u32 = 16;
/// Frames that a worker lends another: fewer than may come.
const LENT: u32 = 8;
/// Turns of all after which nothing is on its way between workers, but for what waits for a free frame.
const ROUNDS: usize = 6;

/// A TX ring below the pool: the way out is full now and then. Few flows, datagrams and destinations: so are
/// their tables.
fn shape(workers: usize) -> Shape {
    let fragments = FragmentLimits { datagrams: 16, datagrams_a_source: 8, ..FragmentLimits::DEFAULT };
    Shape {
        pool: POOL,
        tx_ring: 12,
        flows: 8,
        fragments: Some(fragments),
        destinations: 16,
        owner: Owner::new(u32::try_from(workers).unwrap_or(1), (1, 2)),
        ..Shape::default()
    }
}

/// What all inputs share.
struct Common {
    policy: Arc<Policy>,
    /// Their rings, which each input leaves empty; nothing else of them is used.
    faces: [WorkerFace; 4],
}

impl Common {
    fn rigs(&self, workers: usize) -> Vec<Rig> {
        let faces = self.faces.iter().zip(0..).take(workers);
        let faces = faces.map(|(face, queue)| {
            WorkerFace::over(queue, None, Arc::clone(&face.events), Arc::clone(&face.cuts))
        });
        if workers == 1 {
            return faces.map(|face| Rig::over(Arc::clone(&self.policy), shape(1), face)).collect();
        }
        Rig::among_over(Arc::clone(&self.policy), &shape(workers), LENT, faces.collect())
    }
}

/// What came left as it was, but for zeros where something padded it.
fn is_whole(came: &[u8], left: &[u8]) -> bool {
    unpadded(came, &mut [0; LONGEST_PADDED]).unwrap_or(came) == left
}

/// The rigs balance the books of the turns; whatever left is taken out, and is something that came in or one
/// of the replies that were counted.
fn turn(rigs: &mut [Rig], (inside, made): (&mut [Vec<&[u8]>; 2], &mut u64)) {
    for _ in 0..if rigs.len() == 1 { 1 } else { ROUNDS } {
        for rig in &mut *rigs {
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
        }
    }
    let (mut replies, mut passed) = (0, [0; 2]);
    for rig in rigs {
        for side in rig.face.counters.snapshot().sides {
            replies += side.replies;
            passed[0] += side.handed_over;
            passed[1] += side.taken_over;
        }
        while rig.event().is_some() {}
        assert!(rig.face.cuts.take().is_none(), "no policy was published");
        assert_eq!(rig.worker.queues().census().handed, 0, "every frame lent came back");
    }
    assert!(*made <= replies, "{made} frames left that did not come in, {replies} replies were sent");
    assert_eq!(passed[0], passed[1], "what one hands over another takes over");
}

thread_local!(static COMMON: Common = Common {
    policy: Arc::new(policy(POLICY, 1).expect("the policy loads")),
    faces: [0, 1, 2, 3].map(|queue| WorkerFace::new(queue, None)),
});

/// Bytes behind the last step.
fn left_over(input: &[u8]) -> usize {
    let mut rest = input;
    while let Some(([_, long, short], tail)) = rest.split_first_chunk::<3>() {
        rest = &tail[usize::from(u16::from_be_bytes([*long, *short])).min(tail.len()).min(FRAME_SIZE)..];
    }
    rest.len()
}

fuzz_target!(|input: &[u8]| {
    let workers = [1, 2, 4][left_over(input).min(2)];
    let mut rigs = COMMON.with(|common| common.rigs(workers));
    let (mut rest, mut offered, mut inside, mut made) = (input, 0, [Vec::new(), Vec::new()], 0);
    while let Some(([head, long, short], tail)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([*long, *short])).min(tail.len()).min(FRAME_SIZE);
        let (frame, tail) = tail.split_at(length);
        rest = tail;
        let side = if head & 1 == 0 { Side::Outside } else { Side::Inside };
        if rigs[(length ^ usize::from(head >> 2)) % workers].offer(side, frame) {
            offered += 1;
            inside[side.index()].push(frame);
        }
        if head & 2 != 0 || offered == POOL {
            rigs.iter_mut().for_each(|rig| rig.later(u64::from(head >> 2) * SECOND));
            turn(&mut rigs, (&mut inside, &mut made));
            offered = 0;
        }
    }
    turn(&mut rigs, (&mut inside, &mut made));
    // Longer than anything lives: one turn of the hands ends it all.
    rigs.iter_mut().for_each(|rig| rig.later(100_000 * SECOND));
    turn(&mut rigs, (&mut inside, &mut made));
    for rig in &mut rigs {
        let census = rig.worker.queues().census();
        assert_eq!((census.free, census.held), (census.total(), 0), "every frame is back");
        assert_eq!(rig.half_open.total(), 0, "nothing is half-open");
        // Gauges are published in the first turn after such a time.
        assert_eq!(rig.face.gauges.load().flows, 0, "no flow is left");
    }
});

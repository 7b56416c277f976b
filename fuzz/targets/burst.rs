//! Any frames in any order, from both sides, at any pace, through the whole worker over memory ports:
//! every frame ends once, no frame is lost to its pool, and the counters add up.
//!
//! Input: steps of one head byte (bit 0: side, bit 1: end the burst here, bits 2–7: seconds that pass) and
//! a frame behind its length in two bytes.
#![no_main]

#[expect(dead_code, reason = "what the tests assert of single frames is not said of any frames")]
#[path = "../../tests/rig/memory.rs"]
mod memory;

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use memory::{POLICY, Rig, Shape, policy};
use portcullis::io::memory::FRAME_SIZE;
use portcullis::wire::Side;

const SECOND: u64 = 1_000_000_000;
const POOL: u32 = 16;

/// A TX ring below the pool: the way out is full now and then. Few flows: so is the table.
fn rig() -> Rig {
    let policy = policy(POLICY, 1).expect("the policy loads");
    Rig::new(policy, Shape { pool: POOL, tx_ring: 12, flows: 8, ..Shape::default() })
}

/// The rig balances the books of the turn; whatever left is taken out.
fn turn(rig: &mut Rig) {
    rig.turn();
    for side in Side::BOTH {
        while let Some(frame) = rig.take(side) {
            assert!(frame.len() <= FRAME_SIZE);
        }
    }
    while rig.event().is_some() {}
}

thread_local!(static RIG: RefCell<Rig> = RefCell::new(rig()));

fuzz_target!(|input: &[u8]| {
    RIG.with_borrow_mut(|rig| {
        // What the input before left behind has ended by then: each input starts on an empty table.
        rig.later(100_000 * SECOND);
        if rig.time.boot > u64::MAX / 2 {
            *rig = self::rig();
        }
        let (mut rest, mut offered) = (input, 0);
        while let Some(([head, long, short], tail)) = rest.split_first_chunk::<3>() {
            let length = usize::from(u16::from_be_bytes([*long, *short])).min(tail.len()).min(FRAME_SIZE);
            let (frame, tail) = tail.split_at(length);
            rest = tail;
            let side = if head & 1 == 0 { Side::Outside } else { Side::Inside };
            offered += u32::from(rig.offer(side, frame));
            if head & 2 != 0 || offered == POOL {
                rig.later(u64::from(head >> 2) * SECOND);
                turn(rig);
                offered = 0;
            }
        }
        turn(rig);
    });
});

//! What all workers read, and none of them writes as it works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use portcullis::worker::WorkerFace;

use crate::memory::{POLICY, Rig, Shape};
use crate::says::policy;

/// A count of owners is one line of memory, which all workers would fetch from one another at every turn.
#[test]
fn no_turn_counts_itself_among_the_owners_of_the_policy() {
    let policy = Arc::new(policy(POLICY, 1));
    let mut rig = Rig::over(Arc::clone(&policy), Shape::default(), WorkerFace::new(0, None));
    let owners = Arc::strong_count(&policy);
    let (turns, over) = (AtomicU32::new(0), AtomicBool::new(false));
    let most = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let time = rig.time;
                rig.worker.turn(&time);
                rig.worker.sweep(&time, false);
                turns.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (mut looks, mut most) = (0_u32, 0);
        while looks < 10_000 || turns.load(Ordering::Relaxed) < 10_000 {
            most = most.max(Arc::strong_count(&policy));
            looks += 1;
        }
        over.store(true, Ordering::Relaxed);
        most
    });
    assert_eq!(most, owners);
}

//! What workers leave to one another: the policy's line of memory, and the processor.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use portcullis::io::clock::boot_nanos;
use portcullis::worker::WorkerFace;

use crate::memory::{POLICY, Rig, Shape};
use crate::says::policy;
use crate::workers::Several;

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

/// Nanoseconds that a thread of this process has worked (kernel, Documentation/scheduler/sched-stats.rst).
fn worked(thread: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// A worker that never slept on its bell would lose no packet, only a processor.
#[test]
fn workers_with_nothing_to_do_sleep_for_a_bell() {
    let rigs = Several::shaped(2, &Shape::default(), 64).rigs;
    let stop = Arc::clone(&rigs[0].worker.orders().stop);
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        for rig in rigs {
            let tell = tell.clone();
            scope.spawn(move || {
                tell.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
                rig.worker.run();
            });
        }
        let threads = [told.recv().unwrap(), told.recv().unwrap()];
        let (before, begun) = (threads.map(worked), boot_nanos());
        thread::sleep(Duration::from_secs(1));
        let span = boot_nanos() - begun;
        let worked = [0, 1].map(|n| worked(threads[n]) - before[n]);
        stop.store(true, Ordering::Relaxed);
        assert!(worked.iter().all(|nanos| nanos * 6 < span), "{worked:?} ns of {span}");
    });
}

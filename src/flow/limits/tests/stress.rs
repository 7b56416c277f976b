//! The table of half-open connections under real threads.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const LIMIT: u32 = 4;
const HOSTS: u32 = 12;
const STEPS: u32 = 100_000;

/// Four threads open and close at twelve destinations that share eight slots, so slots change hands all the
/// time. What each destination has open is counted beside the table: after an open and before a close, so
/// never more than the table has.
#[test]
fn four_threads_never_pass_the_limit_and_end_at_zero() {
    let table = HalfOpen::new(8, (1, 2));
    let open: Vec<AtomicU32> = (0..HOSTS).map(|_| AtomicU32::new(0)).collect();
    let seen = [const { AtomicU32::new(0) }; 4];
    let start = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for thread in 1..=4u32 {
            let (table, open, seen, start) = (&table, &open, &seen, &start);
            scope.spawn(move || {
                let mut random = thread.wrapping_mul(0x9e37_79b9);
                let mut mine: Vec<(u32, HalfOpenSlot)> = Vec::new();
                start.wait();
                for _ in 0..STEPS {
                    random ^= random << 13;
                    random ^= random >> 17;
                    random ^= random << 5;
                    let host = (random >> 8) % HOSTS;
                    if mine.len() < 8 && random.is_multiple_of(2) {
                        match table.open(&destination(host), LIMIT) {
                            Ok(slot) => {
                                let now = open[host as usize].fetch_add(1, Ordering::SeqCst) + 1;
                                assert!(now <= LIMIT, "{now} at {host}");
                                assert!(table.count(slot) >= 1);
                                mine.push((host, slot));
                                seen[0].fetch_add(1, Ordering::Relaxed);
                            }
                            Err(LimitRefusal::HalfOpen) => {
                                seen[1].fetch_add(1, Ordering::Relaxed);
                            }
                            Err(LimitRefusal::HalfOpenTableFull) => {
                                seen[2].fetch_add(1, Ordering::Relaxed);
                            }
                            Err(other) => {
                                assert_eq!(other, LimitRefusal::HalfOpenContended);
                                seen[3].fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    } else if !mine.is_empty() {
                        let (host, slot) = mine.swap_remove((random >> 4) as usize % mine.len());
                        open[host as usize].fetch_sub(1, Ordering::SeqCst);
                        assert!(table.close(slot));
                    }
                }
                for (host, slot) in mine {
                    open[host as usize].fetch_sub(1, Ordering::SeqCst);
                    assert!(table.close(slot));
                }
            });
        }
    });
    assert_eq!(table.total(), 0);
    assert!(open.iter().all(|count| count.load(Ordering::SeqCst) == 0));
    let [opened, at_limit, full, contended] = seen.map(AtomicU32::into_inner);
    assert!(opened > 10_000 && at_limit > 0 && full > 0, "{opened} {at_limit} {full} {contended}");
}

/// One destination, one slot: the limit is reached, never passed, and nothing is refused below it.
#[test]
fn four_threads_share_one_destination_exactly() {
    let table = HalfOpen::new(8, (1, 2));
    let attempt = |_| loop {
        match table.open(&destination(1), 150_000) {
            Ok(slot) => return Some(slot),
            Err(LimitRefusal::HalfOpen) => return None,
            // Whoever claims the slot lost its core meanwhile.
            Err(other) => assert_eq!(other, LimitRefusal::HalfOpenContended),
        }
    };
    let opened: Vec<HalfOpenSlot> = std::thread::scope(|scope| {
        let thread = || (0..STEPS).filter_map(attempt).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(thread)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(opened.len(), 150_000);
    assert_eq!(table.total(), 150_000);
    std::thread::scope(|scope| {
        for part in opened.chunks(37_500) {
            let table = &table;
            scope.spawn(move || assert!(part.iter().all(|slot| table.close(*slot))));
        }
    });
    assert_eq!((table.total(), table.close(opened[0])), (0, false));
}

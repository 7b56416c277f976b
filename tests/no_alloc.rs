//! Nothing on the packet path allocates: a counting allocator watches the path over one frame of every
//! kind. A stage joins by a test that calls [`allocations`] around it.
#![allow(unsafe_code, reason = "`GlobalAlloc` is an unsafe trait; this is its only implementation")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use portcullis::flow::Owner;
use portcullis::wire::samples::{Ends, every_kind};
use portcullis::wire::{L4, Net, Reply, Side, TcpFlags, parse};

#[expect(dead_code, reason = "only the worker itself is wanted here")]
#[path = "rig/memory.rs"]
mod memory;

use memory::{POLICY, Rig, Shape, policy};

/// The system's allocator, counting what the calling thread asks of it.
struct Counting;

thread_local! {
    /// Per thread, because the test harness allocates on its own. `const`, so that the first access does
    /// not allocate.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// A thread that is ending has no counter any more; what it allocates then is not the path's.
fn count() {
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed to `System` unchanged, which keeps the contract; counting neither
// allocates nor touches the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps `alloc_zeroed`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps `realloc`'s contract; `at` came from `System`.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // Giving memory back takes the allocator's locks as well.
        count();
        // SAFETY: the caller keeps `dealloc`'s contract; `at` came from `System`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `path` asks the allocator for memory or gives it back.
fn allocations(path: impl FnOnce()) -> u64 {
    let before = COUNT.get();
    path();
    COUNT.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(black_box(Box::new(7)))), 2);
    assert_eq!(allocations(|| drop(black_box(vec![0_u8; 64]))), 2);
    assert_eq!(allocations(|| ()), 0);
}

#[test]
fn reading_a_frame() {
    let frames = every_kind();
    assert!(frames.len() > 30);
    let mut packets = 0;
    let count = allocations(|| {
        for (_, frame) in &frames {
            let Ok(facts) = parse(black_box(frame)) else { continue };
            black_box(facts.housekeeping());
            black_box(facts.key());
            let Net::Ip(ip) = facts.net else { continue };
            black_box(ip.service());
            if let L4::Icmp(icmp) = ip.l4 {
                black_box(icmp.quote.map(|quote| quote.key(facts.vlans)));
            }
            packets += 1;
        }
        // What can't be read ends early, but it has to end somewhere.
        for (_, frame) in &frames {
            for length in 0..frame.len() {
                let _ = black_box(parse(black_box(frame.get(..length).unwrap_or_default())));
            }
        }
    });
    assert_eq!(count, 0);
    assert!(packets > 20, "only {packets} packets");
}

#[test]
fn writing_a_reply() {
    let frames = every_kind();
    let mut into = Box::new([0; Reply::LONGEST]);
    let mut written = 0;
    let count = allocations(|| {
        for (_, frame) in &frames {
            for reply in [Reply::Reset, Reply::Unreachable] {
                written += u32::from(black_box(reply.write(black_box(frame), &mut into)).is_some());
            }
        }
    });
    assert_eq!(count, 0);
    assert!(written > 10, "only {written} replies");
}

/// Both pass on what the other owns, whole packets, fragments in any order and errors among it.
#[test]
fn turns_of_two_workers() {
    let owner = Owner::new(2, (3, 4));
    let shape = Shape { flows: 256, pool: 128, tx_ring: 256, owner, ..Shape::default() };
    let policy = std::sync::Arc::new(policy(POLICY, 1).expect("the policy loads"));
    let mut rigs = Rig::among(policy, &shape, 2, 64);
    let link = Ends::of("10.10.0.5", "10.20.0.9");
    let mut frames = Vec::new();
    for port in 4_000..4_024_u16 {
        let query = link.udp(port, 53, b"question");
        frames.push((Side::Inside, link.reply().icmp_error(3, 3, [0; 4], &query)));
        frames.push((Side::Outside, query));
        frames.push((Side::Outside, link.tcp(port, 443, TcpFlags::SYN, 1, 0, b"")));
        let [p0, p1] = port.to_be_bytes();
        let first = [p0, p1, 0, 53, 0, 24, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        frames.push((Side::Outside, link.fragment(17, port.into(), 16, false, &[7; 8])));
        frames.push((Side::Outside, link.fragment(17, port.into(), 0, true, &first)));
    }
    for round in 0..6 {
        // Each frame by one queue and then by the other.
        for (n, (side, frame)) in frames.iter().enumerate() {
            assert!(rigs[(n + round) % 2].offer(*side, frame));
        }
        for rig in [0, 1, 0, 1, 0, 1] {
            rigs[rig].later(1_000_000_000);
            let time = rigs[rig].time;
            let count = allocations(|| {
                black_box(rigs[rig].worker.turn(&time));
            });
            assert_eq!(count, 0, "round {round}");
        }
        for rig in &mut rigs {
            while rig.take(Side::Outside).or_else(|| rig.take(Side::Inside)).is_some() {}
            while rig.event().is_some() {}
        }
    }
    for rig in &rigs {
        let [outside, inside] = rig.face.counters.snapshot().sides;
        assert!(outside.handed_over > 40 && outside.taken_over > 40, "{outside:?}");
        assert!(inside.handed_over > 10 && inside.taken_over > 10, "{inside:?}");
        assert!(outside.forwarded_packets > 40 && inside.forwarded_packets > 4, "{outside:?} {inside:?}");
    }
}

#[test]
fn a_turn_of_the_worker() {
    let policy = policy(POLICY, 1).expect("the policy loads");
    let mut rig = Rig::new(policy, Shape { flows: 8, pool: 64, ..Shape::default() });
    let mut frames: Vec<Vec<u8>> = every_kind().into_iter().map(|(_, frame)| frame).collect();
    for port in 0..12 {
        let ends = Ends::of("10.10.0.5", "10.20.0.9");
        frames.push(ends.tcp(4_000 + port, 443, TcpFlags::SYN, 1, 0, b""));
        frames.push(ends.tcp(4_000 + port, 443, TcpFlags::ACK, 2, 1, b"data"));
    }
    // Those that a rule has answered.
    let refused = Ends::of("10.10.0.5", "10.20.0.9");
    frames.push(refused.tcp(4_000, 24, TcpFlags::SYN, 1, 0, b""));
    frames.push(refused.udp(4_000, 514, &[7; 900]));
    let mut copied = 0;
    for round in 0..4 {
        for side in [Side::Outside, Side::Inside] {
            for frame in &frames {
                assert!(rig.offer(side, frame));
            }
            // A minute: what was not confirmed expires. Gauges are published on the way.
            rig.later(60_000_000_000);
            let time = rig.time;
            let busy = allocations(|| assert!(black_box(rig.worker.turn(&time))));
            assert_eq!(busy, 0, "round {round}");
            // What follows a turn, while somebody asks for the flows.
            let face = std::sync::Arc::clone(&rig.face);
            let asker = face.desk.sit(0).expect("nobody else asks");
            let copying = allocations(|| {
                black_box(rig.worker.sweep(&time, true));
            });
            assert_eq!(copying, 0, "round {round}");
            copied += std::iter::from_fn(|| asker.take()).count();
            while rig.take(Side::Outside).or_else(|| rig.take(Side::Inside)).is_some() {}
        }
    }
    assert!(copied > 8, "only {copied} flows were copied");
    let [outside, inside] = rig.face.counters.snapshot().sides;
    assert_eq!(outside.replies, 8, "{outside:?}");
    assert!(outside.forwarded_packets > 40 && inside.rx_packets > 100, "{outside:?} {inside:?}");
}

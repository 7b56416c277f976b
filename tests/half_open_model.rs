//! The table of half-open connections under a model checker (loom): every order in which two or three
//! workers may interleave, also those that no machine shows in a test's time. The shipped file is compiled
//! here over loom's atomics, with two slots in its only set and two attempts, so that the orders can be
//! counted.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use limits::{Destination, HalfOpen, HalfOpenSlot, LimitRefusal};
use loom::sync::atomic::{AtomicU32, Ordering};

/// As the file names it from its place in the package.
mod wire {
    pub(crate) use portcullis::wire::Vlans;
}

#[path = "."]
mod limits {
    pub(crate) use portcullis::flow::limits::LimitRefusal;

    mod ground {
        pub(super) use loom::hint::spin_loop;
        pub(super) use loom::sync::atomic::{AtomicU64, Ordering};

        pub(super) const WAYS: usize = 2;
        pub(super) const ATTEMPTS: u32 = 2;
    }

    #[path = "../src/flow/limits/half_open.rs"]
    #[allow(dead_code, unreachable_pub, reason = "the shipped file, of which a part is tried")]
    mod half_open;

    pub(crate) use half_open::{Destination, HalfOpen, HalfOpenSlot};
}

fn destination(n: u8) -> Destination {
    Destination::of(IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)), wire::Vlans::UNTAGGED)
}

/// Runs the threads in every order with at most `preemptions` of them interrupted.
fn every_order(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(run);
}

fn open(table: &HalfOpen, n: u8, limit: u32) -> Option<HalfOpenSlot> {
    let done = table.open(&destination(n), limit);
    assert!(!matches!(
        done,
        Err(LimitRefusal::SourceRate | LimitRefusal::SourceShare | LimitRefusal::OutsideShare)
    ));
    done.ok()
}

/// Both slots have a key and no count: whoever comes anew takes one from a destination that may return.
fn know_two_and_free_them(table: &HalfOpen) {
    let slots = [1, 2].map(|n| open(table, n, 9).expect("nobody else is there"));
    assert!(
        slots.iter().map(|slot| slot.number()).eq([0, 1]) && slots.iter().all(|slot| table.close(*slot))
    );
}

#[test]
fn in_every_order_a_new_destination_gets_one_slot_and_its_limit() {
    every_order(3, || {
        let table = Arc::new(HalfOpen::new(2, (1, 2)));
        let other = {
            let table = Arc::clone(&table);
            loom::thread::spawn(move || open(&table, 1, 1))
        };
        let mine = open(&table, 1, 1);
        let other = other.join().unwrap();
        let opened = [mine, other].into_iter().flatten().count();
        assert!(opened <= 1, "the limit is one");
        assert_eq!(table.total(), opened as u64);
        let closed = [mine, other].into_iter().flatten().filter(|slot| table.close(*slot)).count();
        assert_eq!((closed, table.total()), (opened, 0));
    });
}

#[test]
fn in_every_order_nobody_counts_for_somebody_else() {
    every_order(3, || {
        let table = Arc::new(HalfOpen::new(2, (1, 2)));
        know_two_and_free_them(&table);
        let first = Arc::new(AtomicU32::new(0));
        let other = {
            let (table, first) = (Arc::clone(&table), Arc::clone(&first));
            loom::thread::spawn(move || {
                let slot = open(&table, 3, 1);
                let again = open(&table, 1, 1);
                first.fetch_add(u32::from(again.is_some()), Ordering::SeqCst);
                (slot, again)
            })
        };
        let returned = open(&table, 1, 1);
        first.fetch_add(u32::from(returned.is_some()), Ordering::SeqCst);
        let (new, again) = other.join().unwrap();
        assert!(first.load(Ordering::SeqCst) <= 1, "two for one destination whose limit is one");
        let opened: Vec<_> = [returned, new, again].into_iter().flatten().collect();
        assert_eq!(table.total(), opened.len() as u64);
        if let (Some(new), Some(one)) = (new, returned.or(again)) {
            assert_ne!(new, one, "two destinations in one slot");
        }
        assert!(opened.iter().all(|slot| table.count(*slot) == 1 && table.close(*slot)));
        assert_eq!(table.total(), 0);
    });
}

#[test]
fn in_every_order_a_slot_that_is_closed_may_be_claimed_and_counts_stay_right() {
    every_order(3, || {
        let table = Arc::new(HalfOpen::new(2, (1, 2)));
        let (one, two) = (open(&table, 1, 9), open(&table, 2, 9));
        let (one, two) = (one.expect("nobody else is there"), two.expect("room for two"));
        let other = {
            let table = Arc::clone(&table);
            loom::thread::spawn(move || open(&table, 3, 9))
        };
        assert!(table.close(one));
        let back = open(&table, 1, 9);
        let new = other.join().unwrap();
        assert!(back.is_none_or(|back| Some(back) != new), "two destinations in one slot");
        assert_eq!(table.count(two), 1);
        let opened: Vec<_> = [Some(two), back, new].into_iter().flatten().collect();
        assert_eq!(table.total(), opened.len() as u64);
        assert!(opened.iter().all(|slot| table.close(*slot)));
        assert_eq!(table.total(), 0);
    });
}

#[test]
fn in_every_order_a_count_goes_to_the_key_that_was_read() {
    every_order(3, || {
        let table = Arc::new(HalfOpen::new(2, (1, 2)));
        know_two_and_free_them(&table);
        // The third takes the place of the first and leaves it as free as it was, but for the key.
        let other = {
            let table = Arc::clone(&table);
            loom::thread::spawn(move || {
                let slot = open(&table, 3, 9);
                assert!(slot.is_none_or(|slot| table.close(slot)));
            })
        };
        let mine = open(&table, 1, 9);
        other.join().unwrap();
        assert_eq!(table.total(), u64::from(mine.is_some()));
        assert!(open(&table, 3, 1).is_some(), "nothing of the third is open");
        if mine.is_some() {
            assert_eq!(table.open(&destination(1), 1), Err(LimitRefusal::HalfOpen));
        }
    });
}

//! The latest events, numbered.
//!
//! Invariants: numbers start at 1 and have no gaps; at most `capacity` events are kept, the oldest go
//! first; a reader that comes too late is told how many it missed. Cost: one lock a batch written and
//! one a page read, both off the packet path; about 8 MiB when full.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::pipeline::Event;

/// A bounded log of events.
#[derive(Debug)]
pub struct Log {
    ring: Mutex<Ring>,
    latest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<Event>,
    /// Number of the latest event, 0 before the first.
    latest: u64,
    capacity: usize,
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Events with their numbers, in order.
    pub events: Vec<(u64, Event)>,
    /// Ask for what comes after this number next time.
    pub next: u64,
    /// Events after the asked number that had been overwritten.
    pub missed: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self::new(Self::CAPACITY)
    }
}

impl Log {
    /// Events a log keeps.
    pub const CAPACITY: usize = 65_536;

    /// A log of the latest `capacity` events.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            ring: Mutex::new(Ring { events: VecDeque::new(), latest: 0, capacity }),
            latest: watch::Sender::new(0),
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends events and wakes who waits for them.
    pub fn append(&self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        let mut ring = self.ring();
        for event in events {
            if ring.events.len() == ring.capacity {
                ring.events.pop_front();
            }
            ring.events.push_back(*event);
            ring.latest += 1;
        }
        let latest = ring.latest;
        drop(ring);
        self.latest.send_replace(latest);
    }

    /// At most `limit` events after number `after`. A number beyond the latest, from before a restart
    /// perhaps, reads as the latest.
    #[must_use]
    pub fn after(&self, after: u64, limit: usize) -> Page {
        let ring = self.ring();
        let kept = u64::try_from(ring.events.len()).unwrap_or(u64::MAX);
        let overwritten = ring.latest - kept;
        let after = after.min(ring.latest);
        let from = after.max(overwritten);
        let skip = usize::try_from(from - overwritten).unwrap_or(usize::MAX);
        let events: Vec<(u64, Event)> =
            (from + 1..).zip(ring.events.iter().skip(skip).take(limit).copied()).collect();
        let next = events.last().map_or(from, |(number, _)| *number);
        Page { events, next, missed: from - after }
    }

    /// The latest `count` events.
    #[must_use]
    pub fn last(&self, count: usize) -> Page {
        let count_wide = u64::try_from(count).unwrap_or(u64::MAX);
        // Events appended between the two locks only make the page end a little earlier.
        let page = self.after(self.latest().saturating_sub(count_wide), count);
        Page { missed: 0, ..page }
    }

    /// Number of the latest event, 0 before the first.
    #[must_use]
    pub fn latest(&self) -> u64 {
        self.ring().latest
    }

    /// Events it keeps at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.ring().capacity
    }

    /// The latest number as it grows, for those who wait.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.latest.receiver_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Moment;
    use crate::record::fixture;

    fn event(nanos: u64) -> Event {
        Event { at: Moment(nanos), ..fixture::no_rule() }
    }

    fn numbers(page: &Page) -> Vec<(u64, u64)> {
        page.events.iter().map(|(number, event)| (*number, event.at.0)).collect()
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repeat() {
        let log = Log::new(8);
        log.append(&[event(10), event(20), event(30)]);
        let first = log.after(0, 2);
        assert_eq!((numbers(&first), first.next, first.missed), (vec![(1, 10), (2, 20)], 2, 0));
        let second = log.after(first.next, 2);
        assert_eq!((numbers(&second), second.next, second.missed), (vec![(3, 30)], 3, 0));
        let none = log.after(second.next, 2);
        assert_eq!((numbers(&none), none.next, none.missed), (vec![], 3, 0));
    }

    #[test]
    fn what_was_overwritten_is_counted_for_the_reader_who_missed_it() {
        let log = Log::new(4);
        for nanos in 1..=10 {
            log.append(&[event(nanos)]);
        }
        let page = log.after(3, 100);
        assert_eq!(numbers(&page), vec![(7, 7), (8, 8), (9, 9), (10, 10)]);
        assert_eq!((page.next, page.missed), (10, 3));
        assert_eq!(log.after(6, 1).missed, 0);
        assert_eq!(log.after(0, 0), Page { events: vec![], next: 6, missed: 6 });
    }

    #[test]
    fn a_number_from_the_future_reads_as_the_latest() {
        let log = Log::new(4);
        log.append(&[event(1)]);
        assert_eq!(log.after(99, 10), Page { events: vec![], next: 1, missed: 0 });
    }

    #[test]
    fn the_last_few_are_not_missed_ones() {
        let log = Log::new(4);
        log.append(&[event(1), event(2), event(3), event(4), event(5)]);
        assert_eq!(numbers(&log.last(2)), vec![(4, 4), (5, 5)]);
        assert_eq!(numbers(&log.last(100)), vec![(2, 2), (3, 3), (4, 4), (5, 5)]);
        assert_eq!(log.last(100).missed, 0);
    }

    #[test]
    fn who_waits_is_woken_by_an_append() {
        let log = Log::new(4);
        let mut latest = log.subscribe();
        assert!(!latest.has_changed().unwrap());
        log.append(&[]);
        assert!(!latest.has_changed().unwrap());
        log.append(&[event(1), event(2)]);
        assert_eq!(*latest.borrow_and_update(), 2);
    }
}

//! How workers sleep, are woken, learn who has passed something on to them, and leave, under a model checker (loom):
//! every order in which they may interleave. The shipped files are compiled here over loom's atomics; a ring is the
//! count of what was put into it, published as a ring publishes it, and the bell stays rung until the sleeper
//! has heard it. A lost wake-up leaves the sleeper asleep for ever, which loom tells as a deadlock.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Condvar, Mutex};

#[path = "."]
mod worker {
    mod ground {
        pub(super) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
    }

    #[path = "../src/worker/sleep.rs"]
    #[allow(dead_code, unreachable_pub, reason = "the shipped file")]
    mod sleep;

    #[path = "../src/worker/mail.rs"]
    #[allow(dead_code, unreachable_pub, reason = "the shipped file")]
    mod mail;

    #[path = "../src/worker/settle.rs"]
    #[allow(dead_code, unreachable_pub, reason = "the shipped file")]
    mod settle;

    /// Their private halves, for the models.
    pub(crate) struct Settled(settle::Settled);

    impl Settled {
        pub(crate) fn new() -> Self {
            Self(settle::Settled::new())
        }

        pub(crate) fn may_leave(
            &self,
            said: &mut bool,
            workers: usize,
            is_quiet: impl Fn() -> bool,
        ) -> bool {
            self.0.may_leave(said, workers, is_quiet)
        }
    }

    pub(crate) struct Mail(mail::Mail);

    impl Mail {
        pub(crate) fn new() -> Self {
            Self(mail::Mail::new())
        }

        pub(crate) fn announce(&self, from: usize) {
            self.0.announce(from);
        }

        pub(crate) fn collect(&self) -> u64 {
            self.0.collect()
        }
    }

    pub(crate) struct Sleep(sleep::Sleep);

    impl Sleep {
        pub(crate) fn new() -> Self {
            Self(sleep::Sleep::new())
        }

        pub(crate) fn begin(&self, something: impl FnOnce() -> bool) -> bool {
            self.0.begin(something)
        }

        pub(crate) fn over(&self) {
            self.0.over();
        }

        pub(crate) fn wakes(&self) -> bool {
            self.0.wakes()
        }
    }
}

use worker::{Mail, Settled, Sleep};

const NOBODY_PANICS: &str = "no thread panics";

/// An eventfd: rung, until it is read.
#[derive(Default)]
struct Bell {
    rung: Mutex<u32>,
    heard: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().expect(NOBODY_PANICS) += 1;
        self.heard.notify_one();
    }

    /// Poll, then read.
    fn wait(&self) -> u32 {
        let mut rung = self.rung.lock().expect(NOBODY_PANICS);
        while *rung == 0 {
            rung = self.heard.wait(rung).expect(NOBODY_PANICS);
        }
        std::mem::take(&mut *rung)
    }
}

/// A sleeper with so many rings, one a neighbour.
struct Place {
    rings: Vec<AtomicU32>,
    mail: Mail,
    sleep: Sleep,
    bell: Bell,
}

impl Place {
    fn new(rings: usize) -> Self {
        let rings = (0..rings).map(|_| AtomicU32::new(0)).collect();
        Self { rings, mail: Mail::new(), sleep: Sleep::new(), bell: Bell::default() }
    }

    fn put(&self, ring: usize) {
        let one = self.rings.get(ring).expect("a ring");
        one.store(one.load(Ordering::Relaxed) + 1, Ordering::Release);
        self.mail.announce(ring);
        if self.sleep.wakes() {
            self.bell.ring();
        }
    }

    /// What the rings hold whose bits the mail has.
    fn told(&self, taken: &mut [u32]) {
        let senders = self.mail.collect();
        for ((at, ring), taken) in self.rings.iter().enumerate().zip(taken) {
            if senders >> at & 1 == 1 {
                *taken = ring.load(Ordering::Acquire);
            }
        }
    }

    fn here(&self) -> u32 {
        self.rings.iter().map(|ring| ring.load(Ordering::Acquire)).sum()
    }

    /// Takes what comes, asleep while there is nothing, until so much has come. How often the bell rang so far, and
    /// how often it could: once each time that sleep was begun.
    fn take(&self, all: u32) -> (u32, u32) {
        let (mut rung, mut begun) = (0, 0);
        let mut by_ring = vec![0; self.rings.len()];
        loop {
            self.told(&mut by_ring);
            let taken: u32 = by_ring.iter().sum();
            if taken == all {
                break;
            }
            begun += 1;
            if self.sleep.begin(|| self.here() > taken) {
                rung += self.bell.wait();
                self.sleep.over();
            } else {
                // It is in a ring, and its neighbour is about to say so.
                loom::thread::yield_now();
            }
        }
        (rung, begun)
    }

    /// What nobody has heard, once all others are gone.
    fn left(&self) -> u32 {
        *self.bell.rung.lock().expect(NOBODY_PANICS)
    }
}

fn every_order(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(run);
}

#[test]
fn in_every_order_who_sleeps_is_woken_by_what_comes() {
    every_order(4, || {
        let place = Arc::new(Place::new(1));
        let other = {
            let place = Arc::clone(&place);
            loom::thread::spawn(move || (0..2).for_each(|_| place.put(0)))
        };
        let (rung, begun) = place.take(2);
        other.join().expect(NOBODY_PANICS);
        assert!(rung + place.left() <= begun, "rung {rung} times for {begun} sleeps");
    });
}

#[test]
fn in_every_order_two_neighbours_wake_a_sleeper_once_a_sleep_at_most() {
    every_order(3, || {
        let place = Arc::new(Place::new(2));
        let others = [0, 1].map(|ring| {
            let place = Arc::clone(&place);
            loom::thread::spawn(move || place.put(ring))
        });
        let (rung, begun) = place.take(2);
        for other in others {
            other.join().expect(NOBODY_PANICS);
        }
        assert!(rung + place.left() <= begun, "rung {rung} times for {begun} sleeps");
    });
}

#[test]
fn who_is_awake_is_woken_by_nobody() {
    every_order(1, || {
        let sleep = Sleep::new();
        assert!(!sleep.wakes(), "before it ever slept");
        assert!(sleep.begin(|| false));
        sleep.over();
        assert!(!sleep.wakes(), "a poll that ended by itself");
        assert!(!sleep.begin(|| true));
        assert!(!sleep.wakes(), "a sleep that something prevented");
        assert!(sleep.begin(|| false) && sleep.wakes(), "the model can tell");
    });
}

/// A ring to another worker and the one back, as counts.
struct Lane {
    put: AtomicU32,
    back: AtomicU32,
}

impl Lane {
    fn new() -> Self {
        Self { put: AtomicU32::new(0), back: AtomicU32::new(0) }
    }

    fn put(&self) {
        self.put.store(1, Ordering::Release);
    }

    fn give_back(&self) {
        self.back.store(1, Ordering::Release);
    }

    fn holds(&self) -> bool {
        self.put.load(Ordering::Acquire) == 1
    }

    fn came_back(&self) -> bool {
        self.back.load(Ordering::Acquire) == 1
    }
}

/// A stop of three workers: the first passes a frame on to the second, which passes it on to the third. Each asks so
/// many times whether it may leave; a gate asks until then, or until its time is up.
struct Stop {
    there: Lane,
    on: Lane,
    settled: Settled,
}

const TIMES: usize = 3;

impl Stop {
    fn first(&self) {
        self.there.put();
        let mut said = false;
        let _ = (0..TIMES).any(|_| self.settled.may_leave(&mut said, 3, || self.there.came_back()));
    }

    fn second(&self) {
        let (mut said, mut took) = (false, false);
        let _ = (0..TIMES).any(|_| {
            if !took && self.there.holds() {
                took = true;
                // In this order: whoever sees its frame come back sees where it went on.
                self.on.put();
                self.there.give_back();
            }
            let is_quiet = || self.there.holds() == took && self.on.came_back() == took;
            self.settled.may_leave(&mut said, 3, is_quiet)
        });
    }

    /// Whether it left without the frame.
    fn third(&self) -> bool {
        let (mut said, mut took) = (false, false);
        let left = (0..TIMES).any(|_| {
            if !took && self.on.holds() {
                took = true;
                self.on.give_back();
            }
            self.settled.may_leave(&mut said, 3, || self.on.holds() == took)
        });
        left && !took
    }
}

#[test]
fn in_every_order_nobody_leaves_what_was_passed_on_to_it() {
    every_order(3, || {
        let stop = Arc::new(Stop { there: Lane::new(), on: Lane::new(), settled: Settled::new() });
        let first = {
            let stop = Arc::clone(&stop);
            loom::thread::spawn(move || stop.first())
        };
        let second = {
            let stop = Arc::clone(&stop);
            loom::thread::spawn(move || stop.second())
        };
        assert!(!stop.third(), "it left a frame behind");
        for other in [first, second] {
            other.join().expect(NOBODY_PANICS);
        }
    });
}

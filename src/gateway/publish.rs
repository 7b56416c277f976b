//! A new policy into a running gate (FLOWS.md §6).
//!
//! What it is: held against what cannot change while a gate runs, compiled, its tests proven, tried on sampled
//! connections, put in force by one pointer, and waited for until every worker has begun a turn with it: from then on
//! nothing that an older table judged enters a TX ring. What it is not: it reads no file and asks nobody's
//! approval. Invariants: one publish at a time; a refused one changes nothing; flows name at most two
//! generations, because a publish waits until the one before has gone through all of them. Cost: a compile,
//! off the workers' cores where there is one to spare.

use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use super::shared::Shared;
use crate::io::clock::boot_nanos;
use crate::io::region;
use crate::policy::explain::{Disagreement, trial};
use crate::policy::model::Model;
use crate::policy::proof::Proven;
use crate::policy::read::{Loaded, Rejected};
use crate::policy::{Moment, Table};
use crate::worker::{Policy, WorkerFace};

/// A worker sleeps at most a tenth of a second: one that has not begun in this time is stuck.
const STUCK: u64 = 2_000_000_000;
/// The longest wait until the flows of the publish before are gone through.
const SWEEP: u64 = 20_000_000_000;
/// Between two looks at the workers.
const LOOK: Duration = Duration::from_micros(200);

/// What publishing keeps between two times.
#[derive(Debug)]
pub struct Publishing {
    /// The generation before the one in force: flows may still name it, and it is freed here, never by a
    /// worker.
    before: Mutex<Option<Arc<Policy>>>,
    /// How long it waits for the flows of the publish before, nanoseconds.
    patience: u64,
}

impl Default for Publishing {
    fn default() -> Self {
        Self { before: Mutex::default(), patience: SWEEP }
    }
}

/// A setting that a reload cannot change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// As policy text names it: `[gate] rings`.
    pub setting: &'static str,
    /// What the gate runs with.
    pub running: String,
    /// What the policy says.
    pub wanted: String,
}

/// A policy that is not put in force; the one that was stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Another one is on its way.
    #[error("another reload is in progress")]
    Busy,
    /// It changes what a running gate cannot change.
    #[error("{}", words(.0))]
    Fixed(Vec<Fixed>),
    /// The compiled table is not what its rules say.
    #[error("the compiled table failed its self-check: {0}")]
    Check(#[from] Disagreement),
    /// A test of the policy fails.
    #[error("a test of the policy fails")]
    Tests(Box<Rejected>),
    /// Flows of the generation before the one in force are still there.
    #[error("the flows have not all been judged by generation {0} yet")]
    Unswept(u32),
}

impl PublishError {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Busy => "wait for it to return, then look at `portcullis status`",
            Self::Fixed(_) => {
                "put the old values back, or stop the gate and run it with this policy: it takes the wire \
                 over; a wire of another name is released first"
            }
            Self::Tests(_) => "correct the rules or the test; `portcullis check` shows what fails",
            Self::Check(_) => "report this policy: the gate goes on with the one it has",
            Self::Unswept(_) => {
                "try again in a minute; a worker that is stuck shows in `portcullis status`"
            }
        }
    }
}

fn words(fixed: &[Fixed]) -> String {
    let mut words = "a running gate cannot change ".to_owned();
    for (place, Fixed { setting, running, wanted }) in fixed.iter().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        let _ = write!(words, "{comma}{setting} from {running} to {wanted}");
    }
    words
}

/// A worker and the new table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Took {
    /// Its queue.
    pub queue: u32,
    /// Nanoseconds from the swap to its first turn with the table; `None`: stuck.
    pub nanos: Option<u64>,
}

/// A policy that holds together, can be put in force and was tried.
#[derive(Debug)]
pub struct Tried {
    /// As the next generation.
    pub policy: Arc<Policy>,
    /// Connections on which table and rules agreed.
    pub sampled: usize,
}

/// A policy in force.
#[derive(Debug)]
pub struct Published {
    /// What was put in force.
    pub tried: Tried,
    /// What the workers made of it.
    pub workers: Vec<Took>,
}

impl Shared {
    /// All of a publish but the swap.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn examine(&self, loaded: Loaded, now: Moment) -> Result<Tried, PublishError> {
        let running = self.policy.load();
        let fixed = fixed(&running.loaded.model, &loaded.model);
        if !fixed.is_empty() {
            return Err(PublishError::Fixed(fixed));
        }
        let (loaded, table) = Proven::new(loaded).map_err(PublishError::Tests)?.into_parts();
        let sampled = trial(&loaded, &table, now)?;
        let generation = running.generation.wrapping_add(1);
        settle(&table);
        Ok(Tried { policy: Arc::new(Policy { generation, loaded, table }), sampled })
    }

    /// Puts a policy in force. Returns when every worker judges by it or is stuck.
    ///
    /// # Errors
    /// [`PublishError`]; the policy in force stays.
    pub fn publish(&self, loaded: Loaded, now: Moment) -> Result<Published, PublishError> {
        let mut before = match self.publishing.before.try_lock() {
            Ok(before) => before,
            Err(TryLockError::WouldBlock) => return Err(PublishError::Busy),
            // What it guards is whole between any two statements.
            Err(TryLockError::Poisoned(before)) => before.into_inner(),
        };
        let tried = self.examine(loaded, now)?;
        let running = self.policy.load().generation;
        let swept = |worker: &WorkerFace| worker.reviewed.load(Ordering::Acquire) == running;
        if !within(self.publishing.patience, || self.workers.iter().all(|worker| swept(worker))) {
            return Err(PublishError::Unswept(running));
        }
        let begun = boot_nanos();
        *before = Some(self.policy.swap(Arc::clone(&tried.policy)));
        let mut workers: Vec<Took> =
            self.workers.iter().map(|worker| Took { queue: worker.queue, nanos: None }).collect();
        within(STUCK, || {
            for (took, worker) in workers.iter_mut().zip(&self.workers) {
                let there = worker.generation.load(Ordering::Acquire) == tried.policy.generation;
                if there && took.nanos.is_none() {
                    took.nanos = Some(boot_nanos().saturating_sub(begun));
                }
            }
            workers.iter().all(|took| took.nanos.is_some())
        });
        drop(before);
        Ok(Published { tried, workers })
    }
}

/// Puts a table that is written no more into huge pages, where it is large enough for one: packets that open flows
/// read it at random (docs/adr/0016).
pub(super) fn settle(table: &Table) {
    for range in table.memory() {
        region::gather(&range);
    }
}

/// Waits for a condition; false where it does not come in time.
fn within(nanos: u64, mut condition: impl FnMut() -> bool) -> bool {
    let end = boot_nanos().saturating_add(nanos);
    loop {
        if condition() {
            return true;
        }
        if boot_nanos() >= end {
            return false;
        }
        std::thread::sleep(LOOK);
    }
}

/// What a running gate has made once: its ports, its memory, its socket.
fn fixed(running: &Model, wanted: &Model) -> Vec<Fixed> {
    let mut fixed = Vec::new();
    let mut hold = |setting, running: String, wanted: String| {
        if running != wanted {
            fixed.push(Fixed { setting, running, wanted });
        }
    };
    let [outside, inside] = &running.wire.ports;
    let [new_outside, new_inside] = &wanted.wire.ports;
    hold("the wire's name", running.wire.name.clone(), wanted.wire.name.clone());
    hold("[wire] outside", outside.clone(), new_outside.clone());
    hold("[wire] inside", inside.clone(), new_inside.clone());
    let (gate, new) = (&running.gate, &wanted.gate);
    hold("[gate] socket", gate.socket.display().to_string(), new.socket.display().to_string());
    hold("[gate] rings", gate.rings.to_string(), new.rings.to_string());
    let queues =
        |queues: Option<u32>| queues.map_or_else(|| "none".to_owned(), |queues| queues.to_string());
    hold("[gate] queues", queues(gate.queues), queues(new.queues));
    hold("[gate] symmetric_rss", gate.symmetric_rss.to_string(), new.symmetric_rss.to_string());
    hold("[gate] flows", gate.flows.to_string(), new.flows.to_string());
    let millis = |nanos: u64| format!("{} ms", nanos / 1_000_000);
    hold("[gate] heartbeat", millis(gate.heartbeat), millis(new.heartbeat));
    hold("[gate] cold_start_reset", millis(gate.cold_start_reset), millis(new.cold_start_reset));
    let same = |is: bool| if is { "what it runs with" } else { "other values" }.to_owned();
    hold("[gate.timeouts]", same(true), same(gate.timeouts == new.timeouts));
    // Limits that are not written follow the size of the table.
    let limits = gate.limits == new.limits || gate.flows != new.flows;
    hold("[gate.limits]", same(true), same(limits));
    fixed
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32};
    use std::thread;

    use arc_swap::ArcSwap;

    use super::*;
    use crate::flow::limits::HalfOpen;
    use crate::flow::{Bounds, Owner, Region};
    use crate::gateway::{PortFace, PortState, XdpMode};
    use crate::io::Unwatched;
    use crate::io::clock::Clock;
    use crate::io::memory::{Drain, MemoryQueuePair};
    use crate::policy::read::read_text;
    use crate::policy::{Exceptions, compile};
    use crate::worker::{Orders, Worker};

    const TEXT: &str = r#"
[gate]
flows = 4096
[wire.w]
outside = "o"
inside = "i"
fail = "closed"
unzoned = "observe"
[profile]
arp = "drop"
ndp = "drop"
lldp = "drop"
stp = "drop"
lacp = "drop"
dhcp = "drop"
other = "drop"
[network.world]
at = "w.outside"
prefixes = ["0.0.0.0/0", "::/0"]
[network.near]
at = "w.inside"
prefixes = ["10.20.0.0/16"]
"#;

    fn loaded(text: &str) -> Loaded {
        read_text(vec![("gate.toml".into(), text.into())]).unwrap()
    }

    fn port(interface: &str) -> PortFace {
        let xdp = XdpMode::Native;
        PortFace { interface: interface.into(), driver: "veth".into(), xdp, zero_copy: false }
    }

    /// A gate with these workers, of which none is at work.
    fn gate(workers: u32) -> Shared {
        let loaded = loaded(TEXT);
        let table = compile(&loaded.model, &Exceptions::NONE);
        let face = |queue| {
            let face = WorkerFace::new(queue, None);
            face.generation.store(1, Ordering::Relaxed);
            face.reviewed.store(1, Ordering::Relaxed);
            Arc::new(face)
        };
        Shared {
            policy: Arc::new(ArcSwap::from_pointee(Policy { generation: 1, loaded, table })),
            publishing: Publishing::default(),
            ports: [port("o"), port("i")],
            workers: (0..workers).map(face).collect(),
            started: Moment(0),
            took_over: false,
            states: Box::new(|| [PortState::Up; 2]),
            bpf_before: <[crate::io::BpfCounts; 2]>::default(),
            bpf: Box::new(<[crate::io::BpfCounts; 2]>::default),
        }
    }

    /// Stops the workers however a test ends: one that fails must not wait for them.
    struct Stop(Arc<AtomicBool>);

    impl Drop for Stop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Puts a worker over memory ports to work while `then` runs.
    fn at_work<T>(shared: &Shared, then: impl FnOnce() -> T) -> T {
        let stop = Arc::new(AtomicBool::new(false));
        thread::scope(|scope| {
            let _stop = Stop(Arc::clone(&stop));
            for face in &shared.workers {
                let orders = Orders {
                    policy: Arc::clone(&shared.policy),
                    stop: Arc::clone(&stop),
                    heartbeat: 500_000_000,
                };
                let pair = MemoryQueuePair::new(4, 4, Drain::Keep);
                let (place, clock) = ((Owner::new(1, (1, 2)), 0), Clock::start());
                let half_open = Arc::new(HalfOpen::new(64, (5, 6)));
                let bounds = (Region::plain(4_096), Bounds::of(4_096), half_open);
                let worker =
                    Worker::new(pair, Unwatched, clock, place, bounds, Arc::clone(face), orders).unwrap();
                scope.spawn(move || drop(worker.run()));
            }
            then()
        })
    }

    #[test]
    fn a_publish_returns_when_every_worker_judges_by_it() {
        let shared = gate(2);
        at_work(&shared, || {
            for generation in 2..=4 {
                let published = shared.publish(loaded(TEXT), Moment(0)).unwrap();
                assert_eq!(published.tried.policy.generation, generation);
                assert_eq!(shared.policy.load().generation, generation);
                assert_eq!(published.workers.iter().map(|took| took.queue).collect::<Vec<_>>(), [0, 1]);
                assert!(published.workers.iter().all(|took| took.nanos.is_some_and(|n| n < STUCK)));
                for worker in &shared.workers {
                    assert_eq!(worker.generation.load(Ordering::Acquire), generation);
                }
            }
        });
    }

    #[test]
    fn the_table_before_is_freed_by_the_next_publish_and_not_by_a_worker() {
        let shared = gate(1);
        let first = Arc::downgrade(&shared.policy.load_full());
        at_work(&shared, || {
            shared.publish(loaded(TEXT), Moment(0)).unwrap();
            assert!(first.upgrade().is_some(), "flows may still name it");
            shared.publish(loaded(TEXT), Moment(0)).unwrap();
        });
        assert!(first.upgrade().is_none());
    }

    #[test]
    fn what_a_running_gate_cannot_change_is_refused_all_at_once() {
        let shared = gate(1);
        let other = TEXT
            .replace("flows = 4096", "flows = 8192\nrings = 64\nqueues = 2\nsymmetric_rss = false\nheartbeat = \"1s\"\ncold_start_reset = \"1500ms\"\nsocket = \"/x/s\"")
            .replace("wire.w", "wire.v")
            .replace("\"w.", "\"v.")
            .replace("\"o\"", "\"p\"")
            .replace("\"i\"", "\"q\"");
        let refused = shared.publish(loaded(&other), Moment(0)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "a running gate cannot change the wire's name from w to v, [wire] outside from o to p, [wire] \
             inside from i to q, [gate] socket from /run/portcullis/gate.sock to /x/s, [gate] rings from 256 \
             to 64, [gate] queues from none to 2, [gate] symmetric_rss from true to false, [gate] flows from 4096 to 8192, \
             [gate] heartbeat from 500 ms to 1000 ms, [gate] cold_start_reset from 0 ms to 1500 ms"
        );
        assert_eq!(shared.policy.load().generation, 1);
        assert!(shared.examine(loaded(TEXT), Moment(0)).is_ok());
        assert_eq!(shared.policy.load().generation, 1, "an examination changes nothing");
    }

    #[test]
    fn a_policy_that_fails_its_own_test_is_not_put_in_force() {
        let shared = gate(1);
        let with = |expect: &str| {
            loaded(&format!(
                "{TEXT}[test.dark]\nfrom = {{ unknown = true }}\nto = {{ unknown = true }}\nservices = [\"any\"]\n\
                 expect = {expect:?}\n"
            ))
        };
        let refused = [
            shared.examine(with("allow"), Moment(0)).map(drop),
            shared.publish(with("allow"), Moment(0)).map(drop),
        ];
        for refused in refused {
            let Err(PublishError::Tests(rejected)) = refused else { panic!("{refused:?}") };
            let codes: Vec<&str> = rejected.diagnostics.iter().map(|found| found.code.number()).collect();
            assert_eq!(codes, ["P0701"]);
        }
        assert_eq!(shared.policy.load().generation, 1);
        let tried = shared.examine(with("deny"), Moment(0)).expect("nothing is allowed");
        assert_eq!(tried.policy.generation, 2);
    }

    #[test]
    fn a_worker_that_does_not_begin_is_stuck_and_who_comes_meanwhile_is_refused() {
        let shared = gate(1);
        let published = thread::scope(|scope| {
            let first = scope.spawn(|| shared.publish(loaded(TEXT), Moment(0)).unwrap());
            while shared.policy.load().generation == 1 {
                thread::yield_now();
            }
            assert_eq!(shared.publish(loaded(TEXT), Moment(0)).unwrap_err(), PublishError::Busy);
            first.join().unwrap()
        });
        assert_eq!(published.workers, [Took { queue: 0, nanos: None }]);
        assert_eq!(shared.policy.load().generation, 2, "it is in force all the same");
    }

    #[test]
    fn a_publish_waits_until_the_flows_of_the_one_before_are_judged() {
        let mut shared = gate(1);
        shared.publishing.patience = 1;
        let reviewed: &AtomicU32 = &shared.workers[0].reviewed;
        reviewed.store(0, Ordering::Relaxed);
        assert_eq!(shared.publish(loaded(TEXT), Moment(0)).unwrap_err(), PublishError::Unswept(1));
        assert_eq!(shared.policy.load().generation, 1);
    }
}

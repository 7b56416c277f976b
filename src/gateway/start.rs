//! Start and stop of one wire.

#[cfg(feature = "xdp")]
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
#[cfg(feature = "xdp")]
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

#[cfg(feature = "xdp")]
use arc_swap::ArcSwap;

#[cfg(feature = "xdp")]
use super::place::Place;
use super::place::{Lock, PlaceError};
#[cfg(feature = "xdp")]
use super::placement::{self, Placement, room};
use super::shared::Shared;
#[cfg(feature = "xdp")]
use crate::io::topology::{self, Processor};
use crate::policy::proof::Proven;
#[cfg(feature = "xdp")]
use crate::policy::{Table, read::Loaded};

/// A gate that does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its place is taken or unusable.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Its ports do not open.
    #[cfg(feature = "xdp")]
    #[error(transparent)]
    Ports(#[from] crate::io::af_xdp::AfXdpError),
    /// A worker does not come up.
    #[error("worker of queue {queue}: {reason}")]
    Worker {
        /// Its queue.
        queue: u32,
        /// Why.
        reason: String,
    },
    /// This binary has no port for interfaces.
    #[error(
        "this portcullis was built without the feature `xdp`: it cannot open interfaces; build it with default features"
    )]
    NoXdp,
}

/// A gate at work.
pub struct Running {
    shared: Arc<Shared>,
    notes: Vec<String>,
    crew: Crew,
    // Freed last: nobody else takes the wire before the sockets are closed.
    _lock: Lock,
}

impl Running {
    /// What it shows.
    #[must_use]
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// What the operator should know about how it came up.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Stops the workers: what the kernel had handed over is still judged and sent, then the sockets close
    /// and the wire is left to the pinned programs, in its fail mode.
    pub fn stop(self) {
        drop(self.crew);
    }
}

/// The workers at work. Whoever lets go of it has them stop and waits for them: none outlives a start that fails.
#[derive(Default)]
struct Crew {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A worker that panicked has ended the process already.
            let _ = thread.join();
        }
    }
}

/// Whether this process may open a wire at all. Asked before anything is made, so that a caller who may
/// not is told that and not which folder it could not write to.
///
/// # Errors
/// The capabilities that are missing.
#[cfg(feature = "xdp")]
pub fn permitted() -> Result<(), StartError> {
    let missing = crate::io::af_xdp::kernel::missing_capabilities();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(", ");
    Err(crate::io::af_xdp::AfXdpError::NotPermitted { missing }.into())
}

/// The same without interfaces: never.
///
/// # Errors
/// [`StartError::NoXdp`].
#[cfg(not(feature = "xdp"))]
pub const fn permitted() -> Result<(), StartError> {
    Err(StartError::NoXdp)
}

/// Opens the wire of a policy and puts its workers to work, or takes over from a process that left it.
///
/// The calling thread, and the threads it makes from then on, are pinned away from the workers while
/// there is a core to spare.
///
/// # Errors
/// See [`StartError`]; nothing is left attached, pinned or changed.
#[cfg(feature = "xdp")]
pub fn start(policy: Proven) -> Result<Running, StartError> {
    use crate::io::af_xdp::{self, OpenRequest};

    let (loaded, table) = policy.into_parts();
    let place = Place::of(&loaded.model.wire.name)?;
    let lock = place.lock()?;
    let gate = loaded.model.gate.clone();
    let [outside, inside] = &loaded.model.wire.ports;
    let (saved, heartbeat) = (place.saved(), std::time::Duration::from_nanos(gate.heartbeat));
    let processors = processors();
    let node = near([outside, inside]);
    let opened = af_xdp::open(&OpenRequest {
        interfaces: [outside, inside],
        pins: &place.pins,
        saved: &saved,
        queues: queue_count(gate.queues, &processors, node),
        symmetric_rss: gate.symmetric_rss,
        rings: gate.rings,
        heartbeat_limit: heartbeat,
    });
    let wire = match opened {
        Ok(wire) => wire,
        Err(error) => {
            if !saved.exists() {
                // A first start that failed leaves no state folder; one over a stopped gate keeps it.
                let _ = place.clear(lock);
            }
            return Err(error.into());
        }
    };

    let fresh = !wire.ports.iter().any(|port| port.took_over);
    let placement = placement::place(&processors, wire.queues.len(), node);
    work(wire, loaded, table, lock, (&placement, &saved)).inspect_err(|_| {
        if fresh {
            // Nothing of this start stays; over a stopped gate the wire stays as it was found.
            let _ = af_xdp::release(&place.pins, &saved);
        }
    })
}

/// Puts a worker on every queue of an open wire.
#[cfg(feature = "xdp")]
fn work(
    wire: crate::io::af_xdp::Wire,
    loaded: Loaded,
    table: Table,
    lock: Lock,
    (placement, saved): (&Placement, &Path),
) -> Result<Running, StartError> {
    use crate::flow::limits::HalfOpen;
    use crate::flow::{Bounds, Owner, random_secret};
    use crate::io::af_xdp::Steering;
    use crate::io::clock::Clock;
    use crate::worker::{Lanes, Orders, Policy, Worker, WorkerFace};

    // From here on every queue has its socket, and no worker has taken a frame from one.
    let bpf_before = wire.counters.read();
    let gate = loaded.model.gate.clone();
    super::publish::settle(&table);
    let policy = Arc::new(ArcSwap::from_pointee(Policy { generation: 1, loaded, table }));
    let mut crew = Crew::default();
    let workers = u32::try_from(wire.queues.len()).unwrap_or(1);
    let mut notes = wire.notes;
    notes.extend(told(&wire.steering));
    let owner = match wire.steering {
        Steering::Symmetric(rss) => Owner::by_rss(workers, rss),
        Steering::OneQueue | Steering::HandOver { .. } => Owner::new(workers, random_secret()),
    };
    let lanes = Lanes::among(&wire.pools).map_err(|error| StartError::Worker {
        queue: 0,
        reason: format!("its rings to others: {error}"),
    })?;
    let half_open = Arc::new(HalfOpen::new(HALF_OPEN_DESTINATIONS, random_secret()));
    let mut clock = Clock::start();
    let started = clock.read().now;

    let mut faces = Vec::new();
    for (((queue, (pair, heart)), lanes), core) in
        (0..workers).zip(wire.queues).zip(lanes).zip(&placement.workers)
    {
        let core = *core;
        let bounds = Bounds::under(&gate, workers);
        let (region, pages) = crate::io::region::flows(bounds.flows);
        let face = Arc::new(WorkerFace { pages, ..WorkerFace::new(queue, core) });
        let orders =
            Orders { policy: Arc::clone(&policy), stop: Arc::clone(&crew.stop), heartbeat: gate.heartbeat };
        let failed = |reason: String| StartError::Worker { queue, reason };
        let worker = Worker::new(
            pair,
            heart,
            clock,
            (owner.clone(), queue),
            (region, bounds, Arc::clone(&half_open)),
            Arc::clone(&face),
            orders,
        )
        .map_err(|error| failed(error.to_string()))?
        .among(lanes);
        let thread = std::thread::Builder::new()
            .name(format!("worker-{queue}"))
            .spawn(move || {
                pin(core);
                let work = std::panic::AssertUnwindSafe(|| drop(worker.run()));
                if std::panic::catch_unwind(work).is_err() {
                    // The panic's own message is on stderr. The wire is the pinned program's now.
                    std::process::exit(70);
                }
            })
            .map_err(|error| failed(error.to_string()))?;
        faces.push(face);
        crew.threads.push(thread);
    }
    pin(placement.control);
    notes.extend(placed(placement, saved));

    let took_over = wire.ports.iter().any(|port| port.took_over);
    let zero_copy = wire.zero_copy;
    let ports = wire.ports.map(|port| super::shared::PortFace {
        interface: port.interface,
        driver: port.driver,
        xdp: port.mode,
        zero_copy,
    });
    let (counters, presence) = (wire.counters, wire.presence);
    let shared = Shared {
        policy,
        publishing: super::publish::Publishing::default(),
        ports,
        workers: faces,
        started,
        took_over,
        bpf_before,
        bpf: Box::new(move || counters.read()),
        states: Box::new(move || presence.look()),
    };
    await_first_turn(&shared)?;
    Ok(Running { shared: Arc::new(shared), notes, crew, _lock: lock })
}

/// A gate is up when every worker has begun a turn with its policy.
#[cfg(feature = "xdp")]
fn await_first_turn(shared: &Shared) -> Result<(), StartError> {
    const TRIES: u32 = 2_000;
    for face in &shared.workers {
        let mut tries = 0;
        while face.generation.load(Ordering::Acquire) == 0 {
            if tries == TRIES {
                let reason = "did not begin within 2 s; is its core free?".to_owned();
                return Err(StartError::Worker { queue: face.queue, reason });
            }
            tries += 1;
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
    Ok(())
}

/// The same without interfaces: always an error.
///
/// # Errors
/// [`StartError::NoXdp`].
#[cfg(not(feature = "xdp"))]
pub fn start(_policy: Proven) -> Result<Running, StartError> {
    Err(StartError::NoXdp)
}

/// The queues a wire is to have.
#[cfg(feature = "xdp")]
fn queue_count(
    written: Option<u32>,
    processors: &[Processor],
    node: Option<usize>,
) -> crate::io::af_xdp::QueueCount {
    use crate::io::af_xdp::QueueCount;

    let workers = u32::try_from(room(processors, node)).unwrap_or(u32::MAX);
    written.map_or(QueueCount::Auto { workers }, QueueCount::Exactly)
}

/// How many queues a start would open now, and what it would choose for their workers; for whoever asks beforehand.
///
/// # Errors
/// A port that cannot have them.
#[cfg(feature = "xdp")]
pub fn foresee(
    interfaces: [&str; 2],
    written: Option<u32>,
) -> Result<(u32, String), crate::io::af_xdp::AfXdpError> {
    let (processors, node) = (processors(), near(interfaces));
    let queues = crate::io::af_xdp::survey::queues(interfaces, queue_count(written, &processors, node))?;
    Ok((queues, placement::place(&processors, usize::try_from(queues).unwrap_or(1), node).why))
}

/// How flows come to workers, if there are several.
#[cfg(feature = "xdp")]
fn told(steering: &crate::io::af_xdp::Steering) -> Option<String> {
    use crate::io::af_xdp::Steering;

    match steering {
        Steering::OneQueue => None,
        Steering::Symmetric(_) => {
            Some("both cards bring both directions of a flow to its worker".to_owned())
        }
        Steering::HandOver { why } => Some(format!("flows are handed over between workers: {why}")),
    }
}

/// The processors that this process may use.
#[cfg(feature = "xdp")]
fn processors() -> Vec<Processor> {
    let allowed: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    topology::processors(Path::new("/"), &allowed)
}

/// The node of memory near both ports, if one is.
#[cfg(feature = "xdp")]
fn near(interfaces: [&str; 2]) -> Option<usize> {
    let node = |interface| topology::node_of(Path::new("/"), &crate::io::af_xdp::bus(interface));
    let [outside, inside] = interfaces.map(node);
    outside.filter(|_| outside == inside)
}

#[cfg(feature = "xdp")]
fn pin(core: Option<usize>) {
    if let Some(id) = core {
        core_affinity::set_for_current(core_affinity::CoreId { id });
    }
}

/// Brings interrupts to the workers, and says what is not plain: one worker with a core of its own is.
#[cfg(feature = "xdp")]
fn placed(placement: &Placement, saved: &Path) -> Vec<String> {
    let mut notes = Vec::new();
    if placement.control.is_none() || placement.workers.len() > 1 {
        notes.push(format!("placement: {}", placement.why));
    }
    match crate::io::af_xdp::take_interrupts(saved, &placement.workers) {
        Ok(0) => {}
        Ok(count) => {
            notes.push(format!("the interrupts of {count} queues come to their workers' processors"));
        }
        Err(error) => notes.push(format!("interrupts stay where they are: {error}")),
    }
    notes
}

/// Destinations whose half-open connections are counted at a time.
#[cfg(feature = "xdp")]
const HALF_OPEN_DESTINATIONS: usize = 16_384;

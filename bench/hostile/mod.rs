//! Hostile traffic beside legitimate connections, through the gate that ships.
//!
//! The order: everything at rest is counted; the connections open; random members of the fleet fill their
//! share of the flow table; then the mix of all kinds, for as long as was asked, while the connections go on
//! and the gate is watched; the connections close; everything at rest is counted again, and [`judge`] says
//! which promises held. What it is not: it raises no gate and finds no rate; `rig.rs` and the tests do.
//!
//! Why the connections live, on purpose: they are established, so no limit on what opens touches them and a
//! full table gives up others first; guesses at them miss their windows; and as long as frames are read at
//! all, a lost segment is sent again. What is lost before it is read is lost to friend and foe alike: so the
//! flood stays below the rate at which the gate reads everything.

pub(crate) mod ends;
pub(crate) mod flood;
pub(crate) mod group;
mod judge;
pub(crate) mod kinds;
pub(crate) mod talk;
mod watch;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis::control::answers::{KernelStatus, Status};
use portcullis::control::client::{self, ClientError};

pub(crate) use ends::{End, Ground};
pub(crate) use judge::Report;
pub(crate) use talk::Terms;

use crate::traffic::{Namespace, RigError, monotonic};
use ends::{Counts, EndsError, NoHost};
use flood::{Arrived, Flood, Sorter};
use group::Group;
use kinds::Kind;
use talk::{Broken, Line, Talk, TalkError};
use watch::Watch;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostileError {
    /// The rig.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// An end host.
    #[error(transparent)]
    NoHost(#[from] NoHost),
    /// A count.
    #[error(transparent)]
    Ends(#[from] EndsError),
    /// The connections.
    #[error(transparent)]
    Talk(#[from] TalkError),
    /// The gate.
    #[error("the gate does not answer: {0}")]
    Gate(#[from] ClientError),
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Where.
    pub(crate) ground: Ground,
    /// The kernel half, compiled from `bench/rig.bpf.c`.
    pub(crate) object: PathBuf,
    /// The gate's API.
    pub(crate) socket: PathBuf,
    /// The gate's process.
    pub(crate) pid: u32,
    /// Core of the flood.
    pub(crate) core: usize,
    /// Frames a second.
    pub(crate) rate: u64,
    /// What the rate is a part of: what the gate forwards with at most one in a thousand lost.
    pub(crate) lossless: Option<f64>,
    /// Flows a second that a worker opens, without a kernel.
    pub(crate) opens: Option<f64>,
    /// How long new flows come alone, before.
    pub(crate) fill: Duration,
    /// How long the mix comes before memory is watched.
    pub(crate) warm: Duration,
    /// How long it is watched.
    pub(crate) time: Duration,
    /// The connections.
    pub(crate) terms: Terms,
    /// How long everything may take to come to rest.
    pub(crate) rest: Duration,
}

/// Everything that is counted, at one moment at which nothing moves.
#[derive(Clone, Debug)]
struct Books {
    status: Status,
    kernel: Counts,
    made: Vec<u64>,
    arrived: Arrived,
}

/// What happened.
struct Run {
    before: Books,
    after: Books,
    /// What did not come to rest in time.
    restless: Option<String>,
    watch: Watch,
    lines: Vec<Result<Line, Broken>>,
    /// Frames of the watched part, those that the sender's end refused among them.
    frames: u64,
    refused: u64,
    nanos: u64,
}

/// Lets the flood loose and says what came of it.
///
/// # Errors
/// The rig fails, or it was told to stop.
pub(crate) fn run(plan: &Plan, stop: &AtomicBool) -> Result<Report, HostileError> {
    let kinds = kinds::kinds();
    let sender = Namespace::open(&plan.ground.sender.space)?;
    let receiver = Namespace::open(&plan.ground.receiver.space)?;
    plan.ground.settle()?;
    let sorter = Sorter::open(&plan.object, &receiver, &plan.ground.receiver.link, kinds.len())?;
    let end = (plan.ground.sender.space.as_str(), plan.ground.sender.link.as_str());
    let mut flood = Flood::open(&plan.object, end, &kinds, plan.core)?;
    let (before, _) = rest(plan, &flood, &sorter)?;

    let talk = Talk::begin(&sender, &receiver, &plan.terms)?;
    let order = flood::mixed(&kinds);
    let fresh: Vec<usize> = order
        .iter()
        .copied()
        .filter(|kind| kinds.get(*kind).is_some_and(|kind| kind.group == Group::NewFlows))
        .collect();
    flood.run(&fresh, plan.rate, plan.fill, stop)?;
    flood.run(&order, plan.rate, plan.warm, stop)?;

    let ended = AtomicBool::new(false);
    let made = |flood: &Flood| -> Result<u64, RigError> { Ok(flood.made()?.iter().sum()) };
    let refusals = || -> Result<u64, EndsError> { Ok(plan.ground.counts()?.sender.0.tx_dropped) };
    let (frames, refused) = (made(&flood)?, refusals()?);
    let (watch, nanos) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| Watch::until(&ended, &plan.socket, plan.pid));
        let nanos = flood.run(&order, plan.rate, plan.time, stop);
        ended.store(true, Ordering::Relaxed);
        (watcher.join().map_err(|_| RigError::Thread), nanos)
    });
    let (watch, nanos) = (watch?, nanos?);
    let (frames, refused) = (made(&flood)? - frames, refusals()? - refused);
    let lines = talk.end();
    if stop.load(Ordering::Relaxed) {
        return Err(HostileError::Stopped);
    }
    let (after, restless) = rest(plan, &flood, &sorter)?;
    let run = Run { before, after, restless, watch, lines, frames, refused, nanos };
    Ok(judge::judge(plan, &kinds, &run))
}

/// Everything that is counted, once nothing moves any more; where that does not come in time, what moves.
fn rest(plan: &Plan, flood: &Flood, sorter: &Sorter) -> Result<(Books, Option<String>), HostileError> {
    let end = monotonic() + u64::try_from(plan.rest.as_nanos()).unwrap_or(0);
    let read = || -> Result<Books, HostileError> {
        Ok(Books {
            status: client::status(&plan.socket)?,
            kernel: plan.ground.counts()?,
            made: flood.made()?,
            arrived: sorter.arrived()?,
        })
    };
    let counts = |books: &Books| {
        // An empty TX ring at a kick is no loss, and an idle gate still kicks.
        let kernel = |counts| KernelStatus { tx_ring_empty: 0, ..counts };
        let ports: Vec<_> = books.status.ports.iter().map(|port| (port.bpf, kernel(port.kernel))).collect();
        format!("{ports:?} {:?} {:?}", books.status.equation(), books.kernel)
    };
    let mut books = read()?;
    let mut still = 0;
    while still < 3 {
        // The gate's gauges follow within a tenth of a second.
        std::thread::sleep(Duration::from_millis(150));
        let now = read()?;
        let frames = now.status.workers.first().map(|worker| worker.frames).unwrap_or_default();
        let (was, is) = (counts(&books), counts(&now));
        let quiet = (frames.held, frames.sending) == (0, 0) && was == is && books.arrived == now.arrived;
        still = if quiet { still + 1 } else { 0 };
        books = now;
        if !quiet && monotonic() > end {
            return Ok((books, Some(format!("{frames:?}; {was}, then {is}"))));
        }
    }
    Ok((books, None))
}

/// Frames of the kinds of a group.
fn of_group(kinds: &[Kind], counts: &[u64], group: Group) -> u64 {
    kinds.iter().zip(counts).filter(|(kind, _)| kind.group == group).map(|(_, count)| count).sum()
}

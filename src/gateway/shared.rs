//! What a running gate shows to the rooms above it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use crossbeam::queue::ArrayQueue;

pub use crate::io::{BpfCounts, XdpMode};
use crate::io::{Census, KernelCounts};
use crate::pipeline::{Counters, Event};
use crate::policy::read::Loaded;
use crate::policy::{Moment, Table};

/// One port of the wire, as opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortFace {
    /// Interface.
    pub interface: String,
    /// Its driver, as the kernel names it.
    pub driver: String,
    /// Where the program sits.
    pub xdp: XdpMode,
    /// Zero-copy, or copy.
    pub zero_copy: bool,
}

/// One worker.
#[derive(Debug)]
pub struct WorkerFace {
    /// The queue of both ports it owns.
    pub queue: u32,
    /// The core it is pinned to; `None` if the kernel refused.
    pub core: Option<usize>,
    /// Its counters.
    pub counters: Arc<Counters>,
    /// Events it could not keep to itself; bounded, overflow counted in its counters.
    pub events: Arc<ArrayQueue<Event>>,
    /// What the worker publishes at most ten times a second.
    pub gauges: ArcSwap<Gauges>,
    /// Generation the worker's last burst used.
    pub generation: AtomicU64,
}

/// Readings a worker publishes from time to time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    /// Socket statistics, by side.
    pub kernel: [KernelCounts; 2],
    /// Where its frames are.
    pub frames: Census,
    /// Live flows.
    pub flows: u64,
    /// Room for flows.
    pub flow_capacity: u64,
    /// Median and 99th percentile of the time a burst took, receive to kick, nanoseconds.
    pub burst_nanos: (u64, u64),
}

/// The running gate, as the API sees it.
pub struct Shared {
    /// The policy in force.
    pub policy: ArcSwap<Policy>,
    /// Both ports, by side.
    pub ports: [PortFace; 2],
    /// All workers.
    pub workers: Vec<Arc<WorkerFace>>,
    /// When it came up.
    pub started: Moment,
    /// It took over a pinned program from an earlier process.
    pub took_over: bool,
    /// Reads the kernel program's counters, by side.
    pub bpf: Box<dyn Fn() -> [BpfCounts; 2] + Send + Sync>,
}

/// One generation of policy.
pub struct Policy {
    /// Counts up from 1.
    pub generation: u32,
    /// Text and meaning.
    pub loaded: Loaded,
    /// What the workers use.
    pub table: Arc<Table>,
}

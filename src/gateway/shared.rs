//! What a running gate shows to the rooms above it.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::publish::Publishing;
pub use crate::io::{BpfCounts, PortState, XdpMode};
use crate::policy::Moment;
use crate::worker::{Policy, WorkerFace};

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

/// The running gate, as the API sees it.
pub struct Shared {
    /// The policy in force.
    pub policy: Arc<ArcSwap<Policy>>,
    /// What puts another one in force.
    pub publishing: Publishing,
    /// Both ports, by side.
    pub ports: [PortFace; 2],
    /// All workers.
    pub workers: Vec<Arc<WorkerFace>>,
    /// When it came up.
    pub started: Moment,
    /// It took over a pinned program from an earlier process.
    pub took_over: bool,
    /// What the kernel program had counted when this gate's sockets were in place, by side: a program that was
    /// taken over goes on counting.
    pub bpf_before: [BpfCounts; 2],
    /// Reads the kernel program's counters, by side.
    pub bpf: Box<dyn Fn() -> [BpfCounts; 2] + Send + Sync>,
    /// Reads how the ports stand, by side.
    pub states: Box<dyn Fn() -> [PortState; 2] + Send + Sync>,
}

//! `GET /v1/status`: the gate, its policy, ports and workers, and what of it is counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the running gate.
    pub version: String,
    /// Name of its wire.
    pub wire: String,
    /// The gate's clock at this reading, nanoseconds since the Unix epoch: rates are taken between two.
    pub at_nanos: u64,
    /// The same for people.
    pub at: String,
    /// When it came up.
    pub started: String,
    /// Seconds since.
    pub uptime_seconds: u64,
    /// It took over a pinned program from an earlier process.
    pub took_over: bool,
    /// What the kernel does while nobody judges.
    pub fail: String,
    /// Whether openings need approval.
    pub approvals: String,
    /// The policy in force.
    pub policy: PolicyStatus,
    /// Both ports: outside, inside.
    pub ports: Vec<PortStatus>,
    /// One a queue.
    pub workers: Vec<WorkerStatus>,
    /// The event log.
    pub events: LogStatus,
    /// What a reader should know: shared cores, a worker that the kernel would not pin.
    pub notes: Vec<String>,
}

/// The policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// Digest of the table.
    pub digest: String,
    /// Counts up from 1.
    pub generation: u32,
    /// Rules by tier.
    pub guardrails: usize,
    /// Rules by tier.
    pub denies: usize,
    /// Rules by tier.
    pub allows: usize,
    /// Workloads in the inventory.
    pub workloads: usize,
    /// Networks.
    pub networks: usize,
    /// Zones.
    pub zones: Vec<ZoneStatus>,
    /// Mode of what touches no zone.
    pub unzoned: String,
    /// Findings that did not stop the load.
    pub warnings: usize,
}

impl PolicyStatus {
    /// Rules of all tiers.
    #[must_use]
    pub const fn rules(&self) -> usize {
        self.guardrails + self.denies + self.allows
    }
}

/// A zone with its modes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneStatus {
    /// Its name.
    pub name: String,
    /// Its mode.
    pub mode: String,
    /// Modes of connections to members, by service.
    pub service_modes: Vec<ServiceMode>,
    /// Workloads in it.
    pub members: usize,
    /// What it protects.
    pub data_class: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
}

/// One line of `service_modes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceMode {
    /// As written.
    pub services: Vec<String>,
    /// The mode that takes the zone's place.
    pub mode: String,
}

/// One port of the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// `outside` or `inside`.
    pub side: String,
    /// Interface.
    pub interface: String,
    /// Whether it is still there.
    pub link: LinkStatus,
    /// Its driver.
    pub driver: String,
    /// `native` or `generic`.
    pub xdp: String,
    /// Zero-copy, or copy.
    pub zero_copy: bool,
    /// The kernel program's counters since it was attached.
    pub bpf: BpfStatus,
    /// The same when this gate's sockets were in place: not 0 where it took the program over.
    pub bpf_before: BpfStatus,
    /// `XDP_STATISTICS` over all its sockets.
    pub kernel: KernelStatus,
}

/// Whether a port is there and up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// `up`, `no_carrier`, `down`, `gone`, or `replaced`: gone, and another interface has its name.
    pub state: String,
    /// What to do; none while it is up.
    pub remedy: Option<String>,
}

impl LinkStatus {
    /// Frames can come and go there.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.remedy.is_none()
    }

    /// Its state in words.
    #[must_use]
    pub fn words(&self) -> &str {
        if self.state == "no_carrier" { "up without a link" } else { &self.state }
    }
}

/// What the kernel program counted at a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BpfStatus {
    /// Frames it saw.
    pub seen: u64,
    /// Redirected to a socket.
    pub redirected: u64,
    /// Dropped: the worker's heartbeat was stale.
    pub stale: u64,
    /// Dropped: no socket on the queue.
    pub no_socket: u64,
}

/// `XDP_STATISTICS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelStatus {
    /// Dropped for other reasons.
    pub rx_dropped: u64,
    /// Descriptors the kernel refused.
    pub rx_invalid: u64,
    /// TX descriptors the kernel refused.
    pub tx_invalid: u64,
    /// The RX ring was full.
    pub rx_ring_full: u64,
    /// The fill ring was empty when a frame came.
    pub fill_ring_empty: u64,
    /// The TX ring was empty at a kick: not a loss.
    pub tx_ring_empty: u64,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// The queue of both ports it owns.
    pub queue: u32,
    /// The core it is pinned to.
    pub core: Option<usize>,
    /// Generation its last burst used.
    pub generation: u32,
    /// Outside, inside.
    pub sides: Vec<SideStatus>,
    /// Bursts that held a packet.
    pub bursts: u64,
    /// Events that found their ring full.
    pub events_lost: u64,
    /// Where its frames are.
    pub frames: FrameStatus,
    /// Live flows.
    pub flows: u64,
    /// Room for flows.
    pub flow_capacity: u64,
    /// Bytes of its flow table, index included.
    pub flow_table_bytes: u64,
    /// How many of them lay in huge pages when the gate came up.
    pub flow_table_huge_bytes: u64,
    /// Flows given up for new ones because the table was full, since the gate came up.
    pub flows_evicted: u64,
    /// Median time of a busy turn of its loop, receive to kick, nanoseconds.
    pub turn_p50_nanos: u64,
    /// 99th percentile of it.
    pub turn_p99_nanos: u64,
    /// The equation in numbers.
    pub equation: Equation,
}

/// `rx + taken over = forwarded + dropped + rejected + handed over + held`, per worker over both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equation {
    /// Taken from RX rings.
    pub rx: u64,
    /// Taken over from other workers.
    pub taken_over: u64,
    /// Put into TX rings.
    pub forwarded: u64,
    /// Dropped, all reasons.
    pub dropped: u64,
    /// Dropped and answered.
    pub rejected: u64,
    /// Passed on to other workers.
    pub handed_over: u64,
    /// Fragments that wait for their first now.
    pub held: u64,
    /// It holds, on each side by itself.
    pub holds: bool,
}

/// Packets that arrived on one side of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideStatus {
    /// `outside` or `inside`.
    pub side: String,
    /// Taken from the RX ring.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Put into the other port's TX ring.
    pub forwarded_packets: u64,
    /// Their bytes.
    pub forwarded_bytes: u64,
    /// Starts of flows whose first packet was not seen.
    pub loose: u64,
    /// Fragments that wait for their first now.
    pub held: u64,
    /// Taken over from other workers, who received them on this side.
    pub taken_over: u64,
    /// Passed on to other workers, who own their flows.
    pub handed_over: u64,
    /// Dropped, by reason; reasons that never occurred are left out.
    pub dropped: BTreeMap<String, u64>,
    /// Forwarded, but enforcement would have dropped them; left out as above.
    pub would_drop: BTreeMap<String, u64>,
    /// Dropped and answered, by reason; left out as above.
    pub rejected: BTreeMap<String, u64>,
    /// Replies put into this side's own TX ring.
    pub replies: u64,
    /// Their bytes.
    pub reply_bytes: u64,
    /// Dropped without the reply that a rule wanted, by why; left out as above.
    pub unsent: BTreeMap<String, u64>,
    /// Crossed by an exemption from what is said of addresses, by its name: of a flow its first packet, of
    /// everything else each; left out as above.
    pub exempt: BTreeMap<String, u64>,
    /// `rx + taken over = forwarded + dropped + rejected + handed over + held` holds.
    pub balances: bool,
    /// `XDP_STATISTICS` of its socket on this side.
    pub kernel: KernelStatus,
}

/// Where the frames of a worker are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameStatus {
    /// In no ring.
    pub free: u32,
    /// With the kernel for reception.
    pub receiving: u32,
    /// Taken and not yet ended.
    pub held: u32,
    /// With the kernel for transmission.
    pub sending: u32,
    /// Given up for another worker, who has given none for it yet.
    pub handed: u32,
    /// Their sum, which never changes.
    pub total: u32,
}

/// The event log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatus {
    /// Number of the latest event; events are numbered from 1.
    pub latest: u64,
    /// How many it keeps at most.
    pub capacity: u64,
    /// Events that workers could not hand over because their ring was full.
    pub lost: u64,
}

impl Status {
    /// Packets dropped for a reason, over all workers and both sides.
    #[must_use]
    pub fn dropped(&self, reason: &str) -> u64 {
        self.sides().filter_map(|side| side.dropped.get(reason)).sum()
    }

    /// Packets that enforcement would have dropped for a reason, over all workers and both sides.
    #[must_use]
    pub fn would_drop(&self, reason: &str) -> u64 {
        self.sides().filter_map(|side| side.would_drop.get(reason)).sum()
    }

    /// Packets dropped for a reason and answered, over all workers and both sides.
    #[must_use]
    pub fn rejected(&self, reason: &str) -> u64 {
        self.sides().filter_map(|side| side.rejected.get(reason)).sum()
    }

    /// The equation over all workers.
    #[must_use]
    pub fn equation(&self) -> Equation {
        let none = Equation { holds: true, ..Equation::default() };
        self.workers.iter().fold(none, |sum, worker| Equation {
            rx: sum.rx + worker.equation.rx,
            forwarded: sum.forwarded + worker.equation.forwarded,
            dropped: sum.dropped + worker.equation.dropped,
            rejected: sum.rejected + worker.equation.rejected,
            held: sum.held + worker.equation.held,
            taken_over: sum.taken_over + worker.equation.taken_over,
            handed_over: sum.handed_over + worker.equation.handed_over,
            holds: sum.holds && worker.equation.holds,
        })
    }

    fn sides(&self) -> impl Iterator<Item = &SideStatus> {
        self.workers.iter().flat_map(|worker| &worker.sides)
    }
}

//! What the API answers: the shapes of its JSON, the same for server and client.
//!
//! What it is not: nothing here computes; `status` and `lines` beside it fill these in. Names of
//! reasons are [`crate::pipeline::Reason::name`], sides `outside` and `inside`, modes as in policy text,
//! instants RFC 3339 in UTC, durations seconds unless the name says otherwise.

use std::collections::BTreeMap;
use std::net::IpAddr;

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
    /// The kernel program's counters.
    pub bpf: BpfStatus,
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

/// `rx = forwarded + dropped + rejected + held`, per worker over both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equation {
    /// Taken from RX rings.
    pub rx: u64,
    /// Put into TX rings.
    pub forwarded: u64,
    /// Dropped, all reasons.
    pub dropped: u64,
    /// Dropped and answered.
    pub rejected: u64,
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
    /// `rx = forwarded + dropped + rejected + held` holds.
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

/// `GET /v1/events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// In order of their numbers.
    pub events: Vec<EventLine>,
    /// Ask for what comes `after` this number next time.
    pub next: u64,
    /// Events between the asked number and the first one here that had been overwritten.
    pub missed: u64,
    /// Events that never reached the log, since the gate came up.
    pub lost: u64,
}

/// One event with its names resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// Its number.
    pub seq: u64,
    /// When.
    pub at: String,
    /// The same in nanoseconds since the Unix epoch.
    pub at_nanos: u64,
    /// `drop`, `reject` (a drop that was answered), `would_drop`, `allow`, or `cut`: a new policy ended a flow, and no packet came.
    pub kind: String,
    /// Arriving side.
    pub side: String,
    /// The reason's name.
    pub reason: Option<String>,
    /// The reason in words.
    pub words: Option<String>,
    /// The rule that decided: `allow.payments-to-vault`.
    pub rule: Option<String>,
    /// Where that rule stands: `rules/payments.toml:1`.
    pub rule_place: Option<String>,
    /// Generation that judged.
    pub generation: u32,
    /// The mode that governed.
    pub mode: String,
    /// Source MAC.
    pub src_mac: String,
    /// Destination MAC.
    pub dst_mac: String,
    /// Tags: `untagged`, `100`, `100.20`.
    pub vlans: String,
    /// Ethertype; 0 where it cannot be seen.
    pub ethertype: u16,
    /// Source address.
    pub src: Option<IpAddr>,
    /// Destination address.
    pub dst: Option<IpAddr>,
    /// Workload that claims the source.
    pub src_name: Option<String>,
    /// Workload that claims the destination.
    pub dst_name: Option<String>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Source port, where the protocol has one.
    pub sport: Option<u16>,
    /// Destination port.
    pub dport: Option<u16>,
    /// ICMP or ICMPv6 type.
    pub icmp_type: Option<u8>,
    /// ICMP or ICMPv6 code.
    pub icmp_code: Option<u8>,
    /// What was asked for, as policy text writes it: `tcp/443`, `icmp/8.0`, `ip/50`, `arp`.
    pub service: String,
    /// Frame length.
    pub length: u32,
}

/// `POST /v1/reload`: the policy that is in force now, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Its first file.
    pub file: String,
    /// Connections on which the compiled table and a plain reading of its rules agreed.
    pub sampled: usize,
    /// What the workers made of it; none where it was only checked.
    pub workers: Option<Vec<WorkerTook>>,
    /// Warnings.
    pub findings: Option<Told>,
    /// What it is.
    pub policy: PolicyStatus,
}

/// A worker and a new policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerTook {
    /// Its queue.
    pub queue: u32,
    /// Nanoseconds until its first turn with it; none: it is stuck.
    pub nanos: Option<u64>,
}

/// `GET /v1/flows`: a page of the flows that are remembered and match.
///
/// From the first page to the last a flow that lives all the while is in exactly one, and none is in two; flows
/// that come or go meanwhile may be in one or in none. Each is told as it was when its turn came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    /// Worker by worker, slot by slot; empty where only counting was asked for.
    pub flows: Vec<FlowLine>,
    /// The flows of this page that match.
    pub counts: FlowCounts,
    /// Not all were looked at, for the limit was reached or the time was over: ask `after` this for more.
    pub next: Option<String>,
    /// Flows that live, whether they match or not, at most a tenth of a second ago.
    pub live: u64,
    /// Generation in force.
    pub generation: u32,
}

/// Flows, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowCounts {
    /// All.
    pub flows: u64,
    /// By state.
    pub states: BTreeMap<String, u64>,
    /// Whose first packet was not seen.
    pub unseen: u64,
    /// Whose packets enforcement would drop.
    pub would_drop: u64,
    /// With an end in a zone; a flow between two counts in both.
    pub zones: BTreeMap<String, u64>,
    /// With an end in none.
    pub unzoned: u64,
}

impl Flows {
    /// Takes in the page that follows.
    pub fn add(&mut self, page: Self) {
        let Self { flows, counts, next, live, generation } = page;
        self.flows.extend(flows);
        self.counts.flows += counts.flows;
        self.counts.unseen += counts.unseen;
        self.counts.would_drop += counts.would_drop;
        self.counts.unzoned += counts.unzoned;
        for (sums, counts) in
            [(&mut self.counts.states, counts.states), (&mut self.counts.zones, counts.zones)]
        {
            for (name, count) in counts {
                *sums.entry(name).or_default() += count;
            }
        }
        (self.next, self.live, self.generation) = (next, live, generation);
    }
}

/// One end of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowEnd {
    /// Its address.
    pub address: IpAddr,
    /// Its port, where the protocol has one.
    pub port: Option<u16>,
    /// Workload that claims it.
    pub name: Option<String>,
    /// Packets it sent.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A rule by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleLine {
    /// `allow.payments-to-vault`.
    pub id: String,
    /// `rules/payments.toml:1`.
    pub place: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
}

/// A flow, with the names of the generation that judged it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowLine {
    /// Who opened it.
    pub from: FlowEnd,
    /// To whom.
    pub to: FlowEnd,
    /// IP protocol number.
    pub protocol: u8,
    /// What was asked for, as policy text writes it: `tcp/443`.
    pub service: String,
    /// Identifier of an ICMP question.
    pub echo: Option<u16>,
    /// Tags of its frames.
    pub vlans: String,
    /// The side its opener lives on.
    pub side: String,
    /// Zones of both ends.
    pub zones: Vec<String>,
    /// `opening`, `established`, `half_closed`, `closing`, `doubted`, `closed`; of other protocols than TCP the
    /// first until both ends have spoken, then the second.
    pub state: String,
    /// Its first packet was not seen: who opened it is a guess.
    pub unseen: bool,
    /// The mode that governs it.
    pub mode: String,
    /// `allow`, or `would_drop`: enforcement would drop its packets.
    pub verdict: String,
    /// Why it would.
    pub reason: Option<String>,
    /// The same in words.
    pub words: Option<String>,
    /// The rule that decided.
    pub rule: Option<RuleLine>,
    /// Generation that judged it.
    pub generation: u32,
    /// Since it was opened.
    pub age_seconds: u64,
    /// Since its latest packet.
    pub idle_seconds: u64,
}

/// `GET /v1/flows/cut`: the latest flows that new policies ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cuts {
    /// Generation in force.
    pub generation: u32,
    /// Every flow has been judged by it, and what that ended has come in.
    pub swept: bool,
    /// It is swept, and no cut of it was lost or forgotten.
    pub complete: bool,
    /// Flows that it ended, listed or not.
    pub ended: u64,
    /// Those of them that are no longer kept.
    pub forgotten: u64,
    /// Those of them that found their worker's ring full.
    pub lost: u64,
    /// No longer kept, of any generation since the gate came up.
    pub forgotten_in_all: u64,
    /// Lost, of any generation since the gate came up.
    pub lost_in_all: u64,
    /// How many are kept; more than are here where a limit cut the list.
    pub kept: u64,
    /// The latest, the oldest of them first.
    pub cuts: Vec<CutLine>,
}

/// A flow that a new policy ended, with its names then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutLine {
    /// When.
    pub at: String,
    /// Who had opened it.
    pub from: FlowEnd,
    /// To whom.
    pub to: FlowEnd,
    /// IP protocol number.
    pub protocol: u8,
    /// What was asked for: `tcp/443`.
    pub service: String,
    /// Identifier of an ICMP question.
    pub echo: Option<u16>,
    /// Tags of its frames.
    pub vlans: String,
    /// The side its opener lives on.
    pub side: String,
    /// Why it ended.
    pub reason: String,
    /// The same in words.
    pub words: String,
    /// `packet`: its next packet met the new policy; `hand`: none came.
    pub by: String,
    /// The rule that ended it, with its owner; none: no rule allows it.
    pub rule: Option<RuleLine>,
    /// The rule it had lived by.
    pub was: Option<RuleLine>,
    /// Generation it had lived by.
    pub was_generation: u32,
    /// Generation that ended it.
    pub generation: u32,
}

/// What a policy says: `GET /v1/rules`, `GET /v1/explain`, findings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// For people, wrapped to the width that was asked for.
    pub text: String,
    /// For programs: sentences, or an explanation.
    pub answer: serde_json::Value,
}

/// `GET /v1/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Every check passes.
    pub ok: bool,
    /// The checks.
    pub checks: Vec<HealthCheck>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Its name.
    pub name: String,
    /// It passes.
    pub ok: bool,
    /// What was found.
    pub found: String,
}

/// `GET /v1/whoami`: the caller as the kernel vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whoami {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Process, where the kernel says.
    pub pid: Option<i32>,
}

/// What every error of the API looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What went wrong.
    pub error: String,
    /// What to do.
    pub remedy: String,
    /// Everything that is wrong with a policy, where that is what went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<Told>,
}

impl Problem {
    /// One that is no policy's.
    #[must_use]
    pub fn new(error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { error: error.into(), remedy: remedy.into(), findings: None }
    }
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
        let none = Equation { rx: 0, forwarded: 0, dropped: 0, rejected: 0, held: 0, holds: true };
        self.workers.iter().fold(none, |sum, worker| Equation {
            rx: sum.rx + worker.equation.rx,
            forwarded: sum.forwarded + worker.equation.forwarded,
            dropped: sum.dropped + worker.equation.dropped,
            rejected: sum.rejected + worker.equation.rejected,
            held: sum.held + worker.equation.held,
            holds: sum.holds && worker.equation.holds,
        })
    }

    fn sides(&self) -> impl Iterator<Item = &SideStatus> {
        self.workers.iter().flat_map(|worker| &worker.sides)
    }
}

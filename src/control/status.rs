//! A running gate → [`Status`] and [`Health`].
//!
//! What it is not: it keeps nothing between two readings; rates are the reader's to take. Each worker's
//! counters are one consistent copy, so the equation holds in every answer.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering;

use super::answers::{
    BpfStatus, Equation, FrameStatus, Health, HealthCheck, KernelStatus, LinkStatus, LogStatus,
    PolicyStatus, PortStatus, ServiceMode, SideStatus, Status, WorkerStatus, ZoneStatus,
};
use super::instant;
use crate::gateway::{BpfCounts, Policy, PortFace, PortState, Shared, WorkerFace, XdpMode};
use crate::io::{Census, KernelCounts};
use crate::pipeline::{Exempt, Reason, SideSnapshot, Snapshot, Unsent};
use crate::policy::Moment;
use crate::policy::model::{Tier, Workload, Zone};
use crate::record::Log;
use crate::wire::Side;

/// Reads everything. `cores` are those that the API's own thread may run on, `start` what
/// the gate said of its start.
#[must_use]
pub(super) fn read(shared: &Shared, log: &Log, now: Moment, cores: &[usize], start: &[String]) -> Status {
    let policy = shared.policy.load();
    let snapshots: Vec<Snapshot> = shared.workers.iter().map(|worker| worker.counters.snapshot()).collect();
    let lost = snapshots.iter().map(|snapshot| snapshot.events_lost).sum();
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        wire: policy.loaded.model.wire.name.clone(),
        at_nanos: now.0,
        at: instant(now),
        started: instant(shared.started),
        uptime_seconds: now.0.saturating_sub(shared.started.0) / 1_000_000_000,
        took_over: shared.took_over,
        fail: "closed".into(),
        approvals: "off".into(),
        policy: policy_status(&policy),
        ports: ports(shared),
        workers: shared
            .workers
            .iter()
            .zip(&snapshots)
            .map(|(worker, snapshot)| worker_status(worker, snapshot))
            .collect(),
        events: LogStatus {
            latest: log.latest(),
            capacity: u64::try_from(log.capacity()).unwrap_or(u64::MAX),
            lost,
        },
        notes: start.iter().cloned().chain(notes(shared, lost, cores)).collect(),
    }
}

/// Judges a reading: what must hold at every moment of a healthy gate.
#[must_use]
pub(super) fn health(status: &Status) -> Health {
    let equation = status.equation();
    let behind = status
        .workers
        .iter()
        .filter(|worker| worker.bursts > 0 && worker.generation != status.policy.generation)
        .count();
    let cut_off: Vec<String> = status
        .ports
        .iter()
        .filter(|port| !port.link.is_up())
        .map(|port| format!("{} {} is {}", port.side, port.interface, port.link.words()))
        .collect();
    let unserved: u64 =
        status.ports.iter().map(|port| port.bpf.no_socket.saturating_sub(port.bpf_before.no_socket)).sum();
    let checks = vec![
        HealthCheck {
            name: "equation".into(),
            ok: equation.holds,
            found: format!(
                "{} received, {} taken over, {} forwarded, {} dropped, {} rejected, {} handed over, {} held",
                equation.rx,
                equation.taken_over,
                equation.forwarded,
                equation.dropped,
                equation.rejected,
                equation.handed_over,
                equation.held
            ),
        },
        HealthCheck {
            name: "generation".into(),
            ok: behind == 0,
            found: format!(
                "{} of {} workers use generation {}",
                status.workers.len() - behind,
                status.workers.len(),
                status.policy.generation
            ),
        },
        HealthCheck {
            name: "ports".into(),
            ok: cut_off.is_empty(),
            found: if cut_off.is_empty() { "all are up".into() } else { cut_off.join(", ") },
        },
        HealthCheck {
            name: "sockets".into(),
            ok: unserved == 0,
            found: format!("{unserved} frames came to a queue without a worker since this gate came up"),
        },
    ];
    Health { ok: checks.iter().all(|check| check.ok), checks }
}

pub(super) fn policy_status(policy: &Policy) -> PolicyStatus {
    let model = &policy.loaded.model;
    let tier = |tier| model.rules.iter().filter(|rule| rule.tier == tier).count();
    PolicyStatus {
        digest: digest(policy),
        generation: policy.generation,
        guardrails: tier(Tier::Guardrail),
        denies: tier(Tier::Deny),
        allows: tier(Tier::Allow),
        workloads: model.workloads.len(),
        networks: model.networks.len(),
        zones: model.zones.iter().map(|zone| zone_status(policy, zone)).collect(),
        unzoned: model.wire.unzoned.name().into(),
        warnings: policy.loaded.warnings.len(),
    }
}

fn zone_status(policy: &Policy, zone: &Zone) -> ZoneStatus {
    ZoneStatus {
        name: zone.name.clone(),
        mode: zone.mode.name().into(),
        service_modes: zone
            .service_modes
            .iter()
            .map(|(services, mode)| ServiceMode {
                services: services.written.clone(),
                mode: mode.name().into(),
            })
            .collect(),
        members: members(policy, &zone.name),
        data_class: zone.data_class.clone(),
        owner: zone.owner.clone(),
    }
}

fn ports(shared: &Shared) -> Vec<PortStatus> {
    let bpf = (shared.bpf)();
    let gauges: Vec<_> = shared.workers.iter().map(|worker| worker.gauges.load()).collect();
    Side::BOTH
        .into_iter()
        .zip(&shared.ports)
        .zip(links(shared))
        .zip(bpf.into_iter().zip(shared.bpf_before))
        .map(|(((side, port), link), bpf)| {
            let kernel = gauges
                .iter()
                .filter_map(|gauges| gauges.kernel.get(side.index()))
                .fold(KernelStatus::default(), |sum, counts| sum.plus(*counts));
            port_status(side, (port, link), bpf, kernel)
        })
        .collect()
}

/// How the ports stand now, outside and inside.
pub(super) fn links(shared: &Shared) -> [LinkStatus; 2] {
    let [outside, inside] = &shared.ports;
    let [outside_state, inside_state] = (shared.states)();
    [link_status(&outside.interface, outside_state), link_status(&inside.interface, inside_state)]
}

fn link_status(interface: &str, state: PortState) -> LinkStatus {
    let remedy = match state {
        PortState::Up => None,
        PortState::NoCarrier => Some("look at its cable and at the far end, which may be down".to_owned()),
        PortState::Down => Some(format!("ip link set {interface} up")),
        PortState::Gone => Some(format!(
            "bring {interface} back, then stop this gate and run it again: it takes the wire over"
        )),
        PortState::Replaced => Some(format!(
            "stop this gate and run it again: it takes the wire over with the new {interface}"
        )),
    };
    LinkStatus { state: state.name().into(), remedy }
}

fn port_status(
    side: Side,
    (port, link): (&PortFace, LinkStatus),
    (bpf, before): (BpfCounts, BpfCounts),
    kernel: KernelStatus,
) -> PortStatus {
    PortStatus {
        side: side.name().into(),
        interface: port.interface.clone(),
        link,
        driver: port.driver.clone(),
        xdp: match port.xdp {
            XdpMode::Native => "native".into(),
            XdpMode::Generic => "generic".into(),
        },
        zero_copy: port.zero_copy,
        bpf: bpf.into(),
        bpf_before: before.into(),
        kernel,
    }
}

impl From<BpfCounts> for BpfStatus {
    fn from(counts: BpfCounts) -> Self {
        let BpfCounts { seen, redirected, stale, no_socket } = counts;
        Self { seen, redirected, stale, no_socket }
    }
}

impl KernelStatus {
    fn plus(self, counts: KernelCounts) -> Self {
        Self {
            rx_dropped: self.rx_dropped + counts.rx_dropped,
            rx_invalid: self.rx_invalid + counts.rx_invalid,
            tx_invalid: self.tx_invalid + counts.tx_invalid,
            rx_ring_full: self.rx_ring_full + counts.rx_ring_full,
            fill_ring_empty: self.fill_ring_empty + counts.fill_ring_empty,
            tx_ring_empty: self.tx_ring_empty + counts.tx_ring_empty,
        }
    }
}

impl From<Census> for FrameStatus {
    fn from(census: Census) -> Self {
        Self {
            free: census.free,
            receiving: census.receiving,
            held: census.held,
            sending: census.sending,
            handed: census.handed,
            total: census.total(),
        }
    }
}

fn worker_status(worker: &WorkerFace, snapshot: &Snapshot) -> WorkerStatus {
    let gauges = worker.gauges.load();
    let sides: Vec<SideStatus> = Side::BOTH
        .into_iter()
        .zip(&snapshot.sides)
        .zip(gauges.kernel)
        .map(|((side, counts), kernel)| side_status(side, counts, kernel))
        .collect();
    let sum = |count: fn(&SideSnapshot) -> u64| snapshot.sides.iter().map(count).sum();
    let (turn_p50_nanos, turn_p99_nanos) = gauges.turn_nanos;
    WorkerStatus {
        queue: worker.queue,
        core: worker.core,
        generation: worker.generation.load(Ordering::Relaxed),
        equation: Equation {
            rx: sum(|side| side.rx_packets),
            forwarded: sum(|side| side.forwarded_packets),
            dropped: sum(|side| side.dropped.iter().sum()),
            rejected: sum(|side| side.rejected.iter().sum()),
            held: sum(|side| side.held),
            taken_over: sum(|side| side.taken_over),
            handed_over: sum(|side| side.handed_over),
            holds: snapshot.sides.iter().all(SideSnapshot::balances),
        },
        sides,
        bursts: snapshot.bursts,
        events_lost: snapshot.events_lost,
        frames: gauges.frames.into(),
        flows: gauges.flows,
        flow_capacity: gauges.flow_capacity,
        flow_table_bytes: worker.pages.bytes,
        flow_table_huge_bytes: worker.pages.huge,
        flows_evicted: gauges.evicted,
        turn_p50_nanos,
        turn_p99_nanos,
    }
}

fn side_status(side: Side, counts: &SideSnapshot, kernel: KernelCounts) -> SideStatus {
    SideStatus {
        side: side.name().into(),
        rx_packets: counts.rx_packets,
        rx_bytes: counts.rx_bytes,
        forwarded_packets: counts.forwarded_packets,
        forwarded_bytes: counts.forwarded_bytes,
        loose: counts.loose,
        held: counts.held,
        taken_over: counts.taken_over,
        handed_over: counts.handed_over,
        dropped: by_reason(&counts.dropped),
        would_drop: by_reason(&counts.would_drop),
        rejected: by_reason(&counts.rejected),
        replies: counts.replies,
        reply_bytes: counts.reply_bytes,
        unsent: named(Unsent::ALL.iter().map(|unsent| unsent.name()).zip(&counts.unsent)),
        exempt: named(Exempt::ALL.iter().map(|by| by.name()).zip(&counts.exempt)),
        balances: counts.balances(),
        kernel: KernelStatus::default().plus(kernel),
    }
}

fn by_reason(counts: &[u64; Reason::COUNT]) -> BTreeMap<String, u64> {
    named(Reason::ALL.iter().map(|reason| reason.name()).zip(counts))
}

/// What is not zero.
fn named<'a>(counts: impl Iterator<Item = (&'static str, &'a u64)>) -> BTreeMap<String, u64> {
    counts.filter(|(_, count)| **count > 0).map(|(name, count)| (name.to_owned(), *count)).collect()
}

fn notes(shared: &Shared, lost: u64, cores: &[usize]) -> Vec<String> {
    let mut notes = Vec::new();
    for worker in &shared.workers {
        if !worker.pages.is_huge() {
            notes.push(format!(
                "the flow table of queue {} is not all in huge pages: a packet of one flow among many costs more; \
                 see doctor",
                worker.queue
            ));
        }
        match worker.core {
            None => notes.push(format!(
                "the worker of queue {} is not pinned: the kernel refused its core",
                worker.queue
            )),
            Some(core) if cores.contains(&core) => notes.push(format!(
                "the worker of queue {} shares core {core} with the control threads: there is no core to \
                 spare",
                worker.queue
            )),
            Some(_) => {}
        }
    }
    if lost > 0 {
        notes.push(format!("{lost} events found their ring full: they are counted, not listed"));
    }
    notes
}

/// The table's digest in hexadecimal.
fn digest(policy: &Policy) -> String {
    policy.table.digest().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Workloads with an address in a zone.
fn members(policy: &Policy, zone: &str) -> usize {
    let inside = |workload: &&Workload| {
        workload.addresses.iter().any(|prefix| policy.table.locate(prefix.address).zones.contains(&zone))
    };
    policy.loaded.model.workloads.iter().filter(inside).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture;

    fn reading(shared: &Shared) -> Status {
        read(shared, &Log::new(16), Moment(fixture::NOON), &[0, 1], &[])
    }

    #[test]
    fn every_counter_of_a_worker_is_told_once() {
        let shared = fixture::shared(2);
        let counters = &shared.workers[1].counters;
        fixture::busy(counters);
        counters.event_lost();
        counters.begin();
        counters.received(Side::Outside, 1, 60);
        counters.held(Side::Outside);
        counters.took_over(Side::Inside, 2);
        counters.handed_over(Side::Inside);
        counters.handed_over(Side::Inside);
        counters.end();
        let status = reading(&shared);
        let [idle, busy] = status.workers.as_slice() else { panic!("two workers") };
        assert_eq!(idle.equation, Equation { holds: true, ..Equation::default() });
        assert_eq!(
            busy.equation,
            Equation {
                rx: 8,
                forwarded: 3,
                dropped: 2,
                rejected: 2,
                held: 1,
                taken_over: 2,
                handed_over: 2,
                holds: true
            }
        );
        assert_eq!((busy.sides[0].held, busy.sides[1].held), (1, 0));
        assert_eq!((busy.sides[1].taken_over, busy.sides[1].handed_over), (2, 2));
        assert_eq!((busy.sides[0].taken_over, busy.sides[0].handed_over), (0, 0));
        assert_eq!((busy.queue, busy.core, busy.bursts, busy.events_lost), (1, Some(3), 4, 1));
        assert_eq!((busy.flows, busy.flow_capacity, busy.flows_evicted), (17, 65_536, 3));
        assert_eq!((busy.flow_table_bytes, busy.flow_table_huge_bytes), (9_087_680, 8_388_608));
        assert_eq!((busy.turn_p50_nanos, busy.turn_p99_nanos), (1_800, 9_400));
        assert_eq!(
            busy.frames,
            FrameStatus { free: 10, receiving: 400, held: 0, sending: 102, handed: 0, total: 512 }
        );
        let count = |reason: &str, n| (reason.to_owned(), n);
        assert_eq!(busy.sides[0].dropped, [count("no_rule", 1), count("spoofed", 1)].into());
        assert_eq!(busy.sides[0].would_drop, [count("no_rule", 1)].into());
        assert_eq!(busy.sides[1].dropped, BTreeMap::new());
        assert_eq!(busy.sides[0].rejected, [count("denied", 2)].into());
        assert_eq!((busy.sides[0].replies, busy.sides[0].reply_bytes), (2, 130));
        assert_eq!(busy.sides[0].unsent, [count("reply_source_limit", 1)].into());
        assert_eq!((&busy.sides[0].exempt, busy.sides[1].exempt.len()), (&[count("dad", 1)].into(), 0));
        assert_eq!((busy.sides[1].rejected.len(), busy.sides[1].replies), (0, 0));
        assert_eq!((status.rejected("denied"), status.rejected("no_rule")), (2, 0));
        assert_eq!((busy.sides[0].loose, busy.sides[1].loose), (0, 1));
        assert_eq!((status.dropped("no_rule"), status.dropped("guardrail")), (1, 0));
        assert_eq!(status.would_drop("no_rule"), 1);
        assert_eq!(status.equation(), busy.equation);
        assert_eq!(status.events, LogStatus { latest: 0, capacity: 16, lost: 1 });
    }

    #[test]
    fn a_packet_unaccounted_for_breaks_the_equation_on_its_side_only() {
        let shared = fixture::shared(1);
        let counters = &shared.workers[0].counters;
        counters.begin();
        // One too many in, one too many out on the other side: the sums alone would hide it.
        counters.received(Side::Outside, 1, 60);
        counters.forwarded(Side::Inside, 1, 60);
        counters.end();
        let worker = reading(&shared).workers.remove(0);
        assert_eq!(worker.equation, Equation { rx: 1, forwarded: 1, ..Equation::default() });
        assert_eq!(worker.sides.iter().map(|side| side.balances).collect::<Vec<_>>(), [false, false]);
    }

    #[test]
    fn the_gate_itself_is_described() {
        let status = reading(&fixture::shared(1));
        assert_eq!(
            (status.wire.as_str(), status.fail.as_str(), status.approvals.as_str()),
            ("cde", "closed", "off")
        );
        assert_eq!(
            (status.started.as_str(), status.uptime_seconds),
            ("2026-11-24T11:59:00.000000000Z", 60)
        );
        assert_eq!((status.policy.generation, status.policy.rules(), status.policy.workloads), (1, 2, 3));
        assert_eq!(status.policy.zones[0].service_modes[0].mode, "enforce");
        assert_eq!(status.policy.zones[0].members, 1);
        assert_eq!(status.policy.digest.len(), 64);
        let outside = &status.ports[0];
        assert_eq!((outside.side.as_str(), outside.interface.as_str()), ("outside", "ens1f0"));
        assert_eq!(outside.bpf, BpfStatus { seen: 1_000, redirected: 990, stale: 7, no_socket: 3 });
        assert_eq!(status.ports[1].kernel, KernelStatus::default());
        assert_eq!(status.notes, Vec::<String>::new());
    }

    #[test]
    fn kernel_counts_of_a_port_are_summed_over_its_queues() {
        let status = reading(&fixture::shared(3));
        assert_eq!(status.ports[0].kernel, KernelStatus { rx_ring_full: 9, ..KernelStatus::default() });
    }

    #[test]
    fn a_shared_core_and_lost_events_are_noted() {
        let shared = fixture::shared(1);
        shared.workers[0].counters.event_lost();
        let status = read(&shared, &Log::new(16), Moment(fixture::NOON), &[2], &["copy mode".into()]);
        assert_eq!(
            status.notes,
            [
                "copy mode",
                "the worker of queue 0 shares core 2 with the control threads: there is no core to spare",
                "1 events found their ring full: they are counted, not listed",
            ]
        );
    }

    #[test]
    fn a_port_that_is_not_up_says_what_to_do() {
        let mut shared = fixture::shared(1);
        shared.states = Box::new(|| [PortState::Gone, PortState::Up]);
        let [outside, inside] = <[PortStatus; 2]>::try_from(reading(&shared).ports).unwrap();
        assert_eq!(
            outside.link,
            LinkStatus {
                state: "gone".into(),
                remedy: Some(
                    "bring ens1f0 back, then stop this gate and run it again: it takes the wire over"
                        .into()
                ),
            }
        );
        assert_eq!(inside.link, LinkStatus { state: "up".into(), remedy: None });
        let told = |state| {
            let link = link_status("o", state);
            (link.state, link.remedy.unwrap_or_default())
        };
        assert_eq!(told(PortState::Down), ("down".into(), "ip link set o up".into()));
        assert_eq!(told(PortState::NoCarrier).0, "no_carrier");
        assert_eq!(
            told(PortState::Replaced).1,
            "stop this gate and run it again: it takes the wire over with the new o"
        );
    }

    /// A program that is taken over goes on counting; what it counted while no gate ran is not this gate's.
    #[test]
    fn frames_that_came_before_a_gate_do_not_make_it_sick() {
        let mut shared = fixture::shared(1);
        let sockets = |shared: &Shared| health(&reading(shared)).checks.remove(3);
        let told =
            |count| format!("{count} frames came to a queue without a worker since this gate came up");
        assert_eq!((sockets(&shared).ok, sockets(&shared).found), (false, told(3)));
        shared.bpf_before = [BpfCounts { no_socket: 3, stale: 7, ..BpfCounts::default() }; 2];
        assert_eq!((sockets(&shared).ok, sockets(&shared).found), (true, told(0)));
        let outside = reading(&shared).ports.remove(0);
        assert_eq!(outside.bpf, BpfStatus { seen: 1_000, redirected: 990, stale: 7, no_socket: 3 });
        assert_eq!(outside.bpf_before, BpfStatus { stale: 7, no_socket: 3, ..BpfStatus::default() });
        shared.bpf_before[0].no_socket = 2;
        assert_eq!((sockets(&shared).ok, sockets(&shared).found), (false, told(1)));
    }

    #[test]
    fn health_names_what_does_not_hold() {
        let shared = fixture::shared(1);
        fixture::busy(&shared.workers[0].counters);
        let mut status = reading(&shared);
        let failing = |status: &Status| -> Vec<String> {
            health(status).checks.into_iter().filter(|check| !check.ok).map(|check| check.name).collect()
        };
        assert_eq!(failing(&status), ["sockets"]);
        status.ports[0].bpf.no_socket = 0;
        assert!(health(&status).ok);
        status.ports[1].link = link_status("ens1f1", PortState::NoCarrier);
        assert_eq!(failing(&status), ["ports"]);
        assert_eq!(health(&status).checks[2].found, "inside ens1f1 is up without a link");
        status.ports[1].link = link_status("ens1f1", PortState::Up);
        status.workers[0].generation = 7;
        assert_eq!(failing(&status), ["generation"]);
        status.workers[0].generation = 1;
        status.workers[0].equation.holds = false;
        assert_eq!(failing(&status), ["equation"]);
    }
}

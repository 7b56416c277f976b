//! `portcullis status`: what a running gate counts.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use clap::Args;

use super::fault::Fault;
use super::page::{columns, count, duration, nanos, number};
use super::screen::Screen;
use super::{Done, Format, FormatArg, SocketArg};
use crate::control::answers::{LinkStatus, PolicyStatus, SideStatus, Status, ZoneStatus};
use crate::control::client;
use crate::pipeline::{Exempt, Reason, Unsent};

/// What a running gate counts: per port, queue and reason.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    socket: SocketArg,
    #[command(flatten)]
    format: FormatArg,
    /// Read again and again, with rates between two readings.
    #[arg(long)]
    watch: bool,
    /// Seconds between two readings.
    #[arg(long, default_value_t = 1, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
}

/// Runs the verb.
///
/// # Errors
/// No gate answers.
pub(crate) fn run(args: &StatusArgs, screen: &mut Screen) -> Result<Done, Fault> {
    let mut before: Option<Status> = None;
    loop {
        let status = client::status(&args.socket.socket)?;
        match args.format.format {
            Format::Json => screen.show(&format!("{}\n", serde_json::to_string(&status)?))?,
            Format::Table => screen.replace(&page(&status, before.as_ref()))?,
        }
        if !args.watch || screen.is_gone() {
            return Ok(Done::Well);
        }
        before = Some(status);
        std::thread::sleep(Duration::from_secs(args.interval));
    }
}

/// The page of a reading; with the reading before, rates too.
pub(crate) fn page(status: &Status, before: Option<&Status>) -> String {
    let mut page = head(status);
    page.push('\n');
    page.push_str(&ports(status));
    page.push('\n');
    page.push_str(&workers(status, before));
    page.push('\n');
    for (title, of) in TALLIES {
        page.push_str(&tally(status, title, of));
    }
    page.push_str(&foot(status));
    page
}

/// A tally by reason: its title and where a side keeps it.
type Tally = (&'static str, fn(&SideStatus) -> &BTreeMap<String, u64>);

const TALLIES: [Tally; 5] = [
    ("dropped", |side| &side.dropped),
    ("rejected", |side| &side.rejected),
    ("reply not sent", |side| &side.unsent),
    ("would drop", |side| &side.would_drop),
    ("exempt", |side| &side.exempt),
];

fn head(status: &Status) -> String {
    let mut page = String::new();
    let took_over = if status.took_over { ", took over" } else { "" };
    let _ = writeln!(
        page,
        "portcullis {} on wire {}, up {} since {}{took_over}; fail {}, approvals {}",
        status.version,
        status.wire,
        duration(status.uptime_seconds),
        to_the_second(&status.started),
        status.fail,
        status.approvals
    );
    let policy = &status.policy;
    let _ = writeln!(page, "{}, {}", in_force(policy), count(policy.warnings, "warning"));
    for zone in &policy.zones {
        let _ = writeln!(page, "zone {} ({}): {}", zone.name, count(zone.members, "workload"), modes(zone));
    }
    let _ = writeln!(page, "unzoned: {}", policy.unzoned);
    page
}

/// `2026-11-24 12:00:00 UTC`.
pub(crate) fn to_the_second(instant: &str) -> String {
    let seconds = instant.split_once('.').map_or(instant, |(seconds, _)| seconds);
    seconds.trim_end_matches('Z').replace('T', " ") + " UTC"
}

/// `policy table 8bf0a1c2, generation 3, 12 rules, 11 workloads`: the first eight digits of its digest.
pub(crate) fn in_force(policy: &PolicyStatus) -> String {
    format!(
        "policy table {}, generation {}, {}, {}",
        policy.digest.get(..8).unwrap_or(&policy.digest),
        policy.generation,
        count(policy.rules(), "rule"),
        count(policy.workloads, "workload")
    )
}

/// `simulate, https enforce`.
fn modes(zone: &ZoneStatus) -> String {
    zone.service_modes.iter().fold(zone.mode.clone(), |mut words, line| {
        let _ = write!(words, ", {} {}", line.services.join(" "), line.mode);
        words
    })
}

fn ports(status: &Status) -> String {
    let rows = status.ports.iter().map(|port| {
        let lost = port.kernel.rx_dropped + port.kernel.rx_ring_full + port.kernel.rx_invalid;
        vec![
            port.side.clone(),
            port.interface.clone(),
            port.link.words().into(),
            port.driver.clone(),
            port.xdp.clone(),
            if port.zero_copy { "zero-copy".into() } else { "copy".into() },
            number(port.bpf.seen),
            number(port.bpf.redirected),
            number(port.bpf.stale),
            number(port.bpf.no_socket),
            number(lost),
            number(port.kernel.tx_invalid),
        ]
    });
    let mut page = columns(
        &[
            "port",
            "interface",
            "link",
            "driver",
            "XDP",
            "mode",
            "seen",
            "redirected",
            "stale",
            "no socket",
            "lost",
            "tx invalid",
        ],
        &[6, 7, 8, 9, 10, 11],
        rows.collect(),
    );
    for port in &status.ports {
        if let Some(line) = cut_off(&port.side, &port.interface, &port.link) {
            let _ = writeln!(page, "{line}");
        }
    }
    page
}

/// `inside ens1f1 is gone, nothing crosses: bring ens1f1 back, then …`; none while it is up.
pub(crate) fn cut_off(side: &str, interface: &str, link: &LinkStatus) -> Option<String> {
    let remedy = link.remedy.as_deref()?;
    Some(format!("{side} {interface} is {}, nothing crosses: {remedy}", link.words()))
}

fn workers(status: &Status, before: Option<&Status>) -> String {
    let mut heads = vec![
        "queue",
        "core",
        "side",
        "received",
        "forwarded",
        "dropped",
        "rejected",
        "held",
        "would drop",
        "loose",
    ];
    // A single worker has nobody to pass anything to.
    let several = status.workers.len() > 1;
    if several {
        heads.extend(["taken over", "handed over"]);
    }
    if before.is_some() {
        heads.extend(["received/s", "forwarded/s", "Mbit/s"]);
    }
    let mut rows = Vec::new();
    for worker in &status.workers {
        for side in &worker.sides {
            let mut row = vec![
                worker.queue.to_string(),
                worker.core.map_or_else(|| "–".into(), |core| core.to_string()),
                side.side.clone(),
                number(side.rx_packets),
                number(side.forwarded_packets),
                number(side.dropped.values().sum()),
                number(side.rejected.values().sum()),
                number(side.held),
                number(side.would_drop.values().sum()),
                number(side.loose),
            ];
            if several {
                row.extend([number(side.taken_over), number(side.handed_over)]);
            }
            if let Some(before) = before {
                row.extend(rates(status, before, worker.queue, side));
            }
            rows.push(row);
        }
    }
    columns(&heads, &[0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], rows)
}

/// Received and forwarded packets a second, and forwarded megabits; blank where there is nothing to
/// compare with: another gate answered in between.
fn rates(now: &Status, before: &Status, queue: u32, side: &SideStatus) -> [String; 3] {
    let worker = before.workers.iter().find(|worker| worker.queue == queue);
    let earlier = worker.and_then(|worker| worker.sides.iter().find(|other| other.side == side.side));
    let blank = [const { String::new() }; 3];
    let (Some(earlier), true) = (earlier, before.started == now.started) else { return blank };
    let passed = now.at_nanos.saturating_sub(before.at_nanos);
    let rate = |grown: u64, divisor: u128| {
        let rate =
            (u128::from(grown) * 1_000_000_000).checked_div(u128::from(passed) * divisor).unwrap_or(0);
        number(u64::try_from(rate).unwrap_or(u64::MAX))
    };
    let bits = side.forwarded_bytes.saturating_sub(earlier.forwarded_bytes).saturating_mul(8);
    [
        rate(side.rx_packets.saturating_sub(earlier.rx_packets), 1),
        rate(side.forwarded_packets.saturating_sub(earlier.forwarded_packets), 1),
        rate(bits, 1_000_000),
    ]
}

fn tally(status: &Status, title: &str, of: fn(&SideStatus) -> &BTreeMap<String, u64>) -> String {
    let mut sums: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for worker in &status.workers {
        for (side, place) in worker.sides.iter().zip([0, 1]) {
            for (reason, n) in of(side) {
                if let Some(sum) = sums.entry(reason).or_default().get_mut(place) {
                    *sum += n;
                }
            }
        }
    }
    if sums.is_empty() {
        return String::new();
    }
    let rows = sums.iter().map(|(reason, [outside, inside])| {
        let known = Reason::ALL.iter().find(|known| known.name() == *reason).map(|known| known.words());
        let unsent = Unsent::ALL.iter().find(|known| known.name() == *reason).map(|known| known.words());
        let exempt = Exempt::ALL.iter().find(|known| known.name() == *reason).map(|known| known.words());
        // An exemption may be called as what it exempts from is.
        let words = if title == "exempt" { exempt } else { known.or(unsent) }.unwrap_or_default();
        vec![(*reason).into(), number(*outside), number(*inside), words.into()]
    });
    columns(&[title, "outside", "inside", "that is"], &[1, 2], rows.collect()) + "\n"
}

fn foot(status: &Status) -> String {
    let mut page = String::new();
    for worker in &status.workers {
        let equation = &worker.equation;
        let passed = |count, words: &str| {
            if status.workers.len() > 1 { format!(" + {} {words}", number(count)) } else { String::new() }
        };
        let _ = writeln!(
            page,
            "queue {}: {} received{} = {} forwarded + {} dropped + {} rejected{} + {} held: {}",
            worker.queue,
            number(equation.rx),
            passed(equation.taken_over, "taken over"),
            number(equation.forwarded),
            number(equation.dropped),
            number(equation.rejected),
            passed(equation.handed_over, "handed over"),
            number(equation.held),
            if equation.holds { "holds" } else { "DOES NOT HOLD" }
        );
        let frames = &worker.frames;
        let handed = passed(frames.handed.into(), "handed").replace(" + ", ", ");
        let _ = writeln!(
            page,
            "  {} of {} flows, {} evicted from the full table; {} of its {} MiB are in huge pages\n  {} frames: {} free, {} receiving, {} held, {} \
             sending{handed}\n  a busy turn takes {}, p99 {}",
            number(worker.flows),
            number(worker.flow_capacity),
            number(worker.flows_evicted),
            number(worker.flow_table_huge_bytes >> 20),
            number(worker.flow_table_bytes >> 20),
            number(frames.total.into()),
            number(frames.free.into()),
            number(frames.receiving.into()),
            number(frames.held.into()),
            number(frames.sending.into()),
            nanos(worker.turn_p50_nanos),
            nanos(worker.turn_p99_nanos)
        );
    }
    let _ = writeln!(
        page,
        "events: {} so far, {} lost; the latest {} are kept",
        number(status.events.latest),
        number(status.events.lost),
        number(status.events.capacity)
    );
    for note in &status.notes {
        let _ = writeln!(page, "note: {note}");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fixture::status;

    #[test]
    fn a_reading_is_a_page() {
        insta::assert_snapshot!(page(&status(1), None));
    }

    #[test]
    fn a_port_that_is_gone_cannot_be_overlooked() {
        let mut status = status(1);
        status.ports[1].link = LinkStatus { state: "no_carrier".into(), remedy: Some("look there".into()) };
        let page = page(&status, None);
        assert!(page.contains("inside   ens1f1     up without a link  ice "), "{page}");
        assert!(
            page.contains("\ninside ens1f1 is up without a link, nothing crosses: look there\n\nqueue"),
            "{page}"
        );
        assert!(!page.contains("outside ens1f0 is"), "{page}");
    }

    #[test]
    fn two_readings_have_rates_between_them() {
        let before = status(2);
        let mut now = before.clone();
        now.at_nanos += 2_000_000_000;
        let side = &mut now.workers[1].sides[0];
        side.rx_packets += 3_000;
        side.forwarded_packets += 2_000;
        side.forwarded_bytes += 2_500_000;
        assert_eq!(rates(&now, &before, 1, &now.workers[1].sides[0]), ["1 500", "1 000", "10"]);
        assert_eq!(rates(&now, &before, 0, &now.workers[0].sides[0]), ["0", "0", "0"]);
        assert!(page(&now, Some(&before)).contains("1 500        1 000      10\n"));
    }

    #[test]
    fn another_gate_in_between_has_no_rates() {
        let before = status(1);
        let now = Status { started: "2026-11-24T12:30:00.000000000Z".into(), ..before.clone() };
        assert_eq!(rates(&now, &before, 0, &now.workers[0].sides[0]), ["", "", ""]);
        assert_eq!(rates(&before, &before, 0, &before.workers[0].sides[0])[0], "0", "no time, no rate");
    }

    #[test]
    fn several_workers_say_what_they_pass_to_each_other() {
        let mut status = status(2);
        let worker = &mut status.workers[1];
        (worker.sides[0].taken_over, worker.sides[0].handed_over) = (1_234, 5);
        (worker.equation.taken_over, worker.equation.handed_over, worker.frames.handed) = (1_234, 5, 9);
        let page = page(&status, None);
        assert!(page.contains("would drop  loose  taken over  handed over\n"), "{page}");
        assert!(page.contains("1 234            5\n"), "{page}");
        assert!(page.contains(" received + 1 234 taken over = "), "{page}");
        assert!(page.contains(" rejected + 5 handed over + 0 held: holds\n"), "{page}");
        assert!(page.contains("102 sending, 9 handed\n"), "{page}");
    }

    #[test]
    fn an_equation_that_does_not_hold_cannot_be_overlooked() {
        let mut status = status(1);
        status.workers[0].equation.holds = false;
        assert!(page(&status, None).contains(
            "queue 0: 7 received = 3 forwarded + 2 dropped + 2 rejected + 0 held: DOES NOT HOLD"
        ));
    }
}

//! Which promises held: counts held against counts that are not the gate's, and each by name.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use portcullis::control::answers::{SideStatus, Status};
use portcullis::pipeline::Reason;

use super::group::Group;
use super::kinds::Kind;
use super::talk::Line;
use super::{Books, Plan, Run, of_group};
use crate::traffic::per_second;

/// The flood is at least this part of what the gate forwards without loss.
const SHARE: f64 = 0.5;
/// Resident memory that a run may add, in KiB, and what it may add a minute.
const GROWTH: u64 = 8 * 1024;
const SLOPE: f64 = 512.0;

/// One promise.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Promise {
    /// What was promised.
    pub(crate) what: &'static str,
    /// It held.
    pub(crate) kept: bool,
    /// What was found.
    pub(crate) found: String,
}

/// How the frames of a group ended.
#[derive(Clone, Debug, serde::Serialize)]
struct Ends {
    group: &'static str,
    made: u64,
    crossed: u64,
    dropped: BTreeMap<&'static str, u64>,
}

/// Two counts of the same frames by different parties.
#[derive(Clone, Debug, serde::Serialize)]
struct Pair {
    what: &'static str,
    one: u64,
    other: u64,
}

/// What the connections did.
#[derive(Clone, Debug, Default, serde::Serialize)]
struct Lines {
    connections: usize,
    exchanges: u64,
    bytes: u64,
    least: u64,
    longest_ms: f64,
    late: u64,
    broken: Vec<String>,
}

/// The result.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Report {
    seconds: f64,
    wanted: u64,
    frames: u64,
    refused: u64,
    rate: f64,
    share_of_lossless: Option<f64>,
    share_of_opens: Option<f64>,
    lost: u64,
    lines: Lines,
    resident_kib: u64,
    growth_kib: u64,
    slope_kib_a_minute: Option<f64>,
    flows: u64,
    capacity: u64,
    samples: usize,
    groups: Vec<Ends>,
    pairs: Vec<Pair>,
    /// Each by itself.
    pub(crate) promises: Vec<Promise>,
}

impl Report {
    /// All of them held.
    pub(crate) fn is_kept(&self) -> bool {
        self.promises.iter().all(|promise| promise.kept)
    }
}

/// Everything the gate counted of one side between two moments.
struct Side {
    seen: u64,
    redirected: u64,
    unjudged: u64,
    rx: u64,
    lost: u64,
    forwarded: u64,
    dropped: BTreeMap<String, u64>,
}

fn side(before: &Status, after: &Status, at: usize) -> Side {
    let port = |status: &Status| status.ports.get(at).map(|port| port.bpf).unwrap_or_default();
    let (old, new) = (port(before), port(after));
    let of = |status: &Status, count: &dyn Fn(&SideStatus) -> u64| -> u64 {
        status.workers.iter().filter_map(|worker| worker.sides.get(at)).map(count).sum()
    };
    let grown = |count: &dyn Fn(&SideStatus) -> u64| of(after, count) - of(before, count);
    let mut dropped = BTreeMap::new();
    for reason in Reason::ALL {
        let name = reason.name();
        let count = grown(&|side| side.dropped.get(name).copied().unwrap_or(0));
        if count > 0 {
            dropped.insert(name.to_owned(), count);
        }
    }
    Side {
        seen: new.seen - old.seen,
        redirected: new.redirected - old.redirected,
        unjudged: new.stale + new.no_socket - old.stale - old.no_socket,
        rx: grown(&|side| side.rx_packets),
        // A frame that finds the fill ring empty counts as dropped, too (net/xdp/xsk.c).
        lost: grown(&|side| side.kernel.rx_dropped + side.kernel.rx_ring_full),
        forwarded: grown(&|side| side.forwarded_packets),
        dropped,
    }
}

/// The frames of the run as everyone counted them.
fn pairs(before: &Books, after: &Books, outside: &Side, inside: &Side) -> Vec<Pair> {
    let made: u64 = after.made.iter().sum::<u64>() - before.made.iter().sum::<u64>();
    let arrived = after.arrived.all() - before.arrived.all();
    let guests = after.arrived.guests - before.arrived.guests;
    let (old, new) = (&before.kernel, &after.kernel);
    let near = (new.sender.1.out - old.sender.1.out, new.sender.1.into - old.sender.1.into);
    let far = (new.receiver.1.out - old.receiver.1.out, new.receiver.1.into - old.receiver.1.into);
    let refused = |new: &super::ends::Counts| (new.sender.0.tx_dropped, new.receiver.0.tx_dropped);
    let (near_refused, far_refused) = (refused(new).0 - refused(old).0, refused(new).1 - refused(old).1);
    let lost_behind = |new: (crate::traffic::LinkCounters, u64),
                       old: (crate::traffic::LinkCounters, u64)| {
        new.0.tx_dropped - old.0.tx_dropped + new.1 - old.1
    };
    let ended = |side: &Side| side.forwarded + side.dropped.values().sum::<u64>();
    let pair = |what, one, other| Pair { what, one, other };
    vec![
        pair(
            "flood made + host sent = outside program saw + sender's veth refused",
            made + near.0,
            outside.seen + near_refused,
        ),
        pair(
            "sender's veth sent = outside program saw",
            new.sender.0.tx_packets - old.sender.0.tx_packets,
            outside.seen,
        ),
        pair(
            "outside program saw = redirected + dropped unjudged",
            outside.seen,
            outside.redirected + outside.unjudged,
        ),
        pair(
            "outside redirected = received + XDP_STATISTICS",
            outside.redirected,
            outside.rx + outside.lost,
        ),
        pair("outside received = forwarded + dropped", outside.rx, ended(outside)),
        pair(
            "outside forwarded = sorted at the receiver + veth and qdisc lost",
            outside.forwarded,
            arrived + lost_behind(new.inside, old.inside),
        ),
        pair("sorted as the host's = the host received", guests, far.1),
        pair(
            "far host sent = inside program saw + receiver's veth refused",
            far.0,
            inside.seen + far_refused,
        ),
        pair(
            "inside program saw = redirected + dropped unjudged",
            inside.seen,
            inside.redirected + inside.unjudged,
        ),
        pair("inside redirected = received + XDP_STATISTICS", inside.redirected, inside.rx + inside.lost),
        pair("inside received = forwarded + dropped", inside.rx, ended(inside)),
        pair(
            "inside forwarded = the near host received + veth and qdisc lost",
            inside.forwarded,
            near.1 + lost_behind(new.outside, old.outside),
        ),
    ]
}

fn groups(kinds: &[Kind], before: &Books, after: &Books, outside: &Side) -> Vec<(Group, Ends)> {
    let grown = |after: &[u64], before: &[u64], group| {
        of_group(kinds, after, group) - of_group(kinds, before, group)
    };
    let ends = |group: Group| Ends {
        group: group.name(),
        made: grown(&after.made, &before.made, group),
        crossed: grown(&after.arrived.kinds, &before.arrived.kinds, group),
        dropped: group
            .reasons()
            .iter()
            .filter_map(|reason| Some((reason.name(), *outside.dropped.get(reason.name())?)))
            .collect(),
    };
    Group::ALL.into_iter().map(|group| (group, ends(group))).collect()
}

/// Groups whose frames may end for each other's reasons: all of them open flows.
const OPENERS: [Group; 3] = [Group::SynFlood, Group::NewFlows, Group::Fragments];

/// What does not add up of the groups. `lost`: frames that were lost before or behind the gate, or found no
/// way out, of whichever group.
fn astray(kinds: &[Kind], groups: &[(Group, Ends)], outside: &Side, lost: u64) -> Vec<String> {
    let mut astray = Vec::new();
    let mut check = |names: &[Group]| {
        let these = groups.iter().filter(|(group, _)| names.contains(group));
        let (made, ended) = these.fold((0, 0), |(made, ended), (_, ends)| {
            (made + ends.made, ended + ends.crossed + ends.dropped.values().sum::<u64>())
        });
        if ended > made || ended + lost < made || ended == 0 {
            astray.push(format!("{names:?}: {made} made, {ended} ended by name, at most {lost} lost"));
        }
    };
    check(&OPENERS);
    for group in Group::ALL.into_iter().filter(|group| !OPENERS.contains(group)) {
        check(&[group]);
    }
    for (group, ends) in groups {
        if ends.crossed > 0 && !group.may_cross() {
            astray.push(format!("{}: {} crossed", ends.group, ends.crossed));
        }
    }
    for reason in kinds.iter().filter_map(Kind::malformed_as) {
        if !outside.dropped.contains_key(reason.name()) {
            astray.push(format!("nothing was dropped as {}", reason.name()));
        }
    }
    for reason in [Reason::HalfOpenLimit, Reason::FragmentOverlap, Reason::FragmentHeldFull] {
        if !outside.dropped.contains_key(reason.name()) {
            astray.push(format!("nothing was dropped as {}", reason.name()));
        }
    }
    let known = |name: &str| {
        name == Reason::TxRingFull.name()
            || Group::ALL.iter().any(|group| group.reasons().iter().any(|reason| reason.name() == name))
    };
    for (name, count) in outside.dropped.iter().filter(|(name, _)| !known(name)) {
        astray.push(format!("{count} dropped as {name}, which no kind is"));
    }
    astray
}

fn lines(run: &Run) -> Lines {
    let good = || run.lines.iter().filter_map(|line| line.as_ref().ok());
    let sum = |count: &dyn Fn(&Line) -> u64| good().map(count).sum();
    Lines {
        connections: run.lines.len(),
        exchanges: sum(&|line| line.exchanges),
        bytes: sum(&|line| line.bytes),
        least: good().map(|line| line.exchanges).min().unwrap_or(0),
        longest_ms: millis(good().map(|line| line.longest).max().unwrap_or(0)),
        late: sum(&|line| line.late),
        broken: run.lines.iter().filter_map(|line| line.as_ref().err()).map(ToString::to_string).collect(),
    }
}

fn millis(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64() * 1e3
}

/// Judges a run.
pub(super) fn judge(plan: &Plan, kinds: &[Kind], run: &Run) -> Report {
    let (before, after) = (&run.before, &run.after);
    let outside = side(&before.status, &after.status, 0);
    let inside = side(&before.status, &after.status, 1);
    let pairs = pairs(before, after, &outside, &inside);
    let groups = groups(kinds, before, after, &outside);
    let made: u64 = groups.iter().map(|(_, ends)| ends.made).sum();
    let named: u64 = groups.iter().map(|(_, e)| e.crossed + e.dropped.values().sum::<u64>()).sum();
    // Whatever of the flood was not ended by name: refused, not read, no way out, lost behind the gate.
    let lost = made.saturating_sub(named);
    let mut astray = astray(kinds, &groups, &outside, lost);
    let strange = after.arrived.strange - before.arrived.strange;
    if strange > 0 {
        astray.push(format!("{strange} strange frames arrived"));
    }
    let rate = per_second(run.frames.saturating_sub(run.refused), run.nanos);
    let (resident_kib, growth_kib) = run.watch.growth();
    let (flows, capacity) = run.watch.flows();
    let mut report = Report {
        seconds: Duration::from_nanos(run.nanos).as_secs_f64(),
        wanted: plan.rate,
        frames: run.frames,
        refused: run.refused,
        rate,
        share_of_lossless: plan.lossless.map(|lossless| rate / lossless),
        share_of_opens: plan.opens.map(|opens| rate / opens),
        lost,
        lines: lines(run),
        resident_kib,
        growth_kib,
        slope_kib_a_minute: run.watch.slope(),
        flows,
        capacity,
        samples: run.watch.samples.len(),
        groups: groups.into_iter().map(|(_, ends)| ends).collect(),
        pairs,
        promises: Vec::new(),
    };
    report.promises = connections(plan, &report, &inside);
    report.promises.extend(counts(run, &report, &astray));
    if let (Some(lossless), Some(share)) = (plan.lossless, report.share_of_lossless) {
        report.promises.push(Promise {
            what: "the flood is at least half of what the gate forwards with at most 0.1 % lost",
            kept: share >= SHARE,
            found: format!("{rate:.0} of {lossless:.0} frames a second: {share:.2}"),
        });
    }
    report
}

/// What is wrong, or else what is right.
fn either(wrong: &[String], right: String) -> String {
    if wrong.is_empty() { right } else { wrong.join("; ") }
}

/// What is promised to those who are no enemies.
fn connections(plan: &Plan, report: &Report, inside: &Side) -> Vec<Promise> {
    let Lines { connections, exchanges, least, longest_ms, late, broken, .. } = &report.lines;
    let bound = plan.terms.bound.as_millis();
    let unfair: Vec<String> = inside
        .dropped
        .iter()
        .filter(|(name, _)| *name != Reason::TxRingFull.name())
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    vec![
        Promise {
            what: "no connection breaks, stalls or gets a wrong byte",
            kept: broken.is_empty() && *least > 0,
            found: either(
                broken,
                format!(
                    "{connections} connections, {exchanges} exchanges (the least {least}), the longest took {longest_ms:.0} ms of {bound} allowed, {late} took longer than 200 ms"
                ),
            ),
        },
        Promise {
            what: "the gate drops none of the answers but for want of room",
            kept: unfair.is_empty(),
            found: either(&unfair, format!("{} of {} forwarded", inside.forwarded, inside.rx)),
        },
    ]
}

/// What is promised of the gate's own counts.
fn counts(run: &Run, report: &Report, astray: &[String]) -> Vec<Promise> {
    let Report { resident_kib, growth_kib, flows, capacity, slope_kib_a_minute, .. } = report;
    let trend = slope_kib_a_minute.map_or("not judged below a minute".to_owned(), |slope| {
        format!("{slope:.0} KiB a minute (of {SLOPE:.0} allowed)")
    });
    let uneven: Vec<String> = report
        .pairs
        .iter()
        .filter(|pair| pair.one != pair.other)
        .map(|pair| format!("{}: {} and {}", pair.what, pair.one, pair.other))
        .chain(run.restless.iter().map(|what| format!("it did not come to rest: {what}")))
        .collect();
    vec![
        Promise {
            what: "memory is flat",
            kept: *growth_kib <= GROWTH
                && slope_kib_a_minute.is_none_or(|slope| slope <= SLOPE)
                && report.samples > 0,
            found: format!(
                "{resident_kib} KiB resident, at most {growth_kib} more (of {GROWTH} allowed), trend {trend}; at most {flows} flows in a table of {capacity}"
            ),
        },
        Promise {
            what: "the equation holds in every reading",
            kept: run.watch.wrongs == 0,
            found: either(&run.watch.wrong, format!("{} readings", report.samples)),
        },
        Promise {
            what: "at rest everybody has counted the same",
            kept: uneven.is_empty(),
            found: either(&uneven, format!("{} pairs of counts", report.pairs.len())),
        },
        Promise {
            what: "every kind of the flood ends by its own names and nothing else crosses",
            kept: astray.is_empty(),
            found: either(astray, format!("{} groups of kinds", report.groups.len())),
        },
    ]
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:.0} s of flood at {:.0} frames a second ({} wanted), {} frames, {} refused by the sender's end",
            self.seconds, self.rate, self.wanted, self.frames, self.refused
        )?;
        if let Some(share) = self.share_of_lossless {
            writeln!(f, "{share:.2} of the rate that the gate forwards with at most 0.1 % lost")?;
        }
        if let Some(share) = self.share_of_opens {
            writeln!(f, "{share:.3} of what a worker opens, frames of known flows counted as new ones")?;
        }
        writeln!(f, "\n| kinds | made | crossed | dropped by name |\n|---|---:|---:|---|")?;
        for ends in &self.groups {
            let named: Vec<String> =
                ends.dropped.iter().map(|(name, count)| format!("{name} {count}")).collect();
            writeln!(f, "| {} | {} | {} | {} |", ends.group, ends.made, ends.crossed, named.join(", "))?;
        }
        writeln!(f, "| lost before or behind the gate | {} | | |", self.lost)?;
        writeln!(f, "\n| counted by | one | the other |\n|---|---:|---:|")?;
        for pair in &self.pairs {
            writeln!(f, "| {} | {} | {} |", pair.what, pair.one, pair.other)?;
        }
        writeln!(f)?;
        for Promise { what, kept, found } in &self.promises {
            writeln!(f, "{} {what}: {found}", if *kept { "kept  " } else { "BROKEN" })?;
        }
        Ok(())
    }
}

//! A gate under a policy between two far ends, and what is said of a frame there: that it arrives, byte for
//! byte, or does not, and that exactly the named counter moves.
//!
//! After every step a *witness* crosses in each direction, of a connection that the policy allows: whatever
//! the gate let go before has arrived before it, whatever it counted or recorded is counted and recorded. All
//! counters that the gate shows are compared, those of the far side and of the kernel programs too; only
//! gauges are left out.

use std::collections::BTreeMap;

use portcullis::control::answers::{EventLine, Events};
use portcullis::control::client;
use portcullis::pipeline::Reason;
use portcullis::wire::Side;
use portcullis::wire::samples::Ends;
use serde_json::Value;

use crate::rig::{Gate, Rig, left_out, until};
use crate::tap::{self, Tap};
use crate::told::Told;

/// Witnesses by side of their sender.
const WITNESS: [[&str; 2]; 2] = [["10.10.0.250", "10.20.0.250"], ["2001:db8:10::250", "2001:db8:20::250"]];

/// Gauges, times and what is the sum of others.
const NO_COUNTERS: [&str; 7] =
    ["frames", "equation", "kernel", "bursts", "flows", "flow_capacity", "generation"];

/// How far each counter moved, by name: `outside.dropped.land`.
pub(crate) type Moved = BTreeMap<String, i64>;

/// The rig, the gate and both far ends.
pub(crate) struct Ground {
    taps: [Tap; 2],
    gate: Gate,
    _rig: Rig,
    counts: Moved,
    /// Number of the latest event that was looked at.
    heard: u64,
    /// Makes every witness another one.
    serial: u16,
    /// What the steps are about: the row and the family.
    about: String,
}

/// What came of a step.
#[derive(Debug)]
pub(crate) struct Settled {
    /// Frames that arrived at the outside end and at the inside end.
    pub(crate) arrived: [Vec<Vec<u8>>; 2],
    /// Counters that moved.
    pub(crate) moved: Moved,
    /// Events.
    pub(crate) events: Vec<EventLine>,
}

impl Ground {
    /// Under a policy; `None`: such tests are left out.
    pub(crate) fn under(policy: &str) -> Option<Self> {
        if left_out() {
            return None;
        }
        let rig = Rig::raise();
        let object = tap::object(&rig);
        let taps = ["out", "in"].map(|host| Tap::at(&rig, host, &object));
        let gate = rig.gate(policy);
        let mut ground =
            Self { taps, gate, _rig: rig, counts: Moved::new(), heard: 0, serial: 0, about: String::new() };
        ground.counts = ground.read();
        let silent = ground.settle();
        assert!(silent.arrived.iter().all(Vec::is_empty) && silent.moved.is_empty(), "{silent:?}");
        Some(ground)
    }

    /// What the next steps are about.
    pub(crate) fn about(&mut self, row: &str, ends: &Ends) {
        let family = if ends.src.is_ipv4() { "IPv4" } else { "IPv6" };
        self.about = format!("{row} {family}");
    }

    /// Puts another policy in force.
    pub(crate) fn reload(&mut self, policy: &str) {
        self.gate.reload(policy).expect("in force");
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Sends a frame from a side's far end.
    pub(crate) fn send(&mut self, side: Side, frame: &[u8]) {
        self.taps[side.index()].send(frame);
    }

    /// Sends a witness in both directions and waits for them; tells what else has happened meanwhile.
    pub(crate) fn settle(&mut self) -> Settled {
        self.serial += 1;
        let mut expected = Moved::new();
        let mut arrived = [Vec::new(), Vec::new()];
        let port = 10_000 + self.serial;
        for side in Side::BOTH {
            let [from, to] = WITNESS[usize::from(self.serial) % 2];
            let ends = Ends::of(from, to);
            let ends = if side == Side::Outside { ends } else { ends.reply() };
            let frame = ends.udp(port, 53, b"the witness was here");
            self.taps[side.index()].send(&frame);
            arrived[side.other().index()].extend(self.taps[side.other().index()].until(&frame));
            add(&mut expected, &received(side, &[&frame]));
            add(&mut expected, &forwarded(side, &[&frame]));
        }
        for (arrived, tap) in arrived.iter_mut().zip(&mut self.taps) {
            arrived.extend(tap.take());
        }
        // While the counters are read the record catches up.
        let now = self.read();
        let events = self.events(port);
        let mut moved = now.clone();
        for (name, count) in self.counts.iter().chain(&expected) {
            *moved.entry(name.clone()).or_default() -= count;
        }
        moved.retain(|_, count| *count != 0);
        self.counts = now;
        Settled { arrived, moved, events }
    }

    /// Events up to the one of the inside's witness with this port; those of witnesses are left out.
    fn events(&mut self, port: u16) -> Vec<EventLine> {
        let mut heard = Vec::new();
        until("the witness's event", || {
            let wait = std::time::Duration::from_secs(5);
            let page: Events =
                client::await_events(self.gate.socket(), self.heard, 4_096, wait).expect("events");
            assert_eq!((page.missed, page.lost), (0, 0));
            self.heard = page.next;
            heard.extend(page.events);
            heard.last().is_some_and(|event| is_witness(event, port) && event.side == "inside")
        });
        heard.retain(|event| !is_witness(event, port));
        heard
    }

    /// Every counter by name.
    fn read(&self) -> Moved {
        let status = serde_json::to_value(self.gate.status()).unwrap();
        let mut counts = Moved::new();
        for port in status["ports"].as_array().unwrap() {
            flatten(&format!("{}.bpf", text(&port["side"])), &port["bpf"], &mut counts);
        }
        assert_eq!(status["workers"].as_array().unwrap().len(), 1);
        let mut worker = status["workers"][0].clone();
        for side in worker["sides"].take().as_array().unwrap() {
            flatten(text(&side["side"]), side, &mut counts);
        }
        flatten("worker", &worker, &mut counts);
        counts
    }

    #[track_caller]
    fn check(&self, what: &str, settled: &Settled, arrived: [&[&[u8]]; 2], moved: &Moved) {
        let about = &self.about;
        assert_eq!(settled.arrived, arrived, "{about} · {what}: what arrived outside and inside");
        assert_eq!(settled.moved, *moved, "{about} · {what}: the counters that moved");
    }

    /// It arrives as it was sent, and nothing else is counted or recorded.
    #[track_caller]
    pub(crate) fn crosses(&mut self, what: &str, side: Side, frame: &[u8]) {
        self.all_cross(what, side, &[frame]);
    }

    /// They arrive in order.
    #[track_caller]
    pub(crate) fn all_cross(&mut self, what: &str, side: Side, frames: &[&[u8]]) {
        for frame in frames {
            self.send(side, frame);
        }
        let settled = self.settle();
        let mut moved = received(side, frames);
        add(&mut moved, &forwarded(side, frames));
        self.check(what, &settled, at_far_end(side, frames), &moved);
        assert_eq!(settled.events, [], "{} · {what}: no event", self.about);
    }

    /// It does not arrive, exactly this counter moves, and the gate names the reason for this very packet.
    #[track_caller]
    pub(crate) fn drops(&mut self, what: &str, side: Side, frame: &[u8], reason: Reason) -> EventLine {
        self.send(side, frame);
        let settled = self.settle();
        let mut moved = received(side, &[frame]);
        add(&mut moved, &dropped(side, reason, 1));
        self.check(what, &settled, [&[], &[]], &moved);
        self.told(what, settled, &Told::drop(side, frame, reason))
    }

    /// It arrives, and the gate says what enforcement would have done.
    #[track_caller]
    pub(crate) fn would(&mut self, what: &str, side: Side, frame: &[u8], reason: Reason) -> EventLine {
        self.send(side, frame);
        let settled = self.settle();
        let mut moved = received(side, &[frame]);
        add(&mut moved, &forwarded(side, &[frame]));
        moved.insert(format!("{}.would_drop.{}", side.name(), reason.name()), 1);
        self.check(what, &settled, at_far_end(side, &[frame]), &moved);
        self.told(what, settled, &Told::would(side, frame, reason))
    }

    /// It arrives, and the rule that let it says `log`.
    #[track_caller]
    pub(crate) fn logged(&mut self, what: &str, side: Side, frame: &[u8], rule: &str) -> EventLine {
        self.send(side, frame);
        let settled = self.settle();
        let mut moved = received(side, &[frame]);
        add(&mut moved, &forwarded(side, &[frame]));
        self.check(what, &settled, at_far_end(side, &[frame]), &moved);
        let event = self.told(what, settled, &Told::allow(side, frame));
        assert_eq!(event.rule.as_deref(), Some(rule), "{} · {what}", self.about);
        event
    }

    /// It does not arrive and is neither counted as dropped nor recorded: it waits.
    #[track_caller]
    pub(crate) fn waits(&mut self, what: &str, side: Side, frame: &[u8]) {
        self.send(side, frame);
        let settled = self.settle();
        let mut moved = received(side, &[frame]);
        add(&mut moved, &held(side, 1));
        self.check(what, &settled, [&[], &[]], &moved);
        assert_eq!(settled.events, [], "{} · {what}: no event", self.about);
    }

    /// It arrives, and then what waited for it.
    #[track_caller]
    pub(crate) fn releases(&mut self, what: &str, side: Side, frame: &[u8], waiting: &[u8]) {
        self.send(side, frame);
        let settled = self.settle();
        let both = [frame, waiting];
        let mut moved = received(side, &[frame]);
        add(&mut moved, &forwarded(side, &both));
        add(&mut moved, &held(side, -1));
        self.check(what, &settled, at_far_end(side, &both), &moved);
        assert_eq!(settled.events, [], "{} · {what}: no event", self.about);
    }

    /// All that waits is dropped for this reason when its time is over, at most 20 s from now.
    #[track_caller]
    pub(crate) fn time_out(&mut self, what: &str, waiting: &[(Side, Vec<u8>)], reason: Reason) {
        let mut moved = Moved::new();
        for (side, _) in waiting {
            add(&mut moved, &dropped(*side, reason, 1));
            add(&mut moved, &held(*side, -1));
        }
        let mut after = self.counts.clone();
        add(&mut after, &moved);
        until("time to pass", || {
            let now = self.read();
            moved.keys().all(|name| now.get(name) == after.get(name))
        });
        let settled = self.settle();
        self.check(what, &settled, [&[], &[]], &moved);
        assert_eq!(settled.events.len(), waiting.len());
        for (side, frame) in waiting {
            let told = Told::drop(*side, frame, reason);
            let said = settled.events.iter().filter(|event| told.of(event) == told).count();
            assert_eq!(said, 1, "{} · {what}: {told:?} in {:#?}", self.about, settled.events);
        }
    }

    #[track_caller]
    fn told(&self, what: &str, settled: Settled, told: &Told) -> EventLine {
        let about = &self.about;
        let [event] = <[EventLine; 1]>::try_from(settled.events)
            .unwrap_or_else(|events| panic!("{about} · {what}: one event, not {events:#?}"));
        assert_eq!(told.of(&event), *told, "{about} · {what}: {event:#?}");
        event
    }

    /// Rows of a table: what it is, the frame, and the reason, or none if it crosses.
    #[track_caller]
    pub(crate) fn table(&mut self, side: Side, rows: &[(&str, Vec<u8>, Option<Reason>)]) {
        for (what, frame, reason) in rows {
            match reason {
                Some(reason) => {
                    self.drops(what, side, frame, *reason);
                }
                None => self.crosses(what, side, frame),
            }
        }
    }
}

fn is_witness(event: &EventLine, port: u16) -> bool {
    event.kind == "allow" && event.sport == Some(port) && event.rule.as_deref() == Some("allow.witness")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn flatten(name: &str, value: &Value, into: &mut Moved) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let gauge = NO_COUNTERS.contains(&field.as_str()) || field.starts_with("turn_");
                if !gauge {
                    flatten(&format!("{name}.{field}"), value, into);
                }
            }
        }
        Value::Number(number) => {
            into.insert(name.to_owned(), number.as_i64().unwrap());
        }
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) => {}
    }
}

/// Adds movements up.
pub(crate) fn add(to: &mut Moved, more: &Moved) {
    for (name, count) in more {
        *to.entry(name.clone()).or_default() += count;
    }
}

fn at_far_end<'a>(side: Side, frames: &'a [&'a [u8]]) -> [&'a [&'a [u8]]; 2] {
    match side {
        Side::Outside => [&[], frames],
        Side::Inside => [frames, &[]],
    }
}

fn load(side: Side, what: &str, frames: &[&[u8]]) -> Moved {
    let (count, bytes) = (frames.len(), frames.iter().map(|frame| frame.len()).sum::<usize>());
    [("packets", count), ("bytes", bytes)]
        .map(|(unit, n)| (format!("{}.{what}_{unit}", side.name()), i64::try_from(n).unwrap()))
        .into()
}

/// What counts frames that the gate took.
pub(crate) fn received(side: Side, frames: &[&[u8]]) -> Moved {
    let mut moved = load(side, "rx", frames);
    for what in ["seen", "redirected"] {
        moved.insert(format!("{}.bpf.{what}", side.name()), i64::try_from(frames.len()).unwrap());
    }
    moved
}

/// What counts frames that the gate let go.
pub(crate) fn forwarded(side: Side, frames: &[&[u8]]) -> Moved {
    load(side, "forwarded", frames)
}

/// What counts frames that wait for another now.
fn held(side: Side, count: i64) -> Moved {
    [(format!("{}.held", side.name()), count)].into()
}

/// What counts frames that the gate dropped.
pub(crate) fn dropped(side: Side, reason: Reason, count: i64) -> Moved {
    [(format!("{}.dropped.{}", side.name(), reason.name()), count)].into()
}

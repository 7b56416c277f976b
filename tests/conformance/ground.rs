//! A gate under a policy between two far ends, and what is said of a frame there: that it arrives, byte for
//! byte, or does not, and that exactly the named counter moves.
//!
//! After every step a *witness* crosses in each direction, of a connection that the policy allows: whatever
//! the gate let go before has arrived before it, whatever it counted or recorded is counted and recorded. All
//! counters that the gate shows are compared, those of the far side and of the kernel programs too; only
//! gauges are left out. Of several workers a witness may overtake a frame: what is promised is waited for then, and
//! what else comes is seen by the step after.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv6Addr;
use std::panic::Location;
use std::time::Duration;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use portcullis::control::answers::{EventLine, Events};
use portcullis::control::client;
use portcullis::pipeline::Reason;
use portcullis::wire::Side;
use portcullis::wire::samples::Ends;
use serde_json::Value;

use crate::rig::{self, Gate, Rig, left_out, until};
use crate::tap::{self, Tap};
use crate::told::Told;

/// Witnesses by side of their sender.
const WITNESS: [[&str; 2]; 2] = [["10.10.0.250", "10.20.0.250"], ["2001:db8:10::250", "2001:db8:20::250"]];

/// Gauges, times and what is the sum of others.
const NO_COUNTERS: [&str; 8] =
    ["frames", "equation", "kernel", "bursts", "flows", "flow_capacity", "generation", "queue"];

/// What depends on which worker owns a flow, where there are several.
const BY_OWNER: [&str; 2] = ["taken_over", "handed_over"];

/// How far each counter moved, by name: `outside.dropped.land`.
type Moved = BTreeMap<String, i64>;

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
    /// Steps whose events were not looked at yet: the record follows the wire by some milliseconds.
    unheard: VecDeque<Step>,
    /// What the next step sends has no order between its flows, where there are several workers.
    of_many_flows: bool,
}

/// What the record must say of a step.
struct Step {
    what: String,
    place: &'static Location<'static>,
    /// Its witnesses' port.
    port: u16,
    told: Vec<Told>,
}

/// How often a step of several workers is looked at, every 5 ms.
const TRIES: u32 = 4_000;

/// Steps before the record is looked at.
const BATCH: usize = 64;

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
        let mut ground = Self {
            taps,
            gate,
            _rig: rig,
            counts: Moved::new(),
            heard: 0,
            serial: 0,
            about: String::new(),
            unheard: VecDeque::new(),
            of_many_flows: false,
        };
        ground.counts = ground.read();
        ground.step("silence", [&[], &[]], &Moved::new(), Vec::new());
        Some(ground)
    }

    /// What the next steps are about.
    pub(crate) fn about(&mut self, row: &str, ends: &Ends) {
        let family = if ends.src.is_ipv4() { "IPv4" } else { "IPv6" };
        self.about = format!("{row} {family}");
    }

    /// Puts another policy in force.
    pub(crate) fn reload(&mut self, policy: &str) {
        // Of older rules the record knows no names.
        self.hear();
        self.gate.reload(policy).expect("in force");
    }

    /// Puts a policy in force that ends so many flows; nothing else is recorded of it.
    pub(crate) fn reload_ending(&mut self, policy: &str, flows: usize) {
        self.reload(policy);
        let mut ended = 0;
        until("the flows to end", || {
            let page: Events =
                client::await_events(self.gate.socket(), self.heard, 4_096, Duration::from_secs(5))
                    .expect("events");
            assert!(page.events.iter().all(|event| event.kind == "cut"), "{:#?}", page.events);
            self.heard = page.next;
            ended += page.events.len();
            ended == flows
        });
    }

    /// Flows that witnesses have opened.
    pub(crate) fn witnesses(&self) -> u64 {
        2 * u64::from(self.serial)
    }

    fn send(&mut self, side: Side, frames: &[&[u8]]) {
        for frame in frames {
            self.taps[side.index()].send(frame);
        }
    }

    /// Sends a witness in both directions and waits for them. Then this has arrived outside and inside before
    /// them, these counters have moved beside theirs, and this is recorded.
    #[track_caller]
    fn step(&mut self, what: &str, arrive: [&[&[u8]]; 2], moved: &Moved, told: Vec<Told>) {
        self.serial += 1;
        let mut expected = moved.clone();
        let mut arrived = [Vec::new(), Vec::new()];
        let port = 10_000 + self.serial;
        for side in Side::BOTH {
            let [from, to] = WITNESS[usize::from(self.serial) % 2];
            let ends = Ends::of(from, to);
            let ends = if side == Side::Outside { ends } else { ends.reply() };
            let frame = ends.udp(port, 53, b"the witness was here");
            self.send(side, &[&frame]);
            let Some(before) = self.taps[side.other().index()].until(&frame) else {
                let counts: Vec<_> = self.gate.status().ports.into_iter().map(|port| port.bpf).collect();
                panic!("{} · {what}: no witness from {side:?} within 20 s; {counts:?}", self.about);
            };
            arrived[side.other().index()].extend(before);
            add(&mut expected, &received(side, &[&frame]));
            add(&mut expected, &forwarded(side, &[&frame]));
        }
        let mut arrive = arrive.map(|frames| frames.iter().map(|frame| frame.to_vec()).collect::<Vec<_>>());
        let (mut now, mut moved) = self.moved();
        for _ in 0..TRIES {
            for (arrived, tap) in arrived.iter_mut().zip(&mut self.taps) {
                arrived.extend(tap.take());
            }
            if rig::queues() == 1 {
                break;
            }
            // A witness may overtake what goes by another worker, which keeps the order of a flow only.
            if self.of_many_flows {
                arrived.iter_mut().chain(&mut arrive).for_each(|frames| frames.sort());
            }
            if arrived == arrive && moved == expected {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
            (now, moved) = self.moved();
        }
        let what = format!("{} · {what}", self.about);
        assert_eq!(arrived, arrive, "{what}: what arrived outside and inside");
        assert_eq!(moved, expected, "{what}: the counters that moved, the witnesses' among them");
        self.counts = now;
        self.unheard.push_back(Step { what, place: Location::caller(), port, told });
        if self.unheard.len() == BATCH {
            self.hear();
        }
    }

    /// All counters, and how far each has moved since the step before.
    fn moved(&self) -> (Moved, Moved) {
        let now = self.read();
        let mut moved = now.clone();
        for (name, count) in &self.counts {
            *moved.entry(name.clone()).or_default() -= count;
        }
        moved.retain(|_, count| *count != 0);
        (now, moved)
    }

    /// Looks at the record of all steps so far.
    fn hear(&mut self) {
        let Some(last) = self.unheard.back().map(|step| step.port) else { return };
        let mut heard: VecDeque<EventLine> = VecDeque::new();
        let expected = self.unheard.iter().map(|step| step.told.len() + 2).sum::<usize>();
        until("the record", || {
            let page: Events =
                client::await_events(self.gate.socket(), self.heard, 4_096, Duration::from_secs(5))
                    .expect("events");
            assert_eq!((page.missed, page.lost), (0, 0));
            self.heard = page.next;
            heard.extend(page.events);
            if rig::queues() > 1 {
                // What two workers tell at once has no order.
                return heard.len() >= expected;
            }
            heard.back().is_some_and(|event| is_witness(event, last) && event.side == "inside")
        });
        if rig::queues() > 1 {
            return self.heard_of_several(&heard);
        }
        for Step { what, place, port, mut told } in self.unheard.drain(..) {
            while let Some(event) = heard.pop_front() {
                if is_witness(&event, port) {
                    if event.side == "inside" {
                        break;
                    }
                    continue;
                }
                match told.iter().position(|told| told.of(&event) == *told) {
                    Some(at) => drop(told.swap_remove(at)),
                    None => panic!("{what}, at {place}: not {event:#?} but {told:#?}"),
                }
            }
            assert_eq!(told, [], "{what}, at {place}: never recorded");
        }
    }

    /// The same of several workers, each of which keeps the order of its own events only: all that the steps
    /// told, and nothing else, in any order.
    fn heard_of_several(&mut self, heard: &VecDeque<EventLine>) {
        let mut heard: Vec<&EventLine> = heard.iter().collect();
        let mut found = |is: &dyn Fn(&EventLine) -> bool| {
            heard.iter().position(|event| is(event)).map(|at| heard.remove(at)).is_some()
        };
        let mut all = Vec::new();
        for Step { what, place, port, told } in self.unheard.drain(..) {
            for side in Side::BOTH {
                let is = |event: &EventLine| is_witness(event, port) && event.side == side.name();
                assert!(found(&is), "{what}, at {place}: no witness");
            }
            let name = format!("{what}, at {place}");
            all.extend(told.into_iter().map(|told| (told, name.clone())));
        }
        // A frame that shows little may be taken for another one, so it comes last.
        all.sort_by_key(|(told, _)| std::cmp::Reverse(told.shown()));
        for (told, what) in all {
            assert!(found(&|event| told.of(event) == told), "{what}: never recorded {told:#?}");
        }
        assert!(heard.is_empty(), "nobody sent what is recorded as {heard:#?}");
    }

    /// Flows of all workers.
    pub(crate) fn flows(&self) -> u64 {
        self.gate.status().workers.iter().map(|worker| worker.flows).sum()
    }

    /// Every counter by name.
    fn read(&self) -> Moved {
        let status = serde_json::to_value(self.gate.status()).unwrap();
        let mut counts = Moved::new();
        for port in status["ports"].as_array().unwrap() {
            flatten(&format!("{}.bpf", text(&port["side"])), &port["bpf"], &mut counts);
        }
        let workers = status["workers"].as_array().unwrap();
        assert_eq!(workers.len(), rig::queues());
        for worker in workers {
            let (mut worker, mut own) = (worker.clone(), Moved::new());
            for side in worker["sides"].take().as_array().unwrap() {
                flatten(text(&side["side"]), side, &mut own);
            }
            flatten("worker", &worker, &mut own);
            add(&mut counts, &own);
        }
        counts
    }

    /// It arrives as it was sent, and nothing else is counted or recorded.
    #[track_caller]
    pub(crate) fn crosses(&mut self, what: &str, side: Side, frame: &[u8]) {
        self.all_cross(what, side, &[frame]);
    }

    /// It arrives as this.
    #[track_caller]
    pub(crate) fn crosses_as(&mut self, what: &str, side: Side, frame: &[u8], arrives: &[u8]) {
        self.send(side, &[frame]);
        self.step(what, at_far_end(side, &[arrives]), &crossed(side, &[frame]), Vec::new());
    }

    /// They arrive in order.
    #[track_caller]
    pub(crate) fn all_cross(&mut self, what: &str, side: Side, frames: &[&[u8]]) {
        self.send(side, frames);
        self.of_many_flows = true;
        self.step(what, at_far_end(side, frames), &crossed(side, frames), Vec::new());
        self.of_many_flows = false;
    }

    /// It does not arrive, exactly this counter moves, and the gate names the reason for this very packet.
    #[track_caller]
    pub(crate) fn drops(&mut self, what: &str, side: Side, frame: &[u8], reason: Reason) {
        self.send(side, &[frame]);
        let mut moved = received(side, &[frame]);
        add(&mut moved, &dropped(side, reason, 1));
        self.step(what, [&[], &[]], &moved, vec![Told::drop(side, frame, reason)]);
    }

    /// None of them does, and the gate names the rule, too; as few as a burst records.
    #[track_caller]
    pub(crate) fn drops_by(
        &mut self,
        what: &str,
        side: Side,
        frames: &[&[u8]],
        reason: Reason,
        rule: &str,
    ) {
        self.send(side, frames);
        let mut moved = received(side, frames);
        add(&mut moved, &dropped(side, reason, frames.len()));
        let told = frames.iter().map(|frame| Told::drop(side, frame, reason).by(rule)).collect();
        self.step(what, [&[], &[]], &moved, told);
    }

    /// It does not arrive; this goes back instead, and the gate names the reason and the rule.
    #[track_caller]
    pub(crate) fn rejects(
        &mut self,
        what: &str,
        side: Side,
        frame: &[u8],
        (reason, rule): (Reason, Option<&str>),
        back: &[u8],
    ) {
        self.send(side, &[frame]);
        let mut moved = received(side, &[frame]);
        moved.insert(format!("{}.rejected.{}", side.name(), reason.name()), 1);
        moved.insert(format!("{}.replies", side.name()), 1);
        moved.insert(format!("{}.reply_bytes", side.name()), i64::try_from(back.len()).unwrap());
        let told = Told::reject(side, frame, reason);
        let told = if let Some(rule) = rule { told.by(rule) } else { told };
        self.step(what, at_far_end(side.other(), &[back]), &moved, vec![told]);
    }

    /// It arrives, and the gate says what enforcement would have done.
    #[track_caller]
    pub(crate) fn would(&mut self, what: &str, side: Side, frame: &[u8], reason: Reason, mode: &str) {
        self.send(side, &[frame]);
        let mut moved = crossed(side, &[frame]);
        moved.insert(format!("{}.would_drop.{}", side.name(), reason.name()), 1);
        let told = Told::would(side, frame, reason, mode);
        self.step(what, at_far_end(side, &[frame]), &moved, vec![told]);
    }

    /// It arrives, and the rule that let it says `log`.
    #[track_caller]
    pub(crate) fn logged(&mut self, what: &str, side: Side, frame: &[u8], rule: &str) {
        self.send(side, &[frame]);
        let told = Told::allow(side, frame).by(rule);
        self.step(what, at_far_end(side, &[frame]), &crossed(side, &[frame]), vec![told]);
    }

    /// It arrives as the start of a flow whose first packet was not seen.
    #[track_caller]
    pub(crate) fn loose(&mut self, what: &str, side: Side, frame: &[u8]) {
        self.send(side, &[frame]);
        let mut moved = crossed(side, &[frame]);
        moved.insert(format!("{}.loose", side.name()), 1);
        self.step(what, at_far_end(side, &[frame]), &moved, Vec::new());
    }

    /// It does not arrive and is neither counted as dropped nor recorded: it waits.
    #[track_caller]
    pub(crate) fn waits(&mut self, what: &str, side: Side, frame: &[u8]) {
        self.send(side, &[frame]);
        let mut moved = received(side, &[frame]);
        add(&mut moved, &held(side, 1));
        self.step(what, [&[], &[]], &moved, Vec::new());
    }

    /// It arrives, and then what waited for it.
    #[track_caller]
    pub(crate) fn releases(&mut self, what: &str, side: Side, frame: &[u8], waiting: &[u8]) {
        self.send(side, &[frame]);
        let both = [frame, waiting];
        let mut moved = received(side, &[frame]);
        add(&mut moved, &forwarded(side, &both));
        add(&mut moved, &held(side, -1));
        self.step(what, at_far_end(side, &both), &moved, Vec::new());
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
        let told = waiting.iter().map(|(side, frame)| Told::drop(*side, frame, reason)).collect();
        self.step(what, [&[], &[]], &moved, told);
    }

    /// Rows of a table: what it is, the frame, and the reason, or none if it crosses.
    #[track_caller]
    pub(crate) fn table(&mut self, side: Side, rows: &[(&str, Vec<u8>, Option<Reason>)]) {
        for (what, frame, reason) in rows {
            match reason {
                Some(reason) => self.drops(what, side, frame, *reason),
                None => self.crosses(what, side, frame),
            }
        }
    }
}

/// The record of the last steps.
impl Drop for Ground {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            if rig::queues() > 1 {
                // What comes late comes before this.
                self.step("the end", [&[], &[]], &Moved::new(), Vec::new());
                let status = self.gate.status();
                let handed: u64 = status.workers.iter().map(|worker| worker.equation.handed_over).sum();
                assert!(handed > 0, "one of a witness's two queues is not its owner's");
            }
            self.hear();
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
                let field_name = field.as_str();
                let gauge = NO_COUNTERS.contains(&field_name)
                    || field_name.starts_with("turn_")
                    || (rig::queues() > 1 && BY_OWNER.contains(&field_name));
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
fn add(to: &mut Moved, more: &Moved) {
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
fn received(side: Side, frames: &[&[u8]]) -> Moved {
    let mut moved = load(side, "rx", frames);
    for what in ["seen", "redirected"] {
        moved.insert(format!("{}.bpf.{what}", side.name()), i64::try_from(frames.len()).unwrap());
    }
    moved
}

/// What counts frames that the gate let go.
fn forwarded(side: Side, frames: &[&[u8]]) -> Moved {
    let mut moved = load(side, "forwarded", frames);
    for by in frames.iter().filter_map(|frame| exemption(frame)) {
        *moved.entry(format!("{}.exempt.{by}", side.name())).or_default() += 1;
    }
    moved
}

/// What a frame that opens a flow or has none crosses by, of what F1.6f and F1.6g would drop to the letter.
fn exemption(frame: &[u8]) -> Option<&'static str> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let ports = match &packet.transport {
        Some(TransportSlice::Udp(udp)) => Some((udp.source_port(), udp.destination_port())),
        _ => None,
    };
    match packet.net? {
        NetSlice::Ipv4(v4) => {
            let letter =
                v4.header().source_addr().is_unspecified() || v4.header().source_addr().is_link_local();
            letter.then_some(if ports.is_some_and(|(_, to)| to == 67) { "dhcp" } else { "link_local" })
        }
        NetSlice::Ipv6(v6) => {
            let header = v6.header();
            let ends = [header.source_addr(), header.destination_addr()];
            let global = |address: &Ipv6Addr| address.segments()[0] >> 13 == 1 || address.is_multicast();
            if ends.iter().all(global) {
                return None;
            }
            let icmp = match &packet.transport {
                Some(TransportSlice::Icmpv6(icmp)) => icmp.type_u8(),
                _ => 0,
            };
            Some(match (icmp, header.hop_limit(), ports) {
                (135, 255, _) if ends[0].is_unspecified() => "dad",
                (133..=136, 255, _) => "ndp",
                (130..=132 | 143, 1, _) => "mld",
                (_, _, Some((546 | 547, 546 | 547))) => "dhcp",
                _ if ends.iter().any(Ipv6Addr::is_unicast_link_local) => "link_local",
                _ => "unique_local",
            })
        }
        NetSlice::Arp(_) => None,
    }
}

/// What counts frames that the gate took and let go.
fn crossed(side: Side, frames: &[&[u8]]) -> Moved {
    let mut moved = received(side, frames);
    add(&mut moved, &forwarded(side, frames));
    moved
}

/// What counts frames that wait for another now.
fn held(side: Side, count: i64) -> Moved {
    [(format!("{}.held", side.name()), count)].into()
}

/// What counts frames that the gate dropped.
fn dropped(side: Side, reason: Reason, count: usize) -> Moved {
    [(format!("{}.dropped.{}", side.name(), reason.name()), i64::try_from(count).unwrap())].into()
}

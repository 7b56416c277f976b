//! Several workers: whatever queue a packet takes, the owner of its flow judges it, and every frame comes home.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use portcullis::flow::Owner;
use portcullis::flow::fragments::{FragmentLimits, Piece};
use portcullis::io::clock::boot_nanos;
use portcullis::io::memory::Drain;
use portcullis::io::{Pools, QueuePair};
use portcullis::pipeline::{Reason, Snapshot};
use portcullis::wire::samples::{Ends, every_kind};
use portcullis::wire::{Side, parse};
use portcullis::worker::{Lanes, WorkerFace};
use proptest::prelude::*;

use crate::group::{GROUPS, to as to_group};
use crate::memory::{Count, POLICY, Rig, Shape};
use crate::says::{ACK, SECOND, SYN, policy, relaxed, to_jump, to_vault};

/// Turns of all after which nothing is on its way: passed on, judged, passed on again, judged, two frames regained.
const ROUNDS: u32 = 6;

/// A gate of several workers, each with its own queue.
pub(crate) struct Several {
    pub(crate) rigs: Vec<Rig>,
    pub(crate) owner: Owner,
}

impl Several {
    fn new(workers: u32) -> Self {
        Self::shaped(workers, &Shape::default(), 64)
    }

    pub(crate) fn shaped(workers: u32, shape: &Shape, lent: u32) -> Self {
        Self::under(POLICY, workers, shape, lent)
    }

    pub(crate) fn under(text: &str, workers: u32, shape: &Shape, lent: u32) -> Self {
        let owner = Owner::new(workers, (3, 4));
        let shape = Shape { owner: owner.clone(), ..shape.clone() };
        Self { rigs: Rig::among(Arc::new(policy(text, 1)), &shape, workers, lent), owner }
    }

    /// The worker that owns the flow of a whole packet.
    pub(crate) fn owner_of(&self, frame: &[u8]) -> usize {
        self.owner.of(&parse(frame).unwrap().key().unwrap().0) as usize
    }

    /// Turns of all, until nothing is on its way from one to another.
    pub(crate) fn settle(&mut self) {
        for _ in 0..ROUNDS {
            self.rigs.iter_mut().for_each(Rig::turn_now);
        }
        let mut passed = [0, 0];
        for rig in &mut self.rigs {
            assert_eq!(rig.worker.queues().census().handed, 0, "every frame lent came back");
            for side in rig.face.counters.snapshot().sides {
                passed[0] += side.handed_over;
                passed[1] += side.taken_over;
            }
        }
        assert_eq!(passed[0], passed[1], "what one hands over another takes over");
    }

    /// What left by a port, and whose it was.
    pub(crate) fn left(&mut self, side: Side) -> Vec<(usize, Vec<u8>)> {
        let mut left = Vec::new();
        for (worker, rig) in self.rigs.iter_mut().enumerate() {
            left.extend(std::iter::from_fn(|| rig.take(side)).map(|frame| (worker, frame)));
        }
        left
    }

    /// Sends a frame in by a queue, and gives the worker by which it left, if it did.
    pub(crate) fn crosses(&mut self, queue: usize, side: Side, frame: &[u8]) -> Option<usize> {
        assert!(self.rigs[queue].offer(side, frame));
        self.settle();
        assert_eq!(self.left(side), [], "nothing goes back");
        let mut left = self.left(side.other());
        assert!(left.len() <= 1, "nothing goes twice");
        left.pop().map(|(worker, left)| {
            assert_eq!(left, frame, "no byte of a forwarded frame changes");
            worker
        })
    }

    /// The sum of a counter over workers and sides.
    pub(crate) fn sum(&self, count: impl Fn(&portcullis::pipeline::SideSnapshot) -> u64) -> u64 {
        let all = self.rigs.iter().map(|rig| rig.face.counters.snapshot());
        all.map(|Snapshot { sides, .. }| sides.iter().map(&count).sum::<u64>()).sum()
    }

    pub(crate) fn dropped(&self, reason: Reason) -> u64 {
        self.sum(|side| side.dropped[reason.index()])
    }

    pub(crate) fn all_dropped(&self) -> u64 {
        self.sum(|side| side.dropped.iter().sum())
    }
}

#[test]
fn both_directions_of_a_flow_meet_at_its_owner_whichever_queues_they_take() {
    for workers in [2, 4] {
        let mut gate = Several::new(workers);
        let queues = workers as usize;
        let (mut packets, mut away) = (0, 0);
        for port in 1..=64_u16 {
            let (there, back) = (usize::from(port) % queues, usize::from(port / 7) % queues);
            let link = to_vault(usize::from(port % 2));
            let steps = [
                (there, Side::Outside, link.tcp(port, 443, SYN, 1, 0, &[])),
                (back, Side::Inside, link.reply().tcp(443, port, SYN | ACK, 9, 2, &[])),
                (there, Side::Outside, link.tcp(port, 443, ACK, 2, 10, &[])),
                (back, Side::Inside, link.reply().tcp(443, port, ACK, 10, 2, b"served")),
            ];
            for (queue, side, frame) in steps {
                let owner = gate.owner_of(&frame);
                assert_eq!(gate.crosses(queue, side, &frame), Some(owner));
                packets += 1;
                away += u64::from(queue != owner);
            }
        }
        assert_eq!((gate.sum(|side| side.forwarded_packets), gate.all_dropped()), (packets, 0));
        assert_eq!(
            gate.sum(|side| side.handed_over),
            away,
            "established ones of an owner's own queue stay"
        );
        for rig in &gate.rigs {
            let sides = rig.face.counters.snapshot().sides;
            assert!(sides.iter().all(|side| side.handed_over > 0 && side.taken_over > 0), "{sides:?}");
        }
    }
}

#[test]
fn what_is_denied_is_denied_by_the_owner_and_counted_once() {
    let mut gate = Several::new(2);
    for port in 1..=20 {
        let frame = to_vault(0).tcp(port, 22, SYN, 1, 0, &[]);
        let owner = gate.owner_of(&frame);
        let before = gate.rigs[owner].face.counters.snapshot().sides[0].dropped[Reason::NoRule.index()];
        assert_eq!(gate.crosses(1 - owner, Side::Outside, &frame), None);
        let after = gate.rigs[owner].face.counters.snapshot().sides[0].dropped[Reason::NoRule.index()];
        assert_eq!(after, before + 1);
    }
    assert_eq!((gate.all_dropped(), gate.dropped(Reason::NoRule)), (20, 20));
}

/// The first 24 bytes of a question from this port, of a datagram of 40 bytes, and its last 16.
pub(crate) fn pieces(link: &Ends, id: u32, sport: u16, dport: u16) -> [Vec<u8>; 2] {
    let ([s0, s1], [d0, d1]) = (sport.to_be_bytes(), dport.to_be_bytes());
    let mut bytes = vec![s0, s1, d0, d1, 0, 40, 0, 0];
    bytes.resize(24, 7);
    [link.fragment(17, id, 0, true, &bytes), link.fragment(17, id, 24, false, &[8; 16])]
}

#[test]
fn fragments_in_any_order_on_any_queue_reach_the_owner_of_their_flow() {
    for workers in [2, 4] {
        let mut gate = Several::new(workers);
        let queues = workers as usize;
        let mut twice = 0;
        for n in 0..48_u16 {
            let link = to_vault(usize::from(n % 2));
            let sport = 5_000 + n;
            let owner = gate.owner_of(&link.udp(sport, 53, b"whole"));
            let [first, last] = pieces(&link, u32::from(n) + 1, sport, 53);
            let datagram = Piece::of(&parse(&first).unwrap(), Side::Outside).unwrap().datagram;
            let memory = gate.owner.of(&datagram.owner_key()) as usize;
            let (one, other) = (usize::from(n) % queues, usize::from(n / 3) % queues);
            let before = gate.sum(|side| side.handed_over);
            let hops = |queue: usize| u64::from(queue != memory) + u64::from(memory != owner);
            if n % 3 == 0 {
                assert_eq!(gate.crosses(one, Side::Outside, &last), None, "it waits");
                assert_eq!(gate.sum(|side| side.held), 1);
                assert!(gate.rigs[other].offer(Side::Outside, &first));
                gate.settle();
                assert_eq!(gate.left(Side::Inside), [(owner, first), (owner, last)], "{n}");
            } else {
                assert_eq!(gate.crosses(one, Side::Outside, &first), Some(owner));
                assert_eq!(gate.crosses(other, Side::Outside, &last), Some(owner));
            }
            let passed = gate.sum(|side| side.handed_over) - before;
            assert_eq!(passed, hops(one) + hops(other), "at most twice each");
            twice += u64::from(hops(one) == 2) + u64::from(hops(other) == 2);
        }
        assert!(workers == 2 || twice > 10, "{twice} were passed on twice");
        assert_eq!((gate.all_dropped(), gate.sum(|side| side.held)), (0, 0));
    }
}

#[test]
fn an_icmp_error_reaches_the_owner_of_the_flow_it_quotes() {
    let mut gate = Several::new(4);
    let (mut crossed, mut refused) = (0, 0);
    for port in 0..24_u16 {
        let link = to_vault(0);
        let query = link.udp(5_000 + port, 53, b"question");
        let owner = gate.owner_of(&query);
        let error = link.reply().icmp_error(3, 3, [0; 4], &query);
        for queue in 0..4 {
            assert_eq!(gate.crosses(queue, Side::Inside, &error), None, "nothing is quoted yet");
            refused += 1;
            assert_eq!(
                gate.rigs[owner].face.counters.snapshot().sides[1].dropped[Reason::IcmpNoFlow.index()] % 4,
                (queue as u64 + 1) % 4,
                "its owner says so"
            );
        }
        assert_eq!(gate.crosses(usize::from(port) % 4, Side::Outside, &query), Some(owner));
        for queue in 0..4 {
            assert_eq!(gate.crosses(queue, Side::Inside, &error), Some(owner));
            crossed += 1;
        }
    }
    assert_eq!((crossed, gate.dropped(Reason::IcmpNoFlow)), (96, refused));
    assert_eq!(gate.all_dropped(), refused);
}

/// Two workers that each take the other for the owner, which a gate never has: a packet is not passed to and fro.
#[test]
fn nothing_is_passed_on_more_than_twice_even_where_workers_disagree() {
    // Datagrams of these two hosts are the second worker's by both: it knows the ports of a first piece.
    let [first, _] = pieces(&to_vault(0), 1, 1_000, 53);
    let memory = Piece::of(&parse(&first).unwrap(), Side::Outside).unwrap().datagram.owner_key();
    let all = (0..).map(|secret| Owner::new(2, (secret, 4))).filter(|owner| owner.of(&memory) == 1);
    let owners: Vec<_> = all.take(2).collect();
    let each = owners.clone().into_iter().zip(0..).map(|(owner, me)| (owner, WorkerFace::new(me, None)));
    let each: Vec<_> = each.collect();
    let policy = Arc::new(policy(POLICY, 1));
    let rigs = Rig::among_each(policy, &Shape::default(), 64, each.into_iter());
    let mut gate = Several { rigs, owner: owners[0].clone() };
    let mut tried = 0;
    for port in 1_000..1_100_u16 {
        let frame = to_vault(0).udp(port, 53, b"q");
        let key = parse(&frame).unwrap().key().unwrap().0;
        if [0, 1].map(|worker| owners[worker].of(&key)) != [1, 0] {
            continue;
        }
        let [first, _] = pieces(&to_vault(0), u32::from(port), port, 53);
        for packet in [frame, first] {
            assert_eq!(gate.crosses(0, Side::Outside, &packet), None);
        }
        tried += 1;
    }
    assert!(tried > 10, "{tried}");
    assert_eq!(gate.sum(|side| side.handed_over), 3 * tried, "once, and a fragment twice");
    assert_eq!((gate.dropped(Reason::HandoverFull), gate.all_dropped()), (2 * tried, 2 * tried));
}

/// Packets of a flow that a worker owns, from the first port on: this many flows.
pub(crate) fn owned(gate: &Several, worker: usize, first: u16, many: usize) -> Vec<Vec<u8>> {
    let all = (first..first + 500).map(|port| to_vault(0).udp(port, 53, &port.to_be_bytes()));
    all.filter(|frame| gate.owner_of(frame) == worker).take(many).collect()
}

#[test]
fn what_a_neighbour_takes_no_more_of_is_dropped_and_counted() {
    let mut gate = Several::shaped(2, &Shape::default(), 2);
    let frames = owned(&gate, 1, 1_000, 5);
    for frame in &frames {
        assert!(gate.rigs[0].offer(Side::Outside, frame));
    }
    gate.rigs[0].turn();
    let side = gate.rigs[0].face.counters.snapshot().sides[0].clone();
    assert_eq!((side.handed_over, side.dropped[Reason::HandoverFull.index()]), (2, 3));
    assert_eq!(gate.rigs[0].worker.queues().census().handed, 2);
    gate.settle();
    assert_eq!(gate.left(Side::Inside), [(1, frames[0].clone()), (1, frames[1].clone())]);
    assert_eq!((gate.all_dropped(), gate.dropped(Reason::HandoverFull)), (3, 3));
    // Each side has its own: what crosses the other way is not held up.
    for frame in &frames[..2] {
        assert!(gate.rigs[0].offer(Side::Outside, frame));
        let answer = to_vault(0).reply().udp(53, u16::from_be_bytes([frame[42], frame[43]]), b"a");
        assert!(gate.rigs[0].offer(Side::Inside, &answer));
    }
    gate.settle();
    assert_eq!((gate.left(Side::Inside).len(), gate.left(Side::Outside).len()), (2, 2));
    assert_eq!(gate.all_dropped(), 3);
}

#[test]
fn without_a_free_frame_nothing_is_taken_over_until_there_is_one() {
    // Four circulate; two others could lend two each... of which there is one: four are kept.
    let shape = Shape { pool: 4, tx_ring: 64, ..Shape::default() };
    let mut gate = Several::shaped(2, &shape, 2);
    for frame in owned(&gate, 1, 1_000, 4) {
        assert!(gate.rigs[1].offer(Side::Outside, &frame));
    }
    gate.rigs[1].turn();
    assert!(!gate.rigs[1].offer(Side::Outside, b"no frame circulates any more"));
    // They are not sent yet: what is kept is exchanged, and then there is none.
    let passed = owned(&gate, 1, 2_000, 6);
    for two in passed.chunks(2) {
        for frame in two {
            assert!(gate.rigs[0].offer(Side::Outside, frame));
        }
        gate.rigs[0].turn();
        gate.rigs[1].turn();
    }
    let took = |gate: &Several| gate.rigs[1].face.counters.snapshot().sides[0].taken_over;
    assert_eq!((took(&gate), gate.all_dropped()), (4, 0));
    assert_eq!(gate.rigs[0].worker.queues().census().handed, 2, "two wait");
    assert_eq!(gate.rigs[1].worker.queues().census().free, 8, "those of the other side");
    gate.rigs[1].turn();
    assert_eq!(took(&gate), 4);
    // One frame is sent and comes home.
    assert!(gate.rigs[1].take(Side::Inside).is_some());
    gate.rigs[1].turn();
    assert_eq!(took(&gate), 5);
    assert_eq!(gate.left(Side::Inside).len(), 8);
    gate.settle();
    assert_eq!(gate.left(Side::Inside), [(1, passed[5].clone())]);
    assert_eq!(gate.all_dropped(), 0);
}

#[test]
fn a_direction_keeps_its_order_through_another_worker() {
    let mut gate = Several::shaped(2, &Shape { pool: 64, ..Shape::default() }, 64);
    let port = (1_000..2_000).find(|port| gate.owner_of(&to_vault(0).udp(*port, 53, b"")) == 1).unwrap();
    let frame = |n: u16| to_vault(0).udp(port, 53, &n.to_be_bytes());
    let (mut sent, mut left) = (0, Vec::new());
    for step in 0..60_u16 {
        for _ in 0..step % 17 {
            assert!(gate.rigs[0].offer(Side::Outside, &frame(sent)));
            sent += 1;
        }
        // In turn, but not always both.
        if step % 3 != 1 {
            gate.rigs[0].turn();
        }
        if step % 5 != 2 {
            gate.rigs[1].turn();
        }
        left.extend(gate.left(Side::Inside));
        gate.rigs[0].turn();
    }
    gate.settle();
    left.extend(gate.left(Side::Inside));
    let all: Vec<_> = (0..sent).map(|n| (1, frame(n))).collect();
    assert!(sent > 400 && left == all, "{} of {sent} left, in another order", left.len());
}

/// A group has no flow that an owner could have.
#[test]
fn what_is_for_a_group_is_judged_where_it_arrives() {
    let mut gate = Several::under(&format!("{POLICY}{GROUPS}"), 4, &Shape::default(), 64);
    let mut away = 0;
    for (address, family) in [("239.1.1.1", 0), ("ff0e::101", 1), ("10.20.255.255", 0)] {
        for sport in 1_000..1_008 {
            let frame = to_group(address, family).udp(sport, 5_000, b"news");
            away += usize::from(gate.owner_of(&frame) != 1);
            assert_eq!(gate.crosses(1, Side::Outside, &frame), Some(1), "{address} from {sport}");
        }
    }
    assert!(away > 8, "{away} have keys that others would own");
    assert_eq!(gate.sum(|side| side.handed_over), 0);
}

#[test]
fn a_single_worker_has_no_rings_to_others() {
    let lanes = Lanes::among(&Pools::new(1, 256)).unwrap();
    assert!(matches!(lanes.as_slice(), [None]));
}

/// Every worker in a thread of its own: packets of flows that are known, by any queue; then all stop.
#[test]
fn in_threads_every_packet_ends_once_and_every_frame_comes_home() {
    for workers in [2, 4] {
        let shape = Shape { pool: 64, tx_ring: 256, ..Shape::default() };
        let mut gate = Several::shaped(workers, &shape, 64);
        let ports: Vec<u16> = (1_000..1_040).collect();
        for port in &ports {
            assert!(gate.crosses(0, Side::Outside, &to_vault(0).udp(*port, 53, b"q")).is_some());
            assert!(gate.crosses(0, Side::Inside, &to_vault(0).reply().udp(53, *port, b"a")).is_some());
        }
        let before: Vec<_> = gate.rigs.iter().map(|rig| rig.face.counters.snapshot()).collect();
        let faces: Vec<_> = gate.rigs.iter().map(|rig| Arc::clone(&rig.face)).collect();
        let done = AtomicU32::new(0);
        let ended: Vec<_> = thread::scope(|scope| {
            let threads = gate.rigs.drain(..).enumerate().map(|(me, mut rig)| {
                let (ports, done) = (&ports, &done);
                scope.spawn(move || {
                    rig.worker.queues().set_drain(Drain::Discard);
                    let total = rig.worker.queues().census().total();
                    let mut offered = 0_u64;
                    for round in 0..2_000_usize {
                        for n in 0..(round + me) % 9 {
                            let port = ports[(round * 7 + n * 3 + me * 11) % ports.len()];
                            let inside = (round + n) % 3 == 0;
                            let queues = rig.worker.queues();
                            offered += u64::from(if inside {
                                queues.inject(Side::Inside, &to_vault(0).reply().udp(53, port, b"a"))
                            } else {
                                queues.inject(Side::Outside, &to_vault(0).udp(port, 53, b"q"))
                            });
                        }
                        rig.later(1_000);
                        let time = rig.time;
                        rig.worker.turn(&time);
                        let census = rig.worker.queues().census();
                        assert_eq!(census.total(), total);
                        if census.handed > 16 {
                            // The others may not have a processor.
                            thread::yield_now();
                        }
                    }
                    // Until nobody has lent anything: each frame goes one way only here.
                    let (time, mut counted, begun) = (rig.time, false, boot_nanos());
                    while done.load(Ordering::Acquire) < workers {
                        assert!(boot_nanos() - begun < 20 * SECOND, "a frame that was lent stays away");
                        rig.worker.turn(&time);
                        if !counted && rig.worker.queues().census().handed == 0 {
                            counted = true;
                            done.fetch_add(1, Ordering::AcqRel);
                        }
                    }
                    rig.worker.orders().stop.store(true, Ordering::Relaxed);
                    let mut pair = rig.worker.run();
                    (offered, total, pair.census())
                })
            });
            let threads: Vec<_> = threads.collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (mut offered, mut ends) = (0, BTreeMap::new());
        for ((sent, total, census), (face, before)) in ended.into_iter().zip(faces.iter().zip(before)) {
            assert_eq!((census.free, census.total()), (total, total), "{census:?}");
            offered += sent;
            for (side, old) in face.counters.snapshot().sides.iter().zip(before.sides) {
                assert!(side.balances(), "{side:?}");
                *ends.entry("rx").or_insert(0) += side.rx_packets - old.rx_packets;
                *ends.entry("forwarded").or_insert(0) += side.forwarded_packets - old.forwarded_packets;
                *ends.entry("handed").or_insert(0) += side.handed_over - old.handed_over;
                *ends.entry("taken").or_insert(0) += side.taken_over - old.taken_over;
                *ends.entry("full").or_insert(0) += side.dropped[Reason::HandoverFull.index()];
                *ends.entry("dropped").or_insert(0) += side.dropped.iter().sum::<u64>();
            }
        }
        assert_eq!((ends["rx"], ends["handed"]), (offered, ends["taken"]), "{ends:?}");
        assert_eq!(ends["forwarded"] + ends["full"], offered, "{ends:?}");
        assert_eq!(ends["dropped"], ends["full"], "{ends:?}");
        assert!(ends["handed"] > 500 && offered > 5_000, "{ends:?}");
    }
}

/// What was passed on before a stop is judged and sent, and who passed it on leaves no earlier.
#[test]
fn a_stop_leaves_nothing_between_workers() {
    let mut gate = Several::new(3);
    let frames = owned(&gate, 1, 1_000, 5);
    for (n, frame) in frames.iter().enumerate() {
        assert!(gate.rigs[n % 2 * 2].offer(Side::Outside, frame));
    }
    for rig in [0, 2] {
        gate.rigs[rig].turn();
    }
    let faces: Vec<_> = gate.rigs.iter().map(|rig| Arc::clone(&rig.face)).collect();
    gate.rigs[0].worker.orders().stop.store(true, Ordering::Relaxed);
    let begun = boot_nanos();
    let left: Vec<_> = thread::scope(|scope| {
        let threads = gate.rigs.drain(..).map(|mut rig| {
            scope.spawn(move || {
                rig.worker.queues().set_drain(Drain::Discard);
                rig.worker.run().census()
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for census in left {
        assert_eq!(census.free, census.total(), "{census:?}");
    }
    // Before what bounds a farewell.
    assert!(boot_nanos() - begun < SECOND / 2, "nobody waited in vain");
    let [_, owner, _] = faces.as_slice() else { panic!("three workers") };
    let side = owner.counters.snapshot().sides[0].clone();
    assert_eq!((side.taken_over, side.forwarded_packets), (5, 5));
}

/// Who hears of a stop first waits for those that have not heard of it yet: what they still pass on to it is judged and
/// sent.
#[test]
fn who_is_told_to_stop_first_takes_over_what_the_last_one_passes_on() {
    let mut gate = Several::new(2);
    let frames = owned(&gate, 0, 1_000, 5);
    for frame in &frames {
        assert!(gate.rigs[1].offer(Side::Outside, frame));
    }
    let (mut first, mut last) = (gate.rigs.remove(0), gate.rigs.remove(0));
    let face = Arc::clone(&first.face);
    first.worker.orders().stop.store(true, Ordering::Relaxed);
    thread::scope(|scope| {
        let first = scope.spawn(move || {
            first.worker.queues().set_drain(Drain::Discard);
            first.worker.run().census()
        });
        // As long as the other may sleep at most.
        thread::sleep(Duration::from_millis(100));
        assert!(!first.is_finished(), "it left while another may still pass on to it");
        last.worker.queues().set_drain(Drain::Discard);
        let last = last.worker.run().census();
        for census in [first.join().unwrap(), last] {
            assert_eq!(census.free, census.total(), "{census:?}");
        }
    });
    let side = face.counters.snapshot().sides[0].clone();
    assert_eq!((side.taken_over, side.forwarded_packets), (5, 5));
}

/// A worker that sleeps with nothing to receive is woken by what another passes on: nothing else ends its sleep of a
/// tenth of a second. More often than not it takes it in half of that, whatever else the machine does.
#[test]
fn a_worker_that_sleeps_is_woken_by_what_is_passed_on_to_it() {
    const TIMES: usize = 100;
    let mut gate = Several::new(2);
    let frames = owned(&gate, 1, 1_000, TIMES);
    let (mut awake, sleeper) = (gate.rigs.remove(0), gate.rigs.remove(0));
    let face = Arc::clone(&sleeper.face);
    let took = || face.counters.snapshot().sides[0].taken_over;
    let stop = Arc::clone(&awake.worker.orders().stop);
    thread::scope(|scope| {
        // Also where this fails.
        let _stopped = Stopped(stop);
        let thread = scope.spawn(move || {
            let mut sleeper = sleeper;
            sleeper.worker.queues().set_drain(Drain::Discard);
            sleeper.worker.run()
        });
        let mut waits = Vec::with_capacity(TIMES);
        for (n, frame) in (0..).zip(&frames) {
            // It spins for some turns before it sleeps.
            thread::sleep(Duration::from_millis(2));
            assert!(awake.offer(Side::Outside, frame));
            let given = boot_nanos();
            awake.turn();
            while took() == n {
                assert!(boot_nanos() - given < 20 * SECOND, "packet {n} stays");
                thread::yield_now();
            }
            waits.push(boot_nanos() - given);
        }
        waits.sort_unstable();
        assert!(waits[TIMES / 2] < SECOND / 20, "it sleeps on: {waits:?}");
        awake.worker.orders().stop.store(true, Ordering::Relaxed);
        let mut pair = awake.worker.run();
        let mut other = thread.join().unwrap();
        assert_eq!((pair.census().handed, other.census().held), (0, 0));
    });
    assert_eq!(took(), TIMES as u64);
}

/// Has workers stop, at its end.
struct Stopped(Arc<AtomicBool>);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Frames of all kinds, those of few connections among them.
fn traffic() -> Vec<Vec<u8>> {
    let mut frames: Vec<Vec<u8>> = every_kind().into_iter().map(|(_, frame)| frame).collect();
    for link in [to_vault(0), to_vault(1), to_jump(0)] {
        for sport in [5_000, 5_001, 5_002] {
            let back = link.reply();
            for flags in [SYN, SYN | ACK, ACK] {
                frames.push(link.tcp(sport, 443, flags, 1, 1, b""));
                frames.push(back.tcp(443, sport, flags, 1, 2, b""));
            }
            let query = link.udp(sport, 53, b"q");
            frames.push(back.icmp_error(if link.src.is_ipv4() { 3 } else { 1 }, 4, [0; 4], &query));
            frames.extend([query, back.udp(53, sport, b"a"), link.echo(sport, 1, b"p")]);
            frames.push(back.echo_reply(sport, 1, b"p"));
            for id in [7, 8] {
                frames.extend(pieces(&link, id, sport, 53));
            }
            frames.push(link.tcp(sport, 22, SYN, 1, 0, b""));
        }
    }
    frames
}

/// All that was counted, by name, but for what is between workers.
fn counted<'a>(rigs: impl Iterator<Item = &'a mut Rig>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for rig in rigs {
        for (side, moved) in Side::BOTH.into_iter().zip(rig.moved_by_side()) {
            for (count, n) in moved {
                if !matches!(count, Count::TakenOver | Count::HandedOver | Count::EventLost) {
                    *sums.entry(format!("{side:?} {count:?}")).or_insert(0) += n;
                }
            }
        }
        while rig.event().is_some() {}
    }
    sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever comes by whatever queue, several workers end it as a single one does.
    #[test]
    fn several_workers_end_every_packet_as_a_single_one_does(
        workers in prop::sample::select(vec![2_u32, 3, 4]),
        strict in any::<bool>(),
        packets in prop::collection::vec(
            (any::<bool>(), any::<prop::sample::Index>(), 0..4_usize, 0..40_u64),
            1..80,
        ),
    ) {
        let all = traffic();
        let text = if strict { POLICY.to_owned() } else { relaxed() };
        // So few datagrams that an idle turn looks at all of them: what waits in vain ends at once.
        let fragments = FragmentLimits { datagrams: 64, ..FragmentLimits::DEFAULT };
        let shape = Shape { fragments: Some(fragments), ..Shape::default() };
        let mut single = Rig::shaped(&text, shape.clone());
        let mut several = Several::under(&text, workers, &shape, 64);
        for (inside, pick, queue, seconds) in packets {
            let side = if inside { Side::Inside } else { Side::Outside };
            let frame = pick.get(&all);
            let seconds = if seconds < 10 { seconds * SECOND } else { 0 };
            single.later(seconds);
            several.rigs.iter_mut().for_each(|rig| rig.later(seconds));
            single.turn_now();
            several.settle();
            prop_assert!(single.offer(side, frame));
            prop_assert!(several.rigs[queue % workers as usize].offer(side, frame));
            single.turn_now();
            several.settle();
            for out in Side::BOTH {
                let mut one: Vec<_> = std::iter::from_fn(|| single.take(out)).collect();
                let mut others: Vec<_> = several.left(out).into_iter().map(|(_, frame)| frame).collect();
                one.sort();
                others.sort();
                prop_assert_eq!(one, others);
            }
            let one = counted(std::iter::once(&mut single));
            prop_assert_eq!(one, counted(several.rigs.iter_mut()), "{:?}", parse(frame));
        }
    }
}

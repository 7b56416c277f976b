//! The table beside a plain map, and entries one by one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::limits::{HalfOpen, LimitRefusal, ShareLimits};
use super::tcp::{ESTABLISHED, Step, Track, Window};
use super::*;
use crate::policy::{Denial, Mode, RuleNumber};
use crate::wire::{Key, Side, Tcp, TcpFlags, Vlans};

/// A second is 59.6 ticks.
const SECOND: u32 = 59;
/// 30 s are 1788.1 ticks.
const OPENING: u32 = 1_788;

/// Every third key is IPv6.
fn key(n: u16, protocol: u8) -> Key {
    let (a, b): (IpAddr, IpAddr) = if n % 3 == 2 {
        ("fd00::1".parse().unwrap(), "fd00:1::2".parse().unwrap())
    } else {
        ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap())
    };
    Key::new(a, b, n, 443, protocol, Vlans::UNTAGGED).0
}

fn opening() -> Opening {
    let judgement = Judgement {
        denial: None,
        mode: Mode::Enforce,
        rule: RuleNumber::NONE,
        generation: 1,
        judge_at: u32::MAX >> 1,
    };
    Opening { judgement, by_a: true, side: Side::Outside, mac_true: true, first: First::Seen, track: None }
}

/// A segment that leaves a connection in these states.
fn segment(states: u8) -> Progress {
    let confirmed = states != SYN_SENT;
    Progress::Tcp(Step::Pass, Track { states, confirmed, ..Track::default() })
}

const SYN_SENT: u8 = 0x01;
const HALF_CLOSED: u8 = 0x34;
const CLOSED: u8 = 0x55;

/// No limits but its size.
fn table_of(flows: u32) -> FlowTable {
    FlowTable::new(Bounds::of(flows).without_limits(), Arc::new(HalfOpen::new(64, (1, 2))))
}

const fn at(tick: u32) -> Now {
    Now { tick, generation: 1 }
}

#[derive(Clone, Debug)]
enum Move {
    Insert(u16),
    Find(u16),
    Advance(u16, bool, u8),
    Remove(u16),
    Pass(u32),
    Sweep(usize),
}

fn step() -> impl Strategy<Value = Move> {
    let states = prop::sample::select(vec![SYN_SENT, ESTABLISHED, HALF_CLOSED, CLOSED]);
    prop_oneof![
        4 => (0..60u16).prop_map(Move::Insert),
        4 => (0..60u16).prop_map(Move::Find),
        3 => ((0..60u16), any::<bool>(), states).prop_map(|(n, a, s)| Move::Advance(n, a, s)),
        2 => (0..60u16).prop_map(Move::Remove),
        1 => (0..2_400u32).prop_map(Move::Pass),
        1 => (0..40usize).prop_map(Move::Sweep),
    ]
}

/// What a plain map keeps of a flow.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Twin {
    started: u32,
    seen: u32,
    phase: Phase,
    packets: [u64; 2],
}

impl Twin {
    fn is_over(&self, tick: u32) -> bool {
        let limit = match self.phase {
            Phase::Opening => 30,
            Phase::Established => 7_440,
            Phase::HalfClosed => 240,
            Phase::Closed => 60,
            Phase::Closing | Phase::Doubted => unreachable!(),
        };
        u64::from(tick - self.seen) >= (limit * 1_000_000_000) >> 24
    }

    fn advance(&mut self, from_a: bool, states: u8, tick: u32) {
        self.packets[usize::from(!from_a)] += 1;
        self.seen = tick;
        self.phase = match states {
            SYN_SENT => Phase::Opening,
            ESTABLISHED => Phase::Established,
            HALF_CLOSED => Phase::HalfClosed,
            _ => Phase::Closed,
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The table is a bounded map with time limits that gives up a flow nobody has confirmed when it is
    /// full: a plain map says the same after any steps, and the index holds each flow once, in reach.
    #[test]
    fn agrees_with_a_plain_map(start in any::<u32>(), capacity in 1..40u32, steps in prop::collection::vec(step(), 0..300)) {
        let mut table = table_of(capacity);
        let mut model: HashMap<u16, Twin> = HashMap::new();
        let mut passed = 0;
        for step in steps {
            let tick = start.wrapping_add(passed);
            match step {
                Move::Pass(ticks) => passed += ticks,
                Move::Sweep(slots) => table.sweep(tick, slots),
                Move::Insert(n) => {
                    let full = table.len() == table.capacity() && table.slot_of(&key(n, 6)).is_none();
                    let before: Vec<u16> = (0..60).filter(|n| table.slot_of(&key(*n, 6)).is_some()).collect();
                    match table.insert(&key(n, 6), &opening(), tick) {
                        Ok(_) => {
                            let gone: Vec<u16> = before.into_iter()
                                .filter(|n| table.slot_of(&key(*n, 6)).is_none()).collect();
                            // Two full buckets are as good as a full table.
                            prop_assert!(gone.len() <= 1 && (!full || gone.len() == 1), "{:?}", gone);
                            for n in gone {
                                let evicted = model.remove(&n).unwrap();
                                prop_assert!(matches!(evicted.phase, Phase::Opening | Phase::Closed), "{:?}", evicted);
                            }
                            model.insert(n, Twin { started: passed, seen: passed, phase: Phase::Opening, packets: [0; 2] });
                        }
                        Err(refusal) => {
                            prop_assert!(full || capacity > 5);
                            prop_assert_eq!(refusal, Refusal::TableFull);
                            // In a table of one bucket all flows are in reach.
                            let confirmed = model.iter().filter(|(n, twin)| matches!(twin.phase, Phase::Established | Phase::HalfClosed) && table.slot_of(&key(**n, 6)).is_some()).count();
                            prop_assert!(capacity > 5 || confirmed == table.capacity());
                        }
                    }
                }
                Move::Find(n) => {
                    let alive = model.get(&n).is_some_and(|twin| !twin.is_over(passed));
                    let found = table.find(&key(n, 6), tick);
                    prop_assert_eq!(found.is_some(), alive);
                    if !alive { model.remove(&n); }
                }
                Move::Advance(n, from_a, states) => {
                    if let Some(id) = table.find(&key(n, 6), tick) {
                        table.advance(id, &segment(states), from_a, 60, at(tick));
                        model.get_mut(&n).unwrap().advance(from_a, states, passed);
                    }
                }
                Move::Remove(n) => {
                    if let Some(id) = table.find(&key(n, 6), tick) { table.remove(id); }
                    model.remove(&n);
                }
            }
            table.check();
            for (n, twin) in &model {
                // Who has ended may be gone already.
                let Some(id) = table.slot_of(&key(*n, 6)) else {
                    prop_assert!(twin.is_over(passed));
                    continue;
                };
                let entry = table.entry(id).unwrap();
                let found = Twin {
                    started: entry.started().wrapping_sub(start),
                    seen: entry.seen().wrapping_sub(start),
                    phase: entry.phase(),
                    packets: entry.counts().map(|(packets, _)| packets),
                };
                prop_assert_eq!(&found, twin);
                prop_assert_eq!(entry.counts().map(|(_, bytes)| bytes), twin.packets.map(|n| n * 60));
                prop_assert_eq!(entry.key(), key(*n, 6));
            }
        }
        // A whole turn of the hand leaves exactly what is alive.
        table.sweep(start.wrapping_add(passed), table.capacity());
        let alive = model.iter().filter(|(_, twin)| !twin.is_over(passed)).count();
        prop_assert_eq!(table.len(), alive);
    }
}

#[test]
fn a_full_table_gives_up_a_closed_flow_then_the_oldest_that_nobody_confirmed_and_else_refuses() {
    let mut table = table_of(4);
    let ids: Vec<FlowId> =
        (0..4).map(|n| table.insert(&key(n, 6), &opening(), u32::from(n) * 64).unwrap()).collect();
    // 0 and 1 are confirmed, 1 is closed too; 2 is older than 3.
    table.advance(ids[0], &segment(ESTABLISHED), false, 60, at(300));
    table.advance(ids[1], &segment(CLOSED), false, 60, at(300));
    for (new, victim) in [(10, 1), (11, 2), (12, 3)] {
        let id = table.insert(&key(new, 6), &opening(), 320).unwrap();
        table.advance(id, &segment(ESTABLISHED), false, 60, at(320));
        assert!(table.slot_of(&key(victim, 6)).is_none(), "{victim}");
        assert_eq!(table.len(), 4);
    }
    assert_eq!(table.insert(&key(13, 6), &opening(), 320), Err(Refusal::TableFull));
    assert!([0, 10, 11, 12].iter().all(|n| table.slot_of(&key(*n, 6)).is_some()));
    assert!(table.insert(&key(12, 6), &opening(), 320).is_ok(), "a known key needs no new place");
    table.check();
}

#[test]
fn a_table_fills_to_its_capacity_without_losing_a_flow() {
    let mut table = table_of(30_000);
    for n in 0..30_000 {
        assert!(table.insert(&key(n, 17), &opening(), 0).is_ok(), "{n}");
    }
    assert_eq!(table.len(), 30_000);
    assert!((0..30_000).all(|n| table.slot_of(&key(n, 17)).is_some()));
    table.check();
    // Slots, and buckets three quarters full: FLOWS.md §1 asks for at most 144 bytes a flow.
    let each = table.bytes().div_ceil(table.capacity());
    assert!(each <= 144, "{each}");
}

#[test]
fn a_prepared_burst_guesses_every_flow_but_those_in_their_second_bucket() {
    let mut table = table_of(6_000);
    let keys: Vec<Key> = (0..6_000).map(|n| key(n, 17)).collect();
    for key in &keys {
        table.insert(key, &opening(), 0).unwrap();
    }
    let mut batch = Batch::default();
    let mut right = 0;
    for chunk in keys.chunks(BATCH) {
        table.prepare(chunk.iter(), &mut batch);
        for (key, hint) in chunk.iter().zip(batch.hints()) {
            let guess = hint.guess;
            let slot = table.slot_of(key);
            assert_eq!(table.find_hinted(key, hint, 0), slot);
            if let Some(found) = table.guessed(guess, key) {
                assert_eq!(found.key(), *key);
                assert_eq!(Some(guess), slot);
                right += 1;
            }
        }
    }
    assert!(right > 5_000, "{right}");
    // A guess for a flow that is gone is no flow, and one for its successor in the slot neither.
    let sought = keys.iter().find(|sought| {
        table.prepare(std::iter::once(*sought), &mut batch);
        batch.hints().next().is_some_and(|hint| table.guessed(hint.guess, sought).is_some())
    });
    let sought = sought.unwrap();
    let hint = batch.hints().next().unwrap();
    let guess = hint.guess;
    table.remove(guess);
    assert_eq!(table.find_hinted(sought, hint, 0), None);
    assert!(table.guessed(guess, sought).is_none());
    table.insert(&key(6_001, 17), &opening(), 0).unwrap();
    assert!(table.guessed(guess, sought).is_none());
}

#[test]
fn a_tombstone_stands_for_a_minute() {
    let mut table = table_of(4);
    let id = table.insert(&key(1, 6), &opening(), 0).unwrap();
    table.advance(id, &segment(CLOSED), true, 60, at(3));
    assert_eq!(table.entry(id).unwrap().phase(), Phase::Closed);
    assert!(table.find(&key(1, 6), 3 + 60 * SECOND - 1).is_some());
    assert!(table.find(&key(1, 6), 3 + 60 * SECOND + 36).is_none());
}

#[test]
fn what_tcp_needs_lies_in_the_entry_and_comes_back() {
    let window = Window { end: [1, 2], acked: [3, 4], win: [5, 6] };
    for n in [1, 2] {
        let mut table = table_of(4);
        for (states, resync, confirmed, unseen) in
            [(ESTABLISHED, [true, false], true, false), (0x21, [false, true], false, true)]
        {
            let track = Track { states, scales: 0x7e, window, challenge: 77, unseen, resync, confirmed };
            let first = if unseen { First::Missed } else { First::Seen };
            let id =
                table.insert(&key(n, 6), &Opening { first, track: Some(track), ..opening() }, 0).unwrap();
            assert_eq!(table.entry(id).unwrap().track(), Some(track));
            let next = Track { scales: 0x11, challenge: 78, resync: [false; 2], ..track };
            table.advance(id, &Progress::Tcp(Step::PassAside, next), true, 60, at(9));
            assert_eq!(table.entry(id).unwrap().seen(), 0, "set aside: its time runs on");
            table.advance(id, &Progress::Tcp(Step::Pass, next), true, 60, at(9));
            let slot = table.entry_mut(id).unwrap();
            assert_eq!((slot.track(), slot.seen()), (Some(next), 9));
            assert_eq!(slot.key(), key(n, 6));
            slot.resync();
            assert_eq!(slot.track(), Some(Track { resync: [true; 2], ..next }));
        }
        let id = table.insert(&key(n, 17), &opening(), 0).unwrap();
        assert_eq!(table.entry(id).unwrap().track(), None);
    }
}

#[test]
fn timeouts_follow_protocol_and_phase() {
    let limits = Timeouts::default();
    let seconds = |protocol, phase| u64::from(limits.of(protocol, phase)) * (1 << 24) / 1_000_000_000;
    assert_eq!(limits.of(6, Phase::Opening), OPENING);
    let tcp = [Phase::Established, Phase::HalfClosed, Phase::Closing, Phase::Doubted, Phase::Closed];
    assert_eq!(tcp.map(|phase| seconds(6, phase)), [7_439, 239, 59, 9, 59]);
    assert_eq!(seconds(17, Phase::Opening), 59);
    assert_eq!(seconds(17, Phase::Established), 179);
    assert_eq!([1, 58].map(|icmp| seconds(icmp, Phase::Established)), [9, 9]);
    assert_eq!(seconds(47, Phase::Established), 59);
}

#[test]
fn counts_survive_their_folding() {
    for n in [1, 2] {
        let mut table = table_of(4);
        let id = table.insert(&key(n, 17), &opening(), 0).unwrap();
        let slot = table.entry_mut(id).unwrap();
        for _ in 0..100_000 {
            slot.count(true, 65_535);
            slot.count(false, 1);
        }
        assert_eq!(slot.counts(), [(100_000, 6_553_500_000), (100_000, 100_000)]);
    }
}

#[test]
fn an_entry_gives_back_what_was_judged() {
    let mut table = table_of(4);
    for n in [1, 2] {
        let id = table.insert(&key(n, 17), &opening(), 0).unwrap();
        for denial in std::iter::once(None).chain(Denial::ALL.map(Some)) {
            for mode in [Mode::Observe, Mode::Simulate, Mode::Enforce] {
                for rule in [RuleNumber(0), RuleNumber(MOST_RULES - 1), RuleNumber::NONE] {
                    let judgement = Judgement { denial, mode, rule, generation: 7, judge_at: 9 };
                    let slot = table.entry_mut(id).unwrap();
                    slot.judge(&judgement);
                    assert_eq!((slot.denial(), slot.mode(), slot.rule()), (denial, mode, rule));
                    assert_eq!(slot.generation(), 7);
                    assert_eq!(slot.key(), key(n, 17), "the key is not touched");
                }
            }
        }
    }
}

#[test]
fn an_answer_is_stale_under_another_generation_and_from_its_tick_on() {
    let mut table = table_of(4);
    let id = table.insert(&key(1, 17), &opening(), 0).unwrap();
    let slot = table.entry_mut(id).unwrap();
    // Across the wrap of the ticks too.
    for now in [5, u32::MAX - 1] {
        let ask = |left: u64| Judgement::new(&verdict(), at(now), left).judge_at.wrapping_sub(now);
        assert_eq!(ask(0), 0);
        assert_eq!(ask((1 << 24) - 1), 0, "rounded down: never late");
        assert_eq!(ask(1 << 24), 1);
        assert_eq!(ask(u64::MAX), u32::MAX >> 1);
        slot.judge(&Judgement::new(&verdict(), at(now), 3 << 24));
        let stale: Vec<bool> = (0..5).map(|later| slot.is_stale(at(now.wrapping_add(later)))).collect();
        assert_eq!(stale, [false, false, false, true, true]);
        assert!(slot.is_stale(Now { tick: now, generation: 2 }));
        slot.judge(&Judgement::new(&verdict(), at(now), u64::MAX));
        assert!(!slot.is_stale(at(now)) && !slot.is_stale(at(now.wrapping_add(1_000_000))));
    }
}

fn verdict() -> crate::policy::Verdict {
    crate::policy::Verdict {
        denial: None,
        mode: Mode::Enforce,
        rule: RuleNumber::NONE,
        also: [RuleNumber::NONE; 4],
        judge_at: crate::policy::Moment::NEVER,
    }
}

#[test]
fn a_flow_knows_where_both_ends_live() {
    let mut table = table_of(4);
    for (by_a, side) in
        [(true, Side::Outside), (true, Side::Inside), (false, Side::Outside), (false, Side::Inside)]
    {
        let id = table.insert(&key(1, 17), &Opening { by_a, side, ..opening() }, 0).unwrap();
        let flow = table.entry(id).unwrap();
        assert_eq!(flow.opened_by_a(), by_a);
        assert_eq!(flow.side_of(by_a), side);
        assert_eq!(flow.side_of(!by_a), side.other());
    }
}

#[test]
fn only_an_ordinary_packet_takes_the_short_way() {
    let limits = Timeouts::default();
    let mut table = table_of(4);
    let id = table.insert(&key(1, 17), &opening(), 100).unwrap();
    let slot = *table.entry(id).unwrap();
    let ask = |slot: &Slot, now, from_a, side| {
        let mut after = *slot;
        let passed = after.pass(now, (from_a, side), None, 60, &limits);
        assert_eq!(after.counts() != slot.counts(), passed, "what does not pass touches nothing");
        passed
    };
    assert!(ask(&slot, at(100), true, Side::Outside));
    assert!(!ask(&slot, at(100), false, Side::Inside), "the first answer confirms: the long way");
    assert!(!ask(&slot, at(100), true, Side::Inside), "the wrong side");
    assert!(!ask(&slot, Now { tick: 100, generation: 2 }, true, Side::Outside), "another generation");
    let limit = limits.of(17, Phase::Opening);
    assert!(ask(&slot, at(100 + limit - 1), true, Side::Outside));
    assert!(!ask(&slot, at(100 + limit), true, Side::Outside), "too late");
    let mut denied = slot;
    denied.judge(&Judgement { denial: Some(Denial::NoRule), ..opening().judgement });
    assert!(!ask(&denied, at(100), true, Side::Outside), "a would-drop is counted");
    let mut passed = slot;
    assert!(passed.pass(at(101), (true, Side::Outside), None, 60, &limits));
    assert_eq!((passed.seen(), passed.counts()), (101, [(1, 60), (0, 0)]));
}

#[test]
fn a_segment_takes_the_short_way_only_in_window() {
    let limits = Timeouts::default();
    let mut table = table_of(4);
    let window = Window { end: [1_000, 5_000], acked: [5_000, 1_000], win: [100, 100] };
    let track = Track { states: ESTABLISHED, window, confirmed: true, ..Track::default() };
    let id = table.insert(&key(1, 6), &Opening { track: Some(track), ..opening() }, 100).unwrap();
    let tcp = |seq, payload| Tcp {
        sport: 1,
        dport: 443,
        seq,
        ack: 5_000,
        flags: TcpFlags(TcpFlags::ACK),
        window: 100,
        payload,
        scale: None,
    };
    let ask =
        |slot: &mut Slot, tcp: &Tcp| slot.pass(at(100), (true, Side::Outside), Some(tcp), 60, &limits);
    let slot = table.entry_mut(id).unwrap();
    assert!(!ask(slot, &tcp(1_001, 100)), "beyond the right edge");
    assert_eq!(slot.track(), Some(track));
    let opens = Tcp { flags: TcpFlags(TcpFlags::SYN), ..tcp(1_000, 100) };
    assert!(!ask(slot, &opens), "what would open a connection is decided the long way");
    assert_eq!(slot.track(), Some(track));
    assert!(ask(slot, &tcp(1_000, 100)));
    assert_eq!(slot.track().unwrap().window.end, [1_100, 5_000]);
    slot.resync();
    assert!(!ask(slot, &tcp(1_000, 100)), "to be taken as it is: the long way");
}

#[test]
fn a_flow_that_is_refused_is_counted_nowhere() {
    let half_open = Arc::new(HalfOpen::new(64, (1, 2)));
    let shares = ShareLimits { source: 1, outside: 2 };
    let mut table = FlowTable::new(Bounds { shares, ..Bounds::of(4) }, Arc::clone(&half_open));
    let syn = Track { states: SYN_SENT, ..Track::default() };
    let opening = Opening { track: Some(syn), ..opening() };
    let id = table.insert(&key(1, 6), &opening, 0).unwrap();
    let refused = table.insert(&key(3, 6), &opening, 0);
    assert_eq!(refused, Err(Refusal::Limit(LimitRefusal::SourceShare)));
    assert_eq!((table.len(), half_open.total()), (1, 1));
    table.remove(id);
    assert_eq!((table.len(), half_open.total()), (0, 0));
    assert!(table.insert(&key(3, 6), &opening, 0).is_ok());
}

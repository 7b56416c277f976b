//! The short way of plain packets beside the long way: whatever comes, both end it alike.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use proptest::prelude::*;

use super::{Counters, Event, Outcome, Pipeline, Scene};
use crate::flow::limits::HalfOpen;
use crate::flow::{Bounds, FlowTable, Owner, tick};
use crate::policy::{Exceptions, Moment, compile, read};
use crate::wire::samples::{Ends, every_kind};
use crate::wire::{Mac, Side, TcpFlags, Vlans};

pub(super) const POLICY: &str = include_str!("../../tests/rig/memory.toml");

/// Frames of connections that the policy allows, denies, simulates and observes, with what disturbs them.
pub(super) fn frames() -> Vec<Vec<u8>> {
    let jump = Mac([2, 0, 0, 0x20, 0, 0x30]);
    let old = Mac([2, 0, 0, 0x20, 0, 0x40]);
    let ends = [
        Ends::of("10.10.0.5", "10.20.0.9"),
        Ends::of("2001:db8:10::5", "2001:db8:20::9"),
        Ends { dst_mac: jump, ..Ends::of("10.10.0.5", "10.20.1.30") },
        Ends { dst_mac: jump, ..Ends::of("2001:db8:10::5", "2001:db8:20::30") },
        Ends { dst_mac: old, ..Ends::of("10.10.0.5", "10.20.2.40") },
        Ends::of("10.10.0.5", "10.20.0.9").on(Vlans { outer: 20, inner: Vlans::NONE }),
        Ends::of("10.20.1.30", "10.20.1.30"),
        Ends::of("127.0.0.1", "10.20.1.30"),
        Ends::of("10.20.1.30", "224.0.0.9"),
        Ends::of("169.254.0.1", "10.20.1.30"),
    ];
    let mut frames: Vec<Vec<u8>> = every_kind().into_iter().map(|(_, frame)| frame).collect();
    for ends in ends {
        for (ends, sport, dport) in [(ends, 5_000, 443), (ends.reply(), 443, 5_000)] {
            for flags in [
                TcpFlags::SYN,
                TcpFlags::SYN | TcpFlags::ACK,
                TcpFlags::ACK,
                TcpFlags::ACK | TcpFlags::PSH,
                TcpFlags::FIN | TcpFlags::ACK,
                TcpFlags::RST,
            ] {
                frames.push(ends.tcp(sport, dport, flags, 1, 1, b"data"));
            }
            frames.push(ends.tcp(sport, 24, TcpFlags::SYN, 1, 1, b""));
            frames.push(ends.udp(sport, 514, b"any line at all"));
            frames.push(ends.echo(7, 1, b"ping"));
            frames.push(ends.echo_reply(7, 1, b"ping"));
        }
        for (ends, sport, dport) in [
            (ends, 5_000, 53),
            (ends.reply(), 53, 5_000),
            (ends, 68, 67),
            (ends.reply(), 67, 68),
            (ends, 0, 53),
        ] {
            frames.push(ends.udp(sport, dport, b"any question at all"));
            let [s0, s1] = u16::to_be_bytes(sport);
            let [d0, d1] = u16::to_be_bytes(dport);
            frames.push(ends.fragment(
                17,
                7,
                0,
                true,
                &[s0, s1, d0, d1, 0, 24, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
            ));
        }
        for frame in frames.split_off(frames.len() - 4) {
            frames.push(crate::wire::samples::padded(&frame));
        }
    }
    frames
}

struct Rig {
    pipeline: Pipeline,
    counters: Arc<Counters>,
    events: Arc<ArrayQueue<Event>>,
}

impl Rig {
    fn new(shortcut: bool, flows: u32) -> Self {
        let (counters, events) = (Arc::new(Counters::default()), Arc::new(ArrayQueue::new(64)));
        let (table, owner) =
            (FlowTable::new(Bounds::of(flows), Arc::new(HalfOpen::new(64, (3, 4)))), Owner::new(1, (1, 2)));
        let pipeline = Pipeline::new(table, owner, 0, Arc::clone(&counters), Arc::clone(&events));
        let pipeline = if shortcut { pipeline } else { pipeline.without_shortcut() };
        Self { pipeline, counters, events }
    }

    /// What became of a burst, of the counters and of the events.
    fn burst(&mut self, scene: &Scene<'_>, frames: &[&[u8]], room: usize) -> (Vec<Outcome>, Vec<Event>) {
        let mut outcomes = Vec::new();
        self.counters.begin();
        self.pipeline.let_reply(room / 2);
        self.pipeline.burst(scene, frames, room, &mut outcomes);
        self.counters.end();
        (outcomes, std::iter::from_fn(|| self.events.pop()).collect())
    }
}

/// Default deny holds for whoever gives too much at once, too.
#[test]
fn frames_beyond_a_burst_are_judged_as_those_in_it() {
    let loaded = read::read_text(vec![("p.toml".to_owned(), POLICY.to_owned())]).unwrap();
    let table = compile(&loaded.model, &Exceptions::NONE).asked_in_steps(true);
    let now = 1_800_000_000_000_000_000;
    let scene = Scene {
        table: &table,
        generation: 1,
        now: Moment(now),
        asked: Moment(now),
        tick: tick(now),
        side: Side::Outside,
    };
    let denied = Ends::of("10.10.0.5", "10.20.0.9").udp(5_000, 9_999, b"no rule allows this");
    let frames = vec![denied.as_slice(); super::stages::BURST + 6];
    for shortcut in [true, false] {
        let (outcomes, _) = Rig::new(shortcut, 256).burst(&scene, &frames, frames.len());
        assert_eq!(outcomes, vec![Outcome::Drop(super::Reason::NoRule); frames.len()]);
    }
    // What they open is found again.
    let open = |first: u16| -> Vec<Vec<u8>> {
        let sports = first..first + 70;
        sports.map(|sport| Ends::of("10.10.0.5", "10.20.0.9").udp(sport, 53, &[0; 32])).collect()
    };
    let mut rig = Rig::new(true, 1024);
    for (first, flows) in [(1_000, 70), (2_000, 140), (1_000, 140), (2_000, 140)] {
        let frames = open(first);
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let (outcomes, _) = rig.burst(&scene, &frames, frames.len());
        assert_eq!(outcomes, vec![Outcome::Forward; frames.len()]);
        assert_eq!(rig.pipeline.flows().0, flows);
        // One by one, too: a burst looks where its own hashes point.
        for frame in &frames {
            assert_eq!(rig.burst(&scene, &[*frame], 1).0, [Outcome::Forward]);
        }
        assert_eq!(rig.pipeline.flows().0, flows);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_short_way_ends_every_packet_as_the_long_way_does(
        // Room for all; or for few in one bucket, where both tables evict the same flow.
        flows in prop::sample::select(vec![256, 5]),
        bursts in prop::collection::vec(
            (any::<bool>(), prop::collection::vec(any::<prop::sample::Index>(), 1..24), 0..40_usize, 0..20_u64, 0..20_u8),
            1..40,
        ),
    ) {
        let all = frames();
        let loaded = read::read_text(vec![("p.toml".to_owned(), POLICY.to_owned())]).unwrap();
        // One is asked as a large one, the other as a small one.
        let strict = compile(&loaded.model, &Exceptions::NONE).asked_in_steps(true);
        let relaxed = POLICY.replace("mode = \"enforce\"", "mode = \"observe\"");
        let relaxed = read::read_text(vec![("p.toml".to_owned(), relaxed)]).unwrap();
        let relaxed = compile(&relaxed.model, &Exceptions::NONE).asked_in_steps(false);
        let (mut short, mut long) = (Rig::new(true, flows), Rig::new(false, flows));
        let (mut now, mut generation) = (1_800_000_000_000_000_000_u64, 1);
        for (inside, picks, room, seconds, publish) in bursts {
            now += seconds * 1_000_000_000;
            generation += u32::from(publish == 0);
            let frames: Vec<&[u8]> = picks.iter().map(|pick| pick.get(&all).as_slice()).collect();
            let scene = Scene {
                table: if generation % 2 == 0 { &relaxed } else { &strict },
                generation,
                now: Moment(now),
                asked: Moment(now),
                tick: tick(now),
                side: if inside { Side::Inside } else { Side::Outside },
            };
            prop_assert_eq!(short.burst(&scene, &frames, room), long.burst(&scene, &frames, room));
            prop_assert_eq!(short.counters.snapshot(), long.counters.snapshot());
            prop_assert_eq!(short.pipeline.flows(), long.pipeline.flows());
        }
    }
}

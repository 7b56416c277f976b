//! Flows are listed through the worker's desk while packets go on: each once, and the worker never waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use portcullis::flow::{Phase, Slot};
use portcullis::gateway::{Cursor, LookError, PortFace, PortState, Publishing, Shared, XdpMode};
use portcullis::io::clock::Reading;
use portcullis::policy::{Mode, Moment, RuleNumber};
use portcullis::wire::{Service, Side};

use crate::memory::{POLICY, Rig, Shape};
use crate::says::{ACK, CLIENT, SECOND, SYN, VAULT, to_vault};

/// Longer than any look here takes.
const PATIENCE: u64 = 20 * SECOND;

/// A gate whose only worker is the rig's.
fn gate(rig: &Rig) -> Shared {
    let port = |interface: &str| PortFace {
        interface: interface.into(),
        driver: "memory".into(),
        xdp: XdpMode::Generic,
        zero_copy: false,
    };
    Shared {
        policy: Arc::clone(&rig.worker.orders().policy),
        publishing: Publishing::default(),
        ports: [port("o"), port("i")],
        workers: vec![Arc::clone(&rig.face)],
        started: Moment(0),
        took_over: false,
        bpf_before: <[portcullis::io::BpfCounts; 2]>::default(),
        bpf: Box::new(<[portcullis::io::BpfCounts; 2]>::default),
        states: Box::new(|| [PortState::Up; 2]),
    }
}

/// Shows all flows, `page` of them a look, while the worker goes on as `then` says.
fn list(rig: &mut Rig, page: usize, mut then: impl FnMut(&mut Rig)) -> Vec<Slot> {
    let shared = gate(rig);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let (mut seen, mut from) = (Vec::new(), Some(Cursor::default()));
            while let Some(place) = from {
                let mut left = page;
                from = shared
                    .look(place, PATIENCE, |slot, _| {
                        seen.push(*slot);
                        left -= 1;
                        left > 0
                    })
                    .unwrap();
            }
            done.store(true, Ordering::Relaxed);
            seen
        });
        while !done.load(Ordering::Relaxed) && !looking.is_finished() {
            then(rig);
        }
        looking.join().unwrap()
    })
}

/// A datagram of the client from a port.
fn speak(rig: &mut Rig, port: u16) {
    assert!(rig.crosses(Side::Outside, &to_vault(0).udp(port, 53, b"q")));
    rig.event();
}

fn turn(rig: &mut Rig) {
    rig.turn();
    sweep(rig, &rig.time.clone());
}

/// What an idle worker does between two turns.
fn sweep(rig: &mut Rig, time: &Reading) {
    rig.worker.sweep(time, false);
}

#[test]
fn a_flow_is_shown_as_it_stands() {
    let mut rig = Rig::under(POLICY);
    let mut sizes = BTreeMap::new();
    for family in [0, 1] {
        let link = to_vault(family);
        let syn = link.tcp(40_000, 443, SYN, 1, 0, &[]);
        let answer = link.reply().tcp(443, 40_000, SYN | ACK, 9, 2, &[]);
        let ack = link.tcp(40_000, 443, ACK, 2, 10, b"hello");
        rig.forwarded(Side::Outside, &syn);
        rig.forwarded(Side::Inside, &answer);
        rig.forwarded(Side::Outside, &ack);
        sizes.insert(family, [(2, syn.len() + ack.len()), (1, answer.len())]);
    }
    rig.forwarded(Side::Outside, &to_vault(0).echo(7, 1, b""));
    let seen = list(&mut rig, 1_000, turn);
    assert_eq!(seen.len(), 3);
    for family in [0, 1] {
        let (from, to) = (CLIENT[family].parse().unwrap(), VAULT[family].parse().unwrap());
        let slot = seen.iter().find(|slot| slot.ends() == [(from, 40_000), (to, 443)]).expect("shown");
        assert_eq!(
            (slot.phase(), slot.mode(), slot.denial(), slot.is_unseen(), slot.generation()),
            (Phase::Established, Mode::Enforce, None, false, 1)
        );
        let expected = sizes[&family].map(|(packets, bytes)| (packets, bytes as u64));
        assert_eq!((slot.traffic(), slot.side_of(slot.opened_by_a())), (expected, Side::Outside));
        let service = Service { protocol: 6, sport: 40_000, dport: 443, readable: true };
        assert_eq!(slot.opened_service(), service);
        assert_ne!(slot.rule(), RuleNumber::NONE);
    }
    let echo = seen.iter().find(|slot| slot.key().protocol() == 1).expect("shown");
    let [(_, id), _] = echo.ends();
    assert_eq!((id, echo.opened_service().dport, echo.phase()), (7, 8 << 8, Phase::Opening));

    // What has ended by silence is not there, though nobody has swept it away.
    rig.later(100_000 * SECOND);
    let time = rig.time;
    assert_eq!(list(&mut rig, 1_000, |rig| sweep(rig, &time)).len(), 0);
}

#[test]
fn in_a_moving_table_each_flow_is_shown_once_and_none_that_stays_is_missed() {
    // A source may have a quarter of the table.
    let mut rig = Rig::shaped(POLICY, Shape { flows: 16_384, ..Shape::default() });
    let stays: Vec<u16> = (1..=1_500).collect();
    for port in &stays {
        speak(&mut rig, *port);
    }
    let mut next = 10_000;
    for page in [1_000, 7] {
        // Flows come all the while, each with a port of its own, and go after a minute of silence; those that
        // stay are spoken to.
        let (before, mut again) = (next, stays.iter().cycle());
        let seen = list(&mut rig, page, |rig| {
            if next < 60_000 {
                speak(rig, next);
                next += 1;
            }
            again.next().into_iter().for_each(|port| speak(rig, *port));
            if next % 3 == 0 {
                rig.later(SECOND / 10);
            }
            rig.worker.sweep(&rig.time, true);
        });
        let mut times = BTreeMap::new();
        for slot in &seen {
            *times.entry(slot.ends()[0].1).or_insert(0) += 1;
        }
        assert!(times.values().all(|times| *times == 1), "none is shown twice");
        let missed: Vec<&u16> = stays.iter().filter(|port| !times.contains_key(port)).collect();
        assert_eq!(missed, [&0_u16; 0]);
        assert!(next > before + 100, "the table moved");
        // Those that came are gone before the next round.
        for seconds in [30, 40, 0] {
            rig.later(seconds * SECOND);
            for port in &stays {
                speak(&mut rig, *port);
            }
        }
        let time = rig.time;
        (0..80).for_each(|_| sweep(&mut rig, &time));
    }
}

#[test]
fn a_look_that_runs_out_of_time_goes_on_where_it_ended() {
    let mut rig = Rig::shaped(POLICY, Shape { flows: 4_096, ..Shape::default() });
    (1..=5).for_each(|port| speak(&mut rig, port));
    let shared = gate(&rig);
    assert_eq!(shared.look(Cursor::default(), 1, |_, _| true), Err(LookError::Silent(0)));
    let sitting = rig.face.desk.sit(0).expect("nobody sits there any more");
    assert_eq!(shared.look(Cursor::default(), 1, |_, _| true), Err(LookError::Busy));
    drop(sitting);

    // Sixteen slots a busy turn; the time is over after each look that found anything or nothing.
    let (mut seen, mut from, mut looks) = (Vec::new(), Some(Cursor::default()), 0);
    while let Some(place) = from {
        let next = thread::scope(|scope| {
            let looking = scope.spawn(|| {
                shared.look(place, SECOND / 50, |slot, _| {
                    seen.push(slot.ends()[0].1);
                    true
                })
            });
            // A few turns for each look, once it asks.
            while !looking.is_finished() {
                rig.worker.sweep(&rig.time, true);
                thread::sleep(std::time::Duration::from_micros(300));
            }
            looking.join().unwrap()
        });
        match next {
            Ok(next) => {
                assert!(next.is_none_or(|next| next.slot > place.slot), "it goes on");
                from = next;
            }
            // This machine was busy elsewhere.
            Err(why) => assert_eq!(why, LookError::Silent(0)),
        }
        looks += 1;
        assert!(looks < 1_000);
    }
    seen.sort_unstable();
    assert_eq!((seen, looks > 1), (vec![1, 2, 3, 4, 5], true));
    assert_eq!(
        shared.look(Cursor { worker: 1, slot: 0 }, 1, |_, _| true),
        Ok(None),
        "no such worker: the end"
    );
}

#[test]
fn nobody_holds_the_worker_up_who_asks_and_does_not_take() {
    let mut rig = Rig::shaped(POLICY, Shape { flows: 16_384, ..Shape::default() });
    (1..=2_000).for_each(|port| speak(&mut rig, port));
    let face = Arc::clone(&rig.face);
    let asker = face.desk.sit(0).unwrap();
    for _ in 0..100 {
        rig.worker.sweep(&rig.time, false);
    }
    // The ring is full; packets cross as ever.
    speak(&mut rig, 2_001);
    assert!(rig.worker.sweep(&rig.time, false), "there is nothing to be done: it may sleep");
    let taken = std::iter::from_fn(|| asker.take()).count();
    assert_eq!(taken, 1_024);
}

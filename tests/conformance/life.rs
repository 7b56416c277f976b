//! F1.1: nothing unjudged arrives, whether the gate boots, is killed, is restarted or has too much to do.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use portcullis::wire::Side;

use crate::policy::{client_to_server, rules};
use crate::rig::{self, Rig, left_out, until};
use crate::tap::{self, Tap};

/// A question that is allowed, and one that no rule names, each with its number.
fn frame(family: usize, allowed: bool, number: u64) -> Vec<u8> {
    let port = if allowed { 4_433 } else { 9_999 };
    client_to_server()[family].udp(40_000, port, &number.to_be_bytes())
}

/// Its number, if the frame is one that is allowed, whole.
fn number(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(*bytes.last_chunk::<8>()?);
    (0..2).any(|family| frame(family, true, number) == bytes).then_some(number)
}

/// Both kinds in both families all the time; what is sent is counted in pairs of each family.
struct Steady {
    over: AtomicBool,
    hurry: AtomicBool,
    sent: AtomicU64,
}

impl Steady {
    fn run(&self, sender: &mut dyn pnet_datalink::DataLinkSender) {
        while !self.over.load(Ordering::Relaxed) {
            let number = self.sent.fetch_add(1, Ordering::Relaxed);
            for family in [0, 1] {
                for allowed in [false, true] {
                    // A full queue under overload is the sender's own loss.
                    let _ = sender.send_to(&frame(family, allowed, number), None);
                }
            }
            if !self.hurry.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_micros(500));
            }
        }
    }

    fn now(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

struct Over<'a>(&'a Steady);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

#[test]
fn nothing_unjudged_arrives_while_a_gate_boots_dies_restarts_or_has_too_much_to_do() {
    if left_out() {
        return;
    }
    let rig = Rig::raise();
    let object = tap::object(&rig);
    let mut inside = Tap::at(&rig, "in", &object);
    let mut sender = tap::sender(&rig, "out");
    let policy = rules("rings = 64");
    let steady = Steady { over: false.into(), hurry: false.into(), sent: 0.into() };
    thread::scope(|scope| {
        let _over = Over(&steady);
        scope.spawn(|| steady.run(&mut *sender));
        // The numbers that arrived since the last look: every one allowed, none of them twice.
        let mut highest = [None; 2];
        let mut arrived = || -> Vec<u64> {
            let mut numbers = Vec::new();
            for bytes in inside.take() {
                let Some(number) = number(&bytes) else { panic!("arrived without a rule: {bytes:02x?}") };
                let last = &mut highest[usize::from(bytes[12] == 0x86)];
                assert!(last.is_none_or(|last| last < number), "in order, once");
                *last = Some(number);
                numbers.push(number);
            }
            numbers
        };
        let flows = |arrived: &mut dyn FnMut() -> Vec<u64>, what: &str| {
            let from = steady.now();
            until(what, || arrived().iter().any(|number| *number > from));
        };
        until("frames to be sent", || steady.now() > 100);
        assert!(arrived().is_empty(), "no gate, no frame");
        let mut gate = rig.gate(&policy);
        for round in 0..3 {
            flows(&mut arrived, "what is allowed to cross");
            if round == 1 {
                steady.hurry.store(true, Ordering::Relaxed);
                flows(&mut arrived, "what is allowed to cross under overload");
                for _ in 0..100 {
                    arrived();
                    thread::sleep(Duration::from_millis(5));
                }
            }
            gate.kill();
            // What the dead gate had let go has arrived; of what was sent after that, nothing does.
            let dead = steady.now();
            until("frames to be sent to a dead gate", || {
                assert!(arrived().iter().all(|number| *number <= dead + 1), "crossed a dead gate");
                steady.now() > dead + 200
            });
            steady.hurry.store(false, Ordering::Relaxed);
            let born = steady.now();
            gate = rig.gate(&policy);
            assert!(gate.status().took_over);
            // Nor does what waited in some ring come late.
            assert!(
                arrived().iter().all(|number| *number >= born.saturating_sub(1)),
                "a dead gate's frames"
            );
        }
        flows(&mut arrived, "what is allowed to cross");
        let status = gate.status();
        assert!(status.equation().holds);
        let outside = status.workers.iter().map(|worker| &worker.sides[Side::Outside.index()]);
        let dropped: Vec<_> = outside.flat_map(|side| &side.dropped).collect();
        assert!(dropped.iter().any(|(_, count)| **count > 0));
        // Under overload one worker may give another more than it takes.
        let may = |reason: &str| reason == "no_rule" || (rig::queues() > 1 && reason == "handover_full");
        assert!(dropped.iter().all(|(reason, _)| may(reason)), "{dropped:#?}");
        assert_eq!(gate.stop(), Some(0));
        let stopped = steady.now();
        until("frames to be sent to a stopped gate", || {
            assert!(arrived().iter().all(|number| *number <= stopped + 1), "crossed a stopped gate");
            steady.now() > stopped + 200
        });
    });
}

//! Taking over what an earlier process left, and releasing it.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::rig::{Forwarder, Rig, Stop, alone, run, send, until};
use portcullis::io::af_xdp::{KernelCounters, PortReport, QueueCount, Released, release};
use portcullis::io::{BpfCounts, Heartbeat, QueuePair};
use portcullis::wire::Side;

#[test]
fn a_take_over_keeps_the_link_and_every_frame_is_accounted_for() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let mut wire = rig.open();
    let ports = wire.ports.clone();
    let stop = AtomicBool::new(false);
    let mut received = 0;
    let (sent, mut forwarder) = thread::scope(|scope| {
        let mut forwarder = Forwarder::new(&mut wire);
        let mut sender = rig.sender("out");
        let ended = &stop;
        let stop = Stop(ended);
        let traffic = scope.spawn(move || {
            let mut sent = 0;
            while !ended.load(Ordering::Relaxed) {
                send(&mut *sender, sent..sent + 8, 60);
                sent += 8;
                thread::sleep(Duration::from_micros(500));
            }
            u64::from(sent)
        });
        for _ in 0..3 {
            forwarder.until(Side::Outside, 300);
            // A clean stop: no more frames are let in, and those in the rings are taken to their end.
            let closed = KernelCounters::open(&rig.pins()).unwrap();
            forwarder.alive = false;
            forwarder.heartbeat.beat(0);
            let before = closed.read()[0];
            until("the first frame turned away", || closed.read()[0].stale > before.stale);
            until("the last one taken", || {
                forwarder.round();
                received + forwarder.received[0] == closed.read()[0].redirected
            });
            forwarder.drain();
            received += forwarder.received[0];
            assert_eq!(forwarder.pair.kernel()[0].rx_dropped + forwarder.pair.kernel()[0].rx_ring_full, 0);
            drop(forwarder);
            let before = closed.read()[0];
            until("drops of a port nobody serves", || {
                let now = closed.read()[0];
                now.stale > before.stale + 20
            });
            let mut again = rig.open();
            for (port, first) in again.ports.iter().zip(&ports) {
                assert!(port.took_over);
                assert_eq!((port.link, port.program), (first.link, first.program), "identical: it stays");
            }
            forwarder = Forwarder::new(&mut again);
        }
        drop(stop);
        (traffic.join().unwrap(), forwarder)
    });
    let counters = KernelCounters::open(&rig.pins()).unwrap();
    let senders = rig.counted("out", "wire", "tx", "packets");
    until("the last frames", || {
        forwarder.round();
        let [outside, _] = counters.read();
        outside.seen == senders && outside.redirected == received + forwarder.received[0]
    });
    forwarder.drain();
    received += forwarder.received[0];
    let [outside, _] = counters.read();
    assert_eq!(senders + rig.counted("out", "wire", "tx", "dropped"), sent);
    assert_eq!(outside.seen, outside.redirected + outside.stale + outside.no_socket);
    assert_eq!(rig.counted("in", "wire", "rx", "packets"), received, "what was received was forwarded");
}

#[test]
fn another_program_is_swapped_in_through_the_same_link() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let first = rig.open();
    let ports = first.ports.clone();
    drop(first);
    // A port whose pins are half gone: its program still counts into a map that nobody can reach.
    fs::remove_file(rig.pins().join("outside/counters")).unwrap();
    let mut wire = rig.open();
    let [outside, inside] = &wire.ports;
    assert!(outside.took_over && inside.took_over);
    assert_eq!(outside.link, ports[0].link);
    assert_ne!(outside.program, ports[0].program, "a program over other maps");
    assert_eq!(inside, &PortReport { took_over: true, ..ports[1].clone() });
    assert_eq!(rig.link("gate", "outside")["xdp"]["prog"]["id"], outside.program);
    let mut forwarder = Forwarder::new(&mut wire);
    forwarder.cross(&mut *rig.sender("out"), Side::Outside, 100, 60);
    forwarder.drain();
    assert_eq!(wire.counters.read()[0], BpfCounts { seen: 100, redirected: 100, stale: 0, no_socket: 0 });
}

#[test]
fn pins_of_a_link_that_is_gone_are_cleaned() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let first = rig.open().ports;
    let gate = rig.netns("gate");
    run(&format!("ip -n {gate} link del outside"));
    run(&format!("ip -n {gate} link add outside type veth peer name wire netns {}", rig.netns("out")));
    run(&format!("ip -n {} link set wire up", rig.netns("out")));
    let wire = rig.open();
    assert!(!wire.ports[0].took_over && wire.ports[1].took_over);
    assert_ne!(wire.ports[0].link, first[0].link);
    assert_eq!(wire.ports[1].link, first[1].link);
    drop(wire);
    rig.release();
    // This one was made down, and is down again.
    assert!(!rig.link("gate", "outside")["flags"].as_array().unwrap().iter().any(|flag| flag == "UP"));
}

#[test]
fn what_a_gone_namespace_left_is_not_given_to_the_next_one_of_its_number() {
    let Some(_alone) = alone() else { return };
    let left = {
        let gone = Rig::with("numtxqueues 2 numrxqueues 2");
        drop(gone.try_open(|request| request.queues = QueueCount::Exactly(2)).unwrap());
        fs::read_to_string(gone.saved()).unwrap()
    };
    // Inodes are used again, and names and numbers of interfaces are the same.
    let rig = Rig::with("numtxqueues 1 numrxqueues 1");
    fs::write(rig.saved(), left).unwrap();
    drop(rig.open());
    rig.release();
    rig.assert_untouched();
}

#[test]
fn a_half_torn_wire_is_released_in_full() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    drop(rig.open());
    fs::remove_file(rig.pins().join("outside/link")).unwrap();
    fs::remove_file(rig.pins().join("inside/xsks")).unwrap();
    fs::remove_file(rig.saved()).unwrap();
    assert_eq!(rig.release(), Released { pins: true, settings: false });
    assert!(!rig.pins().exists());
    for port in ["outside", "inside"] {
        assert!(rig.link("gate", port).get("xdp").is_none());
    }
}

#[test]
fn a_setting_that_cannot_be_given_back_keeps_no_other_from_it() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let promiscuous = |port: &str| rig.link("gate", port)["promiscuity"].as_u64();
    let before = promiscuous("outside");
    drop(rig.open());
    assert!(promiscuous("outside") > before);
    // As a card that refuses what it once had.
    let mut saved: serde_json::Value = serde_json::from_slice(&fs::read(rig.saved()).unwrap()).unwrap();
    saved["outside"]["spread"]["receive"] = 99.into();
    fs::write(rig.saved(), saved.to_string()).unwrap();
    let error = rig.gate(|| release(&rig.pins(), &rig.saved())).unwrap_err();
    assert!(error.to_string().contains("give its queues back to"), "{error}");
    assert_eq!([promiscuous("outside"), promiscuous("inside")], [before; 2]);
    assert!(rig.saved().exists(), "what is missing can be given back later");
}

//! What crosses an open wire, and who counts it.

use std::thread;
use std::time::Duration;

use crate::rig::{ALL, Forwarder, Rig, alone, frame, run, send, until};
use portcullis::io::af_xdp::{QueueCount, Released, Steering};
use portcullis::io::clock::boot_nanos;
use portcullis::io::{BpfCounts, Heartbeat, KernelCounts, QueuePair, XdpMode};
use portcullis::wire::Side;

#[test]
fn every_frame_is_counted_the_same_by_everyone() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let mut wire = rig.open();
    assert!(!wire.zero_copy, "veth has no zero-copy");
    for (port, name) in wire.ports.iter().zip(["outside", "inside"]) {
        assert_eq!(port.interface, name);
        assert_eq!(port.driver, "veth");
        assert_eq!(port.mode, XdpMode::Native);
        assert!(!port.took_over);
        let link = rig.link("gate", name);
        assert_eq!(link["xdp"]["prog"]["id"], port.program);
        assert_eq!(link["promiscuity"], 1);
        assert_eq!(link["qdisc"], "pfifo");
    }
    let [refused, frames] = &wire.notes[..] else { panic!("{:?}", wire.notes) };
    assert!(refused.starts_with("copy mode, zero-copy was refused: outside queue 0:"), "{refused}");
    assert_eq!(frames, "frames of 2048 bytes: they hold an MTU of 1500");

    let mut forwarder = Forwarder::new(&mut wire);
    assert_eq!(forwarder.pair.census(), ALL);
    let (mut out, mut inner) = (rig.sender("out"), rig.sender("in"));
    forwarder.cross(&mut *out, Side::Outside, 2_000, 60);
    forwarder.cross(&mut *inner, Side::Inside, 1_500, 60);
    forwarder.drain();

    assert_eq!(forwarder.received, [2_000, 1_500]);
    assert_eq!(forwarder.forwarded, [2_000, 1_500]);
    let passed = |frames| BpfCounts { seen: frames, redirected: frames, stale: 0, no_socket: 0 };
    assert_eq!(wire.counters.read(), [passed(2_000), passed(1_500)]);
    assert_eq!(
        forwarder.pair.kernel().map(|counts| KernelCounts { tx_ring_empty: 0, ..counts }),
        [KernelCounts::default(), KernelCounts::default()]
    );
    // The senders' and the sinks' own counts.
    assert_eq!(rig.counted("out", "wire", "tx", "packets"), 2_000);
    assert_eq!(rig.counted("out", "wire", "tx", "dropped"), 0);
    assert_eq!(rig.counted("out", "wire", "rx", "packets"), 1_500);
    assert_eq!(rig.counted("in", "wire", "tx", "packets"), 1_500);
    assert_eq!(rig.counted("in", "wire", "tx", "dropped"), 0);
    assert_eq!(rig.counted("in", "wire", "rx", "packets"), 2_000);

    let programs = wire.ports.clone().map(|port| port.program);
    drop(forwarder);
    drop(wire);
    assert_eq!(rig.release(), Released { pins: true, settings: true });
    rig.assert_untouched();
    until("the kernel to free both programs", || {
        !aya::programs::loaded_programs().flatten().any(|program| programs.contains(&program.id()))
    });
    assert_eq!(rig.release(), Released::default(), "a second release finds nothing");
}

#[test]
fn the_counts_hold_under_overload() {
    const SENT: u32 = 60_000;
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let mut wire = rig.open();
    let mut forwarder = Forwarder::new(&mut wire);
    let counters = &wire.counters;
    thread::scope(|scope| {
        for host in ["out", "in"] {
            let mut sender = rig.sender(host);
            // The sender's own ring runs over as well; it says so or not, its interface counts it.
            scope.spawn(move || {
                for number in 0..SENT {
                    let _ = sender.send_to(&frame(number, 60), None);
                }
            });
        }
        until("all that was sent to be somewhere", || {
            // Slower than the senders, so that every ring runs over.
            thread::sleep(Duration::from_micros(300));
            forwarder.round();
            let kernel = forwarder.pair.kernel();
            let bpf = counters.read();
            ["out", "in"].iter().zip(Side::BOTH).all(|(host, side)| {
                let at = side.index();
                let lost = kernel[at].rx_dropped + kernel[at].rx_ring_full;
                bpf[at].redirected == forwarder.received[at] + lost
                    && bpf[at].seen + rig.counted(host, "wire", "tx", "dropped") == u64::from(SENT)
            })
        });
    });
    forwarder.drain();
    let kernel = forwarder.pair.kernel();
    for (side, far) in Side::BOTH.into_iter().zip(["in", "out"]) {
        let (at, port) = (side.index(), side.other().name());
        assert!(kernel[at].rx_dropped > 0, "{side}: not an overload: {:?}", counters.read());
        let BpfCounts { seen, redirected, stale, no_socket } = counters.read()[at];
        assert_eq!((seen, stale, no_socket), (redirected, 0, 0));
        let arrived = rig.counted(far, "wire", "rx", "packets");
        let lost = rig.counted("gate", port, "tx", "dropped");
        assert_eq!(forwarder.forwarded[at], arrived + lost, "{side}");
    }
}

#[test]
fn full_size_frames_cross_both_ways_unchanged() {
    let Some(_alone) = alone() else { return };
    for (mtu, size) in [(1_500, 2_048), (1_642, 2_048), (1_643, 4_096)] {
        full_size_frames_cross(mtu, size);
    }
}

fn full_size_frames_cross(mtu: usize, size: u32) {
    let rig = Rig::new();
    for (netns, link) in [("gate", "outside"), ("out", "wire"), ("gate", "inside"), ("in", "wire")] {
        run(&format!("ip -n {} link set {link} mtu {mtu}", rig.netns(netns)));
    }
    let mut wire = rig.open();
    let note = format!("frames of {size} bytes: they hold an MTU of {mtu}");
    assert!(wire.notes.contains(&note), "{:?}", wire.notes);
    let mut forwarder = Forwarder::new(&mut wire);
    let patience = Duration::from_secs(10);
    let full = mtu + 14;
    for (from, to, side) in [("out", "in", Side::Outside), ("in", "out", Side::Inside)] {
        let (mut sender, (_keep, mut sink)) = (rig.sender(from), rig.channel(to, "wire", patience));
        let mut number = 0;
        // As many at once as the sink's socket holds.
        while number < 200 {
            let before = u64::from(number);
            send(&mut *sender, number..number + 20, full);
            forwarder.until(side, before + 20);
            forwarder.drain();
            for number in number..number + 20 {
                let got = sink.next().unwrap();
                assert_eq!(got, frame(number, full).as_slice(), "frame {number} to {to}");
            }
            number += 20;
        }
    }
    assert_eq!(forwarder.forwarded, [200, 200]);
}

#[test]
fn each_queue_has_its_own_rings_and_a_release_gives_the_ports_their_own_count() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::with("numtxqueues 2 numrxqueues 2");
    let queues = |port: &str| {
        let all = rig.gate(|| run(&format!("ethtool -l {port}")));
        let now = all.rsplit_once("Current hardware settings:").unwrap().1;
        now.lines()
            .filter_map(|line| line.split_once(":\t\t"))
            .map(|(_, n)| n.to_owned())
            .take(2)
            .collect::<Vec<_>>()
    };
    rig.gate(|| run("ethtool -L outside rx 1 tx 1"));
    let wire = rig.try_open(|request| request.queues = QueueCount::Exactly(2)).unwrap();
    assert_eq!(wire.queues.len(), 2);
    let why = "outside has no receive-side scaling".to_owned();
    assert_eq!(wire.steering, Steering::HandOver { why });
    for port in ["outside", "inside"] {
        assert_eq!(queues(port), ["2", "2"], "{port}");
    }
    drop(wire);
    // Whoever takes over finds what the one before set, and not what is to be given back.
    let wire = rig.try_open(|request| request.queues = QueueCount::Exactly(2)).unwrap();
    assert!(wire.ports.iter().all(|port| port.took_over));
    drop(wire);
    rig.release();
    rig.assert_untouched();
    assert_eq!(queues("outside"), ["1", "1"]);
    assert_eq!(queues("inside"), ["2", "2"]);
    // What spreads nothing by itself keeps what it has, and the other port gets as many.
    let wire = rig.try_open(|request| request.queues = QueueCount::Auto { workers: 1 }).unwrap();
    assert_eq!(wire.queues.len(), 2);
    drop(wire);
    rig.release();
    assert_eq!(queues("outside"), ["1", "1"]);
}

#[test]
fn waiting_ends_with_a_frame_or_with_the_time() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let mut wire = rig.open();
    let (mut pair, heartbeat) = wire.queues.remove(0);
    heartbeat.beat(boot_nanos());
    let before = boot_nanos();
    pair.wait(Duration::from_millis(50), None);
    let slept = boot_nanos() - before;
    assert!((50_000_000..5_000_000_000).contains(&slept), "slept {slept} ns");
    // Either port wakes it.
    for (host, side) in [("out", Side::Outside), ("in", Side::Inside)] {
        send(&mut *rig.sender(host), 0..1, 60);
        let before = boot_nanos();
        pair.wait(Duration::from_mins(1), None);
        assert!(boot_nanos() - before < 10_000_000_000);
        let mut frames = Vec::with_capacity(64);
        pair.receive(side, &mut frames);
        assert_eq!(frames.len(), 1);
        assert_eq!(pair.bytes(&frames[0]), frame(0, 60));
        pair.recycle(frames.remove(0));
        pair.flush();
    }
    // A port that is gone does not make it spin.
    run(&format!("ip -n {} link del outside", rig.netns("gate")));
    let before = boot_nanos();
    pair.wait(Duration::from_millis(50), None);
    assert!(boot_nanos() - before >= 50_000_000);
    assert_eq!(pair.census(), ALL);
}

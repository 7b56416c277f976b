//! What a wire drops when its worker is late or gone.

use std::process::Command;
use std::time::Duration;

use crate::rig::{ALL, Child, Rig, alone, send, until};
use portcullis::io::clock::boot_nanos;
use portcullis::io::{BpfCounts, Heartbeat, QueuePair};
use portcullis::wire::Side;

#[test]
fn frames_of_a_late_worker_are_dropped_and_counted_as_stale() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let limit = Duration::from_secs(30);
    let mut wire = rig.try_open(|request| request.heartbeat_limit = limit).unwrap();
    let (mut pair, heartbeat) = wire.queues.remove(0);
    let mut sender = rig.sender("out");
    let mut stack = rig.stack("outside");
    let counters = &wire.counters;
    let mut stale = 0;
    let mut expect_stale = |why: &str| {
        send(&mut *sender, 0..20, 60);
        stale += 20;
        until(why, || counters.read()[0].seen == stale);
        let dropped = BpfCounts { seen: stale, redirected: 0, stale, no_socket: 0 };
        assert_eq!(counters.read(), [dropped, BpfCounts::default()], "{why}");
    };
    expect_stale("a worker that never beat");
    let nanos = u64::try_from(limit.as_nanos()).unwrap();
    heartbeat.beat(boot_nanos() - nanos - 1);
    expect_stale("a heartbeat just too old");
    heartbeat.beat(boot_nanos() + 2 * nanos);
    expect_stale("a heartbeat from far ahead");

    let mut frames = Vec::with_capacity(64);
    pair.receive(Side::Outside, &mut frames);
    assert_eq!(frames.len(), 0);
    assert_eq!(rig.counted("in", "wire", "rx", "packets"), 0);

    // And with a fresh one the same frames arrive.
    heartbeat.beat(boot_nanos());
    send(&mut *sender, 0..20, 60);
    until("fresh frames", || counters.read()[0].seen == stale + 20);
    assert_eq!(counters.read()[0], BpfCounts { seen: stale + 20, redirected: 20, stale, no_socket: 0 });
    until("them in the ring", || {
        pair.receive(Side::Outside, &mut frames);
        frames.len() == 20
    });
    for frame in frames {
        pair.recycle(frame);
    }
    pair.flush();
    assert_eq!(pair.census(), ALL);
    assert!(stack.next().is_err(), "the gate's own stack saw a frame");
}

#[test]
fn frames_without_a_socket_are_dropped_and_counted_as_that() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let mut wire = rig.open();
    let (pair, heartbeat) = wire.queues.remove(0);
    // A child of the gate has no part in its sockets.
    let _child = Child(Command::new("sleep").arg("600").spawn().unwrap());
    drop(pair);
    heartbeat.beat(boot_nanos());
    let mut sender = rig.sender("in");
    let mut stack = rig.stack("inside");
    // The kernel lets go of a closed socket a moment later.
    let mut sent = 0;
    until("the kernel to let go of the socket", || {
        send(&mut *sender, sent..sent + 1, 60);
        sent += 1;
        until("a frame at the program", || wire.counters.read()[1].seen == u64::from(sent));
        wire.counters.read()[1].no_socket > 0
    });
    let [_, before] = wire.counters.read();
    send(&mut *sender, 0..30, 60);
    until("frames at the program", || wire.counters.read()[1].seen == before.seen + 30);
    let dropped = BpfCounts { seen: before.seen + 30, no_socket: before.no_socket + 30, ..before };
    assert_eq!(wire.counters.read(), [BpfCounts::default(), dropped]);
    assert_eq!(dropped.stale, 0);
    drop(wire);
    rig.open();
    assert!(stack.next().is_err(), "the gate's own stack saw a frame");
    assert_eq!(rig.counted("out", "wire", "rx", "packets"), 0);
}

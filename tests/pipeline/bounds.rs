//! Everything is bounded: tables, rings, events.

use portcullis::pipeline::Reason;
use portcullis::wire::Side;

use crate::memory::Count::{Dropped, EventLost, Forwarded};
use crate::memory::{POLICY, Rig, Shape};
use crate::says::{ACK, SECOND, SYN, to_jump, to_vault};

#[test]
fn a_full_flow_table_drops_under_enforce_and_forwards_unlearned_elsewhere() {
    let mut rig = Rig::shaped(POLICY, Shape { flows: 1, ..Shape::default() });
    rig.forwarded(Side::Outside, &to_vault(0).tcp(1, 443, SYN, 1, 0, &[]));
    rig.event();
    rig.forwarded(Side::Inside, &to_vault(0).reply().tcp(443, 1, SYN | ACK, 1, 2, &[]));
    rig.forwarded(Side::Outside, &to_vault(0).tcp(1, 443, ACK, 2, 2, &[]));
    rig.dropped(Side::Outside, &to_vault(0).tcp(2, 443, SYN, 1, 0, &[]), Reason::FlowTableFull);
    let jump = to_jump(0);
    rig.would(Side::Outside, &jump.tcp(1, 22, SYN, 1, 0, &[]), Reason::FlowTableFull);
    rig.forwarded(Side::Outside, &to_vault(0).tcp(1, 443, ACK, 2, 2, &[]));
}

#[test]
fn a_full_flow_table_gives_up_what_only_one_end_has_spoken_for() {
    let mut rig = Rig::shaped(POLICY, Shape { flows: 1, ..Shape::default() });
    rig.forwarded(Side::Outside, &to_vault(0).tcp(1, 443, SYN, 1, 0, &[]));
    rig.event();
    rig.forwarded(Side::Outside, &to_vault(0).tcp(2, 443, SYN, 1, 0, &[]));
    rig.event();
    let answer = |port| to_vault(0).reply().tcp(443, port, SYN | ACK, 1, 2, &[]);
    rig.dropped(Side::Inside, &answer(1), Reason::TcpNoSession);
    rig.forwarded(Side::Inside, &answer(2));
    rig.later(SECOND);
    rig.turn();
    let gauges = rig.face.gauges.load();
    assert_eq!((gauges.flows, gauges.flow_capacity, gauges.evicted), (1, 1, 1));
}

#[test]
fn a_full_ring_drops_before_anything_is_remembered() {
    let mut rig = Rig::shaped(POLICY, Shape { tx_ring: 2, ..Shape::default() });
    for port in 1..=5 {
        assert!(rig.offer(Side::Outside, &to_vault(0).tcp(port, 443, SYN, 1, 0, &[])));
    }
    rig.turn();
    assert_eq!(rig.moved(Side::Outside), [(Forwarded, 2), (Dropped(Reason::TxRingFull), 3)]);
    while rig.take(Side::Inside).is_some() {}
    while rig.event().is_some() {}
    // The three that were not sent left no flow: their next packets know of none.
    let answer = |port| to_vault(0).reply().tcp(443, port, SYN | ACK, 1, 2, &[]);
    rig.forwarded(Side::Inside, &answer(2));
    rig.dropped(Side::Inside, &answer(3), Reason::TcpNoSession);
}

#[test]
fn events_beyond_the_ring_are_counted_never_waited_for() {
    let mut rig = Rig::under(POLICY);
    let frame = to_vault(0).tcp(1, 5432, SYN, 1, 0, &[]);
    for _ in 0..64 {
        assert!(rig.offer(Side::Outside, &frame));
    }
    rig.turn();
    let moved = rig.moved(Side::Outside);
    assert_eq!(moved, [(Dropped(Reason::NoRule), 64), (EventLost, 48)], "sixteen a burst are kept");
    assert_eq!(rig.face.events.len(), 16);
}

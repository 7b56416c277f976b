//! Exceptions and the clock: what an exception lets pass from when until when, and what holds while no clock can be
//! trusted.

use portcullis::pipeline::{EventKind, Reason};
use portcullis::policy::exception::{Exception, Party};
use portcullis::policy::model::{Atom, ServiceSet};
use portcullis::policy::{Exceptions, Moment, compile};
use portcullis::wire::Side;

use crate::memory::{POLICY, Rig, START, Shape};
use crate::says::{ACK, SECOND, SYN, policy, to_vault};

/// From the client to the vault on telnet, which a deny forbids.
fn telnet(start: u64, end: u64) -> Exceptions {
    let atom = Atom { protocol: 6, to: (23, 23), from: (0, u16::MAX) };
    let party = |name: &str| Party { workloads: vec![name.to_owned()], accounts: Vec::new() };
    let exception = Exception {
        id: "EXC-0042".into(),
        from: party("client"),
        to: party("vault"),
        services: ServiceSet { written: vec!["tcp/23".into()], any: false, atoms: vec![atom] },
        both_ways: false,
        start: Moment(start),
        end: Moment(end),
        owner: None,
        requester: None,
        approver: None,
        reason: None,
        ticket: None,
    };
    Exceptions::new(vec![exception]).expect("it is one")
}

fn under(text: &str, exceptions: &Exceptions) -> Rig {
    let mut policy = policy(text, 1);
    policy.table = compile(&policy.loaded.model, exceptions);
    Rig::new(policy, Shape::default())
}

#[test]
fn what_an_exception_lets_pass_is_recorded_and_cut_in_the_tick_it_ends() {
    for family in [0, 1] {
        let (start, end) = (START + 10 * SECOND, START + 20 * SECOND);
        let mut rig = under(POLICY, &telnet(start, end));
        let link = to_vault(family);
        let denied = rig.dropped(Side::Outside, &link.tcp(4, 23, SYN, 1, 0, &[]), Reason::Denied);
        rig.time.now = Moment(start);
        rig.time.boot += 10 * SECOND;
        rig.forwarded(Side::Outside, &link.tcp(5, 23, SYN, 1, 0, &[]));
        let event = rig.event().expect("who uses an exception is recorded");
        assert_eq!((event.kind, event.reason), (EventKind::Allow, None));
        assert_ne!(event.rule, denied.rule);
        let rig_policy = rig.worker.orders().policy.load_full();
        let face = rig_policy.table.rule(event.rule).unwrap();
        assert_eq!(face.id, "exception EXC-0042");
        rig.forwarded(Side::Inside, &link.reply().tcp(23, 5, SYN | ACK, 9, 2, &[]));
        // A flow that lives by it, to its last nanosecond but for what a turn takes.
        let left = end - 1_001 - rig.time.now.0;
        rig.later(left);
        rig.forwarded(Side::Outside, &link.tcp(5, 23, ACK, 2, 10, b"still"));
        assert_eq!((rig.event(), rig.face.cuts.take()), (None, None));
        let event = rig.dropped(Side::Outside, &link.tcp(5, 23, ACK, 7, 10, b"over"), Reason::Denied);
        assert!(event.at >= Moment(end));
        assert_eq!(event.rule, denied.rule, "the deny stands again");
        rig.dropped(Side::Outside, &link.tcp(6, 23, SYN, 1, 0, &[]), Reason::Denied);
    }
}

#[test]
fn while_no_clock_can_be_trusted_no_exception_is_active_and_every_lease_has_lapsed() {
    let head = "[workload.client]\n";
    let text = POLICY.replace(head, &format!("{head}valid_until = 2099-12-31\n"));
    assert_ne!(text, POLICY);
    let mut rig = under(&text, &telnet(0, u64::MAX));
    let link = &to_vault(0);
    let [web, shell] = [443, 23].map(|port| move |from| link.tcp(from, port, SYN, 1, 0, &[]));
    // Wall time as of a machine without a battery.
    rig.time.now = Moment(10 * SECOND);
    rig.dropped(Side::Outside, &web(5), Reason::NoRule);
    rig.dropped(Side::Outside, &shell(5), Reason::Denied);
    rig.time.now = Moment(START);
    for frame in [web(5), shell(5)] {
        rig.forwarded(Side::Outside, &frame);
        assert_eq!(rig.event().map(|event| event.kind), Some(EventKind::Allow));
    }
    assert_eq!(rig.event(), None);
}

//! After a publish: the hand that judges the flows nobody hits, and what it tells of those it ends.

use portcullis::pipeline::{Cut, EventKind, Reason};
use portcullis::policy::{Mode, RuleNumber};
use portcullis::wire::samples::Ends;
use portcullis::wire::{Mac, Service, Side, Vlans};
use std::sync::atomic::Ordering;

use crate::memory::Count::Forwarded;
use crate::memory::{POLICY, Rig, Shape};
use crate::says::{ACK, CLIENT, SECOND, SYN, VAULT, policy, relaxed, to_jump, to_vault, web_for};

impl Rig {
    fn sweep(&mut self, busy: bool) -> bool {
        self.worker.sweep(&self.time, busy)
    }

    fn waiting(&self) -> u64 {
        self.face.waiting.load(Ordering::Relaxed)
    }

    fn reviewed(&self) -> u32 {
        self.face.reviewed.load(Ordering::Relaxed)
    }
}

#[test]
fn a_flow_that_nobody_hits_is_ended_by_a_policy_that_denies_it() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let link = to_vault(family);
        let (syn, answer) =
            (link.tcp(40_000, 443, SYN, 1, 0, &[]), link.reply().tcp(443, 40_000, SYN | ACK, 9, 2, &[]));
        rig.forwarded(Side::Outside, &syn);
        rig.forwarded(Side::Inside, &answer);
        assert_eq!(rig.event().map(|event| event.kind), Some(EventKind::Allow));
        let allowed = rule("allow.web");
        rig.publish(policy(&web_for("[\"dns\"]"), 2));
        assert!(rig.sweep(false), "a thousand slots are one idle turn's");
        assert_eq!(rig.reviewed(), 2);

        let cut = rig.face.cuts.take().expect("one flow was cut");
        let (from, to) = (CLIENT[family].parse().unwrap(), VAULT[family].parse().unwrap());
        assert_eq!(
            cut,
            Cut {
                at: rig.time.now,
                ends: [(from, 40_000), (to, 443)],
                service: Service { protocol: 6, sport: 40_000, dport: 443, readable: true },
                vlans: Vlans::UNTAGGED,
                side: Side::Outside,
                was_generation: 1,
                was: allowed,
                generation: 2,
                reason: Reason::NoRule,
                rule: RuleNumber::NONE,
                by_packet: false,
                counts: [(1, syn.len() as u64), (1, answer.len() as u64)],
            }
        );
        assert_eq!((rig.face.cuts.take(), rig.face.cuts.lost()), (None, 0));
        let event = rig.event().expect("and an event tells of it");
        assert_eq!(
            (event.kind, event.side, event.reason, event.generation, event.mode),
            (EventKind::Cut, Side::Outside, Some(Reason::NoRule), 2, Mode::Enforce)
        );
        assert_eq!((event.addresses, event.length, event.src_mac), (Some((from, to)), 0, Mac::default()));
        assert_eq!(rig.event(), None);
        assert_eq!(rig.moved(Side::Outside), [], "no packet came, so nothing is counted as one");
        assert_eq!(rig.moved(Side::Inside), []);
        // It is gone: under the first policy again its next packet has no session.
        rig.publish(policy(POLICY, 3));
        rig.dropped(Side::Outside, &link.tcp(40_000, 443, ACK, 2, 10, &[]), Reason::TcpNoSession);
    }
}

/// The number of a rule in [`POLICY`].
fn rule(id: &str) -> RuleNumber {
    let table = policy(POLICY, 1).table;
    let place = table.rules().iter().position(|rule| rule.id == id).expect("it is there");
    RuleNumber(u32::try_from(place).unwrap())
}

#[test]
fn a_flow_that_stays_allowed_lives_and_is_judged_by_the_new_table() {
    let mut rig = Rig::under(POLICY);
    let (link, ping) = (to_vault(0), to_vault(1));
    rig.forwarded(Side::Outside, &link.tcp(40_000, 443, SYN, 1, 0, &[]));
    rig.forwarded(Side::Outside, &ping.echo(7, 1, b""));
    while rig.event().is_some() {}
    rig.publish(policy(POLICY, 2));
    assert!(rig.sweep(false));
    assert_eq!((rig.face.cuts.take(), rig.event()), (None, None));
    rig.forwarded(Side::Inside, &link.reply().tcp(443, 40_000, SYN | ACK, 9, 2, &[]));
    rig.forwarded(Side::Outside, &link.tcp(40_000, 443, ACK, 2, 10, &[]));
    rig.forwarded(Side::Inside, &ping.reply().echo_reply(7, 1, b""));
}

#[test]
fn a_flow_that_would_be_dropped_lives_where_nothing_is_enforced() {
    let mut rig = Rig::under(&relaxed());
    let link = to_jump(0);
    assert!(rig.crosses(Side::Outside, &link.tcp(5, 22, SYN, 1, 0, &[])));
    rig.publish(policy(POLICY, 2));
    assert!(rig.sweep(false));
    assert_eq!(rig.face.cuts.take(), None, "simulated: it crosses and is counted");
    let enforced = POLICY.replace("mode = \"simulate\"", "mode = \"enforce\"");
    rig.publish(policy(&enforced, 3));
    assert!(rig.sweep(false));
    let cut = rig.face.cuts.take().expect("enforced: it ends");
    assert_eq!((cut.reason, cut.was_generation, cut.generation), (Reason::NoRule, 2, 3));
}

#[test]
fn a_packet_that_ends_its_flow_lists_it_too() {
    let mut rig = Rig::under(POLICY);
    let link = to_vault(0);
    rig.forwarded(Side::Outside, &link.tcp(1, 443, SYN, 1, 0, &[]));
    rig.event();
    rig.publish(policy(&web_for("[\"dns\"]"), 2));
    rig.dropped(Side::Outside, &link.tcp(1, 443, SYN, 1, 0, &[]), Reason::NoRule);
    let cut = rig.face.cuts.take().expect("listed");
    assert!(cut.by_packet);
    assert_eq!((cut.was_generation, cut.was, cut.generation), (1, rule("allow.web"), 2));
    assert!(rig.sweep(false));
    assert_eq!((rig.face.cuts.take(), rig.event()), (None, None), "and only once");
}

/// ICMPv6 over IPv4 and ICMP over IPv6 are protocols like any other, with flows without ports: the hand asks
/// the policy about them as such, not about a ping.
#[test]
fn the_hand_takes_the_other_familys_icmp_for_the_protocol_that_it_is() {
    for (family, protocol) in [(0, 58), (1, 1)] {
        // What has no type is type 0 to a rule.
        let mut rig = Rig::under(&web_for("[\"icmp/0\", \"icmpv6/0\"]"));
        let link = to_vault(family);
        let frame = link.ip(protocol, &[8, 0, 0, 0, 0, 7, 0, 1]);
        rig.forwarded(Side::Outside, &frame);
        rig.event();
        rig.publish(policy(&web_for("[\"icmp/0\", \"icmpv6/0\", \"dns\"]"), 2));
        assert!(rig.sweep(false));
        assert_eq!((rig.reviewed(), rig.face.cuts.take()), (2, None), "allowed as before");
        rig.publish(policy(&web_for("[\"dns\"]"), 3));
        assert!(rig.sweep(false));
        let cut = rig.face.cuts.take().expect("no rule allows it any more");
        let service = Service { protocol, sport: 0, dport: 0, readable: true };
        assert_eq!((cut.service, cut.reason, cut.rule), (service, Reason::NoRule, RuleNumber::NONE));
        assert_eq!(rig.face.cuts.take(), None);
        rig.event();
        rig.dropped(Side::Outside, &frame, Reason::NoRule);
    }
}

#[test]
fn the_hand_moves_sixteen_slots_a_busy_turn() {
    let mut rig = Rig::shaped(POLICY, Shape { flows: 1_000, ..Shape::default() });
    rig.forwarded(Side::Outside, &to_vault(0).udp(1, 53, b"q"));
    assert!(!rig.sweep(true));
    let turns = 1 + (0..200).take_while(|_| !rig.sweep(true)).count() + 1;
    assert_eq!(turns, 1_000_usize.div_ceil(16));
    assert_eq!(rig.reviewed(), 1);
    rig.publish(policy(POLICY, 2));
    assert!(!rig.sweep(true), "and begins anew with each generation");
    assert_eq!(rig.reviewed(), 1);
}

/// The other hand, which ends flows that have fallen silent.
#[test]
fn the_clock_hand_moves_sixteen_slots_a_busy_turn_and_what_follows_it() {
    let mut rig = Rig::shaped(POLICY, Shape { flows: 1_000, ..Shape::default() });
    // As many turns as bring the hand back to the first slot.
    for port in 1..=125 {
        rig.forwarded(Side::Outside, &to_vault(0).udp(port, 53, b"q"));
    }
    rig.later(3_600 * SECOND);
    for round in 1..=7_u16 {
        rig.later(SECOND);
        rig.forwarded(Side::Outside, &to_vault(0).udp(1_000 + round, 53, b"q"));
        rig.sweep(true);
        let left = 125 - 16 * u64::from(round) + u64::from(round);
        assert_eq!(rig.face.gauges.load().flows, left, "after {round} turns");
    }
}

#[test]
fn cuts_that_find_the_list_full_are_counted_and_the_hand_goes_on() {
    let mut rig = Rig::shaped(POLICY, Shape { flows: 16_384, ..Shape::default() });
    let flows: u16 = 2_100;
    for port in 1..=flows {
        assert!(rig.crosses(Side::Outside, &to_vault(0).udp(port, 53, b"q")));
    }
    assert_eq!(rig.moved(Side::Outside).first(), Some(&(Forwarded, u64::from(flows))));
    rig.publish(policy(&web_for("[\"https\"]"), 2));
    let turns = (0..100).take_while(|_| !rig.sweep(false)).count();
    assert!(turns < 100, "nobody takes the list, and the hand is through all the same");
    let mut ports: Vec<u16> =
        std::iter::from_fn(|| rig.face.cuts.take()).map(|cut| cut.ends[0].1).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 2_048, "each is listed once");
    assert_eq!((rig.reviewed(), rig.face.cuts.lost()), (2, u64::from(flows) - 2_048));
}

/// A policy that begins to ask for a MAC ends no flow before its opener has shown one.
#[test]
fn a_flow_opened_before_macs_were_written_waits_for_its_openers_next_frame() {
    let before = POLICY
        .replace("macs = [\"02:00:00:10:00:01\"]\n", "")
        .replace("{ app = \"client\", service_account = \"client-prod\" }", "{ app = \"client\" }");
    assert!(
        !before.contains("02:00:00:10:00:01") && !before.contains("service_account = \"client-prod\" }")
    );
    for stranger in [false, true] {
        let mut rig = Rig::under(&before);
        let link = to_vault(0);
        let back = link.reply();
        rig.forwarded(Side::Outside, &link.tcp(40_000, 8_443, SYN, 1, 0, &[]));
        rig.forwarded(Side::Inside, &back.tcp(8_443, 40_000, SYN | ACK, 9, 2, &[]));
        rig.forwarded(Side::Outside, &link.tcp(40_000, 8_443, ACK, 2, 10, &[]));
        while rig.event().is_some() {}
        rig.publish(policy(POLICY, 2));
        assert!(rig.sweep(false));
        assert_eq!(rig.face.cuts.take(), None, "the hand leaves it");
        assert_eq!((rig.reviewed(), rig.waiting()), (2, 1), "and says so");
        rig.later(11_000_000_000);
        assert!(rig.sweep(false));
        assert_eq!(rig.waiting(), 1, "it waits still");
        let answer = back.tcp(8_443, 40_000, ACK, 10, 2, b"early");
        rig.dropped(Side::Inside, &answer, Reason::AccountNotHeld);
        assert_eq!(rig.face.cuts.take(), None, "it waits");
        if stranger {
            let other = Ends { src_mac: Mac([2, 0, 0, 0x66, 0, 1]), ..link };
            let says = other.tcp(40_000, 8_443, ACK, 2, 10, &[]);
            rig.dropped(Side::Outside, &says, Reason::AccountNotHeld);
            let cut = rig.face.cuts.take().expect("it is not who it should be");
            assert!(cut.by_packet && cut.reason == Reason::AccountNotHeld);
        } else {
            rig.forwarded(Side::Outside, &link.tcp(40_000, 8_443, ACK, 2, 10, &[]));
            rig.forwarded(Side::Inside, &answer);
            assert_eq!(rig.face.cuts.take(), None);
        }
        assert_eq!(rig.waiting(), 1, "nobody has looked since");
        rig.later(11_000_000_000);
        assert!(rig.sweep(false));
        assert_eq!((rig.reviewed(), rig.waiting()), (2, 0), "the hand goes round until none waits");
    }
}

/// A reply shows who asked, so its flow need not wait for the next packet to be judged.
#[test]
fn an_echo_of_which_only_the_reply_was_seen_is_judged_by_the_hand() {
    for (family, protocol, reply) in [(0, 1, 0), (1, 58, 0x8100)] {
        let answer = |to: &str| {
            let mut rig = Rig::under(&relaxed());
            let link =
                Ends::of(VAULT[family], to).macs(Mac([2, 0, 0, 0x20, 0, 1]), Mac([2, 0, 0, 0, 0, 7]));
            assert!(rig.crosses(Side::Inside, &link.echo_reply(7, 1, b"")));
            rig.publish(policy(POLICY, 2));
            assert!(rig.sweep(false));
            assert_eq!((rig.reviewed(), rig.waiting()), (2, 0));
            rig
        };
        // Who asked may ask, and is taken for the opener.
        assert_eq!(answer(CLIENT[family]).face.cuts.take(), None);
        // Between these nobody may.
        let stranger = ["192.0.2.77", "2001:db8:77::1"][family];
        let cut = answer(stranger).face.cuts.take().expect("it ends");
        assert_eq!(cut.ends, [(VAULT[family].parse().unwrap(), 6), (stranger.parse().unwrap(), 7)]);
        assert_eq!(cut.service, Service { protocol, sport: 0, dport: reply, readable: true });
        assert_eq!((cut.by_packet, cut.side, cut.reason), (false, Side::Inside, Reason::NoRule));
    }
}

//! What holds for any bytes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::beside::beside_etherparse;
use super::oracle::twin;
use super::recipe::{frame, sane_flags};
use super::{facts, packet};
use crate::wire::samples::{Ends, every_kind, padded};
use crate::wire::{Fragment, L4, Net, Odd, Plain, TcpFlags, Vlans, glimpse, parse, residue};

/// Everything a frame is asked on its way, for its panics.
fn ask(frame: &[u8]) {
    let _ = glimpse(frame);
    let Ok(facts) = parse(frame) else { return };
    let _ = facts.housekeeping();
    let Net::Ip(ip) = facts.net else { return assert_eq!(facts.key(), None) };
    let _ = ip.service();
    assert!(facts.key().is_some());
    if let L4::Icmp(icmp) = ip.l4
        && let Some(quote) = icmp.quote
    {
        let _ = quote.key(facts.vlans);
    }
}

fn agrees(frame: &[u8]) {
    assert_eq!(parse(frame), twin(frame), "{frame:02x?}");
    beside_etherparse(frame);
    glance(frame);
}

/// Whether the frame is plain; if so, `parse` reads the same and finds nothing odd but in its key.
fn glance(frame: &[u8]) -> bool {
    let mut plain = Plain::BLANK;
    if !plain.read(frame) {
        return false;
    }
    let facts = parse(frame).expect("a plain frame can be read");
    let Net::Ip(ip) = facts.net else { panic!("{facts:?}") };
    let (key, from_a) = facts.key().unwrap();
    assert_eq!(plain.facts(frame), facts, "{frame:02x?}");
    match facts.odd {
        // Odd in any case, so its key is no flow's: the ends are in the order of their ports.
        _ if ip.src == ip.dst => assert!(facts.odd.is_some()),
        None
        | Some(Odd::SourceNotUnicast | Odd::Loopback | Odd::Reserved | Odd::PortZero | Odd::LinkLocal) => {
            assert_eq!((plain.key, plain.from_a), (key, from_a), "{frame:02x?}");
        }
        Some(Odd::Land | Odd::SourceRoute | Odd::TcpFlags | Odd::Redirect) => panic!("{facts:?}"),
    }
    assert_eq!((ip.fragment, facts.housekeeping()), (Fragment::Whole, None));
    match ip.l4 {
        L4::Tcp(tcp) => assert_eq!(plain.tcp, Some(tcp)),
        L4::Udp { .. } => assert_eq!(plain.tcp, None),
        L4::Sctp { .. } | L4::Icmp(_) | L4::Other | L4::Absent | L4::Remembered { .. } => {
            panic!("{facts:?}")
        }
    }
    if plain.fills_frame {
        assert_eq!(residue(frame), None, "{frame:02x?}");
        assert!(plain.read(&[frame, &[0xa5]].concat()) && !plain.fills_frame, "{frame:02x?}");
    }
    true
}

#[test]
fn plain_are_tcp_and_udp_of_both_families_with_a_tag_or_without() {
    for ends in [Ends::of("10.10.0.5", "10.20.0.9"), Ends::of("2001:db8:10::5", "fd00:20::9")] {
        for vlans in [Vlans::UNTAGGED, Vlans { outer: 20, inner: Vlans::NONE }] {
            for ends in [ends.on(vlans), ends.reply().on(vlans)] {
                assert!(glance(&ends.tcp(40_000, 443, TcpFlags::ACK, 9, 9, b"")));
                assert!(glance(&ends.tcp(40_000, 443, TcpFlags::ACK | TcpFlags::PSH, 9, 9, b"data")));
                assert!(glance(&padded(&ends.udp(40_000, 53, b"question"))));
                assert!(glance(&ends.tcp(40_000, 443, TcpFlags::SYN, 9, 9, b"")));
                assert!(!glance(&ends.tcp(40_000, 443, TcpFlags::SYN | TcpFlags::ACK, 9, 9, b"")));
                assert!(!glance(&ends.tcp(40_000, 443, TcpFlags::SYN | TcpFlags::FIN, 9, 9, b"")));
                assert!(!glance(&padded(&ends.udp(67, 68, b"question"))));
                assert!(!glance(&ends.fragment(17, 7, 0, true, &[0; 64])));
            }
        }
    }
}

/// The short way is taken by what makes up nearly all traffic, tagged once or not.
#[test]
fn ordinary_packets_are_plain() {
    let mut runner = TestRunner::deterministic();
    let mut plain = 0;
    for _ in 0..4_000 {
        let frame = frame().new_tree(&mut runner).unwrap().current();
        plain += u32::from(glance(&frame));
    }
    assert!(plain > 40, "{plain}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn any_bytes(frame in vec(any::<u8>(), 0..200)) {
        ask(&frame);
        agrees(&frame);
    }

    #[test]
    fn any_packet(ethertype in prop::sample::select(vec![[8, 0], [0x86, 0xdd], [8, 6], [0x81, 0]]),
                  rest in vec(any::<u8>(), 0..120)) {
        let frame = [&[2; 12][..], &ethertype, &rest].concat();
        ask(&frame);
        agrees(&frame);
    }

    #[test]
    fn likely_frames(frame in frame()) {
        ask(&frame);
        agrees(&frame);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_beginning_of_a_frame(frame in frame()) {
        for length in 0..=frame.len() {
            ask(&frame[..length]);
            agrees(&frame[..length]);
        }
    }
}

#[test]
fn samples_cut_and_spoilt() {
    for (_, sample) in every_kind() {
        for length in 0..=sample.len() {
            agrees(&sample[..length]);
        }
        for at in 0..sample.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, sample[at] ^ 1, sample[at].wrapping_add(1)] {
                let mut frame = sample.clone();
                frame[at] = value;
                ask(&frame);
                agrees(&frame);
            }
        }
    }
}

/// A generator that never makes some case proves nothing about it.
#[test]
fn the_recipe_reaches_every_reason() {
    let mut runner = TestRunner::deterministic();
    let strategy = frame();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..30_000 {
        let frame = strategy.new_tree(&mut runner).unwrap().current();
        let name = match parse(&frame) {
            Err(why) => format!("{why:?}"),
            Ok(facts) => {
                if let Some(odd) = facts.odd {
                    *seen.entry(format!("odd {odd:?}")).or_default() += 1;
                }
                match facts.net {
                    Net::Ip(ip) if matches!(ip.l4, L4::Icmp(icmp) if icmp.quote.is_some()) => {
                        "quote".into()
                    }
                    Net::Ip(ip) => {
                        let whole = format!("{:?}", ip.fragment);
                        let upper = format!("{:?}", ip.l4);
                        let [whole, upper] =
                            [&whole, &upper].map(|text| text.split([' ', '(']).next().unwrap().to_owned());
                        format!("{whole} {upper}")
                    }
                    Net::Arp(_) => "arp".into(),
                    Net::Bpdu => "bpdu".into(),
                    Net::Other => "other".into(),
                }
            }
        };
        *seen.entry(name).or_default() += 1;
    }
    for name in [
        "Truncated",
        "TooManyTags",
        "VlanReserved",
        "Version",
        "HeaderLength",
        "TotalLength",
        "HeaderChecksum",
        "Jumbogram",
        "ExtensionHeader",
        "DataOffset",
        "UdpLength",
        "FragmentInvalid",
        "FragmentTiny",
        "FragmentNdp",
        "odd SourceNotUnicast",
        "odd Loopback",
        "odd Reserved",
        "odd Land",
        "odd SourceRoute",
        "odd TcpFlags",
        "odd PortZero",
        "odd Redirect",
        "odd LinkLocal",
        "quote",
        "arp",
        "bpdu",
        "other",
        "Whole Tcp",
        "Whole Udp",
        "Whole Sctp",
        "Whole Icmp",
        "Whole Other",
        "First Tcp",
        "First Udp",
        "First Sctp",
        "First Icmp",
        "First Other",
        "Later Absent",
    ] {
        assert!(seen.get(name).is_some_and(|&times| times >= 10), "{name}: {seen:#?}");
    }
}

/// So few that both ends are often one address: then the ports alone tell the directions apart.
fn address(v6: bool) -> BoxedStrategy<IpAddr> {
    (0..3_u8)
        .prop_map(move |last| {
            if v6 {
                IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)])
            } else {
                IpAddr::from([10, 0, 0, last])
            }
        })
        .boxed()
}

fn ends() -> impl Strategy<Value = Ends> {
    let vlans = prop::sample::select(vec![
        Vlans::UNTAGGED,
        Vlans { outer: 20, inner: Vlans::NONE },
        Vlans { outer: 100, inner: 20 },
    ]);
    any::<bool>()
        .prop_flat_map(|v6| (address(v6), address(v6)))
        .prop_flat_map(move |(src, dst)| vlans.clone().prop_map(move |vlans| Ends::new(src, dst).on(vlans)))
}

proptest! {
    #[test]
    fn both_directions_have_one_key(
        ends in ends(), sport in 1..=u16::MAX, dport in 1..=u16::MAX, flags in sane_flags(),
        payload in vec(any::<u8>(), 0..32),
    ) {
        let back = ends.reply();
        let pairs = [
            (ends.tcp(sport, dport, flags, 1, 2, &payload), back.tcp(dport, sport, flags, 3, 4, &payload)),
            (ends.udp(sport, dport, &payload), back.udp(dport, sport, &payload)),
            (ends.sctp(sport, dport, 1, &payload), back.sctp(dport, sport, 2, &payload)),
            (ends.echo(sport, 1, &payload), back.echo_reply(sport, 1, &payload)),
            (ends.ip(47, &payload), back.ip(47, &payload)),
        ];
        for (there, back) in pairs {
            let (key, from_a) = facts(&there).key().unwrap();
            let (back_key, back_from_a) = facts(&back).key().unwrap();
            prop_assert_eq!(key, back_key);
            let (ours, theirs) = packet(&there).key_ports();
            let same_end = ends.src == ends.dst && ours == theirs;
            prop_assert_eq!(from_a, if same_end { back_from_a } else { !back_from_a });
            // An error about the first packet, sent by its receiver, names the same flow.
            let (kind, code) = if ends.src.is_ipv6() { (1, 4) } else { (3, 3) };
            let error = packet(&ends.reply().icmp_error(kind, code, [0; 4], &there));
            let L4::Icmp(icmp) = error.l4 else { panic!("no ICMP") };
            let quote = icmp.quote;
            prop_assert_eq!(quote.map(|quote| quote.key(ends.vlans)), Some((key, from_a)));
        }
    }

    #[test]
    fn hosts_that_ping_each_other_with_one_identifier_have_two_flows(ends in ends(), id in any::<u16>()) {
        prop_assume!(ends.src != ends.dst);
        let key = |frame: &[u8]| facts(frame).key().unwrap().0;
        prop_assert_ne!(key(&ends.echo(id, 1, b"")), key(&ends.reply().echo(id, 1, b"")));
        prop_assert_ne!(key(&ends.echo_reply(id, 1, b"")), key(&ends.reply().echo_reply(id, 1, b"")));
    }

    #[test]
    fn what_differs_has_another_key(ends in ends(), sport in 1..u16::MAX, dport in 1..u16::MAX) {
        prop_assume!(ends.src != ends.dst);
        let key = |frame: &[u8]| facts(frame).key().unwrap().0;
        let this = key(&ends.tcp(sport, dport, 2, 0, 0, b""));
        let elsewhere = Vlans { outer: 21, inner: Vlans::NONE };
        prop_assert_ne!(this, key(&ends.tcp(sport + 1, dport, 2, 0, 0, b"")));
        prop_assert_ne!(this, key(&ends.tcp(sport, dport + 1, 2, 0, 0, b"")));
        prop_assert_ne!(this, key(&ends.udp(sport, dport, b"")));
        let association = key(&ends.sctp(sport, dport, 1, b""));
        prop_assert_ne!(this, association);
        prop_assert_ne!(association, key(&ends.sctp(sport + 1, dport, 1, b"")));
        prop_assert_ne!(association, key(&ends.sctp(sport, dport + 1, 1, b"")));
        prop_assert_eq!(association, key(&ends.sctp(sport, dport, 2, b"more")));
        prop_assert_ne!(this, key(&ends.on(elsewhere).tcp(sport, dport, 2, 0, 0, b"")));
        if sport != dport {
            prop_assert_ne!(this, key(&ends.reply().tcp(sport, dport, 2, 0, 0, b"")));
        }
    }
}

//! Any bytes as a frame: no panic, and what the facts promise holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::wire::{Fragment, Housekeeping, Ip, Key, L4, Net, Plain, Reply, Vlans, parse, residue};

fuzz_target!(|frame: &[u8]| {
    let mut plain = Plain::BLANK;
    let plain = plain.read(frame).then_some(plain);
    let Ok(facts) = parse(frame) else { return assert_eq!(plain, None) };
    assert_eq!(usize::try_from(facts.length), Ok(frame.len()));
    assert!(facts.vlans.outer != Vlans::NONE || facts.vlans.inner == Vlans::NONE);
    for reply in [Reply::Reset, Reply::Unreachable] {
        let mut into = [0xa5; Reply::LONGEST];
        let written = reply.write(frame, &mut into);
        assert_eq!(written.is_some(), reply.may_answer(&facts));
        if let Some(written) = written {
            let back = parse(written).expect("a reply can be read");
            assert_eq!(
                (back.src_mac, back.dst_mac, back.vlans),
                (facts.dst_mac, facts.src_mac, facts.vlans)
            );
        }
    }
    let housekeeping = facts.housekeeping();
    match facts.net {
        Net::Arp(_) => assert_eq!(housekeeping, Some(Housekeeping::Arp)),
        Net::Bpdu => assert_eq!(housekeeping, Some(Housekeeping::Stp)),
        Net::Other => assert!(housekeeping.is_some()),
        Net::Ip(ip) => packet(ip, facts.vlans, frame.len()),
    }
    let Net::Ip(ip) = facts.net else { return assert_eq!(facts.key(), None) };
    let (sport, dport) = ip.key_ports();
    let same = Key::new(ip.src, ip.dst, sport, dport, ip.protocol, facts.vlans);
    assert_eq!(facts.key(), Some(same));
    if let Some(plain) = plain {
        assert_eq!(plain.facts(frame), facts);
        assert!(!plain.fills_frame || residue(frame).is_none());
        assert_eq!((ip.fragment, housekeeping), (Fragment::Whole, None));
        assert!((ip.src == ip.dst && facts.odd.is_some()) || (plain.key, plain.from_a) == same);
        match ip.l4 {
            L4::Tcp(tcp) => assert_eq!(plain.tcp, Some(tcp)),
            L4::Udp { .. } => assert_eq!(plain.tcp, None),
            L4::Sctp { .. } | L4::Icmp(_) | L4::Other | L4::Absent | L4::Remembered { .. } => {
                unreachable!()
            }
        }
    }
});

fn packet(ip: Ip, vlans: Vlans, frame: usize) {
    assert_eq!(ip.src.is_ipv6(), ip.dst.is_ipv6());
    assert_eq!(ip.service().readable, ip.l4 != L4::Absent);
    match ip.fragment {
        Fragment::Whole => assert_ne!(ip.l4, L4::Absent),
        Fragment::First { length, .. } => {
            assert!(ip.l4 != L4::Absent && length % 8 == 0 && usize::from(length) < frame);
            assert_eq!(ip.housekeeping(), None);
        }
        Fragment::Later { offset, length, more, .. } => {
            assert_eq!((ip.l4, offset % 8), (L4::Absent, 0));
            assert!(offset > 0 && length > 0 && usize::from(length) < frame);
            assert!(u32::from(offset) + u32::from(length) <= 65_535 && (!more || length % 8 == 0));
            assert_eq!(ip.housekeeping(), None);
        }
    }
    // Both directions have one key, seen from opposite ends.
    let (sport, dport) = ip.key_ports();
    let (there, from_a) = Key::new(ip.src, ip.dst, sport, dport, ip.protocol, vlans);
    let (back, back_from_a) = Key::new(ip.dst, ip.src, dport, sport, ip.protocol, vlans);
    assert_eq!(there, back);
    assert_eq!(from_a == back_from_a, (ip.src, sport) == (ip.dst, dport));
    match ip.l4 {
        L4::Tcp(tcp) => {
            assert!(usize::from(tcp.payload) < frame && tcp.scale.is_none_or(|shift| shift <= 14));
        }
        L4::Icmp(icmp) => {
            if let Some(quote) = icmp.quote {
                assert!(icmp.is_error(ip.src.is_ipv6()));
                assert_eq!(quote.src.is_ipv6(), ip.src.is_ipv6());
                assert_eq!(quote.key(vlans).0.is_v6(), ip.src.is_ipv6());
            }
        }
        L4::Udp { .. } | L4::Sctp { .. } | L4::Other | L4::Absent | L4::Remembered { .. } => {}
    }
}

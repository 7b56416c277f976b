//! F1.6c to F1.6g, F1.7a, F1.7b: addresses that have no business on a wire, whatever rules say.

use portcullis::pipeline::Reason;
use portcullis::wire::samples::{Ends, dhcp};
use portcullis::wire::{Mac, Side, TcpFlags};

use crate::fragments::both_ways;
use crate::ground::Ground;
use crate::policy::{client_to_server, everything};

/// A SYN, a datagram, a ping and a packet of another protocol between these ends.
fn kinds(ends: &Ends) -> [(&'static str, Vec<u8>); 4] {
    [
        ("TCP", ends.tcp(40_000, 443, TcpFlags::SYN, 1, 0, b"")),
        ("UDP", ends.udp(40_000, 53, b"question")),
        ("echo", ends.echo(7, 1, b"ping")),
        ("GRE", ends.ip(47, &[0, 0, 8, 0])),
    ]
}

/// Each address as a source, and as a destination where it is wrong there too.
fn everywhere(ground: &mut Ground, row: &str, addresses: &[&str], as_target: bool, reason: Reason) {
    let [v4, v6] = client_to_server();
    for address in addresses {
        let own = if address.contains(':') { v6 } else { v4 };
        let address = address.parse().unwrap();
        ground.about(&format!("{row} {address}"), &own);
        for (kind, frame) in kinds(&Ends { src: address, ..own }) {
            ground.drops(&format!("{kind} from it"), Side::Outside, &frame, reason);
        }
        let back = own.reply();
        let [(kind, frame), ..] = kinds(&Ends { src: address, ..back });
        ground.drops(&format!("{kind} from it, inside"), Side::Inside, &frame, reason);
        if as_target {
            for (kind, frame) in kinds(&Ends { dst: address, ..own }) {
                ground.drops(&format!("{kind} to it"), Side::Outside, &frame, reason);
            }
            let [(kind, frame), ..] = kinds(&Ends { dst: address, ..back });
            ground.drops(&format!("{kind} to it, from inside"), Side::Inside, &frame, reason);
        }
    }
}

/// What differs in its addresses alone crosses.
fn ordinary(ground: &mut Ground) {
    for (side, ends) in both_ways() {
        ground.about("ordinary", &ends);
        for (kind, frame) in kinds(&ends) {
            ground.crosses(kind, side, &frame);
        }
    }
}

#[test]
fn a_broadcast_multicast_or_loopback_source_is_dropped_by_name() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    ordinary(&mut ground);
    let ground = &mut ground;
    everywhere(ground, "F1.6c", &["255.255.255.255"], false, Reason::SourceNotUnicast);
    let groups = ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"];
    everywhere(ground, "F1.6d", &groups, false, Reason::SourceNotUnicast);
    everywhere(ground, "F1.6e", &["127.0.0.1", "127.255.255.254", "::1"], true, Reason::Loopback);
    // The frame's own source, too.
    for (side, ends) in both_ways() {
        for (what, mac) in [
            ("F1.6c from the broadcast MAC", Mac([0xff; 6])),
            ("F1.6d from an IPv4 group's MAC", Mac([1, 0, 0x5e, 0, 0, 1])),
            ("F1.6d from an IPv6 group's MAC", Mac([0x33, 0x33, 0, 0, 0, 1])),
        ] {
            ground.about(what, &ends);
            for (kind, frame) in kinds(&ends.macs(mac, ends.dst_mac)) {
                ground.drops(kind, side, &frame, Reason::SourceNotUnicast);
            }
        }
    }
}

#[test]
fn an_unspecified_or_reserved_address_is_dropped_and_dhcp_is_not() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    let reserved = ["0.0.0.0", "0.1.2.3", "240.0.0.1", "255.255.255.254"];
    everywhere(&mut ground, "F1.6f", &reserved, true, Reason::ReservedAddress);
    let asks = Ends::of("0.0.0.0", "255.255.255.255").macs(Mac([2, 0, 0, 0, 0, 1]), Mac([0xff; 6]));
    ground.about("F1.6f", &asks);
    let odd = Some(Reason::ReservedAddress);
    let first = [0, 68, 0, 67, 0, 32, 0, 0];
    for side in Side::BOTH {
        ground.table(
            side,
            &[
                ("a DHCP client asks", asks.udp(68, 67, &dhcp(1)), None),
                ("not in the form of DHCP", asks.udp(68, 67, b"discover"), odd),
                ("from another port", asks.udp(40_000, 67, &dhcp(1)), odd),
                ("as TCP", asks.tcp(68, 67, TcpFlags::SYN, 1, 0, b""), odd),
                ("in fragments", asks.fragment(17, 1, 0, true, &first), odd),
                (
                    "of one host",
                    Ends { dst: "10.20.0.9".parse().unwrap(), ..asks }.udp(68, 67, &dhcp(1)),
                    odd,
                ),
            ],
        );
    }
}

/// RFC 4291: unicast outside `2000::/3`, with the exemptions that keep IPv6 alive.
#[test]
fn an_address_outside_global_unicast_is_dropped_and_what_ipv6_lives_on_is_not() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    let reserved =
        ["::", "::2", "::ffff:10.0.0.1", "64:ff9b::1", "1fff::1", "4000::1", "fec0::1", "f800::1"];
    everywhere(&mut ground, "F1.6g", &reserved, true, Reason::ReservedAddress);
    let odd = Some(Reason::ReservedAddress);
    let unique = Ends::of("fd00:10::5", "fd00:20::9");
    ground.about("F1.6g", &unique);
    let stray = Ends::of("fd00:11::5", "fd00:20::9");
    let dad = Ends::of("::", "fe80::9");
    let mld = Ends::of("::", "ff02::16");
    let report = |from: &str, to: &str| Ends::of(from, to).hops(1).icmp(143, 0, [0; 4], b"anything");
    let solicit = |hops| Ends::of("::", "ff02::1:ff00:9").hops(hops).icmp(135, 0, [0; 4], &[0; 16]);
    ground.table(
        Side::Outside,
        &[
            ("unique local, of the wire's networks", unique.udp(40_000, 53, b"question"), None),
            ("its answer's side", unique.udp(40_001, 53, b"question"), None),
            ("unique local, of no network", stray.udp(40_000, 53, b"question"), Some(Reason::UniqueLocal)),
            ("duplicate address detection", dad.ndp_solicit(), None),
            ("the same, routed once", solicit(254), odd),
            ("the same, to one host", dad.hops(255).icmp(135, 0, [0; 4], &[0; 16]), odd),
            ("a listener's report with hop limit 1", mld.hops(1).icmp(143, 0, [0; 4], &[]), None),
            ("the same to one host", report("::", "2001:db8:20::9"), odd),
            ("and from a link-local address", report("fe80::5", "2001:db8:20::9"), Some(Reason::LinkLocal)),
            ("the same with hop limit 2", mld.hops(2).icmp(143, 0, [0; 4], &[]), odd),
            ("a solicitation with hop limit 255", Ends::of("fe80::5", "fe80::9").ndp_solicit(), None),
            ("the edges of global unicast", Ends::of("2000::1", "2001:db8:20::9").echo(1, 1, b""), None),
            ("and the other one", Ends::of("3fff:ffff::1", "2001:db8:20::9").echo(1, 1, b""), None),
        ],
    );
}

#[test]
fn a_link_local_address_is_dropped_beyond_neighbour_discovery() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    let local = ["169.254.0.1", "169.254.255.254", "fe80::1", "febf::1"];
    everywhere(&mut ground, "F1.7b", &local, true, Reason::LinkLocal);
    let link = Ends::of("fe80::1", "fe80::2");
    ground.about("F1.7b", &link);
    let odd = Some(Reason::LinkLocal);
    let group = Ends::of("fe80::1", "ff02::fb");
    for side in Side::BOTH {
        ground.table(
            side,
            &[
                ("a solicitation", link.ndp_solicit(), None),
                ("an advertisement", link.ndp_advertise(), None),
                ("an advertisement, routed once", link.hops(254).icmp(136, 0, [0; 4], &[0; 16]), odd),
                ("an advertisement with a code", link.hops(255).icmp(136, 1, [0; 4], &[0; 16]), odd),
                ("a ping", link.hops(255).echo(1, 1, b""), odd),
                ("a name asked of the group", group.udp(5353, 5353, b"name"), odd),
                ("a later fragment", link.hops(255).fragment(58, 1, 8, false, &[0; 8]), odd),
            ],
        );
    }
}

#[test]
fn an_address_of_the_gate_itself_is_dropped_at_either_end() {
    let own = r#"management = ["10.10.0.77", "10.20.0.77", "2001:db8:10::77", "2001:db8:20::77"]"#;
    let Some(mut ground) = Ground::under(&everything(own)) else { return };
    ordinary(&mut ground);
    let addresses = ["10.10.0.77", "10.20.0.77", "2001:db8:10::77", "2001:db8:20::77"];
    everywhere(&mut ground, "F1.7a", &addresses, true, Reason::GateAddress);
    let speaks = Ends::of("10.10.0.77", "10.20.0.9");
    ground.about("F1.7a ARP", &speaks);
    let asks = Ends::of("10.10.0.5", "10.20.0.77");
    ground.table(
        Side::Outside,
        &[
            ("ARP for it", speaks.arp(2), Some(Reason::GateAddress)),
            ("ARP that asks for it", asks.arp(1), None),
            ("DHCP from it", speaks.udp(68, 67, &dhcp(3)), Some(Reason::GateAddress)),
        ],
    );
    let speaks = Ends::of("2001:db8:10::77", "2001:db8:20::9");
    ground.about("F1.7a NDP", &speaks);
    let asks = Ends::of("2001:db8:10::5", "2001:db8:20::77");
    let link = Ends { src: "fe80::5".parse().unwrap(), ..speaks };
    let target: std::net::Ipv6Addr = "2001:db8:10::77".parse().unwrap();
    let named = [&target.octets()[..], &[2, 1], &link.src_mac.0].concat();
    let link = link.hops(255).icmp(136, 0, [0x60, 0, 0, 0], &named);
    ground.table(
        Side::Outside,
        &[
            ("an advertisement from it", speaks.ndp_advertise(), Some(Reason::GateAddress)),
            ("a solicitation from it", speaks.ndp_solicit(), Some(Reason::GateAddress)),
            ("an advertisement of it from another", link, Some(Reason::GateAddress)),
            ("a solicitation that asks for it", asks.ndp_solicit(), None),
        ],
    );
}

/// What is configured later holds for flows that live, too.
#[test]
fn a_live_flow_of_an_address_that_becomes_the_gates_own_is_dropped() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    let [v4, v6] = client_to_server();
    for ends in [v4, v6] {
        ground.about("F1.7a, before", &ends);
        ground.crosses("a question", Side::Outside, &ends.udp(40_000, 53, b"question"));
        ground.crosses("its answer", Side::Inside, &ends.reply().udp(53, 40_000, b"answer"));
    }
    ground.reload_ending(&everything(r#"management = ["10.10.0.5", "2001:db8:10::5"]"#), 2);
    for ends in [v4, v6] {
        ground.about("F1.7a, after", &ends);
        let own = Reason::GateAddress;
        ground.drops("a question", Side::Outside, &ends.udp(40_000, 53, b"question"), own);
        ground.drops("an answer", Side::Inside, &ends.reply().udp(53, 40_000, b"answer"), own);
    }
}

#[test]
fn a_link_local_address_crosses_where_the_gate_forwards_it_and_no_longer() {
    let Some(mut ground) = Ground::under(&everything(r#"link_local = "forward""#)) else { return };
    let [v4, v6] = client_to_server();
    let both = [("169.254.0.1", v4), ("fe80::1", v6)];
    for (address, ends) in both {
        ground.about("F1.7b, forwarded", &ends);
        let from = Ends { src: address.parse().unwrap(), ..ends };
        for (kind, frame) in kinds(&from) {
            ground.crosses(&format!("{kind} from it"), Side::Outside, &frame);
        }
        // It belongs to a side as any other address does.
        let inside = Ends { src: address.parse().unwrap(), ..ends.reply() };
        for (kind, frame) in kinds(&inside) {
            ground.drops(&format!("{kind} from it, inside"), Side::Inside, &frame, Reason::Spoofed);
        }
    }
    ground.reload_ending(&everything(""), 2 * kinds(&v4).len());
    for (address, ends) in both {
        ground.about("F1.7b, no longer", &ends);
        let from = Ends { src: address.parse().unwrap(), ..ends };
        for (kind, frame) in kinds(&from) {
            ground.drops(&format!("{kind} from it"), Side::Outside, &frame, Reason::LinkLocal);
        }
    }
}

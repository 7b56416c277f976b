//! ARP and neighbour discovery that speak for somebody else's address: part of F1.7c, between neighbours.

use portcullis::pipeline::Reason;
use portcullis::wire::samples::Ends;
use portcullis::wire::{Mac, Side};

use crate::ground::Ground;
use crate::policy::{client_to_server, rules};

const OUT: Side = Side::Outside;
const IN: Side = Side::Inside;
const SERVER: Mac = Mac([2, 0, 0, 0x20, 0, 1]);
/// Claimed by the server, and made of its MAC.
const LOCAL: &str = "fe80::9";
const MADE: &str = "fe80::ff:fe20:1";
const OTHER: Mac = Mac([2, 0, 0, 0x66, 0, 1]);

fn from(mac: Mac, src: &str, dst: &str) -> Ends {
    Ends { src_mac: mac, ..Ends::of(src, dst) }
}

fn probe_of(target: &str) -> Vec<u8> {
    from(OTHER, "0.0.0.0", target).arp(1)
}

/// ARP that names another MAC than its frame does.
fn naming(mac: Mac, mut arp: Vec<u8>) -> Vec<u8> {
    arp[22..28].copy_from_slice(&mac.0);
    arp
}

/// An advertisement to all nodes that this target has this MAC.
fn advertise(ends: &Ends, target: &str, mac: Mac) -> Vec<u8> {
    let target: std::net::Ipv6Addr = target.parse().unwrap();
    let body = [&target.octets()[..], &[2, 1], &mac.0].concat();
    let all = Ends { dst: "ff02::1".parse().unwrap(), dst_mac: Mac([0x33, 0x33, 0, 0, 0, 1]), ..*ends };
    all.hops(255).icmp(136, 0, [0x20, 0, 0, 0], &body)
}

fn written() -> String {
    let server = "addresses = [\"10.20.0.9\", \"2001:db8:20::9\"]";
    let claimed = server.replace(']', ", \"fe80::9\"]");
    let text = rules("").replace(server, &format!("{claimed}\nmacs = [\"{SERVER}\"]"));
    let text = text.replace("at = \"w.outside\"", "at = \"w.outside\"\nvia = [\"02:00:00:00:00:fe\"]");
    assert!(text.contains("macs") && text.contains("via"));
    text
}

#[test]
fn arp_that_speaks_for_another_is_dropped_by_name() {
    let Some(mut ground) = Ground::under(&written()) else { return };
    let [ends, _] = client_to_server();
    ground.about("F1.7c ARP", &ends);
    let side = Some(Reason::ArpWrongSide);
    let mac = Some(Reason::ArpWrongMac);
    let source = Some(Reason::ArpWrongSource);
    for operation in [1, 2] {
        let back = ends.reply();
        ground.table(
            OUT,
            &[
                ("the client", ends.arp(operation), None),
                ("the server's address from outside", back.arp(operation), side),
                (
                    "a free address of the inside",
                    from(OTHER, "10.20.0.99", "10.10.0.5").arp(operation),
                    side,
                ),
                (
                    "another MAC than the frame's",
                    naming(SERVER, from(OTHER, "192.0.2.7", "10.20.0.9").arp(operation)),
                    source,
                ),
            ],
        );
        ground.table(
            IN,
            &[
                ("the server", back.arp(operation), None),
                ("the client's address from inside", ends.arp(operation), side),
                ("the server's address, another MAC", Ends { src_mac: OTHER, ..back }.arp(operation), mac),
                (
                    "the server's MAC, another frame's",
                    naming(SERVER, Ends { src_mac: OTHER, ..back }.arp(operation)),
                    source,
                ),
            ],
        );
    }
    // Only its holder can defend an address: it must hear who is about to take it.
    let probe = from(OTHER, "0.0.0.0", "10.20.0.9").arp(1);
    ground.table(
        OUT,
        &[
            ("a probe of the server's address", probe.clone(), None),
            ("that names another's MAC", naming(SERVER, probe.clone()), source),
            ("on a VLAN of which the address is not", probe_of("10.21.0.9"), Some(Reason::WrongVlan)),
            ("as an answer", from(OTHER, "0.0.0.0", "10.20.0.9").arp(2), Some(Reason::ArpMalformed)),
            ("of no address", probe_of("0.0.0.0"), Some(Reason::ArpMalformed)),
            ("of a group", probe_of("224.0.0.5"), Some(Reason::ArpMalformed)),
        ],
    );
    ground.table(
        IN,
        &[
            ("the same inside, by another", probe, mac),
            ("and by the server", from(SERVER, "0.0.0.0", "10.20.0.9").arp(1), None),
            ("the server defends it", ends.reply().arp(2), None),
        ],
    );
    for sender in ["127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "0.1.2.3"] {
        for operation in [1, 2] {
            let frame = from(OTHER, sender, "10.20.0.9").arp(operation);
            ground.drops(&format!("ARP of {sender}"), OUT, &frame, Reason::ArpMalformed);
        }
    }
    for operation in [0, 3, 4, 8, 25, 0x0100, u16::MAX] {
        let frame = ends.arp(operation);
        ground.drops(&format!("ARP operation {operation}"), OUT, &frame, Reason::ArpMalformed);
    }
    ground.table(OUT, &[("ARP cut short", ends.arp(1)[..41].to_vec(), Some(Reason::Truncated))]);
}

#[test]
fn neighbour_discovery_that_speaks_for_another_is_dropped_by_name() {
    let Some(mut ground) = Ground::under(&written()) else { return };
    let [_, ends] = client_to_server();
    ground.about("F1.7c NDP", &ends);
    let back = ends.reply();
    let side = Some(Reason::NdpWrongSide);
    let mac = Some(Reason::NdpWrongMac);
    let source = Some(Reason::NdpWrongSource);
    let link = from(OTHER, "fe80::66", "::1");
    let router = |mac| from(mac, "fe80::1", "ff02::1").hops(255).icmp(134, 0, [64, 0, 7, 8], &[0; 8]);
    let malformed = Some(Reason::NdpMalformed);
    ground.table(
        OUT,
        &[
            ("the client asks", ends.ndp_solicit(), None),
            ("the server's address advertised outside", back.ndp_advertise(), side),
            ("and asked from", back.ndp_solicit(), side),
            // Only its holder can defend it.
            ("and about to be taken", from(OTHER, "::", "2001:db8:20::9").ndp_solicit(), None),
            (
                "an address of another VLAN",
                from(OTHER, "::", "2001:db8:21::9").ndp_solicit(),
                Some(Reason::WrongVlan),
            ),
            ("the server's link-local one advertised", advertise(&link, LOCAL, OTHER), side),
            ("and one that claims to be made of its MAC", advertise(&link, MADE, OTHER), side),
            ("and asked from", Ends { src: MADE.parse().unwrap(), ..ends }.ndp_solicit(), side),
            ("nobody's", advertise(&link, "fe80::77", OTHER), None),
            ("one made of a router's MAC here", advertise(&link, "fe80::ff:fe00:fe", OTHER), None),
            ("and hidden behind a link-local one", advertise(&link, "2001:db8:20::9", OTHER), side),
            ("a router", router(Mac([2, 0, 0, 0, 0, 0xfe])), None),
            ("nobody's router", router(OTHER), Some(Reason::NdpNoRouter)),
            ("a target cut short", ends.hops(255).icmp(135, 0, [0; 4], &[0x20; 12]), malformed),
        ],
    );
    ground.table(
        IN,
        &[
            ("the server answers", back.ndp_advertise(), None),
            (
                "the server's address taken by another",
                from(OTHER, "::", "2001:db8:20::9").ndp_solicit(),
                mac,
            ),
            ("and by the server", from(SERVER, "::", "2001:db8:20::9").ndp_solicit(), None),
            ("its link-local address", advertise(&from(SERVER, LOCAL, "::1"), LOCAL, SERVER), None),
            ("the one made of its MAC", advertise(&from(SERVER, MADE, "::1"), MADE, SERVER), None),
            ("its link-local address, another MAC", advertise(&link, LOCAL, OTHER), mac),
            ("one made of a router's MAC outside", advertise(&link, "fe80::ff:fe00:fe", OTHER), side),
            ("the client's address advertised inside", ends.ndp_advertise(), side),
            ("the server's address, another MAC", Ends { src_mac: OTHER, ..back }.ndp_advertise(), mac),
            ("its MAC in another's frame", advertise(&link, "2001:db8:20::9", SERVER), source),
            (
                "an unsolicited one of its own",
                advertise(&from(SERVER, "2001:db8:20::9", "::1"), "2001:db8:20::9", SERVER),
                None,
            ),
        ],
    );
}

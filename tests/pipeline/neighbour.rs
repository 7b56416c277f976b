//! ARP, neighbour discovery and DHCP against the inventory.

use portcullis::pipeline::{Event, Reason};
use portcullis::wire::samples::{Ends, dhcp, dhcp_v6};
use portcullis::wire::{Mac, Side, Vlans};

use crate::memory::{POLICY, Rig};
use crate::says::{CLIENT, JUMP, JUMP_MAC, VAULT, VAULT_MAC, relaxed, to_vault};

const CLIENT_MAC: Mac = Mac([2, 0, 0, 0x10, 0, 1]);
const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 0xfe]);
const OTHER: Mac = Mac([2, 0, 0, 0x66, 0, 1]);
/// Outside and inside, claimed by nobody.
const NOBODY: [&str; 2] = ["192.0.2.77", "2001:db8:77::1"];
const NOBODY_INSIDE: [&str; 2] = ["10.20.0.99", "2001:db8:20::99"];

/// [`POLICY`] with a router in front of both networks.
fn routed() -> String {
    let via = "vlans = [\"untagged\", \"7\"]\nvia = [\"02:00:00:00:00:fe\"]";
    let text = POLICY.replace("vlans = [\"untagged\"]", via);
    assert_ne!(text, POLICY);
    text
}

fn from(mac: Mac, src: &str, dst: &str) -> Ends {
    Ends { src_mac: mac, ..Ends::of(src, dst) }
}

/// ARP whose message names another MAC than its frame does.
fn naming(mac: Mac, mut frame: Vec<u8>) -> Vec<u8> {
    frame[22..28].copy_from_slice(&mac.0);
    frame
}

/// An advertisement of `target` with an option for `mac`, to all nodes.
fn advertise(ends: &Ends, target: &str, mac: Mac) -> Vec<u8> {
    let target: std::net::Ipv6Addr = target.parse().unwrap();
    let body = [&target.octets()[..], &[2, 1], &mac.0].concat();
    let all = Ends { dst: "ff02::1".parse().unwrap(), dst_mac: Mac([0x33, 0x33, 0, 0, 0, 1]), ..*ends };
    all.hops(255).icmp(136, 0, [0x20, 0, 0, 0], &body)
}

fn advertise_router(mac: Mac, option: &[u8]) -> Vec<u8> {
    let ends = from(mac, "fe80::1", "ff02::1").hops(255);
    ends.icmp(134, 0, [64, 0, 0x07, 0x08], &[&[0; 8][..], option].concat())
}

fn option(mac: Mac) -> Vec<u8> {
    [&[1, 1][..], &mac.0].concat()
}

#[test]
fn who_speaks_for_an_address_by_its_own_mac_and_side_is_heard() {
    let mut rig = Rig::under(&routed());
    let there = to_vault(0);
    for operation in [1, 2] {
        rig.forwarded(Side::Outside, &there.arp(operation));
        rig.forwarded(Side::Inside, &there.reply().arp(operation));
        // Its router speaks for it as well, and who has no MAC written may have any.
        rig.forwarded(Side::Outside, &from(ROUTER, CLIENT[0], VAULT[0]).arp(operation));
        rig.forwarded(Side::Outside, &from(OTHER, NOBODY[0], VAULT[0]).arp(operation));
        rig.forwarded(Side::Inside, &from(OTHER, NOBODY_INSIDE[0], CLIENT[0]).arp(operation));
    }
    // Gratuitous, a probe of one's own address, an address of the same side, another listed VLAN.
    rig.forwarded(Side::Inside, &from(VAULT_MAC, VAULT[0], VAULT[0]).arp(1));
    rig.forwarded(Side::Inside, &from(VAULT_MAC, "0.0.0.0", VAULT[0]).arp(1));
    rig.forwarded(Side::Inside, &from(VAULT_MAC, VAULT[0], JUMP[0]).arp(1));
    rig.forwarded(Side::Inside, &from(VAULT_MAC, VAULT[0], CLIENT[0]).on(VLAN_7).arp(1));

    let there = to_vault(1);
    rig.forwarded(Side::Outside, &there.ndp_solicit());
    rig.forwarded(Side::Inside, &there.reply().ndp_advertise());
    rig.forwarded(Side::Outside, &from(ROUTER, CLIENT[1], VAULT[1]).ndp_solicit());
    rig.forwarded(Side::Inside, &from(VAULT_MAC, "::", VAULT[1]).ndp_solicit());
    rig.forwarded(Side::Inside, &advertise(&from(VAULT_MAC, VAULT[1], "::1"), VAULT[1], VAULT_MAC));
    rig.forwarded(Side::Inside, &from(VAULT_MAC, VAULT[1], JUMP[1]).ndp_solicit());
    // Link-local addresses are on both sides; a router of this side speaks by its own MAC.
    for (side, mac) in [(Side::Inside, VAULT_MAC), (Side::Outside, OTHER)] {
        rig.forwarded(side, &from(mac, "fe80::5", "fe80::9").ndp_solicit());
        rig.forwarded(side, &from(mac, "fe80::5", "fe80::9").ndp_advertise());
        rig.forwarded(side, &from(mac, "::", "fe80::5").ndp_solicit());
        rig.forwarded(side, &from(mac, "fe80::5", "ff02::2").hops(255).icmp(133, 0, [0; 4], &option(mac)));
        rig.forwarded(side, &advertise_router(ROUTER, &option(ROUTER)));
    }
    rig.forwarded(Side::Inside, &from(OTHER, "fe80::5", "ff02::16").hops(1).icmp(143, 0, [0; 4], &[]));
}

const VLAN_7: Vlans = Vlans { outer: 7, inner: Vlans::NONE };
const VLAN_8: Vlans = Vlans { outer: 8, inner: Vlans::NONE };

#[test]
fn arp_for_an_address_of_the_other_side_or_vlan_is_a_spoof() {
    let mut rig = Rig::under(&routed());
    for operation in [1, 2] {
        for claimed in [VAULT[0], NOBODY_INSIDE[0]] {
            let forged = from(VAULT_MAC, claimed, CLIENT[0]);
            rig.dropped(Side::Outside, &forged.arp(operation), Reason::ArpWrongSide);
            rig.dropped(
                Side::Outside,
                &from(VAULT_MAC, claimed, claimed).arp(operation),
                Reason::ArpWrongSide,
            );
            rig.dropped(Side::Inside, &forged.on(VLAN_8).arp(operation), Reason::ArpWrongSide);
        }
        let event = rig.dropped(Side::Inside, &to_vault(0).arp(operation), Reason::ArpWrongSide);
        assert_eq!(event.addresses, Some((CLIENT[0].parse().unwrap(), VAULT[0].parse().unwrap())));
    }
    // Who asks whether it is free is heard by its holder, who alone can defend it.
    rig.forwarded(Side::Outside, &from(OTHER, "0.0.0.0", VAULT[0]).arp(1));
    rig.dropped(Side::Outside, &from(OTHER, "224.0.0.18", VAULT[0]).arp(1), Reason::ArpMalformed);
    // The one that is asked for is not on this VLAN.
    let text = routed().replacen("[\"untagged\", \"7\"]", "[\"untagged\"]", 1);
    let mut rig = Rig::under(&text);
    rig.dropped(Side::Outside, &to_vault(0).on(VLAN_7).arp(1), Reason::WrongVlan);
    rig.dropped(Side::Outside, &to_vault(1).on(VLAN_7).ndp_solicit(), Reason::WrongVlan);
    rig.forwarded(Side::Outside, &from(CLIENT_MAC, CLIENT[0], NOBODY[0]).on(VLAN_7).arp(1));
}

#[test]
fn arp_with_a_mac_that_is_not_written_is_a_spoof() {
    let mut rig = Rig::under(&routed());
    for operation in [1, 2] {
        for (side, ends) in [
            (Side::Outside, from(OTHER, CLIENT[0], VAULT[0])),
            (Side::Inside, from(JUMP_MAC, VAULT[0], CLIENT[0])),
            (Side::Inside, from(JUMP_MAC, VAULT[0], VAULT[0])),
        ] {
            rig.dropped(side, &ends.arp(operation), Reason::ArpWrongMac);
        }
        // It names a written MAC, and comes from another.
        let lie = naming(VAULT_MAC, from(OTHER, VAULT[0], CLIENT[0]).arp(operation));
        rig.dropped(Side::Inside, &lie, Reason::ArpWrongSource);
        let lie = naming(OTHER, from(VAULT_MAC, VAULT[0], CLIENT[0]).arp(operation));
        rig.dropped(Side::Inside, &lie, Reason::ArpWrongMac);
        let lie = naming(VAULT_MAC, from(OTHER, NOBODY[0], VAULT[0]).arp(operation));
        rig.dropped(Side::Outside, &lie, Reason::ArpWrongSource);
        // Both are written for the address.
        rig.forwarded(Side::Inside, &naming(VAULT_MAC, from(ROUTER, VAULT[0], CLIENT[0]).arp(operation)));
    }
    rig.dropped(Side::Inside, &from(JUMP_MAC, "0.0.0.0", VAULT[0]).arp(1), Reason::ArpWrongMac);
}

#[test]
fn a_moving_address_lists_all_its_macs_and_one_without_any_may_have_every() {
    let two = POLICY
        .replace("macs = [\"02:00:00:20:00:01\"]", "macs = [\"02:00:00:20:00:01\", \"02:00:00:66:00:01\"]");
    let mut rig = Rig::under(&two);
    for mac in [VAULT_MAC, OTHER] {
        rig.forwarded(Side::Inside, &from(mac, VAULT[0], VAULT[0]).arp(2));
        rig.forwarded(Side::Inside, &advertise(&from(mac, VAULT[1], "::1"), VAULT[1], mac));
    }
    rig.dropped(Side::Inside, &from(JUMP_MAC, VAULT[0], VAULT[0]).arp(2), Reason::ArpWrongMac);
    let none = routed().replace("macs = [\"02:00:00:20:00:01\"]", "");
    let mut rig = Rig::under(&none);
    rig.forwarded(Side::Inside, &from(OTHER, VAULT[0], VAULT[0]).arp(2));
    rig.forwarded(Side::Inside, &from(OTHER, VAULT[1], CLIENT[1]).ndp_advertise());
    rig.dropped(Side::Outside, &from(OTHER, VAULT[0], VAULT[0]).arp(2), Reason::ArpWrongSide);
}

#[test]
fn neighbour_discovery_for_an_address_of_the_other_side_or_vlan_is_a_spoof() {
    let mut rig = Rig::under(&routed());
    for claimed in [VAULT[1], NOBODY_INSIDE[1]] {
        let forged = from(VAULT_MAC, claimed, CLIENT[1]);
        rig.dropped(Side::Outside, &forged.ndp_solicit(), Reason::NdpWrongSide);
        rig.dropped(Side::Outside, &forged.ndp_advertise(), Reason::NdpWrongSide);
        rig.dropped(Side::Inside, &forged.on(VLAN_8).ndp_advertise(), Reason::NdpWrongSide);
        // Its holder hears of who is about to take it; an advertisement that hides behind a link-local source.
        rig.forwarded(Side::Outside, &from(VAULT_MAC, "::", claimed).ndp_solicit());
        let hidden = advertise(&from(VAULT_MAC, "fe80::66", "::1"), claimed, VAULT_MAC);
        rig.dropped(Side::Outside, &hidden, Reason::NdpWrongSide);
    }
    rig.dropped(Side::Inside, &to_vault(1).ndp_solicit(), Reason::NdpWrongSide);
    let asks = from(OTHER, NOBODY_INSIDE[1], "ff02::2").hops(255).icmp(133, 0, [0; 4], &[]);
    rig.dropped(Side::Outside, &asks, Reason::NdpWrongSide);
}

#[test]
fn neighbour_discovery_with_a_mac_that_is_not_written_is_a_spoof() {
    let mut rig = Rig::under(&routed());
    let wrong = from(JUMP_MAC, VAULT[1], CLIENT[1]);
    rig.dropped(Side::Inside, &wrong.ndp_solicit(), Reason::NdpWrongMac);
    rig.dropped(Side::Inside, &wrong.ndp_advertise(), Reason::NdpWrongMac);
    rig.dropped(Side::Inside, &from(JUMP_MAC, "::", VAULT[1]).ndp_solicit(), Reason::NdpWrongMac);
    let own = from(JUMP_MAC, "fe80::30", "::1");
    rig.dropped(Side::Inside, &advertise(&own, VAULT[1], JUMP_MAC), Reason::NdpWrongMac);
    rig.dropped(Side::Inside, &advertise(&own, VAULT[1], VAULT_MAC), Reason::NdpWrongSource);
    rig.dropped(Side::Inside, &advertise(&own, NOBODY_INSIDE[1], VAULT_MAC), Reason::NdpWrongSource);
    // A link-local address that a workload claims.
    let claimed = routed().replace("\"2001:db8:20::9\"]", "\"2001:db8:20::9\", \"fe80::9\"]");
    let mut rig = Rig::under(&claimed);
    rig.dropped(Side::Inside, &from(OTHER, "fe80::9", CLIENT[1]).ndp_solicit(), Reason::NdpWrongMac);
    rig.forwarded(Side::Inside, &from(VAULT_MAC, "fe80::9", CLIENT[1]).ndp_solicit());
}

#[test]
fn nobody_advertises_the_gates_own_address() {
    let own = "2001:db8:10::aa";
    let sender = from(OTHER, "fe80::66", "ff02::1");
    Rig::under(POLICY).forwarded(Side::Outside, &advertise(&sender, own, OTHER));
    let mut rig = Rig::under(&format!("{POLICY}[gate]\nmanagement = [\"{own}\"]\n"));
    rig.dropped(Side::Outside, &advertise(&sender, own, OTHER), Reason::GateAddress);
    rig.forwarded(Side::Outside, &advertise(&sender, "2001:db8:10::ab", OTHER));
}

#[test]
fn only_a_router_of_its_side_advertises_itself() {
    let mut rig = Rig::under(&routed());
    for side in Side::BOTH {
        rig.dropped(side, &advertise_router(OTHER, &option(OTHER)), Reason::NdpNoRouter);
        rig.dropped(side, &advertise_router(OTHER, &[]), Reason::NdpNoRouter);
        rig.dropped(side, &advertise_router(OTHER, &option(ROUTER)), Reason::NdpWrongSource);
    }
    // One of the other side's, and where none is written.
    let outside = POLICY
        .replace("prefixes = [\"0.0.0.0/0\"", "via = [\"02:00:00:00:00:fe\"]\nprefixes = [\"0.0.0.0/0\"");
    let mut rig = Rig::under(&outside);
    rig.dropped(Side::Outside, &advertise_router(OTHER, &[]), Reason::NdpNoRouter);
    rig.forwarded(Side::Outside, &advertise_router(ROUTER, &[]));
    rig.forwarded(Side::Inside, &advertise_router(OTHER, &[]));
}

#[test]
fn neighbour_discovery_that_no_host_may_take_is_malformed() {
    let mut rig = Rig::under(POLICY);
    let ends = to_vault(1).hops(255);
    rig.dropped(Side::Outside, &ends.icmp(135, 0, [0; 4], &[0x20; 12]), Reason::NdpMalformed);
    rig.dropped(Side::Outside, &ends.icmp(134, 0, [0; 4], &[0; 8]), Reason::NdpMalformed);
    let broken = [&[0x20; 16][..], &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
    rig.dropped(Side::Outside, &ends.icmp(136, 0, [0; 4], &broken), Reason::NdpMalformed);
    // ARP cut short can't be read, and what is not about IPv4 over Ethernet is no ARP.
    let arp = to_vault(0).arp(1);
    rig.dropped(Side::Outside, &arp[..41], Reason::Truncated);
    let mut odd = arp.clone();
    odd[17] = 0xdd;
    rig.dropped(Side::Outside, &odd, Reason::Profile);
    let mut group = arp;
    group[6] |= 1;
    rig.dropped(Side::Outside, &group, Reason::SourceNotUnicast);
    let redirect = ends.icmp(137, 0, [0; 4], &[0x20; 32]);
    rig.dropped(Side::Outside, &redirect, Reason::IcmpRedirect);
}

#[test]
fn dhcp_comes_from_an_address_of_its_side_or_from_none() {
    let text = POLICY
        .replace("dhcp = \"drop\"", "dhcp = \"forward\"")
        .replace("unzoned = \"observe\"", "unzoned = \"enforce\"");
    let mut rig = Rig::under(&text);
    rig.forwarded(Side::Outside, &Ends::of("0.0.0.0", "255.255.255.255").udp(68, 67, &dhcp(1)));
    rig.forwarded(Side::Outside, &to_vault(0).udp(68, 67, &dhcp(1)));
    rig.forwarded(Side::Inside, &from(OTHER, "fe80::5", "ff02::1:2").udp(546, 547, &dhcp_v6(1)));
    rig.dropped(Side::Inside, &to_vault(0).udp(68, 67, &dhcp(1)), Reason::Spoofed);
    rig.dropped(
        Side::Outside,
        &from(VAULT_MAC, VAULT[1], CLIENT[1]).udp(547, 546, &dhcp_v6(2)),
        Reason::Spoofed,
    );
}

/// The profile forwards DHCP, not whatever goes between its ports.
#[test]
fn what_lacks_the_form_of_dhcp_is_asked_of_the_rules() {
    let text = POLICY.replace("dhcp = \"drop\"", "dhcp = \"forward\"");
    assert_ne!(text, POLICY);
    let mut rig = Rig::under(&text);
    let pairs = [(68, 67, dhcp(1)), (67, 68, dhcp(2)), (67, 67, dhcp(3))];
    let six = [(546, 547, dhcp_v6(1)), (547, 546, dhcp_v6(2)), (547, 547, dhcp_v6(12))];
    for (family, pairs) in [pairs, six].into_iter().enumerate() {
        for (sport, dport, message) in pairs {
            rig.forwarded(Side::Outside, &to_vault(family).udp(sport, dport, &message));
            for payload in [&b"any bytes at all"[..], &[0; 300], &message[..message.len() / 2]] {
                let frame = to_vault(family).udp(sport, dport, payload);
                rig.dropped(Side::Outside, &frame, Reason::NoRule);
            }
        }
    }
}

#[test]
fn what_is_wrong_with_neighbours_obeys_the_mode() {
    let named = |event: Event, reason| {
        assert_eq!((event.reason, event.mode), (Some(reason), portcullis::policy::Mode::Observe));
    };
    let mut rig = Rig::under(&relaxed());
    let (four, six) = (from(OTHER, VAULT[0], CLIENT[0]), from(OTHER, VAULT[1], CLIENT[1]));
    named(rig.would(Side::Outside, &four.arp(2), Reason::ArpWrongSide), Reason::ArpWrongSide);
    named(rig.would(Side::Inside, &four.arp(2), Reason::ArpWrongMac), Reason::ArpWrongMac);
    named(
        rig.would(Side::Inside, &naming(VAULT_MAC, four.arp(2)), Reason::ArpWrongSource),
        Reason::ArpWrongSource,
    );
    named(rig.would(Side::Outside, &six.ndp_advertise(), Reason::NdpWrongSide), Reason::NdpWrongSide);
    named(rig.would(Side::Inside, &six.ndp_advertise(), Reason::NdpWrongMac), Reason::NdpWrongMac);
    // ARP: the strictest on the wire. NDP: both its ends, and the one it speaks for.
    let mut rig = Rig::under(POLICY);
    let jump = from(OTHER, JUMP[1], NOBODY[1]);
    rig.dropped(Side::Inside, &jump.ndp_advertise(), Reason::NdpWrongMac);
    let quiet = POLICY.replace("mode = \"enforce\"", "mode = \"observe\"");
    let mut rig = Rig::under(&quiet);
    let event = rig.would(Side::Inside, &jump.ndp_advertise(), Reason::NdpWrongMac);
    assert_eq!(event.mode, portcullis::policy::Mode::Simulate);
    // To a link-local address: whoever has it.
    let mut rig = Rig::under(POLICY);
    let claims = advertise(&from(OTHER, "fe80::66", "::1"), NOBODY_INSIDE[1], OTHER);
    rig.dropped(Side::Outside, &claims, Reason::NdpWrongSide);
    rig.dropped(Side::Outside, &from(OTHER, JUMP[1], "fe80::9").ndp_advertise(), Reason::NdpWrongSide);
}

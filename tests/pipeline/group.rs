//! Multicast and broadcast groups.

use portcullis::pipeline::{EventKind, Reason};
use portcullis::policy::RuleNumber;
use portcullis::wire::samples::Ends;
use portcullis::wire::{Mac, Side};

use crate::memory::{POLICY, Rig};
use crate::says::{CLIENT, JUMP, JUMP_MAC, VAULT, VAULT_MAC};

pub(crate) const GROUPS: &str = "[group.news]\naddresses = [\"239.1.1.1\", \"ff0e::101\"]\n\
    [group.all]\naddresses = [\"255.255.255.255\", \"10.20.255.255\"]\n\
    [allow.news]\nfrom = { app = \"client\" }\nto = { group = [\"news\", \"all\"] }\nservices = [\"udp/5000\", \"ip/112\", \"icmp/echo-request\"]\n";

fn rig() -> Rig {
    Rig::under(&format!("{POLICY}{GROUPS}"))
}

pub(crate) fn to(address: &str, family: usize) -> Ends {
    Ends { dst_mac: Mac([0xff; 6]), ..Ends::of(CLIENT[family], address) }
}

#[test]
fn a_group_is_sent_to_by_rule_and_nothing_of_it_is_remembered() {
    let mut rig = rig();
    for (address, family) in
        [("239.1.1.1", 0), ("ff0e::101", 1), ("255.255.255.255", 0), ("10.20.255.255", 0)]
    {
        let ends = to(address, family);
        for _ in 0..2 {
            rig.forwarded(Side::Outside, &ends.udp(1_000, 5_000, b"x"));
            rig.forwarded(Side::Outside, &ends.ip(112, &[0; 8]));
        }
        assert_eq!(rig.face.gauges.load().flows, 0, "{address}");
        rig.dropped(Side::Outside, &ends.udp(1_000, 5_001, b"x"), Reason::NoRule);
    }
    rig.forwarded(Side::Outside, &to("10.20.255.255", 0).echo(1, 1, b"x"));
    // What comes back belongs to no flow, neither from a host nor from the group's own address.
    let back = Ends { src_mac: VAULT_MAC, ..Ends::of(VAULT[0], CLIENT[0]) };
    rig.dropped(Side::Inside, &back.echo_reply(1, 1, b"x"), Reason::IcmpNoFlow);
    rig.dropped(Side::Inside, &back.udp(5_000, 1_000, b"x"), Reason::NoRule);
    let forged = Ends::of("10.20.255.255", CLIENT[0]);
    rig.dropped(Side::Inside, &forged.udp(5_000, 1_000, b"x"), Reason::Spoofed);
}

/// Nothing of it is remembered, so each packet is recorded.
#[test]
fn a_group_sent_to_by_a_rule_that_logs_is_recorded_packet_by_packet() {
    let logs = GROUPS.replace("services = [\"udp/5000\"", "log = true\nservices = [\"udp/5000\"");
    let mut rig = Rig::under(&format!("{POLICY}{logs}"));
    for (address, family) in [("239.1.1.1", 0), ("ff0e::101", 1)] {
        let ends = to(address, family);
        for frame in [ends.udp(1_000, 5_000, b"x"), ends.udp(1_000, 5_000, b"x"), ends.ip(112, &[0; 8])] {
            rig.forwarded(Side::Outside, &frame);
            let event = rig.event().expect("allow.news says log");
            assert_eq!((event.kind, event.reason, event.side), (EventKind::Allow, None, Side::Outside));
            assert_eq!(event.addresses, Some((ends.src, ends.dst)));
            assert_ne!(event.rule, RuleNumber::NONE);
            assert_eq!(rig.event(), None);
        }
    }
}

#[test]
fn a_group_has_no_side_and_takes_the_zones_beyond() {
    let mut rig = rig();
    // In no group it is unknown; inside there is a zone under enforce.
    rig.dropped(Side::Outside, &to("239.1.1.2", 0).udp(1, 5_000, b"x"), Reason::NoRule);
    // Outside there is none, and the jump host's is simulated.
    for address in ["10.20.255.255", "255.255.255.255", "239.9.9.9"] {
        let out = Ends { src_mac: JUMP_MAC, ..Ends::of(JUMP[0], address) };
        rig.would(Side::Inside, &out.udp(1, 5_000, b"x"), Reason::NoRule);
    }
    // Not listed, the same address is a host of the sender's own side.
    let mut rig = Rig::under(POLICY);
    let out = Ends { src_mac: JUMP_MAC, ..Ends::of(JUMP[0], "10.20.255.255") };
    rig.dropped(Side::Inside, &out.udp(1, 5_000, b"x"), Reason::SameSide);
}

//! F1.2, F1.9, F1.7c, `FAU_GEN`: what rules can name, permitted, dropped and logged; what no rule names; who a
//! source must be.

use portcullis::pipeline::Reason;
use portcullis::wire::samples::Ends;
use portcullis::wire::{Side, Vlans};

use crate::bytes::{SYN, icmp};
use crate::ground::Ground;
use crate::policy::{client_to_server, everything, rules};

const TAG: Vlans = Vlans { outer: 100, inner: Vlans::NONE };

/// Another host beside this one.
fn beside(address: std::net::IpAddr) -> std::net::IpAddr {
    let name = match address.to_string().as_str() {
        "10.10.0.5" => "10.10.0.6",
        "10.20.0.9" => "10.20.0.10",
        "2001:db8:10::5" => "2001:db8:10::6",
        "2001:db8:20::9" => "2001:db8:20::10",
        other => panic!("nobody is beside {other}"),
    };
    name.parse().unwrap()
}

/// One attribute after the other: the rule permits and logs, and with another value of that one attribute no
/// rule does.
#[test]
fn a_rule_permits_and_logs_by_every_attribute_and_nothing_beside_it() {
    let Some(mut ground) = Ground::under(&rules("")) else { return };
    for ends in client_to_server() {
        ground.about("F1.2", &ends);
        let side = Side::Outside;
        let syn = |ends: &Ends, dport| ends.tcp(40_000, dport, SYN, 1, 0, b"");
        let stamp = |ends: &Ends, kind, code| ends.icmp(kind, code, [0; 4], &[0; 12]);
        let [kind, code] = if ends.src.is_ipv4() { [44, 2] } else { [200, 1] };
        let gre = |ends: &Ends, protocol| ends.ip(protocol, &[0, 0, 8, 0]);
        let stranger = Ends { src: beside(ends.src), ..ends };
        let elsewhere = Ends { dst: beside(ends.dst), ..ends };

        for (what, frame) in [
            ("TCP to port 80", syn(&ends, 80)),
            ("UDP to the first port of its range", ends.udp(5_000, 5_000, b"ask")),
            ("UDP to the last", ends.udp(5_000, 5_009, b"ask")),
            ("ICMP type and code", stamp(&ends, kind, code)),
            ("the same again: each by itself", stamp(&ends, kind, code)),
        ] {
            ground.logged(what, side, &frame, "allow.logged");
        }
        ground.logged("protocol 47", side, &gre(&ends, 47), "allow.logged-tunnel");
        let home = ends.reply();
        ground.logged("from the inside", Side::Inside, &syn(&home, 8_443), "allow.home");
        ground.crosses("TCP to port 443, by a rule that does not log", side, &syn(&ends, 443));

        let none = Reason::NoRule;
        for (what, frame) in [
            ("another source, TCP", syn(&stranger, 80)),
            ("another source, UDP", stranger.udp(5_000, 5_000, b"ask")),
            ("another source, ICMP", stamp(&stranger, kind, code)),
            ("another source, protocol 47", gre(&stranger, 47)),
            ("another destination, TCP", syn(&elsewhere, 80)),
            ("another destination, UDP", elsewhere.udp(5_000, 5_000, b"ask")),
            ("another destination, ICMP", stamp(&elsewhere, kind, code)),
            ("another destination, protocol 47", gre(&elsewhere, 47)),
            ("another protocol of TCP's port", ends.udp(40_000, 80, b"ask")),
            ("another protocol of UDP's port", ends.tcp(5_000, 5_000, SYN, 1, 0, b"")),
            ("another protocol", gre(&ends, 50)),
            (
                "the other family's ICMP",
                ends.ip(if icmp(&ends) == 1 { 58 } else { 1 }, &[kind, code, 0, 0, 0, 0, 0, 0]),
            ),
            ("the port below TCP's", syn(&ends, 79)),
            ("the port above TCP's", syn(&ends, 81)),
            ("the port below UDP's range", ends.udp(5_000, 4_999, b"ask")),
            ("the port above UDP's range", ends.udp(5_000, 5_010, b"ask")),
            ("another source port", ends.udp(5_001, 5_000, b"ask")),
            ("another ICMP type", stamp(&ends, kind + 2, code)),
            ("another ICMP code", stamp(&ends, kind, code + 1)),
            ("the side that may not open this", syn(&ends, 8_443)),
        ] {
            ground.drops(what, side, &frame, none);
        }
        ground.drops("the other side that may not", Side::Inside, &syn(&home, 80), none);
    }
}

#[test]
fn a_rule_drops_by_name_what_another_allows() {
    let Some(mut ground) = Ground::under(&rules("")) else { return };
    for ends in client_to_server() {
        ground.about("F1.2", &ends);
        let syn = |dport| ends.tcp(40_000, dport, SYN, 1, 0, b"");
        let side = Side::Outside;
        ground.crosses("the port below", side, &syn(22));
        ground.drops_by("the port denied", side, &[&syn(23)], Reason::Denied, "deny.telnet");
        ground.crosses("the port above", side, &syn(24));
        let never = ends.udp(40_000, 6_000, b"ask");
        let rule = "guardrail.never";
        ground.drops_by("what a guardrail forbids", side, &[&never], Reason::Guardrail, rule);
    }
}

/// Everybody may do everything but what these name, each by one attribute.
const DENIES: &str = r#"
[workload.client]
addresses = ["10.10.0.5", "2001:db8:10::5"]
labels = { app = "client" }
[workload.server]
addresses = ["10.20.0.9", "2001:db8:20::9"]
labels = { app = "server" }
[workload.other-client]
addresses = ["10.10.0.6", "2001:db8:10::6"]
labels = { app = "other-client" }
[workload.other-server]
addresses = ["10.20.0.10", "2001:db8:20::10"]
labels = { app = "other-server" }
[deny.source]
from = { app = "other-client" }
to = { any = true }
services = ["any"]
[deny.destination]
from = { any = true }
to = { app = "other-server" }
services = ["any"]
[deny.tcp]
from = { app = "client" }
to = { app = "server" }
services = ["tcp/23"]
[deny.udp]
from = { app = "client" }
to = { app = "server" }
services = ["udp/7000-7009"]
[deny.from-port]
from = { app = "client" }
to = { app = "server" }
services = ["udp/8000 from 666"]
[deny.icmp-type]
from = { app = "client" }
to = { app = "server" }
services = ["icmp/13", "icmpv6/160"]
[deny.icmp-code]
from = { app = "client" }
to = { app = "server" }
services = ["icmp/44.2", "icmpv6/200.2"]
[deny.protocol]
from = { app = "client" }
to = { app = "server" }
services = ["ip/47"]
[deny.home]
from = { app = "server" }
to = { app = "client" }
services = ["tcp/8443"]
"#;

/// One attribute after the other: with it the rule drops and says so, with another value it does not.
#[test]
fn a_rule_drops_by_every_attribute_what_another_allows() {
    let text = everything("") + DENIES;
    let Some(mut ground) = Ground::under(&text) else { return };
    for ends in client_to_server() {
        ground.about("F1.2", &ends);
        let home = ends.reply();
        let stranger = Ends { src: beside(ends.src), ..ends };
        let elsewhere = Ends { dst: beside(ends.dst), ..ends };
        let syn = |ends: &Ends, dport| ends.tcp(40_000, dport, SYN, 1, 0, b"");
        let message = |kind, code| ends.icmp(kind, code, [0, 7, 0, 1], &[0; 12]);
        let [asks, other, kind] = if ends.src.is_ipv4() { [13, 15, 44] } else { [160, 128, 200] };
        let gre = [0, 0, 8, 0];
        let (out, inside) = (Side::Outside, Side::Inside);
        for (what, side, frame, rule) in [
            ("TCP from the source", out, syn(&stranger, 443), "deny.source"),
            ("UDP from it", out, stranger.udp(40_000, 53, b"ask"), "deny.source"),
            ("a ping from it", out, stranger.echo(7, 1, b"ping"), "deny.source"),
            ("protocol 50 from it", out, stranger.ip(50, &[0; 16]), "deny.source"),
            ("TCP to the destination", out, syn(&elsewhere, 443), "deny.destination"),
            ("UDP to it", out, elsewhere.udp(40_000, 53, b"ask"), "deny.destination"),
            ("a ping to it", out, elsewhere.echo(7, 1, b"ping"), "deny.destination"),
            ("protocol 50 to it", out, elsewhere.ip(50, &[0; 16]), "deny.destination"),
            ("the TCP port", out, syn(&ends, 23), "deny.tcp"),
            ("the first UDP port of the range", out, ends.udp(40_000, 7_000, b"ask"), "deny.udp"),
            ("the last", out, ends.udp(40_000, 7_009, b"ask"), "deny.udp"),
            ("the source port", out, ends.udp(666, 8_000, b"ask"), "deny.from-port"),
            ("the ICMP type", out, message(asks, 0), "deny.icmp-type"),
            ("the ICMP code", out, message(kind, 2), "deny.icmp-code"),
            ("the protocol", out, ends.ip(47, &gre), "deny.protocol"),
            ("the side", inside, syn(&home, 8_443), "deny.home"),
        ] {
            ground.drops_by(what, side, &[&frame], Reason::Denied, rule);
        }
        for (what, side, frame) in [
            ("neither source nor destination", out, syn(&ends, 443)),
            ("the TCP port below", out, syn(&ends, 22)),
            ("the TCP port above", out, syn(&ends, 24)),
            ("TCP's port over UDP", out, ends.udp(40_000, 23, b"ask")),
            ("the port below the range", out, ends.udp(40_000, 6_999, b"ask")),
            ("the port above it", out, ends.udp(40_000, 7_010, b"ask")),
            ("another source port", out, ends.udp(667, 8_000, b"ask")),
            ("from that port to another", out, ends.udp(666, 8_001, b"ask")),
            ("another ICMP type", out, message(other, 0)),
            ("another ICMP code", out, message(kind, 1)),
            ("another protocol", out, ends.ip(50, &[0; 16])),
            ("the other side", out, syn(&ends, 8_443)),
            ("another port of that side", inside, syn(&home, 8_444)),
        ] {
            ground.crosses(what, side, &frame);
        }
    }
}

#[test]
fn what_no_rule_names_is_denied() {
    let Some(mut ground) = Ground::under(&rules("")) else { return };
    for ends in client_to_server() {
        let stranger = if ends.src.is_ipv4() { "198.51.100.7" } else { "2001:db8:ffff::7" };
        ground.about("F1.9", &ends);
        for ends in [ends, Ends { src: stranger.parse().unwrap(), ..ends }] {
            for (what, frame) in [
                ("TCP", ends.tcp(40_000, 9_999, SYN, 1, 0, b"")),
                ("UDP", ends.udp(40_000, 9_999, b"ask")),
                ("ICMP", ends.icmp(19, 0, [0; 4], &[0; 12])),
                ("SCTP", ends.sctp(40_000, 9_999, 0, &[])),
                ("protocol 253", ends.ip(253, &[1, 2, 3, 4])),
            ] {
                ground.drops(what, Side::Outside, &frame, Reason::NoRule);
                ground.drops(what, Side::Inside, &turned(&frame, &ends), Reason::NoRule);
            }
        }
        ground.crosses("what a rule names", Side::Outside, &ends.udp(40_000, 4_433, b"ask"));
    }
}

/// The same packet from the other end.
fn turned(frame: &[u8], ends: &Ends) -> Vec<u8> {
    let head = if ends.src.is_ipv4() { 34 } else { 54 };
    let protocol = if ends.src.is_ipv4() { frame[23] } else { frame[20] };
    ends.reply().ip(protocol, &frame[head..])
}

#[test]
fn a_source_that_does_not_belong_to_its_side_or_vlan_is_spoofed() {
    let Some(mut ground) = Ground::under(&rules("")) else { return };
    for (family, ends) in client_to_server().into_iter().enumerate() {
        ground.about("F1.7c", &ends);
        let ask = |ends: &Ends| ends.udp(40_000, 4_433, b"ask");
        let spoofed = Some(Reason::Spoofed);
        let [near, far] = [["10.20.0.77", "198.51.100.7"], ["2001:db8:20::77", "2001:db8:ffff::7"]][family];
        let from = |address: &str, ends: Ends| Ends { src: address.parse().unwrap(), ..ends };
        let bench = Ends { dst: ["10.21.0.9", "2001:db8:21::9"][family].parse().unwrap(), ..ends };
        let seven = Vlans { outer: 7, inner: Vlans::NONE };
        let wrong = Some(Reason::WrongVlan);
        ground.table(
            Side::Outside,
            &[
                ("an outside address", ask(&ends), None),
                ("an inside address", ask(&from(near, ends)), spoofed),
                ("the server's own neighbour", ask(&Ends { src: beside(ends.dst), ..ends }), spoofed),
                ("on a VLAN of its network", ask(&ends.on(TAG)), None),
                ("on another VLAN", ask(&ends.on(seven)), spoofed),
                ("on another inner VLAN", ask(&ends.on(Vlans { outer: 100, inner: 21 })), spoofed),
                ("tagged with priority alone", ask(&ends.on(Vlans { outer: 0, inner: Vlans::NONE })), None),
                ("on the destination's VLAN", ask(&bench.on(TAG)), None),
                ("on none, and the destination has one", ask(&bench), wrong),
                (
                    "to its own side",
                    ask(&Ends { dst: far.parse().unwrap(), ..ends }),
                    Some(Reason::SameSide),
                ),
            ],
        );
        let home = ends.reply();
        let syn = |ends: &Ends| ends.tcp(40_000, 443, SYN, 1, 0, b"");
        ground.table(
            Side::Inside,
            &[
                ("the answer of the live flow", home.udp(4_433, 40_000, b"answer"), None),
                ("an outside address", syn(&from(far, home)), spoofed),
                ("the client's own", syn(&ends), spoofed),
                ("its live flow's packet on the wrong side", ask(&ends), spoofed),
                ("without the VLAN of its network", syn(&bench.reply()), spoofed),
            ],
        );
        let back = home.udp(4_433, 40_000, b"answer");
        ground.drops("a live flow's answer on the wrong side", Side::Outside, &back, Reason::Spoofed);
    }
}

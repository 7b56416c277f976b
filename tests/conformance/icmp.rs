//! ICMP errors: with the live flow they quote, towards that packet's sender, and no others (RFC 5927); what
//! path MTU discovery and RFC 4890 need crosses.

use portcullis::pipeline::Reason;
use portcullis::wire::samples::Ends;
use portcullis::wire::{Side, Vlans};

use crate::bytes::{ACK, FIN, RST, SYN};
use crate::ground::Ground;
use crate::policy::{client_to_server, rules};
use crate::sessions::open;

const OUT: Side = Side::Outside;
const IN: Side = Side::Inside;
const TAG: Vlans = Vlans { outer: 100, inner: Vlans::NONE };
const TAGS: Vlans = Vlans { outer: 100, inner: 20 };

/// Every kind of error of a family; the rest is an MTU where it has one.
fn errors(ends: &Ends) -> Vec<(&'static str, u8, u8, [u8; 4])> {
    const MTU: [u8; 4] = [0, 0, 5, 0];
    if ends.src.is_ipv4() {
        vec![
            ("network unreachable", 3, 0, [0; 4]),
            ("host unreachable", 3, 1, [0; 4]),
            ("port unreachable", 3, 3, [0; 4]),
            ("fragmentation needed", 3, 4, MTU),
            ("administratively prohibited", 3, 13, [0; 4]),
            ("source quench", 4, 0, [0; 4]),
            ("time exceeded", 11, 0, [0; 4]),
            ("parameter problem", 12, 0, [20, 0, 0, 0]),
        ]
    } else {
        vec![
            ("no route", 1, 0, [0; 4]),
            ("administratively prohibited", 1, 1, [0; 4]),
            ("port unreachable", 1, 4, [0; 4]),
            ("packet too big", 2, 0, MTU),
            ("time exceeded", 3, 0, [0; 4]),
            ("parameter problem", 4, 0, [0, 0, 0, 40]),
        ]
    }
}

/// A router on the way, beside this address.
fn router(ends: &Ends) -> Ends {
    let outside = client_to_server().iter().any(|there| there.src == ends.src);
    let address = match (ends.src.is_ipv4(), !outside) {
        (true, true) => "10.20.0.1",
        (true, false) => "192.0.2.1",
        (false, true) => "2001:db8:20::1",
        (false, false) => "2001:db8:fe::1",
    };
    Ends { src: address.parse().unwrap(), ..*ends }
}

#[test]
fn an_error_crosses_with_the_live_flow_it_quotes() {
    let Some(mut ground) = Ground::under(&rules("")) else { return };
    for untagged in client_to_server() {
        for (port, vlans) in (40_000..).zip([Vlans::UNTAGGED, TAG, TAGS]) {
            let ends = untagged.on(vlans);
            ground.about(&format!("ICMP, VLAN {vlans}"), &ends);
            let back = ends.reply();
            open(&mut ground, &ends, port);
            let question = ends.udp(port, 4_433, b"question");
            ground.crosses("a question", OUT, &question);
            ground.crosses("a ping", OUT, &ends.echo(port, 1, b"ping"));
            let segment = ends.tcp(port, 443, ACK, 1_000, 5_000, &[7; 600]);
            ground.crosses("a segment", OUT, &segment);
            let answer = back.tcp(443, port, ACK, 5_000, 1_600, &[7; 600]);
            ground.crosses("its answer", IN, &answer);
            for (what, kind, code, rest) in errors(&ends) {
                for (of, quoted) in
                    [("TCP", &segment), ("UDP", &question), ("an echo", &ends.echo(port, 1, b"ping"))]
                {
                    let error = back.icmp_error(kind, code, rest, quoted);
                    ground.crosses(&format!("{what} about {of}"), IN, &error);
                }
                let error = router(&back).icmp_error(kind, code, rest, &segment);
                ground.crosses(&format!("{what} of a router inside"), IN, &error);
                let error = router(&ends).icmp_error(kind, code, rest, &answer);
                ground.crosses(&format!("{what} of a router outside, about the answer"), OUT, &error);
            }
            // The connection goes on as it was.
            ground.crosses("more", OUT, &ends.tcp(port, 443, ACK, 1_600, 5_600, b"more"));
        }
    }
}

#[test]
fn an_error_that_quotes_no_live_flow_or_not_what_was_sent_is_dropped() {
    let Some(mut ground) = Ground::under(&rules("")) else { return };
    for ends in client_to_server() {
        ground.about("ICMP", &ends);
        let back = ends.reply();
        open(&mut ground, &ends, 40_000);
        let segment = ends.tcp(40_000, 443, ACK, 1_000, 5_000, b"data");
        ground.crosses("a segment", OUT, &segment);
        let question = ends.udp(40_000, 4_433, b"question");
        ground.crosses("a question", OUT, &question);
        let head = if ends.src.is_ipv4() { 34 } else { 54 };
        let beside = |ends: &Ends| Ends { src: router(ends).src, ..*ends };
        for (what, kind, code, rest) in errors(&ends) {
            let error = |quoted: &[u8]| back.icmp_error(kind, code, rest, quoted);
            for (how, frame) in [
                ("another source port", error(&ends.tcp(40_001, 443, ACK, 1_000, 5_000, b""))),
                ("another destination port", error(&ends.tcp(40_000, 444, ACK, 1_000, 5_000, b""))),
                ("another protocol", error(&ends.udp(40_000, 443, b"data"))),
                ("another source", error(&beside(&ends).udp(40_000, 4_433, b"question"))),
                ("another destination", error(&beside(&back).reply().udp(40_000, 4_433, b"question"))),
                ("a number never sent", error(&ends.tcp(40_000, 443, ACK, 500_000, 5_000, b""))),
                (
                    "a number long acknowledged",
                    error(&ends.tcp(40_000, 443, ACK, 3_000_000_000, 5_000, b"")),
                ),
                ("the answer's direction", error(&back.udp(4_433, 40_000, b"answer"))),
                ("a later fragment", error(&ends.fragment(17, 9, 24, false, b"question"))),
                ("nothing", back.icmp(kind, code, rest, &[])),
                ("half a header", back.icmp(kind, code, rest, &segment[14..30])),
                ("ports cut off", back.icmp(kind, code, rest, &segment[14..head + 3])),
                ("an error about an error", error(&error(&segment))),
            ] {
                ground.drops(&format!("{what} that quotes {how}"), IN, &frame, Reason::IcmpNoFlow);
            }
            let tagged = back.on(TAG).icmp_error(kind, code, rest, &segment);
            ground.drops(&format!("{what} on another VLAN"), IN, &tagged, Reason::IcmpNoFlow);
            let to_itself = ends.icmp_error(kind, code, rest, &segment);
            ground.drops(&format!("{what} towards the receiver"), OUT, &to_itself, Reason::IcmpNoFlow);
            let stranger = if ends.src.is_ipv4() { "10.10.0.6" } else { "2001:db8:10::6" };
            let astray = Ends { dst: stranger.parse().unwrap(), ..back };
            let astray = astray.icmp_error(kind, code, rest, &segment);
            ground.drops(&format!("{what} to another host"), IN, &astray, Reason::IcmpNoFlow);
            let spoofed = Ends { src: router(&ends).src, ..back }.icmp_error(kind, code, rest, &segment);
            ground.drops(&format!("{what} from an outside address"), IN, &spoofed, Reason::Spoofed);
            ground.crosses(&format!("{what} that is right"), IN, &error(&segment));
        }
        ground.crosses("FIN", OUT, &ends.tcp(40_000, 443, FIN | ACK, 1_004, 5_000, b""));
        ground.crosses("a RST, exact", IN, &back.tcp(443, 40_000, RST, 5_000, 0, b""));
        let (_, kind, code, rest) = errors(&ends)[0];
        ground.crosses("a SYN, for a live flow beside", OUT, &ends.tcp(40_002, 443, SYN, 1, 0, b""));
        let late = back.icmp_error(kind, code, rest, &ends.tcp(40_009, 443, ACK, 1_000, 5_000, b""));
        ground.drops("an error about no connection", IN, &late, Reason::IcmpNoFlow);
    }
}

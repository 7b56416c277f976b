//! F1.5a, F1.5b: what is part of a session, and when it is over.

use portcullis::pipeline::Reason;
use portcullis::wire::samples::Ends;
use portcullis::wire::{Side, Vlans};

use crate::bytes::{ACK, FIN, PSH, RST, SYN};
use crate::ground::Ground;
use crate::policy::{associations, client_to_server, rules};
use crate::rig::until;

const OUT: Side = Side::Outside;
const IN: Side = Side::Inside;

/// A connection from this port to 443, open: the client has sent up to 1 000, the server up to 5 000.
pub(crate) fn open(ground: &mut Ground, ends: &Ends, port: u16) {
    ground.crosses("SYN", OUT, &ends.tcp(port, 443, SYN, 999, 0, b""));
    ground.crosses("SYN-ACK", IN, &ends.reply().tcp(443, port, SYN | ACK, 4_999, 1_000, b""));
    ground.crosses("ACK", OUT, &ends.tcp(port, 443, ACK, 1_000, 5_000, b""));
}

/// The same ends with one address or tag changed at a time.
fn altered(ends: &Ends) -> [(&'static str, Ends); 4] {
    let next = |address: std::net::IpAddr| -> std::net::IpAddr {
        match address {
            std::net::IpAddr::V4(v4) => std::net::Ipv4Addr::from_bits(v4.to_bits() + 1).into(),
            std::net::IpAddr::V6(v6) => std::net::Ipv6Addr::from_bits(v6.to_bits() + 1).into(),
        }
    };
    [
        ("another source", Ends { src: next(ends.src), ..*ends }),
        ("another destination", Ends { dst: next(ends.dst), ..*ends }),
        ("a tag", ends.on(Vlans { outer: 100, inner: Vlans::NONE })),
        ("two tags", ends.on(Vlans { outer: 100, inner: 20 })),
    ]
}

#[test]
fn a_tcp_session_is_its_addresses_ports_numbers_and_flags() {
    let Some(mut ground) = Ground::under(&rules("")) else { return };
    for ends in client_to_server() {
        ground.about("F1.5a", &ends);
        let back = ends.reply();
        let reply =
            |ends: &Ends, sport, dport, flags, seq, ack| ends.tcp(sport, dport, flags, seq, ack, b"data");
        open(&mut ground, &ends, 40_000);
        let none = Reason::TcpNoSession;
        for (what, other) in altered(&back) {
            ground.drops(what, IN, &reply(&other, 443, 40_000, ACK, 5_000, 1_000), none);
        }
        for (what, other) in altered(&ends) {
            ground.drops(what, OUT, &other.tcp(40_000, 443, ACK, 1_000, 5_000, b"data"), none);
        }
        ground.drops("another source port", IN, &reply(&back, 444, 40_000, ACK, 5_000, 1_000), none);
        ground.drops("another destination port", IN, &reply(&back, 443, 40_001, ACK, 5_000, 1_000), none);
        ground.drops("another protocol", IN, &back.udp(443, 40_000, b"data"), Reason::NoRule);
        ground.drops("the other side", OUT, &reply(&back, 443, 40_000, ACK, 5_000, 1_000), Reason::Spoofed);
        let (window, state) = (Reason::TcpWindow, Reason::TcpState);
        for (what, flags, seq, ack, reason) in [
            ("a sequence number beyond the window", ACK, 5_000 + 65_536, 1_000, window),
            ("one far beyond", ACK, 3_000_000_000, 1_000, window),
            ("one before the window", ACK, 5_000_u32.wrapping_sub(70_000), 1_000, window),
            ("an acknowledgement of what was not sent", ACK, 5_000, 1_001, window),
            ("one far off", ACK, 5_000, 3_000_000_000, window),
            ("no ACK", PSH, 5_000, 1_000, state),
            ("a SYN-ACK of another connection", SYN | ACK, 9_000, 1_000, window),
            ("a FIN beyond the window", FIN | ACK, 5_000 + 65_536, 1_000, window),
            ("a RST beyond the window", RST, 5_000 + 65_536, 0, window),
            ("a RST before it", RST, 4_990, 0, window),
        ] {
            ground.drops(what, IN, &reply(&back, 443, 40_000, flags, seq, ack), reason);
        }
        ground.crosses("the answer itself", IN, &reply(&back, 443, 40_000, ACK | PSH, 5_000, 1_000));
        ground.crosses("and what follows it", OUT, &ends.tcp(40_000, 443, ACK, 1_000, 5_004, b"more"));
    }
}

#[test]
fn a_handshake_takes_no_other_flags() {
    let Some(mut ground) = Ground::under(&rules("")) else { return };
    for ends in client_to_server() {
        ground.about("F1.5a", &ends);
        let back = ends.reply();
        let (window, state) = (Reason::TcpWindow, Reason::TcpState);
        for (port, (what, flags)) in (41_000..).zip([
            ("an ACK", ACK),
            ("data", ACK | PSH),
            ("a FIN", FIN | ACK),
            ("a SYN-ACK", SYN | ACK),
            ("a RST", RST),
        ]) {
            let frame = ends.tcp(port, 443, flags, 1_000, 5_000, b"");
            ground.drops(&format!("{what} before any SYN"), OUT, &frame, Reason::TcpNoSession);
            let frame = back.tcp(443, port, flags, 5_000, 1_000, b"");
            ground.drops(&format!("{what} before any SYN, inside"), IN, &frame, Reason::TcpNoSession);
        }
        ground.crosses("a SYN", OUT, &ends.tcp(42_000, 443, SYN, 999, 0, b""));
        let from_server = |flags, seq, ack| back.tcp(443, 42_000, flags, seq, ack, b"");
        let from_client = |flags, seq, ack| ends.tcp(42_000, 443, flags, seq, ack, b"");
        ground.drops("answered by an ACK", IN, &from_server(ACK, 4_999, 1_000), state);
        ground.drops("answered by data", IN, &from_server(ACK | PSH, 4_999, 1_000), state);
        ground.drops("answered by a FIN", IN, &from_server(FIN | ACK, 4_999, 1_000), state);
        ground.drops("answered by a RST without ACK", IN, &from_server(RST, 0, 0), state);
        ground.drops("answered by another RST", IN, &from_server(RST | ACK, 0, 2_000), window);
        ground.drops("answered with another number", IN, &from_server(SYN | ACK, 4_999, 1_001), window);
        ground.drops("completed before it is answered", OUT, &from_client(ACK, 1_000, 5_000), state);
        ground.drops("a SYN-ACK from the client", OUT, &from_client(SYN | ACK, 999, 5_000), state);
        ground.crosses("answered as it should be", IN, &from_server(SYN | ACK, 4_999, 1_000));
        ground.drops("completed with another number", OUT, &from_client(ACK, 1_000, 5_001), window);
        ground.drops("completed outside the window", OUT, &from_client(ACK, 900_000, 5_000), window);
        ground.drops("completed without ACK", OUT, &from_client(PSH, 1_000, 5_000), state);
        ground.crosses("completed", OUT, &from_client(ACK, 1_000, 5_000));
    }
}

#[test]
fn a_udp_session_is_its_addresses_and_ports() {
    let Some(mut ground) = Ground::under(&rules("")) else { return };
    for ends in client_to_server() {
        ground.about("F1.5a", &ends);
        let back = ends.reply();
        ground.drops("an answer to nothing", IN, &back.udp(4_433, 40_000, b"answer"), Reason::NoRule);
        ground.crosses("a question", OUT, &ends.udp(40_000, 4_433, b"question"));
        let none = Reason::NoRule;
        for (what, other) in altered(&back) {
            ground.drops(what, IN, &other.udp(4_433, 40_000, b"answer"), none);
        }
        ground.drops("another source port", IN, &back.udp(4_434, 40_000, b"answer"), none);
        ground.drops("another destination port", IN, &back.udp(4_433, 40_001, b"answer"), none);
        ground.drops("another protocol", IN, &back.tcp(4_433, 40_000, SYN, 1, 0, b""), none);
        ground.drops("the other side", OUT, &back.udp(4_433, 40_000, b"answer"), Reason::Spoofed);
        ground.crosses("the answer itself", IN, &back.udp(4_433, 40_000, b"answer"));
    }
}

#[test]
fn a_ping_is_its_addresses_type_code_and_identifier() {
    let Some(mut ground) = Ground::under(&rules("")) else { return };
    for ends in client_to_server() {
        ground.about("F1.5a", &ends);
        let back = ends.reply();
        let stray = Reason::IcmpNoFlow;
        let (request, reply) = if ends.src.is_ipv4() { (8, 0) } else { (128, 129) };
        ground.drops("a reply to nothing", IN, &back.echo_reply(7, 1, b"ping"), stray);
        ground.crosses("a request", OUT, &ends.echo(7, 1, b"ping"));
        for (what, other) in altered(&back) {
            ground.drops(what, IN, &other.echo_reply(7, 1, b"ping"), stray);
        }
        ground.drops("another identifier", IN, &back.echo_reply(8, 1, b"ping"), stray);
        let coded = back.icmp(reply, 1, [0, 7, 0, 1], b"ping");
        ground.drops("another code", IN, &coded, Reason::NoRule);
        let other = back.icmp(request, 0, [0, 7, 0, 1], b"ping");
        ground.drops("another type: a request", IN, &other, Reason::NoRule);
        for (id, what) in [([0xff, 0xf8], "its complement"), ([0, 6], "one less"), ([0, 8], "one more")] {
            let other = back.icmp(request, 0, [id[0], id[1], 0, 1], b"ping");
            ground.drops(&format!("a request, identifier {what}"), IN, &other, Reason::NoRule);
        }
        let stamp = back.icmp(if request == 8 { 14 } else { 161 }, 0, [0, 7, 0, 1], &[0; 12]);
        ground.drops("another type: another reply", IN, &stamp, stray);
        ground.drops("the other side", OUT, &back.echo_reply(7, 1, b"ping"), Reason::Spoofed);
        ground.crosses("the reply itself", IN, &back.echo_reply(7, 1, b"ping"));
        ground.crosses("the next one", OUT, &ends.echo(7, 2, b"ping"));
        ground.crosses("and its reply", IN, &back.echo_reply(7, 2, b"ping"));
    }
}

/// What has no ports is told by its addresses, tags and protocol. The rule holds both ways and says `log`: each
/// flow that opens is told once.
#[test]
fn a_session_of_another_protocol_is_its_addresses_tags_and_protocol() {
    let Some(mut ground) = Ground::under(&rules("")) else { return };
    for ends in client_to_server() {
        ground.about("F1.5a", &ends);
        let back = ends.reply();
        let gre = |ends: &Ends| ends.ip(47, &[0, 0, 8, 0]);
        let rule = "allow.logged-tunnel";
        ground.logged("GRE", OUT, &gre(&ends), rule);
        let [source, destination, tag, tags] = altered(&back);
        for (what, other) in [source, destination] {
            ground.drops(what, IN, &gre(&other), Reason::NoRule);
        }
        for protocol in [50, 51, 132] {
            // An authentication header is an extension header of IPv6.
            if protocol != 51 || ends.src.is_ipv4() {
                let other = back.ip(protocol, &[9; 16]);
                ground.drops(&format!("protocol {protocol}"), IN, &other, Reason::NoRule);
            }
        }
        ground.drops("the other side", OUT, &gre(&back), Reason::Spoofed);
        ground.crosses("the answer itself", IN, &gre(&back));
        ground.crosses("and what follows it", OUT, &gre(&ends));
        for (what, other) in [tag, tags] {
            ground.logged(&format!("{what}: another session"), IN, &gre(&other), rule);
            ground.crosses("and its answer", OUT, &gre(&other.reply()));
        }
    }
}

/// An INIT chunk (RFC 9260 §3.3.2), which no state machine asks for.
const INIT: [u8; 20] = [1, 0, 0, 20, 1, 2, 3, 4, 0, 1, 0, 0, 0, 10, 0, 10, 5, 6, 7, 8];

/// The rule names no ports, holds one way and says `log`: each flow that opens is told once.
#[test]
fn an_sctp_association_is_its_addresses_and_ports() {
    let Some(mut ground) = Ground::under(&associations()) else { return };
    let mut flows = 0;
    for ends in client_to_server() {
        ground.about("F1.5a", &ends);
        let back = ends.reply();
        let (none, rule) = (Reason::NoRule, "allow.associations");
        let data =
            |ends: &Ends, sport, dport| ends.sctp(sport, dport, 0x0102_0304, &[0, 3, 0, 20, 0, 0, 0, 1]);
        ground.drops("an answer to nothing", IN, &data(&back, 3_868, 40_000), none);
        ground.logged("an association", OUT, &ends.sctp(40_000, 3_868, 0, &INIT), rule);
        ground.logged("another of the same hosts", OUT, &ends.sctp(40_001, 3_868, 0, &INIT), rule);
        flows += 2;
        for (what, other) in altered(&back) {
            ground.drops(what, IN, &data(&other, 3_868, 40_000), none);
        }
        ground.drops("another source port", IN, &data(&back, 3_869, 40_000), none);
        ground.drops("another destination port", IN, &data(&back, 3_868, 40_002), none);
        ground.drops("another protocol", IN, &back.udp(3_868, 40_000, b"data"), none);
        ground.drops("the other side", OUT, &data(&back, 3_868, 40_000), Reason::Spoofed);
        for port in [40_000, 40_001] {
            ground.crosses("the answer itself", IN, &data(&back, 3_868, port));
            ground.crosses("and what follows it", OUT, &data(&ends, port, 3_868));
        }
        let (kind, code) = if ends.src.is_ipv4() { (3, 3) } else { (1, 4) };
        let error = |port| back.icmp_error(kind, code, [0; 4], &data(&ends, port, 3_868));
        ground.crosses("an error about it", IN, &error(40_000));
        ground.drops("one about no association", IN, &error(40_002), Reason::IcmpNoFlow);
        // In two fragments: what follows goes by the ports of the first.
        let pieces = |id, dport: u16| {
            let first = [&3_868_u16.to_be_bytes()[..], &dport.to_be_bytes(), &[9; 12]].concat();
            let last = back.fragment(132, id, 16, false, &[8; 16]);
            [back.fragment(132, id, 0, true, &first), last]
        };
        for piece in pieces(1, 40_000) {
            ground.crosses("an answer in fragments", IN, &piece);
        }
        for piece in pieces(2, 40_002) {
            ground.drops("one to another port", IN, &piece, none);
        }
        let all = flows + ground.witnesses();
        until("every flow to be told", || ground.flows() == all);
    }
}

/// Each question that has an identifier, in a flow with its answer.
#[test]
fn every_icmp_question_gets_its_answer_and_nothing_else_does() {
    let Some(mut ground) = Ground::under(&rules("")) else { return };
    for ends in client_to_server() {
        ground.about("F1.5a ICMP", &ends);
        let back = ends.reply();
        let stray = Reason::IcmpNoFlow;
        let exchanges: &[_] = if ends.src.is_ipv4() {
            &[(8, 0, 0), (13, 14, 0), (15, 16, 0), (17, 18, 0), (42, 43, 4)]
        } else {
            &[(128, 129, 0), (160, 161, 4)]
        };
        let own = [0, 7, 0, 1];
        for (question, answer, code) in exchanges {
            let what = |what: &str| format!("{question}: {what}");
            let ask = ends.icmp(*question, 0, own, &[0; 12]);
            let reply = back.icmp(*answer, 0, own, &[0; 12]);
            ground.drops(&what("the answer before it"), IN, &reply, stray);
            ground.crosses(&what("asked"), OUT, &ask);
            ground.crosses(&what("answered"), IN, &reply);
            let coded = back.icmp(*answer, *code, own, &[0; 12]);
            ground.crosses(&what("answered as it went"), IN, &coded);
            let coded = back.icmp(*answer, 5, own, &[0; 12]);
            ground.drops(&what("another code"), IN, &coded, Reason::NoRule);
            let other = back.icmp(*answer, 0, [0, 8, 0, 1], &[0; 12]);
            ground.drops(&what("another identifier"), IN, &other, stray);
            ground.drops(&what("asked back"), IN, &back.icmp(*question, 0, own, &[0; 12]), Reason::NoRule);
            let from_client = ends.icmp(*answer, 0, own, &[0; 12]);
            ground.drops(&what("answered by who asked"), OUT, &from_client, stray);
            for (_, answer, _) in exchanges.iter().filter(|(other, ..)| other > question) {
                let other = back.icmp(*answer, 0, own, &[0; 12]);
                ground.drops(&what(&format!("answered by {answer}")), IN, &other, stray);
            }
        }
        if ends.src.is_ipv6() {
            // Its nonce is no identifier: a rule each way, or none.
            let query = ends.icmp(139, 0, own, &[0; 12]);
            ground.crosses("a node information query", OUT, &query);
            let response = back.icmp(140, 0, own, &[0; 12]);
            ground.drops("and its response", IN, &response, Reason::NoRule);
        }
    }
}

#[test]
fn after_its_close_a_session_meets_the_rules_at_once() {
    let Some(mut ground) = Ground::under(&rules("")) else { return };
    for ends in client_to_server() {
        ground.about("F1.5b", &ends);
        let back = ends.reply();
        let none = Reason::TcpNoSession;
        open(&mut ground, &ends, 40_000);
        ground.crosses("FIN", OUT, &ends.tcp(40_000, 443, FIN | ACK, 1_000, 5_000, b""));
        ground.crosses(
            "data on the half that is open",
            IN,
            &back.tcp(443, 40_000, ACK, 5_000, 1_001, b"last"),
        );
        ground.crosses("FIN back", IN, &back.tcp(443, 40_000, FIN | ACK, 5_004, 1_001, b""));
        ground.crosses("its ACK", OUT, &ends.tcp(40_000, 443, ACK, 1_001, 5_005, b""));
        // All of this within the second.
        let data = ends.tcp(40_000, 443, ACK | PSH, 1_001, 5_005, b"late");
        ground.drops("data of the client", OUT, &data, none);
        ground.drops("data of the server", IN, &back.tcp(443, 40_000, ACK, 5_005, 1_001, b"late"), none);
        ground.drops("a bare ACK", OUT, &ends.tcp(40_000, 443, ACK, 1_001, 5_005, b""), none);
        ground.drops("a RST", IN, &back.tcp(443, 40_000, RST, 5_005, 0, b""), none);
        ground.crosses("the server's FIN again", IN, &back.tcp(443, 40_000, FIN | ACK, 5_004, 1_001, b""));
        ground.crosses("and the ACK it draws", OUT, &ends.tcp(40_000, 443, ACK, 1_001, 5_005, b""));
        ground.drops("another FIN", IN, &back.tcp(443, 40_000, FIN | ACK, 5_005, 1_001, b""), none);

        open(&mut ground, &ends, 40_001);
        ground.crosses("an exact RST", IN, &back.tcp(443, 40_001, RST, 5_000, 0, b""));
        ground.drops("data after it", OUT, &ends.tcp(40_001, 443, ACK, 1_000, 5_000, b"late"), none);
        ground.drops("an answer after it", IN, &back.tcp(443, 40_001, ACK, 5_000, 1_000, b"late"), none);

        open(&mut ground, &ends, 40_002);
        // The rules have changed since: the closed connection's next packet meets the new ones.
        ground.crosses(
            "a SYN of a port that is free again",
            OUT,
            &ends.tcp(40_001, 443, SYN, 70_000, 0, b""),
        );
        ground.crosses(
            "the other connection lives",
            OUT,
            &ends.tcp(40_002, 443, ACK, 1_000, 5_000, b"more"),
        );
    }
}

/// Every timeout is three seconds; each session is used, outlived by silence, and tried again.
#[test]
fn a_session_that_falls_silent_is_over() {
    let timeouts = r#"timeouts = { tcp_opening = "3s", tcp_established = "3s", tcp_half_closed = "3s", tcp_closing = "3s", tcp_closed = "3s", udp_one_way = "3s", udp = "3s", icmp = "3s", other = "3s" }"#;
    let Some(mut ground) = Ground::under(&rules(timeouts)) else { return };
    let families = client_to_server();
    for ends in &families {
        ground.about("F1.5b", ends);
        let back = ends.reply();
        open(&mut ground, ends, 40_000);
        ground.crosses("data", IN, &back.tcp(443, 40_000, ACK, 5_000, 1_000, b"data"));
        ground.crosses("a SYN alone", OUT, &ends.tcp(40_001, 443, SYN, 999, 0, b""));
        open(&mut ground, ends, 40_002);
        ground.crosses("a FIN", OUT, &ends.tcp(40_002, 443, FIN | ACK, 1_000, 5_000, b""));
        ground.crosses("a question", OUT, &ends.udp(40_000, 4_433, b"question"));
        ground.crosses("another", OUT, &ends.udp(40_001, 4_433, b"question"));
        ground.crosses("its answer", IN, &back.udp(4_433, 40_001, b"answer"));
        ground.crosses("a ping", OUT, &ends.echo(7, 1, b"ping"));
        ground.crosses("its reply", IN, &back.echo_reply(7, 1, b"ping"));
        ground.logged("GRE opens a flow", OUT, &ends.ip(47, &[0, 0, 8, 0]), "allow.logged-tunnel");
        ground.crosses("and is of it", IN, &back.ip(47, &[0, 0, 8, 0]));
    }
    until("silence to end every session", || ground.flows() == 0);
    for ends in &families {
        ground.about("F1.5b", ends);
        let back = ends.reply();
        let none = Reason::TcpNoSession;
        for (what, frame, reason) in [
            ("established TCP", back.tcp(443, 40_000, ACK, 5_004, 1_000, b"late"), none),
            ("opening TCP", back.tcp(443, 40_001, SYN | ACK, 4_999, 1_000, b""), none),
            ("half-closed TCP", back.tcp(443, 40_002, ACK, 5_000, 1_001, b"late"), none),
            ("UDP one way", back.udp(4_433, 40_000, b"late"), Reason::NoRule),
            ("UDP both ways", back.udp(4_433, 40_001, b"late"), Reason::NoRule),
            ("ICMP", back.echo_reply(7, 1, b"ping"), Reason::IcmpNoFlow),
        ] {
            ground.drops(what, IN, &frame, reason);
        }
        let late = ends.tcp(40_000, 443, ACK, 1_000, 5_004, b"late");
        ground.drops("established TCP, its opener", OUT, &late, none);
        ground.crosses("what the rules let open again", OUT, &ends.udp(40_001, 4_433, b"question"));
        ground.logged("GRE opens another", IN, &back.ip(47, &[0, 0, 8, 0]), "allow.logged-tunnel");
    }
}

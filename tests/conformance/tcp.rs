//! TCP as its RFCs have it, seen from between: RFC 5961's challenges, reuse, both ends at once, window scale,
//! and a connection whose beginning was not seen.

use std::time::Duration;

use etherparse::TcpHeader;
use portcullis::pipeline::Reason;
use portcullis::wire::samples::Ends;
use portcullis::wire::{Reply, Side};

use crate::bytes::{ACK, FIN, PSH, RST, SYN};
use crate::ground::Ground;
use crate::policy::{client_to_server, rules};
use crate::sessions::open;

const OUT: Side = Side::Outside;
const IN: Side = Side::Inside;

#[test]
fn a_blind_reset_or_syn_ends_no_connection() {
    let Some(mut ground) = Ground::under(&rules("")) else { return };
    for ends in client_to_server() {
        ground.about("TCP, RFC 5961", &ends);
        let back = ends.reply();
        open(&mut ground, &ends, 40_000);
        let client = |flags, seq, ack| ends.tcp(40_000, 443, flags, seq, ack, b"");
        let server = |flags, seq, ack| back.tcp(443, 40_000, flags, seq, ack, b"");
        let alive = |ground: &mut Ground| {
            ground.crosses("the client lives", OUT, &client(ACK, 1_000, 5_000));
            ground.crosses("the server lives", IN, &server(ACK, 5_000, 1_000));
        };
        // §3: outside the window it is dropped, inside it the receiver is asked, and says that it lives.
        for seq in [999, 1_000 + 65_536, 3_000_000_000] {
            ground.drops("a RST out of window", OUT, &client(RST, seq, 0), Reason::TcpWindow);
        }
        ground.crosses("a RST in window, not exact", OUT, &client(RST, 1_001, 0));
        ground.crosses("the challenge it draws", IN, &server(ACK, 5_000, 1_000));
        alive(&mut ground);
        // §4: a SYN in window or out of it is the receiver's to answer, once a second.
        ground.crosses("a SYN on the live connection", OUT, &client(SYN, 77, 0));
        ground.crosses("the challenge it draws", IN, &server(ACK, 5_000, 1_000));
        ground.drops("another within the second", OUT, &client(SYN, 78, 0), Reason::TcpState);
        ground.drops("one of the other end", IN, &server(SYN, 78, 0), Reason::TcpState);
        alive(&mut ground);
        // §5: data with an acknowledgement of what was never sent.
        ground.drops("blind data", OUT, &client(ACK | PSH, 1_000, 3_000_000_000), Reason::TcpWindow);
        alive(&mut ground);
    }
    // A second is what is tried.
    std::thread::sleep(Duration::from_millis(1_100));
    for ends in client_to_server() {
        ground.about("TCP, RFC 5961", &ends);
        let client = |flags, seq, ack| ends.tcp(40_000, 443, flags, seq, ack, b"");
        let server = |flags, seq, ack| ends.reply().tcp(443, 40_000, flags, seq, ack, b"");
        // The client has forgotten the connection: the challenge makes it say so, and it begins anew.
        ground.crosses("a SYN, a second later", OUT, &client(SYN, 90_000, 0));
        ground.crosses("the challenge", IN, &server(ACK, 5_000, 1_000));
        ground.crosses("the RST it draws", OUT, &client(RST, 1_000, 0));
        ground.drops("the old connection is over", IN, &server(ACK, 5_000, 1_000), Reason::TcpNoSession);
        ground.crosses("the SYN again", OUT, &client(SYN, 90_000, 0));
        ground.crosses("its answer", IN, &server(SYN | ACK, 700, 90_001));
        ground.crosses("the new connection", OUT, &client(ACK, 90_001, 701));
    }
}

#[test]
fn a_newer_syn_opens_the_same_ports_anew_and_a_live_connection_it_does_not_open() {
    let Some(mut ground) = Ground::under(&rules("")) else { return };
    for ends in client_to_server() {
        ground.about("TCP, reuse", &ends);
        let client = |flags, seq, ack| ends.tcp(40_000, 443, flags, seq, ack, b"");
        let server = |flags, seq, ack| ends.reply().tcp(443, 40_000, flags, seq, ack, b"");
        open(&mut ground, &ends, 40_000);
        ground.crosses("a newer SYN on the live connection", OUT, &client(SYN, 500_000, 0));
        ground.drops("an answer to it", IN, &server(SYN | ACK, 800_000, 500_001), Reason::TcpWindow);
        ground.crosses("the connection as it was", OUT, &client(ACK, 1_000, 5_000));
        ground.crosses("FIN", OUT, &client(FIN | ACK, 1_000, 5_000));
        ground.crosses("FIN back", IN, &server(FIN | ACK, 5_000, 1_001));
        ground.crosses("its ACK", OUT, &client(ACK, 1_001, 5_001));
        ground.crosses("a newer SYN after the close", OUT, &client(SYN, 500_000, 0));
        ground.drops("the old connection's FIN", IN, &server(FIN | ACK, 5_000, 1_001), Reason::TcpState);
        ground.crosses("its answer", IN, &server(SYN | ACK, 800_000, 500_001));
        ground.crosses("complete", OUT, &client(ACK, 500_001, 800_001));
        let old = client(ACK | PSH, 1_001, 5_001);
        ground.drops("the old connection's data", OUT, &old, Reason::TcpWindow);
    }
}

#[test]
fn both_ends_may_open_at_once() {
    let Some(mut ground) = Ground::under(&rules("")) else { return };
    for ends in client_to_server() {
        ground.about("TCP, simultaneous open", &ends);
        let client = |flags, seq, ack| ends.tcp(40_000, 443, flags, seq, ack, b"");
        let server = |flags, seq, ack| ends.reply().tcp(443, 40_000, flags, seq, ack, b"");
        ground.crosses("a SYN", OUT, &client(SYN, 999, 0));
        ground.crosses("and one back", IN, &server(SYN, 4_999, 0));
        ground.crosses("its answer", OUT, &client(SYN | ACK, 999, 5_000));
        ground.crosses("and one back", IN, &server(SYN | ACK, 4_999, 1_000));
        ground.crosses("data", OUT, &ends.tcp(40_000, 443, ACK, 1_000, 5_000, b"data"));
        ground.crosses("and back", IN, &server(ACK, 5_000, 1_004));
        ground.drops("what is out of window", OUT, &client(ACK, 900_000, 5_000), Reason::TcpWindow);
        // The server's SYN alone has no rule.
        let alone = ends.reply().tcp(443, 40_001, SYN, 4_999, 0, b"");
        ground.drops("a SYN that nobody expects", IN, &alone, Reason::NoRule);
    }
}

#[test]
fn a_window_is_scaled_where_both_ends_have_said_so() {
    let Some(mut ground) = Ground::under(&rules("")) else { return };
    for ends in client_to_server() {
        ground.about("TCP, window scale", &ends);
        let back = ends.reply();
        let opening =
            |ends: &Ends, ports: (u16, u16), flags: u8, numbers: (u32, u32), scale: Option<u8>| {
                let mut header = TcpHeader::new(ports.0, ports.1, numbers.0, 1_000);
                header.acknowledgment_number = numbers.1;
                (header.syn, header.ack) = (true, flags & ACK != 0);
                if let Some(scale) = scale {
                    header.set_options_raw(&[3, 3, scale, 0]).unwrap();
                }
                ends.tcp_with(header, b"")
            };
        for (port, scales, far) in [
            (40_000, [Some(7), Some(7)], true),
            (40_001, [Some(7), None], false),
            (40_002, [None, Some(7)], false),
            (40_003, [None, None], false),
        ] {
            let syn = opening(&ends, (port, 443), SYN, (999, 0), scales[0]);
            let answer = opening(&back, (443, port), SYN | ACK, (4_999, 1_000), scales[1]);
            ground.crosses("SYN", OUT, &syn);
            ground.crosses("SYN-ACK", IN, &answer);
            // Windows of 65 535, unscaled.
            ground.crosses("ACK", OUT, &ends.tcp(port, 443, ACK, 1_000, 5_000, b""));
            ground.crosses("ACK back", IN, &back.tcp(443, port, ACK, 5_000, 1_000, b""));
            let edge = ends.tcp(port, 443, ACK, 1_000 + 65_535 - 4, 5_000, b"data");
            ground.crosses("data up to the edge", OUT, &edge);
            let beyond = ends.tcp(port, 443, ACK, 1_000 + 65_535, 5_000, b"data");
            let what = format!("data beyond it, scales {scales:?}");
            if far {
                ground.crosses(&what, OUT, &beyond);
                let last = (65_535 << 7) + 1_000;
                ground.crosses(
                    "data up to the scaled edge",
                    OUT,
                    &ends.tcp(port, 443, ACK, last - 4, 5_000, b"data"),
                );
                let beyond = ends.tcp(port, 443, ACK, last, 5_000, b"data");
                ground.drops("data beyond that", OUT, &beyond, Reason::TcpWindow);
            } else {
                ground.drops(&what, OUT, &beyond, Reason::TcpWindow);
            }
        }
    }
}

/// What is established before the gate is there has shown it no SYN.
#[test]
fn what_begins_in_the_middle_is_no_session_under_enforce_and_learned_elsewhere() {
    let strict = rules("");
    let Some(mut ground) = Ground::under(&strict) else { return };
    let middle = |ends: &Ends, port, payload: &[u8]| ends.tcp(port, 443, ACK | PSH, 1_000, 5_000, payload);
    for ends in client_to_server() {
        ground.about("TCP, mid-stream, enforce", &ends);
        ground.drops("data of the client", OUT, &middle(&ends, 40_000, b"data"), Reason::TcpNoSession);
        let back = ends.reply().tcp(443, 40_000, ACK | PSH, 5_000, 1_000, b"data");
        ground.drops("data of the server", IN, &back, Reason::TcpNoSession);
        ground.crosses("a SYN", OUT, &ends.tcp(40_000, 443, SYN, 1, 0, b""));
    }
    for (mode, port) in [("simulate", 41_000), ("observe", 42_000)] {
        ground.reload(&strict.replace("unzoned = \"enforce\"", &format!("unzoned = \"{mode}\"")));
        for ends in client_to_server() {
            ground.about(&format!("TCP, mid-stream, {mode}"), &ends);
            let first = middle(&ends, port, b"data");
            ground.loose("data, counted as loose and no more", OUT, &first);
            let back = |seq, ack| ends.reply().tcp(443, port, ACK, seq, ack, b"back");
            ground.crosses("the answer is of the same flow", IN, &back(5_000, 1_004));
            ground.crosses(
                "and its window is known now",
                OUT,
                &ends.tcp(port, 443, ACK, 1_004, 5_004, b""),
            );
            ground.would("what is out of it", IN, &back(3_000_000_000, 1_004), Reason::TcpWindow, mode);
            let stray = ends.tcp(port + 1, 443, RST, 1_000, 0, b"");
            ground.would("a RST tells nothing to learn", OUT, &stray, Reason::TcpNoSession, mode);
        }
    }
}

/// Who was in the middle of a connection when the gate began is told that it is over, where the policy wants
/// that and would allow the connection.
#[test]
fn after_a_cold_start_an_allowed_connection_in_the_middle_is_reset() {
    let text = rules("cold_start_reset = \"1h\"");
    let Some(mut ground) = Ground::under(&text) else { return };
    for ends in client_to_server() {
        ground.about("FFW TCP", &ends);
        let back = ends.reply();
        let none = Reason::TcpNoSession;
        for (what, side, frame) in [
            ("data of the client", OUT, ends.tcp(40_000, 443, ACK, 1_000, 5_000, b"data")),
            ("data of the server", IN, back.tcp(443, 40_000, ACK, 5_000, 1_000, b"data")),
            ("a FIN", OUT, ends.tcp(40_000, 443, FIN | ACK, 1_000, 5_000, b"")),
            ("a SYN-ACK", IN, back.tcp(443, 40_000, SYN | ACK, 5_000, 1_000, b"")),
        ] {
            let reset = Reply::Reset.write(&frame, &mut [0; Reply::LONGEST]).unwrap().to_vec();
            ground.rejects(what, side, &frame, (none, None), &reset);
        }
        let middle = |port| ends.tcp(40_000, port, ACK, 1_000, 5_000, b"data");
        ground.drops("data of a connection that no rule allows", OUT, &middle(9_999), none);
        ground.crosses("a SYN", OUT, &ends.tcp(40_000, 443, SYN, 1_000, 0, b""));
    }
    // Not without the policy's word.
    let Some(mut ground) = Ground::under(&rules("")) else { return };
    for ends in client_to_server() {
        ground.about("FFW TCP, silent", &ends);
        let data = ends.tcp(40_000, 443, ACK, 1_000, 5_000, b"data");
        ground.drops("data of the client", OUT, &data, Reason::TcpNoSession);
    }
}

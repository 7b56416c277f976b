//! F1.10: half-open TCP connections of one destination.

use portcullis::pipeline::Reason;
use portcullis::wire::Side;
use portcullis::wire::samples::Ends;

use crate::bytes::{ACK, SYN};
use crate::ground::Ground;
use crate::policy::{client_to_server, everything};
use crate::rig::until;
use crate::sessions::open;

const OUT: Side = Side::Outside;
const IN: Side = Side::Inside;
const LIMIT: u32 = 64;
/// What would let them open.
const RULE: &str = "allow.everything";

/// A source that nobody has heard of, with its port and its first number.
fn stranger(ends: &Ends, which: u32) -> (Ends, u16, u32) {
    // Spread over the whole family, never twice the same.
    let noise = which.wrapping_mul(0x9e37_79b1);
    let [a, b, c, d] = noise.to_be_bytes();
    let src = if ends.src.is_ipv4() {
        std::net::Ipv4Addr::new(11 + a % 80, b, c, d).into()
    } else {
        let [high, low] = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
        std::net::Ipv6Addr::new(0x2a00, high, low, 1, 0, 0, 0, 1).into()
    };
    (Ends { src, ..*ends }, 1_024 + u16::try_from(noise % 60_000).unwrap(), noise)
}

fn syn(ends: &Ends, n: u32) -> Vec<u8> {
    let (ends, port, seq) = stranger(ends, n);
    ends.tcp(port, 443, SYN, seq, 0, b"")
}

#[test]
fn beyond_a_destinations_limit_of_half_open_connections_no_syn_arrives() {
    let limits = format!("limits = {{ half_open = {LIMIT} }}");
    let Some(mut ground) = Ground::under(&everything(&limits)) else { return };
    for ends in client_to_server() {
        ground.about("F1.10", &ends);
        open(&mut ground, &ends, 40_000);
        let within: Vec<_> = (0..LIMIT).map(|n| syn(&ends, n)).collect();
        let frames: Vec<&[u8]> = within.iter().map(Vec::as_slice).collect();
        ground.all_cross("SYNs up to the limit", OUT, &frames);
        // As few at a time as a burst records.
        for eight in (LIMIT..LIMIT + 24).collect::<Vec<_>>().chunks(8) {
            let beyond: Vec<_> = eight.iter().map(|n| syn(&ends, *n)).collect();
            let frames: Vec<&[u8]> = beyond.iter().map(Vec::as_slice).collect();
            ground.drops_by("SYNs beyond the limit", OUT, &frames, Reason::HalfOpenLimit, RULE);
        }
        // One that completes its handshake makes room for one.
        let (client, port, seq) = stranger(&ends, 0);
        let seq = seq.wrapping_add(1);
        ground.crosses("an answer", IN, &client.reply().tcp(443, port, SYN | ACK, 4_999, seq, b""));
        ground.crosses("its ACK", OUT, &client.tcp(port, 443, ACK, seq, 5_000, b""));
        ground.crosses("room for one", OUT, &syn(&ends, 1_000));
        ground.drops_by("and no more", OUT, &[&syn(&ends, 1_001)], Reason::HalfOpenLimit, RULE);
        // What is established goes on; another destination is another account.
        ground.crosses("an established connection", OUT, &ends.tcp(40_000, 443, ACK, 1_000, 5_000, b"on"));
        ground.crosses("and its answer", IN, &ends.reply().tcp(443, 40_000, ACK, 5_000, 1_002, b""));
        let other = if ends.src.is_ipv4() { "10.20.0.10" } else { "2001:db8:20::10" };
        let other = Ends { dst: other.parse().unwrap(), ..ends };
        ground.crosses("another destination", OUT, &syn(&other, 2_000));
        ground.crosses("the server's own", IN, &ends.reply().tcp(50_000, 443, SYN, 1, 0, b""));
        ground.crosses("what is not TCP", OUT, &ends.udp(40_000, 443, b"question"));
    }
    // Above half the limit those that wait have three seconds; what else was opened is five a family.
    let left = ground.witnesses() + 2 * (5 + u64::from(LIMIT) / 2 + 1);
    until("the half-open to end", || ground.flows() <= left);
    for ends in client_to_server() {
        ground.about("F1.10", &ends);
        ground.crosses("a SYN when they have ended", OUT, &syn(&ends, 3_000));
        ground.crosses("the established one", OUT, &ends.tcp(40_000, 443, ACK, 1_002, 5_000, b"on"));
    }
}

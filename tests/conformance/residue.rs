//! `FDP_RIP`: nothing of an earlier packet is in a later one. What the gate writes itself is the only place.

use etherparse::{NetSlice, SlicedPacket};
use portcullis::pipeline::Reason;
use portcullis::wire::samples::Ends;
use portcullis::wire::{Reply, Side, Vlans};

use crate::bytes::{ACK, SYN};
use crate::ground::Ground;
use crate::policy::{client_to_server, rules};

/// A byte that stands in no header here.
const SECRET: u8 = 0xa5;

/// Frames of a direction, all told.
const FRAMES: u16 = 64;

/// The bytes of a frame behind its packet.
fn padding(frame: &[u8]) -> &[u8] {
    let total = match SlicedPacket::from_ethernet(frame).unwrap().net {
        Some(NetSlice::Ipv4(v4)) => usize::from(v4.header().total_len()),
        Some(NetSlice::Ipv6(v6)) => 40 + usize::from(v6.header().payload_length()),
        Some(NetSlice::Arp(_)) | None => panic!("an IP packet"),
    };
    &frame[14 + total..]
}

#[test]
fn a_reply_holds_nothing_of_an_earlier_packet_and_a_short_frame_stays_short() {
    let text = rules("rings = 64")
        .replace("services = [\"tcp/23\"]", "services = [\"tcp/23\"]\nreply = \"reset\"");
    let text =
        text.replace("mode = \"enforce\"\nfrom", "mode = \"enforce\"\nreply = \"unreachable\"\nfrom");
    let text = text.replace("both_ways = true\nlog = true", "both_ways = true");
    let Some(mut ground) = Ground::under(&text) else { return };
    let mut replies = Vec::new();
    for ends in client_to_server() {
        ground.about("FDP_RIP", &ends);
        // Every frame of both pools has held this.
        let full = |ends: &Ends, ports: (u16, u16)| ends.udp(ports.0, ports.1, &[SECRET; 1_400]);
        let question = full(&ends, (40_000, 4_433));
        let answer = full(&ends.reply(), (4_433, 40_000));
        for _ in 0..2 * FRAMES / 16 {
            ground.all_cross("a pool of secrets", Side::Outside, &[&question[..]; 16]);
            ground.all_cross("and back", Side::Inside, &[&answer[..]; 16]);
        }
        // The refused packet's own padding is no part of it either.
        let mut syn = ends.tcp(40_000, 23, SYN, 7, 0, b"");
        let mut ask = ends.udp(40_000, 6_000, b"ask");
        for frame in [&mut syn, &mut ask] {
            frame.resize(120, SECRET);
        }
        for (what, frame, reply, reason, rule) in [
            ("a reset", &syn, Reply::Reset, Reason::Denied, "deny.telnet"),
            ("an unreachable", &ask, Reply::Unreachable, Reason::Guardrail, "guardrail.never"),
        ] {
            let back = reply.write(frame, &mut [0; Reply::LONGEST]).unwrap().to_vec();
            ground.rejects(what, Side::Outside, frame, (reason, Some(rule)), &back);
            replies.push(back);
        }
        let short = ends.udp(40_000, 4_433, b"");
        ground.crosses("a frame shorter than Ethernet's least", Side::Outside, &short);
        let padded = |mut frame: Vec<u8>, length: usize, byte: u8| {
            frame.resize(length, byte);
            frame
        };
        let tagged = ends.on(Vlans { outer: 100, inner: Vlans::NONE });
        for (what, ends, length) in [("untagged", ends, 60), ("with a tag", tagged, 64)] {
            for (kind, frame) in [
                ("protocol 47", ends.ip(47, &[0, 0, 8, 0])),
                ("nothing", ends.udp(40_000, 4_433, b"")),
                ("a SYN", ends.tcp(40_000, 443, SYN, 7, 0, b"")),
            ] {
                // IPv6 leaves nothing to pad behind the longer ones.
                if frame.len() < length {
                    let (dirty, clean) = (padded(frame.clone(), length, SECRET), padded(frame, length, 0));
                    ground.crosses_as(&format!("{kind}, {what}, padded"), Side::Outside, &dirty, &clean);
                    ground.crosses(&format!("{kind}, {what}, padded with zeros"), Side::Outside, &clean);
                }
            }
            let trailer = padded(ends.udp(40_000, 4_433, b""), 70, SECRET);
            ground.crosses(&format!("a trailer, {what}"), Side::Outside, &trailer);
        }
        ground.drops(
            "an ACK of nothing",
            Side::Outside,
            &ends.tcp(9, 443, ACK, 1, 1, b""),
            Reason::TcpNoSession,
        );
    }
    let [ends, _] = client_to_server();
    ground.about("FDP_RIP ARP", &ends);
    let mut ask = ends.arp(1);
    ask.resize(60, SECRET);
    let mut clean = ends.arp(1);
    clean.resize(60, 0);
    ground.crosses_as("ARP, padded", Side::Outside, &ask, &clean);
    // They arrived byte for byte: so none of them holds the secret, and what pads them is zero.
    for reply in &replies {
        assert!(reply.len() >= 60 && !reply.windows(4).any(|bytes| bytes == [SECRET; 4]), "{reply:02x?}");
        assert!(padding(reply).iter().all(|byte| *byte == 0), "{reply:02x?}");
    }
    let padded = replies.iter().filter(|reply| !padding(reply).is_empty()).count();
    assert_eq!(padded, 1, "the IPv4 reset is shorter than Ethernet's least frame");
}

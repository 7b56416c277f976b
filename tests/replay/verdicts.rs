//! Every kind of packet, with the end it comes to.

use std::path::Path;

use portcullis::io::pcap::{Capture, Packet};
use portcullis::wire::samples::Ends;
use portcullis::wire::{Mac, TcpFlags, Vlans};

use crate::bench::{Bench, MS, NOON, Taken, briefs, pcap, snapped, taken};

const SYN: u8 = TcpFlags::SYN;
const ACK: u8 = TcpFlags::ACK;
const FIN: u8 = TcpFlags::FIN;

fn vault() -> Ends {
    Ends::of("10.10.0.5", "10.20.0.9")
}

fn jump() -> Ends {
    Ends { dst_mac: Mac([2, 0, 0, 0x20, 0, 0x30]), ..Ends::of("10.10.0.5", "10.20.1.30") }
}

fn old() -> Ends {
    Ends { dst_mac: Mac([2, 0, 0, 0x20, 0, 0x40]), ..Ends::of("10.10.0.5", "10.20.2.40") }
}

/// What arrives at both ports while a client talks to a vault and tries more.
pub(crate) fn conversation() -> (Vec<Taken>, Vec<Taken>) {
    let (there, back) = (vault(), vault().reply());
    let answer = back.udp(53, 5_353, b"answer");
    let outside = vec![
        taken(0, &there.tcp(40_000, 443, SYN, 100, 0, b"")),
        taken(2 * MS, &there.tcp(40_000, 443, ACK, 101, 901, b"")),
        taken(3 * MS, &there.tcp(40_000, 443, ACK, 101, 901, b"hello")),
        taken(5 * MS, &there.tcp(40_000, 443, ACK | FIN, 106, 901, b"")),
        taken(7 * MS, &there.tcp(40_000, 443, ACK, 107, 902, b"")),
        taken(10 * MS, &there.tcp(40_001, 5_432, SYN, 1, 0, b"")),
        taken(11 * MS, &there.tcp(40_002, 23, SYN, 1, 0, b"")),
        taken(12 * MS, &jump().tcp(40_003, 22, SYN, 1, 0, b"")),
        taken(13 * MS, &jump().tcp(40_003, 22, SYN, 1, 0, b"")),
        taken(14 * MS, &old().tcp(40_004, 22, ACK, 1, 1, b"")),
        taken(15 * MS, &there.tcp(40_005, 443, ACK, 1, 1, b"")),
        taken(16 * MS, &there.udp(5_353, 53, b"question")),
        taken(18 * MS, &there.icmp_error(3, 3, [0; 4], &answer)),
        taken(19 * MS, &there.icmp_error(3, 3, [0; 4], &back.udp(53, 9, b"never asked"))),
        taken(20 * MS, &there.on(Vlans { outer: 20, inner: Vlans::NONE }).udp(1, 53, b"tagged")),
        taken(21 * MS, &there.arp(1)),
        taken(22 * MS, &there.lldp()),
        taken(23 * MS, &there.tcp(40_006, 443, SYN | FIN, 1, 0, b"")),
        taken(24 * MS, &there.udp(5_353, 53, b"question")[..40]),
        taken(25 * MS, &there.reply().udp(1, 53, b"spoofed")),
        taken(26 * MS, &there.echo(7, 1, b"ping")),
    ];
    let inside = vec![
        taken(MS, &back.tcp(443, 40_000, SYN | ACK, 900, 101, b"")),
        taken(4 * MS, &back.tcp(443, 40_000, ACK, 901, 106, b"")),
        taken(6 * MS, &back.tcp(443, 40_000, ACK | FIN, 901, 107, b"")),
        taken(17 * MS, &answer),
        taken(27 * MS, &back.echo_reply(7, 1, b"ping")),
    ];
    (outside, inside)
}

/// Number, side, verdict, outcome, reason, would, rule, flow.
pub(crate) const CONVERSATION: [&str; 26] = [
    "1 outside allow forwarded - - allow.web new",
    "1 inside allow forwarded - - allow.web established",
    "2 outside allow forwarded - - allow.web established",
    "3 outside allow forwarded - - allow.web established",
    "2 inside allow forwarded - - allow.web established",
    "4 outside allow forwarded - - allow.web established",
    "3 inside allow forwarded - - allow.web established",
    "5 outside allow forwarded - - allow.web established",
    "6 outside deny dropped no_rule - - none",
    "7 outside deny dropped denied - deny.telnet none",
    "8 outside deny forwarded no_rule dropped - new",
    "9 outside deny forwarded no_rule dropped - established",
    "10 outside deny forwarded - forwarded - unseen",
    "11 outside none dropped tcp_no_session - - none",
    "12 outside allow forwarded - - allow.web new",
    "4 inside allow forwarded - - allow.web established",
    "13 outside allow forwarded - - allow.web related",
    "14 outside none dropped icmp_no_flow - - none",
    "15 outside deny dropped spoofed - - none",
    "16 outside none forwarded - - - none",
    "17 outside none dropped profile - - none",
    "18 outside none dropped tcp_flags - - none",
    "19 outside none dropped ip_total_length - - none",
    "20 outside deny dropped spoofed - - none",
    "21 outside allow forwarded - - allow.web new",
    "5 inside allow forwarded - - allow.web established",
];

fn bench() -> Bench {
    let bench = Bench::new();
    let (outside, inside) = conversation();
    bench.put("out.pcap", &pcap(&outside)).put("in.pcap", &pcap(&inside));
    bench
}

const BOTH: [&str; 4] = ["--outside", "out.pcap", "--inside", "in.pcap"];

#[test]
fn a_conversation_is_judged_as_the_gate_would() {
    let said = bench().replay(&BOTH);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(briefs(&said.rows), CONVERSATION);
}

#[test]
fn a_row_has_the_ports_of_sctp() {
    let bench = Bench::new();
    let packet = taken(0, &vault().sctp(40_000, 3_868, 0, &[3, 0, 0, 4]));
    bench.put("out.pcap", &pcap(&[packet])).put("in.pcap", &pcap(&[]));
    let said = bench.replay(&BOTH);
    assert_eq!(briefs(&said.rows), ["1 outside deny dropped no_rule - - none"]);
    let row = &said.rows[0];
    assert_eq!([&row["proto"], &row["sport"], &row["dport"]], [132, 40_000, 3_868]);
}

#[test]
fn what_a_rule_wants_answered_is_rejected_or_would_be() {
    let there = vault();
    let tries =
        |ends: Ends, n: u64| (0..n).map(move |n| taken(n * MS / 4, &ends.tcp(40_000, 24, SYN, 1, 0, b"")));
    let bench = Bench::new();
    let packets: Vec<Taken> = tries(there, 22)
        .chain([taken(6 * MS, &jump().tcp(40_001, 24, SYN, 1, 0, b""))])
        .chain([taken(7 * MS, &there.udp(40_002, 514, b"a line"))])
        .collect();
    bench.put("out.pcap", &pcap(&packets)).put("in.pcap", &pcap(&[]));
    let said = bench.replay(&BOTH);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let rows = briefs(&said.rows);
    // Twenty at once and twenty a second go to one source, by the captures' own time.
    for (n, row) in rows.iter().take(22).enumerate() {
        let outcome = if n < 20 { "rejected" } else { "dropped" };
        assert_eq!(*row, format!("{} outside deny {outcome} denied - deny.shell none", n + 1));
    }
    assert_eq!(
        rows[22..],
        [
            "23 outside deny forwarded denied rejected deny.shell new",
            "24 outside deny dropped guardrail - guardrail.no-syslog none"
        ]
    );
    let outcomes = serde_json::json!({ "dropped": 3, "forwarded": 1, "rejected": 20 });
    assert_eq!(said.summary["outcomes"], outcomes);
    let denied = serde_json::json!({ "dropped": 2, "forwarded": 1, "rejected": 20, "would_drop": 1 });
    assert_eq!(
        (&said.summary["reasons"]["denied"], &said.summary["rules"]["deny.shell"]),
        (&denied, &denied)
    );
}

#[test]
fn a_row_has_exactly_its_fields_in_order() {
    let bench = bench();
    let output = bench.call(&[&BOTH[..], &["--verdicts", "-"]].concat());
    assert_eq!(output.status.code(), Some(0));
    let rows = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = rows.lines().collect();
    assert_eq!(lines.len(), 26);
    assert_eq!(
        lines[0],
        concat!(
            r#"{"n":1,"file":"out.pcap","ts":"2026-11-24T12:00:00.000000000Z","side":"outside","#,
            r#""verdict":"allow","outcome":"forwarded","reason":null,"would":null,"rule":"allow.web","#,
            r#""src":"10.10.0.5","dst":"10.20.0.9","proto":6,"sport":40000,"dport":443,"vlan":"untagged","#,
            r#""flow":"new","from":"client","to":"vault","generation":1}"#
        )
    );
    // ARP has no addresses of IP; what can't be read has nothing; an ICMP error has no ports; a tag is seen.
    for (line, expected) in [
        (19, r#""src":null,"dst":null,"proto":null,"sport":null,"dport":null,"vlan":"untagged""#),
        (22, r#""src":null,"dst":null,"proto":null,"sport":null,"dport":null,"vlan":null"#),
        (16, r#""src":"10.10.0.5","dst":"10.20.0.9","proto":1,"sport":null,"dport":null"#),
        (18, r#""proto":17,"sport":1,"dport":53,"vlan":"20""#),
    ] {
        assert!(lines[line].contains(expected), "{}", lines[line]);
    }
    let summary = String::from_utf8(output.stderr).unwrap();
    assert!(summary.starts_with("26 packets of out.pcap, in.pcap over 0 s, policy table "), "{summary}");
}

#[test]
fn the_summary_counts_what_the_rows_say() {
    let said = bench().replay(&BOTH);
    let summary = &said.summary;
    assert_eq!(summary["packets"], 26);
    assert_eq!(summary["files"][1], serde_json::json!({ "file": "in.pcap", "packets": 5 }));
    assert_eq!(summary["first"], "2026-11-24T12:00:00.000000000Z");
    assert_eq!(summary["last"], "2026-11-24T12:00:00.027000000Z");
    assert_eq!(summary["outcomes"], serde_json::json!({ "dropped": 9, "forwarded": 17, "rejected": 0 }));
    assert_eq!(summary["verdicts"], serde_json::json!({ "allow": 13, "deny": 7, "none": 6 }));
    let flows = serde_json::json!({ "established": 10, "new": 4, "none": 10, "related": 1, "unseen": 1 });
    assert_eq!(summary["flows"], flows);
    let ends = |forwarded: u64, dropped: u64, would: u64| serde_json::json!({ "dropped": dropped, "forwarded": forwarded, "rejected": 0, "would_drop": would });
    let reasons = serde_json::json!({
        "denied": ends(0, 1, 0),
        "icmp_no_flow": ends(0, 1, 0),
        "ip_total_length": ends(0, 1, 0),
        "no_rule": ends(2, 1, 2),
        "profile": ends(0, 1, 0),
        "spoofed": ends(0, 2, 0),
        "tcp_flags": ends(0, 1, 0),
        "tcp_no_session": ends(0, 1, 0),
    });
    assert_eq!(summary["reasons"], reasons);
    let rules =
        serde_json::json!({ "": ends(4, 8, 2), "allow.web": ends(13, 0, 0), "deny.telnet": ends(0, 1, 0) });
    assert_eq!(summary["rules"], rules);
}

#[test]
fn the_summary_is_a_page() {
    let output = bench().call(&BOTH);
    let page = String::from_utf8(output.stdout).unwrap();
    let (head, rest) = page.split_once('\n').unwrap();
    assert!(head.starts_with("26 packets of out.pcap, in.pcap over 0 s, policy table "), "{head}");
    insta::assert_snapshot!(rest);
}

fn read(path: &Path) -> Vec<Packet> {
    let mut capture = Capture::open(path).unwrap();
    std::iter::from_fn(|| capture.next_packet()).map(Result::unwrap).collect()
}

#[test]
fn what_crossed_is_written_byte_for_byte_with_its_time() {
    let bench = bench();
    let said = bench.replay(&[&BOTH[..], &["--forwarded", "crossed.pcapng"]].concat());
    let (outside, inside) = conversation();
    let mut crossed = Vec::new();
    for row in said.rows.iter().filter(|row| row["outcome"] == "forwarded") {
        let from = if row["side"] == "outside" { &outside } else { &inside };
        let place = usize::try_from(row["n"].as_u64().unwrap()).unwrap() - 1;
        crossed.push((NOON + from[place].after, from[place].bytes.clone()));
    }
    let written: Vec<(u64, Vec<u8>)> =
        read(&bench.path("crossed.pcapng")).into_iter().map(|p| (p.nanos, p.bytes)).collect();
    assert_eq!(written.len(), 17);
    assert_eq!(written, crossed);
}

#[test]
fn a_packet_cut_behind_its_headers_is_judged_and_one_cut_before_is_not() {
    let bench = Bench::new();
    let (there, back) = (vault(), vault().reply());
    let data = there.tcp(40_000, 443, ACK, 101, 901, &[7; 1_000]);
    bench.put(
        "out.pcap",
        &pcap(&[
            taken(0, &there.tcp(40_000, 443, SYN, 100, 0, b"")),
            taken(2 * MS, &there.tcp(40_000, 443, ACK, 101, 901, b"")),
            snapped(3 * MS, &data, 54),
            snapped(4 * MS, &data, 53),
            snapped(5 * MS, &data, 20),
            snapped(6 * MS, &there.tcp(1, 5_432, SYN, 100, 0, &[7; 90]), 54),
        ]),
    );
    bench.put("in.pcap", &pcap(&[taken(MS, &back.tcp(443, 40_000, SYN | ACK, 900, 101, b""))]));
    let said = bench.replay(&[&BOTH[..], &["--forwarded", "crossed.pcapng"]].concat());
    assert_eq!(
        briefs(&said.rows)[3..],
        [
            "3 outside allow forwarded - - allow.web established",
            // The last byte of TCP's header says how urgent data is; nothing asks.
            "4 outside allow forwarded - - allow.web established",
            "5 outside none dropped cut_short - - none",
            "6 outside deny dropped no_rule - - none",
        ]
    );
    assert_eq!((&said.summary["judged_by_headers"], said.code), (&3.into(), 0));
    let crossed = read(&bench.path("crossed.pcapng"));
    assert_eq!((crossed[3].bytes.len(), crossed[3].length), (54, 1_054));
}

#[test]
fn a_frame_longer_than_the_gates_own_never_crosses() {
    let bench = Bench::new();
    let there = vault();
    bench.put(
        "out.pcap",
        &pcap(&[
            taken(0, &there.udp(5_353, 53, &[0; 3_712 - 42])),
            taken(1, &there.udp(5_353, 53, &[0; 3_713 - 42])),
        ]),
    );
    let said = bench.replay(&["--outside", "out.pcap"]);
    assert_eq!(
        briefs(&said.rows),
        ["1 outside allow forwarded - - allow.web new", "2 outside none dropped frame_too_long - - none"]
    );
}

#[test]
fn fragments_come_out_in_the_order_they_came_each_with_its_end() {
    let datagram = [&[0x14, 0xe9, 0, 53, 0, 24, 0, 0][..], &[1; 16]].concat();
    let there = vault();
    let last = |id| there.fragment(17, id, 8, false, &datagram[8..]);
    let first = |id| there.fragment(17, id, 0, true, &datagram[..8]);
    let bench = Bench::new();
    bench.put(
        "out.pcap",
        &pcap(&[
            taken(0, &last(7)),
            taken(MS, &there.udp(9, 53, b"between")),
            taken(2 * MS, &last(8)),
            taken(3 * MS, &first(7)),
            // The second datagram's first comes too late; of a third it never comes.
            taken(40_000 * MS, &first(8)),
            taken(40_001 * MS, &last(9)),
        ]),
    );
    let said = bench.replay(&["--outside", "out.pcap", "--forwarded", "crossed.pcapng"]);
    assert_eq!(
        briefs(&said.rows),
        [
            "1 outside allow forwarded - - allow.web established",
            "2 outside allow forwarded - - allow.web new",
            "3 outside none dropped fragment_no_first - - none",
            "4 outside allow forwarded - - allow.web new",
            "5 outside allow forwarded - - allow.web established",
            "6 outside none dropped fragment_no_first - - none",
        ]
    );
    let crossed: Vec<Vec<u8>> = read(&bench.path("crossed.pcapng")).into_iter().map(|p| p.bytes).collect();
    assert_eq!(crossed, [last(7), there.udp(9, 53, b"between"), first(7), first(8)]);
}

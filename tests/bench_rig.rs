//! The veth rig's own counts, held against each other over a pair of veth ends, and its flood through a gate
//! beside legitimate connections. Needs root and clang.
#![cfg(feature = "xdp")]

#[allow(dead_code, reason = "the rig itself uses all of it")]
#[path = "../bench/hostile/mod.rs"]
mod hostile;
#[allow(dead_code, clippy::indexing_slicing, reason = "the gate's tests use all of it")]
mod rig;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aya::maps::Array;
use aya::programs::Xdp;
use aya::{Ebpf, TestRun, TestRunOptions};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use hostile::{End, Ground, Plan, Terms};
use rig::traffic;
use traffic::{ENDS, Generator, Hook, Load, SHORTEST, Sink};

/// Two silent namespaces with a veth pair between them, gone with the value.
struct Pair {
    names: [String; 2],
}

impl Pair {
    fn raise(test: &str) -> Self {
        let names = ["a", "b"].map(|end| format!("pc-bt-{}-{test}-{end}", std::process::id()));
        let pair = Self { names };
        let [a, b] = &pair.names;
        run("ip", &["netns", "add", a]);
        run("ip", &["netns", "add", b]);
        run(
            "ip",
            &["link", "add", "sender", "netns", a, "type", "veth", "peer", "name", "receiver", "netns", b],
        );
        for (space, end) in [(a, "sender"), (b, "receiver")] {
            let inside = format!("--net=/run/netns/{space}");
            run("nsenter", &[&inside, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"]);
            run("nsenter", &[&inside, "ip", "link", "set", end, "addrgenmode", "none", "arp", "off"]);
            run("nsenter", &[&inside, "ip", "link", "set", end, "multicast", "off", "up"]);
        }
        pair
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

fn run(program: &str, line: &[&str]) {
    let done = Command::new(program).args(line).output().expect("iproute2 and util-linux are installed");
    assert!(done.status.success(), "{program} {line:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn object(directory: &Path) -> PathBuf {
    let object = directory.join("rig.bpf.o");
    let include = format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH);
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/rig.bpf.c");
    let to = object.to_str().expect("a temporary path is text");
    let flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", "-Werror", &include];
    run("clang", &[&flags[..], &["-c", source, "-o", to]].concat());
    object
}

fn settled(sink: &Sink) -> traffic::Arrived {
    let mut arrived = sink.arrived().expect("map");
    let mut quiet = false;
    for _ in 0..200 {
        std::thread::sleep(Duration::from_millis(10));
        let now = sink.arrived().expect("map");
        quiet = now.frames == arrived.frames;
        arrived = now;
        if quiet {
            break;
        }
    }
    assert!(quiet, "frames still arrive two seconds after the last was sent");
    arrived
}

/// Root, or a word that these tests were asked to be left out.
fn left_out() -> bool {
    if std::env::var_os("PORTCULLIS_NO_ROOT_TESTS").is_some_and(|value| value == "1") {
        eprintln!("left out: PORTCULLIS_NO_ROOT_TESTS=1");
        return true;
    }
    assert!(rustix::process::geteuid().is_root(), "needs root (PORTCULLIS_NO_ROOT_TESTS=1 leaves it out)");
    false
}

#[test]
fn what_was_sent_arrives_frame_for_frame() {
    if left_out() {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let object = object(directory.path());
    let pair = Pair::raise("exact");
    let [a, b] = &pair.names;
    let sink = Sink::open(&object, b, "receiver", Hook::Xdp).expect("sink");
    let mut generator = Generator::open(&object, a, "sender", ENDS, 0).expect("generator");
    let load = Load {
        rate: Some(100_000),
        flows: 1_000,
        frame: SHORTEST,
        frames: 10_000,
        time: Duration::from_secs(10),
    };
    let sent = generator.run(&load).expect("runs");
    let arrived = settled(&sink);
    assert_eq!((sent.frames, sent.refused), (10_000, 0));
    assert_eq!(arrived.frames, 10_000);
    assert_eq!(arrived.bytes, 600_000, "60 bytes each, the check sequence not among them");
    assert_eq!((arrived.strangers, arrived.reordered), (0, 0));
    assert_eq!(sink.delays().expect("map").count(), 10_000);
    assert!(
        sent.nanos >= 99_900_000,
        "10 000 frames at 100 000 a second take 100 ms, not {} ns",
        sent.nanos
    );

    // At full speed the ring of the pair may refuse frames: sent = arrived + refused all the same.
    let flood = Load { rate: None, frames: 200_000, ..load };
    let sent = generator.run(&flood).expect("runs");
    let then = settled(&sink);
    assert_eq!(sent.frames, 200_000);
    assert_eq!(then.frames - arrived.frames + sent.refused, 200_000);
    assert_eq!((then.strangers, then.reordered), (0, 0));
}

#[test]
fn a_deeper_sink_counts_the_same() {
    if left_out() {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let object = object(directory.path());
    let pair = Pair::raise("tcx");
    let [a, b] = &pair.names;
    run("nsenter", &[&format!("--net=/run/netns/{b}"), "ethtool", "-K", "receiver", "gro", "on"]);
    let sink = Sink::open(&object, b, "receiver", Hook::Tcx).expect("sink");
    let mut generator = Generator::open(&object, a, "sender", ENDS, 0).expect("generator");
    let load =
        Load { rate: Some(100_000), flows: 7, frame: 1_518, frames: 5_000, time: Duration::from_secs(10) };
    let sent = generator.run(&load).expect("runs");
    let arrived = settled(&sink);
    assert_eq!((sent.frames, sent.refused), (5_000, 0));
    assert_eq!((arrived.frames, arrived.strangers, arrived.reordered), (5_000, 0, 0));
}

#[test]
fn every_frame_is_valid_and_flows_differ() {
    if left_out() {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut object = Ebpf::load_file(object(directory.path())).expect("loads");
    let (template, sum) = ENDS.template(SHORTEST);
    let flows = 100_000_u64;
    let low = u64::from(u16::from_be_bytes([ENDS.source[2], ENDS.source[3]]));
    let plan = [1, flows, 0, u64::MAX, u64::MAX, u64::from(sum), low];
    let mut plans: Array<_, [u64; 7]> = Array::try_from(object.map_mut("PLAN").expect("map")).expect("map");
    plans.set(0, plan, 0).expect("set");
    let xdp: &mut Xdp = object.program_mut("generate").expect("program").try_into().expect("XDP");
    xdp.load().expect("the verifier agrees");
    let mut seen = HashSet::new();
    // Flow 0, the last port of the first source address, the first of the next, the last flow.
    for sequence in [0, 1, 32_767, 32_768, flows - 1] {
        let mut progress: Array<_, [u64; 4]> =
            Array::try_from(object.map_mut("PROGRESS").expect("map")).expect("map");
        progress.set(0, [sequence, 0, 0, 0], 0).expect("set");
        let xdp: &Xdp = object.program("generate").expect("program").try_into().expect("XDP");
        let mut frame = vec![0; template.len()];
        let done = xdp
            .test_run(TestRunOptions {
                data_in: Some(&template),
                data_out: Some(&mut frame),
                ..TestRunOptions::default()
            })
            .expect("runs");
        assert_eq!(done.return_value, 4, "XDP_REDIRECT");
        let sliced = SlicedPacket::from_ethernet(&frame).expect("valid");
        let Some(NetSlice::Ipv4(ip)) = sliced.net else { panic!("IPv4") };
        let header = ip.header().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum(), "flow {sequence}");
        let Some(TransportSlice::Udp(udp)) = sliced.transport else { panic!("UDP") };
        let third = u8::try_from(sequence >> 15).expect("small");
        assert_eq!(header.source, [10, 77, 0, 1 + third]);
        assert_eq!(header.destination, ENDS.destination);
        assert_eq!(u64::from(udp.source_port()), 1_024 + (sequence & 0x7fff));
        assert_eq!(udp.destination_port(), ENDS.port);
        assert!(seen.insert((header.source, udp.source_port())));
    }
    assert_eq!(seen.len(), 5);
}

#[test]
fn every_kind_of_the_flood_keeps_its_checksums_whatever_differs() {
    if left_out() {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut object = Ebpf::load_file(object(directory.path())).expect("loads");
    let xdp: &mut Xdp = object.program_mut("flood").expect("program").try_into().expect("XDP");
    xdp.load().expect("the verifier agrees");
    let kinds = hostile::kinds::kinds();
    for (number, kind) in (0_u32..).zip(&kinds) {
        let mut map: Array<_, hostile::flood::Raw> =
            Array::try_from(object.map_mut("KIND").expect("map")).expect("map");
        map.set(number, hostile::flood::raw(kind), 0).expect("set");
        let mut map: Array<_, u32> =
            Array::try_from(object.map_mut("SCHEDULE").expect("map")).expect("map");
        map.set(0, number, 0).expect("set");
        let mut map: Array<_, [u64; 7]> =
            Array::try_from(object.map_mut("PLAN").expect("map")).expect("map");
        map.set(0, [1, 1, 0, u64::MAX, u64::MAX, 0, 0], 0).expect("set");
        let mut seen = HashSet::new();
        for _ in 0..20 {
            let xdp: &Xdp = object.program("flood").expect("program").try_into().expect("XDP");
            let mut frame = vec![0; kind.frame.len()];
            let done = xdp
                .test_run(TestRunOptions {
                    data_in: Some(&[0xff; hostile::kinds::LONGEST]),
                    data_out: Some(&mut frame),
                    ..TestRunOptions::default()
                })
                .expect("runs");
            assert_eq!(done.return_value, 4, "XDP_REDIRECT");
            let mut differing: Vec<u8> = frame.iter().zip(&kind.frame).map(|(a, b)| a ^ b).collect();
            for field in &kind.fields {
                for (byte, mask) in differing[field.at..].iter_mut().zip(field.mask.to_be_bytes()) {
                    *byte &= !mask;
                }
            }
            for check in [kind.ip_check, kind.upper_check] {
                if check > 0 {
                    differing[check..check + 2].fill(0);
                }
            }
            assert!(differing.iter().all(|byte| *byte == 0), "{}: {differing:x?}", kind.name);
            if kind.group != hostile::group::Group::Malformed {
                sums_are_right(kind.name, &frame);
            }
            seen.insert(frame);
        }
        assert_eq!(seen.len() > 1, !kind.fields.is_empty(), "{}", kind.name);
    }
    let made: Array<_, u64> = Array::try_from(object.map("MADE").expect("map")).expect("map");
    for number in 0..u32::try_from(kinds.len()).expect("few") {
        assert_eq!(made.get(&number, 0).expect("count"), 20);
    }
}

/// A frame's checksums, by etherparse; what is a fragment has no upper layer to check.
fn sums_are_right(name: &str, frame: &[u8]) {
    let sliced = SlicedPacket::from_ethernet(frame).expect("valid");
    let net = sliced.net.expect("IP");
    if let NetSlice::Ipv4(ip) = &net {
        let header = ip.header().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum(), "{name}");
    }
    let right = match (&sliced.transport, &net) {
        (Some(TransportSlice::Tcp(tcp)), NetSlice::Ipv4(ip)) => {
            let (src, dst) = (ip.header().source(), ip.header().destination());
            tcp.calc_checksum_ipv4(src, dst).expect("short") == tcp.checksum()
        }
        (Some(TransportSlice::Tcp(tcp)), NetSlice::Ipv6(ip)) => {
            let (src, dst) = (ip.header().source(), ip.header().destination());
            tcp.calc_checksum_ipv6(src, dst).expect("short") == tcp.checksum()
        }
        (Some(TransportSlice::Udp(udp)), NetSlice::Ipv4(ip)) => {
            let (src, dst) = (ip.header().source(), ip.header().destination());
            udp.to_header().calc_checksum_ipv4_raw(src, dst, udp.payload()).expect("short")
                == udp.checksum()
        }
        (Some(TransportSlice::Udp(udp)), NetSlice::Ipv6(ip)) => {
            let (src, dst) = (ip.header().source(), ip.header().destination());
            udp.to_header().calc_checksum_ipv6_raw(src, dst, udp.payload()).expect("short")
                == udp.checksum()
        }
        (Some(TransportSlice::Icmpv4(icmp)), _) => {
            icmp.icmp_type().calc_checksum(icmp.payload()) == icmp.checksum()
        }
        _ => name.contains("fragment"),
    };
    assert!(right, "{name}");
}

/// The benchmark's policy over the rig's wire, with bounds that a short flood reaches.
fn hostile_policy() -> String {
    include_str!("../bench/policy/gate.toml")
        .replace("\"@DEPTH@\"", "256")
        .replace("flows     = 1048576", "flows     = 16384")
        .replace("[wire.cde]", "[wire.w]")
        .replace("\"cde.", "\"w.")
        + "[gate.timeouts]\nfragment = \"1s\"\n[gate.limits]\nhalf_open = 100\n"
}

#[test]
fn connections_outlive_a_flood_and_every_frame_of_it_ends_by_name() {
    if left_out() {
        return;
    }
    let rig = rig::Rig::raise();
    let gate = rig.gate(&hostile_policy());
    let end = |host| End { space: rig.netns(host), link: "wire".to_owned() };
    let plan = Plan {
        ground: Ground { sender: end("out"), receiver: end("in"), gate: rig.netns("gate") },
        object: rig.object().to_owned(),
        socket: gate.socket().to_owned(),
        pid: gate.pid(),
        core: 0,
        rate: 5_000,
        // How fast a gate is that was not built to be fast, beside other tests, is no matter here.
        lossless: None,
        opens: None,
        fill: Duration::from_millis(500),
        warm: Duration::from_millis(1_500),
        time: Duration::from_secs(3),
        terms: Terms {
            connections: 128,
            pause: Duration::from_millis(300),
            bound: Duration::from_secs(20),
            core: 0,
        },
        rest: Duration::from_secs(20),
    };
    let report = hostile::run(&plan, &AtomicBool::new(false)).expect("the flood runs");
    assert!(report.is_kept(), "{report}");
}

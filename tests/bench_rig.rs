//! The veth rig's own counts, held against each other over a pair of veth ends. Needs root and clang.
#![cfg(feature = "xdp")]

#[expect(dead_code, reason = "the rig itself uses all of it")]
#[path = "../bench/traffic.rs"]
mod traffic;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aya::maps::Array;
use aya::programs::Xdp;
use aya::{Ebpf, TestRun, TestRunOptions};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
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

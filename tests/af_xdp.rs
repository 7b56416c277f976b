//! The `AF_XDP` ports on veth: real sockets, real programs, counts held against counts that are not ours.
//!
//! ```text
//! pc-ax<id>-out            pc-ax<id>-gate              pc-ax<id>-in
//!   wire ───────────────── outside   inside ─────────────── wire
//! ```
//! The namespaces are silent (no IPv6, no ARP), so every frame on them is one that a test sent. Needs root
//! and the `xdp` feature; `PORTCULLIS_NO_ROOT_TESTS=1` skips, and says so.
#![cfg(feature = "xdp")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use portcullis::io::af_xdp::{
    AfXdpError, AfXdpQueuePair, KernelCounters, MAX_MTU, OpenRequest, QueueHeartbeat, Released, Wire, open,
    release,
};
use portcullis::io::clock::boot_nanos;
use portcullis::io::{BpfCounts, Census, Frame, Heartbeat, KernelCounts, QueuePair, XdpMode};
use portcullis::lab::namespace;
use portcullis::wire::Side;

use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender};

const RINGS: u32 = 256;
/// Long enough never to be reached where a test does not mean it.
const PATIENT: Duration = Duration::from_secs(600);
/// Frames sent before they are looked for; fits the smallest ring on the way.
const CHUNK: u32 = 32;
const ALL: Census = Census { free: 0, receiving: 2 * RINGS, held: 0, sending: 0 };

/// One test at a time: a process that one test starts holds the sockets of another between its fork and
/// its exec, and they share two cores. `None`: skip.
fn alone() -> Option<MutexGuard<'static, ()>> {
    static ONE: Mutex<()> = Mutex::new(());
    if std::env::var_os("PORTCULLIS_NO_ROOT_TESTS").is_some_and(|value| value == "1") {
        println!("skipped: PORTCULLIS_NO_ROOT_TESTS=1");
        return None;
    }
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests need root (or PORTCULLIS_NO_ROOT_TESTS=1 to skip)"
    );
    Some(ONE.lock().unwrap_or_else(PoisonError::into_inner))
}

fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits for a condition, at most 10 s.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("waited 10 s for: {what}");
}

/// Three namespaces and the two veth pairs between them.
struct Rig {
    name: String,
    state: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        Self::with("")
    }

    /// `extra` goes to the ports' `ip link add`.
    fn with(extra: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pc-ax{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let rig = Self { name, state: tempfile::tempdir().unwrap() };
        for host in ["out", "gate", "in"] {
            let netns = rig.netns(host);
            namespace::add(&netns).unwrap();
            namespace::run_in(&netns, || {
                for scope in ["all", "default"] {
                    fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1").unwrap();
                }
            })
            .unwrap();
        }
        for (port, host) in [("outside", "out"), ("inside", "in")] {
            let (gate, far) = (rig.netns("gate"), rig.netns(host));
            run(&format!("ip -n {gate} link add {port} {extra} type veth peer name wire netns {far}"));
            for (netns, link) in [(&gate, port), (&far, "wire")] {
                run(&format!("ip -n {netns} link set {link} addrgenmode none arp off"));
            }
            run(&format!("ip -n {far} link set wire up"));
            run(&format!("ip -n {gate} link set {port} up"));
        }
        rig
    }

    fn netns(&self, host: &str) -> String {
        format!("{}-{host}", self.name)
    }

    fn pins(&self) -> PathBuf {
        PathBuf::from("/sys/fs/bpf").join(&self.name)
    }

    fn saved(&self) -> PathBuf {
        self.state.path().join("ports.json")
    }

    fn gate<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        namespace::run_in(&self.netns("gate"), work).unwrap()
    }

    fn try_open(&self, change: impl FnOnce(&mut OpenRequest<'_>) + Send) -> Result<Wire, AfXdpError> {
        let (pins, saved) = (self.pins(), self.saved());
        self.gate(|| {
            let mut request = OpenRequest {
                interfaces: ["outside", "inside"],
                pins: &pins,
                saved: &saved,
                queues: 1,
                rings: RINGS,
                heartbeat_limit: PATIENT,
            };
            change(&mut request);
            open(&request)
        })
    }

    fn open(&self) -> Wire {
        self.try_open(|_| ()).unwrap()
    }

    fn release(&self) -> Released {
        let (pins, saved) = (self.pins(), self.saved());
        self.gate(|| release(&pins, &saved)).unwrap()
    }

    fn link(&self, host: &str, link: &str) -> serde_json::Value {
        let text = run(&format!("ip -n {} -s -d -j link show dev {link}", self.netns(host)));
        let mut all: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        all.remove(0)
    }

    /// What a veth end counted: `("tx", "packets")`.
    fn counted(&self, host: &str, link: &str, direction: &str, what: &str) -> u64 {
        self.link(host, link)["stats64"][direction][what].as_u64().unwrap()
    }

    /// Both ports as an untouched rig has them, and no pin.
    fn assert_untouched(&self) {
        assert!(!self.pins().exists(), "pins left: {:?}", fs::read_dir(self.pins()).map(Iterator::count));
        assert!(!self.saved().exists(), "saved settings left");
        for port in ["outside", "inside"] {
            let link = self.link("gate", port);
            assert!(link.get("xdp").is_none(), "{port} still runs a program: {link}");
            assert_eq!(link["promiscuity"], 0, "{port}");
            assert_eq!(link["qdisc"], "noqueue", "{port}");
        }
    }

    fn channel(
        &self,
        host: &str,
        link: &str,
        patience: Duration,
    ) -> (Box<dyn DataLinkSender>, Box<dyn DataLinkReceiver>) {
        namespace::run_in(&self.netns(host), || {
            let wire = pnet_datalink::interfaces().into_iter().find(|found| found.name == link).unwrap();
            let config =
                Config { read_timeout: Some(patience), read_buffer_size: 1 << 16, ..Config::default() };
            let Channel::Ethernet(sender, receiver) = pnet_datalink::channel(&wire, config).unwrap() else {
                panic!("not an Ethernet channel");
            };
            (sender, receiver)
        })
        .unwrap()
    }

    /// What the gate's own stack sees at a port.
    fn stack(&self, port: &str) -> Box<dyn DataLinkReceiver> {
        self.channel("gate", port, Duration::from_millis(100)).1
    }

    fn sender(&self, host: &str) -> Box<dyn DataLinkSender> {
        self.channel(host, "wire", Duration::from_secs(10)).0
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // A test that failed left them; one that did not released them already.
        let (pins, saved) = (self.pins(), self.saved());
        let _ = namespace::run_in(&self.netns("gate"), || release(&pins, &saved));
        for host in ["out", "gate", "in"] {
            let _ = namespace::delete(&self.netns(host));
        }
    }
}

/// A frame of local experimental type with its number in it.
fn frame(number: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5];
    bytes.extend(number.to_be_bytes());
    bytes.extend((0_u8..=255).cycle().take(length - bytes.len()));
    bytes
}

fn send(sender: &mut dyn DataLinkSender, numbers: std::ops::Range<u32>, length: usize) {
    for number in numbers {
        sender.send_to(&frame(number, length), None).unwrap().unwrap();
    }
}

/// Ends what runs beside a test, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A process that ends with its test.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The simplest gate: everything crosses.
struct Forwarder {
    pair: AfXdpQueuePair,
    heartbeat: QueueHeartbeat,
    alive: bool,
    frames: Vec<Frame>,
    received: [u64; 2],
    forwarded: [u64; 2],
}

impl Forwarder {
    fn new(wire: &mut Wire) -> Self {
        let (pair, heartbeat) = wire.queues.remove(0);
        let forwarder = Self {
            pair,
            heartbeat,
            alive: true,
            frames: Vec::with_capacity(64),
            received: [0; 2],
            forwarded: [0; 2],
        };
        forwarder.heartbeat.beat(boot_nanos());
        forwarder
    }

    fn round(&mut self) {
        if self.alive {
            self.heartbeat.beat(boot_nanos());
        }
        for side in Side::BOTH {
            self.pair.receive(side, &mut self.frames);
            self.received[side.index()] += u64::try_from(self.frames.len()).unwrap();
            assert_eq!(self.pair.census().total(), 2 * RINGS);
            for frame in self.frames.drain(..) {
                match self.pair.send(side.other(), frame) {
                    Ok(()) => self.forwarded[side.index()] += 1,
                    Err(frame) => self.pair.recycle(frame),
                }
            }
        }
        self.pair.flush();
        assert_eq!(self.pair.census().total(), 2 * RINGS);
    }

    /// Forwards until that many arrived at a side.
    fn until(&mut self, side: Side, received: u64) {
        until("frames to arrive", || {
            self.round();
            self.received[side.index()] >= received
        });
    }

    /// Forwards until every frame is back where it waits for reception.
    fn drain(&mut self) {
        until("all frames to come home", || {
            self.round();
            !self.pair.sending()
        });
        assert_eq!(self.pair.census(), ALL);
    }

    fn cross(&mut self, sender: &mut dyn DataLinkSender, side: Side, frames: u32, length: usize) {
        let before = self.received[side.index()];
        let mut sent = 0;
        while sent < frames {
            let next = frames.min(sent + CHUNK);
            send(sender, sent..next, length);
            sent = next;
            self.until(side, before + u64::from(sent));
        }
    }
}

#[test]
fn every_frame_is_counted_the_same_by_everyone() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let mut wire = rig.open();
    assert!(!wire.zero_copy, "veth has no zero-copy");
    for (port, name) in wire.ports.iter().zip(["outside", "inside"]) {
        assert_eq!(port.interface, name);
        assert_eq!(port.driver, "veth");
        assert_eq!(port.mode, XdpMode::Native);
        assert!(!port.took_over);
        let link = rig.link("gate", name);
        assert_eq!(link["xdp"]["prog"]["id"], port.program);
        assert_eq!(link["promiscuity"], 1);
        assert_eq!(link["qdisc"], "pfifo");
    }
    assert_eq!(wire.notes.len(), 1, "{:?}", wire.notes);
    assert!(
        wire.notes[0].starts_with("copy mode, zero-copy was refused: outside queue 0:"),
        "{:?}",
        wire.notes
    );

    let mut forwarder = Forwarder::new(&mut wire);
    assert_eq!(forwarder.pair.census(), ALL);
    let (mut out, mut inner) = (rig.sender("out"), rig.sender("in"));
    forwarder.cross(&mut *out, Side::Outside, 2_000, 60);
    forwarder.cross(&mut *inner, Side::Inside, 1_500, 60);
    forwarder.drain();

    assert_eq!(forwarder.received, [2_000, 1_500]);
    assert_eq!(forwarder.forwarded, [2_000, 1_500]);
    let passed = |frames| BpfCounts { seen: frames, redirected: frames, stale: 0, no_socket: 0 };
    assert_eq!(wire.counters.read(), [passed(2_000), passed(1_500)]);
    assert_eq!(
        forwarder.pair.kernel().map(|counts| KernelCounts { tx_ring_empty: 0, ..counts }),
        [KernelCounts::default(), KernelCounts::default()]
    );
    // The senders' and the sinks' own counts.
    assert_eq!(rig.counted("out", "wire", "tx", "packets"), 2_000);
    assert_eq!(rig.counted("out", "wire", "tx", "dropped"), 0);
    assert_eq!(rig.counted("out", "wire", "rx", "packets"), 1_500);
    assert_eq!(rig.counted("in", "wire", "tx", "packets"), 1_500);
    assert_eq!(rig.counted("in", "wire", "tx", "dropped"), 0);
    assert_eq!(rig.counted("in", "wire", "rx", "packets"), 2_000);

    let programs = wire.ports.clone().map(|port| port.program);
    drop(forwarder);
    drop(wire);
    assert_eq!(rig.release(), Released { pins: true, settings: true });
    rig.assert_untouched();
    until("the kernel to free both programs", || {
        !aya::programs::loaded_programs().flatten().any(|program| programs.contains(&program.id()))
    });
    assert_eq!(rig.release(), Released::default(), "a second release finds nothing");
}

#[test]
fn the_counts_hold_under_overload() {
    const SENT: u32 = 60_000;
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let mut wire = rig.open();
    let mut forwarder = Forwarder::new(&mut wire);
    let counters = &wire.counters;
    thread::scope(|scope| {
        for host in ["out", "in"] {
            let mut sender = rig.sender(host);
            // The sender's own ring runs over as well; it says so or not, its interface counts it.
            scope.spawn(move || {
                for number in 0..SENT {
                    let _ = sender.send_to(&frame(number, 60), None);
                }
            });
        }
        until("all that was sent to be somewhere", || {
            // Slower than the senders, so that every ring runs over.
            thread::sleep(Duration::from_micros(300));
            forwarder.round();
            let kernel = forwarder.pair.kernel();
            let bpf = counters.read();
            ["out", "in"].iter().zip(Side::BOTH).all(|(host, side)| {
                let at = side.index();
                let lost = kernel[at].rx_dropped + kernel[at].rx_ring_full;
                bpf[at].redirected == forwarder.received[at] + lost
                    && bpf[at].seen + rig.counted(host, "wire", "tx", "dropped") == u64::from(SENT)
            })
        });
    });
    forwarder.drain();
    let kernel = forwarder.pair.kernel();
    for (side, far) in Side::BOTH.into_iter().zip(["in", "out"]) {
        let (at, port) = (side.index(), side.other().name());
        assert!(kernel[at].rx_dropped > 0, "{side}: not an overload: {:?}", counters.read());
        let BpfCounts { seen, redirected, stale, no_socket } = counters.read()[at];
        assert_eq!((seen, stale, no_socket), (redirected, 0, 0));
        let arrived = rig.counted(far, "wire", "rx", "packets");
        let lost = rig.counted("gate", port, "tx", "dropped");
        assert_eq!(forwarder.forwarded[at], arrived + lost, "{side}");
    }
}

#[test]
fn a_process_without_capabilities_is_told_which_it_lacks() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let error = rig
        .try_open(|_| {
            // Of this thread alone, which ends with the call.
            let mut sets = rustix::thread::capabilities(None).unwrap();
            sets.effective = rustix::thread::CapabilitySet::NET_RAW;
            rustix::thread::set_capabilities(None, sets).unwrap();
        })
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "opening a wire needs CAP_NET_ADMIN, CAP_BPF: run as root, or grant them with `setcap \
         cap_net_admin,cap_net_raw,cap_bpf+ep` on the binary"
    );
    rig.assert_untouched();
}

#[test]
fn full_size_frames_cross_both_ways_unchanged() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let mut wire = rig.open();
    let mut forwarder = Forwarder::new(&mut wire);
    let patience = Duration::from_secs(10);
    for (from, to, side) in [("out", "in", Side::Outside), ("in", "out", Side::Inside)] {
        let (mut sender, (_keep, mut sink)) = (rig.sender(from), rig.channel(to, "wire", patience));
        let mut number = 0;
        // As many at once as the sink's socket holds.
        while number < 200 {
            let before = u64::from(number);
            send(&mut *sender, number..number + 20, 1514);
            forwarder.until(side, before + 20);
            forwarder.drain();
            for number in number..number + 20 {
                let got = sink.next().unwrap();
                assert_eq!(got, frame(number, 1514).as_slice(), "frame {number} to {to}");
            }
            number += 20;
        }
    }
    assert_eq!(forwarder.forwarded, [200, 200]);
}

#[test]
fn frames_of_a_late_worker_are_dropped_and_counted_as_stale() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let limit = Duration::from_secs(30);
    let mut wire = rig.try_open(|request| request.heartbeat_limit = limit).unwrap();
    let (mut pair, heartbeat) = wire.queues.remove(0);
    let mut sender = rig.sender("out");
    let mut stack = rig.stack("outside");
    let counters = &wire.counters;
    let mut stale = 0;
    let mut expect_stale = |why: &str| {
        send(&mut *sender, 0..20, 60);
        stale += 20;
        until(why, || counters.read()[0].seen == stale);
        let dropped = BpfCounts { seen: stale, redirected: 0, stale, no_socket: 0 };
        assert_eq!(counters.read(), [dropped, BpfCounts::default()], "{why}");
    };
    expect_stale("a worker that never beat");
    let nanos = u64::try_from(limit.as_nanos()).unwrap();
    heartbeat.beat(boot_nanos() - nanos - 1);
    expect_stale("a heartbeat just too old");
    heartbeat.beat(boot_nanos() + 2 * nanos);
    expect_stale("a heartbeat from far ahead");

    let mut frames = Vec::with_capacity(64);
    pair.receive(Side::Outside, &mut frames);
    assert_eq!(frames.len(), 0);
    assert_eq!(rig.counted("in", "wire", "rx", "packets"), 0);

    // And with a fresh one the same frames arrive.
    heartbeat.beat(boot_nanos());
    send(&mut *sender, 0..20, 60);
    until("fresh frames", || counters.read()[0].seen == stale + 20);
    assert_eq!(counters.read()[0], BpfCounts { seen: stale + 20, redirected: 20, stale, no_socket: 0 });
    until("them in the ring", || {
        pair.receive(Side::Outside, &mut frames);
        frames.len() == 20
    });
    for frame in frames {
        pair.recycle(frame);
    }
    pair.flush();
    assert_eq!(pair.census(), ALL);
    assert!(stack.next().is_err(), "the gate's own stack saw a frame");
}

#[test]
fn frames_without_a_socket_are_dropped_and_counted_as_that() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let mut wire = rig.open();
    let (pair, heartbeat) = wire.queues.remove(0);
    // A child of the gate has no part in its sockets.
    let _child = Child(Command::new("sleep").arg("600").spawn().unwrap());
    drop(pair);
    heartbeat.beat(boot_nanos());
    let mut sender = rig.sender("in");
    let mut stack = rig.stack("inside");
    send(&mut *sender, 0..30, 60);
    until("frames at the program", || wire.counters.read()[1].seen == 30);
    let dropped = BpfCounts { seen: 30, redirected: 0, stale: 0, no_socket: 30 };
    assert_eq!(wire.counters.read(), [BpfCounts::default(), dropped]);
    drop(wire);
    rig.open();
    assert!(stack.next().is_err(), "the gate's own stack saw a frame");
    assert_eq!(rig.counted("out", "wire", "rx", "packets"), 0);
}

#[test]
fn a_take_over_keeps_the_link_and_every_frame_is_accounted_for() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let mut wire = rig.open();
    let ports = wire.ports.clone();
    let stop = AtomicBool::new(false);
    let mut received = 0;
    let (sent, mut forwarder) = thread::scope(|scope| {
        let mut forwarder = Forwarder::new(&mut wire);
        let mut sender = rig.sender("out");
        let ended = &stop;
        let stop = Stop(ended);
        let traffic = scope.spawn(move || {
            let mut sent = 0;
            while !ended.load(Ordering::Relaxed) {
                send(&mut *sender, sent..sent + 8, 60);
                sent += 8;
                thread::sleep(Duration::from_micros(500));
            }
            u64::from(sent)
        });
        for _ in 0..3 {
            forwarder.until(Side::Outside, 300);
            // A clean stop: no more frames are let in, and those in the rings are taken to their end.
            let closed = KernelCounters::open(&rig.pins()).unwrap();
            forwarder.alive = false;
            forwarder.heartbeat.beat(0);
            let before = closed.read()[0];
            until("the first frame turned away", || closed.read()[0].stale > before.stale);
            until("the last one taken", || {
                forwarder.round();
                received + forwarder.received[0] == closed.read()[0].redirected
            });
            forwarder.drain();
            received += forwarder.received[0];
            assert_eq!(forwarder.pair.kernel()[0].rx_dropped + forwarder.pair.kernel()[0].rx_ring_full, 0);
            drop(forwarder);
            let before = closed.read()[0];
            until("drops of a port nobody serves", || {
                let now = closed.read()[0];
                now.stale > before.stale + 20
            });
            let mut again = rig.open();
            for (port, first) in again.ports.iter().zip(&ports) {
                assert!(port.took_over);
                assert_eq!((port.link, port.program), (first.link, first.program), "identical: it stays");
            }
            forwarder = Forwarder::new(&mut again);
        }
        drop(stop);
        (traffic.join().unwrap(), forwarder)
    });
    let counters = KernelCounters::open(&rig.pins()).unwrap();
    let senders = rig.counted("out", "wire", "tx", "packets");
    until("the last frames", || {
        forwarder.round();
        let [outside, _] = counters.read();
        outside.seen == senders && outside.redirected == received + forwarder.received[0]
    });
    forwarder.drain();
    received += forwarder.received[0];
    let [outside, _] = counters.read();
    assert_eq!(senders + rig.counted("out", "wire", "tx", "dropped"), sent);
    assert_eq!(outside.seen, outside.redirected + outside.stale + outside.no_socket);
    assert_eq!(rig.counted("in", "wire", "rx", "packets"), received, "what was received was forwarded");
}

#[test]
fn another_program_is_swapped_in_through_the_same_link() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let first = rig.open();
    let ports = first.ports.clone();
    drop(first);
    // A port whose pins are half gone: its program still counts into a map that nobody can reach.
    fs::remove_file(rig.pins().join("outside/counters")).unwrap();
    let mut wire = rig.open();
    let [outside, inside] = &wire.ports;
    assert!(outside.took_over && inside.took_over);
    assert_eq!(outside.link, ports[0].link);
    assert_ne!(outside.program, ports[0].program, "a program over other maps");
    assert_eq!(inside, &portcullis::io::af_xdp::PortReport { took_over: true, ..ports[1].clone() });
    assert_eq!(rig.link("gate", "outside")["xdp"]["prog"]["id"], outside.program);
    let mut forwarder = Forwarder::new(&mut wire);
    forwarder.cross(&mut *rig.sender("out"), Side::Outside, 100, 60);
    forwarder.drain();
    assert_eq!(wire.counters.read()[0], BpfCounts { seen: 100, redirected: 100, stale: 0, no_socket: 0 });
}

#[test]
fn pins_of_a_link_that_is_gone_are_cleaned() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let first = rig.open().ports;
    let gate = rig.netns("gate");
    run(&format!("ip -n {gate} link del outside"));
    run(&format!("ip -n {gate} link add outside type veth peer name wire netns {}", rig.netns("out")));
    run(&format!("ip -n {} link set wire up", rig.netns("out")));
    let wire = rig.open();
    assert!(!wire.ports[0].took_over && wire.ports[1].took_over);
    assert_ne!(wire.ports[0].link, first[0].link);
    assert_eq!(wire.ports[1].link, first[1].link);
    drop(wire);
    rig.release();
    // This one was made down, and is down again.
    assert!(!rig.link("gate", "outside")["flags"].as_array().unwrap().iter().any(|flag| flag == "UP"));
}

#[test]
fn a_half_torn_wire_is_released_in_full() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    drop(rig.open());
    fs::remove_file(rig.pins().join("outside/link")).unwrap();
    fs::remove_file(rig.pins().join("inside/xsks")).unwrap();
    fs::remove_file(rig.saved()).unwrap();
    assert_eq!(rig.release(), Released { pins: true, settings: false });
    assert!(!rig.pins().exists());
    for port in ["outside", "inside"] {
        assert!(rig.link("gate", port).get("xdp").is_none());
    }
}

#[test]
fn a_port_with_another_program_is_refused_by_its_name() {
    let Some(_alone) = alone() else { return };
    static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/portcullis.bpf.o"));
    let rig = Rig::new();
    let mut other = aya::Ebpf::load(OBJECT).unwrap();
    let id = rig.gate(|| {
        let program: &mut aya::programs::Xdp = other.program_mut("portcullis").unwrap().try_into().unwrap();
        program.load().unwrap();
        program.attach("inside", aya::programs::xdp::XdpMode::Driver).unwrap();
        program.info().unwrap().id()
    });
    let error = rig.try_open(|_| ()).err().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "`inside` already runs the XDP program `portcullis` (id {id}): stop its owner, or detach it with \
             `ip link set dev inside xdp off` (`bpftool net` and `bpftool link` show who holds it)"
        )
    );
    assert_eq!(rig.link("gate", "inside")["xdp"]["prog"]["id"], id, "theirs is still there");
    drop(other);
    rig.assert_untouched();
}

#[test]
fn what_cannot_be_opened_leaves_nothing_behind() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let refused = |change: fn(&mut OpenRequest<'_>)| {
        let error = rig.try_open(change).err().unwrap().to_string();
        rig.assert_untouched();
        error
    };
    assert_eq!(
        refused(|request| request.interfaces = ["outside", "nowhere"]),
        "no interface `nowhere` in this network namespace; `ip link` lists what is there"
    );
    assert_eq!(
        refused(|request| request.interfaces = ["inside", "inside"]),
        "`inside` is named as both ports; a wire needs two interfaces"
    );
    assert_eq!(
        refused(|request| request.queues = 2),
        "`outside` has 1 receive queue(s) but 2 are configured; each queue needs its worker: set `queues = 1`, \
         or change the interface with `ethtool -L outside combined 2`"
    );
    assert_eq!(
        refused(|request| request.rings = 100),
        "rings = 100: it must be a power of two between 64 and 8192"
    );
    assert_eq!(
        refused(|request| request.pins = std::path::Path::new("/tmp/pins")),
        "/tmp/pins is not on a BPF file system: mount it with `mount -t bpf bpf /sys/fs/bpf` and keep the \
         pins below it"
    );
    run(&format!("ip -n {} link set inside mtu 4000", rig.netns("gate")));
    assert_eq!(
        refused(|_| ()),
        format!(
            "`inside` has an MTU of 4000, a frame holds {MAX_MTU}: lower it with `ip link set inside mtu {MAX_MTU}`"
        )
    );
}

#[test]
fn a_queue_that_stays_busy_is_an_error_after_a_bounded_wait() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let wire = rig.open();
    rig.release();
    let error = rig.try_open(|_| ()).err().unwrap();
    assert_eq!(
        error.to_string(),
        "queue 0 of `outside` stayed busy for 3000 ms: another AF_XDP socket is bound to it; is another gateway \
         running on this port?"
    );
    rig.assert_untouched();
    drop(wire);
    rig.open();
}

#[test]
fn a_driver_without_room_for_native_gets_generic_and_says_why() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    for (netns, link) in [("gate", "inside"), ("in", "wire")] {
        run(&format!("ip -n {} link set {link} mtu {MAX_MTU}", rig.netns(netns)));
    }
    let mut wire = rig.open();
    assert_eq!(wire.ports.clone().map(|port| port.mode), [XdpMode::Native, XdpMode::Generic]);
    assert!(wire.notes.iter().any(|note| note.starts_with("inside: generic XDP, native was refused: ")));
    let mut forwarder = Forwarder::new(&mut wire);
    let largest = usize::try_from(MAX_MTU).unwrap() + 14;
    forwarder.cross(&mut *rig.sender("in"), Side::Inside, 64, largest);
    forwarder.drain();
    // The other pair still has an MTU of 1500, and its far end takes no more.
    assert_eq!(forwarder.received, [0, 64]);
    forwarder.cross(&mut *rig.sender("out"), Side::Outside, 64, 1514);
    forwarder.drain();
    assert_eq!(rig.counted("in", "wire", "rx", "packets"), 64);
    // A take-over knows the mode again.
    drop(forwarder);
    let again = rig.open();
    assert_eq!(again.ports.clone().map(|port| port.mode), [XdpMode::Native, XdpMode::Generic]);
}

#[test]
fn each_queue_has_its_own_rings() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::with("numtxqueues 2 numrxqueues 2");
    let wire = rig.try_open(|request| request.queues = 2).unwrap();
    assert_eq!(wire.queues.len(), 2);
    drop(wire);
    rig.release();
    rig.assert_untouched();
}

#[test]
fn waiting_ends_with_a_frame_or_with_the_time() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::new();
    let mut wire = rig.open();
    let (mut pair, heartbeat) = wire.queues.remove(0);
    heartbeat.beat(boot_nanos());
    let before = boot_nanos();
    pair.wait(Duration::from_millis(50));
    let slept = boot_nanos() - before;
    assert!((50_000_000..5_000_000_000).contains(&slept), "slept {slept} ns");
    // Either port wakes it.
    for (host, side) in [("out", Side::Outside), ("in", Side::Inside)] {
        send(&mut *rig.sender(host), 0..1, 60);
        let before = boot_nanos();
        pair.wait(Duration::from_secs(60));
        assert!(boot_nanos() - before < 10_000_000_000);
        let mut frames = Vec::with_capacity(64);
        pair.receive(side, &mut frames);
        assert_eq!(frames.len(), 1);
        assert_eq!(pair.bytes(&frames[0]), frame(0, 60));
        pair.recycle(frames.remove(0));
        pair.flush();
    }
    // A port that is gone does not make it spin.
    run(&format!("ip -n {} link del outside", rig.netns("gate")));
    let before = boot_nanos();
    pair.wait(Duration::from_millis(50));
    assert!(boot_nanos() - before >= 50_000_000);
    assert_eq!(pair.census(), ALL);
}

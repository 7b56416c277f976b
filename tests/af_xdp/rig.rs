//! Three namespaces, two veth pairs, senders, sinks, and the simplest gate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender};
use portcullis::io::af_xdp::kernel::on_bpffs;
use portcullis::io::af_xdp::{
    AfXdpError, AfXdpQueuePair, OpenRequest, QueueCount, QueueHeartbeat, Released, Wire, open, release,
};
use portcullis::io::clock::boot_nanos;
use portcullis::io::{Census, Frame, Heartbeat, QueuePair};
use portcullis::lab::namespace;
use portcullis::wire::Side;

pub(crate) const RINGS: u32 = 256;
/// Long enough never to be reached where a test does not mean it.
pub(crate) const PATIENT: Duration = Duration::from_mins(10);
/// Frames sent before they are looked for; fits the smallest ring on the way.
pub(crate) const CHUNK: u32 = 32;
pub(crate) const ALL: Census = Census { free: 0, receiving: 2 * RINGS, held: 0, sending: 0, handed: 0 };

/// One test at a time: a process that one test starts holds the sockets of another between its fork and
/// its exec, and they share two cores. `None`: skip.
pub(crate) fn alone() -> Option<MutexGuard<'static, ()>> {
    static ONE: Mutex<()> = Mutex::new(());
    if std::env::var_os("PORTCULLIS_NO_ROOT_TESTS").is_some_and(|value| value == "1") {
        println!("skipped: PORTCULLIS_NO_ROOT_TESTS=1");
        return None;
    }
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests need root (or PORTCULLIS_NO_ROOT_TESTS=1 to skip)"
    );
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if !on_bpffs(Path::new("/sys/fs/bpf")) {
        run("mount -t bpf bpf /sys/fs/bpf");
    }
    Some(one)
}

pub(crate) fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits for a condition, at most 30 s.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = boot_nanos();
    while !condition() {
        assert!(boot_nanos() - start < 30_000_000_000, "waited 30 s for: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Three namespaces and the two veth pairs between them.
pub(crate) struct Rig {
    name: String,
    state: tempfile::TempDir,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// `extra` goes to the ports' `ip link add`.
    pub(crate) fn with(extra: &str) -> Self {
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

    pub(crate) fn netns(&self, host: &str) -> String {
        format!("{}-{host}", self.name)
    }

    /// A namespace more, without a link.
    pub(crate) fn extra(&self, host: &str) -> String {
        let netns = self.netns(host);
        namespace::add(&netns).unwrap();
        netns
    }

    pub(crate) fn pins(&self) -> PathBuf {
        PathBuf::from("/sys/fs/bpf").join(&self.name)
    }

    pub(crate) fn saved(&self) -> PathBuf {
        self.state.path().join("ports.json")
    }

    pub(crate) fn gate<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        namespace::run_in(&self.netns("gate"), work).unwrap()
    }

    pub(crate) fn try_open(
        &self,
        change: impl FnOnce(&mut OpenRequest<'_>) + Send,
    ) -> Result<Wire, AfXdpError> {
        let (pins, saved) = (self.pins(), self.saved());
        self.gate(|| {
            let mut request = OpenRequest {
                interfaces: ["outside", "inside"],
                pins: &pins,
                saved: &saved,
                queues: QueueCount::Exactly(1),
                symmetric_rss: true,
                rings: RINGS,
                heartbeat_limit: PATIENT,
            };
            change(&mut request);
            open(&request)
        })
    }

    pub(crate) fn open(&self) -> Wire {
        self.try_open(|_| ()).unwrap()
    }

    pub(crate) fn release(&self) -> Released {
        let (pins, saved) = (self.pins(), self.saved());
        self.gate(|| release(&pins, &saved)).unwrap()
    }

    pub(crate) fn link(&self, host: &str, link: &str) -> serde_json::Value {
        let text = run(&format!("ip -n {} -s -d -j link show dev {link}", self.netns(host)));
        let mut all: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        all.remove(0)
    }

    /// What a veth end counted: `("tx", "packets")`.
    pub(crate) fn counted(&self, host: &str, link: &str, direction: &str, what: &str) -> u64 {
        self.link(host, link)["stats64"][direction][what].as_u64().unwrap()
    }

    /// Both ports as an untouched rig has them, and no pin.
    pub(crate) fn assert_untouched(&self) {
        assert!(!self.pins().exists(), "pins left: {:?}", fs::read_dir(self.pins()).map(Iterator::count));
        assert!(!self.saved().exists(), "saved settings left");
        for port in ["outside", "inside"] {
            let link = self.link("gate", port);
            assert!(link.get("xdp").is_none(), "{port} still runs a program: {link}");
            assert_eq!(link["promiscuity"], 0, "{port}");
            assert_eq!(link["qdisc"], "noqueue", "{port}");
        }
    }

    pub(crate) fn channel(
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
    pub(crate) fn stack(&self, port: &str) -> Box<dyn DataLinkReceiver> {
        self.channel("gate", port, Duration::from_millis(100)).1
    }

    pub(crate) fn sender(&self, host: &str) -> Box<dyn DataLinkSender> {
        self.channel(host, "wire", Duration::from_secs(10)).0
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // A test that failed left them; one that did not released them already.
        let (pins, saved) = (self.pins(), self.saved());
        let _ = namespace::run_in(&self.netns("gate"), || release(&pins, &saved));
        for host in ["out", "gate", "in", "host"] {
            let _ = namespace::delete(&self.netns(host));
        }
    }
}

/// A frame of local experimental type with its number in it.
pub(crate) fn frame(number: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5];
    bytes.extend(number.to_be_bytes());
    bytes.extend((0_u8..=255).cycle().take(length - bytes.len()));
    bytes
}

pub(crate) fn send(sender: &mut dyn DataLinkSender, numbers: std::ops::Range<u32>, length: usize) {
    for number in numbers {
        sender.send_to(&frame(number, length), None).unwrap().unwrap();
    }
}

/// Ends what runs beside a test, also when the test fails.
pub(crate) struct Stop<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A process that ends with its test.
pub(crate) struct Child(pub(crate) std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The simplest gate: everything crosses.
pub(crate) struct Forwarder {
    pub(crate) pair: AfXdpQueuePair,
    pub(crate) heartbeat: QueueHeartbeat,
    /// Its rounds beat.
    pub(crate) alive: bool,
    frames: Vec<Frame>,
    pub(crate) received: [u64; 2],
    pub(crate) forwarded: [u64; 2],
}

impl Forwarder {
    pub(crate) fn new(wire: &mut Wire) -> Self {
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

    pub(crate) fn round(&mut self) {
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
    pub(crate) fn until(&mut self, side: Side, received: u64) {
        until("frames to arrive", || {
            self.round();
            self.received[side.index()] >= received
        });
    }

    /// Forwards until every frame is back where it waits for reception.
    pub(crate) fn drain(&mut self) {
        until("all frames to come home", || {
            self.round();
            !self.pair.sending()
        });
        assert_eq!(self.pair.census(), ALL);
    }

    pub(crate) fn cross(
        &mut self,
        sender: &mut dyn DataLinkSender,
        side: Side,
        frames: u32,
        length: usize,
    ) {
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

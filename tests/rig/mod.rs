//! A silent wire for tests: three namespaces, two veth pairs, the real `portcullis run` between them, and
//! the benchmark rig's generator and sinks, whose counts are not ours.
//!
//! ```text
//! pc-gt…-out               pc-gt…-gate                 pc-gt…-in
//!   wire ───────────────── outside   inside ─────────────── wire
//! ```
//! No IPv6, no ARP, no address: every frame is one that a test sent.

#[allow(dead_code, reason = "shared with the benchmark rig, which uses all of it")]
#[path = "../../bench/traffic.rs"]
pub(crate) mod traffic;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use portcullis::control::answers::{Health, Reloaded, Status};
use portcullis::control::client::{self, ClientError};
use portcullis::control::reload;
use portcullis::gateway::Place;
use portcullis::lab::namespace;
use traffic::{ENDS, Generator, Hook, Sink};

/// Allows the generator's traffic from outside, and nothing else.
pub(crate) const POLICY: &str = r#"
[gate]
approvals = "off"
rings = 1024
flows = 4096
heartbeat = "500ms"
[wire.w]
outside = "outside"
inside = "inside"
fail = "closed"
unzoned = "enforce"
[profile]
arp = "drop"
ndp = "drop"
lldp = "drop"
stp = "drop"
lacp = "drop"
dhcp = "drop"
other = "drop"
[network.near]
at = "w.inside"
prefixes = ["10.78.0.0/16"]
vlans = ["untagged"]
[network.world]
at = "w.outside"
prefixes = ["0.0.0.0/0", "::/0"]
vlans = ["untagged"]
[label]
app = {}
[workload.senders]
addresses = ["10.77.0.0/16"]
labels = { app = "sender" }
[workload.sink]
addresses = ["10.78.0.1"]
labels = { app = "sink" }
macs = ["02:00:00:78:00:01"]
[allow.load]
from = { app = "sender" }
to = { app = "sink" }
services = ["udp/4739"]
"#;

pub(crate) fn run(program: &str, line: &[&str]) -> String {
    let done = Command::new(program).args(line).output().expect("iproute2 and util-linux are installed");
    assert!(done.status.success(), "{program} {line:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// Compiles a kernel half, named from the package's folder.
pub(crate) fn compile(source: &str, to: &Path) {
    let include = format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH);
    let source = format!("{}/{source}", env!("CARGO_MANIFEST_DIR"));
    let to = to.to_str().expect("a temporary path is text");
    run("clang", &["-O2", "-g", "-target", "bpf", "-mcpu=v3", &include, "-c", &source, "-o", to]);
}

/// Waits for a condition, at most 20 s.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = traffic::monotonic() + 20_000_000_000;
    while !condition() {
        assert!(traffic::monotonic() < end, "waited 20 s for: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Root, or a word that these tests were asked to be left out.
pub(crate) fn left_out() -> bool {
    if std::env::var_os("PORTCULLIS_NO_ROOT_TESTS").is_some_and(|value| value == "1") {
        eprintln!("left out: PORTCULLIS_NO_ROOT_TESTS=1");
        return true;
    }
    assert!(rustix::process::geteuid().is_root(), "needs root (PORTCULLIS_NO_ROOT_TESTS=1 leaves it out)");
    false
}

/// Three namespaces and the veth pairs between them; gone with the value.
pub(crate) struct Rig {
    name: String,
    folder: tempfile::TempDir,
    object: PathBuf,
}

impl Rig {
    pub(crate) fn raise() -> Self {
        Self::with_queues(queues())
    }

    /// So many queues on each port. What comes from outside arrives on the first, what comes from inside on the
    /// last: no flow has both directions on one.
    pub(crate) fn with_queues(queues: usize) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pc-gt{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::tempdir().expect("a temporary directory");
        let object = folder.path().join("rig.bpf.o");
        let rig = Self { name, folder, object };
        for host in ["out", "gate", "in"] {
            namespace::add(&rig.netns(host)).expect("a namespace");
            rig.at(host, || {
                for scope in ["all", "default"] {
                    fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1")
                        .expect("silent");
                }
            });
        }
        for (port, host) in [("outside", "out"), ("inside", "in")] {
            let (gate, far) = (rig.netns("gate"), rig.netns(host));
            let count = queues.to_string();
            let size = ["numtxqueues", &count, "numrxqueues", &count];
            let veth =
                ["-n", &gate, "link", "add", port, size[0], size[1], size[2], size[3], "type", "veth"];
            let peer = ["peer", "name", "wire", "netns", &far, size[0], size[1], size[2], size[3]];
            run("ip", &[&veth[..], &peer].concat());
            if queues > 1 {
                send_on(&far, if host == "in" { queues - 1 } else { 0 });
            }
            for (space, link) in [(&gate, port), (&far, "wire")] {
                run("ip", &["-n", space, "link", "set", link, "addrgenmode", "none", "arp", "off"]);
                run("ip", &["-n", space, "link", "set", link, "multicast", "off", "up"]);
            }
        }
        rig
    }

    /// The generator's and the sinks' kernel half, compiled for the first who asks.
    pub(crate) fn object(&self) -> &Path {
        if !self.object.exists() {
            compile("bench/rig.bpf.c", &self.object);
        }
        &self.object
    }

    pub(crate) fn netns(&self, host: &str) -> String {
        format!("{}-{host}", self.name)
    }

    pub(crate) fn at<T: Send>(&self, host: &str, work: impl FnOnce() -> T + Send) -> T {
        namespace::run_in(&self.netns(host), work).expect("the namespace is there")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn place(&self) -> Place {
        self.at("gate", || Place::of("w").expect("a place"))
    }

    pub(crate) fn generator(&self) -> Generator {
        Generator::open(self.object(), &self.netns("out"), "wire", ENDS, 0).expect("generator")
    }

    pub(crate) fn sink(&self) -> Sink {
        self.sink_at("in", "wire")
    }

    /// An XDP program of its own on any link.
    pub(crate) fn sink_at(&self, host: &str, link: &str) -> Sink {
        Sink::open(self.object(), &self.netns(host), link, Hook::Xdp).expect("sink")
    }

    /// One link as `ip` shows it, statistics included.
    pub(crate) fn link(&self, host: &str, link: &str) -> serde_json::Value {
        let text = run("ip", &["-n", &self.netns(host), "-s", "-d", "-j", "link", "show", "dev", link]);
        let mut all: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
        all.remove(0)
    }

    pub(crate) fn counted(&self, host: &str, link: &str, direction: &str, what: &str) -> u64 {
        self.link(host, link)["stats64"][direction][what].as_u64().expect("a count")
    }

    /// Starts the gate and waits until it is up.
    pub(crate) fn gate(&self, policy: &str) -> Gate {
        self.gate_telling(policy, Stdio::null())
    }

    /// The same, with its standard output.
    pub(crate) fn gate_telling(&self, policy: &str, out: impl Into<Stdio> + Send) -> Gate {
        let file = self.folder().join("gate.toml");
        fs::write(&file, policy).expect("written");
        let socket = self.folder().join("gate.sock");
        let mut child =
            self.at("gate", || command("run", &file, &socket).stdout(out).spawn().expect("started"));
        until("the gate to come up", || {
            assert_eq!(child.try_wait().expect("a child"), None, "the gate ended early");
            client::status(&socket).is_ok()
        });
        Gate { child, socket }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let netns = self.netns("gate");
        let _ = namespace::run_in(&netns, || portcullis::gateway::release("w"));
        for host in ["out", "gate", "in"] {
            let _ = namespace::delete(&self.netns(host));
        }
    }
}

/// Queues of each port where a test does not say: 1, or as many as `PORTCULLIS_TEST_QUEUES` says.
pub(crate) fn queues() -> usize {
    std::env::var("PORTCULLIS_TEST_QUEUES").map_or(1, |text| text.parse().expect("a number of queues"))
}

/// Has everything that a namespace sends at `wire` leave by one queue.
fn send_on(netns: &str, queue: usize) {
    let processors = thread::available_parallelism().map_or(1, usize::from).min(32);
    let mask = (1_u64 << processors) - 1;
    let file = format!("/sys/class/net/wire/queues/tx-{queue}/xps_cpus");
    let line = format!("mount -t sysfs none /sys && echo {mask:x} > {file}");
    run("nsenter", &[&format!("--net=/run/netns/{netns}"), "unshare", "-m", "sh", "-c", &line]);
}

/// A running gate.
pub(crate) struct Gate {
    child: Child,
    socket: PathBuf,
}

impl Gate {
    pub(crate) fn status(&self) -> Status {
        client::status(&self.socket).expect("a status")
    }

    /// Puts another policy in force, from the file that it was started with.
    pub(crate) fn reload(&self, policy: &str) -> Result<Reloaded, ClientError> {
        let file = self.socket.with_file_name("gate.toml");
        fs::write(&file, policy).expect("written");
        client::reload(&self.socket, &reload::Request::default())
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    #[allow(dead_code, reason = "the flood asks for it")]
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn health(&self) -> Health {
        client::health(&self.socket).expect("an answer")
    }

    /// SIGKILL, and wait until the process is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    /// SIGTERM, and wait for its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("told");
        let mut ended = None;
        until("the gate ends", || {
            ended = self.child.try_wait().expect("a child");
            ended.is_some()
        });
        ended?.code()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `portcullis VERB --policy FILE --socket SOCKET`; run it inside a namespace.
fn command(verb: &str, policy: &Path, socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.arg(verb).arg("--policy").arg(policy).arg("--socket").arg(socket);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

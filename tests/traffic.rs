//! Real hosts talk through the gate on real `AF_XDP` sockets: large transfers, many short connections,
//! neighbour discovery, frames of full size. Every byte is compared, and the gate's counts must say the
//! same. Needs root, clang and what a lab needs.
#![cfg(feature = "xdp")]
#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "clippy's leave for tests ends at `#[test]`"
)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis::control::answers::{RuleLine, SideStatus, Status, WorkerStatus};
use portcullis::control::{client, reload};
use portcullis::io::Pools;
use portcullis::io::clock::boot_nanos;
use portcullis::lab::demo::Gate;
use portcullis::lab::probe::{self, Ending, Transfer};
use portcullis::lab::process::wait_for;
use portcullis::lab::topology::Host;
use portcullis::lab::{Lab, LabName, link, namespace};

const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");
const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/lab/gate.toml");
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/lab");
/// How long one read may wait: many retransmissions.
const PATIENCE: Duration = Duration::from_secs(30);
/// Two pools of 256 frames.
const FRAMES: u32 = 512;
const MIB: u64 = 1 << 20;

/// Root and the only one at work, or a word that these tests were asked to be left out.
fn alone() -> Option<MutexGuard<'static, ()>> {
    static ONE: Mutex<()> = Mutex::new(());
    if std::env::var_os("PORTCULLIS_NO_ROOT_TESTS").is_some_and(|value| value == "1") {
        eprintln!("left out: PORTCULLIS_NO_ROOT_TESTS=1");
        return None;
    }
    assert!(rustix::process::geteuid().is_root(), "needs root (PORTCULLIS_NO_ROOT_TESTS=1 leaves it out)");
    Some(ONE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A lab, gone with the value whatever happens: also when no gate comes up in it.
struct Standing(Lab);

impl Drop for Standing {
    fn drop(&mut self) {
        let _ = self.0.down();
    }
}

/// A lab with a gate in it.
struct Stage {
    gate: Gate,
    standing: Standing,
}

/// A connection's two ends.
#[derive(Clone, Copy)]
struct Path {
    from: &'static str,
    to: &'static str,
    v6: bool,
}

impl Path {
    fn target(self) -> SocketAddr {
        (Host::named(self.to).expect("a host of the lab").address(self.v6), 443).into()
    }
}

const fn path(from: &'static str, to: &'static str, v6: bool) -> Path {
    Path { from, to, v6 }
}

impl Stage {
    fn raise(letter: char) -> Self {
        Self::under(letter, POLICY.as_ref())
    }

    fn under(letter: char, policy: &std::path::Path) -> Self {
        let name: LabName = format!("{letter}{:x}", std::process::id()).parse().expect("short and plain");
        let standing = Standing(Lab { name, program: PathBuf::from(PROGRAM), queues: queues() });
        standing.0.up().expect("the lab comes up");
        let gate = Gate::start(&standing.0, policy).expect("the gate comes up");
        Self { gate, standing }
    }

    fn lab(&self) -> &Lab {
        &self.standing.0
    }

    fn at<T: Send>(&self, host: &str, work: impl FnOnce() -> T + Send) -> T {
        namespace::run_in(&self.lab().host(host).expect("a host"), work).expect("its namespace")
    }

    /// The gate's word; whatever it counts, it must add up, at any time.
    fn status(&self) -> Status {
        let status = self.gate.status().expect("a status");
        assert_eq!(status.workers.len(), usize::try_from(queues()).expect("a count"));
        let pools = Pools::new(queues(), FRAMES / 2);
        for worker in &status.workers {
            assert!(worker.equation.holds, "{worker:#?}");
            assert_eq!(worker.frames.total, FRAMES + 2 * pools.reserve(), "{:?}", worker.frames);
        }
        status
    }

    /// Takes `bytes` over each of `connections` connections, on as many threads as are asked for, and
    /// looks at the gate all the while. Answers the seconds it took.
    fn fetch(&self, path: Path, bytes: u64, connections: u64, threads: u64, bound: Duration) -> f64 {
        let (tell, told) = mpsc::channel();
        let place = self.lab().host(path.from).expect("a host");
        let begun = boot_nanos();
        for _ in 0..threads {
            // Not scoped: one that hangs ends with the lab, and must not keep the test from failing.
            let (tell, place) = (tell.clone(), place.clone());
            std::thread::spawn(move || {
                let fetch = || probe::fetch(path.target(), bytes, connections / threads, PATIENCE);
                let _ = tell.send(namespace::run_in(&place, fetch).map_err(|e| e.to_string()));
            });
        }
        drop(tell);
        let mut done = Transfer { connections: 0, bytes: 0 };
        let ended = || Duration::from_nanos(boot_nanos() - begun);
        while done.connections < connections {
            match told.recv_timeout(Duration::from_millis(200)) {
                Ok(fetched) => {
                    let fetched = fetched.expect("the namespace").expect("whole");
                    done.connections += fetched.connections;
                    done.bytes += fetched.bytes;
                }
                Err(RecvTimeoutError::Timeout) => {
                    let status = self.status();
                    assert!(ended() < bound, "{done:?} after {bound:?}: {status:#?}");
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        assert_eq!(done, Transfer { connections, bytes: bytes * connections });
        ended().as_secs_f64()
    }

    /// The gate's last word, once no frame is on its way any more.
    fn settled(&self) -> Status {
        let mut status = self.status();
        let still = wait_for(Duration::from_secs(20), || {
            std::thread::sleep(Duration::from_millis(100));
            let before = std::mem::replace(&mut status, self.status());
            let home = |worker: &WorkerStatus| {
                let frames = worker.frames;
                (frames.sending, frames.held, frames.receiving) == (0, 0, FRAMES)
            };
            let counts = |status: &Status| (status.equation(), status.ports[0].bpf, status.ports[1].bpf);
            status.workers.iter().all(home) && counts(&before) == counts(&status)
        });
        assert!(still, "frames did not come home: {status:#?}");
        for (number, port) in status.ports.iter().enumerate() {
            let bpf = port.bpf;
            assert_eq!(bpf.seen, bpf.redirected + bpf.stale, "{}: a socket was missing", port.side);
            let taken = sum(&status, number, |side| side.rx_packets + lost(side));
            assert_eq!(bpf.redirected, taken, "{}", port.side);
            assert_eq!(sum(&status, number, |side| side.would_drop.values().sum()), 0, "{}", port.side);
            assert_eq!(sum(&status, number, |side| side.loose), 0, "{}", port.side);
        }
        let all = status.equation();
        assert_eq!(all.handed_over, all.taken_over);
        status
    }

    /// Connections that the gate saw opened: each rule of this policy says so once a connection.
    fn opened(&self, rule: &str) -> usize {
        let (mut after, mut count) = (0, 0);
        loop {
            let page = client::events(&self.lab().name.socket(), after, 1000).expect("events");
            assert_eq!((page.missed, page.lost), (0, 0));
            if page.events.is_empty() {
                return count;
            }
            after = page.next;
            let allowed = page.events.iter().filter(|event| event.kind == "allow");
            count += allowed.filter(|event| event.rule.as_deref() == Some(rule)).count();
        }
    }
}

/// What found no frame to be received into: TCP sends it again. See `tests/gate.rs`.
fn lost(side: &SideStatus) -> u64 {
    side.kernel.rx_dropped + side.kernel.rx_ring_full
}

/// A count of one side, of all workers together.
fn sum(status: &Status, side: usize, count: impl Fn(&SideStatus) -> u64) -> u64 {
    status.workers.iter().map(|worker| count(&worker.sides[side])).sum()
}

/// Flows of all workers.
fn flows(status: &Status) -> u64 {
    status.workers.iter().map(|worker| worker.flows).sum()
}

/// Queues of each port: 1, or as many as `PORTCULLIS_TEST_QUEUES` says.
fn queues() -> u32 {
    std::env::var("PORTCULLIS_TEST_QUEUES").map_or(1, |text| text.parse().expect("a number of queues"))
}

/// Reasons that anything was dropped for; but for a full ring between workers, which is to a second worker
/// what a full ring before the first is: see [`lost`].
fn reasons(status: &Status) -> BTreeSet<&str> {
    let sides = status.workers.iter().flat_map(|worker| &worker.sides);
    let names = sides.flat_map(|side| side.dropped.keys().map(String::as_str));
    names.filter(|&name| queues() == 1 || name != "handover_full").collect()
}

fn forwarded(status: &Status) -> [(u64, u64); 2] {
    [0, 1].map(|side| {
        (sum(status, side, |side| side.forwarded_packets), sum(status, side, |side| side.forwarded_bytes))
    })
}

#[test]
fn a_gigabyte_crosses_whole() {
    let Some(_alone) = alone() else { return };
    let stage = Stage::raise('p');
    // Opened from outside, the data goes out; opened from inside, it comes in.
    let transfers = [
        (path("payments", "vault", false), 1024),
        (path("vault", "partner", false), 128),
        (path("payments", "vault", true), 128),
        (path("vault", "partner", true), 32),
    ];
    for (path, mib) in transfers {
        let before = forwarded(&stage.status());
        let seconds = stage.fetch(path, mib * MIB, 1, 1, Duration::from_mins(4));
        let after = forwarded(&stage.settled());
        #[allow(clippy::cast_precision_loss, reason = "for people")]
        let rate = (mib * MIB * 8) as f64 / 1e6 / seconds;
        println!("{mib} MiB {} → {} by {}: {rate:.0} Mbit/s", path.to, path.from, path.target());
        // The bytes were on this wire and not on another one.
        let side = usize::from(path.from == "payments");
        assert!(after[side].1 - before[side].1 > mib * MIB, "{before:?} then {after:?}");
    }
    let status = stage.settled();
    assert_eq!(reasons(&status), BTreeSet::new(), "{status:#?}");
    assert_eq!(stage.opened("allow.payments-to-vault"), 2);
    assert_eq!(stage.opened("allow.vault-to-acquirer"), 2);
}

#[test]
fn ten_thousand_connections_and_none_is_lost() {
    let Some(_alone) = alone() else { return };
    let stage = Stage::raise('q');
    for (v6, connections) in [(false, 10_000), (true, 2_000)] {
        let path = path("payments", "vault", v6);
        let seconds = stage.fetch(path, 1_000, connections, 8, Duration::from_mins(2));
        println!("{connections} connections to {} in {seconds:.1} s", path.target());
    }
    let status = stage.settled();
    // What a host says again more than a second after both ends have closed belongs to no flow any more;
    // nothing else may be dropped, and the table is far from full.
    let late = BTreeSet::from(["tcp_no_session"]);
    assert!(reasons(&status).is_subset(&late), "{status:#?}");
    assert_eq!(stage.opened("allow.payments-to-vault"), 12_000);
    assert!(flows(&status) <= 12_000);
    if queues() > 1 {
        // The two directions of a connection leave by queues of their own, chosen for each apart.
        assert!(status.workers.iter().all(|worker| worker.equation.rx > 0), "{status:#?}");
        assert!(status.workers.iter().all(|worker| worker.equation.handed_over > 0), "{status:#?}");
    }
    // Closed connections stay a minute for their last repeats, and no longer.
    let gone = wait_for(Duration::from_secs(100), || flows(&stage.status()) == 0);
    assert!(gone, "flows left: {:#?}", stage.status());
}

#[test]
fn neighbours_find_each_other_and_full_size_frames_pass_both_ways() {
    let Some(_alone) = alone() else { return };
    let stage = Stage::raise('r');
    let (payments, vault) = (Host::named("payments").unwrap(), Host::named("vault").unwrap());
    for v6 in [false, true] {
        // The one who asks and the one who answers have both to find the other.
        for (here, there) in [("payments", vault), ("vault", payments)] {
            stage
                .at(here, || link::with(async |all| all.forget_neighbour(there.address(v6)).await))
                .unwrap();
            assert_eq!(believed(&stage, here, there.address(v6)), None);
        }
        let to = (vault.address(v6), 443).into();
        let probe = stage.at("payments", || probe::tcp(None, to, PATIENCE)).unwrap();
        assert_eq!(probe.ending, Ending::Answered { by: "vault 443".into() });
        assert_eq!(believed(&stage, "payments", vault.address(v6)), Some(vault.mac.to_string()));
        assert_eq!(believed(&stage, "vault", payments.address(v6)), Some(payments.mac.to_string()));
    }
    for (v6, payload) in [(false, "1472"), (true, "1452")] {
        let address = vault.address(v6).to_string();
        // Quiet first: what is counted then is the pings alone, give or take a neighbour looked up again.
        let before = forwarded(&stage.settled());
        let line = ["-n", "-c", "20", "-i", "0.05", "-W", "10", "-M", "do", "-s", payload, &address];
        let done = stage.at("payments", || Command::new("ping").args(line).output()).unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(said.contains(" 20 received, 0% packet loss"), "{said}");
        let after = forwarded(&stage.settled());
        for side in [0, 1] {
            let packets = after[side].0 - before[side].0;
            let bytes = after[side].1 - before[side].1;
            assert!(packets >= 20, "{before:?} then {after:?}");
            // 14 bytes of Ethernet and an MTU of 1500; ARP, NDP and MLD have less than 200.
            let others = packets - 20;
            assert!(bytes >= 20 * 1514 && bytes <= 20 * 1514 + others * 200, "{before:?} then {after:?}");
        }
    }
    let status = stage.settled();
    assert_eq!(reasons(&status), BTreeSet::new(), "{status:#?}");
}

/// A connection of payments to the vault that has heard who answers.
fn hold(stage: &Stage, v6: bool) -> BufReader<TcpStream> {
    let target = path("payments", "vault", v6).target();
    let stream = stage.at("payments", || TcpStream::connect_timeout(&target, PATIENCE)).expect("it opens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    let (mut stream, mut banner) = (BufReader::new(stream), String::new());
    stream.read_line(&mut banner).expect("it answers");
    assert_eq!(banner, "vault 443\n");
    stream
}

/// Asks for one byte more; none comes where nothing crosses.
fn byte(stream: &mut BufReader<TcpStream>, patience: Duration) -> Option<u8> {
    stream.get_ref().set_read_timeout(Some(patience)).expect("a time");
    stream.get_mut().write_all(b"GET 1\n").expect("a place in the buffer");
    let mut byte = [0];
    stream.read_exact(&mut byte).ok().map(|()| byte[0])
}

#[test]
fn a_reload_ends_the_connection_that_a_rule_denies_and_names_rule_and_owner() {
    let Some(_alone) = alone() else { return };
    let stage = Stage::raise('s');
    let socket = stage.lab().name.socket();
    let (mut stays, mut ends) = (hold(&stage, true), hold(&stage, false));
    let port = |stream: &BufReader<TcpStream>| stream.get_ref().local_addr().unwrap().port();
    let asked = [("state", "established"), ("service", "https"), ("zone", "cde")];
    let open = || -> BTreeSet<(u16, u32)> {
        let flows = client::flows(&socket, asked).expect("flows");
        assert_eq!(flows.next, None);
        let told = flows.flows.iter().map(|flow| {
            let names = [&flow.from, &flow.to].map(|end| end.name.as_deref());
            assert_eq!(names, [Some("payments"), Some("vault")]);
            let rule = flow.rule.as_ref().map(|rule| (rule.id.as_str(), rule.owner.as_deref()));
            assert_eq!(rule, Some(("allow.payments-to-vault", Some("payments-platform"))));
            assert_eq!(
                (flow.mode.as_str(), flow.side.as_str(), flow.unseen),
                ("enforce", "outside", false)
            );
            assert!(flow.from.packets >= 2 && flow.to.packets >= 2 && flow.idle_seconds < 30, "{flow:?}");
            (flow.from.port.expect("TCP"), flow.generation)
        });
        told.collect()
    };
    assert_eq!(open(), [(port(&stays), 1), (port(&ends), 1)].into());

    // The same policy, and a rule with an owner against one of the two.
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").args([CONFIG, "."]).current_dir(folder.path()).status();
    assert!(copied.unwrap().success());
    let rules = folder.path().join("lab/rules/guardrails.toml");
    let rule = format!(
        "[deny.one]\nfrom = {{ app = \"payments\" }}\nto = {{ zone = \"cde\" }}\nservices = [\"tcp/443 from {}\"]\n\
         owner = \"security\"\njustification = \"A test.\"\n",
        port(&ends)
    );
    let text = std::fs::read_to_string(&rules).unwrap() + &rule;
    std::fs::write(&rules, text).unwrap();
    // The policy's own test says that all of it is allowed, and would stop this.
    let tests = folder.path().join("lab/tests.toml");
    let text = std::fs::read_to_string(&tests).unwrap();
    let narrowed = text.replace("[\"web\", \"ping\"]", "[\"ping\"]");
    assert_ne!(narrowed, text);
    std::fs::write(&tests, narrowed).unwrap();
    let policy = Some(folder.path().join("lab/gate.toml"));
    let request = reload::Request { policy, check: false };
    assert_eq!(client::reload(&socket, &request).expect("in force").policy.generation, 2);
    assert_eq!(byte(&mut ends, Duration::from_secs(1)), None, "nothing crosses from the return on");
    assert!(byte(&mut stays, PATIENCE).is_some(), "the other goes on");

    let cuts = || client::cuts(&socket, 100).expect("cuts");
    assert!(wait_for(Duration::from_secs(20), || cuts().complete), "{:?}", cuts());
    let cuts = cuts();
    assert_eq!((cuts.generation, cuts.ended, cuts.cuts.len()), (2, 1, 1));
    let cut = &cuts.cuts[0];
    assert_eq!((cut.from.port, cut.to.port), (Some(port(&ends)), Some(443)));
    let names = [&cut.from, &cut.to].map(|end| end.name.as_deref());
    assert_eq!(names, [Some("payments"), Some("vault")]);
    let told = |rule: &Option<RuleLine>| {
        let rule = rule.clone().expect("a rule");
        (rule.id, rule.owner.expect("an owner"))
    };
    assert_eq!(told(&cut.rule), ("deny.one".to_owned(), "security".to_owned()));
    assert_eq!(told(&cut.was), ("allow.payments-to-vault".to_owned(), "payments-platform".to_owned()));
    assert_eq!((cut.was_generation, cut.generation, cut.reason.as_str()), (1, 2, "denied"));
    assert_eq!(open(), [(port(&stays), 2)].into());
}

/// What the lab's own policy does not ask for: replies, at an enforced zone and at a simulated one.
const REPLIES: &str = r#"
[deny.shell]
from = { app = "payments" }
to = { any = true }
services = ["tcp/8080", "tcp/22"]
reply = "reset"
[guardrail.no-syslog]
mode = "observe"
from = { app = "payments" }
to = { any = true }
services = ["udp/514", "tcp/25"]
reply = "unreachable"
"#;

#[test]
fn a_refused_client_hears_of_it_at_once_and_nobody_where_nothing_is_dropped() {
    let Some(_alone) = alone() else { return };
    let policy = tempfile::tempdir().unwrap();
    let (from, to) = (concat!(env!("CARGO_MANIFEST_DIR"), "/configs/lab"), policy.path().join("lab"));
    assert!(Command::new("cp").args(["-r", from]).arg(&to).status().unwrap().success());
    let first = to.join("gate.toml");
    let text = std::fs::read_to_string(&first).unwrap();
    std::fs::write(&first, text + REPLIES).unwrap();
    let stage = Stage::under('t', &first);
    let (vault, jump) = (Host::named("vault").unwrap(), Host::named("jump").unwrap());
    for v6 in [false, true] {
        let to = |host: &Host, port: u16| SocketAddr::from((host.address(v6), port));
        let begun = boot_nanos();
        let (reset, unreachable, udp) = stage.at("payments", || {
            (
                probe::tcp(None, to(vault, 8_080), PATIENCE).unwrap().ending,
                probe::tcp(None, to(vault, 25), PATIENCE).unwrap().ending,
                probe::udp(None, to(vault, 514), PATIENCE).unwrap().ending,
            )
        });
        assert_eq!((reset, unreachable, udp), (Ending::Refused, Ending::Unreachable, Ending::Unreachable));
        // The first SYN was answered: another would have come after a second.
        assert!(boot_nanos() - begun < 2_000_000_000);
        // Under simulate the host itself answers.
        let ending = stage.at("payments", || probe::tcp(None, to(jump, 22), PATIENCE)).unwrap().ending;
        assert_eq!(ending, Ending::Answered { by: "jump 22".into() });
    }
    let status = stage.status();
    assert_eq!((status.rejected("denied"), status.rejected("guardrail")), (2, 4));
    assert_eq!((status.dropped("denied"), status.dropped("guardrail")), (0, 0));
    assert!(status.would_drop("denied") > 0);
    assert_eq!([0, 1].map(|number| sum(&status, number, |side| side.replies)), [6, 0]);
    assert!(status.workers.iter().all(|worker| worker.sides[0].unsent.is_empty()));
    // The log follows within a moment.
    let (shell, syslog) = ("deny.shell", "guardrail.no-syslog");
    let mut rules: Vec<String> = Vec::new();
    wait_for(Duration::from_secs(5), || {
        let page = client::events(&stage.lab().name.socket(), 0, 1_000).expect("events");
        let rejected = page.events.into_iter().filter(|event| event.kind == "reject");
        rules = rejected.filter_map(|event| event.rule).collect();
        rules.len() == 6
    });
    assert_eq!(rules, [shell, syslog, syslog, shell, syslog, syslog]);
}

/// The MAC a host believes an address to have.
fn believed(stage: &Stage, host: &str, address: IpAddr) -> Option<String> {
    let mac = stage.at(host, || link::with(async |all| all.neighbour_mac(address).await)).expect("asked");
    mac.map(|mac| mac.to_string())
}

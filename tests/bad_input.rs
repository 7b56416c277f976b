//! What cannot be done is refused: exit code 2, a place and a remedy on standard error, nothing left
//! anywhere, and a gate at work on another wire that never notices. Then commands in the wrong order.
//! Needs root, clang and util-linux.
#![cfg(feature = "xdp")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that can't go on fails")]

#[allow(dead_code, reason = "shared with tests/gate.rs, which uses all of it")]
mod rig;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis::control::client;
use portcullis::io::clock::boot_nanos;
use portcullis::lab::{Lab, LabName, namespace};
use rig::traffic::{Load, SHORTEST, Sink};
use rig::{Gate, POLICY, Rig, left_out, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");
const NOBODY: [&str; 7] =
    ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"];

/// One at a time: a process forked by one test holds the files of another until its exec.
fn alone() -> Option<MutexGuard<'static, ()>> {
    static ONE: Mutex<()> = Mutex::new(());
    if left_out() { None } else { Some(ONE.lock().unwrap_or_else(PoisonError::into_inner)) }
}

fn load(frames: u64) -> Load {
    Load { rate: Some(5_000), flows: 10, frame: SHORTEST, frames, time: Duration::from_secs(20) }
}

/// Sends frames and answers how many more are at the sink once all that will come have.
fn cross(rig: &Rig, sink: &Sink, frames: u64, expected: u64) -> u64 {
    let before = sink.arrived().unwrap().frames;
    let sent = rig.generator().run(&load(frames)).unwrap();
    assert_eq!((sent.frames, sent.refused), (frames, 0));
    let arrived = || sink.arrived().unwrap().frames - before;
    until("frames to cross", || arrived() >= expected);
    arrived()
}

/// A gate at work on a wire of its own.
struct Bystander {
    // First to go.
    gate: Gate,
    sink: Sink,
    started: String,
    programs: [u64; 2],
    rig: Rig,
}

impl Bystander {
    fn raise() -> Self {
        let rig = Rig::raise();
        let (sink, gate) = (rig.sink(), rig.gate(POLICY));
        let started = gate.status().started;
        let programs = programs(&rig).map(|id| id.expect("attached"));
        Self { gate, sink, started, programs, rig }
    }

    fn socket(&self) -> PathBuf {
        self.rig.folder().join("gate.sock")
    }

    /// The same process, the same programs, and everything still crosses.
    fn notices_nothing(&self) {
        let crossed = cross(&self.rig, &self.sink, 20, 20);
        let status = self.gate.status();
        assert_eq!((crossed, &status.started), (20, &self.started));
        assert_eq!(programs(&self.rig), self.programs.map(Some));
        let equation = status.equation();
        assert!(equation.holds && equation.dropped == 0, "{equation:?}");
        assert_eq!((status.ports[0].bpf.stale, status.ports[0].bpf.no_socket), (0, 0));
    }
}

fn programs(rig: &Rig) -> [Option<u64>; 2] {
    ["outside", "inside"].map(|port| rig.link("gate", port)["xdp"]["prog"]["id"].as_u64())
}

/// Everything below a folder whose first name ends with `suffix`.
fn below(folder: &str, suffix: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(suffix));
    ours.map(|entry| entry.path().display().to_string()).collect()
}

/// Whatever a start could leave: programs and settings of the ports, pins, state, namespaces, sockets.
fn traces(rig: &Rig) -> Vec<String> {
    let text = rig::run("ip", &["-n", &rig.netns("gate"), "-d", "-j", "link", "show"]);
    let links: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let mut traces: Vec<String> = links
        .iter()
        .map(|link| {
            let of = |what: &str| link[what].to_string();
            let words = ["ifname", "mtu", "promiscuity", "qdisc"].map(of);
            let up = link["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "UP"));
            format!("{} up {up} xdp {}", words.join(" "), link["xdp"]["prog"]["id"])
        })
        .collect();
    let place = rig.place().state;
    let name = place.file_name().unwrap().to_string_lossy().into_owned();
    let of_this_namespace = &name[name.rfind('-').unwrap()..];
    traces.extend(below("/sys/fs/bpf/portcullis", of_this_namespace));
    traces.extend(below("/run/portcullis", of_this_namespace));
    let prefix = rig.netns("");
    let spaces = fs::read_dir("/run/netns").unwrap().flatten().map(|entry| entry.file_name());
    traces.extend(
        spaces.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.starts_with(&prefix)),
    );
    traces.extend(
        fs::read_dir(rig.folder()).unwrap().map(|entry| entry.unwrap().path().display().to_string()),
    );
    traces.sort();
    traces
}

/// A wire to be refused on, beside one that works.
struct Scene {
    other: Bystander,
    rig: Rig,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    fn set() -> Option<Self> {
        let alone = alone()?;
        let scene = Self { other: Bystander::raise(), rig: Rig::raise(), _alone: alone };
        // Nobody may look in, too.
        fs::set_permissions(scene.rig.folder(), fs::Permissions::from_mode(0o755)).unwrap();
        Some(scene)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.rig.folder().join(name)
    }

    fn write(&self, text: impl AsRef<[u8]>) -> PathBuf {
        let file = self.file("gate.toml");
        fs::write(&file, text).unwrap();
        file
    }

    /// Runs a command in the gate's place, for at most 30 s.
    fn command(&self, words: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.args(["-k", "1", "30"]).args(words).env_remove("PORTCULLIS_SOCKET").stdin(Stdio::null());
        self.rig.at("gate", || command.output()).unwrap()
    }

    /// It ends with 2, says all of `told`, leaves nothing, and the other gate never notices.
    fn refused(&self, words: &[&str], told: &[&str]) {
        let before = traces(&self.rig);
        let output = self.command(words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        for words in told {
            assert!(said.contains(words), "{words:?} is not in: {said}");
        }
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "{words:?}");
        assert_eq!(traces(&self.rig), before, "{words:?}");
        self.other.notices_nothing();
    }

    /// The same of `run` with a policy, by way of the commands in front.
    fn run_refused(&self, by: &[&str], policy: &Path, told: &[&str]) {
        let socket = self.file("run.sock");
        let run = [PROGRAM, "run", "--policy", text(policy), "--socket", text(&socket)];
        self.refused(&[by, &run].concat(), told);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The policy with one line, which must be there, replaced by another.
fn changed(line: &str, by: &str) -> String {
    assert_eq!(POLICY.lines().filter(|found| *found == line).count(), 1, "{line}");
    POLICY.replace(&format!("\n{line}\n"), &format!("\n{by}\n"))
}

#[test]
fn ports_that_cannot_be_had_are_refused() {
    let Some(scene) = Scene::set() else { return };
    let policy = scene.write(changed(r#"inside = "inside""#, r#"inside = "nowhere""#));
    scene.run_refused(&[], &policy, &["no interface `nowhere`", "`ip link` lists what is there"]);

    let policy = scene.write(POLICY);
    let theirs = scene.rig.sink_at("gate", "inside");
    let id = programs(&scene.rig)[1].expect("attached").to_string();
    let told =
        ["`inside` already runs the XDP program", &format!("(id {id})"), "ip link set dev inside xdp off"];
    scene.run_refused(&[], &policy, &told);
    drop(theirs);
    // And with all of that out of the way it starts.
    let gate = scene.rig.gate(POLICY);
    assert!(!gate.status().took_over);
    assert_eq!(gate.stop(), Some(0));
}

#[test]
fn a_process_or_kernel_that_cannot_is_told_what_is_missing() {
    let Some(scene) = Scene::set() else { return };
    let policy = scene.write(POLICY);
    // The program itself may lie where nobody else may look.
    let program = scene.file("portcullis");
    fs::copy(PROGRAM, &program).unwrap();
    let run = [text(&program), "run", "--policy", text(&policy)];
    let told = ["opening a wire needs CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF", "run as root"];
    scene.refused(&[&NOBODY[..], &run].concat(), &told);
    // Also with a socket that it could have.
    let open = scene.file("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let socket = open.join("gate.sock");
    scene.refused(&[&NOBODY[..], &run, &["--socket", text(&socket)]].concat(), &told);
    assert_eq!(fs::read_dir(&open).unwrap().count(), 0);

    // A kernel that calls itself 2.6.
    let told = ["kernel 2.6.", "too old for AF_XDP over two ports and pinned XDP links; run 5.11 or later"];
    scene.run_refused(&["setarch", "--uname-2.6"], &policy, &told);

    // In mount namespaces of their own: no bpffs, and no place for state.
    let without = |what: &str| {
        let script = format!("{what} && exec \"$@\"");
        ["unshare", "-m", "sh", "-c", &script, "sh"].map(str::to_owned)
    };
    let by = without("umount /sys/fs/bpf");
    let told = ["is not on a BPF file system", "`mount -t bpf bpf /sys/fs/bpf`"];
    scene.run_refused(&by.each_ref().map(String::as_str), &policy, &told);
    let by = without("mount -t tmpfs -o ro none /run/portcullis");
    let told = ["/run/portcullis/w-", "Read-only file system", "the state folder must be writable"];
    scene.run_refused(&by.each_ref().map(String::as_str), &policy, &told);
}

#[test]
fn policies_that_do_not_hold_together_are_refused() {
    let Some(scene) = Scene::set() else { return };
    let cases: [(String, &[&str]); 6] = [
        (changed("rings = 1024", "ringz = 1024"), &["gate.toml:4:1", "`ringz`", "did you mean `rings`?"]),
        (
            format!(
                "{POLICY}[workload.sink]\naddresses = [\"10.78.0.9\"]\nlabels = {{ app = \"sink\" }}\n"
            ),
            &["gate.toml:41:11", "sink is written twice", "help: names are unique"],
        ),
        (
            ["a", "b"].iter().fold(POLICY.to_owned(), |text, name| {
                let head = format!(
                    "[workload.{name}]\nservice_account = \"{name}\"\nlabels = {{ app = \"sink\" }}\n"
                );
                text + &head + "addresses = [\"10.78.0.9\"]\nmacs = [\"02:00:00:78:00:09\"]\n"
            }),
            &["gate.toml:49:14", "10.78.0.9 has two service accounts, a and b", "help: give each account"],
        ),
        (
            POLICY.replace("10.78.0.0/16", "10.78.0.0/33"),
            &["gate.toml:22:13", "\"10.78.0.0/33\" is not a prefix", "help: write 10.20.0.10"],
        ),
        (
            format!("parts = [\"gone.toml\"]\n{POLICY}"),
            &["gate.toml:1:10", "can't read part gone.toml", "help: put the file there"],
        ),
        (String::new(), &["gate.toml:1:1", "the policy is empty", "help: declare [wire.NAME]"]),
    ];
    for (policy, told) in cases {
        let file = scene.write(policy);
        scene.run_refused(&[], &file, told);
    }
}

#[test]
fn files_that_are_no_policies_are_refused() {
    let Some(scene) = Scene::set() else { return };
    // 10 MB of bytes, and as much as is read of text that looks like TOML and is none.
    let begun = boot_nanos();
    let noise: Vec<u8> =
        (0..10_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let file = scene.write(noise);
    scene.run_refused(&[], &file, &["gate.toml: it is larger than 4 MiB", "help: split the inventory"]);
    let file = scene.write("x = = \n".repeat(500_000));
    scene.run_refused(
        &[],
        &file,
        &["gate.toml:1:1", "this does not look like a policy", "help: check that it"],
    );
    let file = scene.write(format!("a = {}", "[".repeat(4_000_000)));
    scene.run_refused(&[], &file, &["gate.toml:1:", "not TOML"]);
    assert!(boot_nanos() - begun < 60_000_000_000, "garbage must not take a minute");

    let file = scene.write(b"[gate]\nsocket = \"\xff\"\n");
    scene.run_refused(&[], &file, &["gate.toml: it is not UTF-8 text (line 2)", "help: save it as UTF-8"]);
    let folder = scene.rig.folder();
    scene.run_refused(&[], folder, &[text(folder), "it is a folder", "help: name a file in it"]);
    let pipe = scene.file("pipe");
    rig::run("mkfifo", &[text(&pipe)]);
    scene.run_refused(
        &[],
        &pipe,
        &[text(&pipe), "it is a pipe, not a regular file", "help: write the policy into a file"],
    );
    scene.run_refused(
        &[],
        "/dev/zero".as_ref(),
        &["/dev/zero: it is a device, not a regular file", "help: "],
    );
    let file = scene.file("gone.toml");
    scene.run_refused(&[], &file, &[text(&file), "there is no such file", "help: check that it exists"]);

    let program = scene.file("portcullis");
    fs::copy(PROGRAM, &program).unwrap();
    let file = scene.write(POLICY);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let run = [text(&program), "run", "--policy", text(&file)];
    let told =
        [text(&file), "Permission denied", "help: check that it exists and that the gate may read it"];
    scene.refused(&[&NOBODY[..], &run].concat(), &told);
}

#[test]
fn a_wire_or_a_socket_in_use_is_left_alone() {
    let Some(scene) = Scene::set() else { return };
    let policy = scene.write(POLICY);
    let (theirs, ours) = (scene.other.socket(), scene.file("run.sock"));
    let told = ["a gate is already listening on", text(&theirs), "remedy: stop that gate first"];
    let run = [PROGRAM, "run", "--policy", text(&policy), "--socket"];
    scene.refused(&[&run[..], &[text(&theirs)]].concat(), &told);

    // A second gate, and a release, on the wire that is in use.
    let there = scene.other.rig.netns("gate");
    let by = ["nsenter", &format!("--net=/run/netns/{there}")].map(str::to_owned);
    let by = by.each_ref().map(String::as_str);
    let told = ["wire w already has a gate, process ", ": stop it first"];
    let before = traces(&scene.other.rig);
    scene.run_refused(&by, &policy, &told);
    scene.refused(&[&by[..], &[PROGRAM, "release", "w"]].concat(), &told);
    assert_eq!(traces(&scene.other.rig), before);

    let told = ["no gate is running", text(&ours), "remedy: start one with `portcullis run --policy FILE`"];
    scene.refused(&[PROGRAM, "status", "--socket", text(&ours)], &told);
}

#[test]
fn verbs_that_make_no_sense_are_refused() {
    let Some(scene) = Scene::set() else { return };
    let policy = scene.write(POLICY);
    scene.refused(&[PROGRAM, "guard"], &["unrecognized subcommand 'guard'", "try '--help'"]);
    let told = ["'No-Lab'", "a lab's name is 1 to 8 of a-z, 0-9 and -"];
    scene.refused(&[PROGRAM, "lab", "up", "--name", "No-Lab"], &told);
    let explain = [PROGRAM, "explain", "--policy", text(&policy), "--from", "sendres", "--to", "sink"];
    let told = ["no workload is named \"sendres\"", "remedy: "];
    scene.refused(&[&explain[..], &["--service", "udp/4739"]].concat(), &told);
    let told = ["can't be the name of a wire: names have 1 to 128 letters, digits, `-`, `_` and `.`"];
    for name in ["../w", "a/b", "w 1", ""] {
        scene.refused(&[PROGRAM, "release", name], &told);
    }
    let told = [
        "nothing was released: no gate has left a wire nobody-knows in this network namespace (",
        "remedy: check the name",
    ];
    scene.refused(&[PROGRAM, "release", "nobody-knows"], &told);
}

/// Runs `release` and answers what it said.
fn release(rig: &Rig) -> String {
    let output = rig.at("gate", || Command::new(PROGRAM).args(["release", "w"]).output()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `release` where it must not be taken for a success, and answers what it said.
fn release_refused(rig: &Rig) -> String {
    let output = rig.at("gate", || Command::new(PROGRAM).args(["release", "w"]).output()).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    String::from_utf8(output.stderr).unwrap()
}

/// Runs a command that a remedy names, with this binary.
fn follow(remedy: &str) {
    let line = remedy.replace("portcullis release", &format!("{PROGRAM} release"));
    rig::run("sh", &["-c", &line]);
}

#[test]
fn a_release_in_the_wrong_place_names_the_right_one() {
    let Some(_alone) = alone() else { return };
    let (right, wrong) = (Rig::raise(), Rig::raise());
    assert_eq!(right.gate(POLICY).stop(), Some(0));
    let (place, name) = (right.place(), right.netns("gate"));
    let before = traces(&right);
    let said = release_refused(&wrong);
    let here = wrong.place().namespace;
    assert!(
        said.starts_with(&format!(
            "error: nothing was released: wire w is not in this network namespace ({here}) but in "
        )),
        "{said}"
    );
    assert!(said.contains(&format!("network namespace {} ({name})", place.namespace)), "{said}");
    let remedy = format!("nsenter --net=/run/netns/{name} portcullis release w");
    assert!(said.contains(&remedy), "{said}");
    assert_eq!(traces(&right), before);
    follow(&remedy);
    assert!(!place.pins.exists() && !place.state.exists());
    // There it is a success still; here it is none.
    assert!(release(&right).starts_with("wire w: nothing was left on it, it was released here before\n"));
    assert!(release_refused(&wrong).starts_with("error: nothing was released: "));

    // A namespace that is gone left its pins.
    assert_eq!(right.gate(POLICY).stop(), Some(0));
    namespace::delete(&name).unwrap();
    let said = release_refused(&wrong);
    let gone = format!("network namespace {} (gone, and its ports with it)", place.namespace);
    assert!(said.contains(&gone), "{said}");
    let remedy = format!("rm -rf {} {}", place.pins.display(), place.state.display());
    assert!(said.contains(&remedy), "{said}");
    follow(&remedy);
    assert!(!release_refused(&wrong).contains(&gone));
}

#[test]
fn a_release_before_after_and_twice_finds_what_there_is() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::raise();
    let before = traces(&rig);
    // Nobody was here yet.
    assert!(release_refused(&rig).starts_with("error: nothing was released: "));
    assert_eq!(traces(&rig), before);
    let nothing = "wire w: nothing was left on it, it was released here before\n";
    for _ in 0..2 {
        let gate = rig.gate(POLICY);
        assert!(!gate.status().took_over);
        assert_eq!(gate.stop(), Some(0));
        fs::remove_file(rig.folder().join("gate.toml")).unwrap();
        assert_eq!(
            release(&rig),
            "wire w: the kernel program is gone, and its ports have their settings back; they are the host's \
             again\n"
        );
        assert_eq!(traces(&rig), before);
        assert!(release(&rig).starts_with(nothing));
        assert_eq!(traces(&rig), before);
    }
}

#[test]
fn a_gate_over_a_killed_one_obeys_its_own_policy() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::raise();
    let sink = rig.sink();
    let first = rig.gate(POLICY);
    let digest = first.status().policy.digest;
    assert_eq!(cross(&rig, &sink, 100, 100), 100);
    first.kill();

    let second = rig.gate(&POLICY.replace("udp/4739", "udp/4740"));
    let status = second.status();
    assert!(status.took_over);
    assert_ne!(status.policy.digest, digest);
    assert_eq!(cross(&rig, &sink, 100, 0), 0);
    until("the drops to be counted", || second.status().dropped("no_rule") == 100);
    assert_eq!(sink.arrived().unwrap().frames, 100);
    second.kill();

    let third = rig.gate(POLICY);
    assert_eq!(third.status().policy.digest, digest);
    assert_eq!(cross(&rig, &sink, 100, 100), 100);
    assert_eq!(third.stop(), Some(0));
}

#[test]
fn a_start_puts_right_what_was_changed_on_a_dead_gates_ports() {
    let Some(_alone) = alone() else { return };
    let rig = Rig::raise();
    let before = traces(&rig);
    rig.gate(POLICY).kill();
    let gate = rig.netns("gate");
    rig::run("tc", &["-n", &gate, "qdisc", "del", "dev", "inside", "root"]);
    rig::run("ip", &["-n", &gate, "link", "set", "outside", "down"]);
    assert_eq!(rig.link("gate", "inside")["qdisc"], "noqueue");
    let again = rig.gate(POLICY);
    assert_eq!(rig.link("gate", "inside")["qdisc"], "pfifo");
    // The far end hears of it a moment later.
    until("the carrier", || rig.link("out", "wire")["operstate"] == "UP");
    let sink = rig.sink();
    assert_eq!(cross(&rig, &sink, 100, 100), 100);
    assert_eq!(again.stop(), Some(0));
    release(&rig);
    fs::remove_file(rig.folder().join("gate.toml")).unwrap();
    fs::remove_file(rig.folder().join("rig.bpf.o")).unwrap();
    assert_eq!(traces(&rig), before);
}

#[test]
fn a_lab_goes_down_under_a_running_gate_and_takes_it_along() {
    let Some(_alone) = alone() else { return };
    let name: LabName = format!("u{:x}", std::process::id()).parse().unwrap();
    let lab = Lab { name, program: PathBuf::from(PROGRAM), queues: 1 };
    lab.up().unwrap();
    let (place, socket) = (lab.host("gate").unwrap(), lab.name.socket());
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/lab/gate.toml");
    // Started by hand: it is not on the lab's record.
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--policy", policy, "--socket", text(&socket)]).stdout(Stdio::null());
    let mut gate = namespace::run_in(&place, || command.spawn()).unwrap().unwrap();
    let up =
        portcullis::lab::process::wait_for(Duration::from_secs(20), || client::status(&socket).is_ok());
    let wire = namespace::run_in(&place, || portcullis::gateway::Place::of("lab")).unwrap().unwrap();
    let there = wire.pins.exists() && wire.state.exists();
    let removed = lab.down();
    // A gate that is still there must not outlive the test.
    let _ = gate.kill();
    gate.wait().unwrap();
    removed.unwrap();
    assert!(up && there);
    assert!(!wire.pins.exists() && !wire.state.exists() && !lab.name.folder().exists());
    assert_eq!(lab.status().unwrap().namespaces, [""; 0]);
}

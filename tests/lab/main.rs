//! The lab comes and goes whole. Needs root, iproute2, ethtool and ping.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use portcullis::lab::probe::{self, Ending};
use portcullis::lab::process::wait_for;
use portcullis::lab::topology::{self, HOSTS, Host};
use portcullis::lab::{Error, Lab, LabName, Removed, namespace};

const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");
const PATIENCE: Duration = Duration::from_secs(5);
const BRIEF: Duration = Duration::from_millis(500);

/// A lab of this test alone, removed with the value whatever happens.
struct Own(Lab);

impl Own {
    fn new(letter: char) -> Self {
        Self::with(letter, PROGRAM)
    }

    fn with(letter: char, program: &str) -> Self {
        let name: LabName = format!("{letter}{:x}", std::process::id()).parse().unwrap();
        Self(Lab { name, program: PathBuf::from(program) })
    }

    fn up(letter: char) -> Self {
        let own = Self::new(letter);
        own.0.up().unwrap();
        own
    }

    fn namespaces(&self) -> Vec<String> {
        let prefix = self.0.name.namespace("");
        let names = fs::read_dir("/run/netns").unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(&prefix)).collect();
        names.sort();
        names
    }

    /// No namespace, no process, no file.
    fn nothing_left(&self) {
        assert_eq!(self.namespaces(), [""; 0]);
        assert!(!self.0.name.folder().exists());
        assert_eq!(servers(&self.0), [0; 0]);
    }

    fn cli(&self, words: &[&str]) -> Output {
        let name = self.0.name.to_string();
        Command::new(PROGRAM).args(["lab", "--name", &name]).args(words).output().unwrap()
    }

    /// TCP from one host to another, over both families.
    fn tcp(&self, from: &str, to: &str, port: u16, patience: Duration) -> [Ending; 2] {
        let to = Host::named(to).unwrap();
        let from = self.0.name.namespace(from);
        [false, true].map(|v6| {
            let to = (to.address(v6), port).into();
            namespace::run_in(&from, || probe::tcp(None, to, patience)).unwrap().unwrap().ending
        })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.down();
    }
}

/// Pids of the processes whose standard error is a log of this lab.
fn servers(lab: &Lab) -> Vec<u32> {
    let folder = lab.name.folder();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let log = fs::read_link(path.join("fd/2")).ok()?;
        log.starts_with(&folder).then(|| path.file_name()?.to_str()?.parse().ok())?
    });
    processes.collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_owned()).unwrap()
}

fn answered(by: &str) -> Ending {
    Ending::Answered { by: by.to_owned() }
}

#[test]
fn it_comes_whole_and_goes_whole() {
    let own = Own::new('a');
    let up = own.cli(&["up"]);
    assert!(up.status.success(), "{}", text(&up.stderr));
    let mut expected: Vec<String> = topology::parts().map(|part| own.0.name.namespace(part)).collect();
    expected.sort();
    assert_eq!(own.namespaces(), expected);
    let serving = HOSTS.iter().filter(|host| host.answers()).count();
    assert_eq!(servers(&own.0).len(), serving);
    let status = own.cli(&["status", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((json["up"].as_bool(), json["missing"].as_array().map(Vec::len)), (Some(true), Some(0)));

    let down = own.cli(&["down"]);
    assert!(down.status.success(), "{}", text(&down.stderr));
    assert_eq!(
        text(&down.stdout),
        format!(
            "lab {} is gone: {} namespaces removed, {serving} processes ended\n",
            own.0.name,
            expected.len()
        )
    );
    own.nothing_left();
    let again = own.cli(&["down"]);
    assert!(again.status.success());
    assert_eq!(text(&again.stdout), format!("lab {}: nothing was up\n", own.0.name));
}

#[test]
fn the_hosts_of_a_side_reach_each_other_and_nothing_crosses_without_a_gate() {
    let own = Own::up('b');
    let both = |ending: Ending| [ending.clone(), ending];
    assert_eq!(own.tcp("workstation", "partner", 443, PATIENCE), both(answered("partner 443")));
    assert_eq!(own.tcp("vault", "carddb", 5432, PATIENCE), both(answered("carddb 5432")));
    assert_eq!(own.tcp("payments", "vault", 443, BRIEF), both(Ending::TimedOut));
    assert_eq!(own.tcp("vault", "partner", 443, BRIEF), both(Ending::TimedOut));
}

#[test]
fn what_crosses_a_plain_bridge_is_whole() {
    let own = Own::up('c');
    let gate = own.0.host("gate").unwrap();
    let bridge = "ip link add bridge type bridge forward_delay 0 mcast_snooping 0 && \
                  ip link set outside master bridge && ip link set inside master bridge && \
                  ip link set bridge up";
    let made = namespace::run_in(&gate, || Command::new("sh").args(["-c", bridge]).status()).unwrap();
    assert!(made.unwrap().success());
    assert_eq!(own.tcp("payments", "vault", 443, PATIENCE), [answered("vault 443"), answered("vault 443")]);
    let vault = Host::named("vault").unwrap();
    let partner = own.0.host("partner").unwrap();
    for v6 in [false, true] {
        let to = (vault.address(v6), 443).into();
        let (ping, udp, fetched) = namespace::run_in(&partner, || {
            (
                probe::ping(None, vault.address(v6), PATIENCE).unwrap(),
                probe::udp(None, to, PATIENCE).unwrap(),
                probe::fetch(to, 3_000_000, 3, PATIENCE).unwrap(),
            )
        })
        .unwrap();
        assert_eq!((ping.ending, udp.ending), (answered(""), answered("vault 443")));
        assert_eq!((fetched.connections, fetched.bytes), (3, 9_000_000));
    }
}

#[test]
fn a_claimed_address_is_sent_from_and_answered_for_by_nobody() {
    let own = Own::up('d');
    let attacker = own.0.host("attacker").unwrap();
    let payments = Host::named("payments").unwrap();
    // The answer goes to payments, which refuses what it never asked for; the attacker hears nothing.
    for v6 in [false, true] {
        let to = (Host::named("workstation").unwrap().address(v6), 443).into();
        let claimed = payments.address(v6);
        let probe = namespace::run_in(&attacker, || probe::tcp(Some(claimed), to, BRIEF)).unwrap().unwrap();
        assert_eq!((probe.ending, probe.local.ip()), (Ending::TimedOut, claimed));
    }
    // Who was answered: the workstation asked for the claimed address, and payments alone said "me".
    for v6 in [false, true] {
        let wanted = format!("{} dev eth0 lladdr {} ", payments.address(v6), payments.mac);
        let mut believed = String::new();
        let right = wait_for(PATIENCE, || {
            believed = text(&own.cli(&["exec", "workstation", "--", "ip", "neigh", "show"]).stdout);
            believed.lines().any(|line| line.starts_with(&wanted))
        });
        assert!(right, "{wanted}: {believed}");
    }
}

#[test]
fn two_labs_stand_side_by_side() {
    let (one, two) = (Own::up('e'), Own::up('f'));
    assert_eq!(one.tcp("workstation", "partner", 443, PATIENCE)[0], answered("partner 443"));
    let removed = one.0.down().unwrap();
    assert_eq!(removed, Removed { namespaces: 11, processes: 5 });
    one.nothing_left();
    assert!(two.0.status().unwrap().up);
    assert_eq!(two.tcp("workstation", "partner", 443, PATIENCE)[0], answered("partner 443"));
}

#[test]
fn a_second_up_names_the_way_out_and_touches_nothing() {
    let own = Own::up('g');
    let before = (own.namespaces(), servers(&own.0));
    let again = own.cli(&["up"]);
    assert_eq!(again.status.code(), Some(2));
    let (said, name) = (text(&again.stderr), own.0.name.to_string());
    assert!(said.contains(&format!("`portcullis lab down --name {name}` removes it")), "{said}");
    assert_eq!((own.namespaces(), servers(&own.0)), before);
    assert!(own.0.status().unwrap().up);
}

#[test]
fn a_failed_start_leaves_nothing() {
    // Everything is there when the services turn out not to come up.
    for (letter, program) in [('h', "/nowhere/portcullis"), ('i', "/bin/true"), ('j', "/bin/echo")] {
        let own = Own::with(letter, program);
        let why = own.0.up().unwrap_err();
        assert!(matches!(why, Error::Process(_)), "{why}");
        own.nothing_left();
    }
}

#[test]
fn what_is_left_of_a_half_dead_lab_is_removed() {
    let own = Own::up('k');
    for pid in servers(&own.0) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    namespace::delete(&own.0.name.namespace("vault")).unwrap();
    let status = own.0.status().unwrap();
    assert_eq!((status.up, status.missing), (false, vec![own.0.name.namespace("vault")]));
    assert_eq!(own.cli(&["status"]).status.code(), Some(1));
    assert_eq!(own.0.down().unwrap().namespaces, 10);
    own.nothing_left();

    // A folder alone, and a namespace alone.
    fs::create_dir_all(own.0.name.folder().join("processes")).unwrap();
    assert!(matches!(own.0.up().unwrap_err(), Error::Standing { .. }));
    own.0.down().unwrap();
    own.nothing_left();
    namespace::add(&own.0.name.namespace("jump")).unwrap();
    assert!(matches!(own.0.up().unwrap_err(), Error::Standing { .. }));
    own.0.down().unwrap();
    own.nothing_left();
}

#[test]
fn a_command_runs_where_it_is_told_to() {
    let own = Own::up('l');
    let links = own.cli(&["exec", "vault", "--", "ip", "-br", "address", "show", "eth0"]);
    let links = text(&links.stdout);
    assert!(links.contains("10.20.0.10/24") && links.contains("2001:db8:20::10/64"), "{links}");
    assert_eq!(own.cli(&["exec", "vault", "--", "sh", "-c", "exit 7"]).status.code(), Some(7));
    assert_eq!(own.cli(&["exec", "vault", "--", "sh", "-c", "kill -9 $$"]).status.code(), Some(137));
    let nobody = own.cli(&["exec", "nobody", "--", "true"]);
    assert_eq!(nobody.status.code(), Some(2));
    assert!(text(&nobody.stderr).contains("no host nobody in a lab; there are gate, out, in, payments"));
    // What is run is on record while it runs, and no longer.
    let servers = own.0.status().unwrap().processes.len();
    assert_eq!(servers, 5);
}

#[test]
fn what_exec_started_ends_with_the_lab() {
    let own = Own::up('m');
    let name = own.0.name.to_string();
    let mut sleeper = Command::new(PROGRAM)
        .args(["lab", "--name", &name, "exec", "jump", "--", "sleep", "600"])
        .spawn()
        .unwrap();
    let there = || own.0.status().unwrap().processes.iter().any(|entry| entry.what == "sleep on jump");
    assert!(wait_for(PATIENCE, there));
    assert_eq!(own.0.down().unwrap().processes, 6);
    own.nothing_left();
    assert_eq!(sleeper.wait().unwrap().code(), Some(128 + 15));
}

#[test]
fn exec_in_a_lab_that_is_not_up_says_how_to_raise_it() {
    let own = Own::new('n');
    let done = own.cli(&["exec", "vault", "--", "true"]);
    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done.stderr).contains("`portcullis lab up --name"), "{}", text(&done.stderr));
    own.nothing_left();
}

#[test]
fn offloads_of_the_hosts_are_off() {
    let own = Own::up('o');
    for host in &HOSTS {
        let features = text(&own.cli(&["exec", host.name, "--", "ethtool", "-k", "eth0"]).stdout);
        for feature in ["tx-checksumming", "tcp-segmentation-offload", "rx-vlan-offload", "tx-vlan-offload"]
        {
            let line = features.lines().find(|line| line.starts_with(feature)).unwrap();
            assert_eq!(line, format!("{feature}: off"), "{}", host.name);
        }
    }
    for switch in ["out", "in"] {
        let features = text(&own.cli(&["exec", switch, "--", "ethtool", "-k", "uplink"]).stdout);
        assert!(features.contains("generic-receive-offload: on"), "{switch}");
        for feature in ["tx-checksumming", "tx-vlan-offload", "tx-vlan-stag-hw-insert"] {
            let line = features.lines().find(|line| line.starts_with(feature)).unwrap();
            assert_eq!(line, format!("{feature}: off"), "{switch}");
        }
    }
}

#[test]
fn without_root_it_says_so() {
    let refused = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", PROGRAM, "lab", "up"])
        .output()
        .unwrap();
    // The program itself may lie where nobody else may look; then there is nothing to try.
    if refused.status.code() == Some(127) || refused.status.code() == Some(126) {
        return;
    }
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("a lab needs root"), "{}", text(&refused.stderr));
}

//! The demo on real AF_XDP sockets: everything as promised, and a dead gate does not pass.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use portcullis::lab::demo::{ATTEMPTS, Promise};
use portcullis::lab::namespace;
use portcullis::lab::process::wait_for;
use rustix::process::{Pid, Signal, kill_process};

use crate::own::{Own, PROGRAM};

const START: Duration = Duration::from_secs(30);

/// A demo under way, whose lab is removed with the value whatever happens.
struct Demo {
    child: Option<Child>,
    own: Own,
}

impl Demo {
    fn start(letter: char) -> Self {
        let own = Own::new(letter);
        let child = demo(&own).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child: Some(child), own }
    }

    fn end(&mut self) -> Output {
        self.child.take().unwrap().wait_with_output().unwrap()
    }

    /// The page up to the first line that holds `words`.
    fn until(&mut self, words: &str) -> String {
        let out = self.child.as_mut().unwrap().stdout.as_mut().unwrap();
        let mut page = Vec::new();
        let mut byte = [0];
        while out.read(&mut byte).unwrap() == 1 {
            page.push(byte[0]);
            if byte == *b"\n" && String::from_utf8_lossy(&page).contains(words) {
                return String::from_utf8(page).unwrap();
            }
        }
        panic!("{}", String::from_utf8_lossy(&page));
    }

    /// The pid of the gate, once it answers.
    fn gate(&self) -> Pid {
        let mut pid = None;
        let found = wait_for(START, || {
            let processes = self.own.0.status().unwrap().processes;
            pid = processes.iter().find(|entry| entry.what == "the gate").map(|entry| entry.pid);
            pid.is_some()
        });
        assert!(found, "no gate within {START:?}");
        Pid::from_raw(pid.unwrap()).unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The verb, for this lab, with the policy of the sources.
fn demo(own: &Own) -> Command {
    let mut verb = Command::new(PROGRAM);
    verb.args(["lab", "--name", &own.0.name.to_string(), "demo"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    verb
}

/// What gates in the namespace with this inode left behind.
fn remains(inode: u64) -> Vec<String> {
    let mut names = Vec::new();
    for folder in ["/sys/fs/bpf/portcullis", "/run/portcullis"] {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        let entries = entries.map(|entry| entry.unwrap().path().display().to_string());
        names.extend(entries.filter(|path| path.ends_with(&format!("-{inode}"))));
    }
    names
}

#[test]
fn everything_is_as_promised() {
    let mut demo = Demo::start('p');
    let mut page = demo.until("promised");
    let inode = fs::metadata(namespace::path(&demo.own.0.name.namespace("gate"))).unwrap().ino();
    assert_eq!(remains(inode).len(), 2);
    let output = demo.end();
    page.push_str(&String::from_utf8(output.stdout).unwrap());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{page}\n{said}");
    assert_eq!(page.lines().filter(|line| line.starts_with('✔')).count(), ATTEMPTS.len(), "{page}");
    let last = page.lines().last().unwrap();
    let kept = format!("{0} of {0} as promised. ", ATTEMPTS.len());
    assert!(last.starts_with(&kept) && last.ends_with(", every one accounted for."), "{last}");
    // X packets received = Y forwarded + Z dropped + R rejected, and something of each.
    let numbers: String = last.chars().skip(kept.chars().count()).filter(|c| !c.is_whitespace()).collect();
    let numbers: Vec<u64> = numbers
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().unwrap())
        .collect();
    let &[rx, forwarded, dropped, rejected] = numbers.as_slice() else { panic!("{last}") };
    assert_eq!(rx, forwarded + dropped + rejected);
    let denied = ATTEMPTS.iter().filter(|a| matches!(a.promise, Promise::Deny(_))).count() as u64;
    assert!(dropped >= denied && forwarded > dropped, "{last}");
    demo.own.nothing_left();
    assert_eq!(remains(inode), [""; 0]);
}

#[test]
fn a_gate_that_dies_first_does_not_pass() {
    let mut demo = Demo::start('q');
    let gate = demo.gate();
    demo.until("promised");
    let inode = fs::metadata(namespace::path(&demo.own.0.name.namespace("gate"))).unwrap().ino();
    kill_process(gate, Signal::KILL).unwrap();
    let output = demo.end();
    let page = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{page}\n{}", String::from_utf8_lossy(&output.stderr));
    // Silence alone is no denial: no row of a denied attempt counts.
    let denied = page.lines().filter(|line| line.starts_with('✔') && line.contains(" deny "));
    assert_eq!(denied.count(), 0, "{page}");
    assert!(page.contains("The gate does not tell its counts"), "{page}");
    demo.own.nothing_left();
    assert_eq!(remains(inode), [""; 0]);
}

#[test]
fn an_interrupt_takes_the_lab_away() {
    let mut demo = Demo::start('r');
    demo.until("promised");
    let pid = Pid::from_child(demo.child.as_ref().unwrap());
    kill_process(pid, Signal::INT).unwrap();
    let output = demo.end();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("stopped; the lab is gone"), "{said}");
    demo.own.nothing_left();
}

#[test]
fn a_policy_that_is_not_there_is_named() {
    let own = Own::new('s');
    let refused = demo(&own).args(["--policy", "/nowhere/gate.toml"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("no policy at /nowhere/gate.toml"), "{said}");
    own.nothing_left();
}

#[test]
fn a_gate_that_does_not_come_up_tells_why_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("gate.toml");
    fs::write(&policy, "parts = 1\n").unwrap();
    let own = Own::new('t');
    let refused = demo(&own).arg("--policy").arg(&policy).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("the gate does not come up: it ended") && said.contains("gate.toml:1"), "{said}");
    own.nothing_left();
}

#[test]
fn a_gate_elsewhere_is_asked_by_a_command() {
    let own = Own::up('u');
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("gate.sock");
    let ask = format!("exec '{PROGRAM}' \"$@\" --socket '{}'", socket.display());
    let through = || own.cli(&["try", "--", "sh", "-c", &ask, "sh"]);
    let nobody = through();
    assert_eq!(nobody.status.code(), Some(2));
    let said = String::from_utf8(nobody.stderr).unwrap();
    assert!(
        said.contains("the gate does not answer: sh -c ") && said.contains("no gate is running"),
        "{said}"
    );

    // Between the switches, and none of the lab's own.
    let place = own.0.name.namespace("gate");
    let mut run = Command::new(PROGRAM);
    run.args([
        "run",
        "--policy",
        concat!(env!("CARGO_MANIFEST_DIR"), "/configs/lab/gate.toml"),
        "--socket",
    ]);
    run.arg(&socket).stdout(Stdio::null()).stderr(Stdio::null());
    let gate = namespace::run_in(&place, || run.spawn().unwrap()).unwrap();
    let up = wait_for(START, || socket.exists());
    let tried = through();
    let page = String::from_utf8(tried.stdout).unwrap();
    kill_process(Pid::from_child(&gate), Signal::KILL).unwrap();
    gate.wait_with_output().unwrap();
    assert!(up);
    assert_eq!(tried.status.code(), Some(0), "{page}\n{}", String::from_utf8_lossy(&tried.stderr));
    assert!(page.contains(&format!("{0} of {0} as promised. ", ATTEMPTS.len())), "{page}");
    // The lab stays.
    assert!(own.0.status().unwrap().up);
    assert_eq!(through().status.code(), Some(2));
}

//! The processes a lab started, on record, so that they and no others are ended.
//!
//! One file a process in `processes/` of the lab's folder: named by the pid, holding the start time that
//! `/proc/PID/stat` gives and what the process is. A pid used again by somebody else has another start
//! time.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// What can go wrong with a process.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It did not start.
    #[error("{0} can't be started: {1}")]
    Start(String, io::Error),
    /// The record can't be kept.
    #[error("the record of processes in {0}: {1}")]
    Record(PathBuf, io::Error),
    /// A process does not end.
    #[error("process {0} does not end, not even by SIGKILL")]
    Stays(i32),
    /// It ended before it was ready, or never said so.
    #[error("{0} is not ready: {1}")]
    NotReady(String, String),
}

/// How long a process may take to end on SIGTERM, and again on SIGKILL.
const GRACE: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(10);

/// Waits until `done`, looking every 10 ms, for about `limit`.
pub fn wait_for(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let mut left = limit;
    loop {
        if done() {
            return true;
        }
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(STEP);
        left = left.saturating_sub(STEP);
    }
}

/// The record of one lab.
#[derive(Clone, Debug)]
pub struct Record {
    folder: PathBuf,
}

/// One process on record.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Entry {
    /// Its process id.
    pub pid: i32,
    /// When it started, in clock ticks after boot.
    pub started: u64,
    /// What it is: `services of vault`.
    pub what: String,
}

impl Record {
    /// The record in a lab's folder.
    #[must_use]
    pub fn of(lab: &Path) -> Self {
        Self { folder: lab.join("processes") }
    }

    fn failed(&self, why: io::Error) -> Error {
        Error::Record(self.folder.clone(), why)
    }

    /// Starts a process in the caller's namespace and puts it on record as `what`.
    ///
    /// # Errors
    /// It does not start, or can't be put on record; then it has been ended.
    pub fn start(&self, what: &str, command: &mut Command) -> Result<Child, Error> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().map_err(|e| Error::Start(program, e))?;
        match self.add(what, &child) {
            Ok(()) => Ok(child),
            Err(why) => {
                // Either may fail only because it has ended already.
                let _ = child.kill();
                let _ = child.wait();
                Err(why)
            }
        }
    }

    fn add(&self, what: &str, child: &Child) -> Result<(), Error> {
        let pid = i32::try_from(child.id()).map_err(|_| self.failed(io::ErrorKind::InvalidData.into()))?;
        let Some(started) = start_time(pid) else { return Ok(()) };
        fs::create_dir_all(&self.folder).map_err(|e| self.failed(e))?;
        let text = format!("{started} {what}\n");
        fs::write(self.folder.join(pid.to_string()), text).map_err(|e| self.failed(e))
    }

    /// Takes a process off the record, after its end.
    pub fn forget(&self, child: &Child) {
        // A file that is gone already is what is wanted.
        let _ = fs::remove_file(self.folder.join(child.id().to_string()));
    }

    /// Everything on record that is still alive.
    ///
    /// # Errors
    /// The record can't be read.
    pub fn alive(&self) -> Result<Vec<Entry>, Error> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(self.failed(e)),
        };
        let mut alive = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| self.failed(e))?.path();
            let pid = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok());
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                // Taken off by its owner in between.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(self.failed(e)),
            };
            let Some((started, what)) = text.trim_end().split_once(' ') else { continue };
            if let (Some(pid), Ok(started)) = (pid, started.parse()) {
                let entry = Entry { pid, started, what: what.to_owned() };
                if entry.lives() {
                    alive.push(entry);
                }
            }
        }
        alive.sort_by_key(|entry| entry.pid);
        Ok(alive)
    }

    /// Ends everything on record, and whatever else lives in the lab's own `namespaces`: a command that
    /// `exec` ran may have left another one in the background.
    ///
    /// # Errors
    /// The record can't be read, or a process stays.
    pub fn end_all(&self, namespaces: &[String]) -> Result<usize, Error> {
        let mut alive = self.alive()?;
        alive.extend(namespaces.iter().flat_map(|name| inside(name)));
        alive.sort_by_key(|entry| entry.pid);
        alive.dedup_by_key(|entry| entry.pid);
        for signal in [Signal::TERM, Signal::KILL] {
            for entry in &alive {
                entry.send(signal);
            }
            if wait_for(GRACE, || !alive.iter().any(Entry::lives)) {
                return Ok(alive.len());
            }
        }
        alive
            .iter()
            .find(|entry| entry.lives())
            .map_or(Ok(alive.len()), |entry| Err(Error::Stays(entry.pid)))
    }
}

impl Entry {
    fn lives(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    fn send(&self, signal: Signal) {
        // The pidfd is opened before the start time is compared: it can't come to mean another process.
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        if self.lives() {
            // It may end by itself at any moment; whether it did is looked at afterwards.
            let _ = pidfd_send_signal(process, signal);
        }
    }
}

/// The processes that live in a network namespace.
fn inside(namespace: &str) -> Vec<Entry> {
    let Ok(home) = fs::metadata(super::namespace::path(namespace)) else { return Vec::new() };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let there = fs::metadata(format!("/proc/{pid}/ns/net")).ok()?;
        let same = (there.dev(), there.ino()) == (home.dev(), home.ino());
        let started = start_time(pid)?;
        same.then(|| Entry { pid, started, what: format!("a process in {namespace}") })
    })
    .collect()
}

/// Start time of a process that has not ended, in clock ticks after boot (proc(5), field 22). A zombie has
/// ended, unless threads of it are still on their way out: they hold its files, and locks with them.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command may hold spaces and parentheses: fields are counted from its last one.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let dead = matches!(fields.next()?, "Z" | "X");
    if dead && fs::read_dir(format!("/proc/{pid}/task")).ok()?.count() <= 1 {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Waits for the line `ready` on a child's standard output, for at most `limit`.
///
/// # Errors
/// What it said or how it ended instead.
pub fn wait_ready(child: &mut Child, name: &str, limit: Duration) -> Result<(), Error> {
    let not = |words: String| Error::NotReady(name.to_owned(), words);
    let Some(mut pipe) = child.stdout.take() else {
        return Err(not("it has no standard output".to_owned()));
    };
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = Vec::new();
        let mut byte = [0];
        while line.len() < 200 && matches!(pipe.read(&mut byte), Ok(1)) && byte != *b"\n" {
            line.extend_from_slice(&byte);
        }
        // The receiver has gone when its time was over.
        let _ = tell.send(String::from_utf8_lossy(&line).into_owned());
    });
    match told.recv_timeout(limit) {
        Ok(line) if line == "ready" => Ok(()),
        Ok(line) => Err(not(format!("it said {line:?}"))),
        Err(_) => Err(not(format!("not a word for {limit:?}"))),
    }
}

/// The last lines of a text.
#[must_use]
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn only_what_is_on_record_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record::of(folder.path());
        assert_eq!(record.alive().unwrap(), []);
        let mut ours = record.start("ours", Command::new("sleep").arg("60")).unwrap();
        let mut others = Command::new("sleep").arg("60").spawn().unwrap();
        // A pid on record whose start time is another's.
        fs::write(folder.path().join("processes").join(others.id().to_string()), "1 theirs").unwrap();
        assert_eq!(record.alive().unwrap().iter().map(|e| e.what.as_str()).collect::<Vec<_>>(), ["ours"]);
        assert_eq!(record.end_all(&[]).unwrap(), 1);
        assert_eq!(record.alive().unwrap(), []);
        assert!(!ours.wait().unwrap().success());
        assert!(others.try_wait().unwrap().is_none());
        others.kill().unwrap();
        others.wait().unwrap();
    }

    #[test]
    fn a_process_that_ends_is_no_longer_alive() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record::of(folder.path());
        let mut child =
            record.start("it", Command::new("cat").stdin(std::process::Stdio::piped())).unwrap();
        assert_eq!(record.alive().unwrap().len(), 1);
        drop(child.stdin.take());
        assert!(wait_for(GRACE, || record.alive().unwrap().is_empty()));
        child.wait().unwrap();
        record.forget(&child);
        assert_eq!(fs::read_dir(folder.path().join("processes")).unwrap().count(), 0);
    }

    #[test]
    fn readiness_is_a_word_within_a_bound() {
        let say =
            |words: &str| Command::new("sh").args(["-c", words]).stdout(Stdio::piped()).spawn().unwrap();
        for (script, good) in
            [("echo ready", true), ("echo no", false), ("true", false), ("exec sleep 5", false)]
        {
            let mut child = say(script);
            assert_eq!(wait_ready(&mut child, "it", Duration::from_millis(300)).is_ok(), good, "{script}");
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    #[test]
    fn the_end_of_a_log() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a\n", 2), "a");
        assert_eq!(last_lines("", 2), "");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error =
            Record::of(folder.path()).start("it", &mut Command::new("/nowhere/at-all")).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/at-all can't be started"));
    }
}

//! The devices under test, each between the same two veth ends.
//!
//! Invariant: one stands at a time, and what is dropped leaves the namespace as it was found. Where work
//! runs: the generator, its veth's reception and so every kernel program on `outside` on core 0; the
//! device's own thread, and in its transmit kick the sink's reception, on the last. A bridge has no thread:
//! all of it is core 0's, unless a kernel thread is told to poll its first port ([`Place::polls`]).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::records::Kind;

/// Why a device does not stand.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    /// A command of the system failed.
    #[error("{command}: {what}")]
    Command {
        /// Which.
        command: String,
        /// What it said.
        what: String,
    },
    /// The program did not come up.
    #[error("{program} is not up after {seconds} s: see {log}")]
    NotUp {
        /// Which.
        program: String,
        /// How long it had.
        seconds: u64,
        /// Where it wrote.
        log: String,
    },
    /// A file cannot be written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Where devices stand and what they are started from.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Namespace with `outside` and `inside`.
    pub(crate) namespace: String,
    /// The `portcullis` binary.
    pub(crate) gate: PathBuf,
    /// The forwarder.
    pub(crate) forwarder: PathBuf,
    /// The gate's policy, `@DEPTH@` in it stands for the ring depth.
    pub(crate) policy: PathBuf,
    /// Logs and the policy as run go here.
    pub(crate) directory: PathBuf,
    /// The device's core.
    pub(crate) core: usize,
    /// The core of a kernel thread that polls a bridge's first port; `None`: whoever sends there polls it.
    pub(crate) polls: Option<usize>,
}

/// The bridge's name.
const BRIDGE: &str = "pcb-bridge";

/// How long a device may take to come up or to go.
const PATIENCE: Duration = Duration::from_secs(20);

/// A device that stands. Dropping it takes it away.
#[derive(Debug)]
pub(crate) struct Device {
    kind: Kind,
    place: Place,
    child: Option<Child>,
    policy: PathBuf,
}

impl Device {
    /// Raises a device with a bound on the frames in flight in each direction.
    ///
    /// # Errors
    /// It does not come up.
    pub(crate) fn raise(kind: Kind, depth: u32, place: &Place) -> Result<Self, DeviceError> {
        let policy = place.directory.join("gate.toml");
        let mut device = Self { kind, place: place.clone(), child: None, policy };
        match kind {
            Kind::Bridge => device.bridge()?,
            Kind::Forwarder => {
                let mut command = place.command(&place.forwarder);
                command.args(["--outside", "outside", "--inside", "inside"]);
                command.arg("--frames").arg(depth.to_string()).arg("--core").arg(place.core.to_string());
                device.start(command, "forwarder", "up:")?;
            }
            Kind::Gate => {
                device.write_policy(depth)?;
                let mut command = place.command(&place.gate);
                command.arg("run").arg("--policy").arg(&device.policy);
                command.arg("--socket").arg(place.socket());
                device.start(command, "gate", "protects")?;
            }
        }
        Ok(device)
    }

    /// Its process; 0 where it is the kernel's.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    fn bridge(&self) -> Result<(), DeviceError> {
        let ip = |line: &str| self.place.system("ip", line);
        ip(&format!("link add {BRIDGE} type bridge mcast_snooping 0 stp_state 0"))?;
        ip(&format!("link set {BRIDGE} addrgenmode none arp off multicast off up"))?;
        for port in ["outside", "inside"] {
            // A frame redirected into a veth vanishes unless its peer polls.
            self.place.system("ethtool", &format!("-K {port} gro on"))?;
            ip(&format!("link set {port} master {BRIDGE}"))?;
        }
        let mac = crate::traffic::ENDS.destination_mac.map(|b| format!("{b:02x}")).join(":");
        self.place.system("bridge", &format!("fdb add {mac} dev inside master static"))?;
        match self.place.polls {
            Some(core) => self.place.poll_on(core),
            None => Ok(()),
        }
    }

    fn write_policy(&self, depth: u32) -> Result<(), DeviceError> {
        let file = |path: &Path, source| DeviceError::File { path: path.display().to_string(), source };
        let text = std::fs::read_to_string(&self.place.policy).map_err(|e| file(&self.place.policy, e))?;
        std::fs::write(&self.policy, text.replace("\"@DEPTH@\"", &depth.to_string()))
            .map_err(|e| file(&self.policy, e))
    }

    fn start(&mut self, mut command: Command, name: &str, up: &str) -> Result<(), DeviceError> {
        let path = self.place.directory.join(format!("{name}.log"));
        let log = File::create(&path).and_then(|f| Ok((f.try_clone()?, f)));
        let (out, err) =
            log.map_err(|source| DeviceError::File { path: path.display().to_string(), source })?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let not_up = || DeviceError::NotUp {
            program: name.to_owned(),
            seconds: PATIENCE.as_secs(),
            log: path.display().to_string(),
        };
        self.child = Some(child.map_err(|_| not_up())?);
        let came_up = wait(|| {
            let ended = self.child.as_mut().is_none_or(|c| !matches!(c.try_wait(), Ok(None)));
            let said = std::fs::read_to_string(&path).is_ok_and(|t| t.contains(up));
            (said || ended).then_some(said)
        });
        if came_up == Some(true) { Ok(()) } else { Err(not_up()) }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::TERM);
            }
            if wait(|| (!matches!(child.try_wait(), Ok(None))).then_some(())).is_none() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        match self.kind {
            Kind::Gate => {
                let mut release = self.place.command(&self.place.gate);
                release.arg("release").arg("--policy").arg(&self.policy);
                let _ = release.stdout(Stdio::null()).stderr(Stdio::null()).status();
            }
            Kind::Forwarder => {}
            Kind::Bridge => {
                if self.place.polls.is_some() {
                    let _ = self.place.threaded(false);
                }
                let _ = self.place.system("ip", &format!("link del {BRIDGE}"));
                for port in ["outside", "inside"] {
                    let _ = self.place.system("ethtool", &format!("-K {port} gro off"));
                }
            }
        }
    }
}

impl Place {
    /// Where a gate's API listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("gate.sock")
    }

    /// A program that will run inside the namespace; `nsenter` becomes it, so its pid is the program's.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace)).arg(program);
        command
    }

    /// Has `outside` polled by a kernel thread on this core.
    fn poll_on(&self, core: usize) -> Result<(), DeviceError> {
        let before = pollers();
        self.threaded(true)?;
        let failed = |what| DeviceError::Command { command: "poll outside by a thread".to_owned(), what };
        let new: Vec<Pid> = pollers().into_iter().filter(|pid| !before.contains(pid)).collect();
        let [poller] = new[..] else {
            return Err(failed(format!("{} threads came up for it", new.len())));
        };
        let mut cores = CpuSet::new();
        cores.set(core);
        sched_setaffinity(Some(poller), &cores).map_err(|errno| failed(errno.to_string()))
    }

    /// Only a file of sysfs, and only one mounted inside the namespace, has this switch everywhere (netlink's
    /// `napi-set` knows it since Linux 6.17).
    fn threaded(&self, on: bool) -> Result<(), DeviceError> {
        let script =
            format!("mount -t sysfs sysfs /sys && echo {} > /sys/class/net/outside/threaded", u8::from(on));
        self.run("unshare", &["--mount", "sh", "-c", &script])
    }

    fn system(&self, program: &str, line: &str) -> Result<(), DeviceError> {
        self.run(program, &line.split_whitespace().collect::<Vec<_>>())
    }

    fn run(&self, program: &str, words: &[&str]) -> Result<(), DeviceError> {
        let failed =
            |what| DeviceError::Command { command: format!("{program} {}", words.join(" ")), what };
        let done =
            self.command(Path::new(program)).args(words).output().map_err(|e| failed(e.to_string()))?;
        if done.status.success() {
            Ok(())
        } else {
            Err(failed(String::from_utf8_lossy(&done.stderr).trim().to_owned()))
        }
    }
}

/// The kernel threads that poll a port of this name.
fn pollers() -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let named = processes.filter(|process| {
        std::fs::read_to_string(process.path().join("comm"))
            .is_ok_and(|comm| comm.starts_with("napi/outside-"))
    });
    named.filter_map(|process| Pid::from_raw(process.file_name().to_str()?.parse().ok()?)).collect()
}

/// Asks every 10 ms until there is an answer, at most [`PATIENCE`].
fn wait<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..PATIENCE.as_millis() / 10 {
        let answer = ask();
        if answer.is_some() {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

//! A lab as a whole: up, down, status, exec.
//!
//! The lab's folder under /run/portcullis is made first and exclusively, so of two `up` at once one
//! stops before it has touched anything. From there on an error undoes everything.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use super::ground::Ground;
use super::link::{self, Peer};
use super::process::{self, Entry, Record};
use super::topology::{self, GATE, HOSTS, Host, switch};
use super::{LabName, namespace};
use crate::gateway::{self, Place, PlaceError};
use crate::wire::Side;

/// What can go wrong with a lab.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not root.
    #[error("a lab needs root: it makes network namespaces. Try again with sudo")]
    NotRoot,
    /// It stands already, or remains of it do.
    #[error("a lab named {name} is there already ({what}); `portcullis lab down --name {name}` removes it")]
    Standing {
        /// The lab.
        name: LabName,
        /// What was found of it.
        what: String,
    },
    /// There is no such lab.
    #[error("there is no lab named {0}; `portcullis lab up --name {0}` raises it")]
    NotUp(LabName),
    /// There is no such host in it.
    #[error("no host {0} in a lab; there are {1}")]
    NoHost(String, String),
    /// Its folder.
    #[error("{0}: {1}")]
    Folder(PathBuf, io::Error),
    /// The namespace of its gate can't be told from others.
    #[error(transparent)]
    Ground(PlaceError),
    /// A namespace.
    #[error(transparent)]
    Namespace(#[from] namespace::Error),
    /// An interface.
    #[error("in {0}: {1}")]
    Link(String, link::Error),
    /// Its interfaces do not become ready.
    #[error("the interfaces of {0} are up and carry nothing; `dmesg` may say why")]
    NotReady(String),
    /// A process.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// What gates left on their ports can't be told.
    #[error("the wires of {0} can't be told: {1}")]
    Wires(String, PlaceError),
    /// What a gate left on its ports could not be taken off.
    #[error("wire {0} can't be released: {1}")]
    Release(String, gateway::ReleaseError),
}

/// A lab and the program that serves in it.
#[derive(Clone, Debug)]
pub struct Lab {
    /// Its name.
    pub name: LabName,
    /// The portcullis binary, started as `PROGRAM lab serve …` on the hosts.
    pub program: PathBuf,
    /// Queues of each port of the gate: each end of these links has so many.
    pub queues: u32,
}

/// What is there of a lab.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Everything is there.
    pub up: bool,
    /// Namespaces that are there.
    pub namespaces: Vec<String>,
    /// Namespaces that are missing.
    pub missing: Vec<String>,
    /// What else is not as it should be, a sentence each.
    pub broken: Vec<String>,
    /// Processes it started that are alive.
    pub processes: Vec<Entry>,
}

/// What `down` found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Namespaces removed.
    pub namespaces: usize,
    /// Processes ended.
    pub processes: usize,
    /// Wires of gates released.
    pub wires: usize,
}

/// How long interfaces may take to carry frames, and the services of a host to listen.
const READY: Duration = Duration::from_secs(10);

fn services_of(host: &Host) -> String {
    format!("services of {}", host.name)
}

fn root() -> Result<(), Error> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(Error::NotRoot) }
}

impl Lab {
    /// The record of its processes.
    #[must_use]
    pub fn record(&self) -> Record {
        Record::of(&self.name.folder())
    }

    fn present(&self) -> Vec<String> {
        topology::parts().map(|part| self.name.namespace(part)).filter(|n| namespace::exists(n)).collect()
    }

    /// Raises it: namespaces, switches, hosts, and the services on them.
    ///
    /// # Errors
    /// Nothing of it is left then, except where it stood before.
    pub fn up(&self) -> Result<(), Error> {
        root()?;
        let standing = |what: String| Error::Standing { name: self.name.clone(), what };
        if let Some(found) = self.present().first() {
            return Err(standing(format!("namespace {found}")));
        }
        let folder = self.name.folder();
        let failed = |e| Error::Folder(folder.clone(), e);
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        match fs::create_dir(&folder) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(standing(folder.display().to_string()));
            }
            Err(e) => return Err(failed(e)),
        }
        self.raise().inspect_err(|_| {
            // The first error is the one to tell; `lab down` meets what would be left here again.
            let _ = self.down();
        })
    }

    fn raise(&self) -> Result<(), Error> {
        for part in topology::parts() {
            namespace::add(&self.name.namespace(part))?;
        }
        namespace::run_in(&self.name.namespace(GATE), Ground::here)?
            .map_err(Error::Ground)?
            .write(&self.name.folder())
            .map_err(|(file, error)| Error::Folder(file, error))?;
        self.inside(GATE, silent)?;
        for side in Side::BOTH {
            self.wire_up(side)?;
        }
        for host in &HOSTS {
            self.host_up(host)?;
        }
        self.inside(GATE, || {
            link::with(async |links| {
                links.up("lo").await?;
                links.up(Side::Outside.name()).await?;
                links.up(Side::Inside.name()).await
            })
        })?;
        self.wait_ready()?;
        HOSTS.iter().try_for_each(|host| self.serve(host))
    }

    // Carrier, bridge and IPv6 follow the links by themselves; what is sent before that is lost.
    fn wait_ready(&self) -> Result<(), Error> {
        for part in topology::parts() {
            let mut ready = Ok(false);
            process::wait_for(READY, || {
                let v6 = Host::named(part).is_some();
                ready = self.inside(part, || link::with(async |links| links.ready(v6).await));
                !matches!(ready, Ok(false))
            });
            if !ready? {
                return Err(Error::NotReady(self.name.namespace(part)));
            }
        }
        Ok(())
    }

    fn inside<T: Send>(
        &self,
        part: &str,
        work: impl FnOnce() -> Result<T, link::Error> + Send,
    ) -> Result<T, Error> {
        let name = self.name.namespace(part);
        namespace::run_in(&name, work)?.map_err(|e| Error::Link(name, e))
    }

    // The switch of one side, with its uplink to the gate.
    fn wire_up(&self, side: Side) -> Result<(), Error> {
        let gate = self.name.namespace(GATE);
        self.inside(switch(side), || {
            silent()?;
            link::with(async |links| {
                links.bridge("bridge").await?;
                let port = Peer { namespace: &gate, name: side.name(), mac: None };
                links.veth("uplink", "bridge", &port, self.queues).await?;
                links.up("uplink").await
            })?;
            // A redirect into a veth vanishes unless the other end runs NAPI. A tag that the kernel carries
            // beside the frame would never reach the gate: it has to be put back before the veth.
            let offloads = ["gro", "on", "tx", "off", "txvlan", "off", "tx-vlan-stag-hw-insert", "off"];
            link::offloads("uplink", &offloads)
        })
    }

    fn host_up(&self, host: &Host) -> Result<(), Error> {
        let namespace = self.name.namespace(host.name);
        self.inside(host.name, || {
            quiet()?;
            // Claimed addresses stand on lo: no ARP is answered for them, none is asked with them.
            link::setting("ipv4/conf/all/arp_ignore", "1")?;
            link::setting("ipv4/conf/all/arp_announce", "2")?;
            link::setting("ipv4/conf/all/rp_filter", "0")?;
            link::setting("ipv4/conf/default/rp_filter", "0")
        })?;
        self.inside(switch(host.side), || {
            link::with(async |links| {
                let port = Peer { namespace: &namespace, name: "eth0", mac: Some(host.mac) };
                links.veth(host.name, "bridge", &port, 1).await?;
                links.up(host.name).await
            })
        })?;
        self.inside(host.name, || {
            // Checksums are made here and not by the next device: AF_XDP loses what says they are missing.
            let off = ["tx", "off", "tso", "off", "gso", "off", "rxvlan", "off", "txvlan", "off"];
            link::offloads("eth0", &off)?;
            link::with(async |links| {
                links.up("lo").await?;
                links.up("eth0").await?;
                links.address("eth0", IpAddr::V4(host.v4), 24).await?;
                links.address("eth0", IpAddr::V6(host.v6), 64).await?;
                for claim in host.claims {
                    links.address("lo", *claim, if claim.is_ipv4() { 32 } else { 128 }).await?;
                }
                links.everything_on_link("eth0").await
            })
        })
    }

    // Starts the services of a host and waits until they listen.
    fn serve(&self, host: &Host) -> Result<(), Error> {
        if !host.answers() {
            return Ok(());
        }
        let mut command = Command::new(&self.program);
        command.args(["lab", "serve", "--host", host.name]);
        for port in host.tcp {
            command.args(["--tcp", &port.to_string()]);
        }
        for port in host.udp {
            command.args(["--udp", &port.to_string()]);
        }
        let log = self.name.folder().join(format!("{}.log", host.name));
        let log = fs::File::create(&log).map_err(|e| Error::Folder(log, e))?;
        // A group of its own: an interrupt at the terminal is not for the hosts.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).process_group(0);
        let started = namespace::run_in(&self.name.namespace(host.name), || {
            let mut child = self.record().start(&services_of(host), &mut command)?;
            process::wait_ready(&mut child, &services_of(host), READY)
        })?;
        Ok(started?)
    }

    /// Removes it, whole or half: processes it started, what the gate left, namespaces, its folder. What
    /// lives in the gate's namespace and what gates left in it goes also when its name was removed by hand.
    ///
    /// # Errors
    /// What could not be removed; the rest is.
    pub fn down(&self) -> Result<Removed, Error> {
        root()?;
        let folder = self.name.folder();
        let ground = self.nameless();
        let mut places = self.present();
        places.extend(ground.and_then(Ground::hidden));
        let ended = self.record().end_all(&places);
        let released = self.release();
        let mut namespaces = 0;
        let mut first = None;
        for name in self.present() {
            match namespace::delete(&name) {
                Ok(()) => namespaces += 1,
                Err(why) => first = first.or(Some(Error::from(why))),
            }
        }
        let processes = ended?;
        let mut wires = released?;
        // Whoever has that inode now is somebody else, whose own start clears what is stale.
        if let Some(ground) = ground.filter(|ground| ground.is_gone()) {
            let failed = |e| Error::Release(format!("of namespace {}", ground.namespace), e);
            wires += gateway::abandon(ground.namespace).map_err(failed)?;
        }
        if let Some(why) = first {
            return Err(why);
        }
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::Folder(folder, e)),
            Ok(()) | Err(_) => Ok(Removed { namespaces, processes, wires }),
        }
    }

    // Where the gate stood, if that is no longer the namespace of its name.
    fn nameless(&self) -> Option<Ground> {
        let ground = Ground::read(&self.name.folder())?;
        (!ground.is_named(&self.name.namespace(GATE))).then_some(ground)
    }

    // Takes off what gates left on their ports: programs, pins, state.
    fn release(&self) -> Result<usize, Error> {
        let gate = self.name.namespace(GATE);
        if !namespace::exists(&gate) {
            return Ok(0);
        }
        namespace::run_in(&gate, || {
            let wires = Place::here().and_then(Place::wires).map_err(|e| Error::Wires(gate.clone(), e))?;
            for place in &wires {
                gateway::release(&place.wire).map_err(|e| Error::Release(place.wire.clone(), e))?;
            }
            Ok(wires.len())
        })?
    }

    /// What is there of it.
    ///
    /// # Errors
    /// The record of its processes can't be read.
    pub fn status(&self) -> Result<Status, Error> {
        let namespaces = self.present();
        let all = topology::parts().map(|part| self.name.namespace(part));
        let missing: Vec<String> = all.filter(|name| !namespaces.contains(name)).collect();
        let processes = self.record().alive()?;
        let broken = self.broken(&namespaces, &processes)?;
        let up = missing.is_empty() && broken.is_empty();
        Ok(Status { name: self.name.to_string(), up, namespaces, missing, broken, processes })
    }

    fn broken(&self, namespaces: &[String], processes: &[Entry]) -> Result<Vec<String>, Error> {
        let there = |part: &str| namespaces.contains(&self.name.namespace(part));
        let serves = |host: &Host| processes.iter().any(|entry| entry.what == services_of(host));
        let mut broken: Vec<String> = HOSTS
            .iter()
            .filter(|host| host.answers() && there(host.name) && !serves(host))
            .map(|host| format!("the {} have ended", services_of(host)))
            .collect();
        if namespaces.is_empty() && self.name.folder().exists() {
            broken.push(format!("its folder {} is still there", self.name.folder().display()));
        }
        let Some(ground) = self.nameless() else { return Ok(broken) };
        let gate = self.name.namespace(GATE);
        if there(GATE) {
            broken.push(format!("{gate} is not the namespace that `lab up` made"));
        }
        if let Some(file) = ground.hidden() {
            broken.push(format!("the gate's namespace has lost its name and still lives as {file}"));
        }
        for place in Place::wires(ground.namespace).map_err(|e| Error::Wires(gate.clone(), e))? {
            let pins = place.pins.display();
            broken.push(format!("wire {} is still pinned at {pins}, without {gate}", place.wire));
        }
        Ok(broken)
    }

    /// The namespace of a host, a switch or the gate of a lab that is up.
    ///
    /// # Errors
    /// No such host, or the lab is not up.
    pub fn host(&self, part: &str) -> Result<String, Error> {
        if !topology::parts().any(|known| known == part) {
            let known: Vec<&str> = topology::parts().collect();
            return Err(Error::NoHost(part.to_owned(), known.join(", ")));
        }
        let name = self.name.namespace(part);
        if namespace::exists(&name) { Ok(name) } else { Err(Error::NotUp(self.name.clone())) }
    }

    /// Runs a command on a host, with the caller's standard streams, and waits for it.
    ///
    /// # Errors
    /// Not root, no such host, or the command does not start.
    pub fn exec<S: AsRef<OsStr> + Sync>(
        &self,
        part: &str,
        program: &OsStr,
        args: &[S],
    ) -> Result<ExitStatus, Error> {
        root()?;
        let name = self.host(part)?;
        let record = self.record();
        let what = format!("{} on {part}", program.to_string_lossy());
        namespace::run_in(&name, || {
            let mut child = record.start(&what, Command::new(program).args(args))?;
            let ended = child.wait();
            record.forget(&child);
            ended.map_err(|e| process::Error::Start(program.to_string_lossy().into_owned(), e))
        })?
        .map_err(Error::from)
    }
}

// No address of its own, so no word of its own: the kernel would send DAD, MLD and RS by itself.
fn silent() -> Result<(), link::Error> {
    link::setting("ipv6/conf/all/disable_ipv6", "1")?;
    link::setting("ipv6/conf/default/disable_ipv6", "1")
}

// IPv6 with the addresses it is given and a link-local one, usable at once. Without a link-local address
// the kernel sends no solicitation of its own: not for a claimed address, not to see whether a neighbour
// is still there.
fn quiet() -> Result<(), link::Error> {
    for scope in ["all", "default"] {
        for key in ["accept_ra", "autoconf", "accept_dad", "dad_transmits", "router_solicitations"] {
            link::setting(&format!("ipv6/conf/{scope}/{key}"), "0")?;
        }
    }
    Ok(())
}

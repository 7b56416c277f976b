//! The port program: loaded, attached, pinned, taken over, counted.
//!
//! Each port has its own instance with its own maps, pinned as `<pins>/<side>/{xsks, heartbeat, settings,
//! counters, link}`. The link's pin is what keeps the port closed when nobody is there. Replacing the
//! program goes through that link, atomically: at no moment is the port without one.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aya::maps::{Array, Map, MapData, MapType, PerCpuArray, XskMap};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpMode as AttachMode};
use aya::programs::{ProgramInfo, Xdp, loaded_programs};
use aya::{Ebpf, EbpfLoader};

use super::heartbeat::Mapped;
use super::{AfXdpError, MAX_QUEUES};
use crate::io::{BpfCounts, XdpMode};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/portcullis.bpf.o"));

/// Name of the program in the object, and in the kernel.
const NAME: &str = "portcullis";
const LINK: &str = "link";

/// The maps of the object: name, kind, bytes of a value, entries. The contract with `portcullis.bpf.c`.
const MAPS: [(&str, MapType, u32, u32); 4] = [
    ("xsks", MapType::XskMap, 4, QUEUES),
    ("heartbeat", MapType::Array, 8, QUEUES),
    ("settings", MapType::Array, 8, 1),
    ("counters", MapType::PerCpuArray, 8, 4),
];
#[allow(clippy::cast_possible_truncation, reason = "64")]
const QUEUES: u32 = MAX_QUEUES as u32;

/// What the pins of a port say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pinned {
    /// Nothing there.
    Nothing,
    /// A link of ours, attached to this very interface.
    Ours,
    /// Left behind by a link that is dead or elsewhere.
    Stale,
}

/// Looks at the pins in `directory` for an interface that runs `program`.
pub(super) fn look(directory: &Path, program: Option<u32>) -> Pinned {
    if !directory.exists() {
        return Pinned::Nothing;
    }
    // A link that is alive on another interface names another program: each port loads its own.
    let linked = PinnedLink::from_pin(directory.join(LINK))
        .ok()
        .and_then(|link| FdLink::from(link).info().ok())
        .map(|found| found.program_id());
    if linked.is_some() && linked == program { Pinned::Ours } else { Pinned::Stale }
}

/// The name of a program, as the kernel has it; empty if it does not say.
pub(super) fn name(id: u32) -> String {
    info_of(id).and_then(|found| found.name_as_str().map(str::to_owned)).unwrap_or_default()
}

/// The error for a program that is not ours.
pub(super) fn foreign(interface: &str, id: u32) -> AfXdpError {
    AfXdpError::Foreign { interface: interface.to_owned(), id, name: name(id) }
}

fn info_of(id: u32) -> Option<ProgramInfo> {
    loaded_programs().filter_map(Result::ok).find(|found| found.id() == id)
}

/// A loaded instance with its maps.
pub(super) struct Instance {
    ebpf: Ebpf,
    directory: PathBuf,
    xsks: XskMap<MapData>,
    settings: Array<MapData, u64>,
    counters: Counters,
    heartbeat: Mapped,
}

/// An instance that is attached.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) mode: XdpMode,
    pub(super) link: u32,
    pub(super) program: u32,
    /// Why not native, if it is not.
    pub(super) refusal: Option<String>,
}

impl Instance {
    /// Loads the program over the maps pinned in `directory`; those that are not there are made and
    /// pinned.
    pub(super) fn load(directory: &Path) -> Result<Self, AfXdpError> {
        fs::create_dir_all(directory).map_err(|source| at(directory, source))?;
        let mut loader = EbpfLoader::new();
        for (name, ..) in MAPS {
            let pin = directory.join(name);
            if pin.exists() {
                check_layout(name, &pin)?;
            }
            loader.map_pin_path(name, pin);
        }
        let mut ebpf = loader.load(OBJECT).map_err(|error| AfXdpError::Load(words(&error)))?;
        program(&mut ebpf)?.load().map_err(|error| AfXdpError::Load(words(&error)))?;

        let xsks = XskMap::try_from(take(&mut ebpf, "xsks")?).map_err(map_error("xsks"))?;
        let settings = Array::try_from(take(&mut ebpf, "settings")?).map_err(map_error("settings"))?;
        let counters =
            PerCpuArray::try_from(take(&mut ebpf, "counters")?).map_err(map_error("counters"))?;
        let heartbeat = MapData::from_pin(directory.join("heartbeat")).map_err(map_error("heartbeat"))?;
        let heartbeat = Mapped::new(heartbeat.fd().as_fd()).map_err(map_error("heartbeat"))?;
        let counters = Counters(counters);
        Ok(Self { ebpf, directory: directory.to_owned(), xsks, settings, counters, heartbeat })
    }

    /// Writes how old a heartbeat may be.
    pub(super) fn set_limit(&mut self, limit: Duration) -> Result<(), AfXdpError> {
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        self.settings.set(0, nanos, 0).map_err(map_error("settings"))
    }

    /// Makes a socket the one of its queue.
    pub(super) fn enter(&mut self, queue: u32, socket: impl AsRawFd) -> Result<(), AfXdpError> {
        self.xsks.set(queue, socket, 0).map_err(map_error("xsks"))
    }

    /// Attaches to an interface that runs no program: in the driver, else in the stack.
    pub(super) fn attach(&mut self, interface: &str, index: u32) -> Result<Attached, AfXdpError> {
        let pin = self.directory.join(LINK);
        let id = program_id(&mut self.ebpf)?;
        let xdp = program(&mut self.ebpf)?;
        let (attached, mode, refusal) = match xdp.attach_to_if_index(index, AttachMode::Driver) {
            Ok(attached) => (attached, XdpMode::Native, None),
            Err(native) => {
                let native = words(&native);
                match xdp.attach_to_if_index(index, AttachMode::Skb) {
                    Ok(attached) => (attached, XdpMode::Generic, Some(native)),
                    Err(generic) => {
                        let (interface, generic) = (interface.to_owned(), words(&generic));
                        return Err(AfXdpError::Attach { interface, native, generic });
                    }
                }
            }
        };
        let link = xdp.take_link(attached).map_err(|error| AfXdpError::Load(words(&error)))?;
        let link = FdLink::try_from(link).map_err(|error| AfXdpError::Load(words(&error)))?;
        let number = link.info().map_err(|error| AfXdpError::Load(words(&error)))?.id();
        link.pin(&pin).map_err(|error| at(&pin, io::Error::other(words(&error))))?;
        Ok(Attached { mode, link: number, program: id, refusal })
    }

    /// Takes over the pinned link. An identical program over the same maps stays; another one is replaced
    /// in one step, through the link.
    pub(super) fn take_over(&mut self, generic: bool) -> Result<Attached, AfXdpError> {
        let pin = self.directory.join(LINK);
        let load = |error: &dyn std::error::Error| AfXdpError::Load(words(error));
        let link = FdLink::from(PinnedLink::from_pin(&pin).map_err(|error| load(&error))?);
        let found = link.info().map_err(|error| load(&error))?;
        let (number, old) = (found.id(), found.program_id());
        let mode = if generic { XdpMode::Generic } else { XdpMode::Native };

        let xdp = program(&mut self.ebpf)?;
        let new = xdp.info().map_err(|error| load(&error))?;
        if info_of(old).is_some_and(|old| same(&old, &new)) {
            return Ok(Attached { mode, link: number, program: old, refusal: None });
        }
        let link = XdpLink::try_from(link).map_err(|error| load(&error))?;
        let id = xdp.attach_to_link(link).map_err(|error| load(&error))?;
        // Closes this handle of the link; its pin goes on holding it.
        drop(xdp.take_link(id).map_err(|error| load(&error))?);
        Ok(Attached { mode, link: number, program: new.id(), refusal: None })
    }

    /// What stays with the running gate.
    pub(super) fn into_parts(self) -> (Counters, Mapped) {
        (self.counters, self.heartbeat)
    }
}

/// Reads the program's counters at one port.
pub(super) struct Counters(PerCpuArray<MapData, u64>);

impl Counters {
    /// Their sums over all CPUs. A counter that cannot be read is 0.
    pub(super) fn read(&self) -> BpfCounts {
        let sum = |index| self.0.get(&index, 0).map_or(0, |values| values.iter().sum());
        BpfCounts { seen: sum(0), redirected: sum(1), stale: sum(2), no_socket: sum(3) }
    }

    /// Opens the pinned counters of a port, whoever runs it.
    pub(super) fn open(directory: &Path) -> Result<Self, AfXdpError> {
        let map = MapData::from_pin(directory.join("counters")).map_err(map_error("counters"))?;
        let map = Map::from_map_data(map).map_err(map_error("counters"))?;
        PerCpuArray::try_from(map).map(Self).map_err(map_error("counters"))
    }
}

/// Removes the pins of a port; the link goes first, so its program is never there with half its maps
/// unreachable. What is not there is fine. Answers whether anything was.
pub(super) fn remove(directory: &Path) -> Result<bool, AfXdpError> {
    let mut removed = false;
    for name in [LINK].into_iter().chain(MAPS.iter().map(|(name, ..)| *name)) {
        let pin = directory.join(name);
        match fs::remove_file(&pin) {
            Ok(()) => removed = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(at(&pin, source)),
        }
    }
    // The directory, and those above it that are empty now: rmdir refuses the others, and the mount
    // itself.
    for above in directory.ancestors() {
        match fs::remove_dir(above) {
            Ok(()) => removed = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => break,
        }
    }
    Ok(removed)
}

fn same(old: &ProgramInfo, new: &ProgramInfo) -> bool {
    let maps = |info: &ProgramInfo| {
        info.map_ids().ok().flatten().map(|mut ids| {
            ids.sort_unstable();
            ids
        })
    };
    old.tag() == new.tag() && maps(old).is_some() && maps(old) == maps(new)
}

fn check_layout(name: &'static str, pin: &Path) -> Result<(), AfXdpError> {
    let found = MapData::from_pin(pin).and_then(|map| map.info()).map_err(map_error(name))?;
    let fits = MAPS.iter().any(|(wanted, kind, value, entries)| {
        *wanted == name
            && found.map_type().is_ok_and(|found| found == *kind)
            && found.key_size() == 4
            && found.value_size() == *value
            && found.max_entries() == *entries
    });
    if fits { Ok(()) } else { Err(AfXdpError::Layout { path: pin.to_owned() }) }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, AfXdpError> {
    let found = ebpf.program_mut(NAME).ok_or_else(|| AfXdpError::Load(format!("no program `{NAME}`")))?;
    found.try_into().map_err(|error: aya::programs::ProgramError| AfXdpError::Load(words(&error)))
}

fn program_id(ebpf: &mut Ebpf) -> Result<u32, AfXdpError> {
    program(ebpf)?.info().map(|found| found.id()).map_err(|error| AfXdpError::Load(words(&error)))
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, AfXdpError> {
    ebpf.take_map(name).ok_or_else(|| AfXdpError::Map { map: name, reason: "not in the object".to_owned() })
}

fn map_error<E: std::error::Error>(map: &'static str) -> impl FnOnce(E) -> AfXdpError {
    move |error| AfXdpError::Map { map, reason: words(&error) }
}

pub(super) fn at(path: &Path, source: io::Error) -> AfXdpError {
    AfXdpError::Path { path: path.to_owned(), source }
}

/// An error and its causes in one line.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

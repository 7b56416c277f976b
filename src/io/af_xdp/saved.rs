//! Port settings: changed while a wire stands, given back when it is released.
//!
//! What was there before is written to a file first, so that any later process can give it back. The file
//! of an earlier start of the same boot is kept as it is: by then the settings are ours.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::AfXdpError;
use super::cookie::namespace_cookie;
use super::ethtool;
use super::link::{self, Link};
use super::offloads::{self, Stripping};
use super::program::at;
use super::spread::{self, Spread};
use crate::io::interrupts;

/// Settings of both ports before we came, by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    #[serde(flatten)]
    ground: Ground,
    outside: PortSettings,
    inside: PortSettings,
}

/// Where settings are good: interface numbers mean something else after a boot and in another namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ground {
    boot: String,
    /// Its cookie: the inode that a wire's folder is named by is used again. A version or a kernel that did not know
    /// it says nothing.
    #[serde(default)]
    namespace: Option<u64>,
}

impl Ground {
    /// Of this thread.
    fn here() -> Result<Self, AfXdpError> {
        Ok(Self { boot: boot_id()?, namespace: namespace_cookie().ok().flatten() })
    }

    fn is(&self, other: &Self) -> bool {
        let known = self.namespace.zip(other.namespace);
        self.boot == other.boot && known.is_none_or(|(one, another)| one == another)
    }
}

/// One port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PortSettings {
    interface: String,
    index: u32,
    up: bool,
    promiscuous: bool,
    /// The root qdisc was `noqueue` and is a `pfifo` of ours now.
    queued: bool,
    /// Offloads that took VLAN tags off its frames and are off now. A file of a version that left them
    /// alone names none.
    #[serde(default)]
    stripping: Vec<String>,
    /// Queues and hashing. A file of a version that left them alone says nothing.
    #[serde(default)]
    spread: Option<Spread>,
    /// Interrupts that come to another processor now, with where they came to.
    #[serde(default)]
    interrupts: BTreeMap<u32, String>,
}

impl PortSettings {
    fn of(interface: &str, link: &Link) -> Self {
        Self {
            interface: interface.to_owned(),
            index: link.index,
            up: link.up,
            promiscuous: link.promiscuous,
            queued: false,
            stripping: Vec::new(),
            spread: None,
            interrupts: BTreeMap::new(),
        }
    }

    fn fail(&self, doing: &'static str) -> impl FnOnce(io::Error) -> AfXdpError + use<> {
        let interface = self.interface.clone();
        move |source| AfXdpError::Setting { doing, interface, source }
    }

    /// Without a qdisc veth drops what its peer's ring cannot take; with one it stops the queue (6.16 and
    /// later), and the frame waits. An operator's own qdisc does that as well and is left alone.
    fn queue(&mut self) -> Result<(), AfXdpError> {
        if link::root_qdisc(self.index).map_err(self.fail("read the qdisc of"))?.as_deref()
            == Some("noqueue")
        {
            link::set_pfifo(self.index).map_err(self.fail("put a pfifo on"))?;
            self.queued = true;
        }
        Ok(())
    }

    /// Notes which offloads take VLAN tags off its frames, beside those noted before.
    fn note_stripping(&mut self) -> Result<(), AfXdpError> {
        let on = offloads::strip(&self.interface).map_err(self.fail("ask for the offloads of"))?;
        for offload in on {
            if !self.stripping.iter().any(|noted| noted == offload) {
                self.stripping.push(offload.to_owned());
            }
        }
        Ok(())
    }

    /// Notes its queues and hashing, unless they were noted before: by now they are ours.
    fn note_spread(&mut self) -> Result<(), AfXdpError> {
        if self.spread.is_none() {
            let found = Spread::of(&self.interface).map_err(self.fail("ask for the queues of"))?;
            self.spread = Some(found);
        }
        Ok(())
    }

    /// A tag that the driver keeps beside the frame is one that XDP never sees: the frame would be judged
    /// as untagged.
    fn keep_tags(&self) -> Result<(), AfXdpError> {
        let doing = "switch off VLAN stripping on";
        for offload in offloads::strip(&self.interface).map_err(self.fail("ask for the offloads of"))? {
            offloads::set(&self.interface, offload, false).map_err(self.fail(doing))?;
        }
        // A driver takes a wish and may not grant it.
        match offloads::stripping(&self.interface).map_err(self.fail("ask for the offloads of"))? {
            Stripping::Off => Ok(()),
            Stripping::On(offload) | Stripping::Fixed(offload) => {
                Err(AfXdpError::TagsStripped { interface: self.interface.clone(), offload })
            }
        }
    }

    /// Up before the queue: an interface that is down has no qdisc yet. Whatever was noted: since then
    /// anybody may have changed it, and what is set already stays as it is.
    fn raise(&self) -> Result<(), AfXdpError> {
        link::set_up(self.index, true).map_err(self.fail("bring up"))?;
        link::set_promiscuous(self.index, true).map_err(self.fail("set promiscuous mode on"))
    }

    fn give_back(&self) -> Result<(), AfXdpError> {
        // Gone, or another one under the same name: nothing to give back.
        let found = link::find(&self.interface).map_err(self.fail("look up"))?;
        if found.is_none_or(|found| found.index != self.index) {
            return Ok(());
        }
        // Each, even if one before it fails: a card that does not take its key again is no reason to stay
        // promiscuous. The first error is the one to report.
        let queue = self.unqueue();
        let stripping = self.strip_again();
        if !self.interrupts.is_empty() {
            interrupts::give_back(Path::new("/"), &super::bus(&self.interface), &self.interrupts);
        }
        let spread = self.spread_as_before();
        let quiet = if self.promiscuous {
            Ok(())
        } else {
            link::set_promiscuous(self.index, false).map_err(self.fail("end promiscuous mode on"))
        };
        let down =
            if self.up { Ok(()) } else { link::set_up(self.index, false).map_err(self.fail("take down")) };
        queue.and(stripping).and(spread).and(quiet).and(down)
    }

    fn unqueue(&self) -> Result<(), AfXdpError> {
        if self.queued
            && link::root_qdisc(self.index).map_err(self.fail("read the qdisc of"))?.as_deref()
                == Some("pfifo")
        {
            link::remove_root_qdisc(self.index).map_err(self.fail("remove the pfifo of"))?;
        }
        Ok(())
    }

    fn strip_again(&self) -> Result<(), AfXdpError> {
        let on = |offload: &String| {
            offloads::set(&self.interface, offload, true)
                .map_err(self.fail("switch VLAN stripping back on for"))
        };
        self.stripping.iter().map(on).fold(Ok(()), Result::and)
    }

    fn spread_as_before(&self) -> Result<(), AfXdpError> {
        let Some(spread) = &self.spread else { return Ok(()) };
        spread.give_back(&self.interface).map_err(self.fail("give its queues back to"))
    }
}

/// Notes what is there and sets what a wire needs: queue count, up, promiscuous, queued. Answers what to give back if
/// the opening fails later on: nothing, when an earlier start already changed it.
pub(super) fn change(
    file: &Path,
    interfaces: [&str; 2],
    links: [&Link; 2],
    queues: u32,
) -> Result<Option<Saved>, AfXdpError> {
    let ground = Ground::here()?;
    let ([outside, inside], [outside_link, inside_link]) = (interfaces, links);
    let mut now = Saved {
        ground,
        outside: PortSettings::of(outside, outside_link),
        inside: PortSettings::of(inside, inside_link),
    };
    if let Some(mut earlier) = read(file)? {
        if now.is_same_wire(&earlier) {
            // Whatever has become of the ports since: a qdisc, for one, that was taken off by hand.
            earlier.apply(file, queues)?;
            return Ok(None);
        }
        if earlier.ground.is(&now.ground) {
            earlier.give_back()?;
        }
    }
    // Written before the first change, and again when the queues are known.
    write(file, &now)?;
    let changed = now.apply(file, queues);
    match changed {
        Ok(()) => Ok(Some(now)),
        Err(error) => {
            now.undo(file);
            Err(error)
        }
    }
}

impl Saved {
    fn is_same_wire(&self, other: &Self) -> bool {
        let port = |settings: &PortSettings| (settings.interface.clone(), settings.index);
        self.ground.is(&other.ground)
            && port(&self.outside) == port(&other.outside)
            && port(&self.inside) == port(&other.inside)
    }

    fn raise(&self) -> Result<(), AfXdpError> {
        self.outside.raise()?;
        self.inside.raise()
    }

    fn apply(&mut self, file: &Path, queues: u32) -> Result<(), AfXdpError> {
        for port in [&mut self.outside, &mut self.inside] {
            port.note_stripping()?;
            port.note_spread()?;
        }
        // Before the change: what stays on by an accident in between is switched on again for nothing.
        write(file, self)?;
        self.outside.keep_tags()?;
        self.inside.keep_tags()?;
        // While they are down, if they are: a card resets for another count.
        spread::set(&self.outside.interface, queues)?;
        spread::set(&self.inside.interface, queues)?;
        self.raise()?;
        self.outside.queue()?;
        write(file, self)?;
        self.inside.queue()?;
        write(file, self)
    }

    /// After an opening that failed, whose error is the one to report. What can't be given back stays noted for whoever
    /// comes next.
    pub(super) fn undo(&self, file: &Path) {
        if self.give_back().is_ok() {
            let _ = fs::remove_file(file);
        }
    }

    /// Both ports, even if the first fails.
    fn give_back(&self) -> Result<(), AfXdpError> {
        let outside = self.outside.give_back();
        let inside = self.inside.give_back();
        outside.and(inside)
    }
}

/// Has the interrupt of each queue come to its worker's processor, at both ports, and notes where it came to
/// before. Answers how many do; one that its driver keeps stays where it is.
pub(super) fn take_interrupts(file: &Path, workers: &[Option<usize>]) -> Result<usize, AfXdpError> {
    let root = Path::new("/");
    let Some(mut saved) = read(file)? else { return Ok(0) };
    let mut wanted = Vec::new();
    for port in [&mut saved.outside, &mut saved.inside] {
        let (_, bus) = ethtool::driver(&port.interface).map_err(port.fail("ask for the driver of"))?;
        for (interrupt, worker) in interrupts::of_queues(root, &bus, workers.len()).into_iter().zip(workers)
        {
            if let (Some(interrupt), Some(worker)) = (interrupt, worker)
                && let Ok(before) = interrupts::processors(root, interrupt)
            {
                port.interrupts.entry(interrupt).or_insert(before);
                wanted.push((interrupt, worker.to_string()));
            }
        }
    }
    if wanted.is_empty() {
        return Ok(0);
    }
    // Before the change.
    write(file, &saved)?;
    Ok(wanted.iter().filter(|(one, worker)| interrupts::set_processors(root, *one, worker).is_ok()).count())
}

/// Gives back what the file says and removes it. Answers whether there was one.
pub(super) fn give_back(file: &Path) -> Result<bool, AfXdpError> {
    let Some(saved) = read(file)? else { return Ok(false) };
    if saved.ground.is(&Ground::here()?) {
        saved.give_back()?;
    }
    fs::remove_file(file).map_err(|source| at(file, source))?;
    Ok(true)
}

fn read(file: &Path) -> Result<Option<Saved>, AfXdpError> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(at(file, source)),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| AfXdpError::Saved { path: file.to_owned(), reason: error.to_string() })
}

/// Whole or not at all: a new file takes the place of the old one.
fn write(file: &Path, saved: &Saved) -> Result<(), AfXdpError> {
    let text = serde_json::to_vec_pretty(saved)
        .map_err(|error| AfXdpError::Saved { path: file.to_owned(), reason: error.to_string() })?;
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory).map_err(|source| at(directory, source))?;
    }
    let new = file.with_extension("new");
    fs::write(&new, text).map_err(|source| at(&new, source))?;
    fs::rename(&new, file).map_err(|source| at(file, source))
}

fn boot_id() -> Result<String, AfXdpError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(|source| at(path, source))
}

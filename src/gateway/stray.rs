//! What gates left in other network namespaces than the caller's: where it is, and who is still there.
//!
//! What it is not: nothing is removed here. A namespace is known by its inode, as the names of places have
//! it; who holds it is looked for below /run/netns and in /proc, so one that only a descriptor or a mount
//! elsewhere holds is taken for gone.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::place::{PINS, Place};

/// Who keeps a network namespace alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Its name below /run/netns.
    Name(String),
    /// No name, but a process in it.
    Process(u32),
    /// Nobody that can be seen.
    Nobody,
}

impl Holder {
    /// The holder of the network namespace with an inode.
    #[must_use]
    pub fn of(namespace: u64) -> Self {
        let is = |path: &Path| fs::metadata(path).is_ok_and(|found| found.ino() == namespace);
        let mut names: Vec<String> = names_in("/run/netns");
        names.sort();
        if let Some(name) = names.into_iter().find(|name| is(&Path::new("/run/netns").join(name))) {
            return Self::Name(name);
        }
        let mut pids: Vec<u32> = names_in("/proc").iter().filter_map(|name| name.parse().ok()).collect();
        pids.sort_unstable();
        pids.into_iter()
            .find(|pid| is(Path::new(&format!("/proc/{pid}/ns/net"))))
            .map_or(Self::Nobody, Self::Process)
    }

    /// The file by which it can be entered.
    #[must_use]
    pub fn file(&self) -> Option<String> {
        match self {
            Self::Name(name) => Some(format!("/run/netns/{name}")),
            Self::Process(pid) => Some(format!("/proc/{pid}/ns/net")),
            Self::Nobody => None,
        }
    }
}

/// Pins of a wire of another network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Where they are.
    pub place: Place,
    /// Who is still there.
    pub holder: Holder,
}

impl Stray {
    /// All of a wire, but the one of `here`.
    pub(super) fn all(here: &Place) -> Vec<Self> {
        let mut strays: Vec<Self> = names_in(PINS)
            .iter()
            .filter_map(|name| name.strip_prefix(&here.wire)?.strip_prefix('-')?.parse().ok())
            .filter(|namespace| *namespace != here.namespace)
            .map(|namespace| Self {
                place: Place::at(&here.wire, namespace),
                holder: Holder::of(namespace),
            })
            .collect();
        strays.sort_by_key(|stray| stray.place.namespace);
        strays
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        let Place { pins, state, wire, .. } = &self.place;
        self.holder.file().map_or_else(
            || format!("rm -rf {} {}", pins.display(), state.display()),
            |file| format!("nsenter --net={file} portcullis release {wire}"),
        )
    }
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = self.place.namespace;
        match &self.holder {
            Holder::Name(name) => write!(f, "network namespace {namespace} ({name})"),
            Holder::Process(pid) => write!(f, "network namespace {namespace} (of process {pid})"),
            Holder::Nobody => write!(f, "network namespace {namespace} (gone, and its ports with it)"),
        }
    }
}

/// Names in a folder; none where it can't be read.
fn names_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_held_by_its_processes_or_by_nobody() {
        let here = Place::of("w").unwrap().namespace;
        assert_ne!(Holder::of(here), Holder::Nobody);
        assert_eq!(Holder::of(u64::MAX), Holder::Nobody);
    }

    #[test]
    fn every_stray_has_a_place_and_a_remedy() {
        let stray = |holder| Stray { place: Place::at("w", 7), holder };
        let gone = stray(Holder::Nobody);
        assert_eq!(gone.to_string(), "network namespace 7 (gone, and its ports with it)");
        assert_eq!(gone.remedy(), "rm -rf /sys/fs/bpf/portcullis/w-7 /run/portcullis/w-7");
        let named = stray(Holder::Name("pc-lab-gate".into()));
        assert_eq!(named.to_string(), "network namespace 7 (pc-lab-gate)");
        assert_eq!(named.remedy(), "nsenter --net=/run/netns/pc-lab-gate portcullis release w");
        let held = stray(Holder::Process(12));
        assert_eq!(held.to_string(), "network namespace 7 (of process 12)");
        assert_eq!(held.remedy(), "nsenter --net=/proc/12/ns/net portcullis release w");
    }
}

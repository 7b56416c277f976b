//! Where a wire keeps what outlives a process: its pins and its state.
//!
//! Both are named by wire and network namespace, so that gates in different namespaces never meet.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};

use crate::policy::read::{NotAName, is_name};

/// Below this lie the pins of every wire.
pub(super) const PINS: &str = "/sys/fs/bpf/portcullis";
/// Below this lies the state of every wire.
pub(super) const STATE: &str = "/run/portcullis";

/// The folders of one wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Pins: links and maps of the port programs.
    pub pins: PathBuf,
    /// State: the lock and the ports' earlier settings.
    pub state: PathBuf,
    /// The wire.
    pub wire: String,
    /// Inode of its network namespace.
    pub namespace: u64,
}

/// Why a wire's place can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Another process has it.
    #[error("wire {wire} already has a gate, process {pid}: stop it first (one gate a wire)")]
    Held {
        /// The wire.
        wire: String,
        /// Who has it, as it wrote itself down.
        pid: String,
    },
    /// A policy could not give this name to a wire.
    #[error("{wire:?} can't be the name of a wire: {reason}")]
    Name {
        /// What was given.
        wire: String,
        /// Why not.
        reason: NotAName,
    },
    /// The folder can't be made or locked.
    #[error("{}: {source}; the state folder must be writable (are you root?)", path.display())]
    State {
        /// What failed.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Place {
    /// The place of a wire of this thread's network namespace.
    ///
    /// # Errors
    /// It is no name, or the namespace can't be read.
    pub fn of(wire: &str) -> Result<Self, PlaceError> {
        is_name(wire).map_err(|reason| PlaceError::Name { wire: wire.to_owned(), reason })?;
        Ok(Self::at(wire, Self::here()?))
    }

    /// The place of a wire of any network namespace.
    pub(super) fn at(wire: &str, namespace: u64) -> Self {
        let name = format!("{wire}-{namespace}");
        Self {
            pins: PathBuf::from(PINS).join(&name),
            state: PathBuf::from(STATE).join(&name),
            wire: wire.to_owned(),
            namespace,
        }
    }

    /// Inode of this thread's network namespace.
    ///
    /// # Errors
    /// It can't be read.
    pub fn here() -> Result<u64, PlaceError> {
        let path = PathBuf::from("/proc/thread-self/ns/net");
        Ok(fs::metadata(&path).map_err(|source| PlaceError::State { path, source })?.ino())
    }

    /// The wires that have pins or state in a network namespace, which may be gone, by name.
    ///
    /// # Errors
    /// The folder of all pins or of all states can't be read.
    pub fn wires(namespace: u64) -> Result<Vec<Self>, PlaceError> {
        let suffix = format!("-{namespace}");
        let mut wires = BTreeSet::new();
        for folder in [PINS, STATE] {
            let failed = |source| PlaceError::State { path: folder.into(), source };
            let entries = match fs::read_dir(folder) {
                Ok(entries) => entries,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(failed(e)),
            };
            for entry in entries {
                let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
                wires.extend(name.strip_suffix(&suffix).map(str::to_owned));
            }
        }
        Ok(wires.iter().map(|wire| Self::at(wire, namespace)).collect())
    }

    /// File that keeps the ports' earlier settings.
    #[must_use]
    pub fn saved(&self) -> PathBuf {
        self.state.join("ports.json")
    }

    /// Takes the wire for this process. Freed when the lock is dropped, or the process dies.
    ///
    /// # Errors
    /// Somebody else has it, or the folder can't be made.
    pub fn lock(&self) -> Result<Lock, PlaceError> {
        let failed = |path: &PathBuf| {
            let path = path.clone();
            move |source| PlaceError::State { path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&self.state)
            .map_err(failed(&self.state))?;
        let path = self.state.join("lock");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o644)
            .open(&path)
            .map_err(failed(&path))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            // What can't be read is shown as unknown; the refusal stands all the same.
            let _ = file.take(20).read_to_string(&mut pid);
            let pid = if pid.is_empty() { "unknown".to_owned() } else { pid };
            return Err(PlaceError::Held { wire: self.wire.clone(), pid });
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()))
            .map_err(failed(&path))?;
        Ok(Lock { _file: file })
    }

    /// Removes the state folder, once nothing in it is needed any more.
    ///
    /// # Errors
    /// It can't be removed.
    pub fn clear(&self, lock: Lock) -> Result<(), PlaceError> {
        let result = fs::remove_file(self.state.join("lock")).and_then(|()| fs::remove_dir(&self.state));
        drop(lock);
        match result {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(PlaceError::State { path: self.state.clone(), source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// The wire is this process's while this lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(folder: &std::path::Path) -> Place {
        Place { pins: folder.join("pins"), state: folder.join("state"), wire: "w".into(), namespace: 7 }
    }

    #[test]
    fn a_wire_has_one_gate_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let lock = place.lock().unwrap();
        let refused = place.lock().unwrap_err().to_string();
        assert_eq!(
            refused,
            format!(
                "wire w already has a gate, process {}: stop it first (one gate a wire)",
                std::process::id()
            )
        );
        drop(lock);
        assert!(place.lock().is_ok(), "a lock ends with its holder");
    }

    #[test]
    fn a_cleared_place_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let lock = place.lock().unwrap();
        place.clear(lock).unwrap();
        assert!(!place.state.exists());
    }

    #[test]
    fn a_wire_is_named_as_a_policy_may_name_it() {
        for bad in ["", "a/b", "../w", "w 1", "é", "10.0.0.1"] {
            let refused = Place::of(bad).unwrap_err().to_string();
            assert!(
                refused.starts_with(&format!("{bad:?} can't be the name of a wire: names ")),
                "{refused}"
            );
        }
        assert_eq!(Place::of(&"w".repeat(128)).unwrap().wire.len(), 128);
        assert!(Place::of(&"w".repeat(129)).is_err());
    }

    #[test]
    fn wires_of_one_namespace_differ_by_name() {
        let (one, two) = (Place::of("one").unwrap(), Place::of("two").unwrap());
        assert_ne!(one.pins, two.pins);
        assert_eq!(one, Place::of("one").unwrap());
    }
}

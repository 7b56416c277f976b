//! Where a wire keeps what outlives a process: its pins and its state.
//!
//! Both are named by wire and network namespace, so that gates in different namespaces never meet.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};

/// Below this lie the pins of every wire.
const PINS: &str = "/sys/fs/bpf/portcullis";
/// Below this lies the state of every wire.
const STATE: &str = "/run/portcullis";

/// The folders of one wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Pins: links and maps of the port programs.
    pub pins: PathBuf,
    /// State: the lock and the ports' earlier settings.
    pub state: PathBuf,
    wire: String,
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
    /// The namespace can't be read.
    pub fn of(wire: &str) -> Result<Self, PlaceError> {
        let path = PathBuf::from("/proc/thread-self/ns/net");
        let namespace = fs::metadata(&path).map_err(|source| PlaceError::State { path, source })?.ino();
        let name = format!("{wire}-{namespace}");
        Ok(Self {
            pins: PathBuf::from(PINS).join(&name),
            state: PathBuf::from(STATE).join(&name),
            wire: wire.to_owned(),
        })
    }

    /// Names of the wires that have a place in this thread's network namespace.
    ///
    /// # Errors
    /// The namespace or the folder of all states can't be read.
    pub fn wires() -> Result<Vec<String>, PlaceError> {
        let failed = |source| PlaceError::State { path: STATE.into(), source };
        let suffix = Self::of("")?.state.file_name().map(|n| n.to_string_lossy().into_owned());
        let entries = match fs::read_dir(STATE) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed(e)),
        };
        let mut wires = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            let wire = suffix.as_ref().and_then(|suffix| name.strip_suffix(suffix.as_str()));
            wires.extend(wire.filter(|wire| !wire.is_empty()).map(str::to_owned));
        }
        Ok(wires)
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
        Place { pins: folder.join("pins"), state: folder.join("state"), wire: "w".into() }
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
    fn wires_of_one_namespace_differ_by_name() {
        let (one, two) = (Place::of("one").unwrap(), Place::of("two").unwrap());
        assert_ne!(one.pins, two.pins);
        assert_eq!(one, Place::of("one").unwrap());
    }
}

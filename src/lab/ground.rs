//! Where a lab's gate stands, written down when the lab goes up: found again when its namespace has lost
//! its name, and what gates left in it can be removed when it is gone.
//!
//! An inode is used again by the next namespace; the cookie beside it is not.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::namespace;
use crate::gateway::{Holder, Place, PlaceError};

/// The network namespace of a lab's gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ground {
    pub(super) namespace: u64,
    /// None where the kernel has none.
    cookie: Option<u64>,
}

impl Ground {
    /// The one of the calling thread.
    pub(super) fn here() -> Result<Self, PlaceError> {
        Ok(Self { namespace: Place::here()?, cookie: cookie() })
    }

    fn file(folder: &Path) -> PathBuf {
        folder.join("ground")
    }

    /// Writes it into a lab's folder.
    pub(super) fn write(self, folder: &Path) -> Result<(), (PathBuf, io::Error)> {
        let file = Self::file(folder);
        let text = format!("{} {}\n", self.namespace, self.cookie.unwrap_or(0));
        fs::write(&file, text).map_err(|error| (file, error))
    }

    /// Reads it from a lab's folder; none where the lab did not come that far.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        let text = fs::read_to_string(Self::file(folder)).ok()?;
        let (namespace, cookie) = text.trim_end().split_once(' ')?;
        let cookie = cookie.parse().ok().filter(|cookie| *cookie != 0);
        Some(Self { namespace: namespace.parse().ok()?, cookie })
    }

    /// The namespace of that name is this one.
    pub(super) fn is_named(self, name: &str) -> bool {
        fs::metadata(namespace::path(name)).is_ok_and(|found| found.ino() == self.namespace)
    }

    /// Nobody has a namespace with this inode.
    pub(super) fn is_gone(self) -> bool {
        Holder::of(self.namespace) == Holder::Nobody
    }

    /// The file by which it can be entered while a process keeps it, whatever has become of its name.
    pub(super) fn hidden(self) -> Option<String> {
        let file = Holder::of(self.namespace).file()?;
        let found = namespace::run_in(&file, Self::here).ok()?.ok()?;
        (found == self && self.cookie.is_some()).then_some(file)
    }
}

#[cfg(feature = "xdp")]
fn cookie() -> Option<u64> {
    crate::io::af_xdp::survey::namespace_cookie().ok().flatten()
}

/// Without interfaces there is no gate to leave anything.
#[cfg(not(feature = "xdp"))]
const fn cookie() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Ground::read(folder.path()), None);
        for cookie in [None, Some(9)] {
            let ground = Ground { namespace: 4_026_532_567, cookie };
            ground.write(folder.path()).unwrap();
            assert_eq!(Ground::read(folder.path()), Some(ground));
        }
        fs::write(folder.path().join("ground"), "nonsense\n").unwrap();
        assert_eq!(Ground::read(folder.path()), None);
        assert!(Ground { namespace: u64::MAX, cookie: None }.is_gone());
        assert_eq!(Ground { namespace: u64::MAX, cookie: Some(1) }.hidden(), None);
    }

    #[test]
    fn another_namespace_with_the_same_inode_is_not_it() {
        let here = Ground::here().unwrap();
        assert!(!here.is_gone());
        assert_eq!(Ground { cookie: Some(u64::MAX), ..here }.hidden(), None);
        assert_eq!(Ground { cookie: None, ..here }.hidden(), None);
        // To enter it, even the own one, needs root.
        if rustix::process::geteuid().is_root() && here.cookie.is_some() {
            assert!(here.hidden().is_some());
        }
    }
}

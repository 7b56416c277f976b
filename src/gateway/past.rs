//! The wires that were released in this boot, so that a release done twice is told from one in the wrong
//! place.
//!
//! One line a place, the latest [`MOST`] of them, under a lock. Each carries the cookie of its network
//! namespace: an inode is used again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::place::{Place, STATE};

/// Places remembered; the oldest is forgotten for the next.
const MOST: usize = 256;

fn file() -> PathBuf {
    Path::new(STATE).join("released")
}

/// Whether a wire was released in this place.
pub(super) fn knows(place: &Place) -> bool {
    lines(&file()).is_ok_and(|lines| lines.contains(&line(place)))
}

/// Takes a release down.
pub(super) fn remember(place: &Place) -> io::Result<()> {
    add(&file(), line(place))
}

fn line(place: &Place) -> String {
    format!("{}-{} {}", place.wire, place.namespace, cookie())
}

/// 0 where nobody knows.
#[cfg(feature = "xdp")]
fn cookie() -> u64 {
    crate::io::af_xdp::survey::namespace_cookie().ok().flatten().unwrap_or(0)
}

#[cfg(not(feature = "xdp"))]
const fn cookie() -> u64 {
    0
}

fn lines(path: &Path) -> io::Result<Vec<String>> {
    let file = File::open(path)?;
    flock(&file, FlockOperation::LockShared)?;
    read(&file)
}

fn read(mut file: &File) -> io::Result<Vec<String>> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn add(path: &Path, line: String) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
    flock(&file, FlockOperation::LockExclusive)?;
    let mut lines = read(&file)?;
    lines.retain(|known| *known != line);
    lines.push(line);
    let oldest = lines.len().saturating_sub(MOST);
    let text: String = lines.iter().skip(oldest).flat_map(|line| [line, "\n"]).collect();
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_places_are_remembered_once_each() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("released");
        assert!(lines(&path).is_err());
        for n in 0..=MOST {
            add(&path, format!("w-{n} 1")).unwrap();
            add(&path, "w-1 1".into()).unwrap();
        }
        let lines = lines(&path).unwrap();
        assert_eq!((lines.len(), lines[0].as_str()), (MOST, "w-2 1"));
        assert_eq!(lines[MOST - 2..], ["w-256 1", "w-1 1"]);
    }
}

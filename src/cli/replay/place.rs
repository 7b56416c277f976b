//! Where a replay writes, and that it overwrites nothing it reads.
//!
//! Two names are one file if device and inode are the same, so a hard link, a symbolic link or another way to
//! spell a path is seen. A file that is not there yet is its folder with its name. What is no regular file is
//! not overwritten by writing to it: `/dev/null` may stand twice.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cli::fault::Fault;

/// Symbolic links that are followed to a file that is not there: as many as Linux does.
const LINKS: usize = 40;

/// A file as the system knows it.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Device and inode.
    There(u64, u64),
    /// Device and inode of the folder it would be made in, and its name.
    New(u64, u64, OsString),
}

impl Place {
    /// `None`: it cannot be overwritten, or nothing can be written there.
    fn of(path: &Path) -> Option<Self> {
        let mut path = path.to_owned();
        for _ in 0..LINKS {
            if let Ok(found) = fs::metadata(&path) {
                return found.is_file().then(|| Self::There(found.dev(), found.ino()));
            }
            let folder = match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
                Some(_) | None => PathBuf::from("."),
            };
            // A link to a file that is not there: that is the one that would be made.
            if let Ok(target) = fs::read_link(&path) {
                path = folder.join(target);
                continue;
            }
            let folder = fs::metadata(folder).ok()?;
            return Some(Self::New(folder.dev(), folder.ino(), path.file_name()?.to_owned()));
        }
        None
    }
}

/// Refuses outputs that are one file, or one of the files that are read. Nothing is opened for it.
///
/// # Errors
/// [`Fault::Usage`].
pub(super) fn keep_apart<'p>(
    outputs: &[&Path],
    captures: impl IntoIterator<Item = &'p Path>,
    policy: impl IntoIterator<Item = &'p Path>,
) -> Result<(), Fault> {
    const HELP: &str = "name another file for --forwarded or --verdicts";
    let outputs: Vec<Place> = outputs.iter().filter_map(|path| Place::of(path)).collect();
    let written = |path: &Path| Place::of(path).is_some_and(|place| outputs.contains(&place));
    let wrong = if captures.into_iter().any(written) {
        "an output would overwrite the capture it is made from"
    } else if policy.into_iter().any(written) {
        "an output would overwrite the policy that it is judged by"
    } else if outputs.iter().enumerate().any(|(n, place)| outputs.iter().skip(n + 1).any(|o| o == place)) {
        "both outputs would be written to one file"
    } else {
        return Ok(());
    };
    Err(Fault::Usage(wrong, HELP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_is_known_by_all_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "x").unwrap();
        fs::write(at("other"), "x").unwrap();
        fs::create_dir(at("sub")).unwrap();
        fs::hard_link(at("file"), at("hard")).unwrap();
        std::os::unix::fs::symlink("file", at("soft")).unwrap();
        std::os::unix::fs::symlink("sub/../new", at("dangling")).unwrap();
        std::os::unix::fs::symlink("round", at("round")).unwrap();
        let place = |name: &str| Place::of(&at(name));
        for name in ["hard", "soft", "./file", "sub/../file"] {
            assert_eq!(place(name), place("file"), "{name}");
        }
        assert!(matches!(place("file"), Some(Place::There(..))));
        assert_ne!(place("other"), place("file"));
        for name in ["dangling", "sub/../new"] {
            assert_eq!(place(name), place("new"), "{name}");
        }
        assert!(matches!(place("new"), Some(Place::New(..))));
        assert_ne!(place("newer"), place("new"));
        assert_ne!(place("sub/new"), place("new"));
        assert_eq!([place("round"), place("no/such/folder"), place("sub")], [None, None, None]);
        assert_eq!(Place::of(Path::new("/dev/null")), None);
        assert!(matches!(Place::of(Path::new("Cargo.toml")), Some(Place::There(..))));
    }
}

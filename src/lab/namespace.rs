//! Network namespaces: made, entered, removed.
//!
//! [`run_in`] is the one place where a thread changes its namespace. It changes the network namespace
//! alone and only on a thread of its own, so the caller stays where it is and the mount table (and bpffs
//! with it) stays the same. Processes started inside are children of such a thread.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What can go wrong with a namespace.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be opened.
    #[error("network namespace {0} can't be opened: {1}")]
    Open(String, io::Error),
    /// It could not be entered.
    #[error("network namespace {0} can't be entered: {1}; this needs root (CAP_SYS_ADMIN)")]
    Enter(String, io::Error),
    /// The thread for it could not be started.
    #[error("no thread for network namespace {0}: {1}")]
    Thread(String, io::Error),
    /// The work inside it panicked.
    #[error("the work in network namespace {0} ended in a panic")]
    Panicked(String),
    /// The `ip` command is missing.
    #[error("the ip command can't be started ({0}); scripts/setup installs iproute2")]
    NoIp(io::Error),
    /// `ip netns` refused.
    #[error("ip netns {0} {1}: {2}")]
    Refused(&'static str, String, String),
}

/// Where a named namespace is mounted. A path of its own, as `/proc/7/ns/net`, stays what it is.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(name)
}

/// Whether there is one of that name.
#[must_use]
pub fn exists(name: &str) -> bool {
    path(name).exists()
}

/// Makes a namespace. The caller's own does not change.
///
/// # Errors
/// [`Error::NoIp`], [`Error::Refused`].
pub fn add(name: &str) -> Result<(), Error> {
    netns("add", name)
}

/// Removes a namespace; the interfaces in it go with it once no process is left inside.
///
/// # Errors
/// [`Error::NoIp`], [`Error::Refused`].
pub fn delete(name: &str) -> Result<(), Error> {
    netns("delete", name)
}

// `ip netns add` and `delete` are a bind mount and its end; `ip netns exec` is never used, because its
// mount namespace hides bpffs.
fn netns(verb: &'static str, name: &str) -> Result<(), Error> {
    let output = Command::new("ip")
        .args(["netns", verb, name])
        .stdin(Stdio::null())
        .output()
        .map_err(Error::NoIp)?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Refused(verb, name.to_owned(), words))
}

/// Runs `work` on a thread inside the namespace and waits for it. Sockets it opens and processes it
/// starts belong to the namespace for good.
///
/// # Errors
/// The namespace can't be entered, or the work panicked.
pub fn run_in<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    let namespace = File::open(path(name)).map_err(|e| Error::Open(name.to_owned(), e))?;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name(name.chars().take(15).collect())
            .spawn_scoped(scope, || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(|e| Error::Enter(name.to_owned(), e.into()))?;
                Ok(work())
            })
            .map_err(|e| Error::Thread(name.to_owned(), e))?;
        thread.join().unwrap_or_else(|_| Err(Error::Panicked(name.to_owned())))
    })
}

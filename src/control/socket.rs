//! The unix socket: who gets it, who may connect, when it goes away.
//!
//! Invariants: it is never open to others than root and its group, not for a moment (mode 0660 before
//! it has a name); a live gate's socket is never taken; a dead one's is. Two gates that start at once
//! take turns under a lock on the folder, which leaves no file behind.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Connections the kernel keeps while the server is at its bound.
const BACKLOG: i32 = 256;

/// Why the socket can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process answers there.
    #[error("a gate is already listening on {}", .0.display())]
    Live(PathBuf),
    /// Something else has the name.
    #[error("{} exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// The path is longer than a socket's may be.
    #[error("{} is too long: a socket's path has at most 107 bytes", .0.display())]
    TooLong(PathBuf),
    /// The system refused.
    #[error("cannot open the socket {}: {}", .0.display(), .1)]
    System(PathBuf, #[source] io::Error),
}

impl SocketError {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Live(_) => "stop that gate first, or give this one another --socket",
            Self::NotASocket(_) => "remove it, or choose another --socket",
            Self::TooLong(_) => "choose a shorter --socket",
            Self::System(..) => "check the folder and its permissions, or choose another --socket",
        }
    }
}

/// A listening socket. Its file goes away with it.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    listener: UnixListener,
    /// Device and inode of the file, so that only our own is ever removed.
    identity: (u64, u64),
}

impl Socket {
    /// Takes a path: creates its folder where missing, and removes the file of a dead gate.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn claim(path: &Path) -> Result<Self, SocketError> {
        let system = |error: io::Error| SocketError::System(path.into(), error);
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        fs::create_dir_all(folder).map_err(system)?;
        let turn = File::open(folder).map_err(system)?;
        rustix::fs::flock(&turn, FlockOperation::LockExclusive).map_err(|e| system(e.into()))?;
        clear(path)?;
        let listener = listen(path)?;
        let file = fs::symlink_metadata(path).map_err(system)?;
        Ok(Self { path: path.into(), listener, identity: (file.dev(), file.ino()) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A second handle to the listener.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.identity);
        if ours {
            // Left behind, it would be recognised as dead by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the name free, if nobody living has it.
fn clear(path: &Path) -> Result<(), SocketError> {
    let system = |error: io::Error| SocketError::System(path.into(), error);
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system(error)),
    };
    if !file.file_type().is_socket() {
        return Err(SocketError::NotASocket(path.into()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::Live(path.into())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(system)
        }
        // A full backlog: somebody listens, and is busy.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(SocketError::Live(path.into())),
        Err(error) => Err(system(error)),
    }
}

fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    let system = |error: rustix::io::Errno| SocketError::System(path.into(), error.into());
    let address = SocketAddrUnix::new(path).map_err(|_| SocketError::TooLong(path.into()))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(system)?;
    // Linux gives the file the mode of the unbound socket, less the umask; chmod gives back what the
    // umask took. The other way round there is a moment in which anybody may connect.
    rustix::fs::fchmod(socket.as_fd(), Mode::from_raw_mode(0o660)).map_err(system)?;
    rustix::net::bind(&socket, &address).map_err(system)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))
        .map_err(|error| SocketError::System(path.into(), error))?;
    rustix::net::listen(&socket, BACKLOG).map_err(system)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_the_group_may_connect_and_the_file_goes_away_with_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/gate.sock");
        let socket = Socket::claim(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
        drop(socket);
        assert_eq!(fs::read_dir(folder.path().join("run")).unwrap().count(), 0);
    }

    #[test]
    fn a_dead_gates_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = Socket::claim(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(socket);
    }

    #[test]
    fn a_live_gates_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.sock");
        let socket = Socket::claim(&path).unwrap();
        assert!(matches!(Socket::claim(&path), Err(SocketError::Live(at)) if at == path));
        UnixStream::connect(&path).unwrap();
        drop(socket);
    }

    #[test]
    fn a_file_that_is_not_a_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::claim(&path), Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_successors_file_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.sock");
        let first = Socket::claim(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let second = Socket::claim(&path).unwrap();
        drop(first);
        UnixStream::connect(&path).unwrap();
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_path_too_long_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x".repeat(120));
        assert!(matches!(Socket::claim(&path), Err(SocketError::TooLong(_))));
    }

    #[test]
    fn of_many_that_start_at_once_one_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.sock");
        drop(UnixListener::bind(&path).unwrap());
        let claims: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Socket::claim(&path))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(claims.iter().filter(|claim| claim.is_ok()).count(), 1);
        assert!(claims.iter().all(|claim| matches!(claim, Ok(_) | Err(SocketError::Live(_)))));
    }
}

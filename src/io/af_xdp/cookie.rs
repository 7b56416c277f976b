//! The cookie of a network namespace: a number that no other one has had or will have in this boot, where
//! an inode is used again.
#![allow(unsafe_code, reason = "rustix has no name for SO_NETNS_COOKIE")]

use std::io;
use std::os::fd::AsRawFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// The cookie of the calling thread's namespace; `None` before Linux 5.14, which knows none.
///
/// # Errors
/// The kernel does not say.
pub fn namespace_cookie() -> io::Result<Option<u64>> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).map_err(io::Error::other)?;
    // SAFETY: the option is 8 bytes, `cookie` has them and `length` says so; both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        return Ok(Some(cookie));
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENOPROTOOPT) { Ok(None) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_keeps_its_cookie() {
        assert_eq!(namespace_cookie().unwrap(), namespace_cookie().unwrap());
        assert_ne!(namespace_cookie().unwrap(), Some(0));
    }
}

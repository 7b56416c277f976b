//! One stream of TCP between the two hosts of the rig, as fast as it goes.
//!
//! What it is not: a check of bytes (tests/traffic.rs is). Both ends run on the generator's core, so that the
//! device's is its own.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};

use crate::hostile::Ground;
use crate::hostile::talk::{SERVER, host};
use crate::traffic::{Namespace, RigError, monotonic, per_second};

/// The core of both ends.
const CORE: usize = 0;

/// A stream that stands still this long is none.
const BOUND: Duration = Duration::from_secs(10);

const PIECE: usize = 256 * 1024;

/// Why there was no stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BulkError {
    /// The rig.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// Nobody listens.
    #[error("nobody can listen at {SERVER}: {0}")]
    Listen(io::Error),
    /// The sender.
    #[error("the stream of TCP broke at its sender: {0}")]
    Sender(io::Error),
    /// The receiver.
    #[error("the stream of TCP broke at its receiver: {0}")]
    Receiver(io::Error),
}

impl Ground {
    /// Payload that arrived in a stream of so long, bits a second.
    ///
    /// # Errors
    /// The stream does not come about, or breaks.
    pub(crate) fn bulk(&self, time: Duration) -> Result<f64, BulkError> {
        let (from, to) = (Namespace::open(&self.sender.space)?, Namespace::open(&self.receiver.space)?);
        let listener = to.inside(|| Ok(TcpListener::bind(SERVER)))?.map_err(BulkError::Listen)?;
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || tell.send(swallow(&listener)));
        let sent = from.inside(|| Ok(pour(time)))?;
        sent.map_err(BulkError::Sender)?;
        let late = |_| BulkError::Receiver(io::ErrorKind::TimedOut.into());
        let (bytes, nanos) = told.recv_timeout(BOUND).map_err(late)?.map_err(BulkError::Receiver)?;
        Ok(per_second(bytes, nanos) * 8.0)
    }
}

/// Reads one connection to its end: its bytes, and the time from its acceptance.
fn swallow(listener: &TcpListener) -> io::Result<(u64, u64)> {
    core_affinity::set_for_current(core_affinity::CoreId { id: CORE });
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(BOUND))?;
    let start = monotonic();
    let mut piece = vec![0; PIECE];
    let mut bytes = 0;
    loop {
        match stream.read(&mut piece)? {
            0 => return Ok((bytes, monotonic() - start)),
            got => bytes += u64::try_from(got).unwrap_or(0),
        }
    }
}

fn pour(time: Duration) -> io::Result<()> {
    core_affinity::set_for_current(core_affinity::CoreId { id: CORE });
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    // Also how long a connect may take (socket(7)).
    sockopt::set_socket_timeout(&fd, sockopt::Timeout::Send, Some(BOUND))?;
    bind(&fd, &SocketAddrV4::new(host(0), 0))?;
    connect(&fd, &SERVER)?;
    let mut stream = TcpStream::from(fd);
    let piece = vec![0x5a; PIECE];
    let start = monotonic();
    while u128::from(monotonic() - start) < time.as_nanos() {
        stream.write_all(&piece)?;
    }
    stream.shutdown(Shutdown::Write)
}

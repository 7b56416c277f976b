//! The services on a lab's hosts: real listeners that say who answers.
//!
//! TCP: a line `HOST PORT` on connect, then for each line `GET n` the first *n* bytes of
//! [`Content`]. UDP: the datagram back, behind `HOST PORT `. Everything else ends the connection.
//! Bounded: connections at a time, line length, bytes a request, idle time.

use std::convert::Infallible;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::stream::{CHUNK, Content};

/// Connections a host holds at a time; further ones are closed at once.
const CONNECTIONS: usize = 512;
/// How long a silent client is kept.
const IDLE: Duration = Duration::from_mins(1);
/// Bytes of a request line.
const LINE: u64 = 64;
/// Bytes a request may ask for: 64 GiB.
const MOST: u64 = 1 << 36;

/// Why a host can't serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port can't be listened on.
    #[error("{0} port {1}: {2}")]
    Listen(&'static str, u16, io::Error),
    /// Nobody hears that it is ready.
    #[error("standard output: {0}")]
    Ready(io::Error),
    /// Nothing to serve.
    #[error("no port to serve: name at least one with --tcp or --udp")]
    Nothing,
    /// A listener ended, and with it the service.
    #[error("a listener ended: {0}")]
    Ended(io::Error),
}

/// Serves until the process is ended. Writes `ready` to `out` once every port listens.
///
/// # Errors
/// A port can't be listened on, or no longer.
pub fn serve(host: &str, tcp: &[u16], udp: &[u16], out: &mut dyn Write) -> Result<Infallible, Error> {
    let any = Ipv6Addr::UNSPECIFIED;
    let (tell, told) = mpsc::channel();
    let open = Arc::new(AtomicUsize::new(0));
    for &port in tcp {
        let listener = TcpListener::bind((any, port)).map_err(|e| Error::Listen("tcp", port, e))?;
        let (name, open, tell) = (format!("{host} {port}"), Arc::clone(&open), tell.clone());
        std::thread::spawn(move || tell.send(accept(&listener, &name, &open)));
    }
    for &port in udp {
        let socket = UdpSocket::bind((any, port)).map_err(|e| Error::Listen("udp", port, e))?;
        let (name, tell) = (format!("{host} {port}"), tell.clone());
        std::thread::spawn(move || tell.send(echo(&socket, &name)));
    }
    if tcp.is_empty() && udp.is_empty() {
        return Err(Error::Nothing);
    }
    writeln!(out, "ready").and_then(|()| out.flush()).map_err(Error::Ready)?;
    drop(tell);
    Err(Error::Ended(told.recv().unwrap_or_else(|_| io::ErrorKind::Other.into())))
}

// Ends only with the error that ends the listener.
fn accept(listener: &TcpListener, name: &str, open: &Arc<AtomicUsize>) -> io::Error {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // The client was gone before it was taken: the next one may not be.
            Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {
                continue;
            }
            Err(e) => return e,
        };
        if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (name, open) = (name.to_owned(), Arc::clone(open));
        std::thread::spawn(move || {
            // A client that goes away is no event of ours.
            let _ = converse(stream, &name);
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn converse(mut stream: TcpStream, name: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    writeln!(stream, "{name}")?;
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut block = Vec::new();
    loop {
        let mut line = String::new();
        (&mut lines).take(LINE).read_line(&mut line)?;
        let Some(wanted) = line.strip_prefix("GET ").and_then(|n| n.trim_end().parse::<u64>().ok()) else {
            return Ok(());
        };
        if wanted > MOST {
            return Ok(());
        }
        let mut content = Content::default();
        let mut left = wanted;
        while left > 0 {
            block.resize(usize::try_from(left).map_or(CHUNK, |l| l.min(CHUNK)), 0);
            content.fill(&mut block);
            stream.write_all(&block)?;
            left = left.saturating_sub(block.len() as u64);
        }
    }
}

fn echo(socket: &UdpSocket, name: &str) -> io::Error {
    let mut datagram = [0; 1500];
    loop {
        let (length, from) = match socket.recv_from(&mut datagram) {
            Ok(received) => received,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return e,
        };
        let mut answer = format!("{name} ").into_bytes();
        answer.extend_from_slice(datagram.get(..length).unwrap_or_default());
        // A client that can't be reached any more is no reason to stop serving the others.
        let _ = socket.send_to(&answer, from);
    }
}

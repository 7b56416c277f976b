//! Legitimate connections: real TCP between real hosts, every byte compared, for as long as it is told to.
//!
//! An exchange is one message and its complement back; both can be computed from the connection's number and
//! the exchange's, so nothing can be lost, doubled or swapped unseen. A message fits one segment: a packet is
//! then what the kernel counts as one. What it is not: a load. Each connection pauses between exchanges.
//!
//! Cost: two threads a connection, on the core that is named.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};

use crate::traffic::{Namespace, RigError, monotonic};

/// Source port of the first eight connections; each further eight have the next one.
pub(crate) const FIRST_PORT: u16 = 20_000;
/// Hosts that connect; their addresses end in 200.0 to 200.7.
pub(crate) const HOSTS: u8 = 8;
/// Whom they connect to.
pub(crate) const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 78, 0, 1), 4739);
/// Bytes of a message without its length, at least and at most.
const LEAST: usize = 64;
const MOST: usize = 1_200;
const STACK: usize = 128 * 1024;

/// Address of a connecting host.
pub(crate) const fn host(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 200, n % HOSTS)
}

/// What is asked of the connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// How many.
    pub(crate) connections: u32,
    /// Between two exchanges of one.
    pub(crate) pause: Duration,
    /// How long an exchange may take at most.
    pub(crate) bound: Duration,
    /// Where their threads run.
    pub(crate) core: usize,
}

/// Why a connection is none any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// It was never there.
    #[error("connection {0} was not accepted: {1}")]
    Refused(u32, io::Error),
    /// It ended by itself.
    #[error("connection {0} broke in exchange {1}: {2}")]
    Ended(u32, u64, io::Error),
    /// An exchange took longer than it may.
    #[error("connection {0} stalled in exchange {1}")]
    Stalled(u32, u64),
    /// Other bytes came than were sent.
    #[error("connection {0} got other bytes than it should in exchange {1}")]
    Mismatch(u32, u64),
    /// The machine gives no thread.
    #[error("connection {0}: {1}")]
    Thread(u32, io::Error),
}

/// What one connection did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Line {
    /// Exchanges whose every byte was right.
    pub(crate) exchanges: u64,
    /// Their bytes, both ways.
    pub(crate) bytes: u64,
    /// The longest of them, in nanoseconds.
    pub(crate) longest: u64,
    /// Exchanges that took longer than a retransmission, 200 ms.
    pub(crate) late: u64,
}

/// Connections that are under way.
pub(crate) struct Talk {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Result<Line, Broken>>>,
}

impl Talk {
    /// Opens them all, one after the other.
    ///
    /// # Errors
    /// One is not accepted within the bound, or a namespace cannot be entered.
    pub(crate) fn begin(from: &Namespace, to: &Namespace, terms: &Terms) -> Result<Self, TalkError> {
        let stop = Arc::new(AtomicBool::new(false));
        let wanted = terms.connections;
        to.inside(|| {
            core_affinity::set_for_current(core_affinity::CoreId { id: terms.core });
            Ok(serve(wanted))
        })?
        .map_err(TalkError::Listen)?;
        let streams: Result<Vec<TcpStream>, Broken> = from.inside(|| {
            Ok((0..wanted)
                .map(|number| open(number, terms.bound).map_err(|why| Broken::Refused(number, why)))
                .collect())
        })?;
        let mut clients = Vec::new();
        for (number, stream) in (0..wanted).zip(streams?) {
            let (stop, terms) = (Arc::clone(&stop), *terms);
            let client = Builder::new().stack_size(STACK).spawn(move || {
                core_affinity::set_for_current(core_affinity::CoreId { id: terms.core });
                converse(stream, number, &terms, &stop)
            });
            clients.push(client.map_err(|why| Broken::Thread(number, why))?);
        }
        Ok(Self { stop, clients })
    }

    /// Lets each end after its exchange, and answers what they did, in the order of their numbers.
    pub(crate) fn end(self) -> Vec<Result<Line, Broken>> {
        self.stop.store(true, Ordering::Relaxed);
        let joined = (0..).zip(self.clients).map(|(number, client)| {
            client
                .join()
                .unwrap_or_else(|_| Err(Broken::Thread(number, io::Error::other("its thread panicked"))))
        });
        joined.collect()
    }
}

/// Why there is no talk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TalkError {
    /// The rig.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// Nobody listens.
    #[error("nobody can listen at {SERVER}: {0}")]
    Listen(io::Error),
    /// A connection does not come about.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Accepts so many connections and answers each until its client has closed.
fn serve(connections: u32) -> io::Result<()> {
    let listener = TcpListener::bind(SERVER)?;
    Builder::new().stack_size(STACK).spawn(move || {
        for stream in listener.incoming().take(usize::try_from(connections).unwrap_or(0)) {
            let Ok(stream) = stream else { return };
            // A client that finds nobody says so.
            let _ = Builder::new().stack_size(STACK).spawn(move || answer(stream));
        }
    })?;
    Ok(())
}

/// Every byte of a message but its length comes back as its complement.
fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut message = Vec::with_capacity(MOST + 2);
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        message.clear();
        message.extend(length);
        message.resize(usize::from(u16::from_be_bytes(length)) + 2, 0);
        stream.read_exact(message.get_mut(2..).unwrap_or_default())?;
        for byte in message.iter_mut().skip(2) {
            *byte = !*byte;
        }
        stream.write_all(&message)?;
    }
}

fn open(number: u32, bound: Duration) -> io::Result<TcpStream> {
    let [.., eighth] = number.to_be_bytes();
    let port = FIRST_PORT.saturating_add(u16::try_from(number / u32::from(HOSTS)).unwrap_or(u16::MAX));
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    // Also how long a connect may take (socket(7)).
    sockopt::set_socket_timeout(&fd, sockopt::Timeout::Send, Some(bound))?;
    sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(bound))?;
    bind(&fd, &SocketAddrV4::new(host(eighth), port))?;
    connect(&fd, &SERVER)?;
    let stream = TcpStream::from(fd);
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn converse(mut stream: TcpStream, number: u32, terms: &Terms, stop: &AtomicBool) -> Result<Line, Broken> {
    let mut line = Line::default();
    let (mut said, mut heard) = (Vec::new(), Vec::new());
    // So that they do not all speak at once.
    std::thread::sleep(terms.pause * number / terms.connections.max(1));
    while !stop.load(Ordering::Relaxed) {
        let nth = line.exchanges;
        let ended = |why: io::Error| {
            if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
                Broken::Stalled(number, nth)
            } else {
                Broken::Ended(number, nth, why)
            }
        };
        write_message(number, nth, &mut said);
        heard.resize(said.len(), 0);
        let start = monotonic();
        stream.write_all(&said).map_err(ended)?;
        stream.read_exact(&mut heard).map_err(ended)?;
        let took = monotonic() - start;
        let mut pairs = said.iter().zip(&heard);
        let framed = pairs.by_ref().take(2).all(|(said, heard)| said == heard);
        if !framed || !pairs.all(|(said, heard)| *said == !*heard) {
            return Err(Broken::Mismatch(number, nth));
        }
        if u128::from(took) > terms.bound.as_nanos() {
            return Err(Broken::Stalled(number, nth));
        }
        line.exchanges += 1;
        line.bytes += u64::try_from(said.len() * 2).unwrap_or(0);
        line.longest = line.longest.max(took);
        line.late += u64::from(took >= 200_000_000);
        std::thread::sleep(terms.pause);
    }
    let ended = |why| Broken::Ended(number, line.exchanges, why);
    stream.shutdown(Shutdown::Write).map_err(ended)?;
    // The other end closes, too, and has nothing more to say.
    match stream.read(&mut [0]).map_err(ended)? {
        0 => Ok(line),
        _ => Err(Broken::Mismatch(number, line.exchanges)),
    }
}

/// The `nth` message of a connection: its length, then bytes that no other message has.
fn write_message(number: u32, nth: u64, into: &mut Vec<u8>) {
    // SplitMix64 (Steele, Lea, Flood 2014).
    let mut state = u64::from(number) << 40 ^ nth;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    };
    let span = u64::try_from(MOST - LEAST).unwrap_or(1);
    let length = LEAST + usize::try_from(next() % span).unwrap_or(0);
    into.clear();
    into.extend(u16::try_from(length).unwrap_or(0).to_be_bytes());
    while into.len() < length + 2 {
        into.extend(next().to_ne_bytes());
    }
    into.truncate(length + 2);
}

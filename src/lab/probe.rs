//! One attempt from one host, as a client sees it: real sockets, the `ping` command, bounded patience.
//!
//! Every function works in the namespace of the calling thread (see [`super::namespace::run_in`]).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use serde::Serialize;

use super::stream::{CHUNK, Content};

/// Why an attempt could not be made at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket operation that has nothing to do with the other end.
    #[error("{0}: {1}")]
    Socket(&'static str, io::Error),
    /// The `ping` command is missing.
    #[error("the ping command can't be started ({0}); scripts/setup installs iputils-ping")]
    NoPing(io::Error),
    /// `ping` said something unforeseen.
    #[error("ping {0}: {1}")]
    Ping(IpAddr, String),
    /// A transfer broke off.
    #[error("connection {connection}, byte {byte}: {why}")]
    Broken {
        /// Which connection, from 1.
        connection: u64,
        /// How many bytes had come.
        byte: u64,
        /// What happened.
        why: io::Error,
    },
    /// A datagram of several did not come back.
    #[error("flow {flow}: {ending:?}")]
    Unanswered {
        /// Which, from 1.
        flow: u16,
        /// How it ended.
        ending: Ending,
    },
    /// A transfer brought the wrong bytes.
    #[error("connection {connection}: wrong content in the block that ends at byte {byte}")]
    Content {
        /// Which connection, from 1.
        connection: u64,
        /// How many bytes had come.
        byte: u64,
    },
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum Ending {
    /// The other end answered.
    Answered {
        /// The first line it said; empty for a ping.
        by: String,
    },
    /// The other end, or something on the way, refused.
    Refused,
    /// Nothing came back.
    TimedOut,
    /// The network says the other end can't be reached.
    Unreachable,
}

/// An attempt that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// How it ended.
    #[serde(flatten)]
    pub ending: Ending,
    /// The address and port it was made from; ping has no port (0).
    pub local: SocketAddr,
    /// The address and port it was made to; ping has no port (0).
    pub remote: SocketAddr,
}

/// What a transfer brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// Connections made, or datagrams sent, one after the other.
    pub connections: u64,
    /// Bytes received over all of them; those of connections compared.
    pub bytes: u64,
}

const fn socket_error(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |e| Error::Socket(what, e)
}

fn ending_of(e: &io::Error) -> Option<Ending> {
    match Errno::from_io_error(e)? {
        Errno::CONNREFUSED | Errno::CONNRESET => Some(Ending::Refused),
        Errno::TIMEDOUT | Errno::AGAIN => Some(Ending::TimedOut),
        Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::ACCESS => Some(Ending::Unreachable),
        _ => None,
    }
}

const fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

// A connection, or how it ended, with the address it was tried from.
fn open(
    from: Option<IpAddr>,
    to: SocketAddr,
    patience: Duration,
) -> Result<(SocketAddr, Result<TcpStream, Ending>), Error> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket =
        socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)
            .map_err(|e| Error::Socket("tcp socket", e.into()))?;
    if let Some(from) = from {
        bind(&socket, &SocketAddr::new(from, 0)).map_err(|e| Error::Socket("bind", e.into()))?;
    }
    let begun = connect(&socket, &to);
    let stream = TcpStream::from(socket);
    let local = stream.local_addr().map_err(socket_error("own address"))?;
    let end = |e: Errno| {
        let e = io::Error::from(e);
        ending_of(&e).ok_or(Error::Socket("connect", e))
    };
    match begun {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => {
            let timeout = Timespec::try_from(patience)
                .map_err(|_| Error::Socket("patience", io::ErrorKind::InvalidInput.into()))?;
            let ready = poll(&mut [PollFd::new(&stream, PollFlags::OUT)], Some(&timeout));
            if ready.map_err(|e| Error::Socket("poll", e.into()))? == 0 {
                return Ok((local, Err(Ending::TimedOut)));
            }
            let outcome = sockopt::socket_error(&stream).map_err(|e| Error::Socket("outcome", e.into()))?;
            if let Err(e) = outcome {
                return Ok((local, Err(end(e)?)));
            }
        }
        Err(e) => return Ok((local, Err(end(e)?))),
    }
    stream.set_nonblocking(false).map_err(socket_error("blocking mode"))?;
    stream.set_read_timeout(Some(patience)).map_err(socket_error("read timeout"))?;
    stream.set_write_timeout(Some(patience)).map_err(socket_error("write timeout"))?;
    Ok((local, Ok(stream)))
}

/// Connects over TCP and reads the line the other end says.
///
/// # Errors
/// The attempt could not be made.
pub fn tcp(from: Option<IpAddr>, to: SocketAddr, patience: Duration) -> Result<Probe, Error> {
    let (local, opened) = open(from, to, patience)?;
    let ending = match opened {
        Err(ending) => ending,
        Ok(stream) => {
            let mut line = String::new();
            match BufReader::new(stream.take(200)).read_line(&mut line) {
                Ok(0) => Ending::Refused,
                Ok(_) => Ending::Answered { by: line.trim_end().to_owned() },
                Err(e) => ending_of(&e).ok_or(Error::Socket("read", e))?,
            }
        }
    };
    Ok(Probe { ending, local, remote: to })
}

/// Sends a datagram and waits for it to come back.
///
/// # Errors
/// The attempt could not be made.
pub fn udp(from: Option<IpAddr>, to: SocketAddr, patience: Duration) -> Result<Probe, Error> {
    datagram(SocketAddr::new(from.unwrap_or_else(|| unspecified(to.ip())), 0), to, patience)
}

fn datagram(from: SocketAddr, to: SocketAddr, patience: Duration) -> Result<Probe, Error> {
    let socket = UdpSocket::bind(from).map_err(socket_error("bind"))?;
    socket.connect(to).map_err(socket_error("connect"))?;
    socket.set_read_timeout(Some(patience)).map_err(socket_error("read timeout"))?;
    let local = socket.local_addr().map_err(socket_error("own address"))?;
    let mut answer = [0; 1500];
    let ending = match socket.send(b"hello").and_then(|_| socket.recv(&mut answer)) {
        Ok(length) => {
            let said = String::from_utf8_lossy(answer.get(..length).unwrap_or_default());
            Ending::Answered { by: said.strip_suffix(" hello").unwrap_or(&said).to_owned() }
        }
        Err(e) => ending_of(&e).ok_or(Error::Socket("datagram", e))?,
    };
    Ok(Probe { ending, local, remote: to })
}

/// Below the ports that systems choose by themselves.
const FIRST_PORT: u16 = 10_000;

/// Sends a datagram from each of so many ports, one after the other; each must come back.
///
/// # Errors
/// The first that does not, or that can't be sent.
pub fn datagrams(to: SocketAddr, flows: u16, patience: Duration) -> Result<Transfer, Error> {
    let mut bytes = 0;
    for flow in 0..flows {
        let from = SocketAddr::new(unspecified(to.ip()), FIRST_PORT.saturating_add(flow));
        let ending = datagram(from, to, patience)?.ending;
        let Ending::Answered { by } = &ending else {
            return Err(Error::Unanswered { flow: flow + 1, ending });
        };
        bytes += by.len() as u64;
    }
    Ok(Transfer { connections: flows.into(), bytes })
}

/// Sends one ICMP or ICMPv6 echo request by the `ping` command.
///
/// # Errors
/// The attempt could not be made.
pub fn ping(from: Option<IpAddr>, to: IpAddr, patience: Duration) -> Result<Probe, Error> {
    let mut command = Command::new("ping");
    command.args(["-n", "-q", "-c", "1", "-W"]).arg(format!("{:.1}", patience.as_secs_f64()));
    if let Some(from) = from {
        command.arg("-I").arg(from.to_string());
    }
    let output = command.arg(to.to_string()).stdin(Stdio::null()).output().map_err(Error::NoPing)?;
    // 0: answered; 1: not answered; 2: something else.
    let ending = match output.status.code() {
        Some(0) => Ending::Answered { by: String::new() },
        Some(1) => Ending::TimedOut,
        Some(_) | None => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Error::Ping(to, said));
        }
    };
    let local = SocketAddr::new(from.unwrap_or_else(|| unspecified(to)), 0);
    Ok(Probe { ending, local, remote: SocketAddr::new(to, 0) })
}

/// Makes `connections` connections, one after the other, and takes `bytes` over each; every byte is
/// compared with what the server must have sent.
///
/// # Errors
/// The first connection that fails, breaks off or brings a wrong byte.
pub fn fetch(to: SocketAddr, bytes: u64, connections: u64, patience: Duration) -> Result<Transfer, Error> {
    let mut block = Vec::new();
    let mut expected = vec![0; CHUNK];
    for connection in 1..=connections {
        let broken = |byte: u64| move |why: io::Error| Error::Broken { connection, byte, why };
        let (_, opened) = open(None, to, patience)?;
        let mut stream = opened.map_err(|ending| {
            let kind = match ending {
                Ending::Refused | Ending::Answered { .. } => io::ErrorKind::ConnectionRefused,
                Ending::TimedOut => io::ErrorKind::TimedOut,
                Ending::Unreachable => io::ErrorKind::HostUnreachable,
            };
            broken(0)(kind.into())
        })?;
        let mut banner = [0];
        while banner != *b"\n" {
            stream.read_exact(&mut banner).map_err(broken(0))?;
        }
        writeln!(stream, "GET {bytes}").map_err(broken(0))?;
        let mut content = Content::default();
        let mut done = 0;
        while done < bytes {
            let wanted = usize::try_from(bytes - done).map_or(CHUNK, |l| l.min(CHUNK));
            block.resize(wanted, 0);
            stream.read_exact(&mut block).map_err(broken(done))?;
            expected.resize(wanted, 0);
            content.fill(&mut expected);
            done += wanted as u64;
            if block != expected {
                return Err(Error::Content { connection, byte: done });
            }
        }
    }
    Ok(Transfer { connections, bytes: bytes.saturating_mul(connections) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const PATIENCE: Duration = Duration::from_millis(500);

    struct Ready(std::sync::mpsc::Sender<u16>, u16);
    impl Write for Ready {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(self.1);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    // A server on a port of the loopback interface.
    fn server(tcp: bool) -> SocketAddr {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            // The port must be known beforehand: bind to a free one, let go, serve it.
            let port = if tcp {
                TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port()
            } else {
                UdpSocket::bind("[::]:0").unwrap().local_addr().unwrap().port()
            };
            let (tcp, udp) = if tcp { (vec![port], vec![]) } else { (vec![], vec![port]) };
            super::super::serve::serve("host", &tcp, &udp, &mut Ready(tell, port))
        });
        let port = told.recv_timeout(Duration::from_secs(5)).unwrap();
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_tcp_server_says_who_it_is() {
        let to = server(true);
        let probe = tcp(Some([127, 0, 0, 2].into()), to, PATIENCE).unwrap();
        assert_eq!(probe.ending, Ending::Answered { by: format!("host {}", to.port()) });
        assert_eq!((probe.local.ip(), probe.remote), ([127, 0, 0, 2].into(), to));
        assert_ne!(probe.local.port(), 0);
    }

    #[test]
    fn a_udp_server_says_who_it_is() {
        let to = server(false);
        let probe = udp(None, to, PATIENCE).unwrap();
        assert_eq!(probe.ending, Ending::Answered { by: format!("host {}", to.port()) });
        assert_ne!(probe.local.port(), 0);
    }

    #[test]
    fn every_datagram_of_many_comes_back_or_the_first_that_does_not_is_named() {
        let to = server(false);
        let said = format!("host {}", to.port()).len() as u64;
        let transfer = datagrams(to, 20, PATIENCE).unwrap();
        assert_eq!(transfer, Transfer { connections: 20, bytes: 20 * said });
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = datagrams(free, 20, PATIENCE).unwrap_err();
        assert!(matches!(error, Error::Unanswered { flow: 1, ending: Ending::Refused }), "{error}");
    }

    #[test]
    fn a_closed_port_refuses() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(tcp(None, free, PATIENCE).unwrap().ending, Ending::Refused);
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(udp(None, free, PATIENCE).unwrap().ending, Ending::Refused);
    }

    #[test]
    fn silence_is_a_timeout() {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let probe = udp(None, silent.local_addr().unwrap(), PATIENCE).unwrap();
        assert_eq!(probe.ending, Ending::TimedOut);
    }

    #[test]
    fn a_listener_that_says_nothing_did_not_answer() {
        let mute = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(tcp(None, mute.local_addr().unwrap(), PATIENCE).unwrap().ending, Ending::TimedOut);
    }

    #[test]
    fn content_is_compared() {
        let to = server(true);
        let transfer = fetch(to, 200_001, 3, PATIENCE).unwrap();
        assert_eq!(transfer, Transfer { connections: 3, bytes: 600_003 });
    }

    #[test]
    fn a_wrong_byte_is_found() {
        let liar = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = liar.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = liar.accept().unwrap();
            let mut bytes = vec![0; 100_000];
            Content::default().fill(&mut bytes);
            bytes[99_999] ^= 1;
            stream.write_all(b"liar\n").unwrap();
            stream.write_all(&bytes).unwrap();
            // Until the other end has closed: what is unread at a close is a reset.
            let _ = io::copy(&mut stream, &mut io::sink());
        });
        let error = fetch(to, 100_000, 1, PATIENCE).unwrap_err();
        assert!(matches!(error, Error::Content { connection: 1, byte: 100_000 }), "{error}");
    }

    #[test]
    fn a_probe_reads_as_json() {
        let probe = Probe {
            ending: Ending::Answered { by: "vault 443".to_owned() },
            local: ([10, 10, 0, 7], 40_000).into(),
            remote: ([10, 20, 0, 10], 443).into(),
        };
        let text = serde_json::to_string(&probe).unwrap();
        assert_eq!(
            text,
            r#"{"result":"answered","by":"vault 443","local":"10.10.0.7:40000","remote":"10.20.0.10:443"}"#
        );
    }
}

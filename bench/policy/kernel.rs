//! The same content as a set of nftables, in the namespace this runs in.
//!
//! What is compared: one concatenation of source, destination, protocol and port with ranges, as the kernel
//! looks it up for a packet that a raw socket sends, beside [`Table::judge`](portcullis::policy::Table::judge).
//! A packet that the set has is refused at first, which the socket is told, so that both can be held against
//! each other; for the clock it goes on either way, and what the lookup costs is the difference to a chain
//! without it. What it is not: a firewall; nothing is tracked and no label is known.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use portcullis::io::clock::boot_nanos;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with};

use crate::Failed;
use crate::calibration::each;
use crate::lookup::Bout;
use crate::sets::End;

/// Elements handed over at once.
const BATCH: usize = 2_000;
/// Packets of a turn.
const TURN: usize = 1 << 16;

/// A packet that opens a connection, and where it goes.
struct Packet {
    bytes: [u8; 28],
    to: SocketAddrV4,
}

/// What the kernel was found to cost.
pub(crate) struct Found {
    /// Packets on which table and set agree.
    pub(crate) agreed: usize,
    /// By block: nanoseconds of a packet with the lookup, and without.
    pub(crate) blocks: Vec<[f64; 2]>,
}

/// Fills a set, holds both against each other, measures.
pub(crate) fn measure(bout: &Bout, blocks: usize) -> Result<Found, Failed> {
    nft(
        "flush ruleset\ntable ip t {\n set s { type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags interval; }\n chain out { type filter hook output priority 0; policy accept; }\n}\n",
    )?;
    let denies: Vec<_> = bout.set.rules.iter().filter(|rule| !rule.allow).collect();
    for batch in denies.chunks(BATCH) {
        let mut text = String::from("add element ip t s {\n");
        for rule in batch {
            let (End::Run(a, b), End::Run(c, d)) = (&rule.from, &rule.to) else { continue };
            let [a, b, c, d] = [a, b, c, d].map(|bits| Ipv4Addr::from_bits(*bits));
            for ports in &rule.services {
                let _ = writeln!(
                    text,
                    "{a}-{b} . {c}-{d} . {} . {}-{},",
                    ports.protocol, ports.first, ports.last
                );
            }
        }
        text.push_str("}\n");
        nft(&text)?;
    }
    let packets: Vec<Packet> = bout.probes.iter().filter_map(|probe| packet(bout, *probe)).collect();
    let socket =
        socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))?;
    lookup(Some("drop"))?;
    let mut agreed = 0;
    for (packet, probe) in packets.iter().zip(&bout.probes) {
        let refused = match send(&socket, packet) {
            Ok(()) => false,
            Err(Errno::PERM) => true,
            Err(other) => return Err(other.into()),
        };
        if refused == bout.allows(*probe) {
            return Err(Failed::Differ(format!("the set and the table on {probe:?}")));
        }
        agreed += 1;
    }
    let mut found = Found { agreed, blocks: Vec::new() };
    let mut next = packets.iter().cycle();
    for _ in 0..blocks {
        let mut sums = [0_u64; 2];
        for with in [true, false, false, true] {
            lookup(with.then_some("accept"))?;
            let before = boot_nanos();
            for packet in next.by_ref().take(TURN) {
                send(&socket, packet)?;
            }
            let nanos = boot_nanos() - before;
            let [there, without] = &mut sums;
            *(if with { there } else { without }) += nanos;
        }
        found.blocks.push(sums.map(|sum| each(sum, 2 * TURN as u64)));
    }
    Ok(found)
}

/// What the chain does: asks the set and then does this, or nothing.
fn lookup(verdict: Option<&str>) -> Result<(), Failed> {
    let rule = verdict.map_or_else(String::new, |verdict| {
        format!("add rule ip t out ip saddr . ip daddr . meta l4proto . th dport @s {verdict}\n")
    });
    nft(&format!("flush chain ip t out\n{rule}"))
}

fn nft(text: &str) -> Result<(), Failed> {
    let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
    if let Some(mut to) = child.stdin.take() {
        to.write_all(text.as_bytes())?;
    }
    if child.wait()?.success() { Ok(()) } else { Err(Failed::Nft) }
}

fn packet(bout: &Bout, probe: crate::lookup::Probe) -> Option<Packet> {
    let (from, to) = (bout.set.hosts.get(probe.from)?, bout.set.hosts.get(probe.to)?);
    let (IpAddr::V4(from), IpAddr::V4(to)) = (from.address, to.address) else { return None };
    let service = probe.service;
    let parts: [&[u8]; 7] = [
        &[0x45, 0, 0, 28, 0, 0, 0, 0, 64, service.protocol, 0, 0],
        &from.octets(),
        &to.octets(),
        &service.sport.to_be_bytes(),
        &service.dport.to_be_bytes(),
        &[0, 8],
        &[0, 0],
    ];
    let bytes = parts.concat().try_into().ok()?;
    Some(Packet { bytes, to: SocketAddrV4::new(to, 0) })
}

fn send(socket: &OwnedFd, packet: &Packet) -> Result<(), Errno> {
    sendto(socket, &packet.bytes, SendFlags::empty(), &packet.to).map(|_| ())
}

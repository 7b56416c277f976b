//! The two end hosts of the rig: addresses on its silent veth ends, and what the kernel counts there.
//!
//! The hosts share the wire with the flood: the frames of both enter the gate's ports through the same ring.
//! No ARP and no IPv6: neighbours are written, so that every packet is one that somebody sent.

use std::collections::BTreeMap;
use std::process::Command;

use super::talk::{self, HOSTS, SERVER};
use crate::traffic::{ENDS, LinkCounters, Namespace, RigError};

/// A veth end in a namespace.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// The namespace's name.
    pub(crate) space: String,
    /// The interface's.
    pub(crate) link: String,
}

/// Where the rig stands.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    /// Where the flood and the connections come from.
    pub(crate) sender: End,
    /// Where they go.
    pub(crate) receiver: End,
    /// The namespace of the gate, whose ports are `outside` and `inside`.
    pub(crate) gate: String,
}

/// Why an end host is none.
#[derive(Debug, thiserror::Error)]
#[error("{line}: {said}")]
pub(crate) struct NoHost {
    line: String,
    said: String,
}

fn run(space: &str, line: &str) -> Result<String, NoHost> {
    let failed = |said| NoHost { line: format!("{line} (in {space})"), said };
    let done = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{space}"))
        .args(line.split_whitespace())
        .output()
        .map_err(|why| failed(why.to_string()))?;
    if done.status.success() {
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    } else {
        Err(failed(String::from_utf8_lossy(&done.stderr).trim().to_owned()))
    }
}

impl Ground {
    /// Makes hosts of both ends.
    ///
    /// # Errors
    /// The kernel refuses something.
    pub(crate) fn settle(&self) -> Result<(), NoHost> {
        let mac = |octets: [u8; 6]| octets.map(|b| format!("{b:02x}")).join(":");
        let (near, far) = (mac(ENDS.source_mac), mac(ENDS.destination_mac));
        let End { space, link } = &self.sender;
        run(space, &format!("ip link set {link} address {near}"))?;
        run(space, &format!("ethtool -K {link} tx off gso off rxvlan off txvlan off"))?;
        for host in (0..HOSTS).map(talk::host) {
            run(space, &format!("ip addr add {host}/32 dev {link}"))?;
        }
        run(space, &format!("ip route add {} dev {link}", SERVER.ip()))?;
        run(space, &format!("ip neigh replace {} lladdr {far} dev {link} nud permanent", SERVER.ip()))?;
        let End { space, link } = &self.receiver;
        run(space, &format!("ip link set {link} address {far}"))?;
        run(space, &format!("ethtool -K {link} tx off gso off rxvlan off txvlan off"))?;
        run(space, &format!("ip addr add {}/32 dev {link}", SERVER.ip()))?;
        for host in (0..HOSTS).map(talk::host) {
            run(space, &format!("ip route add {host} dev {link}"))?;
            run(space, &format!("ip neigh replace {host} lladdr {near} dev {link} nud permanent"))?;
        }
        Ok(())
    }

    /// What the kernel counted so far.
    ///
    /// # Errors
    /// A counter cannot be read.
    pub(crate) fn counts(&self) -> Result<Counts, EndsError> {
        let (sender, receiver) =
            (Namespace::open(&self.sender.space)?, Namespace::open(&self.receiver.space)?);
        let gate = Namespace::open(&self.gate)?;
        Ok(Counts {
            sender: (sender.counters(&self.sender.link)?, packets(&sender)?),
            receiver: (receiver.counters(&self.receiver.link)?, packets(&receiver)?),
            outside: (gate.counters("outside")?, self.queued_drops("outside")?),
            inside: (gate.counters("inside")?, self.queued_drops("inside")?),
        })
    }

    /// What the queueing discipline of one of the gate's ports dropped.
    fn queued_drops(&self, port: &str) -> Result<u64, EndsError> {
        let text = run(&self.gate, &format!("tc -s -j qdisc show dev {port}"))?;
        let all: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap_or_default();
        Ok(all.iter().filter_map(|qdisc| qdisc["drops"].as_u64()).sum())
    }
}

/// A count of an end host cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndsError {
    /// The rig.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// A command.
    #[error(transparent)]
    Command(#[from] NoHost),
}

/// IP packets of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packets {
    /// It sent.
    pub(crate) out: u64,
    /// It received.
    pub(crate) into: u64,
}

/// The kernel's counts: of each interface, and of its host or its queueing discipline.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sender: (LinkCounters, Packets),
    pub(crate) receiver: (LinkCounters, Packets),
    pub(crate) outside: (LinkCounters, u64),
    pub(crate) inside: (LinkCounters, u64),
}

fn packets(namespace: &Namespace) -> Result<Packets, RigError> {
    let text = namespace.inside(|| {
        std::fs::read_to_string("/proc/thread-self/net/snmp").map_err(|e| RigError::Counters(e.to_string()))
    })?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Ip:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let all: BTreeMap<&str, u64> = names
        .split_whitespace()
        .zip(values.split_whitespace())
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect();
    let count = |name: &str| {
        all.get(name).copied().ok_or_else(|| RigError::Counters(format!("/proc/net/snmp has no {name}")))
    };
    Ok(Packets { out: count("OutRequests")?, into: count("InReceives")? })
}

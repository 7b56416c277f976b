//! What the gate's record must say of a frame: as etherparse reads it, which knows nothing of our parser.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use portcullis::control::answers::EventLine;
use portcullis::pipeline::Reason;
use portcullis::wire::Side;

/// What identifies a packet in the record, and what is said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    kind: &'static str,
    side: String,
    reason: Option<String>,
    /// The rule that decided, where one did.
    rule: Option<String>,
    mode: String,
    macs: [String; 2],
    length: u32,
    /// Source and destination, where the header that holds them is there.
    ends: Option<[IpAddr; 2]>,
    protocol: Option<u8>,
    /// Both ports, or type and code of ICMP; none where the packet does not show them.
    ports: Option<[u16; 2]>,
}

impl Told {
    /// That it was dropped.
    pub(crate) fn drop(side: Side, frame: &[u8], reason: Reason) -> Self {
        let mac = |at: usize| {
            frame[at..at + 6].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
        };
        let said = Self {
            kind: "drop",
            side: side.name().into(),
            reason: Some(reason.name().into()),
            mode: "enforce".into(),
            macs: [mac(6), mac(0)],
            length: u32::try_from(frame.len()).unwrap(),
            ..Self::default()
        };
        let Ok(packet) = LaxSlicedPacket::from_ethernet(frame) else { return said };
        if reason == Reason::IpVersion {
            // Nobody knows what its header is.
            return said;
        }
        let whole = |part: &etherparse::LaxIpPayloadSlice<'_>| {
            let [s0, s1, d0, d1] = *part.payload.first_chunk().filter(|_| !part.fragmented)?;
            Some([u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])])
        };
        let sctp = match &packet.net {
            Some(LaxNetSlice::Ipv4(v4)) => whole(v4.payload()),
            Some(LaxNetSlice::Ipv6(v6)) => whole(v6.payload()),
            Some(LaxNetSlice::Arp(_)) | None => None,
        };
        let (ends, protocol): ([IpAddr; 2], Option<u8>) = match packet.net {
            Some(LaxNetSlice::Ipv4(v4)) => {
                let header = v4.header();
                let ends = [header.source_addr(), header.destination_addr()].map(Ipv4Addr::into);
                (ends, Some(header.protocol().0))
            }
            Some(LaxNetSlice::Ipv6(v6)) => {
                let header = v6.header();
                let ends = [header.source_addr(), header.destination_addr()].map(Ipv6Addr::into);
                // It stops at a header that must not stand there.
                let last = v6.payload().ip_number;
                (ends, (!last.is_ipv6_ext_header_value()).then_some(last.0))
            }
            Some(LaxNetSlice::Arp(_)) | None => return said,
        };
        let ports = match packet.transport {
            Some(TransportSlice::Tcp(tcp)) => Some([tcp.source_port(), tcp.destination_port()]),
            Some(TransportSlice::Udp(udp)) => Some([udp.source_port(), udp.destination_port()]),
            // Over the other family's header either is a protocol without type and code.
            Some(TransportSlice::Icmpv4(_)) if ends[0].is_ipv6() => None,
            Some(TransportSlice::Icmpv6(_)) if ends[0].is_ipv4() => None,
            Some(TransportSlice::Icmpv4(icmp)) => Some([icmp.type_u8().into(), icmp.code_u8().into()]),
            Some(TransportSlice::Icmpv6(icmp)) => Some([icmp.type_u8().into(), icmp.code_u8().into()]),
            // etherparse has no SCTP; its ports come first (RFC 9260 §3.1).
            None if protocol == Some(132) => sctp,
            Some(TransportSlice::Igmp(_)) | None => None,
        };
        Self { ends: Some(ends), protocol, ports, ..said }
    }

    /// That it crossed, and enforcement would have dropped it.
    pub(crate) fn would(side: Side, frame: &[u8], reason: Reason, mode: &str) -> Self {
        Self { kind: "would_drop", mode: mode.into(), ..Self::drop(side, frame, reason) }
    }

    /// That it was dropped and answered.
    pub(crate) fn reject(side: Side, frame: &[u8], reason: Reason) -> Self {
        Self { kind: "reject", ..Self::drop(side, frame, reason) }
    }

    /// The same by this rule.
    pub(crate) fn by(self, rule: &str) -> Self {
        Self { rule: Some(rule.into()), ..self }
    }

    /// That a rule with `log` let it cross.
    pub(crate) fn allow(side: Side, frame: &[u8]) -> Self {
        Self { kind: "allow", reason: None, ..Self::drop(side, frame, Reason::NoRule) }
    }

    /// How much of it the frame shows.
    pub(crate) fn shown(&self) -> usize {
        usize::from(self.ends.is_some())
            + usize::from(self.protocol.is_some())
            + usize::from(self.ports.is_some())
    }

    /// The same of an event. What the frame does not show cannot be held against the event.
    pub(crate) fn of(&self, event: &EventLine) -> Self {
        let ports = match (event.sport.zip(event.dport), event.icmp_type.zip(event.icmp_code)) {
            (Some((source, target)), _) => Some([source, target]),
            (None, Some((kind, code))) => Some([kind.into(), code.into()]),
            (None, None) => None,
        };
        Self {
            kind: ["drop", "reject", "would_drop", "allow", "cut"]
                .into_iter()
                .find(|kind| *kind == event.kind)
                .unwrap(),
            side: event.side.clone(),
            reason: event.reason.clone(),
            rule: event.rule.clone(),
            mode: event.mode.clone(),
            macs: [&event.src_mac, &event.dst_mac].map(|mac| mac.clone().unwrap_or_default()),
            length: event.length,
            ends: self.ends.and(event.src.zip(event.dst).map(|(src, dst)| [src, dst])),
            protocol: self.protocol.and(event.protocol),
            ports: self.ports.and(ports),
        }
    }
}

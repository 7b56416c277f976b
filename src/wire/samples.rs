//! Whole frames for tests, benches and raw senders in the lab.
//!
//! What it is: one constructor a kind of frame, built with etherparse's headers so that no byte of it
//! comes from our own parser's view of the format; checksums are right. What it is not: nothing on the
//! packet path calls it, and it allocates. Cost: one `Vec` a frame.
//!
//! ```
//! use portcullis::wire::samples::Ends;
//! use portcullis::wire::{TcpFlags, parse};
//!
//! let ends = Ends::of("10.10.0.5", "10.20.0.9");
//! let syn = ends.tcp(40_000, 443, TcpFlags::SYN, 1, 0, b"");
//! let answer = ends.reply().tcp(443, 40_000, TcpFlags::SYN | TcpFlags::ACK, 7, 2, b"");
//! assert_eq!(parse(&syn).unwrap().key().unwrap().0, parse(&answer).unwrap().key().unwrap().0);
//! ```

use std::net::IpAddr;

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, Ethernet2Header, Icmpv4Header, Icmpv4Type,
    Icmpv6Header, Icmpv6Type, IpFragOffset, IpNumber, Ipv4Header, Ipv6FragmentHeader, Ipv6Header,
    SingleVlanHeader, TcpHeader, UdpHeader, VlanId,
};

use super::{Mac, TcpFlags, Vlans};

/// What every header writer here promises: the sample is small enough for its length fields.
const FITS: &str = "a sample fits its length fields";

/// Who sends to whom: the part of a frame below the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Source address of the frame.
    pub src_mac: Mac,
    /// Destination address of the frame.
    pub dst_mac: Mac,
    /// Tags; one is written as 0x8100, two as 0x88a8 then 0x8100.
    pub vlans: Vlans,
    /// Source address of the packet.
    pub src: IpAddr,
    /// Destination address; a mixed pair is written as IPv6 with the IPv4 address mapped.
    pub dst: IpAddr,
    /// IPv4 TTL or IPv6 hop limit.
    pub hop_limit: u8,
}

impl Ends {
    /// Untagged, between two locally administered addresses, hop limit 64.
    #[must_use]
    pub const fn new(src: IpAddr, dst: IpAddr) -> Self {
        Self {
            src_mac: Mac([2, 0, 0, 0x10, 0, 1]),
            dst_mac: Mac([2, 0, 0, 0x20, 0, 1]),
            vlans: Vlans::UNTAGGED,
            src,
            dst,
            hop_limit: 64,
        }
    }

    /// [`Ends::new`] from text.
    ///
    /// # Panics
    /// When the text is not an address.
    #[must_use]
    pub fn of(src: &str, dst: &str) -> Self {
        Self::new(src.parse().expect("a source address"), dst.parse().expect("a destination address"))
    }

    /// The same with these tags.
    #[must_use]
    pub const fn on(self, vlans: Vlans) -> Self {
        Self { vlans, ..self }
    }

    /// The same between these hardware addresses.
    #[must_use]
    pub const fn macs(self, src_mac: Mac, dst_mac: Mac) -> Self {
        Self { src_mac, dst_mac, ..self }
    }

    /// The same with this TTL or hop limit.
    #[must_use]
    pub const fn hops(self, hop_limit: u8) -> Self {
        Self { hop_limit, ..self }
    }

    /// The opposite direction.
    #[must_use]
    pub const fn reply(self) -> Self {
        Self { src_mac: self.dst_mac, dst_mac: self.src_mac, src: self.dst, dst: self.src, ..self }
    }

    /// A TCP segment without options, window 65 535. `flags` are [`TcpFlags`] bits.
    #[must_use]
    pub fn tcp(&self, sport: u16, dport: u16, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
        let mut header = TcpHeader::new(sport, dport, seq, u16::MAX);
        header.acknowledgment_number = ack;
        let has = |mask| TcpFlags(flags).has(mask);
        header.fin = has(TcpFlags::FIN);
        header.syn = has(TcpFlags::SYN);
        header.rst = has(TcpFlags::RST);
        header.psh = has(TcpFlags::PSH);
        header.ack = has(TcpFlags::ACK);
        header.urg = has(TcpFlags::URG);
        header.ece = has(0x40);
        header.cwr = has(0x80);
        self.tcp_with(header, payload)
    }

    /// A TCP segment with this header (its checksum is set here): window, options.
    #[must_use]
    pub fn tcp_with(&self, mut header: TcpHeader, payload: &[u8]) -> Vec<u8> {
        header.checksum = match self.family() {
            Family::V4(src, dst) => header.calc_checksum_ipv4_raw(src, dst, payload),
            Family::V6(src, dst) => header.calc_checksum_ipv6_raw(src, dst, payload),
        }
        .expect(FITS);
        self.ip(6, &[&header.to_bytes(), payload].concat())
    }

    /// A UDP datagram.
    #[must_use]
    pub fn udp(&self, sport: u16, dport: u16, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(8 + payload.len()).expect(FITS);
        let mut header = UdpHeader { source_port: sport, destination_port: dport, length, checksum: 0 };
        header.checksum = match self.family() {
            Family::V4(src, dst) => header.calc_checksum_ipv4_raw(src, dst, payload),
            Family::V6(src, dst) => header.calc_checksum_ipv6_raw(src, dst, payload),
        }
        .expect(FITS);
        self.ip(17, &[&header.to_bytes(), payload].concat())
    }

    /// An SCTP packet: its common header, the checksum zero, and these chunks.
    #[must_use]
    pub fn sctp(&self, sport: u16, dport: u16, tag: u32, chunks: &[u8]) -> Vec<u8> {
        let header = [&sport.to_be_bytes()[..], &dport.to_be_bytes(), &tag.to_be_bytes(), &[0; 4]].concat();
        self.ip(132, &[&header, chunks].concat())
    }

    /// An ICMP message over IPv4, an ICMPv6 message over IPv6; `rest` are its bytes 4–7.
    #[must_use]
    pub fn icmp(&self, kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
        match self.family() {
            Family::V4(..) => {
                let kind = Icmpv4Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: rest };
                let header = Icmpv4Header::with_checksum(kind, payload);
                self.ip(1, &[&header.to_bytes(), payload].concat())
            }
            Family::V6(src, dst) => {
                let kind = Icmpv6Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: rest };
                let header = Icmpv6Header::with_checksum(kind, src, dst, payload).expect(FITS);
                self.ip(58, &[&header.to_bytes(), payload].concat())
            }
        }
    }

    /// An echo request of the addresses' family.
    #[must_use]
    pub fn echo(&self, id: u16, seq: u16, payload: &[u8]) -> Vec<u8> {
        self.icmp(if self.v6() { 128 } else { 8 }, 0, two(id, seq), payload)
    }

    /// An echo reply; like every frame it goes from `src` to `dst`.
    #[must_use]
    pub fn echo_reply(&self, id: u16, seq: u16, payload: &[u8]) -> Vec<u8> {
        self.icmp(if self.v6() { 129 } else { 0 }, 0, two(id, seq), payload)
    }

    /// An ICMP error of this type and code that quotes the IP packet of `frame` (at most 128 bytes of
    /// it). `rest`: the next hop's MTU for Fragmentation Needed and Packet Too Big, else zero.
    #[must_use]
    pub fn icmp_error(&self, kind: u8, code: u8, rest: [u8; 4], frame: &[u8]) -> Vec<u8> {
        let mut quoted = frame.get(12..).unwrap_or_default();
        while let [0x81, 0x00, _, _, rest @ ..] | [0x88, 0xa8, _, _, rest @ ..] = quoted {
            quoted = rest;
        }
        let quoted = quoted.get(2..).unwrap_or_default();
        self.icmp(kind, code, rest, quoted.get(..128).unwrap_or(quoted))
    }

    /// A whole packet of any protocol. The payload is written as it is.
    #[must_use]
    pub fn ip(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        match self.family() {
            Family::V4(..) => self.ipv4(&self.ipv4_header(protocol, payload.len()), payload),
            Family::V6(..) => self.ipv6(protocol, payload),
        }
    }

    /// A fragment: `offset` in bytes, a multiple of eight. IPv4 keeps the low 16 bits of `id`.
    #[must_use]
    pub fn fragment(&self, protocol: u8, id: u32, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
        let fragment_offset = IpFragOffset::try_new(offset / 8).expect(FITS);
        match self.family() {
            Family::V4(..) => {
                let mut header = self.ipv4_header(protocol, payload.len());
                let [_, _, high, low] = id.to_be_bytes();
                header.identification = u16::from_be_bytes([high, low]);
                header.dont_fragment = false;
                header.more_fragments = more;
                header.fragment_offset = fragment_offset;
                header.header_checksum = header.calc_header_checksum();
                self.ipv4(&header, payload)
            }
            Family::V6(..) => {
                let header =
                    Ipv6FragmentHeader::new(IpNumber(protocol), fragment_offset, more, id).to_bytes();
                self.ipv6(44, &[&header, payload].concat())
            }
        }
    }

    /// An IPv4 header to change and give to [`Ends::ipv4`]. Its checksum is right until it is changed.
    #[must_use]
    pub fn ipv4_header(&self, protocol: u8, payload: usize) -> Ipv4Header {
        let (src, dst) = match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => (src.octets(), dst.octets()),
            (IpAddr::V6(_), _) | (_, IpAddr::V6(_)) => ([0; 4], [0; 4]),
        };
        let length = u16::try_from(payload).expect(FITS);
        let mut header = Ipv4Header::new(length, self.hop_limit, IpNumber(protocol), src, dst).expect(FITS);
        header.header_checksum = header.calc_header_checksum();
        header
    }

    /// A frame with this IPv4 header, written as it is.
    #[must_use]
    pub fn ipv4(&self, header: &Ipv4Header, payload: &[u8]) -> Vec<u8> {
        self.ethernet(0x0800, &[&header.to_bytes(), payload].concat())
    }

    /// A frame with an IPv6 header whose next header is `next`; extension headers stand in `payload`.
    #[must_use]
    pub fn ipv6(&self, next: u8, payload: &[u8]) -> Vec<u8> {
        let header = Ipv6Header {
            payload_length: u16::try_from(payload.len()).expect(FITS),
            next_header: IpNumber(next),
            hop_limit: self.hop_limit,
            source: six(self.src),
            destination: six(self.dst),
            ..Ipv6Header::default()
        };
        self.ethernet(0x86dd, &[&header.to_bytes(), payload].concat())
    }

    /// An ARP message for IPv4: 1 asks who has `dst`, 2 answers. A request goes to the broadcast
    /// address, whatever `dst_mac` says.
    #[must_use]
    pub fn arp(&self, operation: u16) -> Vec<u8> {
        let four = |address| match address {
            IpAddr::V4(v4) => v4.octets(),
            IpAddr::V6(_) => [0; 4],
        };
        let request = operation == 1;
        let target = if request { [0; 6] } else { self.dst_mac.0 };
        let packet = ArpPacket::new(
            ArpHardwareId::ETHERNET,
            EtherType::IPV4,
            ArpOperation(operation),
            &self.src_mac.0,
            &four(self.src),
            &target,
            &four(self.dst),
        )
        .expect(FITS);
        let to = if request { Mac([0xff; 6]) } else { self.dst_mac };
        self.macs(self.src_mac, to).ethernet(0x0806, &packet.to_bytes())
    }

    /// A neighbour solicitation for `dst`, sent from `src` to the solicited-node group with hop limit
    /// 255. From `::` it is duplicate address detection and names no sender.
    #[must_use]
    pub fn ndp_solicit(&self) -> Vec<u8> {
        let target = six(self.dst);
        let [.., a, b, c] = target;
        let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c];
        let option = [&[1, 1][..], &self.src_mac.0].concat();
        let named: &[u8] = if self.src.is_unspecified() { &[] } else { &option };
        Self { dst: group.into(), dst_mac: Mac([0x33, 0x33, 0xff, a, b, c]), hop_limit: 255, ..*self }.icmp(
            135,
            0,
            [0; 4],
            &[&target, named].concat(),
        )
    }

    /// A solicited neighbour advertisement: `src` tells `dst` its hardware address, hop limit 255.
    #[must_use]
    pub fn ndp_advertise(&self) -> Vec<u8> {
        let option = [&[2, 1][..], &self.src_mac.0].concat();
        self.hops(255).icmp(136, 0, [0x60, 0, 0, 0], &[&six(self.src)[..], &option].concat())
    }

    /// Any Ethernet II frame between these hardware addresses on these VLANs.
    #[must_use]
    pub fn ethernet(&self, ethertype: u16, payload: &[u8]) -> Vec<u8> {
        let tagged = |id: u16, next: u16| {
            let vlan_id = VlanId::try_new(id & 0xfff).expect("twelve bits");
            let header = SingleVlanHeader { vlan_id, ..SingleVlanHeader::default() };
            SingleVlanHeader { ether_type: EtherType(next), ..header }.to_bytes()
        };
        let (first, tags) = match (self.vlans.outer, self.vlans.inner) {
            (Vlans::NONE, _) => (ethertype, Vec::new()),
            (outer, Vlans::NONE) => (0x8100, tagged(outer, ethertype).to_vec()),
            (outer, inner) => (0x88a8, [tagged(outer, 0x8100), tagged(inner, ethertype)].concat()),
        };
        let header = Ethernet2Header {
            source: self.src_mac.0,
            destination: self.dst_mac.0,
            ether_type: EtherType(first),
        };
        [&header.to_bytes(), &tags[..], payload].concat()
    }

    /// A spanning-tree configuration message: an 802.3 length, LLC 42 42 03, to the bridges' group.
    #[must_use]
    pub fn stp(&self) -> Vec<u8> {
        let bpdu = [&[0x42, 0x42, 0x03][..], &[0; 35]].concat();
        padded(&self.macs(self.src_mac, Mac([1, 0x80, 0xc2, 0, 0, 0])).ethernet(38, &bpdu))
    }

    /// An LLDP frame without a neighbour's details: chassis, port, TTL, end.
    #[must_use]
    pub fn lldp(&self) -> Vec<u8> {
        let units =
            [&[2, 7, 4][..], &self.src_mac.0, &[4, 7, 3], &self.src_mac.0, &[6, 2, 0, 120], &[0, 0]]
                .concat();
        padded(&self.macs(self.src_mac, Mac([1, 0x80, 0xc2, 0, 0, 0x0e])).ethernet(0x88cc, &units))
    }

    const fn v6(&self) -> bool {
        matches!(self.family(), Family::V6(..))
    }

    const fn family(&self) -> Family {
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => Family::V4(src.octets(), dst.octets()),
            (IpAddr::V6(_), _) | (_, IpAddr::V6(_)) => Family::V6(six(self.src), six(self.dst)),
        }
    }
}

/// Filled with zeros to Ethernet's least frame, 60 bytes without the checksum.
#[must_use]
pub fn padded(frame: &[u8]) -> Vec<u8> {
    let mut padded = frame.to_vec();
    padded.resize(frame.len().max(60), 0);
    padded
}

/// A DHCP message of this type, 300 bytes long: discover is 1, offer 2.
#[must_use]
pub fn dhcp(kind: u8) -> Vec<u8> {
    let operation = if matches!(kind, 1 | 3 | 4 | 7 | 8 | 10) { 1 } else { 2 };
    let mac = [2, 0, 0, 0x10, 0, 1];
    let options = [0x63, 0x82, 0x53, 0x63, 53, 1, kind, 255];
    [&[operation, 1, 6, 0, 0x3d, 0x1d, 0, 7][..], &[0; 20], &mac, &[0; 202], &options, &[0; 56]].concat()
}

/// A DHCPv6 message of this type: solicit is 1, advertise 2; what a relay forwards is a solicitation.
#[must_use]
pub fn dhcp_v6(kind: u8) -> Vec<u8> {
    const ELAPSED: [u8; 6] = [0, 8, 0, 2, 0, 0];
    if matches!(kind, 12 | 13) {
        let relayed = dhcp_v6(1);
        let length = u16::try_from(relayed.len()).expect("a short message").to_be_bytes();
        return [&[kind][..], &[0; 33], &[0, 9], &length, &relayed].concat();
    }
    [&[kind, 0, 0, 7][..], &ELAPSED].concat()
}

/// One frame of every kind, each with a name: the fuzzer's seeds and the allocation check's input.
#[must_use]
pub fn every_kind() -> Vec<(&'static str, Vec<u8>)> {
    let v4 = Ends::of("10.10.0.5", "10.20.0.9");
    let v6 = Ends::of("2001:db8:10::5", "2001:db8:20::9");
    let link = Ends::of("fe80::5", "fe80::9");
    let one = Vlans { outer: 20, inner: Vlans::NONE };
    let two = Vlans { outer: 100, inner: 20 };
    let mut frames = vec![
        ("arp-request", v4.arp(1)),
        ("arp-reply", v4.reply().on(one).arp(2)),
        ("ndp-solicit", link.ndp_solicit()),
        ("ndp-advertise", link.reply().ndp_advertise()),
        ("ndp-dad", Ends::of("::", "fe80::9").ndp_solicit()),
        ("mld-report", Ends::of("::", "ff02::16").hops(1).icmp(143, 0, [0, 0, 0, 1], &[0; 20])),
        ("dhcp", Ends::of("0.0.0.0", "255.255.255.255").udp(68, 67, &dhcp(1))),
        ("dhcp-relayed", Ends::of("10.10.0.1", "10.20.0.9").udp(67, 67, &dhcp(3))),
        ("dhcpv6", Ends::of("fe80::5", "ff02::1:2").udp(546, 547, &dhcp_v6(1))),
        ("dhcpv6-relayed", Ends::of("2001:db8:10::5", "2001:db8:20::9").udp(547, 547, &dhcp_v6(12))),
        ("lldp", v4.lldp()),
        ("stp", v4.stp()),
        ("lacp", padded(&v4.ethernet(0x8809, &[1, 1]))),
        ("unknown-ethertype", padded(&v4.ethernet(0x88b5, &[1, 2, 3]))),
    ];
    for (ends, names) in [
        (v4, ["tcp4", "udp4", "echo4", "echo-reply4", "error4", "first4", "later4", "gre4", "sctp4"]),
        (
            v6.on(two),
            ["tcp6", "udp6", "echo6", "echo-reply6", "error6", "first6", "later6", "gre6", "sctp6"],
        ),
    ] {
        let [tcp, udp, echo, echo_reply, error, first, later, gre, sctp] = names;
        let unreachable = if ends.v6() { 1 } else { 3 };
        let quoted = ends.reply().tcp(443, 40_000, TcpFlags::ACK, 7, 2, b"quoted");
        frames.extend([
            (tcp, ends.tcp(40_000, 443, TcpFlags::SYN, 1, 0, b"")),
            (udp, ends.udp(40_000, 53, b"question")),
            (echo, ends.echo(7, 1, b"ping")),
            (echo_reply, ends.reply().echo_reply(7, 1, b"ping")),
            (error, ends.icmp_error(unreachable, 0, [0; 4], &quoted)),
            (first, ends.fragment(17, 77, 0, true, &[0, 53, 0, 53, 0, 24, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8])),
            (later, ends.fragment(17, 77, 16, false, &[1, 2, 3, 4, 5, 6, 7, 8])),
            (gre, ends.ip(47, &[0, 0, 8, 0])),
            (sctp, ends.sctp(40_000, 3_868, 7, &[3, 0, 0, 4])),
        ]);
    }
    frames.push(("tcp4-one-tag", v4.on(one).tcp(40_000, 443, TcpFlags::ACK, 9, 9, b"data")));
    frames.push(("tcp4-two-tags", v4.on(two).tcp(40_000, 443, TcpFlags::FIN | TcpFlags::ACK, 9, 9, b"")));
    frames.push(("options4", with_options(&v4)));
    frames.push(("extensions6", with_extensions(&v6)));
    frames.push(("scale4", with_scale(&v4)));
    frames
}

/// A UDP datagram behind an IPv4 header with a router alert.
fn with_options(ends: &Ends) -> Vec<u8> {
    let udp = [0x9c, 0x40, 0, 53, 0, 8, 0, 0];
    let mut header = ends.ipv4_header(17, udp.len());
    header.options = [148, 4, 0, 0].into();
    header.set_payload_len(udp.len()).expect(FITS);
    header.header_checksum = header.calc_header_checksum();
    ends.ipv4(&header, &udp)
}

/// An echo request behind hop-by-hop and destination options.
fn with_extensions(ends: &Ends) -> Vec<u8> {
    let hop_by_hop = [60, 0, 1, 4, 0, 0, 0, 0];
    let destination = [58, 0, 1, 4, 0, 0, 0, 0];
    let kind = Icmpv6Type::Unknown { type_u8: 128, code_u8: 0, bytes5to8: two(7, 1) };
    let echo = Icmpv6Header::with_checksum(kind, six(ends.src), six(ends.dst), &[]).expect(FITS);
    ends.ipv6(0, &[&hop_by_hop[..], &destination, &echo.to_bytes()].concat())
}

/// A SYN with MSS, NOP and window scale.
fn with_scale(ends: &Ends) -> Vec<u8> {
    let mut header = TcpHeader::new(40_000, 443, 1, 29_200);
    header.syn = true;
    header.set_options_raw(&[2, 4, 5, 180, 1, 3, 3, 7]).expect(FITS);
    ends.tcp_with(header, b"")
}

enum Family {
    V4([u8; 4], [u8; 4]),
    V6([u8; 16], [u8; 16]),
}

const fn six(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

const fn two(high: u16, low: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    #[test]
    fn etherparse_reads_every_sample() {
        let mut names = std::collections::BTreeSet::new();
        for (name, frame) in every_kind() {
            assert!(names.insert(name), "{name} twice");
            SlicedPacket::from_ethernet(&frame).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    #[test]
    fn our_parser_finds_nothing_odd_in_any_sample() {
        for (name, frame) in every_kind() {
            let facts = crate::wire::parse(&frame).unwrap_or_else(|why| panic!("{name}: {why:?}"));
            assert_eq!(facts.odd, None, "{name}");
        }
    }

    #[test]
    fn checksums_are_right() {
        let mut seen = 0;
        for (name, frame) in every_kind() {
            let sliced = SlicedPacket::from_ethernet(&frame).unwrap();
            if let Some(NetSlice::Ipv4(v4)) = &sliced.net {
                let header = v4.header().to_header();
                assert_eq!(header.header_checksum, header.calc_header_checksum(), "{name}");
            }
            let (claimed, right) = match (&sliced.net, &sliced.transport) {
                (Some(NetSlice::Ipv4(v4)), Some(TransportSlice::Tcp(tcp))) => {
                    let (src, dst) = (v4.header().source(), v4.header().destination());
                    (tcp.checksum(), tcp.calc_checksum_ipv4(src, dst).unwrap())
                }
                (Some(NetSlice::Ipv6(v6)), Some(TransportSlice::Tcp(tcp))) => {
                    let (src, dst) = (v6.header().source(), v6.header().destination());
                    (tcp.checksum(), tcp.calc_checksum_ipv6(src, dst).unwrap())
                }
                (Some(NetSlice::Ipv6(v6)), Some(TransportSlice::Icmpv6(icmp))) => {
                    let (src, dst) = (v6.header().source(), v6.header().destination());
                    assert!(icmp.is_checksum_valid(src, dst), "{name}");
                    continue;
                }
                (_, Some(TransportSlice::Icmpv4(icmp))) => {
                    let whole = icmp.slice();
                    (icmp.checksum(), icmp.icmp_type().calc_checksum(&whole[8..]))
                }
                _ => continue,
            };
            seen += 1;
            assert_eq!(claimed, right, "{name}");
        }
        assert!(seen >= 6, "only {seen} checked");
    }

    #[test]
    fn a_reply_turns_every_end() {
        let ends = Ends::of("10.0.0.1", "10.0.0.2").hops(9);
        let back = ends.reply();
        assert_eq!((back.src, back.dst), (ends.dst, ends.src));
        assert_eq!((back.src_mac, back.dst_mac, back.hop_limit), (ends.dst_mac, ends.src_mac, 9));
        assert_eq!(back.reply(), ends);
    }
}

//! What the flood is made of: one template a kind, the fields that differ from frame to frame, and how the
//! gate may end it.
//!
//! What it is not: it sends nothing. All of it comes from outside and obeys `bench/policy/gate.toml`: the
//! payments fleet is 10.77.0.0/16 and `2001:db8:77::/48`, the collector 10.78.0.1, everybody else a stranger.
//! Invariant: a kind's frames carry [`MARK`] plus its number as TTL. A template that is put together wrongly
//! panics before anything is sent.
#![expect(clippy::indexing_slicing, reason = "offsets into templates that stand in this file")]

use portcullis::pipeline::Reason;
use portcullis::wire::samples::Ends;
use portcullis::wire::{Mac, TcpFlags, Vlans, parse};

use super::group::Group;
use crate::traffic::ENDS;

/// TTL of the first kind; `rig.bpf.c` has the same number.
pub(crate) const MARK: u8 = 128;
/// Bytes of a template at most, and of the frames that the kernel is given.
pub(crate) const LONGEST: usize = 128;
/// Kinds at most.
pub(crate) const KINDS: usize = 64;
/// Shortest frame without its check sequence.
const SHORTEST: usize = 60;

const COLLECTOR: &str = "10.78.0.1";
const COLLECTOR6: &str = "2001:db8:78::1";
const SERVICE: u16 = 4739;
/// First source address and port of the connections that are attacked blindly: eight times sixteen of the
/// connections of `talk.rs`.
const GUEST: &str = "10.77.200.0";
const GUEST_PORT: u16 = super::talk::FIRST_PORT;

const ETHERNET: usize = 14;
const V4_ID: usize = ETHERNET + 4;
const V4_CHECK: usize = ETHERNET + 10;
const V4_SOURCE: usize = ETHERNET + 12;
const V4_UPPER: usize = ETHERNET + 20;
const V6_SOURCE: usize = ETHERNET + 8;
const V6_UPPER: usize = ETHERNET + 40;

/// Where a field's bits come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// The kernel's random numbers.
    Random,
    /// How many frames of the kind there were before.
    Count,
}

/// A word of a frame that differs from frame to frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Its place, an even one.
    pub(crate) at: usize,
    /// The bits that differ; the template has none of them.
    pub(crate) mask: u16,
    /// Where they come from.
    pub(crate) from: From,
    /// The IPv4 header's checksum goes over it.
    pub(crate) in_ip: bool,
    /// The upper layer's checksum goes over it.
    pub(crate) in_upper: bool,
}

/// One kind of frame.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    /// For people.
    pub(crate) name: &'static str,
    /// Whom the gate's counters tell it from.
    pub(crate) group: Group,
    /// Frames of it in a turn of the schedule.
    pub(crate) weight: u32,
    /// The template.
    pub(crate) frame: Vec<u8>,
    /// What differs.
    pub(crate) fields: Vec<Field>,
    /// Where the upper layer's checksum stands; 0: it has none that is kept right.
    pub(crate) upper_check: usize,
    /// Where the IPv4 header's checksum stands; 0: none that is kept right.
    pub(crate) ip_check: usize,
}

impl Kind {
    /// The reason for which one of the malformed is dropped.
    pub(crate) fn malformed_as(&self) -> Option<Reason> {
        let by_parse = match parse(&self.frame) {
            Err(why) => Some(why.into()),
            Ok(facts) => facts.odd.map(Reason::from),
        };
        by_parse.or(match self.name {
            UNKNOWN | LLDP => Some(Reason::Profile),
            // Its network has no such VLAN: so it does not belong there.
            BORROWED | TAGGED => Some(Reason::Spoofed),
            RETURNED => Some(Reason::SameSide),
            _ => None,
        })
    }

    /// Random bits of a word in the addresses: all checksums go over it.
    fn address(&mut self, at: usize, mask: u16, from: From) -> &mut Self {
        self.fields.push(Field { at, mask, from, in_ip: true, in_upper: true });
        self.clear()
    }

    /// Bits of a word of the upper layer.
    fn upper(&mut self, at: usize, mask: u16, from: From) -> &mut Self {
        self.fields.push(Field { at, mask, from, in_ip: false, in_upper: true });
        self.clear()
    }

    /// Bits of a word that only the IPv4 header's checksum goes over.
    fn header(&mut self, at: usize, mask: u16, from: From) -> &mut Self {
        self.fields.push(Field { at, mask, from, in_ip: true, in_upper: false });
        self.clear()
    }

    fn clear(&mut self) -> &mut Self {
        let fields = self.fields.clone();
        for Field { at, mask, .. } in fields {
            let [high, low] = mask.to_be_bytes();
            for (at, mask) in [(at, high), (at + 1, low)] {
                assert_eq!(self.frame[at] & mask, 0, "{}: byte {at} is not free", self.name);
            }
        }
        self
    }

    /// An IPv4 source anywhere in the prefix that the template's address begins, of so many bits.
    fn source4(&mut self, bits: u32) -> &mut Self {
        let mask = u32::MAX.checked_shr(bits).unwrap_or(0);
        self.word_pair(V4_SOURCE, mask)
    }

    fn word_pair(&mut self, at: usize, mask: u32) -> &mut Self {
        let [a, b, c, d] = mask.to_be_bytes();
        for (at, mask) in [(at, u16::from_be_bytes([a, b])), (at + 2, u16::from_be_bytes([c, d]))] {
            if mask != 0 {
                self.address(at, mask, From::Random);
            }
        }
        self
    }

    /// An IPv6 source in any /64 below the template's first 48 bits.
    fn source6(&mut self) -> &mut Self {
        self.address(V6_SOURCE + 6, u16::MAX, From::Random).address(V6_SOURCE + 8, u16::MAX, From::Random)
    }

    /// A source port from 1 024 up: the template has 1 024 × 2ⁿ, the bits below differ.
    fn sport(&mut self, upper: usize) -> &mut Self {
        self.upper(upper, 0x7fff, From::Random)
    }

    fn seq(&mut self, upper: usize) -> &mut Self {
        self.upper(upper + 4, u16::MAX, From::Random).upper(upper + 6, u16::MAX, From::Random)
    }

    fn ack(&mut self, upper: usize) -> &mut Self {
        self.upper(upper + 8, u16::MAX, From::Random).upper(upper + 10, u16::MAX, From::Random)
    }

    /// One of the connections of `talk.rs`.
    fn guest(&mut self) -> &mut Self {
        self.address(V4_SOURCE + 2, 7, From::Random).upper(V4_UPPER, 15, From::Random)
    }
}

/// The kinds so far.
#[derive(Default)]
struct Corpus {
    kinds: Vec<Kind>,
}

/// The lower half of this port's bits are free.
const HIGH: u16 = 0x8000;

impl Corpus {
    /// Ends of the next kind.
    fn ends(&self, src: &str, dst: &str) -> Ends {
        let number = u8::try_from(self.kinds.len()).unwrap_or(u8::MAX - MARK);
        Ends::of(src, dst).macs(Mac(ENDS.source_mac), Mac(ENDS.destination_mac)).hops(MARK + number)
    }

    /// Another kind, its checksums where the protocols have them.
    fn add(&mut self, group: Group, name: &'static str, weight: u32, mut frame: Vec<u8>) -> &mut Kind {
        frame.resize(frame.len().max(SHORTEST), 0);
        let (ip_check, protocol, upper) = match frame[12..14] {
            [0x08, 0x00] => (V4_CHECK, frame[23], V4_UPPER),
            _ => (0, frame[20], V6_UPPER),
        };
        let upper_check = match protocol {
            6 => upper + 16,
            17 => upper + 6,
            1 | 58 => upper + 2,
            _ => 0,
        };
        self.kinds.push(Kind { name, group, weight, frame, fields: Vec::new(), upper_check, ip_check });
        let last = self.kinds.len() - 1;
        &mut self.kinds[last]
    }

    /// A template that is spoilt: nothing in it differs and no checksum is mended.
    fn spoilt(&mut self, name: &'static str, frame: Vec<u8>) {
        let kind = self.add(Group::Malformed, name, 1, frame);
        (kind.ip_check, kind.upper_check) = (0, 0);
    }
}

/// Every kind, in the order of their numbers.
pub(crate) fn kinds() -> Vec<Kind> {
    let mut all = Corpus::default();
    floods(&mut all);
    fragments(&mut all);
    scans(&mut all);
    malformed(&mut all);
    all.kinds
}

/// SYNs, datagrams and guesses.
fn floods(all: &mut Corpus) {
    let syn = |ends: Ends| ends.tcp(HIGH, SERVICE, TcpFlags::SYN, 0, 0, b"");
    let frame = syn(all.ends("32.0.0.0", COLLECTOR));
    all.add(Group::Strangers, "SYN, random strangers", 40, frame).source4(3).sport(V4_UPPER).seq(V4_UPPER);
    let frame = syn(all.ends("2a00::1", COLLECTOR6));
    let kind = all.add(Group::Strangers, "SYN, random strangers, IPv6", 20, frame);
    kind.address(V6_SOURCE + 2, u16::MAX, From::Random).source6().sport(V6_UPPER).seq(V6_UPPER);
    let frame = syn(all.ends("10.77.0.0", COLLECTOR));
    let kind = all.add(Group::SynFlood, "SYN, random members of the fleet", 60, frame);
    kind.source4(17).sport(V4_UPPER).seq(V4_UPPER);
    let frame = syn(all.ends("2001:db8:77::1", COLLECTOR6));
    let kind = all.add(Group::SynFlood, "SYN, random members of the fleet, IPv6", 20, frame);
    kind.source6().sport(V6_UPPER).seq(V6_UPPER);

    let frame = all.ends("10.77.0.0", COLLECTOR).udp(HIGH, SERVICE, b"");
    all.add(Group::NewFlows, "UDP, random members of the fleet", 60, frame).source4(17).sport(V4_UPPER);
    let frame = all.ends("2001:db8:77::1", COLLECTOR6).udp(HIGH, SERVICE, b"");
    all.add(Group::NewFlows, "UDP, random members of the fleet, IPv6", 20, frame).source6().sport(V6_UPPER);
    let frame = all.ends("10.77.0.0", COLLECTOR).echo(0, 1, b"ping");
    let kind = all.add(Group::NewFlows, "pings, random members of the fleet", 10, frame);
    kind.source4(17).fields.iter_mut().for_each(|field| field.in_upper = false);
    kind.upper(V4_UPPER + 4, u16::MAX, From::Random);

    let frame = all.ends("10.77.128.0", COLLECTOR).tcp(HIGH, SERVICE, TcpFlags::ACK, 0, 0, b"");
    let kind = all.add(Group::NoSession, "ACK of no connection", 20, frame);
    kind.source4(18).sport(V4_UPPER).seq(V4_UPPER);
    let frame = all.ends("10.77.128.0", COLLECTOR).echo_reply(0, 1, b"pong");
    let kind = all.add(Group::NoSession, "echo reply to nobody", 4, frame);
    kind.source4(18).fields.iter_mut().for_each(|field| field.in_upper = false);
    let lost = Ends::of(COLLECTOR, "10.77.128.1").udp(SERVICE, HIGH, b"");
    let frame = all.ends("10.77.128.0", COLLECTOR).icmp_error(3, 1, [0; 4], &lost);
    let kind = all.add(Group::NoSession, "unreachable, quoting no flow", 4, frame);
    kind.source4(18).fields.iter_mut().for_each(|field| field.in_upper = false);

    for (name, flags) in [
        ("SYN on a live connection", TcpFlags::SYN),
        ("RST on a live connection", TcpFlags::RST),
        ("data on a live connection", TcpFlags::ACK | TcpFlags::PSH),
    ] {
        let payload: &[u8] = if flags & TcpFlags::PSH == 0 { b"" } else { b"injected" };
        let frame = all.ends(GUEST, COLLECTOR).tcp(GUEST_PORT, SERVICE, flags, 0, 0, payload);
        let kind = all.add(Group::Blind, name, 8, frame).guest().seq(V4_UPPER);
        if flags & TcpFlags::ACK != 0 {
            kind.ack(V4_UPPER);
        }
    }
}

/// The head of a datagram longer than its first fragment.
fn head() -> Vec<u8> {
    let [s0, s1] = HIGH.to_be_bytes();
    let [d0, d1] = SERVICE.to_be_bytes();
    [&[s0, s1, d0, d1, 0, 200, 0, 0][..], &[0x5a; 16]].concat()
}

fn fragments(all: &mut Corpus) {
    let group = Group::Fragments;
    let ends = all.ends("10.77.0.0", COLLECTOR);
    let kind = all.add(group, "last fragment, no first", 20, ends.fragment(17, 0, 64, false, &[0x5a; 24]));
    kind.upper_check = 0;
    kind.source4(17).header(V4_ID, u16::MAX, From::Random);
    let ends = all.ends("2001:db8:77::1", COLLECTOR6);
    let kind =
        all.add(group, "last fragment, no first, IPv6", 6, ends.fragment(17, 0, 64, false, &[0x5a; 24]));
    kind.upper_check = 0;
    kind.source6().upper(V6_UPPER + 4, u16::MAX, From::Random);
    let ends = all.ends("10.77.0.0", COLLECTOR);
    let kind = all.add(group, "first fragment, no last", 20, ends.fragment(17, 0, 0, true, &head()));
    kind.upper_check = 0;
    kind.source4(17).sport(V4_UPPER).header(V4_ID, u16::MAX, From::Random);
    // Both count alike: the second overlaps the first of its own datagram.
    for (name, offset, more, payload) in
        [(OVERLAPPED, 0, true, head()), (OVERLAPPING, 16, false, vec![0xa5; 16])]
    {
        let ends = all.ends("10.77.224.0", COLLECTOR);
        let kind = all.add(group, name, 8, ends.fragment(17, 0, offset, more, &payload));
        kind.upper_check = 0;
        kind.address(V4_SOURCE + 2, 0xff, From::Count).header(V4_ID, u16::MAX, From::Count);
    }
}

/// A first fragment that is then overlapped, and what overlaps it.
pub(crate) const OVERLAPPED: &str = "first fragment, to be overlapped";
pub(crate) const OVERLAPPING: &str = "fragment that overlaps it";

fn scans(all: &mut Corpus) {
    // Bit 4 is always set: 22 is among the ports, 0 is not, nor 4739.
    let (first, others) = (0x10, 0xffef);
    let frame = all.ends("203.0.113.9", COLLECTOR).tcp(HIGH, first, TcpFlags::SYN, 0, 0, b"");
    let kind = all.add(Group::Strangers, "port scan by a stranger", 10, frame);
    kind.upper(V4_UPPER + 2, others, From::Count).seq(V4_UPPER);
    let frame = all.ends("10.77.192.9", COLLECTOR).tcp(HIGH, first, TcpFlags::SYN, 0, 0, b"");
    let kind = all.add(Group::Scan, "port scan by a known host", 20, frame);
    kind.upper(V4_UPPER + 2, others, From::Count).seq(V4_UPPER);
    let frame = all.ends("10.77.192.9", COLLECTOR).udp(HIGH, first, b"");
    let kind = all.add(Group::Scan, "UDP scan by a known host", 8, frame);
    kind.upper(V4_UPPER + 2, others, From::Count);
}

// Malformed by what the policy says of them.
const UNKNOWN: &str = "unknown ethertype";
const LLDP: &str = "LLDP";
const BORROWED: &str = "a source of the inside";
const TAGGED: &str = "a VLAN of nobody";
const RETURNED: &str = "a destination on its own side";

/// A known host, so that nothing but the spoilt part speaks against the frame.
const KNOWN: &str = "10.77.192.1";
const KNOWN6: &str = "2001:db8:77::1";

/// Rewrites an IPv4 header's checksum.
fn sum4(mut frame: Vec<u8>) -> Vec<u8> {
    let length = usize::from(frame[ETHERNET] & 0x0f) * 4;
    frame[V4_CHECK..V4_CHECK + 2].fill(0);
    let words = frame[ETHERNET..ETHERNET + length].chunks_exact(2);
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let check = !u16::try_from(sum).unwrap_or(0);
    frame[V4_CHECK..V4_CHECK + 2].copy_from_slice(&check.to_be_bytes());
    frame
}

fn with(mut frame: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
    frame[at] = byte;
    frame
}

fn malformed(all: &mut Corpus) {
    let udp = |ends: Ends| ends.udp(HIGH, SERVICE, b"spoilt");
    let syn = |ends: Ends| ends.tcp(HIGH, SERVICE, TcpFlags::SYN, 1, 0, b"");
    let known = |all: &Corpus| all.ends(KNOWN, COLLECTOR);
    let known6 = |all: &Corpus| all.ends(KNOWN6, COLLECTOR6);

    let frame = known(all).ip(6, &[0; 4]);
    all.spoilt("TCP header cut off", frame);
    let tag = [0x81, 0x00, 0, 7];
    let frame = udp(known(all));
    let tagged = |tags: &[u8], frame: &[u8]| [&frame[..12], tags, &frame[12..]].concat();
    all.spoilt("three VLAN tags", tagged(&tag.repeat(3), &frame));
    let frame = udp(known(all));
    all.spoilt("VLAN 4095", tagged(&[0x81, 0x00, 0x0f, 0xff], &frame));
    let frame = with(udp(known(all)), ETHERNET, 0x65);
    all.spoilt("IPv6 in an IPv4 frame", frame);
    let frame = with(udp(known(all)), ETHERNET, 0x44);
    all.spoilt("IPv4 header of 16 bytes", frame);
    let frame = sum4(with(udp(known(all)), ETHERNET + 2, 0x07));
    all.spoilt("IPv4 longer than its frame", frame);
    let frame = with(udp(known(all)), V4_CHECK, 0x55);
    all.spoilt("IPv4 checksum wrong", frame);
    let frame = known6(all).ipv6(0, &[17, 0, 0xc2, 4, 0, 1, 0, 0]);
    all.spoilt("jumbogram", with(with(frame, ETHERNET + 4, 0), ETHERNET + 5, 0));
    let routing = [&[17, 2, 0, 1][..], &[0; 20], &[0x80, 0, 0x12, 0x83, 0, 8, 0, 0]].concat();
    let frame = known6(all).ipv6(43, &routing);
    all.spoilt("routing header of type 0", frame);
    let frame = with(syn(known(all)), V4_UPPER + 12, 0x40);
    all.spoilt("TCP data offset 4", frame);
    let frame = with(udp(known(all)), V4_UPPER + 5, 60);
    all.spoilt("UDP longer than its packet", frame);
    let frame = sum4(with(udp(known(all)), ETHERNET + 6, 0x60));
    all.spoilt("fragment with DF", frame);
    let frame = known(all).fragment(6, 9, 0, true, &[0; 8]);
    all.spoilt("first fragment without the TCP header", frame);
    let frame = known6(all).fragment(58, 9, 0, false, &[135, 0, 0, 0, 0, 0, 0, 0]);
    all.spoilt("fragmented neighbour solicitation", frame);

    let odd: [(&'static str, &str, &str); 6] = [
        ("multicast source", "239.1.1.1", COLLECTOR),
        ("loopback source", "127.0.0.1", COLLECTOR),
        ("reserved source", "240.0.0.1", COLLECTOR),
        ("source is destination", COLLECTOR, COLLECTOR),
        ("link-local source", "169.254.1.1", COLLECTOR),
        ("link-local source, IPv6", "fe80::77", COLLECTOR6),
    ];
    for (name, src, dst) in odd {
        let frame = syn(all.ends(src, dst));
        all.spoilt(name, frame);
    }
    let header = |all: &Corpus| {
        let mut header = known(all).ipv4_header(17, 8);
        // Loose source route over one host, then the end of the list.
        header.options = [131, 7, 4, 10, 78, 0, 1, 0].into();
        header.total_len = 36;
        header.header_checksum = header.calc_header_checksum();
        header
    };
    let frame = known(all).ipv4(&header(all), &[0x80, 0, 0x12, 0x83, 0, 8, 0, 0]);
    all.spoilt("loose source route", frame);
    for (name, flags) in [
        ("SYN with FIN", TcpFlags::SYN | TcpFlags::FIN),
        ("no flag at all", 0),
        ("Xmas", TcpFlags::FIN | TcpFlags::PSH | TcpFlags::URG),
    ] {
        let frame = known(all).tcp(HIGH, SERVICE, flags, 1, 0, b"");
        all.spoilt(name, frame);
    }
    let frame = known(all).udp(0, SERVICE, b"");
    all.spoilt("source port 0", frame);
    let quoted = Ends::of(COLLECTOR, KNOWN).udp(SERVICE, HIGH, b"");
    let frame = known(all).icmp_error(5, 1, [10, 77, 0, 9], &quoted);
    all.spoilt("ICMP redirect", frame);
    let frame = known(all).ethernet(0x88b5, &[0x5a; 46]);
    all.spoilt(UNKNOWN, frame);
    let frame = known(all).lldp();
    all.spoilt(LLDP, frame);
    let frame = syn(all.ends("10.20.0.10", COLLECTOR));
    all.spoilt(BORROWED, frame);
    let frame = udp(known(all).on(Vlans { outer: 100, inner: Vlans::NONE }));
    all.spoilt(TAGGED, frame);
    let frame = udp(all.ends(KNOWN, "10.10.0.7"));
    all.spoilt(RETURNED, frame);
}

/// The order in which a turn's frames are made: each kind as evenly as its weight allows, and what overlaps
/// after what it overlaps.
pub(crate) fn schedule(kinds: &[Kind]) -> Vec<usize> {
    let turn: u32 = kinds.iter().map(|kind| kind.weight).sum();
    let mut credit = vec![0_i64; kinds.len()];
    let mut order = Vec::new();
    for _ in 0..turn {
        for (credit, kind) in credit.iter_mut().zip(kinds) {
            *credit += i64::from(kind.weight);
        }
        // The first of those with most credit.
        let next = (0..kinds.len()).rev().max_by_key(|i| credit[*i]).unwrap_or(0);
        credit[next] -= i64::from(turn);
        order.push(next);
    }
    let of = |name: &str| kinds.iter().position(|kind| kind.name == name);
    if let (Some(first), Some(second)) = (of(OVERLAPPED), of(OVERLAPPING)) {
        let pair = order.iter_mut().filter(|kind| [first, second].contains(*kind));
        for (place, turn) in pair.zip([first, second].into_iter().cycle()) {
            *place = turn;
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_fits_and_every_reason_has_one_group() {
        let kinds = kinds();
        assert!(kinds.len() <= KINDS, "{}", kinds.len());
        for kind in &kinds {
            assert!(kind.frame.len() <= LONGEST && kind.frame.len() >= SHORTEST, "{}", kind.name);
            assert!(kind.fields.len() <= 8, "{}", kind.name);
        }
        let mut seen = HashSet::new();
        for group in Group::ALL {
            for reason in group.reasons() {
                assert!(seen.insert(*reason), "{reason:?} names two groups");
            }
        }
    }

    #[test]
    fn the_malformed_are_malformed_as_they_say_and_the_rest_is_not() {
        for kind in kinds() {
            let why = match parse(&kind.frame) {
                Err(why) => Some(Reason::from(why)),
                Ok(facts) => facts.odd.map(Reason::from),
            };
            assert_eq!(kind.malformed_as().is_some(), kind.group == Group::Malformed, "{}", kind.name);
            if let Some(why) = why {
                assert_eq!(kind.malformed_as(), Some(why), "{}", kind.name);
            }
        }
    }

    #[test]
    fn a_turn_has_every_kind_by_its_weight_and_overlaps_in_order() {
        let kinds = kinds();
        let order = schedule(&kinds);
        for (i, kind) in kinds.iter().enumerate() {
            let count = order.iter().filter(|which| **which == i).count();
            assert_eq!(count, usize::try_from(kind.weight).unwrap(), "{}", kind.name);
        }
        let names = order.iter().map(|i| kinds[*i].name);
        let pairs: Vec<&str> = names.filter(|name| [OVERLAPPED, OVERLAPPING].contains(name)).collect();
        assert!(pairs.chunks(2).all(|pair| pair == [OVERLAPPED, OVERLAPPING]));
    }
}

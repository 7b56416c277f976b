//! Frames by chance: most of them right, each field wrong now and then.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::wire::TcpFlags;
use crate::wire::samples::{dhcp, dhcp_v6};

type Bytes = BoxedStrategy<Vec<u8>>;

/// `right` nine times in ten, else anything.
fn mostly(right: u8) -> BoxedStrategy<u8> {
    prop_oneof![9 => Just(right), 1 => any::<u8>()].boxed()
}

fn address4() -> BoxedStrategy<[u8; 4]> {
    prop_oneof![
        8 => any::<[u8; 2]>().prop_map(|[a, b]| [10, 20, a & 1, b & 3]),
        1 => any::<[u8; 4]>(),
        1 => prop::sample::select(vec![
            [0, 0, 0, 0], [255; 4], [127, 0, 0, 1], [169, 254, 1, 1], [224, 0, 0, 1], [240, 0, 0, 1],
        ]),
    ]
    .boxed()
}

fn address6() -> BoxedStrategy<[u8; 16]> {
    let at = |head: [u8; 2], last: u8| {
        let mut octets = [0; 16];
        octets[..2].copy_from_slice(&head);
        octets[15] = last;
        octets
    };
    prop_oneof![
        6 => any::<u8>().prop_map(move |last| at([0x20, 0x01], last & 3)),
        1 => any::<[u8; 16]>(),
        3 => (
            prop::sample::select(vec![
                [0, 0], [0xfe, 0x80], [0xff, 0x02], [0xfd, 0], [0xfe, 0xc0], [0x40, 0], [0, 0x64],
            ]),
            0..3_u8,
        )
            .prop_map(move |(head, last)| at(head, last)),
    ]
    .boxed()
}

fn port() -> BoxedStrategy<u16> {
    prop_oneof![3 => any::<u16>(), 2 => prop::sample::select(vec![0, 53, 67, 68, 443, 546, 547])].boxed()
}

fn tcp() -> Bytes {
    let option = prop_oneof![
        Just(vec![1]),
        Just(vec![0]),
        any::<[u8; 2]>().prop_map(|[a, b]| vec![2, 4, a, b]),
        (0..20_u8).prop_map(|shift| vec![3, 3, shift]),
        Just(vec![4, 2]),
        any::<[u8; 8]>().prop_map(|stamps| [&[8, 10][..], &stamps].concat()),
        vec(any::<u8>(), 1..4),
    ];
    let flags = prop_oneof![
        3 => prop::sample::select(vec![0x02, 0x12, 0x10, 0x18, 0x11, 0x14, 0x04]),
        1 => any::<u8>(),
    ];
    (port(), port(), any::<[u8; 8]>(), flags, any::<[u8; 6]>(), vec(option, 0..5), vec(any::<u8>(), 0..20))
        .prop_flat_map(|(sport, dport, numbers, flags, tail, options, payload)| {
            let mut options = options.concat();
            options.truncate(40);
            options.resize(options.len().next_multiple_of(4), 0);
            let words = u8::try_from(5 + options.len() / 4).unwrap();
            mostly(words << 4).prop_map(move |offset| {
                let head = [&sport.to_be_bytes()[..], &dport.to_be_bytes(), &numbers].concat();
                [&head[..], &[offset, flags], &tail, &options, &payload].concat()
            })
        })
        .boxed()
}

fn udp() -> Bytes {
    (
        port(),
        port(),
        vec(any::<u8>(), 0..24),
        prop_oneof![8 => Just(0_i16), 1 => -9..9_i16, 1 => any::<i16>()],
    )
        .prop_map(|(sport, dport, payload, off)| {
            let length = u16::try_from(8 + payload.len()).unwrap().wrapping_add_signed(off);
            [&sport.to_be_bytes()[..], &dport.to_be_bytes(), &length.to_be_bytes(), &[0, 0], &payload]
                .concat()
        })
        .boxed()
}

fn icmp(kinds: Vec<u8>, payload: Bytes) -> Bytes {
    let kind = prop_oneof![4 => prop::sample::select(kinds), 1 => any::<u8>()];
    (kind, mostly(0), any::<[u8; 6]>(), payload)
        .prop_map(|(kind, code, rest, payload)| [&[kind, code][..], &rest, &payload].concat())
        .boxed()
}

fn sctp() -> Bytes {
    (port(), port(), vec(any::<u8>(), 4..40))
        .prop_map(|(sport, dport, rest)| [&sport.to_be_bytes()[..], &dport.to_be_bytes(), &rest].concat())
        .boxed()
}

/// DHCP and DHCPv6 between ports that are theirs, with one byte that may be another.
fn housekeeping() -> Bytes {
    let ports = prop::sample::select(vec![67_u16, 68, 546, 547]);
    let kind = prop_oneof![9 => 0..14_u8, 1 => any::<u8>()];
    let change = (any::<prop::sample::Index>(), any::<u8>(), prop::bool::weighted(0.5));
    (ports.clone(), ports, kind, change)
        .prop_map(|(sport, dport, kind, (at, byte, change))| {
            let mut message = if dport < 546 { dhcp(kind) } else { dhcp_v6(kind) };
            if change {
                *at.get_mut(&mut message) = byte;
            }
            let length = u16::try_from(8 + message.len()).unwrap();
            let header = [sport, dport, length, 0].map(u16::to_be_bytes);
            [header.as_flattened(), &message].concat()
        })
        .boxed()
}

/// An upper layer with its protocol number; ICMP errors quote when `deep`.
fn upper(deep: bool) -> BoxedStrategy<(u8, Vec<u8>)> {
    let quote = || {
        if deep { prop_oneof![four(false), six(false)].boxed() } else { vec(any::<u8>(), 0..40).boxed() }
    };
    let kinds4 = vec![0, 3, 4, 5, 8, 11, 12, 13, 14];
    let kinds6 = vec![1, 2, 3, 4, 128, 129, 130, 131, 133, 134, 135, 136, 137, 143, 148];
    prop_oneof![
        4 => (Just(6_u8), tcp()),
        3 => (Just(17_u8), udp()),
        1 => (Just(17_u8), housekeeping()),
        2 => (prop_oneof![9 => Just(1_u8), 1 => Just(58)], icmp(kinds4, quote())),
        2 => (prop_oneof![9 => Just(58_u8), 1 => Just(1)], icmp(kinds6, quote())),
        2 => (Just(132_u8), sctp()),
        1 => (any::<u8>(), vec(any::<u8>(), 0..40)),
        1 => (prop::sample::select(vec![2_u8, 50, 51, 59]), vec(any::<u8>(), 0..40)),
    ]
    .prop_flat_map(|(protocol, bytes)| {
        let whole = bytes.len();
        (Just(protocol), Just(bytes), prop_oneof![8 => Just(whole), 1 => 0..=whole])
    })
    .prop_map(|(protocol, mut bytes, length)| {
        bytes.truncate(length);
        (protocol, bytes)
    })
    .boxed()
}

/// Rounds a payload so that more fragments may follow, two times in three.
fn rounded(mut bytes: Vec<u8>, round: u8) -> Vec<u8> {
    if !round.is_multiple_of(3) {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes
}

fn offset() -> BoxedStrategy<u16> {
    prop_oneof![3 => Just(0), 2 => 0..5_u16, 1 => 8_180..0x2000_u16, 1 => 0..0x2000_u16].boxed()
}

fn four(deep: bool) -> Bytes {
    let option = prop_oneof![
        Just(vec![1_u8]),
        Just(vec![0]),
        Just(vec![148, 4, 0, 0]),
        prop::sample::select(vec![7_u8, 131, 137]).prop_map(|kind| vec![kind, 7, 4, 9, 9, 9, 9]),
        vec(any::<u8>(), 1..6),
    ];
    let fragment = prop_oneof![
        3 => Just(0x4000_u16),
        1 => Just(0),
        2 => (offset(), any::<bool>(), 0..10_u8).prop_map(|(offset, more, dont)| {
            offset | if more { 0x2000 } else { 0 } | if dont == 0 { 0x4000 } else { 0 }
        }),
    ];
    let options = prop_oneof![4 => Just(Vec::new()), 1 => vec(option, 0..6)];
    let hops = prop::sample::select(vec![1, 64, 255]);
    (upper(deep), options, fragment, any::<u16>(), address4(), address4(), hops, any::<u8>())
        .prop_flat_map(|((protocol, payload), options, fragment, id, src, dst, hops, round)| {
            let payload = if fragment & 0x2000 == 0 { payload } else { rounded(payload, round) };
            let mut options = options.concat();
            options.truncate(40);
            options.resize(options.len().next_multiple_of(4), 0);
            let words = u8::try_from(5 + options.len() / 4).unwrap();
            let total = u16::try_from(20 + options.len() + payload.len()).unwrap();
            let total = prop_oneof![20 => Just(total), 1 => 0..total + 8];
            let first = prop_oneof![20 => Just(0x40 | words), 1 => any::<u8>()];
            (first, total, 0..20_u8).prop_map(move |(first, total, spoil)| {
                let mut header = [
                    &[first, 0][..],
                    &total.to_be_bytes(),
                    &id.to_be_bytes(),
                    &fragment.to_be_bytes(),
                    &[hops, protocol, 0, 0],
                    &src,
                    &dst,
                    &options,
                ]
                .concat();
                rechecksum(&mut header);
                header[10] ^= u8::from(spoil == 0);
                [&header[..], &payload].concat()
            })
        })
        .boxed()
}

/// Makes the checksum of an IPv4 header right.
pub(super) fn rechecksum(header: &mut [u8]) {
    header[10..12].fill(0);
    let words = header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// An extension header and what it is; the next header's number is filled in later.
fn extension() -> BoxedStrategy<(u8, Vec<u8>)> {
    let plain = |kind: u8| {
        let content = prop_oneof![
            3 => Just(vec![1, 4, 0, 0, 0, 0]),
            1 => Just(vec![5, 2, 0, 0, 1, 0]),
            1 => Just(vec![1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            1 => Just(vec![0; 22]),
            1 => Just(vec![0xc2, 4, 0, 1, 0, 0]),
            1 => any::<[u8; 6]>().prop_map(Vec::from),
        ];
        content.prop_flat_map(move |content| {
            let size = u8::try_from((content.len() + 2) / 8 - 1).unwrap();
            mostly(size).prop_map(move |size| (kind, [&[0, size][..], &content].concat()))
        })
    };
    let routing = (0..5_u8, 0..2_u8).prop_map(|(kind, left)| (43, vec![0, 0, kind, left, 0, 0, 0, 0]));
    let fragment = (offset(), any::<bool>(), any::<[u8; 4]>()).prop_map(|(offset, more, id)| {
        let field = offset << 3 | u16::from(more);
        (44, [&[0, 0][..], &field.to_be_bytes(), &id].concat())
    });
    let authentication = mostly(4).prop_map(|size| (51, [&[0, size][..], &[7; 22]].concat()));
    prop_oneof![1 => plain(0), 3 => plain(60), 1 => routing, 3 => fragment, 1 => authentication].boxed()
}

fn six(deep: bool) -> Bytes {
    let chain =
        prop_oneof![4 => vec(extension(), 0..1), 5 => vec(extension(), 1..4), 1 => vec(extension(), 6..11)];
    let hops = prop::sample::select(vec![1, 64, 255]);
    (upper(deep), chain, prop::bool::weighted(0.7), address6(), address6(), hops, any::<u8>())
        .prop_flat_map(|((protocol, payload), mut chain, ordered, src, dst, hops, round)| {
            if ordered {
                // Hop-by-hop first and once, one fragment header.
                chain.sort_by_key(|(kind, _)| *kind != 0);
                let mut seen = [false; 256];
                chain.retain(|(kind, _)| {
                    [60, 43].contains(kind) || !std::mem::replace(&mut seen[usize::from(*kind)], true)
                });
            }
            let mut next = protocol;
            let mut bytes = rounded(payload, round);
            for (kind, mut header) in chain.into_iter().rev() {
                header[0] = next;
                next = kind;
                bytes = [header, bytes].concat();
            }
            let length = u16::try_from(bytes.len()).unwrap();
            let length = prop_oneof![20 => Just(length), 1 => 0..length + 8, 1 => Just(0)];
            let first = prop_oneof![30 => Just(0x60_u8), 1 => any::<u8>()];
            (first, length).prop_map(move |(first, length)| {
                [&[first, 0, 0, 0][..], &length.to_be_bytes(), &[next, hops], &src, &dst, &bytes].concat()
            })
        })
        .boxed()
}

fn arp() -> Bytes {
    (mostly(1), mostly(8), mostly(6), mostly(4), vec(any::<u8>(), 15..40))
        .prop_map(|(hardware, protocol, six, four, rest)| {
            [&[0, hardware, protocol, 0, six, four, 0][..], &rest].concat()
        })
        .boxed()
}

fn length_frame() -> Bytes {
    let llc = prop::sample::select(vec![
        vec![0x42, 0x42, 0x03, 0],
        vec![0xaa, 0xaa, 0x03, 0, 0, 0x0c, 0x01, 0x0b],
        vec![1, 2],
    ]);
    (llc, 0..12_u8).prop_map(|(llc, cut)| [&[0, cut][..], &llc].concat()).boxed()
}

/// A frame. About half of them can be read.
pub(super) fn frame() -> Bytes {
    let typed = |ethertype: [u8; 2], inner: Bytes| {
        inner.prop_map(move |inner| [&ethertype[..], &inner].concat()).boxed()
    };
    let network = prop_oneof![
        8 => typed([0x08, 0x00], four(true)),
        8 => typed([0x86, 0xdd], six(true)),
        1 => typed([0x08, 0x06], arp()),
        1 => length_frame(),
        1 => vec(any::<u8>(), 2..40),
        1 => typed([0x08, 0x00], six(true)),
    ];
    let id = prop_oneof![6 => any::<u8>().prop_map(u16::from), 1 => Just(0), 1 => Just(0x0fff), 2 => any::<u16>()];
    let tag = (prop_oneof![9 => Just(0x8100_u16), 9 => Just(0x88a8), 1 => Just(0x9100)], id)
        .prop_map(|(kind, id)| [kind.to_be_bytes(), id.to_be_bytes()].concat());
    let tags = prop_oneof![4 => vec(tag.clone(), 0..1), 5 => vec(tag.clone(), 1..3), 1 => vec(tag, 3..4)];
    let group = prop::sample::select(vec![
        [2, 0, 0, 0, 0, 1],
        [0xff; 6],
        [1, 0x80, 0xc2, 0, 0, 0],
        [1, 0, 0x0c, 0xcc, 0xcc, 0xcd],
    ]);
    let padding = prop_oneof![2 => Just(0_usize), 1 => 0..46_usize];
    let spoilt =
        prop_oneof![6 => Just(Vec::new()), 1 => vec((any::<prop::sample::Index>(), any::<u8>()), 1..3)];
    let cut = prop_oneof![8 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)];
    (group, mostly(2), tags, network, padding, spoilt, cut)
        .prop_map(|(dst, first, tags, network, padding, spoilt, cut)| {
            let mut frame = [&dst[..], &[first, 0, 0, 0, 0, 2], &tags.concat(), &network].concat();
            frame.resize(frame.len() + padding, 0);
            for (at, value) in spoilt {
                let at = at.index(frame.len());
                frame[at] = value;
            }
            if let Some(cut) = cut {
                frame.truncate(cut.index(frame.len()));
            }
            frame
        })
        .boxed()
}

/// Flag bits that open, go on and end a connection, for readable segments.
pub(super) fn sane_flags() -> BoxedStrategy<u8> {
    prop::sample::select(vec![
        TcpFlags::SYN,
        TcpFlags::SYN | TcpFlags::ACK,
        TcpFlags::ACK,
        TcpFlags::FIN | TcpFlags::ACK,
        TcpFlags::RST,
    ])
    .boxed()
}

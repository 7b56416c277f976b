//! DHCP (RFC 2131) and DHCPv6 (RFC 8415): whether what goes between their ports is one of their messages.
//!
//! What it is: the form of a message, so that nothing but DHCP crosses under the name of DHCP. What it is not:
//! a reader of options: what a client asks and a server offers is theirs. Invariants: no index, no allocation,
//! no panic; a kind of message that a port does not take is none. Cost: nothing for packets of other ports;
//! of these the fixed part and at most [`OPTIONS`] options.

/// Options that are looked at: more than a message has, fewer than a frame of padding could hold.
const OPTIONS: usize = 64;
/// What tells DHCP's options from what vendors of BOOTP wrote (RFC 2131 §3).
const COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
/// Hardware type of Ethernet, the bytes of an address there, and those that any may have.
const ETHERNET: u8 = 1;
const MAC: u8 = 6;
const ROOM: u8 = 16;
/// Bytes from the number of hops to the boot file's name.
const FIXED: usize = 233;
/// Options of DHCP (RFC 2132): padding, the type of the message, the last one.
const PAD: u8 = 0;
const TYPE: u8 = 53;
const END: u8 = 255;
/// The option of DHCPv6 in which a relay carries a message (RFC 8415 §21.10).
const RELAYED: u16 = 9;

/// Who sends to whom.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
    /// From a relay to a server or back.
    Relayed,
}

/// Which way a packet between these ports goes; `None`: not DHCP's.
#[inline]
const fn way(v6: bool, sport: u16, dport: u16) -> Option<Way> {
    match (v6, sport, dport) {
        (false, 68, 67) | (true, 546, 547) => Some(Way::ToServer),
        (false, 67, 68) | (true, 547, 546) => Some(Way::ToClient),
        (false, 67, 67) | (true, 547, 547) => Some(Way::Relayed),
        _ => None,
    }
}

/// Whether these ports are DHCP's own: client to server, server to client, relay to server.
#[inline]
#[must_use]
pub const fn is_between(v6: bool, sport: u16, dport: u16) -> bool {
    way(v6, sport, dport).is_some()
}

/// Whether a UDP packet is DHCP; `message` is what it carries.
#[inline]
pub(super) fn is_message(v6: bool, sport: u16, dport: u16, message: &[u8]) -> bool {
    let Some(way) = way(v6, sport, dport) else { return false };
    if v6 { six(way, message) } else { four(way, message) }.is_some()
}

/// RFC 2131 §2 and table 3: BOOTP's fixed part, the cookie, and a type that goes this way.
#[inline(never)]
fn four(way: Way, message: &[u8]) -> Option<()> {
    let ([operation, hardware, length], rest) = message.split_first_chunk::<3>()?;
    let (_, rest) = rest.split_first_chunk::<FIXED>()?;
    let (cookie, options) = rest.split_first_chunk::<4>()?;
    let sane = *hardware != 0 && if *hardware == ETHERNET { *length == MAC } else { *length <= ROOM };
    let asks = match kind(options)? {
        // Discover, request, decline, release, inform; a lease query (RFC 4388).
        1 | 3 | 4 | 7 | 8 | 10 => true,
        // Offer, ack, nak; forced renewal (RFC 3203); answers to a lease query.
        2 | 5 | 6 | 9 | 11..=13 => false,
        _ => return None,
    };
    let goes = match way {
        Way::ToServer => asks,
        Way::ToClient => !asks,
        Way::Relayed => true,
    };
    let operates = *operation == if asks { 1 } else { 2 };
    (sane && *cookie == COOKIE && goes && operates).then_some(())
}

/// The type of a DHCP message, among its options.
fn kind(mut options: &[u8]) -> Option<u8> {
    for _ in 0..OPTIONS {
        options = match *options {
            [TYPE, 1, kind, ..] => return Some(kind),
            [] | [END | TYPE, ..] => return None,
            [PAD, ref rest @ ..] => rest,
            [_, length, ref rest @ ..] => rest.get(usize::from(length)..)?,
            [_] => return None,
        };
    }
    None
}

/// RFC 8415 §7.3, §8, §9: a type that goes this way, and options that fill the message; a relay's carries
/// another message.
#[inline(never)]
fn six(way: Way, message: &[u8]) -> Option<()> {
    let fixed = match (way, *message.first()?) {
        // Solicit, request, confirm, renew, rebind, release, decline, information-request.
        (Way::ToServer, 1 | 3..=6 | 8 | 9 | 11)
        // Advertise, reply, reconfigure.
        | (Way::ToClient, 2 | 7 | 10) => 4,
        (Way::Relayed, 12 | 13) => 34,
        (Way::ToServer | Way::ToClient | Way::Relayed, _) => return None,
    };
    let mut options = message.get(fixed..).filter(|options| !options.is_empty())?;
    let mut carries = way != Way::Relayed;
    for _ in 0..OPTIONS {
        let ([c0, c1, l0, l1], rest) = options.split_first_chunk::<4>()?;
        carries |= u16::from_be_bytes([*c0, *c1]) == RELAYED;
        options = rest.get(usize::from(u16::from_be_bytes([*l0, *l1]))..)?;
        if options.is_empty() {
            return carries.then_some(());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples::{dhcp, dhcp_v6};

    /// The types of message that may go between these ports, of one family's form.
    fn taken(v6: bool, sport: u16, dport: u16) -> Vec<u8> {
        let message = |kind| if v6 { dhcp_v6(kind) } else { dhcp(kind) };
        (0..=u8::MAX).filter(|kind| is_message(v6, sport, dport, &message(*kind))).collect()
    }

    #[test]
    fn every_type_goes_its_way_only() {
        let (asked, answered): (&[u8], &[u8]) = (&[1, 3, 4, 7, 8, 10], &[2, 5, 6, 9, 11, 12, 13]);
        assert_eq!(taken(false, 68, 67), asked);
        assert_eq!(taken(false, 67, 68), answered);
        assert_eq!(taken(false, 67, 67), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        assert_eq!(taken(true, 546, 547), [1, 3, 4, 5, 6, 8, 9, 11]);
        assert_eq!(taken(true, 547, 546), [2, 7, 10]);
        assert_eq!(taken(true, 547, 547), [12, 13]);
        let ports = [53, 67, 68, 546, 547];
        let own: Vec<_> = [false, true]
            .into_iter()
            .flat_map(|v6| ports.map(|sport| (v6, sport)))
            .flat_map(|(v6, sport)| ports.map(|dport| (v6, sport, dport)))
            .filter(|(v6, sport, dport)| {
                let some = !taken(*v6, *sport, *dport).is_empty();
                assert_eq!(is_between(*v6, *sport, *dport), some, "{v6} {sport} → {dport}");
                some
            })
            .collect();
        assert_eq!(
            own,
            [
                (false, 67, 67),
                (false, 67, 68),
                (false, 68, 67),
                (true, 546, 547),
                (true, 547, 546),
                (true, 547, 547)
            ]
        );
    }

    /// The message with other bytes in these places.
    fn with(message: &[u8], changes: &[(usize, u8)]) -> Vec<u8> {
        let mut message = message.to_vec();
        for (at, byte) in changes {
            message[*at] = *byte;
        }
        message
    }

    #[test]
    fn what_lacks_the_form_of_dhcp_is_none() {
        let discover = dhcp(1);
        let whole = |message: &[u8]| is_message(false, 68, 67, message);
        let (fixed, options) = discover.split_at(240);
        let behind = |before: &[u8], end: &[u8]| [fixed, before, &[TYPE, 1, 1], end].concat();
        assert_eq!((discover.len(), &options[..4]), (300, &[TYPE, 1, 1, END][..]));
        for (what, message) in [
            ("its shortest", behind(&[], &[])),
            ("behind padding", behind(&[PAD; 63], &[])),
            ("behind another option", behind(&[12, 2, b'h', b'i'], &[END])),
            ("over InfiniBand (RFC 4390)", with(&discover, &[(1, 32), (2, 0)])),
            ("with an address of sixteen bytes", with(&discover, &[(1, 7), (2, 16)])),
        ] {
            assert!(whole(&message), "{what}");
        }
        for (what, message) in [
            ("nothing", Vec::new()),
            ("anything", b"any bytes at all".to_vec()),
            ("cut short", behind(&[], &[])[..242].to_vec()),
            ("without options", fixed.to_vec()),
            ("an answer's operation", with(&discover, &[(0, 2)])),
            ("no operation", with(&discover, &[(0, 0)])),
            ("no hardware", with(&discover, &[(1, 0)])),
            ("a short address", with(&discover, &[(2, 5)])),
            ("a long address", with(&discover, &[(1, 7), (2, 17)])),
            ("another cookie", with(&discover, &[(239, 0x64)])),
            ("BOOTP, which has no type", [fixed, &[END]].concat()),
            ("a type behind the last option", behind(&[END], &[])),
            ("a type of two bytes", [fixed, &[TYPE, 2, 1, 1, END]].concat()),
            ("an option beyond the end", behind(&[12, 9], &[])),
            ("an option of one byte", [fixed, &[12]].concat()),
            ("too many options", behind(&[PAD; 64], &[])),
        ] {
            assert!(!whole(&message), "{what}");
        }
    }

    #[test]
    fn what_lacks_the_form_of_dhcp_v6_is_none() {
        let (solicit, forward) = (dhcp_v6(1), dhcp_v6(12));
        let whole = |message: &[u8]| {
            let (sport, dport) = if message.first() == Some(&12) { (547, 547) } else { (546, 547) };
            is_message(true, sport, dport, message)
        };
        assert!(whole(&[&solicit[..], &[0, 6, 0, 0]].concat()), "an empty option");
        assert!(whole(&[&solicit[..4], &[0, 6, 0, 0].repeat(64)].concat()), "64 options");
        assert!(whole(&[&forward[..], &[0, 18, 0, 1, 7]].concat()), "an interface behind the message");
        for (what, message) in [
            ("nothing", Vec::new()),
            ("anything", vec![1; 40]),
            ("no options", solicit[..4].to_vec()),
            ("cut short", solicit[..solicit.len() - 1].to_vec()),
            ("a byte too long", [&solicit[..], &[0]].concat()),
            ("too many options", [&solicit[..4], &[0, 6, 0, 0].repeat(65)].concat()),
            ("a relay's without options", forward[..34].to_vec()),
            ("a relay's without a message", [&forward[..34], &[0, 18, 0, 1, 7]].concat()),
            ("a relay's cut short", forward[..30].to_vec()),
        ] {
            assert!(!whole(&message), "{what}");
        }
    }
}

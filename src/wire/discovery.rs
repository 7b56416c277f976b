//! Neighbour discovery (RFC 4861): of whom a message speaks, and which hardware address it names.
//!
//! What it is: the bodies of router and neighbour solicitations and advertisements, held to what their
//! receivers check (§6.1, §7.1). What it is not: part of [`super::parse`]: only who asks the inventory about
//! a message reads its body. Invariant: what a host would take from a message is told, and a message that
//! two hosts could take differently is not read at all. Cost: the headers once more, then one pass over the
//! options.

use std::net::{IpAddr, Ipv6Addr};

use super::{Mac, ethernet, ipv6, is_link_local};

/// Router solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;
/// Router advertisement.
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Neighbour solicitation.
pub const NEIGHBOUR_SOLICITATION: u8 = 135;
/// Neighbour advertisement.
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// Option: hardware address of the sender.
const SOURCE: u8 = 1;
/// Option: hardware address of the target.
const TARGET: u8 = 2;
/// Flag of a neighbour advertisement: it answers a solicitation.
const SOLICITED: u8 = 0x40;

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The address that is asked for or advertised; routers' messages have none.
    pub target: Option<Ipv6Addr>,
    /// The hardware address in its option: the sender's, in a neighbour advertisement the target's.
    pub mac: Option<Mac>,
}

impl Discovery {
    /// Reads the body of a router or neighbour solicitation or advertisement. `None`: it is none, it is cut
    /// short, or its receivers must ignore it.
    #[must_use]
    pub fn read(frame: &[u8]) -> Option<Self> {
        let (link, rest) = ethernet::link(frame).ok()?;
        let (fixed, rest) = rest.split_first_chunk::<40>().filter(|_| link.ethertype == ethernet::IPV6)?;
        let ([_, _, _, _, l0, l1, next, _], [src, dst]) = ipv6::split(fixed);
        let payload = rest.get(..usize::from(u16::from_be_bytes([l0, l1])))?;
        let message = ipv6::walk(next, payload).ok()?.rest;
        let (src, dst) = (Ipv6Addr::from(src), Ipv6Addr::from(dst));
        let ([kind, _, _, _, flags, _, _, _], body) = message.split_first_chunk::<8>()?;
        if !is_sound(*kind, src.into(), dst.into()) {
            return None;
        }
        let said = |target, options, wanted| Some(Self { target, mac: option(options, wanted).ok()? });
        let said = match *kind {
            ROUTER_SOLICITATION => said(None, body, SOURCE),
            ROUTER_ADVERTISEMENT => {
                let (_, options) = body.split_first_chunk::<8>()?;
                said(None, options, SOURCE)
            }
            NEIGHBOUR_SOLICITATION => {
                let (target, options) = target(body)?;
                said(Some(target), options, SOURCE)
            }
            NEIGHBOUR_ADVERTISEMENT if dst.is_multicast() && flags & SOLICITED != 0 => None,
            NEIGHBOUR_ADVERTISEMENT => {
                let (target, options) = target(body)?;
                said(Some(target), options, TARGET)
            }
            _ => None,
        };
        // Of a sender that has no address nobody may learn anything.
        said.filter(|said: &Self| {
            said.mac.is_none() || *kind == NEIGHBOUR_ADVERTISEMENT || !src.is_unspecified()
        })
    }
}

/// Whether a message of this type may go between these addresses: a router advertises itself from its
/// link-local address, duplicate address detection asks a solicited-node group.
#[must_use]
pub fn is_sound(kind: u8, src: IpAddr, dst: IpAddr) -> bool {
    match kind {
        ROUTER_ADVERTISEMENT => is_link_local(src),
        NEIGHBOUR_SOLICITATION => !src.is_unspecified() || is_solicited_node(dst),
        _ => true,
    }
}

/// The target, which is one host's, and the options behind it.
fn target(body: &[u8]) -> Option<(Ipv6Addr, &[u8])> {
    let (target, options) = body.split_first_chunk::<16>()?;
    let target = Ipv6Addr::from(*target);
    (!target.is_multicast()).then_some((target, options))
}

/// A solicited-node group (RFC 4291 §2.7.1).
fn is_solicited_node(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => matches!(v6.segments(), [0xff02, 0, 0, 0, 0, 1, 0xff00..=0xffff, _]),
    }
}

/// An option is broken, or there are two of the kind: receivers differ in which they take.
struct Broken;

/// The hardware address in the option of this kind.
fn option(mut options: &[u8], wanted: u8) -> Result<Option<Mac>, Broken> {
    let mut found = None;
    loop {
        let [kind, eights, ..] = *options else {
            return if options.is_empty() { Ok(found) } else { Err(Broken) };
        };
        let length = usize::from(eights) * 8;
        let (option, rest) = options.split_at_checked(length).filter(|_| length > 0).ok_or(Broken)?;
        if kind == wanted {
            let [_, _, mac @ ..] = option else { return Err(Broken) };
            let mac = Mac(mac.try_into().map_err(|_| Broken)?);
            if found.replace(mac).is_some() {
                return Err(Broken);
            }
        }
        options = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Vlans;
    use crate::wire::samples::Ends;

    const TARGET_ADDRESS: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    const OWN: Mac = Mac([2, 0, 0, 0, 0, 7]);

    fn ends(src: &str, dst: &str) -> Ends {
        Ends::of(src, dst).hops(255).on(Vlans { outer: 7, inner: Vlans::NONE })
    }

    fn said(frame: &[u8]) -> Option<(Option<String>, Option<Mac>)> {
        Discovery::read(frame).map(|d| (d.target.map(|t| t.to_string()), d.mac))
    }

    fn own(kind: u8) -> Vec<u8> {
        [&[kind, 1][..], &OWN.0].concat()
    }

    /// A message of this type, `fixed` bytes of zeros before its options.
    fn routers(ends: &Ends, kind: u8, fixed: usize, options: &[u8]) -> Vec<u8> {
        ends.icmp(kind, 0, [0; 4], &[&vec![0; fixed][..], options].concat())
    }

    fn neighbours(ends: &Ends, kind: u8, flags: u8, options: &[u8]) -> Vec<u8> {
        ends.icmp(kind, 0, [flags, 0, 0, 0], &[&TARGET_ADDRESS[..], options].concat())
    }

    #[test]
    fn every_message_tells_its_target_and_hardware_address() {
        let target = Some("2001:db8:20::9".to_owned());
        let other = [14, 1, 0, 0, 0, 0, 0, 0];
        let host = ends("2001:db8:10::5", "ff02::1:ff00:9");
        assert_eq!(said(&neighbours(&host, 135, 0, &own(SOURCE))), Some((target.clone(), Some(OWN))));
        let behind = [&other[..], &own(SOURCE)].concat();
        assert_eq!(said(&neighbours(&host, 135, 0, &behind)), Some((target.clone(), Some(OWN))));
        assert_eq!(said(&neighbours(&host, 135, 0, &own(TARGET))), Some((target.clone(), None)));
        let unspecified = ends("::", "ff02::1:ff00:9");
        assert_eq!(said(&neighbours(&unspecified, 135, 0, &other)), Some((target.clone(), None)));
        let answer = ends("2001:db8:20::9", "2001:db8:10::5");
        assert_eq!(
            said(&neighbours(&answer, 136, SOLICITED, &own(TARGET))),
            Some((target.clone(), Some(OWN)))
        );
        assert_eq!(said(&neighbours(&answer, 136, 0, &own(SOURCE))), Some((target.clone(), None)));
        let all = ends("2001:db8:20::9", "ff02::1");
        assert_eq!(said(&neighbours(&all, 136, 0x20, &own(TARGET))), Some((target, Some(OWN))));
        let router = ends("fe80::1", "ff02::1");
        assert_eq!(said(&routers(&router, 134, 8, &own(SOURCE))), Some((None, Some(OWN))));
        assert_eq!(said(&routers(&router, 134, 8, &[])), Some((None, None)));
        assert_eq!(said(&routers(&router, 133, 0, &own(SOURCE))), Some((None, Some(OWN))));
        assert_eq!(said(&routers(&unspecified, 133, 0, &[])), Some((None, None)));
    }

    #[test]
    fn what_receivers_ignore_or_could_take_differently_is_not_read() {
        let host = ends("2001:db8:10::5", "ff02::1:ff00:9");
        let router = ends("fe80::1", "ff02::1");
        let twice = [own(SOURCE), own(SOURCE)].concat();
        let long = [&[SOURCE, 2][..], &[0; 14]].concat();
        let mut group = neighbours(&host, 135, 0, &[]);
        let at = group.len() - 16;
        group[at] = 0xff;
        for (what, frame) in [
            ("a target cut short", host.icmp(135, 0, [0; 4], &TARGET_ADDRESS[..15])),
            ("a router's message cut short", routers(&router, 134, 7, &[])),
            ("an option of no length", neighbours(&host, 135, 0, &[9, 0, 0, 0, 0, 0, 0, 0])),
            ("an option beyond the end", neighbours(&host, 135, 0, &[9, 2, 0, 0, 0, 0, 0, 0])),
            ("half an option", neighbours(&host, 135, 0, &[9])),
            ("two addresses", neighbours(&host, 135, 0, &twice)),
            ("an address of fourteen bytes", neighbours(&host, 135, 0, &long)),
            ("a group as target", group),
            ("a sender that is none", neighbours(&ends("::", "ff02::1:ff00:9"), 135, 0, &own(SOURCE))),
            ("detection sent to a host", neighbours(&ends("::", "2001:db8:20::9"), 135, 0, &[])),
            ("a solicitation from nobody", routers(&ends("::", "ff02::2"), 133, 0, &own(SOURCE))),
            ("an answer to all", neighbours(&router, 136, SOLICITED, &own(TARGET))),
            ("a router with a routed address", routers(&host, 134, 8, &own(SOURCE))),
            ("another type", routers(&host, 128, 8, &[])),
            ("IPv4", Ends::of("10.0.0.1", "10.0.0.2").echo(1, 1, b"")),
            ("nothing", Vec::new()),
        ] {
            assert_eq!(said(&frame), None, "{what}");
        }
    }

    #[test]
    fn any_bytes_are_read_or_not() {
        let whole = neighbours(&ends("2001:db8:10::5", "ff02::1:ff00:9"), 135, 0, &own(SOURCE));
        for end in 0..whole.len() {
            assert_eq!(said(&whole[..end]), None, "{end}");
        }
        for at in 0..whole.len() {
            for byte in 0..=u8::MAX {
                let mut spoilt = whole.clone();
                spoilt[at] = byte;
                let _ = Discovery::read(&spoilt);
            }
        }
    }
}

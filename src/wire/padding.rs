//! What pads a short frame to Ethernet's least length.
//!
//! What it is: where the padding of a frame begins, and a copy of the frame with zeros there. What it is not:
//! a trailer, which stands behind the least length and is somebody's (IEC 62439-3), and what follows a
//! payload of unknown length. Invariant: no byte of what the frame carries is touched. Cost: of a longer frame
//! one comparison; of a padded one the bytes of its padding are looked at (docs/adr/0014). Of plain packets only
//! those are asked about that do not fill their frame ([`Plain::fills_frame`](super::Plain::fills_frame)).

use super::ethernet::{self, ARP, FIRST_TYPE, IPV4, IPV6, LEAST, TAGS};

/// A tag makes it longer by so much, or takes so much of its padding.
const TAG: usize = 4;
/// The longest frame that may hold padding.
pub const LONGEST_PADDED: usize = LEAST + 2 * TAG;

/// Where the padding of a frame begins, if anything in it is not zero.
#[must_use]
#[inline]
pub fn residue(frame: &[u8]) -> Option<usize> {
    let begins = begins(frame)?;
    frame.get(begins..)?.iter().any(|byte| *byte != 0).then_some(begins)
}

/// Writes the frame with zeros for padding into `into`; `None` where that is how it stands.
#[must_use]
pub fn unpadded<'a>(frame: &[u8], into: &'a mut [u8; LONGEST_PADDED]) -> Option<&'a [u8]> {
    let (packet, _) = frame.split_at_checked(residue(frame)?)?;
    let whole = into.get_mut(..frame.len())?;
    let (front, back) = whole.split_at_mut_checked(packet.len())?;
    front.copy_from_slice(packet);
    back.fill(0);
    Some(whole)
}

/// Where the padding of a frame begins, if it is so short that it can have one.
#[inline]
fn begins(frame: &[u8]) -> Option<usize> {
    if frame.len() > LONGEST_PADDED {
        return None;
    }
    let (head, rest) = frame.split_first_chunk::<14>()?;
    let ethertype = u16::from_be_bytes([head[12], head[13]]);
    if !TAGS.contains(&ethertype) {
        return if frame.len() > LEAST { None } else { Some(14 + length(ethertype, rest)?) };
    }
    let (link, rest) = ethernet::link(frame).ok()?;
    let head = frame.len().checked_sub(rest.len())?;
    // A tag of priority alone is a tag all the same.
    if frame.len() > LEAST + head.checked_sub(14)? {
        return None;
    }
    Some(head + length(link.ethertype, rest)?)
}

/// The length of what a frame carries, where it says so.
#[inline]
fn length(ethertype: u16, rest: &[u8]) -> Option<usize> {
    Some(match ethertype {
        IPV4 => {
            let [_, _, high, low] = *rest.first_chunk()?;
            usize::from(u16::from_be_bytes([high, low]))
        }
        IPV6 => {
            let [_, _, _, _, high, low] = *rest.first_chunk()?;
            40 + usize::from(u16::from_be_bytes([high, low]))
        }
        // RFC 826: two hardware and two protocol addresses behind eight bytes.
        ARP => {
            let [_, _, _, _, hardware, protocol] = *rest.first_chunk()?;
            8 + 2 * (usize::from(hardware) + usize::from(protocol))
        }
        length if length < FIRST_TYPE => usize::from(length),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Vlans;
    use crate::wire::samples::Ends;

    fn padded(mut frame: Vec<u8>, length: usize) -> Vec<u8> {
        frame.resize(length, 0xa5);
        frame
    }

    /// ARP between hardware addresses of eight bytes.
    fn long_arp() -> Vec<u8> {
        let mut frame = Ends::of("10.10.0.5", "10.20.0.9").arp(1);
        frame.splice(18..42, [&[8, 4, 0, 1][..], &[0x11; 24]].concat());
        frame
    }

    /// What becomes of a frame, and how many of its last bytes are zero then.
    fn zeros(frame: &[u8]) -> Option<usize> {
        let mut desk = [0xee; LONGEST_PADDED];
        let clean = unpadded(frame, &mut desk)?;
        assert_eq!(clean.len(), frame.len());
        let kept = clean.iter().zip(frame).take_while(|(now, before)| now == before).count();
        assert!(clean.iter().skip(kept).all(|byte| *byte == 0), "{clean:02x?}");
        Some(frame.len() - kept)
    }

    #[test]
    fn padding_is_what_lies_behind_a_packet_in_a_least_frame() {
        let four = Ends::of("10.10.0.5", "10.20.0.9");
        let six = Ends::of("2001:db8:10::5", "2001:db8:20::9");
        let tag = Vlans { outer: 100, inner: Vlans::NONE };
        let tags = Vlans { outer: 100, inner: 20 };
        for (what, frame, length, expected) in [
            ("UDP", four.udp(1, 2, b""), 60, Some(18)),
            ("with a byte", four.udp(1, 2, b"x"), 60, Some(17)),
            ("IPv6", six.ip(47, &[0, 0, 8, 0]), 60, Some(2)),
            ("ARP", four.arp(1), 60, Some(18)),
            ("ARP of longer addresses", long_arp(), 60, Some(14)),
            ("LLC", four.ethernet(3, &[0x42, 0x42, 3]), 60, Some(43)),
            ("one tag", four.on(tag).udp(1, 2, b""), 64, Some(18)),
            ("one tag in a frame of the least length", four.on(tag).udp(1, 2, b""), 60, Some(14)),
            ("two tags", four.on(tags).udp(1, 2, b""), 68, Some(18)),
            ("no padding", four.udp(1, 2, b""), 42, None),
            ("a trailer", four.udp(1, 2, b""), 66, None),
            ("a trailer behind a tag", four.on(tag).udp(1, 2, b""), 70, None),
            ("a length that nobody knows", four.ethernet(0x88cc, &[1, 2, 3]), 60, None),
            ("nothing", Vec::new(), 0, None),
        ] {
            assert_eq!(zeros(&padded(frame, length)), expected, "{what}");
        }
        let mut zero = four.udp(1, 2, b"");
        zero.resize(60, 0);
        assert_eq!(zeros(&zero), None, "it is so already");
    }

    #[test]
    fn any_short_bytes_keep_what_they_carry() {
        for (_, sample) in crate::wire::samples::every_kind() {
            for length in 0..=LONGEST_PADDED {
                let frame = padded(sample.clone(), length);
                for at in 0..length.min(22) {
                    for byte in [0, 1, 0x45, 0x81, 0xff] {
                        let mut spoilt = frame.clone();
                        spoilt[at] = byte;
                        let _ = zeros(&spoilt);
                    }
                }
            }
        }
    }
}

//! Headers written or changed by hand, for what no builder makes.

use portcullis::wire::TcpFlags;
use portcullis::wire::samples::Ends;

pub(crate) const FIN: u8 = TcpFlags::FIN;
pub(crate) const SYN: u8 = TcpFlags::SYN;
pub(crate) const RST: u8 = TcpFlags::RST;
pub(crate) const PSH: u8 = TcpFlags::PSH;
pub(crate) const ACK: u8 = TcpFlags::ACK;

/// Where the network layer of an untagged frame begins.
pub(crate) const NET: usize = 14;

/// A UDP header from 40 000 to 53 with eight bytes behind it.
pub(crate) const UDP: [u8; 16] = [0x9c, 0x40, 0, 53, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

/// A TCP SYN from 40 000 to 443.
pub(crate) const TCP: [u8; 20] =
    [0x9c, 0x40, 1, 187, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0];

/// The frame with some bytes in place of others, and the IPv4 header checksum made right again.
pub(crate) fn with(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    rechecksum(&mut frame);
    frame
}

/// Makes the IPv4 header checksum of an untagged frame right.
fn rechecksum(frame: &mut [u8]) {
    if frame[12..14] != [0x08, 0x00] {
        return;
    }
    let header = (usize::from(frame[NET] & 0xf) * 4).min(frame.len() - NET);
    frame[NET + 10..NET + 12].fill(0);
    let sum: u32 = frame[NET..NET + header]
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    frame[NET + 10..NET + 12].copy_from_slice(&(!sum).to_be_bytes());
}

/// A UDP datagram behind an IPv4 header with these options.
pub(crate) fn options(ends: &Ends, options: &[u8]) -> Vec<u8> {
    let mut header = ends.ipv4_header(17, UDP.len());
    header.options = options.try_into().unwrap();
    header.set_payload_len(UDP.len()).unwrap();
    header.header_checksum = header.calc_header_checksum();
    ends.ipv4(&header, &UDP)
}

/// A UDP datagram behind IPv6 extension headers of these kinds, eight bytes each, padding inside.
pub(crate) fn chain(ends: &Ends, headers: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for place in 0..headers.len() {
        let next = headers.get(place + 1).copied().unwrap_or(17);
        bytes.extend([next, 0, 1, 4, 0, 0, 0, 0]);
    }
    ends.ipv6(headers.first().copied().unwrap_or(17), &[&bytes[..], &UDP].concat())
}

/// ICMP's protocol number in this family.
pub(crate) fn icmp(ends: &Ends) -> u8 {
    if ends.src.is_ipv4() { 1 } else { 58 }
}

//! Which part of its datagram a packet is, for both families.

use super::{Fragment, Unreadable};

/// A fragment as its header describes it.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) id: u32,
    /// In bytes.
    pub(super) offset: u16,
    pub(super) more: bool,
    /// Bytes of the fragmented part in this packet.
    pub(super) length: usize,
    /// Bytes that the length field of the reassembled packet counts besides the fragmented part: the
    /// IPv4 header, or the IPv6 extension headers before the fragment header.
    pub(super) before: usize,
}

/// Reads a piece; offset 0 with nothing to follow is an atomic fragment, which is whole (RFC 6946).
///
/// # Errors
/// `FragmentInvalid` for what can't be part of a datagram: one whose length would not fit 16 bits
/// (RFC 8200 §4.5), a length not a multiple of eight with more to follow, a later one without a byte.
pub(super) fn fragment(piece: Piece) -> Result<Fragment, Unreadable> {
    let Piece { id, offset, more, length, before } = piece;
    let end = before + usize::from(offset) + length;
    if end > usize::from(u16::MAX) || (more && length % 8 != 0) || (offset != 0 && length == 0) {
        return Err(Unreadable::FragmentInvalid);
    }
    let length = u16::try_from(length).map_err(|_| Unreadable::FragmentInvalid)?;
    Ok(match (offset, more) {
        (0, false) => Fragment::Whole,
        (0, true) => Fragment::First { id, length },
        (_, more) => Fragment::Later { id, offset, length, more },
    })
}

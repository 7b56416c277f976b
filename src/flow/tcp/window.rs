//! The sequence space of both directions, and the segment that does nothing but move it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::ESTABLISHED;
use crate::wire::{Tcp, TcpFlags};

/// An acknowledgement may be this old at least, however small its sender's window: ipfilter's figure, one
/// unscaled window and a little.
const OLD_ACK: u32 = 66_000;

/// Sequence space of a connection, as it lies in the entry. Index 0 is end a, 1 is b.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Window {
    /// Highest sequence number sent, plus length: the next one.
    pub end: [u32; 2],
    /// Highest acknowledgement sent.
    pub acked: [u32; 2],
    /// Largest window offered, as in the header, unscaled; at least 1 once its end has spoken, so that a
    /// zero-window probe fits.
    pub win: [u16; 2],
}

const _: () = assert!(size_of::<Window>() == 20 && align_of::<Window>() == 4);

/// What a segment makes of its sender's half of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    end: u32,
    acked: u32,
    win: u16,
}

impl Window {
    /// The segment that nearly all are: both ends established, ACK and at most PSH, URG, ECE, CWR beside
    /// it, neither end to be resynchronised (`resync`), within the window. What it makes of its sender's
    /// half, to be [committed](Self::commit) if it is sent. `None` says only that
    /// [`Track::step_aside`](super::Track::step_aside) must be asked.
    ///
    /// Within the window (van Rooij 2001 §4; RFC 9293 §3.10.7.4):
    /// - *Right edge*: the data ends at or before the peer's `acked + (win << scale)`. The largest window
    ///   ever offered counts, so one that was shrunk (RFC 9293 §3.8.6) or is zero still lets the probes
    ///   and what was under way pass. A FIN may stand one beyond: some stacks send it with the last data
    ///   of a full window, and the receiver trims it.
    /// - *Left edge*: `seq` is at most one such window older than the newest sent: what is older was
    ///   acknowledged long ago. Retransmissions and keep-alives (`end - 1`, RFC 9293 §3.8.4) lie within.
    /// - *Newest ACK*: nothing is acknowledged that the peer has not sent.
    /// - *Oldest ACK*: at most one window of its sender, at least 66 000, below what the peer has sent:
    ///   so much may be under way towards it. It stops data injected blind (RFC 5961 §5).
    ///
    /// Windows are scaled only if both SYNs carried the option, and of a SYN never (RFC 7323 §2.2).
    #[must_use]
    #[inline]
    pub fn carry(&self, states: u8, scales: u8, resync: bool, tcp: &Tcp, from_a: bool) -> Option<Sent> {
        const DECIDING: u8 = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST | TcpFlags::ACK;
        let TcpFlags(flags) = tcp.flags;
        if states != ESTABLISHED || resync || flags & DECIDING != TcpFlags::ACK {
            return None;
        }
        let (own, peer) = (usize::from(!from_a), usize::from(from_a));
        let (&own_end, &peer_end) = (self.end.get(own)?, self.end.get(peer)?);
        let (&own_acked, &peer_acked) = (self.acked.get(own)?, self.acked.get(peer)?);
        let (&own_win, &peer_win) = (self.win.get(own)?, self.win.get(peer)?);
        // Nobody is established with an unknown scale, so this is at most 14.
        let reach = |of: usize, win: u16| u32::from(win) << (scales >> (4 * of) & 15);
        if !inside(tcp, own_end, || reach(own, own_win), peer_end, peer_acked, reach(peer, peer_win)) {
            return None;
        }
        let end = later(own_end, tcp.seq.wrapping_add(u32::from(tcp.payload)));
        Some(Sent { end, acked: later(own_acked, tcp.ack), win: own_win.max(tcp.window) })
    }

    /// Remembers a segment that is sent.
    #[inline]
    pub fn commit(&mut self, from_a: bool, sent: Sent) {
        let own = usize::from(!from_a);
        if let (Some(end), Some(acked), Some(win)) =
            (self.end.get_mut(own), self.acked.get_mut(own), self.win.get_mut(own))
        {
            (*end, *acked, *win) = (sent.end, sent.acked, sent.win);
        }
    }
}

/// The four bounds that [`Window::carry`] documents. Reaches are below 2³⁰, so every difference that is
/// compared is below 2³¹ and its sign tells. `own_reach` is asked only where an ACK is older than the floor.
#[inline]
pub(super) fn inside(
    tcp: &Tcp,
    own_end: u32,
    own_reach: impl FnOnce() -> u32,
    peer_end: u32,
    peer_acked: u32,
    peer_reach: u32,
) -> bool {
    let data_end = tcp.seq.wrapping_add(u32::from(tcp.payload));
    let to_right = peer_acked.wrapping_add(peer_reach).wrapping_sub(data_end);
    let from_left = tcp.seq.wrapping_sub(own_end).wrapping_add(peer_reach);
    // Below zero it is a huge number: one comparison holds both bounds of the ACK.
    let ack_age = peer_end.wrapping_sub(tcp.ack);
    (to_right | from_left).cast_signed() >= 0 && (ack_age <= OLD_ACK || ack_age <= own_reach())
}

/// Whether sequence number `one` comes before `other` (RFC 9293 §3.4).
#[inline]
pub(super) const fn before(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).cast_signed() < 0
}

/// The later of two sequence numbers.
#[inline]
pub(super) const fn later(one: u32, other: u32) -> u32 {
    if before(one, other) { other } else { one }
}

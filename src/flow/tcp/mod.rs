//! How a TCP connection stands (RFC 9293): handshake, windows, close, seen from between its two ends.
//!
//! What it is: a pure function from what is remembered of a connection, one segment and the time to a
//! [`Step`] and what is to be remembered then. What it is not: it finds no flow, asks no rule, reads no
//! clock and sends nothing; timeouts belong to whoever keeps the entry, [`Track::phase`] says which.
//!
//! Invariants:
//! - *Commit*: nothing is changed in place. A segment that does not pass gives back the same [`Track`];
//!   one that passes is remembered only when the caller stores what it was given, after the frame has
//!   found its place in a TX ring.
//! - The right edge of what an end may send, the peer's `acked + (win << scale)`, never moves back: `acked`
//!   and `win` only grow between two pick-ups.
//! - Until the peer of a SYN has spoken, `acked` of its sender holds its own initial sequence number; from
//!   the peer's SYN on, what it must acknowledge first. It becomes a real acknowledgement with the first
//!   ACK, which is the step out of `SynSent`.
//!
//! The bounds are those of van Rooij, "Real Stateful TCP Packet Filtering in IP Filter" (2001), as pf and
//! netfilter keep them too; [`Window::carry`] documents each.
//!
//! Cost: [`Window::carry`] with its commit is the whole price of an established connection: 50 instructions
//! on x86-64 without a call and what it saves, two branches on the numbers, one line of the entry. Everything
//! else is one cold function. Rejected: leaving growing windows to that function (3 instructions less, but the
//! receiver of a young connection offers more with each ACK).

mod close;
mod end;
mod open;
#[cfg(test)]
mod tests;
mod window;

pub use end::Phase;
pub use window::{Sent, Window};

use crate::wire::{Tcp, TcpFlags};
use end::{End, State};
use window::{before, later};

/// `states` of a connection whose both ends have completed the handshake, and nothing else: the only
/// ones [`Window::carry`] serves.
pub const ESTABLISHED: u8 = 0x33;

/// Scale of an end that has offered none; gone once both ends have spoken.
const UNKNOWN: u8 = 15;
/// The largest scale (RFC 7323 §2.3): what is taken for both ends where the SYNs were not seen.
const LARGEST: u8 = 14;

/// Ticks (16.8 ms) that surely last a second when more of them have passed: a tick is cut off at each end.
const SURELY_A_SECOND: u32 = 60;
/// Ticks that surely last less than a second when fewer of them have passed.
const WITHIN_A_SECOND: u32 = 59;

/// Why a segment is no part of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// Its flags do not fit how the connection stands.
    State,
    /// Its sequence or acknowledgement number lies outside the window.
    Window,
}

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// It passes; the entry was seen now.
    Pass,
    /// It passes, and the entry was not seen by it: its timeout runs on. A SYN on a live connection, the
    /// ACK of a repeated FIN.
    PassAside,
    /// It passes, and the connection is over: from now on the entry is a tombstone for a minute.
    PassAndClose,
    /// It passes, a RST of which the receiver decides: at most ten seconds are left from now
    /// ([`Phase::Doubted`]), unless the receiver speaks again.
    PassShortened,
    /// It is no part of the connection.
    Refused(Refused),
    /// The connection is over: the segment meets the rules as if there were no entry.
    Over,
    /// A SYN that begins a new connection on the same addresses and ports: it meets the rules, and if
    /// they let it pass, takes the entry's place.
    Anew,
}

impl Step {
    /// Whether the segment passes as part of this connection. Only then is there something to commit.
    #[must_use]
    pub const fn passes(self) -> bool {
        match self {
            Self::Pass | Self::PassAside | Self::PassAndClose | Self::PassShortened => true,
            Self::Refused(_) | Self::Over | Self::Anew => false,
        }
    }
}

/// All that is remembered of a TCP connection. `a` and `b` are the ends of the entry's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Track {
    /// How each end stands: a in the low four bits, b in the high.
    pub states: u8,
    /// Window scale of each end, likewise: 0 to 14, 14 too where it was never seen; 15 before both ends
    /// have spoken, of one that has offered none.
    pub scales: u8,
    /// Sequence space of both directions.
    pub window: Window,
    /// Low bits of the tick at which a SYN passed on the live connection, 0 for never. Used only after
    /// the handshake, so that it may share its place with what is needed only before.
    pub challenge: u16,
    /// Its first packet was not seen.
    pub unseen: bool,
    /// The next segment of a, of b, is taken as it is and not checked.
    pub resync: [bool; 2],
    /// The handshake was completed in window; `unseen`: segments of both directions were checked.
    pub confirmed: bool,
}

impl Track {
    /// What is remembered from the first segment seen. A SYN opens a connection; anything else of one
    /// picks it up, `unseen`. `None`: a segment that nothing can be learned from, a RST or one without
    /// an acknowledgement.
    #[must_use]
    pub fn first(tcp: &Tcp, from_a: bool) -> Option<Self> {
        let mut talk = Talk::of(&Self { scales: UNKNOWN | UNKNOWN << 4, ..Self::default() }, from_a);
        if tcp.flags.opens() {
            talk.open(tcp);
        } else if tcp.flags.has(TcpFlags::RST) || !tcp.flags.has(TcpFlags::ACK) {
            return None;
        } else {
            talk.unseen = true;
            talk.take(tcp);
        }
        Some(talk.track(from_a))
    }

    /// What becomes of the next segment, and what is to be remembered if it is sent. `seen` is the tick
    /// of the entry's latest segment, `now` the tick of this one.
    #[must_use]
    #[inline]
    pub fn step(&self, tcp: &Tcp, from_a: bool, seen: u32, now: u32) -> (Step, Self) {
        let [a, b] = self.resync;
        if let Some(sent) = self.window.carry(self.states, self.scales, a || b, tcp, from_a) {
            let mut next = *self;
            next.window.commit(from_a, sent);
            return (Step::Pass, next);
        }
        self.step_aside(tcp, from_a, seen, now)
    }

    /// The same for what [`Window::carry`] does not serve; it may be asked of any segment.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub fn step_aside(&self, tcp: &Tcp, from_a: bool, seen: u32, now: u32) -> (Step, Self) {
        let mut talk = Talk::of(self, from_a);
        let step = talk.step(tcp, now.wrapping_sub(seen), now);
        if step.passes() { (step, talk.track(from_a)) } else { (step, *self) }
    }

    /// How the connection stands, for its timeout.
    #[must_use]
    pub fn phase(&self) -> Phase {
        Phase::of(self.states)
    }

    /// Whether an ICMP error may quote a segment with this sequence number as sent by a (or b): it lies
    /// in the window of what that end has sent (RFC 5927 §4). Of an end that was not checked yet,
    /// anything may be quoted.
    #[must_use]
    pub fn may_have_sent(&self, seq: u32, from_a: bool) -> bool {
        let Talk { own, peer, .. } = Talk::of(self, from_a);
        if own.resync || own.state == State::Guessed {
            return true;
        }
        let oldest = own.sent.wrapping_sub(peer.reach().max(1));
        own.state != State::Silent && !before(seq, oldest) && !before(own.sent, seq)
    }
}

/// A connection as seen by the sender of a segment.
struct Talk {
    own: End,
    peer: End,
    challenge: u16,
    unseen: bool,
    confirmed: bool,
}

impl Talk {
    fn of(track: &Track, from_a: bool) -> Self {
        let (a, b) = End::both(track);
        let (own, peer) = if from_a { (a, b) } else { (b, a) };
        Self { own, peer, challenge: track.challenge, unseen: track.unseen, confirmed: track.confirmed }
    }

    fn track(&self, from_a: bool) -> Track {
        let (a, b) = if from_a { (self.own, self.peer) } else { (self.peer, self.own) };
        Track {
            states: a.nibble() | b.nibble() << 4,
            scales: a.scale | b.scale << 4,
            window: Window { end: [a.sent, b.sent], acked: [a.acked, b.acked], win: [a.win, b.win] },
            challenge: self.challenge,
            unseen: self.unseen,
            resync: [a.resync, b.resync],
            confirmed: self.confirmed,
        }
    }

    /// `silence`: ticks since the entry was seen.
    fn step(&mut self, tcp: &Tcp, silence: u32, now: u32) -> Step {
        let has = |bit| tcp.flags.has(bit);
        if Phase::is_over(self.own.state, self.peer.state) {
            return self.after_close(tcp, silence);
        }
        if has(TcpFlags::SYN) && has(TcpFlags::RST | TcpFlags::FIN) {
            return Step::Refused(Refused::State);
        }
        let opening = self.own.state == State::SynSent || self.peer.state == State::SynSent;
        if has(TcpFlags::RST) {
            self.reset(tcp)
        } else if has(TcpFlags::SYN) {
            if opening { self.syn(tcp, silence) } else { self.late_syn(tcp, now) }
        } else if !has(TcpFlags::ACK) {
            // RFC 9293 §3.10.7.4, fifth: only RST and the first SYN come without.
            Step::Refused(Refused::State)
        } else if self.is_adrift() {
            self.take(tcp)
        } else if opening {
            self.answer_ack(tcp)
        } else if self.fits(tcp) {
            self.advance(tcp)
        } else {
            Step::Refused(Refused::Window)
        }
    }

    /// Whether one end's window is not known: neither can be checked.
    fn is_adrift(&self) -> bool {
        let unheard = |end: &End, other: &End| end.state == State::Silent && other.state.is_synchronised();
        self.own.resync
            || self.peer.resync
            || unheard(&self.own, &self.peer)
            || unheard(&self.peer, &self.own)
    }

    /// The four bounds of [`Window::carry`].
    fn fits(&self, tcp: &Tcp) -> bool {
        let (own, peer) = (&self.own, &self.peer);
        window::inside(tcp, own.sent, || own.reach(), peer.sent, peer.acked, peer.reach())
    }

    /// Takes a checked segment into account. What follows a FIN, or a FIN before what was already sent,
    /// is out of window: a FIN is the end of its sender's sequence space.
    fn advance(&mut self, tcp: &Tcp) -> Step {
        let (own, peer) = (&mut self.own, &mut self.peer);
        let (end, fin) = (sequence_end(tcp), tcp.flags.has(TcpFlags::FIN));
        if own.has_finished() && before(own.sent, end) || fin && before(end, own.sent) {
            return Step::Refused(Refused::Window);
        }
        own.sent = later(own.sent, end);
        own.acked = later(own.acked, tcp.ack);
        own.win = own.win.max(tcp.window);
        if matches!(own.state, State::SynSent | State::Guessed) {
            own.state = State::Synced;
        }
        self.confirmed |= own.state.is_checked() && peer.state.is_checked();
        self.spoken(fin)
    }

    /// A segment of `own` has passed and its numbers stand: its FIN, the peer's FIN acknowledged by it,
    /// and the doubt of a RST that it outlived.
    fn spoken(&mut self, fin: bool) -> Step {
        let (own, peer) = (&mut self.own, &mut self.peer);
        own.mark = false;
        if fin && !own.has_finished() {
            own.state = State::FinSent;
        }
        if peer.state == State::FinSent && own.acked == peer.sent {
            peer.state = State::FinAcked;
        }
        if Phase::is_over(own.state, peer.state) {
            peer.mark = false;
            return Step::PassAndClose;
        }
        Step::Pass
    }
}

/// The sequence number after a segment: SYN and FIN count as one each (RFC 9293 §3.4).
fn sequence_end(tcp: &Tcp) -> u32 {
    let marks = u32::from(tcp.flags.has(TcpFlags::SYN)) + u32::from(tcp.flags.has(TcpFlags::FIN));
    tcp.seq.wrapping_add(u32::from(tcp.payload)).wrapping_add(marks)
}

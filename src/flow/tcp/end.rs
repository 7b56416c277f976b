//! One end of a connection: how it stands, and how that is packed into four bits.

use super::{Track, Window};

/// How an end stands, by what it has sent. Three bits; the fourth is [`End::mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum State {
    /// Nothing of it was seen.
    Silent = 0,
    /// Its SYN; it has acknowledged nothing yet.
    SynSent = 1,
    /// It was picked up and its window is what its first segment said; none was checked yet.
    Guessed = 2,
    /// It has acknowledged the peer's SYN in window; picked up: a segment of it was in window.
    Synced = 3,
    /// Its FIN.
    FinSent = 4,
    /// Its FIN, and the peer has acknowledged it.
    FinAcked = 5,
    /// The RST that ended the connection.
    Reset = 6,
}

impl State {
    const fn of(nibble: u8) -> Self {
        match nibble & 7 {
            0 => Self::Silent,
            1 => Self::SynSent,
            2 => Self::Guessed,
            3 => Self::Synced,
            4 => Self::FinSent,
            5 => Self::FinAcked,
            // Seven is never written.
            _ => Self::Reset,
        }
    }

    /// Past its half of the handshake, seen or guessed.
    pub(super) fn is_synchronised(self) -> bool {
        self >= Self::Guessed
    }

    /// Past its half of the handshake by a segment that was checked.
    pub(super) fn is_checked(self) -> bool {
        self >= Self::Synced
    }
}

/// How a connection stands, for its timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The handshake is not complete; picked up: one end was seen only.
    Opening,
    /// Both ends have spoken in window, none has closed.
    Established,
    /// One end has sent its FIN.
    HalfClosed,
    /// Both have, and not both are acknowledged.
    Closing,
    /// A RST came that its receiver may have ignored: at most ten seconds are left.
    Doubted,
    /// Over: both FINs are acknowledged, or a RST was exact. A tombstone.
    Closed,
}

impl Phase {
    /// All of them, as a connection goes through them.
    pub const ALL: [Self; 6] =
        [Self::Opening, Self::Established, Self::HalfClosed, Self::Closing, Self::Doubted, Self::Closed];

    /// Its name in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Established => "established",
            Self::HalfClosed => "half_closed",
            Self::Closing => "closing",
            Self::Doubted => "doubted",
            Self::Closed => "closed",
        }
    }

    pub(in crate::flow) fn of(states: u8) -> Self {
        let (a, b) = (State::of(states), State::of(states >> 4));
        let finished = |state| matches!(state, State::FinSent | State::FinAcked);
        if Self::is_over(a, b) {
            Self::Closed
        } else if states & 0x88 != 0 {
            Self::Doubted
        } else if !a.is_synchronised() || !b.is_synchronised() {
            Self::Opening
        } else {
            match (finished(a), finished(b)) {
                (false, false) => Self::Established,
                (true, true) => Self::Closing,
                (true, false) | (false, true) => Self::HalfClosed,
            }
        }
    }

    pub(super) fn is_over(one: State, other: State) -> bool {
        one == State::Reset || other == State::Reset || (one, other) == (State::FinAcked, State::FinAcked)
    }
}

/// One end, unpacked.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) state: State,
    /// Of a live connection: a RST was sent to this end that it may have ignored; its next segment says
    /// that it did. Of a tombstone: this end has repeated its FIN; or has sent nothing but the RST.
    pub(super) mark: bool,
    /// Its window is stale and is taken from its next segment.
    pub(super) resync: bool,
    pub(super) scale: u8,
    /// Highest sequence number sent, plus length.
    pub(super) sent: u32,
    pub(super) acked: u32,
    pub(super) win: u16,
}

impl End {
    /// Both ends, a first.
    pub(super) fn both(track: &Track) -> (Self, Self) {
        let Track { states, scales, window: Window { end, acked, win }, resync, .. } = *track;
        let ([end_a, end_b], [acked_a, acked_b], [win_a, win_b]) = (end, acked, win);
        let [resync_a, resync_b] = resync;
        let of = |states: u8, scales: u8, resync, sent, acked, win| Self {
            state: State::of(states),
            mark: states & 8 != 0,
            resync,
            scale: scales & 15,
            sent,
            acked,
            win,
        };
        (
            of(states, scales, resync_a, end_a, acked_a, win_a),
            of(states >> 4, scales >> 4, resync_b, end_b, acked_b, win_b),
        )
    }

    pub(super) const fn nibble(&self) -> u8 {
        let state = match self.state {
            State::Silent => 0,
            State::SynSent => 1,
            State::Guessed => 2,
            State::Synced => 3,
            State::FinSent => 4,
            State::FinAcked => 5,
            State::Reset => 6,
        };
        if self.mark { state | 8 } else { state }
    }

    /// The largest window it has offered, in bytes; less than 2³⁰.
    pub(super) fn reach(&self) -> u32 {
        u32::from(self.win) << self.scale
    }

    pub(super) const fn has_finished(&self) -> bool {
        matches!(self.state, State::FinSent | State::FinAcked)
    }
}

//! A connection told step by step, with exact values.

mod attacks;
mod closing;
mod opening;
mod picked_up;
mod trace;
mod twin;
mod windows;

use super::*;
use crate::wire::TcpFlags;

pub(super) const FIN: u8 = TcpFlags::FIN;
pub(super) const SYN: u8 = TcpFlags::SYN;
pub(super) const RST: u8 = TcpFlags::RST;
pub(super) const PSH: u8 = TcpFlags::PSH;
pub(super) const ACK: u8 = TcpFlags::ACK;
pub(super) const A: bool = true;
pub(super) const B: bool = false;
pub(super) const STATE: Step = Step::Refused(Refused::State);
pub(super) const WINDOW: Step = Step::Refused(Refused::Window);

/// A segment of `payload` bytes with window 1000 and no option.
pub(super) fn segment(flags: u8, seq: u32, ack: u32, payload: u16) -> Tcp {
    Tcp { sport: 1, dport: 2, seq, ack, flags: TcpFlags(flags), window: 1000, payload, scale: None }
}

/// The same with another window.
pub(super) fn with_window(window: u16, tcp: Tcp) -> Tcp {
    Tcp { window, ..tcp }
}

/// The same with a window scale.
pub(super) fn with_scale(scale: u8, tcp: Tcp) -> Tcp {
    Tcp { scale: Some(scale), ..tcp }
}

/// A connection and its clock. What passes is committed, as the pipeline does.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) track: Track,
    pub(super) seen: u32,
    pub(super) now: u32,
}

impl Line {
    pub(super) fn begin(tcp: Tcp) -> Self {
        Self { track: Track::first(&tcp, A).expect("it begins a flow"), seen: 1000, now: 1000 }
    }

    /// a 100 and b 500 have shaken hands; windows 1000, no scale. Next are a 101 and b 501.
    pub(super) fn established() -> Self {
        let mut line = Self::begin(segment(SYN, 100, 0, 0));
        line.says(B, segment(SYN | ACK, 500, 101, 0), Step::Pass);
        line.says(A, segment(ACK, 101, 501, 0), Step::Pass);
        assert_eq!((line.track.states, line.track.confirmed), (ESTABLISHED, true));
        line
    }

    /// The same, over: a has closed first, b then; next are a 102 and b 502.
    pub(super) fn closed() -> Self {
        let mut line = Self::established();
        line.says(A, segment(FIN | ACK, 101, 501, 0), Step::Pass);
        line.says(B, segment(FIN | ACK, 501, 102, 0), Step::Pass);
        line.says(A, segment(ACK, 102, 502, 0), Step::PassAndClose);
        line
    }

    /// One end sends a segment, `step` becomes of it; what does not pass changes nothing.
    #[track_caller]
    pub(super) fn says(&mut self, from_a: bool, tcp: Tcp, step: Step) {
        let (answer, next) = self.track.step(&tcp, from_a, self.seen, self.now);
        assert_eq!(answer, step, "{tcp:?} on {:?}", self.track);
        assert_eq!(self.track.step_aside(&tcp, from_a, self.seen, self.now), (answer, next));
        if !answer.passes() {
            assert_eq!(next, self.track, "a segment that does not pass changed something");
        }
        self.track = next;
        match answer {
            Step::Pass | Step::PassAndClose | Step::PassShortened => self.seen = self.now,
            Step::PassAside | Step::Refused(_) | Step::Over | Step::Anew => {}
        }
    }

    /// What would become of it; nothing is committed.
    pub(super) fn asks(&self, from_a: bool, tcp: Tcp) -> Step {
        self.clone().track.step(&tcp, from_a, self.seen, self.now).0
    }

    /// Like [`says`](Self::says), and the whole of what is remembered stays as it was.
    #[track_caller]
    pub(super) fn says_in_vain(&mut self, from_a: bool, tcp: Tcp, step: Step) {
        let before = self.track;
        self.says(from_a, tcp, step);
        assert_eq!(self.track, before, "nothing should have changed");
    }

    pub(super) fn wait(&mut self, ticks: u32) {
        self.now = self.now.wrapping_add(ticks);
    }
}

//! How a connection begins: the handshake, both ends at once, data in the SYN, and in the middle.

use super::end::{End, State};
use super::window::{before, later};
use super::{LARGEST, Refused, SURELY_A_SECOND, Step, Talk, UNKNOWN, sequence_end};
use crate::wire::{Tcp, TcpFlags};

impl End {
    /// Whether its window can be measured against.
    fn is_unknown(&self) -> bool {
        self.resync || self.state == State::Silent
    }
}

impl Talk {
    /// The first SYN. Data in it (TCP Fast Open, RFC 7413) counts as sent.
    pub(super) fn open(&mut self, tcp: &Tcp) {
        self.own.state = State::SynSent;
        self.own.sent = sequence_end(tcp);
        self.own.acked = tcp.seq;
        self.own.win = tcp.window.max(1);
        self.own.scale = tcp.scale.unwrap_or(UNKNOWN);
    }

    /// A SYN, with or without ACK, while the handshake is not complete (RFC 9293 §3.5).
    pub(super) fn syn(&mut self, tcp: &Tcp, silence: u32) -> Step {
        let step =
            if tcp.flags.has(TcpFlags::ACK) { self.syn_ack(tcp) } else { self.bare_syn(tcp, silence) };
        if step == Step::Pass {
            self.own.mark = false;
            self.confirmed |= self.own.state.is_checked() && self.peer.state.is_checked();
        }
        step
    }

    /// It must acknowledge the peer's SYN and at most the data in it.
    fn syn_ack(&mut self, tcp: &Tcp) -> Step {
        // After a break the peer may have spoken and its SYN not have been seen.
        let unanswerable = self.own.resync && self.own.state == State::SynSent;
        if self.peer.state == State::Silent || unanswerable {
            return Step::Refused(Refused::State);
        }
        let first = self.own.state == State::Silent;
        let lowest = if first { self.peer.acked.wrapping_add(1) } else { self.own.acked };
        if before(tcp.ack, lowest) || before(self.peer.sent, tcp.ack) || !first && !self.is_own_syn(tcp) {
            return Step::Refused(Refused::Window);
        }
        if first {
            self.second_syn(tcp);
        }
        self.own.acked = tcp.ack;
        if !self.own.state.is_synchronised() {
            self.own.state = State::Synced;
        }
        Step::Pass
    }

    fn bare_syn(&mut self, tcp: &Tcp, silence: u32) -> Step {
        if self.own.state == State::Silent {
            // Both ends open at once: each SYN is answered by a SYN-ACK.
            let expected = self.peer.acked.wrapping_add(1);
            self.second_syn(tcp);
            self.own.acked = expected;
            self.own.state = State::SynSent;
            return Step::Pass;
        }
        if self.peer.state == State::Silent {
            // Nobody has answered: another SYN is another attempt, and takes the place of this one, so that
            // who sends SYNs in another's name cannot hold its ports.
            if tcp.seq != self.own.acked {
                return Step::Anew;
            }
            // A repeat may leave out data or options; what any of them carried may have arrived.
            self.own.sent = later(self.own.sent, sequence_end(tcp));
            self.own.win = self.own.win.max(tcp.window);
            self.own.scale = tcp.scale.unwrap_or(self.own.scale);
            return Step::Pass;
        }
        // A repeat, or what the peer answers with a challenge ACK (RFC 5961 §4): of those one a second.
        if self.is_own_syn(tcp) || silence > SURELY_A_SECOND {
            Step::Pass
        } else {
            Step::Refused(Refused::State)
        }
    }

    /// The second end's SYN has come: both directions have a beginning, and both windows their scale, none
    /// unless both SYNs have offered one (RFC 7323 §2.2). Windows of SYNs are unscaled: they are kept as
    /// the scaled ones that cover them.
    fn second_syn(&mut self, tcp: &Tcp) {
        let (own, peer) = (&mut self.own, &mut self.peer);
        own.sent = sequence_end(tcp);
        own.win = tcp.window.max(1);
        own.scale = tcp.scale.unwrap_or(UNKNOWN);
        own.resync = false;
        peer.acked = tcp.seq.wrapping_add(1);
        if own.scale == UNKNOWN || peer.scale == UNKNOWN {
            (own.scale, peer.scale) = (0, 0);
        }
        for end in [own, peer] {
            end.win = end.win.div_ceil(1 << end.scale);
        }
    }

    /// Whether this SYN is the one that `own` began with: it begins, or with its data ends, where that did.
    /// The beginning is known until the peer acknowledges more than it.
    fn is_own_syn(&self, tcp: &Tcp) -> bool {
        let begins = !self.peer.is_unknown() && tcp.seq.wrapping_add(1) == self.peer.acked;
        begins || sequence_end(tcp) == self.own.sent
    }

    /// The segment that completes the handshake, or what the answering end sends before it (Fast Open). It
    /// must lie in window and acknowledge the peer's SYN.
    pub(super) fn answer_ack(&mut self, tcp: &Tcp) -> Step {
        let (own, peer) = (&self.own, &self.peer);
        // One of them has acknowledged the other's SYN, and none is silent.
        if own.state.is_synchronised() == peer.state.is_synchronised()
            || own.state == State::Silent
            || peer.state == State::Silent
        {
            return Step::Refused(Refused::State);
        }
        let old = before(tcp.seq, peer.acked) || before(tcp.ack, own.acked);
        if old || !self.fits(tcp) {
            return Step::Refused(Refused::Window);
        }
        self.advance(tcp)
    }

    /// A SYN on a live connection. Without ACK it passes, at most one a second, and changes nothing: the
    /// challenge ACK that it draws, and the RST which that draws from an end that has forgotten the
    /// connection, decide (RFC 5961 §4). With ACK it must be a repeat of the answer that opened it.
    pub(super) fn late_syn(&mut self, tcp: &Tcp, now: u32) -> Step {
        if tcp.flags.has(TcpFlags::ACK) {
            // What was never heard of is repeated by nobody.
            let heard = self.own.state != State::Silent;
            return if heard && self.is_own_syn(tcp) && tcp.ack == self.own.acked {
                self.own.mark = false;
                Step::Pass
            } else {
                Step::Refused(Refused::Window)
            };
        }
        let [low, high, ..] = now.to_le_bytes();
        let tick = u16::from_le_bytes([low, high]).max(1);
        if self.challenge != 0 && u32::from(tick.wrapping_sub(self.challenge)) <= SURELY_A_SECOND {
            return Step::Refused(Refused::State);
        }
        self.challenge = tick;
        Step::PassAside
    }

    /// A segment that is taken as it is, because one end's window is not known: the first of an end that
    /// was picked up, or the next of one that is to be resynchronised. What is known all the same is held:
    /// nothing follows a FIN, and it comes before nothing. What one end has acknowledged, the other has sent.
    pub(super) fn take(&mut self, tcp: &Tcp) -> Step {
        let (own, peer) = (&mut self.own, &mut self.peer);
        let (end, fin) = (sequence_end(tcp), tcp.flags.has(TcpFlags::FIN));
        // Of an end that has sent only its SYN, what it has acknowledged is not known either.
        let known = |end: &End| !end.resync && end.state.is_synchronised();
        let (own_known, peer_known) = (known(own), known(peer));
        if own.has_finished() && (before(own.sent, end) || fin && end != own.sent)
            || peer.has_finished() && before(peer.sent, tcp.ack)
            || fin && own_known && before(end, own.sent)
            || fin && peer_known && before(end, peer.acked)
        {
            return Step::Refused(Refused::Window);
        }
        if own.state == State::Silent || peer.state == State::Silent {
            // The handshake was not seen in full: what one SYN has offered says nothing.
            (own.scale, peer.scale) = (LARGEST, LARGEST);
        }
        if !own.has_finished() {
            own.sent = match (own_known, peer_known) {
                (true, _) => later(own.sent, end),
                (false, true) => later(peer.acked, end),
                (false, false) => end,
            };
        }
        if !own_known && peer_known && !peer.has_finished() {
            peer.sent = later(peer.sent, tcp.ack);
        }
        own.acked = if own_known { later(own.acked, tcp.ack) } else { tcp.ack };
        own.win = own.win.max(tcp.window).max(1);
        own.resync = false;
        peer.resync |= peer.state == State::SynSent;
        if !own.state.is_synchronised() {
            own.state = State::Guessed;
        }
        self.spoken(fin)
    }
}

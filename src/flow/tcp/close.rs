//! How a connection ends: RST, and what a tombstone still lets pass.

use super::end::State;
use super::window::before;
use super::{Refused, Step, Talk, WITHIN_A_SECOND, sequence_end};
use crate::wire::{Tcp, TcpFlags};

impl Talk {
    /// A RST. Its receiver obeys it at exactly the next number it expects and answers others in its window
    /// with a challenge ACK (RFC 5961 §3); what it expects is at least what it has acknowledged. So the
    /// connection ends at exactly that; further on, up to the right edge, the receiver decides: it falls
    /// silent, or its next segment says that it lives. Answering a SYN, a RST must acknowledge it
    /// (RFC 9293 §3.10.7.3).
    pub(super) fn reset(&mut self, tcp: &Tcp) -> Step {
        let (own, peer) = (&self.own, &self.peer);
        let acks = tcp.flags.has(TcpFlags::ACK);
        let exact = match (own.state, peer.state) {
            (State::Silent, State::SynSent) => {
                if !acks {
                    return Step::Refused(Refused::State);
                }
                // Until `own` speaks, `acked` is where the SYN began.
                if tcp.ack != peer.acked.wrapping_add(1) && tcp.ack != peer.sent {
                    return Step::Refused(Refused::Window);
                }
                true
            }
            (State::SynSent, State::Silent) => {
                // It takes its own SYN back.
                if tcp.seq != own.acked.wrapping_add(1) && tcp.seq != own.sent {
                    return Step::Refused(Refused::Window);
                }
                true
            }
            _ if peer.resync || peer.state == State::Silent => false,
            // The answer to its SYN may be lost on the way to it: both readings hold.
            (_, State::SynSent) if acks && (tcp.ack == own.acked || tcp.ack == peer.sent) => true,
            _ => {
                let ahead = tcp.seq.wrapping_sub(peer.acked);
                if ahead > peer.reach() {
                    return Step::Refused(Refused::Window);
                }
                ahead == 0
            }
        };
        if exact {
            (self.own.mark, self.peer.mark) = (self.own.state == State::Silent, false);
            self.own.state = State::Reset;
            Step::PassAndClose
        } else {
            self.peer.mark = true;
            Step::PassShortened
        }
    }

    /// A segment on a tombstone. Where both FINs were acknowledged, the exact repeat of one passes, since
    /// its ACK may be lost (TIME-WAIT, RFC 9293 §3.10.7.4), and for a second the ACK that it draws. A SYN
    /// newer than all its sender has sent opens anew (RFC 9293 §3.6.1, RFC 6191). All else meets the
    /// rules.
    pub(super) fn after_close(&mut self, tcp: &Tcp, silence: u32) -> Step {
        const DECIDING: u8 = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST | TcpFlags::ACK;
        const FIN_ACK: u8 = TcpFlags::FIN | TcpFlags::ACK;
        let (own, peer) = (&mut self.own, &self.peer);
        let TcpFlags(flags) = tcp.flags;
        if tcp.flags.opens() {
            let unheard = own.state == State::Silent || own.state == State::Reset && own.mark;
            let newer = unheard || before(own.sent, tcp.seq);
            return if newer { Step::Anew } else { Step::Over };
        }
        let finished = own.state == State::FinAcked && peer.state == State::FinAcked;
        if !finished || sequence_end(tcp) != own.sent || tcp.ack != own.acked {
            return Step::Over;
        }
        match flags & DECIDING {
            FIN_ACK => {
                own.mark = true;
                Step::Pass
            }
            TcpFlags::ACK if tcp.payload == 0 && peer.mark && silence < WITHIN_A_SECOND => Step::PassAside,
            _ => Step::Over,
        }
    }
}

//! What a test says of one frame: that it crosses, is dropped, or would be; and who its hosts are.

use portcullis::pipeline::{Event, EventKind, Reason};
use portcullis::policy::diagnostic;
use portcullis::wire::samples::Ends;
use portcullis::wire::{Mac, Side, TcpFlags};
use portcullis::worker::Policy;

use crate::memory::Count::{Dropped, Forwarded, Would};
use crate::memory::{self, Count, POLICY, Rig, Shape};

pub(crate) const SYN: u8 = TcpFlags::SYN;
pub(crate) const ACK: u8 = TcpFlags::ACK;
pub(crate) const FIN: u8 = TcpFlags::FIN;
pub(crate) const RST: u8 = TcpFlags::RST;
pub(crate) const SECOND: u64 = 1_000_000_000;

/// Addresses by family: 0 is IPv4, 1 is IPv6.
pub(crate) const CLIENT: [&str; 2] = ["10.10.0.5", "2001:db8:10::5"];
pub(crate) const VAULT: [&str; 2] = ["10.20.0.9", "2001:db8:20::9"];
pub(crate) const JUMP: [&str; 2] = ["10.20.1.30", "2001:db8:20::30"];
pub(crate) const OLD: &str = "10.20.2.40";

pub(crate) const VAULT_MAC: Mac = Mac([2, 0, 0, 0x20, 0, 1]);
pub(crate) const JUMP_MAC: Mac = Mac([2, 0, 0, 0x20, 0, 0x30]);
pub(crate) const OLD_MAC: Mac = Mac([2, 0, 0, 0x20, 0, 0x40]);

/// From the client to the vault, whose zone is enforced.
pub(crate) fn to_vault(family: usize) -> Ends {
    Ends::of(CLIENT[family], VAULT[family])
}

/// From the client to the jump host, whose zone is simulated.
pub(crate) fn to_jump(family: usize) -> Ends {
    Ends { dst_mac: JUMP_MAC, ..Ends::of(CLIENT[family], JUMP[family]) }
}

/// A policy that must load, or its findings drawn.
pub(crate) fn policy(text: &str, generation: u32) -> Policy {
    memory::policy(text, generation).unwrap_or_else(|rejected| {
        panic!("{}", diagnostic::render(&rejected.sources, &rejected.diagnostics, false))
    })
}

/// [`POLICY`] with every zone under observe.
pub(crate) fn relaxed() -> String {
    POLICY.replace("mode = \"enforce\"", "mode = \"observe\"").replace("simulate", "observe")
}

/// [`POLICY`], its rule `allow.web` for these services.
pub(crate) fn web_for(services: &str) -> String {
    let text = POLICY.replace("[\"https\", \"dns\", \"ping\"]", services);
    assert_ne!(text, POLICY);
    text
}

impl Rig {
    /// Under a policy, of the usual shape.
    pub(crate) fn under(text: &str) -> Self {
        Self::shaped(text, Shape::default())
    }

    pub(crate) fn shaped(text: &str, shape: Shape) -> Self {
        Self::new(policy(text, 1), shape)
    }

    /// Sends one frame through; true if it left by the other port, unchanged.
    pub(crate) fn crosses(&mut self, side: Side, frame: &[u8]) -> bool {
        assert!(self.offer(side, frame));
        self.turn();
        let out = self.take(side.other());
        assert_eq!(self.take(side), None, "nothing goes back");
        assert_eq!(self.take(side.other()), None, "nothing goes twice");
        out.is_some_and(|bytes| {
            assert_eq!(bytes, frame, "no byte of a forwarded frame changes");
            true
        })
    }

    /// It crosses, and no more is counted.
    pub(crate) fn forwarded(&mut self, side: Side, frame: &[u8]) {
        assert!(self.crosses(side, frame), "it must cross");
        let mut moved = self.moved(side);
        // These have tests of their own.
        moved.retain(|(count, _)| !matches!(count, Count::Exempt(_)));
        assert_eq!(moved, [(Forwarded, 1)]);
    }

    /// It is dropped for exactly this reason, and an event says so.
    pub(crate) fn dropped(&mut self, side: Side, frame: &[u8], reason: Reason) -> Event {
        assert!(!self.crosses(side, frame), "it must not cross");
        assert_eq!(self.moved(side), [(Dropped(reason), 1)]);
        let event = self.event().expect("an event");
        assert_eq!((event.kind, event.reason, event.side), (EventKind::Drop, Some(reason), side));
        assert_eq!(self.event(), None);
        event
    }

    /// It crosses, and one event says what enforcement would have done.
    pub(crate) fn would(&mut self, side: Side, frame: &[u8], reason: Reason) -> Event {
        assert!(self.crosses(side, frame), "it must cross");
        assert_eq!(self.moved(side), [(Forwarded, 1), (Would(reason), 1)]);
        let event = self.event().expect("an event");
        assert_eq!((event.kind, event.reason), (EventKind::WouldDrop, Some(reason)));
        event
    }
}

//! How long the rings of a queue are, and how many frames its pool has.
//!
//! What it is: arithmetic. Invariant: a zero-copy driver always finds as many frames as its receive ring takes.
//! Where it finds fewer, igb (as of Linux 7.3) takes a descriptor for received that was received long before: its
//! frame is then in two places, and packets are forwarded twice or overwritten. In copy mode a frame is asked for
//! when its packet is there, so the pool itself bounds what is in flight.

use crate::io::BURST;

/// The receive ring of a driver that does not tell its length.
pub(super) const UNTOLD: u32 = 512;

#[allow(clippy::cast_possible_truncation, reason = "64")]
const IN_HAND: u32 = BURST as u32;

/// Lengths of one queue at one port, powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Depth {
    /// Frames of the pool, and places of the fill ring.
    pub(super) pool: u32,
    /// Places of the RX ring.
    pub(super) receive: u32,
    /// Places of the TX ring and the completion ring, and frames on their way out at a time.
    pub(super) transmit: u32,
}

impl Depth {
    /// For frames that are copied. A TX ring may hold frames of both pools: those that cross, and replies sent
    /// back where they came from.
    pub(super) const fn copied(rings: u32) -> Self {
        Self { pool: rings, receive: rings, transmit: rings.saturating_mul(2) }
    }

    /// For frames that a driver receives into, whose own receive ring has `driver` places. Beside those, frames
    /// of a pool wait in the RX ring, are judged, are on their way out at either port, or are fragments that
    /// wait for their first: a quarter of the pool.
    pub(super) const fn shared(rings: u32, driver: u32) -> Self {
        let away = rings.saturating_mul(3).saturating_add(IN_HAND);
        let needed = driver.saturating_add(away);
        let pool = needed.saturating_add(needed.div_ceil(3)).next_power_of_two();
        Self { pool, receive: rings, transmit: rings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copied_frames_have_the_depth_that_was_asked_for() {
        assert_eq!(Depth::copied(256), Depth { pool: 256, receive: 256, transmit: 512 });
    }

    #[test]
    fn a_driver_finds_frames_for_its_ring_wherever_the_others_are() {
        for rings in [64, 256, 1024, 4096] {
            for driver in [0, 64, 80, 256, 512, 1000, 4096, 8192] {
                let depth = Depth::shared(rings, driver);
                let fragments = depth.pool / 4;
                let away = depth.receive + 64 + 2 * depth.transmit + fragments;
                assert!(depth.pool - away >= driver, "{rings} {driver} {depth:?}");
                let lengths = [depth.pool, depth.receive, depth.transmit];
                assert!(lengths.iter().all(|length| length.is_power_of_two()), "{depth:?}");
                assert!(depth.receive <= rings && depth.transmit <= rings, "in flight as asked: {depth:?}");
            }
        }
        assert_eq!(Depth::shared(256, 256).pool, 2048);
    }
}

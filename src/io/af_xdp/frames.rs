//! The size of a wire's frames: the smallest that holds a full packet of both ports as their drivers see it.
//!
//! What it is not: it asks nobody. What a driver makes of the room in a frame stands in the table of hardware
//! (`io/hardware.toml`), since no driver tells it.

use super::{HEADROOM, LINK_BYTES, XDP_HEADROOM};
use crate::io::hardware;

/// Sizes that the kernel takes: a power of two from 2 KiB to a page.
const SMALL: u32 = 2_048;
pub(super) const LARGE: u32 = 4_096;

/// What the frames of a wire must hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need<'a> {
    /// Drivers of the ports.
    pub(super) drivers: [&'a str; 2],
    /// The larger MTU.
    pub(super) mtu: u32,
}

impl Need<'_> {
    /// Bytes of a frame. Copied into, it holds what there is room for; a driver that writes into it itself sees a room
    /// that it has rounded down, and what one does that nobody has looked at is not relied on.
    pub(super) fn size(self, zero_copy: bool) -> u32 {
        let steps = self.drivers.map(|driver| if zero_copy { hardware::rounds(driver) } else { Some(1) });
        let [Some(outside), Some(inside)] = steps else { return LARGE };
        if [outside, inside].into_iter().all(|step| holds(SMALL, step, self.mtu)) { SMALL } else { LARGE }
    }

    /// What there is to say of frames of a size.
    pub(super) fn note(self, size: u32) -> String {
        let Self { drivers: [outside, inside], mtu } = self;
        if size == SMALL || !holds(SMALL, 1, mtu) {
            return format!("frames of {size} bytes: they hold an MTU of {mtu}");
        }
        let both = if outside == inside { outside.to_owned() } else { format!("{outside} and {inside}") };
        format!("frames of {size} bytes: of {SMALL} {both} may not leave the room for an MTU of {mtu}")
    }
}

/// Whether a frame whose room is rounded down to a multiple of `step` holds an MTU with what it does not count.
const fn holds(size: u32, step: u32, mtu: u32) -> bool {
    let room = size - XDP_HEADROOM - HEADROOM;
    room / step * step >= mtu + LINK_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn need(drivers: [&str; 2], mtu: u32) -> Need<'_> {
        Need { drivers, mtu }
    }

    #[test]
    fn a_driver_that_rounds_a_full_packet_away_gets_large_frames() {
        for (drivers, zero_copy, size) in [
            (["i40e", "i40e"], true, 2_048),
            (["igb", "igb"], true, 4_096),
            (["i40e", "igb"], true, 4_096),
            (["igb", "i40e"], true, 4_096),
            (["i40e", "ixgbe"], true, 4_096),
            (["i40e", "unheard-of"], true, 4_096),
            (["igb", "unheard-of"], false, 2_048),
        ] {
            assert_eq!(need(drivers, 1_500).size(zero_copy), size, "{drivers:?} {zero_copy}");
        }
    }

    #[test]
    fn the_mtu_decides_to_the_byte() {
        // 2 048 less 256 and 128 are 1 664, of which 22 are the link's.
        for (mtu, copied) in [(1_500, 2_048), (1_642, 2_048), (1_643, 4_096), (3_690, 4_096)] {
            assert_eq!(need(["igb"; 2], mtu).size(false), copied, "{mtu}");
        }
        // 1 KiB is left of it on igb.
        for (mtu, size) in [(1_002, 2_048), (1_003, 4_096)] {
            assert_eq!(need(["igb"; 2], mtu).size(true), size, "{mtu}");
        }
    }

    #[test]
    fn the_note_says_who_forced_it() {
        assert_eq!(need(["veth"; 2], 1_500).note(SMALL), "frames of 2048 bytes: they hold an MTU of 1500");
        assert_eq!(need(["veth"; 2], 3_000).note(LARGE), "frames of 4096 bytes: they hold an MTU of 3000");
        assert_eq!(
            need(["igb", "ice"], 1_500).note(LARGE),
            "frames of 4096 bytes: of 2048 igb and ice may not leave the room for an MTU of 1500"
        );
    }
}

//! How many frames a wire has, and which number is whose.
//!
//! What it is: arithmetic. Each worker has a pool a side: the frames that circulate between the fill ring and
//! the other port's completion ring, and, where there are several workers, a reserve for hand-over. What it is
//! not: it holds no frame. Invariants: a frame's side follows from its number for life, so it is exchanged for
//! one of the same side only; whose it is, whoever has it knows. The reserve holds what a worker may have lent to
//! all others at once, and as much again as one of them may lend to it: a neighbour that hangs takes no frame from
//! circulation, and between two others frames go on being exchanged.

use crate::wire::Side;

/// The pools of one wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pools {
    workers: u32,
    rings: u32,
    lent: u32,
}

impl Pools {
    /// Pools of `rings` circulating frames for each of so many workers (at least one). To each other a worker
    /// lends half as many, at least a burst and at most 512.
    #[must_use]
    pub const fn new(workers: u32, rings: u32) -> Self {
        let half = rings / 2;
        let lent = if half < 64 {
            64
        } else if half > 512 {
            512
        } else {
            half
        };
        Self::lending(workers, rings, lent)
    }

    /// The same with so many frames that a worker may have lent to one other.
    #[must_use]
    pub const fn lending(workers: u32, rings: u32, lent: u32) -> Self {
        if workers < 2 { Self { workers: 1, rings, lent: 0 } } else { Self { workers, rings, lent } }
    }

    /// Workers.
    #[must_use]
    pub const fn workers(&self) -> u32 {
        self.workers
    }

    /// Frames of a pool that circulate.
    #[must_use]
    pub const fn rings(&self) -> u32 {
        self.rings
    }

    /// Frames that one worker may have lent to one other.
    #[must_use]
    pub const fn lent(&self) -> u32 {
        self.lent
    }

    /// Frames of a pool beyond those that circulate: for `workers - 1` others, and to exchange.
    #[must_use]
    pub const fn reserve(&self) -> u32 {
        self.workers.saturating_mul(self.lent)
    }

    /// Frames of one worker and side.
    #[must_use]
    pub const fn pool(&self) -> u32 {
        self.rings.saturating_add(self.reserve())
    }

    /// All frames.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.side().saturating_mul(2)
    }

    /// Frames of one side.
    const fn side(&self) -> u32 {
        self.pool().saturating_mul(self.workers)
    }

    /// Number of the first frame of a worker's pool of a side; the others follow. The outside pools come first.
    #[must_use]
    pub const fn first(&self, worker: u32, side: Side) -> u32 {
        let at_side = match side {
            Side::Outside => 0,
            Side::Inside => self.side(),
        };
        at_side.saturating_add(worker.saturating_mul(self.pool()))
    }

    /// The side whose pools a frame is of; `None` for a number of no frame.
    #[must_use]
    #[inline]
    pub const fn home(&self, number: u32) -> Option<Side> {
        if number < self.side() {
            Some(Side::Outside)
        } else if number < self.total() {
            Some(Side::Inside)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_of_one_pool_and_tells_its_side() {
        for pools in [Pools::new(1, 256), Pools::new(2, 256), Pools::new(4, 16), Pools::lending(3, 4, 2)] {
            let mut numbers = Vec::new();
            for side in Side::BOTH {
                for worker in 0..pools.workers() {
                    let first = pools.first(worker, side);
                    for number in first..first + pools.pool() {
                        assert_eq!(pools.home(number), Some(side));
                        numbers.push(number);
                    }
                }
            }
            assert!(numbers.into_iter().eq(0..pools.total()));
            assert_eq!(pools.home(pools.total()), None);
        }
    }

    #[test]
    fn a_single_worker_has_what_circulates_and_no_more() {
        let pools = Pools::new(1, 256);
        assert_eq!((pools.pool(), pools.reserve(), pools.lent(), pools.total()), (256, 0, 0, 512));
    }

    #[test]
    fn a_reserve_holds_all_that_is_lent_and_one_neighbours_more() {
        for (workers, rings, lent) in [(2, 16, 64), (2, 256, 128), (4, 256, 128), (16, 4_096, 512)] {
            let pools = Pools::new(workers, rings);
            assert_eq!((pools.lent(), pools.reserve()), (lent, workers * lent));
            assert_eq!(pools.pool(), rings + pools.reserve());
        }
    }
}

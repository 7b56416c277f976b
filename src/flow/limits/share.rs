//! How much of a flow table one source, and all that is outside, may take.
//!
//! Counters, not records: two rows of them, a source adds to one place in each, and the smaller of its two
//! places is its count. Nothing is ever evicted and every flow is taken off where it was added, so sums are
//! exact and a source is never counted too low; it is counted too high by what *other* sources have in both
//! of its places, which are a secret. With as many places as the table has flows that is below one flow on
//! average. An exact count a source would need a record a source, and under a flood from random addresses
//! as many records as flows. Cost: two cache lines, the source's hash aside.

use super::LimitRefusal;
use crate::flow::Party;
use crate::wire::Side;

/// What may be taken of one worker's flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareLimits {
    /// Flows opened by one source.
    pub source: u32,
    /// Flows opened from outside, by all together.
    pub outside: u32,
}

/// The flows in one worker's table by who opened them.
#[derive(Debug)]
pub struct Shares {
    rows: [Box<[u32]>; 2],
    outside: u32,
}

impl Shares {
    /// Counters with at least `places` in a row, a power of two, at most 2³²; all allocated now.
    #[must_use]
    pub fn new(places: u32) -> Self {
        let places = usize::try_from(places).unwrap_or(usize::MAX).next_power_of_two();
        let row = || vec![0; places].into_boxed_slice();
        Self { rows: [row(), row()], outside: 0 }
    }

    /// The two counters of a source.
    fn counters(&mut self, source: &Party) -> Option<(&mut u32, &mut u32)> {
        let hash = source.hash;
        let [one, two] = &mut self.rows;
        let place = |half: u64, places: usize| usize::try_from(half & (places as u64 - 1)).ok();
        let at = (place(hash & u64::from(u32::MAX), one.len())?, place(hash >> 32, two.len())?);
        Some((one.get_mut(at.0)?, two.get_mut(at.1)?))
    }

    /// A source on a side opens a flow.
    ///
    /// # Errors
    /// [`LimitRefusal::SourceShare`] or [`LimitRefusal::OutsideShare`]; nothing is counted then.
    pub fn open(&mut self, source: &Party, side: Side, limits: ShareLimits) -> Result<(), LimitRefusal> {
        let outside = self.outside;
        let (one, two) = self.counters(source).ok_or(LimitRefusal::SourceShare)?;
        if *one.min(two) >= limits.source {
            return Err(LimitRefusal::SourceShare);
        }
        if side == Side::Outside && outside >= limits.outside {
            return Err(LimitRefusal::OutsideShare);
        }
        *one += 1;
        *two += 1;
        self.outside += u32::from(side == Side::Outside);
        Ok(())
    }

    /// A flow that was counted has ended; what was not counted changes nothing, then it says false.
    pub fn close(&mut self, source: &Party, side: Side) -> bool {
        let outside = self.outside.checked_sub(u32::from(side == Side::Outside));
        let (Some(outside), Some((one, two))) = (outside, self.counters(source)) else { return false };
        let (Some(less_one), Some(less_two)) = (one.checked_sub(1), two.checked_sub(1)) else {
            return false;
        };
        (*one, *two) = (less_one, less_two);
        self.outside = outside;
        true
    }

    /// Flows of a source: never too few.
    #[must_use]
    pub fn of(&mut self, source: &Party) -> u32 {
        self.counters(source).map_or(0, |(one, two)| *one.min(two))
    }

    /// Flows opened from outside, exactly.
    #[must_use]
    pub const fn outside(&self) -> u32 {
        self.outside
    }
}

//! The one place that reads clocks.
//!
//! `now` = CLOCK_BOOTTIME + anchor (POLICY.md §8): boot time counts through suspend and is never set, the
//! anchor ties it to wall time. Wall time ahead by more than a second moves the anchor forward; wall time
//! behind leaves it, so `now` never decreases. A `now` before this was built is nobody's time: policy is then
//! asked about no moment at all ([`trusted`]). Cost of a reading: two vDSO calls.

use rustix::time::{ClockId, clock_gettime};

use crate::policy::Moment;

/// Wall time this much ahead of `now` moves the anchor.
const AHEAD: u64 = 1_000_000_000;

/// When this was built, in nanoseconds since the Unix epoch: no right clock is behind it.
pub const BUILT: Moment = Moment(match u64::from_str_radix(env!("PORTCULLIS_BUILT"), 10) {
    Ok(seconds) => seconds.saturating_mul(1_000_000_000),
    Err(_) => 0,
});

/// The moment that policy is asked about at this time of the gate's clock: the same, or [`Moment::NEVER`] where
/// the clock can't be trusted, so that no exception is active and every lease has lapsed (POLICY.md §8).
#[must_use]
pub const fn trusted(now: Moment) -> Moment {
    if now.0 < BUILT.0 { Moment::NEVER } else { now }
}

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Nanoseconds since boot (CLOCK_BOOTTIME), as the kernel program reads them.
    pub boot: u64,
    /// The gate's own time.
    pub now: Moment,
}

/// The gate's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    anchor: u64,
    latest: u64,
}

impl Clock {
    /// A clock anchored to wall time as it is.
    #[must_use]
    pub fn start() -> Self {
        Self::anchored(boot_nanos(), wall_nanos())
    }

    const fn anchored(boot: u64, wall: u64) -> Self {
        Self { anchor: wall.saturating_sub(boot), latest: 0 }
    }

    /// Reads the clocks.
    pub fn read(&mut self) -> Reading {
        self.reading(boot_nanos(), wall_nanos())
    }

    fn reading(&mut self, boot: u64, wall: u64) -> Reading {
        let now = boot.saturating_add(self.anchor);
        if wall > now.saturating_add(AHEAD) {
            self.anchor = wall.saturating_sub(boot);
        }
        self.latest = self.latest.max(boot.saturating_add(self.anchor));
        Reading { boot, now: Moment(self.latest) }
    }
}

/// Nanoseconds since boot.
#[must_use]
pub fn boot_nanos() -> u64 {
    nanos(ClockId::Boottime)
}

/// Nanoseconds since the Unix epoch by the wall clock, which may be set at any time.
#[must_use]
pub fn wall_nanos() -> u64 {
    nanos(ClockId::Realtime)
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn a_clock_behind_the_build_is_not_trusted() {
        let year = 365 * 86_400 * S;
        assert!(BUILT > Moment(50 * year), "{BUILT:?}");
        for now in [0, 10 * S, BUILT.0 - 1] {
            assert_eq!(trusted(Moment(now)), Moment::NEVER);
        }
        for now in [BUILT.0, BUILT.0 + year] {
            assert_eq!(trusted(Moment(now)), Moment(now));
        }
    }

    #[test]
    fn now_follows_boot_time_from_the_anchor() {
        let mut clock = Clock::anchored(10 * S, 1_000 * S);
        assert_eq!(clock.reading(12 * S, 1_002 * S), Reading { boot: 12 * S, now: Moment(1_002 * S) });
    }

    #[test]
    fn wall_time_ahead_by_more_than_a_second_moves_the_anchor() {
        let mut clock = Clock::anchored(10 * S, 1_000 * S);
        assert_eq!(clock.reading(11 * S, 1_002 * S).now, Moment(1_001 * S), "one second is drift");
        assert_eq!(clock.reading(11 * S, 1_002 * S + 1).now, Moment(1_002 * S + 1));
        assert_eq!(clock.reading(12 * S, 0).now, Moment(1_003 * S + 1), "the new anchor holds");
    }

    #[test]
    fn wall_time_set_back_never_turns_now_back() {
        let mut clock = Clock::anchored(10 * S, 1_000 * S);
        clock.reading(20 * S, 1_010 * S);
        assert_eq!(clock.reading(21 * S, 5 * S).now, Moment(1_011 * S));
        assert_eq!(clock.reading(20 * S, 5 * S).now, Moment(1_011 * S), "not even if boot time did");
    }

    #[test]
    fn the_real_clocks_run() {
        let mut clock = Clock::start();
        let (one, two) = (clock.read(), clock.read());
        assert!(two.boot >= one.boot && two.now >= one.now);
        assert!(one.now > Moment(1_700_000_000 * S), "after 2023");
    }
}

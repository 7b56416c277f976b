//! New flows a second of a source: a token bucket each, in a fixed table.
//!
//! Sets of four; a new source takes the place of the one that was quiet for longest. So a sender with many
//! addresses gets a fresh bucket with each: this limit is for sources that stay themselves (a scanner, a
//! host gone wild), the shares are for the rest. Cost: three cache lines, the source's hash aside.

use super::LimitRefusal;
use crate::flow::{Party, Source};

/// A level is in billionths of a token, so that a rate a second times nanoseconds needs no division.
const TOKEN: u64 = 1_000_000_000;
/// Nanoseconds of a tick, as a power of two.
const TICK_SHIFT: u32 = 24;
const WAYS: usize = 4;

/// How fast a source may open flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Flows a second in the long run.
    pub per_second: u32,
    /// Flows at once, after a pause; 0 lets nothing pass.
    pub burst: u32,
}

/// What is in one bucket, and when it was last looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens {
    level: u64,
    seen: u32,
}

impl Tokens {
    /// A full bucket.
    pub(super) fn full(rate: Rate, now: u32) -> Self {
        Self { level: u64::from(rate.burst) * TOKEN, seen: now }
    }

    /// Takes what time has brought.
    pub(super) fn gain(&mut self, rate: Rate, now: u32) {
        let passed = u64::from(now.wrapping_sub(self.seen)) * u64::from(rate.per_second);
        let gained = passed.saturating_mul(1 << TICK_SHIFT);
        self.level = self.level.saturating_add(gained).min(u64::from(rate.burst) * TOKEN);
        self.seen = now;
    }

    /// Whether there is one.
    pub(super) const fn any(&self) -> bool {
        self.level >= TOKEN
    }

    /// Takes one, if there is any.
    pub(super) const fn take(&mut self) -> bool {
        let any = self.any();
        if any {
            self.level -= TOKEN;
        }
        any
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// [`Source::NOBODY`]: free.
    source: Source,
    tokens: Tokens,
}

/// The token buckets of one worker's sources.
#[derive(Debug)]
pub struct NewFlows {
    sets: Box<[[Bucket; WAYS]]>,
    evicted: u64,
}

impl NewFlows {
    /// Buckets for at least `sources`, a power of two of sets, all allocated now.
    #[must_use]
    pub fn new(sources: usize) -> Self {
        let empty = Bucket { source: Source::NOBODY, tokens: Tokens { level: 0, seen: 0 } };
        Self {
            sets: vec![[empty; WAYS]; sources.div_ceil(WAYS).next_power_of_two()].into_boxed_slice(),
            evicted: 0,
        }
    }

    /// A source opens a flow. `now` is in ticks and never goes back.
    ///
    /// # Errors
    /// [`LimitRefusal::SourceRate`]; the source's bucket is as before then, but for the time.
    pub fn admit(&mut self, source: &Party, rate: Rate, now: u32) -> Result<(), LimitRefusal> {
        let Party { source, hash } = *source;
        let place = hash & (self.sets.len() as u64 - 1);
        let set = usize::try_from(place).ok().and_then(|at| self.sets.get_mut(at));
        let set = set.ok_or(LimitRefusal::SourceRate)?;
        let known = set.iter().position(|bucket| bucket.source == source);
        let way = if let Some(way) = known {
            way
        } else {
            let (way, evicted) = settle(set, source, rate, now);
            self.evicted += u64::from(evicted);
            way
        };
        let bucket = set.get_mut(way).ok_or(LimitRefusal::SourceRate)?;
        bucket.tokens.gain(rate, now);
        if bucket.tokens.take() { Ok(()) } else { Err(LimitRefusal::SourceRate) }
    }

    /// Sources that lost their bucket to another.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }
}

/// Gives a source that stands nowhere the place of nobody, or of the one that was quiet for longest; says which,
/// and whether somebody lost it.
#[inline(never)]
fn settle(set: &mut [Bucket; WAYS], source: Source, rate: Rate, now: u32) -> (usize, bool) {
    // One number: nobody above whoever was quiet for longest.
    let age = |bucket: &Bucket| {
        u64::from(bucket.source.is_nobody()) << 32 | u64::from(now.wrapping_sub(bucket.tokens.seen))
    };
    let oldest = set.iter_mut().enumerate().max_by_key(|(_, bucket)| age(bucket));
    oldest.map_or((WAYS, false), |(way, bucket)| {
        let evicted = !bucket.source.is_nobody();
        *bucket = Bucket { source, tokens: Tokens::full(rate, now) };
        (way, evicted)
    })
}

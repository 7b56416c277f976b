//! Replies of the gate's own: how many a second, to one party and to all together.
//!
//! A reply goes to whoever a packet names as its source, who need not have sent it. Without a bound on each
//! the gate would be a reflector for who spoofs them, without one on all together its replies would be a
//! flood of their own (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)). Both are token buckets in exact numbers.
//! Invariant: a reply that is refused takes no token of either. Cost: one hash and two cache lines.

use super::rate::Tokens;
use super::{NewFlows, Rate};
use crate::flow::{Source, SourceHash};

/// How many replies may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyLimits {
    /// To all together.
    pub all: Rate,
    /// To one party.
    pub each: Rate,
}

/// Why a reply may not go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplyRefusal {
    /// All together have got as many as they may.
    All,
    /// This party has.
    Each,
}

/// The token buckets of one worker's replies.
#[derive(Debug)]
pub struct Replies {
    limits: ReplyLimits,
    all: Tokens,
    each: NewFlows,
    hash: SourceHash,
}

impl Replies {
    /// Full buckets for at least so many parties, all allocated now.
    #[must_use]
    pub fn new(parties: usize, limits: ReplyLimits, secret: (u64, u64)) -> Self {
        let (all, each) = (Tokens::full(limits.all, 0), NewFlows::new(parties));
        Self { limits, all, each, hash: SourceHash::new(secret) }
    }

    /// A reply would go to this party. `now` is in ticks and never goes back.
    ///
    /// # Errors
    /// Which bucket is empty.
    pub fn admit(&mut self, to: Source, now: u32) -> Result<(), ReplyRefusal> {
        self.all.gain(self.limits.all, now);
        if !self.all.any() {
            return Err(ReplyRefusal::All);
        }
        self.each.admit(&self.hash.of(to), self.limits.each, now).map_err(|_| ReplyRefusal::Each)?;
        self.all.take();
        Ok(())
    }
}

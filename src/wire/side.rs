//! The two ports of a wire.

use std::fmt;

/// One port of the wire, with everything behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Side {
    /// The port that faces the rest of the world.
    Outside = 0,
    /// The port that faces the protected zones.
    Inside = 1,
}

impl Side {
    /// Both sides, in counter order.
    pub const BOTH: [Self; 2] = [Self::Outside, Self::Inside];

    /// The side a frame leaves by when it arrived here.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Outside => Self::Inside,
            Self::Inside => Self::Outside,
        }
    }

    /// Index into a per-side array.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word people read: `outside` or `inside`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::Inside => "inside",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

//! The same thing of the old policy and of the new one.

/// Of the old and of the new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) struct Both<T> {
    pub(in crate::policy) old: T,
    pub(in crate::policy) new: T,
}

impl<T> Both<T> {
    pub(in crate::policy) fn map<U>(self, mut f: impl FnMut(T) -> U) -> Both<U> {
        Both { old: f(self.old), new: f(self.new) }
    }

    pub(in crate::policy) fn zip<U>(self, other: Both<U>) -> Both<(T, U)> {
        Both { old: (self.old, other.old), new: (self.new, other.new) }
    }

    pub(in crate::policy) const fn as_ref(&self) -> Both<&T> {
        Both { old: &self.old, new: &self.new }
    }

    /// The old one first.
    pub(in crate::policy) fn each(self) -> impl Iterator<Item = T> {
        [self.old, self.new].into_iter()
    }
}

impl<T: PartialEq> Both<T> {
    /// Whether they do not differ.
    pub(in crate::policy) fn is_same(&self) -> bool {
        self.old == self.new
    }
}

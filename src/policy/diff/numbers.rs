//! Lists by the numbers that this room gives out.

/// What has a number in a list.
pub(super) fn at<T>(all: &[T], number: u32) -> Option<&T> {
    usize::try_from(number).ok().and_then(|number| all.get(number))
}

/// The same, to change it.
pub(super) fn at_mut<T>(all: &mut [T], number: u32) -> Option<&mut T> {
    usize::try_from(number).ok().and_then(|number| all.get_mut(number))
}

//! Which bytes of a datagram were seen: at most twelve spans.
//!
//! Spans stand in the order of their arrival, one a fragment, as long as there is room; then the oldest
//! two that touch are joined. So a repeat that the network makes, close behind its original, is known
//! for what it is, and only a datagram in more than twelve separate pieces is too much. A joined span has
//! lost its borders: a repeat inside it counts as an overlap. Cost: one look at each span, 66 pairs at
//! most when full; a datagram in order finds the pair at once.

use super::FragmentRefusal;

/// Spans a datagram may have (RFC 8200 sets no bound; a 64 KiB datagram in order needs two).
pub(super) const MOST_SPANS: usize = 12;

/// A span whose start is not a multiple of eight was joined from several: no fragment equals it.
const JOINED: u16 = 1;

/// Bytes `[start, end)` of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Span {
    tagged: u16,
    end: u16,
}

impl Span {
    const EMPTY: Self = Self { tagged: 0, end: 0 };

    /// The span of a fragment; none if there is no such one: not at a multiple of eight, without a byte,
    /// or beyond 65 535 (the parser refuses these).
    pub(super) fn new(offset: u16, length: u16) -> Option<Self> {
        let end = offset.checked_add(length)?;
        (offset.is_multiple_of(8) && length != 0).then_some(Self { tagged: offset, end })
    }

    const fn start(self) -> u16 {
        self.tagged & !JOINED
    }

    pub(super) const fn end(self) -> u16 {
        self.end
    }

    const fn overlaps(self, other: Self) -> bool {
        self.start() < other.end && other.start() < self.end
    }

    const fn touches(self, other: Self) -> bool {
        self.end == other.start() || other.end == self.start()
    }

    fn joined(self, other: Self) -> Self {
        Self { tagged: self.start().min(other.start()) | JOINED, end: self.end.max(other.end) }
    }
}

/// The bytes seen of one datagram.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Spans {
    spans: [Span; MOST_SPANS],
    count: u8,
}

impl Spans {
    /// Nothing seen.
    pub(super) const NONE: Self = Self { spans: [Span::EMPTY; MOST_SPANS], count: 0 };

    fn seen(&self) -> impl Iterator<Item = Span> {
        self.spans.iter().copied().take(usize::from(self.count))
    }

    /// Bytes seen.
    pub(super) fn covered(&self) -> u32 {
        self.seen().map(|span| u32::from(span.end - span.start())).sum()
    }

    /// The end of what was seen.
    pub(super) fn highest(&self) -> u16 {
        self.seen().map(Span::end).max().unwrap_or(0)
    }

    /// Adds a span; what is refused changes nothing.
    ///
    /// # Errors
    /// `Repeat` of exactly one fragment, `Overlap` with anything else, `Scattered`.
    pub(super) fn add(&mut self, new: Span) -> Result<(), FragmentRefusal> {
        for seen in self.seen() {
            if seen == new {
                return Err(FragmentRefusal::Repeat);
            }
            if seen.overlaps(new) {
                return Err(FragmentRefusal::Overlap);
            }
        }
        if let Some(free) = self.spans.get_mut(usize::from(self.count)) {
            *free = new;
            self.count += 1;
            return Ok(());
        }
        if self.join_oldest() {
            if let Some(last) = self.spans.last_mut() {
                *last = new;
            }
            return Ok(());
        }
        let neighbour = self.spans.iter_mut().find(|span| span.touches(new));
        let neighbour = neighbour.ok_or(FragmentRefusal::Scattered)?;
        *neighbour = neighbour.joined(new);
        Ok(())
    }

    /// Of twelve spans, joins the oldest two that touch and leaves the last place free.
    fn join_oldest(&mut self) -> bool {
        let pair = self.spans.iter().enumerate().find_map(|(older, a)| {
            let after = self.spans.iter().skip(older + 1).position(|b| a.touches(*b))?;
            Some((older, older + 1 + after))
        });
        let Some((older, newer)) = pair else { return false };
        let gone = self.spans.get(newer).copied().unwrap_or(Span::EMPTY);
        if let Some(span) = self.spans.get_mut(older) {
            *span = span.joined(gone);
        }
        self.spans.copy_within(newer + 1.., newer);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(offset: u16, length: u16) -> Span {
        Span::new(offset, length).unwrap()
    }

    #[test]
    fn a_span_has_bytes_at_a_multiple_of_eight_below_65536() {
        assert_eq!(Span::new(8, 0), None);
        assert_eq!(Span::new(4, 8), None);
        assert_eq!(Span::new(65_528, 8), None);
        assert_eq!(Span::new(65_528, 7).map(Span::end), Some(65_535));
    }

    #[test]
    fn twelve_pieces_are_remembered_and_a_thirteenth_is_too_much() {
        let mut spans = Spans::NONE;
        for n in 0..12 {
            assert_eq!(spans.add(span(n * 16, 8)), Ok(()));
        }
        assert_eq!(spans.add(span(12 * 16, 8)), Err(FragmentRefusal::Scattered));
        assert_eq!((spans.covered(), spans.highest()), (96, 11 * 16 + 8));
        // A neighbour of one still fits, and closing a gap makes room for another piece.
        assert_eq!(spans.add(span(8, 8)), Ok(()));
        assert_eq!(spans.add(span(12 * 16, 8)), Ok(()));
        assert_eq!(spans.add(span(13 * 16, 8)), Err(FragmentRefusal::Scattered));
        assert_eq!((spans.covered(), spans.highest()), (112, 12 * 16 + 8));
    }

    #[test]
    fn a_joined_span_equals_no_fragment() {
        let mut spans = Spans::NONE;
        for n in 0..13 {
            spans.add(span(n * 8, 8)).unwrap();
        }
        assert_eq!(spans.add(span(0, 16)), Err(FragmentRefusal::Overlap));
        assert_eq!(spans.add(span(0, 8)), Err(FragmentRefusal::Overlap), "its border is lost");
        assert_eq!(spans.add(span(16, 8)), Err(FragmentRefusal::Repeat), "later ones keep theirs");
        assert_eq!(spans.add(span(96, 8)), Err(FragmentRefusal::Repeat));
        assert_eq!(spans.covered(), 104);
    }

    #[test]
    fn a_whole_64_kib_datagram_in_either_order() {
        for backwards in [false, true] {
            let mut spans = Spans::NONE;
            for n in 0..44 {
                let n = if backwards { 43 - n } else { n };
                assert_eq!(spans.add(span(n * 1480, 1480)), Ok(()), "{n}");
            }
            assert_eq!(spans.covered(), 44 * 1480);
        }
    }

    /// A set of units of eight bytes.
    fn units(offset: u16, length: u16) -> u64 {
        (0..64).filter(|n| offset / 8 <= *n && *n < (offset + length) / 8).map(|n| 1 << n).sum()
    }

    proptest! {
        /// A bit a unit and a list of the fragments say the same.
        #[test]
        fn spans_agree_with_a_set_of_bits(pieces in proptest::collection::vec((0..60u16, 1..4u16), 0..60)) {
            let (mut spans, mut bits, mut list) = (Spans::NONE, 0u64, Vec::new());
            for (at, length) in pieces {
                let new = span(at * 8, length * 8);
                let unit = units(at * 8, length * 8);
                let runs = |bits: u64| (bits & !(bits << 1)).count_ones();
                let done = spans.add(new);
                match done {
                    Ok(()) => {
                        prop_assert_eq!(bits & unit, 0);
                        bits |= unit;
                        list.push(new);
                    }
                    Err(FragmentRefusal::Repeat) => prop_assert!(list.contains(&new)),
                    Err(FragmentRefusal::Overlap) => {
                        prop_assert_ne!(bits & unit, 0);
                        prop_assert!(list.len() > MOST_SPANS || !list.contains(&new));
                    }
                    Err(FragmentRefusal::Scattered) => {
                        prop_assert_eq!(bits & unit, 0);
                        prop_assert!(runs(bits | unit) > 12);
                    }
                    Err(other) => prop_assert!(false, "{:?}", other),
                }
                if done.is_ok() { prop_assert!(runs(bits) <= 12); }
                prop_assert_eq!(spans.covered(), bits.count_ones() * 8);
                prop_assert_eq!(u32::from(spans.highest()), (64 - bits.leading_zeros()) * 8);
            }
        }
    }
}

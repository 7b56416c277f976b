//! Cells that stand out of the plain, a small hash table a row.
//!
//! What it is: for each row, the columns for which a narrow rule says something, and the program there. What
//! it is not: the whole matrix; a column that is not found takes what the plain has. Invariant: a row has more
//! places than cells or is one bucket, and a bucket fills from its front, so every search ends. Cost: one line of
//! memory, seldom two; ten bytes a cell in rows of many (a table half empty, one slot after the other, took 23).

use crate::wire::processor::{equal_words, prefetch};

/// All rows' tables, one after the other.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    buckets: Vec<Bucket>,
    /// What only reports ask for, in the same places.
    full: Vec<[u32; PLACES]>,
    cells: usize,
}

/// The programs of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// What a packet is asked.
    pub(super) brief: u32,
    /// With the names of all rules that match.
    pub(super) full: u32,
}

/// Places of a bucket.
const PLACES: usize = 8;
/// Cells for which a row has a bucket: six of eight leave one bucket in eight full, whose misses look further.
const CELLS: usize = 6;

/// One line of memory.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Bucket {
    columns: [u32; PLACES],
    programs: [u32; PLACES],
}

/// No column has this number.
const FREE: u32 = u32::MAX;

impl Bucket {
    const EMPTY: Self = Self { columns: [FREE; PLACES], programs: [0; PLACES] };

    /// The place of a column; [`PLACES`] or more, none.
    #[inline]
    fn place(&self, column: u32) -> usize {
        usize::try_from(equal_words(&self.columns, column).trailing_zeros()).unwrap_or(PLACES)
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.columns.last().is_some_and(|last| *last != FREE)
    }

    /// Whether there was a place left.
    fn put(&mut self, full: &mut [u32; PLACES], column: u32, cell: Cell) -> bool {
        let mut places = self.columns.iter_mut().zip(&mut self.programs).zip(full);
        let Some(((here, brief), full)) = places.find(|((here, _), _)| **here == FREE) else {
            return false;
        };
        (*here, *brief, *full) = (column, cell.brief, cell.full);
        true
    }
}

/// Where the buckets of a row begin, and how many they are.
pub(super) type Buckets = (u32, u32);

/// The bucket of so many that a column is looked for in first.
#[inline]
fn home(column: u32, buckets: u32) -> usize {
    // The golden ratio: columns that follow each other lie apart (Knuth, 6.4).
    let spread = u64::from(column.wrapping_mul(0x9E37_79B9));
    usize::try_from((spread * u64::from(buckets)) >> 32).unwrap_or(0)
}

impl Overlay {
    /// One more row of cells, no column twice: where it starts, and how many buckets it has.
    pub(super) fn add(&mut self, cells: &[(u32, Cell)]) -> Buckets {
        let count = if cells.len() <= PLACES { cells.len().min(1) } else { cells.len().div_ceil(CELLS) };
        let start = self.buckets.len();
        self.buckets.resize(start + count, Bucket::EMPTY);
        self.full.resize(start + count, [0; PLACES]);
        let row = self.buckets.get_mut(start..).unwrap_or_default();
        let full = self.full.get_mut(start..).unwrap_or_default();
        let buckets = u32::try_from(count).unwrap_or(u32::MAX);
        for (column, cell) in cells {
            let first = home(*column, buckets);
            let mut around = (first..count).chain(0..first);
            let placed = around.any(|bucket| match (row.get_mut(bucket), full.get_mut(bucket)) {
                (Some(bucket), Some(full)) => bucket.put(full, *column, *cell),
                (Some(_) | None, _) => false,
            });
            debug_assert!(placed, "a row has more places than cells");
        }
        self.cells += cells.len();
        (u32::try_from(start).unwrap_or(u32::MAX), buckets)
    }

    pub(super) fn finish(&mut self) {
        self.buckets.shrink_to_fit();
        self.full.shrink_to_fit();
    }

    /// What a packet is asked in a column of the row that stands there.
    #[inline]
    pub(super) fn brief(&self, row: Buckets, column: u32) -> Option<u32> {
        let (bucket, place) = self.find(row, column)?;
        self.buckets.get(bucket)?.programs.get(place).copied()
    }

    /// What reports ask there.
    pub(super) fn full(&self, row: Buckets, column: u32) -> Option<u32> {
        let (bucket, place) = self.find(row, column)?;
        self.full.get(bucket)?.get(place).copied()
    }

    /// The columns of the cells of a row, each once.
    pub(super) fn columns(&self, (start, buckets): Buckets) -> impl Iterator<Item = u32> {
        let index = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let row = self.buckets.get(index(start)..index(start).saturating_add(index(buckets)));
        row.into_iter().flatten().flat_map(|bucket| bucket.columns).filter(|column| *column != FREE)
    }

    /// Bucket and place of a column.
    #[inline]
    fn find(&self, (start, buckets): Buckets, column: u32) -> Option<(usize, usize)> {
        let start = usize::try_from(start).ok()?;
        let row = self.buckets.get(start..start.checked_add(usize::try_from(buckets).ok()?)?)?;
        let first = home(column, buckets);
        let here = row.get(first)?;
        let place = here.place(column);
        if place < PLACES {
            return Some((start + first, place));
        }
        if here.is_full() {
            further(row, first, column).map(|(bucket, place)| (start + bucket, place))
        } else {
            None
        }
    }

    /// Asks for the line that a column is looked for in first.
    #[inline]
    pub(super) fn prefetch(&self, (start, buckets): Buckets, column: u32) {
        let first = usize::try_from(start).ok().map(|start| start.saturating_add(home(column, buckets)));
        // Nothing is found in a row without a cell; the line that is asked for then is somebody's.
        if let Some(bucket) = first.and_then(|first| self.buckets.get(first)).filter(|_| buckets > 0) {
            prefetch(bucket);
        }
    }

    /// Cells that stand here.
    pub(super) fn cells(&self) -> usize {
        self.cells
    }

    /// The addresses of the cells.
    pub(super) fn memory(&self) -> std::ops::Range<usize> {
        let range = self.buckets.as_ptr_range();
        range.start.addr()..range.end.addr()
    }

    /// Bytes that a packet's judgement may touch of them.
    pub(super) fn bytes(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }
}

/// The search goes on behind a full bucket, round the row.
#[cold]
fn further(row: &[Bucket], first: usize, column: u32) -> Option<(usize, usize)> {
    for number in (first + 1..row.len()).chain(0..first) {
        let bucket = row.get(number)?;
        let place = bucket.place(column);
        if place < PLACES {
            return Some((number, place));
        }
        if !bucket.is_full() {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn cell(program: u32) -> Cell {
        Cell { brief: program, full: !program }
    }

    /// Rows as (column, program), all held against the table made of them.
    fn holds(rows: &[BTreeMap<u32, u32>]) {
        let mut overlay = Overlay::default();
        let places: Vec<_> = rows
            .iter()
            .map(|row| overlay.add(&row.iter().map(|(c, p)| (*c, cell(*p))).collect::<Vec<_>>()))
            .collect();
        overlay.finish();
        for (row, place) in rows.iter().zip(places.iter().copied()) {
            for column in (0..100_000).step_by(7).chain(row.keys().copied()) {
                overlay.prefetch(place, column);
                let wanted = row.get(&column).map(|program| cell(*program));
                assert_eq!(overlay.brief(place, column), wanted.map(|cell| cell.brief), "{column}");
                assert_eq!(overlay.full(place, column), wanted.map(|cell| cell.full), "{column}");
            }
        }
        for (row, place) in rows.iter().zip(&places) {
            let mut all: Vec<u32> = overlay.columns(*place).collect();
            all.sort_unstable();
            assert_eq!(all, row.keys().copied().collect::<Vec<_>>());
        }
        assert_eq!(overlay.cells(), rows.iter().map(BTreeMap::len).sum::<usize>());
    }

    #[test]
    fn a_cell_is_found_in_its_row_and_in_no_other() {
        let row = |row: u32| {
            (0..row * 3).map(move |n| (n * (row % 5 + 1) * 4096 % 99_991, row << 16 | n)).collect()
        };
        holds(&(0..40).map(row).collect::<Vec<_>>());
    }

    #[test]
    fn columns_that_all_want_one_bucket_are_found_around_the_row() {
        // Of a row of five buckets the last one.
        let crowd = (0..u32::MAX).filter(|column| home(*column, 5) == 4).take(30);
        let row: BTreeMap<u32, u32> = crowd.map(|column| (column, column ^ 1)).collect();
        holds(&[row, (0..8).map(|n| (n, n)).collect(), BTreeMap::new(), (0..9).map(|n| (n, n)).collect()]);
    }
}

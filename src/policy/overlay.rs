//! Cells that stand out of the plain, a small hash table a row.
//!
//! What it is: for each row, the columns for which a narrow rule says something, and the program there. What
//! it is not: the whole matrix; a column that is not found takes what the plain has. Columns and programs stand apart:
//! most searches find nothing, and of a large table caches hold the columns, under three bytes a cell, long after
//! they have given up the programs. Invariant: a row has more places than cells or is one bucket, and a bucket fills from
//! its front, so every search ends. Cost: half a line of memory, seldom two; one more for what is found; eight bytes a
//! cell in rows of many.

use std::ops::Range;

use crate::wire::processor::{equal, prefetch};

/// All rows' tables, one after the other.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    columns: Vec<Bucket>,
    /// The upper halves of the columns' numbers; none where no number needs them.
    uppers: Vec<Bucket>,
    /// In the same places.
    briefs: Vec<Programs>,
    /// What only reports ask for.
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
const PLACES: usize = 16;
/// Cells for which a row has a bucket: of four places three, so that few buckets are full, whose misses look further.
const CELLS: usize = 12;

/// Half a line of memory: halves of columns' numbers.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Bucket([[u16; PLACES / 2]; 2]);

/// What a bucket's packets are asked: one line of memory.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Programs([u32; PLACES]);

/// No column has this number, nor, without upper halves, this lower one.
const FREE: u32 = u32::MAX;
const FREE_HALF: u16 = u16::MAX;

/// The lower half of a number, and the upper one.
#[inline]
fn halves(column: u32) -> [u16; 2] {
    let [a, b, c, d] = column.to_le_bytes();
    [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
}

impl Bucket {
    const EMPTY: Self = Self([[FREE_HALF; PLACES / 2]; 2]);

    /// A bit for each place that has this half, the first one's lowest.
    #[inline]
    fn same(&self, half: u16) -> u32 {
        let Self([low, high]) = self;
        equal(low, half) | equal(high, half) << (PLACES / 2)
    }

    fn at(&self, place: usize) -> u16 {
        self.0.as_flattened().get(place).copied().unwrap_or(FREE_HALF)
    }

    fn put(&mut self, place: usize, half: u16) {
        self.0.as_flattened_mut().get_mut(place).into_iter().for_each(|here| *here = half);
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

/// The same among all rows' buckets; `None` of a row without a cell.
#[inline]
fn first((start, buckets): Buckets, column: u32) -> Option<u32> {
    let first = u32::try_from(home(column, buckets)).ok()?;
    if buckets == 0 { None } else { start.checked_add(first) }
}

#[inline]
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Overlay {
    /// One more row of cells, no column twice: where it starts, and how many buckets it has.
    pub(super) fn add(&mut self, cells: &[(u32, Cell)]) -> Buckets {
        let count = if cells.len() <= PLACES { cells.len().min(1) } else { cells.len().div_ceil(CELLS) };
        let start = self.columns.len();
        self.columns.resize(start + count, Bucket::EMPTY);
        self.uppers.resize(start + count, Bucket::EMPTY);
        self.briefs.resize(start + count, Programs([0; PLACES]));
        self.full.resize(start + count, [0; PLACES]);
        let buckets = u32::try_from(count).unwrap_or(u32::MAX);
        for (column, cell) in cells {
            let first = home(*column, buckets);
            let mut around = (first..count).chain(0..first);
            let placed = around.any(|bucket| self.put(start + bucket, *column, *cell));
            debug_assert!(placed, "a row has more places than cells");
        }
        self.cells += cells.len();
        (u32::try_from(start).unwrap_or(u32::MAX), buckets)
    }

    /// Whether there was a place left.
    fn put(&mut self, bucket: usize, column: u32, cell: Cell) -> bool {
        let free = self.same(bucket, FREE);
        let place = index(free.trailing_zeros());
        let [low, high] = halves(column);
        let here = (self.columns.get_mut(bucket), self.uppers.get_mut(bucket));
        let there = (self.briefs.get_mut(bucket), self.full.get_mut(bucket));
        let ((Some(columns), Some(uppers)), (Some(Programs(briefs)), Some(full))) = (here, there) else {
            return false;
        };
        let (Some(brief), Some(full)) = (briefs.get_mut(place), full.get_mut(place)) else { return false };
        columns.put(place, low);
        uppers.put(place, high);
        (*brief, *full) = (cell.brief, cell.full);
        true
    }

    pub(super) fn finish(&mut self) {
        let upper = |bucket: &Bucket| bucket.0.iter().flatten().all(|half| [0, FREE_HALF].contains(half));
        let lower = |(columns, uppers): (&Bucket, &Bucket)| {
            (0..PLACES).all(|place| columns.at(place) != FREE_HALF || uppers.at(place) == FREE_HALF)
        };
        if self.uppers.iter().all(upper) && self.columns.iter().zip(&self.uppers).all(lower) {
            self.uppers = Vec::new();
        }
        self.uppers.shrink_to_fit();
        self.columns.shrink_to_fit();
        self.briefs.shrink_to_fit();
        self.full.shrink_to_fit();
    }

    /// What a packet is asked in a column of the row that stands there.
    #[inline]
    pub(super) fn brief(&self, row: Buckets, column: u32) -> Option<u32> {
        self.brief_at(self.find(row, column)?)
    }

    /// What it is asked in a place.
    #[inline]
    pub(super) fn brief_at(&self, place: u32) -> Option<u32> {
        let place = index(place);
        let Programs(programs) = self.briefs.get(place / PLACES)?;
        programs.get(place % PLACES).copied()
    }

    /// What reports ask in a column of the row that stands there.
    pub(super) fn full(&self, row: Buckets, column: u32) -> Option<u32> {
        let place = index(self.find(row, column)?);
        self.full.get(place / PLACES)?.get(place % PLACES).copied()
    }

    /// The columns of the cells of a row, each once.
    pub(super) fn columns(&self, (start, buckets): Buckets) -> impl Iterator<Item = u32> {
        let row = index(start)..index(start).saturating_add(index(buckets));
        let places = row.flat_map(|bucket| (0..PLACES).map(move |place| (bucket, place)));
        places.map(move |(bucket, place)| self.column(bucket, place)).filter(|column| *column != FREE)
    }

    /// The column that stands in a place.
    fn column(&self, bucket: usize, place: usize) -> u32 {
        let low = self.columns.get(bucket).map_or(FREE_HALF, |bucket| bucket.at(place));
        let high = match self.uppers.get(bucket) {
            Some(uppers) => uppers.at(place),
            None if low == FREE_HALF => FREE_HALF,
            None => 0,
        };
        u32::from(high) << 16 | u32::from(low)
    }

    /// A bit for each place of a bucket that has this column, or is free.
    #[inline]
    fn same(&self, bucket: usize, column: u32) -> u32 {
        let [low, high] = halves(column);
        let here = self.columns.get(bucket).map_or(0, |columns| columns.same(low));
        match self.uppers.get(bucket) {
            Some(uppers) => here & uppers.same(high),
            None if column < u32::from(FREE_HALF) || column == FREE => here,
            None => 0,
        }
    }

    /// The place of a column.
    #[inline]
    pub(super) fn find(&self, (start, buckets): Buckets, column: u32) -> Option<u32> {
        self.find_from(first((start, buckets), column)?, || (start, buckets), column)
    }

    /// The same, from the bucket that [`Self::prefetch`] said.
    #[inline]
    pub(super) fn find_from(&self, bucket: u32, row: impl FnOnce() -> Buckets, column: u32) -> Option<u32> {
        let same = self.same(index(bucket), column);
        if same != 0 {
            return at(index(bucket), same);
        }
        let is_full = self.column(index(bucket), PLACES - 1) != FREE;
        if is_full { self.further(row(), column) } else { None }
    }

    /// The search goes on behind a full bucket, round the row.
    #[cold]
    fn further(&self, (start, buckets): Buckets, column: u32) -> Option<u32> {
        let first = home(column, buckets);
        for number in (first + 1..index(buckets)).chain(0..first) {
            let bucket = index(start).checked_add(number)?;
            let same = self.same(bucket, column);
            if same != 0 {
                return at(bucket, same);
            }
            if self.column(bucket, PLACES - 1) == FREE {
                return None;
            }
        }
        None
    }

    /// Asks for the bucket that a column is looked for in first, and says which; none in a row without a cell.
    #[inline]
    pub(super) fn prefetch(&self, row: Buckets, column: u32) -> u32 {
        let Some(first) = first(row, column) else { return u32::MAX };
        self.columns.get(index(first)).into_iter().for_each(prefetch);
        first
    }

    /// Asks for the line with what a packet is asked in a place.
    #[inline]
    pub(super) fn prefetch_brief(&self, place: u32) {
        self.briefs.get(index(place) / PLACES).into_iter().for_each(prefetch);
    }

    /// Cells that stand here.
    pub(super) fn cells(&self) -> usize {
        self.cells
    }

    /// The addresses of the columns of all cells, and of what packets are asked there.
    pub(super) fn memory(&self) -> [Range<usize>; 2] {
        let (columns, briefs) = (self.columns.as_ptr_range(), self.briefs.as_ptr_range());
        [columns.start.addr()..columns.end.addr(), briefs.start.addr()..briefs.end.addr()]
    }

    /// Bytes that a packet's judgement may touch of them.
    pub(super) fn bytes(&self) -> usize {
        (self.columns.len() + self.uppers.len()) * size_of::<Bucket>()
            + self.briefs.len() * size_of::<Programs>()
    }
}

/// The first of these places of a bucket.
#[inline]
fn at(bucket: usize, places: u32) -> Option<u32> {
    let first = bucket.checked_mul(PLACES)?.checked_add(index(places.trailing_zeros()))?;
    u32::try_from(first).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn cell(program: u32) -> Cell {
        Cell { brief: program, full: !program }
    }

    /// Rows as (column, program), all held against the table made of them, which has upper halves or not.
    fn holds(rows: &[BTreeMap<u32, u32>], uppers: bool) {
        let mut overlay = Overlay::default();
        let places: Vec<_> = rows
            .iter()
            .map(|row| overlay.add(&row.iter().map(|(c, p)| (*c, cell(*p))).collect::<Vec<_>>()))
            .collect();
        overlay.finish();
        assert_eq!(!overlay.uppers.is_empty(), uppers);
        for (row, place) in rows.iter().zip(places.iter().copied()) {
            for column in (0..100_000).step_by(7).chain(row.keys().copied()) {
                let wanted = row.get(&column).map(|program| cell(*program));
                let found = overlay.find_from(overlay.prefetch(place, column), || place, column);
                assert_eq!(found, overlay.find(place, column), "{column}");
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

    /// Forty rows, the columns below a number.
    fn rows(below: u32) -> Vec<BTreeMap<u32, u32>> {
        let row = |row: u32| {
            (0..row * 3).map(move |n| (n * (row % 5 + 1) * 4096 % below, row << 16 | n)).collect()
        };
        (0..40).map(row).collect()
    }

    #[test]
    fn a_cell_is_found_in_its_row_and_in_no_other() {
        holds(&rows(99_991), true);
    }

    #[test]
    fn few_columns_need_no_upper_halves() {
        holds(&rows(65_521), false);
        // The last number that a lower half tells, and the first that it does not.
        let row = |column: u32| BTreeMap::from_iter([(column, 7), (3, 8)]);
        holds(&[row(0xfffe)], false);
        holds(&[row(0xffff)], true);
        holds(&[row(0x1_0003)], true);
    }

    #[test]
    fn columns_that_all_want_one_bucket_are_found_around_the_row() {
        // Of a row of three buckets the last one.
        let crowd = (0..u32::MAX).filter(|column| home(*column, 3) == 2).take(30);
        let row: BTreeMap<u32, u32> = crowd.map(|column| (column, column ^ 1)).collect();
        holds(
            &[row, (0..8).map(|n| (n, n)).collect(), BTreeMap::new(), (0..9).map(|n| (n, n)).collect()],
            false,
        );
    }
}

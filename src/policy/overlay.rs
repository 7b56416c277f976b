//! Cells that stand out of the plain, a small hash table a row.
//!
//! What it is: for each row, the columns for which a narrow rule says something, and the program there. What
//! it is not: the whole matrix; a column that is not found takes what the plain has. Invariant: at most half
//! of a row's slots are taken, so every search ends. Cost: one line of memory, rarely two.

/// All rows' tables, one after the other.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    slots: Vec<Slot>,
    cells: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    column: u32,
    program: u32,
}

/// No column has this number.
const FREE: u32 = u32::MAX;
const EMPTY: Slot = Slot { column: FREE, program: 0 };

/// Where a column is looked for first, of 2^(32 - shift) slots.
#[inline]
fn home(column: u32, shift: u32) -> usize {
    // The golden ratio: columns that follow each other lie apart (Knuth, 6.4).
    let spread = column.wrapping_mul(0x9E37_79B9);
    usize::try_from(spread.checked_shr(shift).unwrap_or(0)).unwrap_or(0)
}

impl Overlay {
    /// One more row of cells, no column twice: where it starts, and its shift.
    pub(super) fn add(&mut self, cells: &[(u32, u32)]) -> (u32, u32) {
        if self.slots.is_empty() {
            // Rows without a cell share it.
            self.slots.push(EMPTY);
        }
        if cells.is_empty() {
            return (0, 32);
        }
        let size = (2 * cells.len()).next_power_of_two();
        let shift = 32 - size.trailing_zeros();
        let start = self.slots.len();
        self.slots.resize(start + size, EMPTY);
        let row = self.slots.get_mut(start..).unwrap_or_default();
        for (column, program) in cells {
            let home = home(*column, shift);
            let free = (0..size)
                .map(|step| (home + step) % size)
                .find(|place| row.get(*place).is_some_and(|slot| slot.column == FREE));
            if let Some(slot) = free.and_then(|place| row.get_mut(place)) {
                *slot = Slot { column: *column, program: *program };
            }
        }
        self.cells += cells.len();
        (u32::try_from(start).unwrap_or(u32::MAX), shift)
    }

    pub(super) fn finish(&mut self) {
        self.slots.shrink_to_fit();
    }

    /// The program of a column in the row that starts there.
    #[inline]
    pub(super) fn find(&self, (start, shift): (u32, u32), column: u32) -> Option<u32> {
        let start = usize::try_from(start).ok()?;
        let size = 1_usize.checked_shl(32 - shift)?;
        let row = self.slots.get(start..start + size)?;
        let mut place = home(column, shift);
        loop {
            let slot = row.get(place)?;
            if slot.column == column {
                return Some(slot.program);
            }
            if slot.column == FREE {
                return None;
            }
            place = (place + 1) & (size - 1);
        }
    }

    /// Cells that stand here.
    pub(super) fn cells(&self) -> usize {
        self.cells
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_cell_is_found_in_its_row_and_in_no_other() {
        let mut overlay = Overlay::default();
        let rows: Vec<BTreeMap<u32, u32>> = (0..40_u32)
            .map(|row| (0..row * 3).map(|n| (n * (row % 5 + 1) * 4096 % 99_991, row << 16 | n)).collect())
            .collect();
        let places: Vec<_> = rows
            .iter()
            .map(|row| overlay.add(&row.iter().map(|(c, p)| (*c, *p)).collect::<Vec<_>>()))
            .collect();
        overlay.finish();
        for (row, place) in rows.iter().zip(places) {
            for column in (0..100_000).step_by(7).chain(row.keys().copied()) {
                assert_eq!(overlay.find(place, column), row.get(&column).copied(), "{column}");
            }
        }
        assert_eq!(overlay.cells(), rows.iter().map(BTreeMap::len).sum::<usize>());
    }
}

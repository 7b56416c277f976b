//! What a compiled table comes to.
//!
//! What it is: counts and bytes of what a judgement may touch, for `check`, and what to say where that is
//! more than a processor keeps near. What it is not: everything in memory; names and places for reports are
//! not counted.

use super::code::Code;
use super::diagnostic::Diagnostic;
use super::table::{Answer, Column, Lease, Row, Spot, Table};

/// A level 2 cache: what one core keeps to itself.
const NEAR: usize = 1 << 20;
/// A level 3 cache: what a socket's cores share. Beyond it a judgement waits for memory.
const SHARED: usize = 32 << 20;

/// Counts and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Size {
    /// Classes of addresses that rules tell apart as senders.
    pub senders: usize,
    /// And as destinations, zones included.
    pub destinations: usize,
    /// Pairs of them that are written down.
    pub cells: usize,
    /// Distinct programs over services in all cells.
    pub programs: usize,
    /// Distinct answers of all programs.
    pub answers: usize,
    /// Bytes that a judgement may touch.
    pub bytes: usize,
}

impl Size {
    /// What is worth a word about it.
    #[must_use]
    pub fn warning(&self) -> Option<Diagnostic> {
        (self.bytes > SHARED).then(|| {
            let message = format!(
                "the compiled policy takes {} MiB, and a processor's caches keep about {}: new flows wait for memory",
                self.bytes >> 20,
                SHARED >> 20
            );
            Diagnostic::new(Code::TableLarge, None, message).help(Code::TableLarge.remedy())
        })
    }

    /// Where a processor can keep it, in words.
    #[must_use]
    pub const fn fits(&self) -> &'static str {
        if self.bytes <= NEAR {
            "fits a core's own cache"
        } else if self.bytes <= SHARED {
            "fits a shared cache"
        } else {
            "beyond caches"
        }
    }
}

impl Table {
    /// What it comes to.
    #[must_use]
    pub fn size(&self) -> Size {
        let of = |count: usize, each: usize| count.saturating_mul(each);
        let bytes = [
            self.space.bytes(),
            of(self.spots.len(), size_of::<Spot>()),
            of(self.leases.len(), size_of::<Lease>()),
            of(self.rows.len(), size_of::<Row>()),
            of(self.columns.len(), size_of::<Column>()),
            of(self.plain.len(), size_of::<u32>()),
            self.overlay.bytes(),
            self.programs.bytes(),
            of(self.answers.len(), size_of::<Answer>()),
        ];
        Size {
            senders: self.rows.len(),
            destinations: self.columns.len(),
            cells: self.plain.len().saturating_add(self.overlay.cells()),
            programs: self.programs.count(),
            answers: self.answers.len(),
            bytes: bytes.into_iter().fold(0, usize::saturating_add),
        }
    }
}

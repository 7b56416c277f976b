//! Blocks of turns on a machine that is watched while they are measured, and how they are told.
//!
//! What it is: contenders take turns in a block, so that what the machine does meets all of them; a block from which
//! the host stole time is measured again. What it is not: it knows nothing of what is measured.

use comfy_table::{CellAlignment, Table};
use portcullis::io::clock::boot_nanos;
use rustix::time::{ClockId, clock_gettime};

use crate::calibration::each;
use crate::processors::Ticks;
use crate::statistics::{Ratio, ratio, spread};

/// Blocks below this many are no result.
pub(crate) const ENOUGH: usize = 15;
/// A block with more steal than this is discarded, counted and measured again.
const STEAL_LIMIT: f64 = 0.01;

/// The turns of a block: who, and the nanoseconds of one.
pub(crate) type Turns = Vec<(usize, f64)>;

/// This process's part of the machine: contenders may be one thread or several.
struct Own {
    at: u64,
    worked: u64,
}

impl Own {
    fn read() -> Self {
        let worked = clock_gettime(ClockId::ProcessCPUTime);
        let nanos = worked.tv_sec.saturating_mul(1_000_000_000).saturating_add(worked.tv_nsec);
        Self { at: boot_nanos(), worked: u64::try_from(nanos).unwrap_or(0) }
    }

    /// Processors that it kept busy since an earlier reading.
    fn since(&self, earlier: &Self) -> f64 {
        each(self.worked - earlier.worked, self.at - earlier.at)
    }
}

/// How the machine was.
#[derive(Default)]
pub(crate) struct Quiet {
    discarded: u32,
    /// Largest share of the processors that others used in a block.
    others: f64,
    pub(crate) fetches: Vec<f64>,
}

impl Quiet {
    /// Measures blocks until so many are good, at most three times as many.
    pub(crate) fn blocks(&mut self, count: u32, mut block: impl FnMut(&mut Turns)) -> Vec<Turns> {
        let processors = std::thread::available_parallelism()
            .map_or(1.0, |n| f64::from(u32::try_from(n.get()).unwrap_or(1)));
        let mut good = Vec::new();
        let (mut before, mut pending) = ((Ticks::read(), Own::read()), Vec::new());
        let mut left = count * 3;
        while u32::try_from(good.len()).unwrap_or(u32::MAX) < count && left > 0 {
            left -= 1;
            let mut turns = Turns::new();
            block(&mut turns);
            pending.push(turns);
            // A tick is 10 ms: shares are taken over five blocks, or the last ones.
            let full =
                pending.len() == 5 || good.len() + pending.len() >= usize::try_from(count).unwrap_or(0);
            if full {
                let now = (Ticks::read(), Own::read());
                let shares = now.0.since(before.0);
                self.others = self.others.max(shares.busy - now.1.since(&before.1) / processors);
                before = now;
                if shares.stolen > STEAL_LIMIT {
                    self.discarded += u32::try_from(pending.len()).unwrap_or(0);
                    pending.clear();
                } else {
                    good.append(&mut pending);
                }
            }
        }
        good
    }

    pub(crate) fn sentence(&self, blocks: u32) -> String {
        let few = if usize::try_from(blocks).unwrap_or(0) < ENOUGH { ": TOO FEW FOR A RESULT" } else { "" };
        format!(
            "{blocks} blocks a row{few}, {} discarded for steal above 1 %; others used at most {:.0} % of the processors{}; medians (smallest–largest)",
            self.discarded,
            self.others.max(0.0) * 100.0,
            if self.others > 0.1 { " (NOT QUIET)" } else { "" },
        )
    }
}

/// Median and spread of one contender's turns.
pub(crate) fn nanos(blocks: &[Turns], who: usize) -> String {
    let all: Vec<f64> = blocks.iter().flatten().filter(|t| t.0 == who).map(|t| t.1).collect();
    spread(&all).map_or_else(
        || "–".to_owned(),
        |(median, least, most)| format!("{median:.1} ({least:.1}–{most:.1})"),
    )
}

/// The ratio of two contenders over the blocks.
pub(crate) fn ratios(blocks: &[Turns], a: usize, b: usize) -> Option<Ratio> {
    let of = |turns: &Turns, who: usize| turns.iter().filter(|t| t.0 == who).map(|t| t.1).collect();
    ratio(&blocks.iter().map(|turns| (of(turns, a), of(turns, b))).collect::<Vec<_>>())
}

pub(crate) fn interval(ratio: Option<Ratio>) -> String {
    ratio.map_or_else(|| "–".to_owned(), |r| format!("{:.2} [{:.2}, {:.2}]", r.estimate, r.lower, r.upper))
}

pub(crate) fn right(table: &mut Table, from: usize) {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

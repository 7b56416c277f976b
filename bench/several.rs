//! Two workers in one thread, packets at their owner and at the other; then one worker and two in threads, beside
//! as many random-line loops.
//!
//! What it is: the order of measurements, the table and the verdict; [`crate::workers`] does the work. Beside the
//! promise it tells what would explain a broken one: what two threads that only compute have of each other on this
//! machine, and what a worker pays for being one of two while the other has nothing to do.

use std::io::Write;

use comfy_table::{Table, presets};

use crate::calibration::each;
use crate::quiet::{Quiet, Turns, interval, ratios, right};
use crate::stage::{PACKETS, StageError};
use crate::statistics::{Promise, Verdict, spread};
use crate::workers::{At, Passing, Together};

/// Who is measured in a block, in the order of its numbers.
const CONTENDERS: [&str; 7] = [
    "Mpps of one worker",
    "Mpps of two workers",
    "M random lines a second of one loop",
    "M random lines a second of two loops",
    "Mpps of one worker of two, the other without packets",
    "M integer steps a second of one loop",
    "M integer steps a second of two loops",
];
/// Quotients of two of them in one block, and which ones; numbered after the contenders.
const QUOTIENTS: [(&str, usize, usize); 4] = [
    ("two ÷ one", 1, 0),
    ("two loops of lines ÷ one", 3, 2),
    ("one of two ÷ one", 4, 0),
    ("two loops of steps ÷ one", 6, 5),
];

/// After so many blocks the workers' memory is another.
const RENEWED: u32 = 10;

/// Measures so many blocks and tells the verdict. False: the promise is missed.
///
/// # Errors
/// A packet was lost, or a thread fell.
pub(crate) fn several(count: u32, quick: bool) -> Result<bool, StageError> {
    let flows = if quick { 16_384 } else { 1 << 19 };
    let mut two = [Passing::raise(At::Owner)?, Passing::raise(At::Other)?];
    let mut quiet = Quiet::default();
    let measured = quiet.blocks(count, |turns| {
        for who in [0, 1, 1, 0] {
            let Some(passing) = two.get_mut(who) else { continue };
            let nanos = (0..PACKETS / 64).map(|_| passing.burst()).sum();
            turns.push((who, each(nanos, u64::from(PACKETS))));
        }
    });
    if !two.iter().all(Passing::is_right) {
        return Err(StageError::Lost);
    }
    let mut together = Together::over(flows)?;
    let (mut order, mut failed, mut block) = ([0, 1, 2, 3, 4, 5, 6], None, 0);
    let rates = quiet.blocks(count, |turns| {
        if block % RENEWED == 0 {
            together.renew();
        }
        block += 1;
        let mut rates = [0.0; CONTENDERS.len()];
        for who in order {
            let Some(place) = rates.get_mut(who).filter(|_| failed.is_none()) else { break };
            match contend(&mut together, who) {
                Ok(rate) => *place = rate,
                Err(error) => failed = Some(error),
            }
        }
        // Whoever is measured first in one block is last in the next.
        order.reverse();
        let rate = |who: usize| rates.get(who).copied().unwrap_or_default();
        turns.extend(rates.iter().copied().enumerate());
        let quotients = QUOTIENTS.iter().map(|(_, a, b)| rate(*a) / rate(*b));
        turns.extend((CONTENDERS.len()..).zip(quotients));
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let verdict = tell(&quiet.sentence(count), &together.places(), &measured, &rates);
    Ok(verdict != Some(Verdict::Missed))
}

fn contend(together: &mut Together, who: usize) -> Result<f64, StageError> {
    match who {
        0 => together.alone(),
        1 => together.of_two(2),
        2 => together.lines(1),
        3 => together.lines(2),
        4 => together.of_two(1),
        5 => together.steps(1),
        _ => together.steps(2),
    }
}

fn tell(sentence: &str, places: &str, measured: &[Turns], rates: &[Turns]) -> Option<Verdict> {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["two workers, null I/O, 64 B", "median (smallest–largest)"]);
    let passing =
        ["ns a packet at its owner, an idle turn of the other among it", "ns a packet at the other worker"];
    let names = CONTENDERS.into_iter().chain(QUOTIENTS.map(|(name, ..)| name));
    let rows = passing.into_iter().enumerate().map(|row| (measured, row));
    for (blocks, (who, name)) in rows.chain(names.enumerate().map(|row| (rates, row))) {
        let all: Vec<f64> = blocks.iter().flatten().filter(|t| t.0 == who).map(|t| t.1).collect();
        let (median, least, most) = spread(&all).unwrap_or_default();
        table.add_row([name.to_owned(), format!("{median:.2} ({least:.2}–{most:.2})")]);
    }
    right(&mut table, 1);
    let [gain, lines, steps] = [0, 1, 3].map(|quotient| CONTENDERS.len() + quotient);
    let gained = ratios(rates, gain, lines);
    let verdict = gained.as_ref().map(|gain| Promise::AtLeast(0.95).judge(gain));
    let _ = writeln!(
        std::io::stdout(),
        "{sentence}; {places}\n{table}\n\
         handed over ÷ at its owner {}\n\
         speed-up of the gate ÷ of the loops of lines {} (≥ 0.95: {})\n\
         beside it: one of two ÷ one {}; speed-up of the gate ÷ of the loops of steps {}",
        interval(ratios(measured, 1, 0)),
        interval(gained),
        verdict.map_or("no result", Verdict::word),
        interval(ratios(rates, 4, 0)),
        interval(ratios(rates, gain, steps)),
    );
    verdict
}

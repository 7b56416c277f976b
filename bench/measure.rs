//! One device's turn: what it forwards under overload, what it forwards without loss, how long it takes.
//!
//! Invariants: every device gets the same phases in the same order from the same generator; the sink's
//! maps are read while nothing is on the wire, except for two cheap readings of a count, since reading
//! costs the very cores that are measured.

use std::time::Duration;

use crate::records::Turn;
use crate::traffic::{Arrived, Delays, Generator, Load, RigError, Sent, Sink, per_second};

/// Share of frames that may be lost at the rate called lossless.
pub(crate) const LOSS: f64 = 0.001;

/// The phases of a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phases {
    /// Length of each of the two phases of overload.
    pub(crate) overload: Duration,
    /// Windows that the second is divided into: what a turn tells of it is their median.
    pub(crate) windows: u32,
    /// Frames a second offered in the second, in which times are taken.
    pub(crate) offered: u64,
    /// Length of a trial in the search for the lossless rate.
    pub(crate) trial: Duration,
    /// How often a rate is tried before it counts as lossy.
    pub(crate) tries: u32,
    /// Halvings of that search; 0: no search.
    pub(crate) halvings: u32,
    /// 5-tuples.
    pub(crate) flows: u64,
    /// Length on the wire.
    pub(crate) frame: usize,
}

/// A phase's counts.
struct Phase {
    sent: Sent,
    arrived: Arrived,
    before: Arrived,
    /// Frames a second in the steady part.
    forwarded: f64,
}

/// Takes a device's turn.
///
/// # Errors
/// The generator or the sink fails.
pub(crate) fn turn(generator: &mut Generator, sink: &Sink, phases: &Phases) -> Result<Turn, RigError> {
    let load = |rate, time| Load { rate, flows: phases.flows, frame: phases.frame, frames: u64::MAX, time };
    // Flows learnt, caches warm, governors up; nothing of it is counted.
    generator.run(&load(Some(200_000), Duration::from_millis(250)))?;
    settled(sink)?;
    let most = phase(generator, sink, &load(None, phases.overload))?;
    let windows = (0..phases.windows)
        .map(|_| window(generator, sink, &load(Some(phases.offered), phases.overload / phases.windows)))
        .collect::<Result<Vec<_>, _>>()?;
    let median = |of: fn(&Window) -> f64| middle(windows.iter().map(of).collect());
    let overload = median(|w| w.phase.forwarded);
    let lossless = search(generator, sink, phases, most.forwarded.max(overload))?;
    let last = windows.last().map_or(most.arrived, |w| w.phase.arrived);
    let summed =
        |of: fn(&Sent) -> u64| of(&most.sent) + windows.iter().map(|w| of(&w.phase.sent)).sum::<u64>();
    Ok(Turn {
        most: most.forwarded,
        most_offered: most.sent.rate(),
        overload,
        overload_made: median(|w| w.phase.sent.made()),
        overload_offered: median(|w| w.phase.sent.rate()),
        p50: median(|w| w.delays.quantile(0.5).unwrap_or(0.0)),
        p99: median(|w| w.delays.quantile(0.99).unwrap_or(0.0)),
        lossless,
        sent: summed(|sent| sent.frames),
        refused: summed(|sent| sent.refused),
        arrived: last.frames - most.before.frames,
        reordered: last.reordered - most.before.reordered,
    })
}

/// A part of the second phase. A shared machine stops a core for milliseconds at times: that is one
/// window's, and none of a device's own time.
struct Window {
    phase: Phase,
    delays: Delays,
}

fn window(generator: &mut Generator, sink: &Sink, load: &Load) -> Result<Window, RigError> {
    let before = sink.delays()?;
    let phase = phase(generator, sink, load)?;
    Ok(Window { phase, delays: sink.delays()?.since(&before) })
}

/// The median of an odd number of values, the higher one of the middle two of an even number; 0 of none.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn phase(generator: &mut Generator, sink: &Sink, load: &Load) -> Result<Phase, RigError> {
    let before = sink.arrived()?;
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| generator.run(load));
        std::thread::sleep(load.time.mul_f64(0.2));
        let first = sink.arrived()?;
        std::thread::sleep(load.time.mul_f64(0.75));
        let last = sink.arrived()?;
        let sent = sender.join().map_err(|_| RigError::Thread)??;
        Ok(Phase {
            sent,
            before,
            arrived: settled(sink)?,
            forwarded: per_second(last.frames - first.frames, last.at - first.at),
        })
    })
}

/// Waits, bounded, until nothing more arrives: what is in rings is still to come.
pub(crate) fn settled(sink: &Sink) -> Result<Arrived, RigError> {
    let mut arrived = sink.arrived()?;
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(10));
        let now = sink.arrived()?;
        if now.frames == arrived.frames {
            return Ok(now);
        }
        arrived = now;
    }
    Ok(arrived)
}

/// The highest rate whose trial loses at most [`LOSS`], by halving between nothing and a fifth above what
/// the device forwards at most.
fn search(
    generator: &mut Generator,
    sink: &Sink,
    phases: &Phases,
    most: f64,
) -> Result<Option<f64>, RigError> {
    let mut best = None;
    let (mut low, mut high) = (0.0, most * 1.2);
    let mut rate = high;
    for _ in 0..phases.halvings {
        let load = Load {
            rate: Some(whole(rate)),
            flows: phases.flows,
            frame: phases.frame,
            frames: u64::MAX,
            time: phases.trial,
        };
        if let Some(got) = trial(generator, sink, &load, phases.tries)? {
            best = Some(best.map_or(got, |b: f64| b.max(got)));
            // The generator itself could not offer more: there is nothing above.
            if got < rate * 0.95 && rate >= high {
                break;
            }
            low = rate;
        } else {
            high = rate;
        }
        rate = f64::midpoint(low, high);
    }
    Ok(best)
}

/// What arrived a second if no more was lost than may be. A rate that loses more is tried again: a stall
/// of a core of a shared machine, half a millisecond long, loses more than that of any trial.
fn trial(generator: &mut Generator, sink: &Sink, load: &Load, tries: u32) -> Result<Option<f64>, RigError> {
    for _ in 0..tries {
        let before = sink.arrived()?;
        let sent = generator.run(load)?;
        let arrived = settled(sink)?.frames - before.frames;
        let lost = 1.0 - per_second(arrived, sent.frames.max(1)) / 1e9;
        if lost <= LOSS {
            return Ok(Some(per_second(arrived, sent.nanos)));
        }
    }
    Ok(None)
}

/// A rate as the generator takes it.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are below 2^40 and not negative"
)]
pub(crate) fn whole(rate: f64) -> u64 {
    rate.max(1.0) as u64
}

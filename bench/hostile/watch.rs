//! The gate while it is under the flood: its own word and its memory, read once a second.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis::control::answers::Status;
use portcullis::control::client;

use crate::traffic::monotonic;

/// Between two readings.
const EVERY: Duration = Duration::from_secs(1);
/// A gate of a few minutes has no trend: shorter runs judge the growth alone.
const TREND: f64 = 60.0;

/// One reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Nanoseconds of the monotonic clock.
    pub(crate) at: u64,
    /// Resident memory of the gate's process, in KiB.
    pub(crate) resident: u64,
    /// Live flows.
    pub(crate) flows: u64,
    /// Room for flows.
    pub(crate) capacity: u64,
}

/// All readings of a run, and what was wrong with any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    pub(crate) samples: Vec<Sample>,
    /// What did not hold, the first few.
    pub(crate) wrong: Vec<String>,
    /// How often something did not.
    pub(crate) wrongs: u64,
}

impl Watch {
    /// Reads until it is told to stop.
    pub(crate) fn until(stop: &AtomicBool, socket: &Path, pid: u32) -> Self {
        let mut watch = Self::default();
        let mut next = monotonic();
        while !stop.load(Ordering::Relaxed) {
            watch.look(socket, pid);
            next += u64::try_from(EVERY.as_nanos()).unwrap_or(0);
            while monotonic() < next && !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        watch
    }

    fn look(&mut self, socket: &Path, pid: u32) {
        let status = match client::status(socket) {
            Ok(status) => status,
            Err(why) => return self.note(format!("no status: {why}")),
        };
        for what in wrong_in(&status) {
            self.note(what);
        }
        let Some(resident) = resident(pid) else { return self.note("no resident memory".to_owned()) };
        let flows = status.workers.iter().map(|worker| worker.flows).sum();
        let capacity = status.workers.iter().map(|worker| worker.flow_capacity).sum();
        self.samples.push(Sample { at: monotonic(), resident, flows, capacity });
    }

    fn note(&mut self, what: String) {
        self.wrongs += 1;
        if self.wrong.len() < 5 {
            self.wrong.push(what);
        }
    }

    /// Resident memory at first, and by how much it grew at most, in KiB.
    pub(crate) fn growth(&self) -> (u64, u64) {
        let first = self.samples.first().map_or(0, |sample| sample.resident);
        let most = self.samples.iter().map(|sample| sample.resident).max().unwrap_or(0);
        (first, most.saturating_sub(first))
    }

    /// The trend of the resident memory in KiB a minute, by least squares; none of a short run.
    #[expect(clippy::cast_precision_loss, reason = "seconds and KiB of a benchmark stay below 2^52")]
    pub(crate) fn slope(&self) -> Option<f64> {
        let (first, last) = (self.samples.first()?, self.samples.last()?);
        let minutes = |at: u64| (at - first.at) as f64 / 6e10;
        if minutes(last.at) * 60.0 < TREND {
            return None;
        }
        let count = self.samples.len() as f64;
        let points = || self.samples.iter().map(|s| (minutes(s.at), s.resident as f64));
        let (x, y) = points().fold((0.0, 0.0), |(x, y), p| (x + p.0 / count, y + p.1 / count));
        let (above, below) = points().fold((0.0, 0.0), |(above, below), p| {
            (above + (p.0 - x) * (p.1 - y), below + (p.0 - x) * (p.0 - x))
        });
        Some(above / below)
    }

    /// The fullest the flow table was, and its room.
    pub(crate) fn flows(&self) -> (u64, u64) {
        let most = self.samples.iter().map(|sample| sample.flows).max().unwrap_or(0);
        (most, self.samples.first().map_or(0, |sample| sample.capacity))
    }
}

/// What a status says that must not be.
fn wrong_in(status: &Status) -> Vec<String> {
    let mut wrong = Vec::new();
    for worker in &status.workers {
        let frames = worker.frames;
        if !worker.equation.holds || worker.sides.iter().any(|side| !side.balances) {
            wrong.push(format!("the equation does not hold: {:?}", worker.equation));
        }
        if frames.free + frames.receiving + frames.held + frames.sending + frames.handed != frames.total {
            wrong.push(format!("frames are lost: {frames:?}"));
        }
        if worker.flows > worker.flow_capacity {
            wrong.push(format!("{} flows in a table of {}", worker.flows, worker.flow_capacity));
        }
        for side in &worker.sides {
            if !side.would_drop.is_empty() || side.loose > 0 {
                wrong.push(format!("{}: something crossed unjudged: {:?}", side.side, side.would_drop));
            }
        }
    }
    wrong
}

/// Resident memory of a process in KiB.
fn resident(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_and_trend_of_readings() {
        let sample = |second: u64, resident| Sample {
            at: 7 + second * 1_000_000_000,
            resident,
            flows: second,
            capacity: 100,
        };
        let rising =
            Watch { samples: (0..=90).map(|s| sample(s, 1_000 + 2 * s)).collect(), ..Watch::default() };
        assert_eq!(rising.growth(), (1_000, 180));
        assert!((rising.slope().unwrap() - 120.0).abs() < 1e-9);
        assert_eq!(rising.flows(), (90, 100));
        let short = Watch { samples: (0..59).map(|s| sample(s, 1_000)).collect(), ..Watch::default() };
        assert_eq!(short.slope(), None);
    }
}

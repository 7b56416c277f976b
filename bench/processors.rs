//! What `/proc/stat` says of the processors between two readings.

use serde::{Deserialize, Serialize};

/// Ticks since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ticks {
    busy: u64,
    idle: u64,
    stolen: u64,
}

/// Shares of the time between two readings, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shares {
    /// Taken by the hypervisor for others.
    pub(crate) stolen: f64,
    /// Worked.
    pub(crate) busy: f64,
}

impl Ticks {
    /// Reads all processors together; zero where there is no `/proc/stat`.
    pub(crate) fn read() -> Self {
        std::fs::read_to_string("/proc/stat").ok().and_then(|t| Self::parse(&t)).unwrap_or_default()
    }

    // user nice system idle iowait irq softirq steal (proc(5)); guest times are inside user's.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|l| l.strip_prefix("cpu "))?;
        let n: Vec<u64> = line.split_whitespace().map_while(|w| w.parse().ok()).take(8).collect();
        let [user, nice, system, idle, wait, irq, softirq, stolen] = <[u64; 8]>::try_from(n).ok()?;
        Some(Self { busy: user + nice + system + irq + softirq, idle: idle + wait, stolen })
    }

    /// Shares since an earlier reading.
    #[expect(clippy::cast_precision_loss, reason = "ticks of a benchmark stay below 2^52")]
    pub(crate) fn since(self, earlier: Self) -> Shares {
        let stolen = self.stolen.saturating_sub(earlier.stolen);
        let busy = self.busy.saturating_sub(earlier.busy);
        let all = (stolen + busy + self.idle.saturating_sub(earlier.idle)).max(1) as f64;
        Shares { stolen: stolen as f64 / all, busy: busy as f64 / all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_all_processors() {
        let first = Ticks::parse("cpu  10 0 10 70 10 0 0 0 0 0\ncpu0 1 1 1 1 1 1 1 1\n").unwrap();
        let then = Ticks::parse("cpu  20 5 15 130 20 2 3 5 9 9\n").unwrap();
        // 25 of 100 ticks worked, 5 stolen, 70 idle or waiting.
        assert_eq!(then.since(first), Shares { stolen: 0.05, busy: 0.25 });
        assert_eq!(Ticks::parse("intr 1\n"), None);
    }
}

//! The verb `hostile`: a gate is raised, its rate without loss is found, and a flood of at least half that
//! rate is let loose on it beside legitimate connections.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;

use crate::blocks::{BlocksError, Common, Rig};
use crate::device::Device;
use crate::hostile::{self, HostileError, Plan, Terms};
use crate::measure::whole;
use crate::records::{Kind, Purpose};

/// Of the rate without loss; half of it is promised, and the time that the flood took is a little more than was asked.
const AIM: f64 = 0.54;

/// Turns in which that rate is looked for.
const TURNS: usize = 5;

/// `hostile`.
#[derive(Args)]
pub(crate) struct SiegeLine {
    #[command(flatten)]
    common: Common,
    /// Seconds of the flood.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(5..=3600))]
    seconds: u64,
    /// Legitimate connections.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(128..=400))]
    connections: u32,
    /// Frames in flight at most, each direction.
    #[arg(long, default_value_t = 256)]
    depth: u32,
    /// Flows a second that a worker opens, without a kernel.
    #[arg(long)]
    opens: Option<f64>,
    /// Frames a second; left out: a little more than half of the rate without loss.
    #[arg(long)]
    rate: Option<u64>,
}

/// Why the siege did not take place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SiegeError {
    /// As the blocks'.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// The flood.
    #[error(transparent)]
    Hostile(#[from] HostileError),
}

/// Runs it. True: every promise was kept.
///
/// # Errors
/// The rig or the gate fails, or it was stopped.
pub(crate) fn siege(line: &SiegeLine) -> Result<bool, SiegeError> {
    let mut rig = Rig::open(&line.common)?;
    let gate = Device::raise(Kind::Gate, line.depth, &rig.place).map_err(BlocksError::from)?;
    rig.begin(Purpose::Veth, &line.common)?;
    let found = rig.lossless(if line.common.quick { 1 } else { TURNS })?;
    let (lossless, rate) = match (found, line.rate) {
        (lossless, Some(rate)) => (lossless, rate),
        (Some(lossless), None) => (Some(lossless), whole(lossless * AIM)),
        (None, None) => return Err(BlocksError::Lossy.into()),
    };
    let quick = line.common.quick;
    let plan = Plan {
        ground: line.common.ground(),
        object: line.common.object.clone(),
        socket: rig.place.socket(),
        pid: gate.pid(),
        core: 0,
        rate,
        lossless,
        opens: line.opens,
        fill: Duration::from_secs(if quick { 2 } else { 15 }),
        warm: Duration::from_secs(if quick { 2 } else { 10 }),
        time: Duration::from_secs(if quick { 5 } else { line.seconds }),
        terms: Terms {
            connections: line.connections,
            pause: Duration::from_millis(100),
            bound: Duration::from_secs(5),
            core: 0,
        },
        rest: Duration::from_mins(1),
    };
    let _ = writeln!(
        io::stderr(),
        "the gate forwards {:.3} Mpps with at most 0.1 % lost; {:.3} Mpps of flood for {} s",
        lossless.unwrap_or(0.0) / 1e6,
        per_million(plan.rate),
        plan.time.as_secs()
    );
    // One sink at a time stands at the receiver's end.
    let Rig { stop, mut results, path, sink, generator, .. } = rig;
    drop((sink, generator));
    let report = hostile::run(&plan, &stop)?;
    drop(gate);
    let mut text =
        serde_json::json!({ "line": "hostile", "lossless": lossless, "report": &report }).to_string();
    text.push('\n');
    results.write_all(text.as_bytes()).map_err(|source| BlocksError::Results { path, source })?;
    let _ = write!(io::stdout(), "{report}");
    Ok(report.is_kept())
}

#[expect(clippy::cast_precision_loss, reason = "rates are below 2^40")]
fn per_million(rate: u64) -> f64 {
    rate as f64 / 1e6
}

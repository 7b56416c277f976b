//! The verb `overload`: every device is offered half as much again as the gate forwards without loss.
//!
//! A block is gate, forwarder, the gate with deep rings, bridge, and the same backwards. The bridge has a core
//! of its own here, as the others have: a kernel thread polls its first port (`threaded` NAPI), for else the
//! generator's own core would do its work, and would offer no more than it gets done.

use std::io::{self, Write};

use clap::Args;

use crate::blocks::{BlocksError, Common, Rig, last_core};
use crate::device::Device;
use crate::measure::whole;
use crate::records::{Kind, Purpose};

/// Turns in which the rate without loss is looked for.
const TURNS: usize = 5;

/// Of that rate, what is offered.
const OVER: f64 = 1.5;

/// `overload`.
#[derive(Args)]
pub(crate) struct OverloadLine {
    #[command(flatten)]
    common: Common,
    /// Blocks.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=60))]
    blocks: u32,
    /// Frames in flight at most, each direction.
    #[arg(long, default_value_t = 256)]
    depth: u32,
    /// The same of deep rings.
    #[arg(long, default_value_t = 4096)]
    deep: u32,
}

/// Finds the rate and runs the blocks.
///
/// # Errors
/// The rig, a device or the results file fails, it was stopped, or the gate loses at any rate.
pub(crate) fn overload(line: &OverloadLine) -> Result<(), BlocksError> {
    let mut rig = Rig::open(&line.common)?;
    let gate = Device::raise(Kind::Gate, line.depth, &rig.place)?;
    let lossless = rig.lossless(if line.common.quick { 1 } else { TURNS })?;
    drop(gate);
    let lossless = lossless.ok_or(BlocksError::Lossy)?;
    rig.phases.offered = whole(lossless * OVER);
    rig.phases.halvings = 0;
    rig.place.polls = Some(last_core());
    let _ = writeln!(
        io::stderr(),
        "the gate forwards {:.3} Mpps with at most 0.1 % lost; {:.3} Mpps are offered",
        lossless / 1e6,
        lossless * OVER / 1e6
    );
    rig.begin(Purpose::Overload, &line.common)?;
    let half = [
        (Kind::Gate, line.depth),
        (Kind::Forwarder, line.depth),
        (Kind::Gate, line.deep),
        (Kind::Bridge, line.depth),
    ];
    rig.blocks(line.blocks, |_| half.into_iter().chain(half.into_iter().rev()).collect())
}

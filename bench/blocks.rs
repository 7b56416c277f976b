//! The order of measurements: paired, interleaved blocks, each line written as soon as it is known.
//!
//! A block is gate, forwarder, forwarder, gate, and the bridge once, before them in even blocks and
//! after them in odd ones. A block in which the hypervisor took more than 1 % of the time is marked and
//! measured again; no other is left out.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;

use crate::bulk::BulkError;
use crate::device::{Device, DeviceError, Place};
use crate::hostile::ends::NoHost;
use crate::hostile::{End, Ground};
use crate::measure::{Phases, turn};
use crate::processors::Ticks;
use crate::records::{Block, Kind, Purpose, Record, Run};
use crate::traffic::{ENDS, Generator, Hook, RigError, SHORTEST, Sink};
use crate::width::width;

/// A block with more steal than this is discarded, and counted.
const STEAL_LIMIT: f64 = 0.01;

/// Why a run ended without all its blocks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlocksError {
    /// The rig failed.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// A device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// An end host.
    #[error(transparent)]
    Host(#[from] NoHost),
    /// A stream of TCP.
    #[error(transparent)]
    Bulk(#[from] BulkError),
    /// There is nothing to measure from.
    #[error("the gate loses more than 0.1 % at any rate tried: measure on a quieter machine")]
    Lossy,
    /// The results file.
    #[error("{path}: {source}")]
    Results {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No signal can be caught.
    #[error("cannot catch signals: {0}")]
    Signals(#[from] ctrlc::Error),
    /// Ctrl-C.
    #[error("stopped; the blocks measured so far stand in the results file")]
    Stopped,
    /// The machine is not to be had.
    #[error("{0} blocks discarded for steal above 1 %: measure on a quieter machine")]
    Stolen(u32),
}

/// What all verbs ask.
#[derive(Args)]
pub(crate) struct Common {
    /// The kernel half, compiled from bench/rig.bpf.c.
    #[arg(long, default_value = "target/bench/rig.bpf.o")]
    pub(crate) object: PathBuf,
    /// The `portcullis` binary.
    #[arg(long, default_value = "target/dist/portcullis")]
    gate: PathBuf,
    /// The plain forwarder.
    #[arg(long, default_value = "target/dist/examples/bench-forwarder")]
    forwarder: PathBuf,
    /// The gate's policy.
    #[arg(long, default_value = "bench/policy/gate.toml")]
    policy: PathBuf,
    /// Results, one JSON object a line.
    #[arg(long)]
    results: PathBuf,
    /// Command, for the record.
    #[arg(long, default_value = "bench-rig")]
    command: String,
    /// Machine, for the record.
    #[arg(long, default_value = "unknown")]
    machine: String,
    /// Date, for the record.
    #[arg(long, default_value = "unknown")]
    date: String,
    /// Source, for the record.
    #[arg(long, default_value = "unknown")]
    source: String,
    /// Devices to measure.
    #[arg(long, value_delimiter = ',', default_value = "gate,forwarder,bridge")]
    devices: Vec<Kind>,
    /// 5-tuples.
    #[arg(long, default_value_t = 10_000)]
    flows: u64,
    /// Length on the wire.
    #[arg(long, default_value_t = SHORTEST)]
    size: usize,
    /// Frames a second offered while times are taken.
    #[arg(long, default_value_t = 1_500_000)]
    pub(crate) offered: u64,
    /// Short phases: for trying the rig, not for figures.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Namespace of the generator, of the device, of the sink.
    #[arg(long, value_delimiter = ',', default_value = "pc-bench-gen,pc-bench-dut,pc-bench-out")]
    pub(crate) namespaces: Vec<String>,
}

impl Common {
    /// The two end hosts and the gate between them.
    pub(crate) fn ground(&self) -> Ground {
        let name = |i: usize| self.namespaces.get(i).cloned().unwrap_or_default();
        Ground {
            sender: End { space: name(0), link: "sender".to_owned() },
            receiver: End { space: name(2), link: "receiver".to_owned() },
            gate: name(1),
        }
    }
}

/// `veth`.
#[derive(Args)]
pub(crate) struct BlocksLine {
    #[command(flatten)]
    common: Common,
    /// Blocks.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=60))]
    blocks: u32,
    /// Frames in flight at most, each direction.
    #[arg(long, default_value_t = 256)]
    depth: u32,
}

/// `rings`.
#[derive(Args)]
pub(crate) struct RingsLine {
    #[command(flatten)]
    common: Common,
    /// Depths.
    #[arg(long, value_delimiter = ',', default_value = "64,128,256,512,1024,2048,4096")]
    depths: Vec<u32>,
    /// Times each.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    blocks: u32,
}

/// Everything a turn needs.
pub(crate) struct Rig {
    pub(crate) generator: Generator,
    pub(crate) sink: Sink,
    pub(crate) place: Place,
    pub(crate) phases: Phases,
    devices: Vec<Kind>,
    /// How long a stream of TCP is measured after each turn; `None`: there is none, and no host.
    bulk: Option<(Ground, Duration)>,
    pub(crate) results: File,
    pub(crate) path: PathBuf,
    pub(crate) stop: Arc<AtomicBool>,
}

/// Runs the blocks.
///
/// # Errors
/// The rig, a device or the results file fails, or it was stopped.
pub(crate) fn veth(line: &BlocksLine) -> Result<(), BlocksError> {
    let mut rig = Rig::open(&line.common)?;
    rig.begin(Purpose::Veth, &line.common)?;
    rig.blocks(line.blocks, |block| {
        let mut order = vec![Kind::Gate, Kind::Forwarder, Kind::Forwarder, Kind::Gate];
        order.insert(if block.is_multiple_of(2) { 0 } else { order.len() }, Kind::Bridge);
        order.into_iter().map(|kind| (kind, line.depth)).collect()
    })
}

/// Runs the curve: in even blocks the depths upwards, in odd ones downwards.
///
/// # Errors
/// As [`veth`].
pub(crate) fn rings(line: &RingsLine) -> Result<(), BlocksError> {
    let mut rig = Rig::open(&line.common)?;
    rig.begin(Purpose::Rings, &line.common)?;
    let ground = line.common.ground();
    ground.settle()?;
    rig.bulk = Some((ground, Duration::from_secs(if line.common.quick { 1 } else { 3 })));
    rig.blocks(line.blocks, |block| {
        let mut order: Vec<_> =
            line.depths.iter().flat_map(|d| [(Kind::Gate, *d), (Kind::Forwarder, *d)]).collect();
        if !block.is_multiple_of(2) {
            order.reverse();
        }
        order
    })
}

/// Where the gate puts its worker; the generator has core 0.
pub(crate) fn last_core() -> usize {
    core_affinity::get_core_ids().and_then(|cores| cores.last().map(|core| core.id)).unwrap_or(0)
}

impl Rig {
    /// Opens generator, sink and results.
    ///
    /// # Errors
    /// One of them cannot be had.
    pub(crate) fn open(common: &Common) -> Result<Self, BlocksError> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))?;
        let name = |i: usize| common.namespaces.get(i).map_or("", String::as_str);
        let path = common.results.clone();
        let results = |source| BlocksError::Results { path: path.clone(), source };
        let directory = path.parent().map(PathBuf::from).unwrap_or_default();
        let rig = Self {
            generator: Generator::open(&common.object, name(0), "sender", ENDS, 0)?,
            sink: Sink::open(&common.object, name(2), "receiver", Hook::Tcx)?,
            place: Place {
                namespace: name(1).to_owned(),
                gate: common.gate.clone(),
                forwarder: common.forwarder.clone(),
                policy: common.policy.clone(),
                directory,
                core: last_core(),
                polls: None,
            },
            phases: Phases {
                overload: Duration::from_millis(if common.quick { 300 } else { 1000 }),
                windows: 5,
                offered: common.offered,
                trial: Duration::from_millis(100),
                tries: if common.quick { 2 } else { 6 },
                halvings: if common.quick { 4 } else { 7 },
                flows: common.flows,
                frame: common.size,
            },
            devices: common.devices.clone(),
            bulk: None,
            results: File::create(&path).map_err(results)?,
            path: path.clone(),
            stop,
        };
        Ok(rig)
    }

    /// Writes what is run: the first line of the results.
    ///
    /// # Errors
    /// The results file.
    pub(crate) fn begin(&mut self, purpose: Purpose, common: &Common) -> Result<(), BlocksError> {
        self.write(&Record::Run(Run {
            purpose,
            command: common.command.clone(),
            machine: common.machine.clone(),
            date: common.date.clone(),
            source: common.source.clone(),
            frame: common.size,
            flows: common.flows,
            offered: self.phases.offered,
        }))
    }

    /// The highest rate at which the device that stands loses no more than one in a thousand: the median of
    /// what several turns found, for one search ends low where a core stalls in its first trials. `None`: it
    /// loses more at any rate.
    ///
    /// # Errors
    /// The generator or the sink fails.
    pub(crate) fn lossless(&mut self, turns: usize) -> Result<Option<f64>, BlocksError> {
        let mut found = Vec::new();
        for _ in 0..turns {
            let turn = turn(&mut self.generator, &self.sink, &self.phases)?;
            // A turn in which every trial lost more counts as the lowest.
            found.push(turn.lossless.unwrap_or(0.0));
        }
        found.sort_by(f64::total_cmp);
        Ok(found.get(found.len() / 2).copied().filter(|rate| *rate > 0.0))
    }

    /// Measures blocks until so many are kept; `order` says what stands one after the other in a block.
    ///
    /// # Errors
    /// The rig, a device or the results file fails, it was stopped, or too many blocks were stolen from.
    pub(crate) fn blocks(
        &mut self,
        blocks: u32,
        order: impl Fn(u32) -> Vec<(Kind, u32)>,
    ) -> Result<(), BlocksError> {
        let (mut kept, mut discarded, mut number) = (0, 0, 0);
        while kept < blocks {
            let quiet = Ticks::read();
            std::thread::sleep(Duration::from_millis(300));
            let before = Ticks::read();
            let background = before.since(quiet).busy;
            let width = [0, last_core()].map(width);
            let start = Ticks::read();
            for (kind, depth) in order(number) {
                if self.devices.contains(&kind) {
                    self.turn(number, kind, depth)?;
                }
            }
            let stolen = Ticks::read().since(start).stolen;
            let block = Block { number, stolen, background, width, discarded: stolen > STEAL_LIMIT };
            self.write(&Record::Block(block))?;
            if block.discarded {
                discarded += 1;
            } else {
                kept += 1;
            }
            if discarded > 2 * blocks {
                return Err(BlocksError::Stolen(discarded));
            }
            number += 1;
        }
        Ok(())
    }

    fn turn(&mut self, block: u32, device: Kind, depth: u32) -> Result<(), BlocksError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(BlocksError::Stopped);
        }
        let stands = Device::raise(device, depth, &self.place)?;
        let turn = turn(&mut self.generator, &self.sink, &self.phases)?;
        let depth = if device == Kind::Bridge { 0 } else { depth };
        if let Some((ground, time)) = &self.bulk {
            let bits = ground.bulk(*time)?;
            self.write(&Record::Bulk { block, device, depth, bits })?;
        }
        drop(stands);
        self.write(&Record::Turn { block, device, depth, turn })?;
        let _ = writeln!(
            io::stderr(),
            "block {block:2}  {device:9?} {depth:5}  most {:6.3} Mpps  offered {:5.3} Mpps: {:6.3} Mpps, p50 {:7.1} µs, p99 {:7.1} µs  lossless {:6.3} Mpps",
            turn.most / 1e6,
            turn.overload_offered / 1e6,
            turn.overload / 1e6,
            turn.p50 / 1e3,
            turn.p99 / 1e3,
            turn.lossless.unwrap_or(0.0) / 1e6,
        );
        Ok(())
    }

    fn write(&mut self, record: &Record) -> Result<(), BlocksError> {
        let mut line = serde_json::to_string(record).unwrap_or_default();
        line.push('\n');
        self.results
            .write_all(line.as_bytes())
            .map_err(|source| BlocksError::Results { path: self.path.clone(), source })
    }
}

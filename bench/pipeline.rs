//! The null-I/O rig: the real worker and pipeline over memory ports, frames written before timing.
//!
//! What it is: nanoseconds a packet beside the machine's calibration of the same run, and a fixed amount of
//! work for an instruction counter (`scripts/bench instructions` takes the difference of two runs, so start
//! and set-up cancel). What it is not: no kernel, no device, so it bounds what the gate adds, not what a
//! wire carries. Frames are received again in turn; their bytes are read from a UMEM as large as it takes.

use std::hint::black_box;
use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use etherparse::PacketBuilder;
use memory::{Rig, START, Shape};
use portcullis::io::clock::{Reading, boot_nanos};
use portcullis::io::memory::Drain;
use portcullis::io::{BURST, QueuePair};
use portcullis::pipeline::{Reason, SideSnapshot};
use portcullis::policy::{Moment, diagnostic};
use portcullis::wire::Side;

#[expect(dead_code, reason = "this rig measures: the books that tests keep of every turn are not its own")]
#[path = "../tests/rig/memory.rs"]
mod memory;
#[expect(dead_code, reason = "this rig needs the spread only; bench-ratios uses the rest")]
mod statistics;

const POLICY: &str = include_str!("policy/gate.toml");

/// Frames of one direction with the default ring depth: what the product has in flight.
const PRODUCT: u32 = 256;

/// Longer than any flow lives without a packet.
const LATER: u64 = 24 * 3600 * 1_000_000_000;

#[derive(Parser)]
#[command(about = "Cost of a packet in the pipeline, without a kernel")]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Nanoseconds a packet, in rounds, beside the calibration.
    Time(TimeLine),
    /// Does a fixed number of passes over the frames, for an instruction counter.
    Run(RunLine),
}

#[derive(Args)]
struct TimeLine {
    /// Rounds.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
}

#[derive(Args)]
struct RunLine {
    /// What the packets meet.
    path: Path,
    /// Passes over the frames.
    passes: u32,
}

/// What the packets meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Path {
    /// A flow that is known.
    Established,
    /// No flow: judged by the policy and learnt.
    New,
    /// No flow and no rule: judged and dropped.
    Denied,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
enum PipelineError {
    #[error("bench/policy/gate.toml does not load: {0}")]
    Policy(String),
    #[error("the packets did not take the path {path:?}: {counts}")]
    Astray { path: Path, counts: String },
}

/// A worker over frames that come again and again.
struct Stage {
    rig: Rig,
    path: Path,
    turns: usize,
    frames: u64,
    passes: u64,
}

impl Stage {
    fn raise(path: Path, frames: u32) -> Result<Self, PipelineError> {
        let text = POLICY.replace("\"@DEPTH@\"", "256");
        let policy = memory::policy(&text, 1).map_err(|rejected| {
            PipelineError::Policy(diagnostic::render(&rejected.sources, &rejected.diagnostics, false))
        })?;
        let places = usize::try_from(frames).unwrap_or(usize::MAX);
        let flows = frames.saturating_mul(2).max(4096);
        let shape = Shape { pool: frames, tx_ring: places, drain: Drain::Cycle, flows, ..Shape::default() };
        let mut rig = Rig::new(policy, shape);
        for flow in 0..frames {
            rig.offer(Side::Outside, &frame(path, flow));
        }
        let mut stage = Self { rig, path, turns: places / BURST, frames: u64::from(frames), passes: 0 };
        // The first pass learns the flows, or fills the ring of events.
        stage.pass();
        Ok(stage)
    }

    /// Takes every frame once, the clock standing still; before it, new flows have their flows of the
    /// last pass expire.
    fn pass(&mut self) {
        let now = match self.path {
            Path::Established | Path::Denied => START,
            Path::New => START + self.passes * LATER,
        };
        let reading = Reading { boot: now, now: Moment(now) };
        for _ in 0..self.turns {
            black_box(self.rig.worker.turn(black_box(&reading)));
        }
        self.passes += 1;
    }

    /// Every packet so far went where its path says.
    fn check(&mut self) -> Result<(), PipelineError> {
        let snapshot = self.rig.face.counters.snapshot();
        let [outside, _] = &snapshot.sides;
        let expected = self.frames * self.passes;
        let dropped = |reason: Reason| outside.dropped.get(reason.index()).copied().unwrap_or(0);
        let right = match self.path {
            Path::Established | Path::New => outside.forwarded_packets == expected,
            Path::Denied => dropped(Reason::NoRule) == expected,
        };
        let whole = outside.rx_packets == expected && outside.balances();
        if right && whole && self.rig.worker.queues().census().held == 0 {
            Ok(())
        } else {
            Err(PipelineError::Astray { path: self.path, counts: counts(outside, expected) })
        }
    }
}

fn counts(side: &SideSnapshot, expected: u64) -> String {
    let dropped: Vec<String> = Reason::ALL
        .iter()
        .filter_map(|r| {
            side.dropped.get(r.index()).filter(|n| **n > 0).map(|n| format!("{} {n}", r.name()))
        })
        .collect();
    format!(
        "{expected} expected, {} received, {} forwarded, dropped {}",
        side.rx_packets,
        side.forwarded_packets,
        dropped.join(", ")
    )
}

/// A frame of 64 bytes on a wire, from the payments fleet to the collector, of one flow.
fn frame(path: Path, flow: u32) -> Vec<u8> {
    let [.., high, low] = flow.to_be_bytes();
    let port = match path {
        Path::Established | Path::New => 4739,
        Path::Denied => 4740,
    };
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0x77, 0, 1], [2, 0, 0, 0x78, 0, 1])
        .ipv4([10, 77, high, low], [10, 78, 0, 1], 64)
        .udp(1024 + u16::from_be_bytes([high, low]) % 32_768, port);
    let mut frame = Vec::with_capacity(60);
    // A Vec takes everything that is written to it, and 18 bytes fit every length.
    let _ = builder.write(&mut frame, &[0; 18]);
    frame
}

fn main() -> ExitCode {
    let done = match Line::parse().verb {
        Verb::Time(line) => time(line.rounds),
        Verb::Run(line) => run(&line),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "bench-pipeline: {e}");
            ExitCode::from(2)
        }
    }
}

fn run(line: &RunLine) -> Result<(), PipelineError> {
    let mut stage = Stage::raise(line.path, PRODUCT)?;
    for _ in 0..line.passes {
        stage.pass();
    }
    stage.check()?;
    let _ = writeln!(std::io::stdout(), "{} packets a pass", stage.frames);
    Ok(())
}

/// What is timed, a name and the frames that go round.
const CASES: [(&str, Path, u32); 6] = [
    ("established, 256 flows", Path::Established, PRODUCT),
    ("established, 16 384 flows, 64 MiB of frames", Path::Established, 16_384),
    ("established, 65 536 flows, 256 MiB of frames", Path::Established, 65_536),
    ("new flow, 256 at a time", Path::New, PRODUCT),
    ("new flow, 65 536 at a time, 256 MiB of frames", Path::New, 65_536),
    ("denied, 256 flows", Path::Denied, PRODUCT),
];

fn time(rounds: u32) -> Result<(), PipelineError> {
    let mut stages = Vec::new();
    for (name, path, frames) in CASES {
        stages.push((name, Stage::raise(path, frames)?, Vec::new()));
    }
    let lines = Lines::new();
    let (mut step, mut fetch) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        step.push(integer_step());
        fetch.push(lines.fetch());
        for (_, stage, nanos) in &mut stages {
            // At least 131 072 packets a round, whole passes.
            let passes = (131_072 / stage.frames).max(2);
            let start = boot_nanos();
            for _ in 0..passes {
                stage.pass();
            }
            nanos.push(each(boot_nanos() - start, passes * stage.frames));
            stage.check()?;
        }
    }
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["path", "ns a packet", "integer steps", "line fetches"]);
    let median = |v: &[f64]| statistics::spread(v).map_or(0.0, |s| s.0);
    let (one_step, one_fetch) = (median(&step), median(&fetch));
    let row = |name: &str, nanos: &[f64]| {
        let (m, low, high) = statistics::spread(nanos).unwrap_or_default();
        [
            name.to_owned(),
            format!("{m:.1} ({low:.1}–{high:.1})"),
            format!("{:.0}", m / one_step),
            format!("{:.1}", m / one_fetch),
        ]
    };
    for (name, _, nanos) in &stages {
        table.add_row(row(name, nanos));
    }
    table.add_row(row("calibration: integer step", &step));
    table.add_row(row("calibration: random independent line fetch", &fetch));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let _ = writeln!(std::io::stdout(), "medians of {rounds} rounds (smallest–largest)\n{table}");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts and times of a round stay below 2^52")]
fn each(nanos: u64, count: u64) -> f64 {
    nanos as f64 / count.max(1) as f64
}

/// One dependent multiply and add, in nanoseconds.
fn integer_step() -> f64 {
    const STEPS: u64 = 4_000_000;
    let start = boot_nanos();
    let mut x = black_box(1_u64);
    for _ in 0..STEPS {
        x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    }
    black_box(x);
    each(boot_nanos() - start, STEPS)
}

/// Memory far larger than any cache.
struct Lines(Vec<[u64; 8]>);

impl Lines {
    /// 256 MiB.
    const LINES: usize = 1 << 22;

    fn new() -> Self {
        Self((0..Self::LINES).map(|i| [u64::try_from(i).unwrap_or(0); 8]).collect())
    }

    /// One fetch of a line at a random place that no earlier fetch decides, in nanoseconds.
    fn fetch(&self) -> f64 {
        const FETCHES: u64 = 1_000_000;
        let start = boot_nanos();
        let (mut x, mut sum) = (black_box(88_172_645_463_325_252_u64), 0_u64);
        for _ in 0..FETCHES {
            // xorshift64 (Marsaglia 2003)
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            let at = usize::try_from(x).unwrap_or(0) % Self::LINES;
            sum = sum.wrapping_add(self.0.get(at).map_or(0, |line| line[0]));
        }
        black_box(sum);
        each(boot_nanos() - start, FETCHES)
    }
}

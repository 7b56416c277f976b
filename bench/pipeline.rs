//! The gate without a kernel: nanoseconds and instructions of the worker over memory ports (null I/O), and
//! of the flow table alone beside a named one.
//!
//! What it is: the command line; [`stage`] holds the loads, [`parts`] the table, [`calibration`] what the
//! machine does in the same run. `run` is a fixed amount of work for an instruction counter: `scripts/bench
//! instructions` takes the difference of two runs, so start and set-up cancel. [`several`] measures what several of them
//! do.

use std::io::Write;
use std::process::ExitCode;

use calibration::{Lines, each, integer_step};
use clap::{Args, Parser, Subcommand, ValueEnum};
use comfy_table::{Table, presets};
use portcullis::io::region;
use quiet::{ENOUGH, Quiet, interval, nanos, ratios, right};
use stage::{Family, Lengths, Meets, PACKETS, PRODUCT, Pages, Stage, StageError};
use statistics::spread;
use workers::{At, Passing};

mod calibration;
#[expect(dead_code, reason = "this rig measures: the books that tests keep of every turn are not its own")]
#[path = "../tests/rig/memory.rs"]
mod memory;
mod parts;
mod processors;
mod quiet;
mod several;
mod stage;
mod statistics;
mod workers;

#[derive(Parser)]
#[command(about = "Cost of a packet in the pipeline, and of a flow in its table, without a kernel")]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Nanoseconds a packet, in blocks, beside the calibration.
    Time(Blocks),
    /// Nanoseconds a packet of one flow among many, the table in plain pages and in the product's, in turn.
    Pages(Blocks),
    /// Nanoseconds an operation of the flow table, in blocks, beside hashbrown and the calibration.
    Table(Blocks),
    /// Says how many flows a second a worker opens: judged, learnt, and taking the place of one that ended.
    Opens,
    /// What a hand-over costs, and what a second worker brings, beside two random-line loops.
    Workers(Blocks),
    /// Does a fixed number of passes over 256 frames, for an instruction counter.
    Run(RunLine),
}

/// How much is measured.
#[derive(Args)]
struct Blocks {
    /// Blocks; fewer than 15 are no result.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=60))]
    blocks: u32,
    /// Three blocks and small tables, to try the rig: not for figures.
    #[arg(long)]
    quick: bool,
}

impl Blocks {
    const fn count(&self) -> u32 {
        if self.quick { 3 } else { self.blocks }
    }
}

#[derive(Args)]
struct RunLine {
    /// What the packets meet.
    path: Path,
    /// Passes over 256 frames, at most 160 of new flows.
    passes: u32,
}

/// The paths whose instructions are counted.
#[derive(Clone, Copy, ValueEnum)]
enum Path {
    /// UDP over IPv4 of a known flow.
    EstablishedV4,
    /// UDP over IPv6 of a known flow.
    EstablishedV6,
    /// TCP over IPv4 of a known connection.
    TcpEstablishedV4,
    /// UDP over IPv4 of no flow: judged by the policy and learnt.
    New,
    /// UDP over IPv4 of no flow and no rule: judged and dropped.
    Denied,
    /// UDP over IPv4 of a known flow, two workers, frames written anew; it arrives at its owner.
    Owned,
    /// The same, and it arrives at the other worker.
    HandedOver,
}

/// Passes of new flows there is room for.
const MOST_NEW: u32 = 160;

fn main() -> ExitCode {
    let done = match Line::parse().verb {
        Verb::Time(line) => time(&line).map(|()| true),
        Verb::Table(line) => {
            parts::measure(line.count(), line.quick);
            Ok(true)
        }
        Verb::Pages(line) => pages(&line).map(|()| true),
        Verb::Opens => opens().map(|()| true),
        Verb::Workers(line) => several::several(line.count(), line.quick),
        Verb::Run(line) => run(&line).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "bench-pipeline: {e}");
            ExitCode::from(2)
        }
    }
}

fn run(line: &RunLine) -> Result<(), StageError> {
    let (family, meets) = match line.path {
        Path::EstablishedV4 => (Family::V4, Meets::Flow(PRODUCT)),
        Path::EstablishedV6 => (Family::V6, Meets::Flow(PRODUCT)),
        Path::TcpEstablishedV4 => (Family::V4, Meets::Connection),
        Path::New => (Family::V4, Meets::Nothing(PRODUCT * MOST_NEW)),
        Path::Denied => (Family::V4, Meets::Denial),
        Path::Owned => return passing(At::Owner, line.passes),
        Path::HandedOver => return passing(At::Other, line.passes),
    };
    let mut stage = Stage::raise(family, meets, Pages::Product)?;
    stage.cycle();
    for _ in 0..line.passes {
        stage.pass();
    }
    stage.check()
}

fn passing(at: At, passes: u32) -> Result<(), StageError> {
    let mut passing = Passing::raise(at)?;
    for _ in 0..passes * 4 {
        passing.burst();
    }
    if passing.is_right() { Ok(()) } else { Err(StageError::Lost) }
}

fn opens() -> Result<(), StageError> {
    let mut stage = Stage::raise(Family::V4, Meets::Ended(1 << 20), Pages::Product)?;
    stage.time(PACKETS);
    let turns: Vec<f64> = (0..ENOUGH).map(|_| each(stage.time(PACKETS), u64::from(PACKETS))).collect();
    stage.check()?;
    let (nanos, ..) = spread(&turns).unwrap_or_default();
    let _ = writeln!(std::io::stdout(), "{:.0}", 1e9 / nanos);
    Ok(())
}

/// One case of the null-I/O rig: what a packet costs in turns, beside a line fetch.
struct Case {
    name: &'static str,
    /// Nanoseconds of PERFORMANCE's reference machine.
    budget: &'static str,
    meets: Meets,
}

const fn cases(flows: u32) -> [Case; 5] {
    [
        Case { name: "hit, 256 flows", budget: "≤ 36", meets: Meets::Flow(PRODUCT) },
        Case { name: "hit, 1 M flows at random", budget: "≤ 58", meets: Meets::Flow(flows) },
        Case { name: "denied", budget: "", meets: Meets::Denial },
        Case {
            name: "ended and learnt again, 1 M flows at random",
            budget: "",
            meets: Meets::Ended(flows),
        },
        Case { name: "90 % hits of 1 M flows, 10 % new", budget: "", meets: Meets::Mixed(flows) },
    ]
}

fn time(line: &Blocks) -> Result<(), StageError> {
    let flows = if line.quick { 65_536 } else { 1 << 20 };
    let mut lines = Lines::of_bytes(256 << 20);
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["null I/O", "frames", "ns a packet", "÷ line fetch [95 %]", "budget, ns"]);
    let (mut steps, mut quiet) = (Vec::new(), Quiet::default());
    for case in cases(flows) {
        for family in Family::BOTH {
            let mut stage = Stage::raise(family, case.meets, Pages::Product)?;
            for lengths in Lengths::BOTH {
                stage.lengths(lengths);
                stage.time(PACKETS);
                let measured = quiet.blocks(line.count(), |turns| {
                    for who in [0, 1, 1, 0] {
                        let nanos = if who == 0 {
                            each(stage.time(PACKETS), u64::from(PACKETS))
                        } else {
                            lines.fetch()
                        };
                        turns.push((who, nanos));
                    }
                });
                stage.check()?;
                steps.push(integer_step());
                table.add_row([
                    format!("{}, {}", case.name, family.name()),
                    lengths.name().to_owned(),
                    nanos(&measured, 0),
                    interval(ratios(&measured, 0, 1)),
                    if lengths == Lengths::Shortest && family == Family::V4 { case.budget } else { "" }
                        .to_owned(),
                ]);
                quiet.fetches.extend(measured.iter().flatten().filter(|t| t.0 == 1).map(|t| t.1));
            }
        }
    }
    right(&mut table, 2);
    let (step, ..) = spread(&steps).unwrap_or_default();
    let (fetch, least, most) = spread(&quiet.fetches).unwrap_or_default();
    let _ = writeln!(
        std::io::stdout(),
        "{}\n{table}\ncalibration: integer step {step:.2} ns, random independent line fetch of 256 MiB {fetch:.1} ns ({least:.1}–{most:.1})",
        quiet.sentence(line.count())
    );
    Ok(())
}

/// What huge pages are worth: the same load over a table in plain pages and in the product's, in one run.
fn pages(line: &Blocks) -> Result<(), StageError> {
    let flows = if line.quick { 65_536 } else { 1 << 20 };
    let mut lines = Lines::of_bytes(256 << 20);
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header([
        "null I/O, 64 B",
        "plain pages, ns",
        "product's pages, ns",
        "line fetch, ns",
        "product's ÷ plain [95 %]",
        "product's ÷ fetch [95 %]",
    ]);
    let mut quiet = Quiet::default();
    let loads = [
        ("hit, 1 M flows at random", Meets::Flow(flows)),
        ("ended and learnt again, 1 M flows at random", Meets::Ended(flows)),
    ];
    for (name, meets) in loads {
        for family in Family::BOTH {
            let mut stages = [Pages::Plain, Pages::Product].map(|p| Stage::raise(family, meets, p));
            let [Ok(plain), Ok(product)] = &mut stages else {
                return stages.into_iter().find_map(Result::err).map_or(Ok(()), Err);
            };
            for stage in [&mut *plain, &mut *product] {
                stage.time(PACKETS);
            }
            let measured = quiet.blocks(line.count(), |turns| {
                for who in [0, 1, 2, 2, 1, 0] {
                    let nanos = match who {
                        0 => each(plain.time(PACKETS), u64::from(PACKETS)),
                        1 => each(product.time(PACKETS), u64::from(PACKETS)),
                        _ => lines.fetch(),
                    };
                    turns.push((who, nanos));
                }
            });
            plain.check()?;
            product.check()?;
            table.add_row([
                format!("{name}, {}", family.name()),
                nanos(&measured, 0),
                nanos(&measured, 1),
                nanos(&measured, 2),
                interval(ratios(&measured, 1, 0)),
                interval(ratios(&measured, 1, 2)),
            ]);
        }
    }
    right(&mut table, 1);
    let (_, backing) = region::flows(flows);
    let _ = writeln!(
        std::io::stdout(),
        "{}\n{table}\nof {} bytes of another table made now {} are in huge pages",
        quiet.sentence(line.count()),
        backing.bytes,
        backing.huge
    );
    Ok(())
}

//! The veth rig: offers traffic, and measures devices under it.
//!
//! What it is not: a judge (`ratios.rs` is), nor the topology's maker (`scripts/bench` is).

mod blocks;
mod bulk;
mod device;
mod hostile;
mod measure;
mod overload;
mod processors;
mod records;
mod siege;
mod traffic;
mod width;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use blocks::{BlocksError, BlocksLine, RingsLine};
use overload::OverloadLine;
use siege::SiegeLine;
use traffic::{ENDS, Generator, Hook, Load, RigError, SHORTEST, Sink};

#[derive(Parser)]
#[command(about = "The veth benchmark rig (scripts/bench makes its namespaces)")]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Sends frames between two veth ends and counts both sides.
    Traffic(TrafficLine),
    /// Measures gate, plain forwarder and bridge in blocks A B B A.
    Veth(BlocksLine),
    /// Measures gate and plain forwarder at one ring depth after the other.
    Rings(RingsLine),
    /// Offers every device more than the gate forwards without loss.
    Overload(OverloadLine),
    /// Floods the gate with hostile traffic beside legitimate connections, and says what held.
    Hostile(SiegeLine),
}

/// Where a generator or a sink stands.
#[derive(Clone, Debug)]
struct End {
    namespace: String,
    interface: String,
}

impl std::str::FromStr for End {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, interface) = text.split_once(':').ok_or("an end is NAMESPACE:INTERFACE")?;
        Ok(Self { namespace: namespace.to_owned(), interface: interface.to_owned() })
    }
}

#[derive(Args)]
struct TrafficLine {
    /// The kernel half, compiled from bench/rig.bpf.c.
    #[arg(long, default_value = "target/bench/rig.bpf.o")]
    object: PathBuf,
    /// NAMESPACE:INTERFACE that sends.
    #[arg(long)]
    from: End,
    /// NAMESPACE:INTERFACE that receives.
    #[arg(long)]
    to: End,
    /// Count at the entry of the stack (TCX) and not in XDP.
    #[arg(long)]
    tcx: bool,
    /// Frames a second; left out: as many as possible.
    #[arg(long)]
    rate: Option<u64>,
    /// 5-tuples.
    #[arg(long, default_value_t = 10_000)]
    flows: u64,
    /// Length on the wire, check sequence included.
    #[arg(long, default_value_t = SHORTEST)]
    size: usize,
    /// Frames at most.
    #[arg(long, default_value_t = u64::MAX)]
    frames: u64,
    /// Seconds at most.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Core of the generator.
    #[arg(long, default_value_t = 0)]
    core: usize,
}

fn main() -> ExitCode {
    let done = match Line::parse().verb {
        Verb::Traffic(line) => traffic(&line).map_err(BlocksError::from),
        Verb::Veth(line) => blocks::veth(&line),
        Verb::Rings(line) => blocks::rings(&line),
        Verb::Overload(line) => overload::overload(&line),
        Verb::Hostile(line) => match siege::siege(&line) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::FAILURE,
            Err(why) => {
                let _ = writeln!(std::io::stderr(), "bench-rig: {why}");
                return ExitCode::from(2);
            }
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "bench-rig: {e}");
            ExitCode::from(2)
        }
    }
}

fn traffic(line: &TrafficLine) -> Result<(), RigError> {
    let hook = if line.tcx { Hook::Tcx } else { Hook::Xdp };
    let sink = Sink::open(&line.object, &line.to.namespace, &line.to.interface, hook)?;
    let mut generator =
        Generator::open(&line.object, &line.from.namespace, &line.from.interface, ENDS, line.core)?;
    let sent = generator.run(&Load {
        rate: line.rate,
        flows: line.flows,
        frame: line.size,
        frames: line.frames,
        time: Duration::from_secs_f64(line.seconds.clamp(0.0, 600.0)),
    })?;
    // What is on its way needs a moment: wait until nothing more comes.
    let mut arrived = sink.arrived()?;
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(20));
        let now = sink.arrived()?;
        if now.frames == arrived.frames {
            break;
        }
        arrived = now;
    }
    let delays = sink.delays()?;
    let micros = |share| delays.quantile(share).map(|ns| ns / 1000.0);
    let _ = writeln!(
        std::io::stdout(),
        "{}",
        serde_json::json!({
            "sent": sent.frames, "refused": sent.refused, "nanos": sent.nanos,
            "offered_mpps": sent.made() / 1e6, "taken_mpps": sent.rate() / 1e6,
            "arrived": arrived.frames, "bytes": arrived.bytes, "strangers": arrived.strangers,
            "reordered": arrived.reordered,
            "arrived_mpps": traffic::per_second(arrived.frames, sent.nanos) / 1e6,
            "p50_us": micros(0.5), "p99_us": micros(0.99),
        })
    );
    Ok(())
}

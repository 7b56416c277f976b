//! The yardstick: a plain forwarder on two `AF_XDP` sockets over one UMEM, queue 0 of both ports.
//!
//! What it is: the gate's own port (`io::af_xdp`: same socket options, same rings, same kernel program)
//! and the shortest loop over it that is right, so that a ratio to it shows what judging costs. What it
//! is not: it parses nothing, keeps nothing, counts nothing. That it is good is checked in each run, where
//! it must reach 1.5 × the bridge.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use portcullis::io::af_xdp::{
    AfXdpError, AfXdpQueuePair, OpenRequest, QueueCount, QueueHeartbeat, open, release,
};
use portcullis::io::{BURST, Heartbeat, QueuePair, clock};
use portcullis::wire::Side;

/// Idle turns before it sleeps in poll, as the gate's worker does it.
const SPIN_TURNS: u32 = 64;
/// Turns between two heartbeats: about a millisecond under load, so that the clock costs it nothing.
const BEAT_TURNS: u32 = 16;

#[derive(Parser)]
#[command(about = "Forwards every frame between two ports; the benchmarks' yardstick")]
struct Line {
    /// One port.
    #[arg(long)]
    outside: String,
    /// The other.
    #[arg(long)]
    inside: String,
    /// Frames in flight at most, each direction; a power of two.
    #[arg(long, default_value_t = 256)]
    frames: u32,
    /// Core.
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// Pins go here, on a bpffs, and are removed at the end.
    #[arg(long, default_value = "/sys/fs/bpf/pc-bench-forwarder")]
    pins: PathBuf,
    /// The ports' earlier settings are kept here meanwhile.
    #[arg(long, default_value = "target/bench/forwarder.saved")]
    saved: PathBuf,
}

fn main() -> ExitCode {
    let line = Line::parse();
    let code = match forward(&line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => say(&e),
    };
    match release(&line.pins, &line.saved) {
        Ok(_) => code,
        Err(e) => say(&e),
    }
}

fn say(error: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "bench-forwarder: {error}");
    ExitCode::from(2)
}

fn forward(line: &Line) -> Result<(), AfXdpError> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    // Without it a signal ends the process where it stands, and the next start takes over.
    let _ = ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed));
    let wire = open(&OpenRequest {
        interfaces: [&line.outside, &line.inside],
        pins: &line.pins,
        saved: &line.saved,
        queues: QueueCount::Exactly(1),
        symmetric_rss: true,
        rings: line.frames,
        heartbeat_limit: Duration::from_secs(2),
    })?;
    let pinned = core_affinity::set_for_current(core_affinity::CoreId { id: line.core });
    for (queues, heartbeat) in wire.queues {
        let mode = if wire.zero_copy { "zero-copy" } else { "copy" };
        let _ = writeln!(
            std::io::stdout(),
            "up: {} | {}, {mode}, {} frames, core {} {}",
            line.outside,
            line.inside,
            line.frames,
            line.core,
            if pinned { "pinned" } else { "not pinned" },
        );
        run(queues, &heartbeat, &stop);
    }
    Ok(())
}

fn run(mut queues: AfXdpQueuePair, heartbeat: &QueueHeartbeat, stop: &AtomicBool) {
    let mut frames = Vec::with_capacity(BURST);
    let (mut idle, mut turns) = (0, 0_u32);
    heartbeat.beat(clock::boot_nanos());
    while !stop.load(Ordering::Relaxed) {
        let mut busy = false;
        for side in Side::BOTH {
            queues.receive(side, &mut frames);
            busy |= !frames.is_empty();
            for frame in frames.drain(..) {
                if let Err(frame) = queues.send(side.other(), frame) {
                    queues.recycle(frame);
                }
            }
        }
        queues.flush();
        turns = turns.wrapping_add(1);
        if busy {
            idle = 0;
        } else {
            idle += 1;
            if idle > SPIN_TURNS {
                let patience = if queues.sending() { 1 } else { 100 };
                queues.wait(Duration::from_millis(patience), None);
                turns = 0;
            } else {
                std::hint::spin_loop();
            }
        }
        if turns.is_multiple_of(BEAT_TURNS) {
            heartbeat.beat(clock::boot_nanos());
        }
    }
}

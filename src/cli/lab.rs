//! `portcullis lab`: the rig of namespaces, its hosts and the demo.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, Subcommand};

use super::page::count;
use super::{Format, FormatArg};
use crate::lab::{self, Lab, LabName, Removed, probe};

/// A rig of namespaces to try the gate in.
#[derive(Debug, Args)]
pub(crate) struct LabArgs {
    /// Name of the lab; several can stand side by side.
    #[arg(long, global = true, default_value_t, value_name = "NAME")]
    name: LabName,
    /// Queues of each port of the gate, for `up` and `demo`.
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64), value_name = "N")]
    queues: u32,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Raise it.
    Up,
    /// Remove it, with everything that runs in it.
    Down,
    /// What is there of it.
    Status(FormatArg),
    /// Run a command on a host, a switch (out, in) or the gate.
    Exec {
        /// Where.
        host: String,
        /// What, with its arguments.
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Raise it, run the gate in it, try what the policy allows and denies, and take it away again.
    Demo {
        /// First file of the policy.
        #[arg(long, default_value = "configs/lab/gate.toml", value_name = "FILE")]
        policy: PathBuf,
    },
    /// Try what the policy of the lab allows and denies, through a gate that stands between its switches
    /// already.
    Try {
        /// What takes the place of `portcullis` to ask that gate: `ssh gateway portcullis`.
        #[arg(last = true, required = true, value_name = "CMD")]
        gate: Vec<OsString>,
    },
    /// The services of a host; `up` starts them.
    #[command(hide = true)]
    Serve {
        /// Who answers.
        #[arg(long)]
        host: String,
        /// A TCP port that answers.
        #[arg(long = "tcp", value_name = "PORT")]
        tcp: Vec<u16>,
        /// A UDP port that answers.
        #[arg(long = "udp", value_name = "PORT")]
        udp: Vec<u16>,
    },
    /// One attempt from where this runs; prints JSON.
    #[command(hide = true)]
    Probe {
        #[command(subcommand)]
        what: Probe,
        /// How long to wait for an answer, milliseconds.
        #[arg(long, global = true, default_value_t = 1000, value_name = "MS")]
        patience: u64,
    },
}

#[derive(Debug, Subcommand)]
enum Probe {
    /// Connect over TCP and read a line.
    Tcp {
        /// To.
        address: IpAddr,
        /// Its port.
        port: u16,
        /// From this address.
        #[arg(long)]
        bind: Option<IpAddr>,
    },
    /// Send a datagram and wait for it to come back.
    Udp {
        /// To.
        address: IpAddr,
        /// Its port.
        port: u16,
        /// From this address.
        #[arg(long)]
        bind: Option<IpAddr>,
    },
    /// Send a datagram from each of so many ports, and have each come back.
    Datagrams {
        /// To.
        address: IpAddr,
        /// Its port.
        port: u16,
        /// How many.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=20_000))]
        flows: u16,
    },
    /// Send one echo request.
    Icmp {
        /// To.
        address: IpAddr,
        /// From this address.
        #[arg(long)]
        bind: Option<IpAddr>,
    },
    /// Take bytes from a lab service and compare every one.
    Fetch {
        /// From.
        address: IpAddr,
        /// Its port.
        port: u16,
        /// Bytes a connection.
        #[arg(long, default_value_t = 1_000_000)]
        bytes: u64,
        /// Connections, one after the other.
        #[arg(long, default_value_t = 1)]
        connections: u64,
    },
}

/// Why a verb of the lab failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The lab itself.
    #[error(transparent)]
    Lab(#[from] lab::Error),
    /// The demo.
    #[error(transparent)]
    Demo(#[from] lab::demo::Error),
    /// Nobody would hear an interrupt.
    #[error("no handler for interrupts: {0}")]
    Interrupt(#[from] ctrlc::Error),
    /// A host's services.
    #[error(transparent)]
    Serve(#[from] lab::ServeError),
    /// An attempt that could not be made, or a transfer that failed.
    #[error(transparent)]
    Probe(#[from] probe::Error),
    /// The program can't find itself.
    #[error("this program's own file can't be found: {0}")]
    Program(io::Error),
    /// Nobody reads what is printed.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
    /// A form of output that does not go together.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Runs the verb.
///
/// # Errors
/// What went wrong, to be printed; the exit code is then 2.
pub(crate) fn run(args: &LabArgs) -> Result<ExitCode, Error> {
    let out = &mut io::stdout().lock();
    let program: PathBuf = std::env::current_exe().map_err(Error::Program)?;
    let lab = Lab { name: args.name.clone(), program, queues: args.queues };
    match &args.verb {
        Verb::Up => {
            lab.up()?;
            writeln!(out, "lab {} is up: {}", lab.name, lab::topology::in_words())?;
            writeln!(
                out,
                "the gate's place is pc-{}-gate, between its interfaces outside and inside",
                lab.name
            )?;
        }
        Verb::Down => {
            let removed = lab.down()?;
            if removed == Removed::default() {
                writeln!(out, "lab {}: nothing was up", lab.name)?;
            } else {
                let Removed { namespaces, processes, wires } = removed;
                write!(
                    out,
                    "lab {} is gone: {namespaces} namespaces removed, {processes} processes ended",
                    lab.name
                )?;
                if wires > 0 {
                    write!(out, ", {} released", count(wires, "wire"))?;
                }
                writeln!(out)?;
            }
        }
        Verb::Status(FormatArg { format }) => return status(&lab, *format, out),
        Verb::Exec { host, command } => {
            let Some((program, rest)) = command.split_first() else { return Ok(ExitCode::from(2)) };
            return Ok(exit(lab.exec(host, program, rest)?));
        }
        Verb::Demo { policy } => {
            let kept = lab::demo::show(&lab, policy, &*interrupted()?, out)?;
            return Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Verb::Try { gate } => {
            let gate = lab::demo::Gate::elsewhere(gate.clone());
            let kept = lab::demo::attempts_through(&lab, &gate, &*interrupted()?, out)?;
            return Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Verb::Serve { host, tcp, udp } => match lab::serve(host, tcp, udp, out)? {},
        Verb::Probe { what, patience } => {
            writeln!(out, "{}", attempt(what, Duration::from_millis(*patience))?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

// Set once somebody has asked for the end.
fn interrupted() -> Result<Arc<AtomicBool>, ctrlc::Error> {
    let stop = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&stop);
    ctrlc::set_handler(move || heard.store(true, Ordering::Relaxed))?;
    Ok(stop)
}

// The command's own code; as a shell has it, 128 and the signal where one ended it.
fn exit(status: std::process::ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn status(lab: &Lab, format: Format, out: &mut impl Write) -> Result<ExitCode, Error> {
    let status = lab.status()?;
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string(&status)?)?,
        Format::Table if status.up => {
            let (n, p) = (status.namespaces.len(), status.processes.len());
            writeln!(out, "lab {} is up: {n} namespaces, {p} processes", status.name)?;
        }
        Format::Table
            if status.namespaces.is_empty() && status.processes.is_empty() && status.broken.is_empty() =>
        {
            writeln!(out, "lab {} is not up", status.name)?;
        }
        Format::Table => {
            writeln!(
                out,
                "lab {0} is up in part, `portcullis lab down --name {0}` removes it",
                status.name
            )?;
            if !status.missing.is_empty() {
                writeln!(out, "  missing: {}", status.missing.join(", "))?;
            }
            for broken in &status.broken {
                writeln!(out, "  broken: {broken}")?;
            }
        }
    }
    Ok(if status.up { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn attempt(what: &Probe, patience: Duration) -> Result<String, Error> {
    let probe = match *what {
        Probe::Tcp { address, port, bind } => probe::tcp(bind, SocketAddr::new(address, port), patience)?,
        Probe::Udp { address, port, bind } => probe::udp(bind, SocketAddr::new(address, port), patience)?,
        Probe::Icmp { address, bind } => probe::ping(bind, address, patience)?,
        Probe::Datagrams { address, port, flows } => {
            let done = probe::datagrams(SocketAddr::new(address, port), flows, patience)?;
            return Ok(serde_json::to_string(&done)?);
        }
        Probe::Fetch { address, port, bytes, connections } => {
            let done = probe::fetch(SocketAddr::new(address, port), bytes, connections, patience)?;
            return Ok(serde_json::to_string(&done)?);
        }
    };
    Ok(serde_json::to_string(&probe)?)
}

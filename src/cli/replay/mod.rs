//! `portcullis replay`: captures in, verdicts out.
//!
//! The rows and the summary of what could be read come out also where a capture breaks off; then the error
//! follows and the exit code is 2.

mod place;
mod row;
mod summary;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};

use super::fault::{Fault, PolicyArg, read_policy, tell};
use super::screen::Screen;
use super::{Done, Format, FormatArg};
use crate::io::pcap::{Capture, CaptureError, Forwarded, Merge, Packet};
use crate::policy::prefix::Prefix;
use crate::policy::{self, Table};
use crate::wire::{LONGEST_PADDED, Mac, Side, unpadded};
use crate::worker::{Replay, Replayed, Sides};
use row::Row;
use summary::Summary;

/// The generation that a replay judges under.
const GENERATION: u32 = 1;
/// Rows for the screen are shown in pages of so many bytes.
const PAGE: usize = 65_536;

/// What a policy does to captured packets, judged one after another by the gate's own pipeline with the
/// time they were captured at. Reads pcap and pcapng, and touches no interface.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("captures").required(true).multiple(true).args(["outside", "inside", "pcap"])))]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    policy: PolicyArg,
    /// What arrived at the outside port (`tcpdump -s 0 -Q in -i PORT -w FILE`).
    #[arg(long, value_name = "FILE", conflicts_with = "pcap")]
    outside: Option<PathBuf>,
    /// What arrived at the inside port; the two files are merged by time.
    #[arg(long, value_name = "FILE", conflicts_with = "pcap")]
    inside: Option<PathBuf>,
    /// One file with both sides: a packet's side follows from its source address, then from MACs.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// In one file, what comes from this MAC came from the inside, everything else from the outside.
    #[arg(long, value_name = "MAC", conflicts_with_all = ["outside", "inside"], value_delimiter = ',')]
    inside_mac: Vec<Mac>,
    /// In one file, what comes from an address in this prefix came from the inside.
    #[arg(long, value_name = "PREFIX", conflicts_with_all = ["outside", "inside"], value_delimiter = ',')]
    inside_net: Vec<Prefix>,
    /// Write what crossed to this pcapng: bytes unchanged, their own times.
    #[arg(long, value_name = "FILE")]
    forwarded: Option<PathBuf>,
    /// Write one JSON object a packet to this file; `-` is the standard output, the summary then goes to the
    /// standard error.
    #[arg(long, value_name = "FILE")]
    verdicts: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArg,
}

/// Runs the verb.
///
/// # Errors
/// The policy does not hold together, a capture can't be read to its end, output can't be written.
pub(crate) fn run(args: &ReplayArgs, screen: &mut Screen) -> Result<Done, Fault> {
    let loaded = read_policy(&args.policy.policy)?;
    let table = policy::compile(&loaded.model, &policy::Exceptions::NONE);
    let files: Vec<(&Path, Option<Side>)> =
        [(&args.outside, Some(Side::Outside)), (&args.inside, Some(Side::Inside)), (&args.pcap, None)]
            .into_iter()
            .filter_map(|(file, side)| Some((file.as_deref()?, side)))
            .collect();
    let captures = files.iter().map(|(file, _)| Capture::open(file)).collect::<Result<Vec<_>, _>>()?;
    let policy = loaded.sources.files.iter().map(|file| file.path.as_path());
    place::keep_apart(&args.outputs(), files.iter().map(|(file, _)| *file), policy)?;
    let mut outputs = Outputs::open(args)?;
    let mut sides = Sides::new(&loaded.model, &table, args.inside_mac.clone(), args.inside_net.clone());
    let mut summary = Summary::new(captures.iter().map(Capture::file), table.digest_short());
    let mut replay = Replay::new(&table, GENERATION, &loaded.model.gate);
    let mut captures = Merge::new(captures);
    let mut broken = None;
    while let Some(next) = captures.next_packet() {
        let (file, packet) = match next {
            Ok(next) => next,
            Err(error) => {
                broken = Some(error);
                break;
            }
        };
        let side = match files.get(file).and_then(|(_, side)| *side) {
            Some(side) => side,
            None => sides.of(&table, &packet.bytes, Replay::facts(&packet).as_ref()),
        };
        replay.take(file, packet, side);
        while let Some(done) = replay.next_done() {
            outputs.write(&table, &mut summary, &done, screen)?;
        }
        if screen.is_gone() {
            return Ok(Done::Well);
        }
    }
    replay.finish();
    while let Some(done) = replay.next_done() {
        outputs.write(&table, &mut summary, &done, screen)?;
    }
    outputs.finish(screen)?;
    let page = match args.format.format {
        Format::Json => serde_json::to_string(&summary)? + "\n",
        Format::Table => summary.page(),
    };
    if args.to_screen() {
        tell(&page);
    } else {
        screen.show(&page)?;
    }
    match broken {
        Some(error) => Err(error.into()),
        None if summary.packets == 0 => Err(CaptureError::Blank { files: summary.names() }.into()),
        None => Ok(Done::Well),
    }
}

impl ReplayArgs {
    /// The rows go to the standard output.
    fn to_screen(&self) -> bool {
        self.verdicts.as_deref() == Some(Path::new("-"))
    }

    /// The files that are written.
    fn outputs(&self) -> Vec<&Path> {
        let rows = self.verdicts.as_deref().filter(|_| !self.to_screen());
        self.forwarded.as_deref().into_iter().chain(rows).collect()
    }
}

/// Where the rows go.
enum Rows {
    Nowhere,
    Screen(String),
    File(String, BufWriter<File>),
}

/// What a replay writes while it runs.
struct Outputs {
    rows: Rows,
    forwarded: Option<(String, Forwarded<BufWriter<File>>)>,
}

impl Outputs {
    fn open(args: &ReplayArgs) -> Result<Self, Fault> {
        let create = |path: &Path| {
            let name = path.display().to_string();
            match File::create(path) {
                Ok(file) => Ok((name, BufWriter::new(file))),
                Err(error) => Err(Fault::File(name, error)),
            }
        };
        let rows = match args.verdicts.as_deref() {
            None => Rows::Nowhere,
            Some(_) if args.to_screen() => Rows::Screen(String::new()),
            Some(path) => {
                let (name, file) = create(path)?;
                Rows::File(name, file)
            }
        };
        let forwarded = match args.forwarded.as_deref() {
            None => None,
            Some(path) => {
                let (name, file) = create(path)?;
                Some((name, Forwarded::new(file)?))
            }
        };
        Ok(Self { rows, forwarded })
    }

    /// A packet with its end goes into the summary and wherever else it is wanted.
    fn write(
        &mut self,
        table: &Table,
        summary: &mut Summary,
        done: &Replayed,
        screen: &mut Screen,
    ) -> Result<(), Fault> {
        let file = summary.name(done.file);
        let row = Row::new(table, &file, done, GENERATION);
        summary.add(&row, done);
        match &mut self.rows {
            Rows::Nowhere => {}
            Rows::Screen(page) => {
                page.push_str(&serde_json::to_string(&row)?);
                page.push('\n');
                if page.len() >= PAGE {
                    screen.show(&std::mem::take(page))?;
                }
            }
            Rows::File(name, file) => {
                let line = serde_json::to_string(&row)? + "\n";
                file.write_all(line.as_bytes()).map_err(|error| Fault::File(name.clone(), error))?;
            }
        }
        if done.end.crosses()
            && let Some((_, forwarded)) = &mut self.forwarded
        {
            let mut desk = [0; LONGEST_PADDED];
            let whole = (!done.packet.is_cut()).then_some(&done.packet.bytes);
            // As the gate sends it.
            let sent = whole.and_then(|bytes| unpadded(bytes, &mut desk));
            let sent = sent.map(|bytes| Packet { bytes: bytes.to_vec(), ..done.packet.clone() });
            forwarded.write(sent.as_ref().unwrap_or(&done.packet), done.side.other())?;
        }
        Ok(())
    }

    fn finish(self, screen: &mut Screen) -> Result<(), Fault> {
        match self.rows {
            Rows::Nowhere => {}
            Rows::Screen(page) => screen.show(&page)?,
            Rows::File(name, mut file) => file.flush().map_err(|error| Fault::File(name, error))?,
        }
        if let Some((name, forwarded)) = self.forwarded {
            forwarded.into_inner().flush().map_err(|error| Fault::File(name, error))?;
        }
        Ok(())
    }
}

//! The policy at size: how long a compiler takes over a hundred thousand workloads, what it comes to, and what a
//! judgement costs over the number of rules.
//!
//! What it is: the command line; [`sets`] makes the policies, [`lookup`] asks them.

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use calibration::{Lines, each};
use clap::{Args, Parser, Subcommand};
use comfy_table::{Table, presets};
use lookup::Bout;
use portcullis::io::clock::boot_nanos;
use portcullis::pipeline::BURST;
use portcullis::policy::diff::{Half, compare};
use portcullis::policy::{self, Moment, read::Loaded};
use portcullis::wire::Side;
use sets::{Kind, Set, Shape};
use statistics::{SplitMix, ratio, spread};

#[expect(dead_code, reason = "fetches are what its figures are held against")]
#[path = "../calibration.rs"]
mod calibration;
mod kernel;
mod lookup;
mod sets;
#[expect(dead_code, reason = "promises are judged by bench-ratios")]
#[path = "../statistics.rs"]
mod statistics;

#[derive(Parser)]
#[command(about = "Cost of compiling a policy")]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Writes a policy into a folder.
    Write {
        #[command(flatten)]
        shape: ShapeLine,
        folder: PathBuf,
    },
    /// Reads and compiles a policy: milliseconds, and what it comes to.
    Compile {
        #[command(flatten)]
        shape: ShapeLine,
        /// Times compiled.
        #[arg(long, default_value_t = 5)]
        times: usize,
    },
    /// Compares a policy with an edit of it: milliseconds, and what is told.
    Diff {
        #[command(flatten)]
        shape: ShapeLine,
        /// Times compared.
        #[arg(long, default_value_t = 3)]
        times: usize,
    },
    /// A judgement at 100, 1 000, 10 000 and 100 000 rules, beside a scan, after both agree.
    Lookup {
        #[arg(long, default_value = "labels")]
        kind: Kind,
        /// Blocks; fewer than 15 are no result.
        #[arg(long, default_value_t = 15)]
        blocks: usize,
        /// Only up to so many rules.
        #[arg(long, default_value_t = 100_000)]
        most: usize,
        #[arg(long, default_value_t = 20_000)]
        workloads: usize,
        #[arg(long, default_value_t = 5_000)]
        sets: usize,
    },
    /// The side of an address, beside poptrie with the same prefixes.
    Addresses {
        #[arg(long, default_value_t = 15)]
        blocks: usize,
    },
    /// The same beside a set of nftables, in a namespace of its own.
    Kernel {
        #[arg(long, default_value_t = 15)]
        blocks: usize,
        #[arg(long, default_value_t = 10_000)]
        most: usize,
    },
}

/// Which policy.
#[derive(Args)]
struct ShapeLine {
    #[arg(long, default_value = "labels")]
    kind: Kind,
    #[arg(long, default_value_t = 10_000)]
    rules: usize,
    #[arg(long, default_value_t = 100_000)]
    workloads: usize,
    /// Distinct label sets.
    #[arg(long, default_value_t = 5_000)]
    sets: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl ShapeLine {
    const fn shape(&self) -> Shape {
        let Self { kind, rules, workloads, sets, seed } = *self;
        Shape { kind, rules, workloads, sets, seed }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("can't write the policy: {0}")]
    Write(#[from] std::io::Error),
    #[error("the reader refuses what was made: {0}")]
    Refused(String),
    #[error("two that must agree differ: {0}")]
    Differ(String),
    #[error("nft refuses: is it installed, and is this root in a namespace of its own?")]
    Nft,
    #[error("a raw socket: {0}")]
    Socket(#[from] rustix::io::Errno),
}

fn main() -> ExitCode {
    let done = match Line::parse().verb {
        Verb::Write { shape, folder } => write(shape.shape(), &folder),
        Verb::Compile { shape, times } => compile(shape.shape(), times),
        Verb::Diff { shape, times } => diff(shape.shape(), times),
        Verb::Lookup { kind, blocks, most, workloads, sets } => {
            let shape = |rules| Shape { kind, rules, workloads, sets, seed: 1 };
            let sizes = [100, 1_000, 10_000, 100_000].into_iter().filter(|rules| *rules <= most);
            lookup(sizes.map(shape), blocks)
        }
        Verb::Addresses { blocks } => addresses(blocks),
        Verb::Kernel { blocks, most } => kernel(blocks, most),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "bench-policy: {e}");
            ExitCode::from(2)
        }
    }
}

fn write(shape: Shape, folder: &std::path::Path) -> Result<(), Failed> {
    std::fs::create_dir_all(folder)?;
    for (name, text) in Set::new(shape).files {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}

fn load(files: Vec<(String, String)>) -> Result<Loaded, Failed> {
    policy::read::read_text(files).map_err(|rejected| {
        let first = rejected.diagnostics.first().map(|found| found.message.clone());
        Failed::Refused(first.unwrap_or_default())
    })
}

/// What is done to a policy, and how.
type Edit = (&'static str, fn(&mut policy::Model));

/// A policy beside itself, without the rule in its middle, with its first zone observed, and with nothing enforced that
/// touches no zone.
fn diff(shape: Shape, times: usize) -> Result<(), Failed> {
    let old = load(Set::new(shape).files)?;
    let table = policy::compile(&old.model, &policy::Exceptions::NONE);
    let edits: [Edit; 4] = [
        ("nothing", |_| {}),
        ("one rule less", |model| drop(model.rules.remove(model.rules.len() / 2))),
        ("a zone observed", |model| {
            if let Some(zone) = model.zones.first_mut() {
                zone.mode = policy::Mode::Observe;
            }
        }),
        ("unzoned observed", |model| model.wire.unzoned = policy::Mode::Observe),
    ];
    for (name, edit) in edits {
        let mut new = old.clone();
        edit(&mut new.model);
        let edited = policy::compile(&new.model, &policy::Exceptions::NONE);
        for _ in 0..times {
            let before = boot_nanos();
            let old = Half { policy: &old, table: &table };
            let found = compare(old, Half { policy: &new, table: &edited }, Moment(0));
            let nanos = boot_nanos() - before;
            writeln!(
                std::io::stdout(),
                "{name}: compared in {} ms; {} differences told, {:?} more, opens: {}; resident {:?} MiB",
                nanos / 1_000_000,
                found.changes.len(),
                found.left_out,
                found.opens,
                resident().unwrap_or_default()
            )?;
        }
    }
    Ok(())
}

/// Megabytes of this process that are or were resident: now, at most.
fn resident() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let of = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib / 1024)
    };
    Some((of("VmRSS:")?, of("VmHWM:")?))
}

fn compile(shape: Shape, times: usize) -> Result<(), Failed> {
    let mut out = std::io::stdout();
    let files = Set::new(shape).files;
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    let before = boot_nanos();
    let loaded = load(files)?;
    let read = boot_nanos() - before;
    let model = loaded.model;
    drop(loaded.sources);
    writeln!(
        out,
        "{:?} {} rules, {} workloads, {} networks; {} KiB of text read in {} ms, {} warnings; resident {:?} MiB",
        shape.kind,
        model.rules.len(),
        model.workloads.len(),
        model.networks.len(),
        bytes / 1024,
        read / 1_000_000,
        loaded.warnings.len(),
        resident().unwrap_or_default()
    )?;
    for _ in 0..times {
        let before = boot_nanos();
        let table = policy::compile(&model, &policy::Exceptions::NONE);
        let nanos = boot_nanos() - before;
        writeln!(
            out,
            "compiled in {} ms, digest {}; resident {:?} MiB; {:?}",
            nanos / 1_000_000,
            table.digest_short(),
            resident().unwrap_or_default(),
            table.size()
        )?;
    }
    Ok(())
}

fn addresses(blocks: usize) -> Result<(), Failed> {
    let mut page = Table::new();
    page.load_preset(presets::ASCII_MARKDOWN);
    page.set_header([
        "prefixes",
        "side of an address, ns",
        "poptrie, ns",
        "÷ poptrie [95 %]",
        "poptrie built in, ms",
    ]);
    for rules in [100, 1_000, 10_000, 100_000] {
        let bout = Bout::new(Shape { kind: Kind::Prefixes, rules, workloads: 0, sets: 0, seed: 1 })?;
        let before = boot_nanos();
        let mut trie = poptrie::Poptrie::new();
        // It keeps its nodes by depth: short prefixes first append instead of shifting.
        let mut prefixes = bout.set.prefixes.clone();
        prefixes.sort_by_key(|(bits, length, _)| (*length, *bits));
        for (bits, length, side) in &prefixes {
            trie.insert((*bits, *length), *side);
        }
        let built = boot_nanos() - before;
        let mut draw = SplitMix(7);
        let probes: Vec<u32> = (0..lookup::PROBES)
            .map(|_| {
                let (bits, length, _) =
                    prefixes.get(draw.below(prefixes.len())).copied().unwrap_or((0, 0, Side::Outside));
                let inner = u32::try_from(draw.next() >> 32).unwrap_or(0);
                bits | (inner & u32::MAX.checked_shr(u32::from(length)).unwrap_or(0))
            })
            .filter(|bits| !Ipv4Addr::from_bits(*bits).is_multicast())
            .collect();
        let ours = |bits: u32| bout.table.network_side(Ipv4Addr::from_bits(bits).into());
        if let Some(bits) = probes.iter().find(|bits| ours(**bits) != trie.lookup(**bits).copied()) {
            return Err(Failed::Differ(format!("the table and poptrie on {}", Ipv4Addr::from_bits(*bits))));
        }
        let time = |side: &dyn Fn(&[u32]) -> usize| {
            let before = boot_nanos();
            std::hint::black_box(side(&probes));
            each(boot_nanos() - before, probes.len() as u64)
        };
        let inside = Some(Side::Inside);
        let mut turns = Vec::new();
        for _ in 0..blocks {
            let table = || time(&|all| all.iter().filter(|bits| ours(**bits) == inside).count());
            let peer =
                || time(&|all| all.iter().filter(|bits| trie.lookup(**bits).copied() == inside).count());
            let (one, two, three, four) = (table(), peer(), peer(), table());
            turns.push((vec![one, four], vec![two, three]));
        }
        let of = |values: Vec<f64>| spread(&values).map_or_else(String::new, |(m, ..)| format!("{m:.1}"));
        let ratio = ratio(&turns)
            .map_or_else(String::new, |r| format!("{:.2} [{:.2}, {:.2}]", r.estimate, r.lower, r.upper));
        page.add_row([
            prefixes.len().to_string(),
            of(turns.iter().flat_map(|(ours, _)| ours.clone()).collect()),
            of(turns.iter().flat_map(|(_, peer)| peer.clone()).collect()),
            ratio,
            (built / 1_000_000).to_string(),
        ]);
    }
    writeln!(
        std::io::stdout(),
        "{blocks} blocks; both agree on all of {} addresses first\n{page}",
        lookup::PROBES
    )?;
    Ok(())
}

fn kernel(blocks: usize, most: usize) -> Result<(), Failed> {
    let mut page = Table::new();
    page.load_preset(presets::ASCII_MARKDOWN);
    page.set_header(["rules", "agree on", "judgement, ns", "set of nftables, ns", "packet without it, ns"]);
    for rules in [100, 1_000, 10_000, 100_000].into_iter().filter(|rules| *rules <= most) {
        let mut bout = Bout::new(Shape { kind: Kind::Apart, rules, workloads: 0, sets: 0, seed: 1 })?;
        let found = kernel::measure(&bout, blocks)?;
        let judged: Vec<f64> = (0..blocks).map(|_| each(bout.alone(TURN), (TURN * BURST) as u64)).collect();
        let of = |values: Vec<f64>| {
            let (median, least, most) = spread(&values).unwrap_or_default();
            format!("{median:.0} ({least:.0}–{most:.0})")
        };
        page.add_row([
            bout.set.rules.len().to_string(),
            found.agreed.to_string(),
            of(judged),
            of(found.blocks.iter().map(|[with, without]| with - without).collect()),
            of(found.blocks.iter().map(|[_, without]| *without).collect()),
        ]);
    }
    writeln!(std::io::stdout(), "{blocks} blocks\n{page}")?;
    Ok(())
}

/// Bursts of a turn.
const TURN: usize = 1 << 12;

fn lookup(shapes: impl Iterator<Item = Shape>, blocks: usize) -> Result<(), Failed> {
    let mut out = std::io::stdout();
    let mut bouts = Vec::new();
    for shape in shapes {
        let bout = Bout::new(shape)?;
        let allowed = bout.agree()?;
        writeln!(
            out,
            "{} rules: table, one by one and in bursts, and scan agree on {} connections, {allowed} of them allowed; compiled in {} ms: {:?}",
            shape.rules,
            bout.probes.len(),
            bout.compile_nanos / 1_000_000,
            bout.table.size()
        )?;
        bouts.push((shape.rules, bout, Vec::new()));
    }
    let mut lines = Lines::of_bytes(256 << 20);
    let mut fetches = Vec::new();
    for _ in 0..blocks {
        // There and back, so that a drift over the block cancels.
        let mut block = vec![Vec::new(); bouts.len()];
        let order = (0..bouts.len()).chain((0..bouts.len()).rev());
        for who in order {
            if let (Some((_, bout, _)), Some(turns)) = (bouts.get_mut(who), block.get_mut(who)) {
                let judged = (TURN * BURST) as u64;
                turns.push([each(bout.together(TURN), judged), each(bout.alone(TURN), judged)]);
            }
        }
        for ((.., all), turns) in bouts.iter_mut().zip(block) {
            all.push(turns);
        }
        fetches.push(lines.fetch());
    }
    let mut page = Table::new();
    page.load_preset(presets::ASCII_MARKDOWN);
    page.set_header([
        "rules",
        "a packet's judgement, ns",
        "÷ 100 rules [95 %]",
        "in a burst, ns",
        "one by one, ns",
        "scan of all rules, ns",
        "table, MiB",
    ]);
    // The way that the pipeline asks it: first of a pair in bursts, second one by one.
    let way = |bout: &Bout| usize::from(!bout.table.asks_in_steps());
    let of = |turns: &[Vec<[f64; 2]>], way: usize| -> Vec<Vec<f64>> {
        turns.iter().map(|block| block.iter().filter_map(|turn| turn.get(way).copied()).collect()).collect()
    };
    let told = |turns: Vec<Vec<f64>>| {
        let (median, least, most) = spread(&turns.concat()).unwrap_or_default();
        format!("{median:.1} ({least:.1}–{most:.1})")
    };
    let first = bouts.first().map(|(_, bout, turns)| of(turns, way(bout))).unwrap_or_default();
    for (rules, bout, turns) in &bouts {
        let pairs: Vec<_> = of(turns, way(bout)).into_iter().zip(first.clone()).collect();
        let ratio = ratio(&pairs)
            .map_or_else(String::new, |r| format!("{:.2} [{:.2}, {:.2}]", r.estimate, r.lower, r.upper));
        let (scan, count) = bout.scan();
        page.add_row([
            rules.to_string(),
            told(of(turns, way(bout))),
            ratio,
            told(of(turns, 0)),
            told(of(turns, 1)),
            format!("{:.0}", each(scan, count as u64)),
            format!("{:.1}", each(bout.table.size().bytes as u64, 1 << 20)),
        ]);
    }
    let (fetch, least, most) = spread(&fetches).unwrap_or_default();
    writeln!(
        out,
        "{blocks} blocks\n{page}\ncalibration: random independent line fetch of 256 MiB {fetch:.1} ns ({least:.1}–{most:.1})"
    )?;
    Ok(())
}

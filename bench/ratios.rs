//! Judges the results files of the rig: a table of what was measured, ratios with their intervals, verdicts.
//!
//! What it is not: it measures nothing and leaves nothing out but blocks marked as stolen, which it
//! counts. Exit code 0: every promise met; 1: one missed or not resolved, or the run does not count.

mod records;
mod statistics;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};

use records::{Block, Kind, Purpose, Record, Run, Turn};
use statistics::{Promise, Ratio, Verdict, ratio, spread};

/// A generator that makes less than this share of what it was asked for did not overload anybody.
const MADE: f64 = 0.95;

/// A plain forwarder that does not reach this multiple of the bridge is no yardstick.
const YARDSTICK: f64 = 1.5;

#[derive(Parser)]
#[command(about = "Ratios and verdicts from results of the veth rig")]
struct Line {
    /// Results files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Why a file cannot be judged.
#[derive(Debug, thiserror::Error)]
enum ResultsError {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}:{line}: {source}")]
    Parse { path: PathBuf, line: usize, source: serde_json::Error },
}

/// One file.
#[derive(Debug, Default)]
struct Results {
    run: Option<Run>,
    turns: Vec<(u32, Kind, u32, Turn)>,
    /// Block, device, depth, bits a second.
    bulks: Vec<(u32, Kind, u32, f64)>,
    blocks: Vec<Block>,
}

impl Results {
    fn read(path: &PathBuf) -> Result<Self, ResultsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ResultsError::Read { path: path.clone(), source })?;
        Self::parse(&text).map_err(|(line, source)| ResultsError::Parse {
            path: path.clone(),
            line,
            source,
        })
    }

    fn parse(text: &str) -> Result<Self, (usize, serde_json::Error)> {
        let mut results = Self::default();
        for (i, line) in text.lines().enumerate() {
            match serde_json::from_str(line).map_err(|e| (i + 1, e))? {
                Record::Run(run) => results.run = Some(run),
                Record::Turn { block, device, depth, turn } => {
                    results.turns.push((block, device, depth, turn));
                }
                Record::Bulk { block, device, depth, bits } => {
                    results.bulks.push((block, device, depth, bits));
                }
                Record::Block(block) => results.blocks.push(block),
            }
        }
        // A block that was cut short or stolen from is not used.
        let whole = |b: u32| results.blocks.iter().any(|x| x.number == b && !x.discarded);
        results.turns.retain(|(block, ..)| whole(*block));
        results.bulks.retain(|(block, ..)| whole(*block));
        Ok(results)
    }

    /// Blocks of (A's, B's) of one measure.
    fn pairs(&self, a: Which, b: Which, measure: impl Fn(&Turn) -> f64) -> Vec<(Vec<f64>, Vec<f64>)> {
        let mut blocks: BTreeMap<u32, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
        for (block, device, depth, turn) in &self.turns {
            let pair = blocks.entry(*block).or_default();
            if a.is(*device, *depth) {
                pair.0.push(measure(turn));
            } else if b.is(*device, *depth) {
                pair.1.push(measure(turn));
            }
        }
        blocks.into_values().filter(|(a, b)| !a.is_empty() && !b.is_empty()).collect()
    }

    /// Bits a second of each stream of TCP through one device.
    fn bulk(&self, device: Kind, depth: u32) -> Vec<f64> {
        let which = Which(device, Some(depth));
        self.bulks.iter().filter(|b| which.is(b.1, b.2)).map(|b| b.3).collect()
    }

    /// The least and the greatest depth of the gate's rings.
    fn depths(&self) -> Option<(u32, u32)> {
        let depths = || self.turns.iter().filter(|t| t.1 == Kind::Gate).map(|t| t.2);
        Some((depths().min()?, depths().max()?))
    }
}

/// A device, at one depth of its rings or at any.
#[derive(Clone, Copy)]
struct Which(Kind, Option<u32>);

impl Which {
    const GATE: Self = Self(Kind::Gate, None);
    const FORWARDER: Self = Self(Kind::Forwarder, None);
    const BRIDGE: Self = Self(Kind::Bridge, None);

    fn is(self, device: Kind, depth: u32) -> bool {
        self.0 == device && self.1.is_none_or(|wanted| wanted == depth)
    }
}

fn main() -> ExitCode {
    let mut out = std::io::stdout();
    let mut kept = true;
    for path in Line::parse().files {
        match Results::read(&path) {
            Ok(results) => {
                let (text, met) = report(&results);
                kept &= met;
                let _ = writeln!(out, "{}\n{text}", path.display());
            }
            Err(e) => {
                let _ = writeln!(std::io::stderr(), "bench-ratios: {e}");
                return ExitCode::from(2);
            }
        }
    }
    if kept { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// The report, and whether all of it is met.
fn report(results: &Results) -> (String, bool) {
    let mut text = String::new();
    if let Some(run) = &results.run {
        let _ = writeln!(
            text,
            "{}\n{} · {} · source {}\n{} B on the wire, {} flows, times at {:.1} Mpps offered",
            run.machine,
            run.date,
            run.command,
            run.source,
            run.frame,
            run.flows,
            mega(run.offered)
        );
    }
    let discarded = results.blocks.iter().filter(|b| b.discarded).count();
    let busiest = results.blocks.iter().map(|b| b.background).fold(0.0, f64::max);
    let _ = writeln!(
        text,
        "{} blocks, {discarded} discarded for steal above 1 %; before a block others used at most {:.0} % of the processors{}",
        results.blocks.len() - discarded,
        busiest * 100.0,
        if busiest > 0.1 { " (NOT QUIET: the spread tells what the figures are worth)" } else { "" }
    );
    for (core, whose) in ["the generator's core", "the device's core"].into_iter().enumerate() {
        let widths: Vec<f64> = results.blocks.iter().filter_map(|b| b.width.get(core).copied()).collect();
        if let Some((median, least, most)) = spread(&widths).filter(|(median, ..)| *median > 0.0) {
            let _ = writeln!(
                text,
                "{whose} between blocks: {median:.0} ({least:.0}–{most:.0}) steps a µs; a wide spread is a stranger on its other hyperthread"
            );
        }
    }
    text += &table(results);
    let (judged, met) = match results.run.as_ref().map_or(Purpose::Veth, |run| run.purpose) {
        Purpose::Veth => judge(results),
        Purpose::Rings => (String::new(), true),
        Purpose::Overload => judge_overload(results),
    };
    (text + &judged, met)
}

#[expect(clippy::cast_precision_loss, reason = "rates are below 2^40")]
fn mega(rate: u64) -> f64 {
    rate as f64 / 1e6
}

fn table(results: &Results) -> String {
    let mut groups: BTreeMap<(Kind, u32), Vec<&Turn>> = BTreeMap::new();
    for (_, device, depth, turn) in &results.turns {
        groups.entry((*device, *depth)).or_default().push(turn);
    }
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header([
        "device",
        "frames",
        "turns",
        "most, Mpps",
        "≤ 0.1 % loss, Mpps",
        "forwarded of taken by the wire of offered, Mpps",
        "p50, µs",
        "p99, µs",
        "reordered",
        "TCP, Gbit/s",
    ]);
    for ((device, depth), turns) in &groups {
        let cell = |measure: &dyn Fn(&Turn) -> Option<f64>, unit: f64, digits: usize| {
            let values: Vec<f64> = turns.iter().filter_map(|t| measure(t)).map(|v| v / unit).collect();
            spread(&values).map_or_else(
                || "–".to_owned(),
                |(m, low, high)| format!("{m:.digits$} ({low:.digits$}–{high:.digits$})"),
            )
        };
        let median = |measure: fn(&Turn) -> f64| {
            spread(&turns.iter().map(|t| measure(t) / 1e6).collect::<Vec<_>>()).map_or(0.0, |s| s.0)
        };
        let (taken, made) = (median(|t| t.overload_offered), median(|t| t.overload_made));
        table.add_row([
            format!("{device:?}").to_lowercase(),
            if *depth == 0 { "–".to_owned() } else { depth.to_string() },
            turns.len().to_string(),
            cell(&|t| Some(t.most), 1e6, 3),
            cell(&|t| t.lossless, 1e6, 3),
            format!("{} of {taken:.2} of {made:.2}", cell(&|t| Some(t.overload), 1e6, 3)),
            cell(&|t| Some(t.p50), 1e3, 0),
            cell(&|t| Some(t.p99), 1e3, 0),
            turns.iter().map(|t| t.reordered).sum::<u64>().to_string(),
            spread(&results.bulk(*device, *depth)).map_or_else(
                || "–".to_owned(),
                |(m, low, high)| format!("{:.2} ({:.2}–{:.2})", m / 1e9, low / 1e9, high / 1e9),
            ),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("medians (smallest–largest)\n{table}\n")
}

/// A measure of a turn.
type Measure = fn(&Turn) -> f64;

/// A ratio and what is promised of it.
type Row = (&'static str, Which, Which, Measure, Promise);

fn judge(results: &Results) -> (String, bool) {
    let (gate, forwarder) = (Which::GATE, Which::FORWARDER);
    let lossless: Measure = |t| t.lossless.unwrap_or(0.0);
    let (mut text, mut met) = judge_rows(
        results,
        &[
            ("gate / forwarder, most", gate, forwarder, |t| t.most, Promise::AtLeast(0.90)),
            ("gate / forwarder, ≤ 0.1 % loss", gate, forwarder, lossless, Promise::AtLeast(0.90)),
            (
                "gate / forwarder, forwarded of offered",
                gate,
                forwarder,
                |t| t.overload,
                Promise::AtLeast(0.90),
            ),
            ("gate / forwarder, p99 one way", gate, forwarder, |t| t.p99, Promise::AtMost(1.1)),
        ],
    );
    if let Some(r) = ratio(&results.pairs(forwarder, Which::BRIDGE, |t| t.most)) {
        let verdict = Promise::AtLeast(YARDSTICK).judge(&r);
        let words = match verdict {
            Verdict::Met => {
                "the yardstick reaches its bar (the bridge shares the generator's core, see docs)"
            }
            Verdict::Missed => {
                "THIS RUN DOES NOT COUNT, the forwarder is below its bar of 1.5 × the bridge"
            }
            Verdict::NotResolved => {
                "THIS RUN DOES NOT COUNT YET, whether the forwarder reaches 1.5 × the bridge is not resolved"
            }
        };
        let _ = writeln!(
            text,
            "{:40} {:.3} [{:.3}, {:.3}]: {words}",
            "forwarder / bridge, most", r.estimate, r.lower, r.upper
        );
        met &= verdict == Verdict::Met;
    } else {
        met = false;
        let _ = writeln!(text, "THIS RUN DOES NOT COUNT: forwarder and bridge were not both measured");
    }
    (text, met)
}

/// All devices were offered the same, more than the gate forwards without loss.
fn judge_overload(results: &Results) -> (String, bool) {
    let Some((depth, deep)) = results.depths() else {
        return ("THIS RUN DOES NOT COUNT: the gate was not measured\n".to_owned(), false);
    };
    let (gate, deep) = (Which(Kind::Gate, Some(depth)), Which(Kind::Gate, Some(deep)));
    let (mut text, mut met) = judge_rows(
        results,
        &[
            ("gate / forwarder, p99 one way", gate, Which::FORWARDER, |t| t.p99, Promise::AtMost(1.3)),
            ("gate / bridge, p99 one way", gate, Which::BRIDGE, |t| t.p99, Promise::AtMost(0.6)),
            ("gate / with deep rings, forwarded", gate, deep, |t| t.overload, Promise::AtLeast(0.97)),
        ],
    );
    let made: Vec<f64> = results.turns.iter().map(|(.., turn)| turn.overload_made).collect();
    let asked = results.run.as_ref().map_or(0.0, |run| mega(run.offered) * 1e6);
    let (made, ..) = spread(&made).unwrap_or_default();
    if made < MADE * asked {
        let (made, asked) = (made / 1e6, asked / 1e6);
        let _ = writeln!(
            text,
            "THIS RUN DOES NOT COUNT: the generator made {made:.3} Mpps of {asked:.3}, which overloads nobody"
        );
        met = false;
    }
    (text, met)
}

fn judge_rows(results: &Results, rows: &[Row]) -> (String, bool) {
    let mut text = String::new();
    let mut met = true;
    for (name, a, b, measure, promise) in rows {
        let verdict = if let Some(r) = ratio(&results.pairs(*a, *b, measure)) {
            let verdict = promise.judge(&r);
            let _ = writeln!(text, "{}", sentence(name, &r, *promise, verdict));
            verdict
        } else {
            let _ = writeln!(text, "{name:40} not measured");
            Verdict::NotResolved
        };
        met &= verdict == Verdict::Met;
    }
    (text, met)
}

fn sentence(name: &str, r: &Ratio, promise: Promise, verdict: Verdict) -> String {
    let wants = match promise {
        Promise::AtLeast(t) => format!("≥ {t:.2}"),
        Promise::AtMost(t) => format!("≤ {t:.2}"),
    };
    let hint = match verdict {
        Verdict::NotResolved if r.blocks < 60 => " (more blocks, at most 60: --blocks N)",
        Verdict::NotResolved => " (after 60 blocks: that is the answer)",
        Verdict::Met | Verdict::Missed if r.blocks < 15 => " (fewer than 15 blocks: not a result)",
        Verdict::Met | Verdict::Missed => "",
    };
    format!(
        "{name:40} {:.3} [{:.3}, {:.3}] of {} blocks, {wants}: {}{hint}",
        r.estimate,
        r.lower,
        r.upper,
        r.blocks,
        verdict.word()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(block: u32, device: Kind, most: f64, p99: f64) -> String {
        let turn = Turn { most, overload: most, lossless: Some(most), p99, ..Turn::default() };
        serde_json::to_string(&Record::Turn { block, device, depth: 256, turn }).expect("serializes")
    }

    fn file(gate: f64, forwarder: f64, bridge: f64) -> String {
        let mut lines = Vec::new();
        for block in 0..16 {
            for (kind, most) in [
                (Kind::Bridge, bridge),
                (Kind::Gate, gate),
                (Kind::Forwarder, forwarder),
                (Kind::Forwarder, forwarder),
                (Kind::Gate, gate),
            ] {
                lines.push(line(block, kind, most, 100.0));
            }
            // Block 3 was stolen from: its turns say nonsense and must not be used.
            let stolen = block == 3;
            if stolen {
                lines.push(line(block, Kind::Gate, 1.0, 1e9));
            }
            let end =
                Block { number: block, stolen: 0.0, background: 0.0, width: [0.0; 2], discarded: stolen };
            lines.push(serde_json::to_string(&Record::Block(end)).expect("serializes"));
        }
        // Block 16 was cut short.
        lines.push(line(16, Kind::Gate, 1.0, 1e9));
        lines.join("\n")
    }

    #[test]
    fn a_good_run_is_met() {
        let results = Results::parse(&file(1.14e6, 1.2e6, 0.7e6)).expect("parses");
        let (text, met) = report(&results);
        assert!(met, "{text}");
        assert!(text.contains("15 blocks, 1 discarded"), "{text}");
        assert!(text.contains("0.950 [0.950, 0.950] of 15 blocks, ≥ 0.90: met"), "{text}");
        assert!(text.contains("1.000 [1.000, 1.000] of 15 blocks, ≤ 1.10: met"), "{text}");
    }

    #[test]
    fn a_slow_gate_is_missed() {
        let (text, met) = report(&Results::parse(&file(1.0e6, 1.2e6, 0.7e6)).expect("parses"));
        assert!(!met && text.contains("≥ 0.90: missed"), "{text}");
    }

    #[test]
    fn a_bad_yardstick_makes_a_run_worthless() {
        let (text, met) = report(&Results::parse(&file(0.98e6, 1.0e6, 0.7e6)).expect("parses"));
        assert!(!met && text.contains("THIS RUN DOES NOT COUNT, "), "{text}");
    }

    fn overloaded(deep: f64, bridge: f64, made: f64) -> String {
        let run = Run {
            purpose: Purpose::Overload,
            command: String::new(),
            machine: String::new(),
            date: String::new(),
            source: String::new(),
            frame: 64,
            flows: 1,
            offered: 1_500_000,
        };
        let mut lines = vec![serde_json::to_string(&Record::Run(run)).expect("serializes")];
        for block in 0..15 {
            for (device, depth, overload, p99) in [
                (Kind::Gate, 256, 1e6, 100.0),
                (Kind::Forwarder, 256, 1e6, 90.0),
                (Kind::Gate, 4096, deep, 4_000.0),
                (Kind::Bridge, 0, 1e6, bridge),
            ] {
                let turn = Turn { overload, overload_made: made, p99, ..Turn::default() };
                let record = Record::Turn { block, device, depth, turn };
                lines.push(serde_json::to_string(&record).expect("serializes"));
            }
            let end =
                Block { number: block, stolen: 0.0, background: 0.0, width: [0.0; 2], discarded: false };
            lines.push(serde_json::to_string(&Record::Block(end)).expect("serializes"));
        }
        lines.join("\n")
    }

    #[test]
    fn an_overloaded_gate_is_held_against_each_device_at_its_own_depth() {
        let by =
            |made, deep, bridge| report(&Results::parse(&overloaded(deep, bridge, made)).expect("parses"));
        let judged = |deep, bridge| by(1.5e6, deep, bridge);
        let (text, met) = judged(1e6, 200.0);
        assert!(met, "{text}");
        assert!(text.contains("1.111 [1.111, 1.111] of 15 blocks, ≤ 1.30: met"), "{text}");
        assert!(text.contains("0.500 [0.500, 0.500] of 15 blocks, ≤ 0.60: met"), "{text}");
        let (text, met) = judged(1e6, 150.0);
        assert!(!met && text.contains("≤ 0.60: missed"), "{text}");
        let (text, met) = judged(1.1e6, 200.0);
        assert!(!met && text.contains("≥ 0.97: missed"), "{text}");
        let (text, met) = by(1.4e6, 1e6, 200.0);
        assert!(!met && text.contains("made 1.400 Mpps of 1.500"), "{text}");
    }

    #[test]
    fn a_stream_of_tcp_stands_in_the_row_of_its_device() {
        let bulk = Record::Bulk { block: 0, device: Kind::Gate, depth: 256, bits: 2.5e9 };
        let bulk = serde_json::to_string(&bulk).expect("serializes");
        let (text, _) =
            report(&Results::parse(&format!("{}\n{bulk}", file(1.1e6, 1.2e6, 0.7e6))).expect("parses"));
        assert!(text.contains("2.50 (2.50–2.50)"), "{text}");
    }

    #[test]
    fn a_broken_line_is_named() {
        assert_eq!(Results::parse("{\"line\":\"turn\"}").unwrap_err().0, 1);
    }
}

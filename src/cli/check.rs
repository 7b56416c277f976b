//! `portcullis check`: everything that is wrong with a policy, at once, tests of its own that fail included.

use std::fmt::Write;
use std::io::{self, IsTerminal};

use clap::Args;
use serde::Serialize;

use super::fault::{Fault, PolicyArg};
use super::page::{count, nanos, number};
use super::screen::Screen;
use super::{Done, Format, FormatArg};
use crate::io::clock::{boot_nanos, wall_nanos};
use crate::policy::code::Code;
use crate::policy::diagnostic::{self, Row, Severity};
use crate::policy::lint::{self, Level};
use crate::policy::model::{Model, Tier};
use crate::policy::{self, Moment, Size, Table};

/// Read a policy and report everything that is wrong with it; nothing is started.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    policy: PolicyArg,
    /// End with 1 where there are warnings.
    #[arg(long)]
    strict: bool,
    /// Take the warnings of a code for something else: P0607=off, P0610=error. May be repeated.
    #[arg(long, value_name = "CODE=LEVEL", value_parser = levelled)]
    level: Vec<(Code, Level)>,
    #[command(flatten)]
    format: FormatArg,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    /// The policy would be loaded.
    ok: bool,
    errors: usize,
    warnings: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
    findings: Vec<Row<'a>>,
}

/// What a sound policy holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Summary {
    wire: String,
    digest: String,
    guardrails: usize,
    denies: usize,
    allows: usize,
    workloads: usize,
    networks: usize,
    zones: usize,
    services: usize,
    tests: usize,
    compile_nanos: u64,
    /// What the compiled table comes to.
    table: Size,
}

/// Runs the verb.
///
/// # Errors
/// The output is lost.
pub(crate) fn run(args: &CheckArgs, screen: &mut Screen) -> Result<Done, Fault> {
    let loaded = match policy::read(&args.policy.policy) {
        Ok(loaded) => loaded,
        Err(rejected) => {
            let (errors, warnings) = diagnostic::count(&rejected.diagnostics);
            let findings = diagnostic::rows(&rejected.sources, &rejected.diagnostics);
            let page = match args.format.format {
                Format::Json => json(&Report { ok: false, errors, warnings, summary: None, findings })?,
                Format::Table => {
                    diagnostic::render(&rejected.sources, &rejected.diagnostics, io::stdout().is_terminal())
                }
            };
            screen.show(&page)?;
            return Ok(Done::Invalid);
        }
    };
    let before = boot_nanos();
    let table = policy::compile(&loaded.model, &policy::Exceptions::NONE);
    let compiled = boot_nanos().saturating_sub(before);
    let mut findings = lint::check(&loaded, &table, Moment(wall_nanos()));
    let summary = Summary::new(&loaded.model, &table, compiled);
    findings.extend(summary.table.warning());
    lint::level(&mut findings, &args.level);
    // Tests that fail: the text holds together, and nothing would put it in force.
    let (errors, warnings) = diagnostic::count(&findings);
    let page = match args.format.format {
        Format::Json => json(&Report {
            ok: errors == 0,
            errors,
            warnings,
            summary: Some(summary),
            findings: diagnostic::rows(&loaded.sources, &findings),
        })?,
        Format::Table if findings.is_empty() => summary.page(),
        Format::Table => {
            diagnostic::render(&loaded.sources, &findings, io::stdout().is_terminal()) + &summary.page()
        }
    };
    screen.show(&page)?;
    Ok(if errors > 0 || (args.strict && warnings > 0) { Done::Findings } else { Done::Well })
}

/// `P0607=off`.
fn levelled(text: &str) -> Result<(Code, Level), String> {
    let (code, level) = text.split_once('=').ok_or("write a code and a level: P0607=off")?;
    let code =
        Code::of(code).ok_or_else(|| format!("{code} is no code: docs/DIAGNOSTICS.md lists them"))?;
    if code.severity() == Severity::Error {
        return Err(format!("{code} is an error, and stays one"));
    }
    let level = match level {
        "off" => Level::Off,
        "warning" => Level::Warning,
        "error" => Level::Error,
        _ => return Err(format!("{level} is no level: write off, warning or error")),
    };
    Ok((code, level))
}

fn json(report: &Report<'_>) -> Result<String, Fault> {
    Ok(serde_json::to_string(report)? + "\n")
}

impl Summary {
    fn new(model: &Model, table: &Table, compile_nanos: u64) -> Self {
        let tier = |tier| model.rules.iter().filter(|rule| rule.tier == tier).count();
        Self {
            wire: model.wire.name.clone(),
            digest: table.digest_short(),
            guardrails: tier(Tier::Guardrail),
            denies: tier(Tier::Deny),
            allows: tier(Tier::Allow),
            workloads: model.workloads.len(),
            networks: model.networks.len(),
            zones: model.zones.len(),
            services: model.services.len(),
            tests: model.tests.len(),
            compile_nanos,
            table: table.size(),
        }
    }

    fn page(&self) -> String {
        let mut page = String::new();
        let _ = writeln!(
            page,
            "wire {}: {}, {}, {}, {}",
            self.wire,
            count(self.workloads, "workload"),
            count(self.networks, "network"),
            count(self.zones, "zone"),
            count(self.services, "service")
        );
        let _ = writeln!(
            page,
            "{}: {}, {} denies, {} allows",
            count(self.guardrails + self.denies + self.allows, "rule"),
            count(self.guardrails, "guardrail"),
            self.denies,
            self.allows
        );
        if self.tests > 0 {
            let _ = writeln!(page, "{}", count(self.tests, "test"));
        }
        let _ = writeln!(page, "policy table {}, compiled in {}", self.digest, nanos(self.compile_nanos));
        let classes = |n: usize, end: &str| {
            format!(
                "{} {end} class{}",
                number(u64::try_from(n).unwrap_or(u64::MAX)),
                if n == 1 { "" } else { "es" }
            )
        };
        let Size { senders, destinations, cells, programs, answers: _, bytes } = self.table;
        let _ = writeln!(
            page,
            "{} × {}, {}, {}, {} KiB: {}",
            classes(senders, "sender"),
            classes(destinations, "destination"),
            count(cells, "cell"),
            count(programs, "program"),
            bytes.div_ceil(1024),
            self.table.fits()
        );
        page
    }
}

//! `portcullis doctor`: whether this machine can run a gate, and what to do where it can't.
//!
//! What it is: a list of checks, each with what was found and a remedy. What it is not: it changes
//! nothing and needs no running gate; what can't be seen from here is said to be unknown, not guessed.

mod host;
mod port;

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::fault::{Fault, read_policy};
use super::page::columns;
use super::screen::Screen;
use super::{Done, Format, FormatArg};

/// Whether this machine can run a gate: kernel, capabilities, bpffs, clock, and the ports of a policy.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// First file of a policy whose ports are to be looked at, in this network namespace.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArg,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Finding {
    /// As it must be.
    Pass,
    /// A gate would not start, or would not work.
    Fail,
    /// It can't be seen from here, or is known to cause trouble sometimes.
    Unknown,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    /// What was looked at.
    name: String,
    /// How it ended.
    finding: Finding,
    /// What was found.
    found: String,
    /// What to do; none where nothing need be done.
    remedy: Option<String>,
}

impl Check {
    fn pass(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), finding: Finding::Pass, found: found.into(), remedy: None }
    }

    fn fail(name: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { name: name.into(), finding: Finding::Fail, found: found.into(), remedy }
    }

    fn unknown(name: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { name: name.into(), finding: Finding::Unknown, found: found.into(), remedy }
    }
}

/// Runs the verb.
///
/// # Errors
/// The policy does not hold together.
pub(crate) fn run(args: &DoctorArgs, screen: &mut Screen) -> Result<Done, Fault> {
    let model = match &args.policy {
        Some(policy) => Some(read_policy(policy)?.model),
        None => None,
    };
    let mut checks = host::checks();
    match &model {
        Some(model) => checks.extend(port::checks(&model.wire, &model.gate)),
        None => checks.push(Check::unknown(
            "ports",
            "no policy was given",
            "portcullis doctor --policy FILE looks at the ports of its wire",
        )),
    }
    match args.format.format {
        Format::Json => screen.show(&format!("{}\n", serde_json::to_string(&checks)?))?,
        Format::Table => screen.show(&page(&checks))?,
    }
    let failed = checks.iter().any(|check| check.finding == Finding::Fail);
    Ok(if failed { Done::Findings } else { Done::Well })
}

fn page(checks: &[Check]) -> String {
    let word = |finding| match finding {
        Finding::Pass => "pass",
        Finding::Fail => "FAIL",
        Finding::Unknown => "?",
    };
    let rows = checks
        .iter()
        .map(|check| vec![word(check.finding).into(), check.name.clone(), check.found.clone()]);
    let mut page = columns(&["", "check", "found"], &[], rows.collect());
    let remedies: Vec<&Check> = checks.iter().filter(|check| check.remedy.is_some()).collect();
    if !remedies.is_empty() {
        page.push('\n');
    }
    for check in remedies {
        let _ = writeln!(page, "{}: {}", check.name, check.remedy.as_deref().unwrap_or_default());
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_lists_every_check_and_then_what_to_do() {
        let checks = [
            Check::pass("kernel", "6.18.0"),
            Check::fail("bpffs", "not mounted", "mount it"),
            Check::unknown("port outside", "cannot be seen", "look there"),
        ];
        assert_eq!(
            page(&checks),
            "      check         found\npass  kernel        6.18.0\nFAIL  bpffs         not mounted\n\
             ?     port outside  cannot be seen\n\nbpffs: mount it\nport outside: look there\n"
        );
    }

    #[test]
    fn a_check_is_an_object_with_its_finding_in_a_word() {
        let text = serde_json::to_string(&Check::fail("bpffs", "not mounted", "mount it")).unwrap();
        assert_eq!(text, r#"{"name":"bpffs","finding":"fail","found":"not mounted","remedy":"mount it"}"#);
    }
}

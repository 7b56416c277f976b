//! `portcullis reload`: another policy into the running gate.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::fault::{Fault, tell};
use super::page::{count, nanos};
use super::screen::Screen;
use super::status::in_force;
use super::{Done, Format, FormatArg, SocketArg};
use crate::control::answers::Reloaded;
use crate::control::client::{self, ClientError};
use crate::control::reload::Request;

/// Put another policy in force in the running gate, or the same one as it is written now; no packet is lost.
#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {
    /// First file of the policy; left out, the one that the gate runs.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Do all but put it in force.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    socket: SocketArg,
    #[command(flatten)]
    format: FormatArg,
}

/// Runs the verb.
///
/// # Errors
/// No gate answers, or it refuses; the policy in force stays.
pub(crate) fn run(args: &ReloadArgs, screen: &mut Screen) -> Result<Done, Fault> {
    // The gate reads the file, from another folder perhaps.
    let policy = args.policy.as_deref().map(std::path::absolute).transpose();
    let policy = policy.map_err(|error| Fault::System("this folder has no name", error))?;
    let request = Request { policy, check: args.check };
    let reloaded = match client::reload(&args.socket.socket, &request) {
        Err(ClientError::Refused(problem)) if problem.findings.is_some() => {
            let findings = problem.findings.clone().unwrap_or_default();
            match args.format.format {
                Format::Json => screen.show(&format!("{}\n", serde_json::to_string(&problem)?))?,
                Format::Table => screen.show(&findings.text)?,
            }
            return Ok(if problem.failed_tests { Done::Findings } else { Done::Invalid });
        }
        answer => answer?,
    };
    match args.format.format {
        Format::Json => screen.show(&format!("{}\n", serde_json::to_string(&reloaded)?))?,
        Format::Table => {
            if let Some(findings) = &reloaded.findings {
                tell(&findings.text);
            }
            screen.show(&page(&reloaded))?;
        }
    }
    let stuck = reloaded.workers.iter().flatten().any(|worker| worker.nanos.is_none());
    Ok(if stuck { Done::Findings } else { Done::Well })
}

/// What was put in force, and who took it.
pub(crate) fn page(reloaded: &Reloaded) -> String {
    let mut page = String::new();
    let told = in_force(&reloaded.policy);
    let sampled = count(reloaded.sampled, "sampled connection");
    let Some(workers) = &reloaded.workers else {
        let _ = writeln!(page, "would be in force: {told}");
        let _ = writeln!(page, "  from {}; its self-check agrees on {sampled}", reloaded.file);
        page.push_str("  nothing was changed\n");
        return page;
    };
    let _ = writeln!(page, "in force: {told}");
    let _ = writeln!(page, "  from {}; its self-check agrees on {sampled}", reloaded.file);
    let took: Vec<u64> = workers.iter().filter_map(|worker| worker.nanos).collect();
    let slowest = took.iter().max().map_or_else(String::new, |slowest| {
        format!(", {} {}", if took.len() == 1 { "after" } else { "the last after" }, nanos(*slowest))
    });
    let all = count(workers.len(), "worker");
    let judge = if workers.len() == 1 { "judges" } else { "judge" };
    let _ = writeln!(page, "  {} of {all} {judge} by it{slowest}", took.len());
    for worker in workers.iter().filter(|worker| worker.nanos.is_none()) {
        let _ = writeln!(
            page,
            "  the worker of queue {} is stuck: what comes to it is dropped while its heartbeat is stale",
            worker.queue
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::answers::{PolicyStatus, WorkerTook};
    use crate::control::fixture;

    fn reloaded(workers: Option<Vec<WorkerTook>>) -> Reloaded {
        Reloaded {
            file: "/etc/portcullis/gate.toml".into(),
            sampled: 2_034,
            workers,
            findings: None,
            policy: PolicyStatus { digest: "9f2c41d0".into(), ..fixture::status(1).policy },
        }
    }

    #[test]
    fn a_reload_says_what_is_in_force_and_who_took_it() {
        let took = |queue, nanos| WorkerTook { queue, nanos };
        let one = page(&reloaded(Some(vec![took(0, Some(812_000))])));
        let some =
            page(&reloaded(Some(vec![took(0, Some(812_000)), took(1, None), took(2, Some(2_900_000))])));
        let none = page(&reloaded(None));
        insta::assert_snapshot!([one, some, none].join("\n"));
    }
}

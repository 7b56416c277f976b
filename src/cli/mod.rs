//! Verbs, one file each.
//!
//! What it is: arguments in, a page out. What it is not: no verb decides anything that a room below does
//! not decide; pages are pure functions of answers, so golden files hold them. Exit codes: 0 done;
//! 1 findings; 2 invalid input or environment.

mod batch;
mod check;
mod completions;
mod diff;
mod doctor;
mod events;
mod explain;
mod fault;
mod flows;
mod inventory;
mod lab;
mod page;
mod reach;
mod release;
mod reload;
mod replay;
mod rules;
mod run;
mod schema;
mod screen;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::control::answers::Told;
use fault::Fault;
use screen::Screen;

/// A segmentation gateway: two ports in front of a protected zone, every packet judged by a policy
/// written in labels and services.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Open the wire of a policy and judge what crosses, until told to stop.
    Run(run::RunArgs),
    /// Detach the kernel program that a stopped gate left on its wire, and give the ports back.
    Release(release::ReleaseArgs),
    /// Put another policy in force in the running gate.
    Reload(reload::ReloadArgs),
    /// What a running gate counts.
    Status(status::StatusArgs),
    /// The latest packets that did not cross, or would not have.
    Events(events::EventsArgs),
    /// The connections that a running gate remembers, and those that a new policy ended.
    Flows(flows::FlowsArgs),
    /// Read a policy and report everything that is wrong with it.
    Check(check::CheckArgs),
    /// What the policy says of one new connection, and why.
    Explain(explain::ExplainArgs),
    /// The policy as sentences, nothing left out.
    Rules(rules::RulesArgs),
    /// What another policy opens, closes and changes.
    Diff(diff::DiffArgs),
    /// Everything that can reach a zone or a workload, or a proof that something can't.
    Reach(reach::ReachArgs),
    /// Who is in a policy's inventory, and lists of hosts from elsewhere into it.
    Inventory(inventory::InventoryArgs),
    /// Print the JSON schema of policy files, for editors.
    Schema(schema::SchemaArgs),
    /// What a policy does to captured packets, one after another, with the time they were captured at.
    Replay(replay::ReplayArgs),
    /// Whether this machine can run a gate, and what to do where it can't.
    Doctor(doctor::DoctorArgs),
    /// A rig of namespaces to try the gate in.
    Lab(lab::LabArgs),
    /// Print the completions of a shell.
    Completions(completions::CompletionsArgs),
    /// Print a manual page.
    Man(completions::ManArgs),
}

/// How a verb that reads prints what it read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

#[derive(Debug, Args)]
struct FormatArg {
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The socket of a running gate.
#[derive(Debug, Args)]
struct SocketArg {
    /// Socket of the running gate.
    #[arg(
        long,
        env = "PORTCULLIS_SOCKET",
        hide_env_values = true,
        value_name = "PATH",
        default_value = "/run/portcullis/gate.sock"
    )]
    socket: PathBuf,
}

/// What a verb ended with, if not with a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// As asked: 0.
    Well,
    /// Something was found that the caller asked to fail on: 1.
    Findings,
    /// The input does not hold together, as the page says: 2.
    Invalid,
}

/// Shows what a policy says, for people or for programs.
fn told(answer: &Told, format: Format, screen: &mut Screen) -> Result<Done, Fault> {
    match format {
        Format::Table => screen.show(&answer.text)?,
        Format::Json => screen.show(&format!("{}\n", serde_json::to_string(&answer.answer)?))?,
    }
    Ok(Done::Well)
}

/// Runs the verb that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    // clap prints usage errors itself and ends with 2, help and version with 0.
    let cli = Cli::parse();
    let mut screen = Screen::stdout();
    let done = match &cli.verb {
        Verb::Run(args) => run::run(args, &mut screen),
        Verb::Release(args) => release::run(args, &mut screen),
        Verb::Reload(args) => reload::run(args, &mut screen),
        Verb::Status(args) => status::run(args, &mut screen),
        Verb::Events(args) => events::run(args, &mut screen),
        Verb::Flows(args) => flows::run(args, &mut screen),
        Verb::Check(args) => check::run(args, &mut screen),
        Verb::Explain(args) => explain::run(args, &mut screen),
        Verb::Rules(args) => rules::run(args, &mut screen),
        Verb::Diff(args) => diff::run(args, &mut screen),
        Verb::Reach(args) => reach::run(args, &mut screen),
        Verb::Inventory(args) => inventory::run(args, &mut screen),
        Verb::Schema(_) => schema::run(&mut screen),
        Verb::Replay(args) => replay::run(args, &mut screen),
        Verb::Doctor(args) => doctor::run(args, &mut screen),
        Verb::Completions(args) => completions::run(args, &mut screen),
        Verb::Man(args) => completions::man(args, &mut screen),
        Verb::Lab(args) => match lab::run(args) {
            Ok(code) => return code,
            Err(error) => Err(Fault::Lab(error)),
        },
    };
    match done {
        Ok(Done::Well) => ExitCode::SUCCESS,
        Ok(Done::Findings) => ExitCode::from(1),
        Ok(Done::Invalid) => ExitCode::from(2),
        Err(fault) => {
            fault.tell();
            ExitCode::from(2)
        }
    }
}

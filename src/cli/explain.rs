//! `portcullis explain`: what the policy says of one new connection, and why.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::fault::{Fault, read_policy};
use super::screen::Screen;
use super::{Done, Format, SocketArg, batch, told};
use crate::control::client;
use crate::control::question::{Form, Question};
use crate::io::clock::wall_nanos;
use crate::policy::{self, Moment};

/// What the policy says of one new connection, and why.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Who opens it: a workload's name, or an address.
    #[arg(long, required_unless_present = "batch")]
    from: Option<String>,
    /// To whom: a workload's name, or an address.
    #[arg(long, required_unless_present = "batch")]
    to: Option<String>,
    /// On what: a service's name, tcp/443, icmp/8, ip/50.
    #[arg(long, required_unless_present = "batch")]
    service: Option<String>,
    /// Source MAC of the opening frame; left out, taken as true.
    #[arg(long)]
    mac: Option<String>,
    /// Tags of the opening frame: untagged, 100, 100.20; left out, as the networks list.
    #[arg(long)]
    vlan: Option<String>,
    /// Where it arrives, outside or inside; left out, where the source belongs.
    #[arg(long)]
    side: Option<String>,
    /// First file of a policy; left out, the running gate is asked.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    socket: SocketArg,
    /// Answer a file of JSON queries, one a line, with one line of JSON each; - reads standard input.
    #[arg(
        long,
        value_name = "FILE",
        requires = "policy",
        conflicts_with_all = ["from", "to", "service", "mac", "vlan", "side", "format"]
    )]
    batch: Option<PathBuf>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Drawn,
}

/// How an explanation is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Drawn {
    /// For people.
    #[default]
    Table,
    /// For people, as a tree.
    Tree,
    /// For programs.
    Json,
}

/// Runs the verb.
///
/// # Errors
/// The policy does not hold together, or knows nothing of what is asked.
pub(crate) fn run(args: &ExplainArgs, screen: &mut Screen) -> Result<Done, Fault> {
    // Without a batch all three are there: clap sees to it.
    let question = Question {
        from: args.from.clone().unwrap_or_default(),
        to: args.to.clone().unwrap_or_default(),
        service: args.service.clone().unwrap_or_default(),
        mac: args.mac.clone(),
        vlan: args.vlan.clone(),
        side: args.side.clone(),
        width: Some(screen.width()),
        form: (args.format == Drawn::Tree).then_some(Form::Tree),
    };
    let answer = match &args.policy {
        None => client::explain(&args.socket.socket, &question)?,
        Some(file) => {
            let loaded = read_policy(file)?;
            let table = policy::compile(&loaded.model, &policy::Exceptions::NONE);
            if let Some(queries) = &args.batch {
                return batch::run(queries, (&loaded, &table), Moment(wall_nanos()), screen);
            }
            question.answer(&loaded, &table, None, Moment(wall_nanos()))?
        }
    };
    let format = match args.format {
        Drawn::Table | Drawn::Tree => Format::Table,
        Drawn::Json => Format::Json,
    };
    told(&answer, format, screen)
}

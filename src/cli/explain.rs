//! `portcullis explain`: what the policy says of one new connection, and why.

use std::path::PathBuf;

use clap::Args;

use super::fault::{Fault, read_policy};
use super::screen::Screen;
use super::{Done, FormatArg, SocketArg, told};
use crate::control::client;
use crate::control::question::Question;
use crate::io::clock::wall_nanos;
use crate::policy::{self, Moment};

/// What the policy says of one new connection, and why.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Who opens it: a workload's name, or an address.
    #[arg(long)]
    from: String,
    /// To whom: a workload's name, or an address.
    #[arg(long)]
    to: String,
    /// On what: a service's name, tcp/443, icmp/8, ip/50.
    #[arg(long)]
    service: String,
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
    #[command(flatten)]
    format: FormatArg,
}

/// Runs the verb.
///
/// # Errors
/// The policy does not hold together, or knows nothing of what is asked.
pub(crate) fn run(args: &ExplainArgs, screen: &mut Screen) -> Result<Done, Fault> {
    let question = Question {
        from: args.from.clone(),
        to: args.to.clone(),
        service: args.service.clone(),
        mac: args.mac.clone(),
        vlan: args.vlan.clone(),
        side: args.side.clone(),
        width: Some(screen.width()),
    };
    let answer = match &args.policy {
        None => client::explain(&args.socket.socket, &question)?,
        Some(file) => {
            let loaded = read_policy(file)?;
            let table = policy::compile(&loaded.model, &policy::Exceptions::NONE);
            question.answer(&loaded, &table, None, Moment(wall_nanos()))?
        }
    };
    told(&answer, args.format.format, screen)
}

//! `portcullis rules`: the policy as sentences, nothing left out.

use std::path::PathBuf;

use clap::Args;

use super::fault::{Fault, read_policy};
use super::screen::Screen;
use super::{Done, FormatArg, SocketArg, told};
use crate::control::{client, question};
use crate::io::clock::wall_nanos;
use crate::policy::{self, Moment};

/// The policy as sentences, nothing left out.
#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
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
/// The policy does not hold together, or no gate answers.
pub(crate) fn run(args: &RulesArgs, screen: &mut Screen) -> Result<Done, Fault> {
    let answer = match &args.policy {
        None => client::rules(&args.socket.socket, screen.width())?,
        Some(file) => {
            let loaded = read_policy(file)?;
            question::rules(
                &loaded,
                &policy::compile(&loaded.model, &policy::Exceptions::NONE),
                screen.width(),
                Moment(wall_nanos()),
            )?
        }
    };
    told(&answer, args.format.format, screen)
}

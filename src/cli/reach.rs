//! `portcullis reach`: everything that can reach somebody, and proofs that something can't.

use clap::Args;

use super::fault::{Fault, PolicyArg, read_policy};
use super::screen::Screen;
use super::{Done, Format, FormatArg};
use crate::io::clock::wall_nanos;
use crate::policy::prove::prove;
use crate::policy::reach::reach;
use crate::policy::read::{Loaded, NotMeant, receiver, sender};
use crate::policy::{self, Moment, Table};

/// Everything that can reach a zone or a workload and by which rules, or a proof that something can't.
#[derive(Debug, Args)]
pub(crate) struct ReachArgs {
    #[command(flatten)]
    policy: PolicyArg,
    /// To whom: a zone, a workload, a network, a group, or a selector like { app = "vault" }.
    #[arg(long, value_name = "WHOM", required_unless_present_any = ["from", "prove"])]
    to: Option<String>,
    /// Who opens, written likewise; left out, anyone.
    #[arg(long, value_name = "WHO")]
    from: Option<String>,
    /// Prove that nobody of A may open anything to B: "A !-> B", "A !-> B on https". Ends with 1 where a
    /// connection refutes it.
    #[arg(long, value_name = "STATEMENT", conflicts_with_all = ["to", "from"])]
    prove: Option<String>,
    #[command(flatten)]
    format: FormatArg,
}

/// Runs the verb.
///
/// # Errors
/// The policy does not hold together, or knows nothing of what is asked.
pub(crate) fn run(args: &ReachArgs, screen: &mut Screen) -> Result<Done, Fault> {
    let policy = read_policy(&args.policy.policy)?;
    let table = policy::compile(&policy.model, &policy::Exceptions::NONE);
    match &args.prove {
        Some(statement) => proof(args, (&policy, &table), statement, screen),
        None => listing(args, (&policy, &table), screen),
    }
}

fn proof(
    args: &ReachArgs,
    (policy, table): (&Loaded, &Table),
    statement: &str,
    screen: &mut Screen,
) -> Result<Done, Fault> {
    let proved = prove(policy, table, statement)?;
    screen.show(&match args.format.format {
        Format::Json => serde_json::to_string(&proved)? + "\n",
        Format::Table => proved.text(screen.width()),
    })?;
    Ok(if proved.proved { Done::Well } else { Done::Findings })
}

fn listing(
    args: &ReachArgs,
    (policy, table): (&Loaded, &Table),
    screen: &mut Screen,
) -> Result<Done, Fault> {
    type Meaning = fn(&str, &policy::Model) -> Result<policy::model::Selector, NotMeant>;
    let meant = |words: Option<&str>, meaning: Meaning| {
        words.map(|words| meaning(words, &policy.model)).transpose()
    };
    let (from, to) = (meant(args.from.as_deref(), sender)?, meant(args.to.as_deref(), receiver)?);
    let found = reach(policy, table, (from.as_ref(), to.as_ref()), Moment(wall_nanos()))?;
    screen.show(&match args.format.format {
        Format::Json => serde_json::to_string(&found)? + "\n",
        Format::Table => found.text(screen.width()),
    })?;
    Ok(Done::Well)
}

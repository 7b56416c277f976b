//! `portcullis diff`: what another policy opens, closes and changes.

use std::path::{Path, PathBuf};

use clap::Args;

use super::fault::{Fault, draw};
use super::screen::Screen;
use super::{Done, Format, FormatArg};
use crate::io::clock::wall_nanos;
use crate::policy::diff::{Half, compare, moment};
use crate::policy::read::Loaded;
use crate::policy::{self, Moment};

/// What another policy opens, closes and changes.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// First file of the policy as it is.
    old: PathBuf,
    /// First file of the policy as it would be.
    new: PathBuf,
    /// Only what opens; ends with 1 where anything does.
    #[arg(long)]
    opening: bool,
    /// The moment that bindings are looked at: an instant with an offset, or a date for its end; left out, now.
    #[arg(long, value_name = "INSTANT", value_parser = at)]
    at: Option<Moment>,
    #[command(flatten)]
    format: FormatArg,
}

fn at(text: &str) -> Result<Moment, String> {
    moment(text)
        .ok_or_else(|| "write 2027-05-31T18:00:00+02:00, or 2027-05-31 for its end in UTC".to_owned())
}

/// Runs the verb.
///
/// # Errors
/// One of the policies does not hold together, or both: the findings of both.
pub(crate) fn run(args: &DiffArgs, screen: &mut Screen) -> Result<Done, Fault> {
    let (old, new) = match (policy::read(&args.old), policy::read(&args.new)) {
        (Ok(old), Ok(new)) => (old, new),
        (old, new) => return Err(Fault::Policy(refused(&args.old, &old) + &refused(&args.new, &new))),
    };
    let tables = [&old, &new].map(|loaded| policy::compile(&loaded.model, &policy::Exceptions::NONE));
    let [old_table, new_table] = &tables;
    let now = args.at.unwrap_or_else(|| Moment(wall_nanos()));
    let found =
        compare(Half { policy: &old, table: old_table }, Half { policy: &new, table: new_table }, now);
    screen.show(&match args.format.format {
        Format::Json => serde_json::to_string(&found)? + "\n",
        Format::Table if args.opening => found.opening(screen.width()),
        Format::Table => found.text(screen.width()),
    })?;
    Ok(if args.opening && found.opens { Done::Findings } else { Done::Well })
}

/// The findings of one that was refused, under its name: both may have files of the same names.
fn refused(path: &Path, read: &Result<Loaded, policy::read::Rejected>) -> String {
    match read {
        Ok(_) => String::new(),
        Err(rejected) => format!("{}:\n{}", path.display(), draw(rejected)),
    }
}

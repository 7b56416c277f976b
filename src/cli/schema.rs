//! `portcullis schema`: the language for editors.

use super::Done;
use super::fault::Fault;
use super::screen::Screen;

/// Print the JSON schema of policy files, for editors with a TOML language server.
#[derive(Debug, clap::Args)]
pub(crate) struct SchemaArgs {}

/// Runs the verb.
///
/// # Errors
/// The output is lost.
pub(crate) fn run(screen: &mut Screen) -> Result<Done, Fault> {
    screen.show(&(serde_json::to_string_pretty(&crate::policy::read::schema())? + "\n"))?;
    Ok(Done::Well)
}

//! `portcullis completions` and `portcullis man`: what a package installs beside the binary.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::fault::Fault;
use super::screen::Screen;
use super::{Cli, Done};

/// Print the completions of a shell.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Print a manual page.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Of this verb; without it, of the program.
    verb: Option<String>,
}

/// Runs `completions`.
///
/// # Errors
/// The output is lost.
pub(crate) fn run(args: &CompletionsArgs, screen: &mut Screen) -> Result<Done, Fault> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "portcullis", &mut script);
    screen.show(&String::from_utf8_lossy(&script))?;
    Ok(Done::Well)
}

/// Runs `man`.
///
/// # Errors
/// There is no such verb.
pub(crate) fn man(args: &ManArgs, screen: &mut Screen) -> Result<Done, Fault> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let command = match &args.verb {
        None => command,
        Some(verb) => match command.find_subcommand(verb) {
            Some(found) => found.clone(),
            None => return Err(Fault::Usage("there is no such verb", "`portcullis help` lists them")),
        },
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    screen.show(&String::from_utf8_lossy(&page))?;
    Ok(Done::Well)
}

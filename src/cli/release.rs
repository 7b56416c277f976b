//! `portcullis release`: gives back a wire that a stopped or dead gate left to its kernel program.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::Done;
use super::fault::{Fault, read_policy};
use super::screen::Screen;
use crate::gateway::{self, Released};

/// Detach the kernel program that a stopped gate left on its wire, and give the ports their settings back.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ReleaseArgs {
    /// The wire's name.
    wire: Option<String>,
    /// First file of the policy that names it.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

/// Runs the verb.
///
/// # Errors
/// A gate runs on the wire, something can't be given back, or there never was such a wire here.
pub(crate) fn run(args: &ReleaseArgs, screen: &mut Screen) -> Result<Done, Fault> {
    let wire = match (&args.wire, &args.policy) {
        (Some(wire), _) => wire.clone(),
        (None, Some(policy)) => read_policy(policy)?.model.wire.name,
        (None, None) => return Err(Fault::Usage("which wire?", "name it, or give --policy FILE")),
    };
    let released = gateway::release(&wire)?;
    screen.show(&page(&wire, &released))?;
    Ok(Done::Well)
}

fn page(wire: &str, released: &Released) -> String {
    if let Some(strays) = &released.again {
        let mut page = format!("wire {wire}: nothing was left on it, it was released here before\n");
        for stray in strays {
            let _ = writeln!(page, "  another wire {wire} is in {stray}: {}", stray.remedy());
        }
        return page;
    }
    match (released.programs, released.settings) {
        (false, false) => format!("wire {wire}: nothing was left on it\n"),
        (true, false) => {
            format!("wire {wire}: the kernel program is gone; its ports are the host's again\n")
        }
        (false, true) => format!("wire {wire}: its ports have their settings back\n"),
        (true, true) => format!(
            "wire {wire}: the kernel program is gone, and its ports have their settings back; they are the \
             host's again\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_said() {
        let page = |programs, settings| page("cde", &Released { programs, settings, again: None });
        assert_eq!(page(false, false), "wire cde: nothing was left on it\n");
        assert_eq!(
            page(true, false),
            "wire cde: the kernel program is gone; its ports are the host's again\n"
        );
        assert_eq!(page(false, true), "wire cde: its ports have their settings back\n");
        assert!(page(true, true).contains("gone, and its ports"));
    }

    #[test]
    fn a_second_release_says_that_it_is_one() {
        let again = |strays| page("cde", &Released { again: Some(strays), ..Released::default() });
        assert_eq!(again(Vec::new()), "wire cde: nothing was left on it, it was released here before\n");
    }
}

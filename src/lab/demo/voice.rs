//! How the gate under trial is asked: over its API in this machine, or by a command where it runs elsewhere.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use serde::de::DeserializeOwned;

use crate::control::answers::{EventLine, Status};
use crate::control::client::{self, ClientError};

/// Events asked for at a time.
const PAGE: usize = 1000;

/// Why the gate said nothing.
#[derive(Debug, thiserror::Error)]
pub enum VoiceError {
    /// Its API.
    #[error(transparent)]
    Api(#[from] ClientError),
    /// The command can't be started.
    #[error("{0} can't be started: {1}")]
    Start(String, io::Error),
    /// The command failed.
    #[error("{command}: {status}{}{said}", if .said.is_empty() { "" } else { ": " })]
    Failed {
        /// With its arguments.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The first line of what it said.
        said: String,
    },
    /// The command's answer is not what this version expects.
    #[error("{0} answers what this version does not understand: {1}")]
    Answer(String, serde_json::Error),
}

/// Where a gate answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Voice {
    /// At its socket.
    Socket(PathBuf),
    /// Through what takes the place of `portcullis`: `ssh gateway portcullis`.
    Command(Vec<OsString>),
}

impl Voice {
    /// What the gate says of itself.
    ///
    /// # Errors
    /// It does not answer.
    pub fn status(&self) -> Result<Status, VoiceError> {
        match self {
            Self::Socket(socket) => Ok(client::status(socket)?),
            Self::Command(command) => said(command, &["status", "--format", "json"])?
                .first()
                .map_or_else(|| read(command, ""), |line| read(command, line)),
        }
    }

    /// Its events behind that number, oldest first; not more than a page.
    ///
    /// # Errors
    /// It does not answer.
    pub fn events(&self, after: u64) -> Result<Vec<EventLine>, VoiceError> {
        match self {
            Self::Socket(socket) => Ok(client::events(socket, after, PAGE)?.events),
            Self::Command(command) => {
                let last = PAGE.to_string();
                let lines = said(command, &["events", "--format", "json", "--last", &last])?;
                let events: Result<Vec<EventLine>, _> =
                    lines.iter().map(|line| read(command, line)).collect();
                Ok(events?.into_iter().filter(|event| event.seq > after).collect())
            }
        }
    }
}

fn words(command: &[OsString]) -> String {
    command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn read<T: DeserializeOwned>(command: &[OsString], line: &str) -> Result<T, VoiceError> {
    serde_json::from_str(line).map_err(|error| VoiceError::Answer(words(command), error))
}

// The lines that the command says, with further arguments.
fn said(command: &[OsString], further: &[&str]) -> Result<Vec<String>, VoiceError> {
    let failed = |error| VoiceError::Start(words(command), error);
    let Some((program, first)) = command.split_first() else {
        return Err(failed(io::ErrorKind::NotFound.into()));
    };
    let output =
        Command::new(program).args(first).args(further).stdin(Stdio::null()).output().map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or_default().to_owned();
        let command = format!("{} {}", words(command), further.join(" "));
        return Err(VoiceError::Failed { command, status: output.status, said });
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    // A shell that says what it was asked and then this.
    fn shell(script: &str) -> Voice {
        Voice::Command(["sh", "-c", script, "sh"].map(OsString::from).to_vec())
    }

    #[test]
    fn a_command_that_fails_is_told_with_what_it_said_first() {
        let error = shell("echo first >&2; echo last >&2; exit 3").status().unwrap_err().to_string();
        assert!(error.starts_with("sh -c "), "{error}");
        assert!(error.ends_with("sh status --format json: exit status: 3: first"), "{error}");
        let error = Voice::Command(vec!["/no/such/command".into()]).events(0).unwrap_err();
        assert!(matches!(error, VoiceError::Start(..)), "{error}");
        let error = Voice::Command(Vec::new()).status().unwrap_err();
        assert!(matches!(error, VoiceError::Start(..)), "{error}");
    }

    #[test]
    fn an_answer_that_is_no_answer_is_told() {
        for script in ["true", "echo '{}'", "echo hello"] {
            let error = shell(script).status().unwrap_err();
            assert!(matches!(error, VoiceError::Answer(..)), "{script}: {error}");
        }
        assert_eq!(shell("true").events(0).unwrap(), []);
    }
}

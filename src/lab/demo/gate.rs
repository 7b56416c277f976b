//! The gate that the demo starts in the lab, or one elsewhere, and what it says.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::attempts::Attempt;
use super::outcome;
use super::voice::{Voice, VoiceError};
use crate::control::answers::{EventLine, Status};
use crate::lab::process::{self, wait_for};
use crate::lab::topology::GATE;
use crate::lab::{self, Lab, namespace};

/// How long the gate may take to come up.
const START: Duration = Duration::from_secs(20);
/// How long its word about an attempt may take, once the attempt is over.
const WORD: Duration = Duration::from_secs(2);

/// Why there is no gate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lab.
    #[error(transparent)]
    Lab(#[from] lab::Error),
    /// Its log can't be written.
    #[error("{0}: {1}")]
    Log(PathBuf, io::Error),
    /// It ended, or never answered.
    #[error("the gate does not come up: {why}\n{log}")]
    NotUp {
        /// In a word.
        why: String,
        /// The end of what it wrote.
        log: String,
    },
    /// It does not answer any more.
    #[error("the gate does not answer: {0}")]
    Silent(#[from] VoiceError),
}

/// A running gate.
#[derive(Debug)]
pub struct Gate(Voice);

impl Gate {
    /// One that runs elsewhere: `command` takes the place of `portcullis`.
    #[must_use]
    pub const fn elsewhere(command: Vec<OsString>) -> Self {
        Self(Voice::Command(command))
    }

    /// Starts `portcullis run` in the gate's namespace and waits until it answers. It is on the lab's record:
    /// `down` ends it.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(lab: &Lab, policy: &Path) -> Result<Self, Error> {
        let path = lab.name.folder().join("gate.log");
        let failed = |e| Error::Log(path.clone(), e);
        let log = File::create(&path).map_err(failed)?;
        let mut command = Command::new(&lab.program);
        command.arg("run").arg("--policy").arg(policy).arg("--socket").arg(lab.name.socket());
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed)?).stderr(log).process_group(0);
        let record = lab.record();
        let place = lab.host(GATE)?;
        let mut child = namespace::run_in(&place, || record.start("the gate", &mut command))
            .map_err(lab::Error::from)?
            .map_err(lab::Error::from)?;
        let gate = Self(Voice::Socket(lab.name.socket()));
        let mut why = "it never answered".to_owned();
        let answers = wait_for(START, || {
            if let Ok(Some(status)) = child.try_wait() {
                why = format!("it ended ({status})");
                return true;
            }
            gate.status().is_ok()
        });
        if answers && matches!(child.try_wait(), Ok(None)) {
            return Ok(gate);
        }
        let log = std::fs::read_to_string(&path).map_err(failed)?;
        Err(Error::NotUp { why, log: process::last_lines(&log, 20) })
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// It does not answer.
    pub fn status(&self) -> Result<Status, VoiceError> {
        self.0.status()
    }

    /// Number of its latest event.
    ///
    /// # Errors
    /// It does not answer.
    pub fn latest(&self) -> Result<u64, VoiceError> {
        Ok(self.status()?.events.latest)
    }

    /// What it says of an attempt's first packet, among the events after number `after`; waits for it.
    ///
    /// # Errors
    /// It does not answer.
    pub fn word_about(
        &self,
        after: u64,
        attempt: &Attempt,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<Option<EventLine>, VoiceError> {
        let mut after = after;
        let mut found = Ok(None);
        wait_for(WORD, || {
            match self.0.events(after) {
                Err(why) => found = Err(why),
                Ok(events) => {
                    after = events.last().map_or(after, |latest| latest.seq);
                    let mut about = events.into_iter();
                    found = Ok(about.find(|e| outcome::is_about(e, attempt, local, remote)));
                }
            }
            !matches!(found, Ok(None))
        });
        found
    }
}

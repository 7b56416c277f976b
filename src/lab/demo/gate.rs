//! The gate that the demo starts in the lab, and what it says over its API.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::attempts::Attempt;
use super::outcome;
use crate::control::answers::{EventLine, Status};
use crate::control::client::{self, ClientError};
use crate::lab::process::{self, wait_for};
use crate::lab::topology::GATE;
use crate::lab::{self, Lab, namespace};

/// How long the gate may take to come up.
const START: Duration = Duration::from_secs(20);
/// How long its word about an attempt may take, once the attempt is over.
const WORD: Duration = Duration::from_secs(2);
/// Events asked for at a time.
const PAGE: usize = 1000;

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
    Silent(#[from] ClientError),
}

/// A running gate. It is on the lab's record: `down` ends it.
#[derive(Debug)]
pub struct Gate {
    child: Child,
    socket: PathBuf,
}

impl Gate {
    /// Starts `portcullis run` in the gate's namespace and waits until it answers.
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
        let child = namespace::run_in(&place, || record.start("the gate", &mut command))
            .map_err(lab::Error::from)?
            .map_err(lab::Error::from)?;
        let mut gate = Self { child, socket: lab.name.socket() };
        let mut why = "it never answered".to_owned();
        let answers = wait_for(START, || {
            if let Ok(Some(status)) = gate.child.try_wait() {
                why = format!("it ended ({status})");
                return true;
            }
            gate.status().is_ok()
        });
        if answers && matches!(gate.child.try_wait(), Ok(None)) {
            return Ok(gate);
        }
        let log = std::fs::read_to_string(&path).map_err(failed)?;
        Err(Error::NotUp { why, log: process::last_lines(&log, 20) })
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// It does not answer.
    pub fn status(&self) -> Result<Status, ClientError> {
        client::status(&self.socket)
    }

    /// Number of its latest event.
    ///
    /// # Errors
    /// It does not answer.
    pub fn latest(&self) -> Result<u64, ClientError> {
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
    ) -> Result<Option<EventLine>, ClientError> {
        let mut after = after;
        let mut found = Ok(None);
        wait_for(WORD, || {
            match client::events(&self.socket, after, PAGE) {
                Err(why) => found = Err(why),
                Ok(page) => {
                    after = page.next;
                    let mut about = page.events.into_iter();
                    found = Ok(about.find(|e| outcome::is_about(e, attempt, local, remote)));
                }
            }
            !matches!(found, Ok(None))
        });
        found
    }
}

//! Why a verb could not do what it was asked, and what to do about it.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use crate::control::SocketError;
use crate::control::client::ClientError;
use crate::control::question::BadQuestion;
use crate::gateway::{ReleaseError, StartError};
use crate::io::pcap::{CaptureError, ForwardedError};
use crate::policy::diagnostic;
use crate::policy::prove::NotProvable;
use crate::policy::reach::NotReached;
use crate::policy::read::{Loaded, NotMeant, Rejected, did_you_mean};

/// Ends a verb with exit code 2.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The policy does not hold together; its findings, drawn.
    #[error("{0}")]
    Policy(String),
    /// No gate answers.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The socket can't be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The gate does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The wire is not given back.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The policy does not know what is asked about.
    #[error(transparent)]
    Question(#[from] BadQuestion),
    /// A capture can't be read, or not to its end.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// What crossed can't be written.
    #[error(transparent)]
    Forwarded(#[from] ForwardedError),
    /// Words that mean nobody of the policy.
    #[error(transparent)]
    Meant(#[from] NotMeant),
    /// Somebody who is not on the wire.
    #[error(transparent)]
    Reached(#[from] NotReached),
    /// A statement that can't be proved or refuted.
    #[error(transparent)]
    Provable(#[from] NotProvable),
    /// Queries can't be read.
    #[error("can't read the queries of {0}: {1}")]
    Batch(String, #[source] io::Error),
    /// A file can't be written.
    #[error("{0}: {1}")]
    File(String, #[source] io::Error),
    /// A thread or a signal can't be had.
    #[error("{0}: {1}")]
    System(&'static str, #[source] io::Error),
    /// The policy declares no such label.
    #[error("the policy declares no label {key}{}", did_you_mean(.like.as_deref()))]
    NoLabel {
        /// What was asked for.
        key: String,
        /// One that it declares and that is like it.
        like: Option<String>,
    },
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(&'static str, &'static str),
    /// Output is lost.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// Output can't be written as JSON.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The lab.
    #[error(transparent)]
    Lab(#[from] super::lab::Error),
}

impl Fault {
    /// What to do, where the message does not say it already.
    fn remedy(&self) -> Option<String> {
        match self {
            Self::Client(error) => Some(error.remedy()),
            Self::Socket(error) => Some(error.remedy().into()),
            Self::Usage(_, remedy) => Some((*remedy).into()),
            Self::NoLabel { .. } => Some("`[label]` of the policy lists the keys there are".into()),
            Self::System(..) => Some("look at the limits of this service: threads, open files".into()),
            Self::Batch(..) => Some("name a file of JSON lines, or - for standard input".into()),
            Self::File(..) => Some("name a file in a folder that exists and may be written to".into()),
            Self::Forwarded(_) | Self::Output(_) => Some("make room where the output goes".into()),
            Self::Question(why) => Some(why.remedy().into()),
            Self::Meant(why) => Some(why.remedy().into()),
            Self::Provable(why) => Some(why.remedy().into()),
            Self::Reached(_) => Some("`portcullis rules` and the inventory list what there is".into()),
            Self::Release(error) => error.remedy(),
            Self::Policy(_) | Self::Start(_) | Self::Capture(_) | Self::Json(_) | Self::Lab(_) => None,
        }
    }

    /// The text for people.
    fn words(&self) -> String {
        match self {
            // Drawn findings carry their own headings and their own count.
            Self::Policy(findings) => findings.clone(),
            Self::Client(_)
            | Self::Socket(_)
            | Self::Start(_)
            | Self::Release(_)
            | Self::Question(_)
            | Self::Capture(_)
            | Self::Forwarded(_)
            | Self::Batch(..)
            | Self::Meant(_)
            | Self::Reached(_)
            | Self::Provable(_)
            | Self::File(..)
            | Self::NoLabel { .. }
            | Self::System(..)
            | Self::Usage(..)
            | Self::Output(_)
            | Self::Json(_)
            | Self::Lab(_) => match self.remedy() {
                Some(remedy) => format!("error: {self}\n  remedy: {remedy}\n"),
                None => format!("error: {self}\n"),
            },
        }
    }

    /// Says it on standard error.
    pub(crate) fn tell(&self) {
        tell(&self.words());
    }
}

/// Writes to standard error; where that is closed there is nobody to tell.
pub(crate) fn tell(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Reads a policy.
///
/// # Errors
/// All its findings, drawn.
pub(crate) fn read_policy(path: &Path) -> Result<Loaded, Fault> {
    crate::policy::read(path).map_err(|rejected| Fault::Policy(draw(&rejected)))
}

/// Findings as people read them on standard error.
pub(crate) fn draw(rejected: &Rejected) -> String {
    diagnostic::render(&rejected.sources, &rejected.diagnostics, io::stderr().is_terminal())
}

/// The first file of a policy.
#[derive(Debug, clap::Args)]
pub(crate) struct PolicyArg {
    /// First file of the policy.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
}

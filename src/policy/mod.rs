//! Text → table.
//!
//! What it is: the language (POLICY.md), its reader, its compiler and the one evaluator
//! [`Table::judge`] that serves the packet path, `explain` and every report. What it is not: it never
//! sees a frame, a clock or a file descriptor; files are read through [`source`], time is an argument.

mod addresses;
pub mod code;
pub mod compile;
pub mod diagnostic;
pub mod diff;
mod digest;
pub mod exception;
mod exempt;
pub mod explain;
mod ground;
mod hash;
mod hosts;
mod identity;
pub mod inventory;
mod like;
mod link;
pub mod lint;
mod matrix;
pub mod model;
mod neighbour;
#[cfg(test)]
mod oracle;
mod overlay;
mod postings;
pub mod prefix;
mod programs;
#[cfg(test)]
mod promises;
pub mod proof;
pub mod prove;
pub mod reach;
pub mod read;
mod regions;
mod relevance;
mod runs;
#[cfg(test)]
mod sample;
mod selector;
pub mod sentences;
mod services;
mod size;
pub mod source;
mod space;
mod stage;
pub mod table;
pub mod values;
pub mod verdict;
mod wide;
mod witness;
mod words;

pub use compile::compile;
pub use exception::Exceptions;
pub use model::Model;
pub use neighbour::{Claim, Mismatch};
pub use read::read;
pub use size::Size;
pub use table::{Connection, Met, Table};
pub use verdict::{Action, Denial, Mode, Moment, RuleNumber, Sender, SenderMac, Verdict};

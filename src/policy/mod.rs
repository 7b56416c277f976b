//! Text → table.
//!
//! What it is: the language (POLICY.md), its reader, its compiler and the one evaluator
//! [`Table::judge`] that serves the packet path, `explain` and every report. What it is not: it never
//! sees a frame, a clock or a file descriptor; files are read through [`source`], time is an argument.

mod addresses;
pub mod code;
pub mod compile;
pub mod diagnostic;
mod digest;
pub mod explain;
mod identity;
mod matrix;
pub mod model;
mod neighbour;
#[cfg(test)]
mod oracle;
pub mod prefix;
#[cfg(test)]
mod promises;
pub mod read;
#[cfg(test)]
mod sample;
mod selector;
pub mod sentences;
mod services;
pub mod source;
mod space;
mod stage;
pub mod table;
pub mod verdict;
mod words;

pub use compile::compile;
pub use model::Model;
pub use neighbour::{Claim, Mismatch};
pub use read::read;
pub use table::Table;
pub use verdict::{Action, Denial, Mode, Moment, RuleNumber, Sender, SenderMac, Verdict};

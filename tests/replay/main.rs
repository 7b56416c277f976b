//! `portcullis replay` over captures made packet by packet: rows, summary, what crossed, errors.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that can't go on fails")]

mod bench;
mod errors;
mod sides;
mod time;
mod verdicts;

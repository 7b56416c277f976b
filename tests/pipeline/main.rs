//! The whole packet path over memory ports: every case asserts what arrived and that only the named
//! counters moved.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod address;
mod bounds;
mod connection;
mod exception;
mod fragment;
mod frame;
mod group;
mod icmp;
mod limit;
mod listing;
mod neighbour;
mod places;
mod reply;
mod review;
mod says;
mod shared;
mod verdict;
mod window;
mod workers;

#[path = "../rig/memory.rs"]
mod memory;

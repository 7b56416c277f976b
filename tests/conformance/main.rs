//! Every row of the firewall's drop cases, tried with frames of our own on silent veth pairs over real
//! `AF_XDP`, through the gate as it ships: see [`ground`]. docs/SPECIFICATION.md lists the rows. Needs root
//! and clang.
#![cfg(feature = "xdp")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod addresses;
mod bytes;
mod fragments;
mod ground;
mod headers;
mod icmp;
mod life;
mod limits;
mod neighbours;
mod policy;
mod residue;
#[allow(dead_code, reason = "shared with tests that use all of it")]
#[path = "../rig/mod.rs"]
mod rig;
mod rules;
mod sessions;
mod tags;
mod tap;
mod tcp;
mod told;

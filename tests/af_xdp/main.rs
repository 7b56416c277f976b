//! The `AF_XDP` ports on veth: real sockets, real programs, counts held against counts that are not ours.
//!
//! ```text
//! pc-ax<id>-out            pc-ax<id>-gate              pc-ax<id>-in
//!   wire ───────────────── outside   inside ─────────────── wire
//! ```
//! The namespaces are silent (no IPv6, no ARP), so every frame on them is one that a test sent. Needs root
//! and the `xdp` feature; `PORTCULLIS_NO_ROOT_TESTS=1` skips, and says so.
#![cfg(feature = "xdp")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and what it stands on is no `#[test]` function itself"
)]

mod again;
mod closed;
mod crossing;
mod refused;
mod rig;
mod tags;

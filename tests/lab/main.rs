//! The lab comes and goes whole, and the demo in it keeps its promises. Needs root, iproute2, ethtool and
//! ping; the demo real AF_XDP sockets too.
//!
//! Labs stand side by side by their letters: one a test.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

#[cfg(feature = "xdp")]
mod demo;
mod exec;
#[cfg(feature = "xdp")]
mod ground;
mod hosts;
mod life;
mod own;

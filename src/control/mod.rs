//! All of it into an API: HTTP and JSON over a unix socket, and its client.
//!
//! What it is not: it judges nothing; every answer is read from [`crate::gateway::Shared`] and the records.
//! The one path that changes something is `POST /v1/reload`, for root and the gate's own user. Cost: one thread
//! off the workers' cores, bounded connections, bounded answers.

pub mod answers;
pub mod client;
mod cores;
#[cfg(test)]
pub(crate) mod fixture;
mod flows;
mod lines;
pub mod question;
pub mod reload;
mod routes;
mod server;
mod socket;
mod status;
mod view;

pub use server::{CONNECTIONS, Server};
pub use socket::{Socket, SocketError};
pub use view::{Clock, View};

use crate::policy::Moment;

/// A moment as people and machines read it: RFC 3339 in UTC, to the nanosecond.
#[must_use]
pub fn instant(moment: Moment) -> String {
    // 2^64 ns after 1970 is the year 2554: always within a timestamp's range.
    jiff::Timestamp::from_nanosecond(i128::from(moment.0))
        .map_or_else(|_| String::new(), |at| format!("{at:.9}"))
}

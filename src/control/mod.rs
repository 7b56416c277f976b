//! All of it into an API: HTTP and JSON over a unix socket, and its client.
//!
//! What it is not: it judges nothing and writes nothing; every answer is read from
//! [`crate::gateway::Shared`] and the event log. Cost: one thread off the workers' cores, bounded
//! connections, bounded answers.

pub mod answers;
pub mod client;

//! Bytes → facts.
//!
//! What it is: the parser of one Ethernet frame, the flow key, and the names of what makes a frame
//! unreadable or odd. What it is not: it knows no policy, holds no state, allocates nothing and never
//! panics, whatever the bytes. Cost: one pass over the headers, no copy of the payload.

mod address;
pub mod dhcp;
pub mod discovery;
mod ethernet;
mod facts;
mod fragment;
mod glimpse;
mod housekeeping;
mod ipv4;
mod ipv6;
mod key;
mod padding;
mod parse;
mod plain;
pub(crate) mod processor;
pub mod protocol;
mod query;
mod quote;
mod reply;
#[doc(hidden)]
pub mod samples;
mod side;
#[cfg(test)]
mod tests;
mod upper;

pub use address::is_link_local;
pub use facts::{
    Arp, Facts, Fragment, Housekeeping, Icmp, Ip, L4, Mac, Net, NotAMac, Odd, Quote, Tcp, TcpFlags,
    Unreadable, Vlans,
};
pub use glimpse::{Glimpse, glimpse};
pub use ipv6::is_extension;
pub use key::{Key, Service};
pub use padding::{LONGEST_PADDED, residue, unpadded};
pub use parse::parse;
pub use plain::Plain;
pub use query::Query;
pub use reply::Reply;
pub use side::Side;

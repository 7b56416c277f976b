//! Portcullis: a bump in the wire in front of a protected zone.
//!
//! | layer | room | turns |
//! |---|---|---|
//! | 0 | [`wire`] | bytes into facts |
//! | 1 | [`policy`] | text into a table with one evaluator |
//! | 2 | [`flow`] | packets into connections |
//! | 3 | [`pipeline`] | a burst into outcomes, counters and events |
//! | 4 | [`io`] | interfaces into affine frames |
//! | 5 | [`worker`] | rings into bursts, on a pinned core |
//! | 6 | [`gateway`] | a policy into a running wire |
//! | 7 | [`record`] | events into a bounded log |
//! | 8 | [`control`] | all of it into an API |
//! | 9 | [`lab`] | namespaces into a rig |
//! | 10 | [`cli`] | verbs |
//!
//! A room never names one below it in this table; `tests/layers.rs` holds it to that. So what needs none above
//! the worker is built without them (`--cfg lower_rooms`: `bench/rustc`, `fuzz/rustc`).

#[cfg(not(lower_rooms))]
pub mod cli;
#[cfg(not(lower_rooms))]
pub mod control;
pub mod flow;
#[cfg(not(lower_rooms))]
pub mod gateway;
pub mod io;
#[cfg(not(lower_rooms))]
pub mod lab;
pub mod pipeline;
pub mod policy;
#[cfg(not(lower_rooms))]
pub mod record;
pub mod wire;
pub mod worker;

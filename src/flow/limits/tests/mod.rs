//! Boundaries, plain maps, and real threads.

mod half_open;
mod rate;
mod replies;
mod share;
mod stress;

use super::*;
use crate::flow::{Party, Source, SourceHash};
use crate::wire::Vlans;

fn destination(n: u32) -> Destination {
    Destination::of(std::net::Ipv4Addr::from(0x0a00_0000 + n).into(), Vlans::UNTAGGED)
}

fn address(n: u32) -> Source {
    Source::of(std::net::Ipv4Addr::from(0x0a00_0000 + n).into(), Vlans::UNTAGGED)
}

fn source(n: u32) -> Party {
    SourceHash::new((1, 2)).of(address(n))
}

#[test]
fn refusals_have_names_and_words_of_their_own() {
    for text in [LimitRefusal::name, LimitRefusal::words] {
        let mut texts = LimitRefusal::ALL.map(text);
        texts.sort_unstable();
        assert!(texts.windows(2).all(|pair| pair[0] != pair[1]));
    }
}

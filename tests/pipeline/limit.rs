//! What one party may take: half-open connections of a destination, new flows of a source.

use portcullis::pipeline::Reason;
use portcullis::wire::Side;
use portcullis::wire::samples::Ends;

use crate::memory::Count::{Dropped, Forwarded};
use crate::memory::{POLICY, Rig, Shape};
use crate::says::{ACK, SECOND, SYN, VAULT, to_vault};

/// The policy with clients by the thousand.
fn crowd() -> String {
    let text = POLICY.replace(
        "addresses = [\"10.10.0.5\", \"2001:db8:10::5\"]",
        "addresses = [\"10.10.0.0/16\", \"2001:db8:10::/64\"]",
    );
    assert_ne!(text, POLICY);
    text
}

/// One of the crowd, towards the vault.
fn one(family: usize, n: u16) -> Ends {
    let [high, low] = n.to_be_bytes();
    let src = if family == 0 { format!("10.10.{high}.{low}") } else { format!("2001:db8:10::{n:x}") };
    Ends::of(&src, VAULT[family])
}

#[test]
fn a_destination_has_so_many_half_open_connections_and_no_more() {
    for family in [0, 1] {
        let mut rig = Rig::shaped(&crowd(), Shape { flows: 40_000, ..Shape::default() });
        let syn = |n: u16| one(family, 1 + n % 200).tcp(1_000 + n, 443, SYN, 99, 0, &[]);
        // One whose handshake is complete is half-open no more, and goes on whatever comes.
        let open = to_vault(family);
        rig.forwarded(Side::Outside, &open.tcp(9, 443, SYN, 99, 0, &[]));
        rig.forwarded(Side::Inside, &open.reply().tcp(443, 9, SYN | ACK, 499, 100, &[]));
        rig.forwarded(Side::Outside, &open.tcp(9, 443, ACK, 100, 500, &[]));
        for n in 0..4_096 {
            assert!(rig.crosses(Side::Outside, &syn(n)), "{n}");
            rig.event();
        }
        assert_eq!(rig.moved(Side::Outside), [(Forwarded, 4_096)]);
        rig.event();
        rig.dropped(Side::Outside, &syn(4_096), Reason::HalfOpenLimit);
        rig.forwarded(Side::Outside, &open.tcp(9, 443, ACK, 100, 500, b"data"));
        // Under pressure those that wait have three seconds.
        rig.later(4 * SECOND);
        // The hand passes the table within some turns.
        for _ in 0..=40_000 / 256 {
            rig.turn();
        }
        assert!(rig.crosses(Side::Outside, &syn(4_097)));
        assert_eq!(rig.moved(Side::Outside), [(Forwarded, 1)]);
    }
}

#[test]
fn a_source_opens_flows_at_its_rate_and_its_others_are_not_touched() {
    let mut rig = Rig::shaped(&crowd(), Shape { flows: 60_000, ..Shape::default() });
    let ask = |n: u16| one(0, 1).udp(1_000 + n, 53, b"question at some length");
    let mut opened = 0;
    while rig.crosses(Side::Outside, &ask(opened)) {
        rig.event();
        opened += 1;
    }
    // The burst, and what its rate gave back in the ten milliseconds that it took.
    assert!((10_000..10_200).contains(&opened), "{opened}");
    assert_eq!(rig.moved(Side::Outside), [(Forwarded, opened.into()), (Dropped(Reason::SourceRate), 1)]);
    rig.event();
    rig.forwarded(Side::Outside, &ask(5));
    rig.forwarded(Side::Outside, &one(0, 2).udp(1, 53, b"question at some length"));
    rig.event();
    rig.later(SECOND);
    rig.forwarded(Side::Outside, &ask(opened));
}

#[test]
fn a_source_and_the_outside_have_their_shares_of_the_table() {
    let mut rig = Rig::shaped(&crowd(), Shape { flows: 256, ..Shape::default() });
    let ask = |source: u16, n: u16| one(0, source).udp(1_000 + n, 53, b"question at some length");
    let mut taken = 0;
    for n in 0..200 {
        taken += u64::from(rig.crosses(Side::Outside, &ask(1, n)));
        rig.event();
    }
    assert_eq!(taken, 64, "a quarter of the table");
    assert_eq!(rig.moved(Side::Outside), [(Forwarded, 64), (Dropped(Reason::SourceShare), 136)]);
    for n in 0..200 {
        taken += u64::from(rig.crosses(Side::Outside, &ask(2 + n, n)));
        rig.event();
    }
    assert_eq!(taken, 192, "three quarters of it for all that is outside");
    rig.moved(Side::Outside);
    rig.dropped(Side::Outside, &ask(900, 1), Reason::OutsideShare);
}

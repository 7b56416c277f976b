//! Several workers, one of which has no place to send from: whoever owns a flow has places of its own, and what is
//! judged where it arrives is dropped there.

use portcullis::flow::fragments::Piece;
use portcullis::pipeline::Reason;
use portcullis::wire::samples::every_kind;
use portcullis::wire::{Side, parse};

use crate::group::{GROUPS, to as to_group};
use crate::memory::{POLICY, Shape};
use crate::says::to_vault;
use crate::workers::{Several, owned, pieces};

#[test]
fn who_has_no_place_for_a_packet_passes_it_to_an_owner_who_has() {
    let mut gate = Several::shaped(2, &Shape { tx_ring: 2, ..Shape::default() }, 64);
    for frame in owned(&gate, 0, 1_000, 2) {
        assert!(gate.rigs[0].offer(Side::Outside, &frame));
    }
    gate.rigs[0].turn();
    let (mine, theirs) = (owned(&gate, 0, 2_000, 1).remove(0), owned(&gate, 1, 2_000, 1).remove(0));
    for frame in [&mine, &theirs] {
        assert!(gate.rigs[0].offer(Side::Outside, frame));
    }
    gate.settle();
    assert_eq!((gate.dropped(Reason::TxRingFull), gate.all_dropped()), (1, 1));
    let left = gate.left(Side::Inside);
    assert_eq!(left.last(), Some(&(1, theirs)));
    assert_eq!(left.len(), 3);
}

#[test]
fn who_has_no_place_for_an_error_passes_it_to_the_owner_of_the_flow_it_quotes() {
    let mut gate = Several::shaped(2, &Shape { tx_ring: 1, ..Shape::default() }, 64);
    // It arrives at the owner of its own addresses, which is not the one that is meant.
    let error_about = |query: &[u8]| to_vault(0).reply().icmp_error(3, 3, [0; 4], query);
    let here = gate.owner_of(&error_about(&to_vault(0).udp(1_000, 53, b"q")));
    let there = 1 - here;
    let [mine, theirs] = [here, there].map(|worker| owned(&gate, worker, 1_000, 1).remove(0));
    for (worker, query) in [(here, &mine), (there, &theirs)] {
        assert_eq!(gate.crosses(worker, Side::Outside, query), Some(worker));
    }
    // The only place is an answer's.
    let answer = to_vault(0).reply().udp(53, u16::from_be_bytes([mine[42], mine[43]]), b"a");
    let error = error_about(&theirs);
    for frame in [&answer, &error] {
        assert!(gate.rigs[here].offer(Side::Inside, frame));
        gate.rigs[here].turn();
    }
    gate.settle();
    let mut left = gate.left(Side::Outside);
    left.sort_by_key(|(worker, _)| *worker != here);
    assert_eq!(left, [(here, answer), (there, error)]);
    assert_eq!(gate.all_dropped(), 0);
}

/// Both pieces of a datagram that the first worker remembers, of a flow that the second owns.
fn remembered_by_the_first(gate: &Several) -> [Vec<u8>; 2] {
    let link = to_vault(0);
    let sport = (5_000..6_000).find(|sport| gate.owner_of(&link.udp(*sport, 53, b"whole")) == 1).unwrap();
    let pieces = pieces(&link, 1, sport, 53);
    let datagram = Piece::of(&parse(&pieces[0]).unwrap(), Side::Outside).unwrap().datagram;
    assert_eq!(gate.owner.of(&datagram.owner_key()), 0, "of all datagrams between these hosts");
    pieces
}

#[test]
fn a_fragment_that_waited_and_finds_no_place_goes_to_the_owner_of_its_flow() {
    let mut gate = Several::shaped(2, &Shape { tx_ring: 2, ..Shape::default() }, 64);
    let [first, last] = remembered_by_the_first(&gate);
    assert_eq!(gate.crosses(0, Side::Outside, &last), None, "it waits");
    // They take the places after the first piece was judged, and before the last one is.
    let mine = owned(&gate, 0, 2_000, 2);
    for frame in [&first, &mine[0], &mine[1]] {
        assert!(gate.rigs[0].offer(Side::Outside, frame));
    }
    gate.settle();
    let left = [(0, mine[0].clone()), (0, mine[1].clone()), (1, first), (1, last)];
    assert_eq!((gate.left(Side::Inside), gate.all_dropped()), (left.to_vec(), 0));
}

#[test]
fn an_owner_without_a_place_drops_what_was_passed_on_to_it_and_says_so() {
    let mut gate = Several::shaped(2, &Shape { tx_ring: 1, ..Shape::default() }, 64);
    let its_own = owned(&gate, 1, 1_000, 1).remove(0);
    assert!(gate.rigs[1].offer(Side::Outside, &its_own));
    gate.rigs[1].turn();
    let [first, _] = remembered_by_the_first(&gate);
    let whole = owned(&gate, 1, 2_000, 1).remove(0);
    for (n, frame) in (1..).zip([first, whole]) {
        assert!(gate.rigs[0].offer(Side::Outside, &frame));
        gate.settle();
        assert_eq!((gate.dropped(Reason::TxRingFull), gate.all_dropped()), (n, n));
    }
    assert_eq!(gate.sum(|side| side.handed_over), 2);
}

/// Groups, and housekeeping: nobody else is asked for a place.
#[test]
fn what_is_judged_where_it_arrives_is_dropped_there_without_a_place() {
    let shape = Shape { tx_ring: 1, ..Shape::default() };
    let mut gate = Several::under(&format!("{POLICY}{GROUPS}"), 2, &shape, 64);
    let its_own = owned(&gate, 0, 1_000, 1).remove(0);
    assert!(gate.rigs[0].offer(Side::Outside, &its_own));
    gate.rigs[0].turn();
    let housekeeping = every_kind().into_iter().map(|(_, frame)| frame);
    let housekeeping =
        housekeeping.filter(|frame| parse(frame).is_ok_and(|facts| facts.housekeeping().is_some()));
    let groups = (1_000..1_008).map(|sport| to_group("239.1.1.1", 0).udp(sport, 5_000, b"news"));
    let (mut away, mut offered) = (0, 0);
    for frame in housekeeping.chain(groups) {
        let key = parse(&frame).unwrap().key();
        away += u32::from(key.is_some_and(|(key, _)| gate.owner.of(&key) == 1));
        assert!(gate.rigs[0].offer(Side::Outside, &frame));
        gate.settle();
        offered += 1;
    }
    assert!(away > 4, "{away} have keys that the other would own");
    assert_eq!(gate.sum(|side| side.handed_over), 0);
    assert_eq!((gate.dropped(Reason::TxRingFull), gate.all_dropped()), (offered, offered));
}

//! The table of half-open connections in one thread.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use LimitRefusal::{HalfOpen as AtLimit, HalfOpenTableFull};

#[test]
fn a_destination_has_its_limit_and_no_other_pays_for_it() {
    let table = HalfOpen::new(64, (1, 2));
    let slots: Vec<_> = (0..3).map(|_| table.open(&destination(1), 3).unwrap()).collect();
    assert!(slots.iter().all(|slot| *slot == slots[0] && table.count(*slot) == 3));
    assert_eq!(table.open(&destination(1), 3), Err(AtLimit));
    assert_eq!(table.total(), 3, "a refusal counts nothing");
    let other = table.open(&destination(2), 3).unwrap();
    assert_ne!(other, slots[0]);
    assert!(table.close(slots[0]));
    assert_eq!((table.count(slots[0]), table.count(other)), (2, 1));
    assert_eq!(table.open(&destination(1), 3), Ok(slots[0]));
    assert_eq!(table.open(&destination(1), 2), Err(AtLimit), "a smaller limit holds at once");
    assert_eq!(table.open(&destination(3), 0), Err(AtLimit));
    assert_eq!(table.total(), 4);
}

#[test]
fn what_is_not_counted_cannot_be_closed() {
    let table = HalfOpen::new(8, (1, 2));
    let slot = table.open(&destination(1), 9).unwrap();
    assert!(table.close(slot));
    assert!(!table.close(slot));
    assert!(!table.close(HalfOpenSlot::from_number(8).unwrap()), "no such slot");
    assert_eq!((table.total(), table.count(slot)), (0, 0));
    assert_eq!(table.open(&destination(1), 1), Ok(slot));
}

#[test]
fn above_half_is_more_than_half() {
    let table = HalfOpen::new(8, (1, 2));
    for (count, four, five) in [(1, false, false), (2, false, false), (3, true, true)] {
        let slot = table.open(&destination(1), 9).unwrap();
        assert_eq!(table.count(slot), count);
        assert_eq!((table.is_above_half(slot, 4), table.is_above_half(slot, 5)), (four, five));
    }
}

#[test]
fn a_full_set_refuses_by_name_and_a_free_slot_serves_the_next() {
    let table = HalfOpen::new(8, (1, 2));
    let slots: Vec<_> = (0..8).map(|n| table.open(&destination(n), 9).unwrap()).collect();
    assert_eq!(table.open(&destination(8), 9), Err(HalfOpenTableFull));
    assert_eq!(table.open(&destination(7), 9), Ok(slots[7]), "a known one needs no place");
    assert!(table.close(slots[3]));
    assert_eq!(table.open(&destination(8), 9), Ok(slots[3]));
    assert_eq!(table.open(&destination(3), 9), Err(HalfOpenTableFull));
    assert_eq!(table.total(), 9);
}

#[test]
fn a_destination_is_its_address_and_its_vlans() {
    let table = HalfOpen::new(8, (1, 2));
    let vlans = |outer, inner| Vlans { outer, inner };
    let address: std::net::IpAddr = "10.0.0.1".parse().unwrap();
    let all = [
        Destination::of(address, Vlans::UNTAGGED),
        Destination::of(address, vlans(7, Vlans::NONE)),
        Destination::of(address, vlans(Vlans::NONE, 7)),
        Destination::of("::a00:1".parse().unwrap(), Vlans::UNTAGGED),
        Destination::of("::a00:1:0:0:0:0".parse().unwrap(), Vlans::UNTAGGED),
        Destination::of("::".parse().unwrap(), Vlans::UNTAGGED),
    ];
    for one in &all {
        table.open(one, 1).unwrap();
    }
    assert!(all.iter().all(|one| table.open(one, 1) == Err(AtLimit)));
    assert_eq!(table.total(), 6);
}

#[test]
fn what_lived_before_is_counted_above_the_limit() {
    let table = HalfOpen::new(8, (1, 2));
    for _ in 0..5 {
        table.adopt(&destination(1)).unwrap();
    }
    assert_eq!((table.total(), table.open(&destination(1), 3)), (5, Err(AtLimit)));
}

#[test]
fn no_slot_has_the_number_that_means_none() {
    assert_eq!(HalfOpenSlot::from_number(HalfOpenSlot::NONE), None);
    let table = HalfOpen::new(usize::MAX, (1, 2));
    let highest = (0..60_000).filter_map(|n| table.open(&destination(n), 1).ok()).map(HalfOpenSlot::number);
    let highest = highest.max().unwrap();
    assert!((65_000..65_528).contains(&highest), "{highest}");
}

proptest! {
    /// Slots of two sets against a plain map of counts.
    #[test]
    fn half_open_agrees_with_a_plain_map(
        steps in proptest::collection::vec((0..24u32, any::<bool>()), 0..400)
    ) {
        let table = HalfOpen::new(16, (1, 2));
        let mut model: HashMap<u32, Vec<HalfOpenSlot>> = HashMap::new();
        for (n, opens) in steps {
            let held = model.entry(n).or_default();
            if opens {
                match table.open(&destination(n), 4) {
                    Ok(slot) => {
                        prop_assert!(held.len() < 4);
                        held.push(slot);
                    }
                    Err(AtLimit) => prop_assert_eq!(held.len(), 4),
                    Err(why) => {
                        prop_assert_eq!(why, HalfOpenTableFull);
                        prop_assert!(held.is_empty());
                        // Then there are eight others at least.
                        prop_assert!(model.values().filter(|h| !h.is_empty()).count() >= 8);
                    }
                }
            } else if let Some(slot) = held.pop() {
                prop_assert!(table.close(slot));
            }
            for held in model.values() {
                let count = u32::try_from(held.len()).unwrap();
                prop_assert!(held.iter().all(|slot| *slot == held[0] && table.count(*slot) == count));
            }
            let total: usize = model.values().map(Vec::len).sum();
            prop_assert_eq!(table.total(), u64::try_from(total).unwrap());
        }
    }
}

//! Shares of a flow table.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::wire::Side;

const LIMITS: ShareLimits = ShareLimits { source: 3, outside: 5 };

#[test]
fn a_source_and_the_outside_have_their_shares() {
    let mut shares = Shares::new(1 << 12);
    for _ in 0..3 {
        assert_eq!(shares.open(&source(1), Side::Outside, LIMITS), Ok(()));
    }
    assert_eq!(shares.open(&source(1), Side::Outside, LIMITS), Err(LimitRefusal::SourceShare));
    for n in 2..4 {
        assert_eq!(shares.open(&source(n), Side::Outside, LIMITS), Ok(()));
    }
    assert_eq!(shares.open(&source(4), Side::Outside, LIMITS), Err(LimitRefusal::OutsideShare));
    assert_eq!(shares.open(&source(4), Side::Inside, LIMITS), Ok(()), "the inside has the rest");
    assert_eq!((shares.of(&source(1)), shares.of(&source(4)), shares.outside()), (3, 1, 5));
    assert!(shares.close(&source(1), Side::Outside));
    assert_eq!(shares.open(&source(4), Side::Outside, LIMITS), Ok(()));
    assert_eq!((shares.of(&source(1)), shares.of(&source(4)), shares.outside()), (2, 2, 5));
}

#[test]
fn what_was_not_counted_changes_nothing() {
    let mut shares = Shares::new(1 << 12);
    assert_eq!(shares.open(&source(1), Side::Inside, LIMITS), Ok(()));
    assert!(!shares.close(&source(2), Side::Inside), "nothing of this source");
    assert!(!shares.close(&source(1), Side::Outside), "nothing from outside");
    assert_eq!((shares.of(&source(1)), shares.outside()), (1, 0));
    assert!(shares.close(&source(1), Side::Inside));
    assert!(!shares.close(&source(1), Side::Inside));
    assert_eq!(shares.of(&source(1)), 0);
}

proptest! {
    /// Never too low, in a narrow table; exact in a wide one; and all zero in the end.
    #[test]
    fn shares_agree_with_a_plain_map(
        steps in proptest::collection::vec((0..20u32, any::<bool>(), any::<bool>()), 0..400)
    ) {
        let limits = ShareLimits { source: u32::MAX, outside: u32::MAX };
        let (mut narrow, mut wide) = (Shares::new(4), Shares::new(1 << 12));
        let mut model: HashMap<(u32, Side), u32> = HashMap::new();
        for (n, inside, opens) in steps {
            let side = if inside { Side::Inside } else { Side::Outside };
            let count = model.entry((n, side)).or_default();
            if opens {
                *count += 1;
                prop_assert_eq!(narrow.open(&source(n), side, limits), Ok(()));
                prop_assert_eq!(wide.open(&source(n), side, limits), Ok(()));
            } else if *count != 0 {
                *count -= 1;
                prop_assert!(narrow.close(&source(n), side) && wide.close(&source(n), side));
            }
            let both: u32 = Side::BOTH.iter().filter_map(|side| model.get(&(n, *side))).sum();
            prop_assert!(narrow.of(&source(n)) >= both);
            prop_assert_eq!(wide.of(&source(n)), both);
            let outside: u32 = model.iter().filter(|(key, _)| key.1 == Side::Outside).map(|(_, c)| c).sum();
            prop_assert_eq!((narrow.outside(), wide.outside()), (outside, outside));
        }
        for ((n, side), count) in model {
            for _ in 0..count { prop_assert!(narrow.close(&source(n), side)); }
        }
        for n in 0..20 { prop_assert_eq!(narrow.of(&source(n)), 0); }
    }
}

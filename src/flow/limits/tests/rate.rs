//! Token buckets.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const REFUSED: Result<(), LimitRefusal> = Err(LimitRefusal::SourceRate);

#[test]
fn a_burst_passes_and_then_the_rate() {
    let mut flows = NewFlows::new(64);
    let rate = Rate { per_second: 10, burst: 3 };
    for _ in 0..3 {
        assert_eq!(flows.admit(&source(1), rate, 0), Ok(()));
    }
    assert_eq!(flows.admit(&source(1), rate, 0), REFUSED);
    assert_eq!(flows.admit(&source(2), rate, 0), Ok(()), "another source has its own");
    // A flow is a tenth of a second: 5.96 ticks of 16.8 ms.
    assert_eq!(flows.admit(&source(1), rate, 5), REFUSED);
    assert_eq!(flows.admit(&source(1), rate, 6), Ok(()));
    assert_eq!(flows.admit(&source(1), rate, 6), REFUSED);
    // What was gained on the way to a refusal is kept.
    assert_eq!(flows.admit(&source(1), rate, 11), REFUSED);
    assert_eq!(flows.admit(&source(1), rate, 12), Ok(()));
    // A long pause fills the burst and no more.
    for expected in [Ok(()), Ok(()), Ok(()), REFUSED] {
        assert_eq!(flows.admit(&source(1), rate, 1_000_000), expected);
    }
}

#[test]
fn the_bounds_of_rate_burst_and_time() {
    let mut flows = NewFlows::new(4);
    let most = Rate { per_second: u32::MAX, burst: u32::MAX };
    assert_eq!(flows.admit(&source(1), most, 0), Ok(()));
    assert_eq!(flows.admit(&source(1), most, u32::MAX), Ok(()));
    let none = Rate { per_second: 1, burst: 0 };
    assert_eq!(flows.admit(&source(1), none, u32::MAX), REFUSED);
    let once = Rate { per_second: 0, burst: 1 };
    assert_eq!(flows.admit(&source(2), once, u32::MAX), Ok(()));
    assert_eq!(flows.admit(&source(2), once, u32::MAX - 1), REFUSED, "for ever");
    // Time wraps: 60 ticks are a second and a bit.
    let slow = Rate { per_second: 1, burst: 1 };
    assert_eq!(flows.admit(&source(3), slow, u32::MAX - 9), Ok(()));
    assert_eq!(flows.admit(&source(3), slow, 49), REFUSED);
    assert_eq!(flows.admit(&source(3), slow, 50), Ok(()));
    assert_eq!(flows.evicted(), 0);
}

#[test]
fn the_source_that_was_quiet_for_longest_gives_way() {
    let mut flows = NewFlows::new(4);
    let rate = Rate { per_second: 0, burst: 1 };
    for n in 0..4 {
        assert_eq!(flows.admit(&source(n), rate, n), Ok(()));
    }
    assert_eq!(flows.admit(&source(0), rate, 5), REFUSED, "a refusal is seen too");
    assert_eq!(flows.admit(&source(4), rate, 6), Ok(()));
    assert_eq!(flows.evicted(), 1);
    for n in [0, 2, 3, 4] {
        assert_eq!(flows.admit(&source(n), rate, 7), REFUSED, "{n} is remembered");
    }
    assert_eq!(flows.admit(&source(1), rate, 8), Ok(()), "the quiet one was forgotten");
}

proptest! {
    /// As long as nobody is evicted, every source has a bucket as a plain map has it, in exact numbers.
    #[test]
    fn buckets_agree_with_a_plain_map(
        per_second in 0..100u32,
        burst in 0..5u32,
        steps in proptest::collection::vec((0..4u32, 0..20u32), 0..300),
    ) {
        let mut flows = NewFlows::new(4);
        let mut model: HashMap<u32, (u128, u32)> = HashMap::new();
        let (mut now, full) = (u32::MAX - 500, u128::from(burst) * 1_000_000_000);
        for (n, ticks) in steps {
            now = now.wrapping_add(ticks);
            let (level, seen) = model.entry(n).or_insert((full, now));
            let nanos = u128::from(now.wrapping_sub(*seen)) << 24;
            *level = (*level + nanos * u128::from(per_second)).min(full);
            *seen = now;
            let admitted = *level >= 1_000_000_000;
            if admitted { *level -= 1_000_000_000; }
            let done = flows.admit(&source(n), Rate { per_second, burst }, now);
            prop_assert_eq!(done, if admitted { Ok(()) } else { REFUSED });
        }
        prop_assert_eq!(flows.evicted(), 0);
    }
}

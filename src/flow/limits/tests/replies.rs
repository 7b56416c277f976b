//! Replies a second.

use super::*;

const LIMITS: ReplyLimits =
    ReplyLimits { all: Rate { per_second: 100, burst: 5 }, each: Rate { per_second: 10, burst: 3 } };

#[test]
fn replies_obey_a_burst_and_a_rate_to_each_and_to_all() {
    let mut replies = Replies::new(64, LIMITS, (1, 2));
    for expected in [Ok(()), Ok(()), Ok(()), Err(ReplyRefusal::Each), Err(ReplyRefusal::Each)] {
        assert_eq!(replies.admit(address(1), 7), expected);
    }
    // What was refused to one took nothing from all: two of five are left.
    assert_eq!(replies.admit(address(2), 7), Ok(()));
    assert_eq!(replies.admit(address(3), 7), Ok(()));
    assert_eq!(replies.admit(address(4), 7), Err(ReplyRefusal::All));
    assert_eq!(replies.admit(address(1), 7), Err(ReplyRefusal::All));
    // A tick is 16.8 ms: one reply of a hundred a second, a sixth of one of ten a second. What was refused to
    // all took nothing from the fourth.
    for expected in [Ok(()), Err(ReplyRefusal::All)] {
        assert_eq!(replies.admit(address(4), 8), expected);
    }
    for _ in 0..3 {
        assert_eq!(replies.admit(address(4), 100), Ok(()), "its own burst is full again");
    }
    assert_eq!(replies.admit(address(4), 100), Err(ReplyRefusal::Each));
}

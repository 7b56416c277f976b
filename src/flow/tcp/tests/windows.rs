//! Each bound of the window, one number inside and one outside.

use super::*;

/// a 100 000 has sent 5000 bytes, b 200 000 has sent 3000 and acknowledged 4000; windows 10 000 and 20 000.
fn line() -> Line {
    Line {
        track: Track {
            states: ESTABLISHED,
            window: Window { end: [105_000, 203_000], acked: [202_000, 104_000], win: [10_000, 20_000] },
            confirmed: true,
            ..Track::default()
        },
        seen: 7,
        now: 9,
    }
}

#[test]
fn data_ends_at_the_right_edge_at_most() {
    // a may send up to 104 000 + 20 000.
    assert_eq!(line().asks(A, segment(ACK, 123_000, 203_000, 1000)), Step::Pass);
    assert_eq!(line().asks(A, segment(ACK, 123_001, 203_000, 1000)), WINDOW);
    assert_eq!(line().asks(A, segment(ACK, 124_000, 203_000, 0)), Step::Pass);
    assert_eq!(line().asks(A, segment(ACK, 124_001, 203_000, 0)), WINDOW);
    // b up to 202 000 + 10 000.
    assert_eq!(line().asks(B, segment(ACK, 211_000, 105_000, 1000)), Step::Pass);
    assert_eq!(line().asks(B, segment(ACK, 211_001, 105_000, 1000)), WINDOW);
}

#[test]
fn a_fin_may_stand_one_beyond_the_right_edge() {
    let mut line = line();
    line.says_in_vain(A, segment(FIN | ACK, 123_001, 203_000, 1000), WINDOW);
    line.says(A, segment(FIN | ACK, 123_000, 203_000, 1000), Step::Pass);
    assert_eq!(line.track.window.end, [124_001, 203_000]);
}

#[test]
fn a_segment_begins_at_most_one_window_behind_the_newest() {
    assert_eq!(line().asks(A, segment(ACK, 85_000, 203_000, 1000)), Step::Pass);
    assert_eq!(line().asks(A, segment(ACK, 84_999, 203_000, 1000)), WINDOW);
    assert_eq!(line().asks(B, segment(ACK, 193_000, 105_000, 0)), Step::Pass);
    assert_eq!(line().asks(B, segment(ACK, 192_999, 105_000, 0)), WINDOW);
}

#[test]
fn nothing_is_acknowledged_that_was_not_sent() {
    assert_eq!(line().asks(A, segment(ACK, 105_000, 203_000, 0)), Step::Pass);
    assert_eq!(line().asks(A, segment(ACK, 105_000, 203_001, 0)), WINDOW);
    assert_eq!(line().asks(B, segment(ACK, 203_000, 105_000, 0)), Step::Pass);
    assert_eq!(line().asks(B, segment(ACK, 203_000, 105_001, 0)), WINDOW);
}

#[test]
fn an_acknowledgement_is_one_window_old_at_most_and_66_000_always() {
    assert_eq!(line().asks(A, segment(ACK, 105_000, 137_000, 0)), Step::Pass);
    assert_eq!(line().asks(A, segment(ACK, 105_000, 136_999, 0)), WINDOW);
    let mut wide = line();
    wide.track.scales = 0x04;
    assert_eq!(wide.asks(A, segment(ACK, 105_000, 43_000, 0)), Step::Pass);
    assert_eq!(wide.asks(A, segment(ACK, 105_000, 42_999, 0)), WINDOW);
}

#[test]
fn the_peers_scale_makes_the_window() {
    let mut line = line();
    line.track.scales = 0x2e;
    // b: 20 000 << 2 for a, a: 10 000 << 14 for b.
    assert_eq!(line.asks(A, segment(ACK, 184_000, 203_000, 0)), Step::Pass);
    assert_eq!(line.asks(A, segment(ACK, 184_001, 203_000, 0)), WINDOW);
    assert_eq!(line.asks(B, segment(ACK, 164_042_000, 105_000, 0)), Step::Pass);
    assert_eq!(line.asks(B, segment(ACK, 164_042_001, 105_000, 0)), WINDOW);
}

#[test]
fn a_segment_moves_its_senders_half_and_only_forward() {
    let mut line = line();
    line.says(A, with_window(12_000, segment(ACK | PSH, 105_000, 203_000, 700)), Step::Pass);
    let window = Window { end: [105_700, 203_000], acked: [203_000, 104_000], win: [12_000, 20_000] };
    assert_eq!(line.track, Track { window, ..self::line().track });
    // An old one with a small window: nothing goes back.
    line.says_in_vain(A, with_window(0, segment(ACK, 104_000, 202_500, 100)), Step::Pass);
    line.says(B, segment(ACK, 203_000, 105_700, 0), Step::Pass);
    let window = Window { acked: [203_000, 105_700], ..window };
    assert_eq!(line.track, Track { window, ..self::line().track });
}

#[test]
fn numbers_wrap_around() {
    let mut line = line();
    let base = u32::MAX - 99;
    line.track.window = Window { end: [base, base], acked: [base, base], win: [1000, 1000] };
    line.says(A, segment(ACK, base, base, 200), Step::Pass);
    assert_eq!(line.track.window.end, [100, base]);
    line.says(B, segment(ACK, base, 100, 100), Step::Pass);
    assert_eq!(line.track.window, Window { end: [100, 0], acked: [base, 100], win: [1000, 1000] });
    line.says_in_vain(A, segment(ACK, base, base, 200), Step::Pass);
    line.says_in_vain(A, segment(ACK, 1000, 0, 101), WINDOW);
    line.says(A, segment(ACK, 1000, 0, 100), Step::Pass);
    assert_eq!(line.track.window, Window { end: [1100, 0], acked: [0, 100], win: [1000, 1000] });
}

#[test]
fn keep_alives_and_zero_window_probes_pass() {
    let mut line = line();
    line.says(A, segment(ACK, 105_000, 203_000, 0), Step::Pass);
    line.says_in_vain(A, segment(ACK, 104_999, 203_000, 0), Step::Pass);
    line.says_in_vain(A, segment(ACK, 104_999, 203_000, 1), Step::Pass);
    line.says(B, with_window(0, segment(ACK, 203_000, 105_000, 0)), Step::Pass);
    line.says(A, segment(ACK, 105_000, 203_000, 1), Step::Pass);
    // Also where no window was ever open.
    let mut shut = Line::begin(with_window(0, segment(SYN, 100, 0, 0)));
    shut.says(B, with_window(0, segment(SYN | ACK, 500, 101, 0)), Step::Pass);
    shut.says(A, with_window(0, segment(ACK, 101, 501, 0)), Step::Pass);
    shut.says_in_vain(A, with_window(0, segment(ACK, 101, 501, 2)), WINDOW);
    shut.says(A, with_window(0, segment(ACK, 101, 501, 1)), Step::Pass);
}

#[test]
fn other_flags_beside_the_ack_change_nothing() {
    for flags in [ACK | 0x20, ACK | 0x40, ACK | 0x80, ACK | 0xe8] {
        let (step, next) = line().track.step(&segment(flags, 105_000, 203_000, 10), A, 7, 9);
        let window = Window { end: [105_010, 203_000], acked: [203_000, 104_000], win: [10_000, 20_000] };
        assert_eq!((step, next), (Step::Pass, Track { window, ..line().track }));
    }
    for flags in [0, PSH, FIN, 0x20] {
        line().says_in_vain(A, segment(flags, 105_000, 203_000, 10), STATE);
    }
}

#[test]
fn what_an_icmp_error_quotes_must_have_been_sent() {
    let line = line();
    for (seq, from_a, sent) in [
        (105_000, A, true),
        (105_001, A, false),
        (85_000, A, true),
        (84_999, A, false),
        (203_000, B, true),
        (203_001, B, false),
        (193_000, B, true),
        (192_999, B, false),
    ] {
        assert_eq!(line.track.may_have_sent(seq, from_a), sent, "{seq}");
    }
    let begun = Line::begin(segment(SYN, 100, 0, 0)).track;
    assert!(begun.may_have_sent(100, A) && begun.may_have_sent(101, A) && !begun.may_have_sent(99, A));
    assert!(!begun.may_have_sent(0, B));
    let lost = Track { resync: [true, false], ..line.track };
    assert!(lost.may_have_sent(1, A) && !lost.may_have_sent(1, B));
}

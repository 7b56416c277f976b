//! Connections that were not seen from their beginning, or not without a break.

use super::*;

fn resync(a: bool, b: bool) -> Line {
    let mut line = Line::established();
    line.track.resync = [a, b];
    line
}

#[test]
fn the_first_segment_of_each_direction_sets_the_window() {
    let mut line = Line::begin(segment(ACK | PSH, 9000, 70_000, 100));
    let picked = Track {
        states: 0x02,
        scales: 0xee,
        window: Window { end: [9100, 0], acked: [70_000, 0], win: [1000, 0] },
        unseen: true,
        ..Track::default()
    };
    assert_eq!((line.track, line.track.phase()), (picked, Phase::Opening));
    // b is not known yet: a is not checked.
    line.says(A, segment(ACK, 5_009_000, 80_000, 0), Step::Pass);
    line.says_in_vain(A, segment(ACK, 9000, 70_000, 100), Step::Pass);
    // Nor is b's first, from which on both are. What a has acknowledged, b has sent, and the other way.
    line.says(B, segment(ACK, 79_000, 5_010_000, 10), Step::Pass);
    let window = Window { end: [5_010_000, 80_000], acked: [80_000, 5_010_000], win: [1000, 1000] };
    assert_eq!(line.track, Track { states: 0x22, window, ..picked });
    assert_eq!(line.track.phase(), Phase::Established);
    // Windows are 1000 << 14 now.
    line.says_in_vain(A, segment(ACK, 21_394_001, 80_000, 0), WINDOW);
    line.says_in_vain(A, segment(ACK, 5_010_000, 80_001, 0), WINDOW);
    line.says(A, segment(ACK, 21_394_000, 80_000, 0), Step::Pass);
    assert_eq!((line.track.states, line.track.confirmed), (0x23, false));
    line.says_in_vain(B, segment(ACK, 80_000, 21_394_001, 0), WINDOW);
    line.says(B, segment(ACK, 80_000, 21_394_000, 0), Step::Pass);
    assert_eq!((line.track.states, line.track.confirmed, line.track.unseen), (ESTABLISHED, true, true));
}

#[test]
fn nothing_begins_with_a_reset_or_without_an_acknowledgement() {
    for flags in [RST, RST | ACK, PSH, FIN, 0, SYN | RST, SYN | FIN] {
        assert_eq!(Track::first(&segment(flags, 1, 2, 0), A), None, "{flags:#x}");
    }
    for flags in [SYN, SYN | PSH, ACK, SYN | ACK, FIN | ACK] {
        assert!(Track::first(&segment(flags, 1, 2, 0), B).is_some(), "{flags:#x}");
    }
}

#[test]
fn the_end_that_is_seen_first_may_be_b() {
    let track = Track::first(&segment(ACK, 1, 2, 3), B).unwrap();
    let window = Window { end: [0, 4], acked: [0, 2], win: [0, 1000] };
    assert_eq!((track.states, track.window, track.unseen), (0x20, window, true));
    let track = Track::first(&with_scale(5, segment(SYN, 1, 0, 3)), B).unwrap();
    let window = Window { end: [0, 5], acked: [0, 1], win: [0, 1000] };
    assert_eq!((track.states, track.scales, track.window, track.unseen), (0x10, 0x5f, window, false));
}

#[test]
fn an_answer_whose_syn_was_not_seen_is_picked_up() {
    let mut line = Line::begin(with_scale(7, segment(SYN | ACK, 500, 101, 0)));
    assert_eq!((line.track.states, line.track.scales, line.track.unseen), (0x02, 0xee, true));
    line.says_in_vain(A, segment(SYN | ACK, 500, 101, 0), Step::Pass);
    line.says(B, segment(ACK, 101, 501, 0), Step::Pass);
    let window = Window { end: [501, 101], acked: [101, 501], win: [1000, 1000] };
    assert_eq!((line.track.states, line.track.window), (0x22, window));
}

#[test]
fn resets_and_fins_of_a_picked_up_connection_count() {
    let mut line = Line::begin(segment(ACK, 9000, 70_000, 0));
    // Of b nothing is known, so a's is doubtful; a's own acknowledgement holds b's.
    line.says_in_vain(B, segment(RST, 69_999, 0, 0), WINDOW);
    assert_eq!(line.asks(B, segment(RST, 70_000, 0, 0)), Step::PassAndClose);
    line.says(A, segment(RST, 9000, 0, 0), Step::PassShortened);
    assert_eq!((line.track.states, line.track.phase()), (0x82, Phase::Doubted));
    line.says(B, segment(FIN | ACK, 70_000, 9000, 0), Step::Pass);
    assert_eq!((line.track.states, line.track.phase()), (0x42, Phase::HalfClosed));
    assert_eq!(line.asks(A, segment(RST, 9000, 0, 0)), Step::PassAndClose);
    line.says(A, segment(FIN | ACK, 9000, 70_001, 0), Step::Pass);
    assert_eq!((line.track.states, line.track.phase()), (0x54, Phase::Closing));
    line.says(B, segment(ACK, 70_001, 9001, 0), Step::PassAndClose);
}

#[test]
fn a_late_syn_on_a_picked_up_connection_passes_once_a_second() {
    let mut line = Line::begin(segment(ACK, 9000, 70_000, 0));
    line.says(B, segment(SYN, 5, 0, 0), Step::PassAside);
    line.says_in_vain(B, segment(SYN, 5, 0, 0), STATE);
    line.says_in_vain(B, segment(SYN | ACK, 5, 9000, 0), WINDOW);
}

#[test]
fn after_a_break_each_direction_takes_its_window_from_its_next_segment() {
    let mut line = resync(true, true);
    // a has gone on by far more than a window, and goes on while b is still silent.
    line.says(A, with_window(500, segment(ACK, 2_000_000_101, 800_501, 100)), Step::Pass);
    let window = Window { end: [2_000_000_201, 501], acked: [800_501, 101], win: [1000, 1000] };
    let track = Track { window, resync: [false, true], ..Line::established().track };
    assert_eq!(line.track, track);
    line.says(A, segment(ACK, 2_000_000_201, 800_501, 100), Step::Pass);
    line.says(B, segment(ACK, 800_401, 2_000_000_301, 50), Step::Pass);
    let window =
        Window { end: [2_000_000_301, 800_501], acked: [800_501, 2_000_000_301], win: [1000, 1000] };
    assert_eq!(line.track, Track { window, resync: [false, false], ..track });
    // And is checked again.
    line.says_in_vain(A, segment(ACK, 2_000_001_302, 800_501, 0), WINDOW);
    line.says_in_vain(A, segment(ACK, 2_000_000_301, 800_502, 0), WINDOW);
    line.says(A, segment(ACK, 2_000_001_301, 800_501, 0), Step::Pass);
}

#[test]
fn after_a_break_only_what_fits_the_state_is_taken() {
    let mut line = resync(true, true);
    line.says_in_vain(A, segment(PSH, 101, 501, 0), STATE);
    line.says_in_vain(A, segment(SYN | ACK, 9, 9, 0), WINDOW);
    assert_eq!(line.asks(A, segment(SYN, 9, 0, 0)), Step::PassAside);
    // A RST decides nothing where its receiver's number is not known.
    line.says(A, segment(RST, 77, 0, 0), Step::PassShortened);
    assert_eq!((line.track.states, line.track.resync), (0xb3, [true, true]));
    line.says(B, segment(ACK, 900, 102, 0), Step::Pass);
    assert_eq!((line.track.states, line.track.resync), (ESTABLISHED, [true, false]));
    assert_eq!(line.asks(A, segment(RST, 102, 0, 0)), Step::PassAndClose);
}

#[test]
fn a_fin_ends_its_senders_numbers_through_a_break_too() {
    let mut line = Line::established();
    line.says(A, segment(FIN | ACK, 101, 501, 0), Step::Pass);
    line.track.resync = [true, true];
    line.says_in_vain(A, segment(ACK, 102, 501, 1), WINDOW);
    line.says_in_vain(B, segment(ACK, 800_501, 103, 1), WINDOW);
    line.says(B, segment(ACK, 800_501, 102, 1), Step::Pass);
    assert_eq!((line.track.states, line.track.window.end), (0x35, [102, 800_502]));
    line.says(B, segment(FIN | ACK, 800_502, 102, 0), Step::Pass);
    line.says(A, segment(ACK, 102, 800_503, 0), Step::PassAndClose);
}

#[test]
fn a_handshake_goes_on_through_a_break() {
    // The answer and all after it were not seen.
    let mut line = Line::begin(with_scale(7, segment(SYN, 100, 0, 0)));
    line.track.resync = [true, true];
    assert_eq!(line.asks(B, segment(SYN | ACK, 500, 101, 0)), Step::Pass);
    line.says(A, segment(ACK, 30_101, 501, 10), Step::Pass);
    assert_eq!((line.track.states, line.track.scales, line.track.unseen), (0x02, 0xee, false));
    line.says(B, segment(ACK, 501, 30_111, 0), Step::Pass);
    let window = Window { end: [30_111, 501], acked: [501, 30_111], win: [1000, 1000] };
    assert_eq!((line.track.states, line.track.window, line.track.resync), (0x22, window, [false; 2]));
    line.says(A, segment(ACK, 30_111, 501, 10), Step::Pass);
    line.says(B, segment(ACK, 501, 30_121, 0), Step::Pass);
    assert_eq!((line.track.states, line.track.confirmed), (ESTABLISHED, true));
    // Only the ACK of the answer was not seen.
    let mut line = Line::begin(with_scale(7, segment(SYN, 100, 0, 0)));
    line.says(B, with_scale(2, segment(SYN | ACK, 500, 101, 0)), Step::Pass);
    line.track.resync = [true, true];
    line.says(B, segment(ACK, 90_501, 9101, 0), Step::Pass);
    assert_eq!((line.track.states, line.track.resync), (0x31, [true, false]));
    line.says(A, segment(ACK, 9101, 90_501, 0), Step::Pass);
    assert_eq!((line.track.states, line.track.scales), (0x32, 0x27));
}

#[test]
fn a_fin_before_what_is_known_to_be_sent_is_not_taken() {
    let mut line = Line::begin(segment(ACK, 9000, 70_000, 0));
    // b has acknowledged 9000 and 70 000 was acknowledged to it.
    line.says_in_vain(A, segment(FIN | ACK, 8000, 70_000, 0), WINDOW);
    assert_eq!(line.asks(B, segment(FIN | ACK, 70_000, 9000, 0)), Step::Pass);
    line.says_in_vain(B, segment(FIN | ACK, 69_997, 9000, 1), WINDOW);
    line.says(B, segment(FIN | ACK, 69_998, 9000, 2), Step::Pass);
    assert_eq!((line.track.states, line.track.window.end), (0x42, [9000, 70_001]));
}

#[test]
fn a_syn_is_no_acknowledgement_when_its_answer_was_not_seen() {
    // a's own number stands where its acknowledgement will: it is none to go on from.
    let mut line = Line::begin(segment(SYN, 3_000_000_000, 0, 0));
    line.track.resync = [false, true];
    line.says(A, segment(ACK, 3_000_000_001, 500, 0), Step::Pass);
    assert_eq!(line.track.window.acked, [500, 0]);
    let mut line = Line::begin(segment(SYN, 3_000_000_000, 0, 0));
    line.track.resync = [false, true];
    line.says(B, segment(ACK, 500, 3_000_000_001, 0), Step::Pass);
    assert_eq!((line.track.states, line.track.resync), (0x21, [true, false]));
    line.says_in_vain(A, segment(SYN | ACK, 3_000_000_000, 500, 0), STATE);
    line.says(A, segment(ACK, 3_000_000_001, 500, 0), Step::Pass);
    assert_eq!((line.track.states, line.track.window.acked), (0x22, [500, 3_000_000_001]));
}

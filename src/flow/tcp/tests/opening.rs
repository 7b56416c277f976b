//! The handshake, in all the ways it may go.

use super::*;

#[test]
fn three_segments_confirm_a_connection() {
    let mut line = Line::begin(with_window(5000, segment(SYN, 100, 0, 0)));
    let begun = Track {
        states: 0x01,
        scales: 0xff,
        window: Window { end: [101, 0], acked: [100, 0], win: [5000, 0] },
        ..Track::default()
    };
    assert_eq!((line.track, line.track.phase()), (begun, Phase::Opening));
    line.says(B, with_window(4000, segment(SYN | ACK, 500, 101, 0)), Step::Pass);
    let answered = Track {
        states: 0x31,
        scales: 0x00,
        window: Window { end: [101, 501], acked: [501, 101], win: [5000, 4000] },
        ..begun
    };
    assert_eq!((line.track, line.track.phase()), (answered, Phase::Opening));
    line.says(A, with_window(6000, segment(ACK, 101, 501, 0)), Step::Pass);
    let window = Window { win: [6000, 4000], ..answered.window };
    let confirmed = Track { states: ESTABLISHED, window, confirmed: true, ..answered };
    assert_eq!((line.track, line.track.phase()), (confirmed, Phase::Established));
}

#[test]
fn the_answer_acknowledges_exactly_the_syn() {
    let mut line = Line::begin(segment(SYN, u32::MAX, 0, 0));
    for ack in [u32::MAX, 1, 2, 0x8000_0000] {
        line.says_in_vain(B, segment(SYN | ACK, 500, ack, 0), WINDOW);
    }
    line.says(B, segment(SYN | ACK, 500, 0, 0), Step::Pass);
}

#[test]
fn wrong_flags_in_the_handshake_are_refused() {
    let mut line = Line::begin(segment(SYN, 100, 0, 0));
    for flags in [ACK, ACK | PSH, FIN | ACK, PSH, 0, RST, SYN | FIN, SYN | RST, SYN | FIN | ACK] {
        line.says_in_vain(B, segment(flags, 500, 101, 0), STATE);
    }
    for flags in [ACK, ACK | PSH, FIN | ACK, PSH, 0, SYN | ACK, SYN | FIN] {
        line.says_in_vain(A, segment(flags, 101, 0, 0), STATE);
    }
    line.says(B, segment(SYN | ACK, 500, 101, 0), Step::Pass);
    for flags in [PSH, 0, FIN, SYN | FIN] {
        line.says_in_vain(A, segment(flags, 101, 501, 0), STATE);
    }
    line.says_in_vain(A, segment(SYN | ACK, 101, 501, 0), WINDOW);
}

#[test]
fn the_third_segment_must_lie_in_window_and_acknowledge_the_answer() {
    let mut line = Line::begin(segment(SYN, 100, 0, 0));
    line.says(B, segment(SYN | ACK, 500, 101, 0), Step::Pass);
    for (seq, ack) in [(100, 501), (1102, 501), (101, 500), (101, 502)] {
        line.says_in_vain(A, segment(ACK, seq, ack, 0), WINDOW);
    }
    // With data it may reach to the edge of the window that the answer has offered.
    line.says_in_vain(A, segment(ACK, 101, 501, 1001), WINDOW);
    line.says(A, segment(ACK | PSH, 101, 501, 1000), Step::Pass);
    assert_eq!(line.track.window, Window { end: [1101, 501], acked: [501, 101], win: [1000, 1000] });
    assert_eq!((line.track.states, line.track.confirmed), (ESTABLISHED, true));
}

#[test]
fn a_repeated_syn_passes_and_its_answer_too() {
    let mut line = Line::begin(segment(SYN, 100, 0, 0));
    line.says_in_vain(A, segment(SYN, 100, 0, 0), Step::Pass);
    line.says(B, segment(SYN | ACK, 500, 101, 0), Step::Pass);
    line.says_in_vain(A, segment(SYN, 100, 0, 0), Step::Pass);
    line.says_in_vain(B, segment(SYN | ACK, 500, 101, 0), Step::Pass);
    line.says_in_vain(B, segment(SYN | ACK, 501, 101, 0), WINDOW);
    line.says_in_vain(B, segment(SYN | ACK, 500, 102, 0), WINDOW);
    line.says(A, segment(ACK, 101, 501, 0), Step::Pass);
    // The ACK is lost on the way to b.
    line.says_in_vain(B, segment(SYN | ACK, 500, 101, 0), Step::Pass);
    line.says_in_vain(B, segment(SYN | ACK, 499, 101, 0), WINDOW);
    line.says_in_vain(B, segment(SYN | ACK, 500, 100, 0), WINDOW);
}

#[test]
fn another_syn_before_any_answer_begins_anew() {
    let mut line = Line::begin(segment(SYN, 100, 0, 0));
    for seq in [99, 101, 0x8000_0100] {
        line.says_in_vain(A, segment(SYN, seq, 0, 0), Step::Anew);
    }
}

#[test]
fn another_syn_after_the_answer_passes_once_a_second() {
    let mut line = Line::begin(segment(SYN, 100, 0, 0));
    line.says(B, segment(SYN | ACK, 500, 101, 0), Step::Pass);
    line.wait(60);
    line.says_in_vain(A, segment(SYN, 7777, 0, 0), STATE);
    line.wait(1);
    line.says_in_vain(A, segment(SYN, 7777, 0, 0), Step::Pass);
    line.says_in_vain(A, segment(SYN, 7777, 0, 0), STATE);
    // The challenge ACK that b answers with draws this, which ends it.
    line.says(A, segment(RST, 101, 0, 0), Step::PassAndClose);
}

#[test]
fn data_in_the_syn_counts_as_sent() {
    // Fast Open: b takes the data, or only the SYN, and may answer before the ACK.
    let line = Line::begin(segment(SYN, 100, 0, 50));
    assert_eq!(line.track.window.end, [151, 0]);
    for (ack, step) in [(100, WINDOW), (101, Step::Pass), (151, Step::Pass), (152, WINDOW)] {
        assert_eq!(line.asks(B, segment(SYN | ACK, 500, ack, 0)), step);
    }
    let mut taken = line.clone();
    taken.says_in_vain(A, segment(SYN, 100, 0, 0), Step::Pass);
    taken.says(B, segment(SYN | ACK, 500, 151, 0), Step::Pass);
    taken.says_in_vain(B, segment(ACK | PSH, 501, 151, 1001), WINDOW);
    taken.says(B, segment(ACK | PSH, 501, 151, 1000), Step::Pass);
    assert_eq!((taken.track.states, taken.track.phase()), (0x31, Phase::Opening));
    taken.says_in_vain(A, segment(ACK, 150, 1501, 0), WINDOW);
    taken.says(A, segment(ACK, 151, 1501, 0), Step::Pass);
    assert_eq!(taken.track.window, Window { end: [151, 1501], acked: [1501, 151], win: [1000, 1000] });
    let mut left = line;
    left.says(B, segment(SYN | ACK, 500, 101, 0), Step::Pass);
    left.says_in_vain(A, segment(SYN, 100, 0, 50), Step::Pass);
    left.says(A, segment(ACK, 101, 501, 50), Step::Pass);
    assert_eq!((left.track.states, left.track.window.end), (ESTABLISHED, [151, 501]));
}

#[test]
fn both_ends_may_open_at_once() {
    let mut line = Line::begin(with_scale(7, segment(SYN, 100, 0, 0)));
    line.says(B, with_scale(2, segment(SYN, 500, 0, 0)), Step::Pass);
    let window = Window { end: [101, 501], acked: [501, 101], win: [8, 250] };
    assert_eq!((line.track.states, line.track.scales, line.track.window), (0x11, 0x27, window));
    line.says_in_vain(A, segment(ACK, 101, 501, 0), STATE);
    line.says_in_vain(A, segment(SYN | ACK, 100, 502, 0), WINDOW);
    line.says_in_vain(A, segment(SYN | ACK, 101, 501, 0), WINDOW);
    let mut other = line.clone();
    line.says(A, segment(SYN | ACK, 100, 501, 0), Step::Pass);
    assert_eq!((line.track.states, line.track.confirmed), (0x13, false));
    line.says(B, segment(SYN | ACK, 500, 101, 0), Step::Pass);
    assert_eq!((line.track.states, line.track.confirmed), (ESTABLISHED, true));
    line.says_in_vain(A, with_window(8, segment(ACK, 101, 501, 0)), Step::Pass);
    // One SYN-ACK is lost before it is seen here: an ACK stands for it.
    other.says(B, segment(SYN | ACK, 500, 101, 0), Step::Pass);
    other.says(A, segment(ACK, 101, 501, 0), Step::Pass);
    assert_eq!((other.track.states, other.track.confirmed), (ESTABLISHED, true));
}

#[test]
fn scales_count_only_if_both_syns_have_carried_one() {
    for (a, b, scales, win) in [
        (Some(7), Some(0), 0x07, [8, 1000]),
        (Some(14), Some(14), 0xee, [1, 1]),
        (Some(3), None, 0x00, [1000, 1000]),
        (None, Some(3), 0x00, [1000, 1000]),
        (None, None, 0x00, [1000, 1000]),
    ] {
        let mut line = Line::begin(Tcp { scale: a, ..segment(SYN, 100, 0, 0) });
        line.says(B, Tcp { scale: b, ..segment(SYN | ACK, 500, 101, 0) }, Step::Pass);
        assert_eq!((line.track.scales, line.track.window.win), (scales, win), "{a:?} {b:?}");
    }
}

#[test]
fn a_syn_repeated_without_options_keeps_what_was_offered() {
    let mut line = Line::begin(with_scale(7, segment(SYN, 100, 0, 9)));
    line.says_in_vain(A, segment(SYN, 100, 0, 0), Step::Pass);
    line.says(B, with_scale(1, segment(SYN | ACK, 500, 110, 0)), Step::Pass);
    assert_eq!(line.track.scales, 0x17);
}

#[test]
fn a_closing_segment_may_complete_the_handshake() {
    let mut line = Line::begin(segment(SYN, 100, 0, 0));
    line.says(B, segment(SYN | ACK, 500, 101, 0), Step::Pass);
    line.says(A, segment(FIN | ACK, 101, 501, 10), Step::Pass);
    assert_eq!((line.track.states, line.track.confirmed), (0x34, true));
    assert_eq!((line.track.window.end, line.track.phase()), ([112, 501], Phase::HalfClosed));
}
